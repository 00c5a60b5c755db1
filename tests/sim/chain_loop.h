/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain_loop.h: the least loop that a chain needs: tasks, timers and a clock
 * that moves when there is nothing else to do.  No files, no descriptors.
 */
#ifndef TESTS_SIM_CHAIN_LOOP_H
#define TESTS_SIM_CHAIN_LOOP_H

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/host.h"

struct chain_loop {
    struct loop loop;
    uint64_t now, seed;
    struct blk_timer *timers; /* private_[0]: next, private_[1]: when */
    uint64_t rounds;
};

static inline struct blk_timer **
chain_loop_link(struct blk_timer *t)
{
    return (struct blk_timer **)(void *)&t->private_[0];
}

static inline uint64_t
chain_loop_now(struct loop *loop)
{
    return ((struct chain_loop *)loop)->now;
}

/* splitmix64 */
static inline uint64_t
chain_loop_random(struct loop *loop)
{
    uint64_t z = ((struct chain_loop *)loop)->seed += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void
chain_loop_timer_stop(struct loop *loop, struct blk_timer *t)
{
    struct blk_timer **at = &((struct chain_loop *)loop)->timers;

    for (; *at; at = chain_loop_link(*at)) {
        if (*at == t) {
            *at = *chain_loop_link(t);
            return;
        }
    }
}

/* In the order of time; of the same time in the order of starting. */
static inline void
chain_loop_timer_start(struct loop *loop, struct blk_timer *t, uint64_t after)
{
    struct chain_loop *l = (struct chain_loop *)loop;
    struct blk_timer **at = &l->timers;

    chain_loop_timer_stop(loop, t);
    t->private_[1] = l->now + after;
    while (*at && (*at)->private_[1] <= t->private_[1])
        at = chain_loop_link(*at);
    *chain_loop_link(t) = *at;
    *at = t;
}

static inline void
chain_loop_init(struct chain_loop *l, uint64_t seed)
{
    static const struct loop_ops ops = {
        .now = chain_loop_now,
        .random = chain_loop_random,
        .timer_start = chain_loop_timer_start,
        .timer_stop = chain_loop_timer_stop,
    };

    memset(l, 0, sizeof(*l));
    loop_init(&l->loop, &ops, "test");
    l->seed = seed;
    l->now = 1000000;
}

/* One round, as a real loop's: tasks first, then the next timer.  False: there
 * was nothing to do. */
static inline bool
chain_loop_step(struct chain_loop *l)
{
    struct blk_timer *t;
    bool worked = false;

    l->rounds++;
    for (int i = 0; i < STAGE_COUNT; i++)
        worked |= l->loop.head[i] != NULL;
    if (worked) {
        loop_round(&l->loop);
        return true;
    }
    t = l->timers;
    if (!t)
        return false;
    l->timers = *chain_loop_link(t);
    if (t->private_[1] > l->now)
        l->now = t->private_[1];
    t->fire(t);
    return true;
}

#endif
