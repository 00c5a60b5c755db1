/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xenbus_kit.c: see xenbus_kit.h. */
#include "config.h"

#include "tests/unit/xenbus_kit.h"

#include "tests/test.h"

void
world_end(void)
{
    world_free();
    CHECK_EQ(w.ghosts, 0);
    CHECK_EQ(fd.misuses, 0);
    CHECK_EQ(fd.open_now, 0);
    CHECK_EQ(fd.callbacks, fd.expected);
    CHECK_EQ(w.watches, 0);
    CHECK_EQ(w.open_tx, 0);
    CHECK_EQ(w.conf.refs, 0);
    world_reset();
}

void
front_connects(void)
{
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    front_state("4");
    world_run();
    CHECK_EQ(fd.connected_now, 1);
}

const char *
listed(const char *name)
{
    static char text[600];
    struct json_object *a = xenbus_list(w.x), *o, *v = NULL;

    text[0] = '\0';
    o = json_object_array_get_idx(a, 0);
    if (json_object_object_get_ex(o, name, &v))
        snprintf(text, sizeof text, "%s", json_object_get_string(v));
    json_object_put(a);
    return text;
}
