/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scene.h: who and what is in a run: disks and their chains, guests, hostile
 * guests, and the faults of the world.
 */
#ifndef TESTS_SIM_DAEMON_SCENE_H
#define TESTS_SIM_DAEMON_SCENE_H

#include "tests/sim/daemon/guest.h"
#include "tests/sim/daemon/hostile.h"
#include "tests/sim/daemon/plan.h"

enum { GUESTS = 3, HOSTILES = 2, SECTORS_MAX = 1024 };

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum scene_tail { TAIL_FILE, TAIL_MEMORY, TAIL_PEER };

struct scene_disk {
    enum scene_tail tail;
    bool traced;   /* to a file */
    bool limited;  /* in requests and bytes a second */
    bool grouped;  /* together with others */
    bool failing;  /* a layer makes requests fail */
    bool fatal;    /* and the disk with it */
    bool resizes;  /* it may grow */
    char file[16]; /* "": memory */
    char error[96];
};

struct run {
    const struct plan *plan;
    struct result *result;
    struct world world;
    struct scene_disk disk[GUESTS + HOSTILES];
    struct guest guest[GUESTS];
    struct hostile hostile[HOSTILES];
    unsigned guests, hostiles;
    bool ticking, faults, tap_faults, power, removed[GUESTS];
    unsigned kills, restarts_left;
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
/* A disk grows; the daemon is told, or finds out. */
void scene_grow(struct run *, unsigned guest);
/* A layer comes, goes, or becomes another, by command. */
void scene_rechain(struct run *, unsigned guest);
/* The daemon was killed: what a disk in memory held is gone with it, and
 * perhaps the news of a failed sync. */
void scene_died(struct run *);

__attribute__((format(printf, 2, 3))) void scene_fail(struct run *,
                                                      const char *fmt, ...);

#endif
