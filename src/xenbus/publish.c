/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * publish.c: what we write into the back-end directory.
 *
 * Limits stand before state 2, geometry before state 4, each set in one
 * transaction; the state is then written alone.  Every transaction first reads
 * the state: a directory that was removed is never made again by a late write.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/vbd.h"

/* Linux stops believing in a device whose sector size is not 512; all
 * front-ends agree on what `sectors` means only then. */
enum { SECTOR = 512, INFO_CDROM = 1, INFO_REMOVABLE = 2, INFO_READONLY = 4 };

struct number {
    const char *leaf;
    uint64_t value;
};

static int
put_all(struct vbd *v, store_tx tx, const struct number *n, unsigned count)
{
    unsigned i;
    int rc = 0;

    for (i = 0; i < count && !rc; i++)
        rc = node_put_u64(v->x->store, tx, v->back, n[i].leaf, n[i].value);
    return rc;
}

#define PUT_ALL(v, tx, n) put_all(v, tx, n, sizeof(n) / sizeof(n)[0])

static int
must_exist(struct vbd *v, store_tx tx, enum bus_state *state)
{
    return node_state(v->x->store, tx, v->back, state);
}

/* ---- limits -------------------------------------------------------------- */

static const struct conf_disk *
vbd_conf(const struct vbd *v)
{
    return v->disk ? disk_conf(v->disk) : conf_disk(v->x->conf, v->disk_name);
}

static int
put_limits(struct store *s, store_tx tx, void *arg)
{
    struct vbd *v = arg;
    const struct conf_disk *cd = vbd_conf(v);
    struct number n[] = {
        { "max-ring-page-order", cd->ring_order },
        { "multi-queue-max-queues", cd->queues },
        { "feature-persistent", 0 },
        { "feature-flush-cache", 1 },
        { "feature-barrier", cd->barrier },
    };
    enum bus_state state;
    int rc = must_exist(v, tx, &state);

    if (!rc)
        rc = PUT_ALL(v, tx, n);
    if (!rc && cd->indirect)
        rc = node_put_u64(s, tx, v->back, "feature-max-indirect-segments",
                          cd->indirect);
    else if (!rc)
        rc = node_drop(s, tx, v->back, "feature-max-indirect-segments");
    return rc;
}

int
vbd_publish_limits(struct vbd *v)
{
    if (!vbd_conf(v))
        return -ENOENT;
    return node_transact(v->x->store, put_limits, v);
}

/* ---- geometry ------------------------------------------------------------ */

static uint64_t
vbd_sectors(const struct vbd *v)
{
    return disk_limits(v->disk)->size / SECTOR;
}

static uint64_t
vbd_block(const struct vbd *v)
{
    uint32_t block = disk_limits(v->disk)->block;

    return block < SECTOR ? SECTOR : block;
}

static bool
vbd_discards(const struct vbd *v)
{
    const struct blk_limits *l = disk_limits(v->disk);

    return disk_conf(v->disk)->discard && v->discard_enable &&
           !disk_readonly(v->disk) && (l->ops & BLK_BIT(BLK_DISCARD));
}

static int
put_discard(struct vbd *v, store_tx tx)
{
    const struct blk_limits *l = disk_limits(v->disk);
    struct number n[] = {
        { "feature-discard", 1 },
        { "discard-granularity",
          l->discard_align ? l->discard_align : vbd_block(v) },
        { "discard-alignment", 0 },
        { "discard-secure", 0 },
    };

    if (vbd_discards(v))
        return PUT_ALL(v, tx, n);
    return node_put_u64(v->x->store, tx, v->back, "feature-discard", 0);
}

static int
put_geometry(struct store *s, store_tx tx, void *arg)
{
    struct vbd *v = arg;
    unsigned info = (v->cdrom ? INFO_CDROM : 0u) |
                    (v->removable ? INFO_REMOVABLE : 0u) |
                    (disk_readonly(v->disk) ? INFO_READONLY : 0u);
    struct number n[] = {
        { "sectors", vbd_sectors(v) },
        { "sector-size", SECTOR },
        { "physical-sector-size", vbd_block(v) },
        { "info", info },
    };
    enum bus_state state;
    int rc = must_exist(v, tx, &state);

    if (!rc)
        rc = PUT_ALL(v, tx, n);
    if (!rc)
        rc = put_discard(v, tx);
    if (!rc && v->nonce)
        rc = node_put_u64(s, tx, v->back, "blktapd-connection", v->nonce);
    return rc;
}

int
vbd_publish_geometry(struct vbd *v)
{
    return node_transact(v->x->store, put_geometry, v);
}

int
vbd_read_nonce(struct vbd *v, uint64_t *nonce)
{
    int rc;

    *nonce = 0;
    rc = node_number(v->x->store, 0, v->back, "blktapd-connection", UINT64_MAX,
                     nonce, NULL, 0);
    return rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}

/* ---- resize -------------------------------------------------------------- */

/* The front-end's watch is on our state: the same one written again makes it
 * read the sectors. */
static int
put_resize(struct store *s, store_tx tx, void *arg)
{
    struct vbd *v = arg;
    char path[NODE_PATH], four[] = { '0' + BUS_CONNECTED, '\0' };
    uint64_t old = 0;
    enum bus_state state;
    int rc = must_exist(v, tx, &state);

    if (rc)
        return rc;
    if (state != BUS_CONNECTED)
        return -ESTALE;
    rc = node_number(s, tx, v->back, "sectors", UINT64_MAX, &old, NULL, 0);
    if (!rc && old == vbd_sectors(v))
        return 0;
    rc = node_put_u64(s, tx, v->back, "sectors", vbd_sectors(v));
    if (!rc)
        rc = node_path(path, v->back, "state");
    if (!rc)
        rc = s->ops->write(s, tx, path, four);
    return rc;
}

int
vbd_publish_resize(struct vbd *v)
{
    return node_transact(v->x->store, put_resize, v);
}

/* ---- state --------------------------------------------------------------- */

struct move {
    struct vbd *vbd;
    enum bus_state from, to;
};

/* Nothing is written over what somebody else wrote since we looked: the
 * toolstack's 5 would be lost. */
static int
put_state(struct store *s, store_tx tx, void *arg)
{
    struct move *m = arg;
    char path[NODE_PATH], digit[2] = { (char)('0' + m->to), '\0' };
    enum bus_state now;
    int rc = must_exist(m->vbd, tx, &now);

    if (rc)
        return rc;
    if (now != m->from)
        return -ESTALE;
    rc = node_path(path, m->vbd->back, "state");
    return rc ? rc : s->ops->write(s, tx, path, digit);
}

int
vbd_publish_state(struct vbd *v, enum bus_state from, enum bus_state to)
{
    struct move m = { .vbd = v, .from = from, .to = to };

    return from == to ? 0 : node_transact(v->x->store, put_state, &m);
}
