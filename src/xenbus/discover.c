/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * discover.c: the watches, what they tell, and scans of what is there.
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

/* ---- again --------------------------------------------------------------- */

static void xenbus_read_all(struct xenbus *);

static void
xenbus_timer(struct blk_timer *t)
{
    struct xenbus *x = t->data;

    x->timer_runs = false;
    xenbus_read_all(x);
}

/* XenStore failed in the middle of a scan or of a watch, or there was no memory
 * for a vbd: all of it is done again a little later. */
void
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

int
discover_kinds(struct xenbus *x, const struct conf *conf, char *why, size_t n)
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

/* ---- what xenstored lost ------------------------------------------------- */

/* A node of ours: when it is missing after xenstored came back, all that was in
 * it may be.  Where we may write none, that is taken for granted. */
static void
mark_put(struct xenbus *x)
{
    char dir[NODE_PATH];

    snprintf(dir, sizeof dir, "/local/domain/%" PRIu32 "/data", x->domid);
    node_put(x->store, 0, dir, "blktapd", "serves");
}

static bool
mark_stands(struct xenbus *x)
{
    char dir[NODE_PATH];
    char *text;

    snprintf(dir, sizeof dir, "/local/domain/%" PRIu32 "/data", x->domid);
    text = node_text(x->store, 0, dir, "blktapd");
    free(text);
    return text;
}

static void
mark_drop(struct xenbus *x)
{
    char path[NODE_PATH];

    snprintf(path, sizeof path, "/local/domain/%" PRIu32 "/data/blktapd",
             x->domid);
    x->store->ops->rm(x->store, 0, path);
}

/* xenstored came back: it knows no watches, and anything may have happened.
 * Disks were served all the while.  A vbd whose nodes are missing was removed,
 * if xenstored kept what it had; else they are lost, and it is served on. */
static void
xenbus_renewed(void *ctx)
{
    struct xenbus *x = ctx;
    bool lost = !mark_stands(x);
    struct vbd *v;

    x->emptied = x->emptied || lost;
    log_line(BLK_INFO, NULL, "XenStore is back: everything is read again");
    for (v = x->first; v; v = v->next) {
        v->token[0] = '\0'; /* the look watches anew */
        v->renewed = v->renewed || (lost && v->link == LINK_UP);
    }
    mark_put(x);
    xenbus_read_all(x);
}

/* ---- life ---------------------------------------------------------------- */

int
discover_start(struct xenbus *x, char *why, size_t n)
{
    int rc = node_own_domid(x->store, &x->domid);

    x->store->changed = xenbus_changed;
    x->store->renewed = xenbus_renewed;
    x->store->ctx = x;
    if (!rc)
        rc = x->store->ops->watch(x->store, "@releaseDomain", token_release);
    if (rc) {
        snprintf(why, n, "XenStore: @releaseDomain can't be watched: %s",
                 strerror(-rc));
        return rc;
    }
    rc = discover_kinds(x, x->conf, why, n);
    if (!rc)
        mark_put(x);
    return rc;
}

void
discover_stop(struct xenbus *x)
{
    char path[NODE_PATH];
    unsigned i;

    for (i = 0; i < x->kinds; i++) {
        snprintf(path, sizeof path, "/local/domain/%" PRIu32 "/backend/%s",
                 x->domid, x->kind[i]);
        x->store->ops->unwatch(x->store, path, token_kind);
        free(x->kind[i]);
    }
    free(x->kind);
    x->store->ops->unwatch(x->store, "@releaseDomain", token_release);
    mark_drop(x);
    if (x->timer_runs)
        x->loop->ops->timer_stop(x->loop, &x->timer);
    x->store->changed = NULL;
    x->store->renewed = NULL;
}
