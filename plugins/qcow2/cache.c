/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.c: pieces of tables in memory, as many as there is memory for.
 *
 *   FREE ---get---> LOADING ---read---> READY ---(oldest, unpinned, clean)--->
 *
 * Pieces that are pinned, dirty or being written stay.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists --------------------------------------------------------------- */

static struct q2_table **
bucket_of(struct q2_cache *c, uint64_t at)
{
    uint64_t h = at / c->size * 0x9e3779b97f4a7c15u;

    return &c->bucket[(h >> 32) & (c->buckets - 1)];
}

static void
hash_add(struct q2_table *t)
{
    struct q2_table **b = bucket_of(t->cache, t->at);

    t->hash = *b;
    *b = t;
}

static void
hash_del(struct q2_table *t)
{
    struct q2_table **p = bucket_of(t->cache, t->at);

    while (*p != t)
        p = &(*p)->hash;
    *p = t->hash;
    t->hash = NULL;
}

static void
age_del(struct q2_table *t)
{
    struct q2_cache *c = t->cache;

    *(t->newer ? &t->newer->older : &c->newest) = t->older;
    *(t->older ? &t->older->newer : &c->oldest) = t->newer;
}

static void
age_newest(struct q2_table *t)
{
    struct q2_cache *c = t->cache;

    t->newer = NULL;
    t->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = t;
    c->newest = t;
}

static void
age_touch(struct q2_table *t)
{
    age_del(t);
    age_newest(t);
}

/* ---- the cache ----------------------------------------------------------- */

int
q2_cache_init(struct q2_cache *c, struct qcow2 *s, uint64_t bytes,
              uint32_t size)
{
    uint64_t n = bytes / size < 16 ? 16 : bytes / size;

    c->s = s;
    c->size = size;
    c->n = n > 1u << 20 ? 1u << 20 : (unsigned)n;
    c->buckets = 16;
    while (c->buckets < c->n)
        c->buckets *= 2;
    q2_queue_init(&c->starved);
    c->table = calloc(c->n, sizeof(*c->table));
    c->bucket = calloc(c->buckets, sizeof(struct q2_table *));
    c->memory = q2_alloc_memory((size_t)c->n * size);
    if (!c->table || !c->bucket || !c->memory)
        return -ENOMEM;
    for (unsigned i = 0; i < c->n; i++) {
        struct q2_table *t = &c->table[i];

        t->cache = c;
        t->data = c->memory + (size_t)i * size;
        q2_queue_init(&t->waiters);
        age_newest(t);
    }
    return 0;
}

void
q2_cache_free(struct q2_cache *c)
{
    free(c->table);
    free(c->bucket);
    free(c->memory);
    memset(c, 0, sizeof(*c));
}

static struct q2_table *
cache_find(struct q2_cache *c, uint64_t at)
{
    struct q2_table *t = *bucket_of(c, at);

    while (t && t->at != at)
        t = t->hash;
    return t;
}

static void
table_forget(struct q2_table *t)
{
    if (t->dirty)
        t->cache->dirty--;
    t->dirty = false;
    hash_del(t);
    t->state = Q2_TABLE_FREE;
}

static void
table_loaded(struct q2_io *io, int error)
{
    struct q2_table *t = (struct q2_table *)io;
    struct q2_cache *c = t->cache;

    t->pins--;
    if (error || t->stale)
        table_forget(t);
    else
        t->state = Q2_TABLE_READY;
    q2_queue_wake(&t->waiters, error); /* t is gone if an open fails by it */
    q2_queue_wake(&c->starved, 0);
}

/* One to be used anew, or NULL. */
static struct q2_table *
cache_victim(struct q2_cache *c)
{
    struct q2_table *t = c->oldest;

    while (t && (t->pins || t->dirty || t->writing))
        t = t->newer;
    return t;
}

bool
q2_cache_room(struct q2_cache *c, uint64_t at)
{
    return cache_find(c, at) || cache_victim(c);
}

struct q2_table *
q2_cache_get(struct q2_cache *c, uint64_t at, struct q2_wait *w)
{
    struct q2_table *t = cache_find(c, at);

    if (t && t->state == Q2_TABLE_READY) {
        t->pins++;
        c->hits++;
        age_touch(t);
        return t;
    }
    if (t) {
        q2_queue_add(&t->waiters, w);
        return NULL;
    }
    t = cache_victim(c);
    if (!t) {
        q2_queue_add(&c->starved, w);
        return NULL;
    }
    if (t->state == Q2_TABLE_READY)
        table_forget(t);
    c->misses++;
    t->state = Q2_TABLE_LOADING;
    t->stale = false;
    t->at = at;
    t->pins = 1; /* of the read */
    hash_add(t);
    age_touch(t);
    q2_queue_add(&t->waiters, w);
    t->io.done = table_loaded;
    q2_read(c->s, &t->io, at, t->data, c->size);
    return NULL;
}

void
q2_cache_put(struct q2_table *t)
{
    if (!--t->pins && t->cache->starved.head)
        q2_queue_wake(&t->cache->starved, 0);
}

void
q2_cache_dirty(struct q2_table *t)
{
    if (!t->dirty)
        t->cache->dirty++;
    t->dirty = true;
}

void
q2_cache_drop(struct q2_cache *c, uint64_t at, uint64_t len)
{
    for (uint64_t end = at + len; at < end; at += c->size) {
        struct q2_table *t = cache_find(c, at);

        if (t && t->state == Q2_TABLE_LOADING)
            t->stale = true;
        else if (t)
            table_forget(t);
    }
}

/* ---- writing what is dirty ----------------------------------------------- */

static void
store_over(struct q2_store *st)
{
    if (!--st->out)
        st->done(st, st->error);
}

static void
table_written(struct q2_io *io, int error)
{
    struct q2_table *t = (struct q2_table *)io;
    struct q2_store *st = io->data;

    t->writing = false;
    if (error)
        q2_cache_dirty(t);
    if (error && !st->error)
        st->error = error;
    if (!t->pins && !error)
        q2_queue_wake(&t->cache->starved, 0);
    store_over(st);
}

/* done() may come at once: when nothing is dirty. */
void
q2_cache_store(struct q2_cache *c, struct q2_store *st)
{
    st->cache = c;
    st->out = 1;
    st->error = 0;
    for (unsigned i = 0; c->dirty && i < c->n; i++) {
        struct q2_table *t = &c->table[i];

        if (!t->dirty || t->writing)
            continue;
        t->dirty = false;
        t->writing = true;
        c->dirty--;
        st->out++;
        t->io.done = table_written;
        t->io.data = st;
        q2_write(c->s, &t->io, t->at, t->data, c->size);
    }
    store_over(st);
}
