/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * world.h: the daemon's shipping objects, whole, in a simulated world: they
 * are started, killed at any call they make to the host, and started again
 * with what a service manager would have kept for them.
 *
 * One world per process at a time.  A daemon runs only inside world_step().
 */
#ifndef TESTS_SIM_DAEMON_WORLD_H
#define TESTS_SIM_DAEMON_WORLD_H

#include <setjmp.h>

#include "config/config.h"
#include "disk/disk.h"
#include "host/sim.h"
#include "tests/sim/alloc.h"
#include "xenbus/xenbus.h"

enum { WORLD_LOOPS = 2, WORLD_TABLES = 32, WORLD_SCRATCHES = 64 };

/* Where files are that go with an attachment. */
#define WORLD_SCRATCH "/scratch"

/* In-flight tables, as the service manager keeps them. */
struct world_table {
    char key[96];
    int fd;
    bool used;
};

struct world {
    struct sim *sim;
    struct conf *conf; /* the one in force, also while the daemon is dead */
    /* All there were: the world has a reference of each until its end, as
     * those of a dead daemon are never given back. */
    struct conf **tree;
    unsigned trees;
    bool alive, failed;
    unsigned loops;
    struct loop *control, *data[WORLD_LOOPS];
    struct commons commons; /* of the data loops */
    struct tap *tap[WORLD_LOOPS];
    struct sweep *sweep[WORLD_LOOPS];
    struct store *store;
    struct disks *disks;
    struct xenbus *xenbus;
    struct conf *reload_to; /* a reload is at work */
    struct conf *chain_to;  /* a change of a chain is at work */
    uint64_t rechained;
    struct world_table table[WORLD_TABLES];
    /* Files in WORLD_SCRATCH; one is to be looked for that is over. */
    char scratch[WORLD_SCRATCHES][160];
    unsigned scratches;
    bool sift;
    /* In-flight tables that this daemon wrote to. */
    struct inflight *inflight[WORLD_TABLES];
    unsigned inflights;
    /* Points: calls to the host, and stores to shared memory, so far. */
    uint64_t points, kill_at;
    bool inside; /* the daemon runs: a point may end it */
    jmp_buf out;
    uint64_t kills, restarts, recovered, quarantined;
    /* The daemon is about to end without having been asked; may be NULL. */
    void (*dying)(void);
    char why[400];
};

/* conf: the text of /etc/blktapd.conf; kinds = ( "vbd3" ) is expected in it.
 * NULL: why is in errors. */
struct conf *world_conf(const char *text, char *errors, size_t n);

void world_new(struct world *, uint64_t seed, unsigned loops);
/* The tree that it starts with. */
void world_conf_first(struct world *, struct conf *);
/* The daemon starts: all its objects are made, what was kept is handed over.
 * 0, or -errno with w->why; it may be killed by that (then: 1). */
int world_start(struct world *);
/* One event of the world.  false: none is left.  The daemon is dead afterwards
 * (w->alive) when its point came: world_kill() was called. */
bool world_step(struct world *);
/* kill -9, now. */
void world_kill(struct world *);
/* It will be killed at the n-th point from here; 0: not. */
void world_kill_in(struct world *, uint64_t points);
/* SIGHUP: conf becomes the world's. */
void world_reload(struct world *, struct conf *);
/* As `blktapctl chain' does; nothing where that would be refused, or the disk
 * is not open. */
void world_chain(struct world *, const char *disk, const struct conf_edit *);
/* As blktapctl has it: "connected", "failed". */
bool world_disk_is(const struct world *, const char *disk, const char *state);
/* What a person asks of a disk; nothing when it is not open.  Does not wait. */
void world_recover(struct world *, const char *disk);
void world_command(struct world *, const char *disk, const char *layer,
                   int words, const char *const *word);
/* A file was opened: one of those? */
void world_opened(struct world *, const char *path);
/* As the daemon does when a disk was closed: what went with an attachment that
 * is over is removed.  How many there are left. */
unsigned world_sift(struct world *);
/* SIGTERM, and until it has ended; false: it did not within the time. */
bool world_stop(struct world *, uint64_t within_ns);
/* The power fails. */
void world_crash(struct world *);
/* The daemon must not live: it was killed, crashed or stopped. */
void world_free(struct world *);

/* Requests that its in-flight tables have. */
unsigned world_inflight(const struct world *);

/* A vbd as libxl writes it, for the guest domid; removed again. */
void world_attach(struct world *, uint32_t domid, uint32_t devid,
                  const char *params, const char *mode);
void world_detach(struct world *, uint32_t domid, uint32_t devid);
void world_vbd_remove(struct world *, uint32_t domid, uint32_t devid);

#endif
