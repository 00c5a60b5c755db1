/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring.c: the only place that reads and writes a ring page.
 *
 * Source of facts: xen/io/ring.h for the order of loads, stores and barriers;
 * XSA-39 (indices), XSA-155 (double fetch), XSA-216 (padding).
 */
#include "channel/ring.h"

#include <errno.h>
#include <stdio.h>

#include "channel/shm.h"
#include "seeded.h"

enum { REQ_PROD = 0, REQ_EVENT = 4, RSP_PROD = 8, RSP_EVENT = 12 };
enum { RSP_ID = 0, RSP_OP = 8, RSP_STATUS = 10 };

static uint8_t *
field(const struct ring *r, unsigned at)
{
    return (uint8_t *)r->shared + at;
}

static uint8_t *
slot(const struct ring *r, uint32_t index)
{
    return field(r, BLKIF_RING_HEADER) +
           (size_t)(index & (r->n - 1)) * blkif_layout(r->abi)->stride;
}

void
ring_init(struct ring *r, void *page, enum chan_abi abi, unsigned order,
          uint32_t cons, uint32_t rsp)
{
    r->shared = page;
    r->abi = abi;
    r->n = blkif_ring_entries(abi, order);
    r->cons = cons;
    r->rsp = rsp;
    r->published = rsp;
}

uint32_t
ring_shared_rsp(const void *page)
{
    return shm_load((const uint8_t *)page + RSP_PROD);
}

uint32_t
ring_shared_req(const void *page)
{
    return shm_load((const uint8_t *)page + REQ_PROD);
}

int
ring_look(struct ring *r, uint32_t *avail, char *why, size_t why_size)
{
    uint32_t prod = shm_load(field(r, REQ_PROD));
    uint32_t taken = r->cons - r->rsp, asked = prod - r->rsp;

    *avail = 0;
    /* More than there are slots; or backwards, behind what was taken. */
    if (asked > r->n || asked < taken) {
        snprintf(why, why_size,
                 "the front-end broke its ring: expected req_prod between %u "
                 "and %u, found %u",
                 r->cons, r->rsp + r->n, prod);
        return -EPROTO;
    }
    shm_rmb();
    *avail = asked - taken;
    return 0;
}

void
ring_take(struct ring *r, uint8_t raw[BLKIF_RAW_MAX])
{
    shm_copy(raw, slot(r, r->cons), blkif_layout(r->abi)->stride);
    r->cons++;
}

int
ring_final(struct ring *r, uint32_t *avail, char *why, size_t why_size)
{
    int error = ring_look(r, avail, why, why_size);

    if (error || *avail)
        return error;
    shm_store(field(r, REQ_EVENT), r->cons + 1);
    /* The guest stores req_prod, then loads req_event; we the other way round:
     * one of both sees the other's store. */
    shm_mb();
    return ring_look(r, avail, why, why_size);
}

/* Field by field: the bytes between and behind are not ours, and whatever lies
 * on our stack would be shown to the guest with them. */
uint32_t
ring_respond(struct ring *r, uint64_t id, uint8_t op, int16_t status)
{
    uint8_t *at = slot(r, r->rsp);

    if (SEEDED_REFETCHED_FIELD)
        id = shm_load(at + RSP_ID) | (uint64_t)shm_load(at + RSP_ID + 4) << 32;
    shm_store(at + RSP_ID, (uint32_t)id);
    shm_store(at + RSP_ID + 4, (uint32_t)(id >> 32));
    *(volatile uint8_t *)(at + RSP_OP) = op;
    *(volatile int16_t *)(void *)(at + RSP_STATUS) = status;
    return r->rsp++;
}

bool
ring_publish(struct ring *r)
{
    uint32_t old = r->published, event;

    if (old == r->rsp)
        return false;
    shm_wmb();
    shm_store(field(r, RSP_PROD), r->rsp);
    r->published = r->rsp;
    shm_mb();
    event = shm_load(field(r, RSP_EVENT));
    if (SEEDED_LOST_WAKE_UP)
        return event == r->rsp;
    return r->rsp - event < r->rsp - old;
}
