/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loop.c: the queues of a loop's round.  Pure: what sleeps and what does the
 * I/O is in posix_loop.c and sim_loop.c.
 */
#include "host/host.h"

void
commons_init(struct commons *commons)
{
    pthread_mutex_init(&commons->lock, NULL);
    commons->first = NULL;
    commons->scratch = commons->no_scratch = NULL;
    commons->keeper = NULL;
}

void
loop_init(struct loop *loop, const struct loop_ops *ops, const char *name)
{
    loop->ops = ops;
    loop->name = name;
    commons_init(&loop->own);
    loop->commons = &loop->own;
    for (int i = 0; i < STAGE_COUNT; i++) {
        loop->head[i] = NULL;
        loop->tail[i] = &loop->head[i];
    }
}

static void
push(struct loop *loop, enum loop_stage stage, struct loop_task *t)
{
    t->next = NULL;
    *loop->tail[stage] = t;
    loop->tail[stage] = &t->next;
}

static struct loop_task *
pop(struct loop *loop, enum loop_stage stage)
{
    struct loop_task *t = loop->head[stage];

    if (t) {
        loop->head[stage] = t->next;
        if (!t->next)
            loop->tail[stage] = &loop->head[stage];
        t->next = NULL;
    }
    return t;
}

void
loop_defer(struct loop *loop, struct loop_task *t, enum loop_stage stage)
{
    if (t->queued)
        return;
    t->queued = true;
    push(loop, stage, t);
    if (loop->ops && loop->ops->wake)
        loop->ops->wake(loop);
}

static bool
unlink_task(struct loop *loop, struct loop_task *t, int stage)
{
    struct loop_task **p;

    for (p = &loop->head[stage]; *p; p = &(*p)->next) {
        if (*p != t)
            continue;
        *p = t->next;
        if (!*p)
            loop->tail[stage] = p;
        t->next = NULL;
        t->queued = false;
        return true;
    }
    return false;
}

/* A task of STAGE_NEXT may have moved to STAGE_CHAIN, as its round began: so
 * the other queues are looked through as well. */
void
loop_undefer(struct loop *loop, struct loop_task *t, enum loop_stage stage)
{
    if (!t->queued || unlink_task(loop, t, (int)stage))
        return;
    for (int i = 0; i < STAGE_COUNT; i++) {
        if (unlink_task(loop, t, i))
            return;
    }
}

/* The tasks that waited for this round go before those of this round. */
static void
take_next(struct loop *loop)
{
    struct loop_task *first = loop->head[STAGE_NEXT];

    if (!first)
        return;
    *loop->tail[STAGE_NEXT] = loop->head[STAGE_CHAIN];
    if (!loop->head[STAGE_CHAIN])
        loop->tail[STAGE_CHAIN] = loop->tail[STAGE_NEXT];
    loop->head[STAGE_CHAIN] = first;
    loop->head[STAGE_NEXT] = NULL;
    loop->tail[STAGE_NEXT] = &loop->head[STAGE_NEXT];
}

static void
run_task(struct loop_task *t)
{
    t->queued = false;
    t->run(t);
}

static void
run_chain(struct loop *loop)
{
    struct loop_task *t;

    while ((t = pop(loop, STAGE_CHAIN)))
        run_task(t);
}

/* Each task that is queued now, once: those that are queued meanwhile come
 * after the mark, and have to wait. */
static void
run_flush(struct loop *loop)
{
    struct loop_task mark = { .run = NULL }, *t;

    push(loop, STAGE_FLUSH, &mark);
    while ((t = pop(loop, STAGE_FLUSH)) != &mark)
        run_task(t);
}

bool
loop_round(struct loop *loop)
{
    take_next(loop);
    do {
        run_chain(loop);
        run_flush(loop);
    } while (loop->head[STAGE_CHAIN]);
    /* A flush task queued by a flush task, with no chain task to justify
     * another turn, goes on in the next round. */
    return loop->head[STAGE_NEXT] || loop->head[STAGE_FLUSH];
}

void
loop_last(struct loop *loop)
{
    struct loop_task *t;

    while ((t = pop(loop, STAGE_LAST)))
        run_task(t);
}
