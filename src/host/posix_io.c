/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix_io.c: I/O on files as system calls that block, on a worker: all of it
 * where there is no io_uring, and what io_uring can't do where there is.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/posix.h"

_Static_assert(sizeof(struct posix_io) <=
                   sizeof(((struct blk_io *)0)->private_),
               "an I/O lives in blk_io.private_");

enum { ZEROES = 64 << 10 };
/* Aligned for O_DIRECT. */
static const char zeroes[ZEROES] __attribute__((aligned(4096)));

static struct posix_file *
file_of(const struct blk_io *io)
{
    return (struct posix_file *)io->file;
}

static int64_t
do_read(const struct blk_io *io)
{
    ssize_t n;

    do
        n = preadv(file_of(io)->fd, io->iov, (int)io->n, (off_t)io->off);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int64_t
do_sync(const struct blk_io *io)
{
    return fdatasync(file_of(io)->fd) ? -errno : 0;
}

/* A file system without RWF_DSYNC gets a sync of its own. */
static int64_t
do_write(const struct blk_io *io)
{
    int flags = io->fua ? RWF_DSYNC : 0;
    ssize_t n;
    int64_t err;

    do {
        n = pwritev2(file_of(io)->fd, io->iov, (int)io->n, (off_t)io->off,
                     flags);
        if (n < 0 && errno == EOPNOTSUPP && flags)
            flags = 0;
        else if (n >= 0 || errno != EINTR)
            break;
    } while (1);
    if (n < 0)
        return -errno;
    if (io->fua && !flags && (err = do_sync(io)))
        return err;
    return n;
}

/* A file grows, as when zeroes are written; a device can't. */
int
posix_io_mode(const struct blk_io *io)
{
    if (io->op == BLK_IO_PUNCH)
        return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return file_of(io)->device ? FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
                               : FALLOC_FL_ZERO_RANGE;
}

static int
do_fallocate(const struct blk_io *io)
{
    int n;

    do
        n = fallocate(file_of(io)->fd, posix_io_mode(io), (off_t)io->off,
                      (off_t)io->len);
    while (n && errno == EINTR);
    return n ? -errno : 0;
}

static int
write_zeroes(const struct blk_io *io)
{
    uint64_t at = 0;

    while (at < io->len) {
        uint64_t left = io->len - at;
        ssize_t n = pwrite(file_of(io)->fd, zeroes,
                           left < ZEROES ? (size_t)left : ZEROES,
                           (off_t)(io->off + at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

static int64_t
do_zero(const struct blk_io *io)
{
    struct posix_file *f = file_of(io);
    int err;

    if (!atomic_load(&f->no_zero)) {
        err = do_fallocate(io);
        if (err != -EOPNOTSUPP && err != -ENOSYS)
            return err;
        atomic_store(&f->no_zero, true);
    }
    return write_zeroes(io);
}

/* Some devices discard, but promise no zeroes: those take BLKDISCARD only. */
static int64_t
do_punch(const struct blk_io *io)
{
    struct posix_file *f = file_of(io);
    uint64_t range[2] = { io->off, io->len };
    int err;

    if (!atomic_load(&f->no_punch)) {
        err = do_fallocate(io);
        if (!f->device || err != -EOPNOTSUPP)
            return err;
        atomic_store(&f->no_punch, true);
    }
    return ioctl(f->fd, BLKDISCARD, range) ? -errno : 0;
}

int64_t
posix_io_do(struct blk_io *io)
{
    switch (io->op) {
    case BLK_IO_READ:
        return do_read(io);
    case BLK_IO_WRITE:
        return do_write(io);
    case BLK_IO_SYNC:
        return do_sync(io);
    case BLK_IO_PUNCH:
        return do_punch(io);
    case BLK_IO_ZERO:
        return do_zero(io);
    case BLK_IO_TRUNCATE:
        return ftruncate(file_of(io)->fd, (off_t)io->off) ? -errno : 0;
    }
    return -EINVAL;
}

static struct blk_io *
io_of(void *job)
{
    return posix_container(job, struct blk_io, private_);
}

static void
io_do(struct posix_job *job)
{
    struct blk_io *io = io_of(job);

    io->status = posix_io_do(io);
}

static void
io_done(struct loop_mail *m)
{
    struct blk_io *io = io_of(m);

    io->done(io);
}

void
posix_io_start(struct posix_loop *loop, struct blk_io *io)
{
    struct posix_io *pi = (struct posix_io *)io->private_;

    pi->job =
        (struct posix_job){ .mail.run = io_done, .work = io_do, .loop = loop };
    posix_pool_put(posix_loop_pool(loop), &pi->job);
}
