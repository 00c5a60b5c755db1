/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_ports.h: the event channels of one data loop, those of its tap and those
 * of its gate, through one descriptor of /dev/xen/evtchn.
 *
 *            ┌── tap: rings of front-ends         ─┐
 *   read() ──┤                                     ├── unmask, until the end of
 *            └── gate: our rings, for back-ends   ─┘   the round: one write()
 *
 * A call for all of them, because each write() takes a page of the kernel's
 * and has it cleared, which is more work than all else that an unmasking is.
 *
 * Thread: the loop's.  Not for the rest of the daemon: host.h has what is.
 */
#ifndef HOST_XEN_PORTS_H
#define HOST_XEN_PORTS_H

#include <xenevtchn.h>

#include "host/host.h"

enum { XEN_PORTS_MAX = 1024 /* the kernel takes one page of them */ };

struct xen_ports {
    struct loop *loop;
    struct tap *tap; /* hears of all that are not the gate's */
    xenevtchn_handle *evtchn;
    struct blk_watch watch;
    struct gate_port **gate; /* by number; NULL: the tap's, or nobody's */
    uint32_t gate_max;
    struct loop_task flush;
    unsigned unmasks;
    uint32_t fired[XEN_PORTS_MAX], unmask[XEN_PORTS_MAX];
};

/* The tap's, which closes them.  0, or -errno with a sentence in why. */
int xen_ports_open(struct xen_ports **, struct tap *, char *why, size_t n);
void xen_ports_close(struct xen_ports *);
/* Of a tap that tap_xen_open() made; its own still. */
struct xen_ports *xen_ports_of(struct tap *);
/* p->number is the gate's from now on: p hears of it.  0 or -ENOMEM. */
int xen_ports_gate(struct xen_ports *, struct gate_port *p);
void xen_ports_ungate(struct xen_ports *, const struct gate_port *p);
/* They will be, when this round of the loop ends. */
void xen_ports_unmask(struct xen_ports *, const uint32_t *ports, unsigned n);

#endif
