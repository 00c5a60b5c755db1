/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* list.c: every vbd that was seen, and why it is as it is. */
#include "config.h"

#include <string.h>

#include "xenbus/vbd.h"

static void
put_str(struct json_object *o, const char *name, const char *value)
{
    json_object_object_add(o, name, json_object_new_string(value));
}

static void
put_num(struct json_object *o, const char *name, uint64_t value)
{
    json_object_object_add(o, name, json_object_new_uint64(value));
}

static void
put_bool(struct json_object *o, const char *name, bool value)
{
    json_object_object_add(o, name, json_object_new_boolean(value));
}

static struct json_object *
list_vbd(const struct vbd *v)
{
    static const char *const links[] = { "no", "changing", "yes" };
    static const char *const media[] = { "closed", "opening", "open",
                                         "closing" };
    struct json_object *o = json_object_new_object();
    char params[80] = "";

    put_str(o, "kind", v->kind);
    put_num(o, "domid", v->domid);
    put_num(o, "devid", v->devid);
    put_str(o, "vm", v->vm);
    put_str(o, "vdev", v->vdev);
    put_str(o, "path", v->back);
    put_bool(o, "claimed", v->claimed);
    put_str(o, "state", bus_name(v->own));
    if (v->params) {
        printable(params, sizeof params, v->params, strlen(v->params));
        put_str(o, "params", v->params[0] ? params : "");
    }
    if (v->claimed) {
        put_str(o, "disk", v->disk_name);
        put_str(o, "front-end", bus_name(v->front_state));
        put_str(o, "connected", links[v->link]);
        put_str(o, "medium", media[v->medium]);
        put_bool(o, "online", v->online);
    }
    if (v->why[0])
        put_str(o, "why", v->why);
    return o;
}

struct json_object *
xenbus_list(struct xenbus *x)
{
    struct json_object *a = json_object_new_array();
    const struct vbd *v;

    for (v = x->first; v; v = v->next)
        json_object_array_add(a, list_vbd(v));
    return a;
}
