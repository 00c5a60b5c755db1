/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tree.c: a tree's memory and its life.
 *
 * Every piece is a block of its own on one list: a tree is small, is made
 * seldom, and a stray access is seen by the sanitizer.
 */
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

struct block {
    struct block *next;
    max_align_t bytes[];
};

static const char *const kinds_default[] = { "vbd", "vbd3", NULL };

struct conf *
conf_new(void)
{
    struct conf *conf = calloc(1, sizeof(*conf));

    if (!conf)
        return NULL;
    conf->refs = 1;
    conf->control = BLKTAPD_RUNDIR "/control";
    conf->loops = 1;
    conf->sandbox = true;
    conf->drain_ns = UINT64_C(30000000000);
    conf->log_level = BLK_INFO;
    conf->kinds = kinds_default;
    return conf;
}

void *
conf_alloc(struct conf *conf, size_t size)
{
    struct block *block = calloc(1, sizeof(*block) + size);

    if (!block)
        return NULL;
    block->next = conf->memory;
    conf->memory = block;
    return block->bytes;
}

char *
conf_strdup(struct conf *conf, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = conf_alloc(conf, size);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

struct conf *
conf_ref(struct conf *conf)
{
    __atomic_add_fetch(&conf->refs, 1, __ATOMIC_RELAXED);
    return conf;
}

void
conf_unref(struct conf *conf)
{
    struct block *block, *next;

    if (!conf || __atomic_sub_fetch(&conf->refs, 1, __ATOMIC_ACQ_REL))
        return;
    for (block = conf->memory; block; block = next) {
        next = block->next;
        free(block);
    }
    free(conf);
}

const struct conf_disk *
conf_disk(const struct conf *conf, const char *name)
{
    unsigned i;

    for (i = 0; i < conf->disks; i++) {
        if (!strcmp(conf->disk[i].name, name))
            return &conf->disk[i];
    }
    return NULL;
}
