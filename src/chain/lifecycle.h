/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lifecycle.h: operations (lifecycle.c) are made of phases (phases.c).
 */
#ifndef CHAIN_LIFECYCLE_H
#define CHAIN_LIFECYCLE_H

#include "chain/engine.h"

enum phase {
    PH_END,
    PH_DRAIN,
    PH_EMPTY,
    PH_PAUSE,
    PH_PLACE,
    PH_START,
    PH_COMMIT,
    PH_STOP_OLD,
    PH_LIMITS,
    PH_RESUME,
    PH_OPEN,
    PH_UNDO,
    PH_REVERT,
    PH_STOP,
    PH_SHUT
};

/* What came of a phase, or of a step of one layer. */
enum went { WENT_ON, WENT_WRONG, MUST_WAIT };

/* Goes on with a phase: begins it, or looks whether what it waits for is
 * there.  c->cursor is 0 at its beginning. */
enum went phase_run(struct chain *, enum phase);
/* The first error of an operation is the one that is told. */
void op_fail(struct chain *, int error, const char *name, const char *why);

#endif
