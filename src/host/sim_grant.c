/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_grant.c: grants of the simulated world.
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

#include "host/sim_tap.h"

enum { PAGE = 4096 };

/* The statuses of Xen's grant_table.h. */
enum { BAD_REF = -3, DENIED = -8, BAD_COPY = -10 };

struct sim_grants *
sim_grants_of(struct sim *sim)
{
    struct sim_grants *g = sim->grants;
    void *base;

    if (g)
        return g;
    g = sim->grants = sim_memory(1, sizeof *g);
    if (host_memory("sim-grants", (size_t)SIM_PAGES * PAGE, &base, &g->fd)) {
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

bool
sim_tap_dead(const struct sim_tap *t)
{
    return sim_loop_dead(sim_loop_of(t->tap.loop));
}

/* ---- grants -------------------------------------------------------------- */

static struct grant **
slot_of(struct sim_grants *g, uint32_t domid, uint32_t ref)
{
    struct grant **p =
        &g->bucket[(domid * 2654435761u + ref) % SIM_GRANT_BUCKETS];

    while (*p && ((*p)->revoked || (*p)->domid != domid || (*p)->ref != ref))
        p = &(*p)->next;
    return p;
}

void
sim_grant_drop(struct sim_grants *g, struct grant *gr)
{
    struct grant **p =
        &g->bucket[(gr->domid * 2654435761u + gr->ref) % SIM_GRANT_BUCKETS];

    while (*p != gr)
        p = &(*p)->next;
    *p = gr->next;
    g->free_page[g->idle++] = gr->page;
    free(gr);
}

void
sim_grant_revoke(struct sim_grants *g, struct grant *gr)
{
    gr->revoked = true;
    if (!gr->mapped)
        sim_grant_drop(g, gr);
}

void *
sim_grant(struct sim *sim, uint32_t domid, uint32_t ref, bool readonly)
{
    struct sim_grants *g = sim_grants_of(sim);
    struct grant *gr = *slot_of(g, domid, ref), **p;
    char *page;

    if (gr)
        sim_grant_revoke(g, gr);
    if (!g->idle && g->fresh == SIM_PAGES)
        return NULL;
    gr = sim_memory(1, sizeof *gr);
    *gr = (struct grant){ .domid = domid, .ref = ref, .readonly = readonly };
    gr->page = g->idle ? g->free_page[--g->idle] : g->fresh++;
    p = &g->bucket[(domid * 2654435761u + ref) % SIM_GRANT_BUCKETS];
    gr->next = *p;
    *p = gr;
    page = g->base + (size_t)gr->page * PAGE;
    memset(page, 0, PAGE);
    return page;
}

void *
sim_grant_page(struct sim *sim, uint32_t domid, uint32_t ref)
{
    struct sim_grants *g = sim_grants_of(sim);
    struct grant *gr = *slot_of(g, domid, ref);

    return gr ? g->base + (size_t)gr->page * PAGE : NULL;
}

int
sim_ungrant(struct sim *sim, uint32_t domid, uint32_t ref)
{
    struct sim_grants *g = sim_grants_of(sim);
    struct grant *gr = *slot_of(g, domid, ref);
    bool mapped = gr && gr->mapped;

    if (!gr)
        return -ENOENT;
    sim_grant_revoke(g, gr);
    return mapped ? -EBUSY : 0;
}

unsigned
sim_mapped(struct sim *sim, uint32_t domid)
{
    struct sim_grants *g = sim_grants_of(sim);
    unsigned n = 0;

    for (unsigned i = 0; i < SIM_GRANT_BUCKETS; i++) {
        for (struct grant *gr = g->bucket[i]; gr; gr = gr->next)
            n += gr->domid == domid ? gr->mapped : 0;
    }
    return n;
}

int
sim_tap_error(const struct sim_grants *g)
{
    return g->faults.error ? -abs(g->faults.error) : -EIO;
}

void
sim_mapping_drop(struct sim_tap *t, struct mapping *m)
{
    struct mapping **p = &t->mappings;

    while (*p != m)
        p = &(*p)->next;
    *p = m->next;
    for (unsigned i = 0; i < m->n; i++) {
        if (!--m->grant[i]->mapped && m->grant[i]->revoked)
            sim_grant_drop(sim_grants_of(t->sim), m->grant[i]);
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

int
sim_tap_map(struct tap *tap, uint32_t domid, const uint32_t *refs, unsigned n,
            void **addr)
{
    struct sim_tap *t = ours(tap);
    struct sim_grants *g = sim_grants_of(t->sim);
    struct mapping *m;
    int err = 0;

    if (sim_tap_dead(t) || !n)
        return -EINVAL;
    if (sim_chance(t->sim, g->faults.map))
        return sim_tap_error(g);
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

void
sim_tap_unmap(struct tap *tap, void *addr, unsigned n)
{
    struct sim_tap *t = ours(tap);
    struct mapping *m = t->mappings;

    while (m && m->addr != addr)
        m = m->next;
    if (!m && sim_tap_dead(t))
        return;
    if (!m || m->n != n) {
        fprintf(stderr,
                "simulation: sim_tap_unmap() of what was not mapped so\n");
        abort();
    }
    sim_mapping_drop(t, m);
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

int
sim_tap_copy(struct tap *tap, struct tap_copy *c, unsigned n)
{
    struct sim_tap *t = ours(tap);
    struct sim_grants *g = sim_grants_of(t->sim);

    if (sim_tap_dead(t) || sim_chance(t->sim, g->faults.copy))
        return sim_tap_error(g);
    for (unsigned i = 0; i < n; i++) {
        if (sim_chance(t->sim, g->faults.segment))
            c[i].status = g->faults.status ? g->faults.status : BAD_REF;
        else
            c[i].status = copy_one(g, &c[i]);
    }
    return 0;
}
