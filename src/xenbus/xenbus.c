/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenbus.c: the set of vbds, the queue of those to look at, and the life of
 * all this.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/vbd.h"

uint64_t
xenbus_now(struct xenbus *x)
{
    return x->loop->ops->now(x->loop);
}

void
xenbus_event(struct vbd *v, const char *what, const char *detail)
{
    struct xenbus *x = v->x;

    if (x->events && x->events->event)
        x->events->event(x->ctx, what, v->disk_name[0] ? v->disk_name : NULL,
                         detail);
}

/* ---- the queue ----------------------------------------------------------- */

void
xenbus_dirty(struct vbd *v)
{
    struct xenbus *x = v->x;

    if (!v->dirty) {
        v->dirty = true;
        v->next_dirty = NULL;
        *x->dirty_tail = v;
        x->dirty_tail = &v->next_dirty;
    }
    if (!x->running)
        loop_defer(x->loop, &x->task, STAGE_CHAIN);
}

static struct vbd *
dirty_pop(struct xenbus *x)
{
    struct vbd *v = x->dirty;

    x->dirty = v->next_dirty;
    if (!x->dirty)
        x->dirty_tail = &x->dirty;
    v->dirty = false;
    return v;
}

static void
dirty_remove(struct vbd *v)
{
    struct xenbus *x = v->x;
    struct vbd **p = &x->dirty;

    if (!v->dirty)
        return;
    while (*p != v)
        p = &(*p)->next_dirty;
    *p = v->next_dirty;
    if (!*p)
        x->dirty_tail = p;
    v->dirty = false;
}

static bool
xenbus_busy(const struct xenbus *x)
{
    const struct vbd *v;

    for (v = x->first; v; v = v->next) {
        if (v->disk)
            return true;
    }
    return false;
}

static void
xenbus_run(struct loop_task *t)
{
    struct xenbus *x =
        (struct xenbus *)((char *)t - offsetof(struct xenbus, task));
    int n;

    if (x->stopping) {
        void (*stopped)(void *) = x->stopped;

        if (!stopped || xenbus_busy(x))
            return;
        x->stopped = NULL;
        stopped(x->stopped_ctx); /* may free x */
        return;
    }
    x->running = true;
    for (n = 0; n < LOOKS_PER_ROUND && x->dirty; n++)
        vbd_look(dirty_pop(x));
    x->running = false;
    if (x->dirty)
        loop_defer(x->loop, &x->task, STAGE_NEXT);
}

/* A disk was closed: perhaps the last one that xenbus_stop() waits for. */
void
xenbus_quiet(struct xenbus *x)
{
    if (x->stopping)
        loop_defer(x->loop, &x->task, STAGE_CHAIN);
}

/* ---- time ---------------------------------------------------------------- */

static void
vbd_timer(struct blk_timer *t)
{
    struct vbd *v = t->data;

    v->timer_at = 0;
    xenbus_dirty(v);
}

void
vbd_later(struct vbd *v, uint64_t after_ns)
{
    struct loop *l = v->x->loop;
    uint64_t at = xenbus_now(v->x) + after_ns;

    if (v->timer_at && v->timer_at <= at)
        return;
    if (v->timer_at)
        l->ops->timer_stop(l, &v->timer);
    v->timer_at = at;
    v->timer.fire = vbd_timer;
    v->timer.data = v;
    l->ops->timer_start(l, &v->timer, after_ns);
}

/* ---- vbds ---------------------------------------------------------------- */

static struct vbd *
vbd_find(struct xenbus *x, const char *kind, uint32_t domid, uint32_t devid)
{
    struct vbd *v;

    for (v = x->first; v; v = v->next) {
        if (v->domid == domid && v->devid == devid && !strcmp(v->kind, kind))
            return v;
    }
    return NULL;
}

void
vbd_seen(struct xenbus *x, const char *kind, uint32_t domid, uint32_t devid)
{
    struct vbd *v = vbd_find(x, kind, domid, devid);

    if (!v) {
        v = calloc(1, sizeof *v);
        if (!v) { /* no other event need ever come */
            xenbus_again(x);
            return;
        }
        v->x = x;
        snprintf(v->kind, sizeof v->kind, "%s", kind);
        v->domid = domid;
        v->devid = devid;
        snprintf(v->back, sizeof v->back,
                 "/local/domain/%" PRIu32 "/backend/%s/%" PRIu32 "/%" PRIu32,
                 x->domid, v->kind, domid, devid);
        v->next = x->first;
        x->first = v;
    }
    xenbus_dirty(v);
}

static void
vbd_free(struct vbd *v)
{
    struct xenbus *x = v->x;
    struct vbd **p = &x->first;
    char path[NODE_PATH];

    while (*p != v)
        p = &(*p)->next;
    *p = v->next;
    dirty_remove(v);
    if (v->timer_at)
        x->loop->ops->timer_stop(x->loop, &v->timer);
    if (v->token[0] && !node_path(path, v->watched, "state"))
        x->store->ops->unwatch(x->store, path, v->token);
    free(v->params);
    free(v);
}

void
xenbus_drop(struct vbd *v)
{
    if (v->disk_name[0]) {
        vbd_error_clear(v);
        xenbus_event(v, "gone", v->back);
    }
    vbd_free(v);
}

/* ---- life ---------------------------------------------------------------- */

int
xenbus_new(struct xenbus **out, struct loop *loop, struct store *store,
           struct disks *disks, struct conf *conf,
           const struct xenbus_events *events, void *ctx, char *why, size_t n)
{
    struct xenbus *x = calloc(1, sizeof *x);
    int rc;

    if (!x) {
        snprintf(why, n, "XenStore: out of memory");
        return -ENOMEM;
    }
    x->loop = loop;
    x->store = store;
    x->disks = disks;
    x->conf = conf_ref(conf);
    x->events = events;
    x->ctx = ctx;
    x->dirty_tail = &x->dirty;
    x->task.run = xenbus_run;
    rc = discover_start(x, why, n);
    if (rc) {
        xenbus_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

void
xenbus_reload(struct xenbus *x, struct conf *conf)
{
    char why[VBD_WHY];
    struct vbd *v;

    conf_ref(conf);
    conf_unref(x->conf);
    x->conf = conf;
    if (discover_kinds(x, conf, why, sizeof why))
        log_line(BLK_ERR, NULL, "%s", why);
    for (v = x->first; v; v = v->next) {
        /* What could not be opened is tried again with the new tree. */
        v->reopen_at = v->reopen_after = 0;
        v->hold_after = 0;
        v->stale = true;
        xenbus_dirty(v);
    }
}

void
xenbus_stop(struct xenbus *x, void (*done)(void *), void *ctx)
{
    struct vbd *v;

    x->stopping = true;
    x->stopped = done;
    x->stopped_ctx = ctx;
    for (v = x->first; v; v = v->next)
        vbd_medium_release(v);
    loop_defer(x->loop, &x->task, STAGE_CHAIN);
}

bool
xenbus_gone(struct xenbus *x, const char *key)
{
    char path[NODE_PATH], *at, *value;
    int n = snprintf(path, sizeof path,
                     "/local/domain/%" PRIu32 "/backend/%s/frontend", x->domid,
                     key);

    if (n < 0 || (size_t)n >= sizeof path)
        return true;
    if (x->emptied)
        return false; /* it may only be lost, and put back yet */
    for (at = path; (at = strchr(at, '.')); at++)
        *at = '/';
    errno = 0;
    value = x->store->ops->read(x->store, 0, path, NULL);
    free(value);
    return !value && errno == ENOENT;
}

void
xenbus_free(struct xenbus *x)
{
    if (!x)
        return;
    while (x->first)
        vbd_free(x->first);
    discover_stop(x);
    loop_undefer(x->loop, &x->task, STAGE_CHAIN);
    loop_undefer(x->loop, &x->task, STAGE_NEXT);
    conf_unref(x->conf);
    free(x);
}
