/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2_crash.h: power failures and kills at any moment of a disk's life in a
 * chain that has a qcow2 image, also while it is being opened after one.  What
 * was not synced survives or not, sector by sector.
 *
 * After each:
 *   - the image as it lies there has no counter that is too low, and nothing
 *     in it points to nowhere;
 *   - the chain opens, without anybody's help;
 *   - each sector holds what the last completed flush covered, or a later
 *     write; after a kill, what was last completed, or a later write;
 *   - what is below the image is what it was, to the byte, as long as no
 *     commit was begun; when one is at its end, and written down, the rest
 * holds of what was below alone;
 *   - after a clean end all counters are exact, and the mark is gone;
 *   - its size is what the guest was told, or, while it becomes larger, what it
 *     will be told.
 *
 * In every third world reads and writes of the image also fail, are torn or
 * come short, at any step: then what a request that failed wanted may be there
 * or not, and an end is clean or leaves the mark; the rest holds as ever.
 *
 *     PROGRAM [--seed N] [--states N] [--record FILE] [--enumerate N]
 *             [--commits 1] [--garbage 1]
 *
 * With --commits only seeds with commits are lived through.  With --enumerate
 * each Nth moment of each life is left in every way that it could be
 * (crash_enum.c), with --garbage in those where a sector under way holds
 * anything; else in one way, once.
 *
 * With --record all that the seed's media were told is logged, in the format
 * of log_writes.h: the image's in FILE, what is below in FILE.base, a data
 * file's in FILE.data.
 */
#ifndef TESTS_SIM_QCOW2_CRASH_H
#define TESTS_SIM_QCOW2_CRASH_H

#include "chain/chain.h"
#include "tests/sim/qcow2_image.h"

struct sim;

/* Sector s of what is below is stamped with s and this. */
enum { CRASH_BASE = 1000000 };

/* The image is /image, what is below is in /base; a data file is /data. */
struct crash_stack {
    const char *name;
    const struct blk_conf *layer;
    unsigned n;
    enum { CRASH_NO_BASE, CRASH_RAW, CRASH_QCOW2 } base;
    /* How what the guest reads lies in /image and in /base, and what it reads
     * where nothing was written; NULL: as it is, and zeroes. */
    void (*seal)(uint8_t *sector, uint64_t number);
    void (*seal_base)(uint8_t *sector, uint64_t number);
    void (*blank)(uint8_t *sector, uint64_t number);
    bool apart;   /* the image's data are in /data */
    bool coarse;  /* garbage in a sector of 512 harms its neighbours */
    uint32_t raw; /* not 0: /image is the disk, behind that many bytes */
};

/* Chooses a stack for a world. Version 2 can't be over something. */
typedef const struct crash_stack *(*crash_pick)(struct sim *,
                                                const struct image_format *);

int crash_main(int argc, char **argv, crash_pick);

#endif
