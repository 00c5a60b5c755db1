/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h: what the files of this folder share: requests on their way, the
 * queues of a channel, and the sweep over all channels of a tap.
 *
 * A request, from the ring and back (struct req, on one list at a time):
 *
 *    take ──► fetch ──► ready ──► copying ──► give ──► (receiver) ──► done
 *     │      indirect     │ ▲       data of     ▲ │                    │ ▲
 *     │                   ▼ │       a WRITE     │ └ FLUSH with data: ◄─┘ │
 *     │                 waiting        │      held   then its WRITE      │
 *     │               for buffers      │    (barrier)                    │
 *     └────────► throttled ◄───────────┘                                 │
 *                    └── 1 ms ───────────────────────────────────────────┘
 *
 * done: data of a READ are copied, the response is written, and published with
 * all others of its ring.
 *
 * A queue is on one list of its sweep, too:
 *
 *    IDLE ── event ──► TURN ── taken ──► CHECK ── nothing new ──► IDLE
 *                       ▲ │                │                    (unmasked)
 *        next round     │ ├─ blocked ─► BLOCKED ◄─┐
 *                     LATER ◄─ more ───────┴─ something ended ─┘
 *
 * A channel that sends rubbish is shut for a moment: all its queues are BLOCKED
 * with their ports masked, see throttle.c (XSA-332).
 */
#ifndef CHANNEL_INTERNAL_H
#define CHANNEL_INTERNAL_H

#include "channel/blkif.h"
#include "channel/buffers.h"
#include "channel/chan.h"
#include "channel/inflight.h"
#include "channel/ring.h"
#include "channel/validate.h"

/* A segment after validation, in bytes.  As long as the guest's, so that an
 * INDIRECT request's are turned into these in place. */
struct seg {
    uint32_t gref;
    uint16_t off, len;
};

struct req {
    struct chan_io io; /* must be first */
    struct queue *queue;
    struct req *next;
    struct seg *seg; /* its slot of the channel's arena */
    uint64_t id;     /* the guest's, opaque */
    uint64_t off, len;
    uint32_t entry; /* of the in-flight table */
    uint32_t gref;  /* INDIRECT: page of segments */
    uint16_t nsegs;
    int16_t status;
    uint8_t op;                /* BLKIF_: what is meant */
    uint8_t answer;            /* BLKIF_: what the response says */
    bool write_next;           /* FLUSH with data: the flush is not done yet */
    bool given;                /* to the receiver, at least once */
    struct blk_lender *lender; /* of io.iov; NULL: the channel's buffers */
    uint32_t copy;             /* its first in the sweep's batch */
    uint32_t copies;
};

struct req_list {
    struct req *head, **tail;
};

enum queue_state { Q_IDLE, Q_TURN, Q_CHECK, Q_LATER, Q_BLOCKED };

struct queue {
    struct chan *chan;
    struct queue *next;       /* in the sweep's list of its state */
    struct queue *next_dirty; /* in the sweep's list of unpublished rings */
    enum queue_state state;
    unsigned index;
    struct ring ring;
    void *pages;
    int port;
    bool masked; /* the port fired and has to be unmasked */
    bool fresh;  /* it fired, and nothing was looked at yet */
    bool rude;   /* the last event came without a request */
    bool dirty;
    struct req *barrier;      /* consumed; nothing more until it is answered */
    bool held;                /* the barrier waits for what was before it */
    uint32_t live;            /* consumed and not answered */
    struct req_list answered; /* written, not published */
    /* Of an earlier life, to be done again first: entries of the table. */
    uint32_t *backlog;
    unsigned backlog_at, backlog_n;
};

struct chan {
    struct sweep *sweep;
    struct loop *loop;
    struct chan *next; /* of the sweep's channels */
    const struct chan_ops *ops;
    void *ctx;
    struct chan_params params;
    struct validate_params rules;
    unsigned depth, inflight, given;
    struct queue *queue;
    struct req *req, *spare;   /* all of them; a stack of free ones */
    unsigned slots, untouched; /* those from here on were never used */
    uint8_t *segs;             /* slots * seg_stride bytes */
    size_t seg_stride;
    struct buffers buffers;
    struct inflight table;
    struct req_list waiting, throttled;
    struct blk_timer throttle;
    bool throttling;
    struct blk_timer reopen; /* while shut */
    bool shut, shut_news;
    uint64_t debt_until_ns, shut_at_ns; /* see throttle.c */
    struct loop_task task;              /* tells the owner: broken, idle */
    bool closed, broken, told, draining;
    bool adopted; /* goes on from an earlier table */
    char why[200];
    void (*idle)(void *arg);
    void *idle_arg;
    uint64_t pass, call; /* the last of the sweep's that it took part in */
    struct chan_stats stats;
};

enum {
    SWEEP_COPIES = 4096, /* in one call */
    SWEEP_BUDGET = 64    /* requests of one ring in one pass */
};

struct queue_list {
    struct queue *head, **tail;
};

struct sweep {
    struct tap *tap;
    struct loop *loop;
    struct loop_task flush, again;
    struct chan *chans;
    struct queue **by_port;
    unsigned ports; /* of by_port */
    uint32_t *unmask;
    unsigned unmasks, unmask_max; /* to be; room for every queue */
    struct queue_list turn, check, later;
    struct queue *dirty;
    struct req_list fetch, ready, copying, give, done;
    struct tap_copy *copy;
    unsigned copies;
    int copy_error;      /* of the last batch as a whole */
    uint64_t pass, call; /* sweeps and batches so far */
};

/* ---- req.c: requests and their lists ------------------------------------- */

void req_list_init(struct req_list *);
void req_push(struct req_list *, struct req *);
struct req *req_pop(struct req_list *);
/* Forgets all requests of a channel that are in the list. */
void req_purge(struct req_list *, const struct chan *);
/* One must be free: inflight < slots. */
struct req *req_get(struct queue *, uint32_t entry);
void req_put(struct req *);
/* False: no memory for its data is free. */
bool req_buffer(struct req *);
void req_unbuffer(struct req *);
/* To be answered with this, now or, for what is malformed, a bit later. */
void req_refuse(struct req *, int status);
void req_answer(struct req *, int status);
void req_throttle(struct chan *);
/* The moment is over. */
void req_throttled(struct blk_timer *);

/* ---- throttle.c: what rubbish costs -------------------------------------- */

enum {
    CHARGE_REQUEST_NS = 200000,
    CHARGE_EVENT_NS = 2000000,
    CHARGE_PAGE_NS = 2000000 /* of a read for nothing */
};

/* The channel sent rubbish; it may be shut afterwards. */
void throttle_charge(struct chan *, uint64_t cost_ns);
/* Of the timer reopen. */
void throttle_reopen(struct blk_timer *);

/* ---- queue.c: one ring --------------------------------------------------- */

/* Consumes up to the budget, onto the sweep's lists; then the queue is put on
 * the list where it belongs. */
void queue_take(struct queue *);
/* Looks again, and unmasks or goes on. */
void queue_check(struct queue *);
/* Writes the response; not yet published. */
void queue_answer(struct req *);
/* That, and nothing of the request is needed any more but its entry. */
void queue_respond(struct req *);
/* Publishes what was written, tells the guest, lets go on what waited. */
void queue_publish(struct queue *);

/* ---- move.c: data ------------------------------------------------------- */

/* Segments of INDIRECT requests: fetch -> ready. */
void move_fetch(struct sweep *);
/* Buffers, and data of WRITEs: ready -> give. */
void move_in(struct sweep *);
/* Data of READs: done -> answered. */
void move_out(struct sweep *);

/* ---- sweep.c ------------------------------------------------------------- */

void sweep_kick(struct sweep *);  /* there are finished requests */
void sweep_turn(struct queue *);  /* in this round */
void sweep_later(struct queue *); /* in the next round */
void sweep_check(struct queue *);
void sweep_unmask(struct queue *);
void sweep_dirty(struct queue *);
/* Its ports are bound.  0 or -errno. */
int sweep_add_chan(struct sweep *, struct chan *);
/* Of these, nothing is on any list of the sweep any more. */
void sweep_remove_chan(struct sweep *, struct chan *);

/* ---- chan.c -------------------------------------------------------------- */

void chan_break(struct chan *, const char *why);
/* Something of it ended: what was blocked may go on, drain may be over. */
void chan_ended(struct chan *);

#endif
