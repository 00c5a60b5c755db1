/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sweep.c: one pass over all channels of a tap: what is finished goes out in
 * one batch, what the guests ask for comes in in one batch.
 *
 * Queues take turns: each may hand in a budget of requests per pass; who has
 * more waits for the next round of the loop, which by then has seen all other
 * events.  Ports are unmasked last, and in one call (XSA-332).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/internal.h"
#include "seeded.h"

enum { PORT_MAX = 1 << 17 }; /* Xen has no more event channels in a domain */

/* ---- lists of queues ----------------------------------------------------- */

static void
list_init(struct queue_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

static void
list_push(struct queue_list *l, struct queue *q, enum queue_state state)
{
    q->state = state;
    q->next = NULL;
    *l->tail = q;
    l->tail = &q->next;
}

static struct queue *
list_pop(struct queue_list *l)
{
    struct queue *q = l->head;

    if (q) {
        l->head = q->next;
        if (!l->head)
            l->tail = &l->head;
        q->state = Q_IDLE;
    }
    return q;
}

static void
list_purge(struct queue_list *l, const struct chan *c)
{
    struct queue **p = &l->head;

    while (*p) {
        if ((*p)->chan == c)
            *p = (*p)->next;
        else
            p = &(*p)->next;
    }
    l->tail = p;
}

void
sweep_kick(struct sweep *s)
{
    loop_defer(s->loop, &s->flush, STAGE_FLUSH);
}

void
sweep_turn(struct queue *q)
{
    list_push(&q->chan->sweep->turn, q, Q_TURN);
    sweep_kick(q->chan->sweep);
}

void
sweep_later(struct queue *q)
{
    struct sweep *s = q->chan->sweep;

    list_push(&s->later, q, Q_LATER);
    loop_defer(s->loop, &s->again, STAGE_NEXT);
}

void
sweep_check(struct queue *q)
{
    list_push(&q->chan->sweep->check, q, Q_CHECK);
}

void
sweep_unmask(struct queue *q)
{
    struct sweep *s = q->chan->sweep;

    if (q->masked)
        s->unmask[s->unmasks++] = (uint32_t)q->port;
    q->masked = false;
}

void
sweep_dirty(struct queue *q)
{
    struct sweep *s = q->chan->sweep;

    if (q->dirty)
        return;
    q->dirty = true;
    q->next_dirty = s->dirty;
    s->dirty = q;
}

/* ---- the pass ------------------------------------------------------------ */

static void
fired(void *ctx, const uint32_t *ports, unsigned n)
{
    struct sweep *s = ctx;

    for (unsigned i = 0; i < n; i++) {
        struct queue *q = ports[i] < s->ports ? s->by_port[ports[i]] : NULL;

        if (!q)
            continue;
        q->chan->stats.events++;
        q->masked = true;
        q->fresh = true;
        if (q->state == Q_IDLE)
            sweep_turn(q);
    }
}

static void
tap_broken(void *ctx, int error)
{
    struct sweep *s = ctx;
    char why[160];

    snprintf(why, sizeof(why), "the device channel is gone: %s",
             strerror(abs(error)));
    for (struct chan *c = s->chans; c; c = c->next)
        chan_break(c, why);
}

static void
publish(struct sweep *s)
{
    struct queue *q;

    while ((q = s->dirty)) {
        s->dirty = q->next_dirty;
        queue_publish(q);
    }
}

static void
check(struct sweep *s)
{
    struct queue *q;

    while ((q = list_pop(&s->check)))
        queue_check(q);
    if (s->unmasks)
        s->tap->ops->unmask(s->tap, s->unmask, s->unmasks);
    s->unmasks = 0;
}

/* The only calls out of a pass, and its last step: whoever is called may close
 * channels. */
static void
give(struct sweep *s)
{
    struct req *r;

    while ((r = req_pop(&s->give))) {
        struct chan *c = r->queue->chan;

        r->given = true;
        c->given++;
        if (SEEDED_ACK_BEFORE_WRITE && r->op == BLKIF_WRITE) {
            queue_answer(r);
            sweep_dirty(r->queue);
            sweep_kick(s);
        }
        c->ops->request(c->ctx, &r->io);
    }
}

static void
pass(struct loop_task *t)
{
    struct sweep *s =
        (struct sweep *)(void *)((char *)t - offsetof(struct sweep, flush));
    struct queue *q;

    s->pass++;
    move_out(s);
    publish(s);
    while ((q = list_pop(&s->turn)))
        queue_take(q);
    move_fetch(s);
    move_in(s);
    check(s);
    give(s);
}

static void
next_round(struct loop_task *t)
{
    struct sweep *s =
        (struct sweep *)(void *)((char *)t - offsetof(struct sweep, again));
    struct queue *q;

    while ((q = list_pop(&s->later)))
        sweep_turn(q);
}

/* ---- who takes part ------------------------------------------------------ */

int
sweep_new(struct sweep **out, struct tap *tap)
{
    struct sweep *s = calloc(1, sizeof(*s));

    if (s)
        s->copy = calloc(SWEEP_COPIES, sizeof(s->copy[0]));
    if (!s || !s->copy) {
        free(s);
        return -ENOMEM;
    }
    s->tap = tap;
    s->loop = tap->loop;
    s->flush.run = pass;
    s->again.run = next_round;
    list_init(&s->turn);
    list_init(&s->check);
    list_init(&s->later);
    req_list_init(&s->fetch);
    req_list_init(&s->ready);
    req_list_init(&s->copying);
    req_list_init(&s->give);
    req_list_init(&s->done);
    tap->fired = fired;
    tap->broken = tap_broken;
    tap->ctx = s;
    *out = s;
    return 0;
}

void
sweep_free(struct sweep *s)
{
    if (!s)
        return;
    loop_undefer(s->loop, &s->flush, STAGE_FLUSH);
    loop_undefer(s->loop, &s->again, STAGE_NEXT);
    s->tap->fired = NULL;
    s->tap->broken = NULL;
    free(s->by_port);
    free(s->unmask);
    free(s->copy);
    free(s);
}

static int
reserve_ports(struct sweep *s, unsigned ports, unsigned more)
{
    struct queue **by_port;
    uint32_t *unmask;

    if (ports > s->ports) {
        by_port = realloc(s->by_port, ports * sizeof(by_port[0]));
        if (!by_port)
            return -ENOMEM;
        memset(by_port + s->ports, 0, (ports - s->ports) * sizeof(by_port[0]));
        s->by_port = by_port;
        s->ports = ports;
    }
    unmask = realloc(s->unmask, (s->unmask_max + more) * sizeof(unmask[0]));
    if (!unmask)
        return -ENOMEM;
    s->unmask = unmask;
    s->unmask_max += more;
    return 0;
}

int
sweep_add_chan(struct sweep *s, struct chan *c)
{
    unsigned top = 0;
    int error;

    for (unsigned i = 0; i < c->params.queues; i++) {
        if (c->queue[i].port >= PORT_MAX)
            return -ERANGE;
        if ((unsigned)c->queue[i].port >= top)
            top = (unsigned)c->queue[i].port + 1;
    }
    error = reserve_ports(s, top, c->params.queues);
    if (error)
        return error;
    for (unsigned i = 0; i < c->params.queues; i++)
        s->by_port[c->queue[i].port] = &c->queue[i];
    c->next = s->chans;
    s->chans = c;
    return 0;
}

void
sweep_remove_chan(struct sweep *s, struct chan *c)
{
    struct chan **p = &s->chans;
    struct queue **d = &s->dirty;

    while (*p && *p != c)
        p = &(*p)->next;
    if (!*p)
        return;
    *p = c->next;
    while (*d) {
        if ((*d)->chan == c)
            *d = (*d)->next_dirty;
        else
            d = &(*d)->next_dirty;
    }
    list_purge(&s->turn, c);
    list_purge(&s->check, c);
    list_purge(&s->later, c);
    req_purge(&s->fetch, c);
    req_purge(&s->ready, c);
    req_purge(&s->copying, c);
    req_purge(&s->give, c);
    req_purge(&s->done, c);
    for (unsigned i = 0; i < c->params.queues; i++)
        s->by_port[c->queue[i].port] = NULL;
    s->unmask_max -= c->params.queues;
}
