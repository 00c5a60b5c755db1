/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plan.h: what a seed means, and one run of it. */
#ifndef TESTS_SIM_DAEMON_PLAN_H
#define TESTS_SIM_DAEMON_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/daemon/tally.h"

struct plan {
    uint64_t seed;
    bool quiet; /* no faults but kills; one guest: for --steps */
    /* The only kills are at these points of the run (0: none), the second
     * counted from the first. */
    uint64_t kill_at, kill_again;
    bool chosen; /* by the caller: the two above, nothing by chance */
};

struct result {
    uint64_t requests, kills, points, sim_ns, trace, crashes, reloads;
    uint64_t tally[TALLY_COUNT];
    bool failed;
    char why[400];
};

void plan_run(const struct plan *, struct result *);

#endif
