/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xts.h: sectors by AES-XTS (IEEE 1619), as dm-crypt's aes-xts-plain64: the
 * tweak of a sector is the number of its first 512 bytes, as 64 bits, little
 * end first; also where sectors have 4096 bytes.
 *
 * And walks over a scatter list, which worker threads may do, too.
 */
#ifndef PLUGINS_COMMON_XTS_H
#define PLUGINS_COMMON_XTS_H

#include <stddef.h>
#include <stdint.h>

#include "blktap/plugin.h"

enum xts_way { XTS_ENCRYPT, XTS_DECRYPT, XTS_WAYS };

struct xts;

/* len: 32 or 64 bytes, two keys of AES-128 or AES-256.  One xts serves one
 * thread at a time.  NULL: libcrypto can't, or does not want this key (its
 * halves are equal), or there is no memory that can be locked. */
struct xts *xts_new(const uint8_t *key, size_t len, uint32_t sector);
void xts_free(struct xts *);
/* n bytes in place, whole sectors; number: of the first 512 bytes.  0 or -EIO,
 * which no input can cause. */
int xts_run(struct xts *, enum xts_way, uint64_t number, uint8_t *, size_t n);

struct walk {
    const struct iovec *v;
    size_t skip; /* bytes of v[0] that were passed */
};

void walk_begin(struct walk *, const struct blk_sg *);
/* The next n bytes; there are as many. */
void walk_read(struct walk *, uint8_t *to, size_t n);
void walk_write(struct walk *, const uint8_t *from, size_t n);

#endif
