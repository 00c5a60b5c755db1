/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_ports.c: what fired is read, and told to whom it is about; what may fire
 * again is collected, and told to the kernel when the round ends.
 *
 * Origin of facts: xenevtchn.h; Linux drivers/xen/evtchn.c for what read() and
 * write() of many ports do.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/xen_ports.h"

enum { GATES_MORE = 64 };

/* ---- in ------------------------------------------------------------------ */

static struct gate_port *
gate_of(const struct xen_ports *xp, uint32_t number)
{
    return number < xp->gate_max ? xp->gate[number] : NULL;
}

/* Whoever is told may close ports, and open others: so each is looked up when
 * its turn has come.  One that nobody has any more goes to the tap, too, which
 * knows its own. */
static void
tell(struct xen_ports *xp, unsigned n)
{
    unsigned rest = 0;

    for (unsigned i = 0; i < n; i++) {
        struct gate_port *p = gate_of(xp, xp->fired[i]);

        if (p)
            p->fired(p);
        else
            xp->fired[rest++] = xp->fired[i];
    }
    if (rest)
        xp->tap->fired(xp->tap->ctx, xp->fired, rest);
}

static void
stop_watching(struct xen_ports *xp)
{
    if (xp->watch.data)
        xp->loop->ops->watch_stop(xp->loop, &xp->watch);
    xp->watch.data = NULL;
}

/* One page of ports at a time: if there are more we are called again.  EFBIG:
 * the kernel's list of fired ports ran over; a reset would close every port of
 * every disk, so who uses us has to start anew. */
static void
readable(struct blk_watch *w, short events)
{
    struct xen_ports *xp = w->data;
    ssize_t n = read(w->fd, xp->fired, sizeof xp->fired);

    (void)events;
    if (n > 0) {
        tell(xp, (unsigned)n / sizeof xp->fired[0]);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    n = n < 0 ? -errno : -EPIPE;
    log_line(BLK_ERR, NULL, "the event channels of loop %s: %s", xp->loop->name,
             strerror((int)-n));
    stop_watching(xp);
    if (xp->tap->broken)
        xp->tap->broken(xp->tap->ctx, (int)n);
}

/* ---- out ----------------------------------------------------------------- */

static void
write_unmasks(struct xen_ports *xp)
{
    const uint32_t *ports = xp->unmask;
    unsigned n = xp->unmasks;

    xp->unmasks = 0;
    while (n) {
        ssize_t done = write(xp->watch.fd, ports, n * sizeof *ports);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < (ssize_t)sizeof *ports) {
            log_line(BLK_ERR, NULL, "cannot unmask event channels: %s",
                     done < 0 ? strerror(errno) : "short write");
            return;
        }
        ports += (size_t)done / sizeof *ports;
        n -= (unsigned)((size_t)done / sizeof *ports);
    }
}

static void
flush(struct loop_task *t)
{
    write_unmasks(
        (struct xen_ports *)(void *)((char *)t -
                                     offsetof(struct xen_ports, flush)));
}

void
xen_ports_unmask(struct xen_ports *xp, const uint32_t *ports, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (xp->unmasks == XEN_PORTS_MAX)
            write_unmasks(xp);
        xp->unmask[xp->unmasks++] = ports[i];
    }
    if (n)
        loop_defer(xp->loop, &xp->flush, STAGE_LAST);
}

/* ---- whose is it --------------------------------------------------------- */

int
xen_ports_gate(struct xen_ports *xp, struct gate_port *p)
{
    uint32_t max = p->number + GATES_MORE;
    struct gate_port **gate;

    if (p->number >= xp->gate_max) {
        gate = realloc(xp->gate, max * sizeof gate[0]);
        if (!gate)
            return -ENOMEM;
        memset(gate + xp->gate_max, 0, (max - xp->gate_max) * sizeof gate[0]);
        xp->gate = gate;
        xp->gate_max = max;
    }
    xp->gate[p->number] = p;
    return 0;
}

void
xen_ports_ungate(struct xen_ports *xp, const struct gate_port *p)
{
    if (gate_of(xp, p->number) == p)
        xp->gate[p->number] = NULL;
}

/* ---- life ---------------------------------------------------------------- */

void
xen_ports_close(struct xen_ports *xp)
{
    if (!xp)
        return;
    stop_watching(xp);
    loop_undefer(xp->loop, &xp->flush, STAGE_LAST);
    if (xp->evtchn)
        xenevtchn_close(xp->evtchn);
    free(xp->gate);
    free(xp);
}

static int
open_device(struct xen_ports *xp, char *why, size_t n)
{
    int err, fl;

    errno = 0;
    xp->evtchn = xenevtchn_open(NULL, 0);
    if (!xp->evtchn) {
        err = errno ? -errno : -EIO;
        snprintf(why, n,
                 "cannot open /dev/xen/evtchn: %s (is this a Xen domain with "
                 "the module xen-evtchn?)",
                 strerror(-err));
        return err;
    }
    xp->watch.fd = xenevtchn_fd(xp->evtchn);
    fl = fcntl(xp->watch.fd, F_GETFL);
    if (fl < 0 || fcntl(xp->watch.fd, F_SETFL, fl | O_NONBLOCK)) {
        err = -errno;
        snprintf(why, n, "/dev/xen/evtchn: %s", strerror(errno));
        return err;
    }
    return 0;
}

int
xen_ports_open(struct xen_ports **out, struct tap *tap, char *why, size_t n)
{
    struct xen_ports *xp = calloc(1, sizeof *xp);
    int err;

    if (!xp) {
        snprintf(why, n, "no memory for the event channels");
        return -ENOMEM;
    }
    xp->loop = tap->loop;
    xp->tap = tap;
    xp->flush.run = flush;
    err = open_device(xp, why, n);
    if (err) {
        xen_ports_close(xp);
        return err;
    }
    xp->watch.events = POLLIN;
    xp->watch.ready = readable;
    xp->watch.data = xp;
    xp->loop->ops->watch_start(xp->loop, &xp->watch);
    *out = xp;
    return 0;
}
