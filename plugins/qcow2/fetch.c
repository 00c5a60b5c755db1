/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fetch.c: reads guest bytes, from wherever they are: the file, a compressed
 * cluster in it, the layer below, or nowhere.  One piece after the other; the
 * caller holds the lock on the clusters.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>

static void
fetch_over(struct q2_fetch *f, int error)
{
    f->done(f, error);
}

/* The slice of a scatter list that begins at byte `at`. */
static struct blk_sg
sg_from(const struct blk_sg *sg, uint32_t at)
{
    struct blk_sg r = *sg;
    uint64_t skip = (uint64_t)sg->skip + at;

    while (r.n && skip >= r.v->iov_len) {
        skip -= r.v->iov_len;
        r.v++;
        r.n--;
    }
    r.skip = (uint32_t)skip;
    return r;
}

uint32_t
q2_iov_slice(const struct blk_sg *sg, uint32_t at, uint32_t len,
             struct iovec *v, uint32_t max)
{
    struct blk_sg from = sg_from(sg, at);
    uint32_t n = 0;

    for (uint32_t i = 0; i < from.n && len && n < max; i++) {
        size_t part = from.v[i].iov_len - from.skip;

        if (part > len)
            part = len;
        v[n].iov_base = (uint8_t *)from.v[i].iov_base + from.skip;
        v[n++].iov_len = part;
        len -= (uint32_t)part;
        from.skip = 0;
    }
    return n;
}

uint32_t
q2_iov_zeroes(struct qcow2 *s, uint32_t len, struct iovec *v, uint32_t max)
{
    uint32_t n = 0;

    while (len && n < max) {
        uint32_t part = len < Q2_ZEROES ? len : Q2_ZEROES;

        v[n++] = (struct iovec){ s->zeroes, part };
        len -= part;
    }
    return n;
}

/* ---- the four places ----------------------------------------------------- */

static void
fetch_read(struct q2_io *io, int error)
{
    struct q2_fetch *f = io->data;

    if (!error)
        f->at += f->piece;
    f->wait.go(&f->wait, error);
}

static void
fetch_data(struct q2_fetch *f)
{
    uint32_t n = q2_iov_slice(&f->sg, f->at, f->piece, f->v, Q2_IOV);

    f->io.done = fetch_read;
    f->io.data = f;
    q2_data_readv(f->s, &f->io, f->run.host, f->v, n, f->piece);
}

void
q2_fetch_below(struct q2_fetch *f, int error)
{
    fetch_read(&f->io, error);
}

static void
fetch_below(struct q2_fetch *f)
{
    struct qcow2 *s = f->s;
    const struct blk_limits *below = blk_below(s->layer);
    uint64_t off = f->off + f->at;
    struct blk_req *r;

    if (f->piece > s->below_size - off)
        f->piece = (uint32_t)(s->below_size - off);
    if (f->piece > below->max_len)
        f->piece = below->max_len;
    r = blk_new(s->layer, BLK_READ, off, f->piece, sg_from(&f->sg, f->at));
    if (!r) {
        q2_queue_add(&s->own_wait, &f->wait);
        return;
    }
    ((struct q2_req *)r->scratch)->owner = f;
    f->io.data = f;
    blk_down(s->layer, r);
}

/* True: its bytes are there; false: wait. */
static bool
fetch_packed(struct q2_fetch *f)
{
    struct qcow2 *s = f->s;
    struct q2_unpack *u = f->unpack;
    uint64_t in = (f->off + f->at) & (s->cluster - 1);

    if (!u) {
        f->unpack = u = q2_unpack_get(s, &f->wait);
        if (u)
            q2_unpack_start(u, f, f->run.host);
        return false;
    }
    f->unpack = NULL;
    blk_sg_write(&f->sg, f->at, u->out + in, f->piece);
    f->at += f->piece;
    s->unpacked++;
    q2_unpack_put(s, u);
    return true;
}

/* ---- pieces -------------------------------------------------------------- */

/* 0: this piece is there; -EAGAIN: wait; else an error. */
static int
fetch_step(struct q2_fetch *f)
{
    struct qcow2 *s = f->s;
    uint64_t off = f->off + f->at;
    struct q2_table *t;
    int error = q2_map_get(s, off, &t, &f->wait);

    if (error)
        return error;
    error = q2_map_run(s, t, off, f->len - f->at, &f->run);
    if (t)
        q2_cache_put(t);
    if (error)
        return error;
    f->piece = (uint32_t)f->run.len;
    if (f->run.kind == Q2_IS_PACKED)
        return fetch_packed(f) ? 0 : -EAGAIN;
    if (f->run.kind == Q2_IS_DATA) {
        fetch_data(f);
        return -EAGAIN;
    }
    if (f->run.kind == Q2_IS_NONE && off < s->below_size) {
        fetch_below(f);
        return -EAGAIN;
    }
    blk_sg_zero(&f->sg, f->at, f->piece);
    f->at += f->piece;
    return 0;
}

static void
fetch_go(struct q2_wait *w, int error)
{
    struct q2_fetch *f = (struct q2_fetch *)w;

    if (error && f->unpack) {
        q2_unpack_put(f->s, f->unpack);
        f->unpack = NULL;
    }
    while (!error && f->at < f->len)
        error = fetch_step(f);
    if (error != -EAGAIN)
        fetch_over(f, error);
}

void
q2_fetch(struct q2_fetch *f)
{
    f->wait.go = fetch_go;
    f->at = 0;
    f->unpack = NULL;
    fetch_go(&f->wait, 0);
}
