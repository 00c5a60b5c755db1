/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front.c: slots and indices of raw rings, both layouts, believed in nothing
 * and checked for nothing: whatever a case wants to write is written.
 */
#include "hostile.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    uint8_t stride, id, sector, seg, count, grefs;
} layout[] = {
    [ABI_64] = { 112, 8, 16, 24, 24, 28 },
    [ABI_32] = { 108, 4, 12, 20, 20, 24 },
};

uint32_t
dice(struct dev *d)
{
    d->seed = d->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(d->seed >> 32);
}

uint32_t
below(struct dev *d, uint32_t n)
{
    return (uint32_t)(((uint64_t)dice(d) * n) >> 32);
}

uint64_t
ms_now(const struct dev *d)
{
    struct timespec t;

    if (d->t->now_ms)
        return d->t->now_ms(d);
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

unsigned
stride(const struct dev *d)
{
    return layout[d->got.abi].stride;
}

void
pause_ms(struct dev *d, unsigned ms)
{
    uint64_t end = ms_now(d) + ms;

    if (!d->t->now_ms)
        usleep(ms * 1000);
    else
        while (ms_now(d) < end)
            d->t->wait(d, 1);
}

uint8_t *
slot(const struct dev *d, unsigned q, uint32_t index)
{
    return d->ring[q] + 64 + (size_t)(index & (d->slots - 1)) * stride(d);
}

uint32_t
header_get(struct dev *d, unsigned q, unsigned word)
{
    return __atomic_load_n((uint32_t *)(void *)d->ring[q] + word,
                           __ATOMIC_ACQUIRE);
}

void
header(struct dev *d, unsigned q, unsigned word, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)d->ring[q] + word, value,
                     __ATOMIC_SEQ_CST);
}

/* Each slot is 0xa5: what changes was changed by the back-end (XSA-216).  Not
 * the header: a back-end that is connected already would see an index of 0xa5
 * on the way and stop the ring, rightly. */
void
front_reset(struct dev *d)
{
    unsigned bytes = (unsigned)PAGE << d->got.order, n;

    for (n = 1; 64 + 2 * n * stride(d) <= bytes; n *= 2)
        ;
    d->slots = n;
    for (unsigned q = 0; q < d->got.queues; q++) {
        memset(d->ring[q] + 64, 0xa5, bytes - 64);
        header(d, q, 0, 0);
        header(d, q, 1, 1);
        header(d, q, 2, 0);
        header(d, q, 3, 1);
        d->prod[q] = d->cons[q] = 0;
    }
}

void
put(struct dev *d, unsigned q, const struct req *r)
{
    uint8_t *s = slot(d, q, d->prod[q]++);

    s[0] = r->op;
    s[1] = (uint8_t)r->segs;
    memcpy(s + layout[d->got.abi].id, &r->id, 8);
    memcpy(s + layout[d->got.abi].sector, &r->sector, 8);
    if (r->op == DISCARD) {
        s[1] = r->flag;
        memcpy(s + layout[d->got.abi].count, &r->count, 8);
    } else if (r->op == INDIRECT) {
        s[1] = r->inner;
        memcpy(s + 2, &r->segs, 2);
        memcpy(s + layout[d->got.abi].grefs, r->list, sizeof(r->list));
    } else {
        for (unsigned i = 0; i < SEGS; i++) {
            uint8_t *p = s + layout[d->got.abi].seg + 8 * (size_t)i;

            memcpy(p, &r->seg[i].ref, 4);
            p[4] = r->seg[i].first;
            p[5] = r->seg[i].last;
        }
    }
}

void
push(struct dev *d, unsigned q)
{
    header(d, q, 0, d->prod[q]);
    d->t->notify(d, q);
}

bool
take(struct dev *d, unsigned q, struct answer *a)
{
    const uint8_t *s;

    if (header_get(d, q, 2) == d->cons[q]) {
        header(d, q, 3, d->cons[q] + 1);
        if (header_get(d, q, 2) == d->cons[q])
            return false;
    }
    s = slot(d, q, d->cons[q]++);
    memcpy(&a->id, s, 8);
    a->op = s[8];
    memcpy(&a->status, s + 10, 2);
    return true;
}

int
ask_for(struct dev *d, const struct req *r, unsigned ms)
{
    uint64_t end = ms_now(d) + ms;
    struct answer a;

    put(d, 0, r);
    push(d, 0);
    while (!take(d, 0, &a)) {
        if (ms_now(d) >= end)
            return NO_ANSWER;
        d->t->wait(d, 50);
    }
    return a.status;
}

int
ask(struct dev *d, const struct req *r)
{
    return ask_for(d, r, 20000);
}

struct req
rw(const struct dev *d, enum op op, uint64_t sector, unsigned page, unsigned n)
{
    struct req r = { .op = (uint8_t)op,
                     .id = 1000 + sector,
                     .sector = sector,
                     .segs = (uint16_t)n };

    for (unsigned i = 0; i < SEGS; i++)
        r.seg[i] = (struct seg){ d->ref[(page + i) % PAGES], 0, 7 };
    return r;
}

int
reopen(struct dev *d, unsigned queues, unsigned order, enum abi abi)
{
    struct shape s = { queues, order, abi, d->readonly };
    int rc;

    if (d->connected)
        d->t->close(d);
    d->connected = false;
    rc = d->t->open(d, &s);
    d->connected = !rc;
    return rc;
}
