/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * claim.c: what a vbd is, by what the toolstack wrote, and whether we serve it.
 *
 * Decisions follow back-end nodes only (XSA-175, XSA-178): the guest owns its
 * own directory and may write anything there.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/interpose.h"
#include "xenbus/vbd.h"

/* malloc'd, or NULL with *rc set when XenStore itself failed. */
static char *
back_text(struct vbd *v, const char *leaf, int *rc)
{
    char *s = node_text(v->x->store, 0, v->back, leaf);

    if (!s && errno != ENOENT && errno != EINVAL && errno != EACCES)
        *rc = -errno;
    return s;
}

static bool
back_flag(struct vbd *v, const char *leaf, bool fallback, int *rc)
{
    char *s = back_text(v, leaf, rc);
    bool on = s ? strcmp(s, "0") != 0 : fallback;

    free(s);
    return on;
}

static void
take_text(char *to, size_t n, char *from)
{
    snprintf(to, n, "%s", from ? from : "");
    free(from);
}

static int
read_static(struct vbd *v)
{
    char *mode, *type, *marker, *script;
    int rc = 0;

    take_text(v->front, sizeof v->front, back_text(v, "frontend", &rc));
    take_text(v->vdev, sizeof v->vdev, back_text(v, "dev", &rc));
    if (!v->vdev[0])
        snprintf(v->vdev, sizeof v->vdev, "%" PRIu32, v->devid);
    free(v->params);
    v->params = back_text(v, "params", &rc);
    mode = back_text(v, "mode", &rc);
    v->readonly = !mode || !strchr(mode, 'w');
    type = back_text(v, "device-type", &rc);
    v->cdrom = type && !strcmp(type, "cdrom");
    v->removable = back_flag(v, "removable", false, &rc);
    v->discard_enable = back_flag(v, "discard-enable", true, &rc);
    script = back_text(v, "script", &rc);
    /* Only libxl in domain 0 runs a script that waits for us. */
    v->scripted = script && !v->x->domid;
    v->handed = back_flag(v, INTERPOSE_HANDED, false, &rc);
    marker = back_text(v, "attached-by", &rc);
    v->ours = marker && !strcmp(marker, "blktapctl");
    free(mode);
    free(type);
    free(script);
    free(marker);
    return rc;
}

/* Another domain's name: not always ours to read. */
static int
read_vm(struct vbd *v)
{
    char dir[64];
    char *name;

    snprintf(dir, sizeof dir, "/local/domain/%" PRIu32, v->domid);
    name = node_text(v->x->store, 0, dir, "name");
    if (!name && errno != ENOENT && errno != EINVAL && errno != EACCES)
        return -errno;
    take_text(v->vm, sizeof v->vm, name);
    return 0;
}

__attribute__((format(printf, 2, 3))) static void
unclaim(struct vbd *v, const char *fmt, ...)
{
    bool was = v->claimed;
    char why[VBD_WHY];
    va_list ap;

    v->claimed = false;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (!was && !strcmp(why, v->why))
        return; /* said when it was new */
    snprintf(v->why, sizeof v->why, "%s", why);
    vbd_log(v, BLK_WARN, "%s: %s", was ? "let go" : "not ours", why);
    /* A script waits for us alone. */
    if (v->handed && !was)
        vbd_error_hotplug(v, why);
}

/* XenStore's own rule for a path; what breaks it could never be read. */
static bool
is_path(const char *p)
{
    size_t n = strlen(p);

    return n && n < VBD_PATH - 1 && p[n - 1] != '/' && !strstr(p, "//") &&
           strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789-/_@") == n;
}

/* The directory that we shall read and watch must be that guest's. */
static int
check_front(struct vbd *v)
{
    char own[64], found[64] = "nothing";
    uint64_t id = 0;
    size_t n;
    int rc = node_number(v->x->store, 0, v->back, "frontend-id", UINT16_MAX,
                         &id, found, sizeof found);

    if (rc && rc != -ENOENT && rc != -EINVAL && rc != -EACCES)
        return rc;
    if (rc || id != v->domid) {
        unclaim(v, "node frontend-id: expected %" PRIu32 ", found %s", v->domid,
                found);
        return 1;
    }
    n = (size_t)snprintf(own, sizeof own, "/local/domain/%" PRIu32 "/",
                         v->domid);
    if (strncmp(v->front, own, n) || !is_path(v->front)) {
        printable(found, sizeof found, v->front, strlen(v->front));
        unclaim(v, "node frontend: expected a path below %s, found %s", own,
                found);
        return 1;
    }
    return 0;
}

bool
vbd_kind_served(const struct vbd *v)
{
    const char *const *k;

    for (k = v->x->conf->kinds; *k; k++) {
        if (!strcmp(*k, v->kind))
            return true;
    }
    return false;
}

static const struct conf_disk *
find_disk(struct vbd *v)
{
    const struct conf_disk *cd;
    char params[80] = "nothing";

    if (!vbd_kind_served(v)) {
        unclaim(v, "kind %s is not among the kinds of the config", v->kind);
        return NULL;
    }
    if (!v->handed && host_kernel_serves(v->kind)) {
        unclaim(v, "xen-blkback owns kind %s in this domain", v->kind);
        return NULL;
    }
    cd = conf_match(v->x->conf, v->params, v->vm[0] ? v->vm : NULL, v->devid);
    if (!cd) {
        if (v->params)
            printable(params, sizeof params, v->params, strlen(v->params));
        unclaim(v, "no disk in the config matches (params %s, vm %s, vdev %s)",
                params, v->vm[0] ? v->vm : "unknown", v->vdev);
    }
    return cd;
}

int
vbd_identify(struct vbd *v)
{
    const struct conf_disk *cd;
    bool was = v->claimed;
    int rc = read_static(v);

    if (!rc)
        rc = vbd_read_attachment(v);
    if (!rc)
        rc = read_vm(v);
    if (!rc)
        rc = check_front(v);
    if (rc)
        return rc < 0 ? rc : 0;
    cd = find_disk(v);
    if (!cd)
        return 0;
    snprintf(v->disk_name, sizeof v->disk_name, "%s", cd->name);
    v->claimed = true;
    if (!was) {
        v->why[0] = '\0';
        xenbus_event(v, "claimed", v->back);
    }
    return 0;
}
