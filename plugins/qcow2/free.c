/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * free.c: clusters lose a reference.  Counting down is not even begun before a
 * sync has made the loss durable.
 *
 *   noted --- sync ---> count down --- none left, by a discard ---> hole
 *                           ^                                         |
 *                           '------------- the next one --------------'
 *
 * The gate is held all the time: nobody can take a cluster while the hole is
 * being made that gives its space back to the file system.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- holes --------------------------------------------------------------- */

static void
hole_add(struct q2_frees *f, uint64_t cluster)
{
    if (!f->hole_n)
        f->hole = cluster;
    f->hole_n++;
}

/* What can't be given back stays free in the image: that is no error. */
static void
hole_made(struct blk_io *io)
{
    struct q2_frees *f = io->data;
    struct qcow2 *s = f->s;

    if (io->status == -EOPNOTSUPP || io->status == -ENOSYS ||
        io->status == -ENOTTY)
        s->image->info.discard_align = 0;
    if (!io->status)
        s->punched += io->len;
    f->wait.go(&f->wait, 0);
}

/* Whole blocks of the file system.  True: wait. */
static bool
hole_make(struct q2_frees *f)
{
    struct qcow2 *s = f->s;
    const uint64_t grain = s->image->info.discard_align;
    uint64_t from = f->hole << s->cluster_bits;
    uint64_t to = (f->hole + f->hole_n) << s->cluster_bits;

    f->hole_n = 0;
    if (!grain || s->corrupt)
        return false;
    from = (from + grain - 1) / grain * grain;
    to = to / grain * grain;
    if (from >= to)
        return false;
    memset(&f->io, 0, sizeof(f->io));
    f->io.op = BLK_IO_PUNCH;
    f->io.file = s->image->file;
    f->io.off = from;
    f->io.len = to - from;
    f->io.done = hole_made;
    f->io.data = f;
    blk_io_start(s->layer, &f->io);
    return true;
}

/* ---- counting down ------------------------------------------------------- */

/* A counter goes down; true: it is done, or given up. */
static bool
frees_one(struct qcow2 *s, uint64_t cluster)
{
    struct q2_frees *f = &s->frees;
    const unsigned order = s->h.refcount_order;
    uint64_t block = q2_block_at(s, cluster / s->ref_per_block), i, v;
    struct q2_table *t;

    if (!block || (block & (s->cluster - 1))) {
        q2_corrupt(s, "the cluster at %" PRIu64 " is used but not counted",
                   cluster << s->cluster_bits);
        return true;
    }
    t = q2_counter_get(s, block, cluster, &i, &f->wait, &f->store);
    if (!t)
        return false;
    v = q2_ref_get(t->data, order, i);
    if (v) {
        q2_ref_set(t->data, order, i, v - 1);
        q2_cache_dirty(t);
    } else {
        q2_corrupt(s, "the cluster at %" PRIu64 " is used but counts as free",
                   cluster << s->cluster_bits);
    }
    q2_cache_put(t);
    if (v == 1) {
        s->freed++;
        if (cluster < s->cursor)
            s->cursor = cluster;
        if (f->ring[f->head].space == Q2_GIVE_BACK)
            hole_add(f, cluster);
    }
    return true;
}

static bool
frees_ready(const struct qcow2 *s)
{
    const struct q2_frees *f = &s->frees;

    return f->n && f->ring[f->head].after <= s->sync_done;
}

static void
frees_go(struct q2_wait *w, int error)
{
    struct q2_frees *f = (struct q2_frees *)w;
    struct qcow2 *s = f->s;

    while (frees_ready(s)) {
        struct q2_free *e = &f->ring[f->head];

        if (error) {
            f->lost++; /* its counter can't be read */
            error = 0;
        } else if (!frees_one(s, e->first)) {
            return;
        }
        e->first++;
        if (!--e->n) {
            f->head = (f->head + 1) % Q2_FREES;
            f->n--;
        }
        if (f->hole_n && (!e->n || f->hole + f->hole_n != e->first) &&
            hole_make(f))
            return;
    }
    f->working = false;
    q2_gate_leave(&s->alloc_gate);
    q2_queue_wake(&f->idle, 0);
    q2_commit_kick(s);
}

static void
frees_stored(struct q2_store *st, int error)
{
    struct q2_frees *f = st->data;

    frees_go(&f->wait, error);
}

void
q2_frees_run(struct qcow2 *s)
{
    struct q2_frees *f = &s->frees;

    if (f->working || !frees_ready(s))
        return;
    f->working = true;
    f->wait.go = frees_go;
    f->store.done = frees_stored;
    f->store.data = f;
    if (q2_gate_take(&s->alloc_gate, &f->wait))
        frees_go(&f->wait, 0);
}

void
q2_free(struct qcow2 *s, uint64_t first, uint64_t n, uint64_t after,
        enum q2_space space)
{
    struct q2_frees *f = &s->frees;
    struct q2_free *last = &f->ring[(f->head + f->n + Q2_FREES - 1) % Q2_FREES];

    if (f->n && last->after == after && last->space == space &&
        last->first + last->n == first) {
        last->n += n;
    } else if (f->n == Q2_FREES) {
        f->lost += n;
    } else {
        f->ring[(f->head + f->n++) % Q2_FREES] =
            (struct q2_free){ first, n, after, space };
    }
    q2_frees_run(s);
}
