/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * channel_model.h: a well-behaved guest and a daemon that can be killed at
 * every point where its stores to shared memory are ordered.  White box:
 * includes inflight.c and ring.c; included once, by a test.
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

static const struct chan_ops model_ops = { .request = got_request,
                                           .broken = got_broken };

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
put_writes(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct blkif_op op = rw(BLKIF_WRITE, i, i * 8, 1);

        front_put(&m.rig.front[0], &op);
    }
    front_push(&m.rig.front[0]);
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
