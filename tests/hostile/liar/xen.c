/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen.c: the front-end is a program of this domain or of another.  Real grants,
 * event channels and XenStore, through the kernel's devices.  Sources:
 * linux/xen gntdev.h, evtchn.h; xen/grant_table.h.
 */
#include "liar.h"
#include "../xenstore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct map_ask {
    uint32_t count, pad;
    uint64_t index;
    struct {
        uint32_t domid, ref;
    } page[LIAR_PAGES];
};
struct map_give {
    uint64_t index;
    uint32_t count, pad;
};
union copy_end {
    void *here;
    struct {
        uint32_t ref;
        uint16_t at, domid;
    } there;
};
struct copy_segment {
    union copy_end from, to;
    uint16_t len, flags;
    int16_t status;
};
struct copy_ask {
    unsigned count;
    struct copy_segment *segments;
};
struct port_ask {
    unsigned domid, port;
};
struct port_name {
    unsigned port;
};
enum { FROM_GRANT = 1, TO_GRANT = 2 };
/* The ioctl's number has the size with one page. */
#define GRANT_MAP   _IOC(_IOC_NONE, 'G', 0, 24)
#define GRANT_UNMAP _IOC(_IOC_NONE, 'G', 1, sizeof(struct map_give))
#define GRANT_COPY  _IOC(_IOC_NONE, 'G', 8, sizeof(struct copy_ask))
#define PORT_BIND   _IOC(_IOC_NONE, 'E', 1, sizeof(struct port_ask))
#define PORT_UNBIND _IOC(_IOC_NONE, 'E', 3, sizeof(struct port_name))
#define PORT_NOTIFY _IOC(_IOC_NONE, 'E', 4, sizeof(struct port_name))

struct xen {
    int store, grants, ports;
    unsigned domid;
    struct end {
        unsigned port;
        void *ring;
        unsigned pages;
        uint64_t index;
    } end[LIAR_RINGS];
};

/* ---- XenStore ------------------------------------------------------------ */

static int
x_read(struct liar *l, const char *path, char *value, size_t size)
{
    struct xen *x = l->private;
    int n = xenstore_read(x->store, path, value, size);

    return n < 0 ? n : 0;
}

static int
x_write(struct liar *l, const char *path, const char *value)
{
    struct xen *x = l->private;

    return xenstore_write(x->store, path, value, strlen(value));
}

static int
x_rm(struct liar *l, const char *path)
{
    struct xen *x = l->private;

    return xenstore_rm(x->store, path);
}

/* ---- rings and ports ----------------------------------------------------- */

static int
port_bind(struct xen *x, struct end *e, uint32_t port)
{
    struct port_ask a = { x->domid, port };
    int got = ioctl(x->ports, PORT_BIND, &a);

    if (got < 0)
        return -errno;
    e->port = (unsigned)got;
    return 0;
}

static void
port_unbind(struct xen *x, struct end *e)
{
    struct port_name p = { e->port };

    ioctl(x->ports, PORT_UNBIND, &p);
}

static void
unmap(struct xen *x, struct end *e)
{
    struct map_give g = { .index = e->index, .count = e->pages };

    munmap(e->ring, (size_t)e->pages * LIAR_PAGE);
    ioctl(x->grants, GRANT_UNMAP, &g);
}

static int
map(struct xen *x, struct end *e, const uint32_t *refs, unsigned pages)
{
    struct map_ask a = { .count = pages };
    struct map_give g;

    for (unsigned i = 0; i < pages; i++) {
        a.page[i].domid = x->domid;
        a.page[i].ref = refs[i];
    }
    if (ioctl(x->grants, GRANT_MAP, &a))
        return -errno;
    e->index = a.index;
    e->pages = pages;
    e->ring = mmap(NULL, (size_t)pages * LIAR_PAGE, PROT_READ | PROT_WRITE,
                   MAP_SHARED, x->grants, (off_t)a.index);
    if (e->ring != MAP_FAILED)
        return 0;
    g = (struct map_give){ .index = a.index, .count = pages };
    ioctl(x->grants, GRANT_UNMAP, &g);
    return -EIO;
}

static uint8_t *
x_connect(struct liar *l, unsigned ring, const uint32_t *refs, unsigned pages,
          uint32_t port)
{
    struct xen *x = l->private;
    struct end *e = &x->end[ring];
    int rc = map(x, e, refs, pages);

    if (!rc) {
        rc = port_bind(x, e, port);
        if (rc)
            unmap(x, e);
    }
    if (rc)
        fprintf(stderr, "liar: ring %u, port %u: %s\n", refs[0], port,
                strerror(-rc));
    return rc ? NULL : e->ring;
}

static void
x_disconnect(struct liar *l, unsigned ring)
{
    struct xen *x = l->private;

    port_unbind(x, &x->end[ring]);
    unmap(x, &x->end[ring]);
}

static void
x_notify(struct liar *l, unsigned ring)
{
    struct xen *x = l->private;
    struct port_name p = { x->end[ring].port };

    ioctl(x->ports, PORT_NOTIFY, &p);
}

/* ---- data ---------------------------------------------------------------- */

static int
copy(struct xen *x, struct copy_segment *s)
{
    struct copy_ask a = { 1, s };

    if (ioctl(x->grants, GRANT_COPY, &a))
        return -errno;
    return s->status ? -EIO : 0;
}

static int
x_put(struct liar *l, uint32_t ref, unsigned at, const void *from, unsigned n)
{
    struct xen *x = l->private;
    struct copy_segment s = { .len = (uint16_t)n, .flags = TO_GRANT };

    s.from.here = (void *)(uintptr_t)from;
    s.to.there.ref = ref;
    s.to.there.at = (uint16_t)at;
    s.to.there.domid = (uint16_t)x->domid;
    return copy(x, &s);
}

static int
x_get(struct liar *l, uint32_t ref, unsigned at, void *to, unsigned n)
{
    struct xen *x = l->private;
    struct copy_segment s = { .len = (uint16_t)n, .flags = FROM_GRANT };

    s.to.here = to;
    s.from.there.ref = ref;
    s.from.there.at = (uint16_t)at;
    s.from.there.domid = (uint16_t)x->domid;
    return copy(x, &s);
}

const struct liar_transport liar_xen = {
    .read = x_read,
    .write = x_write,
    .rm = x_rm,
    .connect = x_connect,
    .disconnect = x_disconnect,
    .notify = x_notify,
    .put = x_put,
    .get = x_get,
};

/* ---- life ---------------------------------------------------------------- */

int
liar_xen_open(struct liar *l, const char *front)
{
    static struct xen x;
    char path[LIAR_PATH + 16], value[16];
    int rc;

    l->t = &liar_xen;
    l->private = &x;
    x.store = xenstore_open();
    x.grants = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
    x.ports = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (x.store < 0 || x.grants < 0 || x.ports < 0) {
        fprintf(stderr, "liar: expected /dev/xen/xenbus, gntdev and evtchn\n");
        return -ENODEV;
    }
    snprintf(l->front, sizeof(l->front), "%s", front);
    snprintf(path, sizeof(path), "%s/backend", l->front);
    rc = xenstore_read(x.store, path, l->back, sizeof(l->back));
    if (rc < 0) {
        fprintf(stderr, "liar: %s: %s\n", path, strerror(-rc));
        return rc;
    }
    snprintf(path, sizeof(path), "%s/frontend-id", l->back);
    if (xenstore_read(x.store, path, value, sizeof(value)) > 0)
        x.domid = (unsigned)strtoul(value, NULL, 10);
    return 0;
}

void
liar_xen_wait(struct liar *l, int also, unsigned ms)
{
    struct xen *x = l->private;
    struct pollfd p[2] = { { .fd = x->ports, .events = POLLIN },
                           { .fd = also, .events = POLLIN } };
    uint32_t fired[64];
    ssize_t n;

    if (poll(p, 2, (int)ms) <= 0 || !p[0].revents)
        return;
    n = read(x->ports, fired, sizeof(fired));
    if (n > 0 && write(x->ports, fired, (size_t)n) != n)
        perror("liar: unmask");
}
