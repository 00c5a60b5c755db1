/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shared.c: what layers of one plugin have in common, by name.
 *
 * It hangs off the daemon (struct commons), not off the process: so several
 * daemons in one process have nothing in common, and of one that was killed
 * nothing is left.
 */
#include "config.h"
#include "chain/engine.h"

#include <stdlib.h>
#include <string.h>

struct common {
    struct common *next;
    const struct blk_plugin *plugin;
    void (*end)(void *);
    char *name;
    unsigned sharers;
    max_align_t object[];
};

static struct common *
common_of(const void *object)
{
    return (struct common *)(void *)((char *)(uintptr_t)object -
                                     offsetof(struct common, object));
}

static struct common *
common_new(const struct blk_plugin *plugin, const char *name, size_t size)
{
    struct common *c = calloc(1, sizeof(*c) + size);

    if (!c)
        return NULL;
    c->name = strdup(name);
    if (!c->name) {
        free(c);
        return NULL;
    }
    c->plugin = plugin;
    return c;
}

/* Called with the lock. */
static struct common *
common_find(struct commons *commons, const struct blk_plugin *plugin,
            const char *name)
{
    struct common *c = commons->first;

    while (c && (c->plugin != plugin || strcmp(c->name, name)))
        c = c->next;
    return c;
}

void *
blk_share(struct blk_layer *l, const char *name, size_t size,
          void (*begin)(void *), void (*end)(void *))
{
    struct commons *commons = l->chain->loop->commons;
    struct common *c;

    pthread_mutex_lock(&commons->lock);
    c = common_find(commons, l->plugin, name);
    if (!c && (c = common_new(l->plugin, name, size))) {
        c->end = end;
        c->next = commons->first;
        commons->first = c;
        if (begin)
            begin(c->object);
    }
    if (c)
        c->sharers++;
    pthread_mutex_unlock(&commons->lock);
    return c ? c->object : NULL;
}

void
blk_unshare(struct blk_layer *l, void *object)
{
    struct commons *commons = l->chain->loop->commons;
    struct common *c = common_of(object), **at;

    pthread_mutex_lock(&commons->lock);
    CONTRACT(l, c->plugin == l->plugin && c->sharers);
    if (!--c->sharers) {
        for (at = &commons->first; *at != c; at = &(*at)->next)
            ;
        *at = c->next;
        if (c->end)
            c->end(c->object);
        free(c->name);
        free(c);
    }
    pthread_mutex_unlock(&commons->lock);
}

unsigned
blk_sharers(struct blk_layer *l, const void *object)
{
    struct commons *commons = l->chain->loop->commons;
    unsigned n;

    pthread_mutex_lock(&commons->lock);
    n = common_of(object)->sharers;
    pthread_mutex_unlock(&commons->lock);
    return n;
}
