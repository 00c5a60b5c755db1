/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kept.c: see kept.h.  An entry never wraps: where one does not fit before the
 * end of the ring, the rest there becomes an entry of its own that is born
 * DEAD.  Sizes are multiples of an entry's header, so that the rest always has
 * room for one.
 */
#include "plugins/nbd/kept.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int
kept_init(struct kept *k, size_t size)
{
    memset(k, 0, sizeof *k);
    size -= size % sizeof(struct kept_entry);
    k->ring = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (k->ring == MAP_FAILED) {
        k->ring = NULL;
        return -ENOMEM;
    }
    k->size = size;
    return 0;
}

void
kept_free(struct kept *k)
{
    if (k->ring)
        munmap(k->ring, k->size);
    k->ring = NULL;
}

static struct kept_entry *
entry_at(const struct kept *k, size_t at)
{
    return (struct kept_entry *)(void *)(k->ring + at);
}

static struct kept_entry *
entry_make(struct kept *k, size_t size, enum kept_state state)
{
    struct kept_entry *e = entry_at(k, k->head);

    memset(e, 0, sizeof *e);
    e->size = (uint32_t)size;
    e->state = (uint8_t)state;
    k->head = (k->head + size) % k->size;
    k->used += size;
    return e;
}

size_t
kept_most(const struct kept *k)
{
    return k->size / 2 - sizeof(struct kept_entry);
}

struct kept_entry *
kept_add(struct kept *k, size_t bytes)
{
    const size_t unit = sizeof(struct kept_entry);
    size_t size = unit + (bytes + unit - 1) / unit * unit;
    size_t rest = k->size - k->head;

    /* An empty ring begins at its beginning, so that half of it always fits. */
    if (!k->used)
        k->head = k->tail = 0, rest = k->size;
    if (size > k->size - k->used)
        return NULL;
    if (size > rest) {
        if (rest + size > k->size - k->used)
            return NULL;
        entry_make(k, rest, KEPT_DEAD);
    }
    return entry_make(k, size, KEPT_FLYING);
}

static void
trim(struct kept *k)
{
    while (k->used && entry_at(k, k->tail)->state == KEPT_DEAD) {
        size_t size = entry_at(k, k->tail)->size;

        assert(size && size <= k->used);
        k->tail = (k->tail + size) % k->size;
        k->used -= size;
    }
}

void
kept_acked(struct kept *k, struct kept_entry *e)
{
    assert(e->state == KEPT_FLYING);
    e->state = KEPT_ACKED;
    e->owner = NULL;
    e->seq = ++k->seq;
    k->acked++;
}

void
kept_drop(struct kept *k, struct kept_entry *e)
{
    assert(e->state != KEPT_DEAD);
    if (e->state == KEPT_ACKED)
        k->acked--;
    e->state = KEPT_DEAD;
    trim(k);
}

struct kept_entry *
kept_next(struct kept *k, struct kept_entry *e)
{
    size_t at = (size_t)((uint8_t *)e - k->ring);

    do {
        at = (at + entry_at(k, at)->size) % k->size;
        if (at == k->head)
            return NULL;
    } while (entry_at(k, at)->state == KEPT_DEAD);
    return entry_at(k, at);
}

struct kept_entry *
kept_first(struct kept *k)
{
    if (!k->used)
        return NULL;
    /* trim() leaves no DEAD one at the tail. */
    return entry_at(k, k->tail);
}

void
kept_flushed(struct kept *k, uint64_t seq)
{
    struct kept_entry *e, *next;

    for (e = kept_first(k); e && k->acked; e = next) {
        next = kept_next(k, e);
        if (e->state != KEPT_ACKED || e->seq > seq)
            continue;
        e->state = KEPT_DEAD;
        k->acked--;
    }
    trim(k);
}
