/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hostile.h: a front-end that breaks rules beside those that keep them. */
#ifndef TESTS_SIM_DAEMON_HOSTILE_H
#define TESTS_SIM_DAEMON_HOSTILE_H

#include "tests/sim/daemon/world.h"

struct hostile {
    struct world *world;
    uint32_t domid, devid, port;
    uint8_t *ring;
    char front[100], disk[16];
    unsigned acts;
};

void hostile_start(struct hostile *, struct world *, uint32_t domid,
                   const char *disk);
void hostile_tick(struct hostile *);
/* The power failed. */
void hostile_reboot(struct hostile *);
/* The domain is destroyed, its vbd removed. */
void hostile_end(struct hostile *);

#endif
