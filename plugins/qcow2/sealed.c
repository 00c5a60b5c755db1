/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sealed.c: see sealed.h.
 *
 *   write   a part: into chunks, encrypted there ─► the file ─► the next part
 *   read    the file ─► decrypted in the memory of who reads
 *
 * A part has one of a few slots; who finds none, or no chunk, waits in a queue,
 * and holds nothing meanwhile.
 */
#include "config.h"

#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
q2_seal_judge(const struct qcow2 *s, char *why, size_t n)
{
    if (s->h.sealed == s->encrypt)
        return 0;
    if (!s->ephemeral)
        snprintf(why, n,
                 "expected an image whose data can be read, found one of an "
                 "encrypted disposable disk, whose key is gone");
    else
        snprintf(why, n,
                 "expected encrypt = %s, as when the layer came to the disk, "
                 "found %s: take the layer away and put it in again",
                 s->h.sealed ? "true" : "false", s->encrypt ? "true" : "false");
    return -EINVAL;
}

#ifdef HAVE_CRYPTO

#include "plugins/common/sealer.h"

enum {
    SEAL_SECTOR = 512,
    SEAL_MEMORY = 4 << 20,  /* for writes on their way */
    SEAL_WORKER = 64 << 10, /* bytes that are worth a worker */
    SEAL_SLOTS = 64,
    SEAL_PART = SEALER_CHUNK * SEALER_CHUNKS
};
/* Of the check: no file reaches there. */
#define SEAL_CHECK_AT (UINT64_C(1) << 60)

struct q2_sealed {
    struct sealer_io io;
    struct q2_io *of;
    struct q2_sealed *next;
};

struct q2_seal {
    struct sealer sealer;
    struct q2_sealed slot[SEAL_SLOTS], *free;
    struct q2_io *waiting, **last;
    uint8_t check[Q2_CHECK];
};

int
q2_seal_built(char *why, size_t n)
{
    (void)why;
    (void)n;
    return 0;
}

/* ---- the key ------------------------------------------------------------- */

void
q2_seal_free(struct q2_seal *e)
{
    if (!e)
        return;
    sealer_free(&e->sealer);
    free(e);
}

static int
seal_make(struct q2_image *image, const uint8_t *key)
{
    struct q2_seal *e = calloc(1, sizeof(*e));
    uint8_t zeroes[SEAL_SECTOR] = { 0 };
    int error;

    if (!e)
        return -ENOMEM;
    e->last = &e->waiting;
    for (unsigned i = 0; i < SEAL_SLOTS; i++) {
        e->slot[i].next = e->free;
        e->free = &e->slot[i];
    }
    e->sealer.worker = SEAL_WORKER;
    error = sealer_init(&e->sealer, key, BLK_KEEP, SEAL_SECTOR, SEAL_MEMORY);
    if (!error)
        error = xts_run(e->sealer.xts, XTS_ENCRYPT, SEAL_CHECK_AT, zeroes,
                        SEAL_SECTOR);
    if (error) {
        q2_seal_free(e);
        return error;
    }
    memcpy(e->check, zeroes, Q2_CHECK);
    image->seal = e;
    return 0;
}

/* It is there, and the sealer is made of it; or it was refused. */
static bool
seal_key(struct qcow2 *s)
{
    const struct blk_keep *k = &s->opening->keep;
    int error = k->status;

    if (!error)
        error = seal_make(s->image, k->bytes);
    if (!error) {
        sealer_warn(s->layer);
        return true;
    }
    if (k->status)
        q2_open_refuse(s, error, "its key: %s", k->why);
    else
        q2_open_refuse(s, error,
                       "no memory for its cipher, or none that can be locked: "
                       "raise the limit of locked memory (LimitMEMLOCK= of the "
                       "unit)");
    return false;
}

static void
seal_ask(struct qcow2 *s, enum blk_scratch what,
         void (*done)(struct blk_keep *))
{
    struct blk_keep *k = &s->opening->keep;

    k->what = what;
    k->done = done;
    k->data = s;
    k->status = blk_keep(s->layer, k);
    if (k->status)
        seal_key(s);
}

static void
seal_new_came(struct blk_keep *k)
{
    struct qcow2 *s = k->data;

    if (seal_key(s))
        q2_ephemeral_sealed(s);
}

void
q2_seal_new(struct qcow2 *s)
{
    seal_ask(s, BLK_SCRATCH_NEW, seal_new_came);
}

void
q2_seal_mark(struct qcow2 *s)
{
    q2_blank_seal(s->opening->blank, s->image->seal->check);
}

static void
seal_check(struct qcow2 *s)
{
    if (!memcmp(s->image->seal->check, s->h.check, Q2_CHECK))
        q2_open_tables(s);
    else
        q2_open_refuse(s, -ESTALE,
                       "expected the key that it was encrypted with, found "
                       "another: take the disk away from the guest");
}

static void
seal_old_came(struct blk_keep *k)
{
    struct qcow2 *s = k->data;

    if (!k->status && k->made) { /* nobody can have written to it */
        q2_ephemeral_again(s);
        return;
    }
    if (seal_key(s))
        seal_check(s);
}

void
q2_seal_open(struct qcow2 *s)
{
    if (s->image->seal)
        seal_check(s);
    else
        seal_ask(s, s->opening->scratch, seal_old_came);
}

/* ---- parts --------------------------------------------------------------- */

static struct q2_seal *
seal_of(const struct q2_io *q)
{
    return q->s->image->seal;
}

static void
io_start(struct q2_io *q, const struct iovec *v, uint32_t n, uint64_t len)
{
    q->io.off = q->at;
    q->io.len = len;
    q->io.iov = v;
    q->io.n = n;
    blk_io_start(q->s->layer, &q->io);
}

static void
part_encrypted(struct sealer_io *io)
{
    struct q2_sealed *p = io->data;

    if (io->error)
        q2_sealed_done(p->of, io->error);
    else
        io_start(p->of, io->v, io->n, io->len);
}

static void
part_begin(struct q2_seal *e, struct q2_io *q)
{
    const uint64_t room = (uint64_t)e->sealer.chunks_free * SEALER_CHUNK;
    struct q2_sealed *p = e->free;
    uint64_t len = q->left;

    e->free = p->next;
    q->sealed = p;
    p->of = q;
    p->io.data = p;
    p->io.layer = q->s->layer;
    p->io.number = q->at / SEAL_SECTOR;
    p->io.sg = (struct blk_sg){ .v = q->v, .n = q->n };
    if (q->io.op == BLK_IO_READ) {
        io_start(q, q->v, q->n, len);
        return;
    }
    if (len > SEAL_PART)
        len = SEAL_PART;
    if (len > room)
        len = room;
    p->io.len = (uint32_t)len;
    p->io.done = part_encrypted;
    sealer_encrypt(&e->sealer, &p->io);
}

static bool
part_may(const struct q2_seal *e, const struct q2_io *q)
{
    return e->free && (q->io.op == BLK_IO_READ || e->sealer.chunks_free);
}

void
q2_sealed_next(struct q2_io *q)
{
    struct q2_seal *e = seal_of(q);

    if (!e->waiting && part_may(e, q)) {
        part_begin(e, q);
        return;
    }
    q->next = NULL;
    *e->last = q;
    e->last = &q->next;
}

/* What it had is somebody else's, first of those who wait. */
static void
part_over(struct q2_sealed *p, int64_t n)
{
    struct q2_io *q = p->of;
    struct q2_seal *e = seal_of(q);
    struct q2_io *first;

    q->sealed = NULL;
    p->next = e->free;
    e->free = p;
    while ((first = e->waiting) && part_may(e, first)) {
        e->waiting = first->next;
        if (!e->waiting)
            e->last = &e->waiting;
        part_begin(e, first);
    }
    q2_io_came(q, n);
}

static void
part_decrypted(struct sealer_io *io)
{
    part_over(io->data, io->error ? io->error : (int64_t)io->len);
}

void
q2_sealed_done(struct q2_io *q, int64_t n)
{
    struct q2_seal *e = seal_of(q);
    struct q2_sealed *p = q->sealed;

    if (n > 0) /* a part of a sector is none */
        n -= n % SEAL_SECTOR;
    if (q->io.op == BLK_IO_WRITE) {
        sealer_give(&e->sealer, &p->io);
        part_over(p, n);
    } else if (n > 0) {
        p->io.len = (uint32_t)((uint64_t)n < q->left ? (uint64_t)n : q->left);
        p->io.done = part_decrypted;
        sealer_decrypt(&e->sealer, &p->io);
    } else {
        part_over(p, n);
    }
}

uint64_t
q2_seal_worked(const struct q2_seal *e)
{
    return e->sealer.worked;
}

#else /* nothing gets past the first */

int
q2_seal_built(char *why, size_t n)
{
    snprintf(why, n,
             "encrypt: expected false, as this blktapd was built without "
             "libcrypto, found true");
    return -EOPNOTSUPP;
}

void
q2_seal_free(struct q2_seal *e)
{
    (void)e;
}

void
q2_seal_new(struct qcow2 *s)
{
    q2_open_refuse(s, -EOPNOTSUPP, "built without libcrypto");
}

void
q2_seal_open(struct qcow2 *s)
{
    q2_seal_new(s);
}

void
q2_seal_mark(struct qcow2 *s)
{
    (void)s;
}

void
q2_sealed_next(struct q2_io *q)
{
    q2_io_came(q, -EOPNOTSUPP);
}

void
q2_sealed_done(struct q2_io *q, int64_t n)
{
    q2_io_came(q, n);
}

uint64_t
q2_seal_worked(const struct q2_seal *e)
{
    (void)e;
    return 0;
}
#endif
