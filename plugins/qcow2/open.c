/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * open.c: from a path to a disk.
 *
 *   open --> first bytes --> first cluster --> judge --> L1 --> refcount table
 *     ^          |                                                 |
 *     '----------' clusters smaller than direct I/O takes       mend.c, when
 *                                                               needed; ready
 *
 * A live change under the same path must never let the lock go: so the open
 * file is shared with the old instance, or keeps it open for its lock, as the
 * file plugin does.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_AGAIN_NS 100000000u
enum { OPEN_TRIES = 12, OPEN_FIRST = 4096 };

static void open_file(struct qcow2 *s);

/* ---- the end ------------------------------------------------------------- */

void
q2_release(struct qcow2 *s)
{
    q2_image_unref(s, s->image);
    s->image = NULL;
    q2_cache_free(&s->l2);
    q2_cache_free(&s->refs);
    q2_commit_free(s);
    q2_grow_free(s);
    q2_unpack_free(s);
    q2_resize_free(s);
    q2_fold_free(s);
    q2_ruin_free(s);
    if (s->owning)
        free(s->owning->memory);
    if (s->opening) {
        free(s->opening->first);
        free(s->opening->blank);
    }
    free(s->owning);
    free(s->opening);
    free(s->pausing);
    free(s->frees.ring);
    free(s->bounces);
    free(s->bounce_memory);
    free(s->zeroes);
    free(s->head);
    free(s->l1);
    free(s->l1_medium);
    free(s->l1_dirty);
    free(s->reftable);
}

void
q2_open_over(struct qcow2 *s, int error)
{
    if (error)
        q2_release(s);
    blk_ready(s->layer, error);
}

void
q2_open_refuse(struct qcow2 *s, int error, const char *fmt, ...)
{
    char why[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    blk_why(s->layer, "%s: %s", s->path, why);
    q2_open_over(s, error);
}

/* ---- what the header says ------------------------------------------------ */

/* The chain must say what is below an image that needs something below: a
 * name in an image is not trusted to open a file. */
static int
judge_backing(const struct qcow2 *s, char *why, size_t n)
{
    const char *name = s->h.backing;
    bool last = blk_last(s->layer);

    if (!name[0] && !s->backing)
        return 0;
    if (!name[0])
        snprintf(why, n,
                 "expected no backing here, as the image names no backing "
                 "file, found \"%.80s\"",
                 s->backing);
    else if (last)
        snprintf(why, n,
                 "expected backing = \"%.60s\" and a layer below, as the image "
                 "names that file%s%s, found no layer",
                 name, s->h.format[0] ? " of format " : "", s->h.format);
    else if (!s->backing || strcmp(s->backing, name))
        snprintf(why, n,
                 "expected backing = \"%.60s\", as the image names it, found "
                 "%s%.60s%s",
                 name, s->backing ? "\"" : "", s->backing ? s->backing : "none",
                 s->backing ? "\"" : "");
    else
        return 0;
    return -EINVAL;
}

static int
judge_place(struct qcow2 *s, char *why, size_t n)
{
    const struct blk_limits *below = blk_below(s->layer);

    if (!blk_last(s->layer) &&
        (below->align > s->cluster || below->mem_align > s->cluster)) {
        snprintf(why, n,
                 "expected clusters of at least %" PRIu32
                 " bytes, the block of the layer below, found %" PRIu32,
                 below->align > below->mem_align ? below->align
                                                 : below->mem_align,
                 s->cluster);
        return -EINVAL;
    }
    if ((s->h.incompatible & Q2_CORRUPT) && !s->image->readonly) {
        snprintf(why, n,
                 "the image is marked corrupt: repair it with qemu-img check "
                 "-r all, or open it read-only");
        return -EUCLEAN;
    }
    if (s->h.size < 512) {
        snprintf(why, n,
                 "expected a disk of at least 512 bytes, found %" PRIu64,
                 s->h.size);
        return -EINVAL;
    }
    return 0;
}

static void
open_numbers(struct qcow2 *s)
{
    const struct blk_file_info *info = &s->image->info;

    s->cluster_bits = s->h.cluster_bits;
    s->entry_size = s->h.incompatible & Q2_EXTENDED ? 16 : 8;
    s->sub = s->entry_size == 16 ? s->cluster / Q2_SUBCLUSTERS : s->cluster;
    s->ref_per_block = s->cluster * 8ull >> s->h.refcount_order;
    s->head_len = info->direct && info->block > 512 ? info->block : 512;
    s->fresh = (info->size + s->cluster - 1) >> s->cluster_bits;
    if (!blk_last(s->layer))
        s->below_size = blk_below(s->layer)->size;
}

/* One that nobody can have written to, of another option than is said now. */
static bool
open_is_void(const struct qcow2 *s)
{
    return s->ephemeral && s->opening->scratch != BLK_SCRATCH_OLD &&
           s->h.sealed != s->encrypt;
}

static void
open_cluster_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    uint64_t n = s->image->info.size;
    char why[350];

    if (error) {
        q2_open_refuse(s, error, "can't read its first cluster: %s",
                       strerror(-error));
        return;
    }
    if (n > s->cluster)
        n = s->cluster;
    error = q2_header_parse(&s->h, s->head, (size_t)n, why, sizeof(why));
    if (!error && open_is_void(s)) {
        q2_ephemeral_again(s);
        return;
    }
    if (!error) {
        open_numbers(s);
        error = judge_backing(s, why, sizeof(why));
    }
    if (!error)
        error = judge_place(s, why, sizeof(why));
    if (!error)
        error = q2_data_judge(s, why, sizeof(why));
    if (!error)
        error = q2_seal_judge(s, why, sizeof(why));
    if (error)
        q2_open_refuse(s, error, "%s", why);
    else if (s->encrypt)
        q2_seal_open(s);
    else
        q2_open_tables(s);
}

void
q2_open_tables(struct qcow2 *s)
{
    if (q2_tables_memory(s))
        q2_open_refuse(s, -ENOMEM, "no memory for its tables");
    else if (q2_is_apart(s))
        q2_data_open(s);
    else
        q2_tables_read(s);
}

/* ---- the first bytes ----------------------------------------------------- */

/* Direct I/O takes whole blocks, and a cluster must be at least one. */
static bool
open_too_fine(const struct qcow2 *s)
{
    const struct blk_file_info *info = &s->image->info;

    return info->direct &&
           (info->block > s->cluster || info->mem_align > s->cluster);
}

static void
open_first_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    struct q2_open *o = s->opening;
    uint64_t n = s->image->info.size;
    char why[300] = "";

    if (error) {
        q2_open_refuse(s, error, "can't read its header: %s", strerror(-error));
        return;
    }
    if (n > OPEN_FIRST)
        n = OPEN_FIRST;
    s->cluster = q2_header_cluster(o->first, (size_t)n);
    if (!s->cluster && q2_ephemeral_make(s))
        return;
    if (!s->cluster) {
        error = q2_header_parse(&s->h, o->first, (size_t)n, why, sizeof(why));
        q2_open_refuse(s, error ? error : -EINVAL, "%s", why);
        return;
    }
    if (open_too_fine(s) && s->direct == Q2_DIRECT_ON) {
        q2_open_refuse(s, -EINVAL,
                       "expected clusters of at least %" PRIu32
                       " bytes with direct = \"on\", found %" PRIu32,
                       s->image->info.block, s->cluster);
        return;
    }
    if (open_too_fine(s) && s->image->refs == 1) {
        o->buffered = true;
        blk_file_close(s->layer, s->image->file);
        s->image->file = NULL;
        open_file(s);
        return;
    }
    s->head = q2_alloc_memory(s->cluster);
    if (!s->head) {
        q2_open_refuse(s, -ENOMEM, "no memory");
        return;
    }
    o->io.done = open_cluster_read;
    o->io.data = s;
    q2_read(s, &o->io, 0, s->head, s->cluster);
}

void
q2_open_read(struct qcow2 *s)
{
    struct q2_open *o = s->opening;

    o->io.done = open_first_read;
    o->io.data = s;
    s->cluster = OPEN_FIRST; /* for the arithmetic of the read alone */
    s->cluster_bits = 12;
    q2_read(s, &o->io, 0, o->first, OPEN_FIRST);
}

/* ---- the file ------------------------------------------------------------ */

/* A lock that is taken may be about to go: a disk that is just closing, a
 * daemon that was killed and whose last I/O the kernel has not yet ended. */
bool
q2_open_again(struct qcow2 *s, void (*again)(struct blk_timer *))
{
    struct q2_open *o = s->opening;

    if (o->open.status != -EBUSY || ++o->tries >= OPEN_TRIES)
        return false;
    o->again.fire = again;
    o->again.data = s;
    blk_timer_start(s->layer, &o->again, OPEN_AGAIN_NS);
    return true;
}

static void
open_again(struct blk_timer *t)
{
    open_file(t->data);
}

static void
open_opened(struct blk_open *b)
{
    struct qcow2 *s = b->data;
    struct q2_open *o = s->opening;

    if (q2_open_again(s, open_again))
        return;
    if (b->status == -ENOENT && s->ephemeral && o->scratch == BLK_SCRATCH_OLD) {
        q2_ephemeral_lost(s);
        return;
    }
    if (b->status) {
        blk_why(s->layer, "%s", b->why);
        q2_open_over(s, b->status);
        return;
    }
    s->image->file = b->file;
    s->image->info = b->info;
    if (s->direct == Q2_DIRECT_ON && !b->info.direct) {
        q2_open_refuse(
            s, -EINVAL,
            "expected a file system with direct I/O (direct = \"on\"), "
            "found one without");
        return;
    }
    q2_open_read(s);
}

static void
open_file(struct qcow2 *s)
{
    struct blk_open *b = &s->opening->open;
    uint32_t flags = 0;

    if (s->image->readonly)
        flags |= BLK_FILE_RDONLY;
    if (s->direct != Q2_DIRECT_OFF && !s->opening->buffered)
        flags |= BLK_FILE_DIRECT;
    if (s->lock && !s->image->keeper)
        flags |= BLK_FILE_LOCK;
    if (s->ephemeral && s->opening->scratch != BLK_SCRATCH_OLD)
        flags |= BLK_FILE_CREATE;
    if (s->ephemeral && s->opening->scratch == BLK_SCRATCH_NEW)
        flags |= BLK_FILE_TRUNC;
    memset(b, 0, sizeof(*b));
    b->path = s->path;
    b->flags = flags;
    b->done = open_opened;
    b->data = s;
    blk_file_open(s->layer, b);
}

static bool
same_data(const struct qcow2 *a, const struct qcow2 *b)
{
    if (!a->data_file || !b->data_file)
        return a->data_file == b->data_file;
    return !strcmp(a->data_file, b->data_file);
}

/* Under the path of a running instance.  True when there is no file to open;
 * it may be refused, then *error. */
static bool
open_inherit(struct qcow2 *s, struct blk_layer *old, int *error)
{
    struct qcow2 *from = blk_self(old);
    bool readonly = s->image->readonly;

    if (strcmp(from->path, s->path) || !from->lock || !s->lock)
        return false;
    if (from->image->readonly && !readonly) {
        *error = -EBUSY;
        return true;
    }
    from->image->refs++;
    if (readonly == from->image->readonly && s->direct == from->direct &&
        same_data(s, from)) {
        free(s->image);
        s->image = from->image;
        return true;
    }
    s->image->keeper = from->image;
    return false;
}

static void
queues_init(struct qcow2 *s)
{
    q2_queue_init(&s->alloc_gate.queue);
    q2_queue_init(&s->own_gate.queue);
    q2_queue_init(&s->bounce_wait);
    q2_queue_init(&s->own_wait);
    q2_queue_init(&s->unpack_wait);
    q2_queue_init(&s->frees.idle);
    s->locks_tail = &s->locks;
    s->frees.s = s;
}

static void
open_measured(struct blk_open *b)
{
    struct qcow2 *s = b->data;

    if (b->status) {
        blk_why(s->layer, "%s", b->why);
        q2_open_over(s, b->status);
        return;
    }
    s->image->info.size = b->info.size;
    q2_open_read(s);
}

void
q2_start(struct blk_layer *l, struct blk_layer *old)
{
    struct qcow2 *s = blk_self(l);
    int error = 0;

    s->layer = l;
    queues_init(s);
    s->image = calloc(1, sizeof(*s->image));
    s->opening = calloc(1, sizeof(*s->opening));
    if (s->opening)
        s->opening->first = q2_alloc_memory(OPEN_FIRST);
    if (!s->image || !s->opening || !s->opening->first) {
        free(s->image);
        s->image = NULL;
        q2_open_refuse(s, -ENOMEM, "no memory");
        return;
    }
    s->opening->s = s;
    s->image->refs = 1;
    s->image->readonly = blk_readonly(l) && !s->ephemeral;
    if (s->ephemeral && q2_ephemeral_find(s, old))
        return;
    if (!old || !open_inherit(s, old, &error)) {
        open_file(s);
    } else if (error) {
        q2_open_refuse(s, error,
                       "a read-only disk can't become writable while it runs");
    } else { /* it may have grown since it was opened */
        struct blk_open *b = &s->opening->open;

        b->path = s->path;
        b->file = s->image->file;
        b->done = open_measured;
        b->data = s;
        blk_file_stat(l, b);
    }
}
