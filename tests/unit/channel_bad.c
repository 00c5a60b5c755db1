/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A front-end that breaks every rule, and grants that fail. */
#include <errno.h>

#include "tests/unit/channel_rig.h"

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

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(answers_bad_requests);
    TEST(throttles_rubbish);
    TEST(keeps_a_readonly_disk);
    TEST(stops_an_overrun_ring);
    TEST(survives_scribbled_indices);
    TEST(one_segment_fails);
    TEST(bad_references);
    TEST(a_whole_batch_fails);
    TEST(partial_pages);
    return test_end();
}
