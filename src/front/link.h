/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * link.h: the half of a front that lives on the control loop: its nodes.
 *
 * What the back-end's state makes us do (own: the state that we show):
 *
 *   back-end    WALK                   ASKED   OFFERED      UP
 *   2           own 1: ask for a ring  .       .            WALK
 *               own 3, 4: say 5
 *   3           say 5                  .       .            WALK
 *   4           say 5                  .       say 4: UP    .
 *   5           say 6                  .       WALK         WALK
 *   6           say 1                  .       WALK         WALK
 *   1, others   .                      .       WALK         WALK
 *   gone        .                      .       WALK         .
 *
 * Only 4 after an offer of ours proves that the back-end has nothing left of
 * an earlier connection: it refuses to connect while it has, and then goes to
 * 5, so that the walk begins anew, after a pause.  A directory that is gone
 * means nothing while we are connected: xenstored may have lost it, and the
 * ring works without.
 *
 * The halves talk by two kinds of mail, and none of them needs memory:
 *
 *   news   link → front.  What is the case now; one is under way at a time,
 *          and comes back.  What happened meanwhile is told by the next.
 *   call   front → link.  offer: the answer to news of ASKED, once for each
 *          generation; close: the last one.
 */
#ifndef FRONT_LINK_H
#define FRONT_LINK_H

#include "front/front.h"
#include "xenbus/node.h"

enum link_phase {
    LINK_WALK,
    LINK_ASKED,
    LINK_OFFERED,
    LINK_LIVE,
    LINK_FAILED, /* until it is closed; why says it */
    LINK_CLOSED  /* the last news: the link belongs to the front */
};

struct link_news {
    struct loop_mail mail;
    struct front *front;
    struct link *link;
    enum link_phase phase;
    uint32_t generation; /* of the ring that was asked for */
    uint32_t domid;      /* of the back-end */
    enum bus_state back; /* for sentences */
    bool was_gone;       /* its directory was away since it was connected */
    struct front_info info;
    int error;
    char why[200];
};

struct link_offer {
    struct loop_mail mail;
    struct link *link;
    uint32_t generation;
    unsigned order, queues;
    struct link_queue {
        uint32_t refs[1 << FRONT_ORDER_MAX], port;
    } queue[FRONT_QUEUES_MAX];
};

struct link_close {
    struct loop_mail mail;
    struct link *link;
};

/* Data loop.  NULL: no memory.  News come to receive, on the data loop. */
struct link *link_new(struct fronts *, const char *path, struct front *,
                      void (*receive)(struct link_news *));
void link_offer(struct link *, struct link_offer *);
void link_close(struct link *, struct link_close *);
/* The receiver is done with it. */
void link_news_back(struct link_news *);
/* After news of LINK_CLOSED, in place of link_news_back(). */
void link_free(struct link *);

/* nodes.c: the rings' nodes, and state 3; 0 or -errno. */
int nodes_write(struct store *, const char *path, const struct link_offer *);

/* info.c: what the back-end's directory says.  0, or -errno with a sentence. */
int info_read(struct store *, const char *back, struct front_info *, char *why,
              size_t n);
/* Only what may be read before it is connected. */
int info_rings(struct store *, const char *back, struct front_info *, char *why,
               size_t n);

#endif
