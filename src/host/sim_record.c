/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_record.c: what a test can see between a simulated file and its medium:
 * who watches is told of each change that comes there, and what is not there
 * yet can be listed.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "host/sim_file.h"

enum { SECTOR = 512 };

/* ---- telling ------------------------------------------------------------- */

static uint64_t
down(uint64_t x)
{
    return x - x % SECTOR;
}

static uint64_t
up(uint64_t x)
{
    return down(x + SECTOR - 1);
}

/* A range as it is in the image, but for what the change itself writes. */
static void
tell_write(struct sim_watcher *w, const struct sim_image *m,
           const struct sim_change *c, uint64_t off, uint64_t len)
{
    const uint64_t a = down(off), n = up(off + len) - a;
    char *data = sim_memory(n, 1);

    sim_image_read(m, a, data, n);
    if (c->kind == SIM_WRITE)
        memcpy(data + (off - a), c->data, len);
    else
        memset(data + (off - a), 0, len);
    w->write(w, a, data, n, c->durable);
    free(data);
}

void
sim_medium_tell(struct sim_medium *medium, const struct sim_image *m,
                const struct sim_change *c, uint64_t before)
{
    struct sim_watcher *w = medium->watcher;
    const uint64_t end = c->off + c->len;

    if (!w)
        return;
    if (c->kind == SIM_RESIZE) {
        w->resize(w, c->off);
        if (before > c->off && c->off % SECTOR)
            tell_write(w, m, c, c->off, up(c->off) - c->off);
        if (before > up(c->off))
            w->discard(w, up(c->off), up(before) - up(c->off));
    } else if (c->kind == SIM_PUNCH && c->off % SECTOR + end % SECTOR == 0) {
        w->discard(w, c->off, c->len);
    } else if (c->len) {
        tell_write(w, m, c, c->off, c->len);
        if (c->kind != SIM_PUNCH && end > before)
            w->resize(w, m->size);
    }
}

void
sim_medium_tell_all(struct sim_medium *m, uint64_t number)
{
    const struct sim_change *c = m->first;
    uint64_t size = m->disk.size;

    for (; m->watcher && c && c->number <= number; c = c->next) {
        sim_medium_tell(m, &m->cache, c, size);
        if (c->kind == SIM_RESIZE)
            size = c->off;
        else if (c->kind != SIM_PUNCH && c->off + c->len > size)
            size = c->off + c->len;
    }
}

void
sim_file_watch(struct sim *sim, const char *name, struct sim_watcher *w)
{
    sim_inode_of(sim, name)->medium.watcher = w;
}

/* ---- looking ------------------------------------------------------------- */

void
sim_file_get_durable(struct sim *sim, const char *name, uint64_t off,
                     void *data, size_t len)
{
    sim_image_read(&sim_inode_of(sim, name)->medium.disk, off, data, len);
}

int64_t
sim_file_size_durable(struct sim *sim, const char *name)
{
    return (int64_t)sim_inode_of(sim, name)->medium.disk.size;
}

static struct sim_unsynced
unsynced(const struct sim_inode *i, const struct sim_change *c)
{
    return (struct sim_unsynced){ .name = i->name,
                                  .kind = c->kind,
                                  .off = c->off,
                                  .len = c->len,
                                  .data = c->data,
                                  .durable = c->durable };
}

void
sim_unsynced(struct sim *sim, void (*see)(void *, const struct sim_unsynced *),
             void *data)
{
    const struct sim_files *f = sim_files_of(sim);
    struct sim_unsynced u;

    for (const struct sim_inode *i = f->inodes; i; i = i->next) {
        for (const struct sim_change *c = i->medium.first; c; c = c->next) {
            u = unsynced(i, c);
            see(data, &u);
        }
    }
    for (const struct sim_op *op = f->ops; op; op = op->next) {
        struct sim_change c;

        if (!op->io || !sim_io_change(op, &c))
            continue;
        u = unsynced(op->handle->inode, &c);
        u.under_way = true;
        see(data, &u);
        free(c.data);
    }
}

void
sim_file_power(struct sim *sim, const char *name)
{
    sim_medium_crash(sim, &sim_inode_of(sim, name)->medium);
}
