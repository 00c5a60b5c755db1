/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/scene.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/daemon/peer.h"
#include "tests/sim/nbd_fake.h"

enum { CONF_TEXT = 8192 };

void
scene_fail(struct run *r, const char *fmt, ...)
{
    va_list ap;

    if (r->result->failed)
        return;
    r->result->failed = true;
    va_start(ap, fmt);
    vsnprintf(r->result->why, sizeof r->result->why, fmt, ap);
    va_end(ap);
}

/* ---- disks --------------------------------------------------------------- */

void
scene_dice(struct run *r)
{
    struct sim *s = r->world.sim;

    r->faults = !r->plan->quiet && sim_below(s, 6) == 0;
    r->tap_faults = !r->plan->quiet && sim_below(s, 8) == 0;
    r->power = !r->plan->quiet && sim_below(s, 6) == 0;
    r->kills = r->plan->quiet ? 0 : (unsigned)sim_below(s, 5);
    r->restarts_left = (unsigned)sim_below(s, 3);
    for (unsigned i = 0; i < GUESTS + HOSTILES; i++)
        medium_dice(r, i);
}

struct conf *
scene_conf(struct run *r, unsigned number)
{
    char text[CONF_TEXT], errors[1024] = "";
    struct conf *c;
    size_t n;

    n = (size_t)snprintf(text, sizeof text,
                         "daemon = { loops = %u; kinds = ( \"vbd3\" ); };\n"
                         "disks = (\n",
                         r->world.loops);
    for (unsigned i = 0; i < GUESTS + HOSTILES; i++) {
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "%s{ name = \"d%u\"; barrier = %s; buffers = \"1M\"; chain = ( ",
            i ? ",\n" : "", i, i & 1 ? "true" : "false");
        n += medium_chain(r, i, number, text + n, sizeof text - n);
        n += (size_t)snprintf(text + n, sizeof text - n, " ); }");
    }
    snprintf(text + n, sizeof text - n, " );\n");
    c = world_conf(text, errors, sizeof errors);
    if (!c) {
        fprintf(stderr, "blktapd-sim: %s%s", text, errors);
        exit(2);
    }
    return c;
}

/* ---- guests -------------------------------------------------------------- */

static struct guest_plan
guest_dice(struct run *r)
{
    struct sim *s = r->world.sim;
    bool quiet = r->plan->quiet;
    struct guest_plan p = {
        .queues = 1 + (unsigned)sim_below(s, quiet ? 2 : GUEST_QUEUES),
        .order = (unsigned)sim_below(s, CHAN_ORDER_MAX + 1),
        .abi = sim_below(s, 3) ? CHAN_ABI_64 : CHAN_ABI_X86_32,
        .requests = quiet ? 10 : 20 + (unsigned)sim_below(s, 60),
        .depth = 1 + (unsigned)sim_below(s, 32),
        .reconnects = sim_below(s, 3) ? 0 : 1,
        .writes = true,
        .discards = true,
        .flushes = true,
        .fresh = sim_below(s, 2) == 0,
        .errors = r->faults || r->tap_faults,
    };

    return p;
}

/* What is below is what the guest's disk begins with. */
static void
guest_begins(struct run *r, unsigned i)
{
    record_begins(&r->guest[i].record, r->disk[i].based, r->disk[i].number);
}

static void
guest_make(struct run *r, unsigned i)
{
    struct guest_plan p = guest_dice(r);
    uint64_t sectors = 256 + 8 * sim_below(r->world.sim, 64);
    char disk[16];

    sectors = medium_make(r, i, sectors);
    snprintf(disk, sizeof disk, "d%u", i);
    guest_start(&r->guest[i], &r->world, &p, i + 1, 51712, disk, sectors,
                SECTORS_MAX);
    r->guest[i].tally = r->result->tally;
    guest_begins(r, i);
}

static void
hostiles_make(struct run *r)
{
    struct sim *s = r->world.sim;

    if (r->plan->quiet || sim_below(s, 3))
        return;
    r->hostiles = 1 + (unsigned)sim_below(s, HOSTILES);
    for (unsigned i = 0; i < r->hostiles; i++) {
        char disk[16];

        snprintf(disk, sizeof disk, "d%u", GUESTS + i);
        medium_make(r, GUESTS + i, 512);
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
            f.sync = 100000;
    }
    if (r->tap_faults) {
        t.map = t.bind = 100000;
        t.copy = t.segment = 10000;
        r->result->tally[TALLY_TAP]++;
    }
    if (sim_below(s, 5) == 0)
        f.delay_max_ns = 5 * MS;
    sim_file_faults(s, NULL, &f);
    sim_tap_faults(s, &t);
    for (unsigned i = 0; r->faults && i < r->guests; i++)
        medium_faults(r, i);
}

void
scene_make(struct run *r)
{
    peer_sim = r->world.sim;
    peer_tally = r->result->tally;
    nbd_fake_world(r->world.sim);
    r->world.dying = nbd_fake_client_gone;
    r->guests =
        r->plan->quiet ? 1 : 1 + (unsigned)sim_below(r->world.sim, GUESTS);
    for (unsigned i = 0; i < r->guests; i++)
        guest_make(r, i);
    hostiles_make(r);
    faults_make(r);
}

void
scene_free(struct run *r)
{
    struct nbd_fake_count n = nbd_fake_count();

    r->result->tally[TALLY_BREAKS] = n.breaks;
    r->result->tally[TALLY_SERVERS] = n.deaths;
    nbd_fake_client_gone();
    for (unsigned i = 0; i < r->guests; i++)
        guest_free(&r->guest[i]);
}

/* ---- while it runs ------------------------------------------------------- */

void
scene_renew(struct run *r, unsigned i)
{
    struct guest *g = &r->guest[i];

    if (r->renewed[i] || g->quit || g->state != GUEST_RUNNING ||
        nbd_fake_has_lost(r->disk[i].file))
        return;
    r->renewed[i] = true;
    world_detach(&r->world, g->domid, g->devid);
}

/* All that went with the attachment is gone, and nothing else. */
static void
attachment_over(struct run *r, unsigned i)
{
    char why[300];

    if (!medium_goes(&r->disk[i]))
        return;
    if (guest_disk_lost(&r->guest[i], why, sizeof why))
        scene_fail(r, "guest %u: %s", i + 1, why);
    guest_begins(r, i);
}

void
scene_renewed(struct run *r, unsigned i)
{
    r->renewed[i] = false;
    r->result->tally[TALLY_RENEWED]++;
    attachment_over(r, i);
    guest_renew(&r->guest[i]);
}

void
scene_powered(struct run *r)
{
    for (unsigned i = 0; i < r->guests; i++) {
        r->renewed[i] = false;
        attachment_over(r, i);
    }
}

/* What a server that died has forgotten is in the daemon's memory alone, and
 * gone with the daemon, or with the disk: so neither goes until it was sent
 * again.  A server that lost only its connections has all of it. */
void
scene_lose(struct run *r, unsigned i)
{
    const char *file = r->disk[i].file;

    if (r->disk[i].tail != TAIL_NBD || !r->world.alive || r->faults)
        return;
    /* A disk goes on closing when its guest is gone. */
    if (r->renewed[i] || !nbd_fake_has_flushed(file) ||
        !world_disk_is(&r->world, r->guest[i].disk, "connected") ||
        sim_below(r->world.sim, 2)) {
        nbd_fake_break(file);
        return;
    }
    nbd_fake_die(file);
    r->kill_waits |= r->world.kill_at != 0;
    world_kill_in(&r->world, 0);
}

void
scene_rechain(struct run *r, unsigned i)
{
    static const char *const plugin[] = {
        "plugin = \"delay\"; time = \"%u00us\"",
        "plugin = \"trace\"; file = \"/live%u\"",
        "plugin = \"limit\"; iops = %u000; iops-burst = 4",
        "plugin = \"error\"; probability = 0; count = %u",
        "plugin = \"file\"; path = \"/live%u\"", /* no place for it */
    };
    struct sim *s = r->world.sim;
    struct conf_edit e = { .at = "live" };
    char layer[128];
    size_t n;

    n = (size_t)snprintf(layer, sizeof layer, "name = \"live%s\"; ",
                         sim_below(s, 2) ? "" : "2");
    snprintf(layer + n, sizeof layer - n, plugin[sim_below(s, 5)],
             1 + (unsigned)sim_below(s, 9));
    e.layer = layer;
    switch (sim_below(s, 10)) {
    case 0:
        e.kind = CONF_RESET;
        break;
    case 8:
    case 9: /* refused where the tail is no back-end's */
        e.kind = CONF_MODE;
        e.mode = sim_below(s, 2) ? CONF_PASSTHROUGH : CONF_INTERPOSE;
        break;
    case 1:
        e.kind = CONF_REMOVE;
        break;
    case 2:
        e.kind = CONF_REPLACE;
        break;
    default:
        e.kind = CONF_INSERT;
        e.at = sim_below(s, 2) ? "0" : "1";
        break;
    }
    if (r->world.alive)
        world_chain(&r->world, r->guest[i].disk, &e);
}

void
scene_died(struct run *r)
{
    char why[300];

    for (unsigned i = 0; i < r->guests; i++) {
        struct record *record = &r->guest[i].record;

        if (medium_untold(r, i)) {
            record->doubtful = true;
            record_connected(record);
        }
        if (r->disk[i].tail == TAIL_MEMORY &&
            guest_disk_lost(&r->guest[i], why, sizeof why))
            scene_fail(r, "guest %u: %s", i + 1, why);
    }
}
