/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* image.h: I/O on the image file, see qcow2.h. */
#ifndef PLUGINS_QCOW2_IMAGE_H
#define PLUGINS_QCOW2_IMAGE_H

#include "blktap/plugin.h"

struct qcow2;
struct q2_seal;
struct q2_sealed;

/* An open image file, shared by the instances that follow each other in a live
 * change, so that its lock is held all the time. */
struct q2_image {
    unsigned refs;
    struct blk_file *file;
    struct blk_file_info info;
    struct blk_file *data; /* guest clusters; NULL: they are in file */
    struct blk_file_info data_info;
    char *data_path;         /* where it is; ours */
    struct q2_image *keeper; /* holds the lock that we opened without */
    struct q2_seal *seal;    /* guest clusters are encrypted by it; or NULL */
    bool readonly;
    bool failed; /* a sync failed: what was written may be lost */
};

/* One I/O, done whole: a read past the end of the file gives zeroes. */
struct q2_io {
    struct blk_io io; /* first: found from it */
    struct qcow2 *s;
    void (*done)(struct q2_io *, int error);
    void *data;
    struct iovec one;
    struct iovec *v; /* eaten up as it goes */
    uint32_t n, retries;
    uint64_t at, left;
    uint64_t number;          /* of a sync */
    bool guest;               /* of guest clusters */
    struct q2_sealed *sealed; /* what is under way for it; sealed.c */
    struct q2_io *next;       /* waits for one */
};

void q2_read(struct qcow2 *, struct q2_io *, uint64_t at, void *to,
             uint64_t len);
void q2_write(struct qcow2 *, struct q2_io *, uint64_t at, const void *from,
              uint64_t len);
/* v belongs to the I/O until it is done, and is changed. */
void q2_readv(struct qcow2 *, struct q2_io *, uint64_t at, struct iovec *v,
              uint32_t n, uint64_t len);
void q2_writev(struct qcow2 *, struct q2_io *, uint64_t at, struct iovec *v,
               uint32_t n, uint64_t len);
/* The same, where guest clusters are. */
void q2_data_readv(struct qcow2 *, struct q2_io *, uint64_t at, struct iovec *v,
                   uint32_t n, uint64_t len);
void q2_data_writev(struct qcow2 *, struct q2_io *, uint64_t at,
                    struct iovec *v, uint32_t n, uint64_t len);
/* For sealed.c: n bytes more are done, or -errno. */
void q2_io_came(struct q2_io *, int64_t n);
/* Of both files. */
void q2_sync(struct qcow2 *, struct q2_io *);
/* Aligned for any file, not cleared; or NULL. */
void *q2_alloc_memory(size_t);
void q2_image_unref(struct qcow2 *, struct q2_image *);

#endif
