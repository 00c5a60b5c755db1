/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/scene.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/daemon/peer.h"

/* Of one round of a loop, and more. */
#define MOMENT_NS UINT64_C(100000)

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

/* An error layer's options. */
static void
error_dice(struct run *r, struct scene_disk *d)
{
    static const char *const code[] = { "EIO", "ENOSPC", "ETIMEDOUT",
                                        "ENOMEM" };
    struct sim *s = r->world.sim;

    d->failing = true;
    d->fatal = sim_below(s, 3) == 0;
    snprintf(d->error, sizeof d->error,
             "errno = \"%s\"; when = \"%s\"; fatal = %s; probability = %s",
             code[sim_below(s, 4)], sim_below(s, 2) ? "before" : "after",
             d->fatal ? "true" : "false", d->fatal ? "0.03" : "0.05");
}

static void
disk_dice(struct run *r, unsigned i)
{
    struct sim *s = r->world.sim;
    struct scene_disk *d = &r->disk[i];
    uint64_t dice = sim_below(s, 8);

    snprintf(d->file, sizeof d->file, "/d%u", i);
    if (r->plan->quiet)
        return;
    if (dice == 0)
        d->tail = TAIL_MEMORY;
    else if (dice < 3)
        d->tail = TAIL_PEER;
    d->traced = sim_below(s, 6) == 0;
    d->limited = sim_below(s, 6) == 0;
    d->grouped = dice == 2 || dice > 5;
    d->resizes = d->tail != TAIL_MEMORY && sim_below(s, 3) == 0;
    /* A chain that is made anew after a fatal error has an empty memory. */
    if (r->faults && d->tail != TAIL_MEMORY && sim_below(s, 2))
        error_dice(r, d);
}

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
        disk_dice(r, i);
}

static size_t
chain_text(const struct run *r, unsigned i, unsigned number, char *text,
           size_t room)
{
    const struct scene_disk *d = &r->disk[i];
    size_t n = 0;

    if ((i + number) % 3 == 2)
        n += (size_t)snprintf(
            text + n, room - n,
            "{ plugin = \"delay\"; time = \"200us\"; jitter = \"%uus\"; }, ",
            number % 2 * 300);
    if (d->traced)
        n += (size_t)snprintf(text + n, room - n,
                              "{ plugin = \"trace\"; file = \"/trace%u\"; "
                              "format = \"%s\"; }, ",
                              i, number % 2 ? "json" : "iolog");
    if (d->grouped)
        n += (size_t)snprintf(text + n, room - n,
                              "{ plugin = \"limit\"; name = \"group\"; "
                              "group = \"all\"; iops = %u; }, ",
                              4000 + number % 2 * 4000);
    if (d->limited)
        n += (size_t)snprintf(text + n, room - n,
                              "{ plugin = \"limit\"; iops = %u; "
                              "iops-burst = 4; bps = \"20M\"; "
                              "bps-burst = \"64k\"; }, ",
                              2000 + number % 2 * 3000);
    if (d->failing)
        n += (size_t)snprintf(text + n, room - n,
                              "{ plugin = \"error\"; %s; }, ", d->error);
    if (d->tail == TAIL_MEMORY)
        n += (size_t)snprintf(text + n, room - n,
                              "{ plugin = \"memory\"; size = \"%uk\"; }",
                              SECTORS_MAX / 2);
    else
        n += (size_t)snprintf(text + n, room - n,
                              "{ plugin = \"%s\"; path = \"%s\"; }",
                              d->tail == TAIL_PEER ? "peer" : "file", d->file);
    return n;
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
        n += chain_text(r, i, number, text + n, sizeof text - n);
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

static void
guest_make(struct run *r, unsigned i)
{
    struct sim *s = r->world.sim;
    struct scene_disk *d = &r->disk[i];
    struct guest_plan p = guest_dice(r);
    uint64_t sectors = 256 + 8 * sim_below(s, 64);
    char disk[16];

    if (d->tail == TAIL_MEMORY)
        sectors = SECTORS_MAX;
    else
        sim_file_make(s, d->file, sectors * RECORD_SECTOR);
    if (d->tail == TAIL_MEMORY)
        d->file[0] = '\0';
    if (d->limited)
        r->result->tally[TALLY_LIMITED]++;
    if (d->grouped)
        r->result->tally[TALLY_GROUPED]++;
    r->result->tally[d->tail == TAIL_MEMORY ? TALLY_MEMORY
                     : d->tail == TAIL_PEER ? TALLY_PEERS
                                            : TALLY_FILES]++;
    snprintf(disk, sizeof disk, "d%u", i);
    guest_start(&r->guest[i], &r->world, &p, i + 1, 51712, disk, sectors,
                SECTORS_MAX);
    r->guest[i].tally = r->result->tally;
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
        sim_file_make(s, r->disk[GUESTS + i].file, 1 << 18);
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
}

void
scene_make(struct run *r)
{
    peer_sim = r->world.sim;
    peer_tally = r->result->tally;
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
    for (unsigned i = 0; i < r->guests; i++)
        guest_free(&r->guest[i]);
}

/* ---- while it runs ------------------------------------------------------- */

void
scene_grow(struct run *r, unsigned i)
{
    static const char zeroes[RECORD_SECTOR];
    struct sim *s = r->world.sim;
    struct scene_disk *d = &r->disk[i];
    uint64_t size;

    if (!d->resizes || !r->world.alive)
        return;
    size = (uint64_t)sim_file_size(s, d->file) / RECORD_SECTOR;
    size += 8 * (1 + sim_below(s, 16));
    if (size > SECTORS_MAX)
        return;
    sim_file_put(s, d->file, (size - 1) * RECORD_SECTOR, zeroes, sizeof zeroes);
    r->result->tally[TALLY_RESIZED]++;
    if (d->tail == TAIL_FILE)
        world_command(&r->world, r->guest[i].disk, "file", "rescan");
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

/* A kernel tells of a failed sync once.  Nobody can know of one that ended in
 * the very moment in which its daemon was killed. */
static bool
untold(struct run *r, const char *file)
{
    uint64_t at = sim_file_sync_failed(r->world.sim, file);

    return at && at + MOMENT_NS >= sim_now(r->world.sim);
}

void
scene_died(struct run *r)
{
    char why[300];

    for (unsigned i = 0; i < r->guests; i++) {
        struct record *record = &r->guest[i].record;

        if (r->disk[i].tail == TAIL_FILE && untold(r, r->disk[i].file)) {
            record->doubtful = true;
            record_connected(record);
        }
        if (r->disk[i].tail == TAIL_MEMORY &&
            guest_disk_lost(&r->guest[i], why, sizeof why))
            scene_fail(r, "guest %u: %s", i + 1, why);
    }
}
