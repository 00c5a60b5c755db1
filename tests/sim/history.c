/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history.c: decides whether a history of a disk is legal.
 *
 * The history of each sector is looked at alone, and cut at power failures
 * into epochs.  In one epoch, a value is a write and the reads that saw it; as
 * stamps are unique, there is no guessing.  Of all these requests, `first` is
 * the earliest end, and `last` the latest begin:
 *
 *    write  |------|                     first < last: from first to last the
 *    read       |----------|             sector held this value for sure
 *    read                     |----|
 *               first ^       ^ last     else: it held it at some moment
 *                                        between last and first
 *
 * An order exists if and only if no two values are held for sure at the same
 * time, and no value has its moment inside the time of another (Gibbons and
 * Korach, "Testing shared memories", SIAM J. Comput. 26, 1997).
 *
 * A power failure is a read in the epoch that it ends: it sees the one value
 * that the next epoch starts with, at a moment between the begin of the last
 * good flush and the failure.  So epochs are looked at from the last to the
 * first.  Zeroes are not unique: a read of them needs a discard (or an empty
 * disk) that no finished write must lie behind.
 */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

enum outcome { OPEN, GOOD, FAILED };

struct op {
    enum history_op op;
    enum outcome outcome;
    uint32_t count, epoch;
    uint64_t sector, stamp;
    uint64_t begin, end; /* in ticks; NEVER */
    size_t seen;         /* of a good read: its first in the pool */
    bool kept;           /* a good write, flushed since the disk came back */
};

struct epoch {
    uint64_t begin, end; /* NEVER: the last */
    /* Begin of the last good flush in it, or its own; of those before the disk
     * was forgiven a failed one. */
    uint64_t flushed;
    uint64_t forgiven; /* when, the last time; 0: never */
    size_t ops;        /* that were there then */
};

/* What one request has to do with one sector. */
struct touch {
    uint64_t sector, stamp;
    uint32_t op;
};

struct history {
    uint64_t sectors, now;
    struct op *op;
    size_t ops, op_room;
    uint64_t *pool; /* what reads saw */
    size_t pooled, pool_room;
    struct epoch *epoch;
    size_t epochs, epoch_room;
    char wrong[200]; /* what was wrong before the verdict */
};

static void *
grown(void *array, size_t *room, size_t need, size_t size)
{
    void *bigger;

    if (need <= *room)
        return array;
    *room = need * 2 + 64;
    bigger = realloc(array, *room * size);
    if (!bigger)
        abort();
    return bigger;
}

static void
add_epoch(struct history *h)
{
    h->epoch =
        grown(h->epoch, &h->epoch_room, h->epochs + 1, sizeof(h->epoch[0]));
    h->epoch[h->epochs++] =
        (struct epoch){ .begin = h->now, .end = NEVER, .flushed = h->now };
}

struct history *
history_new(uint64_t sectors)
{
    struct history *h = calloc(1, sizeof(*h));

    if (!h)
        abort();
    h->sectors = sectors;
    add_epoch(h);
    return h;
}

void
history_free(struct history *h)
{
    if (!h)
        return;
    free(h->op);
    free(h->pool);
    free(h->epoch);
    free(h);
}

uint32_t
history_begin(struct history *h, enum history_op op, uint64_t sector,
              uint32_t count, uint64_t stamp)
{
    if (op == HISTORY_FLUSH)
        sector = count = 0;
    if (sector > h->sectors || count > h->sectors - sector)
        abort();
    h->op = grown(h->op, &h->op_room, h->ops + 1, sizeof(h->op[0]));
    h->op[h->ops] = (struct op){
        .op = op,
        .count = count,
        .epoch = (uint32_t)h->epochs - 1,
        .sector = sector,
        .stamp = stamp,
        .begin = ++h->now,
        .end = NEVER,
    };
    return (uint32_t)h->ops++;
}

static void
note_seen(struct history *h, struct op *o, const uint64_t *seen)
{
    h->pool =
        grown(h->pool, &h->pool_room, h->pooled + o->count, sizeof(h->pool[0]));
    o->seen = h->pooled;
    memcpy(h->pool + h->pooled, seen, o->count * sizeof(seen[0]));
    h->pooled += o->count;
}

/* Only what was written since then is on the medium for sure. */
static void
flushed_since(struct history *h, const struct epoch *e, const struct op *flush)
{
    if (flush->begin < e->forgiven)
        return;
    for (size_t i = e->ops; i < h->ops; i++) {
        if (h->op[i].outcome == GOOD && h->op[i].end < flush->begin)
            h->op[i].kept = true;
    }
}

void
history_end(struct history *h, uint32_t id, int error, const uint64_t *seen)
{
    struct op *o = &h->op[id];
    struct epoch *e;

    if (id >= h->ops)
        abort();
    e = &h->epoch[o->epoch];
    if (o->outcome != OPEN) {
        if (!h->wrong[0])
            snprintf(h->wrong, sizeof(h->wrong),
                     "sector %" PRIu64 ": expected one answer to request "
                     "#%" PRIu32 ", found two",
                     o->sector, id);
        return;
    }
    if (o->epoch + 1 < h->epochs)
        return;
    o->end = ++h->now;
    o->outcome = error ? FAILED : GOOD;
    if (error)
        return;
    if (o->op == HISTORY_READ)
        note_seen(h, o, seen);
    if (o->op == HISTORY_FLUSH && e->forgiven)
        flushed_since(h, e, o);
    else if (o->op == HISTORY_FLUSH && o->begin > e->flushed)
        e->flushed = o->begin;
}

void
history_forgiven(struct history *h)
{
    struct epoch *e = &h->epoch[h->epochs - 1];

    e->forgiven = ++h->now;
    e->ops = h->ops;
}

void
history_power_failed(struct history *h)
{
    struct epoch *e = &h->epoch[h->epochs - 1];

    e->end = ++h->now;
    for (size_t i = 0; i < h->ops; i++) {
        if (h->op[i].epoch == h->epochs - 1 && h->op[i].outcome == OPEN)
            h->op[i].end = e->end;
    }
    add_epoch(h);
}

void
history_final(struct history *h, uint64_t sector, uint64_t stamp)
{
    uint32_t id = history_begin(h, HISTORY_READ, sector, 1, 0);

    history_end(h, id, 0, &stamp);
}

/* ---- the verdict --------------------------------------------------------- */

struct value {
    uint64_t stamp;
    uint64_t begin, end;  /* of its write */
    uint32_t write, read; /* requests; `read` is the one that began last */
    bool old;             /* of an earlier epoch */
    bool sure;            /* the write was acknowledged */
    unsigned reads;
    uint64_t first, last;
};

/* One look at a sector. */
struct look {
    uint64_t stamp, begin, end;
    uint32_t op;
    bool power; /* the look of a power failure; op saw it later */
};

struct check {
    const struct history *h;
    uint64_t sector;
    const struct epoch *epoch;
    struct value *value;
    size_t values;
    struct look *look;
    size_t looks;
    const struct touch *touch; /* of this epoch */
    size_t touches;
    uint64_t fua; /* begin of the last durable write, or 0 */
    uint32_t fua_op;
    struct look start; /* what the epoch is seen to have started with */
    bool started;
    char *why;
    size_t why_size;
};

static int
by_sector(const void *a, const void *b)
{
    const struct touch *x = a, *y = b;

    if (x->sector != y->sector)
        return x->sector < y->sector ? -1 : 1;
    return (x->op > y->op) - (x->op < y->op);
}

static int
by_stamp(const void *a, const void *b)
{
    const struct value *x = a, *y = b;

    return (x->stamp > y->stamp) - (x->stamp < y->stamp);
}

static int
by_first(const void *a, const void *b)
{
    const struct value *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

__attribute__((format(printf, 2, 3))) static bool
illegal(struct check *k, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(k->why, k->why_size, "sector %" PRIu64 ": ", k->sector);

    va_start(ap, fmt);
    if (n >= 0 && (size_t)n < k->why_size)
        vsnprintf(k->why + n, k->why_size - (size_t)n, fmt, ap);
    va_end(ap);
    return false;
}

static const char *
when(const struct look *l)
{
    return l->power ? " (as it was after the power failure)" : "";
}

static void
add_write(struct check *k, const struct touch *t, const struct op *o)
{
    k->value[k->values++] = (struct value){
        .stamp = t->stamp,
        .begin = o->begin,
        .end = o->end,
        .write = t->op,
        .read = t->op,
        .sure = o->outcome == GOOD,
        .first = o->end,
        .last = o->begin,
    };
    if ((o->op == HISTORY_FUA || o->kept) && o->outcome == GOOD &&
        o->begin > k->fua) {
        k->fua = o->begin;
        k->fua_op = t->op;
    }
}

/* Writes, by stamp, and looks; what the next epoch started with is one. */
static void
gather(struct check *k, const struct look *next)
{
    k->values = k->looks = 0;
    k->fua = 0;
    for (size_t i = 0; i < k->touches; i++) {
        const struct touch *t = &k->touch[i];
        const struct op *o = &k->h->op[t->op];

        if (o->op == HISTORY_WRITE || o->op == HISTORY_FUA)
            add_write(k, t, o);
        else if (o->op == HISTORY_READ)
            k->look[k->looks++] = (struct look){
                .stamp = t->stamp,
                .begin = o->begin,
                .end = o->end,
                .op = t->op,
            };
    }
    qsort(k->value, k->values, sizeof(k->value[0]), by_stamp);
    if (next)
        k->look[k->looks++] = (struct look){
            .stamp = next->stamp,
            .begin = k->epoch->flushed,
            .end = k->epoch->end,
            .op = next->op,
            .power = true,
        };
}

/* It saw what was there before the epoch. */
static bool
saw_start(struct check *k, const struct look *l)
{
    if (k->started && k->start.stamp != l->stamp)
        return illegal(k,
                       "expected %" PRIx64 " as in read #%" PRIu32
                       ", found %" PRIx64 " in read #%" PRIu32
                       "%s, and neither was written since the power failed",
                       k->start.stamp, k->start.op, l->stamp, l->op, when(l));
    if (k->epoch->begin == 0 && l->stamp)
        return illegal(k,
                       "expected something that was written there, found "
                       "%" PRIx64 " in read #%" PRIu32 "%s, which never was",
                       l->stamp, l->op, when(l));
    if (!k->started)
        k->start = *l;
    k->started = true;
    return true;
}

/* Of the values before the epoch, as of a write at its begin. */
static struct value *
old_value(struct check *k, size_t writes, const struct look *l)
{
    struct value *v = &k->value[writes];

    if (k->values == writes) {
        *v = (struct value){
            .stamp = l->stamp,
            .begin = k->epoch->begin,
            .end = k->epoch->begin,
            .old = true,
            .sure = true,
            .first = k->epoch->begin,
            .last = k->epoch->begin,
        };
        k->values++;
    }
    return v;
}

static bool
durable(struct check *k, const struct look *l, uint64_t end)
{
    if (!l->power || end >= k->fua)
        return true;
    return illegal(k,
                   "expected what durable write #%" PRIu32
                   " wrote, or newer, found %" PRIx64 " in read #%" PRIu32 "%s",
                   k->fua_op, l->stamp, l->op, when(l));
}

/* Gives each look of something other than zeroes to its value. */
static bool
assign(struct check *k)
{
    size_t writes = k->values;

    for (size_t i = 0; i < k->looks; i++) {
        const struct look *l = &k->look[i];
        struct value key = { .stamp = l->stamp }, *v;

        if (!l->stamp)
            continue;
        v = bsearch(&key, k->value, writes, sizeof(*v), by_stamp);
        if (!v) {
            if (!saw_start(k, l))
                return false;
            v = old_value(k, writes, l);
        }
        if (l->end < v->begin)
            return illegal(k,
                           "expected nothing of write #%" PRIu32
                           " before it began, found %" PRIx64
                           " in read #%" PRIu32 "%s",
                           v->write, l->stamp, l->op, when(l));
        if (!durable(k, l, v->end))
            return false;
        v->reads++;
        if (l->end < v->first)
            v->first = l->end;
        if (l->begin > v->last) {
            v->last = l->begin;
            v->read = l->op;
        }
    }
    return true;
}

/* The discard that ended last of those which l may have seen: its end, 0 if
 * there is none. */
static uint64_t
last_discard(const struct check *k, const struct look *l)
{
    uint64_t end = 0;

    for (size_t i = 0; i < k->touches; i++) {
        const struct op *o = &k->h->op[k->touch[i].op];

        if (o->begin > l->end)
            break;
        if (o->op == HISTORY_DISCARD && o->end > end)
            end = o->end;
    }
    return end;
}

/* The first write after `end` that was acknowledged before l began. */
static const struct value *
written_between(const struct check *k, uint64_t end, const struct look *l)
{
    for (size_t i = 0; i < k->values; i++) {
        const struct value *v = &k->value[i];

        if (v->sure && !v->old && v->begin > end && v->end < l->begin)
            return v;
    }
    return NULL;
}

static bool
check_zeroes(struct check *k)
{
    for (size_t i = 0; i < k->looks; i++) {
        const struct look *l = &k->look[i];
        const struct value *v;
        uint64_t end;

        if (l->stamp)
            continue;
        end = last_discard(k, l);
        v = written_between(k, end ? end : k->epoch->begin, l);
        if (v)
            return illegal(k,
                           "expected %" PRIx64 " of write #%" PRIu32
                           ", found zeroes in read #%" PRIu32 "%s",
                           v->stamp, v->write, l->op, when(l));
        if (!end && !saw_start(k, l))
            return false;
        if (!durable(k, l, end ? end : k->epoch->begin))
            return false;
        for (size_t j = 0; j < k->values; j++) {
            v = &k->value[j];
            if (v->reads && v->first < l->begin && l->end < v->last)
                return illegal(k,
                               "expected %" PRIx64 " of write #%" PRIu32
                               ", found zeroes in read #%" PRIu32
                               ", and it again in read #%" PRIu32,
                               v->stamp, v->write, l->op, v->read);
        }
    }
    return true;
}

/* a is held for sure, and b had its time within that. */
static bool
superseded(struct check *k, const struct value *a, const struct value *b)
{
    const char *power = "";

    for (size_t i = 0; i < k->looks; i++) {
        if (k->look[i].power && k->look[i].stamp == a->stamp)
            power = " (as it was after the power failure)";
    }
    if (b->old)
        return illegal(k,
                       "expected %" PRIx64 " of before the power failure, seen "
                       "in read #%" PRIu32 ", only before %" PRIx64
                       " of write #%" PRIu32,
                       b->stamp, b->read, a->stamp, a->write);
    if (a->old)
        return illegal(k,
                       "expected %" PRIx64 " of write #%" PRIu32
                       " or newer, found %" PRIx64
                       " of before the power failure in read #%" PRIu32 "%s",
                       b->stamp, b->write, a->stamp, a->read, power);
    return illegal(k,
                   "expected %" PRIx64 " of write #%" PRIu32
                   " or newer, found the older %" PRIx64 " of write #%" PRIu32
                   " in read #%" PRIu32 "%s",
                   b->stamp, b->write, a->stamp, a->write, a->read, power);
}

/* Those held for sure, by time; each of the others then asks the only one that
 * can hold it: the last that starts before it. */
static bool
check_order(struct check *k)
{
    size_t n = 0, at = 0;
    const struct value *sure = NULL;

    for (size_t i = 0; i < k->values; i++) {
        if (k->value[i].sure || k->value[i].reads)
            k->value[n++] = k->value[i];
    }
    for (size_t i = 0; i < n; i++) {
        struct value v = k->value[i];

        if (v.first < v.last) {
            k->value[i] = k->value[at];
            k->value[at++] = v;
        }
    }
    k->values = n;
    qsort(k->value, at, sizeof(k->value[0]), by_first);
    for (size_t i = 1; i < at; i++) {
        if (k->value[i].first < k->value[i - 1].last)
            return superseded(k, &k->value[i - 1], &k->value[i]);
    }
    for (size_t i = at; i < n; i++) {
        const struct value *v = &k->value[i];
        size_t low = 0, high = at;

        while (low < high) {
            size_t mid = (low + high) / 2;

            if (k->value[mid].first < v->last)
                low = mid + 1;
            else
                high = mid;
        }
        sure = low ? &k->value[low - 1] : NULL;
        if (sure && v->first < sure->last)
            return superseded(k, sure, v);
    }
    return true;
}

static bool
check_sector(struct check *k, const struct touch *t, size_t n)
{
    struct look next;
    bool has_next = false;

    for (size_t e = k->h->epochs; e-- > 0;) {
        size_t from = n;

        while (from > 0 && k->h->op[t[from - 1].op].epoch == e)
            from--;
        k->epoch = &k->h->epoch[e];
        k->touch = t + from;
        k->touches = n - from;
        k->started = false;
        n = from;
        gather(k, has_next ? &next : NULL);
        if (!assign(k) || !check_zeroes(k) || !check_order(k))
            return false;
        has_next = k->started;
        next = k->start;
    }
    return true;
}

/* Failed reads saw nothing; flushes have no sector. */
static struct touch *
all_touches(const struct history *h, size_t *n)
{
    struct touch *t = NULL;
    size_t room = 0;

    *n = 0;
    for (size_t i = 0; i < h->ops; i++) {
        const struct op *o = &h->op[i];

        if (o->op == HISTORY_READ && o->outcome != GOOD)
            continue;
        t = grown(t, &room, *n + o->count + 1, sizeof(t[0]));
        for (uint32_t s = 0; s < o->count; s++)
            t[(*n)++] = (struct touch){
                .sector = o->sector + s,
                .stamp =
                    o->op == HISTORY_READ ? h->pool[o->seen + s] : o->stamp + s,
                .op = (uint32_t)i,
            };
    }
    if (*n)
        qsort(t, *n, sizeof(t[0]), by_sector);
    return t;
}

bool
history_verdict(struct history *h, char *why, size_t n)
{
    size_t touches;
    bool legal = !h->wrong[0];
    struct touch *t = all_touches(h, &touches);
    struct check k = { .h = h, .why = why, .why_size = n };

    snprintf(why, n, "%s", h->wrong);
    k.value = calloc(touches + 2, sizeof(k.value[0]));
    k.look = calloc(touches + 2, sizeof(k.look[0]));
    if (!k.value || !k.look)
        abort();
    for (size_t i = 0, end; legal && i < touches; i = end) {
        for (end = i; end < touches && t[end].sector == t[i].sector; end++)
            ;
        k.sector = t[i].sector;
        legal = check_sector(&k, t + i, end - i);
    }
    free(k.look);
    free(k.value);
    free(t);
    return legal;
}
