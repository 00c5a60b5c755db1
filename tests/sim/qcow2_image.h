/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2_image.h: a qcow2 image in memory, made and judged by the test alone:
 * of the plugin it uses the constants, and the places of counters in a block.
 */
#ifndef TESTS_SIM_QCOW2_IMAGE_H
#define TESTS_SIM_QCOW2_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image_format {
    unsigned version, cluster_bits, refcount_order;
    bool extended, snapshot;
    uint64_t size;   /* of the disk */
    unsigned filled; /* every so many guest clusters has data; 0: none */
};

/* malloc'd; *len bytes.  Sectors that are filled have stamp(sector). */
uint8_t *image_make(const struct image_format *, size_t *len,
                    void (*stamp)(uint8_t *sector, uint64_t number));

/* An image and what belongs to it, as bytes. */
struct image_bytes {
    const uint8_t *image, *data, *below; /* data: NULL where the image has it */
    size_t image_len, data_len, below_len;
};
/* What a reader of the disk gets; out has as many bytes as the image's header
 * says, of at most room.  Their number; 0: a table can't be true. */
uint64_t image_read(const struct image_bytes *, uint8_t *out, uint64_t room);

struct image_found {
    uint64_t low;  /* counters that are too low */
    uint64_t high; /* too high */
    uint64_t wrong_copied;
    bool dirty;
    uint64_t snapshot; /* a hash of all that the snapshot holds; 0: none */
    char wrong[160];   /* something that can't be; "": nothing */
};
void image_judge(const uint8_t *p, size_t len, struct image_found *);

#endif
