/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * share.h: what one disk, or a group of disks, may use.
 *
 * A share is a pair of buckets, for requests and for bytes.  One without a
 * group belongs to one layer; that of a group to all layers of the daemon that
 * join it, on whichever loop they are.
 *
 * Threads: any; a lock of its own, held for a few instructions and never while
 * something else is waited for.
 */
#ifndef PLUGINS_LIMIT_SHARE_H
#define PLUGINS_LIMIT_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "blktap/plugin.h"

struct share;

struct share_rates {
    uint64_t iops, bps;             /* a second; 0: no limit */
    uint64_t iops_burst, bps_burst; /* 0: what comes in a tenth of a second */
};

/* What the request that is next in a layer took, and until when it waits. */
struct share_ticket {
    bool taken;
    uint64_t requests, bytes;           /* what it costs; the caller's */
    uint64_t paid_requests, paid_bytes; /* what was taken of it */
    uint64_t due;                       /* it may go at this time, ns */
    uint64_t edition; /* of the rates that due was reckoned with */
};

/* How a share is, for show. */
struct share_view {
    struct share_rates rates; /* with the bursts in force */
};

/* group NULL: a new one; else the one of that name, made by the first who
 * comes.  NULL: no memory. */
struct share *share_join(struct blk_layer *, const char *group);
void share_leave(struct blk_layer *, const char *group, struct share *);
void share_look(struct share *, struct share_view *);

/* A member begins to work, and this is what its configuration says: it holds
 * from now on, unless that is what the last one's said, too. */
void share_configure(struct share *, const struct share_rates *, uint64_t now);
/* Those that are waiting reckon anew, each when it asks the next time. */
void share_set(struct share *, const struct share_rates *, uint64_t now);
/* The rates as they were set: bursts that were not named are 0. */
void share_get(struct share *, struct share_rates *);
/* to goes on with what is in from: none of them is a group's. */
void share_inherit(struct share *to, struct share *from, uint64_t now);

/* Takes what the ticket costs, unless that was done and nothing has changed;
 * sets due.  True: it may go now. */
bool share_ask(struct share *, struct share_ticket *, uint64_t now);

#endif
