/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blktap/app.h: libblktap: a local process as the front-end of a disk.
 *
 * The process speaks the same ring protocol as a guest does, over a memfd and
 * eventfds that the daemon hands out on its control socket.
 *
 * Units: bytes, and offsets in bytes; both multiples of 512.  Errors: 0 or
 * -errno, and where a person reads it one sentence.  Threads: a connection
 * belongs to one thread at a time; different connections are independent.
 * Ownership: a request and its buffer are the caller's; they must stay until
 * the callback was called.
 */
#ifndef BLKTAP_APP_H
#define BLKTAP_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blktap_disk;

struct blktap_options {
    const char *socket;  /* NULL: /run/blktapd/control */
    unsigned queues;     /* 0: 1 */
    unsigned ring_order; /* pages of a ring, as a power of two; 0 to 4 */
    unsigned indirect;   /* most segments of a request; 0: what is offered */
    unsigned buffers;    /* bytes of data pages; 0: 4 MiB */
    bool readonly;
};

struct blktap_info {
    uint64_t size;
    uint32_t physical_block;
    uint32_t discard_granularity; /* 0: no discard */
    uint32_t max_len;             /* of one request */
    unsigned queues, depth;       /* depth: requests in flight, all queues */
    bool readonly, flush;
};

enum blktap_op { BLKTAP_READ, BLKTAP_WRITE, BLKTAP_FLUSH, BLKTAP_DISCARD };

struct blktap_req {
    enum blktap_op op;
    unsigned queue;
    uint64_t off;
    uint64_t len; /* READ, WRITE: at most max_len; FLUSH: 0 */
    void *buf;    /* copied to or from the granted pages */
    void (*done)(struct blktap_req *);
    void *data;
    int error; /* in done(): 0, -EIO or -EOPNOTSUPP */
    void *private_[4];
};

/* NULL with a malloc'd sentence in *why (which may be NULL). */
struct blktap_disk *blktap_open(const char *disk, const struct blktap_options *,
                                char **why);
/* What is in flight ends with -ECANCELED. */
void blktap_close(struct blktap_disk *);
const struct blktap_info *blktap_info(const struct blktap_disk *);

/* 0; -EAGAIN: ring or pages are full, reap first; -EINVAL; -EROFS. */
int blktap_submit(struct blktap_disk *, struct blktap_req *);
/* Publish what was submitted, and notify where the back-end asks for it. */
void blktap_kick(struct blktap_disk *);
/* Readable when blktap_reap() may find something, and for good when the daemon
 * is gone. */
int blktap_fd(const struct blktap_disk *);
/* Calls done() of what is answered; the number, or -EPIPE: the daemon is
 * gone, or -EPROTO: it broke the ring. */
int blktap_reap(struct blktap_disk *);
/* Kick, then wait until at least one is answered, or timeout_ms passed (-1:
 * none); as blktap_reap(). */
int blktap_wait(struct blktap_disk *, int timeout_ms);

#ifdef __cplusplus
}
#endif
#endif
