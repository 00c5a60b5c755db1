/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writer.h: lines to a file, in the background, in bounded memory.
 *
 * Two buffers: one is filled while the other is written.  A buffer is written
 * when it is half full, or a second after its first line; an idle disk wakes
 * nobody.  When neither has room a line is dropped and counted: no request
 * ever waits for its trace.
 *
 *          put()                    io
 *   line ───────► buf[fill] ──┐  ┌────────► file
 *                 buf[other] ◄┴──┘ swap, when the other was written
 */
#ifndef PLUGINS_TRACE_WRITER_H
#define PLUGINS_TRACE_WRITER_H

#include "blktap/plugin.h"

enum {
    TRACE_LINE = 256,    /* most bytes of a line */
    TRACE_RESERVE = 2048 /* more room in a buffer, for marks */
};

/* What may use the reserve: lines about the trace itself. */
enum trace_kind { TRACE_REQUEST, TRACE_MARK };

struct trace_buf {
    char *mem;
    size_t len;
    /* From mem[cut] on it belongs to next, which is ours until then. */
    struct blk_file *next;
    size_t cut;
};

struct trace_writer {
    struct blk_layer *layer;
    const char *path;
    struct blk_file *file;
    uint64_t at; /* where the next write goes; the file is in append mode */
    size_t size; /* of each buffer, without the reserve */
    struct trace_buf buf[2];
    unsigned fill, out;
    bool writing, timing;
    size_t written; /* of buf[out] */
    struct blk_io io;
    struct iovec iov;
    struct blk_timer timer;
    /* Called once, when all is written and nothing is under way. */
    void (*idle)(struct trace_writer *);
    void *data;
    uint64_t lines, dropped, bytes, errors;
};

/* 0 or -ENOMEM.  path is the caller's, and must stay. */
int trace_writer_init(struct trace_writer *, struct blk_layer *,
                      const char *path, size_t size);
/* The file to write to from here on; the writer's from now. */
void trace_writer_file(struct trace_writer *, struct blk_file *, uint64_t size);
/* Between trace_writer_file() and the switch of a file, another is refused. */
bool trace_writer_switching(const struct trace_writer *);
void trace_writer_put(struct trace_writer *, enum trace_kind, const char *line,
                      size_t n);
/* Write what there is, without waiting for more. */
void trace_writer_flush(struct trace_writer *);
/* Flush, then idle(); no timer runs and no I/O is under way by then. */
void trace_writer_drain(struct trace_writer *,
                        void (*idle)(struct trace_writer *));
/* Drained, or never given a file. */
void trace_writer_free(struct trace_writer *);

#endif
