/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sealer.c: see sealer.h.
 *
 * What is long enough is done by a worker, if one of the few contexts for that
 * is free; else at once, on the loop: it is never held back for a worker.
 */
#include "plugins/common/sealer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/common/secret.h"

/* ---- memory -------------------------------------------------------------- */

void
sealer_free(struct sealer *d)
{
    unsigned i;

    for (i = 0; i < SEALER_JOBS; i++) {
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
prepare_chunks(struct sealer *d, uint64_t memory)
{
    unsigned i;

    d->chunks_n = (unsigned)(memory / SEALER_CHUNK);
    d->chunks = calloc(d->chunks_n, sizeof(*d->chunks));
    d->chunk_memory =
        aligned_alloc(BLK_MEM_ALIGN, (size_t)d->chunks_n * SEALER_CHUNK);
    if (!d->chunks || !d->chunk_memory)
        return -ENOMEM;
    for (i = d->chunks_n; i-- > 0;) {
        d->chunks[i].memory = d->chunk_memory + (size_t)i * SEALER_CHUNK;
        d->chunks[i].next = d->chunk_free;
        d->chunk_free = &d->chunks[i];
    }
    d->chunks_free = d->chunks_n;
    return 0;
}

int
sealer_init(struct sealer *d, const uint8_t *key, size_t key_len,
            uint32_t sector, uint64_t memory)
{
    unsigned i;

    d->xts = xts_new(key, key_len, sector);
    if (!d->xts)
        return -EINVAL;
    for (i = 0; i < SEALER_JOBS && d->worker; i++) {
        d->jobs[i].xts = xts_new(key, key_len, sector);
        if (!d->jobs[i].xts)
            return -ENOMEM;
        d->jobs[i].next = d->job_free;
        d->job_free = &d->jobs[i];
    }
    return prepare_chunks(d, memory);
}

void
sealer_warn(struct blk_layer *l)
{
    if (secret_works())
        blk_log(l, BLK_WARN,
                "libcrypto was used before this plugin was loaded: its copies "
                "of the key may be swapped out and are in core dumps");
}

bool
sealer_room(const struct sealer *d, uint32_t len)
{
    return d->chunks_free >= (len + SEALER_CHUNK - 1) / SEALER_CHUNK;
}

/* As many as len needs, which are there. */
static void
chunks_take(struct sealer *d, struct sealer_io *q)
{
    struct sealer_chunk **end = &q->chunk;
    uint32_t left = q->len;

    for (q->n = 0; left > 0; q->n++) {
        struct sealer_chunk *c = d->chunk_free;
        struct iovec *v = &q->v[q->n];

        d->chunk_free = c->next;
        d->chunks_free--;
        *end = c;
        end = &c->next;
        v->iov_base = c->memory;
        v->iov_len = left < SEALER_CHUNK ? left : SEALER_CHUNK;
        left -= (uint32_t)v->iov_len;
    }
    *end = NULL;
}

void
sealer_give(struct sealer *d, struct sealer_io *q)
{
    struct sealer_chunk *c;

    while ((c = q->chunk)) {
        q->chunk = c->next;
        c->next = d->chunk_free;
        d->chunk_free = c;
        d->chunks_free++;
    }
}

/* ---- the work, on any thread --------------------------------------------- */

static int
encrypt(const struct sealer_io *q, struct xts *x)
{
    uint64_t number = q->number;
    const struct sealer_chunk *c;
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
decrypt(const struct sealer_io *q, struct xts *x)
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
    struct sealer_io *q = w->data;

    q->error = q->chunk ? encrypt(q, q->job->xts) : decrypt(q, q->job->xts);
}

/* ---- on the loop --------------------------------------------------------- */

static void
work_over(struct blk_work *w)
{
    struct sealer_io *q = w->data;

    q->job->next = q->sealer->job_free;
    q->sealer->job_free = q->job;
    q->job = NULL;
    q->done(q);
}

/* Encrypts if it has chunks, else decrypts. */
static void
run(struct sealer *d, struct sealer_io *q)
{
    q->sealer = d;
    if (d->worker && q->len >= d->worker && d->job_free &&
        !(d->busy && d->busy())) {
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
    q->done(q);
}

void
sealer_encrypt(struct sealer *d, struct sealer_io *q)
{
    chunks_take(d, q);
    run(d, q);
}

void
sealer_decrypt(struct sealer *d, struct sealer_io *q)
{
    q->chunk = NULL;
    run(d, q);
}
