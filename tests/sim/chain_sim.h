/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain_sim.h: the chain simulation: one seed, one run.
 *
 *   chain_sim.c    the run: which chain, what happens to it, when it is over
 *   chain_guest.c  the guest, and what it knows must be on the disk
 *   chain_disk.c   the tail: a disk that fails, reorders, forgets
 *   chain_layers.c the layers between them
 */
#ifndef TESTS_SIM_CHAIN_SIM_H
#define TESTS_SIM_CHAIN_SIM_H

#include "chain/chain.h"
#include "tests/sim/chain_loop.h"

enum {
    UNIT = 256, /* bytes that the guest's knowledge is about */
    DISK_MAX = 96 << 10,
    DISK_MIN = 64 << 10,
    SHIFT = 4096, /* of the remapper */
    UNITS = DISK_MAX / UNIT,
    REQ_MAX = 8 << 10,
    SLOTS = 12,
    SLOT_MEMORY = 24 << 10
};

struct sim {
    struct chain_loop loop;
    uint64_t seed;
    struct chain *chain;
    bool xored, remapped; /* the chain has such a layer, for good */
    bool moved_first;     /* the remapper is above the other */
    bool crashed;         /* the disk is dead until the chain was paused */
    bool ending;          /* the guest submits no more */
    unsigned depth;       /* of callbacks: never more than 1 */
    uint64_t digest;
    /* what was done, over all seeds */
    uint64_t requests, failed, compared, pauses, replaced, refused, relimits,
        crashes, repairs, splits, waits, retries, scrubs;
};
extern struct sim sim;

/* chain_sim.c */
__attribute__((noreturn, format(printf, 1, 2))) void sim_fail(const char *fmt,
                                                              ...);
uint64_t sim_random(uint64_t below);
bool sim_chance(unsigned percent);
void sim_digest(uint64_t);
/* Around every callback of a plugin. */
void sim_enter(void);
void sim_leave(void);

/* chain_guest.c */
void guest_reset(void);
void guest_step(void); /* submits a few */
bool guest_idle(void);
void guest_crash(void);
void guest_check_all(void); /* reads everything; call until guest_idle() */
bool guest_swept(void);
/* What the guest sent into the memory at addr: false: not the guest's. */
bool guest_at(const void *addr, unsigned *op, uint64_t *off);

/* chain_disk.c */
void disk_reset(void);
void disk_crash(void);
void disk_revive(void);
void disk_change(void); /* other limits */
extern const struct blk_plugin sim_disk;

/* chain_layers.c */
uint8_t xor_key(uint64_t off);
extern const struct blk_plugin sim_watch, sim_echo, sim_split, sim_retry,
    sim_hold, sim_remap, sim_xor, sim_scrub, sim_bad;

#endif
