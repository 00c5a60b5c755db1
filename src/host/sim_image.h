/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_image.h: what a simulated file holds: as a reader sees it, on the medium,
 * and what lies between.
 */
#ifndef HOST_SIM_IMAGE_H
#define HOST_SIM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/sim.h"

/* Bytes; what was never written is zero. */
struct sim_image {
    uint64_t size;
    char **chunk;
    size_t chunks;
};

/* A change that a crash may undo, in part. */
struct sim_change {
    struct sim_change *next;
    enum sim_change_kind kind;
    uint64_t number, off, len; /* RESIZE: off is the size */
    char *data;                /* of a WRITE; owned */
    bool durable;              /* FUA: not this one */
};

struct sim_medium {
    struct sim_image cache, disk;
    struct sim_change *first, **last;
    uint64_t number; /* of the last change */
    struct sim_watcher *watcher;
};

void sim_medium_init(struct sim_medium *);
void sim_medium_free(struct sim_medium *);
void sim_image_read(const struct sim_image *, uint64_t off, void *, size_t len);
void sim_image_write(struct sim_image *, uint64_t off, const void *data,
                     size_t len);
void sim_image_resize(struct sim_image *, uint64_t size);

/* sim_record.c: tells whoever watches it of a change, which is now in what the
 * image has.  before: the size that the image had. */
void sim_medium_tell(struct sim_medium *, const struct sim_image *,
                     const struct sim_change *, uint64_t before);
/* All changes up to number, as they were written. */
void sim_medium_tell_all(struct sim_medium *, uint64_t number);

/* A change, made whole in the cache; takes the data. */
void sim_medium_change(struct sim_medium *, enum sim_change_kind, uint64_t off,
                       uint64_t len, char *data, bool durable);
/* The same, but each sector of it only perhaps; size does not change. */
void sim_medium_tear(struct sim *, struct sim_medium *, uint64_t off,
                     uint64_t len, char *data);
/* Changes up to number are on the medium. */
void sim_medium_sync(struct sim_medium *, uint64_t number);
/* They are there perhaps, and no later sync will care. */
void sim_medium_sync_failed(struct sim *, struct sim_medium *, uint64_t number);
/* The power fails. */
void sim_medium_crash(struct sim *, struct sim_medium *);
uint64_t sim_medium_unsynced(const struct sim_medium *);

#endif
