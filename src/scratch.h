/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scratch.h: the folder of files that live as long as the attachment of a disk
 * (blk_scratch()), and how they end.
 *
 *   ATTACHMENT,NUMBER,DISK,LAYER      a file; the first two tell whose it is
 *
 * Nobody removes a file at the end of an attachment: it may end while no daemon
 * is there.  Rather, files are sifted now and then, and those of attachments
 * that are over go.  So all that a kill anywhere leaves is gone after the next
 * start, and a file whose attachment can't be told about stays.
 *
 * Threads: control loop only; what may block is done on a worker.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <limits.h>

#include "host/host.h"

enum { SCRATCH_NAME = 160 }; /* of an attachment */

struct scratch_name; /* a file in the folder */

struct scratch {
    struct blk_work work; /* first */
    char path[256];       /* of the folder */
    char why[400];        /* there is none; "": there is */
    int dir;              /* or -1 */
    struct loop *loop;
    bool (*over)(void *ctx, const char *attachment);
    void *ctx;
    bool busy, again;
    struct blk_timer later; /* for those that were in use */
    uint64_t later_ns;
    struct scratch_name *first;
};

/* Makes the folder, or takes the one that is there; path may be "".  Before
 * privileges go: it becomes user's (may be NULL).  Without it the daemon runs,
 * too. */
void scratch_open(struct scratch *, const char *path, const char *user);
/* After privileges went.  over() says of an attachment that it is over for
 * good; it is asked on the control loop. */
void scratch_begin(struct scratch *, struct loop *control,
                   bool (*over)(void *ctx, const char *attachment), void *ctx);
/* For the data loops, as long as scratch is there. */
void scratch_lend(const struct scratch *, struct commons *);
/* Soon. */
void scratch_sift(struct scratch *);
/* Those of local front-ends go now; the loop was freed. */
void scratch_close(struct scratch *);

#endif
