/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Data in memory that the receiver lends, and in our own when it does not. */
#include "channel/internal.h"
#include "tests/unit/channel_rig.h"

enum { PAGES = 8, PAGE = 4096 };

/* A lender with room for a few; each run of its own pages, lowest first. */
static struct {
    struct blk_lender lender;
    uint8_t mem[PAGES][PAGE];
    bool used[PAGES];
    unsigned lent, gets, asked;
    bool none; /* nobody lends */
} pool;

static void *
get(struct blk_lender *l, size_t len)
{
    unsigned n = (unsigned)((len + PAGE - 1) / PAGE), run = 0;

    CHECK(l == &pool.lender);
    pool.gets++;
    for (unsigned i = 0; i < PAGES; i++) {
        run = pool.used[i] ? 0 : run + 1;
        if (run < n)
            continue;
        memset(&pool.used[i + 1 - n], true, n);
        pool.lent += n;
        return pool.mem[i + 1 - n];
    }
    return NULL;
}

static void
put(struct blk_lender *l, void *addr, size_t len)
{
    unsigned n = (unsigned)((len + PAGE - 1) / PAGE);
    size_t at = (size_t)((uint8_t *)addr - pool.mem[0]) / PAGE;

    CHECK(l == &pool.lender);
    for (unsigned i = 0; i < n; i++) {
        CHECK(pool.used[at + i]);
        pool.used[at + i] = false;
    }
    pool.lent -= n;
}

static struct blk_lender *
lender(void *ctx)
{
    (void)ctx;
    pool.asked++;
    return pool.none ? NULL : &pool.lender;
}

static bool
in_pool(const struct chan_io *io)
{
    uintptr_t at = (uintptr_t)io->iov.iov_base - (uintptr_t)pool.mem[0];

    return at < sizeof(pool.mem);
}

static struct rig g;

static void
begin(void)
{
    static struct chan_ops ops;
    char why[200];

    memset(&pool, 0, sizeof(pool));
    pool.lender.get = get;
    pool.lender.put = put;
    ops = sink_ops;
    ops.lender = lender;
    rig_prepare(&g, CHAN_ABI_64, 0, 1, 0);
    g.params.barrier = true;
    g.params.buffer_max = 1 << 20;
    REQUIRE(!chan_open(&g.chan, g.sweep, &g.params, &ops, &g.sink, -1, why,
                       sizeof(why)));
    fake_run(&g.fake);
}

static void
end(void)
{
    rig_end(&g);
    CHECK_EQ(pool.lent, 0);
}

/* Puts it, and runs until the receiver holds it. */
static void
give(struct blkif_op op)
{
    g.sink.hold = true;
    front_put(&g.front[0], &op);
    front_push(&g.front[0]);
    fake_run(&g.fake);
}

static void
complete_all(void)
{
    struct front_response rsp;

    sink_complete_all(&g.sink);
    fake_run(&g.fake);
    while (front_get(&g.front[0], &rsp))
        ;
    CHECK_EQ(g.chan->inflight, 0);
    CHECK_EQ(pool.lent, 0);
}

static void
reads_and_writes_in_lent_memory(void)
{
    begin();
    fill(&g, DATA_REF, 3, 5);
    give(rw(BLKIF_WRITE, 1, 8, 3));
    REQUIRE(g.sink.n == 1);
    CHECK(in_pool(g.sink.io[0]));
    CHECK_EQ(pool.lent, 3);
    CHECK(!memcmp(pool.mem[0], fake_page(&g.fake, DATA_REF), PAGE));
    CHECK(!memcmp(pool.mem[2], fake_page(&g.fake, DATA_REF + 2), PAGE));
    complete_all();
    memset(fake_page(&g.fake, DATA_REF), 0, PAGE);
    give(rw(BLKIF_READ, 2, 8, 1));
    CHECK_EQ(pool.lent, 1);
    complete_all();
    CHECK(!memcmp(fake_page(&g.fake, DATA_REF), g.sink.disk + 4096, PAGE));
    CHECK_EQ(g.fake.buffers, 0); /* nothing of our own was used */
    end();
}

static void
own_memory_when_none_is_lent(void)
{
    begin();
    fill(&g, DATA_REF, 6, 6);
    give(rw(BLKIF_WRITE, 1, 0, 6));
    give(rw(BLKIF_WRITE, 2, 64, 6)); /* two pages are left */
    REQUIRE(g.sink.n == 2);
    CHECK(in_pool(g.sink.io[0]));
    CHECK(!in_pool(g.sink.io[1]));
    CHECK_EQ(g.fake.buffers, 1);
    pool.none = true;
    give(rw(BLKIF_READ, 3, 0, 1));
    CHECK(!in_pool(g.sink.io[2]));
    complete_all();
    CHECK(!memcmp(g.sink.disk, g.sink.disk + 64 * 512, (size_t)6 * PAGE));
    end();
}

/* They may wait for others, and be given when the chain has become another. */
static void
not_for_barriers_and_flushes(void)
{
    struct blkif_op flush = rw(BLKIF_FLUSH, 2, 0, 1);

    begin();
    give(rw(BLKIF_BARRIER, 1, 0, 1));
    REQUIRE(g.sink.n == 1);
    CHECK(!in_pool(g.sink.io[0]));
    complete_all();
    give(flush);
    REQUIRE(g.sink.n == 1);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    REQUIRE(g.sink.n == 1); /* its write */
    CHECK(!in_pool(g.sink.io[0]));
    complete_all();
    CHECK_EQ(pool.asked, 0);
    end();
}

/* A page that was not granted: the request ends before anybody saw it. */
static void
gives_back_what_was_not_filled(void)
{
    begin();
    g.fake.page[DATA_REF + 1 - FAKE_REF].revoked = true;
    CHECK_EQ(ask(&g, rw(BLKIF_WRITE, 1, 0, 2)), BLKIF_ERROR);
    CHECK_EQ(pool.gets, 1);
    CHECK_EQ(pool.lent, 0);
    CHECK_EQ(ask(&g, rw(BLKIF_READ, 2, 0, 2)), BLKIF_ERROR);
    CHECK_EQ(pool.gets, 2);
    CHECK_EQ(pool.lent, 0);
    end();
}

/* Who waits for memory is not passed by one that could borrow some. */
static void
waits_in_turn(void)
{
    unsigned answers = 0;
    struct front_response rsp;

    begin();
    for (unsigned i = 0; i < 24; i++)
        give(rw(BLKIF_WRITE, i, 0, CHAN_DIRECT_MAX));
    CHECK_EQ(g.sink.n, 23); /* 253 of 256 pages, and none of 8 */
    give(rw(BLKIF_WRITE, 24, 0, 1));
    CHECK_EQ(g.sink.n, 23);
    CHECK_EQ(pool.lent, 0);
    sink_complete(&g.sink, 0);
    fake_run(&g.fake);
    CHECK_EQ(g.sink.n, 24);
    CHECK_EQ(pool.lent, 1);
    while (g.sink.n) {
        sink_complete_all(&g.sink);
        fake_run(&g.fake);
    }
    while (front_get(&g.front[0], &rsp))
        answers++;
    CHECK_EQ(answers, 25);
    end();
}

/* The memory goes back with the last request, wherever each of them was. */
static void
closes_with_lent_memory_everywhere(void)
{
    begin();
    give(rw(BLKIF_READ, 1, 0, 1));
    give(rw(BLKIF_WRITE, 2, 8, 1));
    give(rw(BLKIF_WRITE, 3, 16, 1));
    CHECK_EQ(pool.lent, 3);
    sink_complete(&g.sink, 0); /* is on the list of the finished */
    chan_close(g.chan);
    g.chan = NULL;
    CHECK_EQ(pool.lent, 3);
    sink_complete(&g.sink, 0);
    CHECK_EQ(pool.lent, 3);
    sink_complete(&g.sink, 0);
    CHECK_EQ(pool.lent, 0);
    end();

    begin();
    give(rw(BLKIF_READ, 1, 0, 1));
    sink_complete(&g.sink, 0);
    chan_close(g.chan);
    g.chan = NULL;
    CHECK_EQ(pool.lent, 0);
    end();
}

/* Also when its own buffers were never used, what is kept for requests goes. */
static void
falls_idle(void)
{
    begin();
    CHECK_EQ(fake_timers(&g.fake), 0);
    give(rw(BLKIF_WRITE, 1, 0, 2));
    complete_all();
    CHECK_EQ(((struct seg *)(void *)g.chan->segs)[1].gref, DATA_REF + 1);
    CHECK_EQ(fake_timers(&g.fake), 1);
    fake_pass(&g.fake, UINT64_C(1500000000));
    CHECK_EQ(((struct seg *)(void *)g.chan->segs)[1].gref, 0);
    CHECK_EQ(fake_timers(&g.fake), 0);
    end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(reads_and_writes_in_lent_memory);
    TEST(own_memory_when_none_is_lent);
    TEST(not_for_barriers_and_flushes);
    TEST(gives_back_what_was_not_filled);
    TEST(waits_in_turn);
    TEST(closes_with_lent_memory_everywhere);
    TEST(falls_idle);
    return test_end();
}
