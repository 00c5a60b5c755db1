/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/crash_world.h"

#include <errno.h>
#include <unistd.h>

#include "config.h"
#include "host/sim.h"
#include "plugins/qcow2/format.h"
#include "tests/test.h"

enum { CRASHES = 25 };

struct crash_shared *shared;
struct crash_world w;

void
wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("FAILED seed %" PRIu64 ": ", w.seed);
    vprintf(fmt, ap);
    printf(" (%s; version %u, clusters of %u, extended %d, snapshot %d, "
           "filled %u, faulty %d)\n",
           w.stack->name, w.f.version, 1u << w.f.cluster_bits, w.f.extended,
           w.f.snapshot, w.f.filled, w.guest.faulty);
    fflush(stdout);
    va_end(ap);
    shared->failed = 1;
    _exit(1);
}

static uint64_t
dice(uint64_t n)
{
    return sim_below(w.sim, n);
}

/* ---- steps of the chain -------------------------------------------------- */

/* It is durable before the guest is told. */
static void
relimited(void *ctx, const struct blk_limits *limits)
{
    (void)ctx;
    (void)limits;
    shared->grown += w.size != w.asked;
    w.size = w.asked;
}

void
crash_step_done(struct chain_op *op, int error)
{
    (void)op;
    w.status = error;
}

static void
chain_make(void)
{
    struct chain_spec spec = { .disk = "disk", .layer = w.layer, .n = w.n };
    static const struct chain_events events = { .relimit = relimited };
    char why[300];

    w.loop = sim_loop_new(w.sim, "data0");
    if (chain_new(&w.chain, w.loop, &spec, &events, NULL, why, sizeof(why)))
        wrong("%s", why);
    w.guest.chain = w.chain;
    w.op = (struct chain_op){ .done = crash_step_done };
    w.status = 1;
    chain_start(w.chain, &w.op);
}

/* False: it was left in the middle. */
static bool
chain_finish(void)
{
    w.op = (struct chain_op){ .done = crash_step_done };
    w.status = 1;
    chain_stop(w.chain, &w.op);
    for (uint64_t i = dice(2) ? UINT64_MAX : dice(16);
         w.status > 0 && i && sim_step(w.sim); i--)
        ;
    if (w.status > 0)
        return false;
    if (w.status)
        wrong("stop: %d", w.status);
    chain_free(w.chain);
    w.loop->ops->free(w.loop);
    return true;
}

/* ---- a larger disk ------------------------------------------------------- */

static const char *
image_layer(void)
{
    for (unsigned i = 0; i < w.n; i++) {
        const struct blk_conf *l = &w.layer[i];

        if (!strcmp(l->plugin, "qcow2") && !strcmp(l->kv[0].value, "/image"))
            return l->name;
    }
    return NULL;
}

/* A few bytes, or as much as needs a larger L1; a data file is as long, and
 * kept in memory. */
static void
resize_begin(void)
{
    const uint64_t reach = (1ull << w.f.cluster_bits >> 3) << w.f.cluster_bits;
    char bytes[24];

    w.asked = w.size + 4096 * (1 + dice(4));
    if (dice(2) && (!w.stack->apart || (reach < 1 << 20 && w.size < 2 << 20)))
        w.asked += reach / 8 << w.f.cluster_bits;
    snprintf(bytes, sizeof(bytes), "%" PRIu64, w.asked);
    if (person_says(w.chain, image_layer(), "resize", bytes, NULL, w.told))
        wrong("it can't be resized");
}

/* What the guest was told stays; what it was not told may be. */
static void
resize_judge(const uint8_t *image)
{
    uint64_t is = q2_get64(image + Q2_AT_SIZE);

    if (is != w.size && is != w.asked)
        wrong("the size is %" PRIu64 ", expected %" PRIu64 " or %" PRIu64, is,
              w.size, w.asked);
    shared->grown += is != w.size;
    w.size = w.asked = is;
}

/* ---- folded into what is below ------------------------------------------- */

static int
commit_say(const char *verb, const char *word)
{
    return person_says(w.chain, image_layer(), "commit", verb, word, w.told);
}

static void
commit_begin(void)
{
    if (commit_say(NULL, NULL))
        return; /* an earlier one has not ended yet */
    w.begun = true;
    shared->commits++;
}

/* The step that was asked for is over; false: the end of this life came. */
static bool
commit_step(uint64_t *events)
{
    for (; w.status > 0 && *events && sim_step(w.sim); --*events)
        crash_enum_look();
    return w.status <= 0;
}

static void
layers_without_image(struct chain_spec *spec, struct blk_conf to[8])
{
    const char *image = image_layer();

    *spec = (struct chain_spec){ .disk = "disk", .layer = to };
    for (unsigned i = 0; i < w.n; i++) {
        if (strcmp(w.layer[i].name, image))
            to[spec->n++] = w.layer[i];
    }
}

/* As the daemon does it: told "end", paused, replaced, written down, resumed.
 * When this life ends before it is written down the next has both layers. */
static void
commit_end(uint64_t *events)
{
    struct blk_conf layer[8];
    struct chain_spec spec;

    if (commit_say("end", "word"))
        wrong("a commit that is ready can't end");
    w.op = (struct chain_op){ .done = crash_step_done };
    w.status = 1;
    w.midway = true;
    chain_pause(w.chain, &w.op);
    if (!commit_step(events))
        return;
    if (w.status) {
        w.midway = false;
        if (!w.guest.faulty)
            wrong("pause: %s", w.op.why);
        if (commit_say("again", "word"))
            wrong("the word is not known");
        commit_say("cancel", NULL);
        return;
    }
    layers_without_image(&spec, layer);
    w.status = 1;
    chain_replace(w.chain, &spec, &w.op);
    if (!commit_step(events))
        return;
    if (w.status)
        wrong("replace: %s", w.op.why);
    if (!dice(4)) { /* killed before it is written down */
        *events = 0;
        return;
    }
    memcpy(w.layer, layer, sizeof(layer));
    w.n = spec.n;
    w.folded = true;
    shared->folded++;
    if (dice(2)) /* before a guest's flush covers what was copied last */
        *events = dice(40);
    guest_cluster(&w.guest, chain_limits(w.chain)->discard_align / 512);
    w.status = 1;
    chain_resume(w.chain, &w.op);
    w.midway = !commit_step(events);
}

static void
commit_look(uint64_t *events)
{
    if (!w.begun || w.folded)
        return;
    if (commit_say("status", NULL))
        wrong("no status");
    if (!strcmp(w.told, "failed") && !w.guest.faulty)
        wrong("the commit failed");
    if (!strcmp(w.told, "ready"))
        commit_end(events);
    else if (!dice(1500))
        commit_say(dice(2) ? "cancel" : "pause", NULL);
    else if (!dice(10))
        commit_say("resume", NULL);
}

/* ---- after it ------------------------------------------------------------ */

/* An image as it lies there; what it found. */
static struct image_found
judge_image(const char *name, unsigned cluster_bits, bool closed)
{
    int64_t size = sim_file_size(w.sim, name);
    size_t cluster = (size_t)1 << cluster_bits;
    size_t len = ((size_t)size + cluster - 1) / cluster * cluster;
    uint8_t *p = calloc(1, len);
    struct image_found found;

    sim_file_get(w.sim, name, 0, p, (size_t)size);
    image_judge(p, len, &found);
    if (!strcmp(name, "/image"))
        resize_judge(p);
    free(p);
    if (found.wrong[0])
        wrong("%s: %s", name, found.wrong);
    if (found.low)
        wrong("%s: %" PRIu64 " counters are too low", name, found.low);
    if (found.wrong_copied)
        wrong("%s: %" PRIu64 " flags are wrong", name, found.wrong_copied);
    if (closed && !w.guest.faulty && (found.high || found.dirty))
        wrong("%s: closed: %" PRIu64 " leaks, dirty %d", name, found.high,
              found.dirty);
    return found;
}

/* What is before the data is nobody's. */
static void
judge_raw(void)
{
    uint8_t is[CRASH_RAW_MOST], was[512];

    sim_file_get(w.sim, "/image", 0, is, w.stack->raw);
    for (uint64_t at = 0; at < w.stack->raw; at += 512) {
        crash_stamp_before(was, at);
        if (memcmp(is + at, was, 512) != 0)
            wrong("sector %" PRIu64 " before the data was written to",
                  at / 512);
    }
}

void
crash_judge(bool closed)
{
    struct image_found found;

    judge_raw();
    if (w.begun && w.stack->base == CRASH_QCOW2)
        judge_image("/base", CRASH_BASE_BITS, closed);
    if (w.folded || w.stack->raw)
        return;
    found = judge_image("/image", w.f.cluster_bits, closed);
    if (w.snapshot && found.snapshot != w.snapshot)
        wrong("the snapshot is not what it was");
    w.snapshot = found.snapshot;
    if (found.high && !found.dirty && w.f.version >= 3)
        wrong("%" PRIu64 " leaks without a mark", found.high);
    if (w.stack->base != CRASH_NO_BASE && !w.begun &&
        crash_hash("/base") != w.base)
        wrong("what is below was written to");
    shared->leaked += found.high != 0;
}

/* The program is gone, with its memory. */
static bool
crash(void)
{
    bool kill = !dice(3);

    if (kill)
        sim_kill(w.sim);
    else
        sim_crash(w.sim);
    shared->states++;
    shared->apart += w.stack->apart;
    shared->kills += kill;
    guest_lost(&w.guest);
    w.loop->ops->free(w.loop);
    crash_judge(false);
    return kill;
}

static void
faults_begin(void)
{
    const struct sim_faults faults = {
        .read = 5000,
        .write = 60000,
        .range = 60000,
        .shorter = 20000,
        .error = dice(2) ? EIO : ENOSPC,
    };

    if (w.guest.faulty)
        sim_file_faults(w.sim, "/image", &faults);
    if (w.guest.faulty && w.stack->apart && dice(2))
        sim_file_faults(w.sim, "/data", &faults);
    if (w.guest.faulty && w.commits && dice(2))
        sim_file_faults(w.sim, "/base", &faults);
}

static void
faults_end(void)
{
    static const struct sim_faults none;

    sim_file_faults(w.sim, "/image", &none);
    if (w.stack->apart)
        sim_file_faults(w.sim, "/data", &none);
    if (w.commits)
        sim_file_faults(w.sim, "/base", &none);
}

/* False: it is in the middle of it still. */
bool
crash_open(uint64_t steps)
{
    chain_make();
    for (; w.status > 0 && steps && sim_step(w.sim); steps--)
        crash_enum_look();
    if (w.status > 0)
        return false;
    if (w.status)
        wrong("it does not open: %s", w.op.why);
    if (chain_reserve(w.chain, GUEST_WAYS))
        wrong("no memory");
    w.guest.working = w.midway = false;
    w.guest.cluster = ((uint64_t)1 << w.f.cluster_bits) / 512;
    if (w.folded || w.stack->raw)
        w.guest.cluster = chain_limits(w.chain)->discard_align / 512;
    else if (w.guest.cluster < chain_limits(w.chain)->align / 512)
        w.guest.cluster = chain_limits(w.chain)->align / 512;
    if (!w.guest.cluster)
        w.guest.cluster = 1;
    return true;
}

/* One life: opened, worked with, ended somehow.  Whether it was a kill. */
static bool
live(bool killed)
{
    uint64_t events = dice(6) ? dice(400) : dice(60);
    uint64_t resize = w.resizes && dice(3) ? 1 + dice(100) : 0;
    uint64_t commit = w.commits && dice(3) ? 1 + dice(100) : 0;

    faults_end();
    w.killed = killed;
    if (!crash_open(dice(killed ? 4 : 8) ? UINT64_MAX : dice(40))) {
        shared->recovering++;
        return crash() && killed;
    }
    guest_look(&w.guest, killed);
    w.killed = true;
    faults_begin();
    guest_work(&w.guest);
    if (commit && dice(2))
        events += dice(8000);
    for (; events && sim_step(w.sim); events -= events != 0) {
        crash_enum_look();
        if (resize && --resize == 0)
            resize_begin();
        if (commit && !w.folded && --commit == 0)
            commit_begin();
        if (events % 8 == 0)
            commit_look(&events);
    }
    if (w.midway || dice(5))
        return crash();
    w.guest.working = false;
    if (!sim_run_until(w.sim, guest_idle, &w.guest, 100000000000ull))
        wrong("a request hangs");
    if (!chain_finish())
        return crash();
    crash_judge(true);
    shared->clean++;
    return true; /* nothing may be missing, as after a kill */
}

/* ---- seeds --------------------------------------------------------------- */

static void
record(const char *path)
{
    char name[500];

    if (!path)
        return;
    w.log[0] = log_writes_begin(w.sim, "/image", path);
    snprintf(name, sizeof(name), "%s.base", path);
    if (w.stack->base != CRASH_NO_BASE)
        w.log[1] = log_writes_begin(w.sim, "/base", name);
    snprintf(name, sizeof(name), "%s.data", path);
    if (w.stack->apart)
        w.log[2] = log_writes_begin(w.sim, "/data", name);
}

static void
record_mark(const char *what, unsigned number)
{
    char text[40];

    snprintf(text, sizeof(text), "%s %u", what, number);
    for (unsigned i = 0; i < CRASH_FILES; i++)
        log_writes_mark(w.log[i], text);
}

void
crash_seed(uint64_t seed, crash_pick pick, const char *path, bool commits)
{
    unsigned after = 0; /* lives without the image */
    bool killed = true;

    crash_world_make(seed, pick);
    if (commits && !w.commits)
        return;
    record(path);
    for (unsigned i = 0; i < CRASHES && after < 3; i++) {
        record_mark("life", i);
        killed = live(killed);
        after += w.folded;
    }
    for (unsigned i = 0; i < CRASH_FILES; i++)
        log_writes_end(w.log[i]);
    shared->flushes += w.guest.flushes;
    shared->errors += w.guest.errors;
}
