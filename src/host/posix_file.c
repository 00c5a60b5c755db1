/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix_file.c: open, stat and close of files and block devices, on a worker,
 * as each of them may block for as long as a server is away.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/posix.h"

_Static_assert(sizeof(struct posix_job) <=
                   sizeof(((struct blk_open *)0)->private_),
               "a job lives in blk_open.private_");

__attribute__((format(printf, 3, 4))) static int
fail(struct blk_open *o, int err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(o->why, sizeof o->why, fmt, ap);
    va_end(ap);
    return err;
}

/* What is there is not truncated here: somebody else may be its writer, and
 * only the lock will tell.  O_NONBLOCK: a FIFO would hold us for ever. */
static int
open_flags(const struct blk_open *o)
{
    int fl = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

    fl |= o->flags & BLK_FILE_RDONLY ? O_RDONLY : O_RDWR;
    if (o->flags & BLK_FILE_CREATE)
        fl |= O_CREAT;
    if (o->flags & BLK_FILE_EXCL)
        fl |= O_EXCL;
    if (o->flags & BLK_FILE_APPEND)
        fl |= O_APPEND;
    return fl;
}

static const char *
kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISCHR(mode))
        return "a character device";
    if (S_ISFIFO(mode))
        return "a FIFO";
    return "something else";
}

/* O_NONBLOCK has done its work: left on, io_uring would answer EAGAIN where it
 * should wait.  O_DIRECT comes now, as its refusal must not undo a creation. */
static int
set_flags(struct blk_open *o, int fd)
{
    struct stat st;
    int fl = fcntl(fd, F_GETFL), readonly = 0;

    if (fl < 0 || fstat(fd, &st))
        return fail(o, -errno, "%s: %s", o->path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return fail(o, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
                    "%s: expected a file or a block device, found %s", o->path,
                    kind_of(st.st_mode));
    if (S_ISBLK(st.st_mode) && !(o->flags & BLK_FILE_RDONLY) &&
        !ioctl(fd, BLKROGET, &readonly) && readonly)
        return fail(o, -EROFS, "%s: the device is read-only", o->path);
    fl &= ~O_NONBLOCK;
    if (o->flags & BLK_FILE_DIRECT && !fcntl(fd, F_SETFL, fl | O_DIRECT))
        return 0;
    if (fcntl(fd, F_SETFL, fl))
        return fail(o, -errno, "%s: %s", o->path, strerror(errno));
    return 0;
}

/* Open file description locks: they go with this open, not with the process,
 * and hold against other programs that use either kind of POSIX lock. */
static int
lock(struct blk_open *o, int fd)
{
    short type = o->flags & BLK_FILE_RDONLY ? F_RDLCK : F_WRLCK;
    struct flock lk = { .l_type = type, .l_whence = SEEK_SET };

    if (!fcntl(fd, F_OFD_SETLK, &lk))
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return fail(o, -errno, "%s: cannot lock it: %s", o->path,
                    strerror(errno));
    if (!fcntl(fd, F_OFD_GETLK, &lk) && lk.l_type == F_RDLCK)
        return fail(o, -EBUSY, "%s: cannot lock it: another reader has it",
                    o->path);
    return fail(o, -EBUSY, "%s: cannot lock it: another writer has it",
                o->path);
}

/* A new name is durable once its directory is. */
static void
sync_directory(const char *path)
{
    char *copy = strdup(path);
    int fd;

    if (!copy)
        return;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

static int
set_up(struct blk_open *o, int fd)
{
    int err = set_flags(o, fd);

    if (!err && o->flags & BLK_FILE_LOCK)
        err = lock(o, fd);
    if (err)
        return err;
    if (o->flags & BLK_FILE_TRUNC && ftruncate(fd, 0) && errno != EINVAL)
        return fail(o, -errno, "%s: cannot truncate it: %s", o->path,
                    strerror(errno));
    err = posix_file_info(fd, o->flags, &o->info);
    if (err)
        return fail(o, err, "%s: cannot find out its size: %s", o->path,
                    strerror(-err));
    return 0;
}

static int
do_open(struct blk_open *o)
{
    struct posix_file *f = calloc(1, sizeof *f);
    int fd = -1, err;

    if (!f)
        return fail(o, -ENOMEM, "%s: no memory", o->path);
    fd = open(o->path, open_flags(o), o->mode ? o->mode : 0600);
    if (fd < 0) {
        err = fail(o, -errno, "%s: cannot open it%s: %s", o->path,
                   o->flags & BLK_FILE_RDONLY ? "" : " for writing",
                   strerror(errno));
        goto out;
    }
    err = set_up(o, fd);
    if (err)
        goto out;
    if (o->flags & BLK_FILE_CREATE)
        sync_directory(o->path);
    f->fd = fd;
    f->device = o->info.device;
    f->locked = o->flags & BLK_FILE_LOCK;
    f->flags = o->flags;
    o->file = (struct blk_file *)f;
    return 0;
out:
    if (fd >= 0)
        close(fd);
    free(f);
    return err;
}

/* ---- as jobs ------------------------------------------------------------- */

static struct blk_open *
open_of(void *job)
{
    return posix_container(job, struct blk_open, private_);
}

static void
open_work(struct posix_job *job)
{
    struct blk_open *o = open_of(job);

    o->status = do_open(o);
}

static void
stat_work(struct posix_job *job)
{
    struct blk_open *o = open_of(job);
    struct posix_file *f = (struct posix_file *)o->file;

    o->status = posix_file_info(f->fd, f->flags, &o->info);
    if (o->status)
        (void)fail(o, 0, "cannot find out the size of a file: %s",
                   strerror(-o->status));
}

static void
open_done(struct loop_mail *m)
{
    struct blk_open *o = open_of(m);

    o->done(o);
}

static void
start(struct posix_loop *loop, struct blk_open *o,
      void (*work)(struct posix_job *))
{
    struct posix_job *job = (struct posix_job *)o->private_;

    o->status = 0;
    o->why[0] = '\0';
    *job =
        (struct posix_job){ .mail.run = open_done, .work = work, .loop = loop };
    posix_pool_put(posix_loop_pool(loop), job);
}

void
posix_file_open(struct posix_loop *loop, struct blk_open *o)
{
    o->file = NULL;
    start(loop, o, open_work);
}

void
posix_file_stat(struct posix_loop *loop, struct blk_open *o)
{
    start(loop, o, stat_work);
}

/* The kernel may hold the file a little longer than we do, for I/O that has
 * just ended; its lock has to be free now. */
static void
close_work(struct posix_job *job)
{
    struct posix_file *f = posix_container(job, struct posix_file, close);
    struct flock lk = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

    if (f->locked)
        (void)fcntl(f->fd, F_OFD_SETLK, &lk);
    close(f->fd);
    free(f);
}

void
posix_file_close(struct posix_loop *loop, struct posix_file *f)
{
    f->close = (struct posix_job){ .work = close_work, .loop = loop };
    posix_pool_put(posix_loop_pool(loop), &f->close);
}
