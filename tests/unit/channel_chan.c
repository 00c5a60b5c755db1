/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole channel, from a front-end's ring to a disk and back. */
#include "tests/test.h"
#include "tests/unit/channel_fake.h"

struct rig {
    struct fake fake;
    struct front front[4];
    struct sink sink;
    struct sweep *sweep;
    struct chan *chan;
    struct chan_params params;
};

enum { RING_REF = 16, DATA_REF = 200, SIZE = 64 << 20 };

static void
rig_open(struct rig *g)
{
    char why[200] = "";
    int error;

    error = chan_open(&g->chan, g->sweep, &g->params, &sink_ops, &g->sink, -1,
                      why, sizeof(why));
    CHECK_EQ(error, 0);
    CHECK_STR(why, "");
    REQUIRE(!error);
    fake_run(&g->fake);
}

static void
rig_prepare(struct rig *g, enum chan_abi abi, unsigned order, unsigned queues,
            uint32_t start)
{
    fake_init(&g->fake);
    sink_init(&g->sink, SIZE);
    REQUIRE(!sweep_new(&g->sweep, &g->fake.tap));
    for (unsigned q = 0; q < queues; q++)
        front_init(&g->front[q], &g->fake, abi, order, RING_REF + (q << order),
                   100 + q, start);
    front_params(g->front, queues, &g->params);
}

static void
rig_new(struct rig *g, enum chan_abi abi, unsigned order, unsigned queues)
{
    rig_prepare(g, abi, order, queues, 0);
    rig_open(g);
}

static void
rig_end(struct rig *g)
{
    chan_close(g->chan);
    fake_run(&g->fake);
    sweep_free(g->sweep);
    CHECK_EQ(g->fake.maps, 0);
    CHECK_EQ(g->fake.binds, 0);
    CHECK_EQ(g->fake.buffers, 0);
    CHECK_EQ(fake_timers(&g->fake), 0);
    sink_end(&g->sink);
    fake_end(&g->fake);
}

static struct blkif_op
rw(uint8_t op, uint64_t id, uint64_t sector, unsigned n)
{
    struct blkif_op r = {
        .op = op, .id = id, .sector = sector, .nsegs = (uint16_t)n
    };

    for (unsigned i = 0; i < n && i < CHAN_DIRECT_MAX; i++)
        r.seg[i] = (struct blkif_seg){ .gref = DATA_REF + i, .last = 7 };
    return r;
}

/* Puts, pushes, runs; the one response's status. */
static int
ask(struct rig *g, struct blkif_op op)
{
    struct front_response rsp = { .status = -99 };

    front_put(&g->front[0], &op);
    front_push(&g->front[0]);
    fake_run(&g->fake);
    fake_pass(&g->fake, 2000000);
    if (!front_get(&g->front[0], &rsp))
        test_fail(__FILE__, __LINE__, "no answer to operation %u", op.op);
    CHECK_EQ(rsp.id, op.id);
    CHECK_EQ(rsp.op, op.op == BLKIF_INDIRECT ? op.inner : op.op);
    CHECK(!front_get(&g->front[0], &rsp));
    return rsp.status;
}

static void
fill(struct rig *g, uint32_t ref, unsigned n, unsigned seed)
{
    for (unsigned i = 0; i < n * 4096; i++)
        fake_page(&g->fake, ref + i / 4096)[i % 4096] =
            (uint8_t)(seed + i * 7 + i / 512);
}

static void
writes_and_reads(enum chan_abi abi)
{
    static struct rig g;

    rig_new(&g, abi, 0, 1);
    fill(&g, DATA_REF, 11, 3);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 77, 1000, 11)), 0);
    for (unsigned i = 0; i < 11; i++) {
        CHECK(!memcmp(g.sink.disk + 512000 + i * 4096,
                      fake_page(&g.fake, DATA_REF + i), 4096));
        memset(fake_page(&g.fake, DATA_REF + i), 0, 4096);
    }
    CHECK_EQ(ask(&g, rw(BLKIF_READ, 78, 1000, 11)), 0);
    for (unsigned i = 0; i < 11; i++)
        CHECK(!memcmp(g.sink.disk + 512000 + i * 4096,
                      fake_page(&g.fake, DATA_REF + i), 4096));
    CHECK_EQ(ask(&g, rw(BLKIF_FLUSH, 79, UINT64_MAX, 0)), 0);
    CHECK_EQ(chan_stats(g.chan)->bytes[BLK_WRITE], 11 * 4096);
    rig_end(&g);
}

static void
writes_and_reads_64(void)
{
    writes_and_reads(CHAN_ABI_64);
}

static void
writes_and_reads_x86_32(void)
{
    writes_and_reads(CHAN_ABI_X86_32);
}

static void
indirect(enum chan_abi abi)
{
    static struct rig g;
    struct blkif_op op = { .op = BLKIF_INDIRECT,
                           .inner = BLKIF_WRITE,
                           .id = 5,
                           .sector = 8,
                           .nsegs = 256,
                           .gref = { DATA_REF + 400 } };

    rig_new(&g, abi, 0, 1);
    fill(&g, DATA_REF, 256, 9);
    for (unsigned i = 0; i < 256; i++) {
        struct blkif_seg seg = { .gref = DATA_REF + i, .last = 7 };

        memcpy(fake_page(&g.fake, DATA_REF + 400) + i * 8, &seg, 8);
    }
    CHECK_EQ(ask(&g, op), 0);
    for (unsigned i = 0; i < 256; i++) {
        CHECK(!memcmp(g.sink.disk + 4096 + i * 4096,
                      fake_page(&g.fake, DATA_REF + i), 4096));
        memset(fake_page(&g.fake, DATA_REF + i), 0, 4096);
    }
    op.inner = BLKIF_READ;
    CHECK_EQ(ask(&g, op), 0);
    for (unsigned i = 0; i < 256; i++)
        CHECK(!memcmp(g.sink.disk + 4096 + i * 4096,
                      fake_page(&g.fake, DATA_REF + i), 4096));
    rig_end(&g);
}

static void
indirect_64(void)
{
    indirect(CHAN_ABI_64);
}

static void
indirect_x86_32(void)
{
    indirect(CHAN_ABI_X86_32);
}

static void
discards(void)
{
    static struct rig g;
    struct blkif_op op = {
        .op = BLKIF_DISCARD, .id = 1, .sector = 8, .nr_sectors = 8
    };

    rig_new(&g, CHAN_ABI_64, 0, 1);
    memset(g.sink.disk, 1, 16384);
    CHECK_EQ(ask(&g, op), 0);
    CHECK_EQ(g.sink.disk[4095], 1);
    CHECK_EQ(g.sink.disk[4096], 0);
    CHECK_EQ(g.sink.disk[8191], 0);
    CHECK_EQ(g.sink.disk[8192], 1);
    op.flag = 1;
    CHECK_EQ(ask(&g, op), -2);
    op.flag = 0;
    op.nr_sectors = UINT64_MAX;
    CHECK_EQ(ask(&g, op), -1);
    rig_end(&g);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(writes_and_reads_64);
    TEST(writes_and_reads_x86_32);
    TEST(indirect_64);
    TEST(indirect_x86_32);
    TEST(discards);
    return test_end();
}
