/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_gate.c: pages and ports of a simulated domain, for the taps of others.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "host/sim_tap.h"

enum { PAGE = 4096, EVENT_NS = 20000, FIRST_REF = 1000 };

struct granted {
    struct granted *next;
    void *addr;
    unsigned n;
    uint32_t ref[];
};

struct opened {
    struct opened *next;
    struct gate_port *port;
    struct sim_gate *gate;
    struct sim_event *event; /* it will fire */
    bool pending, masked;
};

struct sim_gate {
    struct gate gate;
    struct sim *sim;
    uint32_t domid;
    struct granted *granted;
    struct opened *opened;
};

static struct sim_gate *
ours(struct gate *g)
{
    return (struct sim_gate *)g;
}

static bool
is_dead(const struct sim_gate *g)
{
    return sim_loop_dead(sim_loop_of(g->gate.loop));
}

/* ---- pages --------------------------------------------------------------- */

void
sim_gate_limit(struct sim *sim, unsigned pages)
{
    sim_grants_of(sim)->gate_limit = pages;
}

static int
grant_page(struct sim_gate *g, struct granted *gr, unsigned i)
{
    struct sim_grants *all = sim_grants_of(g->sim);
    char *page = sim_grant(g->sim, g->domid, gr->ref[i], false);

    if (!page)
        return -ENOMEM;
    if (mmap((char *)gr->addr + (size_t)i * PAGE, PAGE, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, all->fd, page - all->base) == MAP_FAILED)
        return -errno;
    return 0;
}

static void
take_back(struct sim_gate *g, struct granted *gr)
{
    struct granted **at = &g->granted;

    while (*at != gr)
        at = &(*at)->next;
    *at = gr->next;
    for (unsigned i = 0; i < gr->n; i++)
        (void)sim_ungrant(g->sim, g->domid, gr->ref[i]);
    sim_grants_of(g->sim)->gate_pages -= gr->n;
    munmap(gr->addr, (size_t)gr->n * PAGE);
    free(gr);
}

static int
grant(struct gate *gate, uint32_t domid, unsigned n, uint32_t *refs,
      void **addr, char *why, size_t why_size)
{
    struct sim_gate *g = ours(gate);
    struct sim_grants *all = sim_grants_of(g->sim);
    struct granted *gr;
    int err = 0;

    (void)domid;
    if (all->gate_limit && all->gate_pages + n > all->gate_limit) {
        snprintf(why, why_size, "%u pages can't be granted: the limit", n);
        return -ENOSPC;
    }
    gr = sim_memory(1, sizeof *gr + n * sizeof gr->ref[0]);
    gr->n = n;
    gr->addr = mmap(NULL, (size_t)n * PAGE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (gr->addr == MAP_FAILED) {
        free(gr);
        snprintf(why, why_size, "no room for a mapping");
        return -ENOMEM;
    }
    gr->next = g->granted;
    g->granted = gr;
    all->gate_pages += n;
    for (unsigned i = 0; i < n; i++)
        gr->ref[i] = refs[i] = FIRST_REF + all->gate_refs++;
    for (unsigned i = 0; i < n && !err; i++)
        err = grant_page(g, gr, i);
    if (err) {
        take_back(g, gr);
        snprintf(why, why_size, "no page is left to grant");
        return err;
    }
    *addr = gr->addr;
    return 0;
}

static void
ungrant(struct gate *gate, void *addr, unsigned n)
{
    struct sim_gate *g = ours(gate);
    struct granted *gr = g->granted;

    while (gr && gr->addr != addr)
        gr = gr->next;
    if (!gr || gr->n != n) {
        fprintf(stderr, "simulation: ungrant() of what was not granted so\n");
        abort();
    }
    take_back(g, gr);
}

/* ---- ports --------------------------------------------------------------- */

static void
port_fires(struct sim_event *e)
{
    struct opened *o = e->data;

    o->event = NULL;
    o->pending =
        sim_chance(o->gate->sim, sim_grants_of(o->gate->sim)->faults.spurious);
    o->masked = true;
    o->port->fired(o->port);
}

static void
will_fire(struct opened *o)
{
    struct sim_gate *g = o->gate;

    if (o->pending && !o->masked && !o->event && !is_dead(g))
        o->event =
            sim_event(g->sim, sim_loop_of(g->gate.loop),
                      sim_below(g->sim, EVENT_NS), "gate", port_fires, o);
}

static void
notified(void *data)
{
    struct opened *o = data;

    o->pending = true;
    will_fire(o);
}

static int
port_open(struct gate *gate, uint32_t domid, struct gate_port *p)
{
    struct sim_gate *g = ours(gate);
    struct opened *o;

    (void)domid;
    if (sim_chance(g->sim, sim_grants_of(g->sim)->faults.bind))
        return sim_tap_error(sim_grants_of(g->sim));
    o = sim_memory(1, sizeof *o);
    o->port = p;
    o->gate = g;
    o->next = g->opened;
    g->opened = o;
    p->number = sim_port(g->sim, g->domid, notified, o);
    return 0;
}

static struct opened **
find(struct sim_gate *g, const struct gate_port *p)
{
    struct opened **at = &g->opened;

    while (*at && (*at)->port != p)
        at = &(*at)->next;
    return at;
}

static void
drop(struct sim_gate *g, struct opened **at)
{
    struct opened *o = *at;

    *at = o->next;
    sim_port_close(g->sim, g->domid, o->port->number);
    if (o->event)
        sim_cancel(g->sim, o->event);
    free(o);
}

static void
port_close(struct gate *gate, struct gate_port *p)
{
    struct opened **at = find(ours(gate), p);

    if (*at)
        drop(ours(gate), at);
}

static void
port_notify(struct gate *gate, struct gate_port *p)
{
    struct sim_gate *g = ours(gate);

    if (!is_dead(g))
        sim_port_notify(g->sim, g->domid, p->number);
}

static void
port_unmask(struct gate *gate, struct gate_port *p)
{
    struct opened *o = *find(ours(gate), p);

    if (!o)
        return;
    o->masked = false;
    will_fire(o);
}

/* ---- life ---------------------------------------------------------------- */

static void
gate_free(struct gate *gate)
{
    struct sim_gate *g = ours(gate);

    while (g->opened)
        drop(g, &g->opened);
    while (g->granted)
        take_back(g, g->granted);
    free(g);
}

static const struct gate_ops ops = {
    .grant = grant,
    .ungrant = ungrant,
    .open = port_open,
    .close = port_close,
    .notify = port_notify,
    .unmask = port_unmask,
    .free = gate_free,
};

struct gate *
sim_gate_new(struct sim *sim, struct loop *loop, uint32_t domid)
{
    struct sim_gate *g = sim_memory(1, sizeof *g);

    g->gate.ops = &ops;
    g->gate.loop = loop;
    g->sim = sim;
    g->domid = domid;
    return &g->gate;
}
