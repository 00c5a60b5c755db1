/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * decode.c: from the bytes of a slot to a request, for both ABIs.
 *
 * 32-bit x86 aligns 64-bit fields to 4 bytes: that is the whole difference.
 * Byte order is that of the machine, which guest and we share.
 */
#include "channel/blkif.h"

#include <string.h>

static const struct blkif_layout layout[] = {
    [CHAN_ABI_64] = { .stride = 112,
                      .id = 8,
                      .sector = 16,
                      .seg = 24,
                      .count = 24,
                      .grefs = 28 },
    [CHAN_ABI_X86_32] = { .stride = 108,
                          .id = 4,
                          .sector = 12,
                          .seg = 20,
                          .count = 20,
                          .grefs = 24 },
};

_Static_assert(sizeof(struct blkif_seg) == BLKIF_SEG_SIZE,
               "a segment is copied as it is");

const struct blkif_layout *
blkif_layout(enum chan_abi abi)
{
    return &layout[abi];
}

static uint64_t
get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint16_t
get16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

void
blkif_decode(enum chan_abi abi, const uint8_t raw[BLKIF_RAW_MAX],
             struct blkif_op *r)
{
    const struct blkif_layout *l = &layout[abi];

    memset(r, 0, sizeof(*r));
    r->op = raw[0];
    r->id = get64(raw + l->id);
    r->sector = get64(raw + l->sector);
    switch (r->op) {
    case BLKIF_DISCARD:
        r->flag = raw[1];
        r->nr_sectors = get64(raw + l->count);
        break;
    case BLKIF_INDIRECT:
        r->inner = raw[1];
        r->nsegs = get16(raw + 2);
        memcpy(r->gref, raw + l->grefs, sizeof(r->gref));
        break;
    default:
        r->nsegs = raw[1];
        memcpy(r->seg, raw + l->seg, sizeof(r->seg));
        break;
    }
}

unsigned
blkif_ring_entries(enum chan_abi abi, unsigned order)
{
    unsigned room = ((unsigned)BLKIF_PAGE << order) - BLKIF_RING_HEADER, n = 1;

    while (n * 2 * layout[abi].stride <= room)
        n *= 2;
    return n;
}
