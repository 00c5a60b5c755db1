/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * delay: holds requests back for a while on their way down.
 *
 * A held request waits on a timer of its own, in its scratch, and in a list of
 * all that are held.  drain() lets the whole list go at once, and nothing is
 * held from then until resume(): a pause never waits for our timers.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "blktap/plugin.h"
#include "plugins/common/match.h"

struct delay {
    struct match match;
    uint64_t time, jitter; /* ns */
    bool draining;
    struct delay_req *held; /* newest first */
    uint64_t delayed, delayed_ns, held_now;
};

/* Lives in the scratch of a request, while it is held. */
struct delay_req {
    struct blk_timer timer;
    struct blk_layer *layer;
    struct blk_req *req;
    struct delay_req *next, **prev;
};

static const struct blk_option delay_options[] = {
    { .name = "time",
      .type = BLK_TIME,
      .at = offsetof(struct delay, time),
      .required = true,
      .max = 3600ull * 1000000000,
      .help = "how long a request is held back" },
    { .name = "jitter",
      .type = BLK_TIME,
      .at = offsetof(struct delay, jitter),
      .fallback = "0",
      .max = 3600ull * 1000000000,
      .help = "up to this much more, evenly at random" },
    MATCH_PLACE_OPTIONS(struct delay, match),
    MATCH_CHANCE_OPTIONS(struct delay, match),
    { 0 }
};

static const struct blk_counter delay_counters[] = {
    { "matched", offsetof(struct delay, match.seen), "requests",
      "requests of the chosen kind and place" },
    { "delayed", offsetof(struct delay, delayed), "requests",
      "requests that were held back" },
    { "delayed_ns", offsetof(struct delay, delayed_ns), "ns",
      "time that was asked for them, in sum" },
    { "held", offsetof(struct delay, held_now), "requests",
      "requests that are held back now" },
    { 0 }
};

static int
delay_check(const void *self, char *why, size_t why_size)
{
    const struct delay *d = self;

    return match_check(&d->match, why, why_size);
}

static void
delay_release(struct delay *d, struct delay_req *q)
{
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    d->held_now--;
    blk_down(q->layer, q->req);
}

static void
delay_fire(struct blk_timer *t)
{
    struct delay_req *q = t->data;

    delay_release(blk_self(q->layer), q);
}

static void
delay_submit(struct blk_layer *l, struct blk_req *r)
{
    struct delay *d = blk_self(l);
    struct delay_req *q = r->scratch;
    uint64_t time = d->time;

    if (d->draining || !match_hit(&d->match, l, r)) {
        blk_down(l, r);
        return;
    }
    if (d->jitter)
        time += blk_random(l) % (d->jitter + 1);
    d->delayed++;
    d->delayed_ns += time;
    d->held_now++;
    q->layer = l;
    q->req = r;
    q->next = d->held;
    q->prev = &d->held;
    if (q->next)
        q->next->prev = &q->next;
    d->held = q;
    q->timer.fire = delay_fire;
    q->timer.data = q;
    blk_timer_start(l, &q->timer, time);
}

static void
delay_drain(struct blk_layer *l)
{
    struct delay *d = blk_self(l);
    struct delay_req *q;

    d->draining = true;
    while ((q = d->held)) {
        blk_timer_stop(l, &q->timer);
        delay_release(d, q);
    }
}

static void
delay_resume(struct blk_layer *l)
{
    struct delay *d = blk_self(l);

    d->draining = false;
    blk_ready(l, 0);
}

BLK_PLUGIN(delay) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct delay),
    .req_size = sizeof(struct delay_req),
    .ops = BLK_ALL_OPS,
    .transparent = true,
    .name = "delay",
    .help = "holds requests back for a while",
    .options = delay_options,
    .counters = delay_counters,
    .check = delay_check,
    .submit = delay_submit,
    .drain = delay_drain,
    .resume = delay_resume,
};
