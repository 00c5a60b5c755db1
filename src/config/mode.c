/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mode.c: which layers of a disk's chain run.
 *
 *   intercept    all; the last has data of its own
 *   interpose    all; the last is the front-end of another back-end
 *   passthrough  the last alone; those above it are not even opened
 *
 * No mode may change what the guest reads: that is why passthrough wants every
 * layer that it leaves out to be transparent, and why the first is never
 * changed into one of the others.  What a plugin is it says itself, in
 * blktap/plugin.h.
 */
#include <errno.h>
#include <string.h>

#include "config/tree.h"

const char *const conf_mode_names[] = { "intercept", "interpose", "passthrough",
                                        NULL };

const char *
conf_mode_name(enum conf_mode mode)
{
    return conf_mode_names[mode];
}

int
conf_mode_parse(const char *word, enum conf_mode *mode)
{
    unsigned i;

    for (i = 0; conf_mode_names[i]; i++) {
        if (!strcmp(conf_mode_names[i], word)) {
            *mode = (enum conf_mode)i;
            return 0;
        }
    }
    return -EINVAL;
}

struct chain_spec
conf_running(const struct conf_disk *d)
{
    struct chain_spec spec = d->chain;

    if (d->mode == CONF_PASSTHROUGH && spec.n) {
        spec.layer += spec.n - 1;
        spec.n = 1;
    }
    return spec;
}

static const struct blk_plugin *
plugin_of(const struct blk_conf *layer)
{
    char why[256];

    return plugin_find(layer->plugin, why, sizeof(why));
}

/* Whether the data are another back-end's. */
static bool
tail_is_back_end(const struct chain_spec *chain)
{
    const struct blk_plugin *p = plugin_of(&chain->layer[chain->n - 1]);

    return p && p->back_end;
}

void
mode_follow(struct conf_disk *d)
{
    if (d->mode == MODE_ANY ||
        (d->mode == CONF_INTERCEPT) == tail_is_back_end(&d->chain))
        d->mode = tail_is_back_end(&d->chain) ? CONF_INTERPOSE : CONF_INTERCEPT;
}

/* The first that passthrough can't leave out; or NULL. */
static const struct blk_conf *
layer_needed(const struct chain_spec *chain)
{
    const struct blk_plugin *p;
    unsigned i;

    for (i = 0; i + 1 < chain->n; i++) {
        p = plugin_of(&chain->layer[i]);
        if (!p || !p->transparent)
            return &chain->layer[i];
    }
    return NULL;
}

int
mode_check(const struct conf_disk *d, char *why, size_t n)
{
    const struct blk_conf *tail = &d->chain.layer[d->chain.n - 1], *needed;
    bool back_end = tail_is_back_end(&d->chain);

    if (back_end == (d->mode == CONF_INTERCEPT)) {
        snprintf(why, n,
                 "expected %s, as the last layer, \"%s\" (plugin %s), has %s, "
                 "found \"%s\"",
                 back_end ? "\"interpose\" or \"passthrough\""
                          : "\"intercept\"",
                 tail->name, tail->plugin,
                 back_end ? "the data of another back-end" : "data of its own",
                 conf_mode_name(d->mode));
        return -EINVAL;
    }
    needed = d->mode == CONF_PASSTHROUGH ? layer_needed(&d->chain) : NULL;
    if (!needed)
        return 0;
    snprintf(why, n,
             "expected another mode than \"passthrough\", or no layer \"%s\": "
             "without it (plugin %s) the guest reads other data",
             needed->name, needed->plugin);
    return -EINVAL;
}
