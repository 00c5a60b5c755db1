/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chan.h: the device channel, server side: one connected front-end, with its
 * rings, as a stream of validated requests.
 *
 * Everything that a guest can write is handled in this folder.  A ring entry
 * is copied once, converted from the guest's ABI, and only the private copy is
 * validated (XSA-155); the ring page's type is opaque outside of ring.c.  Data
 * move by grant copy only, one batch for a whole sweep over all rings of a
 * tap.  Units: bytes, but for what blkif.h calls sectors (512 bytes), which do
 * not leave this folder.
 *
 * Threads: all on one data loop.
 */
#ifndef CHANNEL_CHAN_H
#define CHANNEL_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blktap/plugin.h"
#include "host/host.h"

enum {
    CHAN_QUEUES_MAX = 16,
    CHAN_ORDER_MAX = 4,      /* 16 pages, 512 entries */
    CHAN_INDIRECT_MAX = 256, /* segments of an INDIRECT request; 1 MiB */
    CHAN_DIRECT_MAX = 11
};

/* x86_64, arm and arm64 share one layout. */
enum chan_abi { CHAN_ABI_64, CHAN_ABI_X86_32 };

struct chan;
struct sweep; /* all channels of one tap; one per tap */

/* A guest's request, decoded and validated.  The channel's; the receiver's
 * until chan_complete().  For a WRITE, data is already in buf. */
struct chan_io {
    uint8_t op;    /* enum blk_op: READ, WRITE, FLUSH, DISCARD */
    uint8_t flags; /* enum blk_flag: FUA of a barrier */
    bool barrier;  /* WRITE_BARRIER: see ops->request */
    uint16_t queue;
    uint64_t off, len; /* bytes */
    struct iovec iov;  /* len bytes of the disk's buffers: READ, WRITE */
    void *user;        /* the receiver's word */
};

struct chan_ops {
    /* A request to do; answered once with chan_complete(), now or later, in
     * any order.  A barrier is handed over only after everything consumed
     * before it on its ring was answered, and nothing after it is consumed
     * until it is; the receiver flushes, writes (len may be 0), flushes. */
    void (*request)(void *ctx, struct chan_io *);
    /* The front-end broke the ring: it is stopped, and nothing more will be
     * consumed.  The sentence says what was expected and what was found. */
    void (*broken)(void *ctx, const char *why);
    /* It began to send more rubbish than it may (see throttle.c), after ten
     * seconds at least in which it did not.  May be NULL; must not close the
     * channel. */
    void (*throttled)(void *ctx);
    /* Who lends memory for the data of a READ or WRITE that request() is about
     * to be called with, before control goes back to the loop; NULL: nobody.
     * What it can't lend now lies in the channel's own.  May be NULL. */
    struct blk_lender *(*lender)(void *ctx);
};

struct chan_params {
    uint32_t domid;
    enum chan_abi abi;
    unsigned queues, order;
    struct {
        uint32_t refs[1u << CHAN_ORDER_MAX];
        uint32_t port;
    } queue[CHAN_QUEUES_MAX];
    uint64_t size;         /* bytes; a guest's request must lie inside */
    uint32_t align;        /* of requests that the disk takes: 512 or 4096;
                              the chain repairs what is not aligned */
    uint32_t max_indirect; /* 0: INDIRECT is refused */
    bool readonly, discard, barrier;
    unsigned inflight_max; /* requests at a time, all queues; 0: all slots */
    size_t buffer_max;     /* bytes of data buffers; at least 1 MiB */
    uint64_t nonce;        /* generation of this connection, for the table */
    /* The front-end is connected already, to an earlier process of ours: it
     * may have requests without an answer that only the table knows. */
    bool resumed;
    int room; /* > 0: an empty file of ours for a new table; without one, or
                 where no place is left for it, a memfd */
};

/* What `stats` shows of a channel. */
struct chan_stats {
    uint64_t requests[BLK_OPS], bytes[BLK_OPS], errors[BLK_OPS];
    uint64_t indirect, segments, sweeps, copies, copy_calls, copy_errors;
    uint64_t notifies, events, spurious, malformed, stalls;
    uint64_t throttled; /* pauses that rubbish has cost it */
};

int sweep_new(struct sweep **, struct tap *);
void sweep_free(struct sweep *);

/* Maps, binds, makes buffers and the in-flight table; takes requests from then
 * on.  0, or -errno with a sentence in why.  inherit: an earlier table (fd) of
 * the same connection to go on from, or -1.
 *
 * When resumed, and there is no table or one that can't be used, rings without
 * an unanswered request are gone on from (0, and why says what was wrong);
 * with one, nothing is touched (-EUCLEAN): where it went can't be known, so
 * that to begin at rsp_prod could do an answered request twice and never one
 * that overtook it, and to begin at req_prod would lose them all. */
int chan_open(struct chan **, struct sweep *, const struct chan_params *,
              const struct chan_ops *, void *ctx, int inherit, char *why,
              size_t why_size);
/* Stop consuming; idle() is called once nothing is in flight and all answers
 * are published (at once, if so already; from a task, never from inside). */
void chan_drain(struct chan *, void (*idle)(void *arg), void *arg);
/* Consume again, after chan_drain(). */
void chan_resume(struct chan *);
/* Ring and ports are given back now; what is in flight ends unanswered, and
 * the memory goes with the last chan_complete(). */
void chan_close(struct chan *);
void chan_resize(struct chan *, uint64_t size);
void chan_complete(struct chan_io *, int error);
unsigned chan_inflight(const struct chan *);
/* Most requests that can be in flight: size pools with it. */
unsigned chan_depth(const struct chan *);
const struct chan_stats *chan_stats(const struct chan *);
/* What was acknowledged to this front-end may be lost, and it has to be told so
 * from now on, by whoever serves it: stands in the table when this returns, so
 * call it before the error is answered.  Also of a closed channel, as long as
 * it has requests to complete. */
void chan_lossy(struct chan *);
/* A person had it mended: it may be served again. */
void chan_mended(struct chan *);
/* Whether chan_lossy() was called, in this life or in one before. */
bool chan_is_lossy(const struct chan *);
/* Whose request it is. */
struct chan *chan_of(const struct chan_io *);
/* Whether it went on from the table that it was given. */
bool chan_adopted(const struct chan *);
/* Whether fd is the table of the connection with this nonce; a damaged one is
 * perhaps not found to be. */
bool chan_table_of(int fd, uint64_t nonce);
/* The in-flight table's memfd or file, to be kept; or -1. */
int chan_table_fd(const struct chan *);

#endif
