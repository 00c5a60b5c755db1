/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring.h: one shared ring, the back-end's end of it.
 *
 * The page is opaque: its fields are touched in ring.c only.  Indices run
 * freely through 2^32; only differences mean something.
 *
 *     rsp_prod (ours)      req_cons (ours)        req_prod (the guest's)
 *        |-- in flight ------->|-- to be consumed ----->|
 *        |<------------------- at most n -------------->|
 */
#ifndef CHANNEL_RING_H
#define CHANNEL_RING_H

#include "channel/blkif.h"

struct sring;

struct ring {
    struct sring *shared;
    uint32_t n; /* slots */
    enum chan_abi abi;
    uint32_t cons;      /* next request to consume */
    uint32_t rsp;       /* next response to write */
    uint32_t published; /* rsp_prod as we stored it last */
};

/* Goes on at indices that both sides agree on; 0 and 0 for a new one. */
void ring_init(struct ring *, void *page, enum chan_abi, unsigned order,
               uint32_t cons, uint32_t rsp);
/* rsp_prod of the page, for going on after a restart: judge it. */
uint32_t ring_shared_rsp(const void *page);
uint32_t ring_shared_req(const void *page);

/* How many requests can be taken now; -EPROTO when the guest's index can't be
 * right, with the sentence in why: nothing may be taken from this ring then. */
int ring_look(struct ring *, uint32_t *avail, char *why, size_t why_size);
/* The next one, counted by ring_look(): its bytes, copied once. */
void ring_take(struct ring *, uint8_t raw[BLKIF_RAW_MAX]);
/* Asks for an event with the next request, and looks again.  As ring_look();
 * only after *avail was 0 may we sleep. */
int ring_final(struct ring *, uint32_t *avail, char *why, size_t why_size);

/* Writes one response; returns its index.  Not yet seen by the guest. */
uint32_t ring_respond(struct ring *, uint64_t id, uint8_t op, int16_t status);
/* Responses written are seen from now on; true: notify the guest. */
bool ring_publish(struct ring *);

#endif
