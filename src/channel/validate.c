/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * validate.c: the rules of the block protocol.
 *
 * The order of the questions: is the operation offered (else EOPNOTSUPP, by
 * which a front-end learns not to ask again), may this disk be changed, is the
 * request well-formed, does it lie inside of the disk.
 */
#include "channel/validate.h"

/* Never computes a sum or a product that could wrap. */
static int
in_range(uint64_t sector, uint64_t count, uint64_t size)
{
    uint64_t sectors = size / BLKIF_SECTOR;

    return sector <= sectors && count <= sectors - sector;
}

void
validate_segments(const struct blkif_seg *seg, unsigned n, uint64_t sector,
                  const struct validate_params *p, struct verdict *v)
{
    uint64_t count = 0;

    v->status = BLKIF_ERROR;
    for (unsigned i = 0; i < n; i++) {
        if (seg[i].last >= BLKIF_PAGE_SECTORS || seg[i].first > seg[i].last)
            return;
        count += (uint64_t)seg[i].last - seg[i].first + 1;
    }
    if (!in_range(sector, count, p->size))
        return;
    v->off = sector * BLKIF_SECTOR;
    v->len = count * BLKIF_SECTOR;
    v->status = BLKIF_OKAY;
}

static void
check_discard(const struct blkif_op *r, const struct validate_params *p,
              struct verdict *v)
{
    /* That nothing can be read back from the medium any more is a promise
     * that no file or layer could keep. */
    if (!p->discard || (r->flag & BLKIF_DISCARD_SECURE)) {
        v->status = BLKIF_EOPNOTSUPP;
    } else if (p->readonly || !in_range(r->sector, r->nr_sectors, p->size)) {
        v->status = BLKIF_ERROR;
    } else {
        v->off = r->sector * BLKIF_SECTOR;
        v->len = r->nr_sectors * BLKIF_SECTOR;
    }
}

static void
check_indirect(const struct blkif_op *r, const struct validate_params *p,
               struct verdict *v)
{
    v->answer = r->inner;
    v->op = r->inner;
    if (!p->max_indirect)
        v->status = BLKIF_EOPNOTSUPP;
    else if ((r->inner != BLKIF_READ && r->inner != BLKIF_WRITE) ||
             (r->inner == BLKIF_WRITE && p->readonly) || !r->nsegs ||
             r->nsegs > p->max_indirect)
        v->status = BLKIF_ERROR;
}

/* READ, WRITE, BARRIER, FLUSH.  The last two may come without data; then the
 * sector means nothing, and front-ends leave any value there. */
static void
check_direct(const struct blkif_op *r, const struct validate_params *p,
             struct verdict *v)
{
    bool may_be_empty = r->op == BLKIF_BARRIER || r->op == BLKIF_FLUSH;

    if (r->op == BLKIF_BARRIER && !p->barrier)
        v->status = BLKIF_EOPNOTSUPP;
    else if (r->nsegs > CHAN_DIRECT_MAX || (!r->nsegs && !may_be_empty) ||
             (r->nsegs && r->op != BLKIF_READ && p->readonly))
        v->status = BLKIF_ERROR;
    else if (r->nsegs)
        validate_segments(r->seg, r->nsegs, r->sector, p, v);
}

void
validate_request(const struct blkif_op *r, const struct validate_params *p,
                 struct verdict *v)
{
    v->status = BLKIF_OKAY;
    v->answer = r->op;
    v->op = r->op;
    v->off = 0;
    v->len = 0;
    switch (r->op) {
    case BLKIF_READ:
    case BLKIF_WRITE:
    case BLKIF_BARRIER:
    case BLKIF_FLUSH:
        check_direct(r, p, v);
        break;
    case BLKIF_DISCARD:
        check_discard(r, p, v);
        break;
    case BLKIF_INDIRECT:
        check_indirect(r, p, v);
        break;
    default:
        v->status = BLKIF_EOPNOTSUPP;
    }
}
