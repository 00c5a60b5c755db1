/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool.c: pages that are granted to the back-end for as long as a front is
 * there: a grant per request would cost more than the copy. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/private.h"

int
pool_make(struct pool *p, struct gate *gate, uint32_t domid, unsigned pages,
          char *why, size_t n)
{
    void *base;
    int rc;

    memset(p, 0, sizeof *p);
    p->ref = calloc(pages, sizeof p->ref[0]);
    p->next = calloc(pages, sizeof p->next[0]);
    if (!p->ref || !p->next) {
        rc = -ENOMEM;
        snprintf(why, n, "no memory for %u granted pages", pages);
    } else {
        rc = gate->ops->grant(gate, domid, pages, p->ref, &base, why, n);
    }
    if (rc) {
        free(p->ref);
        free(p->next);
        memset(p, 0, sizeof *p);
        return rc;
    }
    p->base = base;
    p->n = p->free = pages;
    for (unsigned i = 0; i < pages; i++)
        p->next[i] = (uint16_t)(i + 1 < pages ? i + 1 : NO_PAGE);
    return 0;
}

void
pool_drop(struct pool *p, struct gate *gate)
{
    if (p->base)
        gate->ops->ungrant(gate, p->base, p->n);
    free(p->ref);
    free(p->next);
    memset(p, 0, sizeof *p);
}

bool
pool_take(struct pool *p, unsigned pages, uint16_t *first)
{
    uint16_t last = p->first;

    if (!pages || pages > p->free)
        return false;
    *first = p->first;
    for (unsigned i = 1; i < pages; i++)
        last = p->next[last];
    p->first = p->next[last];
    p->next[last] = NO_PAGE;
    p->free -= pages;
    return true;
}

void
pool_give(struct pool *p, uint16_t first)
{
    uint16_t last = first;

    p->free++;
    while (p->next[last] != NO_PAGE) {
        last = p->next[last];
        p->free++;
    }
    p->next[last] = p->first;
    p->first = first;
}
