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

enum { RING_PAGES = QUEUES << ORDER, PATIENCE_MS = 30000 };

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
    uint8_t *rings;
    uint32_t ring_ref[RING_PAGES];
    unsigned port[QUEUES];
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

static void
ports_close(struct xen *x)
{
    for (unsigned q = 0; q < QUEUES; q++) {
        struct port_name p = { x->port[q] };

        if (x->port[q])
            ioctl(x->ports, PORT_UNBIND, &p);
        x->port[q] = 0;
    }
}

static int
ports_open(struct xen *x, unsigned n)
{
    struct port_ask a = { x->domid };

    ports_close(x);
    for (unsigned q = 0; q < n; q++) {
        int port = ioctl(x->ports, PORT_UNBOUND, &a);

        if (port < 0)
            return -errno;
        x->port[q] = (unsigned)port;
    }
    return 0;
}

static void
xen_notify(struct dev *d, unsigned q)
{
    struct xen *x = d->private;
    struct port_name p = { x->port[q] };

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
back_number(struct xen *x, const char *leaf, uint64_t otherwise)
{
    char path[300], value[64];

    snprintf(path, sizeof(path), "%s/%s", x->back, leaf);
    return xenstore_read(x->store, path, value, sizeof(value)) > 0
               ? strtoull(value, NULL, 10)
               : otherwise;
}

static int
xen_state(struct dev *d)
{
    return (int)back_number(d->private, "state", 0);
}

static void
say_state(struct dev *d, int state)
{
    char text[8];

    snprintf(text, sizeof(text), "%d", state);
    xen_write(d, "state", text, strlen(text));
}

static bool
state_comes(struct dev *d, int wanted)
{
    uint64_t end = ms_now(d) + PATIENCE_MS;

    while (xen_state(d) != wanted) {
        if (ms_now(d) >= end)
            return false;
        usleep(3000);
    }
    return true;
}

static bool
xen_reset(struct dev *d)
{
    say_state(d, 6);
    if (!state_comes(d, 6))
        return false;
    say_state(d, 1);
    return state_comes(d, 2);
}

static void
node(struct dev *d, unsigned queues, unsigned q, const char *leaf,
     unsigned value)
{
    char path[64], text[16];

    if (queues > 1)
        snprintf(path, sizeof(path), "queue-%u/%s", q, leaf);
    else
        snprintf(path, sizeof(path), "%s", leaf);
    snprintf(text, sizeof(text), "%u", value);
    xen_write(d, path, text, strlen(text));
}

static int
xen_nodes(struct dev *d, const struct shape *s)
{
    static const char *const abis[] = { "x86_64-abi", "x86_32-abi" };
    struct xen *x = d->private;
    int rc = ports_open(x, s->queues);
    char leaf[32];

    if (rc)
        return rc;
    xen_rm(d, "ring-page-order");
    xen_rm(d, "multi-queue-num-queues");
    if (s->queues > 1)
        node(d, 1, 0, "multi-queue-num-queues", s->queues);
    if (s->order)
        node(d, 1, 0, "ring-page-order", s->order);
    for (unsigned q = 0; q < s->queues; q++) {
        for (unsigned i = 0; i < 1u << s->order; i++) {
            snprintf(leaf, sizeof(leaf), s->order ? "ring-ref%u" : "ring-ref",
                     i);
            node(d, s->queues, q, leaf, x->ring_ref[(q << s->order) + i]);
        }
        node(d, s->queues, q, "event-channel", x->port[q]);
    }
    return xen_write(d, "protocol", abis[s->abi], strlen(abis[s->abi]));
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
    rc = grant_mapped(&x, RING_PAGES, x.ring_ref, &x.rings);
    if (!rc)
        rc = grant_mapped(&x, PAGES, d->ref, &data);
    for (unsigned i = 0; !rc && i < PAGES; i++)
        d->page[i] = data + (size_t)i * PAGE;
    return rc;
}

static unsigned
least(uint64_t a, uint64_t b)
{
    return (unsigned)(a < b ? a : b);
}

static int
xen_connect(struct dev *d, const struct shape *s)
{
    struct xen *x = d->private;
    int rc;

    if (!xen_reset(d))
        return -ETIMEDOUT;
    d->got = *s;
    d->got.queues =
        least(s->queues, back_number(x, "multi-queue-max-queues", 1));
    d->got.order = least(s->order, back_number(x, "max-ring-page-order", 0));
    d->indirect = (unsigned)back_number(x, "feature-max-indirect-segments", 0);
    for (unsigned q = 0; q < d->got.queues; q++)
        d->ring[q] = x->rings + (size_t)PAGE * (q << d->got.order);
    front_reset(d);
    rc = xen_nodes(d, &d->got);
    if (rc)
        return rc;
    say_state(d, 3);
    if (!state_comes(d, 4))
        return -ECONNREFUSED;
    say_state(d, 4);
    d->sectors = back_number(x, "sectors", 0);
    d->readonly = back_number(x, "info", 0) & 4;
    return 0;
}

static int
xen_open(struct dev *d, const struct shape *s)
{
    int rc = d->private ? 0 : xen_start(d);

    if (!rc)
        rc = xen_connect(d, s);
    if (rc)
        fprintf(stderr, "hostile: vbd %s: %s (back-end's state %d)\n", d->name,
                strerror(-rc), d->private ? xen_state(d) : 0);
    return rc;
}

static void
xen_close(struct dev *d)
{
    say_state(d, 6);
    if (!state_comes(d, 6))
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
    .state = xen_state,
    .nodes = xen_nodes,
    .reset = xen_reset,
};
