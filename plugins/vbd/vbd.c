/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vbd: a disk of a real back-end, in this domain or another: we are its
 * front-end (src/front).  This file is the plugin's side of it: options, life,
 * limits; one request of ours is one of the ring's.
 *
 * A live change of options under the same path must not disconnect: the front
 * is shared by the old instance and the new one, and its events go to the one
 * that works.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/plugin.h"
#include "front/front.h"

#define PAGE 4096u

struct vbd;

struct shared {
    struct front *front;
    struct vbd *user, *other; /* who works; the other one, under a change */
};

struct vbd {
    char *path; /* the options */
    uint64_t connect_timeout, timeout, buffer, ring_order, queues;

    struct blk_layer *layer;
    struct fronts *fronts;
    struct shared *shared;
    int error; /* of a start that failed, while the front is closed */
};

struct vbd_req {
    struct front_io io;
    struct blk_layer *layer;
    struct blk_req *req;
};

static const struct blk_option vbd_options[] = {
    /* Not a path of files: it may begin in our domain's own directory. */
    { .name = "path",
      .type = BLK_STRING,
      .at = offsetof(struct vbd, path),
      .required = true,
      .help = "our front-end directory in XenStore" },
    { .name = "connect-timeout",
      .type = BLK_TIME,
      .at = offsetof(struct vbd, connect_timeout),
      .fallback = "30s",
      .min = 1000000,
      .max = 3600000000000,
      .help = "how long to wait for the back-end when the disk is opened" },
    { .name = "timeout",
      .type = BLK_TIME,
      .at = offsetof(struct vbd, timeout),
      .fallback = "0s",
      .max = 3600000000000,
      .help = "how long a request waits for its answer; 0: without limit" },
    { .name = "buffer",
      .type = BLK_SIZE,
      .at = offsetof(struct vbd, buffer),
      .fallback = "0",
      .max = FRONT_PAGES_MAX * PAGE,
      .help =
          "data that can be under way; so much memory is granted; 0: 1280k, "
          "or less where no more can be granted" },
    { .name = "ring-order",
      .type = BLK_UINT,
      .at = offsetof(struct vbd, ring_order),
      .fallback = "0",
      .max = FRONT_ORDER_MAX,
      .help = "pages of a ring, as a power of two; 0: 32 requests" },
    { .name = "queues",
      .type = BLK_UINT,
      .at = offsetof(struct vbd, queues),
      .fallback = "4",
      .min = 1,
      .max = FRONT_QUEUES_MAX,
      .help = "rings, if the back-end takes as many" },
    { 0 }
};

static int
vbd_check(const void *self, char *why, size_t why_size)
{
    const struct vbd *v = self;
    size_t n = strlen(v->path);

    if (!n || n >= FRONT_PATH)
        snprintf(why, why_size, "path: expected 1 to %d characters, found %zu",
                 FRONT_PATH - 1, n);
    else if (v->buffer && v->buffer < FRONT_PAGES_MIN * PAGE)
        snprintf(why, why_size,
                 "buffer: expected 0, or at least %u bytes, found %" PRIu64,
                 FRONT_PAGES_MIN * PAGE, v->buffer);
    else
        return 0;
    return -EINVAL;
}

/* ---- what the front tells ------------------------------------------------ */

static void
start_failed(void *ctx)
{
    struct vbd *v = ctx;

    free(v->shared);
    v->shared = NULL;
    blk_ready(v->layer, v->error);
}

/* A guest's data then lie in what is granted to the back-end, right away. */
static void
lend(struct vbd *v)
{
    blk_lend(v->layer, v->fronts->ops->lender(v->shared->front));
}

static void
front_opened(void *ctx, int error, const char *why)
{
    struct vbd *v = ctx;

    if (!error) {
        lend(v);
        blk_ready(v->layer, 0);
        return;
    }
    blk_why(v->layer, "%s", why);
    v->error = error;
    v->fronts->ops->close(v->shared->front, start_failed, v);
}

static void
front_changed(void *ctx)
{
    const struct vbd *v = ctx;

    blk_relimit(v->layer);
}

static void
front_fatal(void *ctx, int error, const char *why)
{
    const struct vbd *v = ctx;

    blk_fatal(v->layer, error, "%s", why);
}

static void
front_log(void *ctx, enum blk_level level, const char *line)
{
    const struct vbd *v = ctx;

    blk_log(v->layer, level, "%s", line);
}

static const struct front_user vbd_user = {
    .opened = front_opened,
    .changed = front_changed,
    .fatal = front_fatal,
    .log = front_log,
};

/* ---- life ---------------------------------------------------------------- */

/* Under the path of a running instance; true when start is over, or refused. */
static bool
start_inherit(struct vbd *v, struct blk_layer *old)
{
    struct vbd *from = blk_self(old);
    int error = 0;

    if (strcmp(from->path, v->path) || !from->shared)
        return false;
    if (from->buffer != v->buffer || from->ring_order != v->ring_order ||
        from->queues != v->queues) {
        blk_why(v->layer, "buffer, ring-order and queues can't change while "
                          "the disk is connected");
        error = -EBUSY;
    } else {
        v->shared = from->shared;
        v->shared->other = v;
        lend(v);
    }
    blk_ready(v->layer, error);
    return true;
}

static int
start_open(struct vbd *v, char *why, size_t n)
{
    struct front_conf conf = { .path = v->path,
                               .connect_ns = v->connect_timeout,
                               .timeout_ns = v->timeout,
                               .pages = (unsigned)(v->buffer / PAGE),
                               .order = (unsigned)v->ring_order,
                               .queues = (unsigned)v->queues };

    if (!v->fronts) {
        snprintf(why, n, "there is no Xen here");
        return -ENODEV;
    }
    v->shared = calloc(1, sizeof *v->shared);
    if (!v->shared) {
        snprintf(why, n, "no memory");
        return -ENOMEM;
    }
    v->shared->user = v;
    return v->fronts->ops->open(v->fronts, &conf, &vbd_user, v,
                                &v->shared->front, why, n);
}

static void
vbd_start(struct blk_layer *l, struct blk_layer *old)
{
    struct vbd *v = blk_self(l);
    char why[240];
    int error;

    v->layer = l;
    v->fronts = blk_fronts(l);
    if (old && start_inherit(v, old))
        return;
    error = start_open(v, why, sizeof why);
    if (!error)
        return;
    free(v->shared);
    v->shared = NULL;
    blk_why(l, "%s", why);
    blk_ready(l, error);
}

static void
vbd_resume(struct blk_layer *l)
{
    struct vbd *v = blk_self(l);
    struct shared *sh = v->shared;

    if (sh->user != v) {
        sh->other = sh->user;
        sh->user = v;
        v->fronts->ops->hand(sh->front, v->timeout, v);
    }
    blk_ready(l, 0);
}

static void
stopped(void *ctx)
{
    struct vbd *v = ctx;

    free(v->shared);
    v->shared = NULL;
    blk_ready(v->layer, 0);
}

static void
vbd_stop(struct blk_layer *l)
{
    struct vbd *v = blk_self(l);
    struct shared *sh = v->shared;
    struct vbd *rest = sh->user == v ? sh->other : sh->user;

    if (!rest) {
        v->fronts->ops->close(sh->front, stopped, v);
        return;
    }
    if (sh->user == v)
        v->fronts->ops->hand(sh->front, rest->timeout, rest);
    sh->user = rest;
    sh->other = NULL;
    v->shared = NULL;
    blk_ready(l, 0);
}

/* ---- requests ------------------------------------------------------------ */

static void
vbd_done(struct front_io *io, int error)
{
    struct vbd_req *vr = (struct vbd_req *)(void *)io;

    blk_end(vr->layer, vr->req, error);
}

static void
vbd_submit(struct blk_layer *l, struct blk_req *r)
{
    struct vbd *v = blk_self(l);
    struct vbd_req *vr = r->scratch;

    vr->layer = l;
    vr->req = r;
    vr->io.op = r->op;
    vr->io.off = r->off;
    vr->io.len = r->len;
    vr->io.sg = &r->sg;
    vr->io.done = vbd_done;
    v->fronts->ops->submit(v->shared->front, &vr->io);
}

static void
vbd_kick(struct blk_layer *l)
{
    struct vbd *v = blk_self(l);

    if (v->shared)
        v->fronts->ops->kick(v->shared->front);
}

static void
vbd_limits(struct blk_layer *l, struct blk_limits *limits)
{
    struct vbd *v = blk_self(l);
    const struct front_info *info = v->fronts->ops->info(v->shared->front);

    limits->size = info->size;
    limits->align = info->align;
    limits->block = info->block;
    limits->mem_align = 1;
    limits->max_len = info->segments * PAGE;
    limits->discard_align = info->discard_align;
    limits->volatile_cache = info->flush || info->barrier;
    limits->fua = false;
    limits->readonly |= info->readonly;
    if (!info->discard)
        limits->ops &= ~BLK_BIT(BLK_DISCARD);
}

/* Of each ring, one after the other. */
static void
stats_rings(const struct front_counters *c, struct blk_out *out)
{
    char text[FRONT_QUEUES_MAX * 21] = "";
    int at = 0;

    for (unsigned i = 0; i < c->queues; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%" PRIu64,
                       i ? " " : "", c->queue_sent[i]);
    blk_put_u64(out, "queues", c->queues);
    blk_put_str(out, "queue_sent", text);
}

static void
vbd_stats(struct blk_layer *l, struct blk_out *out)
{
    struct vbd *v = blk_self(l);
    const struct front_ops *ops = v->fronts->ops;
    const struct front_counters *c;

    if (!v->shared)
        return;
    c = ops->counters(v->shared->front);
    blk_put_str(out, "path", v->path);
    blk_put_str(out, "back_end", ops->state(v->shared->front));
    blk_put_u64(out, "segments", ops->info(v->shared->front)->segments);
    blk_put_u64(out, "buffer", c->pages * PAGE);
    stats_rings(c, out);
    blk_put_u64(out, "connects", c->connects);
    blk_put_u64(out, "sent", c->sent);
    blk_put_u64(out, "sent_again", c->again);
    blk_put_u64(out, "notifications", c->kicks);
    blk_put_u64(out, "events", c->events);
    blk_put_u64(out, "empty_events", c->spurious);
    blk_put_u64(out, "buffer_full", c->full);
    blk_put_u64(out, "straight", c->straight);
    blk_put_u64(out, "straight_bytes", c->straight_bytes);
    blk_put_u64(out, "copied", c->copied);
    blk_put_u64(out, "copied_bytes", c->copied_bytes);
}

BLK_PLUGIN(vbd) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct vbd),
    .req_size = sizeof(struct vbd_req),
    .ops = BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_FLUSH) |
           BLK_BIT(BLK_DISCARD),
    .tail = BLK_TAIL,
    .back_end = true,
    .name = "vbd",
    .help = "the disk of a real back-end, whose front-end we are",
    .options = vbd_options,
    .check = vbd_check,
    .start = vbd_start,
    .resume = vbd_resume,
    .stop = vbd_stop,
    .submit = vbd_submit,
    .kick = vbd_kick,
    .limits = vbd_limits,
    .stats = vbd_stats,
};
