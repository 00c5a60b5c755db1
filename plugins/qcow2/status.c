/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * status.c: where data are, by the tables.  What is not in the image is the
 * matter of the layer below, up to that one's end.
 *
 * No lock is taken: an entry as it is now is what a read that came now would
 * find, and a write that ends later may be missed.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>

/* Clusters that are looked at in one go. */
enum { STATUS_MOST = 32768 };

static void
status_end(struct q2_req *q, int error)
{
    struct blk_req *r = q->req;

    if (error || !q->piece) {
        blk_end(q->s->layer, r, error);
        return;
    }
    r->off += q->at - q->piece;
    r->len = q->piece;
    blk_down(q->s->layer, r);
}

/* What is below is gathered in q->piece, which ends with q->at.  0: go on, as
 * long as more is wanted. */
static int
status_step(struct q2_req *q, bool *more)
{
    struct qcow2 *s = q->s;
    uint64_t off = q->req->off + q->at;
    struct q2_table *t;
    struct q2_run run;
    int error = q2_map_get(s, off, &t, &q->wait);

    if (error)
        return error;
    error = q2_map_run(s, t, off, q->req->len - q->at, &run);
    if (t)
        q2_cache_put(t);
    if (error)
        return error;
    if (run.kind == Q2_IS_NONE && off < s->below_size) {
        if (run.len > s->below_size - off)
            run.len = s->below_size - off;
        q->piece += (uint32_t)run.len;
    } else if (q->piece) {
        *more = false;
        return 0;
    } else {
        bool zero = run.kind == Q2_IS_ZERO || run.kind == Q2_IS_NONE;

        *more =
            blk_map(s->layer, q->req, run.len, zero ? BLK_ZEROES : BLK_DATA);
    }
    q->at += (uint32_t)run.len;
    return 0;
}

static void
status_go(struct q2_wait *w, int error)
{
    struct q2_req *q = (struct q2_req *)w;
    bool more = true;

    while (!error && more && q->at < q->req->len)
        error = status_step(q, &more);
    if (error != -EAGAIN)
        status_end(q, error);
}

void
q2_status(struct blk_layer *l, struct blk_req *r)
{
    struct qcow2 *s = blk_self(l);
    struct q2_req *q = r->scratch;
    uint64_t most = (uint64_t)STATUS_MOST * s->sub;

    if (s->corrupt) {
        blk_end(l, r, -EIO);
        return;
    }
    q->s = s;
    q->req = r;
    q->wait.go = status_go;
    if (r->len > most)
        r->len = (uint32_t)most;
    status_go(&q->wait, 0);
}
