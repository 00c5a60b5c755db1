/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * channel_fake.h: a guest's memory, its event channels and a loop with a clock
 * of its own, all in memory; and a front-end that writes what it is told to,
 * right or wrong.
 */
#ifndef TESTS_CHANNEL_FAKE_H
#define TESTS_CHANNEL_FAKE_H

#include "channel/blkif.h"
#include "channel/chan.h"

#ifndef FAKE_PAGES
#define FAKE_PAGES 2048 /* of the guest; reference = page number + FAKE_REF */
#endif

enum { FAKE_REF = 8, FAKE_PORTS = 32, FAKE_TIMERS = 8, FAKE_DOMID = 7 };

struct fake_page {
    bool readonly, revoked;
    bool dirty; /* we wrote to it */
};

struct fake_port {
    bool bound, masked, pending;
    uint32_t remote;
    unsigned notified;
};

struct fake {
    struct loop loop;
    struct tap tap;
    uint64_t now;
    struct blk_timer *timer[FAKE_TIMERS];
    uint64_t due[FAKE_TIMERS];
    uint8_t (*mem)[4096];
    struct fake_page page[FAKE_PAGES];
    struct fake_port port[FAKE_PORTS];
    unsigned maps, binds, copies, copy_calls, unmask_calls, buffers;
    int fail_call;  /* -errno for every copy call, or 0 */
    int fail_piece; /* this piece of the next calls fails; -1: none */
    bool fail_map, fail_bind;
    bool scramble; /* spoil what a copy has read */
};

void fake_init(struct fake *);
/* As new, with the memory that it has: only dirty pages are cleared. */
void fake_renew(struct fake *);
void fake_end(struct fake *);
uint8_t *fake_page(struct fake *, uint32_t ref);
/* The guest sends an event. */
void fake_fire(struct fake *, uint32_t remote);
/* One round; true: another is due at once. */
bool fake_round(struct fake *);
/* Rounds until the loop would sleep. */
void fake_run(struct fake *);
/* Lets time pass, and runs what is due. */
void fake_pass(struct fake *, uint64_t ns);
unsigned fake_timers(const struct fake *);
struct fake_port *fake_port(struct fake *, uint32_t remote);

/* ---- a front-end's ring -------------------------------------------------- */

struct front {
    struct fake *fake;
    enum chan_abi abi;
    unsigned order, n;
    uint32_t ref, remote; /* first ring page; event channel */
    uint8_t *page;
    uint32_t req, rsp; /* private: req_prod, rsp_cons */
};

struct front_response {
    uint64_t id;
    uint8_t op;
    int16_t status;
};

/* A ring at ref, empty, with indices at start; slots are filled with 0xa5. */
void front_init(struct front *, struct fake *, enum chan_abi, unsigned order,
                uint32_t ref, uint32_t remote, uint32_t start);
/* Fills in the channel's parameters for n rings, which are init'ed. */
void front_params(const struct front *, unsigned n, struct chan_params *);
/* The address of a slot. */
uint8_t *front_slot(const struct front *, uint32_t index);
/* Writes a request, not yet pushed. */
void front_put(struct front *, const struct blkif_op *);
/* Pushes; sends an event if the back-end asked for it (true). */
bool front_push(struct front *);
/* Any bytes of a slot; writes a request as front_put() would. */
void front_encode(enum chan_abi, const struct blkif_op *, uint8_t *raw);
bool front_get(struct front *, struct front_response *);
uint32_t front_field(const struct front *, unsigned at);
void front_set(struct front *, unsigned at, uint32_t v);

/* ---- a receiver: a disk in memory ---------------------------------------- */

enum { SINK_MAX = 1024 };

struct sink {
    uint8_t *disk;
    uint64_t size;
    uint64_t low, high; /* bytes of the disk that were written: [low, high) */
    struct chan_io *io[SINK_MAX]; /* given and not completed, by age */
    unsigned n, given;
    bool hold; /* leave them to the test */
    int error; /* to complete with */
    unsigned broken, idle;
    char why[256];
};

extern const struct chan_ops sink_ops;
void sink_init(struct sink *, uint64_t size);
/* As new; only what was written is cleared.  Nothing may be in it. */
void sink_renew(struct sink *);
void sink_end(struct sink *);
/* Does the i-th, and completes it. */
void sink_complete(struct sink *, unsigned i);
void sink_complete_all(struct sink *);
void sink_idle(void *sink);

#endif
