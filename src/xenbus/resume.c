/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * resume.c: a front-end that an earlier process served: what it was promised,
 * and what is done when that can't be kept.
 *
 * Linux counts on what it read when it connected, for as long as it is
 * connected.  And it takes our state 5 as the end of the disk: every request
 * fails from then on.  Hence what can't be served is *held*: states and rings
 * stay as they are, the guest waits, and it is tried again now and then, at a
 * reload, and when the front-end connects anew.  (A guest that is saved and
 * restored, or migrated, does that by itself, and asks all its unanswered
 * requests again: nothing is lost.)
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "xenbus/read.h"
#include "xenbus/vbd.h"

enum { SECTOR = 512, INFO_READONLY = 4 };

void
vbd_hold(struct vbd *v, int error, const char *why)
{
    v->hold_after = v->hold_after ? v->hold_after * 2 : HOLD_FIRST_NS;
    if (v->hold_after > HOLD_MAX_NS)
        v->hold_after = HOLD_MAX_NS;
    v->hold_until = xenbus_now(v->x) + v->hold_after;
    /* As it was found: the next try has to resume, too. */
    v->inherited = true;
    v->nonce = 0;
    if (strcmp(v->why, why))
        vbd_error_say(v, error, why);
    vbd_later(v, v->hold_after);
}

bool
vbd_held(struct vbd *v)
{
    uint64_t now = xenbus_now(v->x);

    if (!v->hold_after || v->hold_until <= now)
        return false;
    vbd_later(v, v->hold_until - now);
    return true;
}

/* What the front-end was told when it connected; 0: nothing. */
struct promise {
    uint64_t sectors, info, queues, order, indirect, barrier;
};

/* 0, or -errno of XenStore: what can't be read was promised all the same. */
static int
promise_read(struct vbd *v, struct promise *p)
{
    const struct {
        const char *leaf;
        uint64_t *value;
    } nodes[] = {
        { "sectors", &p->sectors },
        { "info", &p->info },
        { "multi-queue-max-queues", &p->queues },
        { "max-ring-page-order", &p->order },
        { "feature-max-indirect-segments", &p->indirect },
        { "feature-barrier", &p->barrier },
    };
    unsigned i;
    int rc = 0;

    for (i = 0; i < sizeof nodes / sizeof nodes[0] && !rc; i++) {
        *nodes[i].value = 0;
        rc = node_number(v->x->store, 0, v->back, nodes[i].leaf, UINT64_MAX,
                         nodes[i].value, NULL, 0);
        if (rc == -ENOENT || rc == -EINVAL)
            rc = 0;
    }
    return rc;
}

static bool
same_medium(struct vbd *v, const struct promise *told, char *why, size_t n)
{
    uint64_t size = disk_limits(v->disk)->size;

    if (size / SECTOR < told->sectors) {
        snprintf(why, n,
                 "the guest was told of a disk of %" PRIu64
                 " sectors: expected no fewer, found %" PRIu64
                 "; it waits until they are back",
                 told->sectors, size / SECTOR);
        return false;
    }
    if (told->sectors && disk_readonly(v->disk) &&
        !(told->info & INFO_READONLY)) {
        snprintf(why, n,
                 "the guest was told that it may write: expected a disk that "
                 "can be written, found it read-only; it waits until it can");
        return false;
    }
    return true;
}

/* Rings are what the front-end made them, within what was offered to it:
 * fewer or smaller ones are for the next connection. */
static void
widen(const struct promise *told, struct front_ask *ask, struct chan_params *p)
{
    if (told->queues > ask->queues_max && told->queues <= CHAN_QUEUES_MAX)
        ask->queues_max = (unsigned)told->queues;
    if (told->order > ask->order_max && told->order <= CHAN_ORDER_MAX)
        ask->order_max = (unsigned)told->order;
    if (told->indirect > p->max_indirect && told->indirect <= CHAN_INDIRECT_MAX)
        p->max_indirect = (uint32_t)told->indirect;
    p->barrier = p->barrier || told->barrier;
}

bool
vbd_promise(struct vbd *v, struct front_ask *ask, struct chan_params *p)
{
    struct promise told;
    char why[VBD_WHY];
    int rc = promise_read(v, &told);

    if (rc) {
        vbd_store_failed(v, rc, "what the front-end was told");
        return false;
    }
    if (!same_medium(v, &told, why, sizeof why)) {
        vbd_hold(v, -EROFS, why);
        vbd_medium_release(v); /* it is opened, and asked its size, again */
        return false;
    }
    widen(&told, ask, p);
    return true;
}
