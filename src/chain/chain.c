/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain.c: a chain as its owner sees it: made, given memory, asked, freed.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECES_MIN = 16, /* of the head, at a time */
    PIECES_MAX = 256
};

static void
chain_memory_free(struct chain *c)
{
    pool_free(&c->guest);
    pool_free(&c->map);
    free(c->attachment);
    free(c->disk);
    free(c);
}

static struct chain *
chain_alloc(const struct chain_spec *spec)
{
    struct chain *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->disk = strdup(spec->disk);
    if (spec->attachment)
        c->attachment = strdup(spec->attachment);
    if (c->disk && !c->attachment == !spec->attachment &&
        !pool_init(&c->map, NULL, 1))
        return c;
    chain_memory_free(c);
    return NULL;
}

int
chain_new(struct chain **out, struct loop *loop, const struct chain_spec *spec,
          const struct chain_events *events, void *ctx, char *why, size_t n)
{
    struct chain *c;
    struct stack *s;
    int error = chain_check(spec, why, n);

    *out = NULL;
    if (error)
        return error;
    c = chain_alloc(spec);
    if (!c) {
        snprintf(why, n, "out of memory");
        return -ENOMEM;
    }
    c->loop = loop;
    c->task.run = engine_run;
    c->events = events;
    c->ctx = ctx;
    c->resumed = spec->resumed;
    c->readonly = c->was_readonly = spec->readonly;
    c->op_tail = &c->op;
    list_init(&c->queue);
    list_init(&c->parked);
    error = stack_plan(c, spec, &s, why, n);
    if (error) {
        chain_memory_free(c);
        return error;
    }
    c->stack = c->live = s;
    *out = c;
    return 0;
}

void
chain_free(struct chain *c)
{
    if (!c)
        return;
    INVARIANT(c, c->state != CHAIN_STARTED && !c->op && !c->inflight);
    loop_undefer(c->loop, &c->task, STAGE_CHAIN);
    for (unsigned i = 0; i < c->stack->n; i++)
        layer_free(c->stack->layer[i]);
    stack_free(c->stack);
    chain_memory_free(c);
}

int
chain_reserve(struct chain *c, unsigned depth)
{
    struct blk_layer *head = c->stack->layer[0];
    struct pool guest, pieces, was_guest = c->guest, was_pieces = head->own;
    unsigned n = depth < PIECES_MIN   ? PIECES_MIN
                 : depth > PIECES_MAX ? PIECES_MAX
                                      : depth;

    INVARIANT(c, !c->guest.used && !head->own.used && !c->inflight);
    if (pool_init(&guest, NULL, depth))
        return -ENOMEM;
    if (pool_init(&pieces, head, n)) {
        pool_free(&guest);
        return -ENOMEM;
    }
    c->guest = guest;
    head->own = pieces;
    if (c->state == CHAIN_STARTED && stack_alloc_guest(c, c->stack)) {
        c->guest = was_guest;
        head->own = was_pieces;
        pool_free(&guest);
        pool_free(&pieces);
        return -ENOMEM;
    }
    if (c->state == CHAIN_STARTED)
        stack_place_guest(c, c->stack);
    pool_free(&was_guest);
    pool_free(&was_pieces);
    return 0;
}

/* ---- what a chain is ----------------------------------------------------- */

const struct blk_limits *
chain_limits(const struct chain *c)
{
    return &c->stack->layer[0]->below;
}

unsigned
chain_layers(const struct chain *c)
{
    return c->stack->n - 1;
}

const char *
chain_layer_name(const struct chain *c, unsigned i)
{
    return i + 1 < c->stack->n ? conf_name(c->stack->layer[i + 1]->conf) : NULL;
}

const struct chain_holds *
chain_holds(const struct chain *c)
{
    return &c->holds;
}

bool
chain_transparent(const struct chain *c)
{
    for (unsigned i = 1; i < c->stack->n; i++) {
        const struct blk_plugin *p = c->stack->layer[i]->plugin;

        if (!p->transparent && c->stack->n - 1 != i)
            return false;
    }
    return true;
}

struct blk_lender *
chain_lender(const struct chain *c)
{
    return c->open ? c->lender : NULL;
}

/* ---- what a layer may ask ------------------------------------------------ */

void *
blk_self(struct blk_layer *l)
{
    return l->self;
}

const char *
blk_name(struct blk_layer *l)
{
    return l->name;
}

const char *
blk_disk_name(struct blk_layer *l)
{
    return l->chain->disk;
}

const struct blk_limits *
blk_below(struct blk_layer *l)
{
    return &l->below;
}

bool
blk_last(struct blk_layer *l)
{
    return l->index + 1 == l->chain->live->n;
}

bool
blk_readonly(struct blk_layer *l)
{
    return l->chain->readonly;
}
