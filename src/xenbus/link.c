/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* link.c: between a vbd's disk and the rings of its front-end. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xenbus/read.h"
#include "xenbus/vbd.h"

static void
vbd_refuse(struct vbd *v, int error, const char *why)
{
    v->refused = true;
    vbd_error_say(v, error, why);
}

static void
vbd_connected(void *ctx, struct disk *d, int status, const char *why)
{
    struct vbd *v = ctx;

    (void)d;
    if (v->medium == MEDIUM_CLOSING)
        return;
    if (status && v->resuming) {
        v->link = LINK_DOWN;
        vbd_hold(v, status, why ? why : strerror(-status));
    } else if (status) {
        v->link = LINK_DOWN;
        vbd_refuse(v, status, why ? why : strerror(-status));
    } else {
        v->link = LINK_UP;
        if (v->resuming)
            vbd_error_clear(v); /* it was held, perhaps */
        v->resuming = false;
        v->hold_after = 0;
        v->resized = true; /* since the geometry was written, perhaps */
    }
    xenbus_dirty(v);
}

static void
vbd_disconnected(void *ctx, struct disk *d, int status, const char *why)
{
    struct vbd *v = ctx;

    (void)d;
    (void)status;
    (void)why;
    if (v->medium == MEDIUM_CLOSING)
        return;
    v->link = LINK_DOWN;
    xenbus_dirty(v);
}

void
vbd_disconnect(struct vbd *v)
{
    v->link = LINK_BUSY;
    v->connected_seen = v->restarted = false;
    disk_disconnect(v->disk, vbd_disconnected);
}

/* Each connection has a number of its own, by which a later process knows
 * whether a table of requests belongs to it; and this one, when it gave up
 * rings that the front-end has yet.  found: states say connected, so it may be
 * one that an earlier process made; else it stands in XenStore with the
 * geometry before state 4. */
static int
vbd_take_nonce(struct vbd *v, bool found)
{
    uint64_t old = v->same ? v->nonce : 0;
    int rc;

    /* One that can't be read is not one that is not there: with another number
     * the table would be a stranger's. */
    rc = found && !v->nonce ? vbd_read_nonce(v, &old) : 0;
    if (rc)
        return rc;
    v->nonce = old ? old : v->x->loop->ops->random(v->x->loop) | 1;
    return found && !old ? vbd_publish_geometry(v) : 0;
}

bool
vbd_connect(struct vbd *v, enum bus_act act)
{
    const struct conf_disk *cd = disk_conf(v->disk);
    bool found = act == ACT_RESUME || v->own == BUS_CONNECTED;
    struct front_ask ask = { .front = v->front,
                             .back = v->back,
                             .queues_max = cd->queues,
                             .order_max = cd->ring_order };
    struct chan_params p;
    char why[VBD_WHY];
    int rc;

    memset(&p, 0, sizeof p);
    p.max_indirect = cd->indirect;
    p.barrier = cd->barrier;
    /* Of an earlier process's, not one that this process let go of. */
    p.resumed = v->resuming = found && !v->nonce;
    if (p.resumed && !vbd_promise(v, &ask, &p))
        return false;
    rc = front_read(v->x->store, &ask, &p, why, sizeof why);
    if (rc && rc != -EPROTO) {
        vbd_store_failed(v, rc, "front-end nodes");
        return false;
    }
    if (rc && p.resumed && v->front_state == BUS_CONNECTED) {
        vbd_hold(v, rc, why);
        return false;
    }
    if (rc) {
        v->inherited = false;
        /* One that is leaving has perhaps removed its nodes. */
        if (v->front_state != BUS_CLOSING)
            vbd_refuse(v, rc, why);
        return true;
    }
    p.domid = v->domid;
    rc = vbd_take_nonce(v, found);
    if (rc) {
        vbd_store_failed(v, rc, "geometry");
        return false;
    }
    p.nonce = v->nonce;
    v->inherited = false;
    v->link = LINK_BUSY;
    v->connected_seen = v->restarted = v->stopped = false;
    disk_connect(v->disk, &p, NULL, vbd_connected);
    return false;
}
