/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake_disk.h: disk.h without data loops.  Every step waits in a queue until
 * the test lets it end; each callback comes once, in the order of the calls.
 */
#ifndef TESTS_UNIT_FAKE_DISK_H
#define TESTS_UNIT_FAKE_DISK_H

#include "disk/disk.h"

struct fake_disks {
    bool hold; /* steps end only by fake_disk_step() */
    int open_status, connect_status;
    char open_why[200], connect_why[200];
    const char *stopped; /* it connects as a disk that failed, for this */
    bool busy;           /* disk_open() says -EBUSY at once */
    struct blk_limits limits;
    struct chan_params params;                     /* of the last connect */
    unsigned opens, connects, disconnects, closes; /* asked for */
    unsigned open_now, connected_now;              /* as it is */
    unsigned callbacks, expected;
    unsigned misuses; /* calls that make no sense in the disk's state */
    struct disk *last;
    char attachment[128]; /* what that was opened for */
    bool used;
};
extern struct fake_disks fd;

void fake_disk_reset(void);
/* Ends the oldest step; false: there is none. */
bool fake_disk_step(void);
/* All of them, unless held. */
bool fake_disk_run(void);
unsigned fake_disk_pending(void);
void fake_disk_resize(struct disk *, uint64_t size);
void fake_disk_fail(struct disk *, const char *why);
/* A person recovered it. */
void fake_disk_recover(struct disk *);

#endif
