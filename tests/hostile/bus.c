/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bus.c: a front-end's half of XenBus, by the rules: what a case breaks it
 * breaks afterwards.  Sources: xen/io/blkif.h, xen/io/xenbus.h.
 */
#include "hostile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 30000 };

void
bus_say(struct dev *d, const char *leaf, const char *value)
{
    d->t->write(d, leaf, value, strlen(value));
}

int
bus_state(struct dev *d)
{
    return (int)d->t->back(d, "state", 0);
}

static bool
state_comes(struct dev *d, int wanted)
{
    uint64_t end = ms_now(d) + PATIENCE_MS;

    while (bus_state(d) != wanted) {
        if (ms_now(d) >= end)
            return false;
        pause_ms(d, 3);
    }
    return true;
}

bool
bus_close(struct dev *d)
{
    bus_say(d, "state", "6");
    return state_comes(d, 6);
}

bool
bus_reset(struct dev *d)
{
    if (!bus_close(d))
        return false;
    bus_say(d, "state", "1");
    return state_comes(d, 2);
}

static void
node(struct dev *d, unsigned queues, unsigned q, const char *leaf,
     unsigned value)
{
    char path[64], text[16];

    if (queues > 1)
        snprintf(path, sizeof(path), "queue-%u/%s", q, leaf);
    else
        snprintf(path, sizeof(path), "%s", leaf);
    snprintf(text, sizeof(text), "%u", value);
    bus_say(d, path, text);
}

int
bus_nodes(struct dev *d, const struct shape *s)
{
    static const char *const abis[] = { "x86_64-abi", "x86_32-abi" };
    int rc = d->t->ports(d, s->queues);
    char leaf[32];

    if (rc)
        return rc;
    d->t->rm(d, "ring-page-order");
    d->t->rm(d, "multi-queue-num-queues");
    if (s->queues > 1)
        node(d, 1, 0, "multi-queue-num-queues", s->queues);
    if (s->order)
        node(d, 1, 0, "ring-page-order", s->order);
    for (unsigned q = 0; q < s->queues; q++) {
        for (unsigned i = 0; i < 1u << s->order; i++) {
            snprintf(leaf, sizeof(leaf), s->order ? "ring-ref%u" : "ring-ref",
                     i);
            node(d, s->queues, q, leaf, d->ring_ref[(q << s->order) + i]);
        }
        node(d, s->queues, q, "event-channel", d->port[q]);
    }
    return d->t->write(d, "protocol", abis[s->abi], strlen(abis[s->abi]));
}

static unsigned
least(uint64_t a, uint64_t b)
{
    return (unsigned)(a < b ? a : b);
}

int
bus_connect(struct dev *d, const struct shape *s)
{
    int rc;

    if (!bus_reset(d))
        return -ETIMEDOUT;
    d->got = *s;
    d->got.queues =
        least(s->queues, d->t->back(d, "multi-queue-max-queues", 1));
    d->got.order = least(s->order, d->t->back(d, "max-ring-page-order", 0));
    d->indirect = (unsigned)d->t->back(d, "feature-max-indirect-segments", 0);
    for (unsigned q = 0; q < d->got.queues; q++)
        d->ring[q] = d->rings + (size_t)PAGE * (q << d->got.order);
    front_reset(d);
    rc = bus_nodes(d, &d->got);
    if (rc)
        return rc;
    bus_say(d, "state", "3");
    if (!state_comes(d, 4))
        return -ECONNREFUSED;
    bus_say(d, "state", "4");
    d->sectors = d->t->back(d, "sectors", 0);
    d->readonly = d->t->back(d, "info", 0) & 4;
    return 0;
}
