/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pair.c: see pair.h. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/pair.h"

static const char marker[] = PAIR_MARKER;

int
pair_say(int rc, char *why, size_t n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, n, fmt, ap);
    va_end(ap);
    return rc;
}

void
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
        return pair_say(-errno, why, n,
                        "XenStore: /local/domain can't be read: %s",
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
        return pair_say(-ENOENT, why, n,
                        "vm: expected a running guest, found \"%s\"", vm);
    if (found > 1)
        return pair_say(
            -EEXIST, why, n,
            "vm: expected one guest named \"%s\", found %u: give its "
            "number",
            vm, found);
    return 0;
}

int
pair_vm(struct store *s, const char *vm, bool must_run, uint32_t *out,
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
        return pair_say(-ENOENT, why, n,
                        "vm: expected a running guest, found no "
                        "domain %" PRIu64,
                        id);
    return 0;
}

/* ---- made -------------------------------------------------------------- */

int
pair_write(struct store *s, store_tx tx, const char *dir,
           const struct pair_node *node)
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
int
pair_dir(struct store *s, store_tx tx, const char *dir, uint32_t owner,
         uint32_t reader)
{
    int rc = s->ops->mkdir(s, tx, dir);

    return rc ? rc : s->ops->perms(s, tx, dir, owner, reader);
}

bool
pair_exists(struct store *s, store_tx tx, const char *path)
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
    const struct pair_node nodes[] = {
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
        { "state", "1" },
        { NULL, NULL },
    };
    int rc = 0;

    snprintf(domid, sizeof domid, "%" PRIu32, a->pair->domid);
    if (a->pair->own == a->pair->self)
        rc = node_put(s, tx, dir, "attached-by", marker);
    return rc ? rc : pair_write(s, tx, dir, nodes);
}

static int
write_front(struct store *s, store_tx tx, const struct pair *p)
{
    char self[16], devid[16];
    const struct pair_node nodes[] = {
        { "backend", p->back },
        { "backend-id", self },
        { "virtual-device", devid },
        { "device-type", "disk" },
        { "state", "1" },
        { NULL, NULL },
    };

    snprintf(self, sizeof self, "%" PRIu32, p->self);
    snprintf(devid, sizeof devid, "%" PRIu32, p->devid);
    return pair_write(s, tx, p->front, nodes);
}

static int
write_libxl(struct store *s, store_tx tx, const struct attach *a)
{
    const struct pair *p = a->pair;
    const struct pair_node nodes[] = {
        { "frontend", p->front },
        { "backend", p->back },
        { NULL, NULL },
    };
    int rc = pair_dir(s, tx, p->libxl, 0, 0);

    if (!rc)
        rc = pair_write(s, tx, p->libxl, nodes);
    return rc ? rc : write_back(s, tx, a, p->libxl);
}

int
pair_make(struct store *s, store_tx tx, const struct pair *p,
          const struct xenbus_attach *ask)
{
    const struct attach attach = { ask, p }, *a = &attach;
    int rc;

    if (pair_exists(s, tx, p->front) || pair_exists(s, tx, p->back))
        return -EEXIST;
    rc = pair_dir(s, tx, p->front, p->domid, p->self);
    if (!rc)
        rc = write_front(s, tx, p);
    if (!rc)
        rc = pair_dir(s, tx, p->back, p->self, p->domid);
    if (!rc)
        rc = write_back(s, tx, a, p->back);
    if (!rc && !p->own)
        rc = write_libxl(s, tx, a);
    return rc;
}

int
pair_words(const char *kind, const char *vdev, uint32_t *devid, char *why,
           size_t n)
{
    if (!*kind ||
        strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_-") !=
            strlen(kind) ||
        strlen(kind) > 31)
        return pair_say(-EINVAL, why, n,
                        "kind: expected one like vbd3, found "
                        "\"%s\"",
                        kind);
    if (devid_parse(vdev, devid))
        return pair_say(-EINVAL, why, n,
                        "vdev: expected a name like xvda, found \"%s\"", vdev);
    return 0;
}

/* ---- asked to leave, and removed ---------------------------------------- */

int
pair_leave(struct store *s, store_tx tx, void *pair)
{
    const struct pair *p = pair;
    enum bus_state state;
    int rc = node_state(s, tx, p->back, &state);

    if (!rc)
        rc = node_put(s, tx, p->back, "online", "0");
    if (!rc && state != BUS_CLOSED)
        rc = node_put(s, tx, p->back, "state", "5");
    return rc;
}

int
pair_remove_back(struct store *s, store_tx tx, const char *back)
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

int
pair_remove(struct store *s, store_tx tx, void *pair)
{
    const struct pair *p = pair;
    int rc = 0;

    if (pair_exists(s, tx, p->front))
        rc = s->ops->rm(s, tx, p->front);
    if (!rc && pair_exists(s, tx, p->libxl))
        rc = s->ops->rm(s, tx, p->libxl);
    return rc ? rc : pair_remove_back(s, tx, p->back);
}
