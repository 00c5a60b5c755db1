/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trace: a line for each request, to the journal or to a file.
 *
 * text and json lines are made when a request comes up, so that they have its
 * result; iolog lines when it goes down, because fio replays them in the order
 * of the file.  A trace in iolog form is closed when the layer pauses and
 * opened again when it goes on: so a live change leaves a file that fio takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "blktap/plugin.h"
#include "plugins/common/match.h"
#include "plugins/trace/writer.h"

enum trace_format { TRACE_TEXT, TRACE_JSON, TRACE_IOLOG };
enum trace_mode { TRACE_APPEND, TRACE_TRUNCATE };

struct trace {
    char *path; /* the options; NULL: the journal */
    uint64_t format, mode, buffer;
    struct match match;

    struct blk_layer *layer;
    struct trace_writer w;
    struct blk_open open;         /* of start, then of rotate */
    bool rotating;                /* the open of a rotate is under way */
    bool marked;                  /* iolog: an open line is not yet closed */
    void (*then)(struct trace *); /* what waits for the rotate */
    uint64_t journal;             /* lines that went there */
};

/* Lives in the scratch of a request. */
struct trace_req {
    uint64_t start_ns;
    bool on;
};

static const char *const trace_formats[] = { "text", "json", "iolog", NULL };
static const char *const trace_modes[] = { "append", "truncate", NULL };

static const struct blk_option trace_options[] = {
    { .name = "file",
      .type = BLK_PATH,
      .at = offsetof(struct trace, path),
      .help = "where the lines go; without it, the journal" },
    { .name = "format",
      .type = BLK_CHOICE,
      .at = offsetof(struct trace, format),
      .fallback = "text",
      .choices = trace_formats,
      .help = "form of a line; iolog is what fio replays" },
    { .name = "mode",
      .type = BLK_CHOICE,
      .at = offsetof(struct trace, mode),
      .fallback = "append",
      .choices = trace_modes,
      .help = "what happens to the lines of an earlier run" },
    { .name = "buffer",
      .type = BLK_SIZE,
      .at = offsetof(struct trace, buffer),
      .fallback = "64k",
      .min = 4096,
      .max = 64ull << 20,
      .help = "memory for lines; two of this size" },
    MATCH_PLACE_OPTIONS(struct trace, match),
    { 0 }
};

static const struct blk_counter trace_counters[] = {
    { "lines", offsetof(struct trace, w.lines), "lines", "lines for the file" },
    { "journal", offsetof(struct trace, journal), "lines",
      "lines for the journal" },
    { "dropped", offsetof(struct trace, w.dropped), "lines",
      "lines lost, because both buffers were full or a write failed" },
    { "written", offsetof(struct trace, w.bytes), "bytes",
      "bytes written to the file" },
    { "write_errors", offsetof(struct trace, w.errors), "writes",
      "writes to the file that failed" },
    { 0 }
};

static int
trace_check(const void *self, char *why, size_t why_size)
{
    const struct trace *t = self;

    if (t->format == TRACE_IOLOG && !t->path) {
        snprintf(why, why_size,
                 "file: expected a path, because format is iolog, found none");
        return -EINVAL;
    }
    return match_check(&t->match, why, why_size);
}

/* ---- lines --------------------------------------------------------------- */

static const char *const op_names[BLK_OPS] = { "read", "write", "flush",
                                               "discard", "zero" };
/* fio knows no write of zeroes: see iolog_action(). */
static const char *const iolog_names[BLK_OPS] = { "read", "write", "datasync",
                                                  "trim", "write" };

static const char *
flag_names(const struct blk_req *r)
{
    static const char *const names[] = { "-", "fua", "unmap", "fua,unmap" };

    return names[r->flags & (BLK_FUA | BLK_UNMAP)];
}

static const char *
iolog_action(const struct blk_req *r)
{
    if (r->op == BLK_ZERO && (r->flags & BLK_UNMAP))
        return "trim";
    return iolog_names[r->op];
}

static int
format_text(const struct blk_req *r, uint64_t at, uint64_t took, char *line)
{
    return snprintf(line, TRACE_LINE,
                    "%" PRIu64 ".%06" PRIu64 " %s off=%" PRIu64 " len=%" PRIu32
                    " flags=%s status=%d latency_us=%" PRIu64 "\n",
                    at / 1000000000, at / 1000 % 1000000, op_names[r->op],
                    r->off, r->len, flag_names(r), r->error, took / 1000);
}

static int
format_json(struct blk_layer *l, const struct blk_req *r, uint64_t at,
            uint64_t took, char *line)
{
    return snprintf(
        line, TRACE_LINE,
        "{\"time\":%" PRIu64 ".%06" PRIu64
        ",\"disk\":\"%.63s\",\"op\":\"%s\",\"off\":%" PRIu64 ",\"len\":%" PRIu32
        ",\"fua\":%s,\"unmap\":%s,\"status\":%d,"
        "\"latency_us\":%" PRIu64 "}\n",
        at / 1000000000, at / 1000 % 1000000, blk_disk_name(l), op_names[r->op],
        r->off, r->len, r->flags & BLK_FUA ? "true" : "false",
        r->flags & BLK_UNMAP ? "true" : "false", r->error, took / 1000);
}

static void
line_out(struct trace *t, const char *line, int n)
{
    if (t->path) {
        trace_writer_put(&t->w, TRACE_REQUEST, line, (size_t)n);
        return;
    }
    t->journal++;
    blk_trace(t->layer, "%.*s", n - 1, line);
}

/* A line of a file's life, as fio wants them. */
static void
iolog_mark(struct trace *t, const char *action)
{
    char line[TRACE_LINE];
    int n = snprintf(line, sizeof(line), "%" PRIu64 " %.63s %s\n",
                     blk_now(t->layer) / 1000, blk_disk_name(t->layer), action);

    trace_writer_put(&t->w, TRACE_MARK, line, (size_t)n);
}

static void
iolog_open(struct trace *t, bool empty)
{
    static const char head[] = "fio version 3 iolog\n";

    if (t->format != TRACE_IOLOG || t->marked)
        return;
    if (empty) {
        trace_writer_put(&t->w, TRACE_MARK, head, sizeof(head) - 1);
        iolog_mark(t, "add");
    }
    iolog_mark(t, "open");
    t->marked = true;
}

static void
iolog_close(struct trace *t)
{
    if (t->marked)
        iolog_mark(t, "close");
    t->marked = false;
}

/* ---- requests ------------------------------------------------------------ */

static void
trace_submit(struct blk_layer *l, struct blk_req *r)
{
    struct trace *t = blk_self(l);
    struct trace_req *q = r->scratch;

    q->on = match_place(&t->match, r);
    if (q->on)
        q->start_ns = blk_now(l);
    if (q->on && t->format == TRACE_IOLOG) {
        char line[TRACE_LINE];

        iolog_open(t, false); /* paused, but a layer above is starting */
        line_out(t, line,
                 snprintf(line, sizeof(line),
                          "%" PRIu64 " %.63s %s %" PRIu64 " %" PRIu32 "\n",
                          q->start_ns / 1000, blk_disk_name(l), iolog_action(r),
                          r->off, r->len));
    }
    blk_down(l, r);
}

static void
trace_done(struct blk_layer *l, struct blk_req *r)
{
    struct trace *t = blk_self(l);
    const struct trace_req *q = r->scratch;
    char line[TRACE_LINE];
    uint64_t took;

    if (q->on && t->format != TRACE_IOLOG) {
        took = blk_now(l) - q->start_ns;
        line_out(t, line,
                 t->format == TRACE_JSON
                     ? format_json(l, r, q->start_ns, took, line)
                     : format_text(r, q->start_ns, took, line));
    }
    blk_end(l, r, r->error);
}

/* ---- life ---------------------------------------------------------------- */

static void
trace_open(struct trace *t, uint32_t flags, void (*done)(struct blk_open *))
{
    memset(&t->open, 0, sizeof(t->open));
    t->open.path = t->path;
    t->open.flags = BLK_FILE_CREATE | BLK_FILE_APPEND | flags;
    t->open.mode = 0640;
    t->open.done = done;
    t->open.data = t;
    blk_file_open(t->layer, &t->open);
}

static void
start_opened(struct blk_open *o)
{
    struct trace *t = o->data;

    if (o->status) {
        trace_writer_free(&t->w);
        blk_why(t->layer, "%s", o->why);
    } else {
        trace_writer_file(&t->w, o->file, o->info.size);
        iolog_open(t, !o->info.size);
    }
    blk_ready(t->layer, o->status);
}

/* The lines of the instance that we replace are no earlier run. */
static void
trace_start(struct blk_layer *l, struct blk_layer *old)
{
    struct trace *t = blk_self(l);
    const struct trace *from = old ? blk_self(old) : NULL;
    bool same = from && t->path && from->path && !strcmp(from->path, t->path);

    t->layer = l;
    if (!t->path) {
        blk_ready(l, 0);
        return;
    }
    if (trace_writer_init(&t->w, l, t->path, t->buffer)) {
        blk_why(l, "no memory for two buffers of %" PRIu64 " bytes", t->buffer);
        blk_ready(l, -ENOMEM);
        return;
    }
    trace_open(t, t->mode == TRACE_TRUNCATE && !same ? BLK_FILE_TRUNC : 0,
               start_opened);
}

static void
pause_idle(struct trace_writer *w)
{
    blk_ready(w->layer, 0);
}

static void
pause_now(struct trace *t)
{
    iolog_close(t);
    trace_writer_drain(&t->w, pause_idle);
}

static void
trace_pause(struct blk_layer *l)
{
    struct trace *t = blk_self(l);

    if (!t->path)
        blk_ready(l, 0);
    else if (t->rotating)
        t->then = pause_now;
    else
        pause_now(t);
}

static void
trace_resume(struct blk_layer *l)
{
    struct trace *t = blk_self(l);

    if (t->path)
        iolog_open(t, false);
    blk_ready(l, 0);
}

static void
stop_idle(struct trace_writer *w)
{
    trace_writer_free(w);
    blk_ready(w->layer, 0);
}

static void
stop_now(struct trace *t)
{
    iolog_close(t);
    trace_writer_drain(&t->w, stop_idle);
}

static void
trace_stop(struct blk_layer *l)
{
    struct trace *t = blk_self(l);

    if (!t->path)
        blk_ready(l, 0);
    else if (t->rotating)
        t->then = stop_now;
    else
        stop_now(t);
}

/* ---- commands ------------------------------------------------------------ */

/* The lines so far go to the old file, those from here on to the new one. */
static void
rotate_opened(struct blk_open *o)
{
    struct trace *t = o->data;
    void (*then)(struct trace *) = t->then;

    t->rotating = false;
    t->then = NULL;
    if (o->status) {
        blk_log(t->layer, BLK_ERR, "rotate: %s: the old file stays", o->why);
    } else {
        iolog_close(t);
        trace_writer_file(&t->w, o->file, o->info.size);
        iolog_open(t, !o->info.size);
        trace_writer_flush(&t->w);
    }
    if (then)
        then(t);
}

static int
command_rotate(struct trace *t, struct blk_out *out)
{
    if (t->rotating || trace_writer_switching(&t->w)) {
        blk_printf(out, "rotate: one is already under way\n");
        return -EBUSY;
    }
    t->rotating = true;
    trace_open(t, 0, rotate_opened);
    blk_printf(out, "rotate: opening %s\n", t->path);
    return 0;
}

static int
trace_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    struct trace *t = blk_self(l);

    if (!t->path) {
        blk_printf(out, "the trace goes to the journal, not to a file\n");
        return -EINVAL;
    }
    if (argc == 1 && !strcmp(argv[0], "rotate"))
        return command_rotate(t, out);
    if (argc == 1 && !strcmp(argv[0], "flush")) {
        trace_writer_flush(&t->w);
        return 0;
    }
    blk_printf(out, "expected flush or rotate, found %s\n",
               argc ? argv[0] : "nothing");
    return -EINVAL;
}

BLK_PLUGIN(trace) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct trace),
    .req_size = sizeof(struct trace_req),
    .ops = BLK_ALL_OPS,
    .transparent = true,
    .name = "trace",
    .help = "a line for each request, to the journal or a file",
    .options = trace_options,
    .counters = trace_counters,
    .check = trace_check,
    .start = trace_start,
    .pause = trace_pause,
    .resume = trace_resume,
    .stop = trace_stop,
    .submit = trace_submit,
    .done = trace_done,
    .command = trace_command,
    .commands = "flush\n"
                "rotate\n",
};
