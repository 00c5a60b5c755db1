/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blank.c: an image with nothing in it, version 3.  Pure: numbers in, bytes
 * out; also for the daemon, which makes the image of a snapshot.
 *
 *   cluster 0      the header, its extensions, the name of the backing file
 *   cluster 1      the refcount table: one block
 *   cluster 2      that block: one for each cluster up to the end of L1
 *   cluster 3..    L1, all zeroes, which nobody has to write
 */
#include "plugins/qcow2/format.h"

#include <errno.h>
#include <string.h>

enum {
    BLANK_BITS = 16,
    BLANK_CLUSTER = 1 << BLANK_BITS,
    BLANK_REF_ORDER = 4, /* of 16 bits */
    BLANK_L1 = 3 * BLANK_CLUSTER
};

_Static_assert((int)Q2_BLANK_BYTES == (int)BLANK_L1, "all but L1");
_Static_assert(BLANK_L1 / BLANK_CLUSTER + (int)Q2_L1_MAX / BLANK_CLUSTER <=
                   BLANK_CLUSTER / 2,
               "one block counts them all");

/* Behind the header: the format of the backing file, the end of extensions,
 * the name.  0 or -ENAMETOOLONG. */
static int
blank_backing(uint8_t *p, const char *name, const char *format)
{
    size_t len = strlen(name), format_len = strlen(format);
    size_t at = Q2_V3_LEN;

    if (!len || len > Q2_NAME_MAX || format_len > 8)
        return -ENAMETOOLONG;
    q2_put32(p + at, Q2_EXT_FORMAT);
    q2_put32(p + at + 4, (uint32_t)format_len);
    memcpy(p + at + 8, format, format_len);
    at += 8 + 8 + 8; /* with its padding, and Q2_EXT_END */
    memcpy(p + at, name, len);
    q2_put64(p + Q2_AT_BACKING, at);
    q2_put32(p + Q2_AT_BACKING_LEN, (uint32_t)len);
    return 0;
}

int
q2_blank(uint8_t *p, uint64_t size, const char *backing, const char *format,
         uint64_t *length)
{
    const uint64_t reach = (uint64_t)BLANK_CLUSTER * (BLANK_CLUSTER / 8);
    const uint64_t entries = size / reach + (size % reach != 0);
    const uint64_t clusters = BLANK_L1 / BLANK_CLUSTER +
                              (entries * 8 + BLANK_CLUSTER - 1) / BLANK_CLUSTER;

    if (entries > Q2_L1_MAX / 8)
        return -EFBIG;
    memset(p, 0, Q2_BLANK_BYTES);
    q2_put32(p, Q2_MAGIC);
    q2_put32(p + Q2_AT_VERSION, 3);
    q2_put32(p + Q2_AT_CLUSTER_BITS, BLANK_BITS);
    q2_put64(p + Q2_AT_SIZE, size);
    q2_put32(p + Q2_AT_L1_ENTRIES, (uint32_t)entries);
    q2_put64(p + Q2_AT_L1, BLANK_L1);
    q2_put64(p + Q2_AT_REFTABLE, BLANK_CLUSTER);
    q2_put32(p + Q2_AT_REFTABLE_CLUSTERS, 1);
    q2_put32(p + Q2_AT_REFCOUNT_ORDER, BLANK_REF_ORDER);
    q2_put32(p + Q2_AT_HEADER_LEN, Q2_V3_LEN);
    q2_put64(p + BLANK_CLUSTER, 2 * BLANK_CLUSTER);
    for (uint64_t i = 0; i < clusters; i++)
        p[2 * BLANK_CLUSTER + 2 * i + 1] = 1;
    *length = clusters * BLANK_CLUSTER;
    return backing ? blank_backing(p, backing, format) : 0;
}

void
q2_blank_seal(uint8_t *p, const uint8_t check[Q2_CHECK])
{
    q2_put32(p + Q2_V3_LEN, Q2_EXT_SEALED);
    q2_put32(p + Q2_V3_LEN + 4, Q2_CHECK);
    memcpy(p + Q2_V3_LEN + 8, check, Q2_CHECK);
}
