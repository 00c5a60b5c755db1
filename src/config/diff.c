/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * diff.c: what is different between two trees.
 */
#include <string.h>

#include "config/config.h"

/* NULL equals NULL only. */
static bool
same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* Keys are unique within a layer, their order says nothing. */
static bool
layer_equal(const struct blk_conf *a, const struct blk_conf *b)
{
    unsigned i, k;

    if (a->n != b->n || !same(a->plugin, b->plugin) || !same(a->name, b->name))
        return false;
    for (i = 0; i < a->n; i++) {
        for (k = 0; k < b->n; k++) {
            if (same(a->kv[i].key, b->kv[k].key))
                break;
        }
        if (k == b->n || !same(a->kv[i].value, b->kv[k].value))
            return false;
    }
    return true;
}

bool
conf_layers_equal(const struct chain_spec *a, const struct chain_spec *b)
{
    unsigned i;

    if (a->n != b->n)
        return false;
    for (i = 0; i < a->n; i++) {
        if (!layer_equal(&a->layer[i], &b->layer[i]))
            return false;
    }
    return true;
}

/* Where it stands (file, line) is no part of a disk. */
bool
conf_disk_equal(const struct conf_disk *a, const struct conf_disk *b)
{
    return same(a->name, b->name) && same(a->vm, b->vm) &&
           same(a->vdev, b->vdev) && a->mode == b->mode &&
           a->readonly == b->readonly && a->discard == b->discard &&
           a->barrier == b->barrier && a->queues == b->queues &&
           a->ring_order == b->ring_order && a->indirect == b->indirect &&
           a->buffers == b->buffers && a->chain.readonly == b->chain.readonly &&
           conf_layers_equal(&a->chain, &b->chain);
}

void
conf_diff(const struct conf *from, const struct conf *to,
          void (*cb)(void *, enum conf_change, const struct conf_disk *old,
                     const struct conf_disk *new_),
          void *ctx)
{
    const struct conf_disk *old, *new_;
    unsigned i;

    /* What goes first: its image may be what a new disk wants. */
    for (i = 0; i < from->disks; i++) {
        old = &from->disk[i];
        if (!conf_disk(to, old->name))
            cb(ctx, CONF_REMOVED, old, NULL);
    }
    for (i = 0; i < to->disks; i++) {
        new_ = &to->disk[i];
        old = conf_disk(from, new_->name);
        if (!old)
            cb(ctx, CONF_ADDED, NULL, new_);
        else if (conf_disk_equal(old, new_))
            cb(ctx, CONF_SAME, old, new_);
        else
            cb(ctx, CONF_CHANGED, old, new_);
    }
}

static bool
kinds_equal(const char *const *a, const char *const *b)
{
    for (; *a && *b; a++, b++) {
        if (strcmp(*a, *b))
            return false;
    }
    return !*a && !*b;
}

const char *
conf_needs_restart(const struct conf *from, const struct conf *to)
{
    if (!same(from->control, to->control))
        return "daemon.control has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    if (!same(from->user, to->user))
        return "daemon.user has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    if (!same(from->scratch, to->scratch))
        return "daemon.scratch has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    if (from->sandbox != to->sandbox)
        return "daemon.sandbox has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    if (from->loops != to->loops)
        return "daemon.loops has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    if (from->workers != to->workers)
        return "daemon.workers has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    if (!kinds_equal(from->kinds, to->kinds))
        return "daemon.kinds has changed: it takes effect after "
               "\"systemctl restart blktapd\"";
    return NULL;
}
