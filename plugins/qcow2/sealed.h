/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sealed.h: guest clusters of an ephemeral image, encrypted by AES-256-XTS with
 * a key that is kept for the attachment and nowhere else (blk_keep()).
 *
 * A sector's number is its place in the file.  Tables are as in any image: they
 * tell which clusters are in use, as the file's holes would anyway.  So each
 * sector of a cluster that is in use was written, and none is a hole.  The
 * header has a check of the key: 16 bytes that it makes of zeroes.
 */
#ifndef PLUGINS_QCOW2_SEALED_H
#define PLUGINS_QCOW2_SEALED_H

#include <stdbool.h>
#include <stddef.h>

#include "plugins/qcow2/image.h"

/* 0, or -errno and a sentence: of the option, in this build. */
int q2_seal_built(char *why, size_t n);
/* What the header says and what the configuration says are the same; 0, or
 * -errno and a sentence. */
int q2_seal_judge(const struct qcow2 *, char *why, size_t n);
/* Gets the key of the image that is there, and goes on with q2_open_tables();
 * or of one to be made: q2_ephemeral_sealed().  Or it is refused. */
void q2_seal_open(struct qcow2 *);
void q2_seal_new(struct qcow2 *);
void q2_seal_free(struct q2_seal *);
/* Into the header that is being made. */
void q2_seal_mark(struct qcow2 *);
/* What is left of an I/O on guest clusters, or a part of it; and what came of
 * that: then q2_io_came(). */
void q2_sealed_next(struct q2_io *);
void q2_sealed_done(struct q2_io *, int64_t n);
uint64_t q2_seal_worked(const struct q2_seal *); /* requests, by workers */

#endif
