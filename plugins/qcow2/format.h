/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * format.h: what a qcow2 image looks like on its medium (QEMU's
 * docs/interop/qcow2, versions 2 and 3).  All numbers are big-endian.
 *
 *   cluster 0   the header, its extensions, the name of a backing file
 *   L1 table    one entry per L2 table: its place
 *   L2 table    one cluster; one entry per guest cluster: its place and state
 *   refcounts   a table of blocks, each one cluster of counters, one for each
 *               cluster of the file; 0: it is free
 */
#ifndef PLUGINS_QCOW2_FORMAT_H
#define PLUGINS_QCOW2_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define Q2_MAGIC 0x514649fbu

/* Where in the header. */
enum q2_at {
    Q2_AT_VERSION = 4,
    Q2_AT_BACKING = 8,
    Q2_AT_BACKING_LEN = 16,
    Q2_AT_CLUSTER_BITS = 20,
    Q2_AT_SIZE = 24,
    Q2_AT_CRYPT = 32,
    Q2_AT_L1_ENTRIES = 36,
    Q2_AT_L1 = 40,
    Q2_AT_REFTABLE = 48,
    Q2_AT_REFTABLE_CLUSTERS = 56,
    Q2_AT_SNAPSHOTS = 60,
    Q2_AT_SNAPSHOT_TABLE = 64,
    Q2_V2_LEN = 72,
    Q2_AT_INCOMPATIBLE = 72,
    Q2_AT_COMPATIBLE = 80,
    Q2_AT_AUTOCLEAR = 88,
    Q2_AT_REFCOUNT_ORDER = 96,
    Q2_AT_HEADER_LEN = 100,
    Q2_V3_LEN = 104,
    Q2_AT_COMPRESSION = 104
};

enum q2_incompatible {
    Q2_DIRTY = 1,       /* refcounts may be wrong */
    Q2_CORRUPT = 2,     /* not to be written */
    Q2_DATA_FILE = 4,   /* guest clusters are in another file */
    Q2_COMPRESSION = 8, /* the byte at Q2_AT_COMPRESSION counts */
    Q2_EXTENDED = 16    /* L2 entries with subclusters */
};

/* Void when somebody writes who does not know them. */
enum q2_autoclear { Q2_RAW_DATA = 2 /* the data file is the disk, raw */ };

/* Header extensions. */
#define Q2_EXT_END       0u
#define Q2_EXT_FORMAT    0xe2792acau /* of the backing file */
#define Q2_EXT_FEATURES  0x6803f857u
#define Q2_EXT_DATA_FILE 0x44415441u /* its name */
#define Q2_EXT_SEALED    0x626b7431u /* ours: see sealed.h */
enum { Q2_FEATURE_LEN = 48 };        /* type, bit, and 46 bytes of name */
enum { Q2_CHECK = 16 };              /* bytes of Q2_EXT_SEALED */

enum {
    Q2_CLUSTER_BITS_MIN = 9,
    Q2_CLUSTER_BITS_MAX = 21,
    Q2_NAME_MAX = 1023,
    Q2_L1_MAX = 32 << 20,      /* bytes */
    Q2_REFTABLE_MAX = 8 << 20, /* bytes, when it is opened */
    Q2_SNAPSHOTS_MAX = 65536,
    Q2_SUBCLUSTERS = 32 /* of a cluster with extended entries */
};
#define Q2_SIZE_MAX (((uint64_t)1 << 56) - 512) /* of a disk */

/* Entries of L1 and L2. */
#define Q2_COPIED ((uint64_t)1 << 63) /* its refcount is one; it is there */
#define Q2_PACKED ((uint64_t)1 << 62) /* compressed */
#define Q2_ZERO   ((uint64_t)1)       /* L2 of version 3, not extended */
#define Q2_OFFSET UINT64_C(0x00fffffffffffe00)
/* Entries of the table of refcount blocks. */
#define Q2_REF_OFFSET UINT64_C(0xfffffffffffffe00)
/* The second half of an extended L2 entry: a bit per subcluster. */
#define Q2_SUB_DATA UINT64_C(0x00000000ffffffff)
#define Q2_SUB_ZERO UINT64_C(0xffffffff00000000)

/* What a guest cluster, or a subcluster of it, is. */
enum q2_kind { Q2_IS_NONE, Q2_IS_ZERO, Q2_IS_DATA, Q2_IS_PACKED };

static inline uint32_t
q2_get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static inline uint64_t
q2_get64(const uint8_t *p)
{
    return (uint64_t)q2_get32(p) << 32 | q2_get32(p + 4);
}

static inline void
q2_put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static inline void
q2_put64(uint8_t *p, uint64_t v)
{
    q2_put32(p, (uint32_t)(v >> 32));
    q2_put32(p + 4, (uint32_t)v);
}

/* Refcounts of 1 << order bits, the i-th in a block. */
uint64_t q2_ref_get(const uint8_t *block, unsigned order, uint64_t i);
void q2_ref_set(uint8_t *block, unsigned order, uint64_t i, uint64_t v);

/* A header, judged: all in it is within its bounds. */
struct q2_header {
    uint32_t version, cluster_bits, l1_entries, reftable_clusters;
    uint32_t refcount_order, length, snapshots, compression;
    uint64_t size, l1, reftable, snapshot_table;
    uint64_t incompatible, compatible, autoclear;
    char backing[Q2_NAME_MAX + 1];   /* "": none */
    char format[32];                 /* of it; "": not said */
    char data_file[Q2_NAME_MAX + 1]; /* "": it names none */
    bool sealed;                     /* guest clusters are encrypted by us */
    uint8_t check[Q2_CHECK];         /* of the key for that */
};

enum { Q2_ZLIB, Q2_ZSTD };

/* p: the first n bytes of the file, a cluster or the whole file if it is
 * shorter.  0, or -errno and a sentence without the name of the file. */
int q2_header_parse(struct q2_header *, const uint8_t *p, size_t n, char *why,
                    size_t why_size);
/* As little as tells the size of a cluster; 0: no qcow2 image. */
uint32_t q2_header_cluster(const uint8_t *p, size_t n);

/* p: the first bytes of an image for a disk of size bytes with nothing in it:
 * the rest, up to length, is zeroes.  backing: the name and the format ("raw",
 * "qcow2") of what is below, for other programs; NULL: none is named.  0,
 * -EFBIG, or -ENAMETOOLONG. */
enum { Q2_BLANK_BYTES = 3 << 16 };
int q2_blank(uint8_t *p, uint64_t size, const char *backing, const char *format,
             uint64_t *length);
/* An image without a backing file gets this extension. */
void q2_blank_seal(uint8_t *p, const uint8_t check[Q2_CHECK]);

#endif
