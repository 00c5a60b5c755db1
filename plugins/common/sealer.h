/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sealer.h: the data of requests, encrypted and decrypted by AES-XTS: by the
 * loop, or by a worker when there is much of it.
 *
 *   encrypted   copied into chunks of ours, and there
 *   decrypted   where it is, by way of a small copy
 *
 * Both copies make what libcrypto works on stable, whoever else can write to
 * the memory of the request; what somebody changes there meanwhile changes his
 * own data.
 *
 * Threads: one loop's.  Memory is taken at the beginning and bounded.
 */
#ifndef PLUGINS_COMMON_SEALER_H
#define PLUGINS_COMMON_SEALER_H

#include "blktap/plugin.h"
#include "plugins/common/xts.h"

enum {
    SEALER_CHUNK = 32 << 10, /* bytes that one chunk takes */
    SEALER_CHUNKS = 32,      /* of one request: 1 MiB */
    SEALER_JOBS = 8          /* requests that workers have at a time */
};

struct sealer_chunk {
    uint8_t *memory; /* SEALER_CHUNK bytes, aligned as anybody wants */
    struct sealer_chunk *next;
};

/* What a worker uses for a request. */
struct sealer_job {
    struct xts *xts;
    struct sealer_job *next;
};

struct sealer {
    uint64_t worker;    /* from this length on workers do it; 0: none does */
    bool (*busy)(void); /* but not while this is so; may be NULL */
    struct xts *xts;    /* of the loop */
    struct sealer_job jobs[SEALER_JOBS], *job_free;
    uint8_t *chunk_memory;
    struct sealer_chunk *chunks, *chunk_free;
    unsigned chunks_n, chunks_free;
    uint64_t worked; /* requests that workers did */
};

struct sealer_io {
    struct blk_work work;
    /* Whoever asks sets these: */
    struct blk_layer *layer;
    struct blk_sg sg; /* the plain text */
    uint64_t number;  /* of the first 512 bytes */
    uint32_t len;
    void (*done)(struct sealer_io *); /* may come from inside the call */
    void *data;
    /* And finds these: */
    int error;
    uint32_t n;
    struct iovec v[SEALER_CHUNKS]; /* the ciphertext, until sealer_give() */
    /* Ours: */
    struct sealer *sealer;
    struct sealer_job *job;
    struct sealer_chunk *chunk; /* in order */
};

/* worker and busy are set.  0, -EINVAL: libcrypto does not take the key, or
 * can't have locked memory; or -ENOMEM.  After an error, too, sealer_free(). */
int sealer_init(struct sealer *, const uint8_t *key, size_t key_len,
                uint32_t sector, uint64_t memory);
void sealer_free(struct sealer *);
/* Into the log, when libcrypto's own copies of keys are not protected. */
void sealer_warn(struct blk_layer *);
/* Whether there are chunks for so many bytes. */
bool sealer_room(const struct sealer *, uint32_t len);
/* There must be room. */
void sealer_encrypt(struct sealer *, struct sealer_io *);
void sealer_give(struct sealer *, struct sealer_io *);
void sealer_decrypt(struct sealer *, struct sealer_io *);

#endif
