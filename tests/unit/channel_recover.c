/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that is killed and comes back with the table: no acknowledged write
 * is lost, no request is answered twice or never.
 */
#include "tests/unit/channel_model.h"

/* ---- the guest ----------------------------------------------------------- */

static void
ask_something(struct front *f, unsigned first_id)
{
    unsigned id = first_id, block = dice(BLOCKS);
    struct blkif_op op;

    while (id < first_id + 32 && m.asked[id].used)
        id++;
    if (f->req - f->rsp == f->n || m.writing[block] || id == first_id + 32)
        return;
    m.asked[id].used = true;
    m.asked[id].write = dice(3);
    m.asked[id].block = block;
    op = rw(m.asked[id].write ? BLKIF_WRITE : BLKIF_READ, id, block * 8, 1);
    op.seg[0].gref = DATA_REF + id;
    m.asked[id].version = ++m.version;
    m.asked[id].expect = m.acked[block];
    if (m.asked[id].write) {
        m.writing[block] = true;
        memcpy(fake_page(&m.rig.fake, DATA_REF + id), &m.version, 4);
    }
    m.asking++;
    front_put(f, &op);
}

static void
answer(const struct front_response *rsp)
{
    unsigned block = m.asked[rsp->id & (IDS - 1)].block;
    uint32_t found;

    if (rsp->id >= IDS || !m.asked[rsp->id].used) {
        test_fail(__FILE__, __LINE__, "answered what was not asked");
        return;
    }
    CHECK_EQ(rsp->status, 0);
    m.asked[rsp->id].used = false;
    m.asking--;
    m.answered++;
    if (m.asked[rsp->id].write) {
        CHECK_EQ(rsp->op, BLKIF_WRITE);
        m.writing[block] = false;
        m.acked[block] = m.asked[rsp->id].version;
        return;
    }
    /* A write that overlapped with this read may be seen or not. */
    memcpy(&found, fake_page(&m.rig.fake, DATA_REF + (uint32_t)rsp->id), 4);
    CHECK(found >= m.asked[rsp->id].expect);
}

static void
guest(unsigned queues)
{
    struct front_response rsp;

    for (unsigned q = 0; q < queues; q++) {
        struct front *f = &m.rig.front[q];

        while (front_get(f, &rsp))
            answer(&rsp);
        for (unsigned i = dice(8); i > 0; i--)
            ask_something(f, q * 32);
        front_push(f);
    }
}

static void
disk(void)
{
    for (unsigned i = dice(6); i > 0 && m.n; i--) {
        struct chan_io *io = pick(dice(m.n));

        do_io(io);
        chan_complete(io, 0);
    }
}

/* ---- the test ------------------------------------------------------------ */

/* Everything is answered in the end, and the disk is as the guest thinks. */
static void
settle(unsigned queues)
{
    struct front_response rsp;

    for (unsigned i = 0; i < 1000 && m.asking; i++) {
        fake_run(&m.rig.fake);
        disk();
        for (unsigned q = 0; q < queues; q++) {
            while (front_get(&m.rig.front[q], &rsp))
                answer(&rsp);
        }
    }
    CHECK_EQ(m.asking, 0);
    CHECK_EQ(chan_inflight(m.rig.chan), 0);
    for (unsigned b = 0; b < BLOCKS; b++) {
        uint32_t found;

        memcpy(&found, m.rig.sink.disk + b * 4096, 4);
        CHECK_EQ(found, m.acked[b]);
    }
}

static void
one_step(unsigned queues)
{
    if (setjmp(killed)) {
        die();
        start_daemon(m.table);
        return;
    }
    guest(queues);
    fake_round(&m.rig.fake);
    disk();
    if (dice(4) == 0)
        fake_run(&m.rig.fake);
}

static void
live_and_die(unsigned queues, unsigned steps, unsigned longest)
{
    for (unsigned step = 0; step < steps; step++) {
        if (!kill_in)
            kill_in = 1 + dice(longest);
        one_step(queues);
        if (test_failures > 10)
            exit(1);
    }
    kill_in = 0;
    settle(queues);
}

static void
model(unsigned queues, unsigned longest, unsigned limit)
{
    unsigned scale = getenv("CHECK_LONG") ? 20 : 1;

    for (uint64_t seed = 1; seed <= 6 * scale; seed++) {
        begin(seed & 1 ? CHAN_ABI_64 : CHAN_ABI_X86_32, queues, seed, limit);
        live_and_die(queues, 1500, longest);
        CHECK(m.kills > 20);
        CHECK(m.answered > 200);
        finish();
    }
}

static void
killed_all_the_time(void)
{
    model(1, 40, 0);
}

static void
killed_now_and_then(void)
{
    model(1, 400, 0);
}

static void
two_queues(void)
{
    model(2, 100, 0);
}

/* More was in flight than may be now: what is left waits its turn. */
static void
a_lower_limit(void)
{
    begin(CHAN_ABI_64, 1, 3, 0);
    for (unsigned i = 0; i < 20; i++)
        guest(1);
    fake_run(&m.rig.fake);
    CHECK(m.n > 10);
    die();
    m.rig.params.inflight_max = 3;
    start_daemon(m.table);
    fake_run(&m.rig.fake);
    CHECK_EQ(m.n, 3);
    settle(1);
    finish();
}

/* In order, from the oldest. */
static void
oldest_first(void)
{
    begin(CHAN_ABI_64, 1, 5, 0);
    for (uint64_t i = 0; i < 10; i++) {
        struct blkif_op op = rw(BLKIF_WRITE, i, i * 8, 1);

        m.asked[i].used = m.asked[i].write = true;
        m.asked[i].block = (unsigned)i;
        m.asking++;
        front_put(&m.rig.front[0], &op);
    }
    front_push(&m.rig.front[0]);
    fake_run(&m.rig.fake);
    CHECK_EQ(m.n, 10);
    chan_complete(pick(3), 0);
    chan_complete(pick(0), 0);
    fake_run(&m.rig.fake);
    die();
    start_daemon(m.table);
    CHECK_EQ(fake_port(&m.rig.fake, 100)->notified, 1); /* unasked */
    fake_run(&m.rig.fake);
    CHECK_EQ(m.n, 8);
    for (unsigned i = 1; i < m.n; i++)
        CHECK(m.io[i]->off > m.io[i - 1]->off);
    while (m.n)
        chan_complete(pick(0), 0);
    fake_run(&m.rig.fake);
    finish();
}

static unsigned idles;
static void
idle(void *arg)
{
    CHECK(arg == &m);
    idles++;
}

/* What an earlier life left is in flight before it was looked at. */
static void
drains_what_was_left(void)
{
    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(2);
    fake_run(&m.rig.fake);
    CHECK_EQ(m.n, 2);
    die();
    start_daemon(m.table);
    idles = 0;
    CHECK_EQ(chan_inflight(m.rig.chan), 0);
    chan_drain(m.rig.chan, idle, &m);
    fake_run(&m.rig.fake);
    CHECK_EQ(m.n, 2);
    CHECK_EQ(idles, 0);
    answers(2);
    CHECK_EQ(idles, 1);
    finish();
}

/* The i-th that was consumed becomes a barrier, in the table. */
static void
make_barrier(uint32_t i)
{
    size_t bytes = table_bytes(32);
    struct inflight_table *t =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.table, 0);

    REQUIRE(t != MAP_FAILED);
    for (unsigned k = 0; k < 32; k++) {
        struct inflight_entry *e = &t->entry[k];

        if (!e->word || (uint32_t)e->index != UINT32_MAX - 20 + i)
            continue;
        e->raw[0] = BLKIF_BARRIER;
        e->check = entry_check(e);
    }
    munmap(t, bytes);
}

/* A barrier in what was left is one: it waits for those before it, and those
 * behind it wait.  (No life of ours leaves one that others are behind.) */
static void
a_barrier_was_left(void)
{
    struct front_response rsp;

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(3);
    fake_run(&m.rig.fake);
    CHECK_EQ(m.n, 3);
    die();
    make_barrier(1);
    start_daemon(m.table);
    for (unsigned i = 0; i < 3; i++) {
        fake_run(&m.rig.fake);
        REQUIRE(m.n == 1);
        CHECK_EQ(m.io[0]->off, i * 4096);
        CHECK_EQ(m.io[0]->barrier, i == 1);
        chan_complete(pick(0), 0);
    }
    fake_run(&m.rig.fake);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(front_get(&m.rig.front[0], &rsp));
        CHECK_EQ(rsp.id, i);
        CHECK_EQ(rsp.status, 0);
    }
    finish();
}

static void
fail_flush(void)
{
    struct blkif_op op = rw(BLKIF_FLUSH, 1, 0, 0);

    front_put(&m.rig.front[0], &op);
    front_push(&m.rig.front[0]);
    fake_run(&m.rig.fake);
    REQUIRE(m.n == 1);
    chan_lossy(chan_of(m.io[0]));
    chan_complete(pick(0), -EIO);
    fake_run(&m.rig.fake);
}

static void
next_life(void)
{
    die();
    start_daemon(m.table);
}

/* A flush fails, and the daemon is killed at its n-th store: once the guest
 * has its error, every life knows, until a person says otherwise.  False: there
 * are less stores than that. */
static bool
flush_fails(unsigned at)
{
    struct front_response rsp;

    static volatile bool died;

    begin(CHAN_ABI_64, 1, 5, 0);
    kill_in = at;
    died = false;
    if (setjmp(killed))
        died = true;
    else
        fail_flush();
    kill_in = 0;
    next_life();
    if (!front_get(&m.rig.front[0], &rsp)) {
        finish();
        return true;
    }
    CHECK_EQ(rsp.status, BLKIF_ERROR);
    CHECK(chan_is_lossy(m.rig.chan));
    next_life();
    CHECK(chan_is_lossy(m.rig.chan));
    chan_mended(m.rig.chan);
    next_life();
    CHECK(!chan_is_lossy(m.rig.chan));
    finish();
    return died;
}

static void
a_failed_flush_is_remembered(void)
{
    unsigned at = 1;

    while (flush_fails(at))
        at++;
    CHECK(at > 5);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(oldest_first);
    TEST(a_lower_limit);
    TEST(drains_what_was_left);
    TEST(a_barrier_was_left);
    TEST(a_failed_flush_is_remembered);
    TEST(killed_all_the_time);
    TEST(killed_now_and_then);
    TEST(two_queues);
    printf("# %u points where a kill could hit\n", points);
    return test_end();
}
