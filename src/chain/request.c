/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * request.c: how a request goes down and comes up, splits, and is made.
 *
 * Going down, each layer that works gets its slot filled: what came in (for
 * the statistics), and what it sent down (restored before its done()).  A
 * layer without done() that works is passed on the way up.  Layers that do
 * not work are not even looked at.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- pools and slots ----------------------------------------------------- */

int
pool_init(struct pool *p, struct blk_layer *owner, unsigned n)
{
    struct node *node = n ? calloc(n, sizeof(*node)) : NULL;

    if (n && !node)
        return -ENOMEM;
    p->node = node;
    p->free = NULL;
    p->n = n;
    p->used = 0;
    for (unsigned i = n; i-- > 0;) {
        node[i].owner = owner;
        node[i].next = p->free;
        p->free = &node[i];
    }
    return 0;
}

void
pool_free(struct pool *p)
{
    free(p->node);
    p->node = p->free = NULL;
    p->n = p->used = 0;
}

struct node *
pool_get(struct pool *p)
{
    struct node *nd = p->free;

    if (!nd)
        return NULL;
    p->free = nd->next;
    p->used++;
    nd->next = NULL;
    nd->parent = NULL;
    nd->children = 0;
    nd->result = 0;
    memset(&nd->req, 0, sizeof(nd->req));
    return nd;
}

void
pool_put(struct pool *p, struct node *nd)
{
    nd->state = NODE_FREE;
    nd->at = NULL;
    nd->next = p->free;
    p->free = nd;
    p->used--;
}

struct slot *
slot_of(const struct node *nd, const struct blk_layer *l)
{
    return (struct slot *)(void *)(nd->slots + (l->slot_at - nd->slots_at));
}

void *
slot_scratch(const struct node *nd, const struct blk_layer *l)
{
    return slot_of(nd, l) + 1;
}

/* ---- handing over -------------------------------------------------------- */

/* A request comes into a layer from above. */
void
request_enter(struct node *nd, struct blk_layer *l)
{
    const struct blk_req *r = &nd->req.req;
    struct slot *s = slot_of(nd, l);

    s->in_op = r->op;
    s->in_len = r->len;
    s->in_ns = engine_now(l->chain);
    s->fua = SLOT_PLAIN;
    if (l->plugin->req_size)
        memset(s + 1, 0, l->plugin->req_size);
}

static void
request_save(struct node *nd, struct blk_layer *l)
{
    const struct blk_req *r = &nd->req.req;
    struct slot *s = slot_of(nd, l);

    s->op = r->op;
    s->flags = r->flags;
    s->len = r->len;
    s->off = r->off;
    s->sg = r->sg;
}

void
request_restore(struct node *nd, struct blk_layer *l)
{
    struct blk_req *r = &nd->req.req;
    const struct slot *s = slot_of(nd, l);

    r->op = s->op;
    r->flags = s->flags;
    r->len = s->len;
    r->off = s->off;
    r->sg = s->sg;
}

/* The layer's turn begins: what it sees besides the fields. */
void
request_hand(struct node *nd, struct blk_layer *l)
{
    struct blk_req *r = &nd->req.req;

    r->mine = nd->owner == l;
    r->parent = r->mine && nd->parent ? &nd->parent->req.req : NULL;
    r->scratch = slot_scratch(nd, l);
    r->error = 0;
    nd->at = l;
    nd->state = NODE_HELD;
}

/* ---- down ---------------------------------------------------------------- */

/* To the next layer that has submit(), past those that only watch. */
static void
request_sink(struct node *nd, struct blk_layer *from)
{
    struct blk_layer *l = from->down;

    for (;; l = l->down) {
        INVARIANT(from->chain, l != NULL);
        request_enter(nd, l);
        if (l->plugin->submit)
            break;
        request_save(nd, l);
    }
    engine_queue(from->chain, nd, l, NODE_SUBMIT);
}

static void
request_flush_after(struct node *nd, struct blk_layer *l)
{
    struct blk_req *r = &nd->req.req;

    slot_of(nd, l)->fua = SLOT_FUA_FLUSH;
    r->op = BLK_FLUSH;
    r->flags = 0;
    r->off = 0;
    r->len = 0;
    memset(&r->sg, 0, sizeof(r->sg));
    request_sink(nd, l);
}

/* On its way up, l is the first that may want to see it. */
static void
request_rise(struct node *nd, struct blk_layer *l, int error)
{
    struct chain *c = l->chain;

    for (; l; l = l->up) {
        struct slot *s = slot_of(nd, l);

        if (s->fua == SLOT_FUA_WRITE && !error) {
            request_flush_after(nd, l);
            return;
        }
        s->fua = SLOT_PLAIN;
        nd->result = error;
        if (l->plugin->done) {
            request_restore(nd, l);
            engine_queue(c, nd, l, NODE_DONE);
            return;
        }
        if (nd->owner == l) {
            nd->at = l;
            nd->state = NODE_HELD;
            blk_end(l, &nd->req.req, error);
            return;
        }
        stats_leave(l, s, error);
    }
    INVARIANT(c, !nd->owner);
    engine_queue(c, nd, NULL, NODE_OVER);
}

/* FUA that is not honoured below is taken off; a FLUSH follows where writes
 * may be lost. */
static void
request_strip_fua(struct node *nd, struct blk_layer *l)
{
    struct blk_req *r = &nd->req.req;

    r->flags &= (uint8_t)~BLK_FUA;
    if (op_modifies(r->op) && l->below.volatile_cache)
        slot_of(nd, l)->fua = SLOT_FUA_WRITE;
}

void
blk_down(struct blk_layer *l, struct blk_req *r)
{
    struct node *nd = (struct node *)r;
    int error;

    CONTRACT(l, nd->state == NODE_HELD && nd->at == l);
    CONTRACT(l, !nd->children);
    if (is_map(l->chain, nd)) {
        map_down(l, nd);
        return;
    }
    nd->result = 0;
    request_save(nd, l);
    if (r->op == BLK_FLUSH && !l->below.volatile_cache) {
        request_rise(nd, l, 0);
        return;
    }
    error = limits_allow(&l->below, r);
    if (error) {
        request_rise(nd, l, error);
        return;
    }
    if ((r->flags & BLK_FUA) && !l->below.fua)
        request_strip_fua(nd, l);
    request_sink(nd, l);
}

/* ---- up ------------------------------------------------------------------ */

/* One of the layer's own is over; returns its parent when that is now over
 * too. */
static struct node *
request_release(struct blk_layer *l, struct node *nd)
{
    struct node *parent = nd->parent;
    int result = nd->result;

    pool_put(&l->own, nd);
    if (l->chain->starting)
        engine_poke(l->chain); /* the step may wait for this */
    if (!parent)
        return NULL;
    CONTRACT(l, parent->children > 0);
    if (!parent->result)
        parent->result = result;
    parent->children--;
    return parent->state == NODE_ENDED && !parent->children ? parent : NULL;
}

void
blk_end(struct blk_layer *l, struct blk_req *r, int error)
{
    struct node *nd = (struct node *)r;

    CONTRACT(l, nd->state == NODE_HELD && nd->at == l);
    CONTRACT(l, error <= 0);
    if (!nd->result)
        nd->result = error;
    if (nd->children) {
        nd->state = NODE_ENDED;
        return;
    }
    engine_wake(l);
    if (is_map(l->chain, nd)) {
        map_up(l, nd);
        return;
    }
    while (nd && nd->owner == l)
        nd = request_release(l, nd);
    if (!nd)
        return;
    if (!l->up) {
        engine_queue(l->chain, nd, NULL, NODE_OVER);
        return;
    }
    stats_leave(l, slot_of(nd, l), nd->result);
    request_rise(nd, l->up, nd->result);
}

/* ---- own requests -------------------------------------------------------- */

/* While a layer starts, those below it that do not run serve it. */
static bool
serves_start(const struct blk_layer *l)
{
    const struct stack *s = l->chain->live;
    const struct blk_layer *top = l->chain->starting;

    return top && !top->ready && top->own.used && l->index > top->index &&
           l->index < s->n && s->layer[l->index] == l;
}

static struct node *
request_own(struct blk_layer *l)
{
    struct node *nd;

    if (l->state != LAYER_RUNS && l->step != STEP_RESUME &&
        !(l->step == STEP_START && !l->ready) && !serves_start(l))
        return NULL;
    nd = pool_get(&l->own);
    if (!nd)
        return NULL;
    request_enter(nd, l);
    return nd;
}

/* The slice of a scatter list that begins at byte `at` and covers len. */
static struct blk_sg
sg_slice(const struct blk_sg *sg, uint32_t at, uint32_t len)
{
    struct blk_sg s = { .v = sg->v, .n = 0, .skip = 0 };
    uint64_t begin = (uint64_t)sg->skip + at, end;
    uint32_t i = 0;

    while (i < sg->n && begin >= sg->v[i].iov_len)
        begin -= sg->v[i++].iov_len;
    s.v = sg->v + i;
    s.skip = (uint32_t)begin;
    end = begin + len;
    for (; i < sg->n && end > 0; i++, s.n++)
        end -= end < sg->v[i].iov_len ? end : sg->v[i].iov_len;
    return s;
}

struct blk_req *
blk_split(struct blk_layer *l, struct blk_req *r, uint32_t at, uint32_t len)
{
    struct node *parent = (struct node *)r, *nd;
    struct blk_req *child;

    CONTRACT(l, parent->state == NODE_HELD && parent->at == l);
    CONTRACT(l, at <= r->len && len <= r->len - at);
    CONTRACT(l, !is_map(l->chain, parent));
    nd = request_own(l);
    if (!nd)
        return NULL;
    child = &nd->req.req;
    child->op = r->op;
    child->flags = r->flags;
    child->off = r->off + at;
    child->len = len;
    if (r->op == BLK_READ || r->op == BLK_WRITE)
        child->sg = sg_slice(&r->sg, at, len);
    nd->parent = parent;
    parent->children++;
    request_hand(nd, l);
    return child;
}

struct blk_req *
blk_new(struct blk_layer *l, int op, uint64_t off, uint32_t len,
        struct blk_sg sg)
{
    struct node *nd = request_own(l);
    struct blk_req *r;

    CONTRACT(l, op >= 0 && op < BLK_OPS);
    if (!nd)
        return NULL;
    r = &nd->req.req;
    r->op = (uint8_t)op;
    r->off = off;
    r->len = len;
    r->sg = sg;
    request_hand(nd, l);
    return r;
}
