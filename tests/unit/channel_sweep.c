/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a sweep over several rings and channels costs, and who comes first. */
#include <errno.h>

#include "channel/internal.h"
#include "tests/unit/channel_rig.h"

/* Three channels of two rings each on one tap. */
struct many {
    struct fake fake;
    struct sweep *sweep;
    struct front front[6];
    struct sink sink[3];
    struct chan *chan[3];
};

static void
many_new(struct many *m)
{
    fake_init(&m->fake);
    REQUIRE(!sweep_new(&m->sweep, &m->fake.tap));
    for (unsigned i = 0; i < 6; i++)
        front_init(&m->front[i], &m->fake, CHAN_ABI_64, 0, RING_REF + i,
                   100 + i, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct chan_params p;
        char why[200];

        sink_init(&m->sink[i], SIZE);
        front_params(&m->front[i * 2], 2, &p);
        REQUIRE(!chan_open(&m->chan[i], m->sweep, &p, &sink_ops, &m->sink[i],
                           -1, why, sizeof(why)));
    }
    fake_run(&m->fake);
    m->fake.copy_calls = m->fake.copies = m->fake.unmask_calls = 0;
}

static void
many_end(struct many *m)
{
    for (unsigned i = 0; i < 3; i++) {
        chan_close(m->chan[i]);
        sink_end(&m->sink[i]);
    }
    sweep_free(m->sweep);
    CHECK_EQ(m->fake.maps, 0);
    CHECK_EQ(fake_timers(&m->fake), 0);
    fake_end(&m->fake);
}

static void
push_all(struct many *m, uint8_t op, unsigned n, unsigned segs)
{
    for (unsigned i = 0; i < 6; i++) {
        struct blkif_op r = rw(op, i, i * 8, segs);

        for (unsigned k = 0; k < n; k++)
            front_put(&m->front[i], &r);
        front_push(&m->front[i]);
    }
}

static unsigned
collect(struct front *f)
{
    struct front_response rsp;
    unsigned n = 0;

    for (; front_get(f, &rsp); n++)
        CHECK_EQ(rsp.status, 0);
    return n;
}

/* One copy in for all WRITEs, one out for all READs, one push and at most one
 * event per ring, one unmask. */
static void
batches(void)
{
    static struct many m;

    many_new(&m);
    push_all(&m, BLKIF_WRITE, 10, 3);
    fake_run(&m.fake);
    CHECK_EQ(m.fake.copy_calls, 1);
    CHECK_EQ(m.fake.copies, 6 * 10 * 3);
    CHECK_EQ(m.fake.unmask_calls, 1);
    for (unsigned i = 0; i < 6; i++) {
        CHECK_EQ(collect(&m.front[i]), 10);
        CHECK_EQ(fake_port(&m.fake, 100 + i)->notified, 1);
    }
    push_all(&m, BLKIF_READ, 10, 2);
    fake_run(&m.fake);
    CHECK_EQ(m.fake.copy_calls, 2);
    CHECK_EQ(m.fake.unmask_calls, 2);
    for (unsigned i = 0; i < 6; i++) {
        CHECK_EQ(collect(&m.front[i]), 10);
        CHECK_EQ(fake_port(&m.fake, 100 + i)->notified, 2);
    }
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(chan_stats(m.chan[i])->copy_calls, 2);
        CHECK_EQ(chan_stats(m.chan[i])->copies, 2 * 10 * 5);
        CHECK_EQ(chan_stats(m.chan[i])->notifies, 4);
        CHECK_EQ(chan_stats(m.chan[i])->events, 6);
    }
    many_end(&m);
}

/* Segments of INDIRECT requests come in one copy as well, and only as many
 * bytes as there are segments. */
static void
batches_indirect(void)
{
    static struct many m;
    struct blkif_op op = { .op = BLKIF_INDIRECT,
                           .inner = BLKIF_READ,
                           .nsegs = 12,
                           .gref = { DATA_REF + 400 } };

    many_new(&m);
    for (unsigned i = 0; i < 12; i++) {
        struct blkif_seg seg = { .gref = DATA_REF + i, .last = 7 };

        memcpy(fake_page(&m.fake, DATA_REF + 400) + i * 8, &seg, 8);
    }
    m.fake.scramble = false;
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 5; k++)
            front_put(&m.front[i], &op);
        front_push(&m.front[i]);
    }
    fake_run(&m.fake);
    CHECK_EQ(m.fake.copy_calls, 2);
    CHECK_EQ(m.fake.copies, 30 + 30 * 12);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(collect(&m.front[i]), 5);
    many_end(&m);
}

/* A bad reference of one guest is nobody else's trouble. */
static void
errors_stay_at_home(void)
{
    static struct many m;
    struct blkif_op bad = rw(BLKIF_WRITE, 1, 0, 3);
    struct front_response rsp;

    many_new(&m);
    bad.seg[2].gref = 0;
    front_put(&m.front[0], &bad);
    push_all(&m, BLKIF_WRITE, 3, 3);
    fake_run(&m.fake);
    CHECK_EQ(m.fake.copy_calls, 1);
    CHECK_EQ(collect(&m.front[0]), 3);
    for (unsigned i = 1; i < 6; i++)
        CHECK_EQ(collect(&m.front[i]), 3);
    fake_pass(&m.fake, 2000000);
    CHECK(front_get(&m.front[0], &rsp));
    CHECK_EQ(rsp.status, -1);
    many_end(&m);
}

/* A ring full of long requests does not hold up a short one: a budget per
 * ring and pass. */
static void
rings_take_turns(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    unsigned before = 0;

    rig_new(&g, CHAN_ABI_64, 4, 2);
    g.sink.hold = true;
    for (unsigned i = 0; i < 512; i++)
        front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    front_put(&g.front[1], &op);
    front_push(&g.front[1]);
    fake_round(&g.fake);
    CHECK_EQ(g.sink.n, 65);
    for (unsigned i = 0; i < g.sink.n && !g.sink.io[i]->queue; i++)
        before++;
    CHECK(before <= SWEEP_BUDGET);
    /* The port of the ring that goes on stays masked, the other one's not. */
    CHECK(fake_port(&g.fake, 100)->masked);
    CHECK(!fake_port(&g.fake, 101)->masked);
    CHECK(fake_round(&g.fake));
    CHECK_EQ(g.sink.n, 129);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 513);
    CHECK(!fake_port(&g.fake, 100)->masked);
    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    rig_end(&g);
}

/* Completed at once, by a guest that refills at once: still one budget per
 * round, so that the loop comes to do its other work. */
static void
a_quick_disk_does_not_hold_the_loop(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);
    unsigned given;

    rig_new(&g, CHAN_ABI_64, 4, 1);
    for (unsigned i = 0; i < 512; i++)
        front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    for (unsigned round = 0; round < 8; round++) {
        given = g.sink.given;
        fake_round(&g.fake);
        CHECK_EQ(g.sink.given - given, SWEEP_BUDGET);
    }
    fake_run(&g.fake);
    CHECK_EQ(collect(&g.front[0]), 512);
    rig_end(&g);
}

/* Events without requests: after a few, the port stays masked for a while;
 * a request that comes meanwhile is served, if late by a moment. */
static void
storms_are_slowed(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);
    unsigned rounds = 0;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    for (unsigned ms = 0; ms < 100; ms++) {
        for (unsigned i = 0; i < 1000; i++) {
            fake_fire(&g.fake, 100);
            if (fake_port(&g.fake, 100)->masked)
                break;
            fake_run(&g.fake);
            rounds++;
        }
        fake_pass(&g.fake, 1000000);
    }
    CHECK(rounds < 1000);
    CHECK(chan_stats(g.chan)->spurious > 50);
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    fake_pass(&g.fake, 1100000);
    CHECK_EQ(collect(&g.front[0]), 1);
    /* And good manners are rewarded. */
    for (unsigned i = 0; i < 100; i++) {
        front_put(&g.front[0], &op);
        CHECK(front_push(&g.front[0]));
        fake_run(&g.fake);
        CHECK_EQ(collect(&g.front[0]), 1);
    }
    rig_end(&g);
}

/* The front-end pushes between our look and our sleep: the event comes. */
static void
no_lost_wake_ups(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);

    rig_prepare(&g, CHAN_ABI_X86_32, 0, 1, UINT32_MAX - 1);
    rig_open(&g);
    for (unsigned i = 0; i < 200; i++) {
        unsigned n = 1 + i % 5;

        for (unsigned k = 0; k < n; k++) {
            front_put(&g.front[0], &op);
            CHECK_EQ(front_push(&g.front[0]), k == 0);
        }
        fake_run(&g.fake);
        CHECK_EQ(collect(&g.front[0]), n);
        CHECK_EQ(front_field(&g.front[0], 4), g.front[0].req + 1);
    }
    rig_end(&g);
}

/* Found when the daemon comes up: pushed before it listened. */
static void
sees_what_was_there_before(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    for (unsigned i = 0; i < 32; i++)
        front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    rig_open(&g);
    CHECK_EQ(collect(&g.front[0]), 32);
    rig_end(&g);
}

static void
the_peer_hangs_up(void)
{
    static struct many m;

    many_new(&m);
    m.fake.tap.broken(m.fake.tap.ctx, -EPIPE);
    fake_run(&m.fake);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(m.sink[i].broken, 1);
        CHECK_STR(m.sink[i].why, "the device channel is gone: Broken pipe");
    }
    m.fake.tap.broken(m.fake.tap.ctx, -EPIPE);
    fake_run(&m.fake);
    CHECK_EQ(m.sink[0].broken, 1);
    many_end(&m);
}

static void
unknown_ports(void)
{
    static struct many m;
    uint32_t ports[] = { 0, 31, 1u << 20, UINT32_MAX };

    many_new(&m);
    m.fake.tap.fired(m.fake.tap.ctx, ports, 4);
    fake_run(&m.fake);
    many_end(&m);
}

/* More pieces than fit in a call: several calls, and nothing lost. */
static void
more_than_one_batch(void)
{
    static struct rig g;
    struct blkif_op op = { .op = BLKIF_INDIRECT,
                           .inner = BLKIF_WRITE,
                           .nsegs = 256,
                           .gref = { DATA_REF + 400 } };

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.buffer_max = 64 << 20;
    rig_open(&g);
    g.sink.hold = true;
    fill(&g, DATA_REF, 256, 1);
    for (unsigned i = 0; i < 256; i++) {
        struct blkif_seg seg = { .gref = DATA_REF + i, .last = 7 };

        memcpy(fake_page(&g.fake, DATA_REF + 400) + i * 8, &seg, 8);
    }
    for (unsigned i = 0; i < 32; i++) {
        op.sector = i * 2048;
        op.inner = BLKIF_WRITE;
        front_put(&g.front[0], &op);
    }
    front_push(&g.front[0]);
    g.fake.copy_calls = 0;
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 32);
    CHECK_EQ(g.fake.copy_calls, 1 + 32 * 256 / SWEEP_COPIES);
    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    CHECK_EQ(collect(&g.front[0]), 32);
    for (unsigned i = 0; i < 32; i++) {
        CHECK(!memcmp(g.sink.disk + (size_t)i * 1048576,
                      fake_page(&g.fake, DATA_REF), 1048576));
        op.sector = i * 2048;
        op.inner = BLKIF_READ;
        front_put(&g.front[0], &op);
    }
    front_push(&g.front[0]);
    g.fake.copy_calls = 0;
    fake_run(&g.fake);
    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    CHECK_EQ(collect(&g.front[0]), 32);
    CHECK_EQ(g.fake.copy_calls, 1 + 32 * 256 / SWEEP_COPIES);
    rig_end(&g);
}

/* ---- the guest writes while we copy -------------------------------------- */

static struct rig writing;
static struct tap_ops writing_ops;
static const struct tap_ops *plain_ops;
static uint32_t write_prod; /* what it writes to req_prod; 0: one request */

static int
copy_and_write(struct tap *tap, struct tap_copy *c, unsigned n)
{
    struct blkif_op op = rw(BLKIF_FLUSH, 2, 0, 0);

    tap->ops = plain_ops; /* once */
    if (write_prod) {
        front_set(&writing.front[0], 0, write_prod);
    } else {
        front_put(&writing.front[0], &op);
        CHECK(!front_push(&writing.front[0])); /* it need not send an event */
    }
    return plain_ops->copy(tap, c, n);
}

static void
ask_and_write(uint32_t prod)
{
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);

    rig_new(&writing, CHAN_ABI_64, 0, 1);
    write_prod = prod;
    plain_ops = writing.fake.tap.ops;
    writing_ops = *plain_ops;
    writing_ops.copy = copy_and_write;
    front_put(&writing.front[0], &op);
    front_push(&writing.front[0]);
    writing.fake.tap.ops = &writing_ops;
    fake_run(&writing.fake);
    CHECK(writing.fake.tap.ops == plain_ops);
}

/* After we took all there was, before we sleep: seen, without an event. */
static void
comes_before_we_sleep(void)
{
    ask_and_write(0);
    CHECK_EQ(writing.sink.broken, 0);
    CHECK_EQ(collect(&writing.front[0]), 2);
    rig_end(&writing);
}

static void
breaks_before_we_sleep(void)
{
    ask_and_write(99);
    CHECK_EQ(writing.sink.broken, 1);
    CHECK(strstr(writing.sink.why, "found 99"));
    rig_end(&writing);
}

/* ---- ports --------------------------------------------------------------- */

/* What did not fire is not unmasked: a call for nothing. */
static void
unmasks_what_fired(void)
{
    static struct rig g;
    char why[200];

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    REQUIRE(!chan_open(&g.chan, g.sweep, &g.params, &sink_ops, &g.sink, -1, why,
                       sizeof(why)));
    fake_port(&g.fake, 100)->pending = false;
    fake_run(&g.fake);
    CHECK_EQ(g.fake.unmask_calls, 0);
    fake_fire(&g.fake, 100);
    fake_run(&g.fake);
    CHECK_EQ(g.fake.unmask_calls, 1);
    rig_end(&g);
}

static int
bind_too_high(struct tap *tap, uint32_t domid, uint32_t remote)
{
    (void)tap;
    (void)domid;
    (void)remote;
    return 1 << 17;
}

static void
unbind_nothing(struct tap *tap, int port)
{
    (void)tap;
    CHECK_EQ(port, 1 << 17);
}

static void
a_port_that_xen_has_not(void)
{
    static struct rig g;
    struct tap_ops ops;
    char why[200];

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    plain_ops = g.fake.tap.ops;
    ops = *plain_ops;
    ops.bind = bind_too_high;
    ops.unbind = unbind_nothing;
    g.fake.tap.ops = &ops;
    CHECK_EQ(chan_open(&g.chan, g.sweep, &g.params, &sink_ops, &g.sink, -1, why,
                       sizeof(why)),
             -ERANGE);
    CHECK(strstr(why, "can't be set up"));
    CHECK_EQ(g.fake.maps, 0);
    g.fake.tap.ops = plain_ops;
    rig_open(&g);
    rig_end(&g);
}

static int
bind_from_above(struct tap *tap, uint32_t domid, uint32_t remote)
{
    struct fake *f =
        (struct fake *)(void *)((char *)tap - offsetof(struct fake, tap));
    int port = plain_ops->bind(tap, domid, remote);

    for (int i = 1; i < 9; i++)
        f->port[i].bound = false;
    return port;
}

/* The second ring's port may be lower than the first one's. */
static void
ports_in_any_order(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    struct tap_ops ops;
    char why[200];

    rig_prepare(&g, CHAN_ABI_64, 0, 2, 0);
    plain_ops = g.fake.tap.ops;
    ops = *plain_ops;
    ops.bind = bind_from_above;
    g.fake.tap.ops = &ops;
    for (int i = 1; i < 9; i++) /* somebody else's, until the first is bound */
        g.fake.port[i].bound = true;
    REQUIRE(!chan_open(&g.chan, g.sweep, &g.params, &sink_ops, &g.sink, -1, why,
                       sizeof(why)));
    CHECK(fake_port(&g.fake, 100) > fake_port(&g.fake, 101));
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(collect(&g.front[0]), 1);
    chan_close(g.chan);
    g.chan = NULL;
    g.fake.tap.ops = plain_ops;
    rig_end(&g);
}

/* ---- who goes takes only what is its own --------------------------------- */

static void
closing_one_leaves_the_others(void)
{
    static struct many m;

    many_new(&m);
    for (unsigned i = 0; i < 3; i++)
        m.sink[i].hold = true;
    push_all(&m, BLKIF_WRITE, 2, 1);
    fake_run(&m.fake);
    for (unsigned i = 0; i < 3; i++)
        sink_complete_all(&m.sink[i]); /* ended, not yet published */
    for (unsigned i = 0; i < 6; i++) {
        uint32_t port = (uint32_t)(fake_port(&m.fake, 100 + i) - m.fake.port);

        m.fake.tap.fired(m.fake.tap.ctx, &port, 1); /* and their turn is due */
    }
    chan_close(m.chan[1]);
    m.chan[1] = NULL;
    fake_run(&m.fake);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(collect(&m.front[i]), i / 2 == 1 ? 0 : 2);
    m.sink[0].hold = m.sink[2].hold = false;
    for (unsigned i = 0; i < 6; i += i == 1 ? 3 : 1) {
        struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);

        front_put(&m.front[i], &op);
        front_push(&m.front[i]);
        fake_run(&m.fake);
        CHECK_EQ(collect(&m.front[i]), 1);
    }
    many_end(&m);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(batches);
    TEST(batches_indirect);
    TEST(errors_stay_at_home);
    TEST(rings_take_turns);
    TEST(a_quick_disk_does_not_hold_the_loop);
    TEST(storms_are_slowed);
    TEST(no_lost_wake_ups);
    TEST(sees_what_was_there_before);
    TEST(the_peer_hangs_up);
    TEST(unknown_ports);
    TEST(more_than_one_batch);
    TEST(comes_before_we_sleep);
    TEST(breaks_before_we_sleep);
    TEST(unmasks_what_fired);
    TEST(a_port_that_xen_has_not);
    TEST(ports_in_any_order);
    TEST(closing_one_leaves_the_others);
    return test_end();
}
