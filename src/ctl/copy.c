/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy.c: a disk from or to a file, or to another disk.
 *
 * A piece of the source is read, then written; several pieces are under way
 * at a time, each in one of these states:
 *
 *   IDLE ──► READ ──► READING ──► WRITE ──► WRITING ──► IDLE
 *     │        disk: waits for      │ zeroes that are there already
 *     └──► WRITE, of a hole         └──► IDLE
 *
 * READ and WRITE want to be submitted, and stay when the ring is full.  Files
 * are read and written at once, without waiting.  The second pass of --verify
 * reads the target where the first one writes it.
 */
#include "config.h"

#include "ctl/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/human.h"

const char copy_help[] =
    "  A word with a '/' in it, or that begins with '.', is a file or a block\n"
    "  device; other words are disks, as is disk:NAME.  One of the two must "
    "be\n"
    "  a disk that no front-end has.\n\n"
    "  --depth N          requests at a time (16)\n"
    "  --piece SIZE       of a request (1M, or what the disk takes)\n"
    "  --verify           read both again and compare\n"
    "  --partial          the source may be smaller than the target\n"
    "  --target-is-zero   zeroes need not be written to the target\n"
    "  --quiet            no progress\n";

enum copy_pass { PASS_COPY, PASS_VERIFY };
enum piece_state { IDLE, READ, READING, WRITE, WRITING };
enum { PIECE_DEFAULT = 1 << 20, DEPTH_DEFAULT = 16, DEPTH_MAX = 256 };

struct copy;

struct piece {
    struct copy *copy;
    enum piece_state state;
    struct blktap_req req;
    uint64_t off;
    uint32_t len;
    char *buf, *other; /* other: the target's, in the second pass */
};

struct copy {
    struct copy_end src, dst;
    enum copy_pass pass;
    struct copy_depth depth;
    bool verify, partial, target_is_zero, quiet, bar;
    uint64_t size, next, done, skipped;
    struct piece *piece;
    unsigned busy;
    int failed; /* a sentence was said */
    uint64_t began_ns, shown_ns;
};

/* ---- progress ------------------------------------------------------------ */

static void
progress_show(struct copy *c)
{
    uint64_t now = now_ns(), ns = now - c->began_ns;
    double part = c->size ? (double)c->done / (double)c->size : 1;
    double per_s = ns ? (double)c->done * 1e9 / (double)ns : 0;
    char rate[HUMAN_SIZE], eta[HUMAN_SIZE], bar[31];
    int i;

    if (!c->bar || (now - c->shown_ns < 200000000 && c->done < c->size))
        return;
    c->shown_ns = now;
    for (i = 0; i < 30; i++)
        bar[i] = i < (int)(part * 30) ? '#' : '.';
    bar[30] = '\0';
    human_bytes(rate, (uint64_t)per_s);
    human_clock(eta, per_s > 0 ? (uint64_t)((double)(c->size - c->done) / per_s)
                               : 0);
    fprintf(stderr, "\r%s [%s] %3d %%  %s/s  %s left  ",
            c->pass == PASS_COPY ? "copy  " : "verify", bar, (int)(part * 100),
            rate, eta);
}

static void
progress_end(const struct copy *c)
{
    if (c->bar)
        fputs("\r\033[K", stderr);
}

/* ---- pieces -------------------------------------------------------------- */

static void
copy_fail(struct copy *c, const char *name, const char *what, uint64_t off,
          int error)
{
    if (!c->failed) {
        progress_end(c);
        ctl_error("%s: can't %s at %" PRIu64 ": %s", name, what, off,
                  error == -EPIPE ? "the daemon took the disk away"
                                  : strerror(-error));
    }
    c->failed = 1;
}

static void
piece_over(struct piece *p)
{
    struct copy *c = p->copy;

    p->state = IDLE;
    c->busy--;
    c->done += p->len;
}

static void
piece_compare(struct piece *p)
{
    uint32_t i = 0;

    if (memcmp(p->buf, p->other, p->len)) {
        while (p->buf[i] == p->other[i])
            i++;
        progress_end(p->copy);
        p->copy->failed =
            ctl_error("%s and %s differ at %" PRIu64, p->copy->src.name,
                      p->copy->dst.name, p->off + i);
    }
    piece_over(p);
}

static void
piece_done(struct blktap_req *r)
{
    struct piece *p = r->data;
    struct copy *c = p->copy;
    bool reading = p->state == READING;

    if (r->error) {
        copy_fail(c, reading ? c->src.name : c->dst.name,
                  r->op == BLKTAP_READ ? "read" : "write", p->off, r->error);
        piece_over(p);
    } else if (reading) {
        p->state = WRITE;
    } else if (c->pass == PASS_VERIFY) {
        piece_compare(p);
    } else {
        piece_over(p);
    }
}

/* True when the request is on its way. */
static bool
piece_submit(struct piece *p, struct copy_end *e, enum blktap_op op, char *buf,
             enum piece_state then)
{
    int rc;

    p->req = (struct blktap_req){ .op = op,
                                  .off = p->off,
                                  .len = p->len,
                                  .buf = buf,
                                  .done = piece_done,
                                  .data = p };
    rc = blktap_submit(e->disk, &p->req);
    if (rc == -EAGAIN)
        return false;
    if (rc) {
        copy_fail(p->copy, e->name, op == BLKTAP_READ ? "read" : "write",
                  p->off, rc);
        piece_over(p);
        return false;
    }
    p->state = then;
    return true;
}

static void
piece_read(struct piece *p)
{
    struct copy *c = p->copy;
    int rc;

    if (c->src.kind == COPY_DISK) {
        piece_submit(p, &c->src, BLKTAP_READ, p->buf, READING);
        return;
    }
    rc = copy_file_read(&c->src, p->buf, p->len, p->off);
    if (rc) {
        copy_fail(c, c->src.name, "read", p->off, rc);
        piece_over(p);
    } else {
        p->state = WRITE;
    }
}

static void
piece_write_file(struct piece *p)
{
    struct copy *c = p->copy;
    int rc;

    rc = c->pass == PASS_VERIFY
             ? copy_file_read(&c->dst, p->other, p->len, p->off)
             : copy_file_write(&c->dst, p->buf, p->len, p->off, &c->skipped);
    if (rc) {
        copy_fail(c, c->dst.name, c->pass == PASS_VERIFY ? "read" : "write",
                  p->off, rc);
        piece_over(p);
    } else if (c->pass == PASS_VERIFY) {
        piece_compare(p);
    } else {
        piece_over(p);
    }
}

static void
piece_write(struct piece *p)
{
    struct copy *c = p->copy;

    if (c->dst.kind == COPY_FILE) {
        piece_write_file(p);
    } else if (c->pass == PASS_VERIFY) {
        piece_submit(p, &c->dst, BLKTAP_READ, p->other, WRITING);
    } else if (c->dst.zeroed && is_zero(p->buf, p->len)) {
        c->skipped += p->len;
        piece_over(p);
    } else {
        piece_submit(p, &c->dst, BLKTAP_WRITE, p->buf, WRITING);
    }
}

/* A disk is read again as a whole: what it told of holes is compared, too. */
static bool
source_is_hole(struct copy *c, uint64_t *end)
{
    *end = c->size;
    if (c->pass == PASS_VERIFY && c->src.kind == COPY_DISK)
        return false;
    return copy_end_is_hole(&c->src, c->next, end);
}

/* The next part of the source; false: there is none. */
static bool
piece_begin(struct piece *p)
{
    struct copy *c = p->copy;
    uint64_t end, len;
    bool hole;

    if (c->next >= c->size || c->failed)
        return false;
    hole = source_is_hole(c, &end);
    end = end < c->size ? end : c->size;
    if (hole && end < c->size)
        end = end / 512 * 512;
    hole = hole && end > c->next;
    if (hole && c->dst.zeroed && c->pass == PASS_COPY) {
        c->skipped += end - c->next;
        c->done += end - c->next;
        c->next = end;
        return c->next < c->size && piece_begin(p);
    }
    len = end > c->next ? (end + 511) / 512 * 512 - c->next : 512;
    len = len < c->depth.piece ? len : c->depth.piece;
    len = len < c->size - c->next ? len : c->size - c->next;
    p->off = c->next;
    p->len = (uint32_t)len;
    p->state = hole ? WRITE : READ;
    if (hole)
        memset(p->buf, 0, p->len);
    c->next += len;
    c->busy++;
    return true;
}

/* As far as it gets without waiting. */
static void
piece_go(struct piece *p)
{
    if (p->state == IDLE && !piece_begin(p))
        return;
    if (p->state == READ)
        piece_read(p);
    if (p->state == WRITE)
        piece_write(p);
}

/* ---- a pass -------------------------------------------------------------- */

static int
disk_reap(struct copy *c, struct copy_end *e)
{
    int rc = e->disk ? blktap_reap(e->disk) : 0;

    if (rc < 0)
        copy_fail(c, e->name, "go on", c->done, rc);
    return rc;
}

/* Something was answered, or may now be submitted. */
static void
copy_wait(struct copy *c)
{
    struct pollfd p[2] = { { .fd = -1, .events = POLLIN },
                           { .fd = -1, .events = POLLIN } };

    if (c->src.disk) {
        blktap_kick(c->src.disk);
        p[0].fd = blktap_fd(c->src.disk);
    }
    if (c->dst.disk) {
        blktap_kick(c->dst.disk);
        p[1].fd = blktap_fd(c->dst.disk);
    }
    if (disk_reap(c, &c->src) || disk_reap(c, &c->dst))
        return;
    poll(p, 2, -1);
}

static unsigned
copy_in_flight(const struct copy *c)
{
    unsigned i, n = 0;

    for (i = 0; i < c->depth.requests; i++)
        n += c->piece[i].state == READING || c->piece[i].state == WRITING;
    return n;
}

static int
copy_pass(struct copy *c, enum copy_pass pass)
{
    unsigned i;

    c->pass = pass;
    c->next = c->done = 0;
    c->began_ns = now_ns();
    do {
        for (i = 0; i < c->depth.requests && !c->failed; i++)
            piece_go(&c->piece[i]);
        if (!c->failed && copy_in_flight(c))
            copy_wait(c);
        progress_show(c);
    } while (!c->failed && c->done < c->size);
    progress_end(c);
    return c->failed;
}

/* ---- before and after ---------------------------------------------------- */

static int
option_number(struct copy *c, const char *name, const char *value)
{
    uint64_t v;

    if (!strcmp(name, "--depth")) {
        if (!value || !human_parse_number(value, 1, DEPTH_MAX, &v))
            return ctl_error("--depth: expected 1 to %d", (int)DEPTH_MAX);
        c->depth.requests = (unsigned)v;
        return 0;
    }
    if (!value || !human_parse_bytes(value, &v) || v % 512 || !v ||
        v > 16 << 20)
        return ctl_error("--piece: expected 512 to 16M, a multiple of 512");
    c->depth.piece = v;
    return 0;
}

/* The two words stay in argv[0] and [1]. */
static int
options_parse(struct copy *c, int argc, char **argv)
{
    int i, words = 0;

    for (i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--verify")) {
            c->verify = true;
        } else if (!strcmp(argv[i], "--partial")) {
            c->partial = true;
        } else if (!strcmp(argv[i], "--target-is-zero")) {
            c->target_is_zero = true;
        } else if (!strcmp(argv[i], "--quiet")) {
            c->quiet = true;
        } else if (!strcmp(argv[i], "--depth") || !strcmp(argv[i], "--piece")) {
            if (option_number(c, argv[i], i + 1 < argc ? argv[i + 1] : NULL))
                return 1;
            i++;
        } else if (argv[i][0] == '-') {
            return ctl_error("there is no option %s of copy", argv[i]);
        } else if (words == 2) {
            return ctl_error("copy: expected SRC and DST, found one more: %s",
                             argv[i]);
        } else {
            argv[words++] = argv[i];
        }
    }
    return words == 2 ? 0 : ctl_error("usage: blktapctl copy SRC DST");
}

/* A new file gets its size; else the sizes must fit. */
static int
sizes_fit(struct copy *c)
{
    int rc;

    c->size = (c->src.size + 511) / 512 * 512;
    if (c->dst.is_new) {
        c->size = c->src.size;
        rc = copy_end_resize(&c->dst, c->size);
        return rc ? ctl_error("%s: %s", c->dst.name, strerror(-rc)) : 0;
    }
    if (c->src.size > c->dst.size)
        return ctl_error("%s is larger than %s: expected at most %" PRIu64
                         " bytes, found %" PRIu64,
                         c->src.name, c->dst.name, c->dst.size, c->src.size);
    if (c->src.size < c->dst.size && !c->partial)
        return ctl_error("%s is smaller than %s: expected %" PRIu64
                         " bytes, found %" PRIu64 "; --partial copies it still",
                         c->src.name, c->dst.name, c->dst.size, c->src.size);
    return 0;
}

static int
pieces_make(struct copy *c)
{
    unsigned i;

    if (c->src.disk && blktap_info(c->src.disk)->max_len < c->depth.piece)
        c->depth.piece = blktap_info(c->src.disk)->max_len;
    if (c->dst.disk && blktap_info(c->dst.disk)->max_len < c->depth.piece)
        c->depth.piece = blktap_info(c->dst.disk)->max_len;
    c->piece = calloc(c->depth.requests, sizeof(*c->piece));
    for (i = 0; c->piece && i < c->depth.requests; i++) {
        struct piece *p = &c->piece[i];

        p->copy = c;
        p->buf = aligned_alloc(4096, (c->depth.piece + 4095) / 4096 * 4096);
        p->other = aligned_alloc(4096, (c->depth.piece + 4095) / 4096 * 4096);
        if (!p->buf || !p->other)
            return ctl_error("out of memory");
    }
    return c->piece ? 0 : ctl_error("out of memory");
}

static void
pieces_free(struct copy *c)
{
    unsigned i;

    for (i = 0; c->piece && i < c->depth.requests; i++) {
        free(c->piece[i].buf);
        free(c->piece[i].other);
    }
    free(c->piece);
}

static void
copy_report(const struct copy *c, const struct ctl *ctl, uint64_t ns)
{
    double s = (double)ns / 1e9;
    char a[HUMAN_SIZE], b[HUMAN_SIZE], d[HUMAN_SIZE];

    if (ctl->json) {
        printf("{\"bytes\": %" PRIu64 ", \"zeroes_skipped\": %" PRIu64
               ", \"seconds\": %.6f, \"verified\": %s}\n",
               c->size, c->skipped, s, c->verify ? "true" : "false");
        return;
    }
    if (c->quiet)
        return;
    printf("%s%s in %.2f s (%s/s), %s of zeroes left out\n",
           c->verify ? "copied and verified " : "copied ",
           human_bytes(a, c->size), s,
           human_bytes(b, s > 0 ? (uint64_t)((double)c->size / s) : 0),
           human_bytes(d, c->skipped));
}

static int
copy_do(struct copy *c, const struct ctl *ctl)
{
    uint64_t began = now_ns();
    int rc;

    if (sizes_fit(c) || pieces_make(c) || copy_pass(c, PASS_COPY))
        return 1;
    rc = copy_end_flush(&c->dst);
    if (rc)
        return ctl_error("%s: can't make it durable: %s", c->dst.name,
                         strerror(-rc));
    if (c->verify && copy_pass(c, PASS_VERIFY))
        return 1;
    copy_report(c, ctl, now_ns() - began);
    return 0;
}

int
copy_run(const struct ctl *ctl, int argc, char **argv)
{
    struct copy c = { .depth = { DEPTH_DEFAULT, PIECE_DEFAULT },
                      .quiet = false };
    int status;

    c.src.fd = c.dst.fd = -1;
    if (options_parse(&c, argc, argv))
        return 1;
    if (copy_kind_of(argv[0]) == COPY_FILE &&
        copy_kind_of(argv[1]) == COPY_FILE)
        return ctl_error("copy: expected a disk, found two files");
    c.bar = !c.quiet && !ctl->json && isatty(STDERR_FILENO);
    status = copy_end_source(&c.src, ctl, argv[0], &c.depth);
    if (!status)
        status = copy_end_target(&c.dst, ctl, argv[1], &c.depth);
    c.dst.zeroed |= c.target_is_zero;
    if (!status)
        status = copy_do(&c, ctl);
    /* The requests end here, and their buffers after that. */
    copy_end_close(&c.src);
    copy_end_close(&c.dst);
    pieces_free(&c);
    return status;
}
