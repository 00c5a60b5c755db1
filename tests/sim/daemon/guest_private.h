/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* guest_private.h: what guest.c and guest_bus.c know of each other. */
#ifndef TESTS_SIM_DAEMON_GUEST_PRIVATE_H
#define TESTS_SIM_DAEMON_GUEST_PRIVATE_H

#include "tests/sim/daemon/guest.h"

enum { GUEST_REF_DATA = 1000, GUEST_REF_RING = 100 };

static inline uint32_t
guest_ref(const struct guest *g, unsigned page)
{
    (void)g;
    return GUEST_REF_DATA + page;
}

void guest_fail(struct guest *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline void
guest_count(struct guest *g, enum tally what)
{
    if (g->tally)
        g->tally[what]++;
}

void guest_send(struct guest *);
void guest_notified(void *queue);
/* Requests on their way are written down again. */
void guest_again(struct guest *);

#endif
