/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * move.c: data between the guest's pages and our buffers, by grant copy, in
 * one batch for all requests of all rings.  Every piece's status counts for
 * its own request, and for no other (XSA-365).
 */
#include "channel/internal.h"
#include "seeded.h"

_Static_assert(CHAN_INDIRECT_MAX *BLKIF_SEG_SIZE <= BLKIF_PAGE,
               "all segments of an INDIRECT request lie in its first page");
_Static_assert(sizeof(struct seg) == BLKIF_SEG_SIZE, "converted in place");
_Static_assert(CHAN_INDIRECT_MAX *BLKIF_PAGE <= BUFFERS_SLAB,
               "the longest request fits in a slab");

static void
add(struct sweep *s, struct req *r, uint32_t ref, uint16_t off, uint16_t len,
    void *local, bool to_guest)
{
    s->copy[s->copies++] = (struct tap_copy){
        .ref = ref,
        .offset = off,
        .len = len,
        .local = local,
        .to_guest = to_guest,
        .domid = (uint16_t)r->queue->chan->params.domid,
    };
    r->copies++;
}

static bool
has_room(const struct sweep *s, unsigned n)
{
    return s->copies + n <= SWEEP_COPIES;
}

static void
run(struct sweep *s)
{
    s->copy_error = 0;
    if (s->copies)
        s->copy_error = s->tap->ops->copy(s->tap, s->copy, s->copies);
    s->copies = 0;
    s->call++;
}

/* Did all pieces of this request arrive?  After run(). */
static bool
arrived(const struct sweep *s, struct req *r)
{
    struct chan *c = r->queue->chan;
    uint32_t n = r->copies;
    bool good = !s->copy_error;

    r->copies = 0;
    if (!n)
        return true;
    for (uint32_t i = r->copy; good && i < r->copy + n; i++)
        good = s->copy[i].status == 0;
    c->stats.copies += n;
    c->stats.copy_calls += c->call != s->call;
    c->stats.copy_errors += !good;
    c->call = s->call;
    return good;
}

static void
add_data(struct sweep *s, struct req *r, bool to_guest)
{
    uint8_t *at = r->io.iov.iov_base;

    r->copy = s->copies;
    for (unsigned i = 0; i + SEEDED_OFF_BY_ONE_SEGMENT < r->nsegs; i++) {
        const struct seg *g = &r->seg[i];

        add(s, r, g->gref, g->off, g->len, at, to_guest);
        at += g->len;
    }
}

/* ---- segments of INDIRECT requests --------------------------------------- */

/* In place, from low to high: what is read is not yet overwritten. */
static void
narrow_in_place(struct seg *seg, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct blkif_seg g;

        __builtin_memcpy(&g, &seg[i], sizeof(g));
        seg[i].gref = g.gref;
        seg[i].off = (uint16_t)(g.first * BLKIF_SECTOR);
        seg[i].len = (uint16_t)((g.last - g.first + 1) * BLKIF_SECTOR);
    }
}

static void
fetched(struct sweep *s, struct req *r)
{
    const struct chan *c = r->queue->chan;
    struct verdict v = { .status = BLKIF_ERROR };

    if (arrived(s, r))
        validate_segments((const struct blkif_seg *)(const void *)r->seg,
                          r->nsegs, r->off, &c->rules, &v);
    if (v.status != BLKIF_OKAY) {
        req_refuse(r, v.status);
        return;
    }
    r->off = v.off;
    r->len = v.len;
    narrow_in_place(r->seg, r->nsegs);
    req_push(&s->ready, r);
}

static void
fetch_batch(struct sweep *s)
{
    struct req_list batch;
    struct req *r;

    req_list_init(&batch);
    while (s->fetch.head && has_room(s, 1)) {
        r = req_pop(&s->fetch);
        r->copy = s->copies;
        add(s, r, r->gref, 0, (uint16_t)(r->nsegs * BLKIF_SEG_SIZE), r->seg,
            false);
        req_push(&batch, r);
    }
    run(s);
    while ((r = req_pop(&batch)))
        fetched(s, r);
}

void
move_fetch(struct sweep *s)
{
    while (s->fetch.head)
        fetch_batch(s);
}

/* ---- from the guest ------------------------------------------------------ */

static bool
has_data(const struct req *r)
{
    return r->op != BLKIF_DISCARD && r->len;
}

/* As the receiver is to see it. */
static void
describe(struct req *r)
{
    struct chan_io *io = &r->io;

    io->off = r->off;
    io->len = r->len;
    switch (r->op) {
    case BLKIF_READ:
        io->op = BLK_READ;
        break;
    case BLKIF_BARRIER:
        io->barrier = true;
        io->flags = BLK_FUA;
        io->op = BLK_WRITE;
        break;
    case BLKIF_WRITE:
        io->op = BLK_WRITE;
        break;
    case BLKIF_DISCARD:
        io->op = BLK_DISCARD;
        break;
    default: /* FLUSH: first without its data, if it has any */
        io->op = BLK_FLUSH;
        r->write_next = r->len != 0;
        io->off = io->len = 0;
    }
}

static void
hand_on(struct req *r)
{
    struct queue *q = r->queue;

    describe(r);
    if (q->barrier == r && q->live > 1)
        q->held = true; /* queue_publish() gives it */
    else
        req_push(&q->chan->sweep->give, r);
}

static void
moved_in(struct sweep *s)
{
    struct req *r;

    run(s);
    while ((r = req_pop(&s->copying))) {
        if (arrived(s, r)) {
            hand_on(r);
        } else {
            req_unbuffer(r);
            req_refuse(r, BLKIF_ERROR);
        }
    }
}

/* False: no buffer is free. */
static bool
place(struct sweep *s, struct req *r)
{
    if (has_data(r)) {
        if (!req_buffer(r))
            return false;
        if (r->op != BLKIF_READ) {
            if (!has_room(s, r->nsegs))
                moved_in(s);
            add_data(s, r, false);
        }
    }
    return true;
}

/* First those that have waited for a buffer. */
static void
place_waiting(struct sweep *s)
{
    for (struct chan *c = s->chans; c; c = c->next) {
        while (c->waiting.head && place(s, c->waiting.head))
            req_push(&s->copying, req_pop(&c->waiting));
    }
}

void
move_in(struct sweep *s)
{
    struct req *r;

    place_waiting(s);
    while ((r = req_pop(&s->ready))) {
        struct chan *c = r->queue->chan;

        if (c->waiting.head || !place(s, r))
            req_push(&c->waiting, r);
        else
            req_push(&s->copying, r);
    }
    moved_in(s);
}

/* ---- to the guest -------------------------------------------------------- */

static bool
is_good_read(const struct req *r)
{
    return r->op == BLKIF_READ && r->status == BLKIF_OKAY && r->given;
}

/* All of its I/O was done, and for nothing: the front-end named a page that it
 * did not grant.  When the call as a whole failed that is not its doing. */
static void
undelivered(const struct sweep *s, struct req *r)
{
    r->status = BLKIF_ERROR;
    if (!s->copy_error)
        throttle_charge(r->queue->chan, r->nsegs * (uint64_t)CHARGE_PAGE_NS);
}

static void
moved_out(struct sweep *s, struct req *r)
{
    if (!arrived(s, r))
        undelivered(s, r);
    if (r->write_next && r->status == BLKIF_OKAY) {
        r->write_next = false;
        r->io.op = BLK_WRITE;
        r->io.off = r->off;
        r->io.len = r->len;
        req_push(&s->give, r);
        return;
    }
    queue_respond(r);
}

static void
out_batch(struct sweep *s)
{
    struct req_list batch;
    struct req *r;

    req_list_init(&batch);
    while ((r = s->done.head)) {
        if (is_good_read(r)) {
            if (!has_room(s, r->nsegs))
                break;
            add_data(s, r, true);
        }
        req_push(&batch, req_pop(&s->done));
    }
    run(s);
    while ((r = req_pop(&batch)))
        moved_out(s, r);
}

void
move_out(struct sweep *s)
{
    while (s->done.head)
        out_batch(s);
}
