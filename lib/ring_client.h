/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring_client.h: the front-end's end of one blkif ring (xen/io/blkif.h): it
 * writes requests and reads answers.  Pure: no I/O, no memory of its own, no
 * clock; what a page's reference means is the caller's business (a grant, or
 * the number of a page in a memfd).
 *
 * The peer's bytes are not trusted: an answer is copied once, and its id and
 * operation must be those of a request that waits.
 *
 * Life of a request: put, publish (it is the peer's from here on), take.
 * Threads: one at a time.
 */
#ifndef LIB_RING_CLIENT_H
#define LIB_RING_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RING_ORDER_MAX = 4,
    RING_ENTRIES_MAX = 512,
    RING_DIRECT_MAX = 11,   /* segments that fit into the ring's entry */
    RING_INDIRECT_MAX = 512 /* segments that fit into one indirect page */
};

enum ring_op {
    RING_READ,
    RING_WRITE,
    RING_BARRIER, /* a write with a flush before and after it */
    RING_FLUSH,
    RING_DISCARD,
    RING_OPS
};

/* Sectors first to last (both included, 0 to 7) of the page ref. */
struct ring_seg {
    uint32_t ref;
    uint8_t first, last;
};

/* One per entry of the ring; the caller's memory, ours to use. */
struct ring_slot {
    void *user;            /* of the request that waits here */
    void *indirect;        /* a page for the list of segments, or NULL */
    uint32_t indirect_ref; /* its reference; both may change while it is free */
    uint16_t next;
    uint8_t op;
    bool waits;
};

struct blkif_sring;

struct ring_client {
    struct blkif_sring *ring;
    struct ring_slot *slot;
    uint32_t entries, used;
    uint32_t req_prod;  /* next entry to write */
    uint32_t published; /* what the peer has been shown */
    uint32_t rsp_cons;  /* next answer to read */
    uint16_t first;     /* of the free slots */
    const char *broken; /* the peer broke the ring: how; or NULL */
};

struct ring_request {
    enum ring_op op;
    uint64_t sector, sectors; /* sectors: of DISCARD; else the segments' */
    const struct ring_seg *seg;
    unsigned segs;
    void *user;
};

struct ring_answer {
    void *user;
    uint32_t slot; /* where it was; free again */
    int error;     /* 0, -EIO or -EOPNOTSUPP */
};

/* Entries of a ring of 1 << order pages; a power of two. */
uint32_t ring_client_entries(unsigned order);
/* Makes pages (1 << order of them) an empty ring.  slot: as many as entries,
 * zeroed but for indirect and indirect_ref. */
void ring_client_init(struct ring_client *, void *pages, unsigned order,
                      struct ring_slot *slot);
/* The slot that the next put takes; NULL: the ring is full. */
struct ring_slot *ring_client_next(struct ring_client *);
/* 0; -EAGAIN: the ring is full; -EINVAL: segments are missing, too many, or
 * not inside of a page. */
int ring_client_put(struct ring_client *, const struct ring_request *);
/* Shows the peer all that was put; true: it wants to be notified. */
bool ring_client_publish(struct ring_client *);
/* 1: an answer; 0: none; -EPROTO: see broken, and use the ring no more. */
int ring_client_take(struct ring_client *, struct ring_answer *);
/* Asks for a notification with the next answer; true: one has come already,
 * so take again. */
bool ring_client_rearm(struct ring_client *);
/* Takes back any request that waits, without an answer; false: none is left.
 * For a ring that will not be used any more. */
bool ring_client_cancel(struct ring_client *, struct ring_answer *);

#endif
