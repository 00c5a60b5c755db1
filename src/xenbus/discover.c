/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * discover.c: the watches, the set of vbds, and the queue of dirty ones.
 *
 * One watch on backend/KIND per kind, one on the state of each claimed vbd's
 * front-end, one on @releaseDomain.  An event only marks vbds dirty: what a
 * guest can cause is one entry in a queue, however often it writes (XSA-349).
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/vbd.h"

static const char token_kind[] = "kind", token_release[] = "release";

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

/* Looks at this vbd; known or not. */
static void
vbd_seen(struct xenbus *x, const char *kind, uint32_t domid, uint32_t devid)
{
    struct vbd *v = vbd_find(x, kind, domid, devid);

    if (!v) {
        v = calloc(1, sizeof *v);
        if (!v)
            return; /* the next event or scan finds it */
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

/* ---- again --------------------------------------------------------------- */

static void xenbus_read_all(struct xenbus *);

static void
xenbus_timer(struct blk_timer *t)
{
    struct xenbus *x = t->data;

    x->timer_runs = false;
    xenbus_read_all(x);
}

/* XenStore failed in the middle of a scan or of a watch: all of it is done
 * again a little later. */
static void
xenbus_again(struct xenbus *x)
{
    if (x->timer_runs)
        return;
    x->timer_runs = true;
    x->timer.fire = xenbus_timer;
    x->timer.data = x;
    x->loop->ops->timer_start(x->loop, &x->timer, STORE_RETRY_NS);
}

/* ---- scans --------------------------------------------------------------- */

/* The names in dir; none when it is not there. */
static int
scan_names(struct xenbus *x, const char *dir, char ***names, unsigned *n)
{
    *n = 0;
    *names = x->store->ops->list(x->store, 0, dir, n);
    if (*names)
        return 0;
    *n = 0;
    return errno == ENOENT ? 0 : -errno;
}

static int
scan_domain(struct xenbus *x, const char *kind, const char *dir, uint32_t domid)
{
    unsigned i, n;
    char **names;
    uint64_t devid;
    int rc = scan_names(x, dir, &names, &n);

    for (i = 0; i < n; i++) {
        if (number_parse(names[i], UINT32_MAX, &devid))
            vbd_seen(x, kind, domid, (uint32_t)devid);
    }
    free(names);
    return rc;
}

/* Those that are there, and those that were. */
static void
scan_kind(struct xenbus *x, const char *kind)
{
    char dir[NODE_PATH], sub[NODE_PATH];
    unsigned i, n;
    uint64_t domid;
    struct vbd *v;
    char **names;
    int rc;

    snprintf(dir, sizeof dir, "/local/domain/%" PRIu32 "/backend/%s", x->domid,
             kind);
    rc = scan_names(x, dir, &names, &n);
    for (i = 0; i < n && !rc; i++) {
        if (number_parse(names[i], UINT16_MAX, &domid) &&
            !node_path(sub, dir, names[i]))
            rc = scan_domain(x, kind, sub, (uint32_t)domid);
    }
    free(names);
    if (rc)
        xenbus_again(x);
    for (v = x->first; v; v = v->next) {
        if (!strcmp(v->kind, kind))
            xenbus_dirty(v);
    }
}

static void
dirty_all(struct xenbus *x)
{
    struct vbd *v;

    for (v = x->first; v; v = v->next)
        xenbus_dirty(v);
}

/* ---- events -------------------------------------------------------------- */

/* Only what somebody else writes is news; our own nodes are not. */
static bool
leaf_matters(const char *leaf)
{
    static const char *const names[] = { "",         "state",       "online",
                                         "frontend", "frontend-id", "params",
                                         "mode",     NULL };
    int i;

    for (i = 0; names[i]; i++) {
        if (!strcmp(leaf, names[i]))
            return true;
    }
    return false;
}

/* path: below backend/; "KIND[/DOMID[/DEVID[/LEAF]]]". */
static void
back_changed(struct xenbus *x, const char *path)
{
    char part[4][64] = { "", "", "", "" };
    uint64_t domid, devid;
    int i;

    for (i = 0; i < 4 && *path; i++) {
        size_t n = strcspn(path, "/");

        if (n >= sizeof part[i])
            return;
        memcpy(part[i], path, n);
        path += n;
        path += *path == '/';
    }
    if (!part[2][0]) {
        scan_kind(x, part[0]);
        return;
    }
    if (number_parse(part[1], UINT16_MAX, &domid) &&
        number_parse(part[2], UINT32_MAX, &devid) && leaf_matters(part[3]))
        vbd_seen(x, part[0], (uint32_t)domid, (uint32_t)devid);
}

static void
xenbus_changed(void *ctx, const char *path, const char *token)
{
    struct xenbus *x = ctx;
    struct vbd *v;

    if (x->stopping)
        return;
    if (!strcmp(token, token_kind)) {
        char prefix[64];
        size_t n =
            (size_t)snprintf(prefix, sizeof prefix,
                             "/local/domain/%" PRIu32 "/backend/", x->domid);

        if (!strncmp(path, prefix, n))
            back_changed(x, path + n);
        return;
    }
    if (!strcmp(token, token_release)) {
        dirty_all(x);
        return;
    }
    for (v = x->first; v; v = v->next) {
        if (!strcmp(v->token, token)) {
            vbd_front_wrote(v);
            return;
        }
    }
}

/* ---- watches ------------------------------------------------------------- */

static int
watch_kind(struct xenbus *x, const char *kind)
{
    char path[NODE_PATH];

    snprintf(path, sizeof path, "/local/domain/%" PRIu32 "/backend/%s",
             x->domid, kind);
    return x->store->ops->watch(x->store, path, token_kind);
}

static int
add_kind(struct xenbus *x, const char *kind)
{
    char **more;
    unsigned i;
    int rc;

    for (i = 0; i < x->kinds; i++) {
        if (!strcmp(x->kind[i], kind))
            return 0;
    }
    if (!*kind || strlen(kind) >= sizeof x->first->kind || strchr(kind, '/'))
        return -EINVAL;
    more = realloc(x->kind, (x->kinds + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    x->kind = more;
    more[x->kinds] = strdup(kind);
    if (!more[x->kinds])
        return -ENOMEM;
    rc = watch_kind(x, kind);
    if (rc)
        free(more[x->kinds]);
    else
        x->kinds++;
    return rc;
}

static int
add_kinds(struct xenbus *x, const struct conf *conf, char *why, size_t n)
{
    const char *const *k;
    int rc;

    for (k = conf->kinds; *k; k++) {
        rc = add_kind(x, *k);
        if (rc) {
            snprintf(why, n, "XenStore: backend/%s can't be watched: %s", *k,
                     strerror(-rc));
            return rc;
        }
    }
    return 0;
}

/* What is watched already stays so (-EEXIST). */
static void
xenbus_read_all(struct xenbus *x)
{
    struct vbd *v;
    unsigned i;
    int rc;

    if (x->stopping)
        return;
    for (i = 0; i < x->kinds; i++) {
        rc = watch_kind(x, x->kind[i]);
        if (rc && rc != -EEXIST)
            xenbus_again(x);
        scan_kind(x, x->kind[i]);
    }
    rc = x->store->ops->watch(x->store, "@releaseDomain", token_release);
    if (rc && rc != -EEXIST)
        xenbus_again(x);
    for (v = x->first; v; v = v->next)
        xenbus_dirty(v);
}

/* xenstored came back: it knows no watches, and anything may have happened.
 * Disks were served all the while. */
static void
xenbus_renewed(void *ctx)
{
    struct xenbus *x = ctx;
    struct vbd *v;

    log_line(BLK_INFO, NULL, "XenStore is back: everything is read again");
    for (v = x->first; v; v = v->next) {
        v->token[0] = '\0'; /* the look watches anew */
        v->renewed = v->link == LINK_UP;
    }
    xenbus_read_all(x);
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
    store->changed = xenbus_changed;
    store->renewed = xenbus_renewed;
    store->ctx = x;
    rc = node_own_domid(store, &x->domid);
    if (!rc)
        rc = store->ops->watch(store, "@releaseDomain", token_release);
    if (rc)
        snprintf(why, n, "XenStore: @releaseDomain can't be watched: %s",
                 strerror(-rc));
    else
        rc = add_kinds(x, conf, why, n);
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
    if (add_kinds(x, conf, why, sizeof why))
        log_line(BLK_ERR, NULL, "%s", why);
    for (v = x->first; v; v = v->next) {
        /* What could not be opened is tried again with the new tree. */
        v->reopen_at = v->reopen_after = 0;
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

void
xenbus_free(struct xenbus *x)
{
    unsigned i;

    if (!x)
        return;
    while (x->first)
        vbd_free(x->first);
    for (i = 0; i < x->kinds; i++) {
        char path[NODE_PATH];

        snprintf(path, sizeof path, "/local/domain/%" PRIu32 "/backend/%s",
                 x->domid, x->kind[i]);
        x->store->ops->unwatch(x->store, path, token_kind);
        free(x->kind[i]);
    }
    free(x->kind);
    x->store->ops->unwatch(x->store, "@releaseDomain", token_release);
    if (x->timer_runs)
        x->loop->ops->timer_stop(x->loop, &x->timer);
    x->store->changed = NULL;
    x->store->renewed = NULL;
    loop_undefer(x->loop, &x->task, STAGE_CHAIN);
    loop_undefer(x->loop, &x->task, STAGE_NEXT);
    conf_unref(x->conf);
    free(x);
}
