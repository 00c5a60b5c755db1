/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * luks.h: LUKS1 and LUKS2 headers, by libcryptsetup.
 *
 * The header is a copy in memory that has a descriptor, as the layer below is
 * nothing that the library could open.  Only what is needed is copied, in two
 * steps: the header proper (luks_first() says how much that is), which is
 * loaded; then the areas of the key slots in use, which loading has told.
 * There is no device-mapper and no loop device; what the library mends in the
 * header it mends in the copy.
 *
 * Threads: luks_load() and luks_unlock() block, and take memory and time, as
 * much as the header says and luks_bounds lets it: a worker's, and one at a
 * time in the process.
 */
#ifndef PLUGINS_CRYPT_LUKS_H
#define PLUGINS_CRYPT_LUKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugins/crypt/key.h"

enum {
    LUKS_SLOTS = 32,
    LUKS_HEAD = 4096,    /* what luks_first() looks at */
    LUKS_KEY_BYTES = 64, /* of AES-256-XTS; the longest volume key */
    LUKS_ITERATIONS = 100 * 1000 * 1000,
    LUKS_PASSES = 64, /* of argon2, through all its memory */
    LUKS_THREADS = 16
};
/* Where a header and its key slots end at the latest. */
#define LUKS_SIZE_MAX ((size_t)160 << 20)

struct crypt_device;

struct luks_area {
    uint64_t off, len; /* bytes; inside of the copy */
};

struct luks {
    struct crypt_device *cd;
    char said[200]; /* by the library, last */
    bool detached;
    uint64_t memory_max; /* of a key derivation, bytes */

    /* By luks_load(). */
    int version;
    uint64_t data; /* where the data begins, bytes */
    uint64_t iv;   /* the number of its first sector, of 512 bytes */
    uint32_t sector;
    size_t key_len;
    struct luks_area area[LUKS_SLOTS];
    unsigned areas;
};

/* How much of the header is to be copied before luks_load(), at most size:
 * head has LUKS_HEAD bytes (zeroes behind the end). */
size_t luks_first(const uint8_t *head, size_t size);
/* copy: where fd, of size bytes, is mapped.  0, or -errno and why; either way
 * luks_close(). */
int luks_load(struct luks *, int fd, const uint8_t *copy, size_t size,
              char *why, size_t n);
/* key: LUKS_KEY_BYTES; key_len of them are set.  0, or -errno and why. */
int luks_unlock(struct luks *, const struct key *, uint8_t *key, char *why,
                size_t n);
void luks_close(struct luks *);

#endif
