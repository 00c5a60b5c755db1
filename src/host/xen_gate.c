/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_gate.c: pages and ports for another domain: /dev/xen/gntalloc by
 * libxengnttab, and the event channels that it shares with the tap.
 *
 * Origin of facts: xengnttab.h, xenevtchn.h; Linux drivers/xen/gntalloc.c for
 * the limit, which is one for the whole machine.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "host/xen_ports.h"

#define LIMIT_FILE "/sys/module/xen_gntalloc/parameters/limit"

struct xen_gate {
    struct gate gate;
    xengntshr_handle *shr;
    struct xen_ports *ports;
};

static struct xen_gate *
xen(struct gate *g)
{
    return (struct xen_gate *)g;
}

/* ---- pages --------------------------------------------------------------- */

static void
grant_why(int err, unsigned n, char *why, size_t why_size)
{
    if (err == -ENOSPC)
        snprintf(why, why_size,
                 "%u pages can't be granted: the kernel's limit for this "
                 "machine is reached (raise it: echo 16384 > " LIMIT_FILE
                 ", and for the next boot the option limit of the module "
                 "xen_gntalloc)",
                 n);
    else
        snprintf(why, why_size, "%u pages can't be granted: %s", n,
                 strerror(-err));
}

static int
grant(struct gate *g, uint32_t domid, unsigned n, uint32_t *refs, void **addr,
      char *why, size_t why_size)
{
    int err;

    errno = 0;
    *addr = xengntshr_share_pages(xen(g)->shr, domid, (int)n, refs, 1);
    if (*addr)
        return 0;
    err = errno ? -errno : -EIO;
    grant_why(err, n, why, why_size);
    return err;
}

static void
ungrant(struct gate *g, void *addr, unsigned n)
{
    if (xengntshr_unshare(xen(g)->shr, addr, n))
        log_line(BLK_ERR, NULL, "cannot take back %u granted pages: %s", n,
                 strerror(errno));
}

/* ---- ports --------------------------------------------------------------- */

static int
port_open(struct gate *g, uint32_t domid, struct gate_port *p)
{
    struct xen_ports *xp = xen(g)->ports;
    int port, err;

    errno = 0;
    port = xenevtchn_bind_unbound_port(xp->evtchn, domid);
    if (port < 0)
        return errno ? -errno : -EIO;
    p->number = (uint32_t)port;
    err = xen_ports_gate(xp, p);
    if (err)
        (void)xenevtchn_unbind(xp->evtchn, p->number);
    return err;
}

static void
port_close(struct gate *g, struct gate_port *p)
{
    struct xen_ports *xp = xen(g)->ports;

    xen_ports_ungate(xp, p);
    (void)xenevtchn_unbind(xp->evtchn, p->number);
}

static void
port_notify(struct gate *g, struct gate_port *p)
{
    (void)xenevtchn_notify(xen(g)->ports->evtchn, p->number);
}

static void
port_unmask(struct gate *g, struct gate_port *p)
{
    xen_ports_unmask(xen(g)->ports, &p->number, 1);
}

/* ---- life ---------------------------------------------------------------- */

static void
gate_free(struct gate *g)
{
    struct xen_gate *xg = xen(g);

    if (xg->shr)
        xengntshr_close(xg->shr);
    free(xg);
}

static const struct gate_ops ops = {
    .grant = grant,
    .ungrant = ungrant,
    .open = port_open,
    .close = port_close,
    .notify = port_notify,
    .unmask = port_unmask,
    .free = gate_free,
};

int
gate_xen_open(struct gate **out, struct tap *tap, char *why, size_t n)
{
    struct xen_gate *xg = calloc(1, sizeof *xg);
    int err;

    if (!xg) {
        snprintf(why, n, "no memory");
        return -ENOMEM;
    }
    xg->gate.ops = &ops;
    xg->gate.loop = tap->loop;
    errno = 0;
    xg->shr = xengntshr_open(NULL, 0);
    if (!xg->shr) {
        err = errno ? -errno : -EIO;
        snprintf(why, n,
                 "cannot open /dev/xen/gntalloc: %s (is the module "
                 "xen-gntalloc loaded?)",
                 strerror(-err));
        gate_free(&xg->gate);
        return err;
    }
    xg->ports = xen_ports_of(tap);
    *out = &xg->gate;
    return 0;
}
