/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk_fakes.h: a channel, a chain and two loops that a test moves by hand, in
 * place of src/channel, src/chain and src/host, under src/disk.
 */
#ifndef TESTS_UNIT_DISK_FAKES_H
#define TESTS_UNIT_DISK_FAKES_H

#include "chain/chain.h"
#include "channel/chan.h"
#include "disk/disk.h"

/* What the fakes saw and what they shall do. */
struct fakes {
    struct loop control, data;
    uint64_t now;           /* ns; it goes on with each look */
    bool control_is_faster; /* it runs what it is sent at once */
    unsigned warnings;      /* in the log */
    bool log_full;          /* of what has a limit of its rate */
    /* chain */
    int new_error, reserve_error, start_error, replace_error;
    unsigned chains, chain_starts, chain_stops, chain_frees, replaces;
    struct chain_req *sent[64]; /* submitted, not ended */
    unsigned nsent;
    struct chain_map *map; /* asked for, not told */
    const struct chain_events *chain_events;
    void *chain_ctx;
    struct chain_op *held; /* a step that waits for fake_step() */
    uint64_t drain_ns;     /* of the last pause */
    bool hold_steps;
    unsigned paused, resumed;
    bool spec_readonly;
    enum conf_mode spec_mode; /* whose layers were asked for last */
    /* channel */
    int chan_error;
    unsigned chan_opens, chan_closes;
    struct chan_params params;
    const struct chan_ops *chan_ops;
    struct blk_lender lender; /* of the chain */
    void *chan_ctx;
    void (*idle)(void *);
    void *idle_arg;
    unsigned completed;
    int last_error;
    uint64_t resized;
    unsigned reserved;
    int inherit, table_fd; /* what chan_open() got; what chan_table_fd() says */
    uint64_t table_nonce;  /* of any table */
    bool lossy;            /* what the table says of the disk */
    bool lossy_at_answer;  /* what it said when a request was answered last */
};
extern struct fakes fake;

void fakes_reset(void);
/* Deliver all mail, both ways, until there is none. */
void fake_run(void);
/* Fire the timer that is started, if any; true when there was one. */
bool fake_timer(void);
/* End the oldest submitted request. */
void fake_end(int error);
/* Tell of so many bytes of the map that is asked for; and that this is all. */
void fake_map(uint64_t len, enum blk_extent);
void fake_map_end(int error);
/* End the step that is held back. */
void fake_step(int error);
/* The channel has nothing in flight any more. */
void fake_idle(void);
/* A guest's request; the struct is the caller's. */
void fake_request(struct chan_io *, enum blk_op, uint64_t off, uint64_t len);

#endif
