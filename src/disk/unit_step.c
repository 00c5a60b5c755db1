/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unit_step.c: a chain is paused, resumed, or becomes another one.
 *
 * A change that must be known after a kill is told to the control half while
 * no request is in either chain:
 *
 *            data half                               control half
 *   REPLACE  pause ─ replace ─┬─ fails ─ resume ──────────────► answer
 *                             └─ switched ────────► writes it down
 *                                  resume ◄─────────────┘
 *                                  └────────────────────────────► answer
 *
 * Only the pause waits for the guest's requests, and it is given up when they
 * do not end (disks_drain()): nothing was changed by then.
 *
 * Killed before it is written down, the next process has the old chain, killed
 * after that the new one; and nothing was done in the new one before.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "disk/unit_private.h"

/* ---- pause, resume ------------------------------------------------------- */

static void
step_done(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    if (!error)
        u->paused = u->now->kind == JOB_PAUSE;
    unit_job_over(u, error, op->why);
}

void
unit_pause(struct unit *u)
{
    if (u->paused || !u->chain) {
        unit_job_over(u, u->chain ? 0 : -ENOTCONN, "the disk is not open");
        return;
    }
    u->op.done = step_done;
    u->op.drain_ns = u->now->drain_ns;
    chain_pause(u->chain, &u->op);
}

void
unit_resume(struct unit *u)
{
    if (!u->paused) {
        unit_job_over(u, 0, NULL);
        return;
    }
    u->op.done = step_done;
    chain_resume(u->chain, &u->op);
}

/* ---- what a change must not take away ------------------------------------ */

/* A front-end reads these once, when it connects, and goes by them until it
 * connects again; and the nodes of a disk that waits for one are written.  What
 * it is not told (the longest request, segments, FUA) the head makes up for; of
 * alignment, what it was told as the physical block.  A flush it may always
 * send. */
int
unit_accept(void *unit, const struct blk_limits *now,
            const struct blk_limits *then, char *why, size_t n)
{
    const struct unit *u = unit;
    uint32_t gone = now->ops & ~then->ops;
    const char *what = NULL;

    if (then->size < now->size) {
        snprintf(why, n,
                 "size: expected at least the %" PRIu64
                 " bytes that the guest was told, found %" PRIu64,
                 now->size, then->size);
        return -EINVAL;
    }
    if (then->readonly && !now->readonly)
        what = "writes";
    else if (gone & BLK_BIT(BLK_FLUSH))
        what = "flushes";
    else if ((gone & BLK_BIT(BLK_DISCARD)) && u->conf->discard)
        what = "discards";
    else if (gone & (BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE)))
        what = "reads and writes";
    if (what)
        snprintf(why, n,
                 "expected %s, which the guest was told of, found layers that "
                 "refuse them",
                 what);
    else if (then->align > now->align && then->align > now->block)
        snprintf(why, n,
                 "sector size: expected at most the %" PRIu32
                 " bytes that the guest was told, found %" PRIu32,
                 now->block, then->align);
    else
        return 0;
    return -EINVAL;
}

/* ---- replace ------------------------------------------------------------- */

static void
replace_over(struct unit *u, int error)
{
    struct loop *l = u->place.data;

    u->now->took_ns = l->ops->now(l) - u->change_ns;
    unit_job_over(u, error, u->now->why);
}

/* Changed it is, also when a layer did not resume: that ends the disk, and is
 * told as what it is (unit_chain_fatal()). */
static void
replace_resumed(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    (void)error;
    replace_over(u, u->now->status);
}

static void
replace_resume(struct unit *u)
{
    u->op.done = replace_resumed;
    if (u->chain)
        chain_resume(u->chain, &u->op);
    else
        replace_over(u, 0);
}

static void
replace_released(struct loop_mail *m)
{
    struct job *j = (struct job *)((char *)m - offsetof(struct job, mail));

    replace_resume(j->unit);
}

/* Control loop. */
static void
replace_switched(struct loop_mail *m)
{
    struct job *j = (struct job *)((char *)m - offsetof(struct job, mail));
    struct loop *data = j->unit->place.data;

    j->switched(j);
    j->mail.run = replace_released;
    data->ops->post(data, &j->mail);
}

static void
replace_tell(struct unit *u)
{
    struct loop *control = u->place.control;

    u->now->mail.run = replace_switched;
    control->ops->post(control, &u->now->mail);
}

static void
replaced(struct chain_op *op, int error)
{
    struct unit *u = op->data;
    struct job *j = u->now;

    j->status = error;
    if (error) {
        snprintf(j->why, sizeof j->why, "%s", op->why);
    } else {
        u->conf = j->conf;
        j->limits = *chain_limits(u->chain);
        if (u->chan)
            chan_resize(u->chan, j->limits.size);
    }
    if (error || !j->switched)
        replace_resume(u);
    else
        replace_tell(u);
}

static void
replace_go(struct unit *u)
{
    struct chain_spec spec = conf_running(u->now->conf);

    spec.readonly = u->readonly;
    u->op.done = replaced;
    chain_replace(u->chain, &spec, &u->op);
}

static void
replace_paused(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    if (error)
        unit_job_over(u, error, op->why);
    else
        replace_go(u);
}

/* The chain is held in a step of its own, which can be given up: because of a
 * request that does not end, or for the control half to write the change down.
 * Where the layers stay as they are, nothing has to wait. */
static bool
replace_waits(const struct unit *u, const struct job *j)
{
    struct chain_spec now = conf_running(u->conf), then = conf_running(j->conf);

    return j->switched || !conf_layers_equal(&now, &then);
}

void
unit_replace(struct unit *u, struct job *j)
{
    struct loop *l = u->place.data;

    if (u->paused) {
        unit_job_over(u, -EBUSY, "the disk is paused: resume it first");
        return;
    }
    u->change_ns = l->ops->now(l);
    if (u->chain && replace_waits(u, j)) {
        u->op.done = replace_paused;
        u->op.drain_ns = j->drain_ns;
        chain_pause(u->chain, &u->op);
    } else if (u->chain) {
        replace_go(u);
    } else { /* it is made anew by a recovery, or never */
        u->conf = j->conf;
        u->used = false; /* what is new in it was never there before */
        if (j->switched)
            replace_tell(u);
        else
            unit_job_over(u, 0, NULL);
    }
}
