/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest_bus.c: a front-end's states.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/daemon/guest_private.h"

/* ---- nodes --------------------------------------------------------------- */

static uint64_t
back_number(struct guest *g, const char *leaf)
{
    char path[200];
    const char *v;

    snprintf(path, sizeof path, "%s/%s", g->back, leaf);
    v = sim_store_read(g->sim, path);
    return v ? strtoull(v, NULL, 10) : 0;
}

static void
front_put(struct guest *g, const char *leaf, uint64_t value)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", g->front, leaf);
    sim_store_write(g->sim, path, "%" PRIu64, value);
}

/* ---- rings --------------------------------------------------------------- */

static void
queue_make(struct guest *g, unsigned i)
{
    struct guest_queue *q = &g->queue[i];
    uint32_t one = 1;

    memset(q, 0, sizeof *q);
    q->guest = g;
    q->n = blkif_ring_entries(g->plan.abi, g->order);
    for (unsigned p = 0; p < 1u << g->order; p++) {
        q->ref[p] = GUEST_REF_RING + i * 16 + p;
        q->page[p] = sim_grant(g->sim, g->domid, q->ref[p], false);
    }
    memcpy(q->page[0] + 4, &one, 4);
    memcpy(q->page[0] + 12, &one, 4);
    q->port = sim_port(g->sim, g->domid, guest_notified, q);
}

static void
queue_nodes(struct guest *g, unsigned i)
{
    char leaf[64], prefix[24] = "";

    if (g->queues > 1)
        snprintf(prefix, sizeof prefix, "queue-%u/", i);
    for (unsigned p = 0; p < 1u << g->order; p++) {
        if (g->order)
            snprintf(leaf, sizeof leaf, "%sring-ref%u", prefix, p);
        else
            snprintf(leaf, sizeof leaf, "%sring-ref", prefix);
        front_put(g, leaf, g->queue[i].ref[p]);
    }
    snprintf(leaf, sizeof leaf, "%sevent-channel", prefix);
    front_put(g, leaf, g->queue[i].port);
}

static unsigned
lesser(uint64_t a, uint64_t b)
{
    return (unsigned)(a < b ? a : b);
}

static void
offer(struct guest *g)
{
    char path[200];
    uint64_t queues = back_number(g, "multi-queue-max-queues");

    g->queues = lesser(queues ? queues : 1, g->plan.queues);
    g->order = lesser(back_number(g, "max-ring-page-order"), g->plan.order);
    snprintf(path, sizeof path, "%s", g->front);
    sim_store_rm(g->sim, path);
    snprintf(path, sizeof path, "%s/backend", g->front);
    sim_store_write(g->sim, path, "%s", g->back);
    front_put(g, "backend-id", 0);
    for (unsigned i = 0; i < g->queues; i++) {
        queue_make(g, i);
        queue_nodes(g, i);
    }
    if (g->queues > 1)
        front_put(g, "multi-queue-num-queues", g->queues);
    if (g->order)
        front_put(g, "ring-page-order", g->order);
    snprintf(path, sizeof path, "%s/protocol", g->front);
    sim_store_write(g->sim, path, "%s",
                    g->plan.abi == CHAN_ABI_64 ? "x86_64-abi" : "x86_32-abi");
    front_put(g, "state", 3);
    g->state = GUEST_OFFERED;
}

/* It may have grown. */
static void
measure(struct guest *g)
{
    uint64_t n = back_number(g, "sectors");

    if (n < g->record.sectors || n > g->record.room)
        guest_fail(
            g, "sectors: expected %" PRIu64 " to %" PRIu64 ", found %" PRIu64,
            g->record.sectors, g->record.room, n);
    else
        g->record.sectors = n;
}

static void
connected(struct guest *g)
{
    g->indirect = back_number(g, "feature-max-indirect-segments") >= GUEST_SEGS;
    g->barrier = back_number(g, "feature-barrier") == 1;
    g->discard = back_number(g, "feature-discard") == 1;
    measure(g);
    guest_count(g, TALLY_CONNECTIONS);
    if (g->queues > 1)
        guest_count(g, TALLY_QUEUES);
    if (g->order)
        guest_count(g, TALLY_PAGES);
    if (g->plan.abi != CHAN_ABI_64)
        guest_count(g, TALLY_ABI32);
    front_put(g, "state", 4);
    g->state = GUEST_RUNNING;
    g->connects++;
    record_connected(&g->record);
}

/* The back-end has closed: nothing of ours may be its any more. */
static void
rings_end(struct guest *g)
{
    for (unsigned i = 0; i < g->queues; i++) {
        struct guest_queue *q = &g->queue[i];

        if (sim_port_bound(g->sim, g->domid, q->port))
            guest_fail(g, "port %" PRIu32 " is still bound in state 6",
                       q->port);
        sim_port_close(g->sim, g->domid, q->port);
        for (unsigned p = 0; p < 1u << g->order; p++) {
            if (sim_ungrant(g->sim, g->domid, q->ref[p]) == -16)
                guest_fail(g, "a ring page is still mapped in state 6");
        }
    }
    g->queues = 0;
}

/* ---- states -------------------------------------------------------------- */

static void
closing(struct guest *g, uint64_t back)
{
    if (back != 6 && back != 0)
        return;
    rings_end(g);
    if (g->leaving || !back_number(g, "online")) {
        g->state = GUEST_GONE;
        return;
    }
    front_put(g, "state", 1);
    g->state = GUEST_START;
}

static void
running(struct guest *g, uint64_t back)
{
    if (back == 5) {
        g->leaving = g->leaving || !back_number(g, "online");
        g->state = GUEST_DRAINING;
    } else if (back != 4) {
        guest_fail(g,
                   "the back-end went to state %" PRIu64
                   " under a connected front-end",
                   back);
    } else if (g->plan.reconnects && g->sent > g->connects * 12 &&
               !sim_below(g->sim, 20)) {
        g->plan.reconnects--;
        g->state = GUEST_DRAINING;
    } else if (!g->quit) {
        measure(g);
        guest_send(g);
    }
}

void
guest_tick(struct guest *g)
{
    uint64_t back = back_number(g, "state");

    switch (g->state) {
    case GUEST_START:
        if (back == 2)
            offer(g);
        else if (!back_number(g, "online")) {
            front_put(g, "state", 6);
            g->state = GUEST_CLOSING;
        }
        break;
    case GUEST_OFFERED:
        if (back == 4) {
            connected(g);
        } else if (back == 5 || back == 6) {
            front_put(g, "state", 6);
            g->state = GUEST_CLOSING;
        }
        break;
    case GUEST_RUNNING:
        running(g, back);
        break;
    case GUEST_DRAINING:
        if (!g->inflight) {
            front_put(g, "state", 6);
            g->state = GUEST_CLOSING;
        }
        break;
    case GUEST_CLOSING:
        closing(g, back);
        break;
    case GUEST_GONE:
        break;
    }
}

void
guest_quit(struct guest *g)
{
    g->quit = true;
}

static void
boot(struct guest *g)
{
    for (unsigned i = 0; i < GUEST_PAGES; i++) {
        g->data[i] = g->plan.fresh
                         ? NULL
                         : sim_grant(g->sim, g->domid, guest_ref(g, i), false);
        g->spare[g->spares++] = (uint16_t)i;
    }
    world_attach(g->world, g->domid, g->devid, g->disk, "w");
}

void
guest_start(struct guest *g, struct world *w, const struct guest_plan *plan,
            uint32_t domid, uint32_t devid, const char *disk, uint64_t sectors,
            uint64_t sectors_max)
{
    char path[100];

    memset(g, 0, sizeof *g);
    g->world = w;
    g->sim = w->sim;
    g->plan = *plan;
    g->domid = domid;
    g->devid = devid;
    snprintf(g->disk, sizeof g->disk, "%s", disk);
    snprintf(g->back, sizeof g->back,
             "/local/domain/0/backend/vbd3/%" PRIu32 "/%" PRIu32, domid, devid);
    snprintf(g->front, sizeof g->front,
             "/local/domain/%" PRIu32 "/device/vbd/%" PRIu32, domid, devid);
    record_init(&g->record, sectors, sectors_max, domid);
    snprintf(path, sizeof path, "/local/domain/%" PRIu32 "/name", domid);
    sim_store_write(g->sim, path, "g%" PRIu32, domid);
    boot(g);
}

void
guest_renew(struct guest *g)
{
    world_vbd_remove(g->world, g->domid, g->devid);
    memset(g->request, 0, sizeof g->request);
    g->state = GUEST_START;
    g->leaving = false;
    g->queues = g->inflight = g->spares = 0;
    boot(g);
}

void
guest_reboot(struct guest *g)
{
    record_power_failed(&g->record);
    guest_renew(g);
}

/* Answers that are in the rings are of before. */
int
guest_disk_lost(struct guest *g, char *why, size_t n)
{
    for (unsigned i = 0; i < g->queues; i++)
        guest_notified(&g->queue[i]);
    if (record_lost(&g->record, why, n))
        return -1;
    guest_again(g);
    return 0;
}

void
guest_free(struct guest *g)
{
    record_free(&g->record);
}
