/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_file.c: files of the simulated world, and the I/O on them.
 *
 * Each operation takes a random time, so those that are in flight together
 * complete in any order, and take effect when they complete.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_image.h"
#include "host/sim_world.h"

#define DELAY_MIN_NS UINT64_C(20000)
#define DELAY_MAX_NS UINT64_C(500000)

struct inode {
    struct inode *next;
    char *name;
    struct sim_medium medium;
    struct blk_file_info info; /* but for size and direct */
    bool can_direct, removed;
    unsigned readers, writers; /* who hold the lock */
    bool has_faults;
    struct sim_faults faults;
    unsigned users;
};

/* A struct blk_file. */
struct handle {
    struct handle *next;
    struct inode *inode;
    uint32_t flags;
    bool direct;
    unsigned inflight;
};

/* Something on its way. */
struct op {
    struct op *next;
    struct sim *sim;
    struct loop *loop;
    struct sim_event *event;
    struct blk_io *io;
    struct blk_open *open; /* or this */
    struct handle *handle; /* of io, of stat; of close, without the two */
    uint64_t number;       /* the file's last change when it began */
};

struct sim_files {
    struct inode *inodes;
    struct handle *handles;
    struct op *ops;
    struct sim_faults faults;
};

static struct sim_files *
files_of(struct sim *sim)
{
    if (!sim->files)
        sim->files = sim_memory(1, sizeof *sim->files);
    return sim->files;
}

/* An error of the program under test that the kernel would not forgive. */
__attribute__((noreturn)) static void
misuse(const char *what, const char *name)
{
    fprintf(stderr, "simulation: %s: %s\n", name, what);
    abort();
}

/* ---- names --------------------------------------------------------------- */

static struct inode *
find(struct sim *sim, const char *name)
{
    struct inode *i = files_of(sim)->inodes;

    while (i && (i->removed || strcmp(i->name, name)))
        i = i->next;
    return i;
}

static struct inode *
make(struct sim *sim, const char *name)
{
    struct sim_files *f = files_of(sim);
    struct inode *i = sim_memory(1, sizeof *i);

    i->name = sim_text(name);
    sim_medium_init(&i->medium);
    i->info = (struct blk_file_info){
        .block = 512, .physical = 4096, .mem_align = 1, .discard_align = 4096
    };
    i->can_direct = true;
    i->next = f->inodes;
    f->inodes = i;
    return i;
}

static void
drop(struct sim *sim, struct inode *i)
{
    struct inode **p = &files_of(sim)->inodes;

    while (*p != i)
        p = &(*p)->next;
    *p = i->next;
    sim_medium_free(&i->medium);
    free(i->name);
    free(i);
}

static void
release(struct sim *sim, struct inode *i)
{
    if (--i->users == 0 && i->removed)
        drop(sim, i);
}

static const struct sim_faults *
faults_of(struct sim *sim, const struct inode *i)
{
    return i && i->has_faults ? &i->faults : &files_of(sim)->faults;
}

static int
fault(const struct sim_faults *f)
{
    return f->error ? -abs(f->error) : -EIO;
}

/* ---- operations on their way --------------------------------------------- */

static uint64_t
delay(struct sim *sim, const struct inode *i)
{
    const struct sim_faults *f = faults_of(sim, i);

    if (f->delay_min_ns || f->delay_max_ns)
        return sim_between(sim, f->delay_min_ns, f->delay_max_ns);
    return sim_between(sim, DELAY_MIN_NS, DELAY_MAX_NS);
}

static void
start(struct loop *loop, struct op *like, const char *what,
      void (*run)(struct sim_event *))
{
    struct sim *sim = sim_of(loop);
    struct op *op = sim_memory(1, sizeof *op);

    *op = *like;
    op->sim = sim;
    op->loop = loop;
    op->next = files_of(sim)->ops;
    files_of(sim)->ops = op;
    op->event = sim_event(sim, sim_loop_of(loop),
                          delay(sim, op->handle ? op->handle->inode : NULL),
                          what, run, op);
}

static void
finish(struct op *op)
{
    struct op **p = &op->sim->files->ops;

    while (*p != op)
        p = &(*p)->next;
    *p = op->next;
    free(op);
}

/* ---- open, stat, close --------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int
refuse(struct blk_open *o, int err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(o->why, sizeof o->why, fmt, ap);
    va_end(ap);
    return err;
}

static void
fill_info(struct blk_open *o, const struct handle *h)
{
    o->info = h->inode->info;
    o->info.size = h->inode->medium.cache.size;
    o->info.direct = h->direct;
}

static int
lock(struct blk_open *o, struct inode *i)
{
    bool reader = o->flags & BLK_FILE_RDONLY;

    if (i->writers)
        return refuse(o, -EBUSY, "%s: cannot lock it: another writer has it",
                      o->path);
    if (i->readers && !reader)
        return refuse(o, -EBUSY, "%s: cannot lock it: another reader has it",
                      o->path);
    i->readers += reader;
    i->writers += !reader;
    return 0;
}

static int
do_open(struct sim *sim, struct blk_open *o)
{
    struct inode *i = find(sim, o->path);
    struct handle *h;
    int err;

    if (i && o->flags & BLK_FILE_CREATE && o->flags & BLK_FILE_EXCL)
        return refuse(o, -EEXIST, "%s: cannot open it: %s", o->path,
                      strerror(EEXIST));
    if (!i && !(o->flags & BLK_FILE_CREATE))
        return refuse(o, -ENOENT, "%s: cannot open it: %s", o->path,
                      strerror(ENOENT));
    if (!i)
        i = make(sim, o->path);
    err = o->flags & BLK_FILE_LOCK ? lock(o, i) : 0;
    if (err)
        return err;
    if (o->flags & BLK_FILE_TRUNC)
        sim_medium_change(&i->medium, SIM_RESIZE, 0, 0, NULL, false);
    h = sim_memory(1, sizeof *h);
    h->inode = i;
    h->flags = o->flags;
    h->direct = o->flags & BLK_FILE_DIRECT && i->can_direct;
    h->next = files_of(sim)->handles;
    files_of(sim)->handles = h;
    i->users++;
    o->file = (struct blk_file *)h;
    fill_info(o, h);
    return 0;
}

static void
opened(struct sim_event *e)
{
    struct op *op = e->data;
    struct blk_open *o = op->open;

    o->status = do_open(op->sim, o);
    finish(op);
    o->done(o);
}

void
sim_file_open(struct loop *loop, struct blk_open *o)
{
    o->status = 0;
    o->why[0] = '\0';
    o->file = NULL;
    if (!sim_loop_dead(sim_loop_of(loop)))
        start(loop, &(struct op){ .open = o }, "open", opened);
}

static void
stat_done(struct sim_event *e)
{
    struct op *op = e->data;
    struct blk_open *o = op->open;

    o->status = 0;
    fill_info(o, op->handle);
    op->handle->inflight--;
    finish(op);
    o->done(o);
}

void
sim_file_stat(struct loop *loop, struct blk_open *o)
{
    struct handle *h = (struct handle *)o->file;

    if (sim_loop_dead(sim_loop_of(loop)))
        return;
    h->inflight++;
    start(loop, &(struct op){ .open = o, .handle = h }, "stat", stat_done);
}

static void
drop_handle(struct sim *sim, struct handle *h)
{
    struct handle **p = &files_of(sim)->handles;

    while (*p != h)
        p = &(*p)->next;
    *p = h->next;
    if (h->flags & BLK_FILE_LOCK) {
        h->inode->readers -= !!(h->flags & BLK_FILE_RDONLY);
        h->inode->writers -= !(h->flags & BLK_FILE_RDONLY);
    }
    release(sim, h->inode);
    free(h);
}

static void
closed(struct sim_event *e)
{
    struct op *op = e->data;

    drop_handle(op->sim, op->handle);
    finish(op);
}

void
sim_file_close(struct loop *loop, struct blk_file *f)
{
    struct handle *h = (struct handle *)f;

    if (sim_loop_dead(sim_loop_of(loop)))
        return;
    if (h->inflight)
        misuse("closed while I/O is in flight", h->inode->name);
    start(loop, &(struct op){ .handle = h }, "close", closed);
}

/* ---- I/O ----------------------------------------------------------------- */

static char *
gather(const struct blk_io *io, uint64_t len)
{
    char *data = sim_memory(len, 1);
    uint64_t at = 0;

    for (uint32_t i = 0; i < io->n && at < len; i++) {
        uint64_t n = io->iov[i].iov_len;

        if (n > len - at)
            n = len - at;
        memcpy(data + at, io->iov[i].iov_base, n);
        at += n;
    }
    return data;
}

static void
scatter(const struct blk_io *io, const char *data, uint64_t len)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < io->n && at < len; i++) {
        uint64_t n = io->iov[i].iov_len;

        if (n > len - at)
            n = len - at;
        memcpy(io->iov[i].iov_base, data + at, n);
        at += n;
    }
}

static uint64_t
length(const struct blk_io *io)
{
    uint64_t len = 0;

    for (uint32_t i = 0; i < io->n; i++)
        len += io->iov[i].iov_len;
    return len;
}

/* As the kernel refuses I/O with O_DIRECT. */
static bool
misaligned(const struct handle *h, const struct blk_io *io)
{
    uint32_t block = h->inode->info.block, mem = h->inode->info.mem_align;

    if (!h->direct)
        return false;
    for (uint32_t i = 0; i < io->n; i++) {
        if ((uintptr_t)io->iov[i].iov_base % mem || io->iov[i].iov_len % block)
            return true;
    }
    return io->off % block;
}

static uint64_t
perhaps_shorter(struct sim *sim, const struct sim_faults *f, uint64_t len)
{
    if (len <= 512 || !sim_chance(sim, f->shorter))
        return len;
    return 512 * (1 + sim_below(sim, (len - 1) / 512));
}

static int64_t
do_read(struct op *op, const struct sim_faults *f)
{
    const struct sim_image *m = &op->handle->inode->medium.cache;
    struct blk_io *io = op->io;
    uint64_t len = length(io);
    char *data;

    if (sim_chance(op->sim, f->read))
        return fault(f);
    if (io->off >= m->size)
        return 0;
    if (len > m->size - io->off)
        len = m->size - io->off;
    len = perhaps_shorter(op->sim, f, len);
    data = sim_memory(len, 1);
    sim_image_read(m, io->off, data, len);
    scatter(io, data, len);
    free(data);
    return (int64_t)len;
}

static int64_t
do_write(struct op *op, const struct sim_faults *f)
{
    struct sim_medium *m = &op->handle->inode->medium;
    struct blk_io *io = op->io;
    uint64_t len = length(io), off = io->off;

    if (op->handle->flags & BLK_FILE_APPEND)
        off = m->cache.size;
    if (sim_chance(op->sim, f->write)) {
        sim_medium_tear(op->sim, m, off, len, gather(io, len));
        return fault(f);
    }
    if (op->handle->inode->info.device && off + len > m->cache.size) {
        if (off >= m->cache.size)
            return -ENOSPC;
        len = m->cache.size - off;
    }
    len = perhaps_shorter(op->sim, f, len);
    if (len)
        sim_medium_change(m, SIM_WRITE, off, len, gather(io, len), io->fua);
    return (int64_t)len;
}

static int64_t
do_sync(struct op *op, const struct sim_faults *f)
{
    struct sim_medium *m = &op->handle->inode->medium;

    if (sim_chance(op->sim, f->sync)) {
        sim_medium_sync_failed(op->sim, m, op->number);
        return fault(f);
    }
    sim_medium_sync(m, op->number);
    return 0;
}

static int64_t
do_range(struct op *op, const struct sim_faults *f)
{
    struct sim_medium *m = &op->handle->inode->medium;
    struct blk_io *io = op->io;

    if (sim_chance(op->sim, f->range))
        return fault(f);
    if (op->handle->inode->info.device &&
        (io->op == BLK_IO_TRUNCATE || io->off + io->len > m->cache.size))
        return -EINVAL;
    if (io->op == BLK_IO_TRUNCATE) {
        sim_medium_change(m, SIM_RESIZE, io->off, 0, NULL, false);
        return 0;
    }
    if (!io->len)
        return -EINVAL;
    if (io->op == BLK_IO_PUNCH && !op->handle->inode->info.discard_align)
        return -EOPNOTSUPP;
    sim_medium_change(m, io->op == BLK_IO_ZERO ? SIM_ZERO : SIM_PUNCH, io->off,
                      io->len, NULL, false);
    return 0;
}

static int64_t
do_io(struct op *op)
{
    const struct sim_faults *f = faults_of(op->sim, op->handle->inode);
    bool changes = op->io->op != BLK_IO_READ && op->io->op != BLK_IO_SYNC;

    if (changes && op->handle->flags & BLK_FILE_RDONLY)
        return op->io->op == BLK_IO_TRUNCATE ? -EINVAL : -EBADF;
    switch (op->io->op) {
    case BLK_IO_READ:
        return misaligned(op->handle, op->io) ? -EINVAL : do_read(op, f);
    case BLK_IO_WRITE:
        return misaligned(op->handle, op->io) ? -EINVAL : do_write(op, f);
    case BLK_IO_SYNC:
        return do_sync(op, f);
    default:
        return do_range(op, f);
    }
}

static void
io_done(struct sim_event *e)
{
    struct op *op = e->data;
    struct blk_io *io = op->io;

    io->status = do_io(op);
    sim_note(op->sim, "io", io->off << 3 | io->op, (uint64_t)io->status);
    op->handle->inflight--;
    finish(op);
    io->done(io);
}

void
sim_file_io(struct loop *loop, struct blk_io *io)
{
    struct handle *h = (struct handle *)io->file;

    if (sim_loop_dead(sim_loop_of(loop)))
        return;
    h->inflight++;
    start(loop,
          &(struct op){
              .io = io, .handle = h, .number = h->inode->medium.number },
          "io", io_done);
}

/* ---- the end of a program, of a loop, of the world ----------------------- */

/* What was on its way has left something, or all, or nothing. */
static void
break_off(struct op *op, bool cached)
{
    struct blk_io *io = op->io;
    struct sim_medium *m = &op->handle->inode->medium;

    if (op->handle->flags & BLK_FILE_RDONLY || misaligned(op->handle, io))
        return;
    if (cached && !sim_chance(op->sim, 500000))
        return;
    if (io->op == BLK_IO_WRITE && cached)
        sim_medium_change(m, SIM_WRITE, io->off, length(io),
                          gather(io, length(io)), false);
    else if (io->op == BLK_IO_WRITE)
        sim_medium_tear(op->sim, m, io->off, length(io),
                        gather(io, length(io)));
    else if (io->op == BLK_IO_PUNCH || io->op == BLK_IO_ZERO)
        sim_medium_change(m, io->op == BLK_IO_ZERO ? SIM_ZERO : SIM_PUNCH,
                          io->off, io->len, NULL, false);
}

void
sim_files_crash(struct sim *sim, bool cached)
{
    struct sim_files *f = files_of(sim);
    struct inode *i, *next;

    while (f->ops) {
        if (f->ops->io)
            break_off(f->ops, cached);
        finish(f->ops);
    }
    while (f->handles)
        drop_handle(sim, f->handles);
    for (i = f->inodes; i && !cached; i = next) {
        next = i->next;
        sim_medium_crash(sim, &i->medium);
    }
}

/* Closing goes on without the loop, as it would on a worker. */
void
sim_files_forget(struct sim *sim, struct sim_loop *loop)
{
    struct op *op, *next;

    for (op = files_of(sim)->ops; op; op = next) {
        next = op->next;
        if (sim_loop_of(op->loop) != loop)
            continue;
        sim_cancel(sim, op->event);
        if (!op->io && !op->open)
            drop_handle(sim, op->handle);
        else if (op->handle)
            op->handle->inflight--;
        finish(op);
    }
}

void
sim_files_free(struct sim *sim)
{
    struct sim_files *f = files_of(sim);

    while (f->ops)
        finish(f->ops);
    while (f->handles)
        drop_handle(sim, f->handles);
    while (f->inodes)
        drop(sim, f->inodes);
    free(f);
}

/* ---- the test's side ----------------------------------------------------- */

void
sim_file_make(struct sim *sim, const char *name, uint64_t size)
{
    struct inode *i = find(sim, name);

    if (i)
        sim_image_resize(&i->medium.cache, 0);
    else
        i = make(sim, name);
    sim_medium_change(&i->medium, SIM_RESIZE, 0, 0, NULL, false);
    sim_medium_change(&i->medium, SIM_RESIZE, size, 0, NULL, false);
    sim_medium_sync(&i->medium, UINT64_MAX);
}

static struct inode *
must_find(struct sim *sim, const char *name)
{
    struct inode *i = find(sim, name);

    if (!i)
        misuse("there is no such file", name);
    return i;
}

void
sim_file_describe(struct sim *sim, const char *name,
                  const struct blk_file_info *info)
{
    struct inode *i = must_find(sim, name);

    i->info = *info;
    i->can_direct = info->direct;
}

void
sim_file_remove(struct sim *sim, const char *name)
{
    struct inode *i = find(sim, name);

    if (!i)
        return;
    i->removed = true;
    i->users++;
    release(sim, i);
}

int64_t
sim_file_size(struct sim *sim, const char *name)
{
    struct inode *i = find(sim, name);

    return i ? (int64_t)i->medium.cache.size : -ENOENT;
}

void
sim_file_put(struct sim *sim, const char *name, uint64_t off, const void *data,
             size_t len)
{
    struct inode *i = must_find(sim, name);
    char *copy = sim_memory(len, 1);

    memcpy(copy, data, len);
    sim_medium_change(&i->medium, SIM_WRITE, off, len, copy, true);
}

void
sim_file_get(struct sim *sim, const char *name, uint64_t off, void *data,
             size_t len)
{
    sim_image_read(&must_find(sim, name)->medium.cache, off, data, len);
}

uint64_t
sim_file_unsynced(struct sim *sim, const char *name)
{
    return sim_medium_unsynced(&must_find(sim, name)->medium);
}

void
sim_file_faults(struct sim *sim, const char *name,
                const struct sim_faults *faults)
{
    struct inode *i;

    if (!name) {
        files_of(sim)->faults = *faults;
        return;
    }
    i = must_find(sim, name);
    i->has_faults = true;
    i->faults = *faults;
}
