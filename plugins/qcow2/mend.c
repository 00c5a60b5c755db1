/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mend.c: puts every counter right.  Runs at open when the image was not
 * closed cleanly: a crash leaves clusters that are counted and not used.
 *
 * All references of the file are counted, for so many clusters at a time as
 * there is memory for:
 *
 *   sync: after a kill what is read may be in the page cache alone, and a
 *   counter must not go down for a reference that a power failure brings back
 *   for each window of clusters:
 *     header, tables, refcount blocks, snapshots
 *     for each L1 table (the disk's, those of snapshots):
 *       for each L2 table: it, and what it points to
 *     compare with the counters, and set those that differ
 *   sync; header without the mark; sync
 *
 * Whatever can't be true ends it with a sentence; nothing is guessed.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 32 MiB of counts, if there are so many clusters. */
enum { MEND_WINDOW = 8 << 20, SNAPSHOT_LEN = 40, MEND_READ = 8192 };

struct mend_root {
    uint64_t at;
    uint32_t n; /* entries */
};

struct q2_mend {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    struct q2_io io;
    struct q2_store store;
    void (*done)(struct qcow2 *, int error);
    uint32_t *count;
    uint64_t first, total; /* of the window; of all */
    uint64_t window;       /* clusters */
    struct mend_root *root;
    uint32_t roots, root_i, l1_i;
    uint8_t *l1, *table; /* of a snapshot; an L2 table, or what is read */
    uint32_t l1_len;
    uint64_t snapshots_end, cluster;
    uint64_t tables; /* of this root */
    uint64_t high, low;
};

static void mend_window(struct q2_mend *m);
static void mend_tables(struct q2_mend *m);
static void mend_compare(struct q2_wait *w, int error);

static void
mend_over(struct q2_mend *m, int error)
{
    struct qcow2 *s = m->s;
    void (*done)(struct qcow2 *, int) = m->done;

    s->leaked += m->high;
    s->mended += m->low;
    if (!error && m->high + m->low)
        blk_log(s->layer, BLK_WARN,
                "%s: it was not closed cleanly: %" PRIu64
                " clusters were counted but not used, %" PRIu64
                " used but not counted; all counters are right now",
                s->path, m->high, m->low);
    free(m->count);
    free(m->root);
    free(m->l1);
    free(m->table);
    free(m);
    s->mending = NULL;
    done(s, error);
}

__attribute__((format(printf, 3, 4))) static void
mend_refuse(struct q2_mend *m, int error, const char *fmt, ...)
{
    char what[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    blk_why(m->s->layer,
            "%s: was not closed cleanly, and can't be put right: %s: try "
            "qemu-img check -r all",
            m->s->path, what);
    mend_over(m, error);
}

/* ---- counting ------------------------------------------------------------ */

/* False: there can't be any, or nothing counts them. */
static bool
count_clusters(struct q2_mend *m, uint64_t at, uint64_t len)
{
    const struct qcow2 *s = m->s;
    uint64_t a = at >> s->cluster_bits;
    uint64_t b = (at + len + s->cluster - 1) >> s->cluster_bits;

    if (!len)
        return true;
    if (a >= s->fresh || b > s->fresh || b > m->total)
        return false;
    for (a = a < m->first ? m->first : a; a < b && a < m->first + m->window;
         a++)
        m->count[a - m->first]++;
    return true;
}

static bool
count_table(struct q2_mend *m)
{
    struct qcow2 *s = m->s;
    uint64_t at, len;

    for (uint32_t i = 0; i < s->cluster; i += s->entry_size) {
        uint64_t e = q2_get64(m->table + i);

        if (q2_is_apart(s))
            continue; /* they are not in this file */
        if (e & Q2_PACKED) {
            q2_map_packed(s, e, &at, &len);
        } else {
            at = e & Q2_OFFSET;
            len = at ? s->cluster : 0;
            if (at & (s->cluster - 1))
                return false;
        }
        if (!count_clusters(m, at, len))
            return false;
    }
    return true;
}

static bool
count_fixed(struct q2_mend *m)
{
    struct qcow2 *s = m->s;
    bool ok = count_clusters(m, 0, 1);

    ok &= count_clusters(m, s->h.reftable,
                         (uint64_t)s->h.reftable_clusters << s->cluster_bits);
    ok &= count_clusters(m, s->h.snapshot_table,
                         m->snapshots_end - s->h.snapshot_table);
    for (uint64_t i = 0; i < s->reftable_n; i++) {
        uint64_t at = q2_get64(s->reftable + i * 8) & Q2_REF_OFFSET;

        ok &= count_clusters(m, at, at ? 1 : 0);
    }
    for (uint32_t i = 0; i < m->roots; i++)
        ok &= count_clusters(m, m->root[i].at, m->root[i].n * 8ull);
    return ok;
}

/* ---- comparing ----------------------------------------------------------- */

static void
mend_unmarked(struct q2_io *io, int error)
{
    mend_over(io->data, error);
}

static void
mend_headed(struct q2_io *io, int error)
{
    struct q2_mend *m = io->data;

    if (error) {
        mend_over(m, error);
        return;
    }
    io->done = mend_unmarked;
    q2_sync(m->s, io);
}

static void
mend_synced(struct q2_io *io, int error)
{
    struct q2_mend *m = io->data;
    struct qcow2 *s = m->s;

    if (error || s->h.version < 3) {
        mend_over(m, error);
        return;
    }
    s->h.incompatible &= ~(uint64_t)Q2_DIRTY;
    /* What only that knew of is free now. */
    s->h.autoclear = q2_is_raw(s) ? Q2_RAW_DATA : 0;
    io->done = mend_headed;
    q2_header_write(s, io);
}

static void
mend_stored(struct q2_store *st, int error)
{
    struct q2_mend *m = st->data;

    if (error) {
        mend_refuse(m, error, "can't write refcounts: %s", strerror(-error));
        return;
    }
    if (m->cluster < m->first + m->window && m->cluster < m->total) {
        mend_compare(&m->wait, 0); /* there was no room for another piece */
        return;
    }
    m->first += m->window;
    if (m->first < m->total) {
        mend_window(m);
        return;
    }
    m->io.done = mend_synced;
    m->io.data = m;
    q2_sync(m->s, &m->io);
}

/* Counters of one piece, from m->cluster on. */
static bool
compare_piece(struct q2_mend *m, struct q2_table *t, uint64_t i, uint64_t per)
{
    struct qcow2 *s = m->s;
    const unsigned order = s->h.refcount_order;
    const uint64_t most = order == 6 ? UINT64_MAX : (1ull << (1u << order)) - 1;

    for (; i < per && m->cluster < m->first + m->window; i++, m->cluster++) {
        uint64_t is = q2_ref_get(t->data, order, i);
        uint64_t want = m->count[m->cluster - m->first];

        if (want > most)
            return false;
        if (is == want)
            continue;
        *(is > want ? &m->high : &m->low) += 1;
        q2_ref_set(t->data, order, i, want);
        q2_cache_dirty(t);
    }
    return true;
}

/* Clusters that no block counts must not be in use. */
static bool
compare_nothing(struct q2_mend *m)
{
    uint64_t end = (m->cluster / m->s->ref_per_block + 1) * m->s->ref_per_block;

    for (; m->cluster < end && m->cluster < m->first + m->window;
         m->cluster++) {
        if (m->count[m->cluster - m->first])
            return false;
    }
    return true;
}

static void
mend_compare(struct q2_wait *w, int error)
{
    struct q2_mend *m = (struct q2_mend *)w;
    struct qcow2 *s = m->s;
    const uint64_t per = s->refs.size * 8ull >> s->h.refcount_order;

    m->wait.go = mend_compare;
    while (!error && m->cluster < m->total &&
           m->cluster < m->first + m->window) {
        uint64_t b = m->cluster / s->ref_per_block, block = 0, in;
        struct q2_table *t;
        bool ok;

        if (b < s->reftable_n)
            block = q2_get64(s->reftable + b * 8) & Q2_REF_OFFSET;
        if (!block) {
            if (compare_nothing(m))
                continue;
            mend_refuse(m, -EUCLEAN, "clusters are used that nothing counts");
            return;
        }
        in = m->cluster % s->ref_per_block;
        block += in / per * s->refs.size;
        if (!q2_cache_room(&s->refs, block))
            break;
        t = q2_cache_get(&s->refs, block, w);
        if (!t)
            return;
        ok = compare_piece(m, t, in % per, per);
        q2_cache_put(t);
        if (!ok)
            error = -EUCLEAN;
    }
    if (error) {
        mend_refuse(m, error, "its refcounts: %s", strerror(-error));
        return;
    }
    m->store.done = mend_stored;
    m->store.data = m;
    q2_cache_store(&s->refs, &m->store);
}

/* ---- walking ------------------------------------------------------------- */

static void
table_read(struct q2_io *io, int error)
{
    struct q2_mend *m = io->data;

    if (error) {
        mend_refuse(m, error, "can't read an L2 table: %s", strerror(-error));
        return;
    }
    if (!count_table(m)) {
        mend_refuse(m, -EUCLEAN,
                    "an L2 table points to what is not there, or not counted");
        return;
    }
    m->l1_i++;
    mend_tables(m);
}

static void
root_read(struct q2_io *io, int error)
{
    struct q2_mend *m = io->data;

    if (error)
        mend_refuse(m, error, "can't read a snapshot: %s", strerror(-error));
    else
        mend_tables(m);
}

static void
mend_root(struct q2_mend *m)
{
    struct qcow2 *s = m->s;
    const struct mend_root *r = &m->root[m->root_i];

    m->l1_i = 0;
    m->tables = 0;
    if (m->root_i == m->roots) {
        m->cluster = m->first;
        mend_compare(&m->wait, 0);
        return;
    }
    m->io.done = root_read;
    m->io.data = m;
    if (!m->root_i)
        mend_tables(m); /* the disk's own is in memory */
    else
        q2_read(s, &m->io, r->at, m->l1,
                (r->n * 8ull + BLK_MEM_ALIGN - 1) &
                    ~(uint64_t)(BLK_MEM_ALIGN - 1));
}

/* The next L2 table of this root. */
static void
mend_tables(struct q2_mend *m)
{
    struct qcow2 *s = m->s;
    const uint8_t *l1 = m->root_i ? m->l1 : s->l1_medium;

    for (; m->l1_i < m->root[m->root_i].n; m->l1_i++) {
        uint64_t at = q2_get64(l1 + m->l1_i * 8ull) & Q2_OFFSET;

        if (!at)
            continue;
        if (++m->tables > s->fresh) { /* else this could take for ever */
            mend_refuse(m, -EUCLEAN, "more L2 tables than clusters");
            return;
        }
        if ((at & (s->cluster - 1)) || !count_clusters(m, at, 1)) {
            mend_refuse(m, -EUCLEAN, "an L2 table at %" PRIu64, at);
            return;
        }
        m->io.done = table_read;
        m->io.data = m;
        q2_read(s, &m->io, at, m->table, s->cluster);
        return;
    }
    m->root_i++;
    mend_root(m);
}

static void
mend_window(struct q2_mend *m)
{
    memset(m->count, 0, m->window * sizeof(*m->count));
    if (!count_fixed(m)) {
        mend_refuse(m, -EUCLEAN, "a table is not there, or not counted");
        return;
    }
    m->root_i = 0;
    mend_root(m);
}

/* ---- snapshots ----------------------------------------------------------- */

static void
mend_begin(struct q2_mend *m)
{
    struct qcow2 *s = m->s;

    for (uint32_t i = 0; i < m->roots; i++) {
        if (m->root[i].n > m->l1_len)
            m->l1_len = m->root[i].n;
    }
    /* What blocks count: a file may be far longer, being sparse. */
    for (uint64_t i = 0; i < s->reftable_n; i++) {
        if (q2_get64(s->reftable + i * 8) & Q2_REF_OFFSET)
            m->total = (i + 1) * s->ref_per_block;
    }
    m->window = m->total < MEND_WINDOW ? m->total : MEND_WINDOW;
    m->count = calloc(m->window, sizeof(*m->count));
    m->l1 = q2_alloc_memory(m->l1_len * 8ull);
    if (!m->count || !m->l1) {
        mend_refuse(m, -ENOMEM, "no memory");
        return;
    }
    m->first = 0;
    mend_window(m);
}

static void snapshot_next(struct q2_mend *m);

static void
snapshot_read(struct q2_io *io, int error)
{
    struct q2_mend *m = io->data;
    struct qcow2 *s = m->s;
    const uint8_t *p = m->table + (m->snapshots_end & (BLK_MEM_ALIGN - 1));
    struct mend_root *r = &m->root[m->roots];
    uint64_t len;

    if (error) {
        mend_refuse(m, error, "can't read a snapshot: %s", strerror(-error));
        return;
    }
    r->at = q2_get64(p);
    r->n = q2_get32(p + 8);
    len = SNAPSHOT_LEN + (uint64_t)q2_get32(p + 36) +
          ((uint32_t)p[12] << 8 | p[13]) + ((uint32_t)p[14] << 8 | p[15]);
    if ((r->at & (s->cluster - 1)) || r->n > Q2_L1_MAX / 8 || len > 1 << 20) {
        mend_refuse(m, -EUCLEAN, "snapshot %u is not one", m->roots);
        return;
    }
    m->snapshots_end += (len + 7) & ~7ull;
    m->roots++;
    snapshot_next(m);
}

static void
snapshot_next(struct q2_mend *m)
{
    if (m->roots > m->s->h.snapshots) {
        mend_begin(m);
        return;
    }
    m->io.done = snapshot_read;
    m->io.data = m;
    q2_read(m->s, &m->io, m->snapshots_end & ~(uint64_t)(BLK_MEM_ALIGN - 1),
            m->table, MEND_READ);
}

static void
mend_durable(struct q2_io *io, int error)
{
    struct q2_mend *m = io->data;

    if (error)
        mend_refuse(m, error, "can't sync it: %s", strerror(-error));
    else
        snapshot_next(m);
}

void
q2_mend(struct qcow2 *s, void (*done)(struct qcow2 *, int error))
{
    struct q2_mend *m = calloc(1, sizeof(*m));

    if (!m) {
        done(s, -ENOMEM);
        return;
    }
    s->mending = m;
    m->s = s;
    m->done = done;
    m->root = calloc(s->h.snapshots + 1ul, sizeof(*m->root));
    m->table = q2_alloc_memory(s->cluster > MEND_READ ? s->cluster : MEND_READ);
    m->snapshots_end = s->h.snapshot_table;
    if (!m->root || !m->table) {
        mend_refuse(m, -ENOMEM, "no memory");
        return;
    }
    m->root[0] = (struct mend_root){ s->h.l1, s->h.l1_entries };
    m->roots = 1;
    m->io.done = mend_durable;
    m->io.data = m;
    q2_sync(s, &m->io);
}
