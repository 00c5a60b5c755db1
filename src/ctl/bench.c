/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench.c: load on a disk, through the same rings that a guest uses.
 *
 * As many requests as the depth says are in flight until the time is over;
 * each answer is timed and makes the next request.  All requests of a run have
 * the same length.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/app.h"
#include "ctl/ctl.h"
#include "ctl/human.h"
#include "ctl/latency.h"

const char bench_help[] =
    "  --rw MODE     read, write, randread, randwrite or randrw (randread)\n"
    "  --bs SIZE     of a request (4k)\n"
    "  --depth N     requests in flight (32)\n"
    "  --queues N    rings, 1 to 16 (1)\n"
    "  --time S      seconds (10)\n"
    "  --mix N       randrw: percent of reads (50)\n"
    "  --yes-destroy-data\n"
    "                write modes overwrite the disk, and need this\n";

enum mode { READ, WRITE, RANDREAD, RANDWRITE, RANDRW, MODES };
static const char *const mode_names[MODES] = { "read", "write", "randread",
                                               "randwrite", "randrw" };
enum { DEPTH_MAX = 4096 };

struct bench;

struct load {
    struct bench *bench;
    struct blktap_req req;
    uint64_t began_ns;
    bool waits; /* not submitted yet: the ring was full */
};

struct bench {
    const char *name;
    enum mode mode;
    uint64_t bs, depth, queues, seconds, mix;
    bool may_destroy;
    struct blktap_disk *disk;
    struct load *load;
    char *memory;
    uint64_t slots, next; /* places for a request; of sequential modes */
    uint64_t random;
    uint64_t began_ns, end_ns, took_ns;
    unsigned in_flight;
    int error;
    struct latency read, write;
};

/* ---- requests ------------------------------------------------------------ */

/* xorshift64*: good enough to spread requests, and the same in every run. */
static uint64_t
bench_random(struct bench *b)
{
    b->random ^= b->random >> 12;
    b->random ^= b->random << 25;
    b->random ^= b->random >> 27;
    return b->random * UINT64_C(2685821657736338717);
}

static enum blktap_op
bench_op(struct bench *b)
{
    if (b->mode == RANDRW)
        return bench_random(b) >> 32 < (b->mix << 32) / 100 ? BLKTAP_READ
                                                            : BLKTAP_WRITE;
    return b->mode == READ || b->mode == RANDREAD ? BLKTAP_READ : BLKTAP_WRITE;
}

static uint64_t
bench_offset(struct bench *b)
{
    uint64_t slot =
        b->mode == READ || b->mode == WRITE ? b->next++ : bench_random(b);

    return slot % b->slots * b->bs;
}

static void
load_submit(struct load *l)
{
    struct bench *b = l->bench;
    int rc;

    l->began_ns = now_ns();
    rc = blktap_submit(b->disk, &l->req);
    l->waits = rc == -EAGAIN;
    if (!rc)
        b->in_flight++;
    else if (rc != -EAGAIN)
        b->error = rc;
}

static void
load_next(struct load *l)
{
    struct bench *b = l->bench;

    if (b->error || now_ns() >= b->end_ns)
        return;
    l->req.op = bench_op(b);
    l->req.off = bench_offset(b);
    load_submit(l);
}

static void
load_done(struct blktap_req *r)
{
    struct load *l = r->data;
    struct bench *b = l->bench;
    uint64_t now = now_ns();

    b->in_flight--;
    if (r->error) {
        b->error = r->error;
        return;
    }
    latency_add(r->op == BLKTAP_READ ? &b->read : &b->write, now - l->began_ns);
    b->took_ns = now - b->began_ns;
    load_next(l);
}

static int
bench_go(struct bench *b)
{
    uint64_t i;
    int rc;

    b->began_ns = now_ns();
    b->end_ns = b->began_ns + b->seconds * 1000000000u;
    for (i = 0; i < b->depth; i++)
        load_next(&b->load[i]);
    while (b->in_flight) {
        rc = blktap_wait(b->disk, -1);
        if (rc < 0)
            return rc;
        for (i = 0; i < b->depth; i++) {
            if (b->load[i].waits && !b->error && now_ns() < b->end_ns)
                load_submit(&b->load[i]);
        }
    }
    return b->error;
}

/* ---- the words ----------------------------------------------------------- */

static int
mode_parse(struct bench *b, const char *value)
{
    int i;

    for (i = 0; i < MODES; i++) {
        if (!strcmp(value, mode_names[i])) {
            b->mode = (enum mode)i;
            return 0;
        }
    }
    return ctl_error("--rw: expected read, write, randread, randwrite or "
                     "randrw, found %s",
                     value);
}

static int
option_parse(struct bench *b, const char *name, const char *value)
{
    const struct {
        const char *name;
        uint64_t min, max, *to;
    } numbers[] = { { "--depth", 1, DEPTH_MAX, &b->depth },
                    { "--queues", 1, 16, &b->queues },
                    { "--time", 1, 86400, &b->seconds },
                    { "--mix", 0, 100, &b->mix } };
    size_t i;

    if (!strcmp(name, "--rw"))
        return mode_parse(b, value);
    if (!strcmp(name, "--bs")) {
        if (human_parse_bytes(value, &b->bs) && b->bs && b->bs % 512 == 0 &&
            b->bs <= 16 << 20)
            return 0;
        return ctl_error("--bs: expected 512 to 16M, a multiple of 512, found "
                         "%s",
                         value);
    }
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name))
            continue;
        if (human_parse_number(value, numbers[i].min, numbers[i].max,
                               numbers[i].to))
            return 0;
        return ctl_error("%s: expected %" PRIu64 " to %" PRIu64 ", found %s",
                         name, numbers[i].min, numbers[i].max, value);
    }
    return ctl_error("there is no option %s of bench", name);
}

static int
words_parse(struct bench *b, int argc, char **argv)
{
    int i;

    for (i = 0; i < argc; i++) {
        if (argv[i][0] != '-' && !b->name) {
            b->name = argv[i];
        } else if (!strcmp(argv[i], "--yes-destroy-data")) {
            b->may_destroy = true;
        } else if (argv[i][0] != '-') {
            return ctl_error("bench: expected one disk, found one more: %s",
                             argv[i]);
        } else if (i + 1 == argc) {
            return ctl_error("bench: %s: expected a value", argv[i]);
        } else if (option_parse(b, argv[i], argv[i + 1])) {
            return 1;
        } else {
            i++;
        }
    }
    if (!b->name)
        return ctl_error("usage: blktapctl bench DISK");
    if (b->mode != READ && b->mode != RANDREAD && !b->may_destroy)
        return ctl_error("--rw %s overwrites disk %s: add --yes-destroy-data "
                         "if that is meant",
                         mode_names[b->mode], b->name);
    return 0;
}

/* ---- before and after ---------------------------------------------------- */

static int
bench_open(struct bench *b, const struct ctl *ctl)
{
    struct blktap_options o = { .socket = ctl->socket,
                                .queues = (unsigned)b->queues };
    uint64_t bytes = b->depth * ((b->bs + 4095) / 4096 * 4096);
    char *why = NULL;

    o.readonly = b->mode == READ || b->mode == RANDREAD;
    while (o.ring_order < 4 && b->queues * (32u << o.ring_order) < b->depth)
        o.ring_order++;
    o.buffers = bytes > 1 << 30 ? 1 << 30 : (unsigned)bytes;
    o.buffers = o.buffers < 1 << 20 ? 1 << 20 : o.buffers;
    b->disk = blktap_open(b->name, &o, &why);
    if (!b->disk) {
        ctl_error("%s", why ? why : "out of memory");
        free(why);
        return 1;
    }
    if (blktap_info(b->disk)->max_len < b->bs)
        return ctl_error("--bs: expected at most %u, which is what disk %s "
                         "takes, found %" PRIu64,
                         blktap_info(b->disk)->max_len, b->name, b->bs);
    if (!o.readonly && blktap_info(b->disk)->readonly)
        return ctl_error("disk %s: expected one to write to, found it "
                         "read-only",
                         b->name);
    b->slots = blktap_info(b->disk)->size / b->bs;
    if (!b->slots)
        return ctl_error("disk %s is smaller than one request", b->name);
    return 0;
}

static int
bench_make(struct bench *b)
{
    uint64_t i, n = b->depth * b->bs / sizeof(uint64_t), *word;

    b->load = calloc(b->depth, sizeof(*b->load));
    b->memory = malloc(b->depth * b->bs);
    if (!b->load || !b->memory)
        return ctl_error("out of memory");
    /* What is written is not zeroes: layers know shortcuts for these. */
    word = (uint64_t *)(void *)b->memory;
    for (i = 0; i < n; i++)
        word[i] = bench_random(b);
    for (i = 0; i < b->depth; i++) {
        struct load *l = &b->load[i];

        l->bench = b;
        l->req.queue = (unsigned)(i % blktap_info(b->disk)->queues);
        l->req.len = b->bs;
        l->req.buf = b->memory + i * b->bs;
        l->req.done = load_done;
        l->req.data = l;
    }
    return 0;
}

static void
report_json(const struct bench *b, const char *what, const struct latency *l,
            const char *after)
{
    double s = (double)b->took_ns / 1e9, iops = s > 0 ? (double)l->n / s : 0;

    printf("  \"%s\": {\"requests\": %" PRIu64 ", \"iops\": %.1f, "
           "\"bytes_per_second\": %.0f, \"latency_ns\": {\"mean\": %" PRIu64
           ", \"p50\": %" PRIu64 ", \"p90\": %" PRIu64 ", \"p99\": %" PRIu64
           ", \"p99.9\": %" PRIu64 ", \"max\": %" PRIu64 "}}%s\n",
           what, l->n, iops, iops * (double)b->bs, latency_mean(l),
           latency_at(l, 0.5), latency_at(l, 0.9), latency_at(l, 0.99),
           latency_at(l, 0.999), l->max_ns, after);
}

static void
report_text(const struct bench *b, const char *what, const struct latency *l)
{
    static const struct {
        const char *name;
        double p;
    } points[] = {
        { "50 %", 0.5 }, { "90 %", 0.9 }, { "99 %", 0.99 }, { "99.9 %", 0.999 }
    };
    double s = (double)b->took_ns / 1e9, iops = s > 0 ? (double)l->n / s : 0;
    char text[HUMAN_SIZE];
    size_t i;

    if (!l->n)
        return;
    printf("%s: %.0f IOPS, %.1f MB/s\n  latency: mean %s", what, iops,
           iops * (double)b->bs / 1e6, human_ns(text, latency_mean(l)));
    for (i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        printf(", %s %s", points[i].name,
               human_ns(text, latency_at(l, points[i].p)));
    printf(", max %s\n", human_ns(text, l->max_ns));
}

static void
bench_report(const struct bench *b, const struct ctl *ctl)
{
    const struct blktap_info *info = blktap_info(b->disk);

    if (ctl->json) {
        printf("{\n  \"disk\": \"%s\", \"rw\": \"%s\", \"bs\": %" PRIu64
               ", \"depth\": %" PRIu64 ", \"queues\": %u, \"seconds\": %.3f,\n",
               b->name, mode_names[b->mode], b->bs, b->depth, info->queues,
               (double)b->took_ns / 1e9);
        report_json(b, "read", &b->read, ",");
        report_json(b, "write", &b->write, "");
        printf("}\n");
        return;
    }
    printf("disk %s: %s, %" PRIu64 " bytes, depth %" PRIu64
           ", queues %u, %.1f s\n",
           b->name, mode_names[b->mode], b->bs, b->depth, info->queues,
           (double)b->took_ns / 1e9);
    report_text(b, "read", &b->read);
    report_text(b, "write", &b->write);
}

int
bench_run(const struct ctl *ctl, int argc, char **argv)
{
    static struct bench b = { .mode = RANDREAD,
                              .bs = 4096,
                              .depth = 32,
                              .queues = 1,
                              .seconds = 10,
                              .mix = 50,
                              .random = UINT64_C(0x9e3779b97f4a7c15) };
    int status, rc;

    if (words_parse(&b, argc, argv))
        return 1;
    status = bench_open(&b, ctl) || bench_make(&b);
    if (!status) {
        rc = bench_go(&b);
        if (rc)
            status = ctl_error("disk %s: %s", b.name,
                               rc == -EPIPE ? "the daemon took it away"
                                            : strerror(-rc));
        else
            bench_report(&b, ctl);
    }
    blktap_close(b.disk);
    free(b.load);
    free(b.memory);
    return status;
}
