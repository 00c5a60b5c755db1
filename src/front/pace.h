/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pace.h: how often a link looks at what its back-end writes.  A look costs us
 * a dozen calls to XenStore, and a write costs the back-end one.
 *
 * Threads: the control loop's.  Its owner owns the memory, and stops it before
 * that goes.
 */
#ifndef FRONT_PACE_H
#define FRONT_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "host/host.h"

struct pace {
    struct loop *loop;
    bool (*look)(void *); /* false: the owner may be gone with all this */
    void *data;
    unsigned looks; /* with no pause between them */
    uint64_t at;    /* the end of the last one */
    bool put_off;   /* a look: `late` runs */
    struct blk_timer late;
};

void pace_init(struct pace *, struct loop *, bool (*look)(void *), void *data);
/* It wrote: look now, or after a pause.  One look is put off at most, and
 * covers all that is written until then: a look reads what is the case. */
void pace_written(struct pace *);
/* What was put off is not done.  look() may call this. */
void pace_stop(struct pace *);

#endif
