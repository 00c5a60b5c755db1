/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * soak.c: as many wrong requests as wanted, from a seed, in full rings; and
 * connections toggled at random (XSA-350).
 */
#include "hostile.h"

#include <stdio.h>
#include <string.h>

enum { SHORT = 1000 };

/* A word at each tenth of the way, for those who wait in front of a slow
 * machine; none when the way is short. */
static void
progress(const char *what, uint64_t before, uint64_t done, uint64_t n)
{
    if (n < SHORT || before * 10 / n == done * 10 / n)
        return;
    printf("... %llu of %llu %s\n", (unsigned long long)done,
           (unsigned long long)n, what);
    fflush(stdout);
}

static void
wrong_segment(struct dev *d, struct req *r)
{
    struct seg *s = &r->seg[below(d, r->segs)];

    if (below(d, 2)) {
        s->last = (uint8_t)(8 + below(d, 248));
    } else {
        s->first = (uint8_t)(1 + below(d, 255));
        s->last = (uint8_t)below(d, s->first);
    }
}

static uint64_t
wrong_sector(struct dev *d)
{
    switch (below(d, 4)) {
    case 0:
        return d->sectors - below(d, 8);
    case 1:
        return d->sectors + dice(d);
    case 2:
        return UINT64_MAX - below(d, 100);
    default:
        return (uint64_t)dice(d) << 32 | UINT64_C(1) << 63;
    }
}

/* Wrong in at least one way, otherwise anything. */
static void
bogus(struct dev *d, struct req *r)
{
    *r = rw(d, (enum op)below(d, 2), 64 + below(d, 1000), 16 + below(d, 40),
            1 + below(d, SEGS));
    r->id = (uint64_t)dice(d) << 32 | dice(d);
    switch (below(d, 9)) {
    case 0:
        r->segs = (uint16_t)(12 + below(d, 244));
        break;
    case 1:
        r->segs = 0;
        break;
    case 2:
        wrong_segment(d, r);
        break;
    case 3:
        r->sector = wrong_sector(d);
        break;
    case 4:
        r->op = (uint8_t)(7 + below(d, 249));
        break;
    case 5:
        r->seg[below(d, r->segs)].ref = UINT32_MAX - below(d, 1000);
        break;
    case 6:
        r->op = INDIRECT;
        r->inner = (uint8_t)(2 + below(d, 254));
        break;
    case 7:
        r->op = INDIRECT;
        r->inner = (uint8_t)below(d, 2);
        r->list[0] = UINT32_MAX - below(d, 1000);
        break;
    default:
        r->op = DISCARD;
        r->sector = wrong_sector(d);
        r->count = 8 + below(d, 1000);
        break;
    }
}

static void
count(struct soaked *t, const struct answer *a)
{
    if (a->status == ERROR)
        t->error++;
    else if (a->status == EOPNOTSUPP_)
        t->unsupported++;
    else
        t->accepted++;
}

/* Full rings, all queues, and all of their answers. */
static bool
round_of(struct dev *d, uint64_t n, struct soaked *t)
{
    uint64_t end = ms_now(d) + 120000, open = 0;
    struct answer a;
    struct req r;

    for (unsigned q = 0; q < d->got.queues; q++) {
        for (unsigned i = 0; i < d->slots && open < n; i++, open++) {
            bogus(d, &r);
            put(d, q, &r);
        }
        push(d, q);
    }
    t->sent += open;
    for (;;) {
        for (unsigned q = 0; q < d->got.queues; q++) {
            while (open && take(d, q, &a)) {
                count(t, &a);
                open--;
            }
        }
        if (!open)
            return true;
        if (ms_now(d) >= end)
            break;
        d->t->wait(d, 20);
    }
    t->lost += open;
    return false;
}

bool
soak(struct dev *d, uint64_t n, struct soaked *t)
{
    memset(t, 0, sizeof(*t));
    if (reopen(d, QUEUES, ORDER, ABI_64))
        return false;
    while (t->sent < n) {
        uint64_t before = t->sent;

        if (!round_of(d, n - before, t))
            return false;
        progress("wrong requests", before, t->sent, n);
    }
    return !t->accepted;
}

/* ---- toggles ----------------------------------------------------------------
 */

void
requests_away(struct dev *d)
{
    for (unsigned i = 0; i < 8; i++) {
        struct req r = rw(d, READ, 64, 16 + i, SEGS);

        put(d, 0, &r);
    }
    push(d, 0);
}

int
toggles(struct dev *d, uint64_t n)
{
    static const char *const states[] = { "1", "3", "5", "6", "4", "1",
                                          "2", "7", "8", "9", "",  "abc" };
    int whole = 0;

    for (uint64_t i = 0; i < n; i++) {
        if (!d->t->store || i % 100 == 0) {
            if (reopen(d, 1 + below(d, QUEUES), below(d, 3), ABI_64)) {
                fprintf(stderr, "hostile: toggle %llu: refused\n",
                        (unsigned long long)i);
                return -1;
            }
            whole++;
            requests_away(d);
        } else {
            const char *s = states[below(d, i % 7 ? 5 : 12)];

            d->t->write(d, "state", s, strlen(s));
        }
        progress("toggles", i, i + 1, n);
    }
    return whole;
}
