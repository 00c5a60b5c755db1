/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plugins.c: what a chain can be made of, as the plugins declare it.
 */
#include "config.h"

#include "chain/chain.h"
#include "control/commands_private.h"

static const char *const op_names[BLK_OPS] = { "read", "write", "flush",
                                               "discard", "zero" };

static const char *const type_names[] = {
    [BLK_STRING] = "string", [BLK_PATH] = "path",    [BLK_BOOL] = "bool",
    [BLK_UINT] = "number",   [BLK_SIZE] = "size",    [BLK_TIME] = "time",
    [BLK_RATIO] = "ratio",   [BLK_CHOICE] = "choice"
};

static struct json_object *
option_describe(const struct blk_option *o)
{
    struct json_object *j = json_object_new_object(), *choices;
    const char *const *c;

    put_str(j, "name", o->name);
    put_str(j, "type", type_names[o->type]);
    if (o->fallback)
        put_str(j, "default", o->fallback);
    if (o->required)
        put_bool(j, "required", true);
    if (o->min || o->max) {
        put_u64(j, "min", o->min);
        put_u64(j, "max", o->max);
    }
    if (o->choices) {
        choices = json_object_new_array();
        for (c = o->choices; *c; c++)
            json_object_array_add(choices, json_object_new_string(*c));
        json_object_object_add(j, "choices", choices);
    }
    put_str(j, "help", o->help);
    return j;
}

static struct json_object *
options_describe(const struct blk_option *o)
{
    struct json_object *all = json_object_new_array();

    for (; o && o->name; o++)
        json_object_array_add(all, option_describe(o));
    return all;
}

static struct json_object *
counters_describe(const struct blk_counter *c)
{
    struct json_object *all = json_object_new_array();

    for (; c && c->name; c++) {
        struct json_object *j = json_object_new_object();

        put_str(j, "name", c->name);
        put_str(j, "unit", c->unit);
        put_str(j, "help", c->help);
        json_object_array_add(all, j);
    }
    return all;
}

static struct json_object *
ops_describe(uint32_t ops)
{
    struct json_object *all = json_object_new_array();
    unsigned i;

    for (i = 0; i < BLK_OPS; i++) {
        if (ops & BLK_BIT(i))
            json_object_array_add(all, json_object_new_string(op_names[i]));
    }
    return all;
}

static void
plugin_describe(void *ctx, const struct blk_plugin *p)
{
    struct json_object *j = json_object_new_object();

    put_str(j, "name", p->name);
    put_str(j, "help", p->help);
    put_bool(j, "tail", p->tail != BLK_MIDDLE);
    put_bool(j, "layer", p->tail != BLK_TAIL);
    put_bool(j, "transparent", p->transparent);
    json_object_object_add(j, "ops", ops_describe(p->ops));
    json_object_object_add(j, "options", options_describe(p->options));
    json_object_object_add(j, "counters", counters_describe(p->counters));
    if (p->commands)
        put_str(j, "commands", p->commands);
    json_object_array_add(ctx, j);
}

void
plugins_command(void *ctx, struct control_call *call, int argc,
                const char *const *argv)
{
    struct json_object *all = json_object_new_array();

    (void)ctx;
    (void)argc;
    (void)argv;
    if (plugin_each(plugin_describe, all) < 0) {
        json_object_put(all);
        control_fail(call, "the folder of plugins can't be read");
        return;
    }
    control_answer(call, all);
}
