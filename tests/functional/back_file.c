/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * back_file: a module for the tests of modes: a last layer that says that its
 * data are another back-end's.  They are a file's; the engine knows no better,
 * and a host without Xen has no other.  From the command `hang' to `go' it does
 * not answer, as one whose server is away.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "blktap/plugin.h"

struct back {
    char *path; /* the option */
    struct blk_layer *layer;
    struct blk_open open;
    uint64_t size;
    bool hangs;
    struct back_req *hung;
};

struct back_req {
    struct blk_io io;
    struct blk_layer *layer;
    struct blk_req *req;
    struct back_req *next; /* that hangs */
};

static const struct blk_option back_options[] = { { .name = "path",
                                                    .type = BLK_PATH,
                                                    .at = offsetof(struct back,
                                                                   path),
                                                    .required = true,
                                                    .help = "the file" },
                                                  { 0 } };

static void
back_opened(struct blk_open *o)
{
    struct back *b = o->data;

    b->size = o->info.size;
    if (o->status)
        blk_why(b->layer, "%s", o->why);
    blk_ready(b->layer, o->status);
}

static void
back_start(struct blk_layer *l, struct blk_layer *old)
{
    struct back *b = blk_self(l);

    (void)old;
    b->layer = l;
    b->open =
        (struct blk_open){ .path = b->path, .done = back_opened, .data = b };
    blk_file_open(l, &b->open);
}

static void
back_stop(struct blk_layer *l)
{
    struct back *b = blk_self(l);

    blk_file_close(l, b->open.file);
    blk_ready(l, 0);
}

static void
back_limits(struct blk_layer *l, struct blk_limits *limits)
{
    const struct back *b = blk_self(l);

    limits->size = b->size;
}

/* What is short of the file's end is no case of these tests. */
static void
back_io_done(struct blk_io *io)
{
    struct back_req *br = io->data;
    int error = io->status < 0                         ? (int)io->status
                : (uint64_t)io->status == br->req->len ? 0
                                                       : -EIO;

    blk_end(br->layer, br->req, error);
}

static void
back_submit(struct blk_layer *l, struct blk_req *r)
{
    struct back *b = blk_self(l);
    struct back_req *br = r->scratch;

    if (r->sg.skip) { /* only of what a layer has split, and none here does */
        blk_end(l, r, -EIO);
        return;
    }
    br->layer = l;
    br->req = r;
    br->io.file = b->open.file;
    br->io.done = back_io_done;
    br->io.data = br;
    br->io.off = r->off;
    br->io.len = r->len;
    br->io.op = r->op == BLK_READ    ? BLK_IO_READ
                : r->op == BLK_WRITE ? BLK_IO_WRITE
                                     : BLK_IO_SYNC;
    br->io.iov = r->sg.v;
    br->io.n = r->sg.n;
    if (b->hangs) {
        br->next = b->hung;
        b->hung = br;
    } else {
        blk_io_start(l, &br->io);
    }
}

static int
back_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    struct back *b = blk_self(l);

    b->hangs = argc == 1 && !strcmp(argv[0], "hang");
    while (!b->hangs && b->hung) {
        struct back_req *br = b->hung;

        b->hung = br->next;
        blk_io_start(l, &br->io);
    }
    blk_printf(out, "%s\n", b->hung ? "some hang" : "none hangs");
    return 0;
}

BLK_PLUGIN(back_file) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct back),
    .req_size = sizeof(struct back_req),
    .ops = BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_FLUSH),
    .tail = BLK_TAIL,
    .back_end = true,
    .name = "back_file",
    .help = "a file that passes for another back-end's disk",
    .options = back_options,
    .start = back_start,
    .stop = back_stop,
    .limits = back_limits,
    .submit = back_submit,
    .command = back_command,
    .commands = "hang\ngo\n",
};
