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

#include "tests/sim/daemon/scene.h"
#include "tests/sim/nbd_fake.h"

/* ---- time ---------------------------------------------------------------- */

static void
tick(void *ctx)
{
    struct run *r = ctx;

    for (unsigned i = 0; i < r->guests; i++) {
        guest_tick(&r->guest[i]);
        if (r->renewed[i] && r->guest[i].state == GUEST_GONE)
            scene_renewed(r, i);
    }
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
    r->kill_waits = false;
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
        scene_fail(r, "the daemon did not start: %s", r->world.why);
    if (rc == 1) {
        r->deaths = r->world.kills;
        r->ticking = false;
        scene_died(r);
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
        scene_died(r);
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
    if (r->kill_waits && !nbd_fake_has_lost(NULL)) {
        r->kill_waits = false;
        world_kill_in(w, 1 + sim_below(s, 60));
    }
    if (!world_step(w))
        scene_fail(r, "nothing is left that could happen");
    for (unsigned i = 0; i < r->guests; i++) {
        if (r->guest[i].why[0])
            scene_fail(r, "%s", r->guest[i].why);
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

/* As a person does who was told of the error. */
static void
recover(struct run *r, struct guest *g)
{
    if (!r->world.alive || !world_disk_is(&r->world, g->disk, "failed"))
        return;
    record_connected(&g->record);
    world_recover(&r->world, g->disk);
}

static void
something(struct run *r)
{
    struct sim *s = r->world.sim;

    /* Chains change by command in a quarter of the runs, over all that the
     * lower bits choose. */
    switch (sim_below(s, r->plan->seed / 4 % 4 ? 12 : 13)) {
    case 0:
        if (r->world.alive && !r->world.reload_to) {
            r->result->reloads++;
            world_reload(&r->world, scene_conf(r, ++r->conf_number));
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
            !r->world.chain_to && r->restarts_left &&
            !nbd_fake_has_lost(NULL)) {
            r->restarts_left--;
            if (!world_stop(&r->world, 20 * S))
                scene_fail(r, "the daemon did not stop within 20 s");
            else if (r->world.kills == r->deaths)
                scene_died(r);
            r->start_at = sim_now(s);
        }
        break;
    case 4:
        medium_grow(r, (unsigned)sim_below(s, r->guests));
        break;
    case 5:
        recover(r, &r->guest[sim_below(s, r->guests)]);
        break;
    case 6:
        if (sim_below(s, 3) == 0)
            scene_renew(r, (unsigned)sim_below(s, r->guests));
        break;
    case 7:
        scene_lose(r, (unsigned)sim_below(s, r->guests));
        break;
    case 12:
        scene_rechain(r, (unsigned)sim_below(s, r->guests));
        break;
    default:
        break;
    }
}

/* What the media hold is a part of each guest's history. */
static void
look_at_media(struct run *r)
{
    char why[200];

    for (unsigned i = 0; i < r->guests; i++) {
        if (medium_look(r, i, why, sizeof why))
            scene_fail(r, "guest %u: %s", i + 1, why);
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
    scene_died(r);
    scene_powered(r);
    look_at_media(r);
}

/* All was answered: what is still noted as on its way never ends.  Who is
 * hostile may well have something there. */
static void
look_at_tables(struct run *r)
{
    uint64_t deaths = r->deaths;

    run_for(r, 2 * MS);
    if (r->world.alive && r->deaths == deaths && !r->hostiles &&
        world_inflight(&r->world))
        scene_fail(r,
                   "%u requests are in in-flight tables, and all were "
                   "answered",
                   world_inflight(&r->world));
}

static uint64_t
answered(const struct run *r)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < r->guests; i++)
        n += r->guest[i].answered + r->guest[i].connects;
    return n;
}

static void
busy_time(struct run *r)
{
    struct sim *s = r->world.sim;
    uint64_t end = 0, last = UINT64_MAX;

    while (!r->result->failed && !all_sent(r)) {
        if (answered(r) != last) {
            last = answered(r);
            end = sim_now(s) + 20 * S;
        } else if (sim_now(s) > end) {
            for (unsigned i = 0; i < r->guests; i++) {
                const struct guest *g = &r->guest[i];

                if (g->inflight || g->sent < g->plan.requests)
                    scene_fail(r,
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
    if (!r->result->failed)
        look_at_tables(r);
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
    uint64_t end;

    if (r->store_up_at) {
        r->store_up_at = 0;
        sim_store_up(s);
    }
    for (unsigned i = 0; i < r->guests; i++) {
        r->renewed[i] = false;
        guest_quit(&r->guest[i]);
        world_detach(&r->world, r->guest[i].domid, r->guest[i].devid);
    }
    for (unsigned i = 0; i < r->hostiles; i++)
        hostile_end(&r->hostile[i]);
    r->hostiles = 0;
    end = sim_now(s) + 60 * S;
    while (!r->result->failed && !all_gone(r)) {
        if (sim_now(s) > end) {
            scene_fail(
                r,
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
            scene_fail(r, "guest %u: %u pages are still mapped", i + 1,
                       sim_mapped(w->sim, r->guest[i].domid));
    }
    for (unsigned i = 0; i < HOSTILES; i++) {
        if (sim_mapped(w->sim, 100 + i))
            scene_fail(r, "a hostile guest's pages are still mapped");
    }
    world_kill_in(w, 0);
    if (world_sift(w))
        scene_fail(r, "all was detached, and %s is still there", w->scratch[0]);
    while (!r->result->failed && (w->reload_to || w->chain_to))
        run_for(r, MS);
    if (r->result->failed)
        return;
    if (!world_stop(w, 20 * S))
        scene_fail(r, "the daemon did not stop within 20 s");
    else if (alloc_live())
        scene_fail(r, "%zu blocks were not freed by a daemon that stopped",
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
            scene_fail(r, "guest %u: %s", i + 1, why);
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
    world_new(&r->world, seed, 1 + (unsigned)(seed & 1));
    if (seed & 2)
        sim_rounds(r->world.sim, 8);
    scene_dice(r);
    world_conf_first(&r->world, scene_conf(r, 0));
    r->again_in = plan->kill_at;
    scene_make(r);
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
    result->tally[TALLY_RECOVERED] = r->world.recovered;
    result->tally[TALLY_RECHAINED] = r->world.rechained;
    result->tally[TALLY_QUARANTINED] = r->world.quarantined;
    result->kills = r->world.kills;
    result->points = r->world.points;
    result->sim_ns = sim_now(r->world.sim);
    result->trace = sim_trace(r->world.sim);
    if (r->world.alive)
        world_kill(&r->world);
    scene_free(r);
    world_free(&r->world);
    free(r);
}
