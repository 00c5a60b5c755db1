/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_image.c: the contents of a simulated file.
 *
 * There are two images: the cache, which is what a reader sees, and the disk,
 * which is what a crash leaves.  Between them is the list of changes since the
 * last sync.  At a crash each 512-byte sector of each change reaches the disk
 * or does not, in order: so writes are lost, torn and reordered, while a
 * sector never is older than at the last sync.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "host/sim_image.h"
#include "host/sim_world.h"

enum { CHUNK = 64 << 10, SECTOR = 512, HALF = 500000 };

/* ---- images -------------------------------------------------------------- */

static size_t
part_of_chunk(uint64_t off, size_t len)
{
    size_t left = CHUNK - (size_t)(off % CHUNK);

    return len < left ? len : left;
}

void
sim_image_read(const struct sim_image *m, uint64_t off, void *to, size_t len)
{
    char *p = to;

    while (len) {
        size_t n = part_of_chunk(off, len);
        uint64_t i = off / CHUNK;

        if (i < m->chunks && m->chunk[i])
            memcpy(p, m->chunk[i] + off % CHUNK, n);
        else
            memset(p, 0, n);
        p += n;
        off += n;
        len -= n;
    }
}

static char *
chunk_at(struct sim_image *m, uint64_t i)
{
    if (i >= m->chunks) {
        m->chunk = sim_memory_grow(m->chunk, i + 1, sizeof(char *));
        memset(&m->chunk[m->chunks], 0, (i + 1 - m->chunks) * sizeof(char *));
        m->chunks = i + 1;
    }
    if (!m->chunk[i])
        m->chunk[i] = sim_memory(CHUNK, 1);
    return m->chunk[i];
}

static void
grow_to(struct sim_image *m, uint64_t end)
{
    if (end > m->size)
        m->size = end;
}

void
sim_image_write(struct sim_image *m, uint64_t off, const void *data, size_t len)
{
    const char *p = data;

    if (len)
        grow_to(m, off + len);
    while (len) {
        size_t n = part_of_chunk(off, len);

        memcpy(chunk_at(m, off / CHUNK) + off % CHUNK, p, n);
        p += n;
        off += n;
        len -= n;
    }
}

/* Whole chunks are given back. */
static void
clear_range(struct sim_image *m, uint64_t off, uint64_t len)
{
    uint64_t end = (uint64_t)m->chunks * CHUNK;

    if (off >= end)
        return;
    if (len > end - off)
        len = end - off;
    while (len) {
        size_t n = part_of_chunk(off, len < CHUNK ? (size_t)len : CHUNK);
        char **c = &m->chunk[off / CHUNK];

        if (n == CHUNK) {
            free(*c);
            *c = NULL;
        } else if (*c) {
            memset(*c + off % CHUNK, 0, n);
        }
        off += n;
        len -= n;
    }
}

void
sim_image_resize(struct sim_image *m, uint64_t size)
{
    if (size < m->size)
        clear_range(m, size, m->size - size);
    m->size = size;
}

static void
image_free(struct sim_image *m)
{
    for (size_t i = 0; i < m->chunks; i++)
        free(m->chunk[i]);
    free(m->chunk);
    *m = (struct sim_image){ 0 };
}

static void
image_copy(struct sim_image *to, const struct sim_image *from)
{
    image_free(to);
    to->size = from->size;
    for (size_t i = 0; i < from->chunks; i++) {
        if (from->chunk[i])
            memcpy(chunk_at(to, i), from->chunk[i], CHUNK);
    }
}

/* ---- changes ------------------------------------------------------------- */

/* A part of a change. */
static void
apply_part(struct sim_image *m, const struct sim_change *c, uint64_t at,
           uint64_t len)
{
    switch (c->kind) {
    case SIM_WRITE:
        sim_image_write(m, c->off + at, c->data + at, (size_t)len);
        break;
    case SIM_ZERO:
        grow_to(m, c->off + at + len);
        clear_range(m, c->off + at, len);
        break;
    case SIM_PUNCH:
        clear_range(m, c->off + at, len);
        break;
    case SIM_RESIZE:
        sim_image_resize(m, c->off);
        break;
    }
}

static void
apply(struct sim_image *m, const struct sim_change *c)
{
    apply_part(m, c, 0, c->len);
}

/* Each sector, perhaps.  A long ZERO or PUNCH is one or the other as a whole:
 * it is an entry in a journal. */
static void
apply_perhaps(struct sim *sim, struct sim_image *m, const struct sim_change *c)
{
    uint64_t at = 0, n;

    if (c->kind != SIM_WRITE) {
        if (sim_chance(sim, HALF))
            apply(m, c);
        return;
    }
    for (; at < c->len; at += n) {
        n = SECTOR - (c->off + at) % SECTOR;
        if (n > c->len - at)
            n = c->len - at;
        if (sim_chance(sim, HALF))
            apply_part(m, c, at, n);
    }
}

static struct sim_change *
add(struct sim_medium *m, enum sim_change_kind kind, uint64_t off, uint64_t len,
    char *data, bool durable)
{
    struct sim_change *c = sim_memory(1, sizeof *c);

    *c = (struct sim_change){ .kind = kind,
                              .number = ++m->number,
                              .off = off,
                              .len = len,
                              .data = data,
                              .durable = durable };
    *m->last = c;
    m->last = &c->next;
    return c;
}

static void
drop_first(struct sim_medium *m)
{
    struct sim_change *c = m->first;

    m->first = c->next;
    if (!m->first)
        m->last = &m->first;
    free(c->data);
    free(c);
}

void
sim_medium_change(struct sim_medium *m, enum sim_change_kind kind, uint64_t off,
                  uint64_t len, char *data, bool durable)
{
    apply(&m->cache, add(m, kind, off, len, data, durable));
}

/* What of it is in the cache may be on the medium, or not. */
void
sim_medium_tear(struct sim *sim, struct sim_medium *m, uint64_t off,
                uint64_t len, char *data)
{
    struct sim_change whole = {
        .kind = SIM_WRITE, .off = off, .len = len, .data = data
    };
    uint64_t n;

    for (uint64_t at = 0; at < len; at += n) {
        char *part;

        n = SECTOR - (off + at) % SECTOR;
        if (n > len - at)
            n = len - at;
        if (off + at + n > m->cache.size || !sim_chance(sim, HALF))
            continue;
        part = sim_memory(n, 1);
        memcpy(part, whole.data + at, n);
        sim_medium_change(m, SIM_WRITE, off + at, n, part, false);
    }
    free(data);
}

void
sim_medium_sync(struct sim_medium *m, uint64_t number)
{
    while (m->first && m->first->number <= number) {
        const uint64_t before = m->disk.size;

        apply(&m->disk, m->first);
        sim_medium_tell(m, &m->disk, m->first, before);
        drop_first(m);
    }
    if (m->watcher)
        m->watcher->flush(m->watcher);
}

static void
survive(struct sim *sim, struct sim_medium *m, uint64_t number, const char *why)
{
    sim_medium_tell_all(m, number);
    while (m->first && m->first->number <= number) {
        if (m->first->durable)
            apply(&m->disk, m->first);
        else
            apply_perhaps(sim, &m->disk, m->first);
        drop_first(m);
    }
    if (m->watcher)
        m->watcher->lost(m->watcher, why);
}

void
sim_medium_sync_failed(struct sim *sim, struct sim_medium *m, uint64_t number)
{
    survive(sim, m, number, "sync-failed");
}

void
sim_medium_crash(struct sim *sim, struct sim_medium *m)
{
    survive(sim, m, UINT64_MAX, "power-failure");
    image_copy(&m->cache, &m->disk);
}

uint64_t
sim_medium_unsynced(const struct sim_medium *m)
{
    uint64_t n = 0;

    for (const struct sim_change *c = m->first; c; c = c->next)
        n += c->durable ? 0 : c->len;
    return n;
}

void
sim_medium_init(struct sim_medium *m)
{
    *m = (struct sim_medium){ 0 };
    m->last = &m->first;
}

void
sim_medium_free(struct sim_medium *m)
{
    while (m->first)
        drop_first(m);
    image_free(&m->cache);
    image_free(&m->disk);
}
