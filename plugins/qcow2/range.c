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

static void
range_over(struct q2_req *q, int error)
{
    struct q2_write *w = &q->w;

    if (w->table)
        q2_cache_put(w->table);
    w->table = NULL;
    if (error) {
        q2_req_end(q, error);
        return;
    }
    q->at += q->piece;
    q2_req_next(q);
}

static void
range_linked(struct q2_link *k, int error)
{
    range_over(k->data, error);
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
        range_over(q, error);
        return;
    }
    k->table = q->w.table;
    k->off = range_off(q);
    k->n = (uint32_t)(((uint64_t)q->piece + s->cluster - 1) >> s->cluster_bits);
    k->kind = range_kind(q);
    k->done = range_linked;
    k->data = q;
    q2_commit(s, k);
}

static void
range_own(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;

    if (error) {
        range_over(q, error);
        return;
    }
    q->wait.go = range_link;
    error = q2_own(q->s, &q->w.own, range_off(q), &q->wait);
    if (error != -EAGAIN)
        range_link(&q->wait, error);
}

/* Whether there is anything to do: else no table is touched. */
static bool
range_changes(const struct q2_req *q, const struct q2_table *t)
{
    struct qcow2 *s = q->s;
    enum q2_link_kind kind = range_kind(q);
    uint64_t off = range_off(q), end = off + q->piece;
    struct q2_run run;

    if (!t)
        return kind == Q2_LINK_ZERO;
    for (; off < end; off += run.len) {
        if (q2_map_run(s, t, off, end - off, &run))
            return true; /* the change will say what is wrong */
        if (run.kind == Q2_IS_DATA || run.kind == Q2_IS_PACKED)
            return true;
        if (run.kind == Q2_IS_NONE && kind == Q2_LINK_ZERO)
            return true;
        for (uint64_t at = off; at < off + run.len; at += s->cluster) {
            if (q2_map_entry(s, t, at) & Q2_OFFSET)
                return true;
        }
    }
    return false;
}

static void
range_look(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;
    struct q2_table *t = NULL;
    bool changes;

    q->wait.go = range_look;
    if (!error)
        error = q2_map_get(q->s, range_off(q), &t, &q->wait);
    if (error == -EAGAIN)
        return;
    if (error) {
        range_over(q, error);
        return;
    }
    changes = range_changes(q, t);
    if (t)
        q2_cache_put(t);
    if (!changes) {
        range_over(q, 0);
        return;
    }
    q->wait.go = range_own;
    error = q2_mark(q->s, &q->wait);
    if (error != -EAGAIN)
        range_own(&q->wait, error);
}

void
q2_range(struct q2_req *q)
{
    struct qcow2 *s = q->s;
    uint64_t off = range_off(q), end = q->req->off + q->req->len;
    uint64_t stop = q2_map_end(s, off);

    if (end != s->size)
        end &= ~(uint64_t)(s->cluster - 1);
    if (end > stop)
        end = stop;
    q->piece = (uint32_t)(end - off);
    q->wait.go = range_look;
    if (q2_lock(s, &q->lock, off, q->piece, Q2_EXCLUSIVE, &q->wait))
        range_look(&q->wait, 0);
}
