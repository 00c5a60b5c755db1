/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * validate.h: may this request be done?  Pure functions of a private copy.
 */
#ifndef CHANNEL_VALIDATE_H
#define CHANNEL_VALIDATE_H

#include "channel/blkif.h"

struct validate_params {
    uint64_t size; /* bytes */
    uint32_t max_indirect;
    bool readonly, discard, barrier;
};

struct verdict {
    int status;        /* BLKIF_OKAY, or what to answer */
    uint8_t answer;    /* operation of the response: of an INDIRECT the inner */
    uint8_t op;        /* what is meant, INDIRECT resolved: BLKIF_READ ... */
    uint64_t off, len; /* bytes */
};

/* Everything that can be said without an INDIRECT request's segments.  If such
 * a one is BLKIF_OKAY here, it needs validate_segments() as well; a direct one
 * is done with. */
void validate_request(const struct blkif_op *, const struct validate_params *,
                      struct verdict *);
/* n > 0 segments at a sector; sets status, off and len only. */
void validate_segments(const struct blkif_seg *, unsigned n, uint64_t sector,
                       const struct validate_params *, struct verdict *);

#endif
