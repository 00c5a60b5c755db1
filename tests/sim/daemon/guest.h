/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest.h: a front-end that keeps all rules: XenBus states, notifications by
 * ring.h, a stamp in every sector that it writes.  What it does is random.
 */
#ifndef TESTS_SIM_DAEMON_GUEST_H
#define TESTS_SIM_DAEMON_GUEST_H

#include "channel/blkif.h"
#include "tests/sim/daemon/record.h"
#include "tests/sim/daemon/tally.h"
#include "tests/sim/daemon/world.h"

enum {
    GUEST_PAGES = 192,
    GUEST_SEGS = 32,
    GUEST_REQUESTS = 64,
    GUEST_QUEUES = 4
};

/*
 *  START ─ back 2 ─► OFFERED ─ back 4 ─► RUNNING ─► DRAINING ─ all answered
 *    ▲                  │                                            │
 *    └── back 6 ── CLOSING ◄─────────────────────────────────────────┘
 *                       └── and detached: GONE
 */
enum guest_state {
    GUEST_START,
    GUEST_OFFERED,
    GUEST_RUNNING,
    GUEST_DRAINING,
    GUEST_CLOSING,
    GUEST_GONE
};

struct guest_request {
    bool used;
    uint8_t op; /* BLKIF_ */
    unsigned queue, segs;
    uint32_t record, flush; /* in the history */
    uint64_t sector, sectors, stamp, sent_ns, id;
    uint16_t page[GUEST_SEGS];
    uint8_t first[GUEST_SEGS], last[GUEST_SEGS];
    uint16_t list; /* INDIRECT: page of segments, or GUEST_PAGES */
};

struct guest;

struct guest_queue {
    struct guest *guest;
    uint8_t *page[1 << CHAN_ORDER_MAX]; /* not contiguous */
    uint32_t ref[1 << CHAN_ORDER_MAX], port;
    uint32_t prod, cons, n;
};

/* What is asked of a guest; set before guest_start(). */
struct guest_plan {
    unsigned queues, order; /* most */
    enum chan_abi abi;
    unsigned requests; /* in all */
    unsigned depth;    /* at a time */
    unsigned reconnects;
    bool writes, discards, flushes;
    bool fresh;  /* pages are granted for one request; else for ever */
    bool errors; /* a fault was injected that explains errors */
};

struct guest {
    struct world *world;
    struct sim *sim;
    struct guest_plan plan;
    uint32_t domid, devid;
    char disk[32], back[100], front[100];
    enum guest_state state;
    bool quit; /* no new requests */
    bool indirect, barrier, discard, leaving;
    unsigned queues, order;
    struct guest_queue queue[GUEST_QUEUES];
    uint8_t *data[GUEST_PAGES];
    uint16_t spare[GUEST_PAGES];
    unsigned spares;
    struct guest_request request[GUEST_REQUESTS];
    unsigned inflight;
    struct record record;
    uint64_t *tally; /* TALLY_COUNT, or NULL */
    uint64_t sent, answered, errors, connects;
    /* Called with each answer's latency; may be NULL. */
    void (*latency)(void *ctx, uint64_t ns);
    void *latency_ctx;
    char why[300]; /* the first violation */
};

void guest_start(struct guest *, struct world *, const struct guest_plan *,
                 uint32_t domid, uint32_t devid, const char *disk,
                 uint64_t sectors, uint64_t sectors_max);
/* Time has passed: XenBus and new requests. */
void guest_tick(struct guest *);
/* Send no more; disconnect when the back-end asks to. */
void guest_quit(struct guest *);
/* The power failed: the guest boots again, with what is on the disk. */
void guest_reboot(struct guest *);
/* It is GONE, and its disk is given to it anew. */
void guest_renew(struct guest *);
/* All that was on its disk is gone, and so is the daemon.  0, or -1 with the
 * verdict on what was before. */
int guest_disk_lost(struct guest *, char *why, size_t n);
void guest_free(struct guest *);

#endif
