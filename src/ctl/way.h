/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * way.h: to XenStore, for the commands that need no daemon.
 *
 * The connection may break in the middle (xenstored was started anew, or did
 * not like it): then nobody knows whether the last change was made.  So what
 * they do finds what is done already, and is done again from its beginning.
 */
#ifndef CTL_WAY_H
#define CTL_WAY_H

#include <stddef.h>
#include <stdint.h>

struct interposed;
struct store;

/* 0, or -errno and a sentence; or nothing of both, and the connection broke:
 * then it runs again. */
typedef int way_fn(struct store *, void *arg, char *why, size_t n);
/* An exit status; says on stderr what went wrong. */
int way_do(way_fn *, void *arg);

/* A block device of this domain: 0, or -errno and a sentence. */
int target_look(const char *target, uint32_t *major, uint32_t *minor, char *why,
                size_t n);

/* Until the guest, and blktapd after it, let go of what it names: 0, or
 * -ETIMEDOUT and a sentence. */
int left_wait(struct store *, struct interposed *, const char *name, char *why,
              size_t n);

/* `interpose hook': add PATH, remove PATH [force]. */
int hook_run(int argc, char **argv);

#endif
