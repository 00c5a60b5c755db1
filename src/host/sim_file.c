/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_file.c: files of the simulated world: their names, who has them open, and
 * what is on its way.
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

#include "host/sim_file.h"

#define DELAY_MIN_NS UINT64_C(20000)
#define DELAY_MAX_NS UINT64_C(500000)

struct sim_files *
sim_files_of(struct sim *sim)
{
    if (!sim->files)
        sim->files = sim_memory(1, sizeof *sim->files);
    return sim->files;
}

/* An error of the program under test that the kernel would not forgive. */
__attribute__((noreturn)) static void
sim_misuse(const char *what, const char *name)
{
    fprintf(stderr, "simulation: %s: %s\n", name, what);
    abort();
}

/* ---- names --------------------------------------------------------------- */

static struct sim_inode *
find(struct sim *sim, const char *name)
{
    struct sim_inode *i = sim_files_of(sim)->inodes;

    while (i && (i->removed || strcmp(i->name, name)))
        i = i->next;
    return i;
}

static struct sim_inode *
make(struct sim *sim, const char *name)
{
    struct sim_files *f = sim_files_of(sim);
    struct sim_inode *i = sim_memory(1, sizeof *i);

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
drop(struct sim *sim, struct sim_inode *i)
{
    struct sim_inode **p = &sim_files_of(sim)->inodes;

    while (*p != i)
        p = &(*p)->next;
    *p = i->next;
    sim_medium_free(&i->medium);
    free(i->name);
    free(i);
}

static void
release(struct sim *sim, struct sim_inode *i)
{
    if (--i->users == 0 && i->removed)
        drop(sim, i);
}

const struct sim_faults *
sim_faults_of(struct sim *sim, const struct sim_inode *i)
{
    return i && i->has_faults ? &i->faults : &sim_files_of(sim)->faults;
}

/* ---- operations on their way --------------------------------------------- */

static uint64_t
delay(struct sim *sim, const struct sim_inode *i)
{
    const struct sim_faults *f = sim_faults_of(sim, i);

    if (f->delay_min_ns || f->delay_max_ns)
        return sim_between(sim, f->delay_min_ns, f->delay_max_ns);
    return sim_between(sim, DELAY_MIN_NS, DELAY_MAX_NS);
}

void
sim_op_start(struct loop *loop, struct sim_op *like, const char *what,
             void (*run)(struct sim_event *))
{
    struct sim *sim = sim_of(loop);
    struct sim_op *op = sim_memory(1, sizeof *op);

    *op = *like;
    op->sim = sim;
    op->loop = loop;
    op->next = sim_files_of(sim)->ops;
    sim_files_of(sim)->ops = op;
    op->event = sim_event(sim, sim_loop_of(loop),
                          delay(sim, op->handle ? op->handle->inode : NULL),
                          what, run, op);
}

void
sim_op_finish(struct sim_op *op)
{
    struct sim_op **p = &op->sim->files->ops;

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
fill_info(struct blk_open *o, const struct sim_handle *h)
{
    o->info = h->inode->info;
    o->info.size = h->inode->medium.cache.size;
    o->info.direct = h->direct;
}

static int
lock(struct blk_open *o, struct sim_inode *i)
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
    struct sim_inode *i = find(sim, o->path);
    struct sim_handle *h;
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
    h->next = sim_files_of(sim)->handles;
    sim_files_of(sim)->handles = h;
    i->users++;
    o->file = (struct blk_file *)h;
    fill_info(o, h);
    return 0;
}

static void
opened(struct sim_event *e)
{
    struct sim_op *op = e->data;
    struct blk_open *o = op->open;

    o->status = do_open(op->sim, o);
    sim_op_finish(op);
    o->done(o);
}

void
sim_file_open(struct loop *loop, struct blk_open *o)
{
    o->status = 0;
    o->why[0] = '\0';
    o->file = NULL;
    if (!sim_loop_dead(sim_loop_of(loop)))
        sim_op_start(loop, &(struct sim_op){ .open = o }, "open", opened);
}

static void
stat_done(struct sim_event *e)
{
    struct sim_op *op = e->data;
    struct blk_open *o = op->open;

    o->status = 0;
    fill_info(o, op->handle);
    op->handle->inflight--;
    sim_op_finish(op);
    o->done(o);
}

void
sim_file_stat(struct loop *loop, struct blk_open *o)
{
    struct sim_handle *h = (struct sim_handle *)o->file;

    if (sim_loop_dead(sim_loop_of(loop)))
        return;
    h->inflight++;
    sim_op_start(loop, &(struct sim_op){ .open = o, .handle = h }, "stat",
                 stat_done);
}

static void
drop_handle(struct sim *sim, struct sim_handle *h)
{
    struct sim_handle **p = &sim_files_of(sim)->handles;

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
    struct sim_op *op = e->data;

    drop_handle(op->sim, op->handle);
    sim_op_finish(op);
}

void
sim_file_close(struct loop *loop, struct blk_file *f)
{
    struct sim_handle *h = (struct sim_handle *)f;

    if (sim_loop_dead(sim_loop_of(loop)))
        return;
    if (h->inflight)
        sim_misuse("closed while I/O is in flight", h->inode->name);
    sim_op_start(loop, &(struct sim_op){ .handle = h }, "close", closed);
}

/* ---- the end of a program, of a loop, of the world ----------------------- */

void
sim_files_crash(struct sim *sim, bool cached)
{
    struct sim_files *f = sim_files_of(sim);
    struct sim_inode *i, *next;

    while (f->ops) {
        if (f->ops->io)
            sim_io_break_off(f->ops, cached);
        sim_op_finish(f->ops);
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
    struct sim_op *op, *next;

    for (op = sim_files_of(sim)->ops; op; op = next) {
        next = op->next;
        if (sim_loop_of(op->loop) != loop)
            continue;
        sim_cancel(sim, op->event);
        if (!op->io && !op->open)
            drop_handle(sim, op->handle);
        else if (op->handle)
            op->handle->inflight--;
        sim_op_finish(op);
    }
}

void
sim_files_free(struct sim *sim)
{
    struct sim_files *f = sim_files_of(sim);

    while (f->ops)
        sim_op_finish(f->ops);
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
    struct sim_inode *i = find(sim, name);

    if (i)
        sim_image_resize(&i->medium.cache, 0);
    else
        i = make(sim, name);
    sim_medium_change(&i->medium, SIM_RESIZE, 0, 0, NULL, false);
    sim_medium_change(&i->medium, SIM_RESIZE, size, 0, NULL, false);
    sim_medium_sync(&i->medium, UINT64_MAX);
}

struct sim_inode *
sim_inode_of(struct sim *sim, const char *name)
{
    struct sim_inode *i = find(sim, name);

    if (!i)
        sim_misuse("there is no such file", name);
    return i;
}

void
sim_file_describe(struct sim *sim, const char *name,
                  const struct blk_file_info *info)
{
    struct sim_inode *i = sim_inode_of(sim, name);

    i->info = *info;
    i->can_direct = info->direct;
}

void
sim_file_remove(struct sim *sim, const char *name)
{
    struct sim_inode *i = find(sim, name);

    if (!i)
        return;
    i->removed = true;
    i->users++;
    release(sim, i);
}

int64_t
sim_file_size(struct sim *sim, const char *name)
{
    struct sim_inode *i = find(sim, name);

    return i ? (int64_t)i->medium.cache.size : -ENOENT;
}

static void
change(struct sim *sim, const char *name, uint64_t off, const void *data,
       size_t len, bool durable)
{
    struct sim_inode *i = sim_inode_of(sim, name);
    char *copy = sim_memory(len, 1);

    memcpy(copy, data, len);
    sim_medium_change(&i->medium, SIM_WRITE, off, len, copy, durable);
}

void
sim_file_put(struct sim *sim, const char *name, uint64_t off, const void *data,
             size_t len)
{
    change(sim, name, off, data, len, true);
}

void
sim_file_write(struct sim *sim, const char *name, uint64_t off,
               const void *data, size_t len)
{
    change(sim, name, off, data, len, false);
}

void
sim_file_sync(struct sim *sim, const char *name)
{
    sim_medium_sync(&sim_inode_of(sim, name)->medium, UINT64_MAX);
}

void
sim_file_get(struct sim *sim, const char *name, uint64_t off, void *data,
             size_t len)
{
    sim_image_read(&sim_inode_of(sim, name)->medium.cache, off, data, len);
}

uint64_t
sim_file_sync_failed(struct sim *sim, const char *name)
{
    return sim_inode_of(sim, name)->sync_failed;
}

uint64_t
sim_file_unsynced(struct sim *sim, const char *name)
{
    return sim_medium_unsynced(&sim_inode_of(sim, name)->medium);
}

void
sim_file_faults(struct sim *sim, const char *name,
                const struct sim_faults *faults)
{
    struct sim_inode *i;

    if (!name) {
        sim_files_of(sim)->faults = *faults;
        return;
    }
    i = sim_inode_of(sim, name);
    i->has_faults = true;
    i->faults = *faults;
}
