/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file_io.c: a request becomes one or more I/Os on the file, one at a time.
 *
 *   READ, WRITE   the scatter list as it is, when it is exactly the request;
 *                 else, and after a short I/O, windows of it
 *   ZERO          PUNCH, when space may be freed and the file can; else ZERO
 *   DISCARD       PUNCH of the whole blocks in it
 *   FLUSH         SYNC; a failed one is final, see sync_failed()
 */
#include "plugins/file/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define FILE_FULL_NS                                        \
    (60ull * 1000000000) /* between lines about a full disk \
                          */

enum { FILE_RETRIES = 16, FILE_IOV_MAX = 1024 };

static void rw_next(struct file_req *q);

uint32_t
file_align(const struct file_handle *h)
{
    if (h->info.direct && h->info.block > 512)
        return h->info.block;
    return 512;
}

static struct file *
req_file(const struct file_req *q)
{
    return blk_self(q->layer);
}

static void
io_start(struct file_req *q, enum blk_io_op op, void (*done)(struct blk_io *))
{
    q->io.op = op;
    q->io.file = req_file(q)->handle->file;
    q->io.done = done;
    q->io.data = q;
    blk_io_start(q->layer, &q->io);
}

/* True when the I/O is worth another try; it is started again as it was. */
static bool
io_again(struct file_req *q)
{
    if (q->io.status != -EINTR && q->io.status != -EAGAIN)
        return false;
    if (q->retries++ == FILE_RETRIES)
        return false;
    req_file(q)->retried++;
    blk_io_start(q->layer, &q->io);
    return true;
}

static void
req_end(struct file_req *q, int error)
{
    blk_end(q->layer, q->req, error);
}

/* ---- errors that a person must hear of ----------------------------------- */

/* The kernel reports lost writes once; a later sync that succeeds proves
 * nothing.  So nothing that was not completed by then can be trusted, and no
 * later write can be made durable: the disk ends until it is opened again. */
static void
sync_failed(struct file_req *q, int64_t status)
{
    struct file *f = req_file(q);

    f->sync_errors++;
    if (!f->handle->failed)
        blk_fatal(q->layer, -EIO,
                  "%s: sync failed (%s): writes may be lost, no more are taken "
                  "until the file is opened again",
                  f->path, strerror((int)-status));
    f->handle->failed = true;
    req_end(q, -EIO);
}

static void
disk_full(struct file_req *q)
{
    struct file *f = req_file(q);
    uint64_t now = blk_now(q->layer);

    f->full++;
    if (!f->full_ns || now - f->full_ns >= FILE_FULL_NS) {
        blk_log(q->layer, BLK_ERR,
                "%s: no space left for a write of %" PRIu32 " bytes at %" PRIu64
                ": its file system is full",
                f->path, q->req->len, q->req->off);
        f->full_ns = now ? now : 1;
    }
    req_end(q, -ENOSPC);
}

static void
image_truncated(struct file_req *q)
{
    struct file *f = req_file(q);

    f->truncated++;
    blk_log(q->layer, BLK_ERR,
            "%s: expected %" PRIu64
            " bytes, found the end at or before %" PRIu64 ": was it truncated?",
            f->path, f->handle->info.size, q->req->off + q->at);
    req_end(q, -EIO);
}

/* A write that failed: in buffered mode FUA is not ours, so that only the
 * direct write of FUA is also a sync, and then nothing was in a cache. */
static void
write_failed(struct file_req *q, int64_t status)
{
    if (status == -ENOSPC || status == -EDQUOT) {
        disk_full(q);
        return;
    }
    if (q->io.fua && status != -EINVAL && status != -EFBIG) {
        sync_failed(q, status);
        return;
    }
    req_end(q, (int)status);
}

/* ---- READ and WRITE ------------------------------------------------------ */

/* True when the list of the request can be given to the kernel as it is. */
static bool
sg_whole(const struct blk_req *r)
{
    uint64_t sum = 0;
    uint32_t i;

    if (r->sg.skip || r->sg.n > FILE_IOV_MAX)
        return false;
    for (i = 0; i < r->sg.n; i++)
        sum += r->sg.v[i].iov_len;
    return sum == r->len;
}

/* Direct I/O takes whole blocks only: gives the end of a window back to the
 * next one, unless nothing would be left. */
static void
window_round(struct file_req *q, uint32_t align)
{
    uint64_t excess = q->io.len % align;

    if (excess == q->io.len)
        return;
    q->io.len -= excess;
    while (excess) {
        struct iovec *last = &q->window[q->io.n - 1];
        uint64_t cut = excess < last->iov_len ? excess : last->iov_len;

        last->iov_len -= cut;
        excess -= cut;
        if (!last->iov_len)
            q->io.n--;
    }
}

/* The next part of the list, at most FILE_WINDOW entries and left bytes. */
static void
window_fill(struct file_req *q, uint32_t left)
{
    const struct blk_sg *sg = &q->req->sg;
    uint32_t n, skip = q->skip;

    q->io.len = 0;
    for (n = 0; n < FILE_WINDOW && left && q->v + n < sg->n; n++) {
        const struct iovec *v = &sg->v[q->v + n];
        size_t len = v->iov_len - skip;

        if (len > left)
            len = left;
        q->window[n].iov_base = (uint8_t *)v->iov_base + skip;
        q->window[n].iov_len = len;
        q->io.len += len;
        left -= (uint32_t)len;
        skip = 0;
    }
    q->io.iov = q->window;
    q->io.n = n;
    if (left)
        window_round(q, file_align(req_file(q)->handle));
}

static void
position_advance(struct file_req *q, uint64_t done)
{
    const struct blk_sg *sg = &q->req->sg;

    q->at += (uint32_t)done;
    while (done && q->v < sg->n) {
        uint64_t room = sg->v[q->v].iov_len - q->skip;

        if (done < room) {
            q->skip += (uint32_t)done;
            return;
        }
        done -= room;
        q->skip = 0;
        q->v++;
    }
}

static void
rw_done(struct blk_io *io)
{
    struct file_req *q = io->data;
    struct file *f = req_file(q);
    int64_t n = io->status;
    bool end = false;

    if (io_again(q))
        return;
    if (n < 0 && io->op == BLK_IO_WRITE) {
        write_failed(q, n);
        return;
    }
    /* The end of the file, or a part that direct I/O can't go on after. */
    if (n >= 0 && (uint64_t)n < io->len)
        end = !n || (f->handle->info.direct && n % file_align(f->handle));
    if (n < 0 || end) {
        if (end && io->op == BLK_IO_READ)
            image_truncated(q);
        else
            req_end(q, n < 0 ? (int)n : -EIO);
        return;
    }
    position_advance(q, (uint64_t)n);
    if (q->at < q->req->len) {
        f->split++;
        rw_next(q);
        return;
    }
    req_end(q, 0);
}

static void
rw_next(struct file_req *q)
{
    struct blk_req *r = q->req;

    q->io.off = r->off + q->at;
    if (!q->at && sg_whole(r)) {
        q->io.iov = r->sg.v;
        q->io.n = r->sg.n;
        q->io.len = r->len;
    } else {
        window_fill(q, r->len - q->at);
    }
    q->io.fua = r->op == BLK_WRITE && (r->flags & BLK_FUA);
    io_start(q, r->op == BLK_READ ? BLK_IO_READ : BLK_IO_WRITE, rw_done);
}

/* ---- FLUSH, and the end of what must be durable -------------------------- */

static void
sync_done(struct blk_io *io)
{
    struct file_req *q = io->data;

    if (io_again(q))
        return;
    if (io->status < 0)
        sync_failed(q, io->status);
    else
        /* It was on its way when another one failed, which took the kernel's
         * only report of what was lost with it. */
        req_end(q, req_file(q)->handle->failed ? -EIO : 0);
}

static void
sync_start(struct file_req *q)
{
    q->io.off = q->io.len = 0;
    io_start(q, BLK_IO_SYNC, sync_done);
}

/* A ZERO or DISCARD is done. */
static void
range_end(struct file_req *q)
{
    if (q->req->flags & BLK_FUA)
        sync_start(q);
    else
        req_end(q, 0);
}

/* ---- DISCARD and ZERO ---------------------------------------------------- */

static bool
not_supported(int64_t status)
{
    return status == -EOPNOTSUPP || status == -ENOSYS || status == -ENOTTY;
}

static void
discard_done(struct blk_io *io)
{
    struct file_req *q = io->data;
    struct file *f = req_file(q);

    if (io_again(q))
        return;
    if (not_supported(io->status))
        f->handle->no_punch = true;
    if (io->status < 0) {
        req_end(q, not_supported(io->status) ? -EOPNOTSUPP : (int)io->status);
        return;
    }
    f->punched += io->len;
    range_end(q);
}

static void
discard_start(struct file_req *q)
{
    struct file *f = req_file(q);
    uint64_t grain = f->handle->info.discard_align;
    uint64_t from, to;

    if (f->handle->no_punch || !grain) {
        req_end(q, -EOPNOTSUPP);
        return;
    }
    from = (q->req->off + grain - 1) / grain * grain;
    to = (q->req->off + q->req->len) / grain * grain;
    if (to <= from) {
        range_end(q);
        return;
    }
    q->io.off = from;
    q->io.len = to - from;
    io_start(q, BLK_IO_PUNCH, discard_done);
}

static void
zero_done(struct blk_io *io)
{
    struct file_req *q = io->data;
    struct file *f = req_file(q);

    if (io_again(q))
        return;
    if (not_supported(io->status) && io->op == BLK_IO_PUNCH) {
        f->handle->no_punch = true;
        io_start(q, BLK_IO_ZERO, zero_done);
        return;
    }
    if (io->status < 0) {
        write_failed(q, io->status);
        return;
    }
    if (io->op == BLK_IO_PUNCH)
        f->punched += io->len;
    else
        f->zeroed += io->len;
    range_end(q);
}

/* Punching makes zeroes on a file; what a device does is its own choice. */
static void
zero_start(struct file_req *q)
{
    const struct file_handle *h = req_file(q)->handle;
    bool punch = (q->req->flags & BLK_UNMAP) && !h->info.device &&
                 !h->no_punch && h->info.discard_align;

    q->io.off = q->req->off;
    q->io.len = q->req->len;
    q->io.fua = false; /* range_end() syncs */
    io_start(q, punch ? BLK_IO_PUNCH : BLK_IO_ZERO, zero_done);
}

/* ---- the door ------------------------------------------------------------ */

void
file_submit(struct blk_layer *l, struct blk_req *r)
{
    struct file *f = blk_self(l);
    struct file_req *q = r->scratch;

    q->layer = l;
    q->req = r;
    q->at = q->v = q->retries = 0;
    q->skip = r->sg.skip;
    if (r->op != BLK_READ && f->handle->failed) {
        blk_end(l, r, -EIO);
        return;
    }
    switch (r->op) {
    case BLK_READ:
    case BLK_WRITE:
        rw_next(q);
        break;
    case BLK_FLUSH:
        if (f->handle->readonly)
            blk_end(l, r, 0);
        else
            sync_start(q);
        break;
    case BLK_DISCARD:
        discard_start(q);
        break;
    case BLK_ZERO:
        zero_start(q);
        break;
    default:
        blk_end(l, r, -EOPNOTSUPP);
    }
}
