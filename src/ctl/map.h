/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * map.h: where a disk of the daemon's has data.
 */
#ifndef CTL_MAP_H
#define CTL_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/ctl.h"

/* The last answer of the daemon, which is looked through before it is asked
 * again.  Begins with ctl and disk set, and all else 0. */
struct map {
    const struct ctl *ctl;
    const char *disk;
    uint64_t end; /* not asked for; 0: the disk's end */
    uint64_t size, next, unknown;
    struct json_object *answer;
    size_t at;
};

struct map_extent {
    uint64_t off, len;
    bool zero; /* it reads as zeroes; else it may */
};

/* The extent that off is in, from off on.  0, or -errno and a malloc'd
 * sentence. */
int map_find(struct map *, uint64_t off, struct map_extent *, char **why);
void map_close(struct map *);

#endif
