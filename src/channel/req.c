/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * req.c: requests: where they come from, lists of them, and how they end.
 */
#include <errno.h>
#include <string.h>

#include "channel/internal.h"

#define THROTTLE_NS UINT64_C(1000000)

void
req_list_init(struct req_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

void
req_push(struct req_list *l, struct req *r)
{
    r->next = NULL;
    *l->tail = r;
    l->tail = &r->next;
}

struct req *
req_pop(struct req_list *l)
{
    struct req *r = l->head;

    if (r) {
        l->head = r->next;
        if (!l->head)
            l->tail = &l->head;
    }
    return r;
}

void
req_purge(struct req_list *l, const struct chan *c)
{
    struct req **p = &l->head;

    while (*p) {
        if ((*p)->queue->chan == c)
            *p = (*p)->next;
        else
            p = &(*p)->next;
    }
    l->tail = p;
}

struct req *
req_get(struct queue *q, uint32_t entry)
{
    struct chan *c = q->chan;
    struct req *r = c->spare;

    if (r)
        c->spare = r->next;
    else
        r = &c->req[c->untouched++];
    memset(r, 0, sizeof(*r));
    r->seg =
        (struct seg *)(void *)(c->segs + (size_t)(r - c->req) * c->seg_stride);
    r->queue = q;
    r->entry = entry;
    c->inflight++;
    q->live++;
    return r;
}

void
req_unbuffer(struct req *r)
{
    if (r->io.iov.iov_base)
        buffers_put(&r->queue->chan->buffers, r->io.iov.iov_base, r->len);
    r->io.iov.iov_base = NULL;
}

void
req_put(struct req *r)
{
    struct chan *c = r->queue->chan;

    c->inflight--;
    r->queue->live--;
    r->next = c->spare;
    c->spare = r;
}

/* The guest's I/O waits a moment, we do not: whoever sends rubbish, sends it
 * at a thousand rings full a second at most. */
void
req_refuse(struct req *r, int status)
{
    struct chan *c = r->queue->chan;

    c->stats.malformed++;
    throttle_charge(c, CHARGE_REQUEST_NS);
    r->status = (int16_t)status;
    if (status != BLKIF_ERROR) {
        req_answer(r, status);
        return;
    }
    req_push(&c->throttled, r);
    req_throttle(c);
}

void
req_throttle(struct chan *c)
{
    if (c->throttling)
        return;
    c->throttling = true;
    c->loop->ops->timer_start(c->loop, &c->throttle, THROTTLE_NS);
}

void
req_throttled(struct blk_timer *t)
{
    struct chan *c = t->data;
    struct req *r;

    c->throttling = false;
    while ((r = req_pop(&c->throttled)))
        req_answer(r, r->status);
}

void
req_answer(struct req *r, int status)
{
    r->status = (int16_t)status;
    req_push(&r->queue->chan->sweep->done, r);
    sweep_kick(r->queue->chan->sweep);
}
