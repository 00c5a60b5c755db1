/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rw.c: a request, piece by piece.
 *
 *   READ        one shared lock, fetch.c
 *   WRITE       in place where a cluster is the guest's alone, under a shared
 *               lock; else write.c, under an exclusive one
 *   ZERO        whole clusters: range.c; the edges are written
 *   DISCARD     whole clusters: range.c; the edges are left
 *   FLUSH       a sync: entries of what was completed are written already
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>

static void req_go(struct q2_wait *, int error);

void
q2_req_end(struct q2_req *q, int error)
{
    struct blk_layer *l = q->s->layer;
    struct blk_req *r = q->req;

    q2_unlock(q->s, &q->lock);
    if (!q2_fold_waits(q, error))
        blk_end(l, r, error);
}

void
q2_piece_over(struct q2_req *q, int error)
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
    q2_unlock(q->s, &q->lock);
    req_go(&q->wait, 0);
}

/* ---- pieces of a write --------------------------------------------------- */

static void
new_locked(struct q2_wait *w, int error)
{
    (void)error;
    q2_write_new((struct q2_req *)w);
}

/* The lock is changed for an exclusive one; what it covers may have changed
 * when that comes, so write.c looks again. */
static void
req_new(struct q2_req *q)
{
    struct qcow2 *s = q->s;
    uint64_t off = q->req->off + q->at, end = q->req->off + q->until;
    uint64_t stop = q2_map_end(s, off);

    q2_unlock(s, &q->lock);
    q->wait.go = new_locked;
    if (q2_lock(s, &q->lock, off, (end < stop ? end : stop) - off, Q2_EXCLUSIVE,
                &q->wait))
        q2_write_new(q);
}

static void
req_written(struct q2_io *io, int error)
{
    struct q2_req *q = io->data;

    if (error) {
        q2_req_end(q, error);
        return;
    }
    q->at += q->piece;
    req_go(&q->wait, 0);
}

static void
req_in_place(struct q2_req *q, const struct q2_run *run)
{
    struct qcow2 *s = q->s;
    struct iovec *v = q->fetch.v;
    uint32_t n;

    q->piece = (uint32_t)run->len;
    if (q->req->op == BLK_ZERO)
        n = q2_iov_zeroes(s, q->piece, v, Q2_IOV);
    else
        n = q2_iov_slice(&q->req->sg, q->at, q->piece, v, Q2_IOV);
    q->io.done = req_written;
    q->io.data = q;
    q2_data_writev(s, &q->io, run->host, v, n, q->piece);
}

/* One piece under the shared lock.  0: go on; -EAGAIN: wait. */
static int
req_piece(struct q2_req *q)
{
    struct qcow2 *s = q->s;
    uint64_t off = q->req->off + q->at;
    struct q2_table *t;
    struct q2_run run;
    int error = q2_settle(s, &q->wait);

    if (!error)
        error = q2_map_get(s, off, &t, &q->wait);
    if (error)
        return error;
    error = q2_map_run(s, t, off, q->until - q->at, &run);
    if (t)
        q2_cache_put(t);
    if (error)
        return error;
    if (run.kind == Q2_IS_DATA && run.owned) {
        req_in_place(q, &run);
        return -EAGAIN;
    }
    if (q->req->op == BLK_ZERO &&
        (run.kind == Q2_IS_ZERO ||
         (run.kind == Q2_IS_NONE && off >= s->below_size))) {
        q->at += (uint32_t)run.len;
        return 0;
    }
    req_new(q);
    return -EAGAIN;
}

/* Whether a whole cluster begins here: the last one may be cut. */
static bool
req_whole(const struct q2_req *q)
{
    const struct qcow2 *s = q->s;
    uint64_t off = q->req->off + q->at;
    uint32_t left = q->req->len - q->at;

    return !(off & (s->cluster - 1)) &&
           (left >= s->cluster || off + left == s->size);
}

/* Where the cluster ends, or the request. */
static uint32_t
req_edge(const struct q2_req *q)
{
    const uint32_t mask = q->s->cluster - 1;
    uint64_t next = ((q->req->off + q->at) | mask) + 1 - q->req->off;

    return next < q->req->len ? (uint32_t)next : q->req->len;
}

static void
req_go(struct q2_wait *w, int error)
{
    struct q2_req *q = (struct q2_req *)w;
    const struct blk_req *r = q->req;

    while (!error && q->at < r->len) {
        if (q->at == q->until)
            q2_unlock(q->s, &q->lock);
        if (r->op != BLK_WRITE && req_whole(q)) {
            error = q2_range(q);
            continue;
        }
        if (r->op == BLK_DISCARD) {
            q->at = req_edge(q);
            continue;
        }
        q->until = r->op == BLK_WRITE ? r->len : req_edge(q);
        q->wait.go = req_go;
        if (!q->lock.on && !q2_lock(q->s, &q->lock, r->off + q->at,
                                    q->until - q->at, Q2_SHARED, &q->wait))
            return;
        error = req_piece(q);
    }
    if (error != -EAGAIN)
        q2_req_end(q, error);
}

/* ---- READ and FLUSH ------------------------------------------------------ */

static void
read_over(struct q2_fetch *f, int error)
{
    q2_req_end(f->data, error);
}

static void
read_locked(struct q2_wait *w, int error)
{
    struct q2_req *q = (struct q2_req *)w;
    struct q2_fetch *f = &q->fetch;

    (void)error;
    f->s = q->s;
    f->off = q->req->off;
    f->len = q->req->len;
    f->sg = q->req->sg;
    f->done = read_over;
    f->data = q;
    q2_fetch(f);
}

static void
flush_over(struct q2_io *io, int error)
{
    q2_req_end(io->data, error);
}

static void
req_flush(struct q2_req *q)
{
    if (q->s->image->readonly) {
        q2_req_end(q, 0);
        return;
    }
    q->io.done = flush_over;
    q->io.data = q;
    q2_sync(q->s, &q->io);
}

void
q2_submit(struct blk_layer *l, struct blk_req *r)
{
    struct qcow2 *s = blk_self(l);
    struct q2_req *q = r->scratch;

    q->s = s;
    q->req = r;
    if (s->corrupt || (s->image->failed && r->op != BLK_READ)) {
        blk_end(l, r, -EIO);
        return;
    }
    if (r->op == BLK_FLUSH) {
        req_flush(q);
    } else if (r->op == BLK_READ) {
        q->wait.go = read_locked;
        if (q2_lock(s, &q->lock, r->off, r->len, Q2_SHARED, &q->wait))
            read_locked(&q->wait, 0);
    } else {
        req_go(&q->wait, 0);
    }
}

/* Only requests of our own come up: those that read the layer below, and those
 * of a commit. */
void
q2_done(struct blk_layer *l, struct blk_req *r)
{
    struct qcow2 *s = blk_self(l);
    struct q2_fetch *f = ((struct q2_req *)r->scratch)->owner;
    int error = r->error;

    blk_end(l, r, 0);
    q2_queue_wake_one(&s->own_wait);
    if (f)
        q2_fetch_below(f, error);
    else
        q2_fold_below(s->folding, error);
}
