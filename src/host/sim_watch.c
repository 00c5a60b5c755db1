/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_watch.c: watches of the simulated XenStore, and how their events come to
 * the connections: in order, after a short while.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "host/sim_store.h"

enum { DELAY_NS = 30000 };

/* ---- watches ------------------------------------------------------------- */

void
sim_news_drop(struct news *n)
{
    struct news **p = &n->to->news;

    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    free(n->path);
    free(n->token);
    free(n);
}

static void
deliver(struct sim_event *e)
{
    struct news n = *(struct news *)e->data;
    struct store *s = &n.to->store;
    struct sim *sim = n.to->sim;
    struct news *copy = e->data;

    copy->path = copy->token = NULL;
    sim_news_drop(copy);
    sim->lent[0] = n.path;
    sim->lent[1] = n.token;
    if (!n.path && s->renewed)
        s->renewed(s->ctx);
    else if (n.path && s->changed)
        s->changed(s->ctx, n.path, n.token);
    sim->lent[0] = sim->lent[1] = NULL;
    free(n.path);
    free(n.token);
}

void
sim_news_tell(struct sim_store *to, const char *path, const char *token)
{
    struct news *n = sim_memory(1, sizeof *n);
    uint64_t at = to->sim->now + sim_below(to->sim, DELAY_NS);

    if (at < to->news_at)
        at = to->news_at;
    to->news_at = at;
    n->to = to;
    n->path = path ? sim_text(path) : NULL;
    n->token = token ? sim_text(token) : NULL;
    n->next = to->news;
    to->news = n;
    n->event = sim_event(to->sim, sim_loop_of(to->loop), at - to->sim->now,
                         "store", deliver, n);
}

void
sim_news_fire(struct sim *sim, const char *path, bool removed)
{
    struct sim_store *s;
    struct watch *w;

    for (s = sim_tree_of(sim)->stores; s; s = s->next) {
        for (w = s->watches; w; w = w->next) {
            if (sim_path_below(path, w->path))
                sim_news_tell(s, path + w->skip, w->token);
            else if (removed && sim_path_below(w->path, path))
                sim_news_tell(s, w->path + w->skip, w->token);
        }
    }
}

struct watch **
sim_watch_find(struct sim_store *s, const char *path, const char *token)
{
    struct watch **p = &s->watches;

    while (*p && (strcmp((*p)->path + (*p)->skip, path) ||
                  strcmp((*p)->token, token)))
        p = &(*p)->next;
    return p;
}

void
sim_watch_drop(struct watch **p)
{
    struct watch *w = *p;

    *p = w->next;
    free(w->path);
    free(w->token);
    free(w);
}

void
sim_news_forget(struct sim_store *s, bool events)
{
    while (s->watches)
        sim_watch_drop(&s->watches);
    while (s->news) {
        if (events)
            sim_cancel(s->sim, s->news->event);
        sim_news_drop(s->news);
    }
    for (int i = 0; i < SIM_TRANSACTIONS; i++) {
        if (s->tx[i].id)
            sim_tx_end(&s->tx[i]);
    }
}
