/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_queues.c: a front with several rings: how many there are, what goes
 * where, and a back-end that comes back with another number of them.
 */
#include "config.h"

#include <errno.h>

#include "tests/sim/front_rig.h"

enum { MANY = 160 };

static struct rig r;
static struct rig_io io[MANY];

static const struct front_counters *
counters(void)
{
    return r.fronts.ops->counters(r.front);
}

static void
open_with(uint64_t seed, unsigned offered, unsigned wanted, unsigned pages)
{
    struct front_conf conf = rig_conf;

    rig_new(&r, seed);
    r.queues = offered;
    back_nodes(&r);
    conf.queues = wanted;
    conf.pages = pages;
    conf.order = 0;
    REQUIRE(!rig_open(&r, &conf));
}

static void
close_all(void)
{
    rig_close(&r);
    CHECK_EQ(sim_mapped(r.sim, OURS), 0);
    rig_end(&r);
}

/* As many as both can do. */
static void
takes_what_is_offered(void)
{
    static const unsigned cases[][3] = { { 1, 1, 1 }, { 1, 4, 1 }, { 4, 1, 1 },
                                         { 2, 4, 2 }, { 4, 3, 3 }, { 4, 4, 4 },
                                         { 16, 8, 8 } };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_with(1 + i, cases[i][0], cases[i][1], 64);
        CHECK_EQ(r.connected, cases[i][2]);
        CHECK_EQ(counters()->queues, cases[i][2]);
        CHECK_EQ(front_node(&r, "multi-queue-num-queues"),
                 cases[i][2] > 1 ? cases[i][2] : UINT32_MAX);
        CHECK_EQ(rig_do(&r, &io[0], BLK_WRITE, 0, 4096), 0);
        close_all();
    }
}

/* Who says nothing of queues has one. */
static void
takes_one_when_nothing_is_offered(void)
{
    rig_new(&r, 20);
    r.queues = 1;
    sim_store_rm(r.sim, BACK "/multi-queue-max-queues");
    REQUIRE(!rig_open(&r, &rig_conf));
    CHECK_EQ(r.connected, 1);
    CHECK_EQ(rig_do(&r, &io[0], BLK_WRITE, 0, 4096), 0);
    close_all();
}

static void
start(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rig_start(&r, &io[i], BLK_WRITE, (uint64_t)i * 512, 512);
}

static void
wait_for(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        rig_until(&r, &io[i].done);
        CHECK_EQ(io[i].error, 0);
        CHECK(!memcmp(r.disk + i * 512, io[i].buf, 512));
    }
}

/* A few are one ring's, more are spread, and there is room for as many as all
 * rings have. */
static void
spreads_what_is_much(void)
{
    const uint64_t *sent;

    for (unsigned queues = 1; queues <= 4; queues++) {
        open_with(30 + queues, queues, 4, 256);
        r.delay_ns = 1;
        sent = counters()->queue_sent;
        start(8);
        wait_for(8);
        CHECK_EQ(sent[0], 8);
        r.delay_ns = 1000 * MS;
        start(8 * queues);
        for (unsigned i = 1; i < queues; i++)
            CHECK_EQ(sent[i], 8);
        wait_for(8 * queues);
        start(MANY);
        rig_run(&r, MS / 10);
        CHECK(r.pending <= 32 * queues);
        CHECK(r.pending > 32 * queues - 4);
        CHECK(r.fronts.ops->counters(r.front)->full == 0);
        wait_for(MANY);
        close_all();
    }
}

/* All that was submitted goes out, in whichever ring it is. */
static void
one_kick_is_for_every_ring(void)
{
    for (unsigned queues = 1; queues <= 4; queues++) {
        open_with(35 + queues, queues, 4, 256);
        r.lazy = true;
        start(8 * queues);
        rig_run(&r, 10 * MS);
        CHECK_EQ(r.pending + r.served, 0);
        r.fronts.ops->kick(r.front);
        CHECK_EQ(counters()->kicks, queues);
        wait_for(8 * queues);
        close_all();
    }
}

/* ---- a back-end that comes back ------------------------------------------ */

static void
check_nodes(unsigned queues)
{
    char leaf[32];

    for (unsigned i = 0; i < 5; i++) {
        snprintf(leaf, sizeof leaf, "queue-%u/event-channel", i);
        CHECK_EQ(front_node(&r, leaf) != UINT32_MAX, queues > 1 && i < queues);
    }
    CHECK_EQ(front_node(&r, "event-channel") != UINT32_MAX, queues == 1);
    CHECK_EQ(front_node(&r, "ring-ref") != UINT32_MAX, queues == 1);
}

static void
comes_back_with(unsigned before, unsigned after, bool reloads)
{
    open_with(100 + before * 10 + after, before, 4, 256);
    check_nodes(before);
    for (unsigned i = 0; i < MANY; i++)
        memset(io[i].buf, (int)(i + 1), 512);
    r.delay_ns = 300 * MS;
    start(MANY);
    rig_run(&r, 20 * MS);
    CHECK(r.pending > 16 * before);
    r.queues = after;
    back_nodes(&r);
    if (reloads) {
        back_reload(&r);
    } else {
        back_drop(&r);
        back_state(&r, 5);
    }
    wait_for(MANY);
    CHECK(r.refused > 0); /* nothing was sent again before it was idle */
    CHECK_EQ(r.connected, after);
    CHECK_EQ(counters()->queues, after);
    CHECK(counters()->again > 16 * before);
    check_nodes(after);
    CHECK_EQ(rig_do(&r, &io[0], BLK_FLUSH, 0, 0), 0);
    CHECK(!memcmp(r.disk, r.medium, MANY * 512));
    CHECK_EQ(r.fatals, 0);
    close_all();
}

static void
comes_back_with_more_or_fewer(void)
{
    for (unsigned before = 1; before <= 4; before++) {
        for (unsigned after = 1; after <= 4; after++) {
            comes_back_with(before, after, false);
            comes_back_with(before, after, true);
        }
    }
}

/* ---- flush --------------------------------------------------------------- */

/* It goes into one ring, and covers what has ended in any. */
static void
a_flush_covers_every_ring(void)
{
    open_with(300, 4, 4, 256);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 32; i++)
            memset(io[i].buf, (int)(round * 32 + i), 512);
        start(32);
        wait_for(32);
        CHECK_EQ(rig_do(&r, &io[40], BLK_FLUSH, 0, 0), 0);
        CHECK(!memcmp(r.disk, r.medium, 32 * 512));
    }
    CHECK(counters()->queue_sent[3] >= 20 * 8);
    close_all();
}

/* Its directory goes, and comes with another back-end in it; a read then ends
 * so. */
static void
made_anew(int error)
{
    back_drop(&r);
    r.state = 0;
    sim_store_rm(r.sim, BACK);
    rig_run(&r, 100 * MS);
    back_nodes(&r);
    back_state(&r, 2);
    rig_start(&r, &io[0], BLK_READ, 0, 4096);
    rig_until(&r, &io[0].done);
    CHECK_EQ(io[0].error, error);
    CHECK_EQ(r.fatals, error != 0);
}

/* What was acknowledged by any ring, and not flushed, may be lost with it. */
static void
a_new_back_end_is_not_trusted_with_any_ring(void)
{
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        open_with(310 + flushed, 4, 4, 256);
        CHECK_EQ(rig_do(&r, &io[0], BLK_FLUSH, 0, 0), 0);
        start(32);
        wait_for(32);
        if (flushed)
            CHECK_EQ(rig_do(&r, &io[0], BLK_FLUSH, 0, 0), 0);
        made_anew(flushed ? 0 : -EIO);
        close_all();
    }
}

/* It covers what had ended when it was sent, not what ends before it does. */
static void
a_flush_does_not_cover_later_writes(void)
{
    open_with(320, 4, 4, 256);
    CHECK_EQ(rig_do(&r, &io[0], BLK_WRITE, 0, 4096), 0);
    r.delay_ns = 10000 * MS;
    rig_start(&r, &io[1], BLK_FLUSH, 0, 0);
    rig_run(&r, MS);
    CHECK_EQ(r.pending, 1);
    r.delay_ns = 1;
    CHECK_EQ(rig_do(&r, &io[2], BLK_WRITE, 4096, 4096), 0);
    CHECK(!io[1].done);
    rig_until(&r, &io[1].done);
    CHECK_EQ(io[1].error, 0);
    made_anew(-EIO);
    close_all();
}

/* ---- what can run out ---------------------------------------------------- */

/* Pages of segments are fewer than slots: requests wait for them. */
static void
long_requests_share_their_lists(void)
{
    enum { N = 40, LEN = 60 << 10 };

    open_with(400, 4, 4, 64);
    r.delay_ns = 5 * MS;
    for (unsigned i = 0; i < N; i++) {
        memset(io[i].buf, (int)i + 1, LEN);
        if (i % 2 || !rig_start_lent(&r, &io[i], BLK_WRITE, i * LEN, LEN))
            rig_start(&r, &io[i], BLK_WRITE, i * LEN, LEN);
    }
    for (unsigned i = 0; i < N; i++) {
        rig_until(&r, &io[i].done);
        rig_give_back(&io[i]);
        CHECK_EQ(io[i].error, 0);
        CHECK(!memcmp(r.disk + i * LEN, io[i].buf, LEN));
    }
    CHECK(counters()->full > 0);
    close_all();
}

/* Small pieces have more segments than pages: 12 of them want a list each. */
static void
requests_in_pieces_wait_for_a_list(void)
{
    enum { N = 12, PIECES = 12, LEN = PIECES * 512 };
    static struct blk_lender *l;
    static struct iovec v[N][PIECES];
    uint8_t *m;

    open_with(401, 4, 4, 64); /* six lists */
    l = r.fronts.ops->lender(r.front);
    m = l->get(l, 24 * 4096);
    REQUIRE(m);
    r.delay_ns = 5 * MS;
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < PIECES; k++)
            v[i][k] =
                (struct iovec){ m + (i * PIECES + PIECES - 1 - k) * 512, 512 };
        memset(m + i * LEN, (int)i + 1, LEN);
        io[i].sg = (struct blk_sg){ v[i], PIECES, 0 };
        io[i].done = false;
    }
    for (unsigned i = 0; i < N; i++)
        rig_submit_at(&r, &io[i], BLK_WRITE, i * LEN, LEN);
    CHECK_EQ(counters()->sent, 6);
    CHECK(counters()->full > 0);
    for (unsigned i = 0; i < N; i++) {
        rig_until(&r, &io[i].done);
        CHECK_EQ(io[i].error, 0);
    }
    CHECK(!memcmp(r.disk, m, N * LEN));
    CHECK_EQ(counters()->straight, N);
    l->put(l, m, 24 * 4096);
    close_all();
}

/* Each takes its list to no other connection, so there are always enough. */
static void
long_requests_go_through_many_connections(void)
{
    enum { LEN = 60 << 10 };

    open_with(402, 2, 4, 64); /* six lists */
    for (unsigned i = 0; i < 10; i++) {
        memset(io[0].buf, (int)i + 1, LEN);
        rig_run(&r, 300 * MS);
        r.delay_ns = 300 * MS;
        rig_start(&r, &io[0], BLK_WRITE, 0, LEN);
        rig_run(&r, MS / 10);
        CHECK_EQ(r.pending, 1);
        back_drop(&r);
        back_state(&r, 5);
        rig_until(&r, &io[0].done);
        CHECK_EQ(io[0].error, 0);
        CHECK(!memcmp(r.disk, io[0].buf, LEN));
    }
    CHECK_EQ(counters()->again, 10);
    CHECK_EQ(r.fatals, 0);
    close_all();
}

/* The machine's limit: rings, then half of the buffer, and so on. */
static void
makes_do_with_fewer_pages(void)
{
    static const struct {
        unsigned limit, queues, pages;
    } cases[] = { { 0, 4, 320 },   { 351, 4, 320 }, { 350, 4, 160 },
                  { 178, 4, 160 }, { 177, 4, 80 },  { 91, 4, 80 },
                  { 90, 4, 40 },   { 48, 4, 40 } };
    struct front_conf conf = rig_conf;

    conf.pages = conf.order = 0;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_new(&r, 500 + i);
        r.queues = 4;
        r.segments = 256;
        back_nodes(&r);
        sim_gate_limit(r.sim, cases[i].limit);
        REQUIRE(!rig_open(&r, &conf));
        CHECK_EQ(counters()->queues, cases[i].queues);
        CHECK_EQ(counters()->pages, cases[i].pages);
        CHECK_EQ(r.logs, cases[i].pages < 320);
        CHECK(!r.logs || strstr(r.last_log, "KiB in place of 1280: no more"));
        CHECK_EQ(rig_do(&r, &io[0], BLK_WRITE, 0, 11 * 4096), 0);
        close_all();
    }
    rig_new(&r, 510);
    r.queues = 4;
    back_nodes(&r);
    sim_gate_limit(r.sim, 47);
    CHECK_EQ(rig_open(&r, &conf), -ENOSPC);
    CHECK(strstr(r.why, "pages can't be granted: the limit"));
    close_all();
}

/* When it is another's by now what the last connection had. */
static void
makes_do_with_fewer_rings(void)
{
    open_with(520, 4, 4, 64);
    sim_gate_limit(r.sim, 64 + 6 + 2);
    back_drop(&r);
    back_state(&r, 5);
    CHECK_EQ(rig_do(&r, &io[0], BLK_WRITE, 0, 4096), 0);
    CHECK_EQ(r.connected, 2);
    CHECK_EQ(counters()->queues, 2);
    CHECK_EQ(r.fatals, 0);
    start(MANY);
    wait_for(MANY);
    sim_gate_limit(r.sim, 0);
    back_drop(&r);
    back_state(&r, 5);
    CHECK_EQ(rig_do(&r, &io[0], BLK_WRITE, 0, 4096), 0);
    CHECK_EQ(r.connected, 4);
    close_all();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_open(BLK_ERR, false);
    TEST(takes_what_is_offered);
    TEST(takes_one_when_nothing_is_offered);
    TEST(spreads_what_is_much);
    TEST(one_kick_is_for_every_ring);
    TEST(comes_back_with_more_or_fewer);
    TEST(a_flush_covers_every_ring);
    TEST(a_new_back_end_is_not_trusted_with_any_ring);
    TEST(a_flush_does_not_cover_later_writes);
    TEST(long_requests_share_their_lists);
    TEST(long_requests_go_through_many_connections);
    TEST(requests_in_pieces_wait_for_a_list);
    TEST(makes_do_with_fewer_pages);
    TEST(makes_do_with_fewer_rings);
    return test_end();
}
