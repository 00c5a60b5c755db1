/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inflight.h: what was consumed and not yet answered, in memory that outlives
 * the process: a memfd, kept by the service manager, or a file.
 *
 * When we are killed, the slots of requests in flight may already hold other
 * requests' responses: the ring alone cannot tell what is owed to the guest.
 * Resuming at rsp_prod loses acknowledged writes, resuming at req_prod hangs
 * the guest.  Hence, in this order:
 *
 *  1. inflight_note():     the entry, then the queue's cons;
 *  2. inflight_answer():   which response it will be, before it is published;
 *  3. inflight_drop():     after it was published, whenever.
 *
 * Whoever goes on from a table drops what was published, does the others again
 * (oldest first), and consumes from cons on.  A request may so be done twice,
 * but never after a later one was acknowledged that it could undo: the guest
 * does not have its answer yet, and may not count on any order.
 *
 * Every store is in memory when the next one is: a kill takes no store back.
 */
#ifndef CHANNEL_INFLIGHT_H
#define CHANNEL_INFLIGHT_H

#include "channel/blkif.h"

struct inflight_table; /* the memory's layout; versioned, see inflight.c */

struct inflight {
    struct inflight_table *table;
    size_t size; /* bytes mapped */
    int fd;
    unsigned queues, slots, n; /* slots per queue; entries in all */
    uint32_t *spare;           /* free entries: a stack */
    unsigned spares;
};

/* A new table, empty, in p->room, or in a memfd when that is none or there is
 * no place for it.  0 or -errno. */
int inflight_make(struct inflight *, const struct chan_params *);
/* An old one: fd is dup'd.  0, or -errno with a sentence in why, when it is
 * not the table of this very connection or is damaged in any way. */
int inflight_adopt(struct inflight *, const struct chan_params *, int fd,
                   char *why, size_t why_size);
/* Whether fd is a good table of this connection's number, but of rings that
 * are not the ones that are there now. */
bool inflight_other_ring(int fd, const struct chan_params *);
/* Whether it says inflight_lossy(), also when the rest of it can't be used. */
bool inflight_was_lossy(int fd, const struct chan_params *);
void inflight_free(struct inflight *);

/* Of an adopted table, queue by queue: drops what needs no more doing, when
 * the guest's rsp_prod is rsp, and gives the entries that are to be done again
 * in list (slots of them at most), oldest first; cons is where to go on.
 * Returns their count, or -EPROTO with why: then guest and table disagree. */
int inflight_recover(struct inflight *, unsigned queue, uint32_t rsp,
                     uint32_t *cons, uint32_t *list, char *why,
                     size_t why_size);
/* What was acknowledged may be lost (or was mended); stands before whatever is
 * stored next. */
void inflight_mark(struct inflight *, bool lossy);
bool inflight_lossy(const struct inflight *);
/* The request of an entry. */
const uint8_t *inflight_raw(const struct inflight *, uint32_t entry);

/* A queue of a new table starts at cons. */
void inflight_begin(struct inflight *, unsigned queue, uint32_t cons);
/* The next request of a queue was taken; its entry. */
uint32_t inflight_note(struct inflight *, unsigned queue,
                       const uint8_t raw[BLKIF_RAW_MAX]);
void inflight_answer(struct inflight *, uint32_t entry, uint32_t rsp);
void inflight_drop(struct inflight *, uint32_t entry);

#endif
