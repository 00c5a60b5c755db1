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

/* 0 when it is not there. */
static uint64_t
told(struct vbd *v, const char *leaf)
{
    uint64_t n = 0;

    if (node_number(v->x->store, 0, v->back, leaf, UINT64_MAX, &n, NULL, 0))
        return 0;
    return n;
}

static bool
same_medium(struct vbd *v, char *why, size_t n)
{
    uint64_t size = disk_limits(v->disk)->size, sectors = told(v, "sectors");

    if (size / SECTOR < sectors) {
        snprintf(why, n,
                 "the guest was told of a disk of %" PRIu64
                 " sectors: expected no fewer, found %" PRIu64
                 "; it waits until they are back",
                 sectors, size / SECTOR);
        return false;
    }
    if (sectors && disk_readonly(v->disk) &&
        !(told(v, "info") & INFO_READONLY)) {
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
widen(struct vbd *v, struct front_ask *ask, struct chan_params *p)
{
    uint64_t queues = told(v, "multi-queue-max-queues");
    uint64_t order = told(v, "max-ring-page-order");
    uint64_t indirect = told(v, "feature-max-indirect-segments");

    if (queues > ask->queues_max && queues <= CHAN_QUEUES_MAX)
        ask->queues_max = (unsigned)queues;
    if (order > ask->order_max && order <= CHAN_ORDER_MAX)
        ask->order_max = (unsigned)order;
    if (indirect > p->max_indirect && indirect <= CHAN_INDIRECT_MAX)
        p->max_indirect = (uint32_t)indirect;
    p->barrier = p->barrier || told(v, "feature-barrier");
}

bool
vbd_promise(struct vbd *v, struct front_ask *ask, struct chan_params *p)
{
    char why[VBD_WHY];

    if (!same_medium(v, why, sizeof why)) {
        vbd_hold(v, -EROFS, why);
        vbd_medium_release(v); /* it is opened, and asked its size, again */
        return false;
    }
    widen(v, ask, p);
    return true;
}
