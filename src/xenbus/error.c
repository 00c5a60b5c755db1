/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.c: sentences where a person looks for them.
 *
 * In this domain's error/backend/KIND/DOMID/DEVID/error, as the kernel's
 * drivers do; and, when the medium can't be opened, in hotplug-error beside
 * hotplug-status, which the script that xl runs reads: xl then prints it.
 * Failing to say it is no reason to stop: the log has the sentence too.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "xenbus/vbd.h"

static int
error_dir(const struct vbd *v, char out[NODE_PATH])
{
    int n = snprintf(out, NODE_PATH, "/local/domain/%u/error/backend/%s/%u/%u",
                     v->x->domid, v->kind, v->domid, v->devid);

    return n < 0 || n >= NODE_PATH ? -ENAMETOOLONG : 0;
}

void
vbd_error_say(struct vbd *v, int error, const char *why)
{
    char dir[NODE_PATH], text[VBD_WHY + 16];

    snprintf(v->why, sizeof v->why, "%s", why);
    vbd_log(v, BLK_ERR, "%s", why);
    xenbus_event(v, "error", why);
    snprintf(text, sizeof text, "%d %s", -error, why);
    if (!error_dir(v, dir))
        node_put(v->x->store, 0, dir, "error", text);
}

struct hotplug {
    struct vbd *vbd;
    const char *why;
};

static int
put_hotplug(struct store *s, store_tx tx, void *arg)
{
    struct hotplug *h = arg;
    struct vbd *v = h->vbd;
    enum bus_state state;
    int rc = node_state(s, tx, v->back, &state);

    if (rc)
        return rc;
    if (!h->why) {
        rc = node_drop(s, tx, v->back, "hotplug-error");
        return rc ? rc
                  : node_put(s, tx, v->back, "hotplug-status", "connected");
    }
    rc = node_put(s, tx, v->back, "hotplug-error", h->why);
    return rc ? rc : node_put(s, tx, v->back, "hotplug-status", "error");
}

void
vbd_error_hotplug(struct vbd *v, const char *why)
{
    struct hotplug h = { .vbd = v, .why = why };

    v->told_script = !node_transact(v->x->store, put_hotplug, &h) && why;
}

void
vbd_error_clear(struct vbd *v)
{
    char dir[NODE_PATH];
    struct store *s = v->x->store;
    char *old;

    v->why[0] = '\0';
    if (error_dir(v, dir))
        return;
    old = node_text(s, 0, dir, "error");
    if (!old)
        return;
    free(old);
    s->ops->rm(s, 0, dir);
}
