/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* private.h: what the files of a front's data half share. */
#ifndef FRONT_PRIVATE_H
#define FRONT_PRIVATE_H

#include "front/link.h"
#include "lib/ring_client.h"

enum { FRONT_PAGE = 4096, FRONT_SECTOR = 512, NO_PAGE = 0xffff };

/* Pages that the back-end may read and write, granted once. */
struct pool {
    struct blk_lender lender; /* must be first */
    struct gate *gate;
    char *base;
    uint32_t *ref;
    uint16_t *next; /* of a request's pages */
    unsigned n, free;
    unsigned lent, reserve; /* pages; so many are not lent */
    bool shut;              /* nothing is lent any more */
    bool dropped;           /* it goes when the last lent page is back */
    uint64_t bits[FRONT_PAGES_MAX / 64]; /* set: the page is free */
};

struct front_list {
    struct front_io *head, **tail;
};

/* One ring of a connection; its slots outlive it.  Pages and port outlive the
 * connection: a back-end may take the ring that our nodes still name, until it
 * has followed us to 6 and the link asks for another. */
struct front_ring {
    struct front *front;
    void *pages;
    unsigned order;
    bool used; /* pages are granted */
    struct gate_port port;
    bool port_open;
    unsigned empty; /* events in a row that brought no answer */
    bool calmed;    /* it is masked until the timer looks */
    bool resting;   /* it is masked until something is sent */
    struct ring_client client;
    struct ring_slot *slot; /* as many as the longest ring has entries */
};

enum front_phase {
    FRONT_OPENING,
    FRONT_WAITING, /* for the back-end to come back */
    FRONT_LIVE,
    FRONT_FATAL,
    FRONT_CLOSING
};

struct front {
    struct fronts *fronts;
    struct front_conf conf;
    char path[FRONT_PATH];
    const struct front_user *user;
    void *ctx;
    enum front_phase phase;
    bool fatal; /* it was, also while it is closed */
    uint32_t domid, generation;
    struct front_info info;
    struct link *link;
    struct link_offer offer;
    struct link_close call_close;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct blk_timer connect, tick, calm;
    bool ticking;

    struct pool *pool;
    struct pool *lists;      /* pages of segments, for those that have many */
    struct ring_slot *slots; /* of all rings */
    struct ring_seg seg[FRONT_SEGMENTS_MAX];
    struct front_ring ring[FRONT_QUEUES_MAX];
    unsigned queues; /* of the last offer; the first so many rings are used */
    bool over;       /* that connection is: its events are not heard any more */
    struct front_list waiting; /* in no ring, oldest first */
    uint64_t writes, flushed;  /* acknowledged; of them, durable */
    struct front_counters counters;
};

/* pool.c */
int pool_make(struct pool **, struct gate *, uint32_t domid, unsigned pages,
              char *why, size_t n);
/* None is taken; those that are lent stay until they are back.  May be NULL. */
void pool_drop(struct pool *);
/* A chain of pages; false: not so many are free. */
bool pool_take(struct pool *, unsigned pages, uint16_t *first);
void pool_give(struct pool *, uint16_t first);

/* flow.c */
void front_fired(struct gate_port *);
/* As much as there is room for goes into the rings. */
void front_flow(struct front *);
/* All that was in the rings waits again, in front of the others. */
void front_flow_back(struct front *);
/* Everything ends with this error. */
void front_flow_end(struct front *, int error);
bool front_outstanding(const struct front *);
/* The oldest of those that are under way or wait. */
uint64_t front_oldest(const struct front *);
void front_push(struct front_list *, struct front_io *);
/* Events are believed again. */
void front_calm(struct blk_timer *);

/* front.c */
__attribute__((format(printf, 3, 4))) void
front_fatal(struct front *, int error, const char *fmt, ...);

#endif
