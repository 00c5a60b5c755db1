/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_tap.c: grants and event channels of the simulated world.
 *
 * Granted pages come from one memfd, so that a mapping of several is one
 * contiguous range, as the real one.  Refusals are those of Xen.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/sim_world.h"

enum {
    PAGE = 4096,
    PAGES = 1 << 15,
    BUCKETS = 4096,
    PORTS = 1024,
    EVENT_NS = 20000
};

/* The statuses of Xen's grant_table.h. */
enum { BAD_DOMAIN = -2, BAD_REF = -3, DENIED = -8, BAD_COPY = -10 };

struct grant {
    struct grant *next;
    uint32_t domid, ref, page;
    unsigned mapped;
    bool readonly, revoked;
};

/* A port of a domain that may be bound. */
struct peer {
    struct peer *next;
    uint32_t domid, port;
    void (*notified)(void *);
    void *data;
    struct sim_tap *tap; /* NULL: not bound */
    struct sim *sim;
    struct sim_event *event; /* a notification on its way */
};

struct mapping {
    struct mapping *next;
    void *addr;
    unsigned n;
    struct grant *grant[];
};

struct local_port {
    struct peer *peer;
    bool used, pending, masked;
};

struct sim_tap {
    struct tap tap;
    struct sim *sim;
    struct sim_tap *next;
    struct mapping *mappings;
    struct local_port port[PORTS];
    struct sim_event *event; /* ports will fire */
    int error;               /* of sim_tap_break() */
};

struct sim_grants {
    int fd;
    char *base;
    uint32_t fresh, idle, free_page[PAGES];
    struct grant *bucket[BUCKETS];
    struct peer *peers;
    struct sim_tap *taps;
    uint32_t last_port;
    struct sim_tap_faults faults;
};

static struct sim_grants *
grants_of(struct sim *sim)
{
    struct sim_grants *g = sim->grants;
    void *base;

    if (g)
        return g;
    g = sim->grants = sim_memory(1, sizeof *g);
    if (host_memory("sim-grants", (size_t)PAGES * PAGE, &base, &g->fd)) {
        fprintf(stderr, "the simulation can't have memory for grants\n");
        exit(1);
    }
    g->base = base;
    return g;
}

static struct sim_tap *
ours(struct tap *tap)
{
    return (struct sim_tap *)tap;
}

static bool
dead(const struct sim_tap *t)
{
    return sim_loop_dead(sim_loop_of(t->tap.loop));
}

/* ---- grants -------------------------------------------------------------- */

static struct grant **
slot_of(struct sim_grants *g, uint32_t domid, uint32_t ref)
{
    struct grant **p = &g->bucket[(domid * 2654435761u + ref) % BUCKETS];

    while (*p && ((*p)->revoked || (*p)->domid != domid || (*p)->ref != ref))
        p = &(*p)->next;
    return p;
}

static void
drop_grant(struct sim_grants *g, struct grant *gr)
{
    struct grant **p =
        &g->bucket[(gr->domid * 2654435761u + gr->ref) % BUCKETS];

    while (*p != gr)
        p = &(*p)->next;
    *p = gr->next;
    g->free_page[g->idle++] = gr->page;
    free(gr);
}

/* The page is free when nobody has it mapped any more. */
static void
revoke(struct sim_grants *g, struct grant *gr)
{
    gr->revoked = true;
    if (!gr->mapped)
        drop_grant(g, gr);
}

void *
sim_grant(struct sim *sim, uint32_t domid, uint32_t ref, bool readonly)
{
    struct sim_grants *g = grants_of(sim);
    struct grant *gr = *slot_of(g, domid, ref), **p;
    char *page;

    if (gr)
        revoke(g, gr);
    if (!g->idle && g->fresh == PAGES)
        return NULL;
    gr = sim_memory(1, sizeof *gr);
    *gr = (struct grant){ .domid = domid, .ref = ref, .readonly = readonly };
    gr->page = g->idle ? g->free_page[--g->idle] : g->fresh++;
    p = &g->bucket[(domid * 2654435761u + ref) % BUCKETS];
    gr->next = *p;
    *p = gr;
    page = g->base + (size_t)gr->page * PAGE;
    memset(page, 0, PAGE);
    return page;
}

void *
sim_grant_page(struct sim *sim, uint32_t domid, uint32_t ref)
{
    struct sim_grants *g = grants_of(sim);
    struct grant *gr = *slot_of(g, domid, ref);

    return gr ? g->base + (size_t)gr->page * PAGE : NULL;
}

int
sim_ungrant(struct sim *sim, uint32_t domid, uint32_t ref)
{
    struct sim_grants *g = grants_of(sim);
    struct grant *gr = *slot_of(g, domid, ref);
    bool mapped = gr && gr->mapped;

    if (!gr)
        return -ENOENT;
    revoke(g, gr);
    return mapped ? -EBUSY : 0;
}

unsigned
sim_mapped(struct sim *sim, uint32_t domid)
{
    struct sim_grants *g = grants_of(sim);
    unsigned n = 0;

    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct grant *gr = g->bucket[i]; gr; gr = gr->next)
            n += gr->domid == domid ? gr->mapped : 0;
    }
    return n;
}

static int
error_of(const struct sim_grants *g)
{
    return g->faults.error ? -abs(g->faults.error) : -EIO;
}

static void
drop_mapping(struct sim_tap *t, struct mapping *m, bool still_there)
{
    struct mapping **p = &t->mappings;

    while (*p != m)
        p = &(*p)->next;
    *p = m->next;
    for (unsigned i = 0; still_there && i < m->n; i++) {
        if (!--m->grant[i]->mapped && m->grant[i]->revoked)
            drop_grant(grants_of(t->sim), m->grant[i]);
    }
    munmap(m->addr, (size_t)m->n * PAGE);
    free(m);
}

static int
map_pages(struct sim_grants *g, struct mapping *m)
{
    char *at = mmap(NULL, (size_t)m->n * PAGE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return -errno;
    m->addr = at;
    for (unsigned i = 0; i < m->n; i++) {
        if (mmap(at + (size_t)i * PAGE, PAGE, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, g->fd,
                 (off_t)m->grant[i]->page * PAGE) == MAP_FAILED) {
            munmap(at, (size_t)m->n * PAGE);
            return -ENOMEM;
        }
    }
    return 0;
}

static int
map(struct tap *tap, uint32_t domid, const uint32_t *refs, unsigned n,
    void **addr)
{
    struct sim_tap *t = ours(tap);
    struct sim_grants *g = grants_of(t->sim);
    struct mapping *m;
    int err = 0;

    if (dead(t) || !n)
        return -EINVAL;
    if (sim_chance(t->sim, g->faults.map))
        return error_of(g);
    m = sim_memory(1, sizeof *m + n * sizeof m->grant[0]);
    m->n = n;
    for (unsigned i = 0; i < n && !err; i++) {
        m->grant[i] = *slot_of(g, domid, refs[i]);
        if (!m->grant[i] || m->grant[i]->readonly)
            err = -EINVAL;
    }
    if (!err)
        err = map_pages(g, m);
    if (err) {
        free(m);
        return err;
    }
    for (unsigned i = 0; i < n; i++)
        m->grant[i]->mapped++;
    m->next = t->mappings;
    t->mappings = m;
    *addr = m->addr;
    return 0;
}

static void
unmap(struct tap *tap, void *addr, unsigned n)
{
    struct sim_tap *t = ours(tap);
    struct mapping *m = t->mappings;

    while (m && m->addr != addr)
        m = m->next;
    if (!m && dead(t))
        return;
    if (!m || m->n != n) {
        fprintf(stderr, "simulation: unmap() of what was not mapped so\n");
        abort();
    }
    drop_mapping(t, m, true);
}

static int16_t
copy_one(struct sim_grants *g, const struct tap_copy *c)
{
    struct grant *gr = *slot_of(g, c->domid, c->ref);
    char *page;

    if (!gr)
        return BAD_REF;
    if ((uint32_t)c->offset + c->len > PAGE)
        return BAD_COPY;
    if (c->to_guest && gr->readonly)
        return DENIED;
    page = g->base + (size_t)gr->page * PAGE + c->offset;
    if (c->to_guest)
        memcpy(page, c->local, c->len);
    else
        memcpy(c->local, page, c->len);
    return 0;
}

static int
copy(struct tap *tap, struct tap_copy *c, unsigned n)
{
    struct sim_tap *t = ours(tap);
    struct sim_grants *g = grants_of(t->sim);

    if (dead(t) || sim_chance(t->sim, g->faults.copy))
        return error_of(g);
    for (unsigned i = 0; i < n; i++) {
        if (sim_chance(t->sim, g->faults.segment))
            c[i].status = g->faults.status ? g->faults.status : BAD_REF;
        else
            c[i].status = copy_one(g, &c[i]);
    }
    return 0;
}

/* ---- event channels ------------------------------------------------------ */

/* Every port that has an event and is not masked. */
static void
ports_fire(struct sim_event *e)
{
    struct sim_tap *t = e->data;
    uint32_t ports[PORTS];
    unsigned n = 0;

    t->event = NULL;
    for (uint32_t i = 0; i < PORTS; i++) {
        struct local_port *p = &t->port[i];

        if (!p->used || !p->pending || p->masked)
            continue;
        p->pending = sim_chance(t->sim, grants_of(t->sim)->faults.spurious);
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
    struct peer *p = grants_of(sim)->peers;

    while (p && (p->domid != domid || p->port != port))
        p = p->next;
    return p;
}

static int
bind_port(struct tap *tap, uint32_t domid, uint32_t remote_port)
{
    struct sim_tap *t = ours(tap);
    struct peer *peer = peer_of(t->sim, domid, remote_port);

    if (!dead(t) && sim_chance(t->sim, grants_of(t->sim)->faults.bind))
        return error_of(grants_of(t->sim));
    if (dead(t) || !peer || peer->tap)
        return -EINVAL;
    for (int i = 1; i < PORTS; i++) {
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

    return port > 0 && port < PORTS && t->port[port].used ? &t->port[port]
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
    struct sim_grants *g = grants_of(sim);
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
    for (int i = 0; peer->tap && i < PORTS; i++) {
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
        drop_peer(grants_of(sim), p);
}

void
sim_port_notify(struct sim *sim, uint32_t domid, uint32_t port)
{
    struct peer *peer = peer_of(sim, domid, port);

    for (int i = 0; peer && peer->tap && i < PORTS; i++) {
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
    struct sim_grants *g = grants_of(sim);
    struct peer *p, *next_peer;
    struct grant *gr, *next;

    for (unsigned i = 0; i < BUCKETS; i++) {
        for (gr = g->bucket[i]; gr; gr = next) {
            next = gr->next;
            if (gr->domid == domid && !gr->revoked)
                revoke(g, gr);
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
    struct sim_tap *t = ours(tap), **p = &grants_of(t->sim)->taps;

    for (int i = 1; i < PORTS; i++)
        unbind(tap, i);
    while (t->mappings)
        drop_mapping(t, t->mappings, true);
    if (t->event)
        sim_cancel(t->sim, t->event);
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    free(t);
}

static const struct tap_ops ops = {
    .map = map,
    .unmap = unmap,
    .copy = copy,
    .bind = bind_port,
    .unbind = unbind,
    .notify = notify,
    .unmask = unmask,
    .free = tap_free,
};

struct tap *
sim_tap_new(struct sim *sim, struct loop *loop)
{
    struct sim_grants *g = grants_of(sim);
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
    grants_of(sim)->faults = *faults;
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
    for (int i = 1; i < PORTS; i++)
        unbind(&t->tap, i);
    while (t->mappings)
        drop_mapping(t, t->mappings, true);
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
        if (p->event)
            sim_cancel(sim, p->event);
        p->event = NULL;
    }
    while (!keep && g->peers)
        drop_peer(g, g->peers);
    for (unsigned i = 0; !keep && i < BUCKETS; i++) {
        for (gr = g->bucket[i]; gr; gr = next) {
            next = gr->next;
            drop_grant(g, gr);
        }
    }
}

void
sim_grants_free(struct sim *sim)
{
    struct sim_grants *g = sim->grants;

    if (!g)
        return;
    sim_grants_crash(sim, false);
    host_memory_free(g->base, (size_t)PAGES * PAGE, g->fd);
    free(g);
    sim->grants = NULL;
}
