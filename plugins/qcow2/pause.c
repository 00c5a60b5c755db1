/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pause.c: the mark in the header that says "not closed cleanly", and the
 * clean end that takes it away.
 *
 *   L1 ---> (a new size) ---> sync ---> count down what is free --->
 *   counters ---> sync ---> header without the mark ---> sync
 *
 * An image of version 2 has no place for the mark: it is taken for marked
 * whenever it is opened.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct q2_pause {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    struct q2_io io, mark_io;
    struct q2_store store;
    struct q2_link link;
    struct q2_queue marking; /* wait for the mark */
    bool marks;
};

/* ---- the mark ------------------------------------------------------------ */

static void
mark_over(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    struct q2_pause *p = s->pausing;

    p->marks = false;
    s->marked = !error;
    q2_queue_wake(&p->marking, error);
}

static void
mark_written(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error) {
        mark_over(io, error);
        return;
    }
    io->done = mark_over;
    q2_sync(s, io);
}

/* Features that are void when somebody writes who does not know them go, too.
 */
int
q2_mark(struct qcow2 *s, struct q2_wait *then)
{
    struct q2_pause *p = s->pausing;

    if (s->marked)
        return 0;
    if (s->corrupt)
        return -EIO;
    if (s->h.version < 3) {
        s->marked = true;
        return 0;
    }
    q2_queue_add(&p->marking, then);
    if (p->marks)
        return -EAGAIN;
    p->marks = true;
    s->h.incompatible |= Q2_DIRTY;
    s->h.autoclear = q2_is_raw(s) ? Q2_RAW_DATA : 0;
    p->mark_io.done = mark_written;
    p->mark_io.data = s;
    q2_header_write(s, &p->mark_io);
    return -EAGAIN;
}

/* ---- a clean end --------------------------------------------------------- */

/* What goes on with no request waiting for it must be over, too: it uses what
 * stop() frees. */
static void
pause_idle(struct q2_wait *w, int error)
{
    struct qcow2 *s = ((struct q2_pause *)w)->s;

    (void)error;
    w->go = pause_idle;
    if (s->frees.working)
        q2_queue_add(&s->frees.idle, w);
    else if (s->commit.running)
        q2_queue_add(&s->commit.idle, w);
    else if (!q2_ruin_waits(s, w))
        blk_ready(s->layer, 0);
}

static void
pause_over(struct q2_pause *p, int error)
{
    struct qcow2 *s = p->s;

    if (error)
        blk_log(s->layer, BLK_WARN,
                "%s: not closed cleanly (%s): its counters are put right when "
                "it is opened again",
                s->path, strerror(-error));
    pause_idle(&p->wait, 0);
}

static void
pause_unmarked(struct q2_io *io, int error)
{
    struct q2_pause *p = io->data;

    if (!error)
        p->s->marked = false;
    pause_over(p, error);
}

static void
pause_headed(struct q2_io *io, int error)
{
    struct q2_pause *p = io->data;

    if (error) {
        pause_over(p, error);
        return;
    }
    p->io.done = pause_unmarked;
    q2_sync(p->s, &p->io);
}

static void
pause_counted(struct q2_io *io, int error)
{
    struct q2_pause *p = io->data;
    struct qcow2 *s = p->s;

    if (error || s->h.version < 3 || s->frees.lost || s->frees.n ||
        s->corrupt || s->l1_dirty_n || s->l2.dirty) {
        if (!error && s->h.version < 3)
            s->marked = false;
        pause_over(p, error);
        return;
    }
    s->h.incompatible &= ~(uint64_t)Q2_DIRTY;
    p->io.done = pause_headed;
    q2_header_write(s, &p->io);
}

static void
pause_stored(struct q2_store *st, int error)
{
    struct q2_pause *p = st->data;

    q2_gate_leave(&p->s->alloc_gate);
    if (error) {
        pause_over(p, error);
        return;
    }
    p->io.done = pause_counted;
    q2_sync(p->s, &p->io);
}

static void
pause_gate(struct q2_wait *w, int error)
{
    struct q2_pause *p = (struct q2_pause *)w;

    (void)error;
    p->store.done = pause_stored;
    p->store.data = p;
    q2_cache_store(&p->s->refs, &p->store);
}

/* All that is free was counted down, or is being. */
static void
pause_freed(struct q2_wait *w, int error)
{
    struct q2_pause *p = (struct q2_pause *)w;
    struct qcow2 *s = p->s;

    (void)error;
    q2_frees_run(s);
    if (s->frees.working) {
        p->wait.go = pause_freed;
        q2_queue_add(&s->frees.idle, &p->wait);
        return;
    }
    p->wait.go = pause_gate;
    if (q2_gate_take(&s->alloc_gate, &p->wait))
        pause_gate(&p->wait, 0);
}

static void
pause_synced(struct q2_io *io, int error)
{
    struct q2_pause *p = io->data;

    if (error)
        pause_over(p, error);
    else
        pause_freed(&p->wait, 0);
}

static void
pause_sync(struct qcow2 *s)
{
    struct q2_pause *p = s->pausing;

    p->io.done = pause_synced;
    p->io.data = p;
    q2_sync(s, &p->io);
}

static void
pause_nothing(struct qcow2 *s)
{
    pause_idle(&s->pausing->wait, 0);
}

static void
pause_linked(struct q2_link *k, int error)
{
    struct q2_pause *p = k->data;

    if (q2_resize_wanted(p->s)) {
        if (error)
            q2_resize_fails(p->s, error, pause_nothing);
        else
            q2_resize(p->s, pause_sync);
    } else if (error) {
        pause_over(p, error);
    } else {
        pause_sync(p->s);
    }
}

static void
pause_marked(struct q2_wait *w, int error)
{
    struct q2_pause *p = (struct q2_pause *)w;

    if (error) {
        q2_resize_fails(p->s, error, pause_nothing);
        return;
    }
    /* An empty one: the entries of L1 that nobody waits for. */
    memset(&p->link, 0, sizeof(p->link));
    p->link.kind = Q2_LINK_NONE;
    p->link.done = pause_linked;
    p->link.data = p;
    q2_commit(p->s, &p->link);
}

void
q2_pause(struct blk_layer *l)
{
    struct qcow2 *s = blk_self(l);

    if (!q2_fold_pause(s))
        q2_pause_on(s);
}

void
q2_pause_on(struct qcow2 *s)
{
    struct q2_pause *p = s->pausing;
    int error;

    if (s->image->readonly || s->image->failed || s->corrupt) {
        if (q2_resize_wanted(s))
            q2_resize_fails(s, -EIO, pause_nothing);
        else
            pause_nothing(s);
        return;
    }
    if (!s->marked && !q2_resize_wanted(s)) {
        pause_nothing(s);
        return;
    }
    p->wait.go = pause_marked;
    error = q2_mark(s, &p->wait);
    if (error != -EAGAIN)
        pause_marked(&p->wait, error);
}

int
q2_pause_init(struct qcow2 *s)
{
    s->pausing = calloc(1, sizeof(*s->pausing));
    if (!s->pausing)
        return -ENOMEM;
    s->pausing->s = s;
    q2_queue_init(&s->pausing->marking);
    return 0;
}
