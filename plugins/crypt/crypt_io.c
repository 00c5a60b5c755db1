/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt_io.c: requests.
 *
 *   WRITE   copied into chunks ─► encrypted there ─► down ─► chunks back
 *   READ    down ─► copied piece by piece, decrypted, copied back
 *
 * Between the read below and the end the memory of a READ holds the ciphertext.
 * No request is given to a worker while one derives a key.
 */
#include "plugins/crypt/crypt.h"

#include <errno.h>

int
crypt_prepare(struct crypt *d)
{
    d->sealer.worker = d->worker;
    d->sealer.busy = crypt_opens;
    return sealer_init(&d->sealer, d->key, d->key_len, d->sector, d->memory);
}

void
crypt_release(struct crypt *d)
{
    sealer_free(&d->sealer);
}

static void
encrypted(struct sealer_io *q)
{
    struct crypt *d = blk_self(q->layer);
    struct blk_req *r = q->data;

    if (q->error) {
        sealer_give(&d->sealer, q);
        blk_end(q->layer, r, q->error);
        return;
    }
    r->sg = (struct blk_sg){ .v = q->v, .n = q->n };
    r->off += d->data;
    blk_down(q->layer, r);
}

static void
decrypted(struct sealer_io *q)
{
    blk_end(q->layer, q->data, q->error);
}

/* off: within the data. */
static struct sealer_io *
begin(struct blk_layer *l, struct blk_req *r, uint64_t off,
      void (*done)(struct sealer_io *))
{
    struct crypt *d = blk_self(l);
    struct sealer_io *q = r->scratch;

    q->layer = l;
    q->data = r;
    q->done = done;
    q->sg = r->sg;
    q->len = r->len;
    q->number = d->iv + off / 512;
    return q;
}

void
crypt_submit(struct blk_layer *l, struct blk_req *r)
{
    struct crypt *d = blk_self(l);

    if (r->op != BLK_WRITE) {
        if (r->op != BLK_FLUSH)
            r->off += d->data;
        blk_down(l, r);
        return;
    }
    if (!sealer_room(&d->sealer, r->len)) {
        d->waited++;
        blk_wait(l, r);
        return;
    }
    sealer_encrypt(&d->sealer, begin(l, r, r->off, encrypted));
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
        sealer_decrypt(&d->sealer, begin(l, r, r->off - d->data, decrypted));
        return;
    }
    if (r->op == BLK_WRITE)
        sealer_give(&d->sealer, r->scratch);
    blk_end(l, r, r->error);
}
