/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commands_look.c: list, show and stats.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/commands_private.h"

/* ---- what the config says ------------------------------------------------ */

struct json_object *
chain_describe(const struct chain_spec *spec)
{
    struct json_object *all = json_object_new_array();
    unsigned i, k;

    for (i = 0; i < spec->n; i++) {
        const struct blk_conf *l = &spec->layer[i];
        struct json_object *o = json_object_new_object();
        struct json_object *options = json_object_new_object();

        put_str(o, "name", l->name);
        put_str(o, "plugin", l->plugin);
        for (k = 0; k < l->n; k++)
            put_str(options, l->kv[k].key, l->kv[k].value);
        json_object_object_add(o, "options", options);
        json_object_array_add(all, o);
    }
    return all;
}

/* What the config says of a disk; state: when it is not open. */
static void
conf_describe(struct json_object *o, const struct conf_disk *cd)
{
    char at[300];

    snprintf(at, sizeof(at), "%s:%d", cd->file, cd->line);
    put_str(o, "configured-at", at);
    json_object_object_add(o, "chain", chain_describe(&cd->chain));
    if (cd->filed) {
        json_object_object_add(o, "chain-in-files", chain_describe(cd->filed));
        put_str(o, "mode-in-files", conf_mode_name(cd->filed_mode));
    }
    if (cd->vm) {
        put_str(o, "for-vm", cd->vm);
        put_str(o, "for-vdev", cd->vdev);
    }
}

/* Where a person looks who wonders why a change does nothing. */
static void
conf_age_describe(struct json_object *o, const struct daemon_view *v)
{
    const char *why = v->conf_is_old ? v->conf_is_old(v->ctx) : NULL;

    if (why)
        put_str(o, "config", why);
}

static struct json_object *
free_brief(const struct conf_disk *cd)
{
    struct json_object *o = json_object_new_object();

    put_str(o, "disk", cd->name);
    put_str(o, "state", "free");
    put_str(o, "mode", conf_mode_name(cd->mode));
    put_bool(o, "readonly", cd->readonly);
    return o;
}

/* A guest's vbd has claimed this disk, which is not open: why not. */
static void
claim_describe(struct json_object *o, const struct daemon_view *v,
               const char *disk)
{
    struct json_object *vbds, *why, *claimed;
    size_t i;

    if (!v->xenbus)
        return;
    vbds = xenbus_list(v->xenbus);
    for (i = 0; i < json_object_array_length(vbds); i++) {
        struct json_object *vbd = json_object_array_get_idx(vbds, i);

        if (json_object_object_get_ex(vbd, "disk", &claimed) &&
            !strcmp(json_object_get_string(claimed), disk) &&
            json_object_object_get_ex(vbd, "why", &why)) {
            put_str(o, "state", "failed");
            put_str(o, "reason", json_object_get_string(why));
        }
    }
    json_object_put(vbds);
}

/* ---- list ---------------------------------------------------------------- */

static void
list_open(void *ctx, struct disk *d)
{
    json_object_array_add(ctx, disk_brief(d));
}

void
list_command(void *ctx, struct control_call *call, int argc,
             const char *const *argv)
{
    const struct daemon_view *v = ctx;
    const struct conf *conf = view_conf(v);
    struct json_object *o = json_object_new_object();
    struct json_object *all = json_object_new_array();
    unsigned i;

    (void)argc;
    (void)argv;
    disks_each(v->disks, list_open, all);
    for (i = 0; i < conf->disks; i++) {
        struct json_object *b;

        if (disks_find(v->disks, conf->disk[i].name))
            continue;
        b = free_brief(&conf->disk[i]);
        claim_describe(b, v, conf->disk[i].name);
        json_object_array_add(all, b);
    }
    json_object_object_add(o, "disks", all);
    if (v->xenbus)
        json_object_object_add(o, "vbds", xenbus_list(v->xenbus));
    conf_age_describe(o, v);
    control_answer(call, o);
}

/* ---- show ---------------------------------------------------------------- */

/* A show under way: the config may be another one when it is answered. */
struct show {
    struct control_call *call;
    struct json_object *conf;
};

static void
show_done(void *ctx, struct json_object *o)
{
    struct show *s = ctx;

    json_object_object_foreach(s->conf, key, value)
    {
        json_object_object_add(o, key, json_object_get(value));
    }
    json_object_put(s->conf);
    control_answer(s->call, o);
    free(s);
}

void
show_command(void *ctx, struct control_call *call, int argc,
             const char *const *argv)
{
    const struct daemon_view *v = ctx;
    struct disk *d = disks_find(v->disks, argv[0]);
    const struct conf_disk *cd;
    struct json_object *o;
    struct show *s;

    (void)argc;
    if (!d) {
        cd = disk_configured(v, call, argv[0]);
        if (cd) {
            o = free_brief(cd);
            claim_describe(o, v, cd->name);
            conf_describe(o, cd);
            conf_age_describe(o, v);
            control_answer(call, o);
        }
        return;
    }
    s = calloc(1, sizeof(*s));
    if (!s) {
        control_fail(call, "out of memory");
        return;
    }
    s->call = call;
    s->conf = json_object_new_object();
    conf_describe(s->conf, disk_conf(d));
    conf_age_describe(s->conf, v);
    disk_show(d, show_done, s);
}

/* ---- stats --------------------------------------------------------------- */

/* Several disks are asked at once; the answer goes when the last one came. */
struct stats {
    struct control_call *call;
    struct json_object *all;
    uint64_t at_ns;
    unsigned waits;
};

static void
stats_copy(struct json_object *to, struct json_object *from, const char *key)
{
    struct json_object *v;

    if (json_object_object_get_ex(from, key, &v))
        json_object_object_add(to, key, json_object_get(v));
}

static void
stats_over(struct stats *s)
{
    struct json_object *o;

    if (--s->waits)
        return;
    o = json_object_new_object();
    put_u64(o, "at_ns", s->at_ns);
    json_object_object_add(o, "disks", s->all);
    control_answer(s->call, o);
    free(s);
}

static void
stats_one(void *ctx, struct json_object *shown)
{
    static const char *const keys[] = { "disk",     "state",   "front",
                                        "in-chain", "channel", "layers" };
    struct json_object *o = json_object_new_object();
    struct stats *s = ctx;
    unsigned i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        stats_copy(o, shown, keys[i]);
    json_object_put(shown);
    json_object_array_add(s->all, o);
    stats_over(s);
}

static void
stats_ask(void *ctx, struct disk *d)
{
    struct stats *s = ctx;

    s->waits++;
    disk_show(d, stats_one, s);
}

void
stats_command(void *ctx, struct control_call *call, int argc,
              const char *const *argv)
{
    const struct daemon_view *v = ctx;
    struct disk *d = argc ? disk_running(v, call, argv[0]) : NULL;
    struct stats *s;

    if (argc && !d)
        return;
    s = calloc(1, sizeof(*s));
    if (!s) {
        control_fail(call, "out of memory");
        return;
    }
    s->call = call;
    s->all = json_object_new_array();
    s->at_ns = v->loop->ops->now(v->loop);
    s->waits = 1; /* ours, so that it does not end in between */
    if (d)
        stats_ask(s, d);
    else
        disks_each(v->disks, stats_ask, s);
    stats_over(s);
}
