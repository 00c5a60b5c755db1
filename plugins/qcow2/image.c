/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * image.c: I/O on the image file.  What the kernel does in parts is put
 * together here; what lies past the end of the file reads as zeroes.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IO_RETRIES = 16 };
#define FULL_NS 60000000000u /* between lines about a full file system */

void *
q2_alloc_memory(size_t size)
{
    void *p = NULL;

    size = (size + BLK_MEM_ALIGN - 1) & ~(size_t)(BLK_MEM_ALIGN - 1);
    if (posix_memalign(&p, BLK_MEM_ALIGN, size ? size : BLK_MEM_ALIGN))
        return NULL;
    return p;
}

void
q2_image_unref(struct qcow2 *s, struct q2_image *image)
{
    struct q2_image *keeper;

    for (; image && !--image->refs; image = keeper) {
        keeper = image->keeper;
        if (image->file)
            blk_file_close(s->layer, image->file);
        if (image->data)
            blk_file_close(s->layer, image->data);
        free(image->data_path);
        q2_seal_free(image->seal);
        free(image);
    }
}

/* ---- one I/O ------------------------------------------------------------- */

static bool
io_is_data(const struct q2_io *q)
{
    return q->s->image->data && q->io.file == q->s->image->data;
}

static const char *
io_path(const struct q2_io *q)
{
    return io_is_data(q) ? q->s->data_file : q->s->path;
}

static void io_next(struct q2_io *q);

static void
file_full(struct q2_io *q)
{
    struct qcow2 *s = q->s;
    uint64_t now = blk_now(s->layer);

    s->full++;
    if (s->full_ns && now - s->full_ns < FULL_NS)
        return;
    blk_log(s->layer, BLK_ERR,
            "%s: no space left for a write of %" PRIu64 " bytes at %" PRIu64
            ": its file system is full",
            io_path(q), q->left, q->at);
    s->full_ns = now ? now : 1;
}

static void
io_over(struct q2_io *q, int error)
{
    if (error == -EDQUOT)
        error = -ENOSPC;
    if (error == -ENOSPC)
        file_full(q);
    q->done(q, error);
}

/* The first n bytes of the list are done. */
static void
io_eat(struct q2_io *q, uint64_t n)
{
    q->at += n;
    q->left -= n;
    while (n && q->n) {
        uint64_t part = q->v->iov_len < n ? q->v->iov_len : n;

        q->v->iov_base = (uint8_t *)q->v->iov_base + part;
        q->v->iov_len -= part;
        n -= part;
        if (q->v->iov_len)
            break;
        q->v++;
        q->n--;
    }
}

static void
io_zero_rest(struct q2_io *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        memset(q->v[i].iov_base, 0, q->v[i].iov_len);
    q->left = 0;
}

/* With direct I/O no part of a block can be gone on from: that is the end of
 * the file. */
static bool
io_at_end(const struct q2_io *q, uint64_t n)
{
    const struct q2_image *image = q->s->image;
    const struct blk_file_info *info =
        io_is_data(q) ? &image->data_info : &image->info;

    return !n || (info->direct && n % info->block);
}

void
q2_io_came(struct q2_io *q, int64_t n)
{
    if ((n == -EINTR || n == -EAGAIN) && q->retries++ < IO_RETRIES) {
        io_next(q);
        return;
    }
    if (n < 0) {
        io_over(q, (int)n);
        return;
    }
    if ((uint64_t)n > q->left)
        n = (int64_t)q->left;
    if (q->left == (uint64_t)n) {
        io_over(q, 0);
        return;
    }
    io_eat(q, (uint64_t)n);
    if (!io_at_end(q, (uint64_t)n)) {
        io_next(q);
    } else if (q->io.op == BLK_IO_READ) {
        io_zero_rest(q);
        io_over(q, 0);
    } else {
        io_over(q, n ? -EIO : -ENOSPC);
    }
}

static void
io_done(struct blk_io *io)
{
    struct q2_io *q = io->data;

    if (q->sealed)
        q2_sealed_done(q, io->status);
    else
        q2_io_came(q, io->status);
}

static void
io_next(struct q2_io *q)
{
    if (q->guest && q->s->image->seal) {
        q2_sealed_next(q);
        return;
    }
    q->io.off = q->at;
    q->io.len = q->left;
    q->io.iov = q->v;
    q->io.n = q->n;
    blk_io_start(q->s->layer, &q->io);
}

/* op and the file are set. */
static void
io_begin(struct qcow2 *s, struct q2_io *q, uint64_t at, struct iovec *v,
         uint32_t n, uint64_t len)
{
    q->s = s;
    q->io.done = io_done;
    q->io.data = q;
    q->v = v;
    q->n = n;
    q->at = at;
    q->left = len;
    q->retries = 0;
    io_next(q);
}

static void
io_clear(struct q2_io *q, enum blk_io_op op, struct blk_file *file)
{
    memset(&q->io, 0, sizeof(q->io));
    q->io.op = op;
    q->io.file = file;
    q->guest = false;
    q->sealed = NULL;
}

static struct blk_file *
data_of(const struct q2_image *image)
{
    return image->data ? image->data : image->file;
}

void
q2_readv(struct qcow2 *s, struct q2_io *q, uint64_t at, struct iovec *v,
         uint32_t n, uint64_t len)
{
    io_clear(q, BLK_IO_READ, s->image->file);
    io_begin(s, q, at, v, n, len);
}

void
q2_data_readv(struct qcow2 *s, struct q2_io *q, uint64_t at, struct iovec *v,
              uint32_t n, uint64_t len)
{
    io_clear(q, BLK_IO_READ, data_of(s->image));
    q->guest = true;
    io_begin(s, q, at, v, n, len);
}

/* It is not past the last cluster of the image any more. */
static void
write_reaches(struct qcow2 *s, uint64_t at, uint64_t len)
{
    uint64_t end = (at + len + s->cluster - 1) >> s->cluster_bits;

    if (end > s->fresh)
        s->fresh = end;
}

void
q2_data_writev(struct qcow2 *s, struct q2_io *q, uint64_t at, struct iovec *v,
               uint32_t n, uint64_t len)
{
    if (!s->image->data)
        write_reaches(s, at, len);
    io_clear(q, BLK_IO_WRITE, data_of(s->image));
    q->guest = true;
    io_begin(s, q, at, v, n, len);
}

void
q2_writev(struct qcow2 *s, struct q2_io *q, uint64_t at, struct iovec *v,
          uint32_t n, uint64_t len)
{
    write_reaches(s, at, len);
    io_clear(q, BLK_IO_WRITE, s->image->file);
    io_begin(s, q, at, v, n, len);
}

void
q2_read(struct qcow2 *s, struct q2_io *q, uint64_t at, void *to, uint64_t len)
{
    q->one = (struct iovec){ to, len };
    q2_readv(s, q, at, &q->one, 1, len);
}

void
q2_write(struct qcow2 *s, struct q2_io *q, uint64_t at, const void *from,
         uint64_t len)
{
    q->one = (struct iovec){ (void *)(uintptr_t)from, len };
    q2_writev(s, q, at, &q->one, 1, len);
}

/* ---- syncs --------------------------------------------------------------- */

/* The kernel reports lost writes once; a later sync that succeeds proves
 * nothing.  So the disk ends until it is opened again. */
static void
sync_failed(const struct q2_io *q, int error)
{
    struct qcow2 *s = q->s;

    if (!s->image->failed)
        blk_fatal(s->layer, -EIO,
                  "%s: sync failed (%s): writes may be lost, no more are taken "
                  "until the file is opened again",
                  io_path(q), strerror(-error));
    s->image->failed = true;
}

static void sync_done(struct blk_io *io);

static void
sync_start(struct q2_io *q, struct blk_file *file)
{
    io_clear(q, BLK_IO_SYNC, file);
    q->io.done = sync_done;
    q->io.data = q;
    q->retries = 0;
    blk_io_start(q->s->layer, &q->io);
}

static void
sync_done(struct blk_io *io)
{
    struct q2_io *q = io->data;
    struct qcow2 *s = q->s;

    if ((io->status == -EINTR || io->status == -EAGAIN) &&
        q->retries++ < IO_RETRIES) {
        blk_io_start(s->layer, io);
        return;
    }
    if (io->status < 0)
        sync_failed(q, (int)io->status);
    if (s->image->failed) {
        io_over(q, -EIO);
        return;
    }
    if (io_is_data(q)) { /* and now what points to it */
        sync_start(q, s->image->file);
        return;
    }
    if (q->number > s->sync_done)
        s->sync_done = q->number;
    io_over(q, 0);
    q2_frees_run(s);
}

void
q2_sync(struct qcow2 *s, struct q2_io *q)
{
    q->s = s;
    q->number = ++s->sync_started;
    s->syncs++;
    sync_start(q, data_of(s->image));
}
