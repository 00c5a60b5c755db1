/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * header.c: judges the header of an image.  Pure: bytes in, numbers or a
 * sentence out.  Nothing that a header says is used before it was judged here.
 */
#include "plugins/qcow2/format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct judge {
    const uint8_t *p;
    size_t n;
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 3, 4))) static int
refuse(const struct judge *j, int error, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(j->why, j->why_size, fmt, ap);
    va_end(ap);
    return error;
}

/* ---- refcounts ----------------------------------------------------------- */

uint64_t
q2_ref_get(const uint8_t *block, unsigned order, uint64_t i)
{
    const unsigned bits = 1u << order;
    uint64_t v = 0;

    if (bits < 8) {
        const unsigned per = 8 / bits;

        return ((unsigned)block[i / per] >> (i % per * bits)) &
               ((1u << bits) - 1);
    }
    for (unsigned b = 0; b < bits / 8; b++)
        v = v << 8 | block[i * (bits / 8) + b];
    return v;
}

void
q2_ref_set(uint8_t *block, unsigned order, uint64_t i, uint64_t v)
{
    const unsigned bits = 1u << order;

    if (bits < 8) {
        const unsigned per = 8 / bits, shift = (unsigned)(i % per) * bits;
        const unsigned mask = (1u << bits) - 1;

        block[i / per] =
            (uint8_t)(((unsigned)block[i / per] & ~(mask << shift)) |
                      ((unsigned)v & mask) << shift);
        return;
    }
    for (unsigned b = bits / 8; b-- > 0; v >>= 8)
        block[i * (bits / 8) + b] = (uint8_t)v;
}

/* ---- features ------------------------------------------------------------ */

/* The next extension behind at, or false.  *at becomes the one after it. */
static bool
extension_next(const struct judge *j, size_t end, size_t *at, uint32_t *type,
               size_t *data, uint32_t *len)
{
    if (*at > end || end - *at < 8)
        return false;
    *type = q2_get32(j->p + *at);
    *len = q2_get32(j->p + *at + 4);
    *data = *at + 8;
    if (*type == Q2_EXT_END || *len > end - *data)
        return false;
    *at = *data + ((*len + 7) & ~7u);
    return true;
}

/* Copies a name that a stranger wrote. */
static void
name_copy(char *to, size_t size, const uint8_t *from, size_t n)
{
    size_t i;

    for (i = 0; i < n && i + 1 < size && from[i]; i++)
        to[i] = from[i] < ' ' || from[i] > '~' ? '?' : (char)from[i];
    to[i] = '\0';
}

/* What the image itself calls this feature. */
static void
feature_name(const struct judge *j, const struct q2_header *h, unsigned bit,
             char *name, size_t size)
{
    size_t at = h->length, data;
    uint32_t type, len;

    snprintf(name, size, "bit %u", bit);
    while (extension_next(j, j->n, &at, &type, &data, &len)) {
        if (type != Q2_EXT_FEATURES)
            continue;
        for (size_t i = 0; i + Q2_FEATURE_LEN <= len; i += Q2_FEATURE_LEN) {
            const uint8_t *f = j->p + data + i;

            if (f[0] == 0 && f[1] == bit && f[2])
                name_copy(name, size, f + 2, Q2_FEATURE_LEN - 2);
        }
    }
}

static int
judge_features(const struct judge *j, const struct q2_header *h)
{
    const uint64_t known =
        Q2_DIRTY | Q2_CORRUPT | Q2_DATA_FILE | Q2_COMPRESSION | Q2_EXTENDED;
    uint64_t strange = h->incompatible & ~known;
    char name[64];
    unsigned bit = 0;

    if (!strange)
        return 0;
    while (!(strange >> bit & 1))
        bit++;
    feature_name(j, h, bit, name, sizeof(name));
    return refuse(j, -EOPNOTSUPP,
                  "expected only features that this version knows, found the "
                  "incompatible feature \"%s\"",
                  name);
}

/* ---- places and sizes ---------------------------------------------------- */

static int
judge_place(const struct judge *j, const struct q2_header *h, const char *what,
            uint64_t at, uint64_t bytes)
{
    const uint64_t mask = ((uint64_t)1 << h->cluster_bits) - 1;

    if ((at & mask) || at > Q2_OFFSET - bytes || (bytes && !at))
        return refuse(j, -EINVAL,
                      "expected the %s on a cluster of its own, found it at "
                      "%" PRIu64,
                      what, at);
    return 0;
}

static int
judge_tables(const struct judge *j, const struct q2_header *h)
{
    const unsigned l2_bits =
        h->cluster_bits - (h->incompatible & Q2_EXTENDED ? 4 : 3);
    const uint64_t reach = (uint64_t)1 << (h->cluster_bits + l2_bits);
    const uint64_t reftable = (uint64_t)h->reftable_clusters << h->cluster_bits;
    int error;

    if (h->l1_entries > Q2_L1_MAX / 8)
        return refuse(j, -EFBIG, "expected at most %d entries of L1, found %u",
                      Q2_L1_MAX / 8, h->l1_entries);
    if (h->size && (h->size - 1) / reach >= h->l1_entries)
        return refuse(j, -EINVAL,
                      "expected %" PRIu64 " entries of L1 for %" PRIu64
                      " bytes, found %u",
                      (h->size - 1) / reach + 1, h->size, h->l1_entries);
    if (!h->reftable_clusters || reftable > Q2_REFTABLE_MAX)
        return refuse(
            j, -EINVAL,
            "expected a refcount table of 1 to %d bytes, found %" PRIu64,
            Q2_REFTABLE_MAX, reftable);
    if (h->snapshots > Q2_SNAPSHOTS_MAX)
        return refuse(j, -EFBIG, "expected at most %d snapshots, found %u",
                      Q2_SNAPSHOTS_MAX, h->snapshots);
    error = judge_place(j, h, "L1 table", h->l1, (uint64_t)h->l1_entries * 8);
    if (!error)
        error = judge_place(j, h, "refcount table", h->reftable, reftable);
    if (!error && h->snapshots)
        error = judge_place(j, h, "snapshot table", h->snapshot_table, 1);
    return error;
}

static int
judge_version3(const struct judge *j, struct q2_header *h)
{
    h->refcount_order = 4;
    h->length = Q2_V2_LEN;
    if (h->version < 3)
        return 0;
    if (j->n < Q2_V3_LEN)
        return refuse(j, -EINVAL, "expected %d bytes of header, found %zu",
                      Q2_V3_LEN, j->n);
    h->incompatible = q2_get64(j->p + Q2_AT_INCOMPATIBLE);
    h->compatible = q2_get64(j->p + Q2_AT_COMPATIBLE);
    h->autoclear = q2_get64(j->p + Q2_AT_AUTOCLEAR);
    h->refcount_order = q2_get32(j->p + Q2_AT_REFCOUNT_ORDER);
    h->length = q2_get32(j->p + Q2_AT_HEADER_LEN);
    if (h->length < Q2_V3_LEN || h->length > j->n)
        return refuse(j, -EINVAL,
                      "expected a header of at least %d bytes within its "
                      "cluster, found a length of %u",
                      Q2_V3_LEN, h->length);
    if (h->refcount_order > 6)
        return refuse(j, -EINVAL,
                      "expected refcounts of at most 64 bits, found an order "
                      "of %u",
                      h->refcount_order);
    if (h->length > Q2_AT_COMPRESSION)
        h->compression = j->p[Q2_AT_COMPRESSION];
    if (!(h->incompatible & Q2_COMPRESSION) && h->compression)
        return refuse(j, -EINVAL,
                      "expected compression type 0 without its feature bit, "
                      "found %u",
                      h->compression);
    if (h->compression > Q2_ZSTD)
        return refuse(j, -EOPNOTSUPP,
                      "expected compression by zlib or zstd, found type %u",
                      h->compression);
    if ((h->incompatible & Q2_EXTENDED) && h->cluster_bits < 14)
        return refuse(j, -EINVAL,
                      "expected clusters of at least 16 KiB with extended L2 "
                      "entries, found %u",
                      1u << h->cluster_bits);
    return judge_features(j, h);
}

/* Its clusters are where the guest has them, so none can be there twice. */
static int
judge_data_file(const struct judge *j, struct q2_header *h, const uint8_t *name,
                uint32_t len)
{
    if (!(h->incompatible & Q2_DATA_FILE))
        return 0;
    if (len > Q2_NAME_MAX || (len && memchr(name, '\0', len)))
        return refuse(j, -EINVAL,
                      "expected a name of a data file of at most %d bytes, "
                      "without zero bytes",
                      Q2_NAME_MAX);
    memcpy(h->data_file, name, len);
    if (h->snapshots)
        return refuse(j, -EINVAL,
                      "expected no snapshots with a data file, found %u",
                      h->snapshots);
    if (h->backing[0] && (h->autoclear & Q2_RAW_DATA))
        return refuse(j, -EINVAL,
                      "expected no backing file with a raw data file, found "
                      "\"%.80s\"",
                      h->backing);
    return 0;
}

/* Names are for comparing and for sentences: they are never opened. */
static int
judge_names(const struct judge *j, struct q2_header *h)
{
    uint64_t at = q2_get64(j->p + Q2_AT_BACKING);
    uint32_t len = q2_get32(j->p + Q2_AT_BACKING_LEN);
    uint32_t type, n;
    size_t ext = h->length, data, end = j->n, name = 0;
    uint32_t name_len = 0;

    if (at) {
        if (!len || len > Q2_NAME_MAX || at > j->n || len > j->n - at)
            return refuse(j, -EINVAL,
                          "expected the name of the backing file in the first "
                          "cluster, found %u bytes at %" PRIu64,
                          len, at);
        if (memchr(j->p + at, '\0', len))
            return refuse(j, -EINVAL,
                          "expected a name of a backing file without zero "
                          "bytes");
        memcpy(h->backing, j->p + at, len);
        if (at > ext)
            end = (size_t)at;
    }
    while (extension_next(j, end, &ext, &type, &data, &n)) {
        if (type == Q2_EXT_FORMAT)
            name_copy(h->format, sizeof(h->format), j->p + data, n);
        if (type == Q2_EXT_DATA_FILE)
            name = data, name_len = n;
        if (type == Q2_EXT_SEALED && n == Q2_CHECK) {
            h->sealed = true;
            memcpy(h->check, j->p + data, Q2_CHECK);
        }
    }
    return judge_data_file(j, h, j->p + name, name_len);
}

static int
judge_start(const struct judge *j, struct q2_header *h)
{
    if (j->n < Q2_V2_LEN || q2_get32(j->p) != Q2_MAGIC)
        return refuse(j, -EINVAL, "expected a qcow2 image, found none");
    h->version = q2_get32(j->p + Q2_AT_VERSION);
    if (h->version < 2 || h->version > 3)
        return refuse(j, -EOPNOTSUPP,
                      "expected version 2 or 3 of qcow2, found %u", h->version);
    h->cluster_bits = q2_get32(j->p + Q2_AT_CLUSTER_BITS);
    if (h->cluster_bits < Q2_CLUSTER_BITS_MIN ||
        h->cluster_bits > Q2_CLUSTER_BITS_MAX)
        return refuse(j, -EINVAL,
                      "expected clusters of 512 bytes to 2 MiB, found 2 to the "
                      "power of %u",
                      h->cluster_bits);
    if (q2_get32(j->p + Q2_AT_CRYPT))
        return refuse(j, -EOPNOTSUPP,
                      "expected an image without encryption of its own, found "
                      "method %u: use a crypt layer above it",
                      q2_get32(j->p + Q2_AT_CRYPT));
    h->size = q2_get64(j->p + Q2_AT_SIZE);
    h->l1_entries = q2_get32(j->p + Q2_AT_L1_ENTRIES);
    h->l1 = q2_get64(j->p + Q2_AT_L1);
    h->reftable = q2_get64(j->p + Q2_AT_REFTABLE);
    h->reftable_clusters = q2_get32(j->p + Q2_AT_REFTABLE_CLUSTERS);
    h->snapshots = q2_get32(j->p + Q2_AT_SNAPSHOTS);
    h->snapshot_table = q2_get64(j->p + Q2_AT_SNAPSHOT_TABLE);
    if (h->size >> 56)
        return refuse(j, -EFBIG,
                      "expected a disk of less than 64 PiB, found %" PRIu64
                      " bytes",
                      h->size);
    return 0;
}

int
q2_header_parse(struct q2_header *h, const uint8_t *p, size_t n, char *why,
                size_t why_size)
{
    struct judge j = { p, n, why, why_size };
    int error;

    memset(h, 0, sizeof(*h));
    error = judge_start(&j, h);
    if (error)
        return error;
    if (j.n > (size_t)1 << h->cluster_bits)
        j.n = (size_t)1 << h->cluster_bits;
    error = judge_version3(&j, h);
    if (!error)
        error = judge_tables(&j, h);
    if (!error)
        error = judge_names(&j, h);
    return error;
}

uint32_t
q2_header_cluster(const uint8_t *p, size_t n)
{
    uint32_t bits;

    if (n < Q2_V2_LEN || q2_get32(p) != Q2_MAGIC)
        return 0;
    bits = q2_get32(p + Q2_AT_CLUSTER_BITS);
    return bits >= Q2_CLUSTER_BITS_MIN && bits <= Q2_CLUSTER_BITS_MAX
               ? (uint32_t)1 << bits
               : 0;
}
