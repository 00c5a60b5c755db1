/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * queue.c: one ring: from slots to requests, and from requests to responses.
 */
#include <string.h>

#include "channel/internal.h"
#include "seeded.h"

/* Nothing new may be consumed now; chan_ended() comes when that may have
 * changed. */
static bool
queue_blocked(const struct queue *q)
{
    const struct chan *c = q->chan;

    return c->shut || c->draining || q->barrier || c->waiting.head ||
           c->inflight >= c->depth;
}

static void
narrow(struct seg *to, const struct blkif_seg *from, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned first = from[i].first, count = from[i].last - first + 1u;

        to[i].gref = from[i].gref;
        to[i].off = (uint16_t)(first * BLKIF_SECTOR);
        to[i].len = (uint16_t)(count * BLKIF_SECTOR);
    }
}

/* Onto the list of its next step. */
static void
route(struct req *r, const struct blkif_op *op, const struct verdict *v)
{
    struct sweep *s = r->queue->chan->sweep;

    if (v->status != BLKIF_OKAY) {
        req_refuse(r, v->status);
    } else if (op->op == BLKIF_INDIRECT) {
        r->gref = op->gref[0];
        r->off = op->sector;
        req_push(&s->fetch, r);
    } else if (v->op == BLKIF_DISCARD && !v->len) {
        req_answer(r, BLKIF_OKAY);
    } else {
        r->off = v->off;
        r->len = v->len;
        narrow(r->seg, op->seg, r->nsegs);
        req_push(&s->ready, r);
    }
}

static void
admit(struct queue *q, uint32_t entry, const uint8_t raw[BLKIF_RAW_MAX])
{
    struct chan *c = q->chan;
    struct req *r = req_get(q, entry);
    struct blkif_op op;
    struct verdict v;

    blkif_decode(c->params.abi, raw, &op);
    validate_request(&op, &c->rules, &v);
    r->id = op.id;
    r->op = v.op;
    r->answer = v.answer;
    r->nsegs = op.nsegs;
    r->io.queue = (uint16_t)q->index;
    if (op.op == BLKIF_BARRIER)
        q->barrier = r;
    if (op.op == BLKIF_INDIRECT)
        c->stats.indirect++;
    route(r, &op, &v);
}

/* Requests that an earlier life of ours had consumed and not answered. */
static void
take_backlog(struct queue *q)
{
    while (q->backlog_at < q->backlog_n && !q->barrier &&
           q->chan->inflight < q->chan->depth) {
        uint32_t entry = q->backlog[q->backlog_at++];
        uint8_t raw[BLKIF_RAW_MAX];

        memcpy(raw, inflight_raw(&q->chan->table, entry), sizeof(raw));
        admit(q, entry, raw);
    }
}

/* Returns how many were left. */
static uint32_t
take_new(struct queue *q, uint32_t avail)
{
    for (int i = 0; i < SWEEP_BUDGET && avail && !queue_blocked(q); i++) {
        uint8_t raw[BLKIF_RAW_MAX] = { 0 };

        ring_take(&q->ring, raw);
        admit(q, inflight_note(&q->chan->table, q->index, raw), raw);
        avail--;
    }
    return avail;
}

static void
block(struct queue *q)
{
    q->state = Q_BLOCKED;
    q->chan->stats.stalls++;
}

/* An event costs the front-end nothing, and us a turn.  One after a request is
 * nobody's fault: the request was seen before its event came. */
static void
note_event(struct queue *q, uint32_t avail)
{
    if (avail) {
        q->rude = false;
    } else if (q->fresh) {
        q->chan->stats.spurious++;
        if (q->rude)
            throttle_charge(q->chan, CHARGE_EVENT_NS);
        q->rude = true;
    }
    q->fresh = false;
}

void
queue_take(struct queue *q)
{
    struct chan *c = q->chan;
    uint32_t avail;
    char why[160];

    if (c->broken)
        return;
    if (c->pass != c->sweep->pass) {
        c->pass = c->sweep->pass;
        c->stats.sweeps++;
    }
    take_backlog(q);
    if (ring_look(&q->ring, &avail, why, sizeof(why))) {
        chan_break(c, why);
        return;
    }
    note_event(q, avail);
    if (q->backlog_at < q->backlog_n || queue_blocked(q)) {
        block(q);
        return;
    }
    if (!take_new(q, avail))
        sweep_check(q);
    else if (queue_blocked(q))
        block(q);
    else
        sweep_later(q);
}

void
queue_check(struct queue *q)
{
    uint32_t avail;
    char why[160];

    if (q->chan->broken)
        return;
    if (SEEDED_MISSED_FINAL_CHECK)
        sweep_unmask(q);
    else if (ring_final(&q->ring, &avail, why, sizeof(why)))
        chan_break(q->chan, why);
    else if (avail)
        sweep_later(q);
    else if (q->chan->shut)
        block(q);
    else
        sweep_unmask(q);
}

static void
count(const struct req *r)
{
    struct chan_stats *s = &r->queue->chan->stats;
    static const uint8_t of[] = { [BLKIF_READ] = BLK_READ,
                                  [BLKIF_WRITE] = BLK_WRITE,
                                  [BLKIF_BARRIER] = BLK_WRITE,
                                  [BLKIF_FLUSH] = BLK_FLUSH,
                                  [BLKIF_DISCARD] = BLK_DISCARD };

    if (!r->given)
        return;
    s->requests[of[r->op]]++;
    s->segments += r->nsegs;
    if (r->status == BLKIF_OKAY)
        s->bytes[of[r->op]] += r->len;
    else
        s->errors[of[r->op]]++;
}

void
queue_answer(struct req *r)
{
    struct queue *q = r->queue;

    inflight_answer(&q->chan->table, r->entry, q->ring.rsp);
    ring_respond(&q->ring, r->id, r->answer, r->status);
    if (SEEDED_DOUBLE_ANSWER && r->op == BLKIF_FLUSH)
        ring_respond(&q->ring, r->id, r->answer, r->status);
}

void
queue_respond(struct req *r)
{
    struct queue *q = r->queue;

    count(r);
    req_unbuffer(r);
    if (!SEEDED_ACK_BEFORE_WRITE || r->op != BLKIF_WRITE || !r->given)
        queue_answer(r);
    req_push(&q->answered, r);
    sweep_dirty(q);
}

void
queue_publish(struct queue *q)
{
    struct chan *c = q->chan;
    struct req *r;

    q->dirty = false;
    if (ring_publish(&q->ring)) {
        c->sweep->tap->ops->notify(c->sweep->tap, q->port);
        c->stats.notifies++;
    }
    while ((r = req_pop(&q->answered))) {
        if (!SEEDED_LEAKED_ENTRY || r->op != BLKIF_WRITE)
            inflight_drop(&c->table, r->entry);
        if (q->barrier == r)
            q->barrier = NULL;
        req_put(r);
    }
    if (q->held && q->live == 1) {
        q->held = false;
        req_push(&c->sweep->give, q->barrier);
    }
    chan_ended(c);
}
