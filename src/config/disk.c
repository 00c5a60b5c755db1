/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk.c: the keys of the configuration: the daemon, its disks, their layers.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "config/tree.h"

enum { CONF_FOLDER_MAX = 200 };

static int
expect(struct reader *r, const config_setting_t *s, const char *key,
       const char *expected)
{
    char found[128];

    return reader_fail(r, (int)config_setting_source_line(s), key,
                       "expected %s, found %s", expected,
                       setting_tell(s, found, sizeof(found)));
}

/* ---- daemon -------------------------------------------------------------- */

static int
key_socket(struct reader *r, const config_setting_t *s,
           const struct conf_key *key, void *to)
{
    const char *path = config_setting_get_string(s);
    char expected[64];

    if (config_setting_type(s) == CONFIG_TYPE_STRING && path[0] == '/' &&
        strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return key_string(r, s, key, to);
    snprintf(expected, sizeof(expected),
             "an absolute path of at most %zu bytes",
             sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    return expect(r, s, key->name, expected);
}

static int
key_folder(struct reader *r, const config_setting_t *s,
           const struct conf_key *key, void *to)
{
    const char *path = config_setting_get_string(s);

    if (config_setting_type(s) == CONFIG_TYPE_STRING && path[0] == '/' &&
        strlen(path) < CONF_FOLDER_MAX)
        return key_string(r, s, key, to);
    return expect(r, s, key->name,
                  "the absolute path of a folder, of less than 200 bytes");
}

/* Kinds are the names of folders in XenStore. */
static int
kind_check(struct reader *r, const config_setting_t *s,
           const char *const *others, int n)
{
    const char *kind = config_setting_get_string(s);
    int i;

    if (config_setting_type(s) != CONFIG_TYPE_STRING || !name_valid(kind))
        return expect(r, s, "kinds", "the name of a back-end kind");
    for (i = 0; i < n; i++) {
        if (others[i] && !strcmp(others[i], kind))
            return expect(r, s, "kinds", "each kind once");
    }
    return 0;
}

static int
key_kinds(struct reader *r, const config_setting_t *s,
          const struct conf_key *key, void *to)
{
    const config_setting_t *kind;
    const char **kinds;
    int i, n, rc = 0;

    n = config_setting_is_list(s) || config_setting_is_array(s)
            ? config_setting_length(s)
            : 0;
    if (n < 1 || n > CONF_KINDS)
        return expect(r, s, key->name,
                      "a list of 1 to 16 strings such as ( \"vbd\" )");
    kinds = conf_alloc(r->conf, sizeof(*kinds) * ((size_t)n + 1));
    if (!kinds)
        return reader_oom(r);
    for (i = 0; i < n; i++) {
        kind = config_setting_get_elem(s, (unsigned)i);
        if (kind_check(r, kind, kinds, i))
            rc = -EINVAL;
        else if (!(kinds[i] =
                       conf_strdup(r->conf, config_setting_get_string(kind))))
            return reader_oom(r);
    }
    *(const char *const **)to = kinds;
    return rc;
}

static const char *const log_names[] = { "error", "warn", "info", "debug",
                                         NULL };
static const int log_values[] = { BLK_ERR, BLK_WARN, BLK_INFO, BLK_DEBUG };

static const struct conf_key daemon_keys[] = {
    { .name = "control",
      .read = key_socket,
      .at = offsetof(struct conf, control) },
    { .name = "user", .read = key_name, .at = offsetof(struct conf, user) },
    { .name = "scratch",
      .read = key_folder,
      .at = offsetof(struct conf, scratch) },
    { .name = "loops",
      .read = key_unsigned,
      .at = offsetof(struct conf, loops),
      .min = 1,
      .max = 64 },
    { .name = "workers",
      .read = key_unsigned,
      .at = offsetof(struct conf, workers),
      .max = 256 },
    { .name = "log",
      .read = key_choice,
      .at = offsetof(struct conf, log_level),
      .choices = log_names,
      .values = log_values },
    { .name = "sandbox",
      .read = key_bool,
      .at = offsetof(struct conf, sandbox) },
    { .name = "drain",
      .read = key_time,
      .at = offsetof(struct conf, drain_ns),
      .min = UINT64_C(1000000000),
      .max = UINT64_C(3600000000000) },
    { .name = "kinds", .read = key_kinds, .at = offsetof(struct conf, kinds) },
    { .name = NULL },
};

int
daemon_read(struct reader *r, const config_setting_t *s)
{
    int line = (int)config_setting_source_line(s);

    if (!config_setting_is_group(s))
        return expect(r, s, "daemon", "a group { ... }");
    if (r->daemon_file)
        return reader_fail(r, line, "daemon",
                           "expected in one file only, found again (first at "
                           "%s:%d)",
                           r->daemon_file, r->daemon_line);
    r->daemon_file = r->file;
    r->daemon_line = line;
    return group_read(r, s, daemon_keys, r->conf);
}

/* ---- the layers of a disk ------------------------------------------------ */

static int
layer_options(struct reader *r, const config_setting_t *s,
              struct blk_conf *layer, struct blk_kv *kv)
{
    int i, rc = 0, n = config_setting_length(s);
    const config_setting_t *option;
    const char *name;

    layer->kv = kv;
    for (i = 0; i < n; i++) {
        option = config_setting_get_elem(s, (unsigned)i);
        name = config_setting_name(option);
        if (!strcmp(name, "plugin") || !strcmp(name, "name"))
            continue;
        kv->key = conf_strdup(r->conf, name);
        kv->value = setting_text(r, option);
        if (!kv->key)
            rc = reader_oom(r);
        if (!kv->value)
            rc = -EINVAL;
        kv->file = r->file;
        kv->line = (int)config_setting_source_line(option);
        kv++, layer->n++;
    }
    return rc;
}

int
layer_read(struct reader *r, const config_setting_t *s, struct blk_conf *layer)
{
    static const struct conf_key plugin_key = { .name = "plugin" };
    const config_setting_t *plugin, *name;
    struct blk_kv *kv;
    int rc = 0;

    layer->file = r->file;
    layer->line = (int)config_setting_source_line(s);
    if (!config_setting_is_group(s))
        return expect(r, s, "chain", "a layer { plugin = \"...\"; ... }");
    plugin = config_setting_get_member(s, "plugin");
    name = config_setting_get_member(s, "name");
    if (!plugin)
        return reader_fail(r, layer->line, "plugin",
                           "expected the name of a plugin, found a layer "
                           "without one");
    if (key_name(r, plugin, &plugin_key, &layer->plugin))
        rc = -EINVAL;
    layer->name = layer->plugin;
    if (name && key_name(r, name, &plugin_key, &layer->name))
        rc = -EINVAL;
    kv = conf_alloc(r->conf,
                    sizeof(*kv) * ((size_t)config_setting_length(s) + 1));
    if (!kv)
        return reader_oom(r);
    return layer_options(r, s, layer, kv) ? -EINVAL : rc;
}

/* In blktapctl and in the log. */
int
layer_names(struct reader *r, const struct chain_spec *chain)
{
    const struct blk_conf *l, *other;
    unsigned i, k;

    for (i = 1; i < chain->n; i++) {
        l = &chain->layer[i];
        for (k = 0; k < i; k++) {
            other = &chain->layer[k];
            if (!strcmp(l->name, other->name))
                return reader_fail(r, l->line, "name",
                                   "expected another name for this layer, "
                                   "found \"%s\" as at line %d",
                                   l->name, other->line);
        }
    }
    return 0;
}

static int
key_chain(struct reader *r, const config_setting_t *s,
          const struct conf_key *key, void *to)
{
    struct chain_spec *chain = to;
    struct blk_conf *layer;
    int i, n, rc = 0;

    n = config_setting_is_list(s) ? config_setting_length(s) : 0;
    if (n < 1 || n > CONF_LAYERS)
        return expect(r, s, key->name,
                      "a list of 1 to 32 layers ( { plugin = \"...\"; } )");
    layer = conf_alloc(r->conf, sizeof(*layer) * (size_t)n);
    if (!layer)
        return reader_oom(r);
    for (i = 0; i < n; i++) {
        if (layer_read(r, config_setting_get_elem(s, (unsigned)i), &layer[i]))
            rc = -EINVAL;
    }
    chain->layer = layer;
    chain->n = (unsigned)n;
    return rc ? rc : layer_names(r, chain);
}

/* ---- disks --------------------------------------------------------------- */

static int
key_vdev(struct reader *r, const config_setting_t *s,
         const struct conf_key *key, void *to)
{
    uint32_t devid;

    if (config_setting_type(s) != CONFIG_TYPE_STRING ||
        devid_parse(config_setting_get_string(s), &devid))
        return expect(r, s, key->name, "a device such as \"xvda\"");
    return key_string(r, s, key, to);
}

static int
key_indirect(struct reader *r, const config_setting_t *s,
             const struct conf_key *key, void *to)
{
    static const struct conf_key any = { .max = 256 };
    unsigned n;

    if (config_setting_type(s) != CONFIG_TYPE_INT ||
        config_setting_get_int(s) < 0 || config_setting_get_int(s) > 256 ||
        key_unsigned(r, s, &any, &n) || (n && n < 12))
        return expect(r, s, key->name, "0, or a number from 12 to 256");
    *(unsigned *)to = n;
    return 0;
}

static int
key_mode(struct reader *r, const config_setting_t *s,
         const struct conf_key *key, void *to)
{
    int mode, rc = key_choice(r, s, key, &mode);

    if (!rc)
        *(enum conf_mode *)to = (enum conf_mode)mode;
    return rc;
}

static const struct conf_key disk_keys[] = {
    { .name = "name",
      .read = key_name,
      .at = offsetof(struct conf_disk, name) },
    { .name = "vm", .read = key_string, .at = offsetof(struct conf_disk, vm) },
    { .name = "vdev",
      .read = key_vdev,
      .at = offsetof(struct conf_disk, vdev) },
    { .name = "mode",
      .read = key_mode,
      .at = offsetof(struct conf_disk, mode),
      .choices = conf_mode_names },
    { .name = "readonly",
      .read = key_bool,
      .at = offsetof(struct conf_disk, readonly) },
    { .name = "discard",
      .read = key_bool,
      .at = offsetof(struct conf_disk, discard) },
    { .name = "barrier",
      .read = key_bool,
      .at = offsetof(struct conf_disk, barrier) },
    { .name = "queues",
      .read = key_unsigned,
      .at = offsetof(struct conf_disk, queues),
      .min = 1,
      .max = 16 },
    { .name = "ring-order",
      .read = key_unsigned,
      .at = offsetof(struct conf_disk, ring_order),
      .max = 4 },
    { .name = "indirect",
      .read = key_indirect,
      .at = offsetof(struct conf_disk, indirect) },
    { .name = "buffers",
      .read = key_size,
      .at = offsetof(struct conf_disk, buffers),
      .min = 1u << 20,
      .max = 1u << 30 },
    { .name = "chain",
      .read = key_chain,
      .at = offsetof(struct conf_disk, chain) },
    { .name = NULL },
};

static int
disk_read(struct reader *r, const config_setting_t *s, struct conf_disk *d)
{
    bool vm, vdev;
    int rc;

    *d = (struct conf_disk){
        .mode = MODE_ANY,
        .discard = true,
        .queues = 4,
        .ring_order = 4,
        .indirect = 256,
        .buffers = 16u << 20,
        .file = r->file,
        .line = (int)config_setting_source_line(s),
    };
    if (!config_setting_is_group(s))
        return expect(r, s, "disks", "a disk { name = \"...\"; ... }");
    rc = group_read(r, s, disk_keys, d);
    if (!config_setting_get_member(s, "name"))
        rc = reader_fail(r, d->line, "name",
                         "expected a name, found a disk without one");
    if (!config_setting_get_member(s, "chain"))
        rc = reader_fail(r, d->line, "chain",
                         "expected a chain, found a disk without one");
    vm = config_setting_get_member(s, "vm") != NULL;
    vdev = config_setting_get_member(s, "vdev") != NULL;
    if (vm != vdev)
        rc = reader_fail(r, d->line, vm ? "vdev" : "vm",
                         "expected both vm and vdev or none, found only %s",
                         vm ? "vm" : "vdev");
    if (d->vdev)
        devid_parse(d->vdev, &d->devid);
    d->chain.disk = d->name;
    d->chain.readonly = d->readonly;
    return rc;
}

int
disks_read(struct reader *r, const config_setting_t *s)
{
    int i, n = config_setting_length(s), rc = 0;

    if (!config_setting_is_list(s) &&
        !(config_setting_is_array(s) && !n)) /* [] is an empty one of both */
        return expect(r, s, "disks", "a list of disks ( { ... }, ... )");
    for (i = 0; i < n; i++) {
        if (disk_read(r, config_setting_get_elem(s, (unsigned)i),
                      &r->conf->disk[r->conf->disks]))
            rc = -EINVAL;
        else
            r->conf->disks++;
    }
    return rc;
}
