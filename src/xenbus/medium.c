/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * medium.c: a vbd's hold on its disk: open, tried again when that failed, and
 * closed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "xenbus/vbd.h"

static void
vbd_open_failed(struct vbd *v, int status, const char *why)
{
    v->open_failed = true;
    v->reopen_after =
        v->reopen_after ? v->reopen_after * 2 : (uint64_t)REOPEN_FIRST_NS;
    if (v->reopen_after > REOPEN_MAX_NS)
        v->reopen_after = REOPEN_MAX_NS;
    v->reopen_at = xenbus_now(v->x) + v->reopen_after;
    vbd_later(v, v->reopen_after);
    if (strcmp(v->why, why))
        vbd_error_say(v, status, why);
    vbd_error_hotplug(v, why);
}

static void
vbd_opened(void *ctx, struct disk *d, int status, const char *why)
{
    struct vbd *v = ctx;

    (void)d;
    if (v->medium != MEDIUM_OPENING)
        return;
    if (status) {
        vbd_open_failed(v, status, why ? why : strerror(-status));
        vbd_medium_release(v);
    } else {
        v->medium = MEDIUM_READY;
        v->open_failed = false;
        v->reopen_after = 0;
        if (!v->hold_after) /* else its reason is still to be judged */
            vbd_error_clear(v);
        vbd_error_hotplug(v, NULL);
    }
    xenbus_dirty(v);
}

static void
vbd_closed(void *ctx, struct disk *d, int status, const char *why)
{
    struct vbd *v = ctx, *other;

    (void)d;
    (void)status;
    (void)why;
    v->disk = NULL;
    v->attachment = 0;
    v->medium = MEDIUM_NONE;
    v->link = LINK_DOWN;
    xenbus_dirty(v);
    /* Another vbd may have waited for this disk.  Only one that found it in
     * use: two that fail to open it must not call each other for ever. */
    for (other = v->x->first; other; other = other->next) {
        if (other->busy && !strcmp(other->disk_name, v->disk_name)) {
            other->reopen_at = 0;
            xenbus_dirty(other);
        }
    }
    xenbus_quiet(v->x);
}

void
vbd_medium_release(struct vbd *v)
{
    if (!v->disk || v->medium == MEDIUM_CLOSING)
        return;
    v->medium = MEDIUM_CLOSING;
    v->link = LINK_BUSY;
    v->connected_seen = v->restarted = false;
    if (v->x->stopping)
        disk_leave(v->disk, vbd_closed);
    else
        disk_close(v->disk, vbd_closed);
}

static void
vbd_resized(void *ctx, struct disk *d)
{
    struct vbd *v = ctx;

    (void)d;
    v->resized = true;
    xenbus_dirty(v);
}

static void
vbd_failed(void *ctx, struct disk *d, const char *why)
{
    struct vbd *v = ctx;

    (void)d;
    v->refused = true;
    vbd_error_say(v, -EIO, why);
    xenbus_dirty(v);
}

/* A front-end can't be told to connect again: Linux would take the disk away
 * from its user.  It is so at its next connection. */
static void
vbd_reconnect(void *ctx, struct disk *d)
{
    struct vbd *v = ctx;

    (void)d;
    if (v->link == LINK_DOWN)
        xenbus_dirty(v);
    else
        xenbus_event(v, "pending",
                     "the changed settings hold from the next connection on");
}

/* It stays connected: its requests end with errors, as a broken disk's do, and
 * it can be recovered without the guest. */
static void
vbd_stopped(void *ctx, struct disk *d, const char *why)
{
    struct vbd *v = ctx;

    (void)d;
    v->stopped = true;
    vbd_error_say(v, -EIO, why);
}

/* A connected vbd that was not stopped has no error. */
static void
vbd_recovered(void *ctx, struct disk *d)
{
    struct vbd *v = ctx;

    (void)d;
    v->stopped = false;
    vbd_error_clear(v);
}

static const struct disk_owner vbd_owner = {
    .resized = vbd_resized,
    .failed = vbd_failed,
    .stopped = vbd_stopped,
    .recovered = vbd_recovered,
    .reconnect = vbd_reconnect,
};

bool
vbd_medium(struct vbd *v)
{
    const struct conf_disk *cd = conf_disk(v->x->conf, v->disk_name);
    struct disk_front front = {
        .kind = "xen", .vm = v->vm, .vdev = v->vdev, .domid = v->domid
    };
    char why[VBD_WHY];
    int rc;

    if (v->medium != MEDIUM_NONE)
        return v->medium == MEDIUM_READY;
    if (!cd)
        return false;
    if (v->open_failed && v->reopen_at > xenbus_now(v->x)) {
        vbd_later(v, v->reopen_at - xenbus_now(v->x));
        return false;
    }
    snprintf(front.path, sizeof front.path, "%.*s", (int)sizeof front.path - 1,
             v->back);
    rc = vbd_attachment(v, &front);
    if (rc) {
        vbd_store_failed(v, rc, "attachment");
        return false;
    }
    v->busy = false;
    v->medium = MEDIUM_OPENING;
    v->opening_at = xenbus_now(v->x);
    rc = disk_open(&v->disk, v->x->disks, v->x->conf, cd, v->readonly, &front,
                   &vbd_owner, v, vbd_opened, why, sizeof why);
    if (rc) {
        v->disk = NULL;
        v->attachment = 0;
        v->medium = MEDIUM_NONE;
        v->busy = rc == -EBUSY;
        vbd_open_failed(v, rc, why);
    }
    return v->medium == MEDIUM_READY;
}
