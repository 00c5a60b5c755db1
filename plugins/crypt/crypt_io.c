/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt_io.c: requests.
 *
 *   WRITE   copied into chunks ─► encrypted there ─► down ─► chunks back
 *   READ    down ─► copied piece by piece, decrypted, copied back
 *
 * Both copies make what libcrypto works on stable, whoever else can write to
 * the memory of the request; what somebody changes there meanwhile changes his
 * own data.  In between the memory of a READ holds the ciphertext.
 *
 * A request of at least d->worker bytes is encrypted or decrypted by a worker,
 * if one of the few contexts for that is free and no worker derives a key;
 * else at once, on the loop: it is never held back for a worker.
 */
#include "plugins/crypt/crypt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory -------------------------------------------------------------- */

void
crypt_release(struct crypt *d)
{
    unsigned i;

    for (i = 0; i < CRYPT_JOBS; i++) {
        xts_free(d->jobs[i].xts);
        d->jobs[i].xts = NULL;
    }
    xts_free(d->xts);
    free(d->chunk_memory);
    free(d->chunks);
    d->xts = NULL;
    d->chunk_memory = NULL;
    d->chunks = d->chunk_free = NULL;
    d->job_free = NULL;
}

static int
prepare_chunks(struct crypt *d)
{
    unsigned i;

    d->chunks_n = (unsigned)(d->memory / CRYPT_CHUNK);
    d->chunks = calloc(d->chunks_n, sizeof(*d->chunks));
    d->chunk_memory =
        aligned_alloc(BLK_MEM_ALIGN, (size_t)d->chunks_n * CRYPT_CHUNK);
    if (!d->chunks || !d->chunk_memory)
        return -ENOMEM;
    for (i = d->chunks_n; i-- > 0;) {
        d->chunks[i].memory = d->chunk_memory + (size_t)i * CRYPT_CHUNK;
        d->chunks[i].next = d->chunk_free;
        d->chunk_free = &d->chunks[i];
    }
    d->chunks_free = d->chunks_n;
    return 0;
}

int
crypt_prepare(struct crypt *d)
{
    unsigned i;

    d->xts = xts_new(d->key, d->key_len, d->sector);
    if (!d->xts)
        return -EINVAL;
    for (i = 0; i < CRYPT_JOBS && d->worker; i++) {
        d->jobs[i].xts = xts_new(d->key, d->key_len, d->sector);
        if (!d->jobs[i].xts)
            return -ENOMEM;
        d->jobs[i].next = d->job_free;
        d->job_free = &d->jobs[i];
    }
    return prepare_chunks(d);
}

/* As many as len needs, which are there; they become the request's list. */
static unsigned
chunks_take(struct crypt *d, struct crypt_req *q)
{
    struct crypt_chunk **end = &q->chunk;
    uint32_t left = q->len;
    unsigned n;

    for (n = 0; left > 0; n++) {
        struct crypt_chunk *c = d->chunk_free;

        d->chunk_free = c->next;
        d->chunks_free--;
        *end = c;
        end = &c->next;
        q->v[n].iov_base = c->memory;
        q->v[n].iov_len = left < CRYPT_CHUNK ? left : CRYPT_CHUNK;
        left -= (uint32_t)q->v[n].iov_len;
    }
    *end = NULL;
    return n;
}

static void
chunks_give(struct crypt *d, struct crypt_req *q)
{
    struct crypt_chunk *c;

    while ((c = q->chunk)) {
        q->chunk = c->next;
        c->next = d->chunk_free;
        d->chunk_free = c;
        d->chunks_free++;
    }
}

/* ---- the work, on any thread --------------------------------------------- */

static int
encrypt(const struct crypt_req *q, struct xts *x)
{
    uint64_t number = q->number;
    const struct crypt_chunk *c;
    struct walk w;
    unsigned i = 0;
    int error = 0;

    walk_begin(&w, &q->sg);
    for (c = q->chunk; c && !error; c = c->next, i++) {
        const size_t n = q->v[i].iov_len;

        walk_read(&w, c->memory, n);
        error = xts_run(x, XTS_ENCRYPT, number, c->memory, n);
        number += n / 512;
    }
    return error;
}

static int
decrypt(const struct crypt_req *q, struct xts *x)
{
    uint8_t piece[4096]; /* a sector, or some */
    struct walk from, to;
    uint32_t at, n;
    int error = 0;

    walk_begin(&from, &q->sg);
    walk_begin(&to, &q->sg);
    for (at = 0; at < q->len && !error; at += n) {
        n = q->len - at < sizeof(piece) ? q->len - at : sizeof(piece);
        walk_read(&from, piece, n);
        error = xts_run(x, XTS_DECRYPT, q->number + at / 512, piece, n);
        walk_write(&to, piece, n);
    }
    return error;
}

static void
work(struct blk_work *w)
{
    struct crypt_req *q = w->data;

    q->error = q->chunk ? encrypt(q, q->job->xts) : decrypt(q, q->job->xts);
}

/* ---- on the loop --------------------------------------------------------- */

/* The plain text was decrypted, or the chunks are to be written. */
static void
worked(struct crypt_req *q)
{
    struct crypt *d = blk_self(q->layer);
    struct blk_req *r = q->req;
    uint32_t n = (q->len + CRYPT_CHUNK - 1) / CRYPT_CHUNK;

    if (!q->chunk) {
        blk_end(q->layer, r, q->error);
        return;
    }
    if (q->error) {
        chunks_give(d, q);
        blk_end(q->layer, r, q->error);
        return;
    }
    r->sg = (struct blk_sg){ .v = q->v, .n = n };
    r->off += d->data;
    blk_down(q->layer, r);
}

static void
work_over(struct blk_work *w)
{
    struct crypt_req *q = w->data;
    struct crypt *d = blk_self(q->layer);

    q->job->next = d->job_free;
    d->job_free = q->job;
    q->job = NULL;
    worked(q);
}

/* Encrypts if it has chunks, else decrypts. */
static void
run(struct crypt *d, struct crypt_req *q)
{
    if (d->worker && q->len >= d->worker && d->job_free && !crypt_opens()) {
        q->job = d->job_free;
        d->job_free = q->job->next;
        q->work.work = work;
        q->work.done = work_over;
        q->work.data = q;
        d->worked++;
        blk_work_start(q->layer, &q->work);
        return;
    }
    q->error = q->chunk ? encrypt(q, d->xts) : decrypt(q, d->xts);
    worked(q);
}

/* off: within the data. */
static struct crypt_req *
begin(struct blk_layer *l, struct blk_req *r, uint64_t off)
{
    struct crypt *d = blk_self(l);
    struct crypt_req *q = r->scratch;

    q->layer = l;
    q->req = r;
    q->sg = r->sg;
    q->len = r->len;
    q->number = d->iv + off / 512;
    q->chunk = NULL;
    return q;
}

void
crypt_submit(struct blk_layer *l, struct blk_req *r)
{
    struct crypt *d = blk_self(l);
    struct crypt_req *q;

    if (r->op != BLK_WRITE) {
        if (r->op != BLK_FLUSH)
            r->off += d->data;
        blk_down(l, r);
        return;
    }
    if (d->chunks_free < (r->len + CRYPT_CHUNK - 1) / CRYPT_CHUNK) {
        d->waited++;
        blk_wait(l, r);
        return;
    }
    q = begin(l, r, r->off);
    chunks_take(d, q);
    run(d, q);
}

void
crypt_done(struct blk_layer *l, struct blk_req *r)
{
    struct crypt *d = blk_self(l);

    if (r->mine) {
        crypt_opened(l, r);
        return;
    }
    if (r->op == BLK_READ && !r->error) {
        run(d, begin(l, r, r->off - d->data));
        return;
    }
    if (r->op == BLK_WRITE)
        chunks_give(d, r->scratch);
    blk_end(l, r, r->error);
}
