/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latency.c: log-linear buckets. */
#include "config.h"

#include "ctl/latency.h"

static unsigned
bucket_of(uint64_t ns)
{
    unsigned log;

    if (ns < 32)
        return (unsigned)ns;
    log = 63 - (unsigned)__builtin_clzll(ns);
    return (log - 4) * 32 + (unsigned)(ns >> (log - 5) & 31);
}

/* The last time that is in the bucket. */
static uint64_t
bucket_end(unsigned i)
{
    unsigned log;

    if (i < 32)
        return i;
    log = i / 32 + 4;
    return ((UINT64_C(32) + i % 32 + 1) << (log - 5)) - 1;
}

void
latency_add(struct latency *l, uint64_t ns)
{
    l->n++;
    l->sum_ns += ns;
    l->max_ns = ns > l->max_ns ? ns : l->max_ns;
    l->bucket[bucket_of(ns)]++;
}

uint64_t
latency_at(const struct latency *l, double p)
{
    uint64_t below = 0;
    unsigned i;

    for (i = 0; i < LATENCY_BUCKETS; i++) {
        below += l->bucket[i];
        if (below && (double)below >= p * (double)l->n)
            return bucket_end(i) < l->max_ns ? bucket_end(i) : l->max_ns;
    }
    return l->max_ns;
}

uint64_t
latency_mean(const struct latency *l)
{
    return l->n ? l->sum_ns / l->n : 0;
}
