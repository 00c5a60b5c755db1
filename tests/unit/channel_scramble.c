/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that changes everything right after it was read (XSA-155): ring
 * slots, pages of segments, data.  Built with CHANNEL_SCRAMBLE.  What the
 * channel does must be what the first reading said.
 */
#include "channel/internal.h"
#include "channel/shm.h"
#include "tests/unit/channel_rig.h"

static uint64_t seed = 1;
static unsigned scrambled;
static unsigned taken[BLKIF_INDIRECT + 1]; /* good ones, by operation */

static uint32_t
dice(void)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(seed >> 33);
}

void
shm_scramble(void *addr, size_t len)
{
    uint8_t *p = addr;

    scrambled++;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)dice();
}

/* A request that is good, or wrong in one way. */
static struct blkif_op
any_request(struct rig *g, uint64_t id)
{
    static const uint8_t ops[] = { 0, 1, 0, 1, 2, 3, 5, 6, 6, 6, 4, 7, 255 };
    struct blkif_op op = { .op = ops[dice() % sizeof(ops)],
                           .inner =
                               (uint8_t)(dice() % 3 % 2 + dice() % 17 / 16),
                           .flag = dice() % 8 == 0,
                           .id = id,
                           .sector = dice() % (SIZE / 512 + 20),
                           .nr_sectors = dice() % 4096,
                           .nsegs = (uint16_t)(dice() % 12 + dice() % 9 / 8),
                           .gref = { DATA_REF + 400 + (uint32_t)id } };

    for (unsigned i = 0; i < CHAN_DIRECT_MAX; i++) {
        uint8_t first = dice() % 8;

        op.seg[i].gref = DATA_REF + dice() % 300;
        op.seg[i].first = first;
        op.seg[i].last = (uint8_t)(first + dice() % (8u - first));
    }
    if (dice() % 6 == 0)
        op.seg[dice() % 11].last = (uint8_t)dice();
    memcpy(fake_page(&g->fake, op.gref[0]), op.seg, sizeof(op.seg));
    memcpy(fake_page(&g->fake, op.gref[0]) + sizeof(op.seg), op.seg, 40);
    return op;
}

/* From what was put, before anybody could change it. */
static struct verdict
expect(const struct rig *g, const struct blkif_op *op)
{
    const struct chan_params *p = &g->params;
    struct validate_params rules = { .size = p->size,
                                     .max_indirect = p->max_indirect,
                                     .discard = p->discard,
                                     .barrier = p->barrier };
    struct blkif_seg seg[CHAN_DIRECT_MAX + 5];
    struct verdict v;

    memcpy(seg, op->seg, sizeof(op->seg));
    memcpy(seg + CHAN_DIRECT_MAX, op->seg, 40);
    validate_request(op, &rules, &v);
    if (op->op == BLKIF_INDIRECT && v.status == BLKIF_OKAY)
        validate_segments(seg, op->nsegs, op->sector, &rules, &v);
    return v;
}

static void
check_given(const struct rig *g, unsigned from, const struct verdict *v,
            const struct blkif_op *op)
{
    const struct chan_io *io;

    if (v->status || (v->op == BLKIF_DISCARD && !v->len)) {
        CHECK_EQ(g->sink.n, from);
        return;
    }
    REQUIRE(g->sink.n == from + 1);
    io = g->sink.io[from];
    if (op->op != BLKIF_FLUSH) {
        CHECK_EQ(io->off, v->off);
        CHECK_EQ(io->len, v->len);
    }
    if (v->op == BLKIF_READ || (v->op == BLKIF_WRITE && v->len))
        CHECK_EQ(io->iov.iov_len, v->len);
}

static void
one(struct rig *g, uint64_t id)
{
    struct blkif_op op = any_request(g, id);
    struct verdict v = expect(g, &op);
    struct front_response rsp;

    if (v.status == BLKIF_OKAY)
        taken[op.op]++;
    front_put(&g->front[0], &op);
    front_push(&g->front[0]);
    fake_run(&g->fake);
    check_given(g, 0, &v, &op);
    while (g->sink.n) {
        sink_complete_all(&g->sink);
        fake_run(&g->fake);
    }
    fake_pass(&g->fake, 2000000);
    REQUIRE(front_get(&g->front[0], &rsp));
    CHECK_EQ(rsp.id, id);
    CHECK_EQ(rsp.op, v.answer);
    CHECK_EQ(rsp.status, v.status);
}

static void
first_reading_counts(enum chan_abi abi)
{
    static struct rig g;
    unsigned before = scrambled, good;

    rig_new(&g, abi, 0, 1);
    g.fake.scramble = true;
    g.sink.hold = true;
    for (uint64_t i = 0; i < 20000; i++)
        one(&g, i % 50);
    CHECK_EQ(scrambled - before, 20000);
    good = g.sink.given;
    CHECK(good > 2000);
    CHECK(good < 18000);
    for (unsigned op = 0; op <= BLKIF_INDIRECT; op++) {
        CHECK(op == 4 || taken[op] > 100); /* 4: no such operation */
        taken[op] = 0;
    }
    CHECK_EQ(g.sink.broken, 0);
    rig_end(&g);
}

static void
first_reading_counts_64(void)
{
    first_reading_counts(CHAN_ABI_64);
}

static void
first_reading_counts_x86_32(void)
{
    first_reading_counts(CHAN_ABI_X86_32);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(first_reading_counts_64);
    TEST(first_reading_counts_x86_32);
    return test_end();
}
