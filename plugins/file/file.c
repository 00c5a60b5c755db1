/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file: a disk in a raw image or on a block device.  This half opens, measures
 * and closes; requests are served in file_io.c.
 *
 * A live change under the same path must never let the lock go.  So the open
 * file is shared with the old instance; or, where it must be opened in another
 * way (direct, read-only), the new one keeps the old one open for its lock.
 *
 *   same direct, lock, mode      share the handle
 *   both lock, now read-only     open without a lock; keeper = the old handle
 *     or other direct
 *   both lock, now writable      refused: a shared lock can't grow safely
 *   anything else                open
 */
#include "plugins/file/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A lock that is taken may be about to go: a disk that is just closing, a
 * daemon that was killed and whose last I/O the kernel has not yet ended. */
#define FILE_AGAIN_NS 100000000ull
enum { FILE_TRIES = 12 };

static const char *const file_directs[] = { "auto", "on", "off", NULL };

static const struct blk_option file_options[] = {
    { .name = "path",
      .type = BLK_PATH,
      .at = offsetof(struct file, path),
      .required = true,
      .help = "the raw image or block device" },
    { .name = "direct",
      .type = BLK_CHOICE,
      .at = offsetof(struct file, direct),
      .fallback = "auto",
      .choices = file_directs,
      .help = "past the page cache; auto: where the file system can" },
    { .name = "lock",
      .type = BLK_BOOL,
      .at = offsetof(struct file, lock),
      .fallback = "true",
      .help = "refuse a second writer of the same file" },
    { 0 }
};

static const struct blk_counter file_counters[] = {
    { "punched", offsetof(struct file, punched), "bytes",
      "space that was given back" },
    { "zeroed", offsetof(struct file, zeroed), "bytes",
      "zeroes that were written on request" },
    { "split", offsetof(struct file, split), "requests",
      "I/Os beyond the first of a request" },
    { "retried", offsetof(struct file, retried), "requests",
      "I/Os that the kernel wanted again" },
    { "full", offsetof(struct file, full), "requests",
      "writes that failed because no space was left" },
    { "truncated", offsetof(struct file, truncated), "requests",
      "requests past the end of a file that was cut" },
    { "sync_errors", offsetof(struct file, sync_errors), "requests",
      "syncs that failed; the first one ends the disk" },
    { 0 }
};

/* ---- handles ------------------------------------------------------------- */

static void
handle_unref(struct blk_layer *l, struct file_handle *h)
{
    struct file_handle *keeper;

    for (; h && !--h->refs; h = keeper) {
        keeper = h->keeper;
        if (h->file)
            blk_file_close(l, h->file);
        free(h);
    }
}

static uint64_t
disk_size(const struct file_handle *h)
{
    return h->info.size - h->info.size % file_align(h);
}

/* ---- start --------------------------------------------------------------- */

static void start_open(struct file *f);

static void
start_again(struct blk_timer *t)
{
    start_open(t->data);
}

static void
start_failed(struct file *f, int error)
{
    handle_unref(f->layer, f->handle);
    f->handle = NULL;
    blk_ready(f->layer, error);
}

static void
start_opened(struct blk_open *o)
{
    struct file *f = o->data;
    struct file_handle *h = f->handle;

    if (o->status == -EBUSY && ++f->tries < FILE_TRIES) {
        f->again.fire = start_again;
        f->again.data = f;
        blk_timer_start(f->layer, &f->again, FILE_AGAIN_NS);
        return;
    }
    if (o->status) {
        blk_why(f->layer, "%s", o->why);
        start_failed(f, o->status);
        return;
    }
    h->file = o->file;
    h->info = o->info;
    if (f->direct == FILE_DIRECT_ON && !h->info.direct) {
        blk_why(f->layer,
                "%s: expected a file system with direct I/O (direct = \"on\"), "
                "found one without",
                f->path);
        start_failed(f, -EINVAL);
        return;
    }
    if (!disk_size(h)) {
        blk_why(f->layer,
                "%s: expected at least %" PRIu32 " bytes, found %" PRIu64,
                f->path, file_align(h), h->info.size);
        start_failed(f, -EINVAL);
        return;
    }
    if (disk_size(h) != h->info.size)
        blk_log(
            f->layer, BLK_WARN,
            "%s: the last %" PRIu64 " bytes are not used: its size, %" PRIu64
            ", is no multiple of %" PRIu32,
            f->path, h->info.size - disk_size(h), h->info.size, file_align(h));
    blk_ready(f->layer, 0);
}

static void
start_open(struct file *f)
{
    uint32_t flags = 0;

    if (f->handle->readonly)
        flags |= BLK_FILE_RDONLY;
    if (f->direct != FILE_DIRECT_OFF)
        flags |= BLK_FILE_DIRECT;
    if (f->lock && !f->handle->keeper)
        flags |= BLK_FILE_LOCK;
    memset(&f->open, 0, sizeof(f->open));
    f->open.path = f->path;
    f->open.flags = flags;
    f->open.done = start_opened;
    f->open.data = f;
    blk_file_open(f->layer, &f->open);
}

/* Under the path of a running instance: see the head of this file.  True when
 * start is over, or refused. */
static bool
start_inherit(struct file *f, struct blk_layer *old)
{
    struct file *from = blk_self(old);
    bool readonly = f->handle->readonly, was = from->handle->readonly;

    if (strcmp(from->path, f->path) || !from->lock || !f->lock)
        return false;
    if (was && !readonly) {
        blk_why(f->layer,
                "%s: a read-only disk can't become writable while it runs",
                f->path);
        f->handle = NULL;
        blk_ready(f->layer, -EBUSY);
        return true;
    }
    from->handle->refs++;
    if (readonly == was && f->direct == from->direct) {
        f->handle = from->handle;
        blk_ready(f->layer, 0);
        return true;
    }
    f->handle->keeper = from->handle;
    return false;
}

static void
file_start(struct blk_layer *l, struct blk_layer *old)
{
    struct file *f = blk_self(l);
    struct file_handle *h = calloc(1, sizeof(*h));

    f->layer = l;
    if (!h) {
        blk_why(l, "no memory");
        blk_ready(l, -ENOMEM);
        return;
    }
    h->refs = 1;
    h->readonly = blk_readonly(l);
    f->handle = h;
    if (old && start_inherit(f, old)) {
        free(h);
        return;
    }
    start_open(f);
}

/* ---- pause, resume, stop ------------------------------------------------- */

static void
file_pause(struct blk_layer *l)
{
    struct file *f = blk_self(l);

    f->waited = f->rescanning;
    if (!f->waited)
        blk_ready(l, 0);
}

static void
file_resume(struct blk_layer *l)
{
    struct file *f = blk_self(l);
    bool relimit = f->relimit;

    f->relimit = false;
    blk_ready(l, 0);
    if (relimit)
        blk_relimit(l);
}

static void
stop_now(struct file *f)
{
    handle_unref(f->layer, f->handle);
    f->handle = NULL;
    blk_ready(f->layer, 0);
}

static void
file_stop(struct blk_layer *l)
{
    struct file *f = blk_self(l);

    f->stopping = true;
    f->waited = f->rescanning;
    if (!f->waited)
        stop_now(f);
}

/* ---- commands ------------------------------------------------------------ */

static void
rescan_measure(struct file *f)
{
    struct blk_open *o = &f->open;
    uint64_t was = disk_size(f->handle);

    if (o->status) {
        blk_log(f->layer, BLK_ERR, "rescan: %s", o->why);
        return;
    }
    if (o->info.size < file_align(f->handle)) {
        blk_log(f->layer, BLK_ERR,
                "rescan: %s: expected at least %" PRIu32
                " bytes, found %" PRIu64 ": the size stays %" PRIu64,
                f->path, file_align(f->handle), o->info.size, was);
        return;
    }
    f->handle->info.size = o->info.size;
    if (disk_size(f->handle) == was)
        return;
    blk_log(f->layer, disk_size(f->handle) < was ? BLK_WARN : BLK_INFO,
            "rescan: %s: the size was %" PRIu64 " bytes and is now %" PRIu64,
            f->path, was, disk_size(f->handle));
    f->relimit = true;
}

static void
rescan_done(struct blk_open *o)
{
    struct file *f = o->data;

    f->rescanning = false;
    if (!f->stopping)
        rescan_measure(f);
    if (f->stopping) {
        stop_now(f);
    } else if (f->waited) {
        f->waited = false;
        blk_ready(f->layer, 0);
    } else if (f->relimit) {
        f->relimit = false;
        blk_relimit(f->layer);
    }
}

static int
command_rescan(struct file *f, struct blk_out *out)
{
    if (f->rescanning) {
        blk_printf(out, "rescan: one is already under way\n");
        return -EBUSY;
    }
    f->rescanning = true;
    memset(&f->open, 0, sizeof(f->open));
    f->open.path = f->path;
    f->open.file = f->handle->file;
    f->open.done = rescan_done;
    f->open.data = f;
    blk_file_stat(f->layer, &f->open);
    blk_printf(out, "rescan: measuring %s\n", f->path);
    return 0;
}

static void
file_stats(struct blk_layer *l, struct blk_out *out)
{
    struct file *f = blk_self(l);
    const struct file_handle *h = f->handle;

    if (!h)
        return;
    blk_put_str(out, "path", f->path);
    blk_put_u64(out, "size", disk_size(h));
    blk_put_str(out, "kind", h->info.device ? "device" : "file");
    blk_put_str(out, "mode", h->readonly ? "read-only" : "read-write");
    blk_put_str(out, "lock", f->lock ? "held" : "none");
    blk_put_u64(out, "direct", h->info.direct);
    blk_put_u64(out, "align", file_align(h));
    blk_put_u64(out, "failed", h->failed);
}

static int
file_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    struct file *f = blk_self(l);

    if (argc == 1 && !strcmp(argv[0], "rescan"))
        return command_rescan(f, out);
    if (argc == 1 && !strcmp(argv[0], "info")) {
        file_stats(l, out);
        return 0;
    }
    blk_printf(out, "expected rescan or info, found %s\n",
               argc ? argv[0] : "nothing");
    return -EINVAL;
}

/* ---- limits -------------------------------------------------------------- */

static void
file_limits(struct blk_layer *l, struct blk_limits *limits)
{
    struct file *f = blk_self(l);
    const struct file_handle *h = f->handle;

    limits->size = disk_size(h);
    limits->align = file_align(h);
    limits->block =
        h->info.physical > limits->align ? h->info.physical : limits->align;
    limits->mem_align =
        h->info.direct && h->info.mem_align ? h->info.mem_align : 1;
    limits->discard_align = h->info.discard_align;
    limits->volatile_cache = true;
    /* The error of a buffered FUA write would be reported there and nowhere
     * else; a sync after the write has one place for all of them. */
    limits->fua = h->info.direct;
    if (!h->info.discard_align || h->no_punch)
        limits->ops &= ~BLK_BIT(BLK_DISCARD);
    if (h->readonly) {
        limits->readonly = true;
        limits->ops &= BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH);
    }
}

static const struct blk_image file_image = { .format = "raw", .path = "path" };

BLK_PLUGIN(file) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct file),
    .req_size = sizeof(struct file_req),
    .ops = BLK_ALL_OPS,
    .tail = BLK_TAIL,
    .name = "file",
    .help = "a raw image or block device",
    .options = file_options,
    .counters = file_counters,
    .start = file_start,
    .pause = file_pause,
    .resume = file_resume,
    .stop = file_stop,
    .submit = file_submit,
    .limits = file_limits,
    .stats = file_stats,
    .command = file_command,
    .commands = "info\n"
                "rescan\n",
    .image = &file_image,
};
