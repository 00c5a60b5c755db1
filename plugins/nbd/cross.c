/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cross.c: which writes that are under way write the same place.
 *
 * The list of these may be long, and almost no guest ever writes a place twice
 * at a time: so it is looked through only where a table, which counts writes by
 * the number of their pages, modulo its size, does not say that there is none.
 */
#include "plugins/nbd/nbd.h"

/* A write of more pages than that is counted as one of everywhere. */
enum { PAGE_SHIFT = 12, PAGES_MOST = 512 };

static uint64_t
page_first(const struct nbd_cmd *c)
{
    return c->off >> PAGE_SHIFT;
}

static uint64_t
page_end(const struct nbd_cmd *c)
{
    return (c->off + c->len + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT;
}

static bool
is_wide(const struct nbd_cmd *c)
{
    return page_end(c) - page_first(c) > PAGES_MOST;
}

static void
count(struct nbd *n, const struct nbd_cmd *c, int by)
{
    uint64_t i;

    if (!is_write(c->op))
        return;
    if (is_wide(c)) {
        n->cross_wide += (unsigned)by;
        return;
    }
    for (i = page_first(c); i < page_end(c); i++)
        n->cross[i % CROSS_ROOM] += (uint32_t)by;
}

void
cross_add(struct nbd *n, const struct nbd_cmd *c)
{
    count(n, c, 1);
}

void
cross_take(struct nbd *n, const struct nbd_cmd *c)
{
    count(n, c, -1);
}

static bool
may_cross(const struct nbd *n, const struct nbd_cmd *c)
{
    uint64_t i;

    if (n->cross_wide || is_wide(c))
        return true;
    for (i = page_first(c); i < page_end(c); i++)
        if (n->cross[i % CROSS_ROOM])
            return true;
    return false;
}

bool
cross_any(const struct nbd *n, const struct nbd_cmd *c)
{
    const struct nbd_cmd *f;

    if (!is_write(c->op) || !may_cross(n, c))
        return false;
    TAILQ_FOREACH(f, &n->flying, link)
    if (is_write(f->op) && f->off < c->off + c->len && c->off < f->off + f->len)
        return true;
    return false;
}
