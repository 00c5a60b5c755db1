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

/* A lock that is taken may be about to go: a disk that is just closing, a
 * daemon that was killed and whose last I/O the kernel has not yet ended. */
#define OPEN_AGAIN_NS 100000000u
enum { OPEN_TRIES = 12, OPEN_FIRST = 4096 };
enum { BOUNCE_MEMORY = 4 << 20, BOUNCES_MIN = 2, BOUNCES_MAX = 32 };

struct q2_open {
    struct qcow2 *s;
    struct blk_open open;
    struct blk_timer again;
    struct q2_io io;
    uint8_t *first; /* OPEN_FIRST bytes */
    unsigned tries;
    bool buffered; /* direct I/O is not for this image */
};

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
    if (s->owning)
        free(s->owning->memory);
    if (s->opening)
        free(s->opening->first);
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

static void
open_over(struct qcow2 *s, int error)
{
    if (error)
        q2_release(s);
    blk_ready(s->layer, error);
}

__attribute__((format(printf, 3, 4))) static void
open_refuse(struct qcow2 *s, int error, const char *fmt, ...)
{
    char why[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    blk_why(s->layer, "%s: %s", s->path, why);
    open_over(s, error);
}

static void
open_mended(struct qcow2 *s, int error)
{
    open_over(s, error);
}

/* ---- tables -------------------------------------------------------------- */

static bool
table_ok(const struct qcow2 *s, uint64_t at)
{
    return !(at & (s->cluster - 1)) && at >> s->cluster_bits < s->fresh;
}

/* A version 2 image does not say whether it was closed cleanly. */
static void
open_tables(struct qcow2 *s)
{
    for (uint32_t i = 0; i < s->h.l1_entries; i++) {
        s->l1[i] = q2_get64(s->l1_medium + i * 8ull);
        if (!table_ok(s, s->l1[i] & Q2_OFFSET)) {
            open_refuse(s, -EUCLEAN,
                        "expected L2 table %" PRIu32
                        " in the file, found it at %" PRIu64
                        ": the image is corrupt or truncated, look with "
                        "qemu-img check",
                        i, s->l1[i] & Q2_OFFSET);
            return;
        }
    }
    for (uint64_t i = 0; i < s->reftable_n; i++) {
        if (!table_ok(s, q2_get64(s->reftable + i * 8) & Q2_REF_OFFSET)) {
            open_refuse(s, -EUCLEAN,
                        "expected refcount block %" PRIu64
                        " in the file: the image is corrupt or truncated, look "
                        "with qemu-img check",
                        i);
            return;
        }
    }
    if (!s->image->readonly &&
        (s->h.version < 3 || (s->h.incompatible & Q2_DIRTY)))
        q2_mend(s, open_mended);
    else
        open_over(s, 0);
}

static void
open_reftable_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error)
        open_refuse(s, error, "can't read the refcount table: %s",
                    strerror(-error));
    else
        open_tables(s);
}

static void
open_l1_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error) {
        open_refuse(s, error, "can't read the L1 table: %s", strerror(-error));
        return;
    }
    io->done = open_reftable_read;
    q2_read(s, io, s->h.reftable, s->reftable, s->reftable_n * 8);
}

static uint64_t
l1_bytes(const struct qcow2 *s)
{
    const uint64_t unit = s->head_len;

    return (s->h.l1_entries * 8ull + unit - 1) & ~(unit - 1);
}

static void
open_read_tables(struct qcow2 *s)
{
    struct q2_io *io = &s->opening->io;

    io->done = open_l1_read;
    if (s->h.l1_entries)
        q2_read(s, io, s->h.l1, s->l1_medium, l1_bytes(s));
    else
        open_l1_read(io, 0);
}

/* ---- memory -------------------------------------------------------------- */

static int
bounces_make(struct qcow2 *s)
{
    const size_t half =
        (s->cluster + BLK_MEM_ALIGN - 1) & ~(size_t)(BLK_MEM_ALIGN - 1);
    size_t n = BOUNCE_MEMORY / (2 * half);

    n = n < BOUNCES_MIN ? BOUNCES_MIN : n > BOUNCES_MAX ? BOUNCES_MAX : n;
    s->bounces = calloc(n, sizeof(*s->bounces));
    s->bounce_memory = q2_alloc_memory(n * 2 * half);
    if (!s->bounces || !s->bounce_memory)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct q2_bounce *b = &s->bounces[i];

        b->head = s->bounce_memory + 2 * i * half;
        b->tail = b->head + half;
        b->next = s->bounce_free;
        s->bounce_free = b;
    }
    return 0;
}

static int
caches_make(struct qcow2 *s)
{
    uint32_t piece = s->cluster < 4096 ? s->cluster : 4096;
    int error;

    if (piece < s->head_len)
        piece = s->head_len;
    error = q2_cache_init(&s->l2, s, s->cache_size / 4 * 3, piece);
    if (!error)
        error = q2_cache_init(&s->refs, s, s->cache_size / 4, piece);
    return error;
}

static int
open_memory(struct qcow2 *s)
{
    s->reftable_n = ((uint64_t)s->h.reftable_clusters << s->cluster_bits) / 8;
    s->l1 = calloc(s->h.l1_entries + 1ul, sizeof(*s->l1));
    s->l1_medium = q2_alloc_memory(l1_bytes(s));
    s->l1_dirty = calloc(Q2_L1_DIRTY, sizeof(*s->l1_dirty));
    s->reftable = q2_alloc_memory(s->reftable_n * 8);
    s->zeroes = q2_alloc_memory(Q2_ZEROES);
    s->frees.ring = calloc(Q2_FREES, sizeof(*s->frees.ring));
    s->owning = calloc(1, sizeof(*s->owning));
    if (!s->l1 || !s->l1_medium || !s->l1_dirty || !s->reftable || !s->zeroes ||
        !s->frees.ring || !s->owning)
        return -ENOMEM;
    memset(s->zeroes, 0, Q2_ZEROES);
    s->owning->memory = q2_alloc_memory(s->cluster);
    if (!s->owning->memory || bounces_make(s) || caches_make(s) ||
        q2_commit_init(s) || q2_grow_init(s) || q2_unpack_init(s) ||
        q2_pause_init(s))
        return -ENOMEM;
    return 0;
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

static void
open_cluster_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    uint64_t n = s->image->info.size;
    char why[350];

    if (error) {
        open_refuse(s, error, "can't read its first cluster: %s",
                    strerror(-error));
        return;
    }
    if (n > s->cluster)
        n = s->cluster;
    error = q2_header_parse(&s->h, s->head, (size_t)n, why, sizeof(why));
    if (!error) {
        open_numbers(s);
        error = judge_backing(s, why, sizeof(why));
    }
    if (!error)
        error = judge_place(s, why, sizeof(why));
    if (error) {
        open_refuse(s, error, "%s", why);
        return;
    }
    if (open_memory(s)) {
        open_refuse(s, -ENOMEM, "no memory for its tables");
        return;
    }
    open_read_tables(s);
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
        open_refuse(s, error, "can't read its header: %s", strerror(-error));
        return;
    }
    if (n > OPEN_FIRST)
        n = OPEN_FIRST;
    s->cluster = q2_header_cluster(o->first, (size_t)n);
    if (!s->cluster) {
        error = q2_header_parse(&s->h, o->first, (size_t)n, why, sizeof(why));
        open_refuse(s, error ? error : -EINVAL, "%s", why);
        return;
    }
    if (open_too_fine(s) && s->direct == Q2_DIRECT_ON) {
        open_refuse(s, -EINVAL,
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
        open_refuse(s, -ENOMEM, "no memory");
        return;
    }
    o->io.done = open_cluster_read;
    o->io.data = s;
    q2_read(s, &o->io, 0, s->head, s->cluster);
}

static void
open_read(struct qcow2 *s)
{
    struct q2_open *o = s->opening;

    o->io.done = open_first_read;
    o->io.data = s;
    s->cluster = OPEN_FIRST; /* for the arithmetic of the read alone */
    s->cluster_bits = 12;
    q2_read(s, &o->io, 0, o->first, OPEN_FIRST);
}

/* ---- the file ------------------------------------------------------------ */

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

    if (b->status == -EBUSY && ++o->tries < OPEN_TRIES) {
        o->again.fire = open_again;
        o->again.data = s;
        blk_timer_start(s->layer, &o->again, OPEN_AGAIN_NS);
        return;
    }
    if (b->status) {
        blk_why(s->layer, "%s", b->why);
        open_over(s, b->status);
        return;
    }
    s->image->file = b->file;
    s->image->info = b->info;
    if (s->direct == Q2_DIRECT_ON && !b->info.direct) {
        open_refuse(s, -EINVAL,
                    "expected a file system with direct I/O (direct = \"on\"), "
                    "found one without");
        return;
    }
    open_read(s);
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
    memset(b, 0, sizeof(*b));
    b->path = s->path;
    b->flags = flags;
    b->done = open_opened;
    b->data = s;
    blk_file_open(s->layer, b);
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
    if (readonly == from->image->readonly && s->direct == from->direct) {
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
        open_over(s, b->status);
        return;
    }
    s->image->info.size = b->info.size;
    open_read(s);
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
        open_refuse(s, -ENOMEM, "no memory");
        return;
    }
    s->opening->s = s;
    s->image->refs = 1;
    s->image->readonly = blk_readonly(l);
    if (!old || !open_inherit(s, old, &error)) {
        open_file(s);
    } else if (error) {
        open_refuse(s, error,
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
