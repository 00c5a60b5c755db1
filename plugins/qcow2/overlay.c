/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* overlay.c: the file of a new layer: an image with nothing in it. */
#include "plugins/qcow2/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"

/* 0 or -errno. */
static int
write_all(int fd, const uint8_t *p, size_t n)
{
    size_t at = 0;

    while (at < n) {
        ssize_t done = pwrite(fd, p + at, n - at, (off_t)at);

        if (!done)
            return -ENOSPC;
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0)
            at += (size_t)done;
    }
    return 0;
}

int
q2_overlay(const struct blk_overlay *o)
{
    uint8_t *bytes = malloc(Q2_BLANK_BYTES);
    uint64_t length;
    int rc = -ENOMEM;

    if (bytes)
        rc = q2_blank(bytes, o->size, o->backing, o->format, &length);
    if (!rc)
        rc = write_all(o->fd, bytes, Q2_BLANK_BYTES);
    if (!rc && ftruncate(o->fd, (off_t)length))
        rc = -errno;
    free(bytes);
    return rc;
}
