/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file.h: what the two halves of the file plugin share: file.c opens, closes
 * and measures; file_io.c serves requests.
 */
#ifndef PLUGINS_FILE_FILE_H
#define PLUGINS_FILE_FILE_H

#include "blktap/plugin.h"

enum file_direct { FILE_DIRECT_AUTO, FILE_DIRECT_ON, FILE_DIRECT_OFF };

/* An open file.  Shared by the instances that follow each other in a live
 * change, so that the lock is held all the time; the last one closes it. */
struct file_handle {
    unsigned refs;
    struct blk_file *file;
    struct blk_file_info info;
    /* Opened without a lock, because this one holds it: ours by a ref. */
    struct file_handle *keeper;
    bool readonly; /* opened so */
    bool failed;   /* a sync failed: what was written may be lost */
    bool no_punch; /* the file system said so */
};

struct file {
    char *path; /* the options */
    uint64_t direct;
    bool lock;

    struct blk_layer *layer;
    struct file_handle *handle;
    struct blk_open open; /* of start, then of rescan */
    struct blk_timer again;
    unsigned tries;
    bool rescanning;
    bool waited;  /* pause() or stop() waits for the rescan */
    bool relimit; /* the size changed while we were paused */
    bool stopping;
    uint64_t full_ns; /* when a full disk was logged; 0: never */

    uint64_t punched, zeroed;      /* bytes */
    uint64_t split, full, retried; /* requests */
    uint64_t truncated, sync_errors;
};

enum { FILE_WINDOW = 32 };

/* Lives in the scratch of a request. */
struct file_req {
    struct blk_io io; /* first: found from it */
    struct blk_layer *layer;
    struct blk_req *req;
    uint32_t at;      /* bytes that are done */
    uint32_t v, skip; /* the same as a place in the scatter list */
    uint32_t retries;
    struct iovec window[FILE_WINDOW];
};

/* Offsets and lengths are multiples of this. */
uint32_t file_align(const struct file_handle *);
void file_submit(struct blk_layer *, struct blk_req *);

#endif
