/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * buffers.h: where the data of a disk's requests lie while we have them.
 *
 * A memfd, so that a soft device in another process sees the very same pages;
 * cut into slabs of 1 MiB.  A request gets one contiguous run of pages in one
 * slab.  A slab takes memory, and is registered with the loop's I/O, from its
 * first use until it lay idle for a while.  An idle disk has no timer running
 * and holds no memory here.
 */
#ifndef CHANNEL_BUFFERS_H
#define CHANNEL_BUFFERS_H

#include "host/host.h"

enum {
    BUFFERS_PAGE = 4096,
    BUFFERS_SLAB = 1 << 20,
    BUFFERS_SLAB_PAGES = BUFFERS_SLAB / BUFFERS_PAGE
};

struct buffers_slab {
    uint64_t free[BUFFERS_SLAB_PAGES / 64]; /* a bit per page */
    uint16_t used;                          /* pages */
    uint8_t idle;                           /* ticks without a page in use */
    bool warm, registered;
};

struct buffers {
    struct loop *loop;
    uint8_t *addr;
    size_t size;
    int fd;
    unsigned slabs;
    struct buffers_slab *slab;
    struct blk_timer timer; /* one tick; runs while a warm slab is idle, and
                               after buffers_rest() */
    bool ticking;
    void (*cold)(void *arg); /* all memory was just given back; may be NULL */
    void *arg;
};

/* At most max bytes (at least one slab).  0 or -errno. */
int buffers_init(struct buffers *, struct loop *, size_t max);
/* All given back. */
void buffers_free(struct buffers *);
/* NULL: no room now.  0 < len <= BUFFERS_SLAB. */
void *buffers_get(struct buffers *, size_t len);
void buffers_put(struct buffers *, void *addr, size_t len);
/* Work with memory from elsewhere ended: cold() is due as if it were ours. */
void buffers_rest(struct buffers *);

#endif
