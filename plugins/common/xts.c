/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/common/xts.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/common/secret.h"

struct xts {
    EVP_CIPHER_CTX *ctx[XTS_WAYS];
    uint32_t sector;
};

/* The memory of the context is secret, that of the cipher is not. */
static EVP_CIPHER_CTX *
xts_context(const EVP_CIPHER *cipher, const uint8_t *key, enum xts_way way)
{
    EVP_CIPHER_CTX *ctx;
    int ok;

    secret_begin();
    ctx = EVP_CIPHER_CTX_new();
    ok = ctx &&
         EVP_CipherInit_ex2(ctx, cipher, key, NULL, way == XTS_ENCRYPT, NULL);
    secret_end();
    if (ok)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

struct xts *
xts_new(const uint8_t *key, size_t len, uint32_t sector)
{
    struct xts *x = calloc(1, sizeof(*x));
    EVP_CIPHER *cipher =
        EVP_CIPHER_fetch(NULL, len == 64 ? "AES-256-XTS" : "AES-128-XTS", NULL);
    int way;

    if (!x || !cipher || (len != 32 && len != 64))
        goto fail;
    x->sector = sector;
    for (way = 0; way < XTS_WAYS; way++) {
        x->ctx[way] = xts_context(cipher, key, (enum xts_way)way);
        if (!x->ctx[way])
            goto fail;
    }
    EVP_CIPHER_free(cipher);
    return x;
fail:
    EVP_CIPHER_free(cipher);
    xts_free(x);
    return NULL;
}

void
xts_free(struct xts *x)
{
    int way;

    for (way = 0; x && way < XTS_WAYS; way++)
        EVP_CIPHER_CTX_free(x->ctx[way]);
    free(x);
}

int
xts_run(struct xts *x, enum xts_way way, uint64_t number, uint8_t *buf,
        size_t n)
{
    EVP_CIPHER_CTX *ctx = x->ctx[way];
    uint8_t tweak[16] = { 0 };
    size_t at;
    int i, out;

    for (at = 0; at < n; at += x->sector) {
        const uint64_t sector = number + at / 512;

        for (i = 0; i < 8; i++)
            tweak[i] = (uint8_t)(sector >> (8 * i));
        if (!EVP_CipherInit_ex(ctx, NULL, NULL, NULL, tweak, -1) ||
            !EVP_CipherUpdate(ctx, buf + at, &out, buf + at, (int)x->sector) ||
            (uint32_t)out != x->sector)
            return -EIO;
    }
    return 0;
}

/* ---- scatter lists ------------------------------------------------------- */

void
walk_begin(struct walk *w, const struct blk_sg *sg)
{
    w->v = sg->v;
    w->skip = sg->skip;
}

/* As much as there is in one piece, at most n; *p is where. */
static size_t
walk_piece(struct walk *w, uint8_t **p, size_t n)
{
    size_t left;

    while (w->skip >= w->v->iov_len) {
        w->skip -= w->v->iov_len;
        w->v++;
    }
    left = w->v->iov_len - w->skip;
    *p = (uint8_t *)w->v->iov_base + w->skip;
    if (n > left)
        n = left;
    w->skip += n;
    return n;
}

void
walk_read(struct walk *w, uint8_t *to, size_t n)
{
    uint8_t *p;
    size_t part;

    for (; n > 0; n -= part, to += part) {
        part = walk_piece(w, &p, n);
        memcpy(to, p, part);
    }
}

void
walk_write(struct walk *w, const uint8_t *from, size_t n)
{
    uint8_t *p;
    size_t part;

    for (; n > 0; n -= part, from += part) {
        part = walk_piece(w, &p, n);
        memcpy(p, from, part);
    }
}
