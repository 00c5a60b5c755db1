/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel's limits, its beginning and its end. */
#include <errno.h>
#include <sys/stat.h>

#include "channel/internal.h"
#include "tests/unit/channel_rig.h"

/* ---- limits -------------------------------------------------------------- */

static void
put_indirect(struct rig *g, uint8_t inner, uint64_t id, uint16_t nsegs)
{
    struct blkif_op op = { .op = BLKIF_INDIRECT,
                           .inner = inner,
                           .id = id,
                           .nsegs = nsegs,
                           .gref = { DATA_REF + 400 } };

    for (unsigned i = 0; i < 256; i++) {
        struct blkif_seg seg = { .gref = DATA_REF + i, .last = 7 };

        memcpy(fake_page(&g->fake, DATA_REF + 400) + i * 8, &seg, 8);
    }
    front_put(&g->front[0], &op);
}

static void
put_megabyte(struct rig *g, uint8_t inner, uint64_t id)
{
    put_indirect(g, inner, id, 256);
}

/* No buffer: consuming stops, nothing fails, and goes on. */
static void
buffers_run_out(uint8_t inner)
{
    static struct rig g;
    struct front_response rsp;
    unsigned answered = 0;

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.buffer_max = 2 << 20;
    rig_open(&g);
    g.sink.hold = true;
    for (uint64_t i = 0; i < 32; i++)
        put_megabyte(&g, inner, i);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 2);
    for (unsigned i = 0; i < 100 && answered < 32; i++) {
        CHECK(g.sink.n <= 2);
        CHECK(g.sink.n);
        sink_complete(&g.sink, i % g.sink.n);
        fake_run(&g.fake);
        while (front_get(&g.front[0], &rsp)) {
            CHECK_EQ(rsp.status, 0);
            answered++;
        }
    }
    CHECK_EQ(answered, 32);
    rig_end(&g);
}

static void
buffers_run_out_in_both_directions(void)
{
    buffers_run_out(BLKIF_WRITE);
    buffers_run_out(BLKIF_READ);
}

/* A long request is not overtaken for ever by short ones that still fit. */
static void
who_waits_first_goes_first(void)
{
    static struct rig g;

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.buffer_max = 1 << 20;
    rig_open(&g);
    g.sink.hold = true;
    put_indirect(&g, BLKIF_READ, 1, 1);
    put_megabyte(&g, BLKIF_READ, 2);
    put_indirect(&g, BLKIF_READ, 1, 1);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 1);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    REQUIRE(g.sink.n == 1);
    CHECK_EQ(g.sink.io[0]->len, 1 << 20);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 1);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK_EQ(chan_inflight(g.chan), 0);
    rig_end(&g);
}

/* While requests wait for buffers the ring is left alone. */
static void
consumption_stops(void)
{
    static struct rig g;

    rig_prepare(&g, CHAN_ABI_64, 1, 1, 0);
    g.params.buffer_max = 1 << 20;
    rig_open(&g);
    g.sink.hold = true;
    for (uint64_t i = 0; i < 4; i++)
        put_megabyte(&g, BLKIF_WRITE, i);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(chan_inflight(g.chan), 4);
    for (uint64_t i = 0; i < 60; i++)
        put_megabyte(&g, BLKIF_WRITE, i);
    front_push(&g.front[0]);
    fake_fire(&g.fake, 100);
    fake_run(&g.fake);
    CHECK_EQ(chan_inflight(g.chan), 4);
    CHECK(fake_port(&g.fake, 100)->masked);
    CHECK(chan_stats(g.chan)->stalls > 0);
    while (g.sink.n) {
        sink_complete(&g.sink, 0);
        fake_run(&g.fake);
    }
    CHECK_EQ(g.sink.given, 64);
    rig_end(&g);
}

static void
inflight_has_a_limit(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 1);

    rig_prepare(&g, CHAN_ABI_64, 0, 2, 0);
    g.params.inflight_max = 5;
    rig_open(&g);
    CHECK_EQ(chan_depth(g.chan), 5);
    g.sink.hold = true;
    for (unsigned q = 0; q < 2; q++) {
        for (int i = 0; i < 32; i++)
            front_put(&g.front[q], &op);
        front_push(&g.front[q]);
    }
    fake_run(&g.fake);
    while (g.sink.n) {
        CHECK(g.sink.n <= 5);
        CHECK_EQ(chan_inflight(g.chan), g.sink.n);
        sink_complete(&g.sink, 0);
        fake_run(&g.fake);
    }
    CHECK_EQ(g.sink.given, 64);
    rig_end(&g);
    rig_new(&g, CHAN_ABI_64, 4, 2);
    CHECK_EQ(chan_depth(g.chan), 1024);
    rig_end(&g);
}

static void
resizes(void)
{
    static struct rig g;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    chan_resize(g.chan, 8192);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 8, 1)), 0);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 9, 1)), -1);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 16, 1)), -1);
    chan_resize(g.chan, 16384);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 16, 1)), 0);
    rig_end(&g);
}

/* ---- beginning and end --------------------------------------------------- */

static void
drains(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);

    rig_new(&g, CHAN_ABI_64, 0, 1);
    chan_drain(g.chan, sink_idle, &g.sink);
    CHECK_EQ(g.sink.idle, 0); /* never from inside */
    fake_run(&g.fake);
    CHECK_EQ(g.sink.idle, 1);
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.given, 0);
    g.sink.hold = true;
    chan_resume(g.chan);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.given, 1);
    chan_drain(g.chan, sink_idle, &g.sink);
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.idle, 1);
    CHECK_EQ(g.sink.given, 1);
    sink_complete(&g.sink, 0);
    CHECK_EQ(g.sink.idle, 1);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.idle, 2);
    CHECK_EQ(front_field(&g.front[0], 8), 1); /* published before */
    g.sink.hold = false;
    chan_resume(g.chan);
    fake_run(&g.fake);
    CHECK_EQ(front_field(&g.front[0], 8), 2);
    CHECK_EQ(g.sink.idle, 2);
    rig_end(&g);
}

/* What is throttled or waits for buffers is in flight, too. */
static void
drains_what_we_hold(void)
{
    static struct rig g;
    struct blkif_op bad = rw(BLKIF_WRITE, 1, 0, 0);

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.buffer_max = 1 << 20;
    rig_open(&g);
    g.sink.hold = true;
    front_put(&g.front[0], &bad);
    put_megabyte(&g, BLKIF_READ, 1);
    put_megabyte(&g, BLKIF_READ, 2);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    chan_drain(g.chan, sink_idle, &g.sink);
    fake_pass(&g.fake, 2000000);
    CHECK_EQ(chan_inflight(g.chan), 2);
    while (g.sink.n) {
        CHECK_EQ(g.sink.idle, 0);
        sink_complete(&g.sink, 0);
        fake_run(&g.fake);
    }
    CHECK_EQ(g.sink.given, 2);
    CHECK_EQ(g.sink.idle, 1);
    rig_end(&g);
}

static void
closes_with_requests_everywhere(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    struct blkif_op bad = rw(BLKIF_WRITE, 1, 0, 0);
    struct blkif_op barrier = rw(BLKIF_BARRIER, 1, 0, 1);

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.buffer_max = 1 << 20;
    rig_open(&g);
    g.sink.hold = true;
    front_put(&g.front[0], &op);
    front_put(&g.front[0], &op);
    front_put(&g.front[0], &bad);
    put_megabyte(&g, BLKIF_READ, 1);
    front_put(&g.front[0], &barrier);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 2);
    sink_complete(&g.sink, 0); /* is on the list of the finished */
    chan_close(g.chan);
    g.chan = NULL;
    CHECK_EQ(g.fake.maps, 0);
    CHECK_EQ(g.fake.binds, 0);
    CHECK_EQ(front_field(&g.front[0], 8), 0);
    fake_run(&g.fake);
    fake_pass(&g.fake, 2000000);
    sink_complete_all(&g.sink);
    CHECK_EQ(front_field(&g.front[0], 8), 0); /* nothing was answered */
    rig_end(&g);
}

static struct rig *closing;
static void
close_in_request(void *ctx, struct chan_io *io)
{
    (void)ctx;
    chan_close(closing->chan);
    closing->chan = NULL;
    chan_complete(io, 0);
}

static void
close_in_broken(void *ctx, const char *why)
{
    (void)why;
    ((struct sink *)ctx)->broken++;
    chan_close(closing->chan);
    closing->chan = NULL;
}

static void
close_in_idle(void *ctx)
{
    sink_idle(ctx);
    chan_close(closing->chan);
    closing->chan = NULL;
}

static void
open_closing(struct rig *g)
{
    static const struct chan_ops ops = { .request = close_in_request,
                                         .broken = close_in_broken };
    char why[200];

    closing = g;
    rig_prepare(g, CHAN_ABI_64, 0, 2, 0);
    REQUIRE(!chan_open(&g->chan, g->sweep, &g->params, &ops, &g->sink, -1, why,
                       sizeof(why)));
    fake_run(&g->fake);
}

static void
closes_from_inside(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);

    open_closing(&g);
    for (unsigned i = 0; i < 8; i++) {
        front_put(&g.front[i & 1], &op);
        front_push(&g.front[i & 1]);
    }
    fake_run(&g.fake);
    CHECK(!g.chan);
    rig_end(&g);
    open_closing(&g);
    front_set(&g.front[0], 0, 77);
    fake_fire(&g.fake, 100);
    chan_drain(g.chan, sink_idle, &g.sink);
    fake_run(&g.fake);
    CHECK(!g.chan);
    CHECK_EQ(g.sink.broken, 1);
    CHECK_EQ(g.sink.idle, 1);
    rig_end(&g);
    open_closing(&g);
    chan_drain(g.chan, close_in_idle, &g.sink);
    fake_run(&g.fake);
    CHECK(!g.chan);
    CHECK_EQ(g.sink.idle, 1);
    rig_end(&g);
}

static int
try_open(struct rig *g, char *why)
{
    int error = chan_open(&g->chan, g->sweep, &g->params, &sink_ops, &g->sink,
                          -1, why, 200);

    CHECK(error < 0);
    CHECK(why[0]);
    CHECK_EQ(g->fake.maps, 0);
    CHECK_EQ(g->fake.binds, 0);
    return error;
}

static void
refuses_to_open(void)
{
    static struct rig g;
    struct chan_params good;
    char why[200];

    rig_prepare(&g, CHAN_ABI_64, 0, 3, 0);
    good = g.params;
    g.fake.fail_map = true;
    CHECK_EQ(try_open(&g, why), -EINVAL);
    CHECK(strstr(why, "can't be mapped (domain 7, first reference 16)"));
    g.fake.fail_map = false;
    g.fake.fail_bind = true;
    CHECK_EQ(try_open(&g, why), -EINVAL);
    CHECK(strstr(why, "event channel 100 of domain 7 (queue 0)"));
    g.fake.fail_bind = false;
    g.params.queue[2].refs[0] = 1;
    CHECK_EQ(try_open(&g, why), -EINVAL);
    CHECK(strstr(why, "ring of queue 2"));
    g.params = good;
    g.params.queues = 0;
    try_open(&g, why);
    g.params.queues = 17;
    try_open(&g, why);
    g.params = good;
    g.params.order = 5;
    try_open(&g, why);
    g.params = good;
    g.params.max_indirect = 257;
    try_open(&g, why);
    g.params = good;
    g.params.domid = 65536;
    try_open(&g, why);
    g.params = good;
    g.params.abi = (enum chan_abi)2;
    try_open(&g, why);
    g.params = good;
    rig_open(&g);
    rig_end(&g);
}

/* 10,000 connections leave nothing behind (XSA-371). */
static void
reconnects(void)
{
    static struct rig g;

    rig_new(&g, CHAN_ABI_64, 0, 2);
    for (int i = 0; i < 2000; i++) {
        struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);

        front_put(&g.front[0], &op);
        front_push(&g.front[0]);
        if (i & 1)
            fake_run(&g.fake);
        chan_close(g.chan);
        CHECK_EQ(g.fake.maps, 0);
        front_init(&g.front[0], &g.fake, CHAN_ABI_64, 0, RING_REF, 100, 0);
        rig_open(&g);
    }
    rig_end(&g);
}

/* Memory that belongs to the channel's descriptors. */
static size_t
file_bytes(int fd)
{
    struct stat st;

    CHECK(!fstat(fd, &st));
    return (size_t)st.st_blocks * 512;
}

static void
an_idle_disk_is_small(void)
{
    static struct rig g;
    size_t bytes;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    for (uint64_t i = 0; i < 8; i++) {
        put_megabyte(&g, BLKIF_WRITE, i);
        front_push(&g.front[0]);
    }
    fake_run(&g.fake);
    CHECK_EQ(g.sink.given, 8);
    CHECK(file_bytes(g.chan->buffers.fd) >= 1 << 20);
    fake_pass(&g.fake, UINT64_C(3000000000));
    CHECK_EQ(file_bytes(g.chan->buffers.fd), 0);
    CHECK_EQ(fake_timers(&g.fake), 0);
    bytes = sizeof(struct chan) + sizeof(struct queue) +
            32 * sizeof(struct req) + file_bytes(g.chan->table.fd) +
            32 * sizeof(uint32_t) + 4 * sizeof(struct buffers_slab);
    printf("# an idle disk: %zu bytes\n", bytes);
    CHECK(bytes < 64 << 10);
    rig_end(&g);
}

/* A request that needs no buffer may be in flight when the last buffer goes
 * cold: its segments stay where they are. */
static void
segments_stay_with_a_request(void)
{
    static struct rig g;
    struct blkif_op flush = { .op = BLKIF_FLUSH };

    rig_new(&g, CHAN_ABI_64, 0, 1);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 2)), 0);
    g.sink.hold = true;
    front_put(&g.front[0], &flush);
    front_push(&g.front[0]);
    fake_pass(&g.fake, UINT64_C(3000000000));
    CHECK_EQ(g.sink.n, 1);
    CHECK_EQ(file_bytes(g.chan->buffers.fd), 0);
    CHECK_EQ(((struct seg *)(void *)g.chan->segs)[1].gref, DATA_REF + 1);
    sink_complete_all(&g.sink);
    g.sink.hold = false;
    fake_run(&g.fake);
    rig_end(&g);
}

static void
a_limit_over_all_slots(void)
{
    static struct rig g;

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.inflight_max = 100;
    rig_open(&g);
    CHECK_EQ(chan_depth(g.chan), 32);
    rig_end(&g);
}

/* Both are told: the ring broke, and, once all has ended, that it is idle. */
static void
breaks_while_draining(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);

    rig_new(&g, CHAN_ABI_64, 0, 1);
    g.sink.hold = true;
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    chan_drain(g.chan, sink_idle, &g.sink);
    front_set(&g.front[0], 0, 77);
    fake_fire(&g.fake, 100);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.broken, 1);
    CHECK_EQ(g.sink.idle, 0);
    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.broken, 1);
    CHECK_EQ(g.sink.idle, 1);
    rig_end(&g);
}

/* One ring of two breaks: nothing more is done for the other. */
static void
one_ring_breaks_both(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);

    rig_new(&g, CHAN_ABI_64, 0, 2);
    front_set(&g.front[1], 0, 77);
    fake_fire(&g.fake, 100);
    fake_fire(&g.fake, 101);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.broken, 1);
    CHECK(fake_port(&g.fake, 100)->masked);
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.given, 0);
    rig_end(&g);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(buffers_run_out_in_both_directions);
    TEST(who_waits_first_goes_first);
    TEST(consumption_stops);
    TEST(inflight_has_a_limit);
    TEST(resizes);
    TEST(drains);
    TEST(drains_what_we_hold);
    TEST(closes_with_requests_everywhere);
    TEST(closes_from_inside);
    TEST(refuses_to_open);
    TEST(reconnects);
    TEST(an_idle_disk_is_small);
    TEST(segments_stay_with_a_request);
    TEST(a_limit_over_all_slots);
    TEST(breaks_while_draining);
    TEST(one_ring_breaks_both);
    return test_end();
}
