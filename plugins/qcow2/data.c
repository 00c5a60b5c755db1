/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * data.c: guest clusters in a file of their own, the data file.
 *
 *   image:      header | L1 | L2 | refcounts       of these alone
 *   data file:  the disk, each cluster at its guest offset
 *
 * An entry of L2 says whether a cluster is there.  Once it is it stays: a
 * discard makes zeroes of it in the data file and leaves the entry as it is.
 * The data file is synced before the image is, so no entry comes before its
 * data.
 *
 * As with a backing file, the name in the image opens nothing: the
 * configuration says which file it is, and both must agree.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERASE_RETRIES = 16 };

/* ---- which file ---------------------------------------------------------- */

/* QEMU takes a name that is no whole path as seen from the folder that it is
 * started in, which nobody knows here: so its end must be that name. */
static bool
is_named(const struct qcow2 *s)
{
    const char *name = s->h.data_file, *path = s->data_file;
    size_t n = strlen(name), len = path ? strlen(path) : 0;

    if (!path || len < n || strcmp(path + len - n, name))
        return false;
    return len == n || path[len - n - 1] == '/';
}

static int
judge_name(const struct qcow2 *s, char *why, size_t n)
{
    const char *name = s->h.data_file;
    const char *is = s->data_file ? s->data_file : "none";
    const char *quote = s->data_file ? "\"" : "";

    if (!name[0] && s->data_file)
        return 0;
    if (!name[0])
        snprintf(why, n,
                 "expected data-file with the path of the file that has its "
                 "data, which the image does not name, found none");
    else if (name[strcspn(name, ":/")] == ':')
        snprintf(why, n,
                 "expected a data file that the image names by its path, found "
                 "\"%.80s\": give it one with qemu-img amend -o data_file=PATH",
                 name);
    else if (!is_named(s))
        snprintf(why, n,
                 "expected data-file = \"%s%.100s\", as the image names it, "
                 "found %s%.100s%s",
                 name[0] == '/' ? "" : "/.../", name, quote, is, quote);
    else
        return 0;
    return -EINVAL;
}

int
q2_data_judge(const struct qcow2 *s, char *why, size_t n)
{
    if (!q2_is_apart(s) && !s->data_file)
        return 0;
    if (!q2_is_apart(s))
        snprintf(why, n,
                 "expected no data-file here, as the image holds its data "
                 "itself, found \"%.100s\"",
                 s->data_file);
    else if (q2_is_raw(s) && !blk_last(s->layer))
        snprintf(why, n,
                 "expected no layer below an image with a raw data file, "
                 "which is the whole disk, found one");
    else
        return judge_name(s, why, n);
    return -EINVAL;
}

/* ---- opened -------------------------------------------------------------- */

static void data_opened(struct blk_open *b);

static void
data_again(struct blk_timer *t)
{
    q2_data_open(t->data);
}

/* Its keeper has the lock of the image; of the data file, if it is the same. */
static bool
is_kept(const struct qcow2 *s)
{
    const struct q2_image *keeper = s->image->keeper;

    return keeper && keeper->data && !strcmp(keeper->data_path, s->data_file);
}

static void
data_start(struct qcow2 *s)
{
    struct q2_open *o = s->opening;
    struct blk_open *b = &o->open;
    uint32_t flags = 0;

    if (s->image->readonly)
        flags |= BLK_FILE_RDONLY;
    if (s->direct != Q2_DIRECT_OFF && !o->data_buffered)
        flags |= BLK_FILE_DIRECT;
    if (s->lock && !is_kept(s))
        flags |= BLK_FILE_LOCK;
    memset(b, 0, sizeof(*b));
    b->path = s->data_file;
    b->flags = flags;
    b->done = data_opened;
    b->data = s;
    blk_file_open(s->layer, b);
}

static bool
is_too_fine(const struct qcow2 *s, const struct blk_file_info *info)
{
    return info->direct &&
           (info->block > s->cluster || info->mem_align > s->cluster);
}

static void
data_measured(struct blk_open *b)
{
    struct qcow2 *s = b->data;
    struct blk_file_info *info = &s->image->data_info;

    if (b->status) {
        blk_why(s->layer, "%s", b->why);
        q2_open_over(s, b->status);
        return;
    }
    info->size = b->info.size;
    if (info->size < s->h.size)
        q2_open_refuse(s, -EUCLEAN,
                       "expected a data file, %s, of at least the %" PRIu64
                       " bytes of the disk, found %" PRIu64
                       ": was it truncated?",
                       s->data_file, s->h.size, info->size);
    else
        q2_tables_read(s);
}

static void
data_opened(struct blk_open *b)
{
    struct qcow2 *s = b->data;
    struct q2_open *o = s->opening;

    if (q2_open_again(s, data_again))
        return;
    if (b->status) {
        blk_why(s->layer, "%s", b->why);
        q2_open_over(s, b->status);
        return;
    }
    s->image->data = b->file;
    s->image->data_info = b->info;
    s->image->data_path = strdup(s->data_file);
    if (!s->image->data_path) {
        q2_open_refuse(s, -ENOMEM, "no memory");
    } else if (s->direct == Q2_DIRECT_ON && !b->info.direct) {
        q2_open_refuse(s, -EINVAL,
                       "expected a file system with direct I/O (direct = "
                       "\"on\") for %s, found one without",
                       s->data_file);
    } else if (is_too_fine(s, &b->info) && s->direct == Q2_DIRECT_ON) {
        q2_open_refuse(s, -EINVAL,
                       "expected clusters of at least %" PRIu32
                       " bytes with direct = \"on\", for %s, found %" PRIu32,
                       b->info.block, s->data_file, s->cluster);
    } else if (is_too_fine(s, &b->info)) {
        o->data_buffered = true;
        blk_file_close(s->layer, s->image->data);
        free(s->image->data_path);
        s->image->data = NULL;
        s->image->data_path = NULL;
        data_start(s);
    } else {
        data_measured(b);
    }
}

void
q2_data_open(struct qcow2 *s)
{
    struct blk_open *b = &s->opening->open;

    if (!s->image->data) {
        data_start(s);
        return;
    }
    memset(b, 0, sizeof(*b)); /* it may have grown since it was opened */
    b->path = s->data_file;
    b->file = s->image->data;
    b->done = data_measured;
    b->data = s;
    blk_file_stat(s->layer, b);
}

/* ---- zeroes -------------------------------------------------------------- */

static void erase_start(struct q2_req *q, enum blk_io_op op);

static bool
is_unsupported(int64_t status)
{
    return status == -EOPNOTSUPP || status == -ENOSYS || status == -ENOTTY;
}

static void
erase_done(struct blk_io *io)
{
    struct q2_req *q = io->data;
    struct qcow2 *s = q->s;

    if (io->op == BLK_IO_PUNCH && is_unsupported(io->status)) {
        s->image->data_info.discard_align = 0;
        erase_start(q, BLK_IO_ZERO);
        return;
    }
    if ((io->status == -EINTR || io->status == -EAGAIN) &&
        q->io.retries++ < ERASE_RETRIES) {
        blk_io_start(s->layer, io);
        return;
    }
    if (io->status < 0) {
        q->wait.go(&q->wait, io->status == -EDQUOT ? -ENOSPC : (int)io->status);
        return;
    }
    if (io->op == BLK_IO_PUNCH)
        s->punched += io->len;
    q->w.erased += (uint32_t)io->len;
    q->wait.go(&q->wait, 0);
}

static void
erase_start(struct q2_req *q, enum blk_io_op op)
{
    struct blk_io *io = &q->io.io;

    memset(io, 0, sizeof(*io));
    q->io.retries = 0;
    io->op = op;
    io->file = q->s->image->data;
    io->off = q->fetch.run.host;
    io->len = q->fetch.run.len;
    io->done = erase_done;
    io->data = q;
    blk_io_start(q->s->layer, io);
}

/* A hole in a file is zeroes; in a device it is what that likes. */
static enum blk_io_op
erase_op(const struct q2_req *q)
{
    const struct blk_file_info *info = &q->s->image->data_info;
    bool give_back = q->req->op == BLK_DISCARD || (q->req->flags & BLK_UNMAP);

    return give_back && info->discard_align && !info->device ? BLK_IO_PUNCH
                                                             : BLK_IO_ZERO;
}

int
q2_data_erase(struct q2_req *q)
{
    struct qcow2 *s = q->s;
    struct q2_run *run = &q->fetch.run;

    while (q->w.erased < q->piece) {
        uint64_t off = q->req->off + q->at + q->w.erased;
        struct q2_table *t;
        int error = q2_map_get(s, off, &t, &q->wait);

        if (error)
            return error;
        error = q2_map_run(s, t, off, q->piece - q->w.erased, run);
        if (t)
            q2_cache_put(t);
        if (error)
            return error;
        if (run->kind == Q2_IS_DATA) {
            erase_start(q, erase_op(q));
            return -EAGAIN;
        }
        q->w.erased += (uint32_t)run->len;
    }
    return 0;
}
