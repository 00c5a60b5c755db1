/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A well-behaved guest, and a daemon that is killed at every point where its
 * stores to shared memory are ordered, and comes back with the table: no
 * acknowledged write is lost, no request is answered twice or never.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <unistd.h>

#include "channel/shm.h"
#include "tests/test.h"

static jmp_buf killed;
static unsigned kill_in; /* points to go; 0: never */
static unsigned points;

static void
point(void)
{
    points++;
    if (kill_in && !--kill_in)
        longjmp(killed, 1);
}

#define shm_rmb point
#define shm_wmb point
#define shm_mb  point
#include "channel/inflight.c"
#include "channel/ring.c"
#undef shm_rmb
#undef shm_wmb
#undef shm_mb

#include "tests/unit/channel_rig.h"

enum { BLOCKS = 24, IDS = 64 };

struct model {
    struct rig rig;
    struct tap_ops ops;
    int table; /* the service manager's copy */
    uint64_t seed;
    struct chan_io *io[IDS * 2];
    unsigned n;
    uint32_t version, acked[BLOCKS];
    bool writing[BLOCKS];
    struct {
        bool used, write;
        unsigned block;
        uint32_t version, expect;
    } asked[IDS];
    unsigned asking, answered, kills;
};

static struct model m;
static const struct tap_ops *real_ops;

static unsigned
dice(unsigned n)
{
    m.seed = m.seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(m.seed >> 33) % n;
}

/* ---- the daemon ---------------------------------------------------------- */

static int
copy_or_die(struct tap *tap, struct tap_copy *c, unsigned n)
{
    int r;

    point();
    r = real_ops->copy(tap, c, n);
    point();
    return r;
}

static void
notify_or_die(struct tap *tap, int port)
{
    point();
    real_ops->notify(tap, port);
    point();
}

static void
do_io(const struct chan_io *io)
{
    if (io->op == BLK_READ)
        memcpy(io->iov.iov_base, m.rig.sink.disk + io->off, io->len);
    else if (io->op == BLK_WRITE)
        memcpy(m.rig.sink.disk + io->off, io->iov.iov_base, io->len);
}

static void
got_request(void *ctx, struct chan_io *io)
{
    (void)ctx;
    REQUIRE(m.n < sizeof(m.io) / sizeof(m.io[0]));
    m.io[m.n++] = io;
}

static void
got_broken(void *ctx, const char *why)
{
    (void)ctx;
    test_fail(__FILE__, __LINE__, "broken: %s", why);
}

static const struct chan_ops model_ops = { got_request, got_broken, NULL };

static struct chan_io *
pick(unsigned i)
{
    struct chan_io *io = m.io[i];

    m.io[i] = m.io[--m.n];
    return io;
}

static void
start_daemon(int inherit)
{
    char why[200] = "";

    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    if (chan_open(&m.rig.chan, m.rig.sweep, &m.rig.params, &model_ops, &m,
                  inherit, why, sizeof(why))) {
        test_fail(__FILE__, __LINE__, "not opened: %s", why);
        exit(1);
    }
    if (inherit >= 0)
        close(inherit);
    m.table = dup(chan_table_fd(m.rig.chan));
}

/* What it had under way was done, or not; nobody hears of it. */
static void
die(void)
{
    loop_init(&m.rig.fake.loop, m.rig.fake.loop.ops, "fake");
    chan_close(m.rig.chan);
    while (m.n) {
        struct chan_io *io = pick(dice(m.n));

        if (dice(2))
            do_io(io);
        chan_complete(io, 0);
    }
    sweep_free(m.rig.sweep);
    m.kills++;
}

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
begin(enum chan_abi abi, unsigned queues, uint64_t seed, unsigned limit)
{
    memset(&m, 0, sizeof(m));
    m.seed = seed;
    rig_prepare(&m.rig, abi, 0, queues, UINT32_MAX - 20);
    sweep_free(m.rig.sweep);
    m.rig.params.inflight_max = limit;
    real_ops = m.rig.fake.tap.ops;
    m.ops = *real_ops;
    m.ops.copy = copy_or_die;
    m.ops.notify = notify_or_die;
    m.rig.fake.tap.ops = &m.ops;
    kill_in = 0;
    start_daemon(-1);
}

static void
finish(void)
{
    close(m.table);
    rig_end(&m.rig);
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

/* A guest that wrote over rsp_prod, or a table of another day: no start. */
static void
refuses(void)
{
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    char why[200] = "";
    struct chan *c;
    int error;

    begin(CHAN_ABI_64, 1, 5, 0);
    front_put(&m.rig.front[0], &op);
    front_push(&m.rig.front[0]);
    fake_run(&m.rig.fake);
    die();
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    front_set(&m.rig.front[0], 8, 5);
    error = chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, m.table,
                      why, sizeof(why));
    CHECK_EQ(error, -EPROTO);
    CHECK(strstr(why, "disagree"));
    m.rig.params.nonce++;
    error = chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, m.table,
                      why, sizeof(why));
    CHECK_EQ(error, -EINVAL);
    CHECK(strstr(why, "of another connection"));
    CHECK_EQ(m.rig.fake.maps, 0);
    CHECK_EQ(m.rig.fake.binds, 0);
    m.rig.chan = NULL;
    finish();
}

/* Served before, and no table that can be used: with a request unanswered the
 * ring is left alone; when all are answered it is gone on from. */
static void
without_a_table(void)
{
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    struct front_response rsp;
    struct chan *c;
    char why[256] = "";

    begin(CHAN_ABI_64, 1, 5, 0);
    front_put(&m.rig.front[0], &op);
    front_push(&m.rig.front[0]);
    fake_run(&m.rig.fake);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    CHECK_EQ(chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, -1, why,
                       sizeof(why)),
             -EUCLEAN);
    CHECK(strstr(why, "1 requests have no answer"));
    CHECK(!front_get(&m.rig.front[0], &rsp));
    m.rig.params.nonce++;
    CHECK_EQ(chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, m.table,
                       why, sizeof(why)),
             -EUCLEAN);
    CHECK(strstr(why, "of another connection"));
    m.rig.params.nonce--;
    sweep_free(m.rig.sweep);
    start_daemon(m.table); /* the table itself was not touched */
    fake_run(&m.rig.fake);
    while (m.n)
        chan_complete(pick(0), 0);
    fake_run(&m.rig.fake);
    CHECK(front_get(&m.rig.front[0], &rsp));
    die();
    close(m.table);
    start_daemon(-1);
    finish();
}

static void
put_writes(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct blkif_op op = rw(BLKIF_WRITE, i, i * 8, 1);

        front_put(&m.rig.front[0], &op);
    }
    front_push(&m.rig.front[0]);
}

static int
reopen(int inherit, char *why, size_t why_size)
{
    why[0] = '\0';
    return chan_open(&m.rig.chan, m.rig.sweep, &m.rig.params, &model_ops, &m,
                     inherit, why, why_size);
}

/* All are answered, oldest first; n of them. */
static void
answers(unsigned n)
{
    struct front_response rsp;

    fake_run(&m.rig.fake);
    while (m.n)
        chan_complete(pick(0), 0);
    fake_run(&m.rig.fake);
    for (unsigned i = 0; i < n; i++)
        CHECK(front_get(&m.rig.front[0], &rsp) && !rsp.status);
    CHECK(!front_get(&m.rig.front[0], &rsp));
}

/* Served before, and the front-end has made its rings anew since: the old
 * table is of rings that are gone, and the new ones are begun. */
static void
rings_made_anew(void)
{
    char why[256];

    begin(CHAN_ABI_64, 2, 5, 0);
    die();
    front_init(&m.rig.front[0], &m.rig.fake, CHAN_ABI_64, 0, 60, 120, 0);
    front_init(&m.rig.front[1], &m.rig.fake, CHAN_ABI_64, 0, 61, 121, 0);
    front_params(m.rig.front, 2, &m.rig.params);
    m.rig.params.resumed = true;
    put_writes(3);
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    REQUIRE(!reopen(m.table, why, sizeof(why)));
    CHECK(strstr(why, "of another ring"));
    CHECK(!strstr(why, "answer"));
    CHECK(!chan_adopted(m.rig.chan));
    answers(3);
    finish();
}

/* Other references, but something was answered on them: somebody served them,
 * and what is open may have been done. */
static void
other_rings_that_were_served(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    die();
    front_init(&m.rig.front[0], &m.rig.fake, CHAN_ABI_64, 0, 60, 120, 4);
    front_params(m.rig.front, 1, &m.rig.params);
    m.rig.params.resumed = true;
    put_writes(2);
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    CHECK_EQ(reopen(m.table, why, sizeof(why)), -EUCLEAN);
    CHECK(strstr(why, "of another ring; 2 requests have no answer"));
    CHECK_EQ(m.rig.fake.maps, 0);
    front_set(&m.rig.front[0], 0, 4); /* all are answered after all */
    m.rig.front[0].req = 4;
    REQUIRE(!reopen(m.table, why, sizeof(why)));
    CHECK(strstr(why, "all requests have their answer: gone on without it"));
    put_writes(2);
    answers(2);
    finish();
}

/* The table goes with the connection and not with the ring: as without it,
 * and nothing of what was begun with it is left. */
static void
a_table_that_disagrees(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(2);
    fake_run(&m.rig.fake);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    front_set(&m.rig.front[0], 8, m.rig.front[0].req - 1);
    CHECK_EQ(reopen(m.table, why, sizeof(why)), -EUCLEAN);
    CHECK(strstr(why, "disagree"));
    CHECK(strstr(why, "; 1 requests have no answer"));
    CHECK_EQ(m.rig.fake.maps, 0);
    m.rig.chan = NULL;
    finish();
}

/* The caller's buffer is short: the sentence is cut off, the answer not. */
static void
a_short_sentence(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(1);
    fake_run(&m.rig.fake);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    memset(why, 'x', sizeof(why));
    CHECK_EQ(reopen(-1, why, 16), -EUCLEAN);
    CHECK_STR(why, "expected the in");
    CHECK_EQ(why[16], 'x');
    front_set(&m.rig.front[0], 8, m.rig.front[0].req);
    REQUIRE(!reopen(-1, why, 16));
    CHECK_STR(why, "expected the in");
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

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(oldest_first);
    TEST(a_lower_limit);
    TEST(refuses);
    TEST(without_a_table);
    TEST(rings_made_anew);
    TEST(other_rings_that_were_served);
    TEST(a_table_that_disagrees);
    TEST(a_short_sentence);
    TEST(drains_what_was_left);
    TEST(a_barrier_was_left);
    TEST(killed_all_the_time);
    TEST(killed_now_and_then);
    TEST(two_queues);
    printf("# %u points where a kill could hit\n", points);
    return test_end();
}
