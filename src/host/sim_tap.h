/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_tap.h: what the parts of the simulated tap know of each other: grants
 * (sim_grant.c), event channels and life (sim_tap.c).
 */
#ifndef HOST_SIM_TAP_H
#define HOST_SIM_TAP_H

#include "host/sim_world.h"

enum { SIM_PAGES = 1 << 15, SIM_GRANT_BUCKETS = 4096, SIM_PORTS = 1024 };

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
    bool owed;               /* it was, when the sender was killed */
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
    struct local_port port[SIM_PORTS];
    struct sim_event *event; /* ports will fire */
    int error;               /* of sim_tap_break() */
};

struct sim_grants {
    int fd;
    char *base;
    uint32_t fresh, idle, free_page[SIM_PAGES];
    struct grant *bucket[SIM_GRANT_BUCKETS];
    struct peer *peers;
    struct sim_tap *taps;
    uint32_t last_port;
    uint32_t gate_refs, gate_pages, gate_limit; /* sim_gate.c */
    struct sim_tap_faults faults;
};

struct sim_grants *sim_grants_of(struct sim *);
bool sim_tap_dead(const struct sim_tap *);
/* What a failure that was asked for returns. */
int sim_tap_error(const struct sim_grants *);
void sim_grant_drop(struct sim_grants *, struct grant *);
/* The page is free when nobody has it mapped any more. */
void sim_grant_revoke(struct sim_grants *, struct grant *);
void sim_mapping_drop(struct sim_tap *, struct mapping *);

/* Of struct tap_ops. */
int sim_tap_map(struct tap *, uint32_t domid, const uint32_t *refs, unsigned n,
                void **addr);
void sim_tap_unmap(struct tap *, void *addr, unsigned n);
int sim_tap_copy(struct tap *, struct tap_copy *, unsigned n);

#endif
