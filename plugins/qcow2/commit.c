/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit.c: entries of L2 and L1 change, in batches.
 *
 *   gather ---> write counters ---> sync ---> change entries ---> end requests
 *     ^             (only when data or tables are new)  |
 *     '------ those that came meanwhile ----------------'
 *
 * Entries change nowhere else, and not before what they will point to is
 * durable; so what is on the medium is a sound image at any moment, and
 * nothing that a request was told is in our memory alone.  What the old
 * entries pointed to is free after the next sync: before, a crash could bring
 * them back.
 *
 * When entries can't be written their requests end with an error, and memory is
 * ahead of the medium: each later batch tries again, and until one succeeds
 * nothing is acknowledged that relies on them (q2_settle()).
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the end of a batch -------------------------------------------------- */

static void
batch_end(struct q2_link *k, int error)
{
    while (k) {
        struct q2_link *next = k->next;

        k->done(k, error);
        k = next;
    }
}

/* What was set free is noted only when the new entries are written: on an
 * error the old ones may still be those on the medium. */
static void
commit_over(struct qcow2 *s, int error)
{
    struct q2_commit *c = &s->commit;
    struct q2_link *batch = c->batch;

    for (unsigned i = 0; i < c->old_n; i++) {
        if (error)
            s->frees.lost += c->old[i].n;
        else
            q2_free(s, c->old[i].first, c->old[i].n, s->sync_started + 1,
                    c->old[i].space);
    }
    if (!error || c->changed)
        c->ahead = error != 0;
    if (!error) {
        s->l1_dirty_n -= c->l1_n;
        memmove(s->l1_dirty, s->l1_dirty + c->l1_n,
                s->l1_dirty_n * sizeof(*s->l1_dirty));
    }
    c->batch = NULL;
    batch_end(batch, error);
    c->running = false;
    q2_commit_kick(s);
    if (!c->running)
        q2_queue_wake(&c->idle, 0);
}

/* ---- 3: the entries ------------------------------------------------------ */

static void
old_add(struct q2_commit *c, uint64_t first, uint64_t n, enum q2_space space)
{
    struct q2_free *last = c->old_n ? &c->old[c->old_n - 1] : NULL;

    if (last && last->first + last->n == first && last->space == space)
        last->n += n;
    else
        c->old[c->old_n++] = (struct q2_free){ first, n, 0, space };
}

/* What an entry pointed to: map.c has judged its place, but for packed ones,
 * whose file may end before they do. */
static void
old_entry(struct qcow2 *s, uint64_t e, enum q2_space space)
{
    uint64_t at, len;

    if (q2_is_apart(s))
        return; /* nothing counts it */
    if (e & Q2_PACKED) {
        q2_map_packed(s, e, &at, &len);
        len = ((at + len - 1) >> s->cluster_bits) - (at >> s->cluster_bits) + 1;
        at >>= s->cluster_bits;
        if (at + len > s->fresh || q2_is_fixed(s, at, len))
            q2_corrupt(s, "a compressed cluster, entry %#" PRIx64, e);
        else
            old_add(&s->commit, at, len, space);
    } else if (e & Q2_OFFSET) {
        old_add(&s->commit, (e & Q2_OFFSET) >> s->cluster_bits, 1, space);
    }
}

static void
link_apply(struct qcow2 *s, struct q2_link *k)
{
    const uint32_t per = s->l2.size / s->entry_size;
    uint32_t first = (uint32_t)((k->off >> s->cluster_bits) % per);

    for (uint32_t i = 0; i < k->n; i++) {
        uint8_t *p = k->table->data + (size_t)(first + i) * s->entry_size;
        uint64_t old = q2_get64(p), now = 0, bits = 0;

        if (k->kind == Q2_LINK_DATA) {
            now = (k->first + i) << s->cluster_bits | Q2_COPIED;
            bits = Q2_SUB_DATA;
        } else if (k->kind == Q2_LINK_ZERO) {
            now = s->entry_size == 16 ? 0 : Q2_ZERO;
            bits = Q2_SUB_ZERO;
        }
        old_entry(s, old, k->space);
        q2_put64(p, now);
        if (s->entry_size == 16)
            q2_put64(p + 8, bits);
    }
    if (k->n)
        q2_cache_dirty(k->table);
    k->linked = true;
}

static void
l1_written(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    struct q2_commit *c = &s->commit;
    uint64_t unit = s->head_len, at;

    if (error || c->l1_cursor == c->l1_n) {
        commit_over(s, error);
        return;
    }
    at = (uint64_t)s->l1_dirty[c->l1_cursor++].index * 8 & ~(unit - 1);
    c->io.done = l1_written;
    c->io.data = s;
    q2_write(s, &c->io, s->h.l1 + at, s->l1_medium + at, unit);
}

static void
l2_written(struct q2_store *st, int error)
{
    struct qcow2 *s = st->data;

    s->commit.l1_cursor = 0;
    s->commit.io.data = s;
    l1_written(&s->commit.io, error);
}

/* Only the entries of L1 that this batch's sync has made sound: others of the
 * same sector may have changed since. */
static void
commit_entries(struct qcow2 *s)
{
    struct q2_commit *c = &s->commit;

    c->changed = true;
    for (struct q2_link *k = c->batch; k; k = k->next)
        link_apply(s, k);
    for (uint32_t i = 0; i < c->l1_n; i++) {
        const struct q2_l1_dirty *d = &s->l1_dirty[i];

        q2_put64(s->l1_medium + d->index * 8ull, s->l1[d->index]);
        if (d->old)
            old_add(c, d->old >> s->cluster_bits, 1, Q2_KEEP);
    }
    c->store.done = l2_written;
    c->store.data = s;
    q2_cache_store(&s->l2, &c->store);
}

/* ---- 1 and 2: what they will point to ------------------------------------ */

static void
commit_synced(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error)
        commit_over(s, error);
    else
        commit_entries(s);
}

static void
refs_written(struct q2_store *st, int error)
{
    struct qcow2 *s = st->data;

    q2_gate_leave(&s->alloc_gate);
    if (error) {
        commit_over(s, error);
        return;
    }
    s->commit.io.done = commit_synced;
    s->commit.io.data = s;
    q2_sync(s, &s->commit.io);
}

/* Nobody counts while counters are written. */
static void
refs_write(struct q2_wait *w, int error)
{
    struct q2_commit *c =
        (struct q2_commit *)((char *)w - offsetof(struct q2_commit, wait));
    struct qcow2 *s =
        (struct qcow2 *)((char *)c - offsetof(struct qcow2, commit));

    (void)error;
    c->store.done = refs_written;
    c->store.data = s;
    q2_cache_store(&s->refs, &c->store);
}

/* ---- the beginning of a batch -------------------------------------------- */

/* As many as there is room to note what they set free: each may free as many
 * runs of clusters as it has entries. */
static bool
batch_take(struct qcow2 *s)
{
    struct q2_commit *c = &s->commit;
    unsigned room = Q2_FREES - s->frees.n, need = s->l1_dirty_n;
    struct q2_link **end = &c->batch;
    bool data = s->l1_dirty_n > 0;

    c->batch = NULL;
    while (c->queue && need + c->queue->n <= room) {
        struct q2_link *k = c->queue;

        c->queue = k->next;
        need += k->n;
        data |= k->kind == Q2_LINK_DATA;
        s->batched++;
        k->next = NULL;
        *end = k;
        end = &k->next;
    }
    if (!c->queue)
        c->tail = &c->queue;
    return data;
}

static void
room_made(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    struct q2_commit *c = &s->commit;

    c->syncing = false;
    if (error) {
        c->full = false;
        c->batch = c->queue;
        c->queue = NULL;
        c->tail = &c->queue;
        c->l1_n = 0;
        commit_over(s, error);
        return;
    }
    q2_frees_run(s);
    q2_commit_kick(s);
}

static void
commit_begin(struct qcow2 *s)
{
    struct q2_commit *c = &s->commit;
    bool data;

    c->running = true;
    c->changed = false;
    c->old_n = 0;
    c->l1_n = s->l1_dirty_n;
    data = batch_take(s);
    if (!c->batch) {
        c->full = c->syncing = true;
        c->io.done = room_made;
        c->io.data = s;
        q2_sync(s, &c->io);
        return;
    }
    s->commits++;
    if (!data) {
        commit_entries(s);
        return;
    }
    c->wait.go = refs_write;
    if (q2_gate_take(&s->alloc_gate, &c->wait))
        refs_write(&c->wait, 0);
}

void
q2_commit_kick(struct qcow2 *s)
{
    struct q2_commit *c = &s->commit;

    if (c->full && !c->syncing && !s->frees.working)
        c->full = c->running = false;
    if (!c->running && c->queue)
        commit_begin(s);
}

void
q2_commit(struct qcow2 *s, struct q2_link *k)
{
    struct q2_commit *c = &s->commit;

    k->linked = false;
    k->next = NULL;
    *c->tail = k;
    c->tail = &k->next;
    q2_commit_kick(s);
}

/* ---- memory ahead of the medium ------------------------------------------ */

/* Who found no room for a table may have waited for those that are dirty. */
static void
settle_over(struct q2_link *k, int error)
{
    struct qcow2 *s = k->data;

    s->commit.settling = false;
    q2_queue_wake(&s->commit.settled, error);
    if (error)
        q2_queue_wake(&s->l2.starved, error);
}

void
q2_settle_begin(struct qcow2 *s)
{
    struct q2_commit *c = &s->commit;

    if (!c->ahead || c->settling)
        return;
    c->settling = true;
    c->settle = (struct q2_link){ .kind = Q2_LINK_NONE };
    c->settle.done = settle_over;
    c->settle.data = s;
    q2_commit(s, &c->settle);
}

int
q2_settle(struct qcow2 *s, struct q2_wait *then)
{
    if (!s->commit.ahead)
        return 0;
    q2_queue_add(&s->commit.settled, then);
    q2_settle_begin(s);
    return -EAGAIN;
}

int
q2_commit_init(struct qcow2 *s)
{
    struct q2_commit *c = &s->commit;

    q2_queue_init(&c->settled);
    q2_queue_init(&c->idle);
    c->tail = &c->queue;
    c->old = calloc(Q2_FREES + Q2_L1_DIRTY, sizeof(*c->old));
    return c->old ? 0 : -ENOMEM;
}

void
q2_commit_free(struct qcow2 *s)
{
    free(s->commit.old);
    s->commit.old = NULL;
}
