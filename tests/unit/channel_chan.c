/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole channel, from a front-end's ring to a disk and back. */
#include <errno.h>
#include <sys/stat.h>

#include "channel/internal.h"
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
    op.flag = 1;
    CHECK_EQ(ask(&g, op), -2);
    op.flag = 0;
    op.nr_sectors = UINT64_MAX;
    CHECK_EQ(ask(&g, op), -1);
    rig_end(&g);
}

/* ---- what a guest may do wrong ------------------------------------------- */

static void
answers_bad_requests(void)
{
    static const struct {
        struct blkif_op op;
        int status;
    } bad[] = {
        { { .op = 0, .nsegs = 0 }, -1 },
        { { .op = 0, .nsegs = 12 }, -1 },
        { { .op = 0, .nsegs = 255 }, -1 },
        { { .op = 1, .nsegs = 0 }, -1 },
        { { .op = 1, .nsegs = 1, .seg = { { .first = 5, .last = 4 } } }, -1 },
        { { .op = 1, .nsegs = 1, .seg = { { .last = 8 } } }, -1 },
        { { .op = 1, .nsegs = 1, .sector = SIZE / 512 }, -1 },
        { { .op = 0, .nsegs = 1, .sector = UINT64_MAX }, -1 },
        { { .op = 2, .nsegs = 12 }, -1 },
        { { .op = 3, .nsegs = 12 }, -1 },
        { { .op = 4 }, -2 },
        { { .op = 5, .sector = 1, .nr_sectors = UINT64_MAX }, -1 },
        { { .op = 6, .inner = 0, .nsegs = 0 }, -1 },
        { { .op = 6, .inner = 1, .nsegs = 257 }, -1 },
        { { .op = 6, .inner = 6, .nsegs = 1 }, -1 },
        { { .op = 7 }, -2 },
        { { .op = 255 }, -2 },
    };

    for (int abi = 0; abi < 2; abi++) {
        static struct rig g;

        rig_new(&g, (enum chan_abi)abi, 0, 1);
        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
            CHECK_EQ(ask(&g, bad[i].op), bad[i].status);
        CHECK_EQ(g.sink.given, 0);
        CHECK_EQ(g.sink.broken, 0);
        CHECK_EQ(chan_stats(g.chan)->malformed, sizeof(bad) / sizeof(bad[0]));
        CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), 0);
        rig_end(&g);
    }
}

/* An ERROR takes a millisecond, and costs us one timer. */
static void
throttles_rubbish(void)
{
    static struct rig g;
    struct front_response rsp;
    struct blkif_op op = rw(BLKIF_READ, 1, 0, 0);

    rig_new(&g, CHAN_ABI_64, 0, 1);
    for (int i = 0; i < 32; i++)
        front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
    fake_pass(&g.fake, 900000);
    CHECK(!front_get(&g.front[0], &rsp));
    CHECK_EQ(fake_timers(&g.fake), 1);
    fake_pass(&g.fake, 200000);
    for (int i = 0; i < 32; i++)
        CHECK(front_get(&g.front[0], &rsp));
    CHECK_EQ(fake_port(&g.fake, 100)->notified, 1);
    CHECK_EQ(fake_timers(&g.fake), 0);
    rig_end(&g);
}

static void
keeps_a_readonly_disk(void)
{
    static struct rig g;
    struct blkif_op discard = { .op = BLKIF_DISCARD, .nr_sectors = 8 };

    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.readonly = true;
    rig_open(&g);
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), -1);
    CHECK_EQ(ask(&g, rw(BLKIF_BARRIER, 2, 0, 1)), -1);
    CHECK_EQ(ask(&g, rw(BLKIF_FLUSH, 3, 0, 1)), -1);
    CHECK_EQ(ask(&g, discard), -1);
    CHECK_EQ(g.sink.given, 0);
    CHECK_EQ(ask(&g, rw(BLKIF_READ, 1, 0, 1)), 0);
    rig_end(&g);
}

static void
overrun(uint32_t by)
{
    static struct rig g;
    struct front_response rsp;
    struct blkif_op op = rw(BLKIF_READ, 9, 0, 1);

    rig_new(&g, CHAN_ABI_64, 0, 2);
    g.sink.hold = true;
    front_put(&g.front[1], &op);
    front_push(&g.front[1]);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 1);
    front_set(&g.front[0], 0, by);
    fake_fire(&g.fake, 100);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.broken, 1);
    CHECK(strstr(g.sink.why, "expected req_prod between 0 and 32"));
    /* All rings stop, what is in flight ends. */
    front_put(&g.front[1], &op);
    front_push(&g.front[1]);
    fake_fire(&g.fake, 100);
    fake_fire(&g.fake, 101);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 1);
    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    CHECK(front_get(&g.front[1], &rsp));
    CHECK(!front_get(&g.front[1], &rsp));
    CHECK_EQ(g.sink.broken, 1);
    rig_end(&g);
}

static void
stops_an_overrun_ring(void)
{
    overrun(33);
    overrun(64);
    overrun(UINT32_C(1) << 31);
    overrun(UINT32_MAX);
}

/* The guest writes over what is ours in the page. */
static void
survives_scribbled_indices(void)
{
    static struct rig g;
    uint32_t noise = 12345;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    for (uint64_t i = 0; i < 200; i++) {
        struct front_response rsp;
        struct blkif_op op = rw(BLKIF_WRITE, i, 0, 1);

        noise = noise * 1103515245 + 12345;
        front_put(&g.front[0], &op);
        front_push(&g.front[0]);
        front_set(&g.front[0], 4, noise);
        front_set(&g.front[0], 8, noise * 7);
        front_set(&g.front[0], 12, noise * 11);
        fake_fire(&g.fake, 100);
        fake_run(&g.fake);
        CHECK(front_get(&g.front[0], &rsp));
        CHECK_EQ(rsp.id, i);
        CHECK_EQ(g.front[0].rsp, front_field(&g.front[0], 8));
    }
    CHECK_EQ(g.sink.broken, 0);
    rig_end(&g);
}

/* ---- grants that fail (XSA-361, XSA-365) --------------------------------- */

static void
one_segment_fails(void)
{
    for (int k = 0; k < 11; k++) {
        static struct rig g;
        struct front_response rsp;
        struct blkif_op op[3];
        unsigned hit = (unsigned)k / 4;

        rig_new(&g, CHAN_ABI_64, 0, 1);
        for (unsigned i = 0; i < 3; i++) {
            op[i] = rw(BLKIF_WRITE, i, i * 100, i == 2 ? 3 : 4);
            front_put(&g.front[0], &op[i]);
        }
        front_push(&g.front[0]);
        g.fake.fail_piece = k;
        fake_run(&g.fake);
        CHECK_EQ(g.sink.given, 2);
        fake_pass(&g.fake, 2000000);
        g.fake.fail_piece = -1;
        for (unsigned i = 0; i < 3; i++) {
            CHECK(front_get(&g.front[0], &rsp));
            CHECK_EQ(rsp.status, rsp.id == hit ? -1 : 0);
        }
        CHECK_EQ(chan_stats(g.chan)->copy_errors, 1);
        /* And on the way to the guest. */
        for (unsigned i = 0; i < 3; i++) {
            op[i].op = BLKIF_READ;
            front_put(&g.front[0], &op[i]);
        }
        front_push(&g.front[0]);
        g.fake.fail_piece = k;
        fake_run(&g.fake);
        for (unsigned i = 0; i < 3; i++) {
            CHECK(front_get(&g.front[0], &rsp));
            CHECK_EQ(rsp.status, rsp.id == hit ? -1 : 0);
        }
        CHECK_EQ(chan_stats(g.chan)->copy_errors, 2);
        g.fake.fail_piece = -1;
        rig_end(&g);
    }
}

static void
bad_references(void)
{
    static const uint32_t refs[] = { 0, 7, UINT32_MAX, FAKE_REF + FAKE_PAGES };
    static struct rig g;
    struct blkif_op op;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    for (unsigned i = 0; i < 4; i++) {
        op = rw(BLKIF_WRITE, 1, 0, 3);
        op.seg[1].gref = refs[i];
        CHECK_EQ(ask(&g, op), -1);
        op.op = BLKIF_READ;
        CHECK_EQ(ask(&g, op), -1);
        op = (struct blkif_op){ .op = BLKIF_INDIRECT,
                                .inner = BLKIF_WRITE,
                                .nsegs = 3,
                                .gref = { refs[i] } };
        CHECK_EQ(ask(&g, op), -1);
    }
    /* Granted for reading only: enough for a WRITE. */
    g.fake.page[DATA_REF - FAKE_REF].readonly = true;
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), 0);
    CHECK_EQ(ask(&g, rw(BLKIF_READ, 1, 0, 1)), -1);
    g.fake.page[DATA_REF - FAKE_REF].revoked = true;
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 1)), -1);
    /* The same page in all segments is legal. */
    op = rw(BLKIF_READ, 1, 0, 11);
    for (unsigned i = 0; i < 11; i++)
        op.seg[i].gref = DATA_REF + 5;
    CHECK_EQ(ask(&g, op), 0);
    rig_end(&g);
}

static void
a_whole_batch_fails(void)
{
    static struct rig g;

    rig_new(&g, CHAN_ABI_64, 0, 1);
    g.fake.fail_call = -EIO;
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 2)), -1);
    CHECK_EQ(ask(&g, rw(BLKIF_READ, 1, 0, 2)), -1);
    CHECK_EQ(ask(&g, rw(BLKIF_FLUSH, 1, 0, 0)), 0);
    g.fake.fail_call = 0;
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 2)), 0);
    rig_end(&g);
}

/* Segments in the middle of pages; never a byte outside of them (XSA-403). */
static void
partial_pages(void)
{
    static struct rig g;
    struct blkif_op op = rw(BLKIF_WRITE, 1, 10, 3);
    uint8_t want[4096];

    rig_new(&g, CHAN_ABI_X86_32, 0, 1);
    op.seg[0] = (struct blkif_seg){ DATA_REF, 3, 3, 0 };
    op.seg[1] = (struct blkif_seg){ DATA_REF + 1, 0, 7, 0 };
    op.seg[2] = (struct blkif_seg){ DATA_REF + 2, 5, 6, 0 };
    fill(&g, DATA_REF, 3, 1);
    CHECK_EQ(ask(&g, op), 0);
    CHECK(
        !memcmp(g.sink.disk + 5120, fake_page(&g.fake, DATA_REF) + 1536, 512));
    CHECK(!memcmp(g.sink.disk + 5632, fake_page(&g.fake, DATA_REF + 1), 4096));
    CHECK(!memcmp(g.sink.disk + 9728, fake_page(&g.fake, DATA_REF + 2) + 2560,
                  1024));
    CHECK_EQ(g.sink.disk[10752], 0);
    memset(fake_page(&g.fake, DATA_REF), 0x33, 4096);
    memset(want, 0x33, 4096);
    memcpy(want + 1536, g.sink.disk + 5120, 512);
    op.op = BLKIF_READ;
    CHECK_EQ(ask(&g, op), 0);
    CHECK(!memcmp(want, fake_page(&g.fake, DATA_REF), 4096));
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

/* ---- limits -------------------------------------------------------------- */

static void
put_megabyte(struct rig *g, uint8_t inner, uint64_t id)
{
    struct blkif_op op = { .op = BLKIF_INDIRECT,
                           .inner = inner,
                           .id = id,
                           .nsegs = 256,
                           .gref = { DATA_REF + 400 } };

    for (unsigned i = 0; i < 256; i++) {
        struct blkif_seg seg = { .gref = DATA_REF + i, .last = 7 };

        memcpy(fake_page(&g->fake, DATA_REF + 400) + i * 8, &seg, 8);
    }
    front_put(&g->front[0], &op);
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
    static const struct chan_ops ops = { close_in_request, close_in_broken };
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

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(writes_and_reads_64);
    TEST(writes_and_reads_x86_32);
    TEST(indirect_64);
    TEST(indirect_x86_32);
    TEST(discards);
    TEST(answers_bad_requests);
    TEST(throttles_rubbish);
    TEST(keeps_a_readonly_disk);
    TEST(stops_an_overrun_ring);
    TEST(survives_scribbled_indices);
    TEST(one_segment_fails);
    TEST(bad_references);
    TEST(a_whole_batch_fails);
    TEST(partial_pages);
    TEST(flush_with_data);
    TEST(barriers);
    TEST(barriers_that_are_not_offered);
    TEST(an_error_s_status);
    TEST(every_order);
    TEST(many_queues);
    TEST(buffers_run_out_in_both_directions);
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
    return test_end();
}
