/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/trace/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_LINGER_NS 1000000000ull

static void write_part(struct trace_writer *w);

int
trace_writer_init(struct trace_writer *w, struct blk_layer *l, const char *path,
                  size_t size)
{
    memset(w, 0, sizeof(*w));
    w->layer = l;
    w->path = path;
    w->size = size;
    w->buf[0].mem = malloc(size + TRACE_RESERVE);
    w->buf[1].mem = malloc(size + TRACE_RESERVE);
    if (w->buf[0].mem && w->buf[1].mem)
        return 0;
    trace_writer_free(w);
    return -ENOMEM;
}

void
trace_writer_free(struct trace_writer *w)
{
    unsigned i;

    if (w->file)
        blk_file_close(w->layer, w->file);
    w->file = NULL;
    for (i = 0; i < 2; i++) {
        free(w->buf[i].mem);
        w->buf[i].mem = NULL;
    }
}

void
trace_writer_file(struct trace_writer *w, struct blk_file *file, uint64_t size)
{
    struct trace_buf *b = &w->buf[w->fill];

    if (!w->file) {
        w->file = file;
        w->at = size;
        return;
    }
    b->next = file;
    b->cut = b->len;
}

bool
trace_writer_switching(const struct trace_writer *w)
{
    return w->buf[0].next || w->buf[1].next;
}

/* ---- out ----------------------------------------------------------------- */

static bool
buf_empty(const struct trace_buf *b)
{
    return !b->len && !b->next;
}

static void
write_begin(struct trace_writer *w)
{
    if (w->writing || !w->file || buf_empty(&w->buf[w->fill]))
        return;
    w->out = w->fill;
    w->fill = !w->fill;
    w->written = 0;
    w->writing = true;
    write_part(w);
}

static void
linger(struct blk_timer *t)
{
    struct trace_writer *w = t->data;

    w->timing = false;
    write_begin(w);
}

static void
linger_start(struct trace_writer *w)
{
    if (w->timing)
        return;
    w->timing = true;
    w->timer.fire = linger;
    w->timer.data = w;
    blk_timer_start(w->layer, &w->timer, TRACE_LINGER_NS);
}

static void
write_end(struct trace_writer *w)
{
    const struct trace_buf *b = &w->buf[w->fill];
    void (*idle)(struct trace_writer *) = w->idle;

    w->buf[w->out].len = 0;
    w->writing = false;
    if (b->len >= w->size / 2 || (idle && !buf_empty(b))) {
        write_begin(w);
    } else if (idle) {
        w->idle = NULL;
        idle(w);
    } else if (!buf_empty(b)) {
        linger_start(w);
    }
}

/* A trace that can't be written must not harm the disk: what was in the buffer
 * is lost, and counted. */
static void
write_failed(struct trace_writer *w, int error)
{
    const struct trace_buf *b = &w->buf[w->out];
    size_t end = b->next ? b->cut : b->len, at;

    for (at = w->written; at < end; at++)
        w->dropped += b->mem[at] == '\n';
    w->errors++;
    w->written = end;
    blk_log(w->layer, BLK_ERR, "%s: lines of the trace are lost: %s", w->path,
            strerror(-error));
}

static void
write_done(struct blk_io *io)
{
    struct trace_writer *w = io->data;

    if (io->status > 0) {
        w->written += (size_t)io->status;
        w->at += (uint64_t)io->status;
        w->bytes += (uint64_t)io->status;
    } else if (io->status != -EINTR && io->status != -EAGAIN) {
        write_failed(w, io->status ? (int)io->status : -EIO);
    }
    write_part(w);
}

/* The next I/O of buf[out]; at its cut, first, the other file. */
static void
write_part(struct trace_writer *w)
{
    struct trace_buf *b = &w->buf[w->out];
    size_t end;

    if (b->next && w->written == b->cut) {
        blk_file_close(w->layer, w->file);
        w->file = b->next;
        w->at = 0;
        b->next = NULL;
    }
    end = b->next ? b->cut : b->len;
    if (w->written == end) {
        write_end(w);
        return;
    }
    w->iov.iov_base = b->mem + w->written;
    w->iov.iov_len = end - w->written;
    w->io.op = BLK_IO_WRITE;
    w->io.fua = false;
    w->io.file = w->file;
    w->io.off = w->at;
    w->io.len = w->iov.iov_len;
    w->io.iov = &w->iov;
    w->io.n = 1;
    w->io.done = write_done;
    w->io.data = w;
    blk_io_start(w->layer, &w->io);
}

/* ---- in ------------------------------------------------------------------ */

void
trace_writer_put(struct trace_writer *w, enum trace_kind kind, const char *line,
                 size_t n)
{
    size_t room = w->size + (kind == TRACE_MARK ? TRACE_RESERVE : 0);
    struct trace_buf *b;

    if (w->buf[w->fill].len + n > room)
        write_begin(w);
    b = &w->buf[w->fill];
    if (b->len + n > room) {
        w->dropped++;
        return;
    }
    memcpy(b->mem + b->len, line, n);
    b->len += n;
    w->lines++;
    if (b->len >= w->size / 2)
        write_begin(w);
    else if (!w->writing)
        linger_start(w);
}

void
trace_writer_flush(struct trace_writer *w)
{
    write_begin(w);
}

void
trace_writer_drain(struct trace_writer *w, void (*idle)(struct trace_writer *))
{
    if (w->timing)
        blk_timer_stop(w->layer, &w->timer);
    w->timing = false;
    write_begin(w);
    if (w->writing)
        w->idle = idle;
    else
        idle(w);
}
