/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bucket.h: a token bucket, exact to the nanosecond.
 *
 * rate tokens come in a second, one by one and in parts, until there are burst
 * of them.  Whoever wants to go takes what he costs at once, also when that
 * leaves a debt, and is told how long to wait for it: so those who come later
 * line up behind, and nobody is overtaken by somebody who costs less.
 *
 * What costs more than burst waits until the bucket is full.  So within any
 * time t at most burst + rate * t goes, and what one such request is larger
 * than burst.
 *
 * Tokens are counted in parts of 10^-9, as many as come in a nanosecond at a
 * rate of 1; nothing is rounded but the wait, up.
 */
#ifndef PLUGINS_LIMIT_BUCKET_H
#define PLUGINS_LIMIT_BUCKET_H

#include <stdint.h>

/* Largest rate, burst and cost: products of them stay far from overflow. */
#define BUCKET_MAX (1ull << 50)

struct bucket {
    uint64_t rate;  /* tokens a second; 0: no limit */
    uint64_t burst; /* at least 1, unless rate is 0 */
    uint64_t at;    /* when level was right, ns */
    __int128 level; /* parts of a token; below 0: a debt */
};

/* From now on.  One that had no limit begins full; else what is in it stays,
 * as far as it has room. */
void bucket_set(struct bucket *, uint64_t rate, uint64_t burst, uint64_t now);
/* How long to wait, ns; 0: go, as whoever costs nothing always may.  now may go
 * back a little between callers with clocks of their own; nothing comes in
 * then. */
uint64_t bucket_take(struct bucket *, uint64_t cost, uint64_t now);
/* What was taken and is not needed after all. */
void bucket_give(struct bucket *, uint64_t cost);

#endif
