/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen.c: the back-end is another domain.  Real grants, event channels and
 * XenStore, through the kernel's devices; no block driver of the kernel may
 * hold the vbd.  Sources: linux/xen gntalloc.h, evtchn.h; xen/io/blkif.h.
 */
#include "hostile.h"
#include "xenstore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert((int)RING_PAGES >= (int)PAGES, "room for either");
struct grant_ask {
    uint16_t domid, flags;
    uint32_t count;
    uint64_t index;
    uint32_t refs[RING_PAGES];
};
struct grant_give {
    uint64_t index;
    uint32_t count;
};
struct port_ask {
    unsigned domid;
};
struct port_name {
    unsigned port;
};
#define GRANT_ALLOC   _IOC(_IOC_NONE, 'G', 5, 24)
#define GRANT_DEALLOC _IOC(_IOC_NONE, 'G', 6, 16)
#define PORT_UNBOUND  _IOC(_IOC_NONE, 'E', 2, sizeof(struct port_ask))
#define PORT_UNBIND   _IOC(_IOC_NONE, 'E', 3, sizeof(struct port_name))
#define PORT_NOTIFY   _IOC(_IOC_NONE, 'E', 4, sizeof(struct port_name))

struct xen {
    int store, grants, ports;
    char front[64], back[256];
    unsigned domid;
    uint32_t strange[3];
};

/* ---- grants and ports ------------------------------------------------------
 */

static int
grant(struct xen *x, unsigned domid, uint16_t flags, uint32_t n,
      struct grant_ask *a)
{
    *a = (struct grant_ask){ .domid = (uint16_t)domid,
                             .flags = flags,
                             .count = n };
    return ioctl(x->grants, GRANT_ALLOC, a) ? -errno : 0;
}

static int
grant_mapped(struct xen *x, uint32_t n, uint32_t *refs, uint8_t **at)
{
    struct grant_ask a;
    int rc = grant(x, x->domid, 1, n, &a);

    if (rc)
        return rc;
    *at = mmap(NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
               x->grants, (off_t)a.index);
    if (*at == MAP_FAILED)
        return -errno;
    memcpy(refs, a.refs, n * sizeof(*refs));
    return 0;
}

static uint32_t
xen_strange(struct dev *d, enum strange what)
{
    struct xen *x = d->private;
    struct grant_ask a;
    struct grant_give g;

    if (x->strange[what])
        return x->strange[what];
    if (grant(x, what == REF_FOREIGN ? x->domid + 77 : x->domid,
              what == REF_READONLY ? 0 : 1, 1, &a))
        return 0;
    g = (struct grant_give){ .index = a.index, .count = 1 };
    if (what == REF_REVOKED && ioctl(x->grants, GRANT_DEALLOC, &g))
        return 0;
    x->strange[what] = a.refs[0];
    return a.refs[0];
}

static int
xen_ports(struct dev *d, unsigned n)
{
    struct xen *x = d->private;
    struct port_ask a = { x->domid };

    for (unsigned q = 0; q < QUEUES; q++) {
        struct port_name p = { d->port[q] };

        if (d->port[q])
            ioctl(x->ports, PORT_UNBIND, &p);
        d->port[q] = 0;
    }
    for (unsigned q = 0; q < n; q++) {
        int port = ioctl(x->ports, PORT_UNBOUND, &a);

        if (port < 0)
            return -errno;
        d->port[q] = (unsigned)port;
    }
    return 0;
}

static void
xen_notify(struct dev *d, unsigned q)
{
    struct xen *x = d->private;
    struct port_name p = { d->port[q] };

    ioctl(x->ports, PORT_NOTIFY, &p);
}

static void
xen_wait(struct dev *d, unsigned ms)
{
    struct xen *x = d->private;
    struct pollfd p = { .fd = x->ports, .events = POLLIN };
    uint32_t fired[64];
    ssize_t n;

    if (poll(&p, 1, (int)ms) <= 0)
        return;
    n = read(x->ports, fired, sizeof(fired));
    if (n > 0 && write(x->ports, fired, (size_t)n) != n)
        perror("hostile: unmask");
}

/* ---- XenStore
 * ---------------------------------------------------------------- */

static int
xen_write(struct dev *d, const char *leaf, const char *value, size_t len)
{
    struct xen *x = d->private;
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", x->front, leaf);
    return xenstore_write(x->store, path, value, len);
}

static int
xen_rm(struct dev *d, const char *leaf)
{
    struct xen *x = d->private;
    char path[128];

    snprintf(path, sizeof(path), "%s%s%s", x->front, *leaf ? "/" : "", leaf);
    return xenstore_rm(x->store, path);
}

static uint64_t
xen_back(struct dev *d, const char *leaf, uint64_t otherwise)
{
    struct xen *x = d->private;
    char path[300], value[64];

    snprintf(path, sizeof(path), "%s/%s", x->back, leaf);
    return xenstore_read(x->store, path, value, sizeof(value)) > 0
               ? strtoull(value, NULL, 10)
               : otherwise;
}

/* ---- a connection
 * -------------------------------------------------------------- */

static int
xen_start(struct dev *d)
{
    static struct xen x;
    char path[128], value[64];
    uint8_t *data;
    int rc = 0;

    d->private = &x;
    snprintf(x.front, sizeof(x.front), "device/vbd/%s", d->name);
    x.store = xenstore_open();
    x.grants = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
    x.ports = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (x.store < 0 || x.grants < 0 || x.ports < 0)
        return -ENODEV;
    snprintf(path, sizeof(path), "%s/backend", x.front);
    rc = xenstore_read(x.store, path, x.back, sizeof(x.back));
    if (rc < 0)
        return rc;
    snprintf(path, sizeof(path), "%s/backend-id", x.front);
    rc = xenstore_read(x.store, path, value, sizeof(value));
    if (rc < 0)
        return rc;
    x.domid = (unsigned)strtoul(value, NULL, 10);
    rc = grant_mapped(&x, RING_PAGES, d->ring_ref, &d->rings);
    if (!rc)
        rc = grant_mapped(&x, PAGES, d->ref, &data);
    for (unsigned i = 0; !rc && i < PAGES; i++)
        d->page[i] = data + (size_t)i * PAGE;
    return rc;
}

static int
xen_open(struct dev *d, const struct shape *s)
{
    int rc = d->private ? 0 : xen_start(d);

    if (!rc)
        rc = bus_connect(d, s);
    if (rc)
        fprintf(stderr, "hostile: vbd %s: %s (back-end's state %d)\n", d->name,
                strerror(-rc), d->private ? bus_state(d) : 0);
    return rc;
}

static void
xen_close(struct dev *d)
{
    if (!bus_close(d))
        fprintf(stderr, "hostile: vbd %s: the back-end does not close\n",
                d->name);
}

const struct transport transport_xen = {
    .name = "xen",
    .store = true,
    .threads = true,
    .open = xen_open,
    .close = xen_close,
    .notify = xen_notify,
    .wait = xen_wait,
    .strange = xen_strange,
    .write = xen_write,
    .rm = xen_rm,
    .back = xen_back,
    .ports = xen_ports,
};
