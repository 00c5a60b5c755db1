/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * look.c: what the daemon knows, for people.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/human.h"
#include "ctl/table.h"

static const char *const ops[] = { "read", "write", "flush", "discard",
                                   "zero" };
enum { OPS = sizeof(ops) / sizeof(ops[0]) };

/* Asks; prints JSON if that is wanted.  NULL: all is said and done. */
static struct json_object *
look(const struct ctl *ctl, const char *command, int argc, char **argv,
     int *status)
{
    bool ok;
    struct json_object *o = ctl_ask(ctl, command, argc, argv, &ok);

    *status = ok ? 0 : 1;
    if (ok && ctl->json) {
        ctl_dump(o);
        json_object_put(o);
        return NULL;
    }
    return o;
}

/* "web, xvda", "copy[123]", "". */
static void
front_cell(struct table *t, struct json_object *disk)
{
    struct json_object *front = get(disk, "front");
    const char *vdev = get_str(front, "vdev");

    table_cell(t, "%s%s%s", get_str(front, "vm"), *vdev ? ", " : "", vdev);
}

/* ---- list ---------------------------------------------------------------- */

static struct json_object *
disk_of(struct json_object *disks, const char *name)
{
    size_t i;

    for (i = 0; i < count(disks); i++) {
        if (!strcmp(get_str(at(disks, i), "disk"), name))
            return at(disks, i);
    }
    return NULL;
}

static void
list_row(struct table *t, struct json_object *d, struct json_object *stats)
{
    struct json_object *channel = get(stats, "channel");
    uint64_t size = get_u64(d, "size");
    char text[HUMAN_SIZE];

    table_row(t);
    table_cell(t, "%s", get_str(d, "disk"));
    table_cell(t, "%s", get_str(d, "state"));
    table_cell(t, "%s%s", get_str(d, "mode"),
               get_bool(d, "readonly") ? " ro" : "");
    front_cell(t, d);
    table_cell(t, "%s", size ? human_bytes(text, size) : "");
    table_cell(t, "%" PRIu64, get_u64(get(channel, "requests"), "read"));
    table_cell(t, "%" PRIu64, get_u64(get(channel, "requests"), "write"));
    table_cell(t, "%s", get_str(d, "reason"));
}

/* Back-ends that no disk claims, and those that a disk claims in vain. */
static void
vbds_print(struct json_object *vbds)
{
    struct table t = { .head = "BACK-END|GUEST|STATE|DISK|PARAMS|WHY" };
    size_t i;

    for (i = 0; i < count(vbds); i++) {
        struct json_object *v = at(vbds, i);

        if (get_bool(v, "claimed") && !*get_str(v, "why"))
            continue;
        table_row(&t);
        table_cell(&t, "%s", get_str(v, "path"));
        table_cell(&t, "%s, %s", get_str(v, "vm"), get_str(v, "vdev"));
        table_cell(&t, "%s", get_str(v, "state"));
        table_cell(&t, "%s", get_str(v, "disk"));
        table_cell(&t, "%s", get_str(v, "params"));
        table_cell(&t, "%s", get_str(v, "why"));
    }
    if (t.rows) {
        printf("\n");
        table_print(&t, stdout);
    }
    table_free(&t);
}

int
list_run(const struct ctl *ctl, int argc, char **argv)
{
    struct table t = {
        .head = "DISK|STATE|MODE|FRONT-END|>SIZE|>READS|>WRITES|REASON"
    };
    struct json_object *o, *disks, *stats;
    int status;
    size_t i;
    bool ok;

    o = look(ctl, "list", argc, argv, &status);
    if (!o)
        return status;
    stats = ctl_ask(ctl, "stats", 0, NULL, &ok);
    disks = get(o, "disks");
    for (i = 0; i < count(disks); i++)
        list_row(&t, at(disks, i),
                 disk_of(get(stats, "disks"), get_str(at(disks, i), "disk")));
    table_print(&t, stdout);
    vbds_print(get(o, "vbds"));
    if (*get_str(o, "config"))
        printf("\n%s\n", get_str(o, "config"));
    table_free(&t);
    json_object_put(stats);
    json_object_put(o);
    return ok ? 0 : 1;
}

/* ---- show ---------------------------------------------------------------- */

static void
line(const char *name, const char *value)
{
    if (*value)
        printf("  %-12s %s\n", name, value);
}

static void
show_chain(struct json_object *chain)
{
    size_t i;

    printf("  %-12s", "chain");
    for (i = 0; i < count(chain); i++) {
        struct json_object *l = at(chain, i);
        const char *name = get_str(l, "name"), *plugin = get_str(l, "plugin");

        printf("%s%s", i ? " -> " : " ", name);
        if (strcmp(name, plugin))
            printf(" (%s)", plugin);
    }
    printf("\n");
}

static void
show_front(struct json_object *o)
{
    struct json_object *f = get(o, "front");
    const char *vdev = get_str(f, "vdev");

    if (!f)
        return;
    printf("  %-12s %s %s", "front-end",
           strcmp(get_str(f, "kind"), "xen") ? "the process" : "guest",
           get_str(f, "vm"));
    if (*vdev)
        printf(", %s", vdev);
    if (*get_str(f, "path"))
        printf(" (domain %" PRIu64 ", %s)", get_u64(f, "domid"),
               get_str(f, "path"));
    printf("\n");
}

static void
show_head(struct json_object *o)
{
    uint64_t size = get_u64(o, "size");
    char text[HUMAN_SIZE];

    printf("disk %s\n", get_str(o, "disk"));
    line("state", get_str(o, "state"));
    line("reason", get_str(o, "reason"));
    line("mode", get_str(o, "mode"));
    if (size)
        printf("  %-12s %s (%" PRIu64 " bytes)\n", "size",
               human_bytes(text, size), size);
    line("read-only", get_bool(o, "readonly") ? "yes" : "no");
    show_front(o);
    show_chain(get(o, "chain"));
    line("configured", get_str(o, "configured-at"));
    line("config", get_str(o, "config"));
}

/* The bucket that holds the ratio p of all: its upper edge, in ns. */
static uint64_t
percentile_ns(struct json_object *buckets, double p)
{
    uint64_t sum = 0, below = 0;
    size_t i;

    for (i = 0; i < count(buckets); i++)
        sum += json_object_get_uint64(at(buckets, i));
    for (i = 0; i < count(buckets); i++) {
        below += json_object_get_uint64(at(buckets, i));
        if ((double)below >= p * (double)sum)
            break;
    }
    return (UINT64_C(1) << (i > 50 ? 50 : i)) * 1000;
}

static void
op_row(struct table *t, struct json_object *o, const char *what, const char *op)
{
    struct json_object *l = get(get(o, "latency"), op);
    struct json_object *buckets = get(l, "under-2^i-us");
    char text[HUMAN_SIZE];

    if (!get_u64(get(o, "requests"), op))
        return;
    table_row(t);
    table_cell(t, "%s", what);
    table_cell(t, "%s", op);
    table_cell(t, "%" PRIu64, get_u64(get(o, "requests"), op));
    table_cell(t, "%s", human_bytes(text, get_u64(get(o, "bytes"), op)));
    table_cell(t, "%" PRIu64, get_u64(get(o, "errors"), op));
    if (!l)
        return;
    table_cell(t, "%s", human_ns(text, get_u64(l, "mean-us") * 1000));
    table_cell(t, "< %s", human_ns(text, percentile_ns(buckets, 0.99)));
}

static void
show_ops(struct json_object *o)
{
    struct table t = { .head = "WHERE|OPERATION|>REQUESTS|>BYTES|>ERRORS|"
                               ">MEAN|>99 %",
                       .indent = 2 };
    struct json_object *layers = get(o, "layers");
    size_t i, op;

    for (op = 0; op < OPS; op++)
        op_row(&t, get(o, "channel"), "channel", ops[op]);
    for (i = 0; i < count(layers); i++) {
        for (op = 0; op < OPS; op++)
            op_row(&t, at(layers, i), get_str(at(layers, i), "name"), ops[op]);
    }
    if (t.rows) {
        printf("\n");
        table_print(&t, stdout);
    }
    table_free(&t);
}

static void
show_text(struct json_object *lines)
{
    size_t i;

    for (i = 0; i < count(lines); i++)
        printf("    %s", json_object_get_string(at(lines, i)));
}

/* Numbers and words of an object, as "name value". */
static void
show_members(const char *title, struct json_object *o)
{
    struct table t = { .align = "<>", .indent = 4 };

    if (!json_object_is_type(o, json_type_object))
        return;
    json_object_object_foreach(o, key, value)
    {
        if (json_object_is_type(value, json_type_object) ||
            json_object_is_type(value, json_type_array))
            continue;
        table_row(&t);
        table_cell(&t, "%s", key);
        table_cell(&t, "%s", json_object_get_string(value));
    }
    if (t.rows || count(get(o, "text")))
        printf("\n  %s\n", title);
    table_print(&t, stdout);
    table_free(&t);
    show_text(get(o, "text"));
}

int
show_run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *o, *layers;
    int status;
    size_t i;

    o = look(ctl, "show", argc, argv, &status);
    if (!o)
        return status;
    layers = get(o, "layers");
    show_head(o);
    show_ops(o);
    show_members("limits", get(o, "limits"));
    show_members("channel", get(o, "channel"));
    for (i = 0; i < count(layers); i++)
        show_members(get_str(at(layers, i), "name"),
                     get(at(layers, i), "counters"));
    json_object_put(o);
    return 0;
}

/* ---- stats --------------------------------------------------------------- */

static void
stats_row(struct table *t, struct json_object *d)
{
    struct json_object *c = get(d, "channel"), *n = get(c, "requests");
    struct json_object *bytes = get(c, "bytes");
    uint64_t errors = 0;
    char text[HUMAN_SIZE];
    unsigned i;

    for (i = 0; i < OPS; i++)
        errors += get_u64(get(c, "errors"), ops[i]);
    table_row(t);
    table_cell(t, "%s", get_str(d, "disk"));
    table_cell(t, "%s", get_str(d, "state"));
    table_cell(t, "%" PRIu64, get_u64(c, "in-flight"));
    table_cell(t, "%" PRIu64, get_u64(n, "read"));
    table_cell(t, "%s", human_bytes(text, get_u64(bytes, "read")));
    table_cell(t, "%" PRIu64, get_u64(n, "write"));
    table_cell(t, "%s", human_bytes(text, get_u64(bytes, "write")));
    table_cell(t, "%" PRIu64, get_u64(n, "flush"));
    table_cell(t, "%" PRIu64, get_u64(n, "discard"));
    table_cell(t, "%" PRIu64, errors);
}

int
stats_run(const struct ctl *ctl, int argc, char **argv)
{
    struct table t = { .head = "DISK|STATE|>IN FLIGHT|>READS|>READ|>WRITES|"
                               ">WRITTEN|>FLUSHES|>DISCARDS|>ERRORS" };
    struct json_object *o, *disks;
    int status;
    size_t i;

    o = look(ctl, "stats", argc, argv, &status);
    if (!o)
        return status;
    disks = get(o, "disks");
    for (i = 0; i < count(disks); i++)
        stats_row(&t, at(disks, i));
    table_print(&t, stdout);
    table_free(&t);
    json_object_put(o);
    return 0;
}

/* ---- plugins ------------------------------------------------------------- */

static void
plugin_option(struct table *t, struct json_object *o)
{
    struct json_object *choices = get(o, "choices");
    const char *fallback = get_str(o, "default");
    char type[128];
    size_t i, n;

    snprintf(type, sizeof(type), "%s", get_str(o, "type"));
    for (i = 0; i < count(choices); i++) {
        n = i ? strlen(type) : 0;
        snprintf(type + n, sizeof(type) - n, "%s%s", i ? "|" : "",
                 json_object_get_string(at(choices, i)));
    }
    table_row(t);
    table_cell(t, "%s", get_str(o, "name"));
    table_cell(t, "%s", type);
    table_cell(t, "%s", get_bool(o, "required") ? "required" : fallback);
    table_cell(t, "%s", get_str(o, "help"));
}

/* Where in a chain it may stand. */
static const char *
plugin_kind(struct json_object *p)
{
    if (!get_bool(p, "tail"))
        return "layer";
    return get_bool(p, "layer") ? "layer or tail" : "tail";
}

static void
plugin_print(struct json_object *p)
{
    struct table t = { .head = "OPTION|TYPE|DEFAULT|HELP", .indent = 2 };
    struct json_object *options = get(p, "options");
    size_t i;

    printf("%s: %s\n", get_str(p, "name"), get_str(p, "help"));
    printf("  a %s%s\n", plugin_kind(p),
           get_bool(p, "transparent") ? ", changes neither data nor addresses"
                                      : "");
    for (i = 0; i < count(options); i++)
        plugin_option(&t, at(options, i));
    if (t.rows)
        table_print(&t, stdout);
    table_free(&t);
    if (*get_str(p, "commands"))
        printf("  commands:\n%s\n", get_str(p, "commands"));
}

int
plugins_run(const struct ctl *ctl, int argc, char **argv)
{
    struct table t = { .head = "PLUGIN|KIND|HELP" };
    struct json_object *all;
    bool found = false;
    int status;
    size_t i;

    all = look(ctl, "plugins", 0, NULL, &status);
    if (!all)
        return status;
    for (i = 0; i < count(all); i++) {
        struct json_object *p = at(all, i);

        table_row(&t);
        table_cell(&t, "%s", get_str(p, "name"));
        table_cell(&t, "%s", plugin_kind(p));
        table_cell(&t, "%s", get_str(p, "help"));
        if (argc && !strcmp(get_str(p, "name"), argv[0])) {
            plugin_print(p);
            found = true;
        }
    }
    if (!argc)
        table_print(&t, stdout);
    else if (!found)
        status = ctl_error("there is no plugin \"%s\"", argv[0]);
    table_free(&t);
    json_object_put(all);
    return status;
}

/* ---- the daemon ---------------------------------------------------------- */

int
version_run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *o;
    int status;

    o = look(ctl, "version", argc, argv, &status);
    if (o)
        printf("blktapd %s on a %s host, %" PRIu64 " disks open\n",
               get_str(o, "version"), get_str(o, "host"), get_u64(o, "disks"));
    json_object_put(o);
    return status;
}

int
config_run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *o;
    int status;

    o = look(ctl, "config", argc, argv, &status);
    if (o)
        fputs(json_object_get_string(o), stdout);
    json_object_put(o);
    return status;
}
