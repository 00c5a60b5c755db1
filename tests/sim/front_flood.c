/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_flood.c: a back-end that writes its state without a pause: how often it
 * is looked at, and that what it wrote last is seen nevertheless.
 */
#include "config.h"

#include "tests/sim/front_rig.h"

/* So many looks at once, and then one in so long; and how late the last write
 * may be seen: an event and the news of it take a moment, too. */
enum { LOOKS = 6, PAUSE_MS = 250, SEEN_MS = PAUSE_MS + 1 };

static struct rig r;
static struct rig_io a;

static struct store_ops counting;
static const struct store_ops *its_ops;
static unsigned looks;

static char *
counted_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    looks += !strcmp(path, BACK "/state");
    return its_ops->read(s, tx, path, len);
}

/* Connected; and what that took of its looks is long ago. */
static void
start(uint64_t seed)
{
    rig_new(&r, seed);
    its_ops = r.store->ops;
    counting = *its_ops;
    counting.read = counted_read;
    r.store->ops = &counting;
    r.size = DISK_SIZE / 2;
    back_nodes(&r);
    REQUIRE(!rig_open(&r, &rig_conf));
    rig_run(&r, 1000 * MS);
    looks = 0;
}

static void
end(void)
{
    rig_close(&r);
    rig_end(&r);
}

static void
write_state(unsigned times)
{
    while (times--)
        back_state(&r, r.state);
}

/* The last thing that it does for a long while. */
static void
resize(void)
{
    r.size += 4096;
    chan_resize(r.chan, r.size);
    back_nodes(&r);
    write_state(1);
}

static void
resize_is_seen(void)
{
    rig_run(&r, SEEN_MS * MS);
    CHECK_EQ(r.fronts.ops->info(r.front)->size, r.size);
}

/* A look that was put off is one look. */
static void
no_more_looks(void)
{
    looks = 0;
    rig_run(&r, 10000 * MS);
    CHECK_EQ(looks, 0);
}

/* ---- looks --------------------------------------------------------------- */

static void
looks_so_often_and_not_less(void)
{
    enum { SECONDS = 10, PAUSES = SECONDS * 1000 / PAUSE_MS };

    start(1);
    for (unsigned i = 0; i < SECONDS * 1000; i++) {
        write_state(3);
        rig_run(&r, MS);
    }
    CHECK(looks <= LOOKS + PAUSES);
    CHECK(looks >= LOOKS + PAUSES - 3);
    CHECK_EQ(rig_do(&r, &a, BLK_WRITE, 0, 512), 0);
    end();
}

/* On a host where each call takes its time, a look takes longer than a pause.
 */
static struct loop_ops slow;
static const struct loop_ops *its_loop;
static uint64_t calls_took;

static uint64_t
slow_now(struct loop *l)
{
    return its_loop->now(l) + calls_took;
}

static char *
slow_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    calls_took += 40 * MS;
    return counted_read(s, tx, path, len);
}

static void
looks_no_more_often_when_it_is_slow(void)
{
    start(1);
    its_loop = r.control->ops;
    slow = *its_loop;
    slow.now = slow_now;
    r.control->ops = &slow;
    counting.read = slow_read;
    write_state(1000);
    rig_run(&r, (PAUSE_MS - 50) * MS);
    CHECK_EQ(looks, LOOKS);
    rig_run(&r, 100 * MS);
    CHECK_EQ(looks, LOOKS + 1);
    r.control->ops = its_loop;
    counting.read = counted_read;
    calls_took = 0;
    end();
}

static void
sees_the_last_write(void)
{
    for (unsigned before = 0; before < 4 * LOOKS; before++) {
        unsigned writes = before + 1;

        start(before);
        write_state(before);
        resize();
        resize_is_seen();
        CHECK_EQ(looks, writes > LOOKS ? LOOKS + 1 : writes);
        no_more_looks();
        end();
    }
}

/* Writes around the end of a pause, and of the next. */
static void
sees_the_last_write_at_random(void)
{
    for (uint64_t seed = 0; seed < 300 && !test_failures; seed++) {
        start(seed);
        for (unsigned i = 0; i < 20; i++) {
            write_state((unsigned)sim_below(r.sim, 2 * LOOKS));
            rig_run(&r, sim_below(r.sim, PAUSE_MS * MS * 3 / 2));
        }
        for (unsigned i = 0; i < 5; i++) {
            rig_run(&r, sim_below(r.sim, 2) * sim_below(r.sim, MS / 10));
            resize();
        }
        resize_is_seen();
        no_more_looks();
        end();
        if (test_failures)
            printf("seed %d\n", (int)seed);
    }
}

/* Twenty writes in a millisecond, for so long. */
static bool flooding;

static void
flood(void *arg)
{
    (void)arg;
    if (!flooding)
        return;
    write_state(1);
    sim_after(r.sim, MS / 20, flood, NULL);
}

static bool
walked(void *arg)
{
    (void)arg;
    return !strcmp(r.shown, "6134");
}

/* It is followed through its states in their order, later than one that does
 * not flood. */
static void
connects_to_it(void)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        start(seed);
        flooding = true;
        flood(NULL);
        rig_run(&r, 500 * MS);
        for (unsigned times = 0; times < 3; times++) {
            memset(r.shown, 0, sizeof r.shown);
            rig_start(&r, &a, BLK_WRITE, 4096, 512);
            back_drop(&r);
            back_state(&r, 5);
            CHECK(sim_run_until(r.sim, walked, NULL, 5 * SEEN_MS * MS));
            rig_until(&r, &a.done);
            CHECK_EQ(a.error, 0);
            CHECK(rig_connected(&r));
        }
        CHECK_EQ(r.unable + r.fatals, 0);
        flooding = false;
        rig_run(&r, MS);
        resize();
        resize_is_seen();
        end();
    }
}

/* ---- one that comes and goes --------------------------------------------- */

static void
refuses(struct rig *rig)
{
    back_state(rig, 6);
}

static void
goes(void *arg)
{
    (void)arg;
    if (r.state == 4)
        back_state(&r, 6);
}

static void
comes_and_goes(struct rig *rig)
{
    back_state(rig, 4);
    sim_after(rig->sim, MS, goes, NULL);
}

static unsigned
offers(void)
{
    unsigned n = 0;

    for (const char *s = r.shown; (s = strchr(s, '3')); s++)
        n++;
    return n;
}

/* With as few writes as there can be: a connection is more work than a look. */
static void
is_offered_rings_so_often(void (*instead)(struct rig *))
{
    enum { SECONDS = 10, PAUSES = SECONDS * 1000 / PAUSE_MS };

    start(1);
    back_drop(&r);
    r.instead = instead;
    memset(r.shown, 0, sizeof r.shown);
    back_state(&r, 6);
    rig_run(&r, (PAUSE_MS - 50) * MS);
    CHECK_EQ(offers(), 1);
    rig_run(&r, SECONDS * 1000 * MS);
    CHECK(offers() <= PAUSES + 2);
    CHECK(offers() >= PAUSES / 4);
    r.instead = NULL;
    CHECK_EQ(rig_do(&r, &a, BLK_WRITE, 0, 512), 0);
    end();
}

static void
offers_rings_so_often(void)
{
    is_offered_rings_so_often(refuses);
    is_offered_rings_so_often(comes_and_goes);
}

/* ---- the end ------------------------------------------------------------- */

/* What is put off goes with the front: by a back-end that follows, by one that
 * does not, and by one that does when a look is put off. */
static void
closes(void)
{
    start(1);
    write_state(20);
    rig_run(&r, MS);
    rig_close(&r);
    no_more_looks();
    rig_end(&r);

    start(2);
    r.late = true;
    sim_after(r.sim, 1900 * MS, flood, NULL);
    flooding = true;
    rig_close(&r);
    no_more_looks();
    flooding = false;
    rig_end(&r);

    start(3);
    r.late = true;
    flooding = true;
    flood(NULL);
    r.state = 6;
    rig_close(&r);
    no_more_looks();
    flooding = false;
    rig_end(&r);
}

/* Watches are made anew, and with them an event comes. */
static void
outlives_xenstored(void)
{
    for (unsigned ms = 0; ms < 2 * PAUSE_MS; ms += 50) {
        start(ms);
        write_state(20);
        rig_run(&r, MS);
        sim_store_down(r.sim);
        rig_run(&r, ms * MS);
        sim_store_up(r.sim);
        rig_run(&r, 2 * MS);
        write_state(20);
        rig_run(&r, MS);
        resize();
        resize_is_seen();
        no_more_looks();
        CHECK_EQ(r.fatals, 0);
        end();
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_open(BLK_ERR, false);
    TEST(looks_so_often_and_not_less);
    TEST(looks_no_more_often_when_it_is_slow);
    TEST(sees_the_last_write);
    TEST(sees_the_last_write_at_random);
    TEST(connects_to_it);
    TEST(offers_rings_so_often);
    TEST(closes);
    TEST(outlives_xenstored);
    return test_end();
}
