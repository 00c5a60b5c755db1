/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * info.c: what a back-end says of itself, believed as far as it makes sense.
 *
 * Source of facts: xen/io/blkif.h; `sectors` counts 512 bytes whatever
 * sector-size is, as Linux and the header since Xen 4.20 have it.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "front/link.h"

enum { SECTOR = 512, PAGE = 4096, CDROM = 1, READONLY = 4 };

/* Missing: fallback, unless that is UINT64_MAX. */
static int
number(struct store *s, const char *back, const char *leaf, uint64_t max,
       uint64_t fallback, uint64_t *out, char *why, size_t n)
{
    char found[64];
    int rc = node_number(s, 0, back, leaf, max, out, found, sizeof found);

    if (rc == -ENOENT && fallback != UINT64_MAX) {
        *out = fallback;
        return 0;
    }
    if (rc == -ENOENT)
        snprintf(why, n, "%s/%s: expected a number, found nothing", back, leaf);
    else if (rc == -EINVAL)
        snprintf(why, n, "%s/%s: expected a number up to %" PRIu64 ", found %s",
                 back, leaf, max, found);
    else if (rc)
        snprintf(why, n, "%s/%s: %s", back, leaf, strerror(-rc));
    return rc;
}

static bool
power_of_two(uint64_t x)
{
    return x && !(x & (x - 1));
}

static int
read_geometry(struct store *s, const char *back, struct front_info *info,
              char *why, size_t n)
{
    uint64_t sectors = 0, align = 0, block = 0, bits = 0;
    int rc = number(s, back, "sectors", UINT64_MAX / 2 / SECTOR, UINT64_MAX,
                    &sectors, why, n);

    if (!rc)
        rc = number(s, back, "sector-size", PAGE, UINT64_MAX, &align, why, n);
    if (!rc)
        rc = number(s, back, "info", UINT32_MAX, UINT64_MAX, &bits, why, n);
    if (!rc)
        rc = number(s, back, "physical-sector-size", 1 << 20, align, &block,
                    why, n);
    if (rc)
        return rc;
    if (!power_of_two(align) || align < SECTOR) {
        snprintf(why, n,
                 "%s/sector-size: expected a power of two from 512 to 4096, "
                 "found %" PRIu64,
                 back, align);
        return -EINVAL;
    }
    info->size = sectors * SECTOR / align * align;
    info->align = (uint32_t)align;
    info->block =
        (uint32_t)(power_of_two(block) && block >= align ? block : align);
    info->readonly = (bits & (READONLY | CDROM)) != 0;
    if (info->size)
        return 0;
    snprintf(why, n, "%s/sectors: expected a disk, found one of 0 bytes", back);
    return -EINVAL;
}

static int
read_features(struct store *s, const char *back, struct front_info *info,
              char *why, size_t n)
{
    uint64_t flush = 0, barrier = 0, discard = 0, indirect = 0, unit = 0;
    int rc =
        number(s, back, "feature-flush-cache", UINT32_MAX, 0, &flush, why, n);

    if (!rc)
        rc =
            number(s, back, "feature-barrier", UINT32_MAX, 0, &barrier, why, n);
    if (!rc)
        rc =
            number(s, back, "feature-discard", UINT32_MAX, 0, &discard, why, n);
    if (!rc)
        rc = number(s, back, "discard-granularity", UINT32_MAX, info->block,
                    &unit, why, n);
    if (!rc)
        rc = number(s, back, "feature-max-indirect-segments", UINT32_MAX, 0,
                    &indirect, why, n);
    if (rc)
        return rc;
    info->flush = flush;
    info->barrier = barrier;
    info->discard = discard && !info->readonly;
    info->discard_align =
        power_of_two(unit) && unit >= info->align && unit <= 1u << 30
            ? (uint32_t)unit
            : info->block;
    info->segments = FRONT_DIRECT_MAX;
    if (indirect > FRONT_DIRECT_MAX)
        info->segments = indirect < FRONT_SEGMENTS_MAX ? (unsigned)indirect
                                                       : FRONT_SEGMENTS_MAX;
    return 0;
}

int
info_rings(struct store *s, const char *back, struct front_info *info,
           char *why, size_t n)
{
    uint64_t order = 0, queues = 0;
    int rc =
        number(s, back, "max-ring-page-order", UINT32_MAX, 0, &order, why, n);

    if (!rc)
        rc = number(s, back, "multi-queue-max-queues", UINT32_MAX, 1, &queues,
                    why, n);
    if (rc)
        return rc;
    if (!queues) {
        snprintf(why, n,
                 "%s/multi-queue-max-queues: expected a queue at least, "
                 "found 0",
                 back);
        return -EINVAL;
    }
    info->order = order < FRONT_ORDER_MAX ? (unsigned)order : FRONT_ORDER_MAX;
    info->queues =
        queues < FRONT_QUEUES_MAX ? (unsigned)queues : FRONT_QUEUES_MAX;
    return 0;
}

int
info_read(struct store *s, const char *back, struct front_info *info, char *why,
          size_t n)
{
    int rc;

    memset(info, 0, sizeof *info);
    rc = info_rings(s, back, info, why, n);
    if (!rc)
        rc = read_geometry(s, back, info, why, n);
    if (!rc)
        rc = read_features(s, back, info, why, n);
    return rc;
}
