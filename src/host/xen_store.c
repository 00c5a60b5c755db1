/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_store.c: XenStore by libxenstore, on the control loop.
 *
 *            every 5 s: a cheap read
 *   UP ───────────────────────────────► UP
 *    │ a call finds the connection dead
 *    ▼
 *   LOST ──► open again; if that fails, once a second ──► UP, renewed()
 *
 * When xenstored dies the library says nothing: its thread ends, and the pipe
 * that announces watches stays silent for ever.  Hence the probe.  All that
 * was watched is gone with the old connection; renewed() says so.
 *
 * There are two ways to xenstored.  Its socket tells when it is gone.  The
 * kernel's device, /dev/xen/xenbus, does not: a call waits in the kernel until
 * there is a xenstored again, and the control loop with it.  So where there is
 * a socket it is the only way: one that was connected by it never falls back
 * to the device, as the library would on its own.  A driver domain has just
 * the device.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenstore.h>
#include <xenstore_lib.h>

#include "host/host.h"

#define SECOND_NS UINT64_C(1000000000)
#define PROBE_NS  (5 * SECOND_NS)
#define RETRY_NS  (1 * SECOND_NS)
/* Before timers and others get their turn: who makes events may be quicker than
 * we are.  The library's pipe is readable until its last event is taken. */
enum { EVENTS_PER_TURN = 64 };

struct xen_store {
    struct store store;
    struct loop *loop;
    struct xs_handle *h; /* NULL or dead when lost */
    bool lost, watching;
    bool refused; /* we said that the socket is not for us */
    struct blk_watch watch;
    struct blk_timer timer; /* the next probe, or the next attempt */
    bool *freed;            /* set when a callback freed us */
};

static struct xen_store *
xen(struct store *s)
{
    return (struct xen_store *)s;
}

static void
again(struct xen_store *xs, uint64_t after_ns)
{
    xs->loop->ops->timer_start(xs->loop, &xs->timer, after_ns);
}

/* ---- the connection ------------------------------------------------------ */

static void
lose(struct xen_store *xs)
{
    if (xs->lost)
        return;
    xs->lost = true;
    log_line(BLK_WARN, NULL, "the connection to xenstored is lost");
    again(xs, 0);
}

/* xenstored's own answers are errors about nodes; what remains comes from the
 * socket, or from a handle whose thread has ended. */
static bool
answered(int err)
{
    switch (err) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case EEXIST:
    case EISDIR:
    case ENOTEMPTY:
    case EINVAL:
    case ENOSPC:
    case ENOMEM:
    case EAGAIN:
    case EBUSY:
    case EROFS:
    case ENOSYS:
    case E2BIG:
    case EISCONN:
        return true;
    default:
        return false;
    }
}

/* The result of a call that failed, from errno. */
static int
failed(struct xen_store *xs)
{
    int err = errno ? errno : EIO;

    if (answered(err))
        return -err;
    lose(xs);
    return -ENOTCONN;
}

static int
result(struct xen_store *xs, bool ok)
{
    return ok ? 0 : failed(xs);
}

static void
watch_fired(struct blk_watch *w, short events)
{
    struct xen_store *xs = w->data;
    bool freed = false, none = false;
    unsigned n;
    char **v;

    (void)events;
    xs->freed = &freed;
    for (n = 0; n < EVENTS_PER_TURN && !freed && !xs->lost; n++) {
        v = xs_check_watch(xs->h);
        none = !v;
        if (none)
            break;
        if (xs->store.changed)
            xs->store.changed(xs->store.ctx, v[XS_WATCH_PATH],
                              v[XS_WATCH_TOKEN]);
        free(v);
    }
    if (freed)
        return;
    xs->freed = NULL;
    if (none && !xs->lost && errno != EAGAIN)
        lose(xs);
}

static void
hang_up(struct xen_store *xs)
{
    if (xs->watching)
        xs->loop->ops->watch_stop(xs->loop, &xs->watch);
    xs->watching = false;
    if (xs->h)
        xs_close(xs->h);
    xs->h = NULL;
}

/* Until xenstored is started anew by what lets our group in. */
static void
say_refused(struct xen_store *xs, const char *then)
{
    if (!xs->refused)
        log_line(BLK_WARN, NULL,
                 "xenstored's socket is closed to this user (see SECURITY in "
                 "blktapd(8)): %s",
                 then);
    xs->refused = true;
}

/* Whether somebody listens at xenstored's socket: 0 or -errno. */
static int
knock(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd, err;

    if ((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s", path) >=
        sizeof a.sun_path)
        return -ENAMETOOLONG;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    err = connect(fd, (struct sockaddr *)&a, sizeof a) ? -errno : 0;
    close(fd);
    return err;
}

static int
connect_store(struct xen_store *xs)
{
    errno = 0;
    xs->h = xs_open(XS_UNWATCH_FILTER);
    return xs->h ? 0 : -(errno ? errno : EIO);
}

/* The way in is chosen when we start, and kept.  A socket that nobody listens
 * at is no reason to take the other one: xenstored is not there.  No flag
 * keeps the library from the device (4.17 ignores XS_OPEN_SOCKETONLY), but
 * this variable takes the place of both paths. */
static int
choose_way(struct xen_store *xs)
{
    const char *path = xs_daemon_socket();
    int err = path ? knock(path) : -ENOENT;

    if (err == -EACCES)
        say_refused(xs, "if xenstored dies, disks can't be looked after until "
                        "it is back and blktapd was restarted");
    if (err != -EACCES && err != -ENOENT && setenv("XENSTORED_PATH", path, 0))
        return -ENOMEM;
    return connect_store(xs);
}

static void
await_events(struct xen_store *xs)
{
    xs->watch.fd = xs_fileno(xs->h);
    xs->watch.events = POLLIN;
    xs->watch.ready = watch_fired;
    xs->watch.data = xs;
    xs->loop->ops->watch_start(xs->loop, &xs->watch);
    xs->watching = true;
}

static bool
alive(struct xen_store *xs)
{
    char *v;

    errno = 0;
    v = xs_read(xs->h, XBT_NULL, "/", NULL);
    free(v);
    return v || answered(errno);
}

/* A new connection counts only once it answered: a socket may accept us and
 * have nobody behind it. */
static void
tick(struct blk_timer *t)
{
    struct xen_store *xs = t->data;
    int err;

    if (!xs->lost) {
        if (alive(xs))
            again(xs, PROBE_NS);
        else
            lose(xs);
        return;
    }
    hang_up(xs);
    err = connect_store(xs);
    if (err == -EACCES)
        say_refused(xs, "asking again every second");
    if (err || !alive(xs)) {
        again(xs, RETRY_NS);
        return;
    }
    await_events(xs);
    xs->lost = xs->refused = false;
    log_line(BLK_INFO, NULL, "connected to xenstored again");
    again(xs, PROBE_NS);
    if (xs->store.renewed)
        xs->store.renewed(xs->store.ctx);
}

/* ---- calls --------------------------------------------------------------- */

static char *
store_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    struct xen_store *xs = xen(s);
    unsigned n = 0;
    char *v;

    errno = ENOTCONN;
    if (xs->lost)
        return NULL;
    v = xs_read(xs->h, tx, path, &n);
    if (!v)
        errno = -failed(xs);
    else if (len)
        *len = n;
    return v;
}

static int
store_write(struct store *s, store_tx tx, const char *path, const char *value)
{
    struct xen_store *xs = xen(s);

    if (xs->lost)
        return -ENOTCONN;
    return result(xs,
                  xs_write(xs->h, tx, path, value, (unsigned)strlen(value)));
}

static int
store_mkdir(struct store *s, store_tx tx, const char *path)
{
    struct xen_store *xs = xen(s);

    return xs->lost ? -ENOTCONN : result(xs, xs_mkdir(xs->h, tx, path));
}

static int
store_rm(struct store *s, store_tx tx, const char *path)
{
    struct xen_store *xs = xen(s);

    return xs->lost ? -ENOTCONN : result(xs, xs_rm(xs->h, tx, path));
}

static char **
store_list(struct store *s, store_tx tx, const char *path, unsigned *n)
{
    struct xen_store *xs = xen(s);
    char **v;

    errno = ENOTCONN;
    if (xs->lost)
        return NULL;
    v = xs_directory(xs->h, tx, path, n);
    if (!v)
        errno = -failed(xs);
    return v;
}

static int
store_perms(struct store *s, store_tx tx, const char *path, uint32_t owner,
            uint32_t reader)
{
    struct xen_store *xs = xen(s);
    struct xs_permissions p[2] = { { .id = owner, .perms = XS_PERM_NONE },
                                   { .id = reader, .perms = XS_PERM_READ } };

    if (xs->lost)
        return -ENOTCONN;
    return result(
        xs, xs_set_permissions(xs->h, tx, path, p, owner == reader ? 1 : 2));
}

static int
store_begin(struct store *s, store_tx *tx)
{
    struct xen_store *xs = xen(s);

    *tx = XBT_NULL;
    if (xs->lost)
        return -ENOTCONN;
    *tx = xs_transaction_start(xs->h);
    return result(xs, *tx != XBT_NULL);
}

static int
store_end(struct store *s, store_tx tx, bool commit)
{
    struct xen_store *xs = xen(s);

    if (xs->lost)
        return -ENOTCONN;
    return result(xs, xs_transaction_end(xs->h, tx, !commit));
}

static int
store_watch(struct store *s, const char *path, const char *token)
{
    struct xen_store *xs = xen(s);

    return xs->lost ? -ENOTCONN : result(xs, xs_watch(xs->h, path, token));
}

static int
store_unwatch(struct store *s, const char *path, const char *token)
{
    struct xen_store *xs = xen(s);

    return xs->lost ? -ENOTCONN : result(xs, xs_unwatch(xs->h, path, token));
}

static void
store_free(struct store *s)
{
    struct xen_store *xs = xen(s);

    if (xs->freed)
        *xs->freed = true;
    xs->loop->ops->timer_stop(xs->loop, &xs->timer);
    hang_up(xs);
    free(xs);
}

static const struct store_ops ops = {
    .read = store_read,
    .write = store_write,
    .mkdir = store_mkdir,
    .rm = store_rm,
    .list = store_list,
    .perms = store_perms,
    .begin = store_begin,
    .end = store_end,
    .watch = store_watch,
    .unwatch = store_unwatch,
    .free = store_free,
};

int
store_xen_open(struct store **out, struct loop *loop, char *why, size_t n)
{
    struct xen_store *xs = calloc(1, sizeof *xs);
    int err;

    if (!xs) {
        snprintf(why, n, "no memory for XenStore");
        return -ENOMEM;
    }
    /* The library changes what SIGPIPE does around each write; it finds it
     * ignored, and leaves it so. */
    signal(SIGPIPE, SIG_IGN);
    xs->store.ops = &ops;
    xs->loop = loop;
    xs->timer.fire = tick;
    xs->timer.data = xs;
    err = choose_way(xs);
    if (err) {
        snprintf(why, n, "cannot connect to xenstored: %s", strerror(-err));
        free(xs);
        return err;
    }
    await_events(xs);
    again(xs, PROBE_NS);
    *out = &xs->store;
    return 0;
}
