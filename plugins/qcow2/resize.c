/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * resize.c: the disk becomes larger, while it works.
 *
 * A command notes the size that is wanted and asks the engine to look at the
 * limits again; that pauses the chain, and the pause does it, with no request
 * in the chain and every entry of L1 on the medium:
 *
 *   mark -> [a larger L1, when needed: allocate, counters, table -> sync] ->
 *   header: size, and where L1 is -> sync -> the old L1 is free -> clean end
 *
 * Size and place of L1 are in one sector of the header: so a crash leaves the
 * disk as it was or as it is to be, and at most a table that nobody uses, which
 * the mark tells.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of clusters that were too short for a table; more than there are ends
 * of the file and of counters to come across. */
enum { RESIZE_SHORT = 8 };

struct q2_resize {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    void (*done)(struct qcow2 *);
    struct q2_io io;
    struct q2_store store;
    struct q2_alloc alloc;
    uint64_t size;     /* wanted; 0: nothing is */
    uint32_t entries;  /* of L1, for it */
    uint64_t clusters; /* of the larger L1 */
    uint64_t first, n; /* the row that it is to lie in, as far as there is */
    uint64_t cursor;   /* where others go on to look */
    struct q2_free too_short[RESIZE_SHORT];
    unsigned too_short_n;
    uint64_t *l1;
    uint8_t *medium;
    char why[100]; /* the last one failed; "": it did not */
};

static uint64_t
table_bytes(const struct qcow2 *s, uint32_t entries)
{
    const uint64_t unit = s->head_len;

    return (entries * 8ull + unit - 1) & ~(unit - 1);
}

static uint64_t
table_clusters(const struct qcow2 *s, uint32_t entries)
{
    return (entries * 8ull + s->cluster - 1) >> s->cluster_bits;
}

/* ---- the end ------------------------------------------------------------- */

/* What was not used is free again. */
static void
resize_give_back(struct q2_resize *z)
{
    struct qcow2 *s = z->s;

    for (unsigned i = 0; i < z->too_short_n; i++)
        q2_free(s, z->too_short[i].first, z->too_short[i].n, 0, Q2_KEEP);
    if (z->n)
        q2_free(s, z->first, z->n, 0, Q2_KEEP);
    if (z->cursor < s->cursor)
        s->cursor = z->cursor;
    z->too_short_n = 0;
    z->n = 0;
    free(z->l1);
    free(z->medium);
    z->l1 = NULL;
    z->medium = NULL;
}

static void
resize_over(struct q2_resize *z, int error)
{
    struct qcow2 *s = z->s;

    z->why[0] = '\0';
    if (error) {
        snprintf(z->why, sizeof(z->why), "%" PRIu64 " bytes: %s", z->size,
                 strerror(-error));
        blk_log(s->layer, BLK_ERR,
                "%s: can't be resized to %s; the size stays %" PRIu64, s->path,
                z->why, s->h.size);
    }
    z->size = 0;
    resize_give_back(z);
    z->done(s);
}

/* ---- the header ---------------------------------------------------------- */

static void
header_put(struct qcow2 *s, uint64_t size, uint64_t l1, uint32_t entries)
{
    q2_put64(s->head + Q2_AT_SIZE, size);
    q2_put64(s->head + Q2_AT_L1, l1);
    q2_put32(s->head + Q2_AT_L1_ENTRIES, entries);
}

static void
resize_switch(struct q2_resize *z)
{
    struct qcow2 *s = z->s;
    uint64_t was = s->h.l1 >> s->cluster_bits;

    if (z->l1) {
        q2_free(s, was, table_clusters(s, s->h.l1_entries), 0, Q2_KEEP);
        free(s->l1);
        free(s->l1_medium);
        s->l1 = z->l1;
        s->l1_medium = z->medium;
        z->l1 = NULL;
        z->medium = NULL;
        z->n = 0;
        s->h.l1 = q2_get64(s->head + Q2_AT_L1);
        s->h.l1_entries = z->entries;
    }
    blk_log(s->layer, BLK_INFO,
            "%s: the size was %" PRIu64 " bytes and is now %" PRIu64, s->path,
            s->h.size, z->size);
    s->h.size = z->size;
    resize_over(z, 0);
}

/* Which of two tables the header names is then not known: neither is used. */
static void
resize_headed(struct q2_io *io, int error)
{
    struct q2_resize *z = io->data;
    struct qcow2 *s = z->s;

    if (!error) {
        resize_switch(z);
        return;
    }
    if (z->l1)
        q2_undecided(s);
    z->n = 0; /* maybe in use: the mark is there */
    s->frees.lost += z->l1 != NULL;
    header_put(s, s->h.size, s->h.l1, s->h.l1_entries);
    resize_over(z, error);
}

static void
resize_header_sync(struct q2_io *io, int error)
{
    struct q2_resize *z = io->data;

    io->done = resize_headed;
    if (error)
        resize_headed(io, error);
    else
        q2_sync(z->s, io);
}

static void resize_header(struct q2_io *io, int error);

/* The data file becomes as long as the disk will be, and that durable, before
 * the header tells of it: one that is shorter was truncated. */
static bool
data_short(const struct q2_resize *z)
{
    const struct qcow2 *s = z->s;

    return q2_is_apart(s) && s->image->data_info.size < z->size;
}

static void
data_grown(struct blk_io *io)
{
    struct q2_resize *z = io->data;

    if (io->status < 0) {
        resize_over(z, (int)io->status);
        return;
    }
    z->s->image->data_info.size = z->size;
    z->io.done = resize_header;
    z->io.data = z;
    q2_sync(z->s, &z->io);
}

static void
data_grow(struct q2_resize *z)
{
    struct blk_io *io = &z->io.io;

    memset(io, 0, sizeof(*io));
    io->op = BLK_IO_TRUNCATE;
    io->file = z->s->image->data;
    io->off = z->size;
    io->done = data_grown;
    io->data = z;
    blk_io_start(z->s->layer, io);
}

static void
resize_header(struct q2_io *io, int error)
{
    struct q2_resize *z = io->data;
    struct qcow2 *s = z->s;

    if (error || s->corrupt) {
        resize_over(z, error ? error : -EIO);
        return;
    }
    if (data_short(z)) {
        data_grow(z);
        return;
    }
    if (z->l1)
        header_put(s, z->size, z->first << s->cluster_bits, z->entries);
    else
        header_put(s, z->size, s->h.l1, s->h.l1_entries);
    io->done = resize_header_sync;
    q2_header_write(s, io);
}

/* ---- a larger table ------------------------------------------------------ */

static void
table_written(struct q2_io *io, int error)
{
    struct q2_resize *z = io->data;

    io->done = resize_header;
    if (error)
        resize_header(io, error);
    else
        q2_sync(z->s, io);
}

static void
table_counted(struct q2_store *st, int error)
{
    struct q2_resize *z = st->data;
    struct qcow2 *s = z->s;

    q2_gate_leave(&s->alloc_gate);
    z->io.data = z;
    z->io.done = table_written;
    if (error)
        resize_over(z, error);
    else
        q2_write(s, &z->io, z->first << s->cluster_bits, z->medium,
                 table_bytes(s, z->entries));
}

static void
table_gate(struct q2_wait *w, int error)
{
    struct q2_resize *z = (struct q2_resize *)w;

    (void)error;
    z->store.done = table_counted;
    z->store.data = z;
    q2_cache_store(&z->s->refs, &z->store);
}

static void
table_fill(struct q2_resize *z)
{
    struct qcow2 *s = z->s;

    z->l1 = calloc(z->entries + 1ul, sizeof(*z->l1));
    z->medium = q2_alloc_memory((size_t)table_bytes(s, z->entries));
    if (!z->l1 || !z->medium) {
        resize_over(z, -ENOMEM);
        return;
    }
    memset(z->medium, 0, (size_t)table_bytes(s, z->entries));
    memcpy(z->l1, s->l1, s->h.l1_entries * sizeof(*s->l1));
    memcpy(z->medium, s->l1_medium, s->h.l1_entries * 8ul);
    z->wait.go = table_gate;
    if (q2_gate_take(&s->alloc_gate, &z->wait))
        table_gate(&z->wait, 0);
}

/* Clusters in a row come in parts, each from one piece of counters; where a row
 * ends too early the next is looked for behind all that there is. */
static void
table_allocated(struct q2_alloc *a, int error)
{
    struct q2_resize *z = a->data;
    struct qcow2 *s = z->s;

    if (!error && z->n && a->first == z->first + z->n) {
        z->n += a->got;
    } else if (!error) {
        if (z->n && z->too_short_n == RESIZE_SHORT)
            error = -ENOSPC;
        else if (z->n)
            z->too_short[z->too_short_n++] =
                (struct q2_free){ .first = z->first, .n = z->n };
        if (error)
            q2_free(s, a->first, a->got, 0, Q2_KEEP);
        else
            z->first = a->first, z->n = a->got;
    }
    if (error) {
        resize_over(z, error);
    } else if (z->n == z->clusters) {
        table_fill(z);
    } else {
        if (s->cursor < s->fresh && z->too_short_n)
            s->cursor = s->fresh;
        a->want = z->clusters - z->n;
        q2_alloc(a);
    }
}

/* ---- asked for, and done ------------------------------------------------- */

/* The pause: every entry of L1 is written, and nothing runs. */
void
q2_resize(struct qcow2 *s, void (*done)(struct qcow2 *))
{
    struct q2_resize *z = s->resizing;

    z->done = done;
    z->io.data = z;
    if (s->l1_dirty_n || s->corrupt || s->image->failed) {
        resize_over(z, -EIO);
    } else if (z->entries <= s->h.l1_entries) {
        resize_header(&z->io, 0);
    } else {
        z->clusters = table_clusters(s, z->entries);
        z->cursor = s->cursor;
        z->n = 0;
        z->alloc.s = s;
        z->alloc.want = z->clusters;
        z->alloc.done = table_allocated;
        z->alloc.data = z;
        q2_alloc(&z->alloc);
    }
}

void
q2_resize_fails(struct qcow2 *s, int error, void (*done)(struct qcow2 *))
{
    s->resizing->done = done;
    resize_over(s->resizing, error);
}

bool
q2_resize_wanted(const struct qcow2 *s)
{
    return s->resizing && s->resizing->size;
}

void
q2_resize_show(const struct qcow2 *s, struct blk_out *out)
{
    if (q2_resize_wanted(s))
        blk_put_u64(out, "resizing_to", s->resizing->size);
    else if (s->resizing && s->resizing->why[0])
        blk_put_str(out, "resize_failed", s->resizing->why);
}

/* Most bytes that a disk in this image can have: L1 is a row of clusters, and
 * the first that a block counts is the block. */
static uint64_t
resize_most(const struct qcow2 *s)
{
    const uint64_t reach = (uint64_t)(s->cluster / s->entry_size)
                           << s->cluster_bits;
    uint64_t entries = (s->ref_per_block - 1) << s->cluster_bits >> 3;

    if (entries > Q2_L1_MAX / 8)
        entries = Q2_L1_MAX / 8;
    return entries > Q2_SIZE_MAX / reach ? Q2_SIZE_MAX : entries * reach;
}

/* 0: a data file is none, or can be as large. */
static int
data_judge(const struct qcow2 *s, uint64_t size, struct blk_out *out)
{
    const struct blk_file_info *info = &s->image->data_info;
    const uint64_t mask = s->cluster - 1;

    if (!q2_is_apart(s) || size == s->h.size)
        return 0;
    if (info->device && info->size < size)
        blk_printf(out,
                   "expected at most the %" PRIu64
                   " bytes of the device that has its data, found %" PRIu64
                   "\n",
                   info->size, size);
    else if (q2_is_raw(s) && info->size > ((s->h.size + mask) & ~mask))
        blk_printf(out,
                   "expected a raw data file of the %" PRIu64
                   " bytes of the disk, found %" PRIu64
                   ": what lies behind them would come to light\n",
                   s->h.size, info->size);
    else
        return 0;
    return -EINVAL;
}

/* 0: it can be. */
static int
resize_judge(const struct qcow2 *s, uint64_t size, struct blk_out *out)
{
    if (size < s->h.size)
        blk_printf(out,
                   "expected a size of at least the %" PRIu64
                   " bytes that the guest was told, found %" PRIu64
                   ": a disk can't shrink while it works\n",
                   s->h.size, size);
    else if (size & 511)
        blk_printf(out, "expected a multiple of 512 bytes, found %" PRIu64 "\n",
                   size);
    else if (size > resize_most(s) && size != s->h.size)
        blk_printf(out,
                   "expected at most %" PRIu64 " bytes, as its clusters are "
                   "of %" PRIu32 ", found %" PRIu64 "\n",
                   resize_most(s), s->cluster, size);
    else if (s->h.version < 3 && s->h.snapshots)
        blk_printf(out, "expected an image of version 3, as its snapshots "
                        "must tell their size, found version 2: convert it "
                        "with qemu-img amend -o compat=v3\n");
    else if (s->below_size > s->h.size)
        blk_printf(out,
                   "expected a layer below of at most the %" PRIu64
                   " bytes of the image, found %" PRIu64
                   ": what lies behind them would come to light\n",
                   s->h.size, s->below_size);
    else
        return data_judge(s, size, out);
    return -EINVAL;
}

int
q2_resize_ask(struct qcow2 *s, uint64_t size, struct blk_out *out)
{
    const uint64_t reach = (uint64_t)(s->cluster / s->entry_size)
                           << s->cluster_bits;
    struct q2_resize *z = s->resizing;
    int error;

    if (s->image->readonly || s->corrupt || s->image->failed) {
        blk_printf(out,
                   "expected an image that can be written, found one that "
                   "%s\n",
                   s->image->readonly ? "is read-only" : "failed");
        return -EROFS;
    }
    if (q2_fold_running(s)) {
        blk_printf(out, "it is being committed: wait, or cancel that\n");
        return -EBUSY;
    }
    if (z->size) {
        blk_printf(out, "it is already being resized, to %" PRIu64 " bytes\n",
                   z->size);
        return -EBUSY;
    }
    error = resize_judge(s, size, out);
    if (error)
        return error;
    if (size == s->h.size) {
        blk_printf(out, "it has %" PRIu64 " bytes already\n", size);
        return 0;
    }
    z->entries = (uint32_t)((size + reach - 1) / reach);
    z->size = size;
    blk_relimit(s->layer);
    blk_put_u64(out, "resizing_to", size);
    blk_printf(out, "resizing to %" PRIu64 " bytes\n", size);
    return 0;
}

int
q2_resize_init(struct qcow2 *s)
{
    s->resizing = calloc(1, sizeof(*s->resizing));
    if (!s->resizing)
        return -ENOMEM;
    s->resizing->s = s;
    return 0;
}

void
q2_resize_free(struct qcow2 *s)
{
    free(s->resizing);
    s->resizing = NULL;
}
