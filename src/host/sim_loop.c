/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_loop.c: a loop of the simulated world.
 *
 * Each event of a loop is followed by a round of it, as if the kernel had
 * reported just this one.  Mail and work take a random, short while; mail for
 * a loop arrives in the order in which it was sent.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/sim_world.h"

enum {
    ROUND_NS = 1000, /* until the next round, when tasks wait for one */
    MAIL_NS = 20000,
    WORK_NS = 100000
};

struct sim_loop {
    struct loop loop;
    struct sim *sim;
    struct sim_loop *next;
    bool dead; /* the program was killed: nothing works any more */
    bool in_round, stopping;
    struct sim_event *round; /* one that will come without an event */
    uint64_t mail_at;        /* when the last mail arrives */
    struct blk_watch *watches;
    char name[16];
};

static struct sim_loop *
ours(struct loop *loop)
{
    return (struct sim_loop *)loop;
}

struct sim *
sim_of(struct loop *loop)
{
    return ours(loop)->sim;
}

struct sim_loop *
sim_loop_of(struct loop *loop)
{
    return ours(loop);
}

/* ---- the round ----------------------------------------------------------- */

static void
round_now(struct sim_event *e)
{
    e->loop->round = NULL;
}

static void
round_later(struct sim_loop *l, uint64_t ns)
{
    if (!l->round)
        l->round = sim_event(l->sim, l, ns, "round", round_now, NULL);
}

void
sim_loop_enter(struct sim_loop *l)
{
    l->in_round = true;
}

void
sim_loop_round(struct sim_loop *l)
{
    bool more;

    if (l->dead)
        return;
    l->in_round = true;
    more = loop_round(&l->loop);
    loop_last(&l->loop);
    l->in_round = false;
    if (more && !l->dead)
        round_later(l, ROUND_NS);
}

static void
wake(struct loop *loop)
{
    struct sim_loop *l = ours(loop);

    if (!l->in_round && !l->dead)
        round_later(l, 0);
}

/* ---- time and chance ----------------------------------------------------- */

static uint64_t
now(struct loop *loop)
{
    return sim_now(sim_of(loop));
}

uint64_t
sim_now(const struct sim *sim)
{
    return sim->now;
}

static uint64_t
random_word(struct loop *loop)
{
    return sim_random(sim_of(loop));
}

/* In blk_timer.private_. */
struct sim_timer {
    struct sim_event *event; /* NULL: stopped */
};

static void
timer_fired(struct sim_event *e)
{
    struct blk_timer *t = e->data;

    ((struct sim_timer *)t->private_)->event = NULL;
    t->fire(t);
}

static void
timer_stop(struct loop *loop, struct blk_timer *t)
{
    struct sim_timer *st = (struct sim_timer *)t->private_;

    if (st->event && !ours(loop)->dead)
        sim_cancel(sim_of(loop), st->event);
    st->event = NULL;
}

static void
timer_start(struct loop *loop, struct blk_timer *t, uint64_t after_ns)
{
    timer_stop(loop, t);
    if (!ours(loop)->dead)
        ((struct sim_timer *)t->private_)->event = sim_event(
            sim_of(loop), ours(loop), after_ns, "timer", timer_fired, t);
}

/* ---- watches ------------------------------------------------------------- */

/* In blk_watch.private_. */
struct sim_watch {
    struct blk_watch *next;
};

static struct blk_watch **
watch_next(struct blk_watch *w)
{
    return &((struct sim_watch *)w->private_)->next;
}

static void
watch_stop(struct loop *loop, struct blk_watch *w)
{
    struct blk_watch **p = &ours(loop)->watches;

    while (*p && *p != w)
        p = watch_next(*p);
    if (*p)
        *p = *watch_next(w);
}

static void
watch_start(struct loop *loop, struct blk_watch *w)
{
    watch_stop(loop, w);
    *watch_next(w) = ours(loop)->watches;
    ours(loop)->watches = w;
}

static void
fd_ready(struct sim_event *e)
{
    uintptr_t word = (uintptr_t)e->data;
    int fd = (int)(word >> 16);
    short events = (short)(word & 0x7fff);
    struct blk_watch *w, *next;

    for (w = e->loop->watches; w; w = next) {
        next = *watch_next(w);
        if (w->fd == fd && w->events & events)
            w->ready(w, (short)(w->events & events));
    }
}

void
sim_fd_ready(struct sim *sim, int fd, short events)
{
    uintptr_t word = (uintptr_t)fd << 16 | (uintptr_t)events;

    for (struct sim_loop *l = sim->loops; l; l = l->next)
        sim_event(sim, l, 0, "fd", fd_ready, (void *)word);
}

/* ---- mail and work ------------------------------------------------------- */

static void
mail_arrived(struct sim_event *e)
{
    struct loop_mail *m = e->data;

    m->run(m);
}

static void
post(struct loop *loop, struct loop_mail *m)
{
    struct sim_loop *l = ours(loop);
    uint64_t at = l->sim->now + sim_below(l->sim, MAIL_NS);

    if (l->dead)
        return;
    if (at < l->mail_at)
        at = l->mail_at;
    l->mail_at = at;
    sim_event(l->sim, l, at - l->sim->now, "mail", mail_arrived, m);
}

static void
work_done(struct sim_event *e)
{
    struct blk_work *w = e->data;

    w->done(w);
}

static void
work_now(struct sim_event *e)
{
    struct blk_work *w = e->data;
    struct sim *sim = sim_of(*(struct loop **)w->private_);

    w->work(w);
    sim_event(sim, sim_loop_of(*(struct loop **)w->private_),
              sim_below(sim, WORK_NS), "work done", work_done, w);
}

static void
work(struct loop *loop, struct blk_work *w)
{
    struct sim *sim = sim_of(loop);

    if (ours(loop)->dead)
        return;
    *(struct loop **)w->private_ = loop;
    sim_event(sim, ours(loop), sim_below(sim, WORK_NS), "work", work_now, w);
}

/* ---- the rest ------------------------------------------------------------ */

static int
buffer_add(struct loop *loop, void *addr, size_t len)
{
    (void)loop;
    (void)addr;
    (void)len;
    return 0;
}

static void
buffer_remove(struct loop *loop, void *addr, size_t len)
{
    (void)loop;
    (void)addr;
    (void)len;
}

static void
run(struct loop *loop)
{
    struct sim_loop *l = ours(loop);

    while (!l->stopping && sim_step(l->sim))
        ;
    l->stopping = false;
}

static void
stop(struct loop *loop)
{
    ours(loop)->stopping = true;
}

static void
loop_free(struct loop *loop)
{
    struct sim_loop *l = ours(loop), **p = &l->sim->loops;

    sim_files_forget(l->sim, l);
    sim_cancel_all(l->sim, l);
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    free(l);
}

static const struct loop_ops sim_loop_ops = {
    .now = now,
    .random = random_word,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .watch_start = watch_start,
    .watch_stop = watch_stop,
    .file_open = sim_file_open,
    .file_stat = sim_file_stat,
    .file_close = sim_file_close,
    .io = sim_file_io,
    .work = work,
    .post = post,
    .wake = wake,
    .buffer_add = buffer_add,
    .buffer_remove = buffer_remove,
    .run = run,
    .stop = stop,
    .free = loop_free,
};

struct loop *
sim_loop_new(struct sim *sim, const char *name)
{
    struct sim_loop *l = sim_memory(1, sizeof *l);

    snprintf(l->name, sizeof l->name, "%s", name);
    loop_init(&l->loop, &sim_loop_ops, l->name);
    l->sim = sim;
    l->next = sim->loops;
    sim->loops = l;
    return &l->loop;
}

bool
sim_loop_dead(const struct sim_loop *l)
{
    return l->dead;
}

void
sim_loops_crash(struct sim *sim)
{
    for (struct sim_loop *l = sim->loops; l; l = l->next) {
        l->dead = true;
        l->stopping = true;
        l->round = NULL;
    }
}
