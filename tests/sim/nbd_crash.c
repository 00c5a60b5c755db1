/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd-crash: what a disk on a server holds after the server's machine, its
 * connections, we, or all of these died, at any moment; also while what was
 * lost is sent again.
 *
 *   - We live on: nothing that was completed is missing, though no flush
 *     covered it and the server forgot it.
 *   - We die, and the server lives: the same, also where its connections broke
 *     before and we were sending again what it had.
 *   - Both die: each sector holds what the last completed flush covered, or a
 *     later write.
 *   - Two writes of a place are under way together: what was read then stays.
 *   - We stopped cleanly and the server dies then: nothing is missing.
 *   - What is called zero, while nothing is written, is.
 *
 *     nbd-crash [--seed N] [--states N]
 */
#include <errno.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "host/sim.h"
#include "tests/sim/nbd_fake.h"
#include "tests/sim/qcow2_guest.h"
#include "tests/test.h"

extern const struct blk_plugin blk_plugin_nbd;
const struct blk_plugin *const blk_plugins_static[] = { &blk_plugin_nbd, NULL };

enum { SECTORS = 96, LIVES = 60 };

static struct shared {
    uint64_t states, deaths, again, broken, kills, power, both, clean, flushes;
    uint64_t crossed, refused, failures;
    uint64_t maps, zeroes;
    int failed;
} * shared;

static struct {
    uint64_t seed;
    struct sim *sim;
    struct loop *loop;
    struct chain *chain;
    struct chain_op op;
    int status;
    struct guest guest;
    struct chain_map map;
    uint64_t mapped; /* up to here */
    bool mapping;
    bool zero[SECTORS * 512]; /* what it says */
} n;

void
wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("FAILED seed %" PRIu64 ": ", n.seed);
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);
    va_end(ap);
    shared->failed = 1;
    _exit(1);
}

static uint64_t
dice(uint64_t below)
{
    return sim_below(n.sim, below);
}

static void
steps(uint64_t most)
{
    while (most-- && sim_step(n.sim))
        ;
}

static bool
step_over(void *data)
{
    (void)data;
    return n.status <= 0;
}

static void
step_done(struct chain_op *op, int error)
{
    (void)op;
    n.status = error;
}

static void
step_wait(const char *what)
{
    if (!sim_run_until(n.sim, step_over, NULL, 100000000000ull))
        wrong("%s hangs", what);
    if (n.status)
        wrong("%s: %d: %s", what, n.status, n.op.why);
}

static void
open_disk(void)
{
    static const struct blk_kv kv[] = { { "uri", "nbd://server", "test", 1 },
                                        { "replay", "4M", "test", 1 } };
    static const struct blk_conf layer = { "nbd", "nbd", "test", 1, kv, 2 };
    struct chain_spec spec = { .disk = "disk", .layer = &layer, .n = 1 };
    static const struct chain_events events = { 0 };
    char why[300];

    n.loop = sim_loop_new(n.sim, "data0");
    if (chain_new(&n.chain, n.loop, &spec, &events, NULL, why, sizeof(why)))
        wrong("%s", why);
    n.guest.chain = n.chain;
    n.op = (struct chain_op){ .done = step_done };
    n.status = 1;
    chain_start(n.chain, &n.op);
    step_wait("opening it");
    if (chain_reserve(n.chain, GUEST_WAYS))
        wrong("no memory");
    n.guest.working = false;
}

static void
idle(void)
{
    n.guest.working = false;
    if (!sim_run_until(n.sim, guest_idle, &n.guest, 100000000000ull))
        wrong("a request hangs");
}

/* ---- where data are ------------------------------------------------------ */

static bool
extent(struct chain_map *m, uint64_t len, enum blk_extent kind)
{
    if (!len || n.mapped + len > SECTORS * 512 || n.mapped + len != m->off)
        wrong("the map leaves what was asked for");
    memset(n.zero + n.mapped, kind == BLK_ZEROES, len);
    n.mapped += len;
    return true;
}

static void
map_done(struct chain_map *m, int error)
{
    (void)m;
    if (error)
        wrong("the map fails with %d", error);
    n.mapping = false;
}

static bool
map_over(void *data)
{
    (void)data;
    return !n.mapping;
}

/* From somewhere on, as far as it goes. */
static void
map(uint64_t off)
{
    if (n.mapping)
        return;
    n.mapping = true;
    n.mapped = off;
    n.map = (struct chain_map){ .off = off,
                                .len = SECTORS * 512 - off,
                                .extent = extent,
                                .done = map_done };
    chain_map(n.chain, &n.map);
}

static void
map_wait(void)
{
    if (!sim_run_until(n.sim, map_over, NULL, 100000000000ull))
        wrong("a map hangs");
}

/* While nothing is written: what it calls zero is. */
static void
map_look(void)
{
    static char data[SECTORS * 512];

    map_wait();
    for (n.mapped = 0; n.mapped < SECTORS * 512;) {
        map(n.mapped);
        map_wait();
    }
    sim_file_get(n.sim, "/server", 0, data, sizeof(data));
    for (unsigned i = 0; i < SECTORS * 512; i++) {
        if (n.zero[i] && data[i])
            wrong("byte %u is called zero, and is %d", i, data[i]);
        shared->zeroes += n.zero[i];
    }
    shared->maps++;
}

static void
look(bool killed)
{
    idle();
    guest_look(&n.guest, killed);
    map_look();
    shared->states++;
}

enum death { KILLED, POWER, KILLED_AND_SERVER };

/* The client's memory is gone. */
static void
die(enum death how)
{
    nbd_fake_client_gone();
    n.mapping = false;
    if (how == POWER)
        sim_crash(n.sim);
    else
        sim_kill(n.sim);
    guest_lost(&n.guest);
    n.loop->ops->free(n.loop);
    if (how == POWER)
        sim_file_power(n.sim, "/server");
    open_disk();
    look(how == KILLED);
    shared->power += how == POWER;
    shared->kills += how == KILLED;
    shared->both += how == KILLED_AND_SERVER;
}

static void
end_cleanly(void)
{
    idle();
    n.op = (struct chain_op){ .done = step_done };
    n.status = 1;
    chain_stop(n.chain, &n.op);
    step_wait("closing it");
    chain_free(n.chain);
    n.loop->ops->free(n.loop);
    nbd_fake_die("/server");
    open_disk();
    look(true);
    shared->clean++;
}

/* Which of two is the last is the server's affair, once. */
static void
cross(void)
{
    if (!guest_over(&n.guest, 0))
        return;
    guest_over(&n.guest, 1);
    look(true);
    shared->crossed++;
}

/* What a write covers is not sent again; but then the write fails. */
static void
refuse(void)
{
    uint64_t word;

    if (!guest_over(&n.guest, 0))
        return;
    idle();
    guest_over(&n.guest, 1);
    memcpy(&word, n.guest.way[1].buf, sizeof(word));
    nbd_fake_die("/server");
    nbd_fake_refuse(word);
    n.guest.faulty = true;
    idle();
    n.guest.faulty = false;
    look(true);
    shared->refused++;
}

static void
flush_done(struct chain_req *req, int error)
{
    chain_put(n.chain, req);
    n.status = error;
}

/* A flush fails, the connection goes, and what was under way is not sent again
 * as writes are over: reads go on. */
static void
fail(void)
{
    struct chain_req *flush = chain_get(n.chain);

    guest_over(&n.guest, 0);
    flush->done = flush_done;
    flush->req.op = BLK_FLUSH;
    n.status = 1;
    nbd_fake_refuse_flush();
    chain_submit(n.chain, flush);
    if (!sim_run_until(n.sim, step_over, NULL, 100000000000ull))
        wrong("a flush hangs");
    if (n.status != -EIO)
        wrong("a flush that failed ends with %d", n.status);
    nbd_fake_break("/server");
    n.guest.faulty = true;
    look(true);
    shared->failures++;
}

/* While it is sent again. */
static void
broken(void)
{
    nbd_fake_break("/server");
    shared->broken++;
    if (dice(2)) {
        steps(dice(80));
        die(KILLED);
    } else {
        look(true);
    }
}

static void
server_dies(void)
{
    nbd_fake_die("/server");
    shared->deaths++;
    for (; !dice(2); shared->again++) { /* while it is sent again */
        steps(dice(40));
        nbd_fake_die("/server");
    }
    if (dice(8)) {
        look(true);
    } else {
        steps(dice(80));
        die(KILLED_AND_SERVER);
    }
}

static void
live(void)
{
    uint64_t kind = dice(10);

    if (!dice(4))
        cross();
    if (!dice(8))
        refuse();
    guest_work(&n.guest);
    if (!dice(2)) {
        steps(dice(50));
        map(dice(SECTORS * 512));
    }
    steps(dice(200));
    if (kind == 0) {
        die(KILLED);
    } else if (kind == 1) {
        die(POWER);
    } else if (kind == 2) {
        end_cleanly();
    } else if (kind < 5) {
        broken();
    } else {
        server_dies();
    }
}

static void
seed_run(uint64_t seed)
{
    n.seed = seed;
    n.sim = sim_new(seed);
    sim_file_make(n.sim, "/server", SECTORS * 512);
    nbd_fake_world(n.sim);
    guest_init(&n.guest, n.sim, SECTORS, 1);
    open_disk();
    if (!dice(8)) {
        fail();
        return;
    }
    for (unsigned i = 0; i < LIVES; i++)
        live();
    shared->flushes += n.guest.flushes;
}

static void
seed_in_child(uint64_t seed)
{
    int status = 0;
    pid_t child = fork();

    REQUIRE(child >= 0);
    if (!child) {
        mallopt(M_PERTURB, 0);
        seed_run(seed);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    if (status && !shared->failed)
        printf("FAILED seed %" PRIu64 ": status %#x\n", seed, status);
    shared->failed |= status != 0;
}

int
main(int argc, char **argv)
{
    uint64_t states = getenv("CHECK_LONG") ? 1000000 : 50000, seed = 1;
    bool one = false;

    if (getenv("SANITIZED"))
        states = 2000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--states"))
            states = strtoull(argv[i + 1], NULL, 0);
        one = one || !strcmp(argv[i], "--seed");
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 0);
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    log_level(0); /* no thread: a fork would take the locks that it holds */
    do
        seed_in_child(seed++);
    while (!one && !shared->failed && shared->states < states);
    printf("%" PRIu64 " crash states: the server died in %" PRIu64 ", %" PRIu64
           " times more while writes were sent again; %" PRIu64
           " lost connections, %" PRIu64 " kills, %" PRIu64
           " power failures of both, %" PRIu64
           " kills and a dead server, %" PRIu64 " clean ends; %" PRIu64
           " flushes; %" PRIu64 " writes beside others, %" PRIu64
           " refused; %" PRIu64 " failed flushes; %" PRIu64 " maps, %" PRIu64
           " bytes called zero\n",
           shared->states, shared->deaths, shared->again, shared->broken,
           shared->kills, shared->power, shared->both, shared->clean,
           shared->flushes, shared->crossed, shared->refused, shared->failures,
           shared->maps, shared->zeroes);
    return shared->failed || (!one && !shared->zeroes);
}
