/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A front-end that sends rubbish at full speed has bounded work done for it;
 * one that does not, pays nothing. */
#include <errno.h>

#include "channel/internal.h"
#include "tests/unit/channel_rig.h"

enum { SECOND_MS = 1000 };

static unsigned news;

static void
count_news(void *ctx)
{
    (void)ctx;
    news++;
}

/* As sink_ops, with news. */
static struct chan_ops
listening(void)
{
    struct chan_ops ops = sink_ops;

    ops.throttled = count_news;
    news = 0;
    return ops;
}

static void
open_with(struct rig *g, const struct chan_ops *ops, unsigned order,
          unsigned queues)
{
    char why[200] = "";

    rig_prepare(g, CHAN_ABI_64, order, queues, 0);
    REQUIRE(!chan_open(&g->chan, g->sweep, &g->params, ops, &g->sink, -1, why,
                       sizeof why));
    fake_run(&g->fake);
}

static unsigned
collect(struct front *f)
{
    struct front_response rsp;
    unsigned n = 0;

    while (front_get(f, &rsp))
        n++;
    return n;
}

/* All rings are full of op whenever there is room, for so long. */
static void
flood(struct rig *g, const struct blkif_op *op, unsigned queues, unsigned ms)
{
    for (unsigned t = 0; t < 10 * ms; t++) {
        for (unsigned q = 0; q < queues; q++) {
            struct front *f = &g->front[q];

            collect(f);
            while (f->req - f->rsp < f->n)
                front_put(f, op);
            front_push(f);
            fake_fire(&g->fake, 100 + q);
        }
        fake_run(&g->fake);
        fake_pass(&g->fake, 100000);
    }
}

/* However many rings there are: it is the channel that pays. */
static void
rubbish_is_bounded(unsigned queues)
{
    static struct rig g;
    struct blkif_op bad = rw(BLKIF_READ, 1, 0, 0);
    struct chan_ops ops = listening();
    uint64_t first;

    open_with(&g, &ops, 2, queues);
    flood(&g, &bad, queues, SECOND_MS);
    first = chan_stats(g.chan)->malformed;
    CHECK(first >= 5000);
    CHECK(first <= 5500 + 64 * queues);
    flood(&g, &bad, queues, SECOND_MS);
    CHECK(chan_stats(g.chan)->malformed - first <= 5000 + 64 * queues);
    CHECK(chan_stats(g.chan)->malformed - first >= 4000);
    CHECK(chan_stats(g.chan)->throttled > 10);
    /* Each time it opens again the loop wakes up for it. */
    CHECK(chan_stats(g.chan)->throttled <= 250);
    CHECK_EQ(news, 1);
    CHECK_EQ(g.sink.given, 0);
    rig_end(&g);
}

static void
one_ring_is_bounded(void)
{
    rubbish_is_bounded(1);
}

static void
four_rings_are_bounded(void)
{
    rubbish_is_bounded(4);
}

/* What is refused with "not supported" is answered at once, and costs too. */
static void
unknown_operations_are_bounded(void)
{
    static struct rig g;
    struct blkif_op bad = { .op = 77 };
    struct chan_ops ops = listening();

    open_with(&g, &ops, 0, 2);
    flood(&g, &bad, 2, SECOND_MS);
    CHECK(chan_stats(g.chan)->malformed >= 4500);
    CHECK(chan_stats(g.chan)->malformed <= 5500 + 128);
    CHECK_EQ(news, 1);
    rig_end(&g);
}

/* INDIRECT requests are found to be bad only when their segments are here. */
static void
bad_segments_are_bounded(void)
{
    static struct rig g;
    struct blkif_op bad = { .op = BLKIF_INDIRECT,
                            .inner = BLKIF_READ,
                            .nsegs = 20 };
    struct chan_ops ops = listening();

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.max_indirect = 256;
    REQUIRE(!chan_open(&g.chan, g.sweep, &g.params, &ops, &g.sink, -1,
                       (char[200]){ 0 }, 200));
    bad.gref[0] = DATA_REF; /* its segments end before they begin */
    memset(fake_page(&g.fake, DATA_REF), 0xff, 4096);
    flood(&g, &bad, 1, SECOND_MS);
    CHECK(chan_stats(g.chan)->indirect > 1000);
    CHECK(chan_stats(g.chan)->malformed <= 5500 + 64);
    CHECK(chan_stats(g.chan)->throttled > 0);
    rig_end(&g);
}

/* A read that names a page that was not granted has all of its I/O done before
 * that is found out; it pays by the page. */
static void
reads_for_nothing_are_bounded(void)
{
    static struct rig g;
    struct blkif_op bad = rw(BLKIF_READ, 1, 0, 5);
    struct chan_ops ops = listening();
    uint64_t first;

    open_with(&g, &ops, 0, 2);
    bad.seg[4].gref = UINT32_MAX;
    flood(&g, &bad, 2, SECOND_MS);
    first = g.sink.given;
    /* 50 and 500 pages; what was consumed already. */
    CHECK(first >= 100);
    CHECK(first <= 110 + 2 * 32);
    CHECK_EQ(chan_stats(g.chan)->copy_errors, first);
    CHECK_EQ(chan_stats(g.chan)->malformed, 0);
    flood(&g, &bad, 2, SECOND_MS);
    CHECK(g.sink.given - first >= 65);
    CHECK(g.sink.given - first <= 100 + 2 * 32);
    CHECK_EQ(news, 1);
    rig_end(&g);
}

/* Events alone, at every port that lets them through. */
static void
empty_events_are_bounded(void)
{
    static struct rig g;
    struct chan_ops ops = listening();
    uint64_t first;

    open_with(&g, &ops, 0, 4);
    for (unsigned s = 0; s < 2; s++) {
        first = chan_stats(g.chan)->events;
        for (unsigned t = 0; t < 10 * SECOND_MS; t++) {
            for (unsigned q = 0; q < 4; q++)
                fake_fire(&g.fake, 100 + q);
            fake_run(&g.fake);
            fake_pass(&g.fake, 100000);
        }
    }
    /* A shut channel's open ports get one event each. */
    CHECK(chan_stats(g.chan)->events - first <= 600);
    CHECK(chan_stats(g.chan)->events - first >= 250);
    CHECK_EQ(news, 1);
    rig_end(&g);
}

/* ---- who does not pay ---------------------------------------------------- */

static unsigned clock_reads;
static uint64_t (*true_clock)(struct loop *);

static uint64_t
counting_clock(struct loop *l)
{
    clock_reads++;
    return true_clock(l);
}

/* An event that comes after its request was seen is nobody's fault. */
static void
good_manners_cost_nothing(void)
{
    static struct rig g;
    struct chan_ops ops = listening();
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);
    const struct loop_ops *was;
    struct loop_ops counting;

    open_with(&g, &ops, 0, 1);
    was = g.fake.loop.ops;
    counting = *was;
    true_clock = was->now;
    counting.now = counting_clock;
    clock_reads = 0;
    g.fake.loop.ops = &counting;
    for (unsigned i = 0; i < 5000; i++) {
        front_put(&g.front[0], &op);
        front_push(&g.front[0]);
        fake_run(&g.fake);
        fake_fire(&g.fake, 100);
        fake_run(&g.fake);
        CHECK_EQ(collect(&g.front[0]), 1);
    }
    CHECK(chan_stats(g.chan)->spurious >= 5000);
    CHECK_EQ(chan_stats(g.chan)->throttled, 0);
    CHECK_EQ(clock_reads, 0);
    CHECK_EQ(news, 0);
    g.fake.loop.ops = was;
    rig_end(&g);
}

/* A copy that fails as a whole is our trouble, or Xen's. */
static void
our_failures_cost_nothing(void)
{
    static struct rig g;
    struct chan_ops ops = listening();
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 11);

    open_with(&g, &ops, 0, 1);
    g.fake.fail_call = -ENOMEM;
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(ask(&g, op), BLKIF_ERROR);
    CHECK_EQ(chan_stats(g.chan)->copy_errors, 100);
    CHECK_EQ(g.sink.given, 100);
    CHECK_EQ(chan_stats(g.chan)->throttled, 0);
    CHECK_EQ(news, 0);
    rig_end(&g);
}

/* Good requests share the ring with the rubbish and its delay, not for ever. */
static void
good_requests_wait_and_go_on(void)
{
    static struct rig g;
    struct chan_ops ops = listening();
    struct blkif_op bad = rw(BLKIF_READ, 1, 0, 0), op = rw(BLKIF_READ, 2, 0, 1);

    open_with(&g, &ops, 0, 2);
    flood(&g, &bad, 1, SECOND_MS);
    for (unsigned i = 0; !news || fake_timers(&g.fake) == 0; i++) {
        REQUIRE(i < 100);
        flood(&g, &bad, 1, 1);
    }
    front_put(&g.front[1], &op);
    front_push(&g.front[1]);
    fake_fire(&g.fake, 101);
    fake_run(&g.fake);
    for (unsigned ms = 0; ms < 20 && !g.sink.given; ms++)
        fake_pass(&g.fake, 1000000);
    fake_pass(&g.fake, 20000000);
    CHECK_EQ(g.sink.given, 1);
    CHECK_EQ(collect(&g.front[1]), 1);
    /* Ten calm seconds later it is news again. */
    for (unsigned i = 0; i < 11; i++)
        fake_pass(&g.fake, UINT64_C(1000000000));
    flood(&g, &bad, 1, SECOND_MS);
    CHECK_EQ(news, 2);
    rig_end(&g);
}

/* ---- ends ---------------------------------------------------------------- */

static void
shut_now(struct rig *g)
{
    struct blkif_op bad = { .op = 77 };
    struct front_response rsp;
    uint64_t was = chan_stats(g->chan)->throttled;

    for (unsigned i = 0; chan_stats(g->chan)->throttled == was; i++) {
        REQUIRE(i < 5000);
        front_put(&g->front[0], &bad);
        front_push(&g->front[0]);
        fake_fire(&g->fake, 100);
        fake_run(&g->fake);
        while (front_get(&g->front[0], &rsp))
            ;
    }
    CHECK_EQ(fake_timers(&g->fake), 1);
}

static void
drains_while_shut(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_READ, 2, 0, 1);
    struct chan_ops ops = listening();

    open_with(&g, &ops, 0, 2);
    g.sink.hold = true;
    front_put(&g.front[1], &op);
    front_push(&g.front[1]);
    fake_run(&g.fake);
    shut_now(&g);
    chan_drain(g.chan, sink_idle, &g.sink);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.idle, 0);
    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.idle, 1);
    CHECK_EQ(collect(&g.front[1]), 1);
    /* Resumed, it is still shut; and opens by itself. */
    g.sink.hold = false;
    chan_resume(g.chan);
    front_put(&g.front[1], &op);
    front_push(&g.front[1]);
    fake_fire(&g.fake, 101);
    fake_run(&g.fake);
    CHECK_EQ(collect(&g.front[1]), 0);
    fake_pass(&g.fake, 10000000);
    CHECK_EQ(collect(&g.front[1]), 1);
    rig_end(&g);
}

/* rig_end() looks for what is left behind. */
static void
closes_while_shut(void)
{
    static struct rig g;
    struct chan_ops ops = listening();

    open_with(&g, &ops, 0, 2);
    shut_now(&g);
    rig_end(&g);
}

static void
breaks_while_shut(void)
{
    static struct rig g;
    struct chan_ops ops = listening();

    open_with(&g, &ops, 0, 1);
    shut_now(&g);
    front_set(&g.front[0], 0, 0x12345678);
    fake_fire(&g.fake, 100);
    fake_pass(&g.fake, 10000000);
    CHECK_EQ(g.sink.broken, 1);
    rig_end(&g);
}

/* What a sweep had in hand when it was shut was rubbish as well: it stays so
 * for that time, too, and is opened once. */
static void
charged_while_shut(void)
{
    static struct rig g;
    struct chan_ops ops = listening();

    open_with(&g, &ops, 0, 1);
    shut_now(&g);
    throttle_charge(g.chan, UINT64_C(20000000));
    fake_pass(&g.fake, 11000000);
    CHECK(g.chan->shut);
    fake_pass(&g.fake, 5000000);
    CHECK(g.chan->shut);
    fake_pass(&g.fake, 10000000);
    CHECK(!g.chan->shut);
    CHECK_EQ(chan_stats(g.chan)->throttled, 1);
    rig_end(&g);
}

int
main(void)
{
    TEST(one_ring_is_bounded);
    TEST(four_rings_are_bounded);
    TEST(unknown_operations_are_bounded);
    TEST(bad_segments_are_bounded);
    TEST(reads_for_nothing_are_bounded);
    TEST(empty_events_are_bounded);
    TEST(good_manners_cost_nothing);
    TEST(our_failures_cost_nothing);
    TEST(good_requests_wait_and_go_on);
    TEST(drains_while_shut);
    TEST(closes_while_shut);
    TEST(breaks_while_shut);
    TEST(charged_while_shut);
    return test_end();
}
