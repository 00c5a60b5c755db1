/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenbus_fakes.h: a XenStore, a loop and a config in memory, moved by hand,
 * under src/xenbus; the disks are fake_disk.h's.
 *
 * The store follows C xenstored where it matters here: parents are made,
 * removal is recursive, transactions see a snapshot and conflict as a whole,
 * watches fire at once, and when a node at, below or above the watch changes.
 */
#ifndef TESTS_UNIT_XENBUS_FAKES_H
#define TESTS_UNIT_XENBUS_FAKES_H

#include "config/config.h"
#include "host/host.h"
#include "tests/unit/fake_disk.h"
#include "xenbus/xenbus.h"

#define GUEST 7
#define BACK  "/local/domain/0/backend/vbd3/7/51712"
#define FRONT "/local/domain/7/device/vbd/51712"

struct fake_world {
    struct loop loop;
    struct store store;
    struct conf conf;
    struct conf_disk disk[4];
    struct xenbus *x;
    uint64_t now, seed;

    int store_error;    /* every call fails with it */
    unsigned fail_in;   /* > 0: the call so many from now fails with EIO */
    unsigned calls;     /* made by the code under test */
    unsigned conflicts; /* the next so many commits fail with EAGAIN */
    /* Runs in the middle of the code under test, before each call. */
    void (*meanwhile)(void);
    void (*in_begin)(void); /* the same, only before a transaction */
    unsigned ghosts;        /* writes that made a removed directory again */
    unsigned events_max;    /* most events that ever waited */
    const char *hidden;     /* below it: EACCES */
    bool kernel_serves;     /* what host_kernel_serves() says */
    char event[512];        /* "what disk: detail" of the last one */
    unsigned events;
    bool stopped;
    unsigned commits, watches, open_tx;
    unsigned timers_started;
};
extern struct fake_world w;

void world_reset(void);
/* The code under test starts, ends (drained), or dies (nothing is drained). */
void world_start(void);
void world_stop(void);
void world_free(void);
/* Until nothing is left to do; the clock stands still. */
void world_run(void);
void world_advance(uint64_t ns);
/* xenstored went away and came back. */
void world_renew(void);

/* The other parties' hands. */
void set(const char *path, const char *value);
void set_bytes(const char *path, const char *value, size_t len);
void setf(const char *path, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void del(const char *path);
/* The value, valid until the next call; NULL: no such node. */
const char *get(const char *path);
/* As libxl makes a vbd of GUEST, xvda: params is the disk's name. */
void make_vbd(const char *params);
/* As Linux writes its nodes: one ring; then its state. */
void front_nodes(void);
void front_state(const char *state);
const char *back_state(void);
unsigned world_nodes(void);
uint64_t world_random(void);
/* A disk of the config, by name; vm and vdev may be NULL. */
struct conf_disk *add_disk(const char *name, const char *vm, const char *vdev,
                           uint32_t devid);

#endif
