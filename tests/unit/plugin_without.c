/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plugin_without: a module that is another one but for one option, which it
 * takes, and does as if it had not been given.  It stands under the other's
 * name in a folder of its own, before that in BLKTAPD_PLUGINDIR.
 *
 *     PLUGIN_WITHOUT       the name of the option; none: nothing is changed
 *     PLUGIN_WITHOUT_FILE  the other module
 */
#include "config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/plugin.h"

enum { OPTIONS = 32 };

extern struct blk_plugin blk_plugin;
__attribute__((visibility("default"))) struct blk_plugin blk_plugin;

static struct blk_option options[OPTIONS + 2];

/* What is given goes behind the plugin's own state; where that looks for it
 * there is what another option has, which nobody gives. */
static void
leave_out(const char *name)
{
    const uint32_t behind = (blk_plugin.self_size + 15) & ~15u;
    const struct blk_option *o;
    struct blk_option *to = options;

    for (o = blk_plugin.options; o && o->name && to < options + OPTIONS; o++) {
        *to++ = *o;
        if (strcmp(o->name, name))
            continue;
        to[-1].at = behind;
        *to = *o;
        /* No plugin expects none where it said that there must be one. */
        if (o->required && (o->type == BLK_STRING || o->type == BLK_PATH))
            to->fallback = "/";
        to->required = false;
        to++->name = "(left out)";
        blk_plugin.self_size = behind + 16;
    }
    if (blk_plugin.self_size == behind + 16)
        blk_plugin.options = options;
}

__attribute__((constructor)) static void
become(void)
{
    const char *file = getenv("PLUGIN_WITHOUT_FILE");
    const char *name = getenv("PLUGIN_WITHOUT");
    void *module = file ? dlopen(file, RTLD_NOW | RTLD_LOCAL) : NULL;
    const struct blk_plugin *other =
        module ? dlsym(module, "blk_plugin") : NULL;

    if (!other) {
        fprintf(stderr, "plugin_without: %s\n", file ? dlerror() : "no file");
        return;
    }
    blk_plugin = *other;
    if (name)
        leave_out(name);
}
