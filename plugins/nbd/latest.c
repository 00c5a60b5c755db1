/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latest.c: see latest.h.  A walk over the disk, from place to place at which
 * an entry begins or ends: with n entries some n * log n steps, for there may
 * be a hundred thousand, and the disk's loop waits.
 */
#include "plugins/nbd/latest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t
bytes(const struct latest *l)
{
    return l->room * sizeof *l->v;
}

int
latest_init(struct latest *l, struct kept *k)
{
    memset(l, 0, sizeof *l);
    l->kept = k;
    l->room = k->size / sizeof(struct kept_entry);
    l->v = mmap(NULL, bytes(l), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (l->v != MAP_FAILED)
        return 0;
    l->v = NULL;
    return -ENOMEM;
}

void
latest_free(struct latest *l)
{
    if (l->v)
        munmap(l->v, bytes(l));
    l->v = NULL;
}

static int
by_place(const void *a, const void *b)
{
    const struct kept_entry *x = *(struct kept_entry *const *)a;
    const struct kept_entry *y = *(struct kept_entry *const *)b;

    return (x->off > y->off) - (x->off < y->off);
}

void
latest_begin(struct latest *l)
{
    struct kept_entry *e;

    l->n = l->next = l->reach = 0;
    l->oldest = l->kept->tail;
    for (e = kept_first(l->kept); e; e = kept_next(l->kept, e))
        l->v[l->n++] = e;
    qsort(l->v, l->n, sizeof *l->v, by_place);
}

/* ---- those that reach beyond a place ------------------------------------- */

/* How much later than the oldest it was written. */
static size_t
age(const struct latest *l, const struct kept_entry *e)
{
    size_t at = (size_t)((const uint8_t *)e - l->kept->ring);

    return at >= l->oldest ? at - l->oldest : at + l->kept->size - l->oldest;
}

static void
heap_add(struct latest *l, struct kept_entry *e)
{
    size_t i = l->reach++;

    for (; i && age(l, l->v[(i - 1) / 2]) < age(l, e); i = (i - 1) / 2)
        l->v[i] = l->v[(i - 1) / 2];
    l->v[i] = e;
}

static void
heap_take(struct latest *l)
{
    struct kept_entry *e = l->v[--l->reach];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < l->reach) {
        if (child + 1 < l->reach &&
            age(l, l->v[child]) < age(l, l->v[child + 1]))
            child++;
        if (age(l, l->v[child]) <= age(l, e))
            break;
        l->v[i] = l->v[child];
        i = child;
    }
    l->v[i] = e;
}

static uint64_t
end_of(const struct kept_entry *e)
{
    return e->off + e->len;
}

bool
latest_next(struct latest *l, struct latest_part *part)
{
    struct kept_entry *e;
    uint64_t end;

    while (l->reach && end_of(l->v[0]) <= l->at)
        heap_take(l);
    if (!l->reach && l->next == l->n) {
        part->e = NULL;
        return false;
    }
    if (!l->reach)
        l->at = l->v[l->next]->off;
    while (l->next < l->n && l->v[l->next]->off <= l->at)
        heap_add(l, l->v[l->next++]);
    part->e = l->v[0];
    part->off = l->at;
    end = end_of(part->e);
    while (l->next < l->n && (e = l->v[l->next])->off < end) {
        if (age(l, e) > age(l, part->e)) {
            end = e->off;
            break;
        }
        l->next++;
        heap_add(l, e);
    }
    part->len = (uint32_t)(end - part->off);
    l->at = end;
    return true;
}
