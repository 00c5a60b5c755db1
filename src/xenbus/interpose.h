/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interpose.h: both sides of an interposed disk, from domain 0.
 *
 *   guest ── vbd ──► soft-device domain: blktapd ── vbd ──► xen-blkback here
 *
 * The upper vbd is one as attach makes it, but served by any domain.  The
 * lower one connects the soft-device domain's blktapd (its layer "vbd") to a
 * block device of this domain; its front-end stands where no kernel looks.
 * The lower back-end's node "interposes" names the upper one, and so is the
 * record by which both are found again.
 *
 * A hotplug script of libxl has a vbd that libxl made in this domain instead:
 * it is the upper one, `params' say [DOMAIN/]DISK[:NUMBER]:DEVICE, and
 * xen-blkback has taken it.  Then the lower one is made and removed; the upper
 * one is handed over from the kernel to blktapd, which takes of kind vbd
 * nothing else where xen-blkback is loaded.  Where blktapd is in another
 * domain an upper one is made there, and what libxl made is an empty shell
 * from then on.
 *
 * Threads: any one, with the store.  Errors: -errno, and a sentence.
 */
#ifndef XENBUS_INTERPOSE_H
#define XENBUS_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/host.h"

struct interpose {
    const char *disk;   /* as blktapd's configuration there names it */
    const char *vm;     /* the guest, a name or a number */
    const char *vdev;   /* as the guest names it */
    const char *target; /* the block device, for people and `params' */
    uint32_t major, minor;
    const char *domain; /* of blktapd; NULL: this one */
    const char *number; /* of the lower vbd; NULL: as of vdev */
    const char *kind;   /* of the upper back-end; NULL: blktapd */
    bool readonly;
    bool again; /* a try before this one may have made it: then it is well */
};

/* Makes all of both, or nothing.  path takes what the layer's option "path"
 * has to be there. */
int interpose_add(struct store *, const struct interpose *, char *path,
                  size_t path_size, char *why, size_t n);

struct interposed;

/* Finds what interpose_add() made; the guest may be gone (give its number
 * then). */
int interpose_find(struct store *, const char *vm, const char *vdev,
                   struct interposed **, char *why, size_t n);
void interpose_free(struct interposed *);
/* Asks the guest to let go; and whether it has, and blktapd after it. */
int interpose_leave(struct store *, struct interposed *, char *why, size_t n);
enum interpose_left {
    INTERPOSE_HELD, /* by the guest */
    INTERPOSE_OPEN, /* only by blktapd */
    INTERPOSE_LEFT
};
enum interpose_left interpose_left(struct store *, struct interposed *);
/* All nodes, whatever their state. */
int interpose_remove(struct store *, struct interposed *, char *why, size_t n);

/* ---- for a hotplug script ------------------------------------------------ */

/* In a back-end's directory, "1": it was handed over. */
#define INTERPOSE_HANDED "handed-over"
/* In one that libxl made: the path of the one that took its place. */
#define INTERPOSE_MOVED "moved-to"

enum { INTERPOSE_TEXT = 256 };

/* What `params' ask for. */
struct interpose_hook {
    uint32_t domid, devid;       /* of the upper one */
    uint32_t self;               /* the domain of blktapd */
    char domain[INTERPOSE_TEXT]; /* its name, or "": this one */
    char disk[INTERPOSE_TEXT], number[16], target[INTERPOSE_TEXT];
    char vdev[32];
    bool readonly;
    bool again; /* as in struct interpose */
};

/* path: as libxl says it, backend/vbd/7/51712. */
int interpose_hook_read(struct store *, const char *path,
                        struct interpose_hook *, char *why, size_t n);
/* The lower one alone. */
int interpose_hook_make(struct store *, const struct interpose_hook *,
                        uint32_t major, uint32_t minor, char *why, size_t n);
/* The upper one is a new one of blktapd's; another is made in its place, where
 * that is another domain's.  The kernel must have let go. */
int interpose_hook_hand(struct store *, const struct interpose_hook *,
                        char *why, size_t n);
/* What interpose_hook_make() made, or -ENOENT without a sentence. */
int interpose_hook_find(struct store *, const char *path, struct interposed **,
                        char *why, size_t n);
/* Whether it took the place of libxl's: then the guest has to be asked. */
bool interpose_hook_moved(const struct interposed *);
/* Takes it from the guest instead, which can't be asked. */
int interpose_hook_cut(struct store *, struct interposed *, char *why,
                       size_t n);
/* Whether blktapd has let go of the lower one. */
bool interpose_hook_closed(struct store *, struct interposed *);
/* The lower one, and one that took the place of libxl's, whatever their state.
 */
int interpose_hook_remove(struct store *, struct interposed *, char *why,
                          size_t n);

#endif
