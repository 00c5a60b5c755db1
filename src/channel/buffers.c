/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * buffers.c: pages for data, by first fit: low slabs are used again and again,
 * high ones fall idle and go cold.
 *
 *     cold --first page--> warm, in use <--page-- warm, idle
 *       ^                        '---last page---------^|
 *       '------------------- two ticks -----------------'
 */
#include "channel/buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_TICKS = 2 };
#define WORDS   ((unsigned)BUFFERS_SLAB_PAGES / 64)
#define TICK_NS UINT64_C(1000000000)

static void tick(struct blk_timer *);

int
buffers_init(struct buffers *b, struct loop *loop, size_t max)
{
    void *addr;
    int error;

    memset(b, 0, sizeof(*b));
    b->fd = -1;
    b->loop = loop;
    b->slabs = (unsigned)(max / BUFFERS_SLAB);
    if (!b->slabs)
        b->slabs = 1;
    b->size = (size_t)b->slabs * BUFFERS_SLAB;
    b->timer.fire = tick;
    b->timer.data = b;
    b->slab = calloc(b->slabs, sizeof(b->slab[0]));
    if (!b->slab)
        return -ENOMEM;
    error = host_memory("blktapd-buffers", b->size, &addr, &b->fd);
    if (error) {
        b->fd = -1;
        buffers_free(b);
        return error;
    }
    b->addr = addr;
    for (unsigned i = 0; i < b->slabs; i++)
        memset(b->slab[i].free, 0xff, sizeof(b->slab[i].free));
    return 0;
}

static void *
slab_addr(const struct buffers *b, const struct buffers_slab *s)
{
    return b->addr + (size_t)(s - b->slab) * BUFFERS_SLAB;
}

static void
cool(struct buffers *b, struct buffers_slab *s)
{
    if (s->registered)
        b->loop->ops->buffer_remove(b->loop, slab_addr(b, s), BUFFERS_SLAB);
    host_memory_release(slab_addr(b, s), BUFFERS_SLAB);
    s->registered = false;
    s->warm = false;
}

void
buffers_free(struct buffers *b)
{
    if (b->ticking)
        b->loop->ops->timer_stop(b->loop, &b->timer);
    b->ticking = false;
    for (unsigned i = 0; b->addr && i < b->slabs; i++) {
        if (b->slab[i].warm)
            cool(b, &b->slab[i]);
    }
    if (b->addr)
        host_memory_free(b->addr, b->size, b->fd);
    free(b->slab);
    b->slab = NULL;
    b->addr = NULL;
}

static void
tick(struct blk_timer *t)
{
    struct buffers *b = t->data;
    bool more = false, warm = false;

    b->ticking = false;
    for (unsigned i = 0; i < b->slabs; i++) {
        struct buffers_slab *s = &b->slab[i];

        if (s->warm && !s->used) {
            if (++s->idle >= IDLE_TICKS)
                cool(b, s);
            else
                more = true;
        }
        warm |= s->warm;
    }
    if (!warm && b->cold)
        b->cold(b->arg);
    if (more)
        buffers_rest(b);
}

/* v := bits of v that have a set bit n places above them, as well. */
static void
and_shifted(uint64_t v[WORDS], unsigned n)
{
    unsigned skip = n / 64, shift = n % 64;

    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t up = 0;

        if (i + skip < WORDS)
            up = v[i + skip] >> shift;
        if (shift && i + skip + 1 < WORDS)
            up |= v[i + skip + 1] << (64 - shift);
        v[i] &= up;
    }
}

/* The first of n free pages in a row, or -1: a bit of v stands for a run of
 * `run` pages; runs are doubled until they are long enough. */
static int
find_run(const struct buffers_slab *s, unsigned n)
{
    uint64_t v[WORDS];
    unsigned run = 1;

    if (s->used + n > BUFFERS_SLAB_PAGES)
        return -1;
    memcpy(v, s->free, sizeof(v));
    while (run < n) {
        unsigned more = run < n - run ? run : n - run;

        and_shifted(v, more);
        run += more;
    }
    for (unsigned i = 0; i < WORDS; i++) {
        if (v[i])
            return (int)i * 64 + __builtin_ctzll(v[i]);
    }
    return -1;
}

/* Of n pages from `first` on. */
static void
flip(struct buffers_slab *s, unsigned first, unsigned n)
{
    while (n) {
        unsigned bit = first % 64, some = 64 - bit < n ? 64 - bit : n;
        uint64_t mask = some == 64 ? ~UINT64_C(0) : (UINT64_C(1) << some) - 1;

        s->free[first / 64] ^= mask << bit;
        first += some;
        n -= some;
    }
}

static void
warm_up(struct buffers *b, struct buffers_slab *s)
{
    s->warm = true;
    s->registered =
        b->loop->ops->buffer_add &&
        !b->loop->ops->buffer_add(b->loop, slab_addr(b, s), BUFFERS_SLAB);
}

void *
buffers_get(struct buffers *b, size_t len)
{
    unsigned n = (unsigned)((len + BUFFERS_PAGE - 1) / BUFFERS_PAGE);

    for (unsigned i = 0; i < b->slabs; i++) {
        struct buffers_slab *s = &b->slab[i];
        int first = find_run(s, n);

        if (first < 0)
            continue;
        if (!s->warm)
            warm_up(b, s);
        flip(s, (unsigned)first, n);
        s->used = (uint16_t)(s->used + n);
        return (uint8_t *)slab_addr(b, s) + (size_t)first * BUFFERS_PAGE;
    }
    return NULL;
}

void
buffers_put(struct buffers *b, void *addr, size_t len)
{
    size_t at = (size_t)((uint8_t *)addr - b->addr);
    struct buffers_slab *s = &b->slab[at / BUFFERS_SLAB];
    unsigned first = (unsigned)(at % BUFFERS_SLAB) / BUFFERS_PAGE;
    unsigned n = (unsigned)((len + BUFFERS_PAGE - 1) / BUFFERS_PAGE);

    flip(s, first, n);
    s->used = (uint16_t)(s->used - n);
    if (s->used)
        return;
    s->idle = 0;
    buffers_rest(b);
}

void
buffers_rest(struct buffers *b)
{
    if (b->ticking)
        return;
    b->ticking = true;
    b->loop->ops->timer_start(b->loop, &b->timer, TICK_NS);
}
