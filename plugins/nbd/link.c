/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * link.c: the connections of one disk as one link.  They are opened, lost and
 * tried again together: where one goes, the server may have died with what
 * none of them has flushed.
 *
 * In the order of time: link_open(), opened(), replay_pump(), READY;
 * link_lost(), a pause that grows, link_open().
 */
#include "plugins/nbd/nbd.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Between two tries. */
#define PAUSE_MIN_NS 10000000ull
#define PAUSE_MAX_NS 5000000000ull
/* How often it is looked at what takes too long. */
#define TICK_NS 500000000ull

static const char *const state_names[LINK_STATES] = {
    [LINK_NEW] = "new",
    [LINK_CONNECT] = "connecting",
    [LINK_REPLAY] = "replaying",
    [LINK_READY] = "connected",
};

static const uint8_t state_moves[LINK_STATES] = {
    [LINK_NEW] = 1 << LINK_CONNECT,
    [LINK_CONNECT] = 1 << LINK_REPLAY,
    [LINK_REPLAY] = 1 << LINK_READY | 1 << LINK_CONNECT,
    [LINK_READY] = 1 << LINK_CONNECT,
};

const char *
link_state_name(enum link_state s)
{
    return state_names[s];
}

static void
move(struct nbd *n, enum link_state to)
{
    assert(state_moves[n->state] & 1 << to);
    blk_log(n->layer, BLK_DEBUG, "link: %s -> %s", state_names[n->state],
            state_names[to]);
    n->state = to;
}

/* ---- time ---------------------------------------------------------------- */

static void
tick_start(struct nbd *n)
{
    blk_timer_stop(n->layer, &n->tick);
    if (n->reconnect_ns || n->timeout_ns)
        blk_timer_start(n->layer, &n->tick, TICK_NS);
}

static void
look_for_silence(struct nbd *n)
{
    const struct nbd_cmd *c = TAILQ_FIRST(&n->flying);
    char why[80];

    if (!n->timeout_ns || !c || blk_now(n->layer) - c->since_ns < n->timeout_ns)
        return;
    snprintf(why, sizeof why, "no answer within %" PRIu64 " ms",
             n->timeout_ns / 1000000);
    if (!n->mute)
        n->since_ns = c->since_ns;
    n->mute = true;
    link_lost(n, why);
}

static void
give_up(struct nbd *n)
{
    if (n->gave_up || !n->reconnect_ns ||
        blk_now(n->layer) - n->since_ns < n->reconnect_ns)
        return;
    n->gave_up = true;
    blk_log(n->layer, BLK_ERR,
            "%s: no %s for %" PRIu64
            " s: requests fail until there is one again",
            n->uri, n->mute ? "answer" : "connection",
            n->reconnect_ns / 1000000000);
    cmds_fail(n, EIO);
}

static void
tick(struct blk_timer *t)
{
    struct nbd *n = t->data;

    if (n->state == LINK_CONNECT)
        give_up(n);
    else
        look_for_silence(n);
    tick_start(n);
}

/* ---- connecting ---------------------------------------------------------- */

static void opened(struct blk_work *);

static void
link_open(struct nbd *n)
{
    struct nbd_opening *o = &n->opening;

    assert(!n->is_opening);
    if (n->state != LINK_CONNECT)
        move(n, LINK_CONNECT);
    n->is_opening = true;
    o->n = o->owner = n;
    o->want = (unsigned)n->connections;
    atomic_store(&o->cancel, false);
    o->work.work = connect_work;
    o->work.done = opened;
    o->work.data = o;
    blk_work_start(n->layer, &o->work);
}

void
link_begin(struct nbd *n)
{
    n->tick.fire = tick;
    n->tick.data = n;
    link_open(n);
}

static void
open_again(struct blk_timer *t)
{
    link_open(t->data);
}

/* Twice as long each time, and not all disks of a host at once. */
static void
open_later(struct nbd *n)
{
    uint64_t pause = PAUSE_MIN_NS << (n->tries < 9 ? n->tries : 9);

    n->tries++;
    if (pause > PAUSE_MAX_NS)
        pause = PAUSE_MAX_NS;
    n->again.fire = open_again;
    n->again.data = n;
    blk_timer_start(n->layer, &n->again,
                    pause / 2 + blk_random(n->layer) % pause);
}

/* The layer does not wait any longer for a server to start with. */
static bool
start_over(const struct nbd *n)
{
    return (!n->ready_once || n->settling) &&
           blk_now(n->layer) - n->began_ns >= n->start_ns;
}

static void
open_failed(struct nbd *n, int error, const char *why)
{
    n->failures++;
    if (start_over(n)) {
        blk_why(n->layer, "%s", why);
        nbd_started(n, error);
        return;
    }
    blk_log(n->layer, n->tries ? BLK_DEBUG : BLK_WARN, "%s: trying again", why);
    open_later(n);
}

/* Gives the worker's connections back. */
static void
opening_close(struct nbd_opening *o)
{
    while (o->count)
        nbd_close(o->h[--o->count]);
}

static void
link_ready(struct nbd *n)
{
    move(n, LINK_READY);
    n->tries = 0;
    if (n->ready_once)
        blk_log(n->layer, BLK_INFO, "%s: connected again", n->uri);
    n->ready_once = true;
    if (n->settling)
        cmd_flush(n);
}

static void
replay_begin(struct nbd *n)
{
    n->replay_over = false;
    latest_begin(&n->latest);
    latest_next(&n->latest, &n->replay_at);
}

static void
replay_pump(struct nbd *n)
{
    while (n->state == LINK_REPLAY && !n->is_lost && n->replay_at.e) {
        if (!cmd_replay(n, &n->replay_at))
            return;
        latest_next(&n->latest, &n->replay_at);
    }
    if (n->state != LINK_REPLAY || n->is_lost || !TAILQ_EMPTY(&n->flying) ||
        !TAILQ_EMPTY(&n->ended))
        return;
    if (n->replay_over) { /* what failed is kept no more: it comes to an end */
        replay_begin(n);
        replay_pump(n);
        return;
    }
    link_ready(n);
}

static void
conns_take(struct nbd *n, struct nbd_opening *o)
{
    unsigned i;

    for (i = 0; i < o->count; i++) {
        struct nbd_conn *c = &n->conn[i];

        memset(c, 0, sizeof *c);
        c->n = n;
        c->h = o->h[i];
    }
    n->conns = o->count;
    o->count = 0;
    for (i = 0; i < n->conns; i++)
        link_watch(&n->conn[i]);
}

static void
opened(struct blk_work *w)
{
    struct nbd_opening *o = w->data;
    struct nbd *n = o->owner;
    const char *changed;
    char why[500];

    n->is_opening = false;
    if (n->stopping) {
        opening_close(o);
        nbd_stopped(n);
        return;
    }
    if (o->error) {
        open_failed(n, o->error, o->why);
        return;
    }
    changed = n->ready_once ? export_changed(&n->export, &o->export) : NULL;
    if (changed) {
        opening_close(o);
        snprintf(why, sizeof why,
                 "%s: expected the export as it was, found that %s is another",
                 n->uri, changed);
        open_failed(n, -ESTALE, why);
        return;
    }
    if (!n->ready_once)
        n->export = o->export;
    n->export.status = o->export.status;
    n->connects++;
    n->gave_up = false;
    conns_take(n, o);
    move(n, LINK_REPLAY);
    replay_begin(n);
    if (!n->ready_once) {
        replay_pump(n); /* nothing is kept yet */
        tick_start(n);
        nbd_started(n, 0);
        if (!n->settling)
            return;
    }
    link_pump(n);
}

/* ---- connected ----------------------------------------------------------- */

/* False: there is no room for the first that waits. */
static bool
send_waiting(struct nbd *n)
{
    struct nbd_cmd *c;

    while (n->state == LINK_READY && !n->is_lost &&
           (c = TAILQ_FIRST(&n->waiting)) && !cross_any(n, c)) {
        TAILQ_REMOVE(&n->waiting, c, link);
        if (!cmd_send(n, c)) {
            TAILQ_INSERT_HEAD(&n->waiting, c, link);
            return false;
        }
        n->waiting_now--;
    }
    return true;
}

/* Nothing flies, so no answer will lead here: what was sent has ended without
 * one, and something could be sent. */
static bool
stands_still(const struct nbd *n, bool room)
{
    if (n->is_lost || !TAILQ_EMPTY(&n->flying))
        return false;
    return n->state == LINK_REPLAY ||
           (n->state == LINK_READY && room && !TAILQ_EMPTY(&n->waiting));
}

void
link_pump(struct nbd *n)
{
    bool room;

    do {
        cmds_end(n);
        replay_pump(n);
        room = send_waiting(n);
        if (!room || n->pausing)
            cmd_make_room(n);
        if (n->is_lost) {
            link_lost(n, nbd_get_error());
            return;
        }
        cmds_end(n);
    } while (stands_still(n, room));
}

static void
conn_ready(struct blk_watch *w, short events)
{
    struct nbd_conn *c = w->data;
    struct nbd *n = c->n;
    unsigned direction = nbd_aio_get_direction(c->h);
    int rc = 0;

    if (direction & LIBNBD_AIO_DIRECTION_READ &&
        events & (POLLIN | POLLHUP | POLLERR))
        rc = nbd_aio_notify_read(c->h);
    else if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        rc = nbd_aio_notify_write(c->h);
    if (rc || n->is_lost || nbd_aio_is_dead(c->h) || nbd_aio_is_closed(c->h)) {
        link_lost(n, rc ? nbd_get_error() : "the server closed the connection");
        return;
    }
    link_watch(c);
    link_pump(n);
}

void
link_watch(struct nbd_conn *c)
{
    unsigned direction = nbd_aio_get_direction(c->h);
    short events =
        (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));

    if (events == c->events)
        return;
    if (c->events)
        blk_watch_stop(c->n->layer, &c->watch);
    c->events = events;
    if (!events)
        return;
    c->watch.fd = nbd_aio_get_fd(c->h);
    c->watch.events = events;
    c->watch.ready = conn_ready;
    c->watch.data = c;
    blk_watch_start(c->n->layer, &c->watch);
}

void
link_close(struct nbd *n)
{
    unsigned i;

    n->is_closing = true;
    for (i = 0; i < n->conns; i++) {
        struct nbd_conn *c = &n->conn[i];

        if (c->events)
            blk_watch_stop(n->layer, &c->watch);
        /* Politely, where nothing is under way; there is no answer to it. */
        if (!c->flying && nbd_aio_is_ready(c->h))
            nbd_aio_disconnect(c->h, 0);
        nbd_close(c->h);
        c->h = NULL;
    }
    n->conns = 0;
    n->is_closing = n->is_lost = false;
}

/* Answers that came in time still count. */
void
link_lost(struct nbd *n, const char *why)
{
    char text[300];

    snprintf(text, sizeof text, "%s", why ? why : "no reason was given");
    n->losses++;
    link_close(n);
    if (!n->mute)
        n->since_ns = blk_now(n->layer);
    move(n, LINK_CONNECT);
    blk_log(n->layer, BLK_WARN, "%s: connection lost: %s; connecting again",
            n->uri, text);
    cmds_take_back(n);
    cmds_end(n);
    if (start_over(n)) {
        blk_why(n->layer, "%s: connection lost: %s", n->uri, text);
        nbd_started(n, -ENOTCONN);
        return;
    }
    if (n->mute) /* it may be connected again before the next tick */
        give_up(n);
    open_later(n);
    if (n->pausing)
        nbd_flushed(n); /* what is kept stays kept */
}
