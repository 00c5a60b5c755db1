/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd-crash: what a disk on a server holds after the server's machine, its
 * connections, we, or all of these died, at any moment; also while what was
 * lost is sent again.
 *
 *   - We live on: nothing that was completed is missing, though no flush
 *     covered it and the server forgot it.
 *   - We die, and the server lives: the same.
 *   - Both die: each sector holds what the last completed flush covered, or a
 *     later write.
 *   - We stopped cleanly and the server dies then: nothing is missing.
 *
 *     nbd-crash [--seed N] [--states N]
 */
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
    uint64_t states, deaths, again, broken, kills, power, clean, flushes;
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

static void
look(bool killed)
{
    idle();
    guest_look(&n.guest, killed);
    shared->states++;
}

/* The client's memory is gone. */
static void
die(bool power)
{
    nbd_fake_client_gone();
    if (power)
        sim_crash(n.sim);
    else
        sim_kill(n.sim);
    guest_lost(&n.guest);
    n.loop->ops->free(n.loop);
    if (power)
        sim_file_power(n.sim, "/server");
    open_disk();
    look(!power);
    shared->power += power;
    shared->kills += !power;
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

static void
live(void)
{
    uint64_t kind = dice(10);

    guest_work(&n.guest);
    steps(dice(200));
    if (kind == 0) {
        die(false);
    } else if (kind == 1) {
        die(true);
    } else if (kind == 2) {
        end_cleanly();
    } else if (kind < 5) {
        nbd_fake_break("/server");
        look(true);
        shared->broken++;
    } else {
        nbd_fake_die("/server");
        shared->deaths++;
        for (; !dice(2); shared->again++) { /* while it is sent again */
            steps(dice(40));
            nbd_fake_die("/server");
        }
        look(true);
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
           " power failures of both, %" PRIu64 " clean ends; %" PRIu64
           " flushes\n",
           shared->states, shared->deaths, shared->again, shared->broken,
           shared->kills, shared->power, shared->clean, shared->flushes);
    return shared->failed;
}
