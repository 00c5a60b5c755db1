/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blkif.h: the block protocol as it lies in memory, for both ABIs, as tables
 * of offsets.  Native structs would have the padding of one compiler; a guest
 * has its own.
 *
 * A request is known here in three shapes: raw (the bytes of a slot, copied
 * once), struct blkif_op (decoded, believed in nothing), and after validate.c
 * an operation with a range in bytes.
 *
 * Source of facts: xen/io/blkif.h, xen/io/ring.h.
 */
#ifndef CHANNEL_BLKIF_H
#define CHANNEL_BLKIF_H

#include <stdint.h>

#include "channel/chan.h"

enum {
    BLKIF_READ = 0,
    BLKIF_WRITE = 1,
    BLKIF_BARRIER = 2,
    BLKIF_FLUSH = 3,
    BLKIF_DISCARD = 5,
    BLKIF_INDIRECT = 6
};

enum { BLKIF_OKAY = 0, BLKIF_ERROR = -1, BLKIF_EOPNOTSUPP = -2 };

enum { BLKIF_DISCARD_SECURE = 1 };

enum {
    BLKIF_SECTOR = 512,
    BLKIF_PAGE = 4096,
    BLKIF_PAGE_SECTORS = 8,
    BLKIF_RAW_MAX = 112, /* the longer of both slots */
    BLKIF_SEG_SIZE = 8,
    BLKIF_GREFS = 8, /* pages of segments that an INDIRECT can name */
    BLKIF_RING_HEADER = 64
};

/* Where the fields of a slot are; what is equal in both ABIs is not here: the
 * operation at 0, nr_segments at 1 (INDIRECT: at 2, of 16 bits), flag and
 * indirect_op at 1; and of a response, id at 0, operation at 8, status at
 * 10. */
struct blkif_layout {
    uint8_t stride; /* bytes from slot to slot */
    uint8_t id;
    uint8_t sector; /* sector_number, of every operation */
    uint8_t seg;    /* READ, WRITE, BARRIER, FLUSH: 11 segments */
    uint8_t count;  /* DISCARD: nr_sectors */
    uint8_t grefs;  /* INDIRECT: 8 references */
};
const struct blkif_layout *blkif_layout(enum chan_abi);

/* A segment, as it is in a slot and in an INDIRECT request's page. */
struct blkif_seg {
    uint32_t gref;
    uint8_t first, last; /* sectors in the page, inclusive */
    uint16_t pad;
};

/* A request, decoded.  No field can be trusted. */
struct blkif_op {
    uint8_t op;
    uint8_t inner;                         /* INDIRECT: the operation meant */
    uint8_t flag;                          /* DISCARD */
    uint16_t nsegs;                        /* all but DISCARD */
    uint64_t id;                           /* opaque, to be echoed */
    uint64_t sector;                       /* sector_number */
    uint64_t nr_sectors;                   /* DISCARD */
    uint32_t gref[BLKIF_GREFS];            /* INDIRECT */
    struct blkif_seg seg[CHAN_DIRECT_MAX]; /* direct ones */
};

/* From a private copy of a slot.  Never fails: any bytes are some request. */
void blkif_decode(enum chan_abi, const uint8_t raw[BLKIF_RAW_MAX],
                  struct blkif_op *);
/* Entries in a ring of 2^order pages. */
unsigned blkif_ring_entries(enum chan_abi, unsigned order);

#endif
