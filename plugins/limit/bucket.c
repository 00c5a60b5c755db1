/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/limit/bucket.h"

static const __int128 token = 1000000000;

static void
bucket_clip(struct bucket *b)
{
    const __int128 full = (__int128)b->burst * token;

    if (b->level > full)
        b->level = full;
}

static void
bucket_refill(struct bucket *b, uint64_t now)
{
    if (now <= b->at)
        return;
    b->level += (__int128)(now - b->at) * b->rate;
    b->at = now;
    bucket_clip(b);
}

void
bucket_set(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now)
{
    const uint64_t before = b->rate;

    bucket_refill(b, now);
    b->rate = rate;
    b->burst = burst;
    if (!before) {
        b->at = now;
        b->level = (__int128)burst * token;
    }
    bucket_clip(b);
}

uint64_t
bucket_take(struct bucket *b, uint64_t cost, uint64_t now)
{
    __int128 missing;

    if (!b->rate || !cost)
        return 0;
    bucket_refill(b, now);
    missing = (__int128)(cost < b->burst ? cost : b->burst) * token - b->level;
    b->level -= (__int128)cost * token;
    if (missing <= 0)
        return 0;
    missing = (missing + b->rate - 1) / b->rate;
    return missing > INT64_MAX ? INT64_MAX : (uint64_t)missing;
}

void
bucket_give(struct bucket *b, uint64_t cost)
{
    if (!b->rate)
        return;
    b->level += (__int128)cost * token;
    bucket_clip(b);
}
