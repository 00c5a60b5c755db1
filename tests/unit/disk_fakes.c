/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/unit/disk_fakes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fakes fake;

struct chain {
    int dummy;
};
struct chan {
    int dummy;
};

static struct chain the_chain;
static struct chan the_chan;
static struct chain_req reqs[64];
static bool req_used[64];
static struct chain_stats chain_stats_zero;
static struct chan_stats chan_stats_zero;
static struct blk_limits limits;
static struct loop_mail *mail, **mail_tail = &mail;
static struct blk_timer *timer;

/* ---- loops --------------------------------------------------------------- */

static void
fake_post(struct loop *l, struct loop_mail *m)
{
    if (l == &fake.control && fake.control_is_faster) {
        m->run(m);
        return;
    }
    m->next = NULL;
    *mail_tail = m;
    mail_tail = &m->next;
}

static void
fake_timer_start(struct loop *l, struct blk_timer *t, uint64_t ns)
{
    (void)l;
    (void)ns;
    timer = t;
}

static void
fake_timer_stop(struct loop *l, struct blk_timer *t)
{
    (void)l;
    if (timer == t)
        timer = NULL;
}

static uint64_t
fake_now(struct loop *l)
{
    (void)l;
    return fake.now += 1000;
}

static const struct loop_ops fake_loop_ops = {
    .now = fake_now,
    .post = fake_post,
    .timer_start = fake_timer_start,
    .timer_stop = fake_timer_stop,
};

void
fakes_reset(void)
{
    memset(&fake, 0, sizeof fake);
    memset(req_used, 0, sizeof req_used);
    fake.inherit = fake.table_fd = -1;
    fake.control.ops = &fake_loop_ops;
    fake.data.ops = &fake_loop_ops;
    mail = NULL;
    mail_tail = &mail;
    timer = NULL;
    limits = (struct blk_limits){
        .size = 1 << 20, .ops = BLK_ALL_OPS, .align = 512, .block = 512
    };
}

void
fake_run(void)
{
    while (mail) {
        struct loop_mail *m = mail;

        mail = m->next;
        if (!mail)
            mail_tail = &mail;
        m->run(m);
    }
}

bool
fake_timer(void)
{
    struct blk_timer *t = timer;

    timer = NULL;
    if (t)
        t->fire(t);
    return t;
}

/* ---- the chain ----------------------------------------------------------- */

struct chain_spec
conf_running(const struct conf_disk *d)
{
    fake.spec_mode = d->mode;
    return d->chain;
}

bool
conf_layers_equal(const struct chain_spec *a, const struct chain_spec *b)
{
    return a->n == b->n && a->layer == b->layer;
}

const char *
conf_mode_name(enum conf_mode mode)
{
    return mode == CONF_INTERCEPT ? "intercept" : "another";
}

int
chain_new(struct chain **c, struct loop *l, const struct chain_spec *spec,
          const struct chain_events *ev, void *ctx, char *why, size_t n)
{
    (void)l;
    if (fake.new_error) {
        snprintf(why, n, "there is no such plugin");
        return fake.new_error;
    }
    fake.chains++;
    fake.chain_events = ev;
    fake.chain_ctx = ctx;
    fake.spec_readonly = spec->readonly;
    *c = &the_chain;
    return 0;
}

static void
step(struct chain_op *op, int error)
{
    if (fake.hold_steps) {
        fake.held = op;
        return;
    }
    if (error)
        snprintf(op->why, sizeof op->why, "no such medium");
    op->done(op, error);
}

void
fake_step(int error)
{
    struct chain_op *op = fake.held;

    fake.held = NULL;
    op->done(op, error);
}

void
chain_start(struct chain *c, struct chain_op *op)
{
    (void)c;
    fake.chain_starts++;
    step(op, fake.start_error);
}

void
chain_stop(struct chain *c, struct chain_op *op)
{
    (void)c;
    fake.chain_stops++;
    step(op, 0);
}

void
chain_pause(struct chain *c, struct chain_op *op)
{
    (void)c;
    fake.paused++;
    fake.drain_ns = op->drain_ns;
    step(op, 0);
}

void
chain_resume(struct chain *c, struct chain_op *op)
{
    (void)c;
    fake.resumed++;
    step(op, 0);
}

void
chain_replace(struct chain *c, const struct chain_spec *spec,
              struct chain_op *op)
{
    (void)c;
    (void)spec;
    fake.replaces++;
    step(op, fake.replace_error);
}

void
chain_free(struct chain *c)
{
    (void)c;
    fake.chain_frees++;
}

const struct blk_limits *
chain_limits(const struct chain *c)
{
    (void)c;
    return &limits;
}

const struct chain_holds *
chain_holds(const struct chain *c)
{
    static const struct chain_holds holds = { .times = 3,
                                              .last_ns = 5,
                                              .longest_ns = 7 };

    (void)c;
    return &holds;
}

int
chain_reserve(struct chain *c, unsigned depth)
{
    (void)c;
    fake.reserved = depth;
    return fake.reserve_error;
}

struct chain_req *
chain_get(struct chain *c)
{
    unsigned i;

    (void)c;
    for (i = 0; i < 64; i++) {
        if (!req_used[i]) {
            req_used[i] = true;
            memset(&reqs[i], 0, sizeof reqs[i]);
            return &reqs[i];
        }
    }
    return NULL;
}

void
chain_put(struct chain *c, struct chain_req *r)
{
    (void)c;
    req_used[r - reqs] = false;
}

void
chain_submit(struct chain *c, struct chain_req *r)
{
    (void)c;
    fake.sent[fake.nsent++] = r;
}

void
chain_map(struct chain *c, struct chain_map *m)
{
    (void)c;
    fake.map = m;
}

void
fake_map(uint64_t len, enum blk_extent kind)
{
    struct chain_map *m = fake.map;

    m->off += len;
    m->len -= len;
    m->known = true;
    m->extent(m, len, kind);
}

void
fake_map_end(int error)
{
    struct chain_map *m = fake.map;

    fake.map = NULL;
    m->done(m, error);
}

struct blk_lender *
chain_lender(const struct chain *c)
{
    (void)c;
    return &fake.lender;
}

void
fake_end(int error)
{
    struct chain_req *r = fake.sent[0];

    memmove(fake.sent, fake.sent + 1, --fake.nsent * sizeof *fake.sent);
    r->done(r, error);
}

unsigned
chain_layers(const struct chain *c)
{
    (void)c;
    return 1;
}

const char *
chain_layer_name(const struct chain *c, unsigned i)
{
    (void)c;
    (void)i;
    return "fake";
}

const struct blk_limits *
chain_layer_limits(const struct chain *c, unsigned i)
{
    (void)c;
    (void)i;
    return &limits;
}

const struct chain_stats *
chain_layer_stats(const struct chain *c, unsigned i)
{
    (void)c;
    (void)i;
    return &chain_stats_zero;
}

void
chain_layer_out(struct chain *c, unsigned i, struct blk_out *out)
{
    (void)c;
    (void)i;
    out->u64(out, "things", 7, "things");
}

int
chain_command(struct chain *c, const char *layer, int argc, char **argv,
              struct blk_out *out)
{
    (void)c;
    (void)argc;
    out->text(out, argv[0]);
    return strcmp(layer, "fake") ? -ENOENT : 0;
}

/* ---- the channel --------------------------------------------------------- */

int
chan_open(struct chan **c, struct sweep *s, const struct chan_params *p,
          const struct chan_ops *ops, void *ctx, int inherit, char *why,
          size_t n)
{
    (void)s;
    fake.inherit = inherit;
    if (fake.chan_error) {
        snprintf(why, n, "ring 0: expected a page, found none");
        return fake.chan_error;
    }
    fake.chan_opens++;
    fake.lossy = fake.lossy && inherit >= 0; /* a new table is of a good disk */
    fake.params = *p;
    fake.chan_ops = ops;
    fake.chan_ctx = ctx;
    *c = &the_chan;
    return 0;
}

void
chan_drain(struct chan *c, void (*idle)(void *), void *arg)
{
    (void)c;
    fake.idle = idle;
    fake.idle_arg = arg;
}

void
fake_idle(void)
{
    void (*idle)(void *) = fake.idle;

    fake.idle = NULL;
    idle(fake.idle_arg);
}

void
chan_close(struct chan *c)
{
    (void)c;
    fake.idle = NULL; /* as the real one: not called any more */
    fake.chan_closes++;
}

void
chan_resize(struct chan *c, uint64_t size)
{
    (void)c;
    fake.resized = size;
}

void
chan_complete(struct chan_io *io, int error)
{
    (void)io;
    fake.completed++;
    fake.lossy_at_answer = fake.lossy;
    fake.last_error = error;
}

bool
chan_table_of(int fd, uint64_t nonce)
{
    return fd >= 0 && nonce == fake.table_nonce;
}

void
chan_lossy(struct chan *c)
{
    (void)c;
    fake.lossy = true;
}

void
chan_mended(struct chan *c)
{
    (void)c;
    fake.lossy = false;
}

bool
chan_is_lossy(const struct chan *c)
{
    (void)c;
    return fake.lossy;
}

struct chan *
chan_of(const struct chan_io *io)
{
    (void)io;
    return &the_chan;
}

bool
chan_adopted(const struct chan *c)
{
    (void)c;
    return fake.inherit >= 0;
}

int
chan_table_fd(const struct chan *c)
{
    (void)c;
    return fake.table_fd;
}

unsigned
chan_inflight(const struct chan *c)
{
    (void)c;
    return 0;
}

unsigned
chan_depth(const struct chan *c)
{
    (void)c;
    return 32;
}

const struct chan_stats *
chan_stats(const struct chan *c)
{
    (void)c;
    return &chan_stats_zero;
}

void
fake_request(struct chan_io *io, enum blk_op op, uint64_t off, uint64_t len)
{
    memset(io, 0, sizeof *io);
    io->op = (uint8_t)op;
    io->off = off;
    io->len = len;
    fake.chan_ops->request(fake.chan_ctx, io);
}

/* ---- the rest of the door ------------------------------------------------ */

void
sweep_free(struct sweep *s)
{
    (void)s;
}

int
sweep_new(struct sweep **s, struct tap *t)
{
    (void)t;
    *s = NULL;
    return 0;
}

int
tap_local_open(struct tap **t, struct loop *l, const struct local_share *s)
{
    (void)t;
    (void)l;
    (void)s;
    return -ENOSYS;
}

void
local_share_close(struct local_share *s)
{
    (void)s;
}

int
local_share_dup(struct local_share *to, const struct local_share *from)
{
    *to = *from;
    return 0;
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    (void)f;
    (void)fmt;
    fake.warnings += level == BLK_WARN;
}

bool
log_allowed(struct log_limit *l, uint64_t now_ns)
{
    (void)l;
    (void)now_ns;
    return !fake.log_full;
}
