/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole channel, from a front-end's ring to a disk and back. */
#include <errno.h>

#include "tests/unit/channel_rig.h"

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
    op.nr_sectors = 0; /* nothing to do: no disk is asked */
    CHECK_EQ(ask(&g, op), 0);
    CHECK_EQ(g.sink.given, 1);
    op.nr_sectors = 8;
    op.flag = 1;
    CHECK_EQ(ask(&g, op), -2);
    op.flag = 0;
    op.nr_sectors = UINT64_MAX;
    CHECK_EQ(ask(&g, op), -1);
    rig_end(&g);
}

/* ---- order --------------------------------------------------------------- */

static void
flush_with_data(void)
{
    static struct rig g;
    struct front_response rsp;
    struct blkif_op op = rw(BLKIF_FLUSH, 4, 8, 2);

    rig_new(&g, CHAN_ABI_64, 0, 1);
    fill(&g, DATA_REF, 2, 5);
    g.sink.hold = true;
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    REQUIRE(g.sink.n == 1);
    CHECK_EQ(g.sink.io[0]->op, BLK_FLUSH);
    CHECK_EQ(g.sink.io[0]->len, 0);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK(!front_get(&g.front[0], &rsp));
    REQUIRE(g.sink.n == 1);
    CHECK_EQ(g.sink.io[0]->op, BLK_WRITE);
    CHECK_EQ(g.sink.io[0]->off, 4096);
    CHECK_EQ(g.sink.io[0]->len, 8192);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK(front_get(&g.front[0], &rsp));
    CHECK_EQ(rsp.op, BLKIF_FLUSH);
    CHECK_EQ(rsp.status, 0);
    CHECK(!memcmp(g.sink.disk + 4096, fake_page(&g.fake, DATA_REF), 8192));
    /* A flush that failed is not followed by the write. */
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    g.sink.error = -EIO;
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 0);
    CHECK(front_get(&g.front[0], &rsp));
    CHECK_EQ(rsp.status, -1);
    rig_end(&g);
}

static void
barriers(void)
{
    static struct rig g;
    struct front_response rsp;
    struct blkif_op op[] = { rw(BLKIF_WRITE, 0, 0, 1),
                             rw(BLKIF_READ, 1, 0, 1),
                             rw(BLKIF_BARRIER, 2, 0, 1),
                             rw(BLKIF_WRITE, 3, 0, 1),
                             rw(BLKIF_BARRIER, 4, UINT64_MAX, 0),
                             rw(BLKIF_BARRIER, 5, 0, 0) };

    rig_new(&g, CHAN_ABI_64, 0, 2);
    g.sink.hold = true;
    for (unsigned i = 0; i < 6; i++)
        front_put(&g.front[0], &op[i]);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 2);
    /* Another ring does not wait. */
    front_put(&g.front[1], &op[0]);
    front_push(&g.front[1]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 3);
    sink_complete(&g.sink, 2);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 1);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    REQUIRE(g.sink.n == 1);
    CHECK(g.sink.io[0]->barrier);
    CHECK_EQ(g.sink.io[0]->op, BLK_WRITE);
    CHECK_EQ(g.sink.io[0]->flags, BLK_FUA);
    CHECK_EQ(g.sink.io[0]->len, 4096);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    REQUIRE(g.sink.n == 1);
    CHECK(!g.sink.io[0]->barrier);
    CHECK_EQ(chan_inflight(g.chan), 2); /* the next barrier is held */
    for (unsigned i = 0; i < 2; i++) {
        sink_complete(&g.sink, 0);
        fake_run(&g.fake);
        REQUIRE(g.sink.n == 1);
        CHECK(g.sink.io[0]->barrier);
        CHECK_EQ(g.sink.io[0]->len, 0);
    }
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    for (unsigned i = 0; i < 6; i++) {
        CHECK(front_get(&g.front[0], &rsp));
        CHECK_EQ(rsp.id, i);
        CHECK_EQ(rsp.op, op[i].op);
        CHECK_EQ(rsp.status, 0);
    }
    rig_end(&g);
}

static void
barriers_that_are_not_offered(void)
{
    static struct rig g;

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.barrier = false;
    g.params.discard = false;
    g.params.max_indirect = 0;
    rig_open(&g);
    CHECK_EQ(ask(&g, rw(BLKIF_BARRIER, 1, 0, 1)), -2);
    CHECK_EQ(ask(&g, (struct blkif_op){ .op = BLKIF_DISCARD }), -2);
    CHECK_EQ(ask(&g, (struct blkif_op){ .op = BLKIF_INDIRECT, .nsegs = 1 }),
             -2);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), 0);
    rig_end(&g);
}

static void
an_error_s_status(void)
{
    static struct rig g;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    g.sink.error = -EIO;
    CHECK_EQ(ask(&g, rw(BLKIF_READ, 1, 0, 1)), -1);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), -1);
    g.sink.error = -ENOSPC;
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), -1);
    g.sink.error = -EOPNOTSUPP;
    CHECK_EQ(ask(&g, rw(BLKIF_FLUSH, 1, 0, 0)), -2);
    CHECK_EQ(chan_stats(g.chan)->errors[BLK_WRITE], 2);
    CHECK_EQ(chan_stats(g.chan)->errors[BLK_FLUSH], 1);
    rig_end(&g);
}

/* ---- rings of all sizes -------------------------------------------------- */

/* More than a ring's worth, through the wrap of 2^32, out of order, with the
 * same id for all; every byte of the ring page that is nobody's stays. */
static void
busy(enum chan_abi abi, unsigned order, unsigned queues)
{
    static struct rig g;
    unsigned left[4], answered = 0, n = (32u << order) * 3;
    struct front_response rsp;

    rig_prepare(&g, abi, order, queues, UINT32_MAX - 4);
    rig_open(&g);
    g.sink.hold = true;
    for (unsigned q = 0; q < queues; q++)
        left[q] = n;
    for (unsigned i = 0; answered < n * queues; i++) {
        struct front *f = &g.front[i % queues];
        struct blkif_op op = rw(BLKIF_WRITE, 7, i % 1000 * 8, 1);

        while (left[i % queues] && f->req - f->rsp < f->n) {
            front_put(f, &op);
            left[i % queues]--;
        }
        front_push(f);
        fake_run(&g.fake);
        for (unsigned k = 0; k < 20 && g.sink.n; k++)
            sink_complete(&g.sink, (i * 7 + k * 3) % g.sink.n);
        fake_run(&g.fake);
        for (unsigned q = 0; q < queues; q++) {
            while (front_get(&g.front[q], &rsp)) {
                CHECK_EQ(rsp.id, 7);
                CHECK_EQ(rsp.status, 0);
                answered++;
            }
        }
    }
    CHECK_EQ(g.sink.given, n * queues);
    CHECK_EQ(chan_stats(g.chan)->requests[BLK_WRITE], n * queues);
    for (unsigned q = 0; q < queues; q++) {
        for (unsigned k = 16; k < 64; k++)
            CHECK_EQ(g.front[q].page[k], 0xa5);
        CHECK_EQ(g.front[q].rsp, UINT32_MAX - 4 + n);
    }
    rig_end(&g);
}

static void
every_order(void)
{
    for (unsigned order = 0; order <= 4; order++) {
        busy(CHAN_ABI_64, order, 1);
        busy(CHAN_ABI_X86_32, order, 1);
    }
}

static void
many_queues(void)
{
    busy(CHAN_ABI_64, 0, 4);
    busy(CHAN_ABI_X86_32, 2, 3);
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
    TEST(flush_with_data);
    TEST(barriers);
    TEST(barriers_that_are_not_offered);
    TEST(an_error_s_status);
    TEST(every_order);
    TEST(many_queues);
    return test_end();
}
