/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2: a disk in a qcow2 image; with a layer below, what changed of that.
 * qcow2.h has the map of the files.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugins/qcow2/overlay.h"

static const char *const directs[] = { "auto", "on", "off", NULL };

static const struct blk_option options[] = {
    { .name = "path",
      .type = BLK_PATH,
      .at = offsetof(struct qcow2, path),
      .help = "the image" },
    { .name = "ephemeral",
      .type = BLK_BOOL,
      .at = offsetof(struct qcow2, ephemeral),
      .help = "an image of its own for each attachment, gone with it" },
    { .name = "encrypt",
      .type = BLK_BOOL,
      .at = offsetof(struct qcow2, encrypt),
      .help = "of an ephemeral image: by a key that is gone with it" },
    { .name = "backing",
      .type = BLK_STRING,
      .at = offsetof(struct qcow2, backing),
      .help = "the backing file that the image names, to say that the layer "
              "below serves it" },
    { .name = "data-file",
      .type = BLK_PATH,
      .at = offsetof(struct qcow2, data_file),
      .help = "the data file that the image names" },
    { .name = "cache",
      .type = BLK_SIZE,
      .at = offsetof(struct qcow2, cache_size),
      .fallback = "8M",
      .min = 256 << 10,
      .max = 1ull << 32,
      .help = "memory for pieces of L2 tables and refcounts" },
    { .name = "direct",
      .type = BLK_CHOICE,
      .at = offsetof(struct qcow2, direct),
      .fallback = "auto",
      .choices = directs,
      .help = "past the page cache; auto: where the file system can" },
    { .name = "lock",
      .type = BLK_BOOL,
      .at = offsetof(struct qcow2, lock),
      .fallback = "true",
      .help = "refuse a second writer of the same file" },
    { 0 }
};

static const struct blk_counter counters[] = {
    { "allocated", offsetof(struct qcow2, allocated), "clusters",
      "taken into use" },
    { "freed", offsetof(struct qcow2, freed), "clusters", "set free" },
    { "punched", offsetof(struct qcow2, punched), "bytes",
      "given back to the file system by discards" },
    { "tables", offsetof(struct qcow2, tables), "clusters", "new L2 tables" },
    { "copied", offsetof(struct qcow2, copied), "requests",
      "writes that had to keep a part of a cluster" },
    { "unpacked", offsetof(struct qcow2, unpacked), "clusters",
      "compressed ones that were read" },
    { "commits", offsetof(struct qcow2, commits), "batches",
      "changes of tables that were made together" },
    { "batched", offsetof(struct qcow2, batched), "requests", "in them" },
    { "syncs", offsetof(struct qcow2, syncs), "requests", "syncs of the file" },
    { "full", offsetof(struct qcow2, full), "requests",
      "writes of the file that found no space" },
    { "l2_hits", offsetof(struct qcow2, l2.hits), "requests",
      "tables that were in memory" },
    { "l2_misses", offsetof(struct qcow2, l2.misses), "requests",
      "tables that had to be read" },
    { "leaked", offsetof(struct qcow2, leaked), "clusters",
      "found at open: counted but not used" },
    { "mended", offsetof(struct qcow2, mended), "clusters",
      "found at open: used but not counted enough" },
    { 0 }
};

/* What is made for an attachment, by us, can't be told to be anything. */
static int
check_ephemeral(const struct qcow2 *s, char *why, size_t n)
{
    if (s->path)
        snprintf(why, n,
                 "path: expected none with ephemeral = true, found \"%.100s\"",
                 s->path);
    else if (s->backing)
        snprintf(why, n,
                 "backing: expected none with ephemeral = true, found "
                 "\"%.100s\"",
                 s->backing);
    else if (s->data_file)
        snprintf(why, n,
                 "data-file: expected none with ephemeral = true, found "
                 "\"%.100s\"",
                 s->data_file);
    else if (!s->lock)
        snprintf(why, n,
                 "lock: expected true with ephemeral = true, found "
                 "false");
    else
        return s->encrypt ? q2_seal_built(why, n) : 0;
    return -EINVAL;
}

static int
qcow2_check(const void *self, char *why, size_t n)
{
    const struct qcow2 *s = self;

    if (s->ephemeral)
        return check_ephemeral(s, why, n);
    if (s->encrypt) {
        snprintf(why, n,
                 "encrypt: expected ephemeral = true with it; an image that "
                 "stays is encrypted by a crypt layer");
        return -EINVAL;
    }
    if (!s->path) {
        snprintf(why, n,
                 "path: expected an image, or ephemeral = true, found none");
        return -EINVAL;
    }
    if (s->backing && !s->backing[0]) {
        snprintf(why, n,
                 "backing: expected the name that is in the image, "
                 "found an empty one");
        return -EINVAL;
    }
    if (s->data_file && !strcmp(s->data_file, s->path)) {
        snprintf(why, n,
                 "data-file: expected another file than the image, found "
                 "\"%.100s\"",
                 s->data_file);
        return -EINVAL;
    }
    return 0;
}

static int
qcow2_check_last(const void *self, char *why, size_t n)
{
    const struct qcow2 *s = self;

    if (!s->ephemeral)
        return 0;
    snprintf(why, n,
             "ephemeral: expected a layer below, whose data are what the disk "
             "begins with, found none");
    return -EINVAL;
}

/* A change that failed may have had another instance here for a while, which
 * took the mark away: it is made again. */
static void
qcow2_resume(struct blk_layer *l)
{
    struct qcow2 *s = blk_self(l);

    s->marked = false;
    blk_ready(l, 0);
    q2_fold_resume(s);
    if (q2_resize_wanted(s)) /* asked for while it was paused */
        blk_relimit(l);
}

/* ---- what it offers ------------------------------------------------------ */

static uint32_t
larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t
file_mem_align(const struct blk_file_info *info)
{
    return info->direct ? info->mem_align : 0;
}

static uint32_t
file_align(const struct blk_file_info *info)
{
    return info->direct ? larger(info->block, info->mem_align) : 0;
}

static uint32_t
offered_align(const struct qcow2 *s)
{
    const struct q2_image *image = s->image;

    return larger(
        512, larger(file_align(&image->info), file_align(&image->data_info)));
}

static uint32_t
offered_mem_align(const struct qcow2 *s)
{
    const struct q2_image *image = s->image;

    return larger(1, larger(file_mem_align(&image->info),
                            file_mem_align(&image->data_info)));
}

/* Clusters are cut at any multiple of align: so memory needs no more. */
static void
qcow2_limits(struct blk_layer *l, struct blk_limits *limits)
{
    struct qcow2 *s = blk_self(l);
    const struct blk_limits below = *limits;
    bool last = blk_last(l);
    uint32_t align = offered_align(s);

    if (!last) {
        s->below_size = below.size;
        align = larger(align, larger(below.align, below.mem_align));
        limits->readonly = blk_readonly(l);
    }
    limits->ops = BLK_ALL_OPS;
    if (s->h.version < 3 && !last) /* it has no entry for zeroes */
        limits->ops &= ~(BLK_BIT(BLK_DISCARD) | BLK_BIT(BLK_ZERO));
    s->size = s->h.size & ~(uint64_t)(align - 1);
    limits->size = s->size;
    limits->align = s->align = align;
    limits->mem_align = offered_mem_align(s);
    if (!last)
        limits->mem_align = larger(limits->mem_align, below.mem_align);
    limits->block = s->cluster < 4096 ? s->cluster : 4096;
    if (limits->block < align)
        limits->block = align;
    limits->max_len = Q2_WRITE_MAX;
    limits->max_segs = Q2_IOV - 2;
    if (!last && below.max_segs < limits->max_segs)
        limits->max_segs = below.max_segs;
    limits->discard_align = s->cluster;
    limits->max_discard = 1u << 30;
    limits->volatile_cache = true;
    limits->fua = false;
    limits->fleeting = s->ephemeral; /* not what is below says */
    if (s->image->readonly) {
        limits->readonly = true;
        limits->ops &= BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH);
    }
}

/* ---- what it tells ------------------------------------------------------- */

static void
qcow2_stats(struct blk_layer *l, struct blk_out *out)
{
    const struct qcow2 *s = blk_self(l);

    if (!s->image)
        return;
    blk_put_str(out, "path", s->path);
    blk_put_u64(out, "size", s->size);
    blk_put_u64(out, "version", s->h.version);
    blk_put_u64(out, "cluster_size", s->cluster);
    blk_put_str(out, "mode", s->image->readonly ? "read-only" : "read-write");
    blk_put_str(out, "lock", s->lock ? "held" : "none");
    blk_put_u64(out, "ephemeral", s->ephemeral);
    if (s->image->seal) {
        blk_put_str(out, "encrypted", "aes-256-xts, key not stored");
        blk_put_u64(out, "encrypt_worked", q2_seal_worked(s->image->seal));
    }
    blk_put_u64(out, "direct", s->image->info.direct);
    blk_put_u64(out, "snapshots", s->h.snapshots);
    if (s->h.backing[0])
        blk_put_str(out, "backing", s->h.backing);
    if (s->image->data) {
        blk_put_str(out, "data_file", s->data_file);
        blk_put_u64(out, "data_file_raw", q2_is_raw(s));
    }
    blk_put_u64(out, "file_clusters", s->fresh);
    blk_put_u64(out, "cache_bytes",
                (uint64_t)s->l2.n * s->l2.size +
                    (uint64_t)s->refs.n * s->refs.size);
    q2_resize_show(s, out);
    if (q2_fold_told(s))
        q2_fold_show(s, out);
    blk_put_u64(out, "failed", s->image->failed || s->corrupt);
}

static int
command_resize(struct qcow2 *s, const char *text, struct blk_out *out)
{
    uint64_t size = 0;
    size_t n = strspn(text, "0123456789");

    for (size_t i = 0; i < n && size < UINT64_MAX / 10 - 1; i++)
        size = size * 10 + (uint64_t)(text[i] - '0');
    if (!n || n > 19 || text[n]) {
        blk_printf(out, "resize: expected a number of bytes, found \"%.64s\"\n",
                   text);
        return -EINVAL;
    }
    return q2_resize_ask(s, size, out);
}

static int
qcow2_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    if (argc == 1 && !strcmp(argv[0], "info")) {
        qcow2_stats(l, out);
        return 0;
    }
    if (argc == 2 && !strcmp(argv[0], "resize"))
        return command_resize(blk_self(l), argv[1], out);
    if (argc && !strcmp(argv[0], "commit"))
        return q2_fold_command(blk_self(l), argc - 1, argv + 1, out);
    blk_printf(out, "expected info, resize BYTES or commit, found %s\n",
               argc ? argv[0] : "nothing");
    return -EINVAL;
}

static const struct blk_image qcow2_image = {
    .format = "qcow2",
    .path = "path",
    .backing = "backing",
    .overlay = q2_overlay,
};

BLK_PLUGIN(qcow2) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct qcow2),
    .req_size = sizeof(struct q2_req),
    .own = 64,
    .ops = BLK_ALL_OPS,
    .tail = BLK_EITHER,
    .name = "qcow2",
    .help = "a qcow2 image, or what changed of the layer below",
    .options = options,
    .counters = counters,
    .check = qcow2_check,
    .check_last = qcow2_check_last,
    .start = q2_start,
    .pause = q2_pause,
    .resume = qcow2_resume,
    .stop = q2_stop,
    .submit = q2_submit,
    .done = q2_done,
    .map = q2_status,
    .limits = qcow2_limits,
    .stats = qcow2_stats,
    .command = qcow2_command,
    .commands = "info\n"
                "resize BYTES\n"
                "commit [pause|resume|cancel|status]\n",
    .can = BLK_CAN_RESIZE | BLK_CAN_COMMIT,
    .image = &qcow2_image,
};
