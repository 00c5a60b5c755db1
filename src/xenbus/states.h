/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * states.h: what a vbd does next, as a function of what it sees.
 *
 * Pure: no XenStore, no disk.  The order of events plays no part, only the
 * levels do: watches coalesce, and front-ends jump.  Sources: xen/io/xenbus.h,
 * xen/io/blkif.h; XSA-349 and XSA-350 for why nothing here counts events.
 */
#ifndef XENBUS_STATES_H
#define XENBUS_STATES_H

#include <stdbool.h>
#include <stddef.h>

/* XenbusState, and one more for a node that is not there. */
enum bus_state {
    BUS_UNKNOWN,
    BUS_INITIALISING,
    BUS_INIT_WAIT,
    BUS_INITIALISED,
    BUS_CONNECTED,
    BUS_CLOSING,
    BUS_CLOSED,
    BUS_RECONFIGURING,
    BUS_RECONFIGURED,
    BUS_GONE,
    BUS_STATES
};

/* Between the disk and the front-end's rings. */
enum bus_link { LINK_DOWN, LINK_BUSY, LINK_UP };

enum bus_act {
    ACT_NONE,   /* wait for something to change */
    ACT_OFFER,  /* limits, then state 2: needs the medium */
    ACT_JOIN,   /* down: map and bind; up: geometry, then state 4 */
    ACT_RESUME, /* map and bind, states are as they were before a restart */
    ACT_SHOW,   /* state 5; the ring is still served */
    ACT_END,    /* up: drain and unmap; down: state 6 */
    ACT_CUT,    /* drain and unmap; the state is not touched */
    ACT_REFUSE, /* state 5: what the front-end brought can't be served */
    ACT_COUNT
};

struct bus_view {
    enum bus_state front, own;
    enum bus_link link;
    bool online;
    bool refused;   /* this connection can't be served: until the front-end
                       leaves 3 and 4 */
    bool inherited; /* found at start: another process may have served it */
    bool restarted; /* the front-end went from 4 back to 3: it has new rings */
};

/* NULL: BUS_GONE; what is not one digit from 0 to 8: BUS_UNKNOWN. */
enum bus_state bus_parse(const char *);
const char *bus_name(enum bus_state);
const char *bus_act_name(enum bus_act);
/* Never ACT_OFFER with link up; never anything with link busy. */
enum bus_act bus_decide(const struct bus_view *);

#endif
