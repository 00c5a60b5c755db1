/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fold.h: a commit, what the person asks for (fold_ask.c) and what is done
 * (fold.c).
 */
#ifndef PLUGINS_QCOW2_FOLD_H
#define PLUGINS_QCOW2_FOLD_H

#include "plugins/qcow2/qcow2.h"

enum q2_fold_state {
    Q2_FOLD_NONE,
    Q2_FOLD_COPYING,
    Q2_FOLD_LAST,
    Q2_FOLD_READY,
    Q2_FOLD_FAILED
};

struct q2_fold {
    struct q2_wait wait; /* first: found from it */
    struct qcow2 *s;
    enum q2_fold_state state;
    bool held;     /* a person said pause */
    bool stopped;  /* the engine did */
    bool pausing;  /* and waits for us */
    bool busy;     /* with a piece, or about to look for one */
    bool flushing; /* the layer below, the last that is done */
    bool zero;     /* the piece is zeroes, and the layer below knows those */
    bool no_zero;  /* it said that, and does not */
    char end_word[24]; /* not "": see fold_end() */
    unsigned steps, passes;

    uint64_t size;           /* of the disk */
    uint64_t passed;         /* the first pass has come so far */
    uint64_t begin, at, end; /* in work */
    uint64_t unit, units;    /* bytes that a mark is for, and how many */
    uint64_t *again;         /* a bit per unit: it is to be copied again */
    uint64_t dirty;          /* how many are set */
    uint64_t cursor;         /* the unit to look at next */
    uint64_t copied;         /* bytes that were written below */
    uint64_t sure;           /* so many batches of entries are durable */

    uint32_t piece;
    struct q2_run run;
    struct q2_lock lock;
    struct q2_fetch fetch;
    struct q2_io io;
    struct iovec v;
    uint8_t *memory;
    struct blk_timer breath;
    struct q2_queue waiters; /* guests' writes that are to be copied first */
    char why[160];           /* it failed */
};

bool q2_fold_works(const struct q2_fold *);
/* Has it look for something to do, soon. */
void q2_fold_kick(struct q2_fold *);
/* Over, or failed; what is under way still comes to its end. */
void q2_fold_stop(struct q2_fold *, enum q2_fold_state);
#endif
