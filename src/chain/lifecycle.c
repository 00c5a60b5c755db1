/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lifecycle.c: start, pause, resume, replace, stop: each asked for by a
 * chain_op, done in the order of the calls, and made of phases that may have
 * to wait.
 *
 *   start    PLACE START COMMIT RESUME OPEN    fails: UNDO SHUT EMPTY
 *   pause    DRAIN EMPTY PAUSE                 fails: RESUME OPEN
 *   resume   RESUME OPEN
 *   replace  DRAIN EMPTY PAUSE PLACE START COMMIT STOP_OLD RESUME OPEN
 *                                              fails: UNDO REVERT RESUME OPEN
 *   relimit  DRAIN EMPTY PAUSE LIMITS RESUME OPEN
 *   stop     DRAIN EMPTY PAUSE STOP SHUT EMPTY
 *
 * phases.c says what each phase does.
 */
#include "config.h"
#include "chain/lifecycle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op_kind { OP_START, OP_PAUSE, OP_RESUME, OP_REPLACE, OP_RELIMIT, OP_STOP };

static const uint8_t way[][10] = {
    [OP_START] = { PH_PLACE, PH_START, PH_COMMIT, PH_RESUME, PH_OPEN },
    [OP_PAUSE] = { PH_DRAIN, PH_EMPTY, PH_PAUSE },
    [OP_RESUME] = { PH_RESUME, PH_OPEN },
    [OP_REPLACE] = { PH_DRAIN, PH_EMPTY, PH_PAUSE, PH_PLACE, PH_START,
                     PH_COMMIT, PH_STOP_OLD, PH_RESUME, PH_OPEN },
    [OP_RELIMIT] = { PH_DRAIN, PH_EMPTY, PH_PAUSE, PH_LIMITS, PH_RESUME,
                     PH_OPEN },
    [OP_STOP] = { PH_DRAIN, PH_EMPTY, PH_PAUSE, PH_STOP, PH_SHUT, PH_EMPTY },
};
static const uint8_t way_back[][5] = {
    [OP_START] = { PH_UNDO, PH_SHUT, PH_EMPTY },
    [OP_PAUSE] = { PH_RESUME, PH_OPEN },
    [OP_RESUME] = { PH_OPEN },
    [OP_REPLACE] = { PH_UNDO, PH_REVERT, PH_RESUME, PH_OPEN },
    [OP_RELIMIT] = { PH_RESUME, PH_OPEN },
    [OP_STOP] = { PH_STOP, PH_SHUT, PH_EMPTY },
};

/* ---- operations ---------------------------------------------------------- */

void
op_fail(struct chain *c, int error, const char *name, const char *why)
{
    if (c->error)
        return;
    c->error = error;
    if (name && why[0])
        snprintf(c->op->why, sizeof(c->op->why), "%s: %s", name, why);
    else if (name)
        snprintf(c->op->why, sizeof(c->op->why), "%s: %s", name,
                 strerror(-error));
    else
        snprintf(c->op->why, sizeof(c->op->why), "%s", why);
}

static const uint8_t nowhere[] = { PH_END };

static void
begin_replace(struct chain *c, struct chain_op *op)
{
    int error = -ENOMEM;
    bool same;

    c->was_readonly = c->readonly;
    if (op->spec_)
        error = stack_plan(c, op->spec_, &c->next, op->why, sizeof(op->why));
    else
        snprintf(op->why, sizeof(op->why), "out of memory");
    if (error) {
        c->error = error;
        c->phase = nowhere;
        return;
    }
    same = c->next->n == c->stack->n;
    for (unsigned i = 0; same && i < c->next->n; i++)
        same = c->next->layer[i] == c->stack->layer[i];
    if (same) {
        stack_free(c->next);
        c->next = NULL;
        c->phase = nowhere;
    }
    c->readonly = op->spec_->readonly;
}

/* Whether the state of the chain lets the operation begin at all. */
static bool
begin_allowed(struct chain *c, const struct chain_op *op)
{
    if (op->kind_ == OP_STOP || c->state == CHAIN_STARTED) {
        if (op->kind_ != OP_START)
            return true;
        op_fail(c, -EALREADY, NULL, "the chain was started before");
        return false;
    }
    if (op->kind_ == OP_START && c->state == CHAIN_NEW)
        return true;
    op_fail(c, -ENODEV, NULL, "the chain is not started");
    return false;
}

static void
op_begin(struct chain *c, struct chain_op *op)
{
    static const uint8_t shut[] = { PH_SHUT, PH_EMPTY, PH_END };

    c->error = 0;
    c->cursor = 0;
    c->back = false;
    c->drain_ns = op->kind_ == OP_PAUSE ? op->drain_ns : 0;
    op->why[0] = '\0';
    c->phase = way[op->kind_];
    if (!begin_allowed(c, op)) {
        c->phase = nowhere;
        return;
    }
    switch ((enum op_kind)op->kind_) {
    case OP_START:
        c->next = c->stack;
        break;
    case OP_PAUSE:
        c->held = true;
        break;
    case OP_RESUME:
        c->held = false;
        break;
    case OP_REPLACE:
        begin_replace(c, op);
        break;
    case OP_STOP:
        if (c->state != CHAIN_STARTED)
            c->phase = shut;
        break;
    case OP_RELIMIT:
        break;
    }
}

/* Through the phases; false: the operation waits. */
static bool
op_advance(struct chain *c, struct chain_op *op)
{
    while (*c->phase != PH_END) {
        enum went went = phase_run(c, *c->phase);

        if (went == MUST_WAIT)
            return false;
        c->cursor = 0;
        if (went == WENT_ON || c->back) {
            c->phase++;
            continue;
        }
        c->back = true;
        c->phase = way_back[op->kind_];
        if (op->kind_ == OP_PAUSE)
            c->held = false;
    }
    return true;
}

static void
relimit_done(struct chain_op *op, int error)
{
    struct chain *c = op->data;

    c->relimit_queued = false;
    if (error)
        engine_fatal(c, error, op->why);
}

static void
op_push(struct chain *c, struct chain_op *op, enum op_kind kind)
{
    op->next_ = NULL;
    op->kind_ = (int)kind;
    *c->op_tail = op;
    c->op_tail = &op->next_;
    engine_poke(c);
}

/* A layer said that its limits changed: unless something else is under way
 * that asks for them anyway, the chain is paused for it. */
static void
relimit_begin(struct chain *c)
{
    if (c->state != CHAIN_STARTED) {
        c->relimit = false;
        return;
    }
    if (c->relimit_queued)
        return;
    c->relimit_queued = true;
    c->relimit_op.done = relimit_done;
    c->relimit_op.data = c;
    op_push(c, &c->relimit_op, OP_RELIMIT);
}

void
lifecycle_run(struct chain *c)
{
    struct chain_op *op;
    int error;

    if (!c->op && c->relimit)
        relimit_begin(c);
    op = c->op;
    if (!op)
        return;
    if (!c->phase)
        op_begin(c, op);
    if (!op_advance(c, op))
        return;
    error = op->kind_ == OP_STOP ? 0 : c->error;
    c->op = op->next_;
    if (!c->op)
        c->op_tail = &c->op;
    c->phase = NULL;
    if (c->op || c->relimit || c->fatal)
        engine_poke(c);
    spec_free(op->spec_);
    op->spec_ = NULL;
    op->done(op, error);
}

void
chain_start(struct chain *c, struct chain_op *op)
{
    op->spec_ = NULL;
    op_push(c, op, OP_START);
}

void
chain_pause(struct chain *c, struct chain_op *op)
{
    op->spec_ = NULL;
    op_push(c, op, OP_PAUSE);
}

void
chain_resume(struct chain *c, struct chain_op *op)
{
    op->spec_ = NULL;
    op_push(c, op, OP_RESUME);
}

void
chain_stop(struct chain *c, struct chain_op *op)
{
    op->spec_ = NULL;
    op_push(c, op, OP_STOP);
}

void
chain_replace(struct chain *c, const struct chain_spec *spec,
              struct chain_op *op)
{
    op->spec_ = spec_copy(spec);
    op_push(c, op, OP_REPLACE);
}

void
blk_relimit(struct blk_layer *l)
{
    l->chain->relimit = true;
    engine_poke(l->chain);
}
