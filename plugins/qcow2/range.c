/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * range.c: DISCARD, and ZERO of whole clusters: entries change, data do not.
 *
 * With a layer below an entry becomes "zeroes", so that what is below does not
 * come to light again; else it becomes "nothing", which reads as zeroes.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>

static uint64_t
range_off(const struct q2_req *q)
{
    return q->req->off + q->at;
}

static enum q2_link_kind
range_kind(const struct q2_req *q)
{
    return range_off(q) < q->s->below_size ? Q2_LINK_ZERO : Q2_LINK_NONE;
}

static enum q2_space
range_space(const struct q2_req *q)
{
    return q->req->op == BLK_DISCARD || (q->req->flags & BLK_UNMAP)
               ? Q2_GIVE_BACK
               : Q2_KEEP;
}

static void
range_linked(struct q2_link *k, int error)
{
    q2_piece_over(k->data, error);
}

static void
range_link(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;
    struct qcow2 *s = q->s;
    struct q2_link *k = &q->w.link;

    q->wait.go = range_link;
    if (!error)
        error = q2_map_get(s, range_off(q), &q->w.table, &q->wait);
    if (error == -EAGAIN)
        return;
    if (error) {
        q2_piece_over(q, error);
        return;
    }
    k->table = q->w.table;
    k->off = range_off(q);
    k->n = (uint32_t)(((uint64_t)q->piece + s->cluster - 1) >> s->cluster_bits);
    k->kind = range_kind(q);
    k->space = range_space(q);
    k->done = range_linked;
    k->data = q;
    q2_commit(s, k);
}

static void
range_own(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;

    if (error) {
        q2_piece_over(q, error);
        return;
    }
    q->wait.go = range_link;
    error = q2_own(q->s, &q->w.own, range_off(q), &q->wait);
    if (error != -EAGAIN)
        range_link(&q->wait, error);
}

/* 1: there is something to do; 0: nothing, and no table is touched; else an
 * error: an entry that can't be true is left as it is. */
static int
range_changes(const struct q2_req *q, const struct q2_table *t)
{
    struct qcow2 *s = q->s;
    enum q2_link_kind kind = range_kind(q);
    uint64_t off = range_off(q), end = off + q->piece;
    struct q2_run run;
    bool changes = false;

    if (!t)
        return kind == Q2_LINK_ZERO;
    for (; off < end; off += run.len) {
        const bool apart = q2_is_apart(s); /* of data is nothing left */
        int error = q2_map_run(s, t, off, end - off, &run);

        if (error)
            return error;
        changes |= (run.kind == Q2_IS_DATA && !apart) ||
                   run.kind == Q2_IS_PACKED ||
                   (run.kind == Q2_IS_NONE && kind == Q2_LINK_ZERO);
        for (uint64_t at = off; !changes && !apart && at < off + run.len;
             at += s->cluster)
            changes = q2_map_entry(s, t, at) & Q2_OFFSET;
    }
    return changes;
}

static void range_look(struct q2_wait *, int error);

/* 0: there is nothing to do; -EAGAIN: the piece will be over; else an error. */
static int
range_try(struct q2_req *q)
{
    struct q2_table *t = NULL;
    int error;

    q->wait.go = range_look;
    error = q2_settle(q->s, &q->wait);
    if (!error && q2_is_apart(q->s))
        error = q2_data_erase(q);
    if (!error)
        error = q2_map_get(q->s, range_off(q), &t, &q->wait);
    if (error)
        return error;
    error = range_changes(q, t);
    if (t)
        q2_cache_put(t);
    if (error <= 0)
        return error;
    q->wait.go = range_own;
    error = q2_mark(q->s, &q->wait);
    if (error != -EAGAIN)
        range_own(&q->wait, error);
    return -EAGAIN;
}

static void
range_look(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;

    if (!error)
        error = range_try(q);
    if (error != -EAGAIN)
        q2_piece_over(q, error);
}

int
q2_range(struct q2_req *q)
{
    int error;

    struct qcow2 *s = q->s;
    uint64_t off = range_off(q), end = q->req->off + q->req->len;
    uint64_t stop = q2_map_end(s, off);

    if (end != s->size)
        end &= ~(uint64_t)(s->cluster - 1);
    if (end > stop)
        end = stop;
    q->piece = (uint32_t)(end - off);
    q->w.erased = 0;
    q->wait.go = range_look;
    if (!q2_lock(s, &q->lock, off, q->piece, Q2_EXCLUSIVE, &q->wait))
        return -EAGAIN;
    error = range_try(q);
    if (!error) {
        q->at += q->piece;
        q2_unlock(s, &q->lock);
    }
    return error;
}
