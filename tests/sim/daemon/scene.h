/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scene.h: who and what is in a run: disks and their chains, guests, hostile
 * guests, and the faults of the world.
 */
#ifndef TESTS_SIM_DAEMON_SCENE_H
#define TESTS_SIM_DAEMON_SCENE_H

#include "tests/sim/daemon/guest.h"
#include "tests/sim/daemon/hostile.h"
#include "tests/sim/daemon/medium.h"
#include "tests/sim/daemon/plan.h"

enum { GUESTS = 3, HOSTILES = 2, SECTORS_MAX = 1024 };

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

struct run {
    const struct plan *plan;
    struct result *result;
    struct world world;
    struct medium disk[GUESTS + HOSTILES];
    struct guest guest[GUESTS];
    struct hostile hostile[HOSTILES];
    unsigned guests, hostiles;
    bool ticking, faults, tap_faults, power, removed[GUESTS], renewed[GUESTS];
    unsigned kills, restarts_left;
    bool kill_waits; /* for what a server that died forgot */
    uint64_t deaths; /* that were seen */
    uint64_t tick_ns, start_at, store_up_at, again_in;
    unsigned conf_number;
};

/* What is in it, by the dice; before the world is there, but for those of its
 * own. */
void scene_dice(struct run *);
/* The same disks; with each number their chains differ in a layer. */
struct conf *scene_conf(struct run *, unsigned number);
/* Guests, their media, and faults. */
void scene_make(struct run *);
void scene_free(struct run *);
/* A layer comes, goes, or becomes another, by command. */
void scene_rechain(struct run *, unsigned guest);
/* A disk is taken away from its guest and, when that has let go, given back. */
void scene_renew(struct run *, unsigned guest);
void scene_renewed(struct run *, unsigned guest);
/* A guest's server loses its connections, or dies. */
void scene_lose(struct run *, unsigned guest);
/* The power failed: attachments are over. */
void scene_powered(struct run *);
/* The daemon was killed: what a disk in memory held is gone with it, and
 * perhaps the news of a failed sync. */
void scene_died(struct run *);

__attribute__((format(printf, 2, 3))) void scene_fail(struct run *,
                                                      const char *fmt, ...);

#endif
