/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plugin_qcow2_image.h: images as files, for tests of the module. */
#ifndef TESTS_UNIT_PLUGIN_QCOW2_IMAGE_H
#define TESTS_UNIT_PLUGIN_QCOW2_IMAGE_H

#include "tests/sim/qcow2_image.h"
#include "tests/unit/plugin_model.h"

enum { QCOW2_DISK = 1 << 20 }; /* bytes of each disk */

/* Clusters of 64 KiB; of 512 bytes; of 4 KiB, version 2, with data. */
extern const struct image_format qcow2_plain, qcow2_fine, qcow2_fine2;

/* Makes run_path("image"), changed at one place: so many bytes of value, of
 * which the last is the lowest.  Sectors with data have qcow2_stamp(). */
const char *qcow2_image(const struct image_format *, size_t at, uint64_t value,
                        unsigned bytes);
void qcow2_stamp(uint8_t *sector, uint64_t number);
/* A place in the file; numbers are big-endian. */
void qcow2_put(const char *path, uint64_t at, const void *data, size_t n);
void qcow2_put64(const char *path, uint64_t at, uint64_t v);
uint64_t qcow2_get64(const char *path, uint64_t at);
/* The file is a sound image; closed: and was closed cleanly, without leaks. */
void qcow2_judge(const char *path, bool closed);

#endif
