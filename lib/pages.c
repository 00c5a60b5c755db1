/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pages.c: a stack of free pages.  The page given back last is taken first: it
 * is the one that is in the cache, and memory that was never needed is never
 * touched.
 */
#include "config.h"

#include "pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
pages_init(struct pages *p, uint32_t first, uint32_t count)
{
    uint32_t i;

    p->free = calloc(count ? count : 1, sizeof(*p->free));
    if (!p->free) {
        return -ENOMEM;
    }
    for (i = 0; i < count; i++) {
        p->free[i] = first + count - 1 - i;
    }
    p->n = p->size = count;
    return 0;
}

void
pages_free(struct pages *p)
{
    free(p->free);
    p->free = NULL;
    p->n = p->size = 0;
}

int
pages_take(struct pages *p, uint32_t *to, uint32_t n)
{
    uint32_t i;

    if (n > p->n) {
        return -EAGAIN;
    }
    for (i = 0; i < n; i++) {
        to[i] = p->free[--p->n];
    }
    return 0;
}

void
pages_give(struct pages *p, const uint32_t *from, uint32_t n)
{
    uint32_t i;

    assert(n <= p->size - p->n);
    for (i = n; i-- > 0;) {
        p->free[p->n++] = from[i];
    }
}
