/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kept.h: a ring of memory for the data of requests, in the order in which
 * they were sent, of a size that never grows.
 *
 * The writes of a disk stay in it from when they are sent until a flush covers
 * them, so that they can be sent again to a server that died in between:
 *
 *     kept_add() --> FLYING --kept_acked()--> ACKED --kept_flushed()--> DEAD
 *                        \------------------kept_drop()------------------^
 *
 * Space comes back in the order in which it was taken; a DEAD entry waits for
 * those before it.
 *
 * Threads: that of the disk.  Nothing is allocated after kept_init().
 */
#ifndef PLUGINS_NBD_KEPT_H
#define PLUGINS_NBD_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kept_state { KEPT_FLYING, KEPT_ACKED, KEPT_DEAD };

struct kept_entry {
    uint32_t size; /* bytes of the ring, with this header and what pads it */
    uint32_t len;  /* bytes of the disk */
    uint64_t off;
    uint64_t seq; /* of the acknowledgement; in ACKED */
    uint8_t state, op, flags;
    void *owner; /* the caller's: who waits for it; may be NULL */
    uint8_t data[] __attribute__((aligned(64)));
};

struct kept {
    uint8_t *ring;
    size_t size;
    size_t head, tail; /* bytes, modulo size; head: where the next begins */
    size_t used;       /* bytes from tail to head */
    uint64_t seq;      /* of the latest acknowledgement */
    uint64_t acked;    /* entries in ACKED */
};

/* 0 or -ENOMEM.  Memory is taken from the system as it is first used. */
int kept_init(struct kept *, size_t size);
void kept_free(struct kept *);

/* A FLYING entry with room for bytes of data, or NULL: no room now.  The most
 * bytes that always find room in an empty ring: kept_most(). */
struct kept_entry *kept_add(struct kept *, size_t bytes);
size_t kept_most(const struct kept *);

void kept_acked(struct kept *, struct kept_entry *);
void kept_drop(struct kept *, struct kept_entry *);
/* A flush is over that was sent when seq was k->seq. */
void kept_flushed(struct kept *, uint64_t seq);

/* The oldest entry that is not DEAD, the next one after e; or NULL. */
struct kept_entry *kept_first(struct kept *);
struct kept_entry *kept_next(struct kept *, struct kept_entry *);

#endif
