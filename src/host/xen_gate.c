/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_gate.c: pages and ports for another domain: /dev/xen/gntalloc by
 * libxengnttab and /dev/xen/evtchn by libxenevtchn.
 *
 * Origin of facts: xengnttab.h, xenevtchn.h; Linux drivers/xen/gntalloc.c for
 * the limit, which is one for the whole machine.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "host/host.h"

#define LIMIT_FILE "/sys/module/xen_gntalloc/parameters/limit"

enum { PORTS_READ = 256 };

struct xen_gate {
    struct gate gate;
    xengntshr_handle *shr;
    xenevtchn_handle *evtchn;
    struct blk_watch watch;
    struct gate_port *ports;
    uint32_t fired[PORTS_READ];
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

static void
one_fired(struct xen_gate *xg, uint32_t number)
{
    struct gate_port *p = xg->ports;

    while (p && p->number != number)
        p = p->next;
    if (p)
        p->fired(p);
}

/* A page of ports and more: what is not read now is read in the next round.
 * EFBIG: the kernel's list ran over, and some ports are lost to us; only a new
 * process mends that. */
static void
readable(struct blk_watch *w, short events)
{
    struct xen_gate *xg = w->data;
    ssize_t n = read(w->fd, xg->fired, sizeof xg->fired);

    (void)events;
    for (ssize_t i = 0; i < n / (ssize_t)sizeof xg->fired[0]; i++)
        one_fired(xg, xg->fired[i]);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    log_line(BLK_ERR, NULL, "the event channels of our front-ends: %s",
             n < 0 ? strerror(errno) : "end of file");
    xg->gate.loop->ops->watch_stop(xg->gate.loop, w);
    w->data = NULL;
}

static int
port_open(struct gate *g, uint32_t domid, struct gate_port *p)
{
    struct xen_gate *xg = xen(g);
    int port;

    errno = 0;
    port = xenevtchn_bind_unbound_port(xg->evtchn, domid);
    if (port < 0)
        return errno ? -errno : -EIO;
    p->number = (uint32_t)port;
    p->next = xg->ports;
    xg->ports = p;
    return 0;
}

static void
port_close(struct gate *g, struct gate_port *p)
{
    struct xen_gate *xg = xen(g);
    struct gate_port **at = &xg->ports;

    while (*at && *at != p)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = p->next;
    (void)xenevtchn_unbind(xg->evtchn, p->number);
}

static void
port_notify(struct gate *g, struct gate_port *p)
{
    (void)xenevtchn_notify(xen(g)->evtchn, p->number);
}

static void
port_unmask(struct gate *g, struct gate_port *p)
{
    if (xenevtchn_unmask(xen(g)->evtchn, p->number))
        log_line(BLK_ERR, NULL, "cannot unmask an event channel: %s",
                 strerror(errno));
}

/* ---- life ---------------------------------------------------------------- */

static void
gate_free(struct gate *g)
{
    struct xen_gate *xg = xen(g);

    if (xg->watch.data)
        g->loop->ops->watch_stop(g->loop, &xg->watch);
    if (xg->evtchn)
        xenevtchn_close(xg->evtchn);
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

static int
open_devices(struct xen_gate *xg, char *why, size_t n)
{
    const char *device = "gntalloc";
    int fl, err;

    errno = 0;
    xg->shr = xengntshr_open(NULL, 0);
    if (xg->shr) {
        device = "evtchn";
        xg->evtchn = xenevtchn_open(NULL, 0);
    }
    if (xg->evtchn) {
        xg->watch.fd = xenevtchn_fd(xg->evtchn);
        fl = fcntl(xg->watch.fd, F_GETFL);
        if (fl >= 0 && !fcntl(xg->watch.fd, F_SETFL, fl | O_NONBLOCK))
            return 0;
    }
    err = errno ? -errno : -EIO;
    snprintf(why, n,
             "cannot open /dev/xen/%s: %s (is the module xen-%s loaded?)",
             device, strerror(-err), device);
    return err;
}

int
gate_xen_open(struct gate **out, struct loop *loop, char *why, size_t n)
{
    struct xen_gate *xg = calloc(1, sizeof *xg);
    int err;

    if (!xg) {
        snprintf(why, n, "no memory");
        return -ENOMEM;
    }
    xg->gate.ops = &ops;
    xg->gate.loop = loop;
    err = open_devices(xg, why, n);
    if (err) {
        gate_free(&xg->gate);
        return err;
    }
    xg->watch.events = POLLIN;
    xg->watch.ready = readable;
    xg->watch.data = xg;
    loop->ops->watch_start(loop, &xg->watch);
    *out = &xg->gate;
    return 0;
}
