/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest, a sweep, one channel and a disk in memory, put together. */
#ifndef TESTS_CHANNEL_RIG_H
#define TESTS_CHANNEL_RIG_H

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

__attribute__((unused)) static void
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

__attribute__((unused)) static void
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

__attribute__((unused)) static void
rig_new(struct rig *g, enum chan_abi abi, unsigned order, unsigned queues)
{
    rig_prepare(g, abi, order, queues, 0);
    rig_open(g);
}

__attribute__((unused)) static void
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

__attribute__((unused)) static struct blkif_op
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
__attribute__((unused)) static int
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

__attribute__((unused)) static void
fill(struct rig *g, uint32_t ref, unsigned n, unsigned seed)
{
    for (unsigned i = 0; i < n * 4096; i++)
        fake_page(&g->fake, ref + i / 4096)[i % 4096] =
            (uint8_t)(seed + i * 7 + i / 512);
}

#endif
