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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/vbd.h"

static const char marker[] = "blktapctl";

/* Where the two ends and the toolstack's copy are. */
struct pair {
    uint32_t self, domid, devid;
    char front[VBD_PATH], back[VBD_PATH], libxl[VBD_PATH];
};

__attribute__((format(printf, 4, 5))) static int
say(int rc, char *why, size_t n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, n, fmt, ap);
    va_end(ap);
    return rc;
}

static void
pair_paths(struct pair *p, const char *kind)
{
    snprintf(p->front, sizeof p->front,
             "/local/domain/%" PRIu32 "/device/vbd/%" PRIu32, p->domid,
             p->devid);
    snprintf(p->back, sizeof p->back,
             "/local/domain/%" PRIu32 "/backend/%s/%" PRIu32 "/%" PRIu32,
             p->self, kind, p->domid, p->devid);
    snprintf(p->libxl, sizeof p->libxl,
             "/libxl/%" PRIu32 "/device/vbd/%" PRIu32, p->domid, p->devid);
}

/* ---- a guest by name or number ------------------------------------------- */

static int
vm_by_name(struct store *s, const char *vm, uint32_t *out, char *why, size_t n)
{
    unsigned i, count = 0, found = 0;
    char **ids = s->ops->list(s, 0, "/local/domain", &count);
    char dir[64];

    if (!ids)
        return say(-errno, why, n, "XenStore: /local/domain can't be read: %s",
                   strerror(errno));
    for (i = 0; i < count; i++) {
        uint64_t id;
        char *name;

        if (!number_parse(ids[i], UINT16_MAX, &id))
            continue;
        snprintf(dir, sizeof dir, "/local/domain/%" PRIu64, id);
        name = node_text(s, 0, dir, "name");
        if (name && !strcmp(name, vm)) {
            *out = (uint32_t)id;
            found++;
        }
        free(name);
    }
    free(ids);
    if (!found)
        return say(-ENOENT, why, n,
                   "vm: expected a running guest, found \"%s\"", vm);
    if (found > 1)
        return say(-EEXIST, why, n,
                   "vm: expected one guest named \"%s\", found %u: give its "
                   "number",
                   vm, found);
    return 0;
}

/* must_run: also a number has to be that of a guest. */
static int
vm_find(struct store *s, const char *vm, bool must_run, uint32_t *out,
        char *why, size_t n)
{
    char path[64];
    uint64_t id;
    char *found;

    if (!number_parse(vm, UINT16_MAX, &id))
        return vm_by_name(s, vm, out, why, n);
    *out = (uint32_t)id;
    if (!must_run)
        return 0;
    snprintf(path, sizeof path, "/local/domain/%" PRIu64, id);
    found = s->ops->read(s, 0, path, NULL);
    free(found);
    if (!found)
        return say(-ENOENT, why, n,
                   "vm: expected a running guest, found no "
                   "domain %" PRIu64,
                   id);
    return 0;
}

/* ---- attach -------------------------------------------------------------- */

struct node {
    const char *leaf, *value;
};

static int
write_nodes(struct store *s, store_tx tx, const char *dir,
            const struct node *node)
{
    char path[NODE_PATH];
    int rc = 0;

    for (; node->leaf && !rc; node++) {
        rc = node_path(path, dir, node->leaf);
        if (!rc)
            rc = s->ops->write(s, tx, path, node->value);
    }
    return rc;
}

/* Permissions first: what is made before them keeps those of the parent. */
static int
make_dir(struct store *s, store_tx tx, const char *dir, uint32_t owner,
         uint32_t reader)
{
    int rc = s->ops->mkdir(s, tx, dir);

    return rc ? rc : s->ops->perms(s, tx, dir, owner, reader);
}

static bool
exists(struct store *s, store_tx tx, const char *path)
{
    char *v = s->ops->read(s, tx, path, NULL);

    free(v);
    return v != NULL;
}

struct attach {
    const struct xenbus_attach *ask;
    const struct pair *pair;
};

static int
write_back(struct store *s, store_tx tx, const struct attach *a,
           const char *dir)
{
    char domid[16];
    const struct node nodes[] = {
        { "frontend", a->pair->front },
        { "params", a->ask->params },
        { "frontend-id", domid },
        { "online", "1" },
        { "removable", "0" },
        { "bootable", "1" },
        { "dev", a->ask->vdev },
        { "type", "phy" },
        { "mode", a->ask->readonly ? "r" : "w" },
        { "device-type", "disk" },
        { "discard-enable", "1" },
        { "specification", "xen" },
        { "attached-by", marker },
        { "state", "1" },
        { NULL, NULL },
    };

    snprintf(domid, sizeof domid, "%" PRIu32, a->pair->domid);
    return write_nodes(s, tx, dir, nodes);
}

static int
write_front(struct store *s, store_tx tx, const struct pair *p)
{
    char self[16], devid[16];
    const struct node nodes[] = {
        { "backend", p->back },
        { "backend-id", self },
        { "virtual-device", devid },
        { "device-type", "disk" },
        { "state", "1" },
        { NULL, NULL },
    };

    snprintf(self, sizeof self, "%" PRIu32, p->self);
    snprintf(devid, sizeof devid, "%" PRIu32, p->devid);
    return write_nodes(s, tx, p->front, nodes);
}

static int
write_libxl(struct store *s, store_tx tx, const struct attach *a)
{
    const struct pair *p = a->pair;
    const struct node nodes[] = {
        { "frontend", p->front },
        { "backend", p->back },
        { NULL, NULL },
    };
    int rc = make_dir(s, tx, p->libxl, 0, 0);

    if (!rc)
        rc = write_nodes(s, tx, p->libxl, nodes);
    return rc ? rc : write_back(s, tx, a, p->libxl);
}

static int
attach_tx(struct store *s, store_tx tx, void *arg)
{
    struct attach *a = arg;
    const struct pair *p = a->pair;
    int rc;

    if (exists(s, tx, p->front) || exists(s, tx, p->back))
        return -EEXIST;
    rc = make_dir(s, tx, p->front, p->domid, p->self);
    if (!rc)
        rc = write_front(s, tx, p);
    if (!rc)
        rc = make_dir(s, tx, p->back, p->self, p->domid);
    if (!rc)
        rc = write_back(s, tx, a, p->back);
    if (!rc && !p->self)
        rc = write_libxl(s, tx, a);
    return rc;
}

static int
attach_error(int rc, const struct xenbus_attach *ask, const struct pair *p,
             char *why, size_t n)
{
    if (rc == -EEXIST)
        return say(rc, why, n,
                   "vdev: expected a free one, found %s in use in "
                   "vm %s",
                   ask->vdev, ask->vm);
    if (rc == -EACCES || rc == -EPERM)
        return say(rc, why, n,
                   "XenStore: domain %" PRIu32 " may not write %s: expected to "
                   "run in domain 0, or attach from there with xl",
                   p->self, p->front);
    return say(rc, why, n, "XenStore: %s: %s", p->front, strerror(-rc));
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
    if (!*kind ||
        strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_-") !=
            strlen(kind) ||
        strlen(kind) > 31)
        return say(-EINVAL, why, n,
                   "kind: expected one like vbd3, found "
                   "\"%s\"",
                   kind);
    if (devid_parse(ask->vdev, &p.devid))
        return say(-EINVAL, why, n,
                   "vdev: expected a name like xvda, found \"%s\"", ask->vdev);
    if (!ask->params || !*ask->params)
        return say(-EINVAL, why, n,
                   "params: expected the name of a disk, found nothing");
    rc = node_own_domid(s, &p.self);
    if (rc)
        return say(rc, why, n, "XenStore: domid: %s", strerror(-rc));
    rc = vm_find(s, ask->vm, true, &p.domid, why, n);
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
    bool marked = by && !strcmp(by, marker);

    free(by);
    return marked;
}

/* As libxl asks for it: offline, and Closing unless it is closed. */
static int
ask_to_leave(struct store *s, store_tx tx, void *arg)
{
    const struct pair *p = arg;
    enum bus_state state;
    int rc = node_state(s, tx, p->back, &state);

    if (!rc)
        rc = node_put(s, tx, p->back, "online", "0");
    if (!rc && state != BUS_CLOSED)
        rc = node_put(s, tx, p->back, "state", "5");
    return rc;
}

/* The directory, and the guest's directory above it when that is empty. */
static int
remove_back(struct store *s, store_tx tx, const char *back)
{
    char above[VBD_PATH];
    unsigned n = 0;
    char **left;
    int rc = s->ops->rm(s, tx, back);

    if (rc && rc != -ENOENT)
        return rc;
    snprintf(above, sizeof above, "%s", back);
    *strrchr(above, '/') = '\0';
    left = s->ops->list(s, tx, above, &n);
    if (left && !n)
        s->ops->rm(s, tx, above); /* a wish: it may be another's */
    free(left);
    return 0;
}

/* A removal of what is not there is well. */
static int
remove_all(struct store *s, store_tx tx, void *arg)
{
    const struct pair *p = arg;
    int rc = 0;

    if (exists(s, tx, p->front))
        rc = s->ops->rm(s, tx, p->front);
    if (!rc && exists(s, tx, p->libxl))
        rc = s->ops->rm(s, tx, p->libxl);
    return rc ? rc : remove_back(s, tx, p->back);
}

int
xenbus_detach(struct store *s, const char *vm, const char *vdev, bool force,
              char *why, size_t n)
{
    struct pair p = { 0 };
    int rc;

    if (devid_parse(vdev, &p.devid))
        return say(-EINVAL, why, n,
                   "vdev: expected a name like xvda, found \"%s\"", vdev);
    rc = node_own_domid(s, &p.self);
    if (rc)
        return say(rc, why, n, "XenStore: domid: %s", strerror(-rc));
    rc = vm_find(s, vm, false, &p.domid, why, n);
    if (rc)
        return rc;
    rc = pair_find(s, &p);
    if (rc)
        return say(rc, why, n,
                   "vdev: expected a disk of vm %s that this "
                   "domain serves, found no %s",
                   vm, vdev);
    if (!force && !p.self && !pair_marked(s, &p))
        return say(-EPERM, why, n,
                   "%s of vm %s was not made by blktapctl: expected `xl "
                   "block-detach %s %s`",
                   vdev, vm, vm, vdev);
    rc = node_transact(s, force ? remove_all : ask_to_leave, &p);
    return rc ? say(rc, why, n, "XenStore: %s: %s", p.back, strerror(-rc)) : 0;
}

/* ---- what a vbd does at its end ------------------------------------------ */

int
vbd_remove_nodes(struct vbd *v)
{
    struct pair p = { .self = v->x->domid,
                      .domid = v->domid,
                      .devid = v->devid };
    int rc;

    pair_paths(&p, v->kind);
    snprintf(p.front, sizeof p.front, "%s", v->front);
    if (v->ours)
        rc = node_transact(v->x->store, remove_all, &p);
    else
        rc = remove_back(v->x->store, 0, v->back);
    if (!rc)
        vbd_log(v, BLK_INFO, "its nodes are removed");
    return rc;
}
