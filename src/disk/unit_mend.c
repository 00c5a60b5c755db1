/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unit_mend.c: a disk that misbehaved, and how it comes back.
 *
 *                unit_fail()
 *   CONNECTED ───────────────► failed ──► JOB_RECOVER: chain made anew ──┐
 *       ▲                        │                                       │
 *       └──── JOB_CONNECT ◄──────┘ by the front-end                      │
 *       └────────────────────────────────────────────────────────────────┘
 *
 * While a disk has failed its ring is served on: every request is answered with
 * -EIO at once (head.c), so the front-end does not hang, and nothing is left to
 * be done again when it comes back.  Only a ring that was broken is not looked
 * at any more.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "disk/unit_private.h"

void
unit_throttled(struct unit *u)
{
    struct loop *l = u->place.data;

    if (log_allowed(&u->throttled, l->ops->now(l)))
        unit_tell(u, NEWS_THROTTLED, NULL);
}

/* ---- a new chain --------------------------------------------------------- */

/* The front-end's channel is there already. */
static int
recovered(struct unit *u)
{
    int rc = u->chan ? chain_reserve(u->chain, chan_depth(u->chan)) : 0;

    if (rc)
        return rc;
    if (u->chan) {
        chan_resize(u->chan, chain_limits(u->chain)->size);
        chan_mended(u->chan);
    }
    u->failed = false;
    u->reason[0] = '\0';
    return 0;
}

static void
mend_failed(struct unit *u, int error, const char *why)
{
    u->recovering = false;
    if (u->now->kind == JOB_RECOVER)
        snprintf(u->reason, sizeof u->reason, "%s", why);
    unit_job_over(u, error, why);
}

static void
rechained(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    if (error) {
        chain_free(u->chain);
        u->chain = NULL;
        mend_failed(u, error, op->why);
        return;
    }
    u->recovering = u->chain_failed = false;
    u->used = true;
    u->now->limits = *chain_limits(u->chain);
    unit_tell(u, NEWS_LIMITS, chain_limits(u->chain));
    if (u->now->kind == JOB_CONNECT)
        unit_connect_go(u);
    else
        unit_job_over(u, recovered(u), NULL);
}

static void
rechain(struct unit *u)
{
    char why[256] = "";
    int rc = unit_chain_new(u, why, sizeof why);

    if (rc) {
        u->chain = NULL;
        mend_failed(u, rc, why);
        return;
    }
    u->op.done = rechained;
    chain_start(u->chain, &u->op);
}

static void
chain_gone(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    (void)error;
    chain_free(u->chain);
    u->chain = NULL;
    rechain(u);
}

void
unit_rechain(struct unit *u)
{
    u->recovering = true;
    if (!u->chain) {
        rechain(u);
        return;
    }
    u->op.done = chain_gone;
    chain_stop(u->chain, &u->op);
}

/* ---- by command ---------------------------------------------------------- */

static const char *
not_recoverable(const struct unit *u, int *error)
{
    *error = -EINVAL;
    if (!u->failed)
        return "it is not quarantined: there is nothing to recover from";
    *error = -EPROTO;
    if (u->ring_broken)
        return "its front-end broke the ring: only a new connection of the "
               "front-end can mend that";
    *error = -EBUSY;
    if (u->paused)
        return "the disk is paused: resume it first";
    *error = -ENOTCONN;
    if (!u->chan)
        return "no front-end is connected: the next that connects recovers it";
    return NULL;
}

void
unit_recover(struct unit *u)
{
    int error;
    const char *why = not_recoverable(u, &error);

    if (why)
        unit_job_over(u, error, why);
    else if (!u->recovering && !u->in_chain) {
        u->now->tried = true;
        unit_rechain(u);
    } /* else: unit_request_over() comes back */
}
