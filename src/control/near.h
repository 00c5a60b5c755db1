/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * near.h: the word that was probably meant.
 */
#ifndef CONTROL_NEAR_H
#define CONTROL_NEAR_H

#include <stddef.h>

/* The best of the words that are shown to it, one after the other; of equal
 * ones the first.  Start with zeroes but for word. */
struct near {
    const char *word; /* as typed */
    const char *best; /* NULL: nothing is near enough */
    unsigned distance;
};
void near_try(struct near *, const char *candidate);
/* "; did you mean \"best\"?" or "". */
const char *near_hint(const struct near *, char *to, size_t n);

#endif
