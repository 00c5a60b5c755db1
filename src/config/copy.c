/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy.c: a tree once more, with memory of its own.
 */
#include <errno.h>

#include "config/tree.h"

/* NULL stays NULL; *failed is set when there is no memory. */
static const char *
text_copy(struct conf *conf, const char *text, bool *failed)
{
    const char *copy = text ? conf_strdup(conf, text) : NULL;

    *failed |= text && !copy;
    return copy;
}

static void
layer_copy(struct conf *conf, struct blk_conf *to, const struct blk_conf *from,
           bool *failed)
{
    struct blk_kv *kv = conf_alloc(conf, sizeof(*kv) * ((size_t)from->n + 1));
    unsigned i;

    *to = *from;
    to->plugin = text_copy(conf, from->plugin, failed);
    to->name = text_copy(conf, from->name, failed);
    to->file = text_copy(conf, from->file, failed);
    to->kv = kv;
    *failed |= !kv;
    for (i = 0; kv && i < from->n; i++) {
        kv[i].key = text_copy(conf, from->kv[i].key, failed);
        kv[i].value = text_copy(conf, from->kv[i].value, failed);
        kv[i].file = text_copy(conf, from->kv[i].file, failed);
        kv[i].line = from->kv[i].line;
    }
}

int
chain_copy(struct conf *conf, struct chain_spec *to,
           const struct chain_spec *from)
{
    struct blk_conf *layer =
        conf_alloc(conf, sizeof(*layer) * ((size_t)from->n + 1));
    bool failed = !layer;
    unsigned i;

    for (i = 0; !failed && i < from->n; i++)
        layer_copy(conf, &layer[i], &from->layer[i], &failed);
    to->layer = layer;
    to->n = from->n;
    return failed ? -ENOMEM : 0;
}

const struct chain_spec *
chain_dup(struct conf *conf, const struct chain_spec *from)
{
    struct chain_spec *copy = conf_alloc(conf, sizeof(*copy));

    if (!copy)
        return NULL;
    *copy = *from;
    copy->disk = conf_strdup(conf, from->disk);
    return copy->disk && !chain_copy(conf, copy, from) ? copy : NULL;
}

static void
disk_copy(struct conf *conf, struct conf_disk *to, const struct conf_disk *from,
          bool *failed)
{
    *to = *from;
    to->name = text_copy(conf, from->name, failed);
    to->vm = text_copy(conf, from->vm, failed);
    to->vdev = text_copy(conf, from->vdev, failed);
    to->file = text_copy(conf, from->file, failed);
    to->chain.disk = to->name;
    *failed |= chain_copy(conf, &to->chain, &from->chain) != 0;
    to->filed = from->filed ? chain_dup(conf, from->filed) : NULL;
    *failed |= from->filed && !to->filed;
}

static const char *const *
kinds_copy(struct conf *conf, const char *const *from, bool *failed)
{
    const char **kinds;
    size_t i, n = 0;

    while (from[n])
        n++;
    kinds = conf_alloc(conf, sizeof(*kinds) * (n + 1));
    *failed |= !kinds;
    for (i = 0; kinds && i < n; i++)
        kinds[i] = text_copy(conf, from[i], failed);
    return kinds;
}

struct conf *
conf_copy_tree(const struct conf *from)
{
    struct conf *conf = conf_new();
    bool failed = false;
    void *memory;
    unsigned i;

    if (!conf)
        return NULL;
    memory = conf->memory;
    *conf = *from;
    conf->refs = 1;
    conf->memory = memory;
    conf->control = text_copy(conf, from->control, &failed);
    conf->user = text_copy(conf, from->user, &failed);
    conf->scratch = text_copy(conf, from->scratch, &failed);
    conf->kinds = kinds_copy(conf, from->kinds, &failed);
    conf->disk = conf_alloc(conf, sizeof(*conf->disk) * (from->disks + 1));
    failed |= !conf->disk;
    for (i = 0; !failed && i < from->disks; i++)
        disk_copy(conf, &conf->disk[i], &from->disk[i], &failed);
    if (!failed)
        return conf;
    conf_unref(conf);
    return NULL;
}
