/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front.c: a front's life on its data loop.
 *
 *              news: ASKED            news: LIVE
 *   OPENING ──► (rings, offer) ─────────────────────► LIVE
 *      │                                              │  ▲
 *      │ time is up,            news: anything else   ▼  │ news: LIVE
 *      │ news: FAILED                             WAITING┘ (ASKED: both anew)
 *      ▼                                              │
 *   (opened() with the error)    protocol broken,     ▼
 *                                time is up, FAILED  FATAL
 *
 * close() in any of them: CLOSING, until the link says that it is closed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/private.h"

enum { USUAL_SEGMENTS = 32 };

static uint64_t
now(const struct front *f)
{
    return f->fronts->data->ops->now(f->fronts->data);
}

static void
timer(struct front *f, struct blk_timer *t, uint64_t after_ns)
{
    f->fronts->data->ops->timer_start(f->fronts->data, t, after_ns);
}

__attribute__((format(printf, 3, 4))) static void
note(struct front *f, enum blk_level level, const char *fmt, ...)
{
    char line[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    f->user->log(f->ctx, level, line);
}

/* ---- the rings ----------------------------------------------------------- */

static void
port_close(struct front *f, struct front_ring *ring)
{
    struct gate *gate = f->fronts->gate;

    if (ring->port_open)
        gate->ops->close(gate, &ring->port);
    ring->port_open = ring->calmed = ring->resting = false;
}

static void
ports_close(struct front *f)
{
    f->fronts->data->ops->timer_stop(f->fronts->data, &f->calm);
    for (unsigned i = 0; i < f->queues; i++)
        port_close(f, &f->ring[i]);
}

/* The back-end may have its pages mapped still, and write to them: so they are
 * never used for another connection. */
static void
ring_drop(struct front *f, struct front_ring *ring)
{
    struct gate *gate = f->fronts->gate;

    port_close(f, ring);
    if (ring->used)
        gate->ops->ungrant(gate, ring->pages, 1u << ring->order);
    ring->used = false;
}

static void
rings_drop(struct front *f)
{
    ports_close(f);
    for (unsigned i = 0; i < f->queues; i++)
        ring_drop(f, &f->ring[i]);
    f->queues = 0;
    f->over = false;
}

static int
ring_make(struct front *f, struct front_ring *ring, struct link_queue *q,
          unsigned order, char *why, size_t n)
{
    struct gate *gate = f->fronts->gate;
    int rc = gate->ops->grant(gate, f->domid, 1u << order, q->refs,
                              &ring->pages, why, n);

    if (rc)
        return rc;
    ring->order = order;
    ring->used = true;
    ring->empty = 0;
    rc = gate->ops->open(gate, f->domid, &ring->port);
    if (rc) {
        ring_drop(f, ring);
        snprintf(why, n, "no event channel: %s", strerror(-rc));
        return rc;
    }
    ring->port_open = true;
    q->port = ring->port.number;
    ring_client_init(&ring->client, ring->pages, order, ring->slot);
    return 0;
}

/* With fewer than that it goes, too. */
static int
rings_make(struct front *f, unsigned queues, char *why, size_t n)
{
    int rc = 0;

    rings_drop(f);
    for (unsigned i = 0; !rc && i < queues; i++) {
        rc = ring_make(f, &f->ring[i], &f->offer.queue[i], f->offer.order, why,
                       n);
        f->queues += !rc;
    }
    if (!rc || !f->queues)
        return rc;
    note(f, BLK_WARN, "%u queues in place of %u: %s", f->queues, queues, why);
    return 0;
}

static int
pools_try(struct front *f, unsigned pages, char *why, size_t n)
{
    struct gate *gate = f->fronts->gate;
    unsigned lists = pages / (FRONT_DIRECT_MAX + 1) + 1;
    int rc = pool_make(&f->pool, gate, f->domid, pages, why, n);

    if (rc)
        return rc;
    rc = pool_make(&f->lists, gate, f->domid, lists, why, n);
    if (rc)
        pool_drop(f->pool);
    if (rc)
        f->pool = NULL;
    return rc;
}

/* Once, when it is known whose the pages are to be. */
static int
pools_make(struct front *f, char *why, size_t n)
{
    unsigned pages = f->conf.pages ? f->conf.pages : FRONT_PAGES_USUAL;
    int rc;

    if (f->pool)
        return 0;
    rc = pools_try(f, pages, why, n);
    while (rc == -ENOSPC && !f->conf.pages && pages / 2 >= FRONT_PAGES_MIN) {
        pages /= 2;
        rc = pools_try(f, pages, why, n);
    }
    if (!rc && !f->conf.pages && pages < FRONT_PAGES_USUAL)
        note(f, BLK_WARN,
             "%s: a buffer of %u KiB in place of %u: no more pages can be "
             "granted on this machine (see buffer in blktap-vbd(7))",
             f->conf.path, pages * 4, FRONT_PAGES_USUAL * 4);
    f->counters.pages = pages;
    return rc;
}

static void
offer(struct front *f, const struct link_news *n)
{
    unsigned queues =
        n->info.queues < f->conf.queues ? n->info.queues : f->conf.queues;
    char why[200];
    int rc;

    if (f->generation == n->generation)
        return;
    f->generation = n->generation;
    f->domid = n->domid;
    f->offer.order =
        n->info.order < f->conf.order ? n->info.order : f->conf.order;
    rc = rings_make(f, queues, why, sizeof why);
    if (!rc)
        rc = pools_make(f, why, sizeof why);
    if (rc) {
        front_fatal(f, rc, "%s", why);
        return;
    }
    f->offer.generation = n->generation;
    f->offer.queues = f->queues;
    f->counters.queues = f->queues;
    link_offer(f->link, &f->offer);
}

/* ---- fatal --------------------------------------------------------------- */

/* What comes back now may be written to by a back-end that still works on it:
 * so nobody gets it any more. */
static void
stop_lending(struct front *f)
{
    if (f->pool)
        f->pool->shut = true;
}

void
front_fatal(struct front *f, int error, const char *fmt, ...)
{
    bool opening = f->phase == FRONT_OPENING;
    char why[300];
    va_list ap;

    if (f->fatal || f->phase == FRONT_CLOSING)
        return;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    f->phase = FRONT_FATAL;
    f->fatal = true;
    f->fronts->data->ops->timer_stop(f->fronts->data, &f->connect);
    ports_close(f);
    stop_lending(f);
    front_flow_end(f, -EIO);
    if (opening)
        f->user->opened(f->ctx, error, why);
    else
        f->user->fatal(f->ctx, error, why);
}

static void
connect_late(struct blk_timer *t)
{
    struct front *f = t->data;

    front_fatal(f, -ETIMEDOUT,
                "the back-end of %s did not connect within %" PRIu64 " s",
                f->conf.path, f->conf.connect_ns / 1000000000);
}

/* ---- requests that take too long ----------------------------------------- */

static void
tick_arm(struct front *f)
{
    if (f->ticking || !f->conf.timeout_ns)
        return;
    f->ticking = true;
    timer(f, &f->tick, f->conf.timeout_ns / 4 + 1);
}

static void
tick(struct blk_timer *t)
{
    struct front *f = t->data;

    f->ticking = false;
    if (f->fatal || !front_outstanding(f))
        return;
    if (now(f) - front_oldest(f) < f->conf.timeout_ns) {
        tick_arm(f);
        return;
    }
    front_fatal(f, -ETIMEDOUT,
                "the back-end did not answer a request within %" PRIu64 " ms%s",
                f->conf.timeout_ns / 1000000,
                f->phase == FRONT_WAITING ? " (it is not connected)" : "");
}

/* ---- news ---------------------------------------------------------------- */

/* As many pages as the longest request has are never lent: so that is at most
 * a fifth of them, or what Linux asks for by itself, and never more than half.
 */
static unsigned
segments_of(const struct front *f, const struct front_info *info)
{
    unsigned most = f->pool->n / 5;

    if (most < USUAL_SEGMENTS)
        most =
            f->pool->n / 2 < USUAL_SEGMENTS ? f->pool->n / 2 : USUAL_SEGMENTS;
    return info->segments < most ? info->segments : most;
}

/* What was promised above can't be taken back under way. */
static const char *
less_than_before(const struct front *f, const struct front_info *info)
{
    if (segments_of(f, info) < f->info.segments)
        return "shorter requests";
    if (info->align > f->info.align)
        return "longer sectors";
    if (info->readonly && !f->info.readonly)
        return "no writes";
    if (info->size < f->info.size)
        return "a shorter disk";
    if ((f->info.flush || f->info.barrier) && !info->flush && !info->barrier)
        return "no flush";
    return NULL;
}

static void
lost(struct front *f, const struct link_news *n)
{
    f->over = true;
    front_flow_back(f);
    f->phase = FRONT_WAITING;
    note(f, BLK_WARN,
         "the back-end of %s is not connected any more (its state is %s); "
         "requests wait",
         f->conf.path, bus_name(n->back));
    if (n->was_gone && f->writes > f->flushed)
        front_fatal(f, -EIO,
                    "the back-end of %s was made anew; what was written and "
                    "not flushed may be lost",
                    f->conf.path);
}

static void
connected(struct front *f, const struct link_news *n)
{
    struct front_info was = f->info;
    bool first = f->phase == FRONT_OPENING;
    const char *less = first ? NULL : less_than_before(f, &n->info);

    if (less) {
        front_fatal(f, -EIO, "the back-end of %s came back with %s",
                    f->conf.path, less);
        return;
    }
    f->info = n->info;
    f->info.segments = segments_of(f, &n->info);
    if (!first && f->info.segments > was.segments)
        f->info.segments = was.segments;
    f->pool->reserve = f->info.segments;
    f->phase = FRONT_LIVE;
    f->counters.connects++;
    if (first) {
        f->fronts->data->ops->timer_stop(f->fronts->data, &f->connect);
        f->user->opened(f->ctx, 0, NULL);
    } else {
        note(f, BLK_INFO, "the back-end of %s is connected again",
             f->conf.path);
    }
    if (!first && memcmp(&was, &f->info, sizeof was))
        f->user->changed(f->ctx);
    front_flow(f);
}

/* While connected. */
static void
info_changed(struct front *f, const struct link_news *n)
{
    if (n->info.size == f->info.size)
        return;
    f->info.size = n->info.size;
    f->user->changed(f->ctx);
}

static void
heed(struct front *f, const struct link_news *n)
{
    bool mine = n->phase == LINK_LIVE && n->generation == f->generation;

    if (n->phase == LINK_FAILED) {
        front_fatal(f, n->error, "%s", n->why);
        return;
    }
    if (f->phase == FRONT_LIVE && !mine)
        lost(f, n);
    if (f->fatal)
        return;
    if (n->phase == LINK_ASKED)
        offer(f, n);
    else if (mine && f->phase == FRONT_LIVE)
        info_changed(f, n);
    else if (mine)
        connected(f, n);
}

static void
gone(struct front *f)
{
    struct loop *loop = f->fronts->data;
    void (*over)(void *) = f->closed;
    void *ctx = f->closed_ctx;

    loop->ops->timer_stop(loop, &f->connect);
    loop->ops->timer_stop(loop, &f->tick);
    rings_drop(f);
    pool_drop(f->lists);
    pool_drop(f->pool);
    link_free(f->link);
    free(f->slots);
    free(f);
    over(ctx);
}

static void
receive(struct link_news *n)
{
    struct front *f = n->front;

    if (n->phase == LINK_CLOSED) {
        gone(f);
        return;
    }
    if (f->phase != FRONT_CLOSING)
        heed(f, n);
    link_news_back(n);
}

/* ---- for the user -------------------------------------------------------- */

static struct front *
front_new(const struct front_conf *conf)
{
    size_t slots = ring_client_entries(conf->order);
    struct front *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->slots = calloc(conf->queues * slots, sizeof f->slots[0]);
    if (!f->slots) {
        free(f);
        return NULL;
    }
    for (unsigned i = 0; i < conf->queues; i++) {
        struct front_ring *ring = &f->ring[i];

        ring->front = f;
        ring->slot = f->slots + i * slots;
        ring->port.fired = front_fired;
        ring->port.data = ring;
    }
    return f;
}

static int
front_open(struct fronts *fronts, const struct front_conf *conf,
           const struct front_user *user, void *ctx, struct front **out,
           char *why, size_t n)
{
    struct front *f;

    if (!fronts->gate) {
        snprintf(why, n, "%s", fronts->why);
        return -ENODEV;
    }
    f = front_new(conf);
    if (f)
        f->link = link_new(fronts, conf->path, f, receive);
    if (!f || !f->link) {
        if (f)
            free(f->slots);
        free(f);
        snprintf(why, n, "no memory");
        return -ENOMEM;
    }
    f->fronts = fronts;
    snprintf(f->path, sizeof f->path, "%s", conf->path);
    f->conf = *conf;
    f->conf.path = f->path;
    f->user = user;
    f->ctx = ctx;
    f->waiting.tail = &f->waiting.head;
    f->connect.fire = connect_late;
    f->tick.fire = tick;
    f->calm.fire = front_calm;
    f->connect.data = f->tick.data = f->calm.data = f;
    timer(f, &f->connect, conf->connect_ns);
    *out = f;
    return 0;
}

static void
front_hand(struct front *f, uint64_t timeout_ns, void *ctx)
{
    f->conf.timeout_ns = timeout_ns;
    f->ctx = ctx;
}

static const struct front_info *
front_info(const struct front *f)
{
    return &f->info;
}

static const struct front_counters *
front_counters(const struct front *f)
{
    return &f->counters;
}

static const char *
front_state(const struct front *f)
{
    static const char *const names[] = {
        [FRONT_OPENING] = "opening", [FRONT_WAITING] = "waiting",
        [FRONT_LIVE] = "connected",  [FRONT_FATAL] = "failed",
        [FRONT_CLOSING] = "closing",
    };

    return names[f->phase];
}

static struct blk_lender *
front_lender(struct front *f)
{
    return &f->pool->lender;
}

static void
front_submit(struct front *f, struct front_io *io)
{
    io->paged = io->straight = false;
    io->list = NO_PAGE;
    if (f->phase == FRONT_FATAL || f->phase == FRONT_CLOSING) {
        io->done(io, -EIO);
        return;
    }
    /* Who offers no flush has no cache. */
    if (io->op == BLK_FLUSH && !f->info.flush && !f->info.barrier) {
        io->done(io, 0);
        return;
    }
    io->since = now(f);
    front_push(&f->waiting, io);
    tick_arm(f);
}

static void
front_close(struct front *f, void (*closed)(void *ctx), void *ctx)
{
    struct loop *loop = f->fronts->data;

    loop->ops->timer_stop(loop, &f->connect);
    f->phase = FRONT_CLOSING;
    f->closed = closed;
    f->closed_ctx = ctx;
    ports_close(f);
    stop_lending(f);
    front_flow_end(f, -EIO);
    link_close(f->link, &f->call_close);
}

static const struct front_ops ops = {
    .open = front_open,
    .hand = front_hand,
    .info = front_info,
    .counters = front_counters,
    .state = front_state,
    .lender = front_lender,
    .submit = front_submit,
    .kick = front_flow,
    .close = front_close,
};

void
fronts_init(struct fronts *fronts, struct loop *data, struct gate *gate,
            struct front_links *links, const char *why)
{
    *fronts = (struct fronts){
        .ops = &ops, .data = data, .gate = gate, .links = links
    };
    snprintf(fronts->why, sizeof fronts->why, "%s", why);
    data->fronts = fronts;
}
