/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix_uring.c: the I/O of a loop through one io_uring.
 *
 *   posix_uring_io() ──► list ──► SQ ──► kernel ──► CQ ──► done()
 *                         ▲ when SQ or CQ is full     │
 *                         └── again, on EAGAIN ───────┘
 *
 * I/O waits in a list until the round ends, and becomes a submission entry
 * only then.  There is never more in the kernel than the completion queue
 * holds, so it can't overflow; the rest stays in the list.
 */
#include "config.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/posix.h"

enum {
    BUFFERS_MAX = 1024, /* entries in the kernel's table */
    RETRIES_MAX = 8,
    REAP = 64
};
#define BUFFER_MAX ((size_t)1 << 30) /* the kernel's, of one entry */

/* Memory that the kernel knows as buffer slot. */
struct region {
    char *addr;
    size_t len;
    uint16_t slot;
};

struct posix_uring {
    struct io_uring ring;
    struct posix_loop *loop;
    struct blk_io *head, **tail;
    unsigned inflight, inflight_max;
    unsigned regions;
    bool table;                        /* the kernel has a buffer table */
    struct region region[BUFFERS_MAX]; /* by address */
    bool used[BUFFERS_MAX];            /* slots */
};

static struct posix_io *
private_of(struct blk_io *io)
{
    return (struct posix_io *)io->private_;
}

int
posix_uring_fd(const struct posix_uring *u)
{
    return u->ring.ring_fd;
}

/* ---- registered buffers -------------------------------------------------- */

/* The first region that ends behind addr. */
static unsigned
region_at(const struct posix_uring *u, const char *addr)
{
    unsigned lo = 0, hi = u->regions;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (u->region[mid].addr + u->region[mid].len > addr)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* The slot that holds all of it, or -1. */
static int
slot_of(const struct posix_uring *u, const struct iovec *v)
{
    const char *addr = v->iov_base;
    unsigned i;

    if (!u->regions)
        return -1;
    i = region_at(u, addr);
    if (i == u->regions || addr < u->region[i].addr ||
        addr + v->iov_len > u->region[i].addr + u->region[i].len)
        return -1;
    return u->region[i].slot;
}

static int
set_slot(struct posix_uring *u, unsigned slot, void *addr, size_t len)
{
    struct iovec v = { .iov_base = addr, .iov_len = len };
    __u64 tag = 0;
    int n = io_uring_register_buffers_update_tag(&u->ring, slot, &v, &tag, 1);

    return n < 0 ? n : 0;
}

static int
add_region(struct posix_uring *u, char *addr, size_t len)
{
    unsigned i = region_at(u, addr), slot;
    int err;

    if (i < u->regions && u->region[i].addr < addr + len)
        return -EEXIST;
    for (slot = 0; slot < BUFFERS_MAX && u->used[slot]; slot++)
        ;
    if (slot == BUFFERS_MAX)
        return -ENOSPC;
    err = set_slot(u, slot, addr, len);
    if (err)
        return err;
    memmove(&u->region[i + 1], &u->region[i],
            (u->regions - i) * sizeof u->region[0]);
    u->region[i] = (struct region){ addr, len, (uint16_t)slot };
    u->used[slot] = true;
    u->regions++;
    return 0;
}

/* All or nothing; the table is made when it is first needed. */
int
posix_uring_buffer_add(struct posix_uring *u, void *addr, size_t len)
{
    int err;

    if (!u->table) {
        err = io_uring_register_buffers_sparse(&u->ring, BUFFERS_MAX);
        if (err < 0)
            return err;
        u->table = true;
    }
    for (size_t at = 0; at < len; at += BUFFER_MAX) {
        size_t part = len - at < BUFFER_MAX ? len - at : BUFFER_MAX;

        err = add_region(u, (char *)addr + at, part);
        if (err) {
            posix_uring_buffer_remove(u, addr, at);
            return err;
        }
    }
    return 0;
}

/* What the kernel has in hand keeps the pages until it is done. */
void
posix_uring_buffer_remove(struct posix_uring *u, void *addr, size_t len)
{
    const char *end = (char *)addr + len;
    unsigned i = region_at(u, addr);

    while (i < u->regions && u->region[i].addr + u->region[i].len <= end) {
        struct region *r = &u->region[i];

        (void)set_slot(u, r->slot, NULL, 0);
        u->used[r->slot] = false;
        u->regions--;
        memmove(r, r + 1, (u->regions - i) * sizeof *r);
    }
}

/* ---- down ---------------------------------------------------------------- */

static void
enqueue(struct posix_uring *u, struct blk_io *io)
{
    private_of(io)->next = NULL;
    *u->tail = io;
    u->tail = &private_of(io)->next;
}

/* What io_uring can't do, or did not do for this file, is for a worker. */
static bool
for_worker(const struct blk_io *io)
{
    struct posix_file *f = (struct posix_file *)io->file;

    switch (io->op) {
    case BLK_IO_TRUNCATE:
        return true;
    case BLK_IO_ZERO:
        return atomic_load(&f->no_zero);
    case BLK_IO_PUNCH:
        return atomic_load(&f->no_punch);
    default:
        return false;
    }
}

void
posix_uring_io(struct posix_uring *u, struct blk_io *io)
{
    if (for_worker(io)) {
        posix_io_start(u->loop, io);
        return;
    }
    private_of(io)->retries = 0;
    enqueue(u, io);
}

static void
prepare_rw(struct posix_uring *u, struct io_uring_sqe *sqe, struct blk_io *io)
{
    int fd = ((struct posix_file *)io->file)->fd;
    int slot = io->n == 1 ? slot_of(u, io->iov) : -1;
    bool rd = io->op == BLK_IO_READ;

    if (io->n != 1) {
        io_uring_prep_rw(rd ? IORING_OP_READV : IORING_OP_WRITEV, sqe, fd,
                         io->iov, io->n, io->off);
    } else {
        size_t len = io->iov->iov_len;
        int op = rd ? IORING_OP_READ : IORING_OP_WRITE;

        if (slot >= 0)
            op = rd ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
        /* More than the kernel moves in one go ends short, as ever. */
        if (len > 0x7ffff000)
            len = 0x7ffff000;
        io_uring_prep_rw(op, sqe, fd, io->iov->iov_base, (unsigned)len,
                         io->off);
        if (slot >= 0)
            sqe->buf_index = (__u16)slot;
    }
    if (!rd && io->fua)
        sqe->rw_flags = RWF_DSYNC;
}

static void
prepare(struct posix_uring *u, struct io_uring_sqe *sqe, struct blk_io *io)
{
    int fd = ((struct posix_file *)io->file)->fd;

    switch (io->op) {
    case BLK_IO_SYNC:
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        break;
    case BLK_IO_PUNCH:
    case BLK_IO_ZERO:
        /* The kernel takes the length where others have the address. */
        io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, fd,
                         (const void *)(uintptr_t)io->len,
                         (unsigned)posix_io_mode(io), io->off);
        break;
    default:
        prepare_rw(u, sqe, io);
    }
    io_uring_sqe_set_data(sqe, io);
}

static int
submit(struct posix_uring *u)
{
    int n;

    do
        n = io_uring_submit(&u->ring);
    while (n == -EINTR);
    return n;
}

bool
posix_uring_submit(struct posix_uring *u)
{
    struct io_uring_sqe *sqe;
    struct blk_io *io;

    while ((io = u->head) && u->inflight < u->inflight_max) {
        sqe = io_uring_get_sqe(&u->ring);
        if (!sqe && submit(u) >= 0)
            sqe = io_uring_get_sqe(&u->ring);
        if (!sqe)
            return false;
        u->head = private_of(io)->next;
        if (!u->head)
            u->tail = &u->head;
        prepare(u, sqe, io);
        u->inflight++;
    }
    if (!io_uring_sq_ready(&u->ring))
        return true;
    return submit(u) >= 0 && !io_uring_sq_ready(&u->ring);
}

/* ---- up ------------------------------------------------------------------ */

/* A refusal that says something about the file, not about this I/O. */
static bool
refused(const struct blk_io *io, int res)
{
    struct posix_file *f = (struct posix_file *)io->file;

    if (res != -EOPNOTSUPP && res != -ENOSYS)
        return false;
    if (io->op == BLK_IO_ZERO)
        atomic_store(&f->no_zero, true);
    else if (io->op == BLK_IO_PUNCH && f->device)
        atomic_store(&f->no_punch, true);
    else
        return io->op == BLK_IO_WRITE && io->fua;
    return true;
}

static void
complete(struct posix_uring *u, struct blk_io *io, int res)
{
    if (refused(io, res)) {
        posix_io_start(u->loop, io);
        return;
    }
    if ((res == -EAGAIN || res == -EINTR) &&
        private_of(io)->retries++ < RETRIES_MAX) {
        enqueue(u, io);
        return;
    }
    io->status = res;
    io->done(io);
}

unsigned
posix_uring_reap(struct posix_uring *u)
{
    struct io_uring_cqe *cqe[REAP];
    struct blk_io *io[REAP];
    int res[REAP];
    unsigned n, total = 0;

    while ((n = io_uring_peek_batch_cqe(&u->ring, cqe, REAP))) {
        for (unsigned i = 0; i < n; i++) {
            io[i] = io_uring_cqe_get_data(cqe[i]);
            res[i] = cqe[i]->res;
        }
        io_uring_cq_advance(&u->ring, n);
        u->inflight -= n;
        total += n;
        for (unsigned i = 0; i < n; i++)
            complete(u, io[i], res[i]);
    }
    return total;
}

/* ---- life ---------------------------------------------------------------- */

/* A completion need not interrupt us while we run: we look before we sleep.
 * Kernels before 5.19 don't know these flags. */
static int
init_ring(struct posix_uring *u, unsigned entries)
{
    struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED |
                                          IORING_SETUP_COOP_TASKRUN |
                                          IORING_SETUP_TASKRUN_FLAG |
                                          IORING_SETUP_CLAMP |
                                          IORING_SETUP_CQSIZE,
                                 .cq_entries = 4 * entries };
    int err = io_uring_queue_init_params(entries, &u->ring, &p);

    if (err == -EINVAL) {
        p = (struct io_uring_params){ .flags = IORING_SETUP_R_DISABLED |
                                               IORING_SETUP_CLAMP |
                                               IORING_SETUP_CQSIZE,
                                      .cq_entries = 4 * entries };
        err = io_uring_queue_init_params(entries, &u->ring, &p);
    }
    if (!err)
        u->inflight_max = p.cq_entries;
    return err;
}

/* liburing 2.3 declares functions for these two, but does not export them. */
static long
ring_register(struct posix_uring *u, unsigned op, void *arg, unsigned n)
{
    return syscall(__NR_io_uring_register, u->ring.ring_fd, op, arg, n);
}

/* A filter of system calls does not see what is asked for through the ring, so
 * it is told what we ask for, and refuses the rest: opening, sockets, ... */
static int
restrict_ring(struct posix_uring *u)
{
    static const uint8_t ops[] = { IORING_OP_READ,       IORING_OP_WRITE,
                                   IORING_OP_READV,      IORING_OP_WRITEV,
                                   IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,
                                   IORING_OP_FSYNC,      IORING_OP_FALLOCATE };
    static const uint8_t registers[] = { IORING_REGISTER_ENABLE_RINGS,
                                         IORING_REGISTER_BUFFERS2,
                                         IORING_REGISTER_BUFFERS_UPDATE };
    struct io_uring_restriction r[sizeof ops + sizeof registers];
    unsigned n = 0;

    memset(r, 0, sizeof r);
    for (unsigned i = 0; i < sizeof ops; i++) {
        r[n].opcode = IORING_RESTRICTION_SQE_OP;
        r[n++].sqe_op = ops[i];
    }
    for (unsigned i = 0; i < sizeof registers; i++) {
        r[n].opcode = IORING_RESTRICTION_REGISTER_OP;
        r[n++].register_op = registers[i];
    }
    if (ring_register(u, IORING_REGISTER_RESTRICTIONS, r, n))
        log_line(BLK_WARN, NULL, "the io_uring can't be restricted: %s",
                 strerror(errno));
    return ring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0) ? -errno : 0;
}

int
posix_uring_new(struct posix_uring **out, struct posix_loop *loop,
                unsigned entries)
{
    struct posix_uring *u = calloc(1, sizeof *u);
    int err;

    if (!u)
        return -ENOMEM;
    err = init_ring(u, entries);
    if (err) {
        free(u);
        return err;
    }
    err = restrict_ring(u);
    if (err) {
        io_uring_queue_exit(&u->ring);
        free(u);
        return err;
    }
    io_uring_ring_dontfork(&u->ring);
    u->loop = loop;
    u->tail = &u->head;
    *out = u;
    return 0;
}

/* The kernel may still write into memory that the caller is about to free. */
void
posix_uring_free(struct posix_uring *u)
{
    struct io_uring_cqe *cqe;

    if (!u)
        return;
    u->inflight -= io_uring_sq_ready(&u->ring);
    while (u->inflight) {
        int err = io_uring_wait_cqe(&u->ring, &cqe);

        if (err == -EINTR)
            continue;
        if (err)
            break;
        io_uring_cqe_seen(&u->ring, cqe);
        u->inflight--;
    }
    io_uring_queue_exit(&u->ring);
    free(u);
}
