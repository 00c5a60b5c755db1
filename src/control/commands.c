/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commands.c: the daemon's own commands; those that show disks are in
 * commands_look.c.
 *
 * What a command needs of a disk's data half comes later, by mail: the call
 * waits for it.
 */
#include "config.h"

#include "control/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "control/commands_private.h"
#include "control/near.h"
#include "disk/local.h"

void
put_str(struct json_object *o, const char *key, const char *v)
{
    json_object_object_add(o, key, v ? json_object_new_string(v) : NULL);
}

void
put_u64(struct json_object *o, const char *key, uint64_t v)
{
    json_object_object_add(o, key, json_object_new_uint64(v));
}

void
put_bool(struct json_object *o, const char *key, bool v)
{
    json_object_object_add(o, key, json_object_new_boolean(v));
}

struct conf *
view_conf(const struct daemon_view *v)
{
    return v->conf(v->ctx);
}

/* ---- disks by name ------------------------------------------------------- */

static void
near_disk(void *near, struct disk *d)
{
    near_try(near, disk_conf(d)->name);
}

static void
disk_unknown(const struct daemon_view *v, struct control_call *call,
             const char *name)
{
    const struct conf *conf = view_conf(v);
    struct near near = { .word = name };
    char hint[100];
    unsigned i;

    for (i = 0; i < conf->disks; i++)
        near_try(&near, conf->disk[i].name);
    disks_each(v->disks, near_disk, &near);
    control_fail(call, "there is no disk \"%.64s\"%s", name,
                 near_hint(&near, hint, sizeof(hint)));
}

const struct conf_disk *
disk_configured(const struct daemon_view *v, struct control_call *call,
                const char *name)
{
    const struct conf_disk *cd = conf_disk(view_conf(v), name);

    if (!cd)
        disk_unknown(v, call, name);
    return cd;
}

struct disk *
disk_running(const struct daemon_view *v, struct control_call *call,
             const char *name)
{
    struct disk *d = disks_find(v->disks, name);

    if (d)
        return d;
    if (disk_configured(v, call, name))
        control_fail(call, "disk %s: no front-end has it, so it is not open",
                     name);
    return NULL;
}

/* ---- pause, resume, layer, resize ---------------------------------------- */

static void
call_step_done(void *ctx, struct disk *d, int status, const char *why)
{
    struct control_call *call = ctx;

    if (!d) /* it was closing, and may be gone */
        control_fail(call, "%s", why);
    else if (status)
        control_fail(call, "disk %s: %s", disk_conf(d)->name,
                     why ? why : strerror(-status));
    else
        control_answer(call, disk_brief(d));
}

static void
pause_command(void *ctx, struct control_call *call, int argc,
              const char *const *argv)
{
    struct disk *d = disk_running(ctx, call, argv[0]);

    (void)argc;
    if (d)
        disk_pause(d, call_step_done, call);
}

static void
resume_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    struct disk *d = disk_running(ctx, call, argv[0]);

    (void)argc;
    if (d)
        disk_resume(d, call_step_done, call);
}

static void
recover_command(void *ctx, struct control_call *call, int argc,
                const char *const *argv)
{
    struct disk *d = disk_running(ctx, call, argv[0]);

    (void)argc;
    if (d)
        disk_recover(d, call_step_done, call);
}

/* The lines that a layer printed, as one. */
static void
text_join(struct json_object *out, char *to, size_t n)
{
    struct json_object *lines;
    size_t i, at = 0;

    to[0] = '\0';
    if (!json_object_object_get_ex(out, "text", &lines))
        return;
    for (i = 0; i < json_object_array_length(lines) && at < n; i++) {
        int len = snprintf(
            to + at, n - at, "%s",
            json_object_get_string(json_object_array_get_idx(lines, i)));

        at += len > 0 ? (size_t)len : 0;
    }
    at = strlen(to);
    while (at && to[at - 1] == '\n')
        to[--at] = '\0';
}

static void
layer_done(void *ctx, int status, struct json_object *out)
{
    struct control_call *call = ctx;
    char why[512];

    if (!status) {
        control_answer(call, out);
        return;
    }
    text_join(out, why, sizeof(why));
    control_fail(call, "%s", why[0] ? why : strerror(-status));
    json_object_put(out);
}

static const char *
layer_find(const struct chain_spec *spec, const char *name, struct near *near)
{
    unsigned i;

    for (i = 0; i < spec->n; i++) {
        if (!strcmp(spec->layer[i].name, name))
            return spec->layer[i].name;
        near_try(near, spec->layer[i].name);
    }
    return NULL;
}

static void
layer_command(void *ctx, struct control_call *call, int argc,
              const char *const *argv)
{
    struct disk *d = disk_running(ctx, call, argv[0]);
    struct near near = { .word = argv[1] };
    struct chain_spec running;
    char hint[100];

    if (!d)
        return;
    if (!layer_find(&disk_conf(d)->chain, argv[1], &near)) {
        control_fail(call, "disk %s has no layer \"%.64s\"%s", argv[0], argv[1],
                     near_hint(&near, hint, sizeof(hint)));
        return;
    }
    running = conf_running(disk_conf(d));
    if (!layer_find(&running, argv[1], &near)) {
        control_fail(call, "disk %s: layer \"%.64s\" does not run in mode %s",
                     argv[0], argv[1], conf_mode_name(disk_conf(d)->mode));
        return;
    }
    disk_command(d, argv[1], argc - 2, argv + 2, layer_done, call);
}

/* The first layer, from the guest on, that can be given a size: the others have
 * that of what is below them, or of a medium. */
static const char *
layer_resizable(const struct chain_spec *spec)
{
    unsigned i;

    for (i = 0; i < spec->n; i++) {
        char why[100];
        const struct blk_plugin *p =
            plugin_find(spec->layer[i].plugin, why, sizeof(why));

        if (p && (p->can & BLK_CAN_RESIZE))
            return spec->layer[i].name;
    }
    return NULL;
}

/* What a layer was asked for, which it does later: who it is is told, so that
 * it can be looked at. */
struct resize_ask {
    struct control_call *call;
    char layer[64];
};

static void
resize_told(void *ctx, int status, struct json_object *out)
{
    struct resize_ask *ask = ctx;

    if (json_object_object_get_ex(out, "resizing_to", NULL))
        put_str(out, "layer", ask->layer);
    layer_done(ask->call, status, out);
    free(ask);
}

static void
resize_to(struct disk *d, struct control_call *call, const char *text)
{
    const char *layer = layer_resizable(&disk_conf(d)->chain);
    char bytes[24];
    const char *args[] = { "resize", bytes, NULL };
    struct resize_ask *ask;
    uint64_t size;

    if (parse_size(text, &size)) {
        control_fail(call, "resize: expected a size as 20G, found \"%.64s\"",
                     text);
        return;
    }
    if (!layer) {
        control_fail(call,
                     "disk %s: expected a layer that has a size of its own, "
                     "found none: make its medium larger, then say resize "
                     "without a size",
                     disk_conf(d)->name);
        return;
    }
    ask = calloc(1, sizeof(*ask));
    if (!ask) {
        control_fail(call, "out of memory");
        return;
    }
    ask->call = call;
    snprintf(ask->layer, sizeof(ask->layer), "%s", layer);
    snprintf(bytes, sizeof(bytes), "%" PRIu64, size);
    disk_command(d, layer, 2, args, resize_told, ask);
}

static void
resize_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    static const char *const rescan[] = { "rescan", NULL };
    struct disk *d = disk_running(ctx, call, argv[0]);
    const struct chain_spec *spec;

    if (!d)
        return;
    if (argc > 1) {
        resize_to(d, call, argv[1]);
        return;
    }
    spec = &disk_conf(d)->chain;
    disk_command(d, spec->layer[spec->n - 1].name, 1, rescan, layer_done, call);
}

/* ---- attach, detach, front ----------------------------------------------- */

static bool
store_there(const struct daemon_view *v, struct control_call *call)
{
    if (!v->store)
        control_fail(call, "this daemon runs without Xen: there is no "
                           "XenStore to write to");
    return v->store;
}

static void
attach_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    const struct daemon_view *v = ctx;
    struct xenbus_attach a = { .params = argv[0],
                               .vm = argv[1],
                               .vdev = argv[2],
                               .kind = view_conf(v)->kinds[0] };
    char why[400] = "";
    int i;

    for (i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "ro"))
            a.readonly = true;
        else
            a.kind = argv[i];
    }
    if (!store_there(v, call) || !disk_configured(v, call, argv[0]))
        return;
    if (xenbus_attach(v->store, &a, why, sizeof(why)))
        control_fail(call, "%s", why);
    else
        control_answer(call, NULL);
}

static void
detach_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    const struct daemon_view *v = ctx;
    char why[400] = "";

    if (argc > 2 && strcmp(argv[2], "force")) {
        control_fail(call, "detach: expected force or nothing, found \"%.64s\"",
                     argv[2]);
        return;
    }
    if (!store_there(v, call))
        return;
    if (xenbus_detach(v->store, argv[0], argv[1], argc > 2, why, sizeof(why)))
        control_fail(call, "%s", why);
    else
        control_answer(call, NULL);
}

static void
front_command(void *ctx, struct control_call *call, int argc,
              const char *const *argv)
{
    const struct daemon_view *v = ctx;
    const struct conf_disk *cd = disk_configured(v, call, argv[0]);

    if (cd)
        local_front(v->disks, view_conf(v), cd, call, argc - 1, argv + 1);
}

/* ---- the daemon ---------------------------------------------------------- */

static void
log_command(void *ctx, struct control_call *call, int argc,
            const char *const *argv)
{
    static const struct {
        const char *name;
        enum blk_level level;
    } levels[] = { { "err", BLK_ERR },
                   { "warn", BLK_WARN },
                   { "info", BLK_INFO },
                   { "debug", BLK_DEBUG } };
    const struct daemon_view *v = ctx;
    unsigned i;

    (void)argc;
    for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (!strcmp(argv[0], levels[i].name)) {
            v->log_level(v->ctx, (int)levels[i].level);
            control_answer(call, NULL);
            return;
        }
    }
    control_fail(call,
                 "log: expected err, warn, info or debug, found \"%.64s\"",
                 argv[0]);
}

static void
config_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    const struct daemon_view *v = ctx;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    (void)argc;
    (void)argv;
    if (!f) {
        control_fail(call, "out of memory");
        return;
    }
    conf_print(view_conf(v), f);
    if (fclose(f))
        control_fail(call, "out of memory");
    else
        control_answer(call, json_object_new_string(text));
    free(text);
}

static void
version_command(void *ctx, struct control_call *call, int argc,
                const char *const *argv)
{
    const struct daemon_view *v = ctx;
    struct json_object *o = json_object_new_object();

    (void)argc;
    (void)argv;
    put_str(o, "version", PACKAGE_VERSION);
    put_str(o, "host", v->store ? "xen" : "local");
    put_u64(o, "disks", disks_count(v->disks));
    control_answer(call, o);
}

static void
reload_done(void *arg, int status, const char *why)
{
    if (status)
        control_fail(arg, "%s", why ? why : strerror(-status));
    else
        control_answer(arg, NULL);
}

static void
reload_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    const struct daemon_view *v = ctx;

    (void)argc;
    (void)argv;
    v->reload(v->ctx, reload_done, call);
}

/* ---- the register -------------------------------------------------------- */

static const struct {
    const char *name, *usage;
    int min, max;
    control_fn *fn;
    const char *help;
} all[] = {
    { "list", "", 0, 0, list_command, "every disk, and what it does" },
    { "show", "DISK", 1, 1, show_command, "everything about a disk" },
    { "stats", "[DISK]", 0, 1, stats_command, "counters of disks" },
    { "attach", "DISK VM VDEV [ro] [KIND]", 3, 5, attach_command,
      "give a guest a disk" },
    { "detach", "VM VDEV [force]", 2, 3, detach_command,
      "take a disk from a guest" },
    { "pause", "DISK", 1, 1, pause_command, "hold a disk's requests" },
    { "resume", "DISK", 1, 1, resume_command, "let them go on" },
    { "recover", "DISK", 1, 1, recover_command,
      "have a failed disk try again" },
    { "chain", "DISK [show|insert|remove|replace|reset|snapshot|commit ...]", 1,
      5, layers_command, "a disk's layers; change them" },
    { "mode", "DISK [passthrough|interpose|intercept]", 1, 2, mode_command,
      "which of a disk's layers run; change it" },
    { "layer", "DISK LAYER COMMAND [ARG...]", 3, -1, layer_command,
      "a command of a layer's own" },
    { "map", "DISK [OFFSET [LENGTH [EXTENTS]]]", 1, 4, map_command,
      "where a disk has data" },
    { "resize", "DISK [SIZE]", 1, 2, resize_command,
      "make a disk larger, or look at its medium's size again" },
    { "front", "DISK [KEY=VALUE...]", 1, -1, front_command,
      "be the front-end of a disk" },
    { "plugins", "", 0, 0, plugins_command, "what a chain can be made of" },
    { "log", "LEVEL", 1, 1, log_command, "err, warn, info or debug" },
    { "config", "", 0, 0, config_command, "the configuration in force" },
    { "reload", "", 0, 0, reload_command, "read the configuration again" },
    { "version", "", 0, 0, version_command, "of the daemon" },
};

int
commands_register(struct daemon_view *v)
{
    unsigned i;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        control_register(v->control, all[i].name, all[i].usage, all[i].min,
                         all[i].max, all[i].help, all[i].fn, v);
    return 0;
}
