/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * map.c: from a guest offset to a place in the file.
 *
 *   guest offset:  | L1 index | index in the L2 table | in the cluster |
 *                              '-- a piece of the table is in memory --'
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- places -------------------------------------------------------------- */

/* Guest bytes that one piece of an L2 table speaks of. */
static uint64_t
piece_reach(const struct qcow2 *s)
{
    return (uint64_t)(s->l2.size / s->entry_size) << s->cluster_bits;
}

static uint64_t
table_reach(const struct qcow2 *s)
{
    return (uint64_t)(s->cluster / s->entry_size) << s->cluster_bits;
}

uint64_t
q2_map_end(const struct qcow2 *s, uint64_t off)
{
    const uint64_t reach = piece_reach(s);

    return (off / reach + 1) * reach;
}

static uint32_t
entry_index(const struct qcow2 *s, uint64_t off)
{
    return (uint32_t)((off >> s->cluster_bits) % (s->l2.size / s->entry_size));
}

uint64_t
q2_map_entry(const struct qcow2 *s, const struct q2_table *t, uint64_t off)
{
    return q2_get64(t->data + (size_t)entry_index(s, off) * s->entry_size);
}

static uint64_t
entry_bitmap(const struct qcow2 *s, const struct q2_table *t, uint64_t off)
{
    return q2_get64(t->data + (size_t)entry_index(s, off) * s->entry_size + 8);
}

int
q2_map_get(struct qcow2 *s, uint64_t off, struct q2_table **t,
           struct q2_wait *w)
{
    uint64_t l1 = s->l1[off / table_reach(s)] & Q2_OFFSET;
    uint64_t in = off % table_reach(s) / piece_reach(s) * s->l2.size;

    *t = NULL;
    if (!l1)
        return 0;
    if (l1 & (s->cluster - 1))
        return q2_corrupt(s, "an L2 table at %" PRIu64, l1);
    *t = q2_cache_get(&s->l2, l1 + in, w);
    if (*t)
        return 0;
    q2_settle_begin(s); /* maybe there is no room but for those */
    return -EAGAIN;
}

/* ---- what an entry means ------------------------------------------------- */

/* Of the subcluster that off is in.  A bit for data without a place is a
 * contradiction; it is left to the caller, as host 0. */
static enum q2_kind
entry_kind(const struct qcow2 *s, const struct q2_table *t, uint64_t off)
{
    uint64_t e = q2_map_entry(s, t, off), bits;
    unsigned sub;

    if (e & Q2_PACKED)
        return Q2_IS_PACKED;
    if (s->entry_size == 16) {
        bits = entry_bitmap(s, t, off);
        sub = (unsigned)(off & (s->cluster - 1)) / s->sub;
        if (bits >> (32 + sub) & 1)
            return Q2_IS_ZERO;
        return bits >> sub & 1 ? Q2_IS_DATA : Q2_IS_NONE;
    }
    if (s->h.version >= 3 && (e & Q2_ZERO))
        return Q2_IS_ZERO;
    return e & (q2_is_apart(s) ? Q2_COPIED | Q2_OFFSET : Q2_OFFSET)
               ? Q2_IS_DATA
               : Q2_IS_NONE;
}

/* In a data file each has its place, at which nothing else can be. */
static int
run_apart(struct qcow2 *s, uint64_t off, uint64_t e, struct q2_run *r)
{
    uint64_t host = e & Q2_OFFSET;

    if (r->kind == Q2_IS_PACKED)
        return q2_corrupt(s,
                          "a compressed cluster with a data file, entry "
                          "%#" PRIx64,
                          e);
    if (host != (off & ~(uint64_t)(s->cluster - 1)) &&
        (host || r->kind == Q2_IS_DATA))
        return q2_corrupt(s,
                          "the data of guest offset %" PRIu64 " at %" PRIu64
                          " of the data file",
                          off, host);
    if (r->kind != Q2_IS_DATA)
        return 0;
    r->host = off;
    r->owned = (e & Q2_COPIED) != 0;
    return 0;
}

/* A place counts also where nothing is read from it: it may be set free. */
static int
run_begin(struct qcow2 *s, const struct q2_table *t, uint64_t off,
          struct q2_run *r)
{
    uint64_t e = q2_map_entry(s, t, off), host = e & Q2_OFFSET;

    r->kind = entry_kind(s, t, off);
    r->owned = false;
    r->host = 0;
    if (q2_is_apart(s))
        return run_apart(s, off, e, r);
    if (r->kind == Q2_IS_PACKED) {
        r->host = e;
        return 0;
    }
    if ((host & (s->cluster - 1)) || host >> s->cluster_bits >= s->fresh ||
        (r->kind == Q2_IS_DATA && !host))
        return q2_corrupt(s, "the data of guest offset %" PRIu64 " at %" PRIu64,
                          off, host);
    if (host && q2_is_fixed(s, host >> s->cluster_bits, 1))
        return q2_corrupt(s, "data of the guest where tables are, at %" PRIu64,
                          host);
    if (r->kind != Q2_IS_DATA)
        return 0;
    r->host = host + (off & (s->cluster - 1));
    r->owned = e & Q2_COPIED;
    return 0;
}

int
q2_map_run(struct qcow2 *s, const struct q2_table *t, uint64_t off,
           uint64_t len, struct q2_run *r)
{
    uint64_t end = q2_map_end(s, off);
    const uint64_t unit = s->sub;
    struct q2_run next;
    int error;

    if (end > off + len)
        end = off + len;
    if (!t) {
        *r = (struct q2_run){ .kind = Q2_IS_NONE, .len = end - off };
        return 0;
    }
    error = run_begin(s, t, off, r);
    if (error)
        return error;
    r->len = unit - off % unit;
    if (r->kind == Q2_IS_PACKED)
        r->len = s->cluster - (off & (s->cluster - 1));
    while (r->kind != Q2_IS_PACKED && off + r->len < end) {
        error = run_begin(s, t, off + r->len, &next);
        if (error)
            return error;
        if (next.kind != r->kind || next.owned != r->owned ||
            (r->kind == Q2_IS_DATA && next.host != r->host + r->len))
            break;
        r->len += unit;
    }
    if (r->len > end - off)
        r->len = end - off;
    return 0;
}

/* The low bits are the place, those above them the number of 512-byte units
 * beyond the first. */
void
q2_map_packed(const struct qcow2 *s, uint64_t entry, uint64_t *at,
              uint64_t *len)
{
    const unsigned bits = 62 - (s->cluster_bits - 8);
    uint64_t units = (entry & ~(Q2_COPIED | Q2_PACKED)) >> bits;

    *at = entry & (((uint64_t)1 << bits) - 1);
    *len = (units + 1) * 512 - (*at & 511);
}

/* ---- a table of one's own ------------------------------------------------ */

static void
own_over(struct qcow2 *s, int error)
{
    struct q2_owning *o = s->owning;
    struct q2_wait *then = o->own->then;

    if (error && o->alloc.got)
        q2_free(s, o->alloc.first, 1, 0, Q2_KEEP);
    o->own = NULL;
    then->go(then, error);
    q2_gate_leave(&s->own_gate);
}

static void
own_written(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    struct q2_owning *o = s->owning;
    uint64_t at = o->alloc.first << s->cluster_bits;

    if (error) {
        own_over(s, error);
        return;
    }
    q2_cache_drop(&s->l2, at, s->cluster);
    s->l1[o->index] = at | Q2_COPIED;
    s->l1_dirty[s->l1_dirty_n++] = (struct q2_l1_dirty){ o->index, o->old };
    s->tables++;
    own_over(s, 0);
}

static void
own_write(struct qcow2 *s)
{
    struct q2_owning *o = s->owning;

    o->io.done = own_written;
    o->io.data = s;
    q2_write(s, &o->io, o->alloc.first << s->cluster_bits, o->memory,
             s->cluster);
}

static void
own_read(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error)
        own_over(s, error);
    else
        own_write(s);
}

static void
own_allocated(struct q2_alloc *a, int error)
{
    struct qcow2 *s = a->s;
    struct q2_owning *o = s->owning;

    if (error) {
        own_over(s, error);
        return;
    }
    if (o->old) {
        o->io.done = own_read;
        o->io.data = s;
        q2_read(s, &o->io, o->old, o->memory, s->cluster);
        return;
    }
    memset(o->memory, 0, s->cluster);
    own_write(s);
}

/* The gate is ours.  Somebody may have done it while we waited for it. */
static void
own_begin(struct q2_wait *w, int error)
{
    struct q2_own *own = (struct q2_own *)w;
    struct qcow2 *s = own->s;
    struct q2_owning *o = s->owning;
    uint32_t index = (uint32_t)(own->off / table_reach(s));

    o->own = own;
    o->alloc.got = 0;
    if (s->l1_dirty_n == Q2_L1_DIRTY)
        error = -EIO; /* none of them can be written */
    if (error || (s->l1[index] & Q2_COPIED)) {
        own_over(s, error);
        return;
    }
    o->index = index;
    o->old = s->l1[index] & Q2_OFFSET;
    o->alloc.s = s;
    o->alloc.want = 1;
    o->alloc.done = own_allocated;
    q2_alloc(&o->alloc);
}

int
q2_own(struct qcow2 *s, struct q2_own *own, uint64_t off, struct q2_wait *then)
{
    if (s->l1[off / table_reach(s)] & Q2_COPIED)
        return 0;
    own->wait.go = own_begin;
    own->s = s;
    own->off = off;
    own->then = then;
    if (q2_gate_take(&s->own_gate, &own->wait))
        own_begin(&own->wait, 0);
    return -EAGAIN;
}
