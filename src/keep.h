/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keep.h: where in-flight tables outlive the daemon.
 *
 *   a memfd, in the service manager's fd store    as long as that has room
 *   a file in /run, in a folder of ours           where there is no such
 *                                                 manager, or its store is full
 *
 * A table is in one of the two, under the key of its disk (src/disk/tables.c).
 * What comes back is judged twice: here, whether anybody else could have
 * written it; and by chan_open(), byte for byte.
 *
 * Threads: control loop only.
 */
#ifndef KEEP_H
#define KEEP_H

#include <stdbool.h>
#include <sys/types.h>

enum { KEEP_PATH = 256 };

struct kept; /* a key, and where its table is */

struct keep {
    char path[KEEP_PATH]; /* the folder, for messages */
    int dir;              /* or -1: there is none */
    dev_t dev;            /* its file system */
    unsigned store_max;   /* tables that the service manager keeps; 0: none */
    unsigned in_store;
    bool volatile_dir; /* the folder is in memory */
    bool full_told;
    struct kept *first;
};

/* How many tables the manager says (FDSTORE) or the unit says
 * (BLKTAPD_FDSTORE) that it keeps. */
unsigned keep_store_max(void);
/* Makes the folder, or takes the one that is there; path may be "".  Before
 * privileges go: it becomes user's (may be NULL).  Without a folder the
 * daemon runs, too. */
void keep_open(struct keep *, const char *path, const char *user,
               unsigned store_max);
/* Everything that an earlier process left; fd is the receiver's.  After
 * privileges went; before the next three. */
void keep_load(struct keep *, void (*cb)(void *ctx, const char *key, int fd),
               void *ctx);
/* struct disks_events: room, and table with a table or with -1. */
int keep_room(struct keep *, const char *key);
void keep_table(struct keep *, const char *key, int fd);
void keep_forget(struct keep *, const char *key);
/* Whether what is kept is never on a medium, and has a place: a store with
 * room, or a folder in memory. */
bool keep_in_memory(const struct keep *, const char *key);
/* What was kept stays. */
void keep_close(struct keep *);

#endif
