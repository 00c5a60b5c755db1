/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host.h: the one door to the world.  Clock, timers, randomness, files,
 * workers, rings, grants, event channels and XenStore are reached through this
 * header only.
 *
 * A struct loop is one thread and its door: the control loop, or a data loop.
 * Two kinds of loop: posix (libev, io_uring, threads; real time) and sim (in
 * memory, one seed, the clock moved by the test).  A struct tap gives access
 * to device channels: xen (gntdev, evtchn), local (memfd and eventfds of a
 * process beside us) and sim.  A struct store is XenStore: xen (libxenstore)
 * and sim.
 *
 * Threads: everything is called on the thread of the loop it is about, except
 * loop_post(), which is called from anywhere.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blktap/plugin.h"

/* ---- the loop ------------------------------------------------------------ */

/* A round of a loop: (1) what the kernel reported (timers, fds, completions);
 * (2) tasks of STAGE_CHAIN until there are none; (3) tasks of STAGE_FLUSH once
 * each, again from (2) while they made chain tasks; (4) one submission of all
 * file I/O; (5) tasks of STAGE_LAST once each: what can wait until nothing
 * else is left to do, and queues nothing; (6) sleep until something happens.
 * A task that puts itself back in STAGE_NEXT is run in the next round, which
 * then does not sleep. */
enum loop_stage {
    STAGE_CHAIN,
    STAGE_FLUSH,
    STAGE_NEXT,
    STAGE_LAST,
    STAGE_COUNT
};

/* Owned by the caller; queued at most once; run clears queued first. */
struct loop_task {
    void (*run)(struct loop_task *);
    struct loop_task *next;
    bool queued;
};

/* Owned by the sender until run, then by the receiver (run may free it). */
struct loop_mail {
    void (*run)(struct loop_mail *);
    struct loop_mail *next;
};

struct loop;

struct loop_ops {
    uint64_t (*now)(struct loop *);
    uint64_t (*random)(struct loop *);
    void (*timer_start)(struct loop *, struct blk_timer *, uint64_t after_ns);
    void (*timer_stop)(struct loop *, struct blk_timer *);
    void (*watch_start)(struct loop *, struct blk_watch *);
    void (*watch_stop)(struct loop *, struct blk_watch *);
    void (*file_open)(struct loop *, struct blk_open *);
    void (*file_stat)(struct loop *, struct blk_open *);
    void (*file_close)(struct loop *, struct blk_file *);
    void (*io)(struct loop *, struct blk_io *);
    void (*work)(struct loop *, struct blk_work *);
    void (*post)(struct loop *, struct loop_mail *); /* from any thread */
    void (*wake)(struct loop *); /* a task was queued from outside a round */
    /* Memory that I/O will often use, for registered buffers.  A hint: I/O
     * from other memory works too.  Returns 0 or -errno; no harm if it
     * fails.  The kernel pins every page of it, so it is all allocated, and
     * it must not see host_memory_release() before buffer_remove(). */
    int (*buffer_add)(struct loop *, void *addr, size_t len);
    void (*buffer_remove)(struct loop *, void *addr, size_t len);
    void (*run)(struct loop *);  /* until loop_stop() */
    void (*stop)(struct loop *); /* from its own thread */
    void (*free)(struct loop *);
};

/* What layers on several loops of one daemon have in common: blk_share().  Who
 * makes the loops makes it, too, and it outlives them. */
struct commons {
    pthread_mutex_t lock;
    struct common *first; /* the engine's; under lock */
    /* Who makes it may set these two, before there is a chain: the folder of
     * blk_scratch(), or NULL, and why there is none. */
    const char *scratch, *no_scratch;
    struct keeper *keeper; /* of blk_keep(); NULL: there is none */
};

/* Who keeps bytes for layers while there is no process. */
struct keeper {
    /* Any thread.  0, and keep->done() comes on this loop; or -ENOMEM.  name:
     * an attachment and what is behind its second comma. */
    int (*ask)(struct keeper *, struct loop *, const char *name,
               struct blk_keep *keep);
};

void commons_init(struct commons *);

struct fronts; /* front/front.h */

struct loop {
    const struct loop_ops *ops;
    struct fronts *fronts;   /* of a data loop: to be a front-end; or NULL */
    const char *name;        /* "control", "data0"; also the thread's name */
    struct commons *commons; /* lent, before there is a chain; else own */
    struct commons own;
    struct loop_task *head[STAGE_COUNT], **tail[STAGE_COUNT];
};

/* Queue t for this round (or the next, STAGE_NEXT); no-op when queued. */
void loop_defer(struct loop *, struct loop_task *t, enum loop_stage);
void loop_undefer(struct loop *, struct loop_task *t, enum loop_stage);
/* Steps (2) and (3) of a round, for the implementations; true when tasks of
 * STAGE_NEXT wait. */
bool loop_round(struct loop *);
/* Step (5). */
void loop_last(struct loop *);
void loop_init(struct loop *, const struct loop_ops *, const char *name);

struct loop_posix_options {
    unsigned workers;    /* threads for blk_work; 0: one per core, at least 2 */
    unsigned io_entries; /* of the io_uring; 0: no io_uring, workers do I/O */
    unsigned queues;     /* reserved, 0 */
};
/* 0 or -errno with a sentence in why. */
int loop_posix_new(struct loop **, const char *name,
                   const struct loop_posix_options *, char *why, size_t n);
/* SIGINT, SIGTERM, SIGHUP on this (the control) loop; cb on the loop. */
int loop_posix_signal(struct loop *, int signo, void (*cb)(void *, int signo),
                      void *data);

/* ---- log ----------------------------------------------------------------- */

/* Fields of a line in the journal; any may be NULL. */
struct log_fields {
    const char *disk, *vm, *layer;
};
/* To the journal when under systemd, to stderr otherwise; any thread; never
 * blocks: lines that can't be taken are counted and the count is logged.
 * Opening starts a thread: a program that forks only sets the level, and
 * writes to stderr itself. */
void log_open(int level, bool to_journal);
void log_level(int level);
void log_line(enum blk_level, const struct log_fields *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_vline(enum blk_level, const struct log_fields *, const char *fmt,
               va_list);
void log_close(void);
/* Test hook: every line also goes here. */
void log_tap(void (*cb)(void *, enum blk_level, const char *), void *data);

/* Ten lines, then one a second, with a count of what was left out. */
struct log_limit {
    uint64_t at_ns;
    uint32_t tokens, dropped;
};
bool log_allowed(struct log_limit *, uint64_t now_ns);

/* ---- device channels: grants and event channels -------------------------- */

/* One piece of a grant copy.  The foreign side is offset..offset+len of the
 * page granted as ref (offset + len <= 4096). */
struct tap_copy {
    uint32_t ref;
    uint16_t offset, len;
    void *local;
    bool to_guest;  /* local -> grant; else grant -> local */
    int16_t status; /* after: 0 (GNTST_okay), or negative */
    uint16_t domid;
};

struct tap;

struct tap_ops {
    /* n pages in one contiguous range, in the order of refs; all or nothing.
     * 0 or -errno. */
    int (*map)(struct tap *, uint32_t domid, const uint32_t *refs, unsigned n,
               void **addr);
    void (*unmap)(struct tap *, void *addr, unsigned n);
    /* 0: each status is set; -errno: nothing may be assumed to have been
     * copied.  One call into the hypervisor for all of n. */
    int (*copy)(struct tap *, struct tap_copy *, unsigned n);
    /* A local port (>= 0) for the peer's, or -errno.  One event is pending at
     * once after it. */
    int (*bind)(struct tap *, uint32_t domid, uint32_t remote_port);
    void (*unbind)(struct tap *, int port);
    void (*notify)(struct tap *, int port);
    /* Ports arrive masked and stay so until this, or until the end of the
     * round in which this was; one call for all of n. */
    void (*unmask)(struct tap *, const uint32_t *ports, unsigned n);
    void (*free)(struct tap *);
};

struct tap {
    const struct tap_ops *ops;
    struct loop *loop;
    /* Set by the user of the tap: ports that fired, now masked. */
    void (*fired)(void *ctx, const uint32_t *ports, unsigned n);
    /* The tap can't go on (a local peer hung up): nothing more will fire. */
    void (*broken)(void *ctx, int error);
    void *ctx;
};

/* /dev/xen/gntdev and /dev/xen/evtchn; on a data loop.  Must be opened before
 * privileges go. */
int tap_xen_open(struct tap **, struct loop *, char *why, size_t n);

/* A local process as front-end.  The daemon makes a sealed memfd and two
 * eventfds per queue and hands them over by SCM_RIGHTS; a grant reference is
 * the number of a 4 KiB page in the memfd, a remote port the number of a
 * queue.  Made on the control loop; used by one tap. */
enum { LOCAL_QUEUES_MAX = 16 };
struct local_share {
    int memfd;
    uint32_t pages; /* of 4 KiB */
    uint32_t queues;
    int to_back[LOCAL_QUEUES_MAX]; /* eventfd: front-end notifies us */
    int to_front[LOCAL_QUEUES_MAX];
};
int local_share_make(struct local_share *, uint32_t pages, uint32_t queues);
void local_share_close(struct local_share *);
/* Another set of descriptors for the same share; 0 or -errno. */
int local_share_dup(struct local_share *to, const struct local_share *from);
/* Dups what it needs of the share. */
int tap_local_open(struct tap **, struct loop *, const struct local_share *);

/* ---- device channels, the front-end's end -------------------------------- */

/* An event channel that another domain may bind to; the caller's memory until
 * it is closed. */
struct gate_port {
    /* Masked until unmask(), or the end of its round; from the loop. */
    void (*fired)(struct gate_port *);
    void *data;
    uint32_t number; /* to tell the other domain */
};

struct gate;

struct gate_ops {
    /* n zeroed pages in one contiguous range that the domain may map and
     * write; all or nothing.  0, or -errno with a sentence in why. */
    int (*grant)(struct gate *, uint32_t domid, unsigned n, uint32_t *refs,
                 void **addr, char *why, size_t why_size);
    /* What the domain still has mapped stays its: the memory is given back
     * when both have let go. */
    void (*ungrant)(struct gate *, void *addr, unsigned n);
    /* 0 or -errno; sets number. */
    int (*open)(struct gate *, uint32_t domid, struct gate_port *);
    void (*close)(struct gate *, struct gate_port *);
    void (*notify)(struct gate *, struct gate_port *);
    void (*unmask)(struct gate *, struct gate_port *);
    void (*free)(struct gate *);
};

struct gate {
    const struct gate_ops *ops;
    struct loop *loop;
};

/* /dev/xen/gntalloc, on the loop of a tap that tap_xen_open() made, with which
 * it shares the event channels; it goes before the tap.  Must be opened before
 * privileges go.  0, or -errno with a sentence in why. */
int gate_xen_open(struct gate **, struct tap *, char *why, size_t n);

/* ---- shared memory ------------------------------------------------------- */

/* A sealed memfd of len bytes, mapped; zeroed; no memory until touched.
 * 0 or -errno.  fd may be NULL. */
int host_memory(const char *name, size_t len, void **addr, int *fd);
/* The same in a file that only we can open (it can't be sealed); it loses what
 * it held.  fd: a descriptor of its own. */
int host_memory_in(int file, size_t len, void **addr, int *fd);
/* Gives the pages of a part back; they read as zeroes. */
void host_memory_release(void *addr, size_t len);
void host_memory_free(void *addr, size_t len, int fd);

/* ---- memory for keys: any thread ----------------------------------------- */

/* blk_secret_map() and so on, see blktap/plugin.h. */
void *host_secret_map(size_t n);
void host_secret_unmap(void *, size_t n);
void host_secret_begin(void);
void host_secret_end(void);
void *host_secret_malloc(size_t n, const char *file, int line);
void *host_secret_realloc(void *, size_t n, const char *file, int line);
void host_secret_free(void *, const char *file, int line);
/* Locks whole pages, and keeps them out of core dumps; 0 or -errno. */
int host_secret_protect(void *, size_t n);

/* ---- XenStore: on the control loop only; every call may block ------------ */

struct store;
typedef uint32_t store_tx; /* 0: none */

struct store_ops {
    /* malloc'd, NUL-terminated; NULL and errno. *len may be NULL. */
    char *(*read)(struct store *, store_tx, const char *path, size_t *len);
    int (*write)(struct store *, store_tx, const char *path, const char *value);
    int (*mkdir)(struct store *, store_tx, const char *path);
    int (*rm)(struct store *, store_tx, const char *path);
    /* malloc'd array of n names, one free(); NULL and errno. */
    char **(*list)(struct store *, store_tx, const char *path, unsigned *n);
    /* owner none for others, reader may read. */
    int (*perms)(struct store *, store_tx, const char *path, uint32_t owner,
                 uint32_t reader);
    int (*begin)(struct store *, store_tx *);
    /* -EAGAIN: conflict, repeat all. */
    int (*end)(struct store *, store_tx, bool commit);
    int (*watch)(struct store *, const char *path, const char *token);
    int (*unwatch)(struct store *, const char *path, const char *token);
    void (*free)(struct store *);
};

struct store {
    const struct store_ops *ops;
    /* Set by the user; called from the loop, once per event. */
    void (*changed)(void *ctx, const char *path, const char *token);
    /* Called after xenstored went away and came back: watches are gone; all
     * must be watched and read again. */
    void (*renewed)(void *ctx);
    void *ctx;
};

/* Whether a driver of this domain's kernel serves back-ends of this kind
 * ("vbd": xen-blkback): two back-ends must not fight for one directory. */
bool host_kernel_serves(const char *kind);
/* Makes that driver let go of one back-end, named as in sysfs (vbd-7-51712).
 * It writes no state.  0, also when it does not have it; or -errno. */
int host_kernel_release(const char *kind, const char *device);

int store_xen_open(struct store **, struct loop *, char *why, size_t n);

#endif
