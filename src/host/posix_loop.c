/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix_loop.c: a loop in real time, on libev.
 *
 * A round, as libev sees it:
 *
 *    block ──► timers, fds, mail, I/O done ──► prepare ──► block
 *                   (callbacks)                   │
 *          ┌──────────────────────────────────────┘
 *          └─► tasks ──► submit ──► reap what was done at once ─┐
 *                ▲─────────────── something ────────────────────┤
 *                               nothing: tasks of STAGE_LAST ◄──┘
 *
 * The prepare watcher is the last thing before libev blocks, so whatever the
 * callbacks queued is done before the loop sleeps.  An idle watcher keeps it
 * from sleeping while tasks of STAGE_NEXT wait.
 */
#include "config.h"

#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>

#include "host/posix.h"

/* How often completions that are there at once are taken before other events
 * get their turn. */
enum { TURNS = 4, RANDOM_WORDS = 32 };

#define RETRY_S .001 /* when the kernel would not take our I/O */

struct posix_signal {
    ev_signal ev;
    void (*cb)(void *, int);
    void *data;
    struct posix_signal *next;
};

struct posix_loop {
    struct loop loop;
    struct ev_loop *ev;
    ev_prepare prepare;
    ev_idle idle;
    ev_async async;
    ev_io ring;
    ev_timer retry;
    struct posix_pool *pool;
    struct posix_uring *uring; /* NULL: the workers do all I/O */
    struct posix_signal *signals;
    bool stopping;
    uint64_t random[RANDOM_WORDS];
    unsigned random_left;
    char name[16];
    _Atomic(struct loop_mail *) mailbox; /* newest first */
};

static struct posix_loop *
posix(struct loop *loop)
{
    return posix_container(loop, struct posix_loop, loop);
}

struct posix_pool *
posix_loop_pool(struct posix_loop *p)
{
    return p->pool;
}

struct loop *
posix_loop_of(struct posix_loop *p)
{
    return &p->loop;
}

/* ---- time and chance ----------------------------------------------------- */

static uint64_t
now(struct loop *loop)
{
    struct timespec ts;

    (void)loop;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The kernel's, some at a time: good enough for keys, too. */
static uint64_t
random_word(struct loop *loop)
{
    struct posix_loop *p = posix(loop);
    uint64_t r;

    if (!p->random_left) {
        char *to = (char *)p->random;
        size_t got = 0;

        while (got < sizeof p->random) {
            ssize_t n = getrandom(to + got, sizeof p->random - got, 0);

            got += n > 0 ? (size_t)n : 0;
        }
        p->random_left = RANDOM_WORDS;
    }
    r = p->random[--p->random_left];
    p->random[p->random_left] = 0;
    return r;
}

/* ---- timers -------------------------------------------------------------- */

struct posix_timer {
    ev_timer ev;
    struct posix_loop *loop;
    uint64_t due_ns;
};
_Static_assert(sizeof(struct posix_timer) <=
                   sizeof(((struct blk_timer *)0)->private_),
               "a timer lives in blk_timer.private_");

/* libev counts from the start of its iteration, which may be a while ago: so
 * a timer may come too early, and then has to wait for the rest. */
static void
timer_fired(struct ev_loop *ev, ev_timer *w, int events)
{
    struct posix_timer *pt = posix_container(w, struct posix_timer, ev);
    struct blk_timer *t = w->data;
    uint64_t at = now(&pt->loop->loop);

    (void)events;
    if (at < pt->due_ns) {
        ev_timer_set(w, (double)(pt->due_ns - at) * 1e-9, 0.);
        ev_timer_start(ev, w);
        return;
    }
    t->fire(t);
}

static void
timer_stop(struct loop *loop, struct blk_timer *t)
{
    struct posix_timer *pt = (struct posix_timer *)t->private_;

    ev_timer_stop(posix(loop)->ev, &pt->ev);
}

static void
timer_start(struct loop *loop, struct blk_timer *t, uint64_t after_ns)
{
    struct posix_timer *pt = (struct posix_timer *)t->private_;

    timer_stop(loop, t);
    pt->loop = posix(loop);
    pt->due_ns = now(loop) + after_ns;
    ev_timer_init(&pt->ev, timer_fired, (double)after_ns * 1e-9, 0.);
    pt->ev.data = t;
    ev_timer_start(pt->loop->ev, &pt->ev);
}

/* ---- watches ------------------------------------------------------------- */

_Static_assert(sizeof(ev_io) <= sizeof(((struct blk_watch *)0)->private_),
               "a watch lives in blk_watch.private_");

static void
watch_ready(struct ev_loop *ev, ev_io *io, int revents)
{
    struct blk_watch *w = io->data;
    int events = 0;

    (void)ev;
    if (revents & EV_READ)
        events |= POLLIN;
    if (revents & EV_WRITE)
        events |= POLLOUT;
    if (revents & EV_ERROR)
        events |= POLLERR;
    w->ready(w, (short)events);
}

static void
watch_stop(struct loop *loop, struct blk_watch *w)
{
    ev_io_stop(posix(loop)->ev, (ev_io *)w->private_);
}

static void
watch_start(struct loop *loop, struct blk_watch *w)
{
    ev_io *io = (ev_io *)w->private_;
    int events = (w->events & POLLIN ? EV_READ : 0) |
                 (w->events & POLLOUT ? EV_WRITE : 0);

    watch_stop(loop, w);
    ev_io_init(io, watch_ready, w->fd, events);
    io->data = w;
    ev_io_start(posix(loop)->ev, io);
}

/* ---- mail: many senders, one receiver, no lock --------------------------- */

void
posix_post(struct posix_loop *p, struct loop_mail *m)
{
    struct loop_mail *old =
        atomic_load_explicit(&p->mailbox, memory_order_relaxed);

    do
        m->next = old;
    while (!atomic_compare_exchange_weak_explicit(
        &p->mailbox, &old, m, memory_order_release, memory_order_relaxed));
    /* Whoever found the box empty wakes the loop; m may be gone by now. */
    if (!old)
        ev_async_send(p->ev, &p->async);
}

static void
post(struct loop *loop, struct loop_mail *m)
{
    posix_post(posix(loop), m);
}

static void
mail_ready(struct ev_loop *ev, ev_async *w, int events)
{
    struct posix_loop *p = w->data;
    struct loop_mail *m =
        atomic_exchange_explicit(&p->mailbox, NULL, memory_order_acquire);
    struct loop_mail *first = NULL, *next;

    (void)ev;
    (void)events;
    for (; m; m = next) {
        next = m->next;
        m->next = first;
        first = m;
    }
    for (m = first; m; m = next) {
        next = m->next;
        m->run(m);
    }
}

/* ---- files --------------------------------------------------------------- */

static void
file_open(struct loop *loop, struct blk_open *o)
{
    posix_file_open(posix(loop), o);
}

static void
file_stat(struct loop *loop, struct blk_open *o)
{
    posix_file_stat(posix(loop), o);
}

static void
file_close(struct loop *loop, struct blk_file *f)
{
    posix_file_close(posix(loop), (struct posix_file *)f);
}

static void
io(struct loop *loop, struct blk_io *bio)
{
    struct posix_loop *p = posix(loop);

    if (p->uring)
        posix_uring_io(p->uring, bio);
    else
        posix_io_start(p, bio);
}

static void
work(struct loop *loop, struct blk_work *w)
{
    posix_work(posix(loop), w);
}

static int
buffer_add(struct loop *loop, void *addr, size_t len)
{
    struct posix_loop *p = posix(loop);

    return p->uring ? posix_uring_buffer_add(p->uring, addr, len) : -EOPNOTSUPP;
}

static void
buffer_remove(struct loop *loop, void *addr, size_t len)
{
    struct posix_loop *p = posix(loop);

    if (p->uring)
        posix_uring_buffer_remove(p->uring, addr, len);
}

/* ---- the round ----------------------------------------------------------- */

static void
ring_ready(struct ev_loop *ev, ev_io *w, int events)
{
    struct posix_loop *p = w->data;

    (void)ev;
    (void)events;
    (void)posix_uring_reap(p->uring);
}

static void
nothing(struct ev_loop *ev, ev_idle *w, int events)
{
    (void)ev;
    (void)w;
    (void)events;
}

static void
retry_now(struct ev_loop *ev, ev_timer *w, int events)
{
    (void)ev;
    (void)w;
    (void)events;
}

/* What the kernel had at hand (the page cache) is done when the submission
 * returns; it need not wait for the next look at all fds. */
static void
before_sleep(struct ev_loop *ev, ev_prepare *w, int events)
{
    struct posix_loop *p = w->data;
    unsigned reaped;
    bool more;

    (void)events;
    for (int turn = 0;; turn++) {
        more = loop_round(&p->loop);
        if (!p->uring)
            break;
        if (!posix_uring_submit(p->uring) && !ev_is_active(&p->retry)) {
            ev_timer_set(&p->retry, RETRY_S, 0.);
            ev_timer_start(ev, &p->retry);
        }
        reaped = posix_uring_reap(p->uring);
        if (!reaped)
            break;
        more = true;
        if (turn == TURNS)
            break;
    }
    loop_last(&p->loop);
    if (p->stopping)
        ev_break(ev, EVBREAK_ALL);
    if (more)
        ev_idle_start(ev, &p->idle);
    else
        ev_idle_stop(ev, &p->idle);
}

static void
run(struct loop *loop)
{
    struct posix_loop *p = posix(loop);

    prctl(PR_SET_NAME, p->name);
    ev_run(p->ev, 0);
    p->stopping = false;
}

static void
stop(struct loop *loop)
{
    posix(loop)->stopping = true;
}

/* ---- life ---------------------------------------------------------------- */

/* Workers first: they post.  What is still in the box is dropped: its senders
 * know that the loop has ended. */
static void
posix_free(struct loop *loop)
{
    struct posix_loop *p = posix(loop);
    struct posix_signal *s;

    posix_pool_free(p->pool);
    posix_uring_free(p->uring);
    while ((s = p->signals)) {
        p->signals = s->next;
        ev_signal_stop(p->ev, &s->ev);
        free(s);
    }
    if (p->ev)
        ev_loop_destroy(p->ev);
    free(p);
}

static const struct loop_ops posix_ops = {
    .now = now,
    .random = random_word,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .watch_start = watch_start,
    .watch_stop = watch_stop,
    .file_open = file_open,
    .file_stat = file_stat,
    .file_close = file_close,
    .io = io,
    .work = work,
    .post = post,
    .buffer_add = buffer_add,
    .buffer_remove = buffer_remove,
    .run = run,
    .stop = stop,
    .free = posix_free,
};

static void
start_watchers(struct posix_loop *p)
{
    ev_idle_init(&p->idle, nothing);
    ev_timer_init(&p->retry, retry_now, RETRY_S, 0.);
    ev_prepare_init(&p->prepare, before_sleep);
    p->prepare.data = p;
    ev_prepare_start(p->ev, &p->prepare);
    ev_async_init(&p->async, mail_ready);
    p->async.data = p;
    ev_async_start(p->ev, &p->async);
    if (p->uring) {
        ev_io_init(&p->ring, ring_ready, posix_uring_fd(p->uring), EV_READ);
        p->ring.data = p;
        ev_io_start(p->ev, &p->ring);
    }
}

/* Without io_uring (an old kernel, a container that forbids it) the workers do
 * the I/O; that is slower, and no reason to fail. */
int
loop_posix_new(struct loop **out, const char *name,
               const struct loop_posix_options *opt, char *why, size_t n)
{
    struct posix_loop *p = calloc(1, sizeof *p);
    int err = -ENOMEM;

    if (!p)
        goto out;
    snprintf(p->name, sizeof p->name, "%s", name);
    loop_init(&p->loop, &posix_ops, p->name);
    p->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!p->ev)
        goto out;
    err = posix_pool_new(&p->pool, name, opt->workers);
    if (err)
        goto out;
    if (opt->io_entries &&
        (err = posix_uring_new(&p->uring, p, opt->io_entries))) {
        log_line(BLK_WARN, NULL,
                 "loop %s: no io_uring (%s): worker threads do the I/O", name,
                 strerror(-err));
        p->uring = NULL;
    }
    start_watchers(p);
    *out = &p->loop;
    return 0;
out:
    snprintf(why, n, "cannot make the loop \"%s\": %s", name, strerror(-err));
    if (p)
        posix_free(&p->loop);
    return err;
}

static void
signalled(struct ev_loop *ev, ev_signal *w, int events)
{
    struct posix_signal *s = posix_container(w, struct posix_signal, ev);

    (void)ev;
    (void)events;
    s->cb(s->data, w->signum);
}

int
loop_posix_signal(struct loop *loop, int signo, void (*cb)(void *, int),
                  void *data)
{
    struct posix_loop *p = posix(loop);
    struct posix_signal *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    s->cb = cb;
    s->data = data;
    s->next = p->signals;
    p->signals = s;
    ev_signal_init(&s->ev, signalled, signo);
    ev_signal_start(p->ev, &s->ev);
    return 0;
}
