/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latency.h: a histogram of times, exact to 3 %.
 */
#ifndef CTL_LATENCY_H
#define CTL_LATENCY_H

#include <stdint.h>

/* Each power of two is cut into 32 parts; below 32 ns each time has its own. */
enum { LATENCY_BUCKETS = 32 * 60 };

struct latency {
    uint64_t n, sum_ns, max_ns;
    uint64_t bucket[LATENCY_BUCKETS];
};

void latency_add(struct latency *, uint64_t ns);
/* The time that the ratio p (0 to 1) of all did not exceed; 0: of none. */
uint64_t latency_at(const struct latency *, double p);
uint64_t latency_mean(const struct latency *);

#endif
