/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * grow.c: room for more counters.
 *
 * A block of counters is put on the first cluster that it counts, and counts
 * itself; it is durable before the table points to it.
 *
 * When the table of blocks is full a larger one is made behind all that there
 * is, with the blocks that count it:
 *
 *     ... file ... | blocks, counting all of this | new table |
 *
 * The header points to it only when all of it is durable: eight bytes and four
 * in one sector, so that either table is whole.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The gate of alloc.c is held all the time. */
struct q2_growing {
    struct qcow2 *s;
    struct q2_io io;
    struct q2_wait *then;
    uint8_t *memory;    /* a block */
    uint64_t index;     /* of the block, or of the next one to write */
    uint64_t first, n;  /* clusters behind the file: blocks, then table */
    uint64_t blocks;    /* of them */
    uint64_t again;     /* where a larger table could not be made, or 0 */
    uint8_t *table;     /* the larger one */
    uint64_t table_len; /* bytes */
};

static void
grow_over(struct q2_growing *g, int error)
{
    struct q2_wait *then = g->then;

    free(g->table);
    g->table = NULL;
    g->then = NULL;
    then->go(then, error);
}

/* ---- one block ----------------------------------------------------------- */

/* If it failed, the medium may have the entry or not: the block is the same
 * when it is made again. */
static void
block_over(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;

    if (error)
        q2_put64(g->s->reftable + g->index * 8, 0);
    grow_over(g, error);
}

/* It is on the medium: the table may point to it. */
static void
block_synced(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;
    struct qcow2 *s = g->s;
    uint64_t at = g->index * 8, unit = s->head_len, from = at & ~(unit - 1);

    if (error) {
        grow_over(g, error);
        return;
    }
    q2_cache_drop(&s->refs, g->first << s->cluster_bits, s->cluster);
    q2_put64(s->reftable + at, g->first << s->cluster_bits);
    g->io.done = block_over;
    q2_write(s, &g->io, s->h.reftable + from, s->reftable + from, unit);
}

static void
block_written(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;

    if (error) {
        grow_over(g, error);
        return;
    }
    g->io.done = block_synced;
    q2_sync(g->s, &g->io);
}

static void
block_make(struct q2_growing *g)
{
    struct qcow2 *s = g->s;

    g->first = g->index * s->ref_per_block;
    if (q2_is_fixed(s, g->first, 1)) {
        grow_over(g, q2_corrupt(s, "there are no counters for a table"));
        return;
    }
    memset(g->memory, 0, s->cluster);
    q2_ref_set(g->memory, s->h.refcount_order, 0, 1);
    g->io.done = block_written;
    q2_write(s, &g->io, g->first << s->cluster_bits, g->memory, s->cluster);
}

/* ---- a larger table ------------------------------------------------------ */

static void
table_switched(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;
    struct qcow2 *s = g->s;
    uint64_t old = s->h.reftable >> s->cluster_bits;
    uint32_t old_n = s->h.reftable_clusters;

    if (error) {
        /* Which of the two the header names is not known: use neither. */
        q2_undecided(s);
        grow_over(g, error);
        return;
    }
    free(s->reftable);
    s->reftable = g->table;
    g->table = NULL;
    g->again = 0;
    s->reftable_n = g->table_len / 8;
    s->h.reftable = q2_get64(s->head + Q2_AT_REFTABLE);
    s->h.reftable_clusters = q2_get32(s->head + Q2_AT_REFTABLE_CLUSTERS);
    q2_free(s, old, old_n, 0, Q2_KEEP);
    grow_over(g, 0);
}

static void
table_headed(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;

    if (error) {
        table_switched(io, error);
        return;
    }
    g->io.done = table_switched;
    q2_sync(g->s, &g->io);
}

static void
table_synced(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;
    struct qcow2 *s = g->s;

    if (error || s->corrupt) {
        grow_over(g, error ? error : -EIO);
        return;
    }
    q2_put64(s->head + Q2_AT_REFTABLE, (g->first + g->blocks)
                                           << s->cluster_bits);
    q2_put32(s->head + Q2_AT_REFTABLE_CLUSTERS,
             (uint32_t)(g->table_len >> s->cluster_bits));
    g->io.done = table_headed;
    q2_header_write(s, &g->io);
}

static void
table_written(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;

    if (error) {
        grow_over(g, error);
        return;
    }
    g->io.done = table_synced;
    q2_sync(g->s, &g->io);
}

/* The next of the blocks that count what is new, then the table. */
static void
table_block(struct q2_io *io, int error)
{
    struct q2_growing *g = io->data;
    struct qcow2 *s = g->s;
    uint64_t base = g->first / s->ref_per_block;
    uint64_t left = g->n - g->index * s->ref_per_block;

    if (error) {
        grow_over(g, error);
        return;
    }
    if (g->index == g->blocks) {
        g->io.done = table_written;
        q2_write(s, &g->io, (g->first + g->blocks) << s->cluster_bits, g->table,
                 g->table_len);
        return;
    }
    memset(g->memory, 0, s->cluster);
    for (uint64_t i = 0; i < left && i < s->ref_per_block; i++)
        q2_ref_set(g->memory, s->h.refcount_order, i, 1);
    q2_put64(g->table + (base + g->index) * 8, (g->first + g->index)
                                                   << s->cluster_bits);
    g->index++;
    g->io.done = table_block;
    q2_write(s, &g->io, (g->first + g->index - 1) << s->cluster_bits, g->memory,
             s->cluster);
}

/* How much is needed depends on how much it is: goes up until it fits. */
static void
table_measure(struct q2_growing *g, uint64_t cluster)
{
    struct qcow2 *s = g->s;
    const uint64_t per = s->ref_per_block;
    uint64_t least = cluster > s->fresh ? cluster : s->fresh, was, table;

    /* Nobody else can use what no block counts: what was written there counts
     * as not fresh, but can be written again, or the file would grow by each
     * try on a full file system. */
    g->first = (least + per - 1) / per * per;
    if (g->again >= cluster)
        g->first = g->again;
    g->again = g->first;
    g->n = 0;
    do {
        uint64_t entries = (g->first + g->n) / per + 1;

        was = g->n;
        if (entries < s->reftable_n * 2)
            entries = s->reftable_n * 2;
        table = (entries * 8 + s->cluster - 1) >> s->cluster_bits;
        g->blocks = (g->n + per - 1) / per;
        g->n = table + g->blocks;
    } while (g->n != was);
    g->table_len = table << s->cluster_bits;
}

static void
table_make(struct q2_growing *g, uint64_t cluster)
{
    struct qcow2 *s = g->s;

    table_measure(g, cluster);
    if (g->table_len > Q2_REFTABLE_MAX) {
        grow_over(g, -EFBIG);
        return;
    }
    /* The one allocation on the way of a request: each is as large as all
     * before it together, so there are few. */
    g->table = q2_alloc_memory((size_t)g->table_len);
    if (!g->table) {
        grow_over(g, -ENOMEM);
        return;
    }
    memset(g->table, 0, (size_t)g->table_len);
    memcpy(g->table, s->reftable, s->reftable_n * 8);
    g->index = 0;
    g->io.data = g;
    table_block(&g->io, 0);
}

void
q2_grow(struct qcow2 *s, uint64_t cluster, struct q2_wait *then)
{
    struct q2_growing *g = s->growing;

    g->then = then;
    g->io.data = g;
    g->index = cluster / s->ref_per_block;
    if (g->index < s->reftable_n)
        block_make(g);
    else
        table_make(g, cluster);
}

int
q2_grow_init(struct qcow2 *s)
{
    s->growing = calloc(1, sizeof(*s->growing));
    if (!s->growing)
        return -ENOMEM;
    s->growing->s = s;
    s->growing->memory = q2_alloc_memory(s->cluster);
    return s->growing->memory ? 0 : -ENOMEM;
}

void
q2_grow_free(struct qcow2 *s)
{
    if (s->growing)
        free(s->growing->memory);
    free(s->growing);
    s->growing = NULL;
}
