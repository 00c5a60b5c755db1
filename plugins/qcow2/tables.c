/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tables.c: what is in memory of an image while it is open: the L1 table, the
 * table of refcount blocks, room for pieces of the others, and buffers.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNCE_MEMORY = 4 << 20, BOUNCES_MIN = 2, BOUNCES_MAX = 32 };

/* ---- read ---------------------------------------------------------------- */

static bool
table_ok(const struct qcow2 *s, uint64_t at)
{
    return !at ||
           (!(at & (s->cluster - 1)) && at >> s->cluster_bits < s->fresh &&
            !q2_is_fixed(s, at >> s->cluster_bits, 1));
}

/* A version 2 image does not say whether it was closed cleanly. */
static void
open_tables(struct qcow2 *s)
{
    for (uint32_t i = 0; i < s->h.l1_entries; i++) {
        s->l1[i] = q2_get64(s->l1_medium + i * 8ull) & (Q2_OFFSET | Q2_COPIED);
        if (!(s->l1[i] & Q2_OFFSET))
            s->l1[i] = 0; /* a flag alone is no table */
        if (!table_ok(s, s->l1[i] & Q2_OFFSET)) {
            q2_open_refuse(s, -EUCLEAN,
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
            q2_open_refuse(
                s, -EUCLEAN,
                "expected refcount block %" PRIu64
                " in the file: the image is corrupt or truncated, look "
                "with qemu-img check",
                i);
            return;
        }
    }
    if (!s->image->readonly &&
        (s->h.version < 3 || (s->h.incompatible & Q2_DIRTY)))
        q2_mend(s, q2_open_over);
    else
        q2_open_over(s, 0);
}

static void
open_reftable_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error)
        q2_open_refuse(s, error, "can't read the refcount table: %s",
                       strerror(-error));
    else
        open_tables(s);
}

static void
open_l1_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error) {
        q2_open_refuse(s, error, "can't read the L1 table: %s",
                       strerror(-error));
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

/* NULL, or which of them is not in the file: that would read as an empty one.
 */
static const char *
table_missing(const struct qcow2 *s)
{
    const uint64_t end = s->fresh << s->cluster_bits;
    const struct q2_header *h = &s->h;

    if (h->l1_entries && h->l1 + h->l1_entries * 8ull > end)
        return "L1 table";
    if (h->reftable + s->reftable_n * 8 > end)
        return "refcount table";
    return h->snapshots && h->snapshot_table >= end ? "snapshot table" : NULL;
}

void
q2_tables_read(struct qcow2 *s)
{
    struct q2_io *io = &s->opening->io;
    const char *missing = table_missing(s);

    if (missing) {
        q2_open_refuse(s, -EUCLEAN,
                       "expected the %s in the file: the image is corrupt or "
                       "truncated, look with qemu-img check",
                       missing);
        return;
    }
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

int
q2_tables_memory(struct qcow2 *s)
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
        q2_pause_init(s) || q2_ruin_init(s) || q2_resize_init(s) ||
        q2_fold_init(s))
        return -ENOMEM;
    return 0;
}
