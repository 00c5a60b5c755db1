/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fold.c: what the image holds goes to the layer below, while guests write.
 *
 *   COPYING    one pass over the whole disk, then over what was written again;
 *     |        a guest's write that ended marks what it changed
 *     v
 *   LAST       from here on a guest's write ends when what it changed has been
 *     |        copied: so no more becomes marked than is under way
 *     v
 *   READY      all is below that ended; the engine's next pause may be the end:
 *              it copies what is left and has it flushed, or it fails
 *
 * One piece at a time is read, under a shared lock on its clusters, and written
 * below.  Until the layer is taken out it hides what is below, so nothing
 * written there is seen before all of it is durable.  For that to hold after a
 * crash, too, the entries that hide a piece must be on the medium before the
 * layer below is written: else they could be lost, and a sector that was only
 * half written below would come to light that no guest had touched.
 */
#include "plugins/qcow2/fold.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FOLD_PIECE = 1 << 20,
    FOLD_STEPS = 64, /* without I/O, before others may run */
    FOLD_RUN = 16,   /* marked units that are done as one */
    FOLD_FEW = 256,  /* marked units: the last pass may begin */
    FOLD_PASSES = 8  /* over what was written again; then it begins anyway */
};

static void fold_go(struct q2_fold *);

/* ---- at rest ------------------------------------------------------------- */

bool
q2_fold_works(const struct q2_fold *f)
{
    return f->state == Q2_FOLD_COPYING || f->state == Q2_FOLD_LAST ||
           f->state == Q2_FOLD_READY;
}

static bool
fold_may(const struct q2_fold *f)
{
    return q2_fold_works(f) && !f->held &&
           (!f->stopped || (f->pausing && f->end_word[0]));
}

static void
fold_breath(struct blk_timer *t)
{
    fold_go(t->data);
}

void
q2_fold_kick(struct q2_fold *f)
{
    if (f->busy || !fold_may(f))
        return;
    f->busy = true;
    f->breath.fire = fold_breath;
    f->breath.data = f;
    blk_timer_start(f->s->layer, &f->breath, 0);
}

static void
fold_wake(struct q2_fold *f)
{
    q2_queue_wake(&f->waiters, 0);
}

/* Not before the piece under way is over. */
static void
fold_drop(struct q2_fold *f)
{
    f->begin = f->at = f->end = 0;
    free(f->again);
    free(f->memory);
    f->again = NULL;
    f->memory = NULL;
}

/* The layer may be taken out after this pause, or it fails. */
static void
fold_end(struct q2_fold *f)
{
    struct qcow2 *s = f->s;
    struct blk_req *r;

    if (f->state != Q2_FOLD_READY || f->held) {
        blk_why(s->layer, "its commit is not complete%s%s",
                f->why[0] ? ": " : "", f->why);
        blk_ready(s->layer, -EIO);
        return;
    }
    if (!(blk_below(s->layer)->ops & BLK_BIT(BLK_FLUSH))) {
        q2_pause_on(s);
        return;
    }
    r = blk_new(s->layer, BLK_FLUSH, 0, 0, (struct blk_sg){ 0 });
    if (!r) { /* no guest has a request here, and we have none */
        blk_ready(s->layer, -EAGAIN);
        return;
    }
    f->flushing = true;
    ((struct q2_req *)r->scratch)->owner = NULL;
    blk_down(s->layer, r);
}

static void
fold_rest(struct q2_fold *f)
{
    f->busy = false;
    if (!q2_fold_works(f))
        fold_drop(f);
    if (!f->pausing)
        return;
    f->pausing = false;
    if (f->end_word[0])
        fold_end(f);
    else
        q2_pause_on(f->s);
}

void
q2_fold_stop(struct q2_fold *f, enum q2_fold_state state)
{
    f->state = state;
    f->held = false;
    f->dirty = 0;
    fold_wake(f);
    if (!f->busy)
        fold_drop(f);
}

static void
fold_fail(struct q2_fold *f, int error, const char *what)
{
    struct qcow2 *s = f->s;

    q2_unlock(s, &f->lock);
    if (q2_fold_works(f)) {
        snprintf(f->why, sizeof(f->why), "%s: %s", what, strerror(-error));
        blk_log(s->layer, BLK_ERR,
                "%s: the commit ended: %s; the disk goes on with both layers",
                s->path, f->why);
        q2_fold_stop(f, Q2_FOLD_FAILED);
    }
    fold_rest(f);
}

/* ---- what was written again ---------------------------------------------- */

static bool
bit_get(const struct q2_fold *f, uint64_t unit)
{
    return f->again[unit / 64] >> (unit % 64) & 1;
}

/* What lies beyond the first pass will be seen by it. */
static void
fold_mark(struct q2_fold *f, uint64_t off, uint64_t len)
{
    uint64_t end = off + len < f->passed ? off + len : f->passed;

    for (uint64_t u = off / f->unit; u * f->unit < end; u++) {
        f->dirty += !bit_get(f, u);
        f->again[u / 64] |= (uint64_t)1 << (u % 64);
    }
}

/* Whether what is below may be older than this. */
static bool
fold_behind(const struct q2_fold *f, uint64_t off, uint64_t len)
{
    if (!q2_fold_works(f) || f->state == Q2_FOLD_COPYING || f->held)
        return false;
    if (f->at < f->end && off < f->end && f->begin < off + len)
        return true;
    for (uint64_t u = off / f->unit; u * f->unit < off + len; u++) {
        if (u < f->units && bit_get(f, u))
            return true;
    }
    return false;
}

static void
fold_waited(struct q2_wait *w, int error)
{
    struct q2_req *q = (struct q2_req *)w;
    struct q2_fold *f = q->s->folding;

    (void)error;
    if (fold_behind(f, q->req->off, q->req->len))
        q2_queue_add(&f->waiters, w);
    else
        blk_end(q->s->layer, q->req, 0);
}

bool
q2_fold_waits(struct q2_req *q, int error)
{
    struct q2_fold *f = q->s->folding;
    const struct blk_req *r = q->req;

    if (!q2_fold_works(f) || r->op == BLK_READ || r->op == BLK_FLUSH || !r->len)
        return false;
    fold_mark(f, r->off, r->len);
    q2_fold_kick(f);
    if (error || !fold_behind(f, r->off, r->len))
        return false;
    q->wait.go = fold_waited;
    q2_queue_add(&f->waiters, &q->wait);
    return true;
}

/* ---- the next to be copied ----------------------------------------------- */

/* All marks were looked at once.  What was marked before LAST began has been
 * copied when the first pass of it is over. */
static void
fold_pass_over(struct q2_fold *f)
{
    f->cursor = 0;
    f->passes++;
    if (!f->dirty || f->state == Q2_FOLD_LAST)
        f->state = Q2_FOLD_READY;
    else if (f->state == Q2_FOLD_COPYING &&
             (f->dirty <= FOLD_FEW || f->passes >= FOLD_PASSES))
        f->state = Q2_FOLD_LAST;
}

static uint64_t
next_marked(const struct q2_fold *f, uint64_t u)
{
    while (u < f->units && !bit_get(f, u))
        u = f->again[u / 64] >> (u % 64) ? u + 1 : (u / 64 + 1) * 64;
    return u;
}

/* False: nothing is to be copied now. */
static bool
fold_pick(struct q2_fold *f)
{
    uint64_t u, n = 0;

    f->passed = f->size;
    u = next_marked(f, f->cursor);
    if (u >= f->units) {
        fold_pass_over(f);
        u = next_marked(f, 0);
    }
    if (u >= f->units)
        return false;
    while (n < FOLD_RUN && u + n < f->units && bit_get(f, u + n)) {
        f->again[(u + n) / 64] &= ~((uint64_t)1 << ((u + n) % 64));
        n++;
    }
    f->dirty -= n;
    f->cursor = u + n;
    f->begin = f->at = u * f->unit;
    f->end = (u + n) * f->unit < f->size ? (u + n) * f->unit : f->size;
    return true;
}

/* ---- a piece ------------------------------------------------------------- */

static void
fold_over(struct q2_fold *f)
{
    f->at += f->piece;
    q2_unlock(f->s, &f->lock);
    if (f->at >= f->end) {
        f->at = f->end;
        fold_wake(f);
    }
    fold_go(f);
}

static void
fold_send(struct q2_wait *w, int error)
{
    struct q2_fold *f = (struct q2_fold *)w;
    struct qcow2 *s = f->s;
    struct blk_sg sg = { .v = &f->v, .n = 1, .skip = 0 };
    struct blk_req *r;

    (void)error;
    if (f->zero)
        sg = (struct blk_sg){ 0 };
    f->v = (struct iovec){ f->memory, f->piece };
    r = blk_new(s->layer, f->zero ? BLK_ZERO : BLK_WRITE, f->at, f->piece, sg);
    if (!r) {
        f->wait.go = fold_send;
        q2_queue_add(&s->own_wait, &f->wait);
        return;
    }
    if (f->zero)
        r->flags |= BLK_UNMAP;
    ((struct q2_req *)r->scratch)->owner = NULL;
    blk_down(s->layer, r);
}

static void
fold_fetched(struct q2_fetch *fetch, int error)
{
    struct q2_fold *f = fetch->data;

    if (error)
        fold_fail(f, error, "reading the image");
    else
        fold_send(&f->wait, 0);
}

static void
fold_move(struct q2_fold *f)
{
    struct q2_fetch *fetch = &f->fetch;

    if (f->zero) {
        fold_send(&f->wait, 0);
        return;
    }
    f->v = (struct iovec){ f->memory, f->piece };
    fetch->s = f->s;
    fetch->off = f->at;
    fetch->len = f->piece;
    fetch->sg = (struct blk_sg){ .v = &f->v, .n = 1, .skip = 0 };
    fetch->done = fold_fetched;
    fetch->data = f;
    q2_fetch(fetch);
}

static void
fold_flushed(struct q2_fold *f, int error)
{
    f->flushing = false;
    if (!error) {
        q2_pause_on(f->s);
        return;
    }
    snprintf(f->why, sizeof(f->why), "flushing the layer below: %s",
             strerror(-error));
    q2_fold_stop(f, Q2_FOLD_FAILED);
    fold_end(f);
}

void
q2_fold_below(struct q2_fold *f, int error)
{
    if (f->flushing) {
        fold_flushed(f, error);
    } else if (error == -EOPNOTSUPP && f->zero) {
        f->zero = false;
        f->no_zero = true;
        if (f->piece > blk_below(f->s->layer)->max_len)
            f->piece = blk_below(f->s->layer)->max_len;
        fold_move(f);
    } else if (error) {
        fold_fail(f, error, "writing the layer below");
    } else {
        f->copied += f->piece;
        fold_over(f);
    }
}

static void
fold_synced(struct q2_io *io, int error)
{
    struct q2_fold *f = io->data;

    if (error)
        fold_fail(f, error, "syncing the image");
    else
        fold_move(f);
}

/* The entries of this piece were written before its lock was ours: a sync that
 * begins now makes them durable, if an earlier one has not. */
static void
fold_sync(struct q2_fold *f)
{
    struct qcow2 *s = f->s;

    if (f->sure == s->commits && !s->commit.running) {
        fold_move(f);
        return;
    }
    if (!s->commit.running)
        f->sure = s->commits;
    f->io.done = fold_synced;
    f->io.data = f;
    q2_sync(s, &f->io);
}

/* 0: there is nothing to be copied; -EAGAIN: wait; 1: there is; else an error.
 * go: comes when it waits. */
static int
fold_look(struct q2_fold *f, uint64_t len, void (*go)(struct q2_wait *, int))
{
    struct qcow2 *s = f->s;
    struct q2_table *t;
    int error;

    f->wait.go = go;
    error = q2_settle(s, &f->wait);
    if (!error)
        error = q2_map_get(s, f->at, &t, &f->wait);
    if (error)
        return error;
    error = q2_map_run(s, t, f->at, len, &f->run);
    if (t)
        q2_cache_put(t);
    if (error)
        return error;
    return f->run.kind != Q2_IS_NONE;
}

/* Where clusters are smaller than what the layer below takes, those beside are
 * written with them, as they are. */
static void
fold_shape(struct q2_fold *f)
{
    const struct blk_limits *below = blk_below(f->s->layer);
    const uint64_t mask = f->s->align - 1;
    uint64_t len = f->run.len, most = below->max_len;
    bool even = !(len & mask);

    f->zero = even && f->run.kind == Q2_IS_ZERO && !f->no_zero &&
              (below->ops & BLK_BIT(BLK_ZERO));
    if (f->zero)
        most = below->max_discard;
    len = (len + mask) & ~mask;
    if (len > most)
        len = most & ~mask;
    if (len < f->piece)
        f->piece = (uint32_t)len;
}

static void
fold_locked(struct q2_wait *w, int error)
{
    struct q2_fold *f = (struct q2_fold *)w;
    bool narrow = f->s->align > f->s->sub;

    if (!error)
        error = fold_look(f, f->piece, fold_locked);
    if (error == -EAGAIN)
        return;
    if (error < 0) {
        fold_fail(f, error, "reading the image's tables");
    } else if (!error && !narrow) {
        f->piece = (uint32_t)f->run.len;
        fold_over(f);
    } else {
        fold_shape(f);
        fold_sync(f);
    }
}

static void
fold_woken(struct q2_wait *w, int error)
{
    struct q2_fold *f = (struct q2_fold *)w;

    if (error)
        fold_fail(f, error, "reading the image's tables");
    else
        fold_go(f);
}

static void
fold_passes(struct q2_fold *f, uint64_t to)
{
    if (f->passed < to)
        f->passed = to;
}

/* What is not in the image is passed without a lock: a write that makes it be
 * there marks it when it ends.  0: go on; -EAGAIN: wait; else an error. */
static int
fold_step(struct q2_fold *f)
{
    struct qcow2 *s = f->s;
    uint64_t left = f->end - f->at;
    int found = fold_look(f, left, fold_woken);

    if (found < 0)
        return found;
    if (!found) {
        f->at += f->run.len;
        if (f->at >= f->end)
            fold_wake(f);
        fold_passes(f, f->at);
        return 0;
    }
    f->at &= ~(uint64_t)(s->align - 1);
    left = q2_map_end(s, f->at) - f->at;
    if (left > f->end - f->at)
        left = f->end - f->at;
    if (left > FOLD_PIECE)
        left = FOLD_PIECE;
    f->piece = (uint32_t)left;
    fold_passes(f, f->at + left);
    f->wait.go = fold_locked;
    if (q2_lock(s, &f->lock, f->at, left, Q2_SHARED, &f->wait))
        fold_locked(&f->wait, 0);
    return -EAGAIN;
}

static void
fold_go(struct q2_fold *f)
{
    int error = 0;

    while (!error && fold_may(f) && (f->at < f->end || fold_pick(f))) {
        if (++f->steps % FOLD_STEPS == 0) {
            blk_timer_start(f->s->layer, &f->breath, 0);
            return;
        }
        error = fold_step(f);
    }
    if (error == -EAGAIN)
        return;
    if (error)
        fold_fail(f, error, "reading the image's tables");
    else
        fold_rest(f);
}

/* ---- the engine's pauses ------------------------------------------------- */

bool
q2_fold_pause(struct qcow2 *s)
{
    struct q2_fold *f = s->folding;

    f->stopped = true;
    if (!f->busy && !f->end_word[0])
        return false;
    f->pausing = true;
    if (!f->busy && fold_may(f))
        q2_fold_kick(f);
    else if (!f->busy)
        fold_rest(f);
    return true;
}

void
q2_fold_resume(struct qcow2 *s)
{
    s->folding->stopped = false;
    q2_fold_kick(s->folding);
}
