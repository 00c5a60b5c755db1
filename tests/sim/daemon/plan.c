/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan.c: a seed's scenario: which disks and guests, when the daemon is
 * killed, and what must be true at the end.
 */
#include "config.h"

#include "tests/sim/daemon/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/daemon/guest.h"
#include "tests/sim/daemon/hostile.h"

enum { GUESTS = 3, HOSTILES = 2, CONF_TEXT = 4096 };

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

struct run {
    const struct plan *plan;
    struct result *result;
    struct world world;
    struct guest guest[GUESTS];
    struct hostile hostile[HOSTILES];
    unsigned guests, hostiles;
    uint64_t sectors[GUESTS];
    bool ticking, faults, power, removed[GUESTS];
    unsigned kills, restarts_left;
    uint64_t deaths; /* that were seen */
    uint64_t tick_ns, start_at, store_up_at, again_in;
    unsigned conf_number;
};

__attribute__((format(printf, 2, 3))) static void
fail(struct run *r, const char *fmt, ...)
{
    va_list ap;

    if (r->result->failed)
        return;
    r->result->failed = true;
    va_start(ap, fmt);
    vsnprintf(r->result->why, sizeof r->result->why, fmt, ap);
    va_end(ap);
}

/* ---- what there is ------------------------------------------------------- */

/* The same disks; with each number their chains differ in a layer. */
static struct conf *
conf_make(struct run *r, unsigned number)
{
    char text[CONF_TEXT], errors[1024] = "";
    struct conf *c;
    size_t n;

    n = (size_t)snprintf(text, sizeof text,
                         "daemon = { loops = %u; kinds = ( \"vbd3\" ); };\n"
                         "disks = (\n",
                         1 + (unsigned)(r->plan->seed % 5 == 0));
    for (unsigned i = 0; i < GUESTS + HOSTILES; i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "%s{ name = \"d%u\"; barrier = %s; buffers = \"1M\"; chain = ( "
            "%s{ plugin = \"%s\"; %s%s } ); }",
            i ? ",\n" : "", i, i & 1 ? "true" : "false",
            (i + number) % 3 == 2
                ? "{ plugin = \"delay\"; time = \"200us\"; }, "
                : "",
            "file", "path = \"/d",
            i == 0   ? "0\";"
            : i == 1 ? "1\";"
            : i == 2 ? "2\";"
            : i == 3 ? "3\";"
                     : "4\";");
    snprintf(text + n, sizeof text - n, " );\n");
    c = world_conf(text, errors, sizeof errors);
    if (!c) {
        fprintf(stderr, "blktapd-sim: %s", errors);
        exit(2);
    }
    return c;
}

static void
guests_make(struct run *r)
{
    struct sim *s = r->world.sim;

    r->guests = r->plan->quiet ? 1 : 1 + (unsigned)sim_below(s, GUESTS);
    for (unsigned i = 0; i < r->guests; i++) {
        struct guest_plan p = {
            .queues = 1 + (unsigned)sim_below(s, GUEST_QUEUES),
            .order = (unsigned)sim_below(s, CHAN_ORDER_MAX + 1),
            .abi = sim_below(s, 3) ? CHAN_ABI_64 : CHAN_ABI_X86_32,
            .requests = r->plan->quiet ? 10 : 20 + (unsigned)sim_below(s, 60),
            .depth = 1 + (unsigned)sim_below(s, 32),
            .reconnects = sim_below(s, 3) ? 0 : 1,
            .writes = true,
            .discards = true,
            .flushes = true,
            .errors = r->faults,
        };
        char disk[16], file[16];

        if (r->plan->quiet)
            p.queues = p.queues > 2 ? 2 : p.queues;
        snprintf(disk, sizeof disk, "d%u", i);
        snprintf(file, sizeof file, "/d%u", i);
        r->sectors[i] = 256 + 8 * sim_below(s, 64);
        sim_file_make(s, file, r->sectors[i] * RECORD_SECTOR);
        guest_start(&r->guest[i], &r->world, &p, i + 1, 51712, disk,
                    r->sectors[i]);
    }
}

static void
hostiles_make(struct run *r)
{
    struct sim *s = r->world.sim;

    if (r->plan->quiet || sim_below(s, 3))
        return;
    r->hostiles = 1 + (unsigned)sim_below(s, HOSTILES);
    for (unsigned i = 0; i < r->hostiles; i++) {
        char disk[16], file[16];

        snprintf(disk, sizeof disk, "d%u", GUESTS + i);
        snprintf(file, sizeof file, "/d%u", GUESTS + i);
        sim_file_make(s, file, 1 << 18);
        hostile_start(&r->hostile[i], &r->world, 100 + i, disk);
    }
}

static void
faults_make(struct run *r)
{
    struct sim *s = r->world.sim;
    struct sim_faults f = { 0 };
    struct sim_tap_faults t = { 0 };

    if (r->plan->quiet)
        return;
    if (sim_below(s, 4) == 0)
        f.shorter = 50000;
    if (sim_below(s, 4) == 0)
        t.spurious = 100000;
    if (r->faults) {
        f.read = f.write = 20000;
        if (sim_below(s, 2))
            f.sync = 20000;
    }
    if (sim_below(s, 5) == 0)
        f.delay_max_ns = 5 * MS;
    sim_file_faults(s, NULL, &f);
    sim_tap_faults(s, &t);
}

/* ---- time ---------------------------------------------------------------- */

static void
tick(void *ctx)
{
    struct run *r = ctx;

    for (unsigned i = 0; i < r->guests; i++)
        guest_tick(&r->guest[i]);
    for (unsigned i = 0; i < r->hostiles; i++)
        hostile_tick(&r->hostile[i]);
    r->ticking = false;
}

/* A kill ends also what the guests wanted to do next. */
static void
keep_ticking(struct run *r)
{
    if (r->ticking)
        return;
    r->ticking = true;
    sim_after(r->world.sim, 50000 + sim_below(r->world.sim, 400000), tick, r);
}

static void
next_kill(struct run *r)
{
    struct sim *s = r->world.sim;

    if (r->plan->chosen) {
        world_kill_in(&r->world, r->again_in);
        r->again_in = 0;
        return;
    }
    world_kill_in(&r->world, 0);
    if (!r->kills)
        return;
    r->kills--;
    /* A third of them soon: during recovery, when there is one. */
    world_kill_in(&r->world, 1 + sim_below(s, sim_below(s, 3) ? 1500 : 60));
}

static void
start(struct run *r)
{
    int rc;

    next_kill(r);
    rc = world_start(&r->world);
    if (rc < 0)
        fail(r, "the daemon did not start: %s", r->world.why);
    if (rc == 1) {
        r->deaths = r->world.kills;
        r->ticking = false;
        r->start_at = sim_now(r->world.sim);
    }
}

/* One event, and the daemon's next life when it ended. */
static bool
advance(struct run *r)
{
    struct world *w = &r->world;
    struct sim *s = w->sim;

    if (w->kills != r->deaths) {
        /* With the daemon went every event, the guests' own too. */
        r->deaths = w->kills;
        r->ticking = false;
        r->start_at =
            sim_now(s) + (sim_below(s, 2) ? 0 : sim_below(s, 20 * MS));
    }
    if (r->store_up_at && sim_now(s) >= r->store_up_at) {
        r->store_up_at = 0;
        sim_store_up(s);
    }
    if (!w->alive && !r->store_up_at && sim_now(s) >= r->start_at)
        start(r);
    keep_ticking(r);
    if (!world_step(w))
        fail(r, "nothing is left that could happen");
    for (unsigned i = 0; i < r->guests; i++) {
        if (r->guest[i].why[0])
            fail(r, "%s", r->guest[i].why);
    }
    return !r->result->failed;
}

static void
run_for(struct run *r, uint64_t ns)
{
    uint64_t end = sim_now(r->world.sim) + ns;

    while (sim_now(r->world.sim) < end && advance(r))
        ;
}

/* ---- what happens -------------------------------------------------------- */

static bool
all_sent(const struct run *r)
{
    for (unsigned i = 0; i < r->guests; i++) {
        const struct guest *g = &r->guest[i];

        if (g->sent < g->plan.requests || g->inflight)
            return false;
    }
    return true;
}

static void
something(struct run *r)
{
    struct sim *s = r->world.sim;

    switch (sim_below(s, 12)) {
    case 0:
        if (r->world.alive && !r->world.reload_to) {
            r->result->reloads++;
            world_reload(&r->world, conf_make(r, ++r->conf_number));
        }
        break;
    case 1:
        if (!r->store_up_at && r->world.alive) {
            sim_store_down(s);
            r->store_up_at = sim_now(s) + sim_below(s, 20 * MS);
        }
        break;
    case 2:
        if (r->world.alive)
            sim_store_conflicts(s, 3);
        break;
    case 3:
        /* Told to stop, it goes in order; the next one goes on. */
        if (r->world.alive && !r->store_up_at && !r->world.reload_to &&
            r->restarts_left) {
            r->restarts_left--;
            if (!world_stop(&r->world, 20 * S))
                fail(r, "the daemon did not stop within 20 s");
            r->start_at = sim_now(s);
        }
        break;
    default:
        break;
    }
}

/* What the media hold is a part of each guest's history. */
static void
look_at_media(struct run *r)
{
    char file[16], why[200];

    for (unsigned i = 0; i < r->guests; i++) {
        snprintf(file, sizeof file, "/d%u", i);
        if (record_look(&r->guest[i].record, r->world.sim, file, why,
                        sizeof why))
            fail(r, "guest %u: %s", i + 1, why);
    }
}

/* Guests and daemon end, and all boot again. */
static void
power_fails(struct run *r)
{
    struct world *w = &r->world;

    world_crash(w);
    r->result->crashes++;
    r->ticking = false;
    r->start_at = sim_now(w->sim);
    if (r->store_up_at)
        sim_store_up(w->sim);
    r->store_up_at = 0;
    for (unsigned i = 0; i < r->guests; i++)
        guest_reboot(&r->guest[i]);
    for (unsigned i = 0; i < r->hostiles; i++)
        hostile_reboot(&r->hostile[i]);
    look_at_media(r);
}

static void
busy_time(struct run *r)
{
    struct sim *s = r->world.sim;
    uint64_t end = sim_now(s) + 60 * S;

    while (!r->result->failed && !all_sent(r)) {
        if (sim_now(s) > end) {
            for (unsigned i = 0; i < r->guests; i++) {
                const struct guest *g = &r->guest[i];

                if (g->inflight || g->sent < g->plan.requests)
                    fail(r,
                         "guest %" PRIu32 ": hangs in state %d with %u "
                         "requests on their way after %" PRIu64 " of %u",
                         g->domid, g->state, g->inflight, g->sent,
                         g->plan.requests);
            }
            return;
        }
        run_for(r, 2 * MS);
        if (!r->plan->quiet && !r->result->failed)
            something(r);
        if (r->power && !r->result->failed && sim_below(s, 20) == 0)
            power_fails(r);
    }
}

/* ---- the end ------------------------------------------------------------- */

static bool
all_gone(struct run *r)
{
    bool gone = true;

    for (unsigned i = 0; i < r->guests; i++) {
        if (r->guest[i].state != GUEST_GONE) {
            gone = false;
        } else if (!r->removed[i]) {
            r->removed[i] = true;
            world_vbd_remove(&r->world, r->guest[i].domid, r->guest[i].devid);
        }
    }
    return gone && r->world.alive && !disks_count(r->world.disks);
}

static void
detach_all(struct run *r)
{
    struct sim *s = r->world.sim;
    uint64_t end = sim_now(s) + 60 * S;

    if (r->store_up_at) {
        r->store_up_at = 0;
        sim_store_up(s);
    }
    /* A vbd that goes before the daemon has read XenStore again is taken for
     * one that xenstored lost: that disk is served on, by design. */
    run_for(r, 100 * MS);
    for (unsigned i = 0; i < r->guests; i++) {
        guest_quit(&r->guest[i]);
        world_detach(&r->world, r->guest[i].domid, r->guest[i].devid);
    }
    for (unsigned i = 0; i < r->hostiles; i++)
        hostile_end(&r->hostile[i]);
    r->hostiles = 0;
    while (!r->result->failed && !all_gone(r)) {
        if (sim_now(s) > end) {
            fail(r,
                 "after a detach %u disks are open, guest 1 is in state %d, "
                 "the daemon %s",
                 r->world.alive ? disks_count(r->world.disks) : 0,
                 r->guest[0].state, r->world.alive ? "lives" : "is dead");
            return;
        }
        run_for(r, MS);
    }
}

static void
look_at_the_end(struct run *r)
{
    struct world *w = &r->world;

    for (unsigned i = 0; i < r->guests; i++) {
        if (sim_mapped(w->sim, r->guest[i].domid))
            fail(r, "guest %u: %u pages are still mapped", i + 1,
                 sim_mapped(w->sim, r->guest[i].domid));
    }
    for (unsigned i = 0; i < HOSTILES; i++) {
        if (sim_mapped(w->sim, 100 + i))
            fail(r, "a hostile guest's pages are still mapped");
    }
    world_kill_in(w, 0);
    while (!r->result->failed && w->reload_to)
        run_for(r, MS);
    if (r->result->failed)
        return;
    if (!world_stop(w, 20 * S))
        fail(r, "the daemon did not stop within 20 s");
    else if (alloc_live())
        fail(r, "%zu blocks were not freed by a daemon that stopped",
             alloc_live());
}

/* Once more the power fails, and the guests' histories are judged. */
static void
judge(struct run *r)
{
    char why[300];

    look_at_media(r);
    sim_crash(r->world.sim);
    for (unsigned i = 0; i < r->guests; i++)
        record_power_failed(&r->guest[i].record);
    look_at_media(r);
    for (unsigned i = 0; !r->result->failed && i < r->guests; i++) {
        if (!history_verdict(r->guest[i].record.history, why, sizeof why))
            fail(r, "guest %u: %s", i + 1, why);
    }
}

void
plan_run(const struct plan *plan, struct result *result)
{
    struct run *r = calloc(1, sizeof *r);
    uint64_t seed = plan->seed;

    if (!r)
        abort();
    memset(result, 0, sizeof *result);
    r->plan = plan;
    r->result = result;
    world_new(&r->world, seed, conf_make(r, 0), 1 + (unsigned)(seed % 5 == 0));
    r->faults = !plan->quiet && sim_below(r->world.sim, 6) == 0;
    r->power = !plan->quiet && sim_below(r->world.sim, 6) == 0;
    r->kills = plan->quiet ? 0 : (unsigned)sim_below(r->world.sim, 5);
    r->restarts_left = (unsigned)sim_below(r->world.sim, 3);
    r->again_in = plan->kill_at;
    guests_make(r);
    hostiles_make(r);
    faults_make(r);
    start(r);
    if (plan->chosen)
        r->again_in = plan->kill_again;
    busy_time(r);
    if (!result->failed)
        detach_all(r);
    if (!result->failed)
        look_at_the_end(r);
    if (!result->failed)
        judge(r);
    for (unsigned i = 0; i < r->guests; i++)
        result->requests += r->guest[i].answered;
    result->kills = r->world.kills;
    result->points = r->world.points;
    result->sim_ns = sim_now(r->world.sim);
    result->trace = sim_trace(r->world.sim);
    if (r->world.alive)
        world_kill(&r->world);
    for (unsigned i = 0; i < r->guests; i++)
        guest_free(&r->guest[i]);
    world_free(&r->world);
    free(r);
}
