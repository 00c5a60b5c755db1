/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * null: a disk that answers at once, to measure everything above it.
 *
 * A read is filled with zeroes all the same: the buffers of requests are used
 * again and again, and hold what another request left there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "blktap/plugin.h"

#define NULL_BLOCK_MAX (64u << 10)
#define NULL_SIZE_MAX  (1ull << 60)

struct null {
    uint64_t size, sector, block; /* the options */
};

static const struct blk_option null_options[] = {
    { .name = "size",
      .type = BLK_SIZE,
      .at = offsetof(struct null, size),
      .required = true,
      .min = 512,
      .max = NULL_SIZE_MAX,
      .help = "size of the disk, a multiple of sector" },
    { .name = "sector",
      .type = BLK_SIZE,
      .at = offsetof(struct null, sector),
      .fallback = "512",
      .min = 512,
      .max = NULL_BLOCK_MAX,
      .help = "logical sector: what requests must be multiples of" },
    { .name = "block",
      .type = BLK_SIZE,
      .at = offsetof(struct null, block),
      .fallback = "4k",
      .min = 512,
      .max = NULL_BLOCK_MAX,
      .help = "physical block that the guest is told" },
    { 0 }
};

static int
null_power(const char *name, uint64_t value, char *why, size_t why_size)
{
    if (!(value & (value - 1)))
        return 0;
    snprintf(why, why_size, "%s: expected a power of two, found %" PRIu64, name,
             value);
    return -EINVAL;
}

static int
null_check(const void *self, char *why, size_t why_size)
{
    const struct null *d = self;

    if (null_power("sector", d->sector, why, why_size) ||
        null_power("block", d->block, why, why_size))
        return -EINVAL;
    if (d->block < d->sector) {
        snprintf(why, why_size,
                 "block: expected at least sector (%" PRIu64
                 "), found %" PRIu64,
                 d->sector, d->block);
        return -EINVAL;
    }
    if (d->size % d->sector) {
        snprintf(why, why_size,
                 "size: expected a multiple of sector (%" PRIu64
                 "), found %" PRIu64,
                 d->sector, d->size);
        return -EINVAL;
    }
    return 0;
}

static void
null_submit(struct blk_layer *l, struct blk_req *r)
{
    if (r->op == BLK_READ)
        blk_sg_zero(&r->sg, 0, r->len);
    blk_end(l, r, 0);
}

/* Nothing is kept, so nothing can be lost: there is nothing to flush. */
static void
null_limits(struct blk_layer *l, struct blk_limits *limits)
{
    const struct null *d = blk_self(l);

    limits->size = d->size;
    limits->align = (uint32_t)d->sector;
    limits->block = (uint32_t)d->block;
    limits->mem_align = 1;
    limits->discard_align = (uint32_t)d->block;
    limits->volatile_cache = false;
    limits->fua = true;
}

BLK_PLUGIN(null) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct null),
    .ops = BLK_ALL_OPS,
    .tail = true,
    .name = "null",
    .help = "answers at once, for measuring",
    .options = null_options,
    .check = null_check,
    .submit = null_submit,
    .limits = null_limits,
};
