/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pages.h: which data pages of a memfd are free.  One page at a time: a request
 * needs no two that are neighbours.
 */
#ifndef LIB_PAGES_H
#define LIB_PAGES_H

#include <stdint.h>

/* A stack of page numbers. */
struct pages {
    uint32_t *free; /* [0, n) */
    uint32_t n, size;
};

/* The pages first to first + count - 1; 0 or -ENOMEM. */
int pages_init(struct pages *, uint32_t first, uint32_t count);
void pages_free(struct pages *);
/* n pages into to; 0, or -EAGAIN and none. */
int pages_take(struct pages *, uint32_t *to, uint32_t n);
void pages_give(struct pages *, const uint32_t *from, uint32_t n);

#endif
