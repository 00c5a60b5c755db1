/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenbus.h: discovery of front/back pairs in XenStore, and each vbd's XenBus
 * state machine.
 *
 * Level-triggered: a watch event only marks a vbd dirty; what to do follows
 * from (front-end state, own state, online, what the disk does), read anew.
 * Threads: the control loop only.
 */
#ifndef XENBUS_XENBUS_H
#define XENBUS_XENBUS_H

#include <json-c/json.h>

#include "config/config.h"
#include "disk/disk.h"
#include "host/host.h"

struct xenbus;

struct xenbus_events {
    /* For `blktapctl events` and the log. */
    void (*event)(void *ctx, const char *what, const char *disk,
                  const char *detail);
};

/* Watches backend/<kind> of this domain for each kind of conf. */
int xenbus_new(struct xenbus **, struct loop *, struct store *, struct disks *,
               struct conf *, const struct xenbus_events *, void *ctx,
               char *why, size_t n);
/* A new config: vbds that now match are claimed, those that no longer do and
 * are not connected are let go; changed disks follow disks_reload(). */
void xenbus_reload(struct xenbus *, struct conf *);
/* Drain all, leave every vbd fit for re-attach: states stay as they are, so
 * that a front-end at 4 only waits, and the next process goes on with the same
 * rings.  done (from a task) when every disk is closed; only then may it be
 * freed. */
void xenbus_stop(struct xenbus *, void (*done)(void *), void *ctx);
void xenbus_free(struct xenbus *);
/* Whether XenStore says that there is no such back-end: KIND.DOMID.DEVID.
 * False when it can't be asked, or has lost what it had. */
bool xenbus_gone(struct xenbus *, const char *key);
/* Whether XenStore says that there is no such attachment any more, by the name
 * that its disk was opened with (disk_front).  As the one above. */
bool xenbus_detached(struct xenbus *, const char *attachment);
/* Every vbd seen under the kinds, claimed or not, for `list` and `show`. */
struct json_object *xenbus_list(struct xenbus *);

/* What libxl would write for a new vbd, and the removal it would ask for.
 * vm: a name or a number.  0, or -errno with a sentence in why. */
struct xenbus_attach {
    const char *vm, *vdev, *kind, *params;
    bool readonly;
};
int xenbus_attach(struct store *, const struct xenbus_attach *, char *why,
                  size_t n);
int xenbus_detach(struct store *, const char *vm, const char *vdev, bool force,
                  char *why, size_t n);

#endif
