/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The chain simulation.
 *
 *     chain [--seeds N] [--seed N]
 *
 * Runs seeds 1 to N, or the one seed; prints what was done and a digest of all
 * that happened, which is the same for the same seeds.
 */
#include "config.h"
#include "tests/sim/chain_sim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct sim sim;

const struct blk_plugin *const blk_plugins_static[] = {
    &sim_disk,  &sim_watch, &sim_echo,  &sim_split, &sim_retry, &sim_hold,
    &sim_remap, &sim_xor,   &sim_scrub, &sim_bad,   NULL,
};

/* ---- chance, and the end of it ------------------------------------------- */

uint64_t
sim_random(uint64_t below)
{
    return chain_loop_random(&sim.loop.loop) % below;
}

bool
sim_chance(unsigned percent)
{
    return sim_random(100) < percent;
}

void
sim_digest(uint64_t x)
{
    sim.digest = (sim.digest ^ x) * 0x9e3779b97f4a7c15u;
    sim.digest ^= sim.digest >> 29;
}

void
sim_enter(void)
{
    if (sim.depth++)
        sim_fail("a callback inside a callback");
}

void
sim_leave(void)
{
    sim.depth--;
}

void
sim_fail(const char *fmt, ...)
{
    va_list ap;

    printf("FAILED seed %" PRIu64 ": ", sim.seed);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

/* An assertion of the engine. */
static void
on_abort(int signo)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "FAILED seed %llu: signal %d\n",
                     (unsigned long long)sim.seed, signo);

    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        _exit(2);
    _exit(1);
}

/* The engine's door to the log: the simulation has no other. */
void
log_line(enum blk_level level, const struct log_fields *fields, const char *fmt,
         ...)
{
    va_list ap;

    (void)fields;
    if (level > BLK_ERR)
        return;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

void
log_close(void)
{
}

bool
log_allowed(struct log_limit *limit, uint64_t now_ns)
{
    (void)limit;
    (void)now_ns;
    return true;
}

/* ---- the chain that is asked for ----------------------------------------- */

enum { MOST = 14 };

struct wish {
    unsigned n;
    struct {
        const char *plugin, *name;
        unsigned mark;
    } layer[MOST];
};
static struct wish wish, wished;

/* Layers that may come and go while the guest runs; the others change what is
 * on the disk. */
static const char *const passing[][2] = {
    { "watch", "w1" }, { "echo", "e1" },  { "retry", "r1" }, { "hold", "h1" },
    { "split", "s1" }, { "scrub", "c1" }, { "watch", "w2" }, { "echo", "e2" },
};
enum { PASSING = sizeof(passing) / sizeof(passing[0]) };

static void
wish_insert(struct wish *w, unsigned at, const char *plugin, const char *name)
{
    memmove(&w->layer[at + 1], &w->layer[at],
            (w->n - at) * sizeof(w->layer[0]));
    w->layer[at].plugin = plugin;
    w->layer[at].name = name;
    w->layer[at].mark = 0;
    w->n++;
}

static void
wish_first(struct wish *w)
{
    w->n = 0;
    wish_insert(w, 0, "disk", "disk");
    if (sim.xored)
        wish_insert(w, 0, "xor", "xor");
    if (sim.remapped)
        wish_insert(w, (unsigned)sim_random(w->n), "remap", "remap");
    sim.moved_first = !strcmp(w->layer[0].plugin, "remap");
    for (unsigned i = 0; i < PASSING; i++) {
        if (sim_chance(50))
            wish_insert(w, (unsigned)sim_random(w->n), passing[i][0],
                        passing[i][1]);
    }
}

static void
wish_change(struct wish *w)
{
    unsigned i = (unsigned)sim_random(PASSING), at;

    for (at = 0; at < w->n && strcmp(w->layer[at].name, passing[i][1]); at++)
        ;
    if (sim_chance(40)) {
        w->layer[sim_random(w->n)].mark++;
    } else if (at == w->n) {
        wish_insert(w, (unsigned)sim_random(w->n), passing[i][0],
                    passing[i][1]);
    } else {
        memmove(&w->layer[at], &w->layer[at + 1],
                (w->n - at - 1) * sizeof(w->layer[0]));
        w->n--;
    }
}

static const struct chain_spec *
wish_spec(const struct wish *w)
{
    static struct blk_conf conf[MOST];
    static struct blk_kv kv[MOST];
    static char mark[MOST][16];
    static struct chain_spec spec;

    for (unsigned i = 0; i < w->n; i++) {
        snprintf(mark[i], sizeof(mark[i]), "%u", w->layer[i].mark);
        kv[i] = (struct blk_kv){ "mark", mark[i], "sim", (int)i };
        conf[i] = (struct blk_conf){
            w->layer[i].plugin, w->layer[i].name, "sim", (int)i, &kv[i], 1
        };
    }
    spec = (struct chain_spec){ .disk = "sim", .layer = conf, .n = w->n };
    return &spec;
}

/* ---- what happens to it -------------------------------------------------- */

enum act { ACT_NONE, ACT_PAUSE, ACT_RESUME, ACT_REPLACE, ACT_BAD, ACT_CRASH };
enum {
    STEPS = 900,           /* of a run, then it is brought to its end */
    STEPS_MAX = 400000,    /* nothing takes that many */
    OP_MAX_NS = 1000000000 /* of the run's clock: nothing takes so long */
};

static struct {
    enum act act;
    struct chain_op op, resume;
    bool over, resuming; /* resume was asked for at once */
    int error;
    bool paused;
    bool refuse, refused; /* a replacement, by the owner; it was */
    uint64_t since_ns;
} control;

static void
op_done(struct chain_op *op, int error)
{
    if (sim.depth)
        sim_fail("a step ended inside a callback of a layer");
    if (op == &control.op && control.resuming) {
        if (error)
            sim_fail("a pause failed: %s", op->why);
        return; /* over when the second is */
    }
    control.over = true;
    control.error = error;
}

static void
begin_replace(enum act act)
{
    wished = wish;
    if (act == ACT_REPLACE || sim_chance(50))
        wish_change(&wished);
    /* Half of them fail at the last moment, when all layers are started. */
    control.refuse = act == ACT_BAD && sim_chance(50);
    control.refused = false;
    if (act == ACT_BAD && !control.refuse)
        wish_insert(&wished, (unsigned)sim_random(wished.n), "bad", "bad");
    chain_replace(sim.chain, wish_spec(&wished), &control.op);
}

static void
control_begin(enum act act)
{
    control.act = act;
    control.over = control.resuming = false;
    control.op.done = control.resume.done = op_done;
    control.since_ns = sim.loop.now;
    switch (act) {
    case ACT_PAUSE:
        control.resuming = sim_chance(20);
        chain_pause(sim.chain, &control.op);
        if (control.resuming)
            chain_resume(sim.chain, &control.resume);
        break;
    case ACT_RESUME:
        chain_resume(sim.chain, &control.op);
        break;
    case ACT_REPLACE:
    case ACT_BAD:
        begin_replace(act);
        break;
    case ACT_CRASH:
        sim.crashes++;
        sim.crashed = true;
        disk_crash();
        guest_crash();
        chain_pause(sim.chain, &control.op);
        break;
    case ACT_NONE:
        break;
    }
}

static void
control_over(void)
{
    enum act act = control.act;

    control.act = ACT_NONE;
    if (act == ACT_BAD && (control.refused || !control.refuse)) {
        if (control.error != (control.refused ? -EPERM : -ENOENT) ||
            !strstr(control.op.why, control.refused ? "not wanted" : "bad"))
            sim_fail("a bad change was answered with %d, %s", control.error,
                     control.op.why);
        sim.refused++;
        return;
    }
    if (act == ACT_BAD) /* it changed nothing */
        act = ACT_REPLACE;
    if (control.error)
        sim_fail("a step failed: %d, %s", control.error, control.op.why);
    if (act == ACT_REPLACE) {
        sim.replaced++;
        wish = wished;
    } else {
        control.paused = act != ACT_RESUME && !control.resuming;
        sim.pauses += act != ACT_RESUME;
    }
    if (act == ACT_CRASH) {
        disk_revive();
        sim.crashed = false;
    }
}

static void
control_step(void)
{
    unsigned x = (unsigned)sim_random(100);

    if (control.act != ACT_NONE && control.over)
        control_over();
    if (control.act != ACT_NONE) {
        if (sim.loop.now - control.since_ns > OP_MAX_NS)
            sim_fail("step %d of the life cycle does not end", control.act);
        return;
    }
    if (control.paused) {
        if (x < 30)
            control_begin(x < 20 ? ACT_RESUME : x < 25 ? ACT_REPLACE : ACT_BAD);
    } else if (x < 8) {
        control_begin(x < 2   ? ACT_PAUSE
                      : x < 4 ? ACT_REPLACE
                      : x < 5 ? ACT_BAD
                      : x < 6 ? ACT_CRASH
                              : ACT_NONE);
    } else if (x == 8) {
        disk_change();
    }
}

/* ---- a run --------------------------------------------------------------- */

static void
on_relimit(void *ctx, const struct blk_limits *lim)
{
    (void)ctx;
    if (lim->size % lim->align)
        sim_fail("a size that is not aligned");
    sim.relimits++;
}

static int
on_accept(void *ctx, const struct blk_limits *now,
          const struct blk_limits *then, char *why, size_t n)
{
    (void)ctx;
    if (!now->size || !then->size)
        sim_fail("nothing is offered");
    if (!control.refuse)
        return 0;
    control.refused = true;
    snprintf(why, n, "not wanted");
    return -EPERM;
}

static void
on_fatal(void *ctx, int error, const char *why)
{
    (void)ctx;
    sim_fail("fatal: %d, %s", error, why);
}

static void
step(void)
{
    if (sim.loop.rounds > STEPS_MAX)
        sim_fail("the run does not end");
    if (!chain_loop_step(&sim.loop) && control.act != ACT_NONE && !control.over)
        sim_fail("step %d of the life cycle is stuck", control.act);
}

/* Nothing else happens until this is over. */
static void
act_to_end(enum act act)
{
    control_begin(act);
    while (!control.over)
        step();
    control_over();
}

static void
settle(void)
{
    while (control.act != ACT_NONE) {
        if (control.over)
            control_over();
        else
            step();
    }
    if (control.paused)
        act_to_end(ACT_RESUME);
    /* Whatever a layer holds, it gives when it is drained. */
    while (control.resuming || !guest_idle()) {
        act_to_end(ACT_PAUSE);
        if (control.paused)
            act_to_end(ACT_RESUME);
        control.resuming = false;
    }
}

static void
sweep(void)
{
    while (!guest_swept()) {
        guest_check_all();
        step();
        if (!guest_idle() && sim_chance(10))
            settle();
    }
    settle();
}

static void
chain_up(void)
{
    static const struct chain_events events = { on_relimit, on_fatal,
                                                on_accept };
    char why[256];

    if (chain_new(&sim.chain, &sim.loop.loop, wish_spec(&wish), &events, NULL,
                  why, sizeof(why)))
        sim_fail("no chain: %s", why);
    if (chain_reserve(sim.chain, SLOTS))
        sim_fail("no memory");
    control.act = ACT_NONE;
    control.paused = control.over = control.resuming = false;
    control.op.done = op_done;
    chain_start(sim.chain, &control.op);
    while (!control.over)
        step();
    if (control.error)
        sim_fail("no start: %s", control.op.why);
}

static void
chain_down(void)
{
    control.over = false;
    chain_stop(sim.chain, &control.op);
    while (!control.over)
        step();
    chain_free(sim.chain);
}

static void
run(uint64_t seed)
{
    sim.seed = seed;
    sim.depth = 0;
    sim.crashed = false;
    chain_loop_init(&sim.loop, seed);
    sim.xored = sim_chance(40);
    sim.remapped = sim_chance(50);
    wish_first(&wish);
    disk_reset();
    chain_up();
    guest_reset();
    for (unsigned i = 0; i < STEPS; i++) {
        if (sim_chance(40))
            guest_step();
        step();
        control_step();
    }
    settle();
    if (sim_chance(50))
        act_to_end(ACT_CRASH);
    settle();
    sweep();
    chain_down();
    sim_digest(sim.loop.now);
}

/* Every number is that of all seeds. */
static void
report(uint64_t seeds)
{
    printf("%" PRIu64 " seeds: %" PRIu64 " requests (%" PRIu64
           " failed as injected), %" PRIu64 " units compared, %" PRIu64
           " pauses, %" PRIu64 " replaced, %" PRIu64 " refused, %" PRIu64
           " relimits, %" PRIu64 " crashes, %" PRIu64 " splits, %" PRIu64
           " waits, %" PRIu64 " retries, %" PRIu64 " own reads\n",
           seeds, sim.requests, sim.failed, sim.compared, sim.pauses,
           sim.replaced, sim.refused, sim.relimits, sim.crashes, sim.splits,
           sim.waits, sim.retries, sim.scrubs);
    printf("digest %016" PRIx64 "\n", sim.digest);
    if (!sim.compared || !sim.replaced || !sim.refused || !sim.crashes)
        sim_fail("the simulation did not do its work");
}

int
main(int argc, char **argv)
{
    uint64_t first = 1, last = getenv("CHECK_LONG") ? 20000 : 2000;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seeds"))
            last = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seed"))
            first = last = strtoull(argv[i + 1], NULL, 10);
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (uint64_t seed = first; seed <= last; seed++)
        run(seed);
    report(last - first + 1);
    return 0;
}
