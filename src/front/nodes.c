/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes.c: what a front-end writes to be connected. */
#include "config.h"

#include <stdio.h>

#include "front/link.h"

/* Whatever an earlier connection left would be taken for this one's. */
static int
drop_rings(struct store *s, store_tx tx, const char *path)
{
    static const char *const names[] = { "ring-page-order", "num-ring-pages",
                                         "ring-ref", "event-channel",
                                         "multi-queue-num-queues" };
    char leaf[32];
    unsigned i;
    int rc = 0;

    for (i = 0; !rc && i < sizeof names / sizeof names[0]; i++)
        rc = node_drop(s, tx, path, names[i]);
    for (i = 0; !rc && i < 1u << FRONT_ORDER_MAX; i++) {
        snprintf(leaf, sizeof leaf, "ring-ref%u", i);
        rc = node_drop(s, tx, path, leaf);
    }
    for (i = 0; !rc && i < FRONT_QUEUES_MAX; i++) {
        snprintf(leaf, sizeof leaf, "queue-%u", i);
        rc = node_drop(s, tx, path, leaf);
    }
    return rc;
}

struct connect {
    const char *path;
    const struct link_offer *offer;
};

/* One ring, into the directory that is its own, or everybody's. */
static int
write_ring(struct store *s, store_tx tx, const char *dir, unsigned order,
           const struct link_queue *q)
{
    char leaf[32];
    int rc = 0;

    if (!order)
        rc = node_put_u64(s, tx, dir, "ring-ref", q->refs[0]);
    for (unsigned i = 0; order && !rc && i < 1u << order; i++) {
        snprintf(leaf, sizeof leaf, "ring-ref%u", i);
        rc = node_put_u64(s, tx, dir, leaf, q->refs[i]);
    }
    return rc ? rc : node_put_u64(s, tx, dir, "event-channel", q->port);
}

static int
write_rings(struct store *s, store_tx tx, const char *path,
            const struct link_offer *o)
{
    char leaf[32], dir[NODE_PATH];
    int rc = 0;

    if (o->order)
        rc = node_put_u64(s, tx, path, "ring-page-order", o->order);
    if (!rc && o->queues == 1)
        return write_ring(s, tx, path, o->order, &o->queue[0]);
    if (!rc)
        rc = node_put_u64(s, tx, path, "multi-queue-num-queues", o->queues);
    for (unsigned i = 0; !rc && i < o->queues; i++) {
        snprintf(leaf, sizeof leaf, "queue-%u", i);
        rc = node_path(dir, path, leaf);
        if (!rc)
            rc = write_ring(s, tx, dir, o->order, &o->queue[i]);
    }
    return rc;
}

#if defined(__x86_64__)
static const char protocol[] = "x86_64-abi";
#else
static const char protocol[] = "arm-abi";
#endif

static int
write_connect(struct store *s, store_tx tx, void *arg)
{
    struct connect *c = arg;
    const char *path = c->path;
    int rc = drop_rings(s, tx, path);

    if (!rc)
        rc = write_rings(s, tx, path, c->offer);
    if (!rc)
        rc = node_put(s, tx, path, "protocol", protocol);
    if (!rc)
        rc = node_put_u64(s, tx, path, "feature-persistent", 1);
    if (!rc)
        rc = node_put_u64(s, tx, path, "state", BUS_INITIALISED);
    return rc;
}

int
nodes_write(struct store *s, const char *path, const struct link_offer *offer)
{
    struct connect c = { path, offer };

    return node_transact(s, write_connect, &c);
}
