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

/* What request() is called with in the same pass: not a barrier, which may have
 * to wait for others, and not the write that follows a flush. */
static bool
is_plain(const struct req *r)
{
    return r->op == BLKIF_READ || r->op == BLKIF_WRITE;
}

static void *
borrow(struct req *r)
{
    const struct chan *c = r->queue->chan;
    struct blk_lender *l = NULL;
    void *addr;

    if (c->ops->lender && is_plain(r))
        l = c->ops->lender(c->ctx);
    addr = l ? l->get(l, r->len) : NULL;
    r->lender = addr ? l : NULL;
    return addr;
}

bool
req_buffer(struct req *r)
{
    void *addr = borrow(r);

    if (!addr)
        addr = buffers_get(&r->queue->chan->buffers, r->len);
    r->io.iov = (struct iovec){ addr, addr ? r->len : 0 };
    return addr;
}

void
req_unbuffer(struct req *r)
{
    struct buffers *own = &r->queue->chan->buffers;
    void *addr = r->io.iov.iov_base;

    if (r->lender) {
        r->lender->put(r->lender, addr, r->len);
        buffers_rest(own);
    } else if (addr) {
        buffers_put(own, addr, r->len);
    }
    r->io.iov.iov_base = NULL;
    r->lender = NULL;
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
