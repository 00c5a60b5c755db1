/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * alloc.c: finds free clusters.  Counters change in memory, by whoever holds
 * the gate; commit.c writes them before anything points to what they count.  A
 * counter that is too high is a leak, one that is too low is a disaster: so
 * counting up is written early; free.c counts down.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>

/* ---- pieces of refcount blocks ------------------------------------------- */

uint64_t
q2_block_at(const struct qcow2 *s, uint64_t block)
{
    return block < s->reftable_n
               ? q2_get64(s->reftable + block * 8) & Q2_REF_OFFSET
               : 0;
}

/* The gate is held, so nobody else uses the cache. */
struct q2_table *
q2_counter_get(struct qcow2 *s, uint64_t block, uint64_t cluster, uint64_t *i,
               struct q2_wait *w, struct q2_store *st)
{
    uint64_t in = cluster % s->ref_per_block;
    const uint64_t per = s->refs.size * 8ull >> s->h.refcount_order;
    uint64_t at = block + in / per * s->refs.size;

    *i = in % per;
    if (!q2_cache_room(&s->refs, at)) {
        q2_cache_store(&s->refs, st);
        return NULL;
    }
    return q2_cache_get(&s->refs, at, w);
}

bool
q2_is_fixed(const struct qcow2 *s, uint64_t first, uint64_t n)
{
    const struct {
        uint64_t at, len;
    } fixed[] = {
        { 0, s->cluster },
        { s->h.l1, (uint64_t)s->h.l1_entries * 8 },
        { s->h.reftable, (uint64_t)s->h.reftable_clusters << s->cluster_bits },
    };

    for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        uint64_t a = fixed[i].at >> s->cluster_bits;
        uint64_t b =
            (fixed[i].at + fixed[i].len + s->cluster - 1) >> s->cluster_bits;

        if (first < b && a < first + n)
            return true;
    }
    return false;
}

/* ---- allocate ------------------------------------------------------------ */

static void
alloc_over(struct q2_alloc *a, int error)
{
    struct qcow2 *s = a->s;

    if (error)
        a->got = 0;
    q2_gate_leave(&s->alloc_gate);
    a->done(a, error);
}

/* A run of free clusters that begins in this piece: true when there is one. */
static bool
alloc_scan(struct q2_alloc *a, struct q2_table *t, uint64_t i)
{
    struct qcow2 *s = a->s;
    const unsigned order = s->h.refcount_order;
    const uint64_t per = s->refs.size * 8ull >> order;

    while (i < per && q2_ref_get(t->data, order, i)) {
        i++;
        s->cursor++;
    }
    if (i == per)
        return false;
    a->first = s->cursor;
    for (a->got = 0; a->got < a->want && i < per; a->got++, i++) {
        if (q2_ref_get(t->data, order, i))
            break;
        q2_ref_set(t->data, order, i, 1);
    }
    q2_cache_dirty(t);
    s->cursor = a->first + a->got;
    a->fresh = !s->image->info.device && a->first >= s->fresh;
    if (s->cursor > s->fresh)
        s->fresh = s->cursor;
    s->allocated += a->got;
    return true;
}

static void
alloc_go(struct q2_wait *w, int error)
{
    struct q2_alloc *a = (struct q2_alloc *)w;
    struct qcow2 *s = a->s;
    struct q2_table *t;
    uint64_t block, i;
    bool found = false;

    while (!error && !found) {
        if (s->cursor > Q2_OFFSET >> s->cluster_bits) {
            error = -ENOSPC;
            break;
        }
        block = q2_block_at(s, s->cursor / s->ref_per_block);
        if (block & (s->cluster - 1)) {
            error = q2_corrupt(s, "a refcount block at %" PRIu64, block);
            break;
        }
        if (!block) {
            q2_grow(s, s->cursor, w);
            return;
        }
        t = q2_counter_get(s, block, s->cursor, &i, w, &a->store);
        if (!t)
            return;
        found = alloc_scan(a, t, i);
        q2_cache_put(t);
    }
    if (found && q2_is_fixed(s, a->first, a->got))
        error = q2_corrupt(s, "a cluster in use counts as free, at %" PRIu64,
                           a->first << s->cluster_bits);
    alloc_over(a, error);
}

static void
alloc_stored(struct q2_store *st, int error)
{
    struct q2_alloc *a = st->data;

    alloc_go(&a->wait, error);
}

void
q2_alloc(struct q2_alloc *a)
{
    a->wait.go = alloc_go;
    a->store.done = alloc_stored;
    a->store.data = a;
    a->got = 0;
    if (q2_gate_take(&a->s->alloc_gate, &a->wait))
        alloc_go(&a->wait, 0);
}
