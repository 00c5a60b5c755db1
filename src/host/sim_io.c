/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_io.c: what I/O on a simulated file does when its time has come.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_file.h"

static int
fault(const struct sim_faults *f)
{
    return f->error ? -abs(f->error) : -EIO;
}

static char *
gather(const struct blk_io *io, uint64_t len)
{
    char *data = sim_memory(len, 1);
    uint64_t at = 0;

    for (uint32_t i = 0; i < io->n && at < len; i++) {
        uint64_t n = io->iov[i].iov_len;

        if (n > len - at)
            n = len - at;
        memcpy(data + at, io->iov[i].iov_base, n);
        at += n;
    }
    return data;
}

static void
scatter(const struct blk_io *io, const char *data, uint64_t len)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < io->n && at < len; i++) {
        uint64_t n = io->iov[i].iov_len;

        if (n > len - at)
            n = len - at;
        memcpy(io->iov[i].iov_base, data + at, n);
        at += n;
    }
}

static uint64_t
length(const struct blk_io *io)
{
    uint64_t len = 0;

    for (uint32_t i = 0; i < io->n; i++)
        len += io->iov[i].iov_len;
    return len;
}

/* As the kernel refuses I/O with O_DIRECT. */
static bool
misaligned(const struct sim_handle *h, const struct blk_io *io)
{
    uint32_t block = h->inode->info.block, mem = h->inode->info.mem_align;

    if (!h->direct)
        return false;
    for (uint32_t i = 0; i < io->n; i++) {
        if ((uintptr_t)io->iov[i].iov_base % mem || io->iov[i].iov_len % block)
            return true;
    }
    return io->off % block;
}

static uint64_t
perhaps_shorter(struct sim *sim, const struct sim_faults *f, uint64_t len)
{
    if (len <= 512 || !sim_chance(sim, f->shorter))
        return len;
    return 512 * (1 + sim_below(sim, (len - 1) / 512));
}

static int64_t
do_read(struct sim_op *op, const struct sim_faults *f)
{
    const struct sim_image *m = &op->handle->inode->medium.cache;
    struct blk_io *io = op->io;
    uint64_t len = length(io);
    char *data;

    if (sim_chance(op->sim, f->read))
        return fault(f);
    if (io->off >= m->size)
        return 0;
    if (len > m->size - io->off)
        len = m->size - io->off;
    len = perhaps_shorter(op->sim, f, len);
    data = sim_memory(len, 1);
    sim_image_read(m, io->off, data, len);
    scatter(io, data, len);
    free(data);
    return (int64_t)len;
}

static int64_t
do_write(struct sim_op *op, const struct sim_faults *f)
{
    struct sim_medium *m = &op->handle->inode->medium;
    struct blk_io *io = op->io;
    uint64_t len = length(io), off = io->off;

    if (op->handle->flags & BLK_FILE_APPEND)
        off = m->cache.size;
    if (sim_chance(op->sim, f->write)) {
        sim_medium_tear(op->sim, m, off, len, gather(io, len));
        return fault(f);
    }
    if (op->handle->inode->info.device && off + len > m->cache.size) {
        if (off >= m->cache.size)
            return -ENOSPC;
        len = m->cache.size - off;
    }
    len = perhaps_shorter(op->sim, f, len);
    if (len)
        sim_medium_change(m, SIM_WRITE, off, len, gather(io, len), io->fua);
    return (int64_t)len;
}

static int64_t
do_sync(struct sim_op *op, const struct sim_faults *f)
{
    struct sim_medium *m = &op->handle->inode->medium;

    if (sim_chance(op->sim, f->sync)) {
        sim_medium_sync_failed(op->sim, m, op->number);
        op->handle->inode->sync_failed = op->sim->now;
        return fault(f);
    }
    sim_medium_sync(m, op->number);
    return 0;
}

static int64_t
do_range(struct sim_op *op, const struct sim_faults *f)
{
    struct sim_medium *m = &op->handle->inode->medium;
    struct blk_io *io = op->io;

    if (sim_chance(op->sim, f->range))
        return fault(f);
    if (op->handle->inode->info.device &&
        (io->op == BLK_IO_TRUNCATE || io->off + io->len > m->cache.size))
        return -EINVAL;
    if (io->op == BLK_IO_TRUNCATE) {
        sim_medium_change(m, SIM_RESIZE, io->off, 0, NULL, false);
        return 0;
    }
    if (!io->len)
        return -EINVAL;
    if (io->op == BLK_IO_PUNCH && !op->handle->inode->info.discard_align)
        return -EOPNOTSUPP;
    sim_medium_change(m, io->op == BLK_IO_ZERO ? SIM_ZERO : SIM_PUNCH, io->off,
                      io->len, NULL, false);
    return 0;
}

static int64_t
do_io(struct sim_op *op)
{
    const struct sim_faults *f = sim_faults_of(op->sim, op->handle->inode);
    bool changes = op->io->op != BLK_IO_READ && op->io->op != BLK_IO_SYNC;

    if (changes && op->handle->flags & BLK_FILE_RDONLY)
        return op->io->op == BLK_IO_TRUNCATE ? -EINVAL : -EBADF;
    switch (op->io->op) {
    case BLK_IO_READ:
        return misaligned(op->handle, op->io) ? -EINVAL : do_read(op, f);
    case BLK_IO_WRITE:
        return misaligned(op->handle, op->io) ? -EINVAL : do_write(op, f);
    case BLK_IO_SYNC:
        return do_sync(op, f);
    default:
        return do_range(op, f);
    }
}

static void
io_done(struct sim_event *e)
{
    struct sim_op *op = e->data;
    struct blk_io *io = op->io;

    io->status = do_io(op);
    sim_note(op->sim, "io", io->off << 3 | io->op, (uint64_t)io->status);
    op->handle->inflight--;
    sim_op_finish(op);
    io->done(io);
}

void
sim_file_io(struct loop *loop, struct blk_io *io)
{
    struct sim_handle *h = (struct sim_handle *)io->file;

    if (sim_loop_dead(sim_loop_of(loop)))
        return;
    h->inflight++;
    sim_op_start(loop,
                 &(struct sim_op){
                     .io = io, .handle = h, .number = h->inode->medium.number },
                 "io", io_done);
}

bool
sim_io_change(const struct sim_op *op, struct sim_change *c)
{
    const struct blk_io *io = op->io;

    *c = (struct sim_change){ .off = io->off, .len = io->len };
    if (op->handle->flags & BLK_FILE_RDONLY || misaligned(op->handle, io))
        return false;
    switch (io->op) {
    case BLK_IO_WRITE:
        c->kind = SIM_WRITE;
        c->len = length(io);
        c->data = gather(io, c->len);
        return true;
    case BLK_IO_ZERO:
    case BLK_IO_PUNCH:
        c->kind = io->op == BLK_IO_ZERO ? SIM_ZERO : SIM_PUNCH;
        return true;
    default:
        return false;
    }
}

/* What was on its way has left something, or all, or nothing. */
void
sim_io_break_off(struct sim_op *op, bool cached)
{
    struct sim_medium *m = &op->handle->inode->medium;
    struct sim_change c;

    if (op->handle->flags & BLK_FILE_RDONLY || misaligned(op->handle, op->io))
        return;
    if (cached && !sim_chance(op->sim, 500000))
        return;
    if (!sim_io_change(op, &c))
        return;
    if (c.kind == SIM_WRITE && !cached)
        sim_medium_tear(op->sim, m, c.off, c.len, c.data);
    else
        sim_medium_change(m, c.kind, c.off, c.len, c.data, false);
}
