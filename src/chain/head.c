/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * head.c: where a guest's requests enter.
 *
 *            refused? --------------------------------> ends
 *                |
 *            blocked? -- waits for earlier overlapping ones
 *                |
 *            whole? ----> down as it is --------------> ends
 *                |
 *            pieces, each long as the layers take it,
 *            those that don't fit through a bounce
 *            buffer; all back? -> FLUSH if FUA -------> ends
 *
 * A repair reads a block, changes a part of it and writes it back: so it must
 * not run beside another request that modifies the block.  Order is that of
 * arrival: a request waits for every earlier one that it overlaps, when either
 * is a repair.
 */
#include "config.h"
#include "chain/head.h"

#include <errno.h>
#include <string.h>

/* ---- what is under way --------------------------------------------------- */

static void
track(struct head *h, struct head_req *hr, const struct blk_limits *lim)
{
    const uint64_t mask = lim->align - 1;

    hr->from = hr->off & ~mask;
    hr->to = (hr->off + hr->len + mask) & ~mask;
    hr->tracked = true;
    hr->prev = h->last;
    hr->next = NULL;
    *(h->last ? &h->last->next : &h->first) = hr;
    h->last = hr;
    h->repairs += hr->repair;
}

static bool
must_wait(const struct head *h, const struct head_req *hr)
{
    if (!h->repairs)
        return false;
    for (const struct head_req *e = hr->prev; e; e = e->prev) {
        if ((hr->repair || e->repair) && e->from < hr->to && hr->from < e->to)
            return true;
    }
    return false;
}

static void head_go(struct blk_layer *, struct blk_req *);

/* Whoever waited for hr, directly or not, comes after it in the list. */
static void
untrack(struct blk_layer *l, struct head_req *hr)
{
    struct head *h = l->self;
    struct head_req *next = hr->next;

    if (!hr->tracked)
        return;
    hr->tracked = false;
    *(hr->prev ? &hr->prev->next : &h->first) = hr->next;
    *(hr->next ? &hr->next->prev : &h->last) = hr->prev;
    h->repairs -= hr->repair;
    for (; next && h->blocked; next = next->next) {
        if (!next->blocked || must_wait(h, next))
            continue;
        next->blocked = false;
        h->blocked--;
        head_go(l, next->req);
    }
}

/* ---- a request's way ----------------------------------------------------- */

static void
head_end(struct blk_layer *l, struct blk_req *r, int error)
{
    struct head_req *hr = head_req(r);

    r->op = hr->op;
    r->flags = hr->flags;
    r->len = hr->len;
    r->off = hr->off;
    untrack(l, hr);
    blk_end(l, r, error);
}

/* Every piece is back.  FUA of the pieces that could not be honoured is one
 * flush after all of them. */
static void
head_finish(struct blk_layer *l, struct blk_req *r)
{
    struct head_req *hr = head_req(r);

    if (hr->error || hr->flushing || !(hr->flags & BLK_FUA) || l->below.fua ||
        !l->below.volatile_cache || !op_modifies(hr->op)) {
        head_end(l, r, hr->error);
        return;
    }
    hr->flushing = true;
    r->op = BLK_FLUSH;
    r->flags = 0;
    r->off = 0;
    r->len = 0;
    blk_down(l, r);
}

/* Makes pieces until there is nothing left to make them of, or with. */
static void
head_pieces(struct blk_layer *l, struct blk_req *r)
{
    struct head_req *hr = head_req(r);

    while (hr->at < hr->len && !hr->error) {
        if (!pieces_make(l, r)) {
            blk_wait(l, r);
            return;
        }
    }
    hr->at = hr->len;
    if (!hr->pieces)
        head_finish(l, r);
}

static void
head_go(struct blk_layer *l, struct blk_req *r)
{
    if (head_req(r)->whole)
        blk_down(l, r);
    else
        head_pieces(l, r);
}

static int
head_check(const struct blk_limits *lim, const struct blk_req *r)
{
    if (r->op >= BLK_OPS)
        return -EOPNOTSUPP;
    if (op_modifies(r->op) && lim->readonly)
        return -EROFS;
    if (r->op == BLK_FLUSH)
        return 0;
    if (!(lim->ops & BLK_BIT(r->op)))
        return -EOPNOTSUPP;
    if (r->len > lim->size || r->off > lim->size - r->len)
        return -EINVAL;
    if ((r->op == BLK_READ || r->op == BLK_WRITE) && !pieces_sg_covers(r))
        return -EINVAL;
    return 0;
}

static void
head_submit(struct blk_layer *l, struct blk_req *r)
{
    struct head *h = l->self;
    struct head_req *hr = head_req(r);
    int error;

    if (hr->begun) {
        head_pieces(l, r);
        return;
    }
    hr->begun = true;
    hr->req = r;
    hr->op = r->op;
    hr->flags = r->flags;
    hr->len = r->len;
    hr->off = r->off;
    error = head_check(&l->below, r);
    if (error || (!r->len && r->op != BLK_FLUSH)) {
        blk_end(l, r, error);
        return;
    }
    hr->whole = r->op == BLK_FLUSH || pieces_whole(&l->below, r);
    hr->repair = !hr->whole && pieces_repair(&l->below, r);
    if (op_modifies(r->op)) {
        track(h, hr, &l->below);
        if (must_wait(h, hr)) {
            hr->blocked = true;
            h->blocked++;
            return;
        }
    }
    head_go(l, r);
}

static void
head_done(struct blk_layer *l, struct blk_req *r)
{
    struct blk_req *parent;
    struct head_req *hr;

    if (!r->mine) {
        head_end(l, r, r->error);
        return;
    }
    if (!pieces_done(l, r))
        return;
    parent = r->parent;
    hr = head_req(parent);
    if (!hr->error)
        hr->error = r->error;
    hr->pieces--;
    blk_end(l, r, 0);
    if (!hr->pieces && hr->at == hr->len)
        head_finish(l, parent);
}

/* ---- as a layer ---------------------------------------------------------- */

int
head_prepare(struct blk_layer *l, const struct blk_limits *lim)
{
    return bounces_prepare(l->self, lim);
}

void
head_free(struct blk_layer *l)
{
    if (l->self)
        bounces_free(l->self);
}

const struct blk_plugin head_plugin = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct head),
    .req_size = sizeof(struct head_req),
    .ops = BLK_ALL_OPS,
    .name = "head",
    .help = "what a guest asks for, as the layers accept it",
    .submit = head_submit,
    .done = head_done,
};
