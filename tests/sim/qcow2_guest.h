/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2_guest.h: a guest of a chain in simulated time, that has several
 * requests under way, and what each sector of its disk may hold after a power
 * failure or a kill at this moment.
 *
 * A sector is its number over and over; a number is of one write.  0 is a
 * sector where nothing was written yet, or no longer.
 */
#ifndef TESTS_SIM_QCOW2_GUEST_H
#define TESTS_SIM_QCOW2_GUEST_H

#include "chain/chain.h"
#include "host/sim.h"

enum { GUEST_WAYS = 6, GUEST_LATER = 24, GUEST_SECTORS = 1024 };
enum { GUEST_LEN = 24 << 10 };

struct guest {
    struct sim *sim;
    struct chain *chain;
    uint64_t sectors,
        cluster; /* cluster: sectors; discards are of whole ones */
    /* What is read where nothing was written; NULL: zeroes. */
    void (*blank)(uint8_t *sector, uint64_t number);
    /* Requests but flushes may fail: then what they wanted is there or not. */
    bool faulty;
    bool no_discard;
    bool garbage; /* where a write is under way there may be anything */
    uint64_t flushes, errors;

    bool working; /* what ends is followed by something else */
    uint64_t next_id, time;
    uint64_t stable[GUEST_SECTORS];
    unsigned laters[GUEST_SECTORS];
    struct guest_write {
        uint64_t id, done; /* done: a time, 0: under way */
        bool crosses;      /* it began while the one before was under way */
    } later[GUEST_SECTORS][GUEST_LATER];
    struct guest_way {
        struct guest *guest;
        struct chain_req *req;
        unsigned op;
        uint64_t first, n, id, begun;
        bool busy;
        struct iovec v;
        _Alignas(4096) uint8_t buf[GUEST_LEN];
    } way[GUEST_WAYS];
};

/* How it failed: where, with the seed; the caller's, and never comes back. */
__attribute__((noreturn, format(printf, 1, 2))) void wrong(const char *fmt,
                                                           ...);

/* Numbers of writes are 2^20 and more.  The chain is given later. */
void guest_init(struct guest *, struct sim *, uint64_t sectors,
                uint64_t cluster);
void guest_stamp(uint8_t *sector, uint64_t id);
/* All ways begin; they go on until working is false. */
void guest_work(struct guest *);
bool guest_idle(void *guest);
/* A way writes once: the first where nothing is under way, each other one some
 * of what the one before it wrote or writes.  Of two that were under way
 * together either may be the last: look before anything else is written there.
 * False: there is no such place. */
bool guest_over(struct guest *, unsigned way);
/* The program that served it is gone, with all that was under way. */
void guest_lost(struct guest *);
/* Discards are of other clusters from now on, also those that wait for their
 * turn: a layer went, with the clusters that it had. */
void guest_cluster(struct guest *, uint64_t cluster);
/* Reads all of it; what it holds now is what it may hold from now on.  killed:
 * nothing that was completed may be missing. */
void guest_look(struct guest *, bool killed);
/* All that looks have changed since is as it was. */
void guest_restore(struct guest *, const struct guest *was);

/* ---- what a person says to a layer --------------------------------------- */

enum { PERSON_TOLD = 40 };
/* A command of one to three words (NULL: no more); told: what it then says of
 * its commit.  0 or -errno. */
int person_says(struct chain *, const char *layer, const char *command,
                const char *word, const char *other, char told[PERSON_TOLD]);

#endif
