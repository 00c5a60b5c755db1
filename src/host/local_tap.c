/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * local_tap.c: the tap on a process beside us.
 *
 * The pages are one memfd, mapped once; a grant reference is a page's number.
 * An event channel is an eventfd.  As on Xen, a port that fired is masked
 * until it is unmasked:
 *
 *            readable: empty it, fired()           readable: let it be
 *   OPEN ──────────────────────────────► MASKED ─────────────────────► MUTE
 *    ▲                                     │                             │
 *    └──────────── unmask ─────────────────┴── unmask: watch it again ───┘
 *
 * In MUTE the eventfd keeps the event and is not watched, so nothing is lost
 * and nothing spins; as long as a port is unmasked in time, no system call is
 * spent on it.
 *
 * The peer may do what it likes to the pages (rule 4 holds), but it could make
 * an eventfd block us: it is a process that was let at the control socket, and
 * trusted that far.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/host.h"

enum { PAGE = 4096 };
/* The statuses of Xen's grant_table.h. */
enum { BAD_REF = -3, BAD_COPY = -10 };
enum port_state { PORT_CLOSED, PORT_OPEN, PORT_MASKED, PORT_MUTE };

struct local_tap;

struct port {
    struct blk_watch watch;
    struct local_tap *tap;
    uint32_t number;
    enum port_state state;
};

struct local_tap {
    struct tap tap;
    struct local_share share;
    char *base;
    struct port port[LOCAL_QUEUES_MAX];
};

static struct local_tap *
local(struct tap *tap)
{
    return (struct local_tap *)tap;
}

/* ---- pages --------------------------------------------------------------- */

static bool
in_a_row(const uint32_t *refs, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        if (refs[i] != refs[0] + i)
            return false;
    }
    return true;
}

/* Pages that are scattered over the memfd get a range of their own. */
static int
map_each(struct local_tap *lt, const uint32_t *refs, unsigned n, void **addr)
{
    char *at = mmap(NULL, (size_t)n * PAGE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int err;

    if (at == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < n; i++) {
        if (mmap(at + (size_t)i * PAGE, PAGE, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, lt->share.memfd,
                 (off_t)refs[i] * PAGE) != MAP_FAILED)
            continue;
        err = -errno;
        munmap(at, (size_t)n * PAGE);
        return err;
    }
    *addr = at;
    return 0;
}

static int
map(struct tap *tap, uint32_t domid, const uint32_t *refs, unsigned n,
    void **addr)
{
    struct local_tap *lt = local(tap);

    (void)domid;
    if (!n)
        return -EINVAL;
    for (unsigned i = 0; i < n; i++) {
        if (refs[i] >= lt->share.pages)
            return -EINVAL;
    }
    if (!in_a_row(refs, n))
        return map_each(lt, refs, n, addr);
    *addr = lt->base + (size_t)refs[0] * PAGE;
    return 0;
}

static void
unmap(struct tap *tap, void *addr, unsigned n)
{
    struct local_tap *lt = local(tap);
    char *at = addr;

    if (at >= lt->base && at < lt->base + (size_t)lt->share.pages * PAGE)
        return;
    munmap(addr, (size_t)n * PAGE);
}

static int16_t
copy_one(struct local_tap *lt, const struct tap_copy *c)
{
    char *page;

    if (c->ref >= lt->share.pages)
        return BAD_REF;
    if ((uint32_t)c->offset + c->len > PAGE)
        return BAD_COPY;
    page = lt->base + (size_t)c->ref * PAGE + c->offset;
    if (c->to_guest)
        memcpy(page, c->local, c->len);
    else
        memcpy(c->local, page, c->len);
    return 0;
}

static int
copy(struct tap *tap, struct tap_copy *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c[i].status = copy_one(local(tap), &c[i]);
    return 0;
}

/* ---- events -------------------------------------------------------------- */

/* Never blocks, whatever the peer did to the flags of the descriptor. */
static bool
empty(int fd)
{
    uint64_t count;
    struct iovec v = { &count, sizeof count };

    return preadv2(fd, &v, 1, -1, RWF_NOWAIT) == sizeof count;
}

static void
signal_fd(int fd)
{
    uint64_t one = 1;

    /* EAGAIN: it is full of events already. */
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void
readable(struct blk_watch *w, short events)
{
    struct port *p = w->data;
    struct local_tap *lt = p->tap;
    uint32_t number = p->number;

    (void)events;
    if (p->state == PORT_MASKED) {
        p->state = PORT_MUTE;
        lt->tap.loop->ops->watch_stop(lt->tap.loop, w);
    } else if (p->state == PORT_OPEN && empty(w->fd)) {
        p->state = PORT_MASKED;
        lt->tap.fired(lt->tap.ctx, &number, 1);
    }
}

static int
bind_port(struct tap *tap, uint32_t domid, uint32_t remote_port)
{
    struct local_tap *lt = local(tap);
    struct port *p;

    (void)domid;
    if (remote_port >= lt->share.queues)
        return -EINVAL;
    p = &lt->port[remote_port];
    if (p->state != PORT_CLOSED)
        return -EBUSY;
    p->tap = lt;
    p->number = remote_port;
    p->state = PORT_OPEN;
    p->watch.fd = lt->share.to_back[remote_port];
    p->watch.events = POLLIN;
    p->watch.ready = readable;
    p->watch.data = p;
    signal_fd(p->watch.fd);
    tap->loop->ops->watch_start(tap->loop, &p->watch);
    return (int)remote_port;
}

static struct port *
bound(struct tap *tap, int64_t number)
{
    struct local_tap *lt = local(tap);

    if (number < 0 || number >= lt->share.queues ||
        lt->port[number].state == PORT_CLOSED)
        return NULL;
    return &lt->port[number];
}

static void
unbind(struct tap *tap, int number)
{
    struct port *p = bound(tap, number);

    if (!p)
        return;
    tap->loop->ops->watch_stop(tap->loop, &p->watch);
    p->state = PORT_CLOSED;
}

static void
notify(struct tap *tap, int number)
{
    if (bound(tap, number))
        signal_fd(local(tap)->share.to_front[number]);
}

static void
unmask(struct tap *tap, const uint32_t *ports, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct port *p = bound(tap, ports[i]);

        if (!p)
            continue;
        if (p->state == PORT_MUTE)
            tap->loop->ops->watch_start(tap->loop, &p->watch);
        p->state = PORT_OPEN;
    }
}

/* ---- life ---------------------------------------------------------------- */

static void
tap_free(struct tap *tap)
{
    struct local_tap *lt = local(tap);

    for (unsigned i = 0; i < lt->share.queues; i++)
        unbind(tap, (int)i);
    if (lt->base)
        munmap(lt->base, (size_t)lt->share.pages * PAGE);
    local_share_close(&lt->share);
    free(lt);
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

int
tap_local_open(struct tap **out, struct loop *loop,
               const struct local_share *share)
{
    struct local_tap *lt = calloc(1, sizeof *lt);
    void *base;
    int err;

    if (!lt)
        return -ENOMEM;
    lt->tap.ops = &ops;
    lt->tap.loop = loop;
    err = local_share_dup(&lt->share, share);
    if (err)
        goto fail;
    base = mmap(NULL, (size_t)share->pages * PAGE, PROT_READ | PROT_WRITE,
                MAP_SHARED, lt->share.memfd, 0);
    if (base == MAP_FAILED) {
        err = -errno;
        goto fail;
    }
    lt->base = base;
    *out = &lt->tap;
    return 0;
fail:
    tap_free(&lt->tap);
    return err;
}
