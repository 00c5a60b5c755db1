/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * phases.c: what the life cycle of a chain is made of.  A phase that goes
 * through the layers keeps its place in c->cursor; a layer's step ends in
 * blk_ready().  DRAIN, PAUSE and the STOPs go from the head down, START,
 * LIMITS and RESUME from the tail up.
 */
#include "config.h"
#include "chain/lifecycle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- one step of one layer ----------------------------------------------- */

static void
step_call(struct blk_layer *l, enum layer_step step)
{
    const struct blk_plugin *p = l->plugin;
    void (*fn)(struct blk_layer *) = step == STEP_PAUSE    ? p->pause
                                     : step == STEP_RESUME ? p->resume
                                     : step == STEP_STOP   ? p->stop
                                                           : NULL;

    if (step == STEP_START)
        l->chain->starting = l;
    l->step = step;
    l->ready = false;
    l->why[0] = '\0';
    if (step == STEP_START && p->start)
        p->start(l, l->old);
    else if (fn)
        fn(l);
    else
        blk_ready(l, 0);
}

void
blk_ready(struct blk_layer *l, int error)
{
    CONTRACT(l, l->step != STEP_NONE && !l->ready && error <= 0);
    l->ready = true;
    l->ready_error = error;
    engine_poke(l->chain);
}

/* What became of a layer whose step is over; false: it failed. */
static bool
step_over(struct blk_layer *l)
{
    static const enum layer_state after[] = {
        [STEP_START] = LAYER_STARTED,
        [STEP_PAUSE] = LAYER_PAUSED,
        [STEP_RESUME] = LAYER_RUNS,
        [STEP_STOP] = LAYER_STOPPED,
    };
    enum layer_step step = l->step;
    int error = l->ready_error;

    l->step = STEP_NONE;
    if (step == STEP_START)
        l->chain->starting = NULL;
    if (step == STEP_PAUSE && !error)
        CONTRACT(l, !l->own.used);
    if (!error || step == STEP_RESUME || step == STEP_STOP)
        l->state = after[step];
    if (!error)
        return true;
    if (step == STEP_STOP)
        blk_log(l, BLK_WARN, "stop: %s", l->why[0] ? l->why : strerror(-error));
    else if (step == STEP_RESUME)
        blk_fatal(l, error, "can't resume: %s",
                  l->why[0] ? l->why : strerror(-error));
    if (step == STEP_STOP)
        return true;
    op_fail(l->chain, error, l->name, l->why);
    return false;
}

/* Those below a layer that started may still be busy with what they began for
 * its sake: places change only when they are not. */
static bool
start_is_quiet(const struct blk_layer *l)
{
    const struct stack *s = l->chain->live;

    CONTRACT(l, !l->own.used);
    for (unsigned i = l->index + 1; i < s->n; i++) {
        if (s->layer[i]->own.used)
            return false;
    }
    return true;
}

/* Brings l to the end of a step if it is in the state that the step is for. */
static enum went
step_layer(struct blk_layer *l, enum layer_step step, unsigned from)
{
    if (l->step == STEP_NONE) {
        if (!(from & (1u << l->state)))
            return WENT_ON;
        step_call(l, step);
    }
    if (!l->ready || (step == STEP_START && !start_is_quiet(l)))
        return MUST_WAIT;
    return step_over(l) ? WENT_ON : WENT_WRONG;
}

/* All layers of s, from the head down. */
static enum went
steps_down(struct chain *c, struct stack *s, enum layer_step step,
           unsigned from)
{
    for (; c->cursor < s->n; c->cursor++) {
        enum went went = step_layer(s->layer[c->cursor], step, from);

        if (went != WENT_ON)
            return went;
    }
    return WENT_ON;
}

/* ---- limits -------------------------------------------------------------- */

static int
limits_of(struct chain *c, struct stack *s, unsigned i)
{
    struct blk_limits lim;
    char why[200] = "";
    int error;

    if (i + 1 < s->n)
        lim = s->layer[i + 1]->offers;
    else
        limits_default(c, &lim);
    error = limits_layer(s->layer[i], &lim, why, sizeof(why));
    if (error)
        op_fail(c, error, NULL, why);
    return error;
}

/* The head is ready for what the top layer offers; the owner is told. */
static enum went
limits_take(struct chain *c, struct stack *s)
{
    struct blk_layer *head = s->layer[0];
    struct blk_limits before = head->below, now;
    int error;

    limits_default(c, &now);
    if (s->n > 1)
        now = s->layer[1]->offers;
    error = head_prepare(head, &now);
    if (error) {
        op_fail(c, error, head->name, "out of memory");
        return WENT_WRONG;
    }
    head->below = now;
    if (c->state == CHAIN_STARTED && !limits_equal(&before, &now) &&
        c->events && c->events->relimit)
        c->events->relimit(c->ctx, &head->below);
    return WENT_ON;
}

/* ---- phases -------------------------------------------------------------- */

static enum went
phase_drain(struct chain *c)
{
    if (c->open)
        c->closed_ns = c->loop->ops->now(c->loop);
    c->holds.now = true;
    c->open = false;
    for (unsigned i = 0; i < c->stack->n; i++) {
        struct blk_layer *l = c->stack->layer[i];

        if (l->state != LAYER_RUNS || !l->plugin->drain)
            continue;
        l->drained = true;
        l->plugin->drain(l);
    }
    return WENT_ON;
}

static void
drain_late(struct blk_timer *t)
{
    struct chain *c = t->data;

    c->drain_over = true;
    engine_poke(c);
}

static void
drain_watch(struct chain *c)
{
    if (c->draining || !c->drain_ns)
        return;
    c->draining = true;
    c->drain_over = false;
    c->drain.fire = drain_late;
    c->drain.data = c;
    c->loop->ops->timer_start(c->loop, &c->drain, c->drain_ns);
}

static enum went
phase_empty(struct chain *c)
{
    bool late = c->draining && c->drain_over;
    char why[160];

    if (c->inflight && !late) {
        drain_watch(c);
        return MUST_WAIT;
    }
    if (c->draining)
        c->loop->ops->timer_stop(c->loop, &c->drain);
    c->draining = false;
    if (!c->inflight)
        return WENT_ON;
    snprintf(why, sizeof(why),
             "expected the requests under way to end within %g s, found %u "
             "left",
             (double)c->drain_ns / 1e9, c->inflight);
    op_fail(c, -ETIMEDOUT, NULL, why);
    return WENT_WRONG;
}

static enum went
phase_pause(struct chain *c)
{
    return steps_down(c, c->stack, STEP_PAUSE, 1u << LAYER_RUNS);
}

/* A layer may make requests in its start(), while the guest's wait: its pool
 * and those of the layers below it need their place in the new stack. */
static enum went
phase_place(struct chain *c)
{
    int error = stack_alloc_own(c->next);

    if (error) {
        op_fail(c, error, c->disk, "out of memory");
        return WENT_WRONG;
    }
    stack_place(c, c->next);
    return WENT_ON;
}

/* Bottom up: start what is new, and ask each what it offers. */
static enum went
phase_start(struct chain *c)
{
    struct stack *s = c->next;

    for (; c->cursor < s->n - 1; c->cursor++) {
        unsigned i = s->n - 1 - c->cursor;
        struct blk_layer *l = s->layer[i];
        enum went went;

        if (l->step == STEP_NONE) {
            struct blk_limits below;

            limits_default(c, &below);
            l->below = i + 1 < s->n ? s->layer[i + 1]->offers : below;
        }
        went = step_layer(l, STEP_START, 1u << LAYER_NEW);
        if (went != WENT_ON)
            return went;
        if (limits_of(c, s, i))
            return WENT_WRONG;
    }
    if (s->layer[0]->state == LAYER_NEW)
        s->layer[0]->state = LAYER_STARTED;
    return WENT_ON;
}

/* Whether the owner can do with what the new layers offer. */
static int
limits_accepted(struct chain *c, const struct stack *s)
{
    char why[200] = "";
    int error;

    if (c->state != CHAIN_STARTED || !c->events || !c->events->accept)
        return 0;
    error = c->events->accept(c->ctx, &c->stack->layer[0]->below,
                              &s->layer[1]->offers, why, sizeof(why));
    if (error)
        op_fail(c, error, NULL, why);
    return error;
}

static enum went
phase_commit(struct chain *c)
{
    int error;

    if (limits_accepted(c, c->next))
        return WENT_WRONG;
    error = stack_alloc_guest(c, c->next);
    if (error) {
        op_fail(c, error, c->disk, "out of memory");
        return WENT_WRONG;
    }
    if (limits_take(c, c->next) != WENT_ON)
        return WENT_WRONG;
    c->old = c->stack == c->next ? NULL : c->stack;
    stack_place_guest(c, c->next);
    c->stack = c->next;
    c->next = NULL;
    c->state = CHAIN_STARTED;
    return WENT_ON;
}

static bool
stack_has(const struct stack *s, const struct blk_layer *l)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->layer[i] == l)
            return true;
    }
    return false;
}

static enum went
phase_stop_old(struct chain *c)
{
    struct stack *s = c->old;

    for (; c->cursor < s->n; c->cursor++) {
        struct blk_layer *l = s->layer[c->cursor];
        enum went went;

        if (stack_has(c->stack, l))
            continue;
        went = step_layer(l, STEP_STOP, ~0u);
        if (went == MUST_WAIT)
            return went;
        layer_free(l);
    }
    stack_free(s);
    c->old = NULL;
    for (unsigned i = 0; i < c->stack->n; i++)
        c->stack->layer[i]->old = NULL;
    return WENT_ON;
}

static enum went
phase_limits(struct chain *c)
{
    int error;

    c->relimit = false;
    for (unsigned i = c->stack->n - 1; i > 0; i--) {
        error = limits_of(c, c->stack, i);
        if (error) {
            engine_fatal(c, error, c->op->why);
            return WENT_WRONG;
        }
    }
    return limits_take(c, c->stack);
}

/* Unless somebody holds the chain.  What is new only now begins to run, as
 * those below it do. */
static enum went
phase_resume(struct chain *c)
{
    struct stack *s = c->stack;

    if (c->held)
        return WENT_ON;
    for (; c->cursor < s->n; c->cursor++) {
        struct blk_layer *l = s->layer[s->n - 1 - c->cursor];

        unsigned from = 1u << LAYER_PAUSED;

        if (l->drained) /* also when the pause was given up */
            from |= 1u << LAYER_RUNS;
        if (l->state == LAYER_STARTED)
            l->state = LAYER_RUNS;
        else if (step_layer(l, STEP_RESUME, from) == MUST_WAIT)
            return MUST_WAIT;
        l->drained = false;
    }
    return WENT_ON;
}

/* Not at the start, when the door was never open. */
static void
holds_end(struct chain *c)
{
    struct chain_holds *h = &c->holds;

    if (!h->now)
        return;
    h->now = false;
    h->times++;
    h->last_ns = c->loop->ops->now(c->loop) - c->closed_ns;
    if (h->longest_ns < h->last_ns)
        h->longest_ns = h->last_ns;
}

static enum went
phase_open(struct chain *c)
{
    struct node *nd;

    if (c->held)
        return WENT_ON;
    holds_end(c);
    c->open = true;
    c->lender =
        chain_transparent(c) ? c->stack->layer[c->stack->n - 1]->lender : NULL;
    while ((nd = list_pop(&c->parked))) {
        nd->state = NODE_OWNED;
        chain_submit(c, &nd->req);
    }
    return WENT_ON;
}

/* A start failed: what had been started goes again, all that is new is
 * freed. */
static enum went
phase_undo(struct chain *c)
{
    struct stack *s = c->next;

    for (; c->cursor < s->n; c->cursor++) {
        struct blk_layer *l = s->layer[c->cursor];

        if (l->plugin == &head_plugin ||
            (c->stack != s && stack_has(c->stack, l)))
            continue;
        if (step_layer(l, STEP_STOP, 1u << LAYER_STARTED) == MUST_WAIT)
            return MUST_WAIT;
    }
    if (c->stack == s) {
        c->next = NULL;
        return WENT_ON;
    }
    if (c->live != c->stack)
        stack_place(c, c->stack);
    c->readonly = c->was_readonly;
    for (unsigned i = 0; i < s->n; i++) {
        if (!stack_has(c->stack, s->layer[i]))
            layer_free(s->layer[i]);
    }
    stack_free(s);
    c->next = NULL;
    return WENT_ON;
}

/* Layers that are kept were asked above others: ask them again. */
static enum went
phase_revert(struct chain *c)
{
    return phase_limits(c);
}

static enum went
phase_stop(struct chain *c)
{
    return steps_down(c, c->stack, STEP_STOP,
                      1u << LAYER_STARTED | 1u << LAYER_RUNS |
                          1u << LAYER_PAUSED);
}

/* Nothing will ever serve those that wait at the head. */
static enum went
phase_shut(struct chain *c)
{
    struct node *nd;

    c->state = CHAIN_STOPPED;
    while ((nd = list_pop(&c->parked))) {
        nd->state = NODE_OWNED;
        chain_submit(c, &nd->req);
    }
    return WENT_ON;
}

static enum went (*const phases[])(struct chain *) = {
    [PH_DRAIN] = phase_drain,       [PH_EMPTY] = phase_empty,
    [PH_PAUSE] = phase_pause,       [PH_PLACE] = phase_place,
    [PH_START] = phase_start,       [PH_COMMIT] = phase_commit,
    [PH_STOP_OLD] = phase_stop_old, [PH_LIMITS] = phase_limits,
    [PH_RESUME] = phase_resume,     [PH_OPEN] = phase_open,
    [PH_UNDO] = phase_undo,         [PH_REVERT] = phase_revert,
    [PH_STOP] = phase_stop,         [PH_SHUT] = phase_shut,
};

enum went
phase_run(struct chain *c, enum phase phase)
{
    return phases[phase](c);
}
