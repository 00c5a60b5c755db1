/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layers of the simulation: each uses one part of the contract, and checks
 * what the contract says about it.
 */
#include "config.h"
#include "tests/sim/chain_sim.h"

#include <errno.h>

/* What every layer starts with: a number to make it another layer by, and a
 * timer for steps that take time. */
struct common {
    uint64_t mark;
    struct blk_layer *l;
    struct blk_timer ready;
};

static const struct blk_option options[] = {
    { .name = "mark",
      .type = BLK_UINT,
      .at = offsetof(struct common, mark),
      .help = "any number" },
    { .name = NULL },
};

static void
common_ready(struct blk_timer *t)
{
    blk_ready(((struct common *)t->data)->l, 0);
}

/* Now, or later. */
static void
ready_some_time(struct blk_layer *l)
{
    struct common *c = blk_self(l);

    c->l = l;
    c->ready.fire = common_ready;
    c->ready.data = c;
    if (sim_chance(50))
        blk_ready(l, 0);
    else
        blk_timer_start(l, &c->ready, sim_random(20000));
}

static void
common_step(struct blk_layer *l)
{
    sim_enter();
    ready_some_time(l);
    sim_leave();
}

static void
common_start(struct blk_layer *l, struct blk_layer *old)
{
    (void)old;
    common_step(l);
}

#define COMMON(id, what)                                          \
    .abi = BLK_ABI, .name = id, .help = what, .options = options, \
    .start = common_start, .resume = common_step, .stop = common_step

/* What an engine promises to a layer about a request that comes in. */
static void
accept(struct blk_layer *l, const struct blk_req *r)
{
    const struct blk_limits *lim = blk_below(l);
    bool data = r->op == BLK_READ || r->op == BLK_WRITE;

    if (r->mine || r->error)
        sim_fail("%s: submitted with mine %d, error %d", blk_name(l), r->mine,
                 r->error);
    if (r->op == BLK_FLUSH)
        return;
    if ((r->off | r->len) % lim->align || !r->len)
        sim_fail("%s: not aligned", blk_name(l));
    if (r->len > (data ? lim->max_len : lim->max_discard))
        sim_fail("%s: too long", blk_name(l));
}

/* ---- watch: only done() -------------------------------------------------- */

static void
watch_done(struct blk_layer *l, struct blk_req *r)
{
    unsigned op;
    uint64_t off;

    sim_enter();
    if (r->mine)
        sim_fail("a watcher owns nothing");
    if (r->op == BLK_READ || r->op == BLK_WRITE) {
        char *at = (char *)r->sg.v[0].iov_base + r->sg.skip;

        /* Below the remapper there is more disk. */
        uint64_t shift = blk_below(l)->size - chain_limits(sim.chain)->size;

        if (guest_at(at, &op, &off) && (op != r->op || off + shift != r->off))
            sim_fail("%s: saw %u at %" PRIu64 ", the guest sent %u at %" PRIu64,
                     blk_name(l), r->op, r->off, op, off);
    }
    blk_end(l, r, r->error);
    sim_leave();
}

const struct blk_plugin sim_watch = {
    COMMON("watch", "sees what comes up"),
    .self_size = sizeof(struct common),
    .ops = BLK_ALL_OPS,
    .done = watch_done,
};

/* ---- echo: what was sent down is what is seen in done() ------------------ */

struct echo_req {
    uint64_t off;
    struct blk_sg sg;
    uint32_t len;
    uint8_t op, flags;
    uint64_t zero[3], full;
};

static void
echo_submit(struct blk_layer *l, struct blk_req *r)
{
    struct echo_req *e = r->scratch;

    sim_enter();
    accept(l, r);
    if (e->off || e->len || e->op || e->sg.v || e->zero[0] || e->full)
        sim_fail("%s: scratch is not zeroed", blk_name(l));
    *e = (struct echo_req){ r->off,   r->sg,       r->len, r->op,
                            r->flags, { 0, 0, 0 }, 77 };
    blk_down(l, r);
    sim_leave();
}

static void
echo_done(struct blk_layer *l, struct blk_req *r)
{
    struct echo_req *e = r->scratch;

    sim_enter();
    if (e->off != r->off || e->len != r->len || e->op != r->op ||
        e->flags != r->flags || e->sg.v != r->sg.v || e->sg.n != r->sg.n ||
        e->sg.skip != r->sg.skip || e->full != 77 || e->zero[1])
        sim_fail("%s: sent op %u flags %u %" PRIu64 "+%u, got back op %u "
                 "flags %u %" PRIu64 "+%u",
                 blk_name(l), e->op, e->flags, e->off, e->len, r->op, r->flags,
                 r->off, r->len);
    blk_end(l, r, r->error);
    sim_leave();
}

const struct blk_plugin sim_echo = {
    COMMON("echo", "compares"),
    .self_size = sizeof(struct common),
    .req_size = sizeof(struct echo_req),
    .ops = BLK_ALL_OPS,
    .pause = common_step,
    .submit = echo_submit,
    .done = echo_done,
};

/* ---- split: a small pool, so it has to wait ------------------------------ */

struct split_req {
    uint32_t at, children;
};

static void
split_submit(struct blk_layer *l, struct blk_req *r)
{
    struct split_req *s = r->scratch;
    const uint32_t align = blk_below(l)->align;

    sim_enter();
    accept(l, r);
    if (r->op == BLK_FLUSH || (r->len == align && !s->at)) {
        blk_down(l, r);
        sim_leave();
        return;
    }
    while (s->at < r->len) {
        uint32_t len = align * (uint32_t)(1 + sim_random(3));
        struct blk_req *child;

        if (len > r->len - s->at)
            len = r->len - s->at;
        child = blk_split(l, r, s->at, len);
        if (!child) {
            sim.waits++;
            blk_wait(l, r);
            sim_leave();
            return;
        }
        sim.splits++;
        s->at += len;
        s->children++;
        blk_down(l, child);
    }
    blk_end(l, r, 0);
    sim_leave();
}

static void
split_done(struct blk_layer *l, struct blk_req *r)
{
    sim_enter();
    if (r->mine) {
        struct split_req *s = r->parent->scratch;

        if (!s->children--)
            sim_fail("more children came back than went");
    }
    blk_end(l, r, r->error);
    sim_leave();
}

const struct blk_plugin sim_split = {
    COMMON("split", "splits"),
    .self_size = sizeof(struct common),
    .req_size = sizeof(struct split_req),
    .own = 3,
    .ops = BLK_ALL_OPS,
    .pause = common_step,
    .submit = split_submit,
    .done = split_done,
};

/* ---- retry --------------------------------------------------------------- */

static void
retry_done(struct blk_layer *l, struct blk_req *r)
{
    unsigned *tries = r->scratch;

    sim_enter();
    if (r->error == -EIO && ++*tries < 3) {
        sim.retries++;
        blk_down(l, r);
    } else {
        blk_end(l, r, r->error);
    }
    sim_leave();
}

const struct blk_plugin sim_retry = {
    COMMON("retry", "tries again"),
    .self_size = sizeof(struct common),
    .req_size = sizeof(unsigned),
    .ops = BLK_ALL_OPS,
    .done = retry_done,
};

/* ---- hold: keeps requests until a timer or drain ------------------------- */

struct hold_req {
    struct blk_req *next;
};

struct hold {
    struct common common;
    struct blk_req *head;
    struct blk_timer timer;
    bool draining, armed;
};

static void
hold_release(struct hold *h)
{
    struct blk_req *r;

    while ((r = h->head)) {
        h->head = ((struct hold_req *)r->scratch)->next;
        blk_down(h->common.l, r);
    }
}

static void
hold_fire(struct blk_timer *t)
{
    struct hold *h = t->data;

    sim_enter();
    h->armed = false;
    hold_release(h);
    sim_leave();
}

static void
hold_submit(struct blk_layer *l, struct blk_req *r)
{
    struct hold *h = blk_self(l);

    sim_enter();
    accept(l, r);
    h->common.l = l;
    ((struct hold_req *)r->scratch)->next = h->head;
    h->head = r;
    h->timer.fire = hold_fire;
    h->timer.data = h;
    if (h->draining) {
        hold_release(h);
    } else if (!h->armed) {
        h->armed = true;
        /* Sometimes longer than a pause may take. */
        blk_timer_start(l, &h->timer, sim_chance(5) ? 3600000000000u : 40000u);
    }
    sim_leave();
}

static void
hold_drain(struct blk_layer *l)
{
    struct hold *h = blk_self(l);

    sim_enter();
    h->draining = true;
    h->common.l = l;
    blk_timer_stop(l, &h->timer);
    h->armed = false;
    hold_release(h);
    sim_leave();
}

static void
hold_resume(struct blk_layer *l)
{
    sim_enter();
    ((struct hold *)blk_self(l))->draining = false;
    ready_some_time(l);
    sim_leave();
}

const struct blk_plugin sim_hold = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct hold),
    .req_size = sizeof(struct hold_req),
    .ops = BLK_ALL_OPS,
    .name = "hold",
    .help = "holds",
    .options = options,
    .start = common_start,
    .pause = common_step,
    .resume = hold_resume,
    .stop = common_step,
    .submit = hold_submit,
    .drain = hold_drain,
};

/* ---- remap: no done(), nothing to undo ----------------------------------- */

static void
remap_submit(struct blk_layer *l, struct blk_req *r)
{
    sim_enter();
    accept(l, r);
    if (r->op != BLK_FLUSH)
        r->off += SHIFT;
    blk_down(l, r);
    sim_leave();
}

static void
remap_limits(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    lim->size -= SHIFT;
}

const struct blk_plugin sim_remap = {
    COMMON("remap", "moves"), .self_size = sizeof(struct common),
    .ops = BLK_ALL_OPS,       .submit = remap_submit,
    .limits = remap_limits,
};

/* ---- xor: own buffers for what is written -------------------------------- */

enum { XOR_BUFFERS = 3, XOR_SIZE = 32 << 10 };

struct xor_buffer {
    struct iovec v;
    bool used;
    _Alignas(4096) uint8_t data[XOR_SIZE];
};
static struct xor_buffer xor_buffers[XOR_BUFFERS];

struct xor_req {
    struct xor_buffer *buffer;
};

uint8_t
xor_key(uint64_t off)
{
    return (uint8_t)(off * 7 + (off >> 9) * 13 + 5);
}

static void
xor_submit(struct blk_layer *l, struct blk_req *r)
{
    struct xor_buffer *b = xor_buffers;
    struct blk_req *child = NULL;

    sim_enter();
    accept(l, r);
    if (r->op != BLK_WRITE) {
        blk_down(l, r);
        sim_leave();
        return;
    }
    while (b < xor_buffers + XOR_BUFFERS && b->used)
        b++;
    if (b < xor_buffers + XOR_BUFFERS)
        child = blk_split(l, r, 0, r->len);
    if (!child) {
        blk_wait(l, r);
        sim_leave();
        return;
    }
    b->used = true;
    blk_sg_read(&child->sg, 0, b->data, child->len);
    for (uint32_t i = 0; i < child->len; i++)
        b->data[i] ^= xor_key(child->off + i);
    b->v = (struct iovec){ b->data, child->len };
    child->sg = (struct blk_sg){ &b->v, 1, 0 };
    ((struct xor_req *)child->scratch)->buffer = b;
    blk_down(l, child);
    blk_end(l, r, 0);
    sim_leave();
}

static void
xor_done(struct blk_layer *l, struct blk_req *r)
{
    uint8_t data[XOR_SIZE];

    sim_enter();
    if (r->mine) {
        ((struct xor_req *)r->scratch)->buffer->used = false;
    } else if (r->op == BLK_READ && !r->error) {
        blk_sg_read(&r->sg, 0, data, r->len);
        for (uint32_t i = 0; i < r->len; i++)
            data[i] ^= xor_key(r->off + i);
        blk_sg_write(&r->sg, 0, data, r->len);
    }
    blk_end(l, r, r->error);
    sim_leave();
}

const struct blk_plugin sim_xor = {
    COMMON("xor", "changes data"),
    .self_size = sizeof(struct common),
    .req_size = sizeof(struct xor_req),
    .own = 4,
    .ops = BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_FLUSH),
    .submit = xor_submit,
    .done = xor_done,
};

/* ---- scrub: requests of its own, also in start()
 * ------------------------------------------ */

enum { SCRUB_OWN = 2, SCRUB_SIZE = 16 << 10 };

struct scrub {
    struct common common;
    struct blk_timer timer;
    struct iovec v[SCRUB_OWN];
    unsigned out;
    bool starting, pausing, quiet;
};
static _Alignas(4096) uint8_t scrub_data[SCRUB_SIZE]; /* nobody reads it */

static void
scrub_arm(struct scrub *s)
{
    blk_timer_start(s->common.l, &s->timer, 1 + sim_random(80000));
}

static void
scrub_fire(struct blk_timer *t)
{
    struct scrub *s = t->data;
    const struct blk_limits *lim = blk_below(s->common.l);
    uint32_t len = lim->align;
    struct blk_req *r;

    sim_enter();
    if (!s->out && !s->quiet && lim->size >= len && len <= SCRUB_SIZE) {
        uint64_t off = sim_random(lim->size / len) * len;

        s->v[0] = (struct iovec){ scrub_data, len };
        r = blk_new(s->common.l, BLK_READ, off, len,
                    (struct blk_sg){ s->v, 1, 0 });
        if (r) {
            if (!r->mine || r->parent)
                sim_fail("an own request that is not mine");
            s->out++;
            blk_down(s->common.l, r);
        }
    }
    if (!s->quiet)
        scrub_arm(s);
    sim_leave();
}

static void
scrub_begin(struct blk_layer *l)
{
    struct scrub *s = blk_self(l);

    s->common.l = l;
    s->quiet = false;
    s->timer.fire = scrub_fire;
    s->timer.data = s;
    scrub_arm(s);
}

static void
scrub_done(struct blk_layer *l, struct blk_req *r)
{
    struct scrub *s = blk_self(l);

    sim_enter();
    if (r->mine) {
        sim.scrubs++;
        s->out--;
        blk_end(l, r, 0);
        if (s->starting && !s->out) {
            s->starting = false;
            scrub_begin(l);
            blk_ready(l, 0);
        }
        if (s->pausing && !s->out) {
            s->pausing = false;
            blk_ready(l, 0);
        }
    } else {
        blk_end(l, r, r->error);
    }
    sim_leave();
}

static void
scrub_start(struct blk_layer *l, struct blk_layer *old)
{
    struct scrub *s = blk_self(l);
    uint32_t len = blk_below(l)->align;
    struct blk_req *r;

    (void)old;
    sim_enter();
    if (blk_below(l)->size < len || len > SCRUB_SIZE) {
        scrub_begin(l);
        ready_some_time(l);
    } else {
        s->v[0] = (struct iovec){ scrub_data, len };
        r = blk_new(l, BLK_READ, 0, len, (struct blk_sg){ s->v, 1, 0 });
        if (!r)
            sim_fail("no own request in start()");
        s->starting = true;
        s->out = 1;
        blk_down(l, r);
    }
    sim_leave();
}

static void
scrub_pause(struct blk_layer *l)
{
    struct scrub *s = blk_self(l);

    sim_enter();
    s->quiet = true;
    blk_timer_stop(l, &s->timer);
    if (s->out)
        s->pausing = true;
    else
        blk_ready(l, 0);
    sim_leave();
}

static void
scrub_resume(struct blk_layer *l)
{
    sim_enter();
    scrub_begin(l);
    blk_ready(l, 0);
    sim_leave();
}

static void
scrub_stop(struct blk_layer *l)
{
    struct scrub *s = blk_self(l);

    sim_enter();
    s->quiet = true;
    blk_timer_stop(l, &s->timer);
    if (s->out)
        sim_fail("stopped with own requests out");
    blk_ready(l, 0);
    sim_leave();
}

const struct blk_plugin sim_scrub = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct scrub),
    .own = SCRUB_OWN,
    .ops = BLK_ALL_OPS,
    .name = "scrub",
    .help = "reads",
    .options = options,
    .start = scrub_start,
    .pause = scrub_pause,
    .resume = scrub_resume,
    .stop = scrub_stop,
    .done = scrub_done,
};

/* ---- bad: can't be started ----------------------------------------------- */

static void
bad_fire(struct blk_timer *t)
{
    struct common *c = t->data;

    blk_why(c->l, "it never works");
    blk_ready(c->l, -ENOENT);
}

static void
bad_start(struct blk_layer *l, struct blk_layer *old)
{
    struct common *c = blk_self(l);

    (void)old;
    sim_enter();
    c->l = l;
    c->ready.fire = bad_fire;
    c->ready.data = c;
    if (sim_chance(50))
        blk_ready(l, -ENOENT);
    else
        blk_timer_start(l, &c->ready, 1000);
    sim_leave();
}

const struct blk_plugin sim_bad = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct common),
    .ops = BLK_ALL_OPS,
    .name = "bad",
    .help = "can't be started",
    .options = options,
    .start = bad_start,
};
