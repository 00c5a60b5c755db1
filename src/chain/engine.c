/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine.c: the queue.  One turn takes one node and calls one function of one
 * plugin; blk_ calls only queue.  When the queue has run dry, layers that were
 * handed something are kicked, from the head down: what a kick sends down is
 * worked off before the next layer is kicked, so that each layer is kicked
 * once per batch.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Turns until the loop gets a chance to look at the world again: a layer with
 * own requests over a tail that never waits would otherwise run for ever. */
enum { TURNS_PER_ROUND = 8192 };

void
list_init(struct node_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

void
list_push(struct node_list *list, struct node *nd)
{
    nd->next = NULL;
    *list->tail = nd;
    list->tail = &nd->next;
}

struct node *
list_pop(struct node_list *list)
{
    struct node *nd = list->head;

    if (!nd)
        return NULL;
    list->head = nd->next;
    if (!list->head)
        list->tail = &list->head;
    nd->next = NULL;
    return nd;
}

static void
list_unpop(struct node_list *list, struct node *nd)
{
    nd->next = list->head;
    if (!list->head)
        list->tail = &nd->next;
    list->head = nd;
}

/* A plugin broke the contract, or we did: nothing can be trusted any more. */
void
engine_broken(const char *who, const char *what, const char *file, int line)
{
    log_line(BLK_ERR, NULL, "%s: %s:%d: not so: %s", who, file, line, what);
    log_close(); /* else the line would die with us */
    abort();
}

/* The clock is read once per batch: by the task, or by the first of those
 * that come in between, from timers, I/O or the guest. */
uint64_t
engine_now(struct chain *c)
{
    if (!c->timely) {
        c->timely = true;
        c->now_ns = c->loop->ops->now(c->loop);
    }
    return c->now_ns;
}

void
engine_poke(struct chain *c)
{
    loop_defer(c->loop, &c->task, STAGE_CHAIN);
}

void
engine_queue(struct chain *c, struct node *nd, struct blk_layer *at,
             enum node_state state)
{
    nd->at = at;
    nd->state = state;
    list_push(&c->queue, nd);
    engine_poke(c);
}

/* Something that requests may be waiting for came free in this layer. */
void
engine_wake(struct blk_layer *l)
{
    if (!l->waiting.head || l->woken)
        return;
    l->woken = true;
    l->chain->woken++;
    engine_poke(l->chain);
}

static void
call_submit(struct blk_layer *l, struct node *nd)
{
    request_hand(nd, l);
    if (is_map(l->chain, nd))
        l->plugin->map(l, &nd->req.req);
    else
        l->plugin->submit(l, &nd->req.req);
}

static void
mark_kick(struct chain *c, struct blk_layer *l)
{
    if (!l->plugin->kick || l->kick)
        return;
    l->kick = true;
    c->kicks++;
}

/* A request that arrives where others wait lines up behind them: else a
 * stream of small ones would starve a large one. */
static void
turn_submit(struct chain *c, struct blk_layer *l, struct node *nd)
{
    if (l->waiting.head) {
        nd->state = NODE_WAIT;
        list_push(&l->waiting, nd);
        return;
    }
    mark_kick(c, l);
    call_submit(l, nd);
}

static void
turn_done(struct chain *c, struct blk_layer *l, struct node *nd)
{
    request_hand(nd, l);
    nd->req.req.error = nd->result;
    nd->result = 0;
    mark_kick(c, l);
    l->plugin->done(l, &nd->req.req);
}

static void
turn_over(struct chain *c, struct node *nd)
{
    INVARIANT(c, c->inflight > 0);
    c->inflight--;
    nd->state = NODE_OWNED;
    nd->at = NULL;
    nd->req.done(&nd->req, nd->result);
}

static void
turn(struct chain *c, struct node *nd)
{
    switch (nd->state) {
    case NODE_SUBMIT:
        turn_submit(c, nd->at, nd);
        break;
    case NODE_DONE:
        turn_done(c, nd->at, nd);
        break;
    case NODE_OVER:
        turn_over(c, nd);
        break;
    default:
        INVARIANT(c, false && "a node in the queue has something to do");
    }
}

/* Tries the first of those that wait, and goes on while they get further: one
 * that waits again keeps its place, until something comes free again. */
static void
retry(struct chain *c, struct blk_layer *l)
{
    struct node *nd;

    l->woken = false;
    c->woken--;
    while ((nd = list_pop(&l->waiting))) {
        mark_kick(c, l);
        l->retried = nd;
        call_submit(l, nd);
        l->retried = NULL;
        if (nd->state == NODE_WAIT)
            return;
    }
}

void
blk_wait(struct blk_layer *l, struct blk_req *r)
{
    struct node *nd = (struct node *)r;

    CONTRACT(l, nd->state == NODE_HELD && nd->at == l);
    nd->state = NODE_WAIT;
    if (l->retried == nd)
        list_unpop(&l->waiting, nd);
    else
        list_push(&l->waiting, nd);
}

static void
retry_one_layer(struct chain *c)
{
    for (unsigned i = 0; i < c->live->n; i++) {
        if (c->live->layer[i]->woken) {
            retry(c, c->live->layer[i]);
            return;
        }
    }
    INVARIANT(c, false && "a layer that was woken is in the stack");
}

static void
kick_one_layer(struct chain *c)
{
    for (unsigned i = 0; i < c->live->n; i++) {
        struct blk_layer *l = c->live->layer[i];

        if (l->kick) {
            l->kick = false;
            c->kicks--;
            l->plugin->kick(l);
            return;
        }
    }
    INVARIANT(c, false && "a layer to kick is in the stack");
}

/* The first reason counts; the owner is told from the task. */
void
engine_fatal(struct chain *c, int error, const char *why)
{
    if (c->fatal)
        return;
    c->fatal = error ? error : -EIO;
    snprintf(c->fatal_why, sizeof(c->fatal_why), "%s", why);
    engine_poke(c);
}

static void
tell_fatal(struct chain *c)
{
    int error = c->fatal;

    c->fatal = 0;
    if (c->events && c->events->fatal)
        c->events->fatal(c->ctx, error, c->fatal_why);
}

/* The task of a chain.  lifecycle_run() is last and may free the chain. */
void
engine_run(struct loop_task *t)
{
    struct chain *c =
        (struct chain *)((char *)t - offsetof(struct chain, task));
    struct node *nd;

    c->now_ns = c->loop->ops->now(c->loop);
    c->timely = true;
    for (unsigned turns = 0; turns < TURNS_PER_ROUND; turns++) {
        if ((nd = list_pop(&c->queue)))
            turn(c, nd);
        else if (c->woken)
            retry_one_layer(c);
        else if (c->kicks)
            kick_one_layer(c);
        else
            break;
    }
    while (c->kicks)
        kick_one_layer(c);
    if (c->fatal)
        tell_fatal(c);
    c->timely = false;
    if (c->queue.head || c->woken) {
        loop_undefer(c->loop, &c->task, STAGE_CHAIN);
        loop_defer(c->loop, &c->task, STAGE_NEXT);
    }
    lifecycle_run(c);
}

/* ---- the head's door ----------------------------------------------------- */

void
chain_submit(struct chain *c, struct chain_req *req)
{
    struct node *nd = (struct node *)req;

    INVARIANT(c, nd->state == NODE_OWNED && !nd->owner && req->done);
    nd->result = 0;
    nd->children = 0;
    if (c->open && is_map(c, nd)) {
        c->inflight++;
        map_enter(c, nd);
    } else if (c->open) {
        c->inflight++;
        request_enter(nd, c->stack->layer[0]);
        engine_queue(c, nd, c->stack->layer[0], NODE_SUBMIT);
    } else if (c->state == CHAIN_STOPPED) {
        c->inflight++;
        nd->result = -ESHUTDOWN;
        engine_queue(c, nd, NULL, NODE_OVER);
    } else {
        nd->state = NODE_PARKED;
        list_push(&c->parked, nd);
    }
}

struct chain_req *
chain_get(struct chain *c)
{
    struct node *nd = pool_get(&c->guest);

    if (!nd)
        return NULL;
    nd->state = NODE_OWNED;
    return &nd->req;
}

void
chain_put(struct chain *c, struct chain_req *req)
{
    struct node *nd = (struct node *)req;

    INVARIANT(c, nd->state == NODE_OWNED && !nd->owner);
    pool_put(&c->guest, nd);
}
