/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.h: what a front-end wrote, as parameters of a device channel.
 *
 * Every byte here is a guest's.  All is read in one transaction, so that a
 * front-end that writes on meanwhile is seen before or after, never halfway;
 * only numbers and known words are taken.  Rules: xen/io/blkif.h, and what
 * Linux blkback accepts.
 */
#ifndef XENBUS_READ_H
#define XENBUS_READ_H

#include "channel/chan.h"
#include "host/host.h"

struct front_ask {
    const char *front, *back; /* directories; back must be pointed back to */
    unsigned queues_max, order_max; /* as offered */
};

/* Fills domid-independent fields: abi, queues, order, queue[].  0; -EAGAIN:
 * the front-end keeps on changing its nodes; -EPROTO with a sentence in why:
 * this front-end can't be served; another -errno: XenStore itself. */
int front_read(struct store *, const struct front_ask *, struct chan_params *,
               char *why, size_t n);

#endif
