/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * write.c: a piece of a write that needs new clusters.
 *
 *   own table -> memory -> allocate -> fetch what is around -> write -> commit
 *
 *        | guest cluster      |                    |
 *        | old |===== piece ========= | old        |     one write of all three
 *
 * The lock on the guest clusters is held, exclusively, all the time.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

static uint64_t
write_off(const struct q2_req *q)
{
    return q->req->off + q->at;
}

static void
write_release(struct q2_req *q)
{
    struct q2_bounce *b = q->w.bounce;

    if (b) {
        q->w.bounce = NULL;
        b->next = q->s->bounce_free;
        q->s->bounce_free = b;
        q2_queue_wake_one(&q->s->bounce_wait);
    }
}

/* What was allocated is free again, unless something may point to it. */
static void
write_over(struct q2_req *q, int error)
{
    struct q2_write *w = &q->w;

    write_release(q);
    if (error && w->alloc.got && !q2_is_apart(q->s)) {
        if (w->link.linked)
            q->s->frees.lost += w->alloc.got;
        else
            q2_free(q->s, w->alloc.first, w->alloc.got, 0, Q2_KEEP);
    }
    w->alloc.got = 0;
    q2_piece_over(q, error);
}

/* ---- write and link ------------------------------------------------------ */

static void
write_linked(struct q2_link *k, int error)
{
    write_over(k->data, error);
}

static void
write_written(struct q2_io *io, int error)
{
    struct q2_req *q = io->data;
    struct q2_write *w = &q->w;

    if (error) {
        write_over(q, error);
        return;
    }
    write_release(q);
    w->link.table = w->table;
    w->link.off = write_off(q) - w->skip;
    w->link.n = (uint32_t)w->alloc.got;
    w->link.kind = Q2_LINK_DATA;
    w->link.space = Q2_KEEP;
    w->link.first = w->alloc.first;
    w->link.done = write_linked;
    w->link.data = q;
    q2_commit(q->s, &w->link);
}

static void
write_data(struct q2_req *q)
{
    struct qcow2 *s = q->s;
    struct q2_write *w = &q->w;
    struct iovec *v = q->fetch.v;
    uint64_t at = w->alloc.first << s->cluster_bits;
    uint64_t len = q->piece;
    uint32_t n = 0;

    if (w->skip && w->sparse) {
        at += w->skip;
    } else if (w->skip) {
        v[n++] = (struct iovec){ w->bounce->head, w->skip };
        len += w->skip;
    }
    if (q->req->op == BLK_ZERO)
        n += q2_iov_zeroes(s, q->piece, v + n, Q2_IOV - n - 1);
    else
        n += q2_iov_slice(&q->req->sg, q->at, q->piece, v + n, Q2_IOV - n - 1);
    if (w->tail && !w->sparse) {
        v[n++] = (struct iovec){ w->behind, w->tail };
        len += w->tail;
    }
    q->io.done = write_written;
    q->io.data = q;
    q2_data_writev(s, &q->io, at, v, n, len);
}

/* ---- what is around ------------------------------------------------------ */

static void write_fetched(struct q2_fetch *f, int error);

static void
write_fetch(struct q2_req *q, uint64_t off, uint32_t len, uint8_t *to,
            struct iovec *v)
{
    struct q2_fetch *f = &q->fetch;

    *v = (struct iovec){ to, len };
    f->s = q->s;
    f->off = off;
    f->len = len;
    f->sg = (struct blk_sg){ .v = v, .n = 1, .skip = 0 };
    f->done = write_fetched;
    f->data = q;
    q2_fetch(f);
}

/* Whether a cluster is read once, with what the piece covers in vain, and not
 * twice, before and behind it. */
static bool
is_read_whole(const struct q2_req *q)
{
    const struct q2_write *w = &q->w;

    return w->skip && w->tail && q->piece <= w->skip + w->tail &&
           w->skip + q->piece + w->tail == q->s->cluster;
}

static void
write_around(struct q2_req *q)
{
    struct q2_write *w = &q->w;
    uint64_t off = write_off(q);

    if (w->whole && !w->head_there) {
        w->head_there = w->tail_there = true;
        w->behind = w->bounce->head + w->skip + q->piece;
        write_fetch(q, off - w->skip, q->s->cluster, w->bounce->head,
                    &w->bounce->head_v);
        return;
    }
    if (w->skip && !w->head_there) {
        w->head_there = true;
        write_fetch(q, off - w->skip, w->skip, w->bounce->head,
                    &w->bounce->head_v);
        return;
    }
    if (w->tail && !w->tail_there) {
        w->tail_there = true;
        w->behind = w->bounce->tail;
        write_fetch(q, off + q->piece, w->tail, w->bounce->tail,
                    &w->bounce->tail_v);
        return;
    }
    write_data(q);
}

/* What the piece covers need not be readable: it may be the write that mends
 * a bad sector. */
static void
write_fetched(struct q2_fetch *f, int error)
{
    struct q2_req *q = f->data;
    struct q2_write *w = &q->w;

    if (error && w->whole) {
        w->whole = w->head_there = w->tail_there = false;
        error = 0;
    }
    if (error)
        write_over(q, error);
    else
        write_around(q);
}

/* Whether nothing but zeroes is there now. */
static bool
is_zero(const struct q2_req *q, uint64_t off, uint32_t len)
{
    const struct qcow2 *s = q->s;
    struct q2_run run;

    while (len) {
        if (q2_map_run(q->s, q->w.table, off, len, &run) ||
            run.kind == Q2_IS_DATA || run.kind == Q2_IS_PACKED ||
            (run.kind == Q2_IS_NONE && off < s->below_size))
            return false;
        off += run.len;
        len -= (uint32_t)run.len;
    }
    return true;
}

/* How much of the cluster is before and behind the piece; the end of the disk
 * may be in it. */
static void
write_measure(struct q2_req *q, uint64_t clusters)
{
    struct qcow2 *s = q->s;
    struct q2_write *w = &q->w;
    uint64_t off = write_off(q), end;
    uint32_t left = q->until - q->at;

    w->skip = (uint32_t)off & (s->cluster - 1);
    q->piece = left;
    if (clusters * s->cluster - w->skip < left)
        q->piece = (uint32_t)(clusters * s->cluster - w->skip);
    end = off + q->piece;
    w->tail = (uint32_t)(-end & (s->cluster - 1));
}

static void
write_allocated(struct q2_alloc *a, int error)
{
    struct q2_req *q = a->data;
    struct q2_write *w = &q->w;
    uint64_t off = write_off(q);

    if (error) {
        write_over(q, error);
        return;
    }
    write_measure(q, a->got);
    w->head_there = w->tail_there = false;
    w->whole = is_read_whole(q);
    w->sparse = a->fresh && !q->s->image->seal &&
                is_zero(q, off - w->skip, w->skip) &&
                is_zero(q, off + q->piece, w->tail);
    if (w->skip || w->tail)
        q->s->copied++;
    if (w->sparse)
        write_data(q);
    else
        write_around(q);
}

static void
write_bounce(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;
    struct qcow2 *s = q->s;
    struct q2_write *w = &q->w;

    (void)error;
    if ((w->skip || w->tail) && !w->bounce) {
        w->bounce = s->bounce_free;
        if (!w->bounce) {
            q->wait.go = write_bounce;
            q2_queue_add(&s->bounce_wait, &q->wait);
            return;
        }
        s->bounce_free = w->bounce->next;
    }
    w->alloc.s = s;
    w->alloc.done = write_allocated;
    w->alloc.data = q;
    if (q2_is_apart(s)) { /* its place is its own already */
        w->alloc.first = write_off(q) >> s->cluster_bits;
        w->alloc.got = w->alloc.want;
        w->alloc.fresh = false;
        write_allocated(&w->alloc, 0);
        return;
    }
    q2_alloc(&w->alloc);
}

/* ---- how much ------------------------------------------------------------ */

/* Clusters from here on, within the lock, that a write can't change in
 * place. */
static int
count_new(const struct q2_req *q, uint64_t *n)
{
    const struct qcow2 *s = q->s;
    uint64_t off = write_off(q), end = q->req->off + q->until;
    uint64_t stop = q2_map_end(s, off);
    struct q2_run run;

    if (end > stop)
        end = stop;
    for (*n = 0; off < end && off >> s->cluster_bits <= q->lock.last; ++*n) {
        uint64_t next = (off | (s->cluster - 1)) + 1;
        uint64_t len = (next < end ? next : end) - off;
        int error = q2_map_run(q->s, q->w.table, off, len, &run);

        if (error)
            return error;
        if (run.kind == Q2_IS_DATA && run.owned && run.len == len)
            break;
        off = next;
    }
    return 0;
}

static void
write_count(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;
    struct q2_write *w = &q->w;
    uint64_t n;

    q->wait.go = write_count;
    if (!error)
        error = q2_map_get(q->s, write_off(q), &w->table, &q->wait);
    if (error == -EAGAIN)
        return;
    if (!error)
        error = count_new(q, &n);
    if (error) {
        write_over(q, error);
        return;
    }
    if (!n) { /* somebody else made it, while we waited for the lock */
        q->piece = 0;
        write_over(q, 0);
        return;
    }
    if (n > (uint64_t)Q2_WRITE_MAX >> q->s->cluster_bits)
        n = (uint64_t)Q2_WRITE_MAX >> q->s->cluster_bits;
    w->alloc.want = n;
    write_measure(q, n);
    write_bounce(&q->wait, 0);
}

static void
write_marked(struct q2_wait *wait, int error)
{
    struct q2_req *q = (struct q2_req *)wait;

    if (error) {
        write_over(q, error);
        return;
    }
    q->wait.go = write_count;
    error = q2_own(q->s, &q->w.own, write_off(q), &q->wait);
    if (error != -EAGAIN)
        write_count(&q->wait, error);
}

void
q2_write_new(struct q2_req *q)
{
    int error;

    q->w.link.linked = false;
    q->wait.go = write_marked;
    error = q2_mark(q->s, &q->wait);
    if (error != -EAGAIN)
        write_marked(&q->wait, error);
}
