/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain_kit.h: what the tests of the chain share: a chain of static plugins
 * over the small loop, steps that are waited for, a guest's request, and a
 * tail that answers when it is told to.
 */
#ifndef TESTS_UNIT_CHAIN_KIT_H
#define TESTS_UNIT_CHAIN_KIT_H

#include <errno.h>

#include "chain/engine.h"
#include "tests/sim/chain_loop.h"
#include "tests/test.h"

/* ---- a line of words about what happened --------------------------------- */

static char kit_log[4096];

__attribute__((unused, format(printf, 1, 2))) static void
note(const char *fmt, ...)
{
    size_t len = strlen(kit_log);
    va_list ap;

    if (len && len + 2 < sizeof(kit_log))
        kit_log[len++] = ' ';
    va_start(ap, fmt);
    vsnprintf(kit_log + len, sizeof(kit_log) - len, fmt, ap);
    va_end(ap);
}

/* What happened since the last time it was asked for. */
__attribute__((unused)) static const char *
noted(void)
{
    static char copy[sizeof(kit_log)];

    memcpy(copy, kit_log, sizeof(copy));
    kit_log[0] = '\0';
    return copy;
}

__attribute__((unused)) static const char *
op_word(unsigned op)
{
    static const char *const words[] = { "read", "write", "flush", "discard",
                                         "zero" };

    return words[op];
}

/* ---- the tail: a disk of KIT_SIZE bytes ---------------------------------- */

enum { KIT_SIZE = 1 << 20, KIT_HELD = 64 };

struct kit_disk {
    unsigned char data[KIT_SIZE];
    struct blk_limits limits;
    bool hold; /* requests wait for kit_release() */
    bool quiet;
    int error; /* of the next request */
    struct blk_layer *l;
    struct blk_req *held[KIT_HELD];
    unsigned n_held, kicks, requests, segs_max;
};
static struct kit_disk kit_disk;

__attribute__((unused)) static void
kit_serve(struct blk_layer *l, struct blk_req *r)
{
    struct kit_disk *d = &kit_disk;
    int error = d->error;

    d->error = 0;
    if (r->op != BLK_FLUSH)
        CHECK(r->off + r->len <= KIT_SIZE);
    if (error)
        ;
    else if (r->op == BLK_READ)
        CHECK_EQ(blk_sg_write(&r->sg, 0, d->data + r->off, r->len), r->len);
    else if (r->op == BLK_WRITE)
        CHECK_EQ(blk_sg_read(&r->sg, 0, d->data + r->off, r->len), r->len);
    else if (r->op != BLK_FLUSH)
        memset(d->data + r->off, 0, r->len);
    blk_end(l, r, error);
}

static void
kit_submit(struct blk_layer *l, struct blk_req *r)
{
    struct kit_disk *d = &kit_disk;

    d->l = l;
    d->requests++;
    if (r->sg.n > d->segs_max)
        d->segs_max = r->sg.n;
    if (!d->quiet)
        note("%s%s@%" PRIu64 "+%u", op_word(r->op),
             r->flags & BLK_FUA ? ",fua" : "", r->off, r->len);
    if (d->hold) {
        REQUIRE(d->n_held < KIT_HELD);
        d->held[d->n_held++] = r;
    } else {
        kit_serve(l, r);
    }
}

/* Serves the i-th of those that are held. */
__attribute__((unused)) static void
kit_release(unsigned i)
{
    struct kit_disk *d = &kit_disk;
    struct blk_req *r = d->held[i];

    REQUIRE(i < d->n_held);
    memmove(d->held + i, d->held + i + 1, (--d->n_held - i) * sizeof(*d->held));
    kit_serve(d->l, r);
}

static void
kit_limits(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    *lim = kit_disk.limits;
}

static void
kit_kick(struct blk_layer *l)
{
    (void)l;
    kit_disk.kicks++;
}

static const struct blk_plugin kit_tail = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .tail = BLK_TAIL,
    .name = "tail",
    .help = "a disk in memory",
    .submit = kit_submit,
    .kick = kit_kick,
    .limits = kit_limits,
};

__attribute__((unused)) static void
kit_disk_reset(void)
{
    memset(&kit_disk, 0, sizeof(kit_disk));
    kit_disk.limits = (struct blk_limits){
        .size = KIT_SIZE,
        .ops = BLK_ALL_OPS,
        .align = 512,
        .block = 4096,
        .max_len = 1 << 20,
        .max_segs = 64,
        .mem_align = 1,
        .max_discard = 1 << 20,
        .volatile_cache = true,
    };
    kit_log[0] = '\0';
}

/* ---- the chain ----------------------------------------------------------- */

static struct chain_loop kit_loop;
static char kit_why[256];
static unsigned kit_relimits;
static int kit_fatal;
static char kit_fatal_why[256];

static void
kit_on_relimit(void *ctx, const struct blk_limits *lim)
{
    (void)ctx;
    (void)lim;
    kit_relimits++;
}

static void
kit_on_fatal(void *ctx, int error, const char *why)
{
    (void)ctx;
    kit_fatal = error;
    snprintf(kit_fatal_why, sizeof(kit_fatal_why), "%s", why);
}

static uint64_t kit_least; /* a replacement may not be smaller */

static int
kit_on_accept(void *ctx, const struct blk_limits *now,
              const struct blk_limits *then, char *why, size_t n)
{
    (void)ctx;
    CHECK(now->size >= 512);
    if (then->size >= kit_least)
        return 0;
    snprintf(why, n, "%" PRIu64 " is too small", then->size);
    return -ERANGE;
}

static const struct chain_events kit_events = {
    .relimit = kit_on_relimit,
    .fatal = kit_on_fatal,
    .accept = kit_on_accept,
};

/* A spec of plugins by name, each without options: "a b tail". */
struct kit_spec {
    struct chain_spec spec;
    struct blk_conf layer[16];
    char words[256];
};

/* "plugin", "plugin:name" or "plugin:name:key=value", separated by blanks. */
__attribute__((unused)) static struct chain_spec *
kit_spec(struct kit_spec *k, const char *text)
{
    static struct blk_kv kv[16];
    char *save = NULL, *word;

    memset(k, 0, sizeof(*k));
    snprintf(k->words, sizeof(k->words), "%s", text);
    k->spec.disk = "disk";
    k->spec.layer = k->layer;
    for (word = strtok_r(k->words, " ", &save); word;
         word = strtok_r(NULL, " ", &save)) {
        struct blk_conf *conf = &k->layer[k->spec.n];
        char *name = strchr(word, ':'), *key = NULL, *value;

        conf->plugin = conf->name = word;
        conf->file = "t.conf";
        conf->line = (int)k->spec.n + 1;
        if (name) {
            *name++ = '\0';
            conf->name = name;
            key = strchr(name, ':');
        }
        if (key) {
            *key++ = '\0';
            value = strchr(key, '=');
            *value++ = '\0';
            kv[k->spec.n] =
                (struct blk_kv){ key, value, conf->file, conf->line };
            conf->kv = &kv[k->spec.n];
            conf->n = 1;
        }
        k->spec.n++;
    }
    return &k->spec;
}

__attribute__((unused)) static void
kit_run(void)
{
    for (unsigned i = 0; chain_loop_step(&kit_loop); i++)
        REQUIRE(i < 1000000);
}

__attribute__((unused)) static struct chain *
kit_new(const char *layers)
{
    struct kit_spec k;
    struct chain *c;
    int error;

    chain_loop_init(&kit_loop, 1);
    kit_relimits = 0;
    kit_fatal = 0;
    kit_least = 0;
    error = chain_new(&c, &kit_loop.loop, kit_spec(&k, layers), &kit_events,
                      NULL, kit_why, sizeof(kit_why));
    if (error)
        printf("%s\n", kit_why);
    REQUIRE(!error);
    return c;
}

/* A step, and how it ended: 1 until it has. */
struct kit_op {
    struct chain_op op;
    int error;
};

static void
kit_op_done(struct chain_op *op, int error)
{
    ((struct kit_op *)op)->error = error;
}

typedef void kit_step(struct chain *, struct chain_op *);

__attribute__((unused)) static struct kit_op *
kit_begin(struct chain *c, kit_step *step)
{
    struct kit_op *op = calloc(1, sizeof(*op));

    REQUIRE(op);
    op->op.done = kit_op_done;
    op->error = 1;
    step(c, &op->op);
    CHECK_EQ(op->error, 1);
    return op;
}

__attribute__((unused)) static int
kit_end(struct kit_op *op)
{
    int error = op->error;

    snprintf(kit_why, sizeof(kit_why), "%s", op->op.why);
    free(op);
    return error;
}

__attribute__((unused)) static int
kit_step_now(struct chain *c, kit_step *step)
{
    struct kit_op *op = kit_begin(c, step);

    kit_run();
    return kit_end(op);
}

__attribute__((unused)) static struct kit_op *
kit_replace_begin(struct chain *c, const char *layers)
{
    struct kit_spec k;
    struct kit_op *op = calloc(1, sizeof(*op));

    REQUIRE(op);
    op->op.done = kit_op_done;
    op->error = 1;
    chain_replace(c, kit_spec(&k, layers), &op->op);
    return op;
}

__attribute__((unused)) static int
kit_replace(struct chain *c, const char *layers)
{
    struct kit_op *op = kit_replace_begin(c, layers);

    kit_run();
    return kit_end(op);
}

__attribute__((unused)) static struct chain *
kit_start(const char *layers)
{
    struct chain *c = kit_new(layers);

    REQUIRE(!chain_reserve(c, 16));
    REQUIRE(!kit_step_now(c, chain_start));
    return c;
}

__attribute__((unused)) static void
kit_stop(struct chain *c)
{
    CHECK_EQ(kit_step_now(c, chain_stop), 0);
    chain_free(c);
}

/* ---- a guest's request --------------------------------------------------- */

struct kit_req {
    struct chain_req *req;
    struct iovec v[32];
    int error; /* 1: not over */
    struct chain *c;
};

static void
kit_req_done(struct chain_req *req, int error)
{
    struct kit_req *k = req->owner;

    k->error = error;
    chain_put(k->c, req);
}

/* data in pieces of seg bytes. */
__attribute__((unused)) static void
kit_submit_req(struct chain *c, struct kit_req *k, unsigned op, unsigned flags,
               uint64_t off, uint32_t len, void *data, uint32_t seg)
{
    struct blk_req *r;

    k->req = chain_get(c);
    REQUIRE(k->req);
    k->c = c;
    k->error = 1;
    k->req->done = kit_req_done;
    k->req->owner = k;
    r = &k->req->req;
    r->op = (uint8_t)op;
    r->flags = (uint8_t)flags;
    r->off = off;
    r->len = len;
    r->sg = (struct blk_sg){ .v = k->v };
    for (uint32_t at = 0; data && at < len; at += seg) {
        REQUIRE(r->sg.n < 32);
        k->v[r->sg.n++] = (struct iovec){
            (char *)data + at,
            len - at < seg ? len - at : seg,
        };
    }
    chain_submit(c, k->req);
    CHECK_EQ(k->error, 1);
}

__attribute__((unused)) static int
kit_do(struct chain *c, unsigned op, unsigned flags, uint64_t off, uint32_t len,
       void *data)
{
    struct kit_req k;

    kit_submit_req(c, &k, op, flags, off, len, data, len ? len : 1);
    kit_run();
    return k.error;
}

#endif
