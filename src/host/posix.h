/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix.h: what the parts of the posix loop know of each other.
 *
 * Threads: a struct posix_loop belongs to its thread, but for the mailbox and
 * the pool, which say so.
 */
#ifndef HOST_POSIX_H
#define HOST_POSIX_H

#include <stdatomic.h>

#include "host/host.h"

#define posix_container(p, type, member) \
    ((type *)(void *)((char *)(p)-offsetof(type, member)))

struct posix_loop;
struct posix_pool;
struct posix_uring;

/* Something for a worker.  mail.run, when set, is called on the loop after
 * work() returned; without it the job belongs to work(), which may free it. */
struct posix_job {
    struct loop_mail mail;
    void (*work)(struct posix_job *);
    struct posix_loop *loop;
};

/* A file is written by the worker that opens it, then read only; what is
 * learned about it (atomic) may be seen late without harm. */
struct posix_file {
    int fd;
    bool device, locked;
    uint32_t flags;       /* enum blk_file_flag */
    atomic_bool no_zero;  /* ZERO_RANGE is not supported */
    atomic_bool no_punch; /* a device: BLKDISCARD, as PUNCH_HOLE fails */
    struct posix_job close;
};

/* In blk_io.private_. */
struct posix_io {
    struct posix_job job;
    struct blk_io *next;
    uint32_t retries;
};

/* posix_loop.c */
void posix_post(struct posix_loop *, struct loop_mail *); /* any thread */
struct posix_pool *posix_loop_pool(struct posix_loop *);
struct loop *posix_loop_of(struct posix_loop *);

/* posix_work.c: threads; never fewer than one. */
int posix_pool_new(struct posix_pool **, const char *name, unsigned threads);
/* Any thread, but not after posix_pool_free() began. */
void posix_pool_put(struct posix_pool *, struct posix_job *);
/* Does what is queued, then ends the threads. */
void posix_pool_free(struct posix_pool *);
void posix_work(struct posix_loop *, struct blk_work *);

/* posix_file.c: on workers. */
void posix_file_open(struct posix_loop *, struct blk_open *);
void posix_file_stat(struct posix_loop *, struct blk_open *);
void posix_file_close(struct posix_loop *, struct posix_file *);

/* posix_info.c: may block. */
int posix_file_info(int fd, uint32_t flags, struct blk_file_info *);

/* posix_io.c: I/O as system calls that block, on workers. */
void posix_io_start(struct posix_loop *, struct blk_io *);
int64_t posix_io_do(struct blk_io *);
/* The flags of fallocate(2) for PUNCH and ZERO. */
int posix_io_mode(const struct blk_io *);

/* posix_uring.c */
int posix_uring_new(struct posix_uring **, struct posix_loop *,
                    unsigned entries);
/* Waits for what the kernel still does; done() is not called any more. */
void posix_uring_free(struct posix_uring *);
int posix_uring_fd(const struct posix_uring *); /* readable: reap */
void posix_uring_io(struct posix_uring *, struct blk_io *);
/* Hands all that was queued to the kernel, in one call.  False: the kernel
 * would not take it now; try again in a while. */
bool posix_uring_submit(struct posix_uring *);
/* Calls done() for all that completed; how many. */
unsigned posix_uring_reap(struct posix_uring *);
int posix_uring_buffer_add(struct posix_uring *, void *addr, size_t len);
void posix_uring_buffer_remove(struct posix_uring *, void *addr, size_t len);

#endif
