/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/hostile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE = 4096, RING_REF = 7, DEVID = 51712 };

static void
put(struct hostile *h, const char *leaf, const char *value)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", h->front, leaf);
    sim_store_write(h->world->sim, path, "%s", value);
}

static void
put_number(struct hostile *h, const char *leaf, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    put(h, leaf, text);
}

static void
boot(struct hostile *h)
{
    h->ring = sim_grant(h->world->sim, h->domid, RING_REF, false);
    h->port = sim_port(h->world->sim, h->domid, NULL, NULL);
    world_attach(h->world, h->domid, h->devid, h->disk, "w");
}

void
hostile_start(struct hostile *h, struct world *w, uint32_t domid,
              const char *disk)
{
    memset(h, 0, sizeof *h);
    h->world = w;
    h->domid = domid;
    h->devid = DEVID;
    snprintf(h->front, sizeof h->front,
             "/local/domain/%" PRIu32 "/device/vbd/%" PRIu32, domid, h->devid);
    snprintf(h->disk, sizeof h->disk, "%s", disk);
    boot(h);
}

void
hostile_reboot(struct hostile *h)
{
    world_vbd_remove(h->world, h->domid, h->devid);
    boot(h);
}

/* What a good one would write, so that the bad things after it are reached. */
static void
connect_well(struct hostile *h)
{
    put_number(h, "ring-ref", RING_REF);
    put_number(h, "event-channel", h->port);
    put(h, "protocol", "x86_64-abi");
    put(h, "state", sim_below(h->world->sim, 2) ? "3" : "4");
}

static void
ring_garbage(struct hostile *h)
{
    struct sim *s = h->world->sim;
    uint32_t prod;

    for (unsigned i = 64; i < PAGE; i += 8) {
        uint64_t bytes = sim_random(s), small = sim_random(s);

        /* A third of them small, as numbers of segments and sectors are. */
        for (unsigned k = 0; k < 8; k++, bytes >>= 8, small >>= 8)
            h->ring[i + k] = (uint8_t)((small & 0xff) < 85 ? bytes & 7 : bytes);
    }
    memcpy(&prod, h->ring, 4);
    prod += (uint32_t)sim_below(s, sim_below(s, 4) ? 12 : 64);
    memcpy(h->ring, &prod, 4);
    sim_port_notify(s, h->domid, h->port);
}

static void
index_jump(struct hostile *h)
{
    uint32_t v = (uint32_t)sim_random(h->world->sim);

    memcpy(h->ring + 4 * sim_below(h->world->sim, 4), &v, 4);
    sim_port_notify(h->world->sim, h->domid, h->port);
}

static void
node_garbage(struct hostile *h)
{
    static const char *const leaf[] = { "ring-ref",
                                        "event-channel",
                                        "protocol",
                                        "ring-page-order",
                                        "multi-queue-num-queues",
                                        "backend",
                                        "ring-ref0",
                                        "state" };
    static const char *const value[] = {
        "",     "-1",   "4294967296", "x86_64-abi ", "99999999999999999999999",
        "0x10", "%s%n", "17",         "../../0",     "\1\2\3"
    };
    struct sim *s = h->world->sim;

    put(h, leaf[sim_below(s, 8)], value[sim_below(s, 10)]);
}

void
hostile_tick(struct hostile *h)
{
    struct sim *s = h->world->sim;
    char path[160];

    h->acts++;
    switch (sim_below(s, 10)) {
    case 0:
    case 1:
        snprintf(path, sizeof path,
                 "/local/domain/0/backend/vbd3/%" PRIu32 "/%" PRIu32, h->domid,
                 h->devid);
        connect_well(h);
        put(h, "backend", path);
        break;
    case 2:
        put_number(h, "state", sim_below(s, 9));
        break;
    case 3:
        node_garbage(h);
        break;
    case 4:
        index_jump(h);
        break;
    case 5:
        for (unsigned i = 0; i < 20; i++)
            sim_port_notify(s, h->domid, h->port);
        break;
    case 6:
        put(h, "state", "6");
        put(h, "state", "1");
        break;
    default:
        ring_garbage(h);
        break;
    }
}

void
hostile_end(struct hostile *h)
{
    world_vbd_remove(h->world, h->domid, h->devid);
    sim_domain_die(h->world->sim, h->domid);
}
