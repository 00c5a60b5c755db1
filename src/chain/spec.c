/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spec.c: copies of what a chain was asked to be, each in one block of memory:
 * the structs first, then their keys, then all strings.
 */
#include "config.h"
#include "chain/engine.h"

#include <stdlib.h>
#include <string.h>

struct writer {
    struct blk_kv *kv;
    char *text;
};

static char *
put_string(struct writer *w, const char *s)
{
    char *to = w->text;
    size_t size;

    if (!s)
        return NULL;
    size = strlen(s) + 1;
    memcpy(to, s, size);
    w->text += size;
    return to;
}

static size_t
string_size(const char *s)
{
    return s ? strlen(s) + 1 : 0;
}

static size_t
text_size(const struct blk_conf *conf)
{
    size_t size = string_size(conf->plugin) + string_size(conf->name) +
                  string_size(conf->file);

    for (unsigned i = 0; i < conf->n; i++)
        size += string_size(conf->kv[i].key) + string_size(conf->kv[i].value) +
                string_size(conf->kv[i].file);
    return size;
}

static void
put_conf(struct writer *w, struct blk_conf *to, const struct blk_conf *from)
{
    struct blk_kv *kv = w->kv;

    w->kv += from->n;
    *to = *from;
    to->plugin = put_string(w, from->plugin);
    to->name = put_string(w, from->name);
    to->file = put_string(w, from->file);
    to->kv = kv;
    for (unsigned i = 0; i < from->n; i++) {
        kv[i].key = put_string(w, from->kv[i].key);
        kv[i].value = put_string(w, from->kv[i].value);
        kv[i].file = put_string(w, from->kv[i].file);
        kv[i].line = from->kv[i].line;
    }
}

const char *
conf_name(const struct blk_conf *conf)
{
    return conf->name ? conf->name : conf->plugin;
}

struct blk_conf *
conf_copy(const struct blk_conf *from)
{
    size_t kv_size = from->n * sizeof(struct blk_kv);
    struct blk_conf *conf = malloc(sizeof(*conf) + kv_size + text_size(from));
    struct writer w;

    if (!conf)
        return NULL;
    w.kv = (struct blk_kv *)(void *)(conf + 1);
    w.text = (char *)(w.kv + from->n);
    put_conf(&w, conf, from);
    return conf;
}

struct chain_spec *
spec_copy(const struct chain_spec *from)
{
    size_t text = string_size(from->disk), kvs = 0;
    struct chain_spec *spec;
    struct blk_conf *conf;
    struct writer w;

    for (unsigned i = 0; i < from->n; i++) {
        text += text_size(&from->layer[i]);
        kvs += from->layer[i].n;
    }
    spec = malloc(sizeof(*spec) + from->n * sizeof(*conf) +
                  kvs * sizeof(*w.kv) + text);
    if (!spec)
        return NULL;
    conf = (struct blk_conf *)(void *)(spec + 1);
    w.kv = (struct blk_kv *)(void *)(conf + from->n);
    w.text = (char *)(w.kv + kvs);
    *spec = *from;
    spec->disk = put_string(&w, from->disk);
    spec->attachment = NULL; /* the chain has it */
    spec->layer = conf;
    for (unsigned i = 0; i < from->n; i++)
        put_conf(&w, &conf[i], &from->layer[i]);
    return spec;
}

void
spec_free(struct chain_spec *spec)
{
    free(spec);
}
