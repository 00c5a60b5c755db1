/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * attachment.c: which attachment of a disk a vbd is.
 *
 * A guest's number and a device's come again, after a reboot, or when a disk is
 * taken away from a guest and given back.  So a number of ours stands in the
 * back-end directory from before the disk is opened: it goes with the
 * directory, whoever removes that, and nobody writes it anew.  What a layer
 * keeps for the attachment (blk_scratch()) has it in its name.
 *
 * `sectors' comes once the disk was open, and before a front-end connects: it
 * tells whether anybody can have written through the layers.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/vbd.h"

static const char leaf[] = "blktapd-attachment";

/* 0, with 0 where none stands; or -errno of XenStore. */
static int
read_number(struct vbd *v, const char *name, uint64_t *number)
{
    int rc =
        node_number(v->x->store, 0, v->back, name, UINT64_MAX, number, NULL, 0);

    if (rc)
        *number = 0;
    return rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}

static int
put_number(struct store *s, store_tx tx, void *arg)
{
    struct vbd *v = arg;
    enum bus_state state;
    int rc = node_state(s, tx, v->back, &state);

    return rc ? rc : node_put_u64(s, tx, v->back, leaf, v->attachment);
}

int
vbd_read_attachment(struct vbd *v)
{
    return read_number(v, leaf, &v->attachment_found);
}

bool
vbd_same_attachment(const struct vbd *v)
{
    return !v->attachment || v->attachment == v->attachment_found;
}

int
vbd_attachment(struct vbd *v, struct disk_front *front)
{
    struct xenbus *x = v->x;
    uint64_t sectors;
    int rc = read_number(v, "sectors", &sectors);

    if (!rc)
        rc = vbd_read_attachment(v);
    if (rc)
        return rc;
    v->attachment = v->attachment_found;
    front->used = sectors;
    front->attachment[0] = '\0';
    if (!v->attachment && sectors)
        return 0; /* it was lost, or is older than this node */
    if (!v->attachment) {
        v->attachment = x->loop->ops->random(x->loop) | 1;
        rc = node_transact(x->store, put_number, v);
        if (rc) {
            v->attachment = 0;
            return rc;
        }
        v->attachment_found = v->attachment;
    }
    snprintf(front->attachment, sizeof front->attachment,
             "%s.%" PRIu32 ".%" PRIu32 ",%" PRIu64, v->kind, v->domid, v->devid,
             v->attachment);
    return 0;
}

/* ---- of any vbd, by name ------------------------------------------------- */

/* "KIND.DOMID.DEVID,NUMBER" to its back-end directory. */
static bool
directory_of(struct xenbus *x, const char *name, char dir[VBD_PATH],
             uint64_t *number)
{
    const char *comma = strchr(name, ',');
    char *at;
    int n;

    if (!comma || !number_parse(comma + 1, UINT64_MAX, number))
        return false;
    n = snprintf(dir, VBD_PATH, "/local/domain/%" PRIu32 "/backend/%.*s",
                 x->domid, (int)(comma - name), name);
    if (n < 0 || n >= VBD_PATH)
        return false;
    for (at = dir; (at = strchr(at, '.')); at++)
        *at = '/';
    return true;
}

/* State 6 with online=0: nobody comes back to it, but it stays until the
 * toolstack, or we, remove it. */
static bool
is_left(struct xenbus *x, const char *dir)
{
    uint64_t online;
    enum bus_state state;

    return !node_state(x->store, 0, dir, &state) && state == BUS_CLOSED &&
           !node_number(x->store, 0, dir, "online", 1, &online, NULL, 0) &&
           !online;
}

bool
xenbus_detached(struct xenbus *x, const char *name)
{
    char dir[VBD_PATH];
    uint64_t number, found;
    int rc;

    if (!directory_of(x, name, dir, &number))
        return true;
    if (x->emptied)
        return false; /* it may only be lost */
    rc = node_number(x->store, 0, dir, leaf, UINT64_MAX, &found, NULL, 0);
    if (rc)
        return rc == -ENOENT;
    return found != number || is_left(x, dir);
}
