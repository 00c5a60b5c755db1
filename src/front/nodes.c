/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes.c: what a front-end writes to be connected. */
#include "config.h"

#include <stdio.h>

#include "front/link.h"

/* Whatever an earlier connection left would be taken for this one's. */
static int
drop_ring(struct store *s, store_tx tx, const char *path)
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
    return rc;
}

struct connect {
    const char *path;
    const struct link_offer *offer;
};

static int
write_ring(struct store *s, store_tx tx, const char *path,
           const struct link_offer *o)
{
    char leaf[32];
    int rc;

    if (!o->order)
        return node_put_u64(s, tx, path, "ring-ref", o->refs[0]);
    rc = node_put_u64(s, tx, path, "ring-page-order", o->order);
    for (unsigned i = 0; !rc && i < 1u << o->order; i++) {
        snprintf(leaf, sizeof leaf, "ring-ref%u", i);
        rc = node_put_u64(s, tx, path, leaf, o->refs[i]);
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
    int rc = drop_ring(s, tx, path);

    if (!rc)
        rc = write_ring(s, tx, path, c->offer);
    if (!rc)
        rc = node_put_u64(s, tx, path, "event-channel", c->offer->port);
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
