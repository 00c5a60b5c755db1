/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front.h: the front-end of a real back-end, of this domain or of another.
 *
 *   data loop                                  control loop
 *   ┌───────────────────────────────┐   mail   ┌───────────────────────────┐
 *   │ front: pool, rings, ports     │◄────────►│ link: XenStore nodes,     │
 *   │        requests and answers   │          │       states of both ends │
 *   └───────────────────────────────┘          └───────────────────────────┘
 *
 * The back-end is not trusted: of what it writes nothing is believed but what
 * was asked for, and nothing of it makes us allocate, loop or stop (XSA-391,
 * XSA-396, XSA-403).  A back-end that breaks the protocol ends its own front.
 *
 * Requests wait while the back-end is away, and are sent again to it when it
 * is back: all that it did not answer.
 *
 * Modules of the daemon reach this by blk_fronts(); so there is a table of
 * functions and no symbol.  Threads: all on one data loop.
 */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "blktap/plugin.h"
#include "host/host.h"

enum {
    FRONT_ORDER_MAX = 4,
    FRONT_DIRECT_MAX = 11,
    FRONT_SEGMENTS_MAX = 256,
    FRONT_PAGES_MIN = 2 * FRONT_DIRECT_MAX,
    FRONT_PAGES_MAX = 4096,
    FRONT_PAGES_USUAL = 320, /* 1 MiB of it can be lent */
    FRONT_QUEUES_MAX = 8,
    FRONT_PATH = 256
};

struct front;

/* Copied by open(). */
struct front_conf {
    const char *path;    /* our own directory in XenStore */
    uint64_t connect_ns; /* open() fails after it */
    uint64_t timeout_ns; /* a request without an answer; 0: waits for ever */
    /* Of data that can be under way; _MIN to _MAX.  0: _USUAL, or as many as
     * the machine's limit of granted pages allows. */
    unsigned pages;
    unsigned order;  /* of a ring, at most */
    unsigned queues; /* rings, at most; 1 to _MAX */
};

/* What the back-end is, as it says.  Bytes. */
struct front_info {
    uint64_t size;
    uint32_t align, block; /* logical and physical sector */
    uint32_t discard_align;
    unsigned segments; /* pages of one READ or WRITE */
    unsigned order;    /* of its rings, at most */
    unsigned queues;   /* of them, at most */
    bool readonly, flush, barrier, discard;
};

/* From the loop; opened() and fatal() may close the front, and no other call
 * into it is allowed. */
struct front_user {
    /* Once: it is connected, or why not (then it is still to be closed). */
    void (*opened)(void *ctx, int error, const char *why);
    /* info() is another than it was. */
    void (*changed)(void *ctx);
    /* It is of no use any more: everything ends with -EIO. */
    void (*fatal)(void *ctx, int error, const char *why);
    void (*log)(void *ctx, enum blk_level, const char *line);
};

/* One request.  The caller's until submit(), and again from done() on, which
 * may be called inside of submit(). */
struct front_io {
    uint8_t op; /* READ, WRITE, FLUSH, DISCARD */
    uint32_t len;
    uint64_t off;
    const struct blk_sg *sg;
    void (*done)(struct front_io *, int error);
    /* The front's. */
    struct front_io *next;
    uint64_t since, flushes; /* FLUSH: the writes that it covers */
    uint16_t page;           /* the first of its pages */
    uint16_t list;           /* the page of its segments, while it is sent */
    bool paged;              /* it has them */
    bool straight;           /* it needs none: its data lie in lent memory */
};

struct front_counters {
    uint64_t sent, again, kicks, events, spurious, full, connects;
    /* Reads and writes whose data lay in lent memory, and others; and what was
     * copied for those. */
    uint64_t straight, straight_bytes, copied, copied_bytes;
    /* As it is now: rings, pages of data; and what was sent in each ring. */
    uint64_t queues, pages, queue_sent[FRONT_QUEUES_MAX];
};

struct front_ops {
    /* 0: opened() comes; or -errno with a sentence in why. */
    int (*open)(struct fronts *, const struct front_conf *,
                const struct front_user *, void *ctx, struct front **,
                char *why, size_t n);
    /* Another ctx and another timeout from now on. */
    void (*hand)(struct front *, uint64_t timeout_ns, void *ctx);
    const struct front_info *(*info)(const struct front *);
    const struct front_counters *(*counters)(const struct front *);
    /* One word: "connected", "waiting" ... */
    const char *(*state)(const struct front *);
    /* Once it was opened.  Lends of the memory that is granted to the
     * back-end; works on as long as some of it is lent, also without the
     * front. */
    struct blk_lender *(*lender)(struct front *);
    /* At most info()->segments pages of data, at multiples of align. */
    void (*submit)(struct front *, struct front_io *);
    /* What was submitted goes out. */
    void (*kick)(struct front *);
    /* No request is under way (or it is fatal).  The front is gone when
     * closed() is called. */
    void (*close)(struct front *, void (*closed)(void *ctx), void *ctx);
};

/* What fronts of one data loop need; it is in loop->fronts. */
struct front_links;
struct fronts {
    const struct front_ops *ops;
    struct loop *data;
    struct gate *gate; /* NULL: none, for the reason in why */
    struct front_links *links;
    char why[200];
};

/* On the control loop; the store is used by nobody else. */
int front_links_new(struct front_links **, struct loop *control,
                    struct store *);
/* Every front is closed. */
void front_links_free(struct front_links *);
/* gate may be NULL, with the reason in why. */
void fronts_init(struct fronts *, struct loop *data, struct gate *gate,
                 struct front_links *, const char *why);

#endif
