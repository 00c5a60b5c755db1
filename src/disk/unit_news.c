/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unit_news.c: what the data half of a disk tells unasked.
 *
 * Each piece of news is a mail with memory of its own, as the other half frees
 * it.  When there is none it is told later: what is told is how things are by
 * then, so nothing but the kind has to be kept.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "disk/unit_private.h"

#define UNTOLD_NS (100000000ull)

static void
news_arrived(struct loop_mail *m)
{
    disk_news(
        (struct unit_news *)((char *)m - offsetof(struct unit_news, mail)));
}

static void
untold_due(struct blk_timer *t)
{
    struct unit *u = t->data;
    unsigned kinds = u->untold;

    u->untold = 0;
    if (kinds & 1u << NEWS_LIMITS && u->chain)
        unit_tell(u, NEWS_LIMITS, chain_limits(u->chain));
    if (kinds & 1u << NEWS_FAILED && u->failed)
        unit_tell(u, NEWS_FAILED, NULL);
}

static void
tell_later(struct unit *u, enum news_kind kind)
{
    struct loop *l = u->place.data;

    if (!u->untold) {
        u->untold_timer.fire = untold_due;
        u->untold_timer.data = u;
        l->ops->timer_start(l, &u->untold_timer, UNTOLD_NS);
    }
    u->untold |= 1u << kind;
}

void
unit_news_end(struct unit *u)
{
    struct loop *l = u->place.data;

    if (u->untold)
        l->ops->timer_stop(l, &u->untold_timer);
    u->untold = 0;
}

void
unit_tell(struct unit *u, enum news_kind kind, const struct blk_limits *limits)
{
    struct unit_news *n = calloc(1, sizeof *n);

    if (!n) {
        if (kind != NEWS_THROTTLED) /* that is only for the log */
            tell_later(u, kind);
        return;
    }
    n->mail.run = news_arrived;
    n->disk = u->disk;
    n->kind = kind;
    if (limits)
        n->limits = *limits;
    n->ring_broken = u->ring_broken;
    if (kind == NEWS_FAILED)
        snprintf(n->why, sizeof n->why, "%s", u->reason);
    u->place.control->ops->post(u->place.control, &n->mail);
}
