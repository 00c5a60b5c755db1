/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * map.c: where the layers have data.
 *
 *      chain_map()
 *          |           past layers that are transparent, to the first that has
 *          v           map(); it tells what it knows, and may hand the rest to
 *      [a|b|tail]      those below it.  Nothing comes up again but its end.
 *
 * It is a request as the guest's are, so it waits at the head and a pause waits
 * for it; but nothing counts it, and no done() sees it.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>

/* Of one request, whose length has 32 bits. */
enum { MAP_MOST = 1 << 30 };

static struct chain_map *
map_of(const struct node *nd)
{
    return nd->req.owner;
}

/* To the next layer below `from' that tells anything; or there is none. */
static void
map_sink(struct chain *c, struct node *nd, const struct blk_layer *from)
{
    for (unsigned i = from->index + 1; i < c->stack->n; i++) {
        struct blk_layer *l = c->stack->layer[i];

        if (l->plugin->map) {
            request_enter(nd, l);
            engine_queue(c, nd, l, NODE_SUBMIT);
            return;
        }
        if (!l->plugin->transparent)
            break;
    }
    engine_queue(c, nd, NULL, NODE_OVER);
}

/* Where limits say that it may be, which they may have done only just now. */
void
map_enter(struct chain *c, struct node *nd)
{
    const struct blk_limits *lim = chain_limits(c);
    const uint64_t mask = lim->align - 1;
    struct chain_map *m = map_of(nd);
    struct blk_req *r = &nd->req.req;
    uint64_t len = m->len < MAP_MOST ? m->len : MAP_MOST;

    m->skip_ = m->off & mask;
    m->known = m->enough_ = false;
    m->left_ = 0;
    if (m->off >= lim->size || !len) {
        nd->result = -EINVAL;
        engine_queue(c, nd, NULL, NODE_OVER);
        return;
    }
    r->off = m->off - m->skip_;
    len = (len + m->skip_ + mask) & ~mask;
    r->len = (uint32_t)(len < lim->size - r->off ? len : lim->size - r->off);
    m->left_ = r->len;
    map_sink(c, nd, c->stack->layer[0]);
}

/* What the layer has made of it must be what those below accept; where it is
 * not, nobody knows. */
void
map_down(struct blk_layer *l, struct node *nd)
{
    const struct blk_limits *lim = &l->below;
    struct chain_map *m = map_of(nd);
    const struct blk_req *r = &nd->req.req;

    CONTRACT(l, r->op == BLK_MAP && r->len);
    if (m->left_ > r->len)
        m->left_ = r->len;
    if (!m->left_ || m->enough_ || ((r->off | r->len) & (lim->align - 1)) ||
        r->len > lim->size || r->off > lim->size - r->len)
        engine_queue(l->chain, nd, NULL, NODE_OVER);
    else
        map_sink(l->chain, nd, l);
}

void
map_up(struct blk_layer *l, struct node *nd)
{
    engine_queue(l->chain, nd, NULL, NODE_OVER);
}

/* ---- what is told -------------------------------------------------------- */

static void
tell(struct chain_map *m, uint64_t len, enum blk_extent kind)
{
    if (len > m->left_)
        len = m->left_;
    m->left_ -= (uint32_t)len;
    if (m->skip_ >= len) {
        m->skip_ -= len;
        return;
    }
    len -= m->skip_;
    m->skip_ = 0;
    if (len > m->len)
        len = m->len;
    m->off += len;
    m->len -= len;
    m->enough_ = !m->extent(m, len, kind) || !m->len;
}

bool
blk_map(struct blk_layer *l, struct blk_req *r, uint64_t len,
        enum blk_extent kind)
{
    struct node *nd = (struct node *)r;
    struct chain_map *m = map_of(nd);

    CONTRACT(l, is_map(l->chain, nd) && nd->state == NODE_HELD && nd->at == l);
    if (len && m->left_ && !m->enough_) {
        uint64_t was = m->off;

        tell(m, len, kind);
        m->known |= m->off != was; /* not of the bytes before off alone */
    }
    return m->left_ && !m->enough_;
}

/* What nobody knows is data.  Where something is known, the rest is asked for
 * anew: only what this leaves of it is not known. */
static void
map_over(struct chain_req *req, int error)
{
    struct chain_map *m = req->owner;
    struct chain *c = m->chain_;

    if (!error && !m->known)
        tell(m, m->left_, BLK_DATA);
    pool_put(&c->map, (struct node *)req);
    m->done(m, error);
}

void
chain_map(struct chain *c, struct chain_map *m)
{
    struct node *nd = pool_get(&c->map);

    INVARIANT(c, nd);
    m->chain_ = c;
    nd->state = NODE_OWNED;
    nd->req.req.op = BLK_MAP;
    nd->req.owner = m;
    nd->req.done = map_over;
    chain_submit(c, &nd->req);
}
