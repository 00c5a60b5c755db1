/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/fault_host.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool counts;
    unsigned long n, at, failed, ios, short_at;
    uint64_t longest, short_len;
    enum fault_times times;
    int error;
    const char *what;
} section;

void
fault_begin(unsigned long at, enum fault_times times, int error)
{
    memset(&section, 0, sizeof section);
    section.counts = true;
    section.at = at;
    section.times = times;
    section.error = error;
    section.what = "";
}

unsigned long
fault_end(void)
{
    section.counts = false;
    return section.n;
}

unsigned long
fault_failed(void)
{
    return section.failed;
}

const char *
fault_what(void)
{
    return section.what;
}

void
fault_short(unsigned long n, uint64_t len)
{
    section.short_at = n;
    section.short_len = len;
}

unsigned long
fault_ios(uint64_t *longest)
{
    *longest = section.longest;
    return section.ios;
}

/* 0, or -errno of the failure. */
static int
fails(const char *what)
{
    if (!section.counts)
        return 0;
    section.n++;
    if (!section.at || section.n < section.at ||
        (section.times == FAULT_ONCE && section.n > section.at))
        return 0;
    section.failed++;
    section.what = what;
    return -section.error;
}

/* ---- loops --------------------------------------------------------------- */

static const struct loop_ops *real; /* the same of every loop */
static struct loop_ops counted;

/* A call that is on its way to a failure, or is shorter than was asked for. */
enum { CALLS = 4096, PIECES = 64, WATCHES = 64 };
static struct call {
    struct loop_mail mail;
    bool used;
    int error;
    struct blk_open *open;
    struct blk_io *io;
    struct blk_io part;
    struct iovec iov[PIECES];
} call[CALLS];

static struct call *
call_new(void)
{
    for (unsigned i = 0; i < CALLS; i++) {
        if (call[i].used)
            continue;
        memset(&call[i], 0, sizeof call[i]);
        call[i].used = true;
        return &call[i];
    }
    fputs("fault: too many calls\n", stderr);
    abort();
}

static void
call_failed(struct loop_mail *m)
{
    struct call *c = (struct call *)m;

    c->used = false;
    if (c->io) {
        c->io->status = c->error;
        c->io->done(c->io);
        return;
    }
    c->open->status = c->error;
    snprintf(c->open->why, sizeof c->open->why, "%s: %s",
             c->open->path ? c->open->path : "the file", strerror(-c->error));
    c->open->done(c->open);
}

static void
fail_later(struct loop *l, struct blk_open *o, struct blk_io *io, int error)
{
    struct call *c = call_new();

    c->open = o;
    c->io = io;
    c->error = error;
    c->mail.run = call_failed;
    real->post(l, &c->mail);
}

static void
counted_open(struct loop *l, struct blk_open *o)
{
    int error = fails("open");

    if (!error) {
        real->file_open(l, o);
        return;
    }
    o->file = NULL;
    fail_later(l, o, NULL, error);
}

static void
counted_stat(struct loop *l, struct blk_open *o)
{
    int error = fails("stat");

    if (error)
        fail_later(l, o, NULL, error);
    else
        real->file_stat(l, o);
}

static void
part_done(struct blk_io *part)
{
    struct call *c = part->data;

    c->used = false;
    c->io->status = part->status;
    c->io->done(c->io);
}

static void
io_shorter(struct loop *l, struct blk_io *io, uint64_t len)
{
    struct call *c = call_new();

    c->io = io;
    c->part = *io;
    c->part.iov = c->iov;
    c->part.n = 0;
    c->part.done = part_done;
    c->part.data = c;
    memset(c->part.private_, 0, sizeof c->part.private_);
    for (uint32_t i = 0; i < io->n && len && i < PIECES; i++) {
        c->iov[i] = io->iov[i];
        if (c->iov[i].iov_len > len)
            c->iov[i].iov_len = len;
        len -= c->iov[i].iov_len;
        c->part.n++;
    }
    real->io(l, &c->part);
}

static void
counted_io(struct loop *l, struct blk_io *io)
{
    bool moves = io->op == BLK_IO_READ || io->op == BLK_IO_WRITE;
    int error = fails("io");
    uint64_t len = 0;

    for (uint32_t i = 0; moves && i < io->n; i++)
        len += io->iov[i].iov_len;
    if (section.counts && moves) {
        section.ios++;
        if (len > section.longest)
            section.longest = len;
    }
    if (error)
        fail_later(l, NULL, io, error);
    else if (moves && section.counts && section.ios == section.short_at &&
             section.short_len < len)
        io_shorter(l, io, section.short_len);
    else
        real->io(l, io);
}

static int
counted_buffer_add(struct loop *l, void *addr, size_t len)
{
    int error = fails("buffer");

    return error ? error : real->buffer_add(l, addr, len);
}

static struct blk_watch *watch[WATCHES];

static void
counted_watch_start(struct loop *l, struct blk_watch *w)
{
    unsigned i;

    for (i = 0; i < WATCHES && watch[i]; i++)
        ;
    if (i == WATCHES) {
        fputs("fault: too many watches\n", stderr);
        abort();
    }
    watch[i] = w;
    real->watch_start(l, w);
}

static void
counted_watch_stop(struct loop *l, struct blk_watch *w)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (watch[i] == w)
            watch[i] = NULL;
    }
    real->watch_stop(l, w);
}

bool
fault_poll(struct sim *sim)
{
    bool some = false;

    for (unsigned i = 0; i < WATCHES; i++) {
        struct pollfd p = { .fd = -1 };

        if (watch[i])
            p = (struct pollfd){ .fd = watch[i]->fd,
                                 .events = watch[i]->events };
        if (p.fd < 0 || poll(&p, 1, 0) <= 0)
            continue;
        sim_fd_ready(sim, p.fd, p.revents);
        some = true;
    }
    return some;
}

void
fault_loop(struct loop *l)
{
    real = l->ops;
    counted = *real;
    counted.file_open = counted_open;
    counted.file_stat = counted_stat;
    counted.io = counted_io;
    counted.buffer_add = counted_buffer_add;
    counted.watch_start = counted_watch_start;
    counted.watch_stop = counted_watch_stop;
    l->ops = &counted;
}

/* ---- taps ---------------------------------------------------------------- */

static const struct tap_ops *real_tap;
static struct tap_ops counted_tap;

static int
counted_map(struct tap *t, uint32_t domid, const uint32_t *refs, unsigned n,
            void **addr)
{
    int error = fails("map");

    return error ? error : real_tap->map(t, domid, refs, n, addr);
}

static int
counted_bind(struct tap *t, uint32_t domid, uint32_t port)
{
    int error = fails("bind");

    return error ? error : real_tap->bind(t, domid, port);
}

static int
counted_copy(struct tap *t, struct tap_copy *v, unsigned n)
{
    int error = fails("copy");

    if (!error)
        error = real_tap->copy(t, v, n);
    for (unsigned i = 0; !error && i < n; i++) {
        if (fails("piece of a copy"))
            v[i].status = -3; /* GNTST_bad_gntref */
    }
    return error;
}

void
fault_tap(struct tap *t)
{
    real_tap = t->ops;
    counted_tap = *real_tap;
    counted_tap.map = counted_map;
    counted_tap.bind = counted_bind;
    counted_tap.copy = counted_copy;
    t->ops = &counted_tap;
}

/* ---- XenStore ------------------------------------------------------------ */

static const struct store_ops *real_store;
static struct store_ops counted_store;

static char *
counted_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    int error = fails("read");
    char *text = error ? NULL : real_store->read(s, tx, path, len);

    if (error)
        errno = -error;
    alloc_adopt(text);
    return text;
}

static char **
counted_list(struct store *s, store_tx tx, const char *path, unsigned *n)
{
    int error = fails("list");
    char **names = error ? NULL : real_store->list(s, tx, path, n);

    if (error)
        errno = -error;
    alloc_adopt(names);
    return names;
}

static int
counted_write(struct store *s, store_tx tx, const char *path, const char *value)
{
    int error = fails("write");

    return error ? error : real_store->write(s, tx, path, value);
}

static int
counted_mkdir(struct store *s, store_tx tx, const char *path)
{
    int error = fails("mkdir");

    return error ? error : real_store->mkdir(s, tx, path);
}

static int
counted_rm(struct store *s, store_tx tx, const char *path)
{
    int error = fails("rm");

    return error ? error : real_store->rm(s, tx, path);
}

static int
counted_perms(struct store *s, store_tx tx, const char *path, uint32_t owner,
              uint32_t reader)
{
    int error = fails("perms");

    return error ? error : real_store->perms(s, tx, path, owner, reader);
}

static int
counted_begin(struct store *s, store_tx *tx)
{
    int error = fails("begin");

    return error ? error : real_store->begin(s, tx);
}

/* As the real one: the transaction is over all the same. */
static int
counted_commit(struct store *s, store_tx tx, bool commit)
{
    int error = fails(commit ? "commit" : "abort");

    if (!error)
        return real_store->end(s, tx, commit);
    (void)real_store->end(s, tx, false);
    return error;
}

static int
counted_watch(struct store *s, const char *path, const char *token)
{
    int error = fails("watch");

    return error ? error : real_store->watch(s, path, token);
}

static int
counted_unwatch(struct store *s, const char *path, const char *token)
{
    int error = fails("unwatch");

    return error ? error : real_store->unwatch(s, path, token);
}

void
fault_store(struct store *s)
{
    real_store = s->ops;
    counted_store = (struct store_ops){ .read = counted_read,
                                        .write = counted_write,
                                        .mkdir = counted_mkdir,
                                        .rm = counted_rm,
                                        .list = counted_list,
                                        .perms = counted_perms,
                                        .begin = counted_begin,
                                        .end = counted_commit,
                                        .watch = counted_watch,
                                        .unwatch = counted_unwatch,
                                        .free = real_store->free };
    s->ops = &counted_store;
}

/* ---- shared memory ------------------------------------------------------- */

int __real_host_memory(const char *, size_t, void **, int *);
int __wrap_host_memory(const char *, size_t, void **, int *);
int __real_local_share_make(struct local_share *, uint32_t, uint32_t);
int __wrap_local_share_make(struct local_share *, uint32_t, uint32_t);
int __real_local_share_dup(struct local_share *, const struct local_share *);
int __wrap_local_share_dup(struct local_share *, const struct local_share *);

/* The world has some, too. */
int
__wrap_host_memory(const char *name, size_t len, void **addr, int *fd)
{
    int error = strncmp(name, "sim-", 4) ? fails("memory") : 0;

    if (!error)
        return __real_host_memory(name, len, addr, fd);
    *addr = NULL;
    return error;
}

/* As the real ones leave it. */
static int
share_failed(struct local_share *s)
{
    int error = fails("share");

    if (!error)
        return 0;
    memset(s, 0xff, sizeof *s);
    s->pages = s->queues = 0;
    return error;
}

int
__wrap_local_share_make(struct local_share *s, uint32_t pages, uint32_t queues)
{
    int error = share_failed(s);

    return error ? error : __real_local_share_make(s, pages, queues);
}

int
__wrap_local_share_dup(struct local_share *to, const struct local_share *from)
{
    int error = share_failed(to);

    return error ? error : __real_local_share_dup(to, from);
}

void
fault_killed(void)
{
    memset(watch, 0, sizeof watch);
    memset(call, 0, sizeof call);
}
