/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sg.c: bytes between a scatter list and memory.
 */
#include "config.h"
#include "blktap/plugin.h"

#include <string.h>

/* One contiguous part of a walk: `part` is memory of the list, `done` how far
 * the walk got. */
typedef void sg_fn(void *ctx, size_t done, void *part, size_t n);

static size_t
sg_walk(const struct blk_sg *sg, uint32_t at, size_t n, sg_fn *fn, void *ctx)
{
    uint64_t skip = (uint64_t)sg->skip + at;
    size_t done = 0;

    for (uint32_t i = 0; i < sg->n && done < n; i++) {
        size_t len = sg->v[i].iov_len;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        len -= (size_t)skip;
        if (len > n - done)
            len = n - done;
        fn(ctx, done, (char *)sg->v[i].iov_base + skip, len);
        done += len;
        skip = 0;
    }
    return done;
}

static void
part_read(void *ctx, size_t done, void *part, size_t n)
{
    memcpy((char *)ctx + done, part, n);
}

static void
part_write(void *ctx, size_t done, void *part, size_t n)
{
    memcpy(part, *(const char **)ctx + done, n);
}

static void
part_zero(void *ctx, size_t done, void *part, size_t n)
{
    (void)ctx;
    (void)done;
    memset(part, 0, n);
}

size_t
blk_sg_read(const struct blk_sg *sg, uint32_t at, void *to, size_t n)
{
    return sg_walk(sg, at, n, part_read, to);
}

size_t
blk_sg_write(const struct blk_sg *sg, uint32_t at, const void *from, size_t n)
{
    const char *bytes = from;

    return sg_walk(sg, at, n, part_write, &bytes);
}

size_t
blk_sg_zero(const struct blk_sg *sg, uint32_t at, size_t n)
{
    return sg_walk(sg, at, n, part_zero, NULL);
}
