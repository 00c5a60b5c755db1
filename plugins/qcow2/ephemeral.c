/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ephemeral.c: an overlay that goes with the attachment: its file, and how it
 * is made.
 *
 *   open ──► no magic: size 0 ─► refcounts ─► size ─► header ──┐
 *     └────► magic ────────────────────────────────────────────┴─► open.c
 *
 * The header comes last: a file that has one is whole, whenever a daemon was
 * killed.  A host that dies takes the attachment along, so nothing is synced.
 * A guest that wrote to its overlay must find it again, or not go on at all: so
 * when it did (BLK_SCRATCH_OLD) none is made.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLANK_HEAD = 1 << 16 }; /* its first cluster */

/* ---- the path ------------------------------------------------------------ */

static void
find_refuse(struct qcow2 *s, int error)
{
    free(s->image);
    s->image = NULL;
    q2_open_over(s, error);
}

int
q2_ephemeral_find(struct qcow2 *s, struct blk_layer *old)
{
    const struct qcow2 *from = old ? blk_self(old) : NULL;
    char path[PATH_MAX];
    int rc = blk_scratch(s->layer, path, sizeof(path), &s->opening->scratch);

    if (!rc && !(s->path = strdup(path))) {
        blk_why(s->layer, "no memory");
        rc = -ENOMEM;
    }
    if (rc)
        find_refuse(s, rc);
    else if (from && from->path && !strcmp(from->path, s->path))
        s->opening->scratch = BLK_SCRATCH_OLD;
    return rc;
}

void
q2_ephemeral_lost(struct qcow2 *s)
{
    blk_why(s->layer,
            "%s: expected what the guest has written since its disk was "
            "attached, found nothing: bring the file back, or take the disk "
            "away from the guest",
            s->path);
    q2_open_over(s, -ESTALE);
}

/* ---- made ---------------------------------------------------------------- */

static void
make_failed(struct qcow2 *s, int error)
{
    q2_open_refuse(s, error, "can't be made: %s", strerror(-error));
}

static void
make_headed(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;
    struct q2_open *o = s->opening;

    if (error) {
        make_failed(s, error);
        return;
    }
    s->image->info.size = o->length;
    free(o->blank);
    o->blank = NULL;
    o->scratch = BLK_SCRATCH_OLD;
    q2_open_read(s);
}

static void
truncate_start(struct qcow2 *s, uint64_t size, void (*done)(struct blk_io *))
{
    struct blk_io *io = &s->opening->io.io;

    memset(io, 0, sizeof(*io));
    io->op = BLK_IO_TRUNCATE;
    io->file = s->image->file;
    io->off = size;
    io->done = done;
    io->data = s;
    blk_io_start(s->layer, io);
}

static void
make_sized(struct blk_io *io)
{
    struct qcow2 *s = io->data;
    struct q2_open *o = s->opening;

    if (io->status < 0) {
        make_failed(s, (int)io->status);
        return;
    }
    o->io.done = make_headed;
    o->io.data = s;
    q2_write(s, &o->io, 0, o->blank, BLANK_HEAD);
}

static void
make_counted(struct q2_io *io, int error)
{
    struct qcow2 *s = io->data;

    if (error)
        make_failed(s, error);
    else
        truncate_start(s, s->opening->length, make_sized);
}

static void
make_emptied(struct blk_io *io)
{
    struct qcow2 *s = io->data;
    struct q2_open *o = s->opening;

    if (io->status < 0) {
        make_failed(s, (int)io->status);
        return;
    }
    s->cluster = BLANK_HEAD; /* for the arithmetic of the writes alone */
    s->cluster_bits = 16;
    o->io.done = make_counted;
    o->io.data = s;
    q2_write(s, &o->io, BLANK_HEAD, o->blank + BLANK_HEAD,
             Q2_BLANK_BYTES - BLANK_HEAD);
}

bool
q2_ephemeral_make(struct qcow2 *s)
{
    const struct blk_limits *below = blk_below(s->layer);
    struct q2_open *o = s->opening;
    int error;

    if (!s->ephemeral || o->scratch == BLK_SCRATCH_OLD)
        return false;
    o->blank = q2_alloc_memory(Q2_BLANK_BYTES);
    if (!o->blank) {
        make_failed(s, -ENOMEM);
        return true;
    }
    error = q2_blank(o->blank, below->size, NULL, NULL, &o->length);
    if (error) {
        q2_open_refuse(s, error,
                       "expected a layer below that an image can be as large "
                       "as, found %" PRIu64 " bytes",
                       below->size);
        return true;
    }
    if (s->encrypt)
        q2_seal_new(s);
    else
        truncate_start(s, 0, make_emptied);
    return true;
}

void
q2_ephemeral_again(struct qcow2 *s)
{
    free(s->head);
    s->head = NULL;
    q2_ephemeral_make(s);
}

void
q2_ephemeral_sealed(struct qcow2 *s)
{
    q2_seal_mark(s);
    truncate_start(s, 0, make_emptied);
}
