/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* link.c: see link.h. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/link.h"
#include "front/pace.h"

/* After a connection that the back-end refused: it may be busy with what is
 * left of an earlier one.  And from one offer to the next: a back-end that
 * comes and goes as fast as it can costs four connections in a second. */
#define PAUSE_NS UINT64_C(250000000)
/* What a back-end at 2 gets to follow us to 5 and to 6.  Every one that we
 * know does, but on a host that is busy it may take its time. */
#define FOLLOW_NS UINT64_C(5000000000)
/* What a back-end gets to let go of our pages, before we do. */
#define CLOSE_NS UINT64_C(2000000000)

struct front_links {
    struct loop *control;
    struct store *store;
    struct link *first;
    uint64_t number; /* of the last */
};

struct link {
    struct link *next;
    struct front_links *links;
    struct fronts *fronts;
    struct loop_mail start;
    char path[FRONT_PATH], back[FRONT_PATH], token[32];
    enum link_phase phase;
    enum bus_state own, back_state;
    uint32_t generation, domid;
    unsigned refused; /* offers in a row */
    uint64_t asked;   /* when the last offer was asked for */
    bool watching, closing, was_gone;
    bool odd;    /* its nodes made no sense, which was said */
    bool paused; /* we look because the pause is over */
    struct front_info info;
    int error;
    char why[200];
    struct blk_timer timer; /* the pause, or the end of a close */
    struct pace pace;       /* of looks for its writes */
    struct link_news news;
    bool told, tell_again; /* news are under way; and are old */
    void (*receive)(struct link_news *);
};

static void look(struct link *);

/* ---- news ---------------------------------------------------------------- */

static void
news_arrive(struct loop_mail *m)
{
    struct link_news *n = (struct link_news *)m;

    n->link->receive(n);
}

static void
tell(struct link *l)
{
    struct link_news *n = &l->news;

    if (l->told) {
        l->tell_again = true;
        return;
    }
    l->told = true;
    l->tell_again = false;
    n->mail.run = news_arrive;
    n->link = l;
    n->phase = l->phase;
    n->generation = l->generation;
    n->domid = l->domid;
    n->back = l->back_state;
    n->was_gone = l->was_gone;
    n->info = l->info;
    n->error = l->error;
    memcpy(n->why, l->why, sizeof n->why);
    l->fronts->data->ops->post(l->fronts->data, &n->mail);
}

static void
news_came_back(struct loop_mail *m)
{
    struct link *l = ((struct link_news *)m)->link;

    l->told = false;
    if (l->tell_again)
        tell(l);
}

void
link_news_back(struct link_news *n)
{
    struct loop *control = n->link->links->control;

    n->mail.run = news_came_back;
    control->ops->post(control, &n->mail);
}

__attribute__((format(printf, 3, 4))) static void
fail(struct link *l, int error, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(l->why, sizeof l->why, fmt, ap);
    va_end(ap);
    l->error = error;
    l->phase = LINK_FAILED;
    tell(l);
}

/* ---- nodes --------------------------------------------------------------- */

static bool
say(struct link *l, enum bus_state state)
{
    struct store *s = l->links->store;
    int rc;

    if (l->own == state)
        return true;
    rc = node_put_u64(s, 0, l->path, "state", (uint64_t)state);
    if (!rc)
        l->own = state;
    else if (rc != -ENOTCONN)
        fail(l, rc, "%s/state can't be written: %s", l->path, strerror(-rc));
    return !rc;
}

/* ---- the walk ------------------------------------------------------------ */

static void
ask(struct link *l)
{
    struct loop *control = l->links->control;

    if (info_rings(l->links->store, l->back, &l->info, l->why, sizeof l->why)) {
        l->error = -EINVAL;
        l->phase = LINK_FAILED;
    } else {
        l->generation++;
        l->phase = LINK_ASKED;
        l->asked = control->ops->now(control);
    }
    tell(l);
}

static void
pause_then_look(struct link *l, uint64_t ns)
{
    struct loop *control = l->links->control;

    control->ops->timer_start(control, &l->timer, ns);
}

static void
begin_anew(struct link *l)
{
    struct loop *control = l->links->control;
    bool soon =
        l->generation && control->ops->now(control) - l->asked < PAUSE_NS;

    if (!say(l, BUS_INITIALISING))
        return;
    if ((l->refused || soon) && !l->paused)
        pause_then_look(l, PAUSE_NS);
    else
        ask(l);
}

/* The back-end waits for a ring.  One that was loaded anew may be about to
 * take the nodes of the last connection, as long as our state is that of one:
 * so it first has to follow us through 5 and 6.  One that does not is passed
 * by, after a pause. */
static void
waited_for(struct link *l)
{
    switch (l->own) {
    case BUS_INITIALISED:
    case BUS_CONNECTED:
        if (say(l, BUS_CLOSING))
            pause_then_look(l, FOLLOW_NS);
        break;
    case BUS_CLOSING:
        if (l->paused && say(l, BUS_CLOSED))
            pause_then_look(l, FOLLOW_NS);
        break;
    case BUS_CLOSED:
        if (l->paused)
            begin_anew(l);
        break;
    default:
        begin_anew(l);
        break;
    }
}

static void
walk(struct link *l)
{
    switch (l->back_state) {
    case BUS_INIT_WAIT:
        waited_for(l);
        break;
    case BUS_INITIALISED:
    case BUS_CONNECTED:
        say(l, BUS_CLOSING);
        break;
    case BUS_CLOSING:
        say(l, BUS_CLOSED);
        break;
    case BUS_CLOSED:
        say(l, BUS_INITIALISING);
        break;
    default:
        break;
    }
}

static void
walk_again(struct link *l)
{
    l->phase = LINK_WALK;
    tell(l);
    walk(l);
}

static void
offered(struct link *l)
{
    switch (l->back_state) {
    case BUS_INIT_WAIT:
    case BUS_INITIALISED:
        break;
    case BUS_CONNECTED:
        if (info_read(l->links->store, l->back, &l->info, l->why,
                      sizeof l->why)) {
            l->error = -EINVAL;
            l->phase = LINK_FAILED;
            tell(l);
        } else if (say(l, BUS_CONNECTED)) {
            l->phase = LINK_LIVE;
            l->refused = 0;
            l->was_gone = l->odd = false;
            tell(l);
        }
        break;
    default:
        l->refused++;
        walk_again(l);
        break;
    }
}

/* A resize, mostly. */
static void
look_again(struct link *l)
{
    struct front_info info;
    char why[200];

    if (info_read(l->links->store, l->back, &info, why, sizeof why)) {
        /* Once for each connection: it can write as often as it likes. */
        if (!l->odd)
            log_line(BLK_WARN, NULL, "%s: not heeded", why);
        l->odd = true;
        return;
    }
    if (!memcmp(&info, &l->info, sizeof info))
        return;
    l->info = info;
    tell(l);
}

static void
live(struct link *l)
{
    if (l->back_state == BUS_GONE)
        l->was_gone = true;
    else if (l->back_state == BUS_CONNECTED)
        look_again(l);
    else
        walk_again(l);
}

static void
unwatch(struct link *l)
{
    struct store *s = l->links->store;
    char state[NODE_PATH];

    if (l->watching && !node_path(state, l->back, "state"))
        s->ops->unwatch(s, state, l->token);
    l->watching = false;
}

/* ---- closing ------------------------------------------------------------- */

static void
closed(struct link *l)
{
    struct front_links *links = l->links;
    struct link **at = &links->first;

    links->control->ops->timer_stop(links->control, &l->timer);
    pace_stop(&l->pace);
    unwatch(l);
    while (*at && *at != l)
        at = &(*at)->next;
    if (*at)
        *at = l->next;
    l->phase = LINK_CLOSED;
    tell(l);
}

static void
closing(struct link *l)
{
    if (l->phase == LINK_CLOSED)
        return;
    if (l->back_state == BUS_INITIALISED || l->back_state == BUS_CONNECTED) {
        if (say(l, BUS_CLOSING))
            return;
    } else if (l->back_state == BUS_CLOSING) {
        if (say(l, BUS_CLOSED))
            return;
    } else if (l->back[0]) { /* else we may make a directory of a mistake */
        (void)node_put_u64(l->links->store, 0, l->path, "state", BUS_CLOSED);
    }
    closed(l);
}

/* ---- events -------------------------------------------------------------- */

static void
look(struct link *l)
{
    int rc = node_state(l->links->store, 0, l->back, &l->back_state);

    if (rc && rc != -ENOENT && !l->closing)
        return; /* xenstored is away: renewed() comes */
    if (l->closing) {
        closing(l);
        return;
    }
    switch (l->phase) {
    case LINK_WALK:
        walk(l);
        tell(l);
        break;
    case LINK_OFFERED:
        offered(l);
        break;
    case LINK_LIVE:
        live(l);
        break;
    default:
        break;
    }
}

static void
timer_fired(struct blk_timer *t)
{
    struct link *l = t->data;

    if (l->closing) {
        closed(l);
    } else if (l->phase == LINK_WALK) {
        l->paused = true;
        look(l);
        l->paused = false;
    }
}

/* A link that closes is its front's to free as soon as it has the news. */
static bool
look_paced(void *link)
{
    struct link *l = link;
    bool stays = !l->closing;

    look(l);
    return stays;
}

static void
changed(void *ctx, const char *path, const char *token)
{
    struct front_links *links = ctx;
    struct link *l = links->first;

    (void)path;
    while (l && strcmp(l->token, token))
        l = l->next;
    if (l)
        pace_written(&l->pace);
}

static void
watch(struct link *l)
{
    struct store *s = l->links->store;
    char state[NODE_PATH];
    int rc = node_path(state, l->back, "state");

    if (!rc)
        rc = s->ops->watch(s, state, l->token);
    if (rc && rc != -ENOTCONN)
        fail(l, rc, "%s/state can't be watched: %s", l->back, strerror(-rc));
    l->watching = true;
}

static void
renewed(void *ctx)
{
    struct front_links *links = ctx;
    struct link *l, *next;

    for (l = links->first; l; l = next) {
        next = l->next;
        if (!l->back[0])
            continue; /* it failed before it had a back-end */
        watch(l);
        look(l);
    }
}

static void
start(struct loop_mail *m)
{
    struct link *l =
        (struct link *)(void *)((char *)m - offsetof(struct link, start));
    struct front_links *links = l->links;
    uint64_t domid = 0;
    char *back, found[64] = "nothing";
    int rc;

    l->next = links->first;
    links->first = l;
    snprintf(l->token, sizeof l->token, "front-%" PRIu64, ++links->number);
    back = node_text(links->store, 0, l->path, "backend");
    if (!back || strlen(back) >= sizeof l->back) {
        fail(l, -ENOENT,
             "%s/backend: expected the back-end's directory, found %s", l->path,
             back ? "a name that is too long" : strerror(errno));
        free(back);
        return;
    }
    snprintf(l->back, sizeof l->back, "%s", back);
    free(back);
    rc = node_number(links->store, 0, l->path, "backend-id", UINT16_MAX, &domid,
                     found, sizeof found);
    if (rc) {
        fail(l, rc, "%s/backend-id: expected a domain's number, found %s",
             l->path, found);
        return;
    }
    l->domid = (uint32_t)domid;
    (void)node_state(links->store, 0, l->path, &l->own);
    watch(l);
    look(l);
}

/* ---- calls of the front -------------------------------------------------- */

struct link *
link_new(struct fronts *fronts, const char *path, struct front *front,
         void (*receive)(struct link_news *))
{
    struct link *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->links = fronts->links;
    l->fronts = fronts;
    l->receive = receive;
    l->news.front = front;
    l->timer.fire = timer_fired;
    l->timer.data = l;
    pace_init(&l->pace, l->links->control, look_paced, l);
    l->start.run = start;
    snprintf(l->path, sizeof l->path, "%s", path);
    l->links->control->ops->post(l->links->control, &l->start);
    return l;
}

static void
offer_arrives(struct loop_mail *m)
{
    struct link_offer *o = (struct link_offer *)m;
    struct link *l = o->link;
    int rc;

    if (l->phase != LINK_ASKED || l->closing)
        return;
    l->phase = LINK_WALK;
    (void)node_state(l->links->store, 0, l->back, &l->back_state);
    if (l->back_state != BUS_INIT_WAIT) {
        look(l);
        return;
    }
    rc = nodes_write(l->links->store, l->path, o);
    if (rc == -ENOTCONN)
        return;
    if (rc) {
        fail(l, rc, "%s: the rings' nodes can't be written: %s", l->path,
             strerror(-rc));
        return;
    }
    l->own = BUS_INITIALISED;
    l->phase = LINK_OFFERED;
    tell(l);
    look(l);
}

void
link_offer(struct link *l, struct link_offer *o)
{
    o->mail.run = offer_arrives;
    o->link = l;
    l->links->control->ops->post(l->links->control, &o->mail);
}

static void
close_arrives(struct loop_mail *m)
{
    struct link *l = ((struct link_close *)m)->link;
    struct loop *control = l->links->control;

    l->closing = true;
    control->ops->timer_start(control, &l->timer, CLOSE_NS);
    look(l);
}

void
link_close(struct link *l, struct link_close *c)
{
    c->mail.run = close_arrives;
    c->link = l;
    l->links->control->ops->post(l->links->control, &c->mail);
}

void
link_free(struct link *l)
{
    free(l);
}

/* ---- all links ----------------------------------------------------------- */

int
front_links_new(struct front_links **out, struct loop *control,
                struct store *store)
{
    struct front_links *links = calloc(1, sizeof *links);

    if (!links)
        return -ENOMEM;
    links->control = control;
    links->store = store;
    store->changed = changed;
    store->renewed = renewed;
    store->ctx = links;
    *out = links;
    return 0;
}

void
front_links_free(struct front_links *links)
{
    free(links);
}
