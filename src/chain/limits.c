/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * limits.c: what a layer offers is what the layer below offers, edited by the
 * layer, and never an operation that the layer does not name.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    LIMIT_LEN = 16 << 20, /* of a tail that says nothing */
    LIMIT_SEGS = 1024     /* as readv(2) takes */
};
static const uint64_t limit_discard = (uint64_t)2 << 30;

#define MODIFYING \
    (BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_DISCARD) | BLK_BIT(BLK_ZERO))

bool
op_modifies(unsigned op)
{
    return (BLK_BIT(op) & MODIFYING) != 0;
}

/* What a tail starts from: all that it names, and the careful assumption that
 * writes may be lost until they are flushed. */
void
limits_default(const struct chain *c, struct blk_limits *lim)
{
    *lim = (struct blk_limits){
        .ops = BLK_ALL_OPS,
        .align = 512,
        .block = 4096,
        .max_len = LIMIT_LEN,
        .max_segs = LIMIT_SEGS,
        .mem_align = 1,
        .max_discard = limit_discard,
        .readonly = c->readonly,
        .volatile_cache = true,
    };
}

static bool
power_of_two(uint64_t x)
{
    return x && !(x & (x - 1));
}

/* A layer can pass on what an image or a server says: so nonsense is an error
 * with a sentence, and no assertion. */
static int
limits_sane(const struct blk_layer *l, char *why, size_t n)
{
    const struct blk_limits *o = &l->offers;
    const char *wrong = NULL;
    uint64_t found = 0;

    if (!power_of_two(o->align) || o->align < 512) {
        wrong = "align, a power of two, 512 or more";
        found = o->align;
    } else if (!power_of_two(o->mem_align) || o->mem_align > BLK_MEM_ALIGN) {
        wrong = "mem_align, a power of two, 4096 at most";
        found = o->mem_align;
    } else if (o->max_len < o->align) {
        wrong = "max_len, at least align";
        found = o->max_len;
    } else if (!o->max_segs) {
        wrong = "max_segs, at least 1";
    }
    if (!wrong)
        return 0;
    snprintf(why, n, "%s: expected in its limits %s, found %llu", l->name,
             wrong, (unsigned long long)found);
    return -EINVAL;
}

/* A layer that has no submit() can't do what the layers below can't. */
static void
limits_clamp(struct blk_limits *o, const struct blk_limits *below)
{
    o->size = o->size < below->size ? o->size : below->size;
    o->ops &= below->ops;
    o->align = o->align > below->align ? o->align : below->align;
    o->max_len = o->max_len < below->max_len ? o->max_len : below->max_len;
    o->max_segs = o->max_segs < below->max_segs ? o->max_segs : below->max_segs;
    o->mem_align =
        o->mem_align > below->mem_align ? o->mem_align : below->mem_align;
    if (o->max_discard > below->max_discard)
        o->max_discard = below->max_discard;
    o->readonly |= below->readonly;
    o->volatile_cache = below->volatile_cache;
    o->fua = below->fua;
}

static void
limits_round(struct blk_limits *o)
{
    const uint32_t mask = o->align - 1;

    o->size &= ~(uint64_t)mask;
    o->max_len &= ~mask;
    if (o->block < o->align)
        o->block = o->align;
    if (!o->discard_align)
        o->discard_align = o->block;
    o->discard_align = (o->discard_align + mask) & ~mask;
    if (!o->max_discard || o->max_discard > UINT32_MAX)
        o->max_discard = UINT32_MAX;
    o->max_discard &= ~(uint64_t)mask;
    if (!o->max_discard)
        o->max_discard = o->align;
    if (o->readonly)
        o->ops &= ~MODIFYING;
}

/* Asks the layer what it offers, above what is offered below it. */
int
limits_layer(struct blk_layer *l, const struct blk_limits *below, char *why,
             size_t n)
{
    struct blk_limits saved = *below;
    int error;

    l->below = *below;
    l->offers = *below;
    if (l->plugin->limits)
        l->plugin->limits(l, &l->offers);
    l->offers.ops &= l->plugin->ops;
    l->offers.readonly |= l->chain->readonly;
    error = limits_sane(l, why, n);
    if (!error && below->fleeting && !l->offers.fleeting) {
        snprintf(why, n,
                 "%s: expected below it data that stay, as its own do, found a "
                 "layer whose data go with the attachment",
                 l->name);
        error = -EINVAL;
    }
    if (error)
        return error;
    if (!l->plugin->submit)
        limits_clamp(&l->offers, &saved);
    limits_round(&l->offers);
    return 0;
}

static uint64_t
limits_longest(const struct blk_limits *lim, unsigned op)
{
    return op == BLK_READ || op == BLK_WRITE ? lim->max_len : lim->max_discard;
}

/* Whether the layers that offer lim may be handed r.  Scatter lists are not
 * walked here: their number and alignment is checked at the head. */
int
limits_allow(const struct blk_limits *lim, const struct blk_req *r)
{
    const uint32_t mask = lim->align - 1;

    if (r->op >= BLK_OPS)
        return -EOPNOTSUPP;
    if (op_modifies(r->op) && lim->readonly)
        return -EROFS;
    if (!(lim->ops & BLK_BIT(r->op)))
        return -EOPNOTSUPP;
    if (r->op == BLK_FLUSH)
        return 0;
    if ((r->flags & BLK_FUA) && op_modifies(r->op) && !lim->fua &&
        lim->volatile_cache && !(lim->ops & BLK_BIT(BLK_FLUSH)))
        return -EOPNOTSUPP;
    if (r->len > lim->size || r->off > lim->size - r->len)
        return -EINVAL;
    if ((r->off | r->len) & mask)
        return -EINVAL;
    return r->len <= limits_longest(lim, r->op) ? 0 : -EINVAL;
}

bool
limits_equal(const struct blk_limits *a, const struct blk_limits *b)
{
    return a->size == b->size && a->ops == b->ops && a->align == b->align &&
           a->block == b->block && a->max_len == b->max_len &&
           a->max_segs == b->max_segs && a->mem_align == b->mem_align &&
           a->discard_align == b->discard_align &&
           a->max_discard == b->max_discard && a->readonly == b->readonly &&
           a->volatile_cache == b->volatile_cache && a->fua == b->fua &&
           a->fleeting == b->fleeting;
}
