/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_tap.c: the tap on a Xen domain: /dev/xen/gntdev by libxengnttab, and the
 * event channels of xen_ports.h.
 *
 * Origin of facts: xengnttab.h, xenevtchn.h.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "host/xen_ports.h"

enum { COPY_MAX = 4096 /* segments in one call into the kernel */ };

/* The flags of GNTTABOP_copy, as libxengnttab passes them on. */
enum { COPY_SOURCE_REF = 1, COPY_DEST_REF = 2 };

struct xen_tap {
    struct tap tap;
    xengnttab_handle *gnt;
    struct xen_ports *ports;
    xengnttab_grant_copy_segment_t seg[COPY_MAX];
};

static struct xen_tap *
xen(struct tap *tap)
{
    return (struct xen_tap *)tap;
}

/* ---- grants -------------------------------------------------------------- */

static int
map(struct tap *tap, uint32_t domid, const uint32_t *refs, unsigned n,
    void **addr)
{
    uint32_t *copy = malloc(n * sizeof *copy); /* the library wants it so */
    int err = 0;

    if (!copy)
        return -ENOMEM;
    memcpy(copy, refs, n * sizeof *copy);
    *addr = xengnttab_map_domain_grant_refs(xen(tap)->gnt, n, domid, copy,
                                            PROT_READ | PROT_WRITE);
    if (!*addr)
        err = errno ? -errno : -EIO;
    free(copy);
    return err;
}

static void
unmap(struct tap *tap, void *addr, unsigned n)
{
    if (xengnttab_unmap(xen(tap)->gnt, addr, n))
        log_line(BLK_ERR, NULL, "cannot unmap %u granted pages: %s", n,
                 strerror(errno));
}

static void
to_segment(xengnttab_grant_copy_segment_t *s, const struct tap_copy *c)
{
    union xengnttab_copy_ptr *grant = c->to_guest ? &s->dest : &s->source;
    union xengnttab_copy_ptr *here = c->to_guest ? &s->source : &s->dest;

    here->virt = c->local;
    grant->foreign.ref = c->ref;
    grant->foreign.offset = c->offset;
    grant->foreign.domid = c->domid;
    s->len = c->len;
    s->flags = c->to_guest ? COPY_DEST_REF : COPY_SOURCE_REF;
    s->status = -1;
}

static int
copy(struct tap *tap, struct tap_copy *c, unsigned n)
{
    struct xen_tap *xt = xen(tap);

    for (unsigned at = 0; at < n; at += COPY_MAX) {
        unsigned part = n - at < COPY_MAX ? n - at : COPY_MAX;

        for (unsigned i = 0; i < part; i++)
            to_segment(&xt->seg[i], &c[at + i]);
        if (xengnttab_grant_copy(xt->gnt, part, xt->seg))
            return errno ? -errno : -EIO;
        for (unsigned i = 0; i < part; i++)
            c[at + i].status = xt->seg[i].status;
    }
    return 0;
}

/* ---- events -------------------------------------------------------------- */

static int
bind_port(struct tap *tap, uint32_t domid, uint32_t remote_port)
{
    int port =
        xenevtchn_bind_interdomain(xen(tap)->ports->evtchn, domid, remote_port);

    return port < 0 ? (errno ? -errno : -EIO) : port;
}

/* The peer's domain may be gone, and the port with it. */
static void
unbind(struct tap *tap, int port)
{
    (void)xenevtchn_unbind(xen(tap)->ports->evtchn, (evtchn_port_t)port);
}

static void
notify(struct tap *tap, int port)
{
    (void)xenevtchn_notify(xen(tap)->ports->evtchn, (evtchn_port_t)port);
}

static void
unmask(struct tap *tap, const uint32_t *ports, unsigned n)
{
    xen_ports_unmask(xen(tap)->ports, ports, n);
}

struct xen_ports *
xen_ports_of(struct tap *tap)
{
    return xen(tap)->ports;
}

/* ---- life ---------------------------------------------------------------- */

static void
tap_free(struct tap *tap)
{
    struct xen_tap *xt = xen(tap);

    xen_ports_close(xt->ports);
    if (xt->gnt)
        xengnttab_close(xt->gnt);
    free(xt);
}

static const struct tap_ops ops = {
    .map = map,
    .unmap = unmap,
    .copy = copy,
    .bind = bind_port,
    .unbind = unbind,
    .notify = notify,
    .unmask = unmask,
    .free = tap_free,
};

/* A copy of nothing tells whether the kernel (4.5 and later) has grant copy. */
static int
open_grants(struct xen_tap *xt, char *why, size_t n)
{
    int err;

    xt->gnt = xengnttab_open(NULL, 0);
    if (!xt->gnt) {
        err = errno ? -errno : -EIO;
        snprintf(why, n,
                 "cannot open /dev/xen/gntdev: %s (is this a Xen domain with "
                 "the module xen-gntdev?)",
                 strerror(-err));
        return err;
    }
    if (xengnttab_grant_copy(xt->gnt, 0, NULL)) {
        err = errno ? -errno : -EIO;
        snprintf(why, n, "/dev/xen/gntdev has no grant copy: %s",
                 strerror(-err));
        return err;
    }
    return 0;
}

int
tap_xen_open(struct tap **out, struct loop *loop, char *why, size_t n)
{
    struct xen_tap *xt = calloc(1, sizeof *xt);
    int err;

    if (!xt) {
        snprintf(why, n, "no memory for the tap");
        return -ENOMEM;
    }
    xt->tap.ops = &ops;
    xt->tap.loop = loop;
    err = open_grants(xt, why, n);
    if (!err)
        err = xen_ports_open(&xt->ports, &xt->tap, why, n);
    if (err) {
        tap_free(&xt->tap);
        return err;
    }
    *out = &xt->tap;
    return 0;
}
