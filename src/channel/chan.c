/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chan.c: a channel's life: from references and ports to rings that are
 * served, and back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/internal.h"
#include "seeded.h"

enum { BUFFER_MIN = 1 << 20 };

/* ---- telling the owner --------------------------------------------------- */

static bool
is_idle(const struct chan *c)
{
    if (c->inflight)
        return false;
    for (unsigned i = 0; i < c->params.queues; i++) {
        if (c->queue[i].backlog_at < c->queue[i].backlog_n)
            return false;
    }
    return true;
}

static void
tell(struct loop_task *t)
{
    struct chan *c =
        (struct chan *)(void *)((char *)t - offsetof(struct chan, task));
    void (*idle)(void *arg) = c->idle;

    if (c->shut_news) {
        c->shut_news = false;
        if (c->ops->throttled)
            c->ops->throttled(c->ctx);
    }
    if (c->broken && !c->told) {
        c->told = true;
        if (idle)
            loop_defer(c->loop, t, STAGE_CHAIN);
        c->ops->broken(c->ctx, c->why);
    } else if (idle && is_idle(c)) {
        c->idle = NULL;
        idle(c->idle_arg);
    }
}

void
chan_break(struct chan *c, const char *why)
{
    if (c->broken)
        return;
    c->broken = true;
    snprintf(c->why, sizeof(c->why), "%s", why);
    loop_defer(c->loop, &c->task, STAGE_CHAIN);
}

void
chan_ended(struct chan *c)
{
    for (unsigned i = 0; i < c->params.queues; i++) {
        if (c->queue[i].state == Q_BLOCKED && !c->shut)
            sweep_later(&c->queue[i]);
    }
    if (c->idle && is_idle(c))
        loop_defer(c->loop, &c->task, STAGE_CHAIN);
}

/* ---- opening ------------------------------------------------------------- */

static const char *
params_differ(const struct chan_params *p)
{
    if (p->abi != CHAN_ABI_64 && p->abi != CHAN_ABI_X86_32)
        return "an unknown ABI";
    if (!p->queues || p->queues > CHAN_QUEUES_MAX)
        return "a number of queues that is not 1 to 16";
    if (p->order > CHAN_ORDER_MAX)
        return "a ring order over 4";
    if (p->max_indirect > CHAN_INDIRECT_MAX)
        return "more than 256 indirect segments";
    if (p->domid > UINT16_MAX)
        return "a domain id of more than 16 bits";
    return NULL;
}

/* Nothing but the arena is longer than a few pages, and that takes memory only
 * where it was used. */
static int
make_memory(struct chan *c)
{
    const struct chan_params *p = &c->params;
    unsigned segs = CHAN_DIRECT_MAX;
    void *addr;
    int error;

    if (p->max_indirect > segs)
        segs = p->max_indirect;
    c->slots = p->queues * blkif_ring_entries(p->abi, p->order);
    c->depth = c->slots;
    if (p->inflight_max && p->inflight_max < c->depth)
        c->depth = p->inflight_max;
    c->seg_stride = segs * sizeof(struct seg);
    c->queue = calloc(p->queues, sizeof(c->queue[0]));
    c->req = calloc(c->slots, sizeof(c->req[0]));
    if (!c->queue || !c->req)
        return -ENOMEM;
    error =
        host_memory("blktapd-segments", c->slots * c->seg_stride, &addr, NULL);
    if (error)
        return error;
    c->segs = addr;
    return buffers_init(&c->buffers, c->loop,
                        p->buffer_max < BUFFER_MIN ? BUFFER_MIN
                                                   : p->buffer_max);
}

/* The buffers just went cold: so may the segments. */
static void
cold(void *arg)
{
    struct chan *c = arg;

    if (!c->inflight)
        host_memory_release(c->segs, c->slots * c->seg_stride);
}

static void
set_rules(struct chan *c)
{
    const struct chan_params *p = &c->params;

    c->rules = (struct validate_params){
        .size = p->size,
        .max_indirect = p->max_indirect,
        .readonly = p->readonly,
        .discard = p->discard,
        .barrier = p->barrier,
    };
}

static void
init_queue(struct chan *c, unsigned i)
{
    struct queue *q = &c->queue[i];

    q->chan = c;
    q->index = i;
    q->port = -1;
    req_list_init(&q->answered);
}

static int
connect_queue(struct chan *c, unsigned i, char *why, size_t why_size)
{
    struct tap *tap = c->sweep->tap;
    struct queue *q = &c->queue[i];
    int port, error;

    error = tap->ops->map(tap, c->params.domid, c->params.queue[i].refs,
                          1u << c->params.order, &q->pages);
    if (error) {
        q->pages = NULL;
        snprintf(why, why_size,
                 "the ring of queue %u can't be mapped (domain %u, first "
                 "reference %u): %s",
                 i, c->params.domid, c->params.queue[i].refs[0],
                 strerror(-error));
        return error;
    }
    port = tap->ops->bind(tap, c->params.domid, c->params.queue[i].port);
    if (port < 0) {
        snprintf(why, why_size,
                 "event channel %u of domain %u (queue %u) can't be bound: %s",
                 c->params.queue[i].port, c->params.domid, i, strerror(-port));
        return port;
    }
    q->port = port;
    return 0;
}

/* Where the ring stands; of an adopted table, what is to be done again. */
static int
start_queue(struct chan *c, struct queue *q, bool adopted, char *why,
            size_t why_size)
{
    uint32_t rsp = ring_shared_rsp(q->pages), cons = rsp;
    int n;

    if (adopted) {
        q->backlog = calloc(c->slots / c->params.queues, sizeof(uint32_t));
        if (!q->backlog)
            return -ENOMEM;
        n = inflight_recover(&c->table, q->index, rsp, &cons, q->backlog, why,
                             why_size);
        if (n < 0)
            return n;
        if (SEEDED_RESUME_AT_RSP_PROD) {
            while (n > 0)
                inflight_drop(&c->table, q->backlog[--n]);
            inflight_begin(&c->table, q->index, cons = rsp);
        }
        q->backlog_n = (unsigned)n;
    } else {
        inflight_begin(&c->table, q->index, cons);
    }
    ring_init(&q->ring, q->pages, c->params.abi, c->params.order, cons, rsp);
    return 0;
}

/* Goes on from the table; -EINVAL or -EPROTO when it can't be used. */
static int
start_adopted(struct chan *c, int inherit, char *why, size_t why_size)
{
    int error = inflight_adopt(&c->table, &c->params, inherit, why, why_size);

    for (unsigned i = 0; !error && i < c->params.queues; i++)
        error = start_queue(c, &c->queue[i], true, why, why_size);
    return error;
}

static int
start_new(struct chan *c, char *why, size_t why_size)
{
    int error = inflight_make(&c->table, &c->params);

    for (unsigned i = 0; !error && i < c->params.queues; i++)
        error = start_queue(c, &c->queue[i], false, why, why_size);
    return error;
}

/* What start_adopted() had begun. */
static void
forget_adopted(struct chan *c)
{
    inflight_free(&c->table);
    for (unsigned i = 0; i < c->params.queues; i++) {
        free(c->queue[i].backlog);
        c->queue[i].backlog = NULL;
        c->queue[i].backlog_n = 0;
    }
}

/* A served front-end, and no table to go on from: only a ring on which all was
 * answered can be gone on from. */
static int
all_answered(struct chan *c, char *why, size_t why_size)
{
    uint32_t open = 0;
    size_t at = strlen(why);

    for (unsigned i = 0; i < c->params.queues; i++)
        open += ring_shared_req(c->queue[i].pages) -
                ring_shared_rsp(c->queue[i].pages);
    if (!at)
        at = (size_t)snprintf(why, why_size,
                              "expected the in-flight table of this "
                              "connection, found none");
    if (at < why_size && open)
        snprintf(why + at, why_size - at,
                 "; %u requests have no answer: the disk waits, untouched, "
                 "for the guest to connect anew",
                 open);
    else if (at < why_size)
        snprintf(why + at, why_size - at,
                 "; all requests have their answer: gone on without it");
    return open ? -EUCLEAN : 0;
}

/* A ring that is gone on from without its table, which may be good enough to
 * say that the disk failed. */
static int
start_anew(struct chan *c, int inherit, char *why, size_t why_size)
{
    int error = all_answered(c, why, why_size);

    if (!error)
        error = start_new(c, why, why_size);
    if (!error && inherit >= 0 && inflight_was_lossy(inherit, &c->params))
        chan_lossy(c);
    return error;
}

/* The front-end made its rings anew while nobody served it. */
static bool
made_anew(const struct chan *c, int inherit)
{
    for (unsigned i = 0; i < c->params.queues; i++) {
        if (ring_shared_rsp(c->queue[i].pages))
            return false;
    }
    return inflight_other_ring(inherit, &c->params);
}

static int
connect_all(struct chan *c, int inherit, char *why, size_t why_size)
{
    int error = 0;

    for (unsigned i = 0; !error && i < c->params.queues; i++)
        error = connect_queue(c, i, why, why_size);
    if (error)
        return error;
    if (inherit >= 0) {
        error = start_adopted(c, inherit, why, why_size);
        c->adopted = !error;
        if (error &&
            !(c->params.resumed && (error == -EINVAL || error == -EPROTO)))
            return error;
        if (error)
            forget_adopted(c);
    }
    if (c->adopted)
        error = 0;
    else if (c->params.resumed && !(inherit >= 0 && made_anew(c, inherit)))
        error = start_anew(c, inherit, why, why_size);
    else
        error = start_new(c, why, why_size);
    return error ? error : sweep_add_chan(c->sweep, c);
}

/* Once unasked: events that came while nobody listened are lost, and so may
 * be ours to the guest. */
static void
begin(struct chan *c)
{
    struct tap *tap = c->sweep->tap;

    for (unsigned i = 0; i < c->params.queues; i++) {
        if (c->params.resumed || c->adopted)
            tap->ops->notify(tap, c->queue[i].port);
        sweep_turn(&c->queue[i]);
    }
}

static void disconnect(struct chan *);
static void chan_free(struct chan *);

static struct chan *
chan_new(struct sweep *s, const struct chan_params *p,
         const struct chan_ops *ops, void *ctx)
{
    struct chan *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->sweep = s;
    c->loop = s->loop;
    c->ops = ops;
    c->ctx = ctx;
    c->params = *p;
    c->task.run = tell;
    c->throttle.fire = req_throttled;
    c->throttle.data = c;
    c->reopen.fire = throttle_reopen;
    c->reopen.data = c;
    c->table.fd = -1;
    c->buffers.fd = -1;
    req_list_init(&c->waiting);
    req_list_init(&c->throttled);
    set_rules(c);
    return c;
}

static int
set_up(struct chan *c, int inherit, char *why, size_t why_size)
{
    int error = make_memory(c);

    for (unsigned i = 0; c->queue && i < c->params.queues; i++)
        init_queue(c, i);
    if (!error)
        error = connect_all(c, inherit, why, why_size);
    if (error && !why[0])
        snprintf(why, why_size, "a device channel can't be set up: %s",
                 strerror(-error));
    return error;
}

int
chan_open(struct chan **out, struct sweep *s, const struct chan_params *p,
          const struct chan_ops *ops, void *ctx, int inherit, char *why,
          size_t why_size)
{
    const char *differs = params_differ(p);
    struct chan *c;
    int error;

    if (differs) {
        snprintf(why, why_size, "the front-end asks for %s", differs);
        return -EINVAL;
    }
    c = chan_new(s, p, ops, ctx);
    if (!c) {
        snprintf(why, why_size, "no memory for a device channel");
        return -ENOMEM;
    }
    why[0] = '\0';
    error = set_up(c, inherit, why, why_size);
    if (error) {
        disconnect(c);
        chan_free(c);
        return error;
    }
    c->buffers.cold = cold;
    c->buffers.arg = c;
    begin(c);
    *out = c;
    return 0;
}

/* ---- closing ------------------------------------------------------------- */

static void
disconnect(struct chan *c)
{
    struct tap *tap = c->sweep->tap;

    sweep_remove_chan(c->sweep, c);
    for (unsigned i = 0; c->queue && i < c->params.queues; i++) {
        struct queue *q = &c->queue[i];

        if (q->port >= 0)
            tap->ops->unbind(tap, q->port);
        if (q->pages)
            tap->ops->unmap(tap, q->pages, 1u << c->params.order);
        q->port = -1;
        q->pages = NULL;
    }
    c->sweep = NULL;
}

/* Requests that a closed channel forgot have their memory still. */
static void
give_back_lent(struct chan *c)
{
    for (unsigned i = 0; i < c->untouched; i++) {
        if (c->req[i].lender)
            req_unbuffer(&c->req[i]);
    }
}

static void
chan_free(struct chan *c)
{
    give_back_lent(c);
    buffers_free(&c->buffers);
    inflight_free(&c->table);
    if (c->segs)
        host_memory_free(c->segs, c->slots * c->seg_stride, -1);
    for (unsigned i = 0; c->queue && i < c->params.queues; i++)
        free(c->queue[i].backlog);
    free(c->queue);
    free(c->req);
    free(c);
}

void
chan_close(struct chan *c)
{
    if (!c)
        return;
    c->closed = true;
    loop_undefer(c->loop, &c->task, STAGE_CHAIN);
    if (c->throttling)
        c->loop->ops->timer_stop(c->loop, &c->throttle);
    if (c->shut)
        c->loop->ops->timer_stop(c->loop, &c->reopen);
    disconnect(c);
    if (!c->given)
        chan_free(c);
}

/* ---- the rest ------------------------------------------------------------ */

void
chan_drain(struct chan *c, void (*idle)(void *arg), void *arg)
{
    c->draining = true;
    c->idle = idle;
    c->idle_arg = arg;
    if (is_idle(c))
        loop_defer(c->loop, &c->task, STAGE_CHAIN);
}

void
chan_resume(struct chan *c)
{
    c->draining = false;
    c->idle = NULL;
    chan_ended(c);
}

void
chan_resize(struct chan *c, uint64_t size)
{
    c->params.size = size;
    c->rules.size = size;
}

static int
status_of(int error)
{
    if (!error)
        return BLKIF_OKAY;
    return error == -EOPNOTSUPP ? BLKIF_EOPNOTSUPP : BLKIF_ERROR;
}

void
chan_complete(struct chan_io *io, int error)
{
    struct req *r = (struct req *)io;
    struct chan *c = r->queue->chan;

    c->given--;
    if (!c->closed)
        req_answer(r, status_of(SEEDED_DROPPED_ERROR ? 0 : error));
    else if (!c->given)
        chan_free(c);
}

unsigned
chan_inflight(const struct chan *c)
{
    return c->inflight;
}

unsigned
chan_depth(const struct chan *c)
{
    return c->depth;
}

const struct chan_stats *
chan_stats(const struct chan *c)
{
    return &c->stats;
}

void
chan_lossy(struct chan *c)
{
    inflight_mark(&c->table, true);
}

void
chan_mended(struct chan *c)
{
    inflight_mark(&c->table, false);
}

bool
chan_is_lossy(const struct chan *c)
{
    return inflight_lossy(&c->table);
}

struct chan *
chan_of(const struct chan_io *io)
{
    return ((const struct req *)io)->queue->chan;
}

bool
chan_adopted(const struct chan *c)
{
    return c->adopted;
}

int
chan_table_fd(const struct chan *c)
{
    return c->table.fd;
}
