/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* disks.c: all disks of the daemon, and what a new config does to them. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk_private.h"

/* A reload under way, or a change of one disk: one at a time. */
struct reload {
    struct disks *disks;
    unsigned pending; /* replacements that were not answered yet */
    int status;
    char why[400];
    void (*done)(void *ctx, int status, const char *why); /* of a reload */
    void (*switched)(void *ctx);                          /* of one disk */
    rechain_fn *rechained;                                /* of one disk */
    uint64_t took_ns;
    void *ctx;
};

int
disks_new(struct disks **out, struct loop *control, struct loop *const *data,
          struct sweep *const *sweeps, unsigned loops,
          const struct disks_events *events, void *ctx)
{
    struct disks *ds = calloc(1, sizeof *ds);

    if (!ds)
        return -ENOMEM;
    ds->load = calloc(loops, sizeof *ds->load);
    if (!ds->load || keys_new(ds)) {
        free(ds->load);
        free(ds);
        return -ENOMEM;
    }
    ds->control = control;
    ds->data = data;
    ds->sweeps = sweeps;
    ds->loops = loops;
    ds->events = events;
    ds->ctx = ctx;
    *out = ds;
    return 0;
}

void
disks_free(struct disks *ds)
{
    if (!ds)
        return;
    tables_free(ds);
    keys_free(ds);
    free(ds->load);
    free(ds);
}

void
disks_drain(struct disks *ds, uint64_t ns)
{
    ds->drain_ns = ns;
}

struct disk *
disks_find(struct disks *ds, const char *name)
{
    struct disk *d, *closing = NULL;

    for (d = ds->first; d; d = d->next) {
        if (strcmp(d->name, name))
            continue;
        if (d->state != DISK_CLOSING)
            return d;
        closing = d;
    }
    return closing;
}

void
disks_each(struct disks *ds, void (*cb)(void *, struct disk *), void *ctx)
{
    struct disk *d, *next;

    for (d = ds->first; d; d = next) {
        next = d->next;
        cb(ctx, d);
    }
}

unsigned
disks_count(const struct disks *ds)
{
    return ds->count;
}

uint64_t
disks_random(const struct disks *ds)
{
    return ds->control->ops->random(ds->control);
}

void
disks_gone(struct disks *ds)
{
    void (*cb)(void *) = ds->quiet;

    if (ds->count || !cb)
        return;
    ds->quiet = NULL;
    cb(ds->quiet_ctx);
}

void
disks_quiet(struct disks *ds, void (*cb)(void *), void *ctx)
{
    ds->quiet = cb;
    ds->quiet_ctx = ctx;
    disks_gone(ds);
}

void
disks_event(struct disks *ds, const char *what, const char *disk,
            const char *detail)
{
    if (ds->events && ds->events->event)
        ds->events->event(ds->ctx, what, disk, detail);
}

void
disks_name_free(struct disks *ds, const char *name)
{
    struct disk *d;

    for (d = ds->first; d; d = d->next) {
        if (!strcmp(d->name, name) && d->state == DISK_CLOSING)
            return; /* yet another one */
    }
    for (d = ds->first; d; d = d->next) {
        if (d->held && !strcmp(d->name, name)) {
            unit_send(d->unit, d->held);
            d->held = NULL;
            return;
        }
    }
}

/* ---- reload -------------------------------------------------------------- */

static void
reload_end(struct reload *r)
{
    if (r->pending)
        return;
    r->disks->reload = NULL;
    if (r->rechained)
        r->rechained(r->ctx, r->status, r->status ? r->why : NULL, r->took_ns);
    else
        r->done(r->ctx, r->status, r->status ? r->why : NULL);
    free(r);
}

static void
disk_set_conf(struct disk *d, struct conf *conf, const struct conf_disk *cd)
{
    conf_unref(d->conf);
    d->conf = conf; /* the caller's reference */
    d->conf_disk = cd;
}

static void
disk_replace_answer(struct job *j)
{
    struct disk *d = j->disk;
    struct reload *r = j->ctx;

    if (!j->status) {
        /* The unit follows the new tree: the old may go. */
        d->limits = j->limits.size ? j->limits : d->limits;
        disk_set_conf(d, d->conf_old, j->conf);
        disks_event(d->disks, "changed", d->name, "the chain was replaced");
        if (d->owner)
            d->owner->resized(d->ctx, d);
    } else {
        conf_unref(d->conf_old);
        r->status = j->status;
        snprintf(r->why, sizeof r->why, "%s: keeps its old chain: %s", d->name,
                 j->why);
    }
    d->conf_old = NULL;
    r->took_ns = j->took_ns;
    r->pending--;
    job_free(j);
    reload_end(r);
}

static void
disk_switched(struct job *j)
{
    struct reload *r = j->ctx;

    r->switched(r->ctx);
}

/* conf is ref'd. */
static void
disk_replace(struct disk *d, struct conf *conf, const struct conf_disk *cd,
             struct reload *r)
{
    struct job *j = disk_job(d, JOB_REPLACE, disk_replace_answer, NULL, r);

    d->conf_old = conf_ref(conf);
    r->pending++;
    j->conf = cd;
    if (r->switched)
        j->switched = disk_switched;
    unit_send(d->unit, j);
}

static bool
needs_reconnect(const struct conf_disk *a, const struct conf_disk *b)
{
    return a->readonly != b->readonly || a->discard != b->discard ||
           a->barrier != b->barrier || a->queues != b->queues ||
           a->ring_order != b->ring_order || a->indirect != b->indirect ||
           a->buffers != b->buffers;
}

static void
disk_reload(struct disk *d, struct conf *to, struct reload *r)
{
    const struct conf_disk *cd = conf_disk(to, d->name);
    bool again;

    if (!cd) {
        disks_event(d->disks, "kept", d->name,
                    "no longer in the config; goes on until its front-end "
                    "leaves");
        return;
    }
    if (d->state == DISK_CLOSING || conf_disk_equal(d->conf_disk, cd))
        return; /* the old tree stays with those that did not change */
    again = needs_reconnect(d->conf_disk, cd);
    disk_replace(d, to, cd, r);
    if (again && d->owner && d->owner->reconnect)
        d->owner->reconnect(d->ctx, d);
}

void
disks_reload(struct disks *ds, struct conf *to,
             void (*done)(void *, int, const char *), void *ctx)
{
    struct reload *r;
    struct disk *d;

    if (ds->reload) {
        done(ctx, -EBUSY, "an earlier reload is still at work");
        return;
    }
    r = calloc(1, sizeof *r);
    if (!r) {
        done(ctx, -ENOMEM, "out of memory");
        return;
    }
    r->disks = ds;
    r->done = done;
    r->ctx = ctx;
    r->pending = 1; /* ours, so that it does not end in between */
    ds->reload = r;
    for (d = ds->first; d; d = d->next)
        disk_reload(d, to, r);
    r->pending--;
    reload_end(r);
}

void
disks_rechain(struct disks *ds, struct disk *d, struct conf *conf,
              const struct conf_disk *cd, void (*switched)(void *),
              rechain_fn *done, void *ctx)
{
    struct reload *r = NULL;

    if (d->state == DISK_CLOSING)
        done(ctx, -ESHUTDOWN, "the disk is being closed", 0);
    else if (ds->reload)
        done(ctx, -EBUSY, "an earlier change or reload is still at work", 0);
    else if (!(r = calloc(1, sizeof *r)))
        done(ctx, -ENOMEM, "out of memory", 0);
    if (!r)
        return;
    r->disks = ds;
    r->switched = switched;
    r->rechained = done;
    r->ctx = ctx;
    ds->reload = r;
    disk_replace(d, conf, cd, r);
}
