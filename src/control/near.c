/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * near.c: edit distance with swaps of neighbours (optimal string alignment),
 * on words that a person typed.
 */
#include "config.h"

#include "control/near.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 64 };

static unsigned
least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Steps (insert, delete, replace, swap) from a to b; both are short. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned row[3][WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b), i, j;

    if (la > WORD_MAX || lb > WORD_MAX) {
        return WORD_MAX;
    }
    for (j = 0; j <= lb; j++) {
        row[0][j] = (unsigned)j;
    }
    for (i = 1; i <= la; i++) {
        unsigned *now = row[i % 3], *last = row[(i - 1) % 3];

        now[0] = (unsigned)i;
        for (j = 1; j <= lb; j++) {
            now[j] = least(last[j] + 1, now[j - 1] + 1,
                           last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1]) {
                unsigned swap = row[(i - 2) % 3][j - 2] + 1;

                now[j] = swap < now[j] ? swap : now[j];
            }
        }
    }
    return row[la % 3][lb];
}

void
near_try(struct near *n, const char *candidate)
{
    /* A third of the word may be wrong, but not all of a short one. */
    unsigned most = (unsigned)(strlen(n->word) + 2) / 3;
    unsigned d = distance(n->word, candidate);

    if (d <= most && d < strlen(candidate) && (!n->best || d < n->distance)) {
        n->best = candidate;
        n->distance = d;
    }
}

const char *
near_hint(const struct near *near, char *to, size_t n)
{
    if (!near->best ||
        (size_t)snprintf(to, n, "; did you mean \"%s\"?", near->best) >= n) {
        return "";
    }
    return to;
}
