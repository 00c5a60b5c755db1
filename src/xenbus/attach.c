/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * attach.c: the nodes of a vbd as libxl writes them, and their removal.
 *
 * For hosts whose xl can't create the kind that we serve.  A marker in the
 * back-end directory says that the nodes are ours to remove: the vbd does that
 * once it has come to state 6 with online=0, also after a restart.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/pair.h"

/* ---- attach -------------------------------------------------------------- */

struct attach {
    const struct xenbus_attach *ask;
    const struct pair *pair;
};

static int
attach_tx(struct store *s, store_tx tx, void *arg)
{
    const struct attach *a = arg;

    return pair_make(s, tx, a->pair, a->ask);
}

static int
attach_error(int rc, const struct xenbus_attach *ask, const struct pair *p,
             char *why, size_t n)
{
    if (rc == -EEXIST)
        return pair_say(rc, why, n,
                        "vdev: expected a free one, found %s in use in "
                        "vm %s",
                        ask->vdev, ask->vm);
    if (rc == -EACCES || rc == -EPERM)
        return pair_say(rc, why, n,
                        "XenStore: domain %" PRIu32
                        " may not write %s: expected to "
                        "run in domain 0, or attach from there with xl",
                        p->self, p->front);
    return pair_say(rc, why, n, "XenStore: %s: %s", p->front, strerror(-rc));
}

int
xenbus_attach(struct store *s, const struct xenbus_attach *ask, char *why,
              size_t n)
{
    const char *kind = ask->kind ? ask->kind : "vbd3";
    struct attach a = { .ask = ask };
    struct pair p = { 0 };
    int rc;

    a.pair = &p;
    rc = pair_words(kind, ask->vdev, &p.devid, why, n);
    if (rc)
        return rc;
    if (!ask->params || !*ask->params)
        return pair_say(-EINVAL, why, n,
                        "params: expected the name of a disk, found nothing");
    rc = node_own_domid(s, &p.self);
    if (rc)
        return pair_say(rc, why, n, "XenStore: domid: %s", strerror(-rc));
    p.own = p.self;
    rc = pair_vm(s, ask->vm, true, &p.domid, why, n);
    if (rc)
        return rc;
    pair_paths(&p, kind);
    rc = node_transact(s, attach_tx, &a);
    return rc ? attach_error(rc, ask, &p, why, n) : 0;
}

/* ---- detach -------------------------------------------------------------- */

/* The kind under which this domain serves the vbd: looked up among back-end
 * directories, as the front-end's belong to the guest. */
static int
pair_find(struct store *s, struct pair *p)
{
    char dir[64];
    unsigned i, n = 0;
    char **kinds;
    int rc = -ENOENT;

    snprintf(dir, sizeof dir, "/local/domain/%" PRIu32 "/backend", p->self);
    kinds = s->ops->list(s, 0, dir, &n);
    if (!kinds)
        return -errno;
    for (i = 0; i < n && rc; i++) {
        enum bus_state state;

        if (strlen(kinds[i]) > 31)
            continue;
        pair_paths(p, kinds[i]);
        rc = node_state(s, 0, p->back, &state);
    }
    free(kinds);
    return rc;
}

static bool
pair_marked(struct store *s, const struct pair *p)
{
    char *by = node_text(s, 0, p->back, "attached-by");
    bool marked = by && !strcmp(by, PAIR_MARKER);

    free(by);
    return marked;
}

int
xenbus_detach(struct store *s, const char *vm, const char *vdev, bool force,
              char *why, size_t n)
{
    struct pair p = { 0 };
    int rc;

    if (devid_parse(vdev, &p.devid))
        return pair_say(-EINVAL, why, n,
                        "vdev: expected a name like xvda, found \"%s\"", vdev);
    rc = node_own_domid(s, &p.self);
    if (rc)
        return pair_say(rc, why, n, "XenStore: domid: %s", strerror(-rc));
    p.own = p.self;
    rc = pair_vm(s, vm, false, &p.domid, why, n);
    if (rc)
        return rc;
    rc = pair_find(s, &p);
    if (rc)
        return pair_say(rc, why, n,
                        "vdev: expected a disk of vm %s that this "
                        "domain serves, found no %s",
                        vm, vdev);
    if (!force && !p.self && !pair_marked(s, &p))
        return pair_say(-EPERM, why, n,
                        "%s of vm %s was not made by blktapctl: expected `xl "
                        "block-detach %s %s`",
                        vdev, vm, vm, vdev);
    rc = node_transact(s, force ? pair_remove : pair_leave, &p);
    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", p.back, strerror(-rc))
              : 0;
}

/* ---- what a vbd does at its end ------------------------------------------ */

int
vbd_remove_nodes(struct vbd *v)
{
    struct pair p = { .own = v->x->domid,
                      .self = v->x->domid,
                      .domid = v->domid,
                      .devid = v->devid };
    int rc;

    pair_paths(&p, v->kind);
    snprintf(p.front, sizeof p.front, "%s", v->front);
    if (v->ours)
        rc = node_transact(v->x->store, pair_remove, &p);
    else
        rc = pair_remove_back(v->x->store, 0, v->back);
    if (!rc)
        vbd_log(v, BLK_INFO, "its nodes are removed");
    return rc;
}
