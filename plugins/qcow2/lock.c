/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock.c: those that wait, and the locks on guest clusters.
 *
 * A lock waits for every earlier one that overlaps, held or waiting, unless
 * both are shared.  A request holds at most one, and none while it waits for
 * another: so there is no circle.
 */
#include "plugins/qcow2/qcow2.h"

/* ---- queues and gates ---------------------------------------------------- */

void
q2_queue_init(struct q2_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

void
q2_queue_add(struct q2_queue *q, struct q2_wait *w)
{
    w->next = NULL;
    w->queued = true;
    *q->tail = w;
    q->tail = &w->next;
}

static struct q2_wait *
queue_pop(struct q2_queue *q)
{
    struct q2_wait *w = q->head;

    if (!w)
        return NULL;
    q->head = w->next;
    if (!q->head)
        q->tail = &q->head;
    w->queued = false;
    return w;
}

void
q2_queue_wake(struct q2_queue *q, int error)
{
    struct q2_queue now;
    struct q2_wait *w;

    if (!q->head)
        return;
    now.head = q->head;
    now.tail = q->tail;
    q2_queue_init(q);
    while ((w = queue_pop(&now)))
        w->go(w, error);
}

void
q2_queue_wake_one(struct q2_queue *q)
{
    struct q2_wait *w = queue_pop(q);

    if (w)
        w->go(w, 0);
}

bool
q2_gate_take(struct q2_gate *g, struct q2_wait *w)
{
    if (g->held) {
        q2_queue_add(&g->queue, w);
        return false;
    }
    g->held = true;
    return true;
}

/* It passes to the first that waits without ever being free. */
void
q2_gate_leave(struct q2_gate *g)
{
    if (g->queue.head)
        q2_queue_wake_one(&g->queue);
    else
        g->held = false;
}

/* ---- locks --------------------------------------------------------------- */

static bool
lock_conflicts(const struct q2_lock *a, const struct q2_lock *b)
{
    return a->first <= b->last && b->first <= a->last &&
           (a->share == Q2_EXCLUSIVE || b->share == Q2_EXCLUSIVE);
}

static bool
lock_free(const struct qcow2 *s, const struct q2_lock *k)
{
    for (const struct q2_lock *e = s->locks; e != k; e = e->next) {
        if (lock_conflicts(e, k))
            return false;
    }
    return true;
}

bool
q2_lock(struct qcow2 *s, struct q2_lock *k, uint64_t off, uint64_t len,
        enum q2_share share, struct q2_wait *w)
{
    k->first = off >> s->cluster_bits;
    k->last = (off + len - 1) >> s->cluster_bits;
    k->share = share;
    k->on = true;
    k->wait = w;
    k->next = NULL;
    *s->locks_tail = k;
    s->locks_tail = &k->next;
    k->granted = lock_free(s, k);
    return k->granted;
}

/* One that waits for nobody any more, or NULL. */
static struct q2_lock *
lock_next(const struct qcow2 *s)
{
    for (struct q2_lock *k = s->locks; k; k = k->next) {
        if (!k->granted && lock_free(s, k))
            return k;
    }
    return NULL;
}

void
q2_unlock(struct qcow2 *s, struct q2_lock *k)
{
    struct q2_lock **p = &s->locks;

    if (!k->on)
        return;
    k->on = false;
    while (*p != k)
        p = &(*p)->next;
    *p = k->next;
    if (!k->next)
        s->locks_tail = p;
    /* Whoever goes on may unlock, too: look again from the beginning. */
    while ((k = lock_next(s))) {
        k->granted = true;
        k->wait->go(k->wait, 0);
    }
}
