/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* points.h: where a daemon can be killed. */
#ifndef TESTS_SIM_DAEMON_POINTS_H
#define TESTS_SIM_DAEMON_POINTS_H

#include "host/host.h"

struct world;
extern struct world *points_world;

/* A point: returns, or never. */
void points_pass(void);
/* The same objects, their operations wrapped. */
struct loop *points_loop(struct loop *);
struct tap *points_tap(struct tap *);
struct store *points_store(struct store *);

#endif
