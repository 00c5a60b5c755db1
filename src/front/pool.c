/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool.c: pages that are granted to the back-end for as long as a front is
 * there: a grant per request would cost more than the copy.
 *
 * Two kinds of users.  Requests whose data lie elsewhere take single pages, in
 * which the data are copied; they take them one request after the other, and
 * give them back with the answer.  The disk's channel borrows runs, into which
 * it copies straight from the guest; it has them from before a request is made
 * until its data are delivered, so they may wait for requests of the first
 * kind.  Hence a reserve that is never lent, with room for the longest request:
 * it keeps the first kind going whatever the others do.
 *
 * Runs are taken from below and single pages from above, both by first fit: so
 * the same pages are used again and again, which are those that the back-end
 * has mapped already, and single ones leave the runs alone.
 *
 *    0                                                      n
 *    [ lent runs ->         free          <- single pages   ]
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/private.h"

/* ---- bits ---------------------------------------------------------------- */

/* The first page from `at` on that is free (or, with flip all ones, is not);
 * n when there is none. */
static unsigned
next_page(const struct pool *p, unsigned at, uint64_t flip)
{
    while (at < p->n) {
        uint64_t v = (p->bits[at / 64] ^ flip) >> at % 64;

        if (v) {
            at += (unsigned)__builtin_ctzll(v);
            break;
        }
        at = (at / 64 + 1) * 64;
    }
    return at < p->n ? at : p->n;
}

/* The first of so many free ones in a row; n when there are none. */
static unsigned
find_run(const struct pool *p, unsigned pages)
{
    unsigned first, end;

    for (first = next_page(p, 0, 0); first < p->n;
         first = next_page(p, end, 0)) {
        end = next_page(p, first, UINT64_MAX);
        if (end - first >= pages)
            break;
    }
    return first;
}

/* One is free. */
static unsigned
last_free(const struct pool *p)
{
    unsigned w = (p->n - 1) / 64;

    while (!p->bits[w])
        w--;
    return w * 64 + 63 - (unsigned)__builtin_clzll(p->bits[w]);
}

static void
mark(struct pool *p, unsigned page, bool is_free)
{
    uint64_t bit = UINT64_C(1) << page % 64;

    assert(is_free == !(p->bits[page / 64] & bit));
    p->bits[page / 64] ^= bit;
    if (is_free)
        p->free++;
    else
        p->free--;
}

/* ---- lent runs ----------------------------------------------------------- */

static void *
lend(struct blk_lender *l, size_t len)
{
    struct pool *p = (struct pool *)(void *)l;
    unsigned pages = (unsigned)((len + FRONT_PAGE - 1) / FRONT_PAGE), first;

    if (p->shut || !pages || p->lent + pages + p->reserve > p->n)
        return NULL;
    first = find_run(p, pages);
    if (first == p->n)
        return NULL;
    for (unsigned i = 0; i < pages; i++)
        mark(p, first + i, false);
    p->lent += pages;
    return p->base + (size_t)first * FRONT_PAGE;
}

static void
take_back(struct blk_lender *l, void *addr, size_t len)
{
    struct pool *p = (struct pool *)(void *)l;
    unsigned pages = (unsigned)((len + FRONT_PAGE - 1) / FRONT_PAGE);
    size_t first = (size_t)((char *)addr - p->base) / FRONT_PAGE;

    assert(first < p->n && pages <= p->n - first && pages <= p->lent);
    for (unsigned i = 0; i < pages; i++)
        mark(p, (unsigned)first + i, true);
    p->lent -= pages;
    if (p->dropped)
        pool_drop(p);
}

/* ---- the pool ------------------------------------------------------------ */

static void
pool_free(struct pool *p)
{
    free(p->ref);
    free(p->next);
    free(p);
}

int
pool_make(struct pool **out, struct gate *gate, uint32_t domid, unsigned pages,
          char *why, size_t n)
{
    struct pool *p = calloc(1, sizeof *p);
    void *base;
    int rc;

    if (p) {
        p->ref = calloc(pages, sizeof p->ref[0]);
        p->next = calloc(pages, sizeof p->next[0]);
    }
    if (!p || !p->ref || !p->next) {
        rc = -ENOMEM;
        snprintf(why, n, "no memory for %u granted pages", pages);
    } else {
        rc = gate->ops->grant(gate, domid, pages, p->ref, &base, why, n);
    }
    if (rc) {
        if (p)
            pool_free(p);
        return rc;
    }
    p->lender.get = lend;
    p->lender.put = take_back;
    p->gate = gate;
    p->base = base;
    p->n = p->reserve = pages; /* nothing is lent yet */
    for (unsigned i = 0; i < pages; i++)
        mark(p, i, true);
    *out = p;
    return 0;
}

void
pool_drop(struct pool *p)
{
    if (!p)
        return;
    p->shut = p->dropped = true;
    if (p->lent)
        return; /* the last that comes back does it */
    p->gate->ops->ungrant(p->gate, p->base, p->n);
    pool_free(p);
}

/* ---- single pages -------------------------------------------------------- */

bool
pool_take(struct pool *p, unsigned pages, uint16_t *first)
{
    uint16_t page = NO_PAGE;

    if (!pages || pages > p->free)
        return false;
    while (pages--) {
        unsigned got = last_free(p);

        mark(p, got, false);
        p->next[got] = page;
        page = (uint16_t)got;
    }
    *first = page;
    return true;
}

void
pool_give(struct pool *p, uint16_t first)
{
    for (; first != NO_PAGE; first = p->next[first])
        mark(p, first, true);
}
