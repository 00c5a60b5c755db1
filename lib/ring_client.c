/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring_client.c: indices, entries and answers of a blkif ring.
 *
 *      rsp_cons        rsp_prod        published       req_prod
 *  ────────┼───────────────┼───────────────┼───────────────┼────────
 *   taken  │   answered    │  the peer's   │   put, ours   │  free
 *
 * Every entry between rsp_cons and req_prod has a slot, so the ring can't be
 * overrun as long as there are no more slots than entries.
 */
#include "config.h"

#include "ring_client.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/blkif.h>

_Static_assert(sizeof(struct blkif_request) == 112,
               "the rings are of the 64-bit ABI");
_Static_assert(sizeof(struct blkif_request_indirect) <=
                   sizeof(struct blkif_request),
               "an indirect request fits into an entry");
_Static_assert((int)RING_DIRECT_MAX == BLKIF_MAX_SEGMENTS_PER_REQUEST, "");

enum { PAGE = 4096, NO_SLOT = 0xffff };

static const uint8_t wire_op[RING_OPS] = {
    [RING_READ] = BLKIF_OP_READ,
    [RING_WRITE] = BLKIF_OP_WRITE,
    [RING_BARRIER] = BLKIF_OP_WRITE_BARRIER,
    [RING_FLUSH] = BLKIF_OP_FLUSH_DISKCACHE,
    [RING_DISCARD] = BLKIF_OP_DISCARD,
};

uint32_t
ring_client_entries(unsigned order)
{
    size_t head = offsetof(struct blkif_sring, ring);
    size_t space = ((size_t)PAGE << order) - head;
    uint32_t n = (uint32_t)(space / sizeof(union blkif_sring_entry));
    uint32_t entries = 1;

    while (entries * 2 <= n) {
        entries *= 2;
    }
    return entries;
}

void
ring_client_init(struct ring_client *rc, void *pages, unsigned order,
                 struct ring_slot *slot)
{
    uint32_t i;

    memset(rc, 0, sizeof(*rc));
    memset(pages, 0, (size_t)PAGE << order);
    rc->ring = pages;
    rc->ring->req_event = 1;
    rc->ring->rsp_event = 1;
    rc->slot = slot;
    rc->entries = ring_client_entries(order);
    for (i = 0; i < rc->entries; i++) {
        slot[i].next = (uint16_t)(i + 1);
        slot[i].waits = false;
    }
    slot[rc->entries - 1].next = NO_SLOT;
}

/* ---- requests ------------------------------------------------------------ */

static int
segments_check(const struct ring_request *r, const struct ring_slot *s)
{
    unsigned i, max = s->indirect ? RING_INDIRECT_MAX : RING_DIRECT_MAX;

    if (r->op == RING_FLUSH || r->op == RING_DISCARD) {
        return r->segs ? -EINVAL : 0;
    }
    /* A barrier may carry no data, and never has a list of its own. */
    if (r->op == RING_BARRIER) {
        max = RING_DIRECT_MAX;
    } else if (!r->segs) {
        return -EINVAL;
    }
    if (r->segs > max) {
        return -EINVAL;
    }
    for (i = 0; i < r->segs; i++) {
        if (r->seg[i].first > r->seg[i].last || r->seg[i].last > 7) {
            return -EINVAL;
        }
    }
    return 0;
}

static void
segments_write(struct blkif_request_segment *to, const struct ring_request *r)
{
    unsigned i;

    for (i = 0; i < r->segs; i++) {
        to[i] = (struct blkif_request_segment){
            .gref = r->seg[i].ref,
            .first_sect = r->seg[i].first,
            .last_sect = r->seg[i].last,
        };
    }
}

static void
entry_indirect(void *entry, const struct ring_request *r, uint16_t id,
               const struct ring_slot *s)
{
    struct blkif_request_indirect *e = entry;

    segments_write(s->indirect, r);
    e->operation = BLKIF_OP_INDIRECT;
    e->indirect_op = wire_op[r->op];
    e->nr_segments = (uint16_t)r->segs;
    e->id = id;
    e->sector_number = r->sector;
    e->indirect_grefs[0] = s->indirect_ref;
}

static void
entry_discard(void *entry, const struct ring_request *r, uint16_t id)
{
    struct blkif_request_discard *e = entry;

    e->operation = BLKIF_OP_DISCARD;
    e->id = id;
    e->sector_number = r->sector;
    e->nr_sectors = r->sectors;
}

static void
entry_direct(void *entry, const struct ring_request *r, uint16_t id)
{
    struct blkif_request *e = entry;

    e->operation = wire_op[r->op];
    e->nr_segments = (uint8_t)r->segs;
    e->id = id;
    e->sector_number = r->sector;
    segments_write(e->seg, r);
}

struct ring_slot *
ring_client_next(struct ring_client *rc)
{
    return rc->first == NO_SLOT ? NULL : &rc->slot[rc->first];
}

int
ring_client_put(struct ring_client *rc, const struct ring_request *r)
{
    union blkif_sring_entry *entry;
    struct ring_slot *s;
    uint16_t id = rc->first;
    int rc_ = 0;

    if (id == NO_SLOT || rc->broken) {
        return -EAGAIN;
    }
    s = &rc->slot[id];
    rc_ = segments_check(r, s);
    if (rc_) {
        return rc_;
    }
    entry = &rc->ring->ring[rc->req_prod & (rc->entries - 1)];
    memset(entry, 0, sizeof(*entry));
    if (r->op == RING_DISCARD) {
        entry_discard(entry, r, id);
    } else if (r->segs > RING_DIRECT_MAX) {
        entry_indirect(entry, r, id, s);
    } else {
        entry_direct(entry, r, id);
    }
    rc->first = s->next;
    s->user = r->user;
    s->op = wire_op[r->op];
    s->waits = true;
    rc->used++;
    rc->req_prod++;
    return 0;
}

bool
ring_client_publish(struct ring_client *rc)
{
    uint32_t from = rc->published, event;

    if (rc->req_prod == from) {
        return false;
    }
    rc->published = rc->req_prod;
    __atomic_store_n(&rc->ring->req_prod, rc->req_prod, __ATOMIC_RELEASE);
    /* The peer sets req_event, then looks for requests; we do it the other
     * way round.  A full fence on both sides: one of us sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    event = __atomic_load_n(&rc->ring->req_event, __ATOMIC_RELAXED);
    return rc->req_prod - event < rc->req_prod - from;
}

/* ---- answers ------------------------------------------------------------- */

static int
ring_broken(struct ring_client *rc, const char *how)
{
    rc->broken = how;
    return -EPROTO;
}

static void
slot_release(struct ring_client *rc, uint16_t id, struct ring_answer *a)
{
    struct ring_slot *s = &rc->slot[id];

    a->user = s->user;
    a->slot = id;
    s->user = NULL;
    s->waits = false;
    s->next = rc->first;
    rc->first = id;
    rc->used--;
}

static int
answer_error(int16_t status)
{
    switch (status) {
    case BLKIF_RSP_OKAY:
        return 0;
    case BLKIF_RSP_EOPNOTSUPP:
        return -EOPNOTSUPP;
    default:
        return -EIO;
    }
}

int
ring_client_take(struct ring_client *rc, struct ring_answer *a)
{
    uint32_t prod = __atomic_load_n(&rc->ring->rsp_prod, __ATOMIC_ACQUIRE);
    struct blkif_response rsp;
    struct ring_slot *s;

    if (rc->broken) {
        return -EPROTO;
    }
    if (prod == rc->rsp_cons) {
        return 0;
    }
    if (prod - rc->rsp_cons > rc->published - rc->rsp_cons) {
        return ring_broken(rc, "more answers than requests");
    }
    memcpy(&rsp, &rc->ring->ring[rc->rsp_cons & (rc->entries - 1)].rsp,
           sizeof(rsp));
    /* From here on only the copy counts, whatever the peer writes now. */
    __asm__ volatile("" : "+m"(rsp));
    if (rsp.id >= rc->entries) {
        return ring_broken(rc, "an answer's id is not that of any request");
    }
    s = &rc->slot[rsp.id];
    if (!s->waits) {
        return ring_broken(rc, "an answer to a request that does not wait");
    }
    if (rsp.operation != s->op) {
        return ring_broken(rc, "an answer with another operation than asked");
    }
    rc->rsp_cons++;
    a->error = answer_error(rsp.status);
    slot_release(rc, (uint16_t)rsp.id, a);
    return 1;
}

bool
ring_client_rearm(struct ring_client *rc)
{
    __atomic_store_n(&rc->ring->rsp_event, rc->rsp_cons + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&rc->ring->rsp_prod, __ATOMIC_ACQUIRE) !=
           rc->rsp_cons;
}

bool
ring_client_cancel(struct ring_client *rc, struct ring_answer *a)
{
    uint32_t i;

    for (i = 0; i < rc->entries && rc->used; i++) {
        if (rc->slot[i].waits) {
            slot_release(rc, (uint16_t)i, a);
            a->error = -ECANCELED;
            return true;
        }
    }
    return false;
}
