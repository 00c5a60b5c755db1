/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * local.h: a process beside us as the front-end of a disk (app.h has its side).
 *
 * Threads: the control loop only.
 */
#ifndef DISK_LOCAL_H
#define DISK_LOCAL_H

#include "config/config.h"
#include "control/control.h"
#include "disk/disk.h"

/* Answers call: opens the disk, connects it to rings in a new memfd and hands
 * these over; or says why not.  The disk is closed when the client hangs up,
 * and the client is hung up on when the disk can't go on.
 *
 * The options, KEY=VALUE each: queues, ring-order, indirect (segments), buffers
 * (bytes of data pages), readonly (yes or no), name (of the process).  More
 * than the disk's config allows is cut down to that.
 *
 * The answer:
 *   {"size", "physical_block", "discard_granularity", "max_len", "readonly",
 *    "flush", "queues", "ring_order", "indirect", "pages"}
 * with the memfd (pages of 4 KiB: the rings, 1 << ring_order pages each, then
 * the client's to use), the eventfds towards us, and those towards the client,
 * one each per queue. */
void local_front(struct disks *, struct conf *, const struct conf_disk *,
                 struct control_call *, int argc, const char *const *argv);

#endif
