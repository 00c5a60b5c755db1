/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * way.h: to XenStore, for the commands that need no daemon.
 */
#ifndef CTL_WAY_H
#define CTL_WAY_H

#include <stdint.h>

struct way {
    struct loop *loop;
    struct store *store;
};

/* Each says on stderr what went wrong, and returns 1 then. */
int way_open(struct way *);
void way_close(struct way *);
/* A block device of this domain. */
int target_look(const char *target, uint32_t *major, uint32_t *minor);

/* `interpose hook': add|remove PATH. */
int hook_run(int argc, char **argv);

#endif
