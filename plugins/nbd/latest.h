/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latest.h: of each place of the disk, the kept write that came last.
 *
 * That one alone is sent again, so the parts touch each other nowhere: they may
 * be sent in any order and by halves, and no place is ever older than it was.
 *
 * Threads: that of the disk.  Nothing is allocated after latest_init().
 */
#ifndef PLUGINS_NBD_LATEST_H
#define PLUGINS_NBD_LATEST_H

#include "plugins/nbd/kept.h"

/* What no later entry covers of one. */
struct latest_part {
    struct kept_entry *e;
    uint64_t off;
    uint32_t len;
};

struct latest {
    struct kept *kept;
    /* First a heap of those that reach beyond at, the last written on top; then
     * room; then those that begin later, by their place. */
    struct kept_entry **v;
    size_t room, reach, next, n;
    size_t oldest; /* in the ring, when it began */
    uint64_t at;
};

/* Of a ring that is there for as long; 0 or -ENOMEM.  Memory is taken from the
 * system as it is first used. */
int latest_init(struct latest *, struct kept *);
void latest_free(struct latest *);

/* From now on nothing is added to the ring; entries may die that were got. */
void latest_begin(struct latest *);
/* The next part, by its place; false: that was all, and part->e is NULL. */
bool latest_next(struct latest *, struct latest_part *);

#endif
