/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front.c: a front and a back-end that works, is slow, goes and comes back.
 */
#include "config.h"

#include <errno.h>

#include "tests/sim/front_rig.h"

static struct rig r;
static struct rig_io a, b;

static void
fill(struct rig_io *ri, uint32_t len, unsigned seed)
{
    for (uint32_t i = 0; i < len; i++)
        ri->buf[i] = (uint8_t)(seed + i * 7 + i / 512);
}

/* Every length up to the longest, as direct and as indirect segments. */
static void
reads_what_it_wrote(void)
{
    static const uint32_t lens[] = { 512,   4096,  4608,  45056,
                                     45568, 61440, 65536, 1536 };

    rig_new(&r, 1);
    REQUIRE(!rig_open(&r, &rig_conf));
    CHECK_EQ(r.fronts.ops->info(r.front)->size, DISK_SIZE);
    CHECK_EQ(r.fronts.ops->info(r.front)->segments, 32);
    CHECK_EQ(front_state(&r), 4);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t off = i * 70 * 1024;

        fill(&a, lens[i], i);
        CHECK_EQ(rig_do(&r, &a, BLK_WRITE, off, lens[i]), 0);
        CHECK(!memcmp(r.disk + off, a.buf, lens[i]));
        memset(b.buf, 0, sizeof b.buf);
        CHECK_EQ(rig_do(&r, &b, BLK_READ, off, lens[i]), 0);
        CHECK(!memcmp(a.buf, b.buf, lens[i]));
    }
    CHECK_EQ(rig_do(&r, &a, BLK_FLUSH, 0, 0), 0);
    CHECK_EQ(r.flushes, 1);
    CHECK_EQ(rig_do(&r, &a, BLK_DISCARD, 0, 8192), 0);
    CHECK_EQ(r.disk[0] | r.disk[511] | r.disk[8191], 0);
    rig_close(&r);
    CHECK_EQ(front_state(&r), 6);
    CHECK_EQ(sim_mapped(r.sim, OURS), 0);
    rig_end(&r);
}

/* More at a time than there are pages and slots: they wait, none fails. */
static void
waits_for_pages_and_slots(void)
{
    enum { N = 100 };
    static struct rig_io io[N];
    struct front_conf conf = rig_conf;

    for (unsigned order = 0; order < 2; order++) {
        rig_new(&r, 2 + order);
        conf.pages = order ? FRONT_PAGES_MAX : FRONT_PAGES_MIN;
        conf.order = order;
        REQUIRE(!rig_open(&r, &conf));
        for (unsigned i = 0; i < N; i++) {
            fill(&io[i], 40960, i);
            rig_start(&r, &io[i], BLK_WRITE, i * 40960, 40960);
        }
        for (unsigned i = 0; i < N; i++) {
            rig_until(&r, &io[i].done);
            CHECK_EQ(io[i].error, 0);
            CHECK(!memcmp(r.disk + i * 40960, io[i].buf, 40960));
        }
        CHECK(order || r.fronts.ops->counters(r.front)->full > 0);
        rig_close(&r);
        rig_end(&r);
    }
}

/* Nothing of what an earlier connection wrote is left for this one. */
static void
drops_old_nodes(void)
{
    struct front_conf conf = rig_conf;
    char path[64];

    rig_new(&r, 4);
    conf.order = 0;
    sim_store_write(r.sim, FRONT "/ring-page-order", "4");
    for (unsigned i = 0; i < 16; i++) {
        snprintf(path, sizeof path, FRONT "/ring-ref%u", i);
        sim_store_write(r.sim, path, "%u", 77 + i);
    }
    REQUIRE(!rig_open(&r, &conf));
    CHECK(!sim_store_read(r.sim, FRONT "/ring-page-order"));
    CHECK(!sim_store_read(r.sim, FRONT "/ring-ref15"));
    CHECK_EQ(rig_do(&r, &a, BLK_WRITE, 0, 512), 0);
    rig_close(&r);
    rig_end(&r);
}

/* As after a kill: both ends still say 4. */
static void
takes_over_from_a_dead_process(void)
{
    rig_new(&r, 5);
    sim_store_write(r.sim, FRONT "/state", "4");
    back_state(&r, 4);
    REQUIRE(!rig_open(&r, &rig_conf));
    CHECK_EQ(rig_do(&r, &a, BLK_READ, 0, 512), 0);
    rig_close(&r);
    rig_end(&r);
}

static void
says_why_it_cannot_open(void)
{
    struct front_conf conf = rig_conf;

    rig_new(&r, 6);
    conf.path = "/local/domain/0/data/none";
    CHECK_EQ(rig_open(&r, &conf), -ENOENT);
    CHECK(strstr(r.why, "/local/domain/0/data/none/backend: expected"));
    rig_close(&r);
    CHECK(!sim_store_read(r.sim, "/local/domain/0/data/none/state"));
    rig_end(&r);

    rig_new(&r, 7);
    back_state(&r, 1);
    CHECK_EQ(rig_open(&r, &rig_conf), -ETIMEDOUT);
    CHECK_STR(r.why, "the back-end of " FRONT " did not connect within 5 s");
    rig_close(&r);
    rig_end(&r);

    rig_new(&r, 8);
    sim_gate_limit(r.sim, 40);
    CHECK_EQ(rig_open(&r, &rig_conf), -ENOSPC);
    CHECK(strstr(r.why, "64 pages can't be granted"));
    rig_close(&r);
    sim_gate_limit(r.sim, 0);
    r.opened = r.closed = false;
    CHECK_EQ(rig_open(&r, &rig_conf), 0);
    rig_close(&r);
    rig_end(&r);

    rig_new(&r, 9);
    r.fronts.gate = NULL;
    snprintf(r.fronts.why, sizeof r.fronts.why, "no gntalloc");
    CHECK_EQ(rig_open(&r, &rig_conf), -ENODEV);
    CHECK_STR(r.why, "no gntalloc");
    rig_end(&r);
}

static void
times_requests_out(void)
{
    struct front_conf conf = rig_conf;

    rig_new(&r, 10);
    conf.timeout_ns = 1000 * MS;
    REQUIRE(!rig_open(&r, &conf));
    CHECK_EQ(rig_do(&r, &a, BLK_READ, 0, 512), 0);
    rig_run(&r, 5000 * MS); /* nothing is under way: nothing is late */
    CHECK_EQ(r.fatals, 0);
    r.mute = true;
    rig_start(&r, &a, BLK_READ, 0, 512);
    rig_run(&r, 900 * MS);
    CHECK(!a.done);
    rig_run(&r, 500 * MS);
    CHECK(a.done);
    CHECK_EQ(a.error, -EIO);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.why, "did not answer a request within 1000 ms"));
    CHECK_EQ(rig_do(&r, &b, BLK_READ, 0, 512), -EIO);
    rig_close(&r);
    rig_end(&r);
}

/* ---- a back-end that goes and comes back --------------------------------- */

enum leave { LEAVE_CLOSES, LEAVE_RELOADS, LEAVE_VANISHES };

static void
back_leaves(enum leave how)
{
    back_drop(&r);
    switch (how) {
    case LEAVE_CLOSES:
        back_state(&r, 5);
        break;
    case LEAVE_RELOADS:
        back_reload(&r);
        break;
    case LEAVE_VANISHES:
        r.state = 0;
        sim_store_rm(r.sim, BACK);
        break;
    }
}

/* What was under way is done again by the next connection; and not before the
 * last one has nothing left, or an old write would overwrite a newer one. */
static void
goes_on_with_another_connection(void)
{
    for (unsigned how = LEAVE_CLOSES; how <= LEAVE_RELOADS; how++) {
        rig_new(&r, 20 + how);
        REQUIRE(!rig_open(&r, &rig_conf));
        rig_run(&r, 300 * MS); /* so that it is not asked for too soon */
        r.delay_ns = 300 * MS;
        fill(&a, 65536, 3);
        rig_start(&r, &a, BLK_WRITE, 0, 65536);
        rig_start(&r, &b, BLK_READ, 1 << 20, 4096);
        rig_run(&r, MS);
        CHECK_EQ(r.pending, 2);
        back_leaves(how);
        rig_until(&r, &a.done);
        rig_until(&r, &b.done);
        CHECK_EQ(a.error | b.error, 0);
        CHECK(!memcmp(r.disk, a.buf, 65536));
        CHECK(r.refused > 0);
        /* Never from 4 to 1: one that was loaded anew may be about to take
         * the nodes of the last connection. */
        CHECK(strstr(r.shown, how == LEAVE_RELOADS ? "345613" : "34613"));
        CHECK_EQ(r.fronts.ops->counters(r.front)->again, 2);
        CHECK_EQ(r.fronts.ops->counters(r.front)->connects, 2);
        CHECK(strstr(r.last_log, "connected again"));
        CHECK_EQ(r.fatals, 0);
        rig_close(&r);
        rig_end(&r);
    }
}

/* Linux warns, and says so in its log, when it can't connect to what stands in
 * our nodes: so that has to be there for as long as a back-end may take it for
 * the ring, which is until it has followed us to 6. */
static void
leaves_the_last_ring_to_a_back_end_that_is_late(void)
{
    static const unsigned late_ms[] = { 0, 1, 100, 600, 3000 };

    for (unsigned i = 0; i < sizeof late_ms / sizeof late_ms[0]; i++) {
        rig_new(&r, 60 + i);
        REQUIRE(!rig_open(&r, &rig_conf));
        fill(&a, 65536, 4);
        rig_start(&r, &a, BLK_WRITE, 0, 65536);
        rig_run(&r, MS / 100);
        back_reload_late(&r, late_ms[i] * MS);
        rig_until(&r, &a.done);
        CHECK_EQ(a.error, 0);
        CHECK(!memcmp(r.disk, a.buf, 65536));
        CHECK_EQ(r.unable, 0);
        CHECK_EQ(rig_do(&r, &b, BLK_READ, 0, 65536), 0);
        CHECK(!memcmp(r.disk, b.buf, 65536));
        CHECK_EQ(r.fronts.ops->counters(r.front)->connects, 2);
        CHECK_EQ(r.fatals, 0);
        rig_close(&r);
        rig_end(&r);
    }
}

/* A directory that is gone says nothing as long as the ring works; made anew
 * it is another back-end, which may never have seen what was not flushed. */
static void
does_not_hide_what_a_dead_back_end_lost(void)
{
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        rig_new(&r, 30 + flushed);
        REQUIRE(!rig_open(&r, &rig_conf));
        CHECK_EQ(rig_do(&r, &a, BLK_WRITE, 0, 4096), 0);
        if (flushed)
            CHECK_EQ(rig_do(&r, &a, BLK_FLUSH, 0, 0), 0);
        r.state = 0;
        sim_store_rm(r.sim, BACK);
        rig_run(&r, 100 * MS);
        CHECK_EQ(rig_do(&r, &a, BLK_READ, 0, 4096), 0);
        back_leaves(LEAVE_VANISHES);
        rig_start(&r, &b, BLK_READ, 0, 4096);
        rig_run(&r, 100 * MS);
        CHECK(!b.done);
        back_nodes(&r);
        back_state(&r, 2);
        rig_until(&r, &b.done);
        CHECK_EQ(b.error, flushed ? 0 : -EIO);
        CHECK_EQ(r.fatals, !flushed);
        CHECK(flushed || strstr(r.why, "not flushed may be lost"));
        rig_close(&r);
        rig_end(&r);
    }
}

static void
comes_back_with_less(void (*less)(void), const char *what)
{
    char why[200];

    rig_new(&r, 40);
    REQUIRE(!rig_open(&r, &rig_conf));
    less();
    back_leaves(LEAVE_CLOSES);
    rig_start(&r, &a, BLK_READ, 0, 512);
    rig_until(&r, &a.done);
    CHECK_EQ(a.error, -EIO);
    snprintf(why, sizeof why, "the back-end of " FRONT " came back with %s",
             what);
    CHECK_STR(r.why, why);
    rig_close(&r);
    rig_end(&r);
}

static void
less_segments(void)
{
    r.segments = 0;
}

static void
less_size(void)
{
    r.size /= 2;
}

static void
less_flush(void)
{
    r.no_flush = true;
}

static void
less_sectors(void)
{
    r.sector = 4096;
}

static void
less_writes(void)
{
    r.readonly = true;
}

static void
keeps_what_it_promised(void)
{
    comes_back_with_less(less_segments, "shorter requests");
    comes_back_with_less(less_sectors, "longer sectors");
    comes_back_with_less(less_size, "a shorter disk");
    comes_back_with_less(less_flush, "no flush");
    comes_back_with_less(less_writes, "no writes");
}

static void
passes_a_new_size_on(void)
{
    rig_new(&r, 50);
    r.size = DISK_SIZE / 2;
    back_nodes(&r);
    REQUIRE(!rig_open(&r, &rig_conf));
    CHECK_EQ(r.fronts.ops->info(r.front)->size, DISK_SIZE / 2);
    r.size = DISK_SIZE;
    chan_resize(r.chan, r.size);
    back_nodes(&r);
    back_state(&r, 4);
    rig_run(&r, 100 * MS);
    CHECK_EQ(r.changes, 1);
    CHECK_EQ(r.fronts.ops->info(r.front)->size, DISK_SIZE);
    CHECK_EQ(rig_do(&r, &a, BLK_WRITE, DISK_SIZE - 512, 512), 0);
    rig_close(&r);
    rig_end(&r);
}

/* ---- all of it, at random ------------------------------------------------ */

enum { WORKERS = 48, AREA = 64 << 10, STEPS = 40 };

static struct worker {
    struct rig_io io;
    uint8_t want[AREA];
    unsigned steps;
} worker[WORKERS];

static void
worker_ended(struct worker *w)
{
    const struct front_io *io = &w->io.io;
    uint64_t at = io->off % AREA;

    rig_give_back(&w->io);
    CHECK_EQ(w->io.error, 0);
    if (io->op == BLK_WRITE)
        memcpy(w->want + at, w->io.buf, io->len);
    if (io->op == BLK_READ)
        CHECK(!memcmp(w->want + at, w->io.buf, io->len));
    if (io->op == BLK_DISCARD)
        memset(w->want + at, 0, io->len);
    /* All of its own had ended, in whichever ring. */
    if (io->op == BLK_FLUSH)
        CHECK(!memcmp(w->want, r.medium + (w - worker) * AREA, AREA));
}

static void
worker_step(struct worker *w, unsigned i)
{
    uint32_t most = r.fronts.ops->info(r.front)->segments * 4096;
    uint32_t len =
        (uint32_t)(1 + sim_below(r.sim, (most < AREA ? most : AREA) / 512)) *
        512;
    uint64_t at = sim_below(r.sim, (AREA - len) / 512 + 1) * 512;
    unsigned dice = (unsigned)sim_below(r.sim, 16);
    int op = dice < 7    ? BLK_WRITE
             : dice < 14 ? BLK_READ
             : dice < 15 ? BLK_FLUSH
                         : BLK_DISCARD;

    fill(&w->io, len, (unsigned)sim_random(r.sim));
    if (op == BLK_FLUSH)
        at = len = 0;
    w->steps++;
    if (dice < 14 && sim_chance(r.sim, 500000) &&
        rig_start_lent(&r, &w->io, op, i * AREA + at, len))
        return;
    rig_start(&r, &w->io, op, i * AREA + at, len);
}

static void
one_history(uint64_t seed)
{
    struct front_conf conf = rig_conf;
    struct sim_tap_faults faults = { .spurious = 100000 };
    unsigned done = 0, rounds = 0;

    rig_new(&r, seed);
    sim_tap_faults(r.sim, &faults);
    conf.order = (unsigned)sim_below(r.sim, 5);
    conf.pages = 32 + (unsigned)sim_below(r.sim, 200);
    conf.queues = 1 + (unsigned)sim_below(r.sim, 4);
    r.order = (unsigned)sim_below(r.sim, 5);
    r.segments = sim_chance(r.sim, 500000) ? 0 : 32;
    back_nodes(&r);
    REQUIRE(!rig_open(&r, &conf));
    memset(worker, 0, sizeof worker);
    while (done < WORKERS && rounds++ < 200000) {
        rig_run(&r, MS / 4);
        done = 0;
        for (unsigned i = 0; i < WORKERS; i++) {
            struct worker *w = &worker[i];

            if (w->steps && !w->io.done)
                continue;
            if (w->steps && w->steps <= STEPS)
                worker_ended(w);
            if (w->steps < STEPS)
                worker_step(w, i);
            else
                w->steps = STEPS + 1;
            done += w->steps > STEPS;
        }
        if (sim_chance(r.sim, 400) && r.state) {
            r.queues = 1 + (unsigned)sim_below(r.sim, 4);
            back_nodes(&r);
            back_leaves((enum leave)sim_below(r.sim, 2));
        }
    }
    CHECK_EQ(done, WORKERS);
    CHECK_EQ(r.fatals, 0);
    CHECK(r.fronts.ops->counters(r.front)->straight > WORKERS);
    CHECK(r.fronts.ops->counters(r.front)->copied > WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK(!memcmp(worker[i].want, r.disk + i * AREA, AREA));
    rig_close(&r);
    CHECK_EQ(sim_mapped(r.sim, OURS), 0);
    rig_end(&r);
}

static void
keeps_the_disk_right_at_random(void)
{
    for (uint64_t seed = 100; seed < 120 && !test_failures; seed++) {
        one_history(seed);
        if (test_failures)
            printf("seed %" PRIu64 "\n", seed);
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_open(BLK_ERR, false);
    TEST(reads_what_it_wrote);
    TEST(waits_for_pages_and_slots);
    TEST(drops_old_nodes);
    TEST(takes_over_from_a_dead_process);
    TEST(says_why_it_cannot_open);
    TEST(times_requests_out);
    TEST(goes_on_with_another_connection);
    TEST(leaves_the_last_ring_to_a_back_end_that_is_late);
    TEST(does_not_hide_what_a_dead_back_end_lost);
    TEST(keeps_what_it_promised);
    TEST(passes_a_new_size_on);
    TEST(keeps_the_disk_right_at_random);
    return test_end();
}
