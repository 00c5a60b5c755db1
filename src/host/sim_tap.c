/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_tap.c: event channels of the simulated world, and the tap.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_tap.h"

enum { PAGE = 4096, EVENT_NS = 20000 };

static struct sim_tap *
ours(struct tap *tap)
{
    return (struct sim_tap *)tap;
}

/* ---- event channels ------------------------------------------------------ */

/* Every port that has an event and is not masked. */
static void
ports_fire(struct sim_event *e)
{
    struct sim_tap *t = e->data;
    uint32_t ports[SIM_PORTS];
    unsigned n = 0;

    t->event = NULL;
    for (uint32_t i = 0; i < SIM_PORTS; i++) {
        struct local_port *p = &t->port[i];

        if (!p->used || !p->pending || p->masked)
            continue;
        p->pending = sim_chance(t->sim, sim_grants_of(t->sim)->faults.spurious);
        p->masked = true;
        ports[n++] = i;
    }
    if (n && t->tap.fired)
        t->tap.fired(t->tap.ctx, ports, n);
}

static void
will_fire(struct sim_tap *t, struct local_port *p)
{
    if (p->used && p->pending && !p->masked && !t->event)
        t->event =
            sim_event(t->sim, sim_loop_of(t->tap.loop),
                      sim_below(t->sim, EVENT_NS), "port", ports_fire, t);
}

static struct peer *
peer_of(struct sim *sim, uint32_t domid, uint32_t port)
{
    struct peer *p = sim_grants_of(sim)->peers;

    while (p && (p->domid != domid || p->port != port))
        p = p->next;
    return p;
}

static int
bind_port(struct tap *tap, uint32_t domid, uint32_t remote_port)
{
    struct sim_tap *t = ours(tap);
    struct peer *peer = peer_of(t->sim, domid, remote_port);

    if (!sim_tap_dead(t) &&
        sim_chance(t->sim, sim_grants_of(t->sim)->faults.bind))
        return sim_tap_error(sim_grants_of(t->sim));
    if (sim_tap_dead(t) || !peer || peer->tap)
        return -EINVAL;
    for (int i = 1; i < SIM_PORTS; i++) {
        struct local_port *p = &t->port[i];

        if (p->used)
            continue;
        *p = (struct local_port){ .peer = peer, .used = true, .pending = true };
        peer->tap = t;
        will_fire(t, p);
        return i;
    }
    return -ENOSPC;
}

static struct local_port *
bound(struct tap *tap, int64_t port)
{
    struct sim_tap *t = ours(tap);

    return port > 0 && port < SIM_PORTS && t->port[port].used ? &t->port[port]
                                                              : NULL;
}

static void
unbind(struct tap *tap, int port)
{
    struct local_port *p = bound(tap, port);

    if (!p)
        return;
    if (p->peer)
        p->peer->tap = NULL;
    *p = (struct local_port){ 0 };
}

static void
peer_notified(struct sim_event *e)
{
    struct peer *peer = e->data;

    peer->event = NULL;
    if (peer->notified)
        peer->notified(peer->data);
}

/* Events that are on their way together are one. */
static void
notify(struct tap *tap, int port)
{
    struct local_port *p = bound(tap, port);
    struct sim *sim = ours(tap)->sim;

    if (p && p->peer && !p->peer->event)
        p->peer->event = sim_event(sim, NULL, sim_below(sim, EVENT_NS),
                                   "notify", peer_notified, p->peer);
}

static void
unmask(struct tap *tap, const uint32_t *ports, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct local_port *p = bound(tap, ports[i]);

        if (!p)
            continue;
        p->masked = false;
        will_fire(ours(tap), p);
    }
}

uint32_t
sim_port(struct sim *sim, uint32_t domid, void (*notified)(void *), void *data)
{
    struct sim_grants *g = sim_grants_of(sim);
    struct peer *p = sim_memory(1, sizeof *p);

    *p = (struct peer){ .next = g->peers,
                        .domid = domid,
                        .port = ++g->last_port,
                        .notified = notified,
                        .data = data,
                        .sim = sim };
    g->peers = p;
    return p->port;
}

static void
drop_peer(struct sim_grants *g, struct peer *peer)
{
    struct peer **p = &g->peers;

    while (*p != peer)
        p = &(*p)->next;
    *p = peer->next;
    for (int i = 0; peer->tap && i < SIM_PORTS; i++) {
        if (peer->tap->port[i].peer == peer)
            peer->tap->port[i].peer = NULL;
    }
    if (peer->event)
        sim_cancel(peer->sim, peer->event);
    free(peer);
}

void
sim_port_close(struct sim *sim, uint32_t domid, uint32_t port)
{
    struct peer *p = peer_of(sim, domid, port);

    if (p)
        drop_peer(sim_grants_of(sim), p);
}

void
sim_port_notify(struct sim *sim, uint32_t domid, uint32_t port)
{
    struct peer *peer = peer_of(sim, domid, port);

    for (int i = 0; peer && peer->tap && i < SIM_PORTS; i++) {
        struct local_port *p = &peer->tap->port[i];

        if (p->peer != peer)
            continue;
        p->pending = true;
        will_fire(peer->tap, p);
    }
}

bool
sim_port_bound(struct sim *sim, uint32_t domid, uint32_t port)
{
    struct peer *p = peer_of(sim, domid, port);

    return p && p->tap;
}

void
sim_domain_die(struct sim *sim, uint32_t domid)
{
    struct sim_grants *g = sim_grants_of(sim);
    struct peer *p, *next_peer;
    struct grant *gr, *next;

    for (unsigned i = 0; i < SIM_GRANT_BUCKETS; i++) {
        for (gr = g->bucket[i]; gr; gr = next) {
            next = gr->next;
            if (gr->domid == domid && !gr->revoked)
                sim_grant_revoke(g, gr);
        }
    }
    for (p = g->peers; p; p = next_peer) {
        next_peer = p->next;
        if (p->domid == domid)
            drop_peer(g, p);
    }
}

/* ---- the tap ------------------------------------------------------------- */

static void
tap_free(struct tap *tap)
{
    struct sim_tap *t = ours(tap), **p = &sim_grants_of(t->sim)->taps;

    for (int i = 1; i < SIM_PORTS; i++)
        unbind(tap, i);
    while (t->mappings)
        sim_mapping_drop(t, t->mappings);
    if (t->event)
        sim_cancel(t->sim, t->event);
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    free(t);
}

static const struct tap_ops ops = {
    .map = sim_tap_map,
    .unmap = sim_tap_unmap,
    .copy = sim_tap_copy,
    .bind = bind_port,
    .unbind = unbind,
    .notify = notify,
    .unmask = unmask,
    .free = tap_free,
};

struct tap *
sim_tap_new(struct sim *sim, struct loop *loop)
{
    struct sim_grants *g = sim_grants_of(sim);
    struct sim_tap *t = sim_memory(1, sizeof *t);

    t->tap.ops = &ops;
    t->tap.loop = loop;
    t->sim = sim;
    t->next = g->taps;
    g->taps = t;
    return &t->tap;
}

void
sim_tap_faults(struct sim *sim, const struct sim_tap_faults *faults)
{
    sim_grants_of(sim)->faults = *faults;
}

static void
broke(struct sim_event *e)
{
    struct sim_tap *t = e->data;

    t->event = NULL;
    if (t->tap.broken)
        t->tap.broken(t->tap.ctx, t->error);
}

void
sim_tap_break(struct tap *tap, int error)
{
    struct sim_tap *t = ours(tap);

    if (t->event)
        sim_cancel(t->sim, t->event);
    t->error = error;
    t->event = sim_event(t->sim, sim_loop_of(tap->loop), 0, "broken", broke, t);
}

/* ---- the end ------------------------------------------------------------- */

/* The kernel takes back what a program had. */
static void
let_go(struct sim_tap *t)
{
    for (int i = 1; i < SIM_PORTS; i++)
        unbind(&t->tap, i);
    while (t->mappings)
        sim_mapping_drop(t, t->mappings);
    t->event = NULL; /* goes with all the others */
}

void
sim_grants_crash(struct sim *sim, bool keep)
{
    struct sim_grants *g = sim->grants;
    struct grant *gr, *next;

    if (!g)
        return;
    for (struct sim_tap *t = g->taps; t; t = t->next)
        let_go(t);
    for (struct peer *p = g->peers; p; p = p->next) {
        p->owed = keep && p->event;
        if (p->event)
            sim_cancel(sim, p->event);
        p->event = NULL;
    }
    while (!keep && g->peers)
        drop_peer(g, g->peers);
    for (unsigned i = 0; !keep && i < SIM_GRANT_BUCKETS; i++) {
        for (gr = g->bucket[i]; gr; gr = next) {
            next = gr->next;
            sim_grant_drop(g, gr);
        }
    }
}

void
sim_grants_deliver(struct sim *sim)
{
    struct peer *p = sim->grants ? sim->grants->peers : NULL;

    for (; p; p = p->next) {
        if (p->owed)
            p->event = sim_event(sim, NULL, sim_below(sim, EVENT_NS), "notify",
                                 peer_notified, p);
        p->owed = false;
    }
}

void
sim_grants_free(struct sim *sim)
{
    struct sim_grants *g = sim->grants;

    if (!g)
        return;
    sim_grants_crash(sim, false);
    host_memory_free(g->base, (size_t)SIM_PAGES * PAGE, g->fd);
    free(g);
    sim->grants = NULL;
}
