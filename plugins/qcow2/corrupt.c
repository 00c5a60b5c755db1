/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * corrupt.c: metadata that can't be true were found while the disk worked.
 *
 * The disk ends, and the header says so (the "corrupt" bit), for whoever opens
 * the image next: nobody writes to it before it was repaired.
 *
 *   found --> the header's last write is over --> header --> sync
 *
 * Of the writes of the header there is one at a time (q2_header_write()), and
 * none but this one begins any more: so none can take the bit away again.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct q2_ruin {
    struct q2_wait stopping; /* first */
    struct qcow2 *s;
    struct q2_io io;
    struct q2_queue idle; /* wait for the end of it */
    bool wanted, runs;
    bool heading; /* some write of the header is under way */
    void (*headed)(struct q2_io *, int error);
};

/* ---- the header ---------------------------------------------------------- */

static void ruin_go(struct q2_ruin *u);

static void
header_written(struct q2_io *io, int error)
{
    struct q2_ruin *u = io->s->ruin;

    u->heading = false;
    io->done = u->headed;
    ruin_go(u);
    io->done(io, error);
}

void
q2_header_write(struct qcow2 *s, struct q2_io *io)
{
    struct q2_ruin *u = s->ruin;

    if (s->h.version >= 3) {
        q2_put64(s->head + Q2_AT_INCOMPATIBLE, s->h.incompatible);
        q2_put64(s->head + Q2_AT_AUTOCLEAR, s->h.autoclear);
    }
    u->heading = true;
    u->headed = io->done;
    io->done = header_written;
    q2_write(s, io, 0, s->head, s->head_len);
}

/* ---- the bit ------------------------------------------------------------- */

static void
ruin_over(struct q2_ruin *u, int error)
{
    struct qcow2 *s = u->s;

    u->runs = false;
    if (error)
        blk_log(s->layer, BLK_ERR,
                "%s: can't be marked as corrupt (%s): don't write to it before "
                "qemu-img check -r all has repaired it",
                s->path, strerror(-error));
    q2_queue_wake(&u->idle, 0); /* u may be gone */
}

/* Not by q2_sync(): nothing is set free any more. */
static void
ruin_synced(struct blk_io *io)
{
    struct q2_ruin *u = io->data;

    ruin_over(u, io->status < 0 ? (int)io->status : 0);
}

static void
ruin_headed(struct q2_io *q, int error)
{
    struct q2_ruin *u = q->data;
    struct blk_io *io = &q->io;

    if (error) {
        ruin_over(u, error);
        return;
    }
    memset(io, 0, sizeof(*io));
    io->op = BLK_IO_SYNC;
    io->file = u->s->image->file;
    io->done = ruin_synced;
    io->data = u;
    blk_io_start(u->s->layer, io);
}

static void
ruin_go(struct q2_ruin *u)
{
    if (!u->wanted || u->heading)
        return;
    u->wanted = false;
    u->s->h.incompatible |= Q2_CORRUPT;
    u->io.done = ruin_headed;
    u->io.data = u;
    q2_header_write(u->s, &u->io);
}

/* Version 2 has no room for it, and what may not be written isn't. */
static bool
can_mark(const struct qcow2 *s)
{
    return s->ruin && s->h.version >= 3 && !s->image->readonly &&
           !s->image->failed;
}

int
q2_corrupt(struct qcow2 *s, const char *fmt, ...)
{
    char what[200];
    va_list ap;

    if (s->corrupt)
        return -EUCLEAN;
    s->corrupt = true;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    blk_fatal(s->layer, -EUCLEAN,
              "%s: the image is corrupt: %s; stop the disk and repair it with "
              "qemu-img check -r all",
              s->path, what);
    if (can_mark(s)) {
        s->ruin->wanted = s->ruin->runs = true;
        ruin_go(s->ruin);
    }
    return -EUCLEAN;
}

void
q2_undecided(struct qcow2 *s)
{
    if (!s->corrupt)
        blk_fatal(s->layer, -EIO,
                  "%s: its header could not be written: no more is, until the "
                  "file is opened again",
                  s->path);
    s->corrupt = true;
}

/* ---- the end ------------------------------------------------------------- */

bool
q2_ruin_waits(struct qcow2 *s, struct q2_wait *w)
{
    if (!s->ruin || !s->ruin->runs)
        return false;
    q2_queue_add(&s->ruin->idle, w);
    return true;
}

static void
stop_go(struct q2_wait *w, int error)
{
    struct qcow2 *s = ((struct q2_ruin *)w)->s;

    (void)error;
    q2_release(s);
    blk_ready(s->layer, 0);
}

void
q2_stop(struct blk_layer *l)
{
    struct qcow2 *s = blk_self(l);

    s->ruin->stopping.go = stop_go;
    if (!q2_ruin_waits(s, &s->ruin->stopping))
        stop_go(&s->ruin->stopping, 0);
}

int
q2_ruin_init(struct qcow2 *s)
{
    s->ruin = calloc(1, sizeof(*s->ruin));
    if (!s->ruin)
        return -ENOMEM;
    s->ruin->s = s;
    q2_queue_init(&s->ruin->idle);
    return 0;
}

void
q2_ruin_free(struct qcow2 *s)
{
    free(s->ruin);
    s->ruin = NULL;
}
