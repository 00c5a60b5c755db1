/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt.h: what the three parts of the crypt plugin share: crypt.c has the
 * options and the life, crypt_open.c gets the key, crypt_io.c serves requests.
 *
 * Memory is taken at start and bounded: writes are encrypted in chunks of the
 * layer's own, never in the pages that they come from, which may be a guest's.
 */
#ifndef PLUGINS_CRYPT_CRYPT_H
#define PLUGINS_CRYPT_CRYPT_H

#include "blktap/plugin.h"
#include "plugins/common/sealer.h"
#include "plugins/crypt/key.h"
#include "plugins/crypt/luks.h"

enum { CRYPT_OWN = 1 }; /* to read the header */

enum crypt_mode { CRYPT_MODE_LUKS, CRYPT_MODE_PLAIN };

/* While the layer starts. */
struct crypt_opening {
    struct blk_layer *layer;
    struct blk_timer again;
    struct blk_work work;
    struct blk_open open; /* of a detached header */
    struct blk_io io;     /* on it */
    struct iovec v;
    struct luks luks;
    void (*next)(struct crypt_opening *); /* when all is read */
    uint8_t *copy;                        /* of the header; size bytes, fd */
    size_t size;
    int fd;
    uint64_t off, end; /* what is being read */
    unsigned area;     /* of a key slot */
    bool turn;         /* nobody else opens a header */
    int error;         /* of a worker */
    char why[300];
};

struct crypt {
    uint64_t mode; /* the options */
    struct key_from from;
    char *header;
    uint64_t plain_sector, plain_offset;
    uint64_t memory, worker, kdf_memory;
    bool discard;

    struct crypt_opening *opening; /* NULL: it is over */
    uint8_t *key;                  /* LUKS_KEY_BYTES, in secret memory */
    size_t key_len;
    uint64_t data, iv; /* as of struct luks */
    uint32_t sector;   /* bytes that are encrypted as one */
    uint64_t luks;     /* the version; 0: plain */
    struct sealer sealer;

    uint64_t waited;
};

/* crypt_open.c: gets the key and what goes with it into self; then comes
 * crypt_ready(). */
void crypt_open(struct blk_layer *);
void crypt_ready(struct blk_layer *, int error); /* crypt.c */
/* Whether a worker somewhere in the process derives a key: that takes long. */
bool crypt_opens(void);
/* The layer's own request came back. */
void crypt_opened(struct blk_layer *, struct blk_req *);

/* crypt_io.c */
int crypt_prepare(struct crypt *); /* chunks and contexts; 0 or -errno */
void crypt_release(struct crypt *);
void crypt_submit(struct blk_layer *, struct blk_req *);
void crypt_done(struct blk_layer *, struct blk_req *);

#endif
