/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * head.c: where a front-end's requests enter the chain, and leave it.
 *
 * Data loop only.  A chan_io is lent by the channel until chan_complete(); a
 * chain_req is lent by the chain until chain_put().  There are as many of the
 * one as of the other (chain_reserve(chan_depth)), so chain_get() does not
 * fail.
 */
#include "config.h"

#include "disk/unit_private.h"
#include "seeded.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

/* chan_io.user holds the unit; chain_req.owner the chan_io. */

static void
head_over(struct chan_io *io, int error)
{
    struct unit *u = io->user;

    chan_complete(io, error);
    unit_request_over(u);
}

/* A guest takes a failed flush for "this disk has none" and goes on without
 * (Linux: "empty flush op failed"), so a disk whose flush failed must not go
 * on answering writes. */
static void
head_flush_failed(struct unit *u, const struct chan_io *io, int error)
{
    char why[128];

    if (error == -EOPNOTSUPP)
        return;
    snprintf(why, sizeof why,
             "a flush failed with error %d: data written before it may be "
             "lost",
             -error);
    unit_fail_for_good(u, chan_of(io), why);
}

static void
head_done(struct chain_req *r, int error)
{
    struct chan_io *io = r->owner;
    struct unit *u = io->user;
    bool flush = r->req.op == BLK_FLUSH;

    chain_put(u->chain, r);
    if (error && flush)
        head_flush_failed(u, io, error);
    head_over(io, error);
}

static void
head_submit(struct unit *u, struct chan_io *io, enum blk_op op, uint8_t flags,
            void (*done)(struct chain_req *, int))
{
    struct chain_req *r = chain_get(u->chain);

    assert(r);
    r->owner = io;
    r->done = done;
    r->req.op = (uint8_t)op;
    r->req.flags = flags;
    r->req.off = op == BLK_FLUSH ? 0 : io->off;
    r->req.len = op == BLK_FLUSH ? 0 : (uint32_t)io->len;
    if (op == BLK_READ || op == BLK_WRITE) {
        r->req.sg = (struct blk_sg){ &io->iov, 1, 0 };
    }
    chain_submit(u->chain, r);
}

/* ---- a barrier: flush, then write with FUA (the channel has drained) ------
 */

static void
head_barrier_flushed(struct chain_req *r, int error)
{
    struct chan_io *io = r->owner;
    struct unit *u = io->user;

    chain_put(u->chain, r);
    if (error) {
        head_flush_failed(u, io, error);
        head_over(io, error);
        return;
    }
    if (!io->len) {
        head_over(io, 0);
        return;
    }
    head_submit(u, io, BLK_WRITE, BLK_FUA, head_done);
}

/* ---- a discard can be longer than a request of the chain ------------------
 */

/* The chain's lengths are 32 bits; a guest's discard may be the whole disk. */
#define HEAD_DISCARD_MAX (1u << 30)

static void head_discard_done(struct chain_req *r, int error);

static void
head_discard_next(struct unit *u, struct chan_io *io)
{
    struct chain_req *r = chain_get(u->chain);

    assert(r);
    r->owner = io;
    r->done = head_discard_done;
    r->req.op = BLK_DISCARD;
    r->req.flags = 0;
    r->req.off = io->off;
    r->req.len =
        io->len > HEAD_DISCARD_MAX ? HEAD_DISCARD_MAX : (uint32_t)io->len;
    chain_submit(u->chain, r);
}

static void
head_discard_done(struct chain_req *r, int error)
{
    struct chan_io *io = r->owner;
    struct unit *u = io->user;

    io->off += r->req.len;
    io->len -= r->req.len;
    chain_put(u->chain, r);
    if (error || !io->len)
        head_over(io, error);
    else
        head_discard_next(u, io);
}

/* ---- the channel's side ---------------------------------------------------*/

static void
head_request(void *ctx, struct chan_io *io)
{
    struct unit *u = ctx;

    io->user = u;
    u->in_chain++;
    if (u->failed)
        head_over(io, -EIO);
    else if (io->barrier)
        head_submit(u, io, BLK_FLUSH, 0, head_barrier_flushed);
    else if (SEEDED_SKIPPED_FLUSH && io->op == BLK_FLUSH)
        head_over(io, 0);
    else if (io->op == BLK_DISCARD)
        head_discard_next(u, io);
    else
        head_submit(u, io, io->op, io->flags, head_done);
}

static void
head_broken(void *ctx, const char *why)
{
    struct unit *u = ctx;

    u->ring_broken = true;
    unit_fail(u, why);
}

static void
head_throttled(void *ctx)
{
    unit_throttled(ctx);
}

static struct blk_lender *
head_lender(void *ctx)
{
    const struct unit *u = ctx;

    return u->failed ? NULL : chain_lender(u->chain);
}

const struct chan_ops head_ops = {
    .request = head_request,
    .broken = head_broken,
    .throttled = head_throttled,
    .lender = head_lender,
};
