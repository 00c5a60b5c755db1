/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * throttle.c: what rubbish costs a channel.
 *
 * A malformed request and an event without a request take our time and give
 * the front-end nothing, so one that sends them at full speed would take the
 * share of other disks.  Each is charged to the channel, all its queues
 * together, in the time that it has to stand for it: 200 µs a request, 2 ms an
 * event.  A read into pages that the front-end did not grant is found out last,
 * when all of its I/O was done: 2 ms a page.  Debt is paid by time passing; a
 * channel with more of it than BURST_NS is shut until it is down to that again:
 *
 *            debt
 *             │      ╱|shut╲      ╱|╲
 *    BURST_NS ┼─────╱───────╲────╱───╲──── open
 *             │    ╱ charge  ╲  ╱
 *             └───────────────────────────► time
 *
 * Thus after a burst of 500 requests, 50 events or 50 pages it is 5,000
 * requests, 500 events or 500 pages a second.  While it is shut nothing is
 * consumed from any of its rings and ports that fired stay masked: good
 * requests wait, too, as they share the ring with the rubbish.  What is in
 * flight ends as ever, and so it can be drained and closed.
 *
 * Who sends no rubbish never comes here: no clock is read for him.
 */
#include "channel/internal.h"

#define BURST_NS UINT64_C(100000000)
#define PAUSE_NS UINT64_C(10000000)    /* at least: waking up is not free */
#define CALM_NS  UINT64_C(10000000000) /* then it is news again */

/* 0: it may be open. */
static uint64_t
excess(const struct chan *c, uint64_t now)
{
    if (c->debt_until_ns <= now + BURST_NS)
        return 0;
    return c->debt_until_ns - now - BURST_NS;
}

static void
shut(struct chan *c, uint64_t now)
{
    uint64_t ns = excess(c, now);

    c->loop->ops->timer_start(c->loop, &c->reopen,
                              ns < PAUSE_NS ? PAUSE_NS : ns);
    if (!c->stats.throttled || now - c->shut_at_ns > CALM_NS) {
        c->shut_news = true;
        loop_defer(c->loop, &c->task, STAGE_CHAIN);
    }
    c->shut = true;
    c->shut_at_ns = now;
    c->stats.throttled++;
}

void
throttle_charge(struct chan *c, uint64_t cost_ns)
{
    uint64_t now = c->loop->ops->now(c->loop);

    if (c->debt_until_ns < now)
        c->debt_until_ns = now;
    c->debt_until_ns += cost_ns;
    if (!c->shut && excess(c, now))
        shut(c, now);
}

void
throttle_reopen(struct blk_timer *t)
{
    struct chan *c = t->data;
    uint64_t now = c->loop->ops->now(c->loop), more = excess(c, now);

    if (more) { /* what was in hand when it was shut was rubbish as well */
        c->loop->ops->timer_start(c->loop, &c->reopen, more);
        return;
    }
    c->shut = false;
    chan_ended(c);
}
