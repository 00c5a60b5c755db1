/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flow.c: requests into the rings, answers out of them.
 *
 *   submit ─► waiting ─► pages, a ring ─► the back-end ─► answer ─► done()
 *                ▲             │ it went away
 *                └─────────────┘ with their pages: a write's data are in them
 *
 * What can run out, pages or slots, leaves requests waiting; none fails.
 *
 * Between rings there is no order, and nobody needs one: who wants a request
 * after another waits for the other's end, and a flush covers what has ended
 * when it is sent, in whichever ring it was.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "front/private.h"

/* An event that brings no answer costs us a look.  After that many in a row
 * the port stays masked for a while: a back-end that sends nothing but events
 * costs a look in a millisecond. */
#define CALM_NS UINT64_C(1000000)
enum { EMPTY_MAX = 32 };

/* So many are one ring's before another gets some: a few cost one event, and
 * neighbours stay together; many are spread. */
enum { TOGETHER = 8 };

/* ---- lists --------------------------------------------------------------- */

void
front_push(struct front_list *l, struct front_io *io)
{
    io->next = NULL;
    *l->tail = io;
    l->tail = &io->next;
}

static void
push_first(struct front_list *l, struct front_io *io)
{
    io->next = l->head;
    if (!l->head)
        l->tail = &io->next;
    l->head = io;
}

static struct front_io *
pop(struct front_list *l)
{
    struct front_io *io = l->head;

    if (!io)
        return NULL;
    l->head = io->next;
    if (!l->head)
        l->tail = &l->head;
    return io;
}

/* ---- pages --------------------------------------------------------------- */

static bool
has_data(const struct front_io *io)
{
    return io->op == BLK_READ || io->op == BLK_WRITE;
}

static unsigned
pages_of(const struct front_io *io)
{
    return (io->len + FRONT_PAGE - 1) / FRONT_PAGE;
}

/* Its data lie in lent memory, whole sectors of it, in no more segments than
 * it may have: so there they stay. */
static bool
is_straight(const struct front *f, const struct front_io *io)
{
    const struct blk_sg *sg = io->sg;
    const size_t size = (size_t)f->pool->n * FRONT_PAGE;
    size_t left = io->len, skip = sg->skip, segs = 0;

    for (uint32_t i = 0; left; i++) {
        size_t at = (size_t)((uintptr_t)sg->v[i].iov_base + skip -
                             (uintptr_t)f->pool->base);
        size_t part = sg->v[i].iov_len - skip;

        part = part < left ? part : left;
        if (part > size || at > size - part || (at | part) % f->info.align)
            return false;
        segs += (at % FRONT_PAGE + part + FRONT_PAGE - 1) / FRONT_PAGE;
        left -= part;
        skip = 0;
    }
    return segs <= f->info.segments;
}

enum direction { TO_PAGES, FROM_PAGES };

static void
copy(struct front *f, const struct front_io *io, enum direction d)
{
    uint16_t page = io->page;
    uint32_t at, part;

    f->counters.copied_bytes += io->len;
    for (at = 0; at < io->len; at += part, page = f->pool->next[page]) {
        char *here = f->pool->base + (size_t)page * FRONT_PAGE;

        part = io->len - at < FRONT_PAGE ? io->len - at : FRONT_PAGE;
        if (d == TO_PAGES)
            blk_sg_read(io->sg, at, here, part);
        else
            blk_sg_write(io->sg, at, here, part);
    }
}

static bool
take_pages(struct front *f, struct front_io *io)
{
    if (io->paged || io->straight || !has_data(io))
        return true;
    if (is_straight(f, io)) {
        io->straight = true;
        f->counters.straight++;
        f->counters.straight_bytes += io->len;
        return true;
    }
    if (!pool_take(f->pool, pages_of(io), &io->page))
        return false;
    io->paged = true;
    f->counters.copied++;
    if (io->op == BLK_WRITE)
        copy(f, io, TO_PAGES);
    return true;
}

static void
give_pages(struct front *f, struct front_io *io)
{
    if (io->paged)
        pool_give(f->pool, io->page);
    io->paged = false;
}

/* More segments than an entry of the ring has place for are in a page of their
 * own.  As such a request has as many pages of data, there are enough of them
 * for the whole pool; only requests of many small pieces may have to wait. */
static bool
take_list(struct front *f, struct front_io *io, struct ring_slot *slot)
{
    if (!pool_take(f->lists, 1, &io->list))
        return false;
    slot->indirect = f->lists->base + (size_t)io->list * FRONT_PAGE;
    slot->indirect_ref = f->lists->ref[io->list];
    return true;
}

static void
give_list(struct front *f, struct front_io *io)
{
    if (io->list != NO_PAGE)
        pool_give(f->lists, io->list);
    io->list = NO_PAGE;
}

/* ---- segments ------------------------------------------------------------ */

static unsigned
segments_taken(struct front *f, const struct front_io *io)
{
    uint16_t page = io->page;
    uint32_t left = io->len;
    unsigned n = 0;

    for (; left; page = f->pool->next[page], n++) {
        uint32_t part = left < FRONT_PAGE ? left : FRONT_PAGE;

        f->seg[n] =
            (struct ring_seg){ .ref = f->pool->ref[page],
                               .last = (uint8_t)(part / FRONT_SECTOR - 1) };
        left -= part;
    }
    return n;
}

/* Of a part of the pool; returns how many segments there are then. */
static unsigned
segments_of_part(struct front *f, unsigned n, size_t at, size_t len)
{
    while (len) {
        size_t in_page = at % FRONT_PAGE, part = FRONT_PAGE - in_page;

        part = part < len ? part : len;
        f->seg[n++] = (struct ring_seg){
            .ref = f->pool->ref[at / FRONT_PAGE],
            .first = (uint8_t)(in_page / FRONT_SECTOR),
            .last = (uint8_t)((in_page + part) / FRONT_SECTOR - 1)
        };
        at += part;
        len -= part;
    }
    return n;
}

static unsigned
segments_straight(struct front *f, const struct front_io *io)
{
    const struct blk_sg *sg = io->sg;
    size_t left = io->len, skip = sg->skip;
    unsigned n = 0;

    for (uint32_t i = 0; left; i++) {
        char *at = (char *)sg->v[i].iov_base + skip;
        size_t part = sg->v[i].iov_len - skip;

        part = part < left ? part : left;
        n = segments_of_part(f, n, (size_t)(at - f->pool->base), part);
        left -= part;
        skip = 0;
    }
    return n;
}

/* ---- out ----------------------------------------------------------------- */

static enum ring_op
ring_op(const struct front *f, const struct front_io *io)
{
    switch (io->op) {
    case BLK_READ:
        return RING_READ;
    case BLK_WRITE:
        return RING_WRITE;
    case BLK_DISCARD:
        return RING_DISCARD;
    default:
        return f->info.flush ? RING_FLUSH : RING_BARRIER;
    }
}

/* -EAGAIN: it has to wait for a page. */
static int
put(struct front *f, struct front_ring *ring, struct front_io *io)
{
    struct ring_request r = { .op = ring_op(f, io),
                              .sector = io->off / FRONT_SECTOR,
                              .sectors = io->len / FRONT_SECTOR,
                              .user = io };

    if (io->op == BLK_FLUSH) {
        r.sector = 0;
        io->flushes = f->writes;
    }
    if (has_data(io)) {
        r.seg = f->seg;
        r.segs =
            io->straight ? segments_straight(f, io) : segments_taken(f, io);
    }
    if (r.segs > FRONT_DIRECT_MAX &&
        !take_list(f, io, ring_client_next(&ring->client)))
        return -EAGAIN;
    return ring_client_put(&ring->client, &r);
}

/* The ring that has the fewest, by TOGETHER, and of these the first: so as few
 * are used as will do, since a back-end with persistent grants maps a page once
 * for each.  NULL: all are full. */
static struct front_ring *
ring_choose(struct front *f)
{
    struct front_ring *best = NULL;

    for (unsigned i = 0; i < f->queues; i++) {
        struct front_ring *ring = &f->ring[i];
        uint32_t used = ring->client.used;

        if (used < ring->client.entries &&
            (!best || used / TOGETHER < best->client.used / TOGETHER))
            best = ring;
    }
    return best;
}

static int
send_one(struct front *f, struct front_ring *ring, struct front_io *io)
{
    int err = take_pages(f, io) ? put(f, ring, io) : -EAGAIN;

    if (err)
        return err;
    pop(&f->waiting);
    f->counters.sent++;
    f->counters.queue_sent[ring - f->ring]++;
    return 0;
}

static void
broken(const struct front_ring *ring)
{
    front_fatal(ring->front, -EPROTO, "the back-end broke the protocol: %s",
                ring->client.broken);
}

static void
unmask(struct front_ring *ring)
{
    struct gate *gate = ring->front->fronts->gate;

    gate->ops->unmask(gate, &ring->port);
}

static bool
asked(const struct front *f)
{
    for (unsigned i = 0; i < f->queues; i++) {
        if (f->ring[i].client.used)
            return true;
    }
    return false;
}

/* It was asked for nothing, and so not heard.  What it said all the same is
 * where the first request of now goes: once that is shown, one can't be told
 * from the other.  An answer that comes before the port can fire makes it fire
 * as soon as it can. */
static int
end_rest(struct front_ring *ring)
{
    struct ring_answer a;

    if (!ring->resting)
        return 0;
    ring->resting = false;
    if (ring_client_take(&ring->client, &a))
        return -EPROTO;
    unmask(ring);
    return 0;
}

/* false: the front is of no use any more, or gone. */
static bool
publish(struct front *f)
{
    struct gate *gate = f->fronts->gate;

    if (!asked(f))
        return true;
    for (unsigned i = 0; i < f->queues; i++) {
        struct front_ring *ring = &f->ring[i];

        if (end_rest(ring)) {
            broken(ring);
            return false;
        }
        if (ring_client_publish(&ring->client)) {
            f->counters.kicks++;
            gate->ops->notify(gate, &ring->port);
        }
    }
    return true;
}

void
front_flow(struct front *f)
{
    struct front_ring *ring;
    struct front_io *io;
    int err = 0;

    if (f->phase != FRONT_LIVE)
        return;
    while (!err && (io = f->waiting.head) && (ring = ring_choose(f)))
        err = send_one(f, ring, io);
    if (!publish(f))
        return;
    if (err == -EAGAIN)
        f->counters.full++;
    else if (err)
        front_fatal(f, err, "a request that the ring has no place for");
}

/* ---- in ------------------------------------------------------------------ */

static void
answered(struct front *f, struct front_io *io, int error)
{
    if (!error && io->op == BLK_READ && io->paged)
        copy(f, io, FROM_PAGES);
    if (!error && io->op == BLK_WRITE)
        f->writes++;
    if (!error && io->op == BLK_FLUSH && io->flushes > f->flushed)
        f->flushed = io->flushes;
    give_list(f, io);
    give_pages(f, io);
    io->done(io, error);
}

/* All answers there are, at most as many as there were requests. */
static int
take_answers(struct front_ring *ring, unsigned *taken)
{
    struct ring_client *rc = &ring->client;
    struct ring_answer a;
    int got;

    do {
        while ((got = ring_client_take(rc, &a)) > 0) {
            (*taken)++;
            answered(ring->front, a.user, a.error);
        }
    } while (!got && ring_client_rearm(rc));
    return got;
}

static void
calm_down(struct front_ring *ring)
{
    struct front *f = ring->front;
    bool runs = false;

    for (unsigned i = 0; i < f->queues; i++)
        runs |= f->ring[i].calmed;
    ring->calmed = true;
    if (!runs)
        f->fronts->data->ops->timer_start(f->fronts->data, &f->calm, CALM_NS);
}

void
front_calm(struct blk_timer *t)
{
    struct front *f = t->data;
    bool calmed[FRONT_QUEUES_MAX];

    /* All of them first: one that is calmed again starts the timer. */
    for (unsigned i = 0; i < f->queues; i++) {
        calmed[i] = f->ring[i].calmed;
        f->ring[i].calmed = false;
    }
    for (unsigned i = 0; i < f->queues; i++) {
        if (calmed[i] && f->ring[i].port_open)
            front_fired(&f->ring[i].port);
    }
}

/* Who was asked for nothing, in any ring, has nothing to say: with one request
 * at a time the port is unmasked with that of the guest's next, in one call. */
static void
hear_again(struct front_ring *ring)
{
    if (!asked(ring->front))
        ring->resting = true;
    else if (ring->empty > EMPTY_MAX)
        calm_down(ring);
    else
        unmask(ring);
}

void
front_fired(struct gate_port *p)
{
    struct front_ring *ring = p->data;
    struct front *f = ring->front;
    unsigned taken = 0;

    f->counters.events++;
    if (f->over)
        return; /* and masked it stays */
    if (f->phase != FRONT_LIVE) {
        if (f->phase != FRONT_FATAL)
            unmask(ring); /* its own binding fires before it is connected */
        return;
    }
    if (take_answers(ring, &taken)) {
        broken(ring);
        return;
    }
    ring->empty = taken ? 0 : ring->empty + 1;
    f->counters.spurious += !taken;
    hear_again(ring);
    front_flow(f);
}

/* ---- the rings are of no use any more ------------------------------------ */

void
front_flow_back(struct front *f)
{
    struct ring_answer a;

    for (unsigned i = 0; i < f->queues; i++) {
        while (ring_client_cancel(&f->ring[i].client, &a)) {
            give_list(f, a.user);
            push_first(&f->waiting, a.user);
            f->counters.again++;
        }
    }
}

void
front_flow_end(struct front *f, int error)
{
    struct front_io *io;

    front_flow_back(f);
    while ((io = pop(&f->waiting))) {
        give_pages(f, io);
        io->done(io, error);
    }
}

bool
front_outstanding(const struct front *f)
{
    return asked(f) || f->waiting.head;
}

static uint64_t
ring_oldest(const struct front_ring *ring)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < ring->client.entries; i++) {
        const struct front_io *io =
            ring->slot[i].waits ? ring->slot[i].user : NULL;

        if (io && io->since < oldest)
            oldest = io->since;
    }
    return oldest;
}

uint64_t
front_oldest(const struct front *f)
{
    uint64_t oldest = UINT64_MAX;
    const struct front_io *io;

    for (unsigned i = 0; i < f->queues; i++) {
        uint64_t its = ring_oldest(&f->ring[i]);

        oldest = its < oldest ? its : oldest;
    }
    for (io = f->waiting.head; io; io = io->next)
        oldest = io->since < oldest ? io->since : oldest;
    return oldest;
}
