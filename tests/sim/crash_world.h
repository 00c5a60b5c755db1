/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crash_world.h: what the parts of the crash programs know of each other: the
 * world of a seed and its lives (qcow2_crash.c), what its media hold at first
 * (crash_media.c), all states of one moment (crash_enum.c), seeds and what is
 * counted (crash_main.c).
 */
#ifndef TESTS_SIM_CRASH_WORLD_H
#define TESTS_SIM_CRASH_WORLD_H

#include "tests/sim/log_writes.h"
#include "tests/sim/qcow2_crash.h"
#include "tests/sim/qcow2_guest.h"

enum { CRASH_FILES = 3, CRASH_BASE_BITS = 12, CRASH_RAW_MOST = 64 << 10 };

struct crash_shared {
    uint64_t states, recovering, kills, leaked, flushes, clean, errors, grown;
    uint64_t commits, folded, apart;
    int failed;
    /* All states of a moment. */
    uint64_t wanted; /* states */
    uint64_t moments, whole, prefixes, subsets, torn, backwards, garbage;
    uint64_t interrupted, deaths;
};

struct crash_world {
    uint64_t seed;
    struct sim *sim;
    const struct crash_stack *stack;
    struct image_format f;
    uint64_t snapshot;    /* a hash of what it holds */
    uint64_t base;        /* of what is below */
    bool resizes;         /* the disk becomes larger, now and then */
    uint64_t size, asked; /* the size that it has; or may have */
    bool killed; /* as it lies there now no completed write is missing */
    uint64_t moment, moment_is; /* how many there were; what this one has */
    bool commits;           /* the image is folded into what is below, too */
    bool begun;             /* that was begun: what is below may change */
    bool midway;            /* a chain is being changed for it */
    bool folded;            /* it is over: the image is no longer there */
    char told[PERSON_TOLD]; /* how far it is */
    struct blk_conf layer[8];
    unsigned n;
    struct loop *loop;
    struct chain *chain;
    struct chain_op op;
    int status; /* 1: under way */
    /* Of the image, of what is below, of its data file. */
    struct log_writes *log[CRASH_FILES];
    struct guest guest; /* last: see world_restore() */
};

extern struct crash_shared *shared;
extern struct crash_world w;

/* Opens the chain, in at most that many steps; false: it still opens. */
bool crash_open(uint64_t steps);
/* For chain_op.done: w.status is no longer 1. */
void crash_step_done(struct chain_op *, int error);
/* What the media hold; closed: after a clean end. */
void crash_judge(bool closed);

/* ---- crash_media.c ------------------------------------------------------- */

void crash_world_make(uint64_t seed, crash_pick);
/* A hash of a whole file. */
uint64_t crash_hash(const char *name);
/* What nobody wrote, in the sector at that byte. */
void crash_stamp_before(uint8_t *sector, uint64_t at);

/* ---- crash_enum.c -------------------------------------------------------- */

/* Each so many moments, 0: none; garbage: of their states those with some. */
void crash_enum_set(uint64_t every, bool garbage);
bool crash_enumerates(void);
/* After a step of the world. */
void crash_enum_look(void);
void crash_enum_print(void);

/* All lives of a seed.  record: NULL, or where its writes are logged.  commits:
 * none, if it has no commits. */
void crash_seed(uint64_t seed, crash_pick, const char *record, bool commits);

#endif
