/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * options.c: from the keys of a layer in the config to its self, by the table
 * of its plugin.  Every message is FILE:LINE: KEY: expected ..., found ...
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a value stands, and where the message goes. */
struct place {
    const char *file;
    int line;
    const char *key;
    char *why;
    size_t n;
};

__attribute__((format(printf, 2, 3))) static int
refuse(const struct place *at, const char *fmt, ...)
{
    va_list ap;
    int len = snprintf(at->why, at->n, "%s:%d: %s: ", at->file ? at->file : "-",
                       at->line, at->key);

    if (len < 0 || (size_t)len >= at->n)
        return -EINVAL;
    va_start(ap, fmt);
    vsnprintf(at->why + len, at->n - (size_t)len, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

/* ---- one value ----------------------------------------------------------- */

static int
set_text(const struct blk_option *o, void *to, const char *value,
         const struct place *at)
{
    char *copy;

    if (o->type == BLK_PATH && value[0] != '/')
        return refuse(at, "expected an absolute path, found \"%s\"", value);
    copy = strdup(value);
    if (!copy)
        return refuse(at, "out of memory");
    free(*(char **)to);
    *(char **)to = copy;
    return 0;
}

static int
set_number(const struct blk_option *o, void *to, const char *value,
           const struct place *at)
{
    static const char *const kind[] = {
        [BLK_UINT] = "a number",
        [BLK_SIZE] = "a size such as 4k or 10G",
        [BLK_TIME] = "a time such as 5ms or 2s",
    };
    uint64_t number;
    int error = o->type == BLK_UINT   ? parse_uint(value, &number)
                : o->type == BLK_SIZE ? parse_size(value, &number)
                                      : parse_time(value, &number);

    if (error)
        return refuse(at, "expected %s, found \"%s\"", kind[o->type], value);
    if ((o->min || o->max) && (number < o->min || (o->max && number > o->max)))
        return o->max ? refuse(at, "expected %llu to %llu%s, found \"%s\"",
                               (unsigned long long)o->min,
                               (unsigned long long)o->max,
                               o->type == BLK_TIME   ? " ns"
                               : o->type == BLK_SIZE ? " bytes"
                                                     : "",
                               value)
                      : refuse(at, "expected at least %llu, found \"%s\"",
                               (unsigned long long)o->min, value);
    memcpy(to, &number, sizeof(number));
    return 0;
}

/* Digits with a point: strtod(3) would ask the locale and take "inf". */
static int
set_ratio(void *to, const char *value, const struct place *at)
{
    double number = 0, scale = 1;
    const char *s = value;
    bool digits = false;

    for (; *s >= '0' && *s <= '9'; s++, digits = true)
        number = number * 10 + (*s - '0');
    if (*s == '.') {
        for (s++; *s >= '0' && *s <= '9'; s++, digits = true)
            number += (*s - '0') * (scale /= 10);
    }
    if (!digits || *s || number > 1)
        return refuse(at, "expected a ratio from 0 to 1, found \"%s\"", value);
    memcpy(to, &number, sizeof(number));
    return 0;
}

static int
set_choice(const struct blk_option *o, void *to, const char *value,
           const struct place *at)
{
    char list[160] = "";
    size_t len = 0;

    for (uint64_t i = 0; o->choices[i]; i++) {
        if (!strcmp(o->choices[i], value)) {
            memcpy(to, &i, sizeof(i));
            return 0;
        }
        if (len < sizeof(list))
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                    i ? ", " : "", o->choices[i]);
    }
    return refuse(at, "expected one of %s, found \"%s\"", list, value);
}

static int
set_bool(void *to, const char *value, const struct place *at)
{
    if (parse_bool(value, to))
        return refuse(at, "expected true or false, found \"%s\"", value);
    return 0;
}

static int
set(const struct blk_option *o, void *self, const char *value,
    const struct place *at)
{
    void *to = (char *)self + o->at;

    switch (o->type) {
    case BLK_STRING:
    case BLK_PATH:
        return set_text(o, to, value, at);
    case BLK_BOOL:
        return set_bool(to, value, at);
    case BLK_UINT:
    case BLK_SIZE:
    case BLK_TIME:
        return set_number(o, to, value, at);
    case BLK_RATIO:
        return set_ratio(to, value, at);
    case BLK_CHOICE:
        return set_choice(o, to, value, at);
    }
    return refuse(at, "the plugin's table of options is wrong");
}

/* ---- keys that nobody knows ---------------------------------------------- */

/* How many letters must be added, removed, changed or swapped with the next;
 * of short words only. */
static unsigned
distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    unsigned d[3][MOST + 1];
    size_t la = strlen(a), lb = strlen(b);

    if (la > MOST || lb > MOST)
        return MOST;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *row = d[i % 3], *last = d[(i + 2) % 3];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1] && d[(i + 1) % 3][j - 2] + 1 < best)
                best = d[(i + 1) % 3][j - 2] + 1;
            row[j] = best;
        }
    }
    return d[la % 3][lb];
}

static const char *
nearest(const struct blk_plugin *p, const char *key)
{
    unsigned best = strlen(key) > 4 ? 3 : 2;
    const char *name = NULL;

    for (const struct blk_option *o = p->options; o && o->name; o++) {
        unsigned d = distance(key, o->name);

        if (d < best) {
            best = d;
            name = o->name;
        }
    }
    return name;
}

static int
refuse_key(const struct blk_plugin *p, const struct place *at)
{
    const char *near = nearest(p, at->key);
    char list[200] = "";
    size_t len = 0;

    if (near)
        return refuse(at,
                      "expected an option of %s, found \"%s\"; did you mean "
                      "\"%s\"?",
                      p->name, at->key, near);
    for (const struct blk_option *o = p->options; o && o->name; o++) {
        if (len < sizeof(list))
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                    len ? ", " : "", o->name);
    }
    return refuse(at, "expected an option of %s (%s), found \"%s\"", p->name,
                  len ? list : "there is none", at->key);
}

/* ---- the whole ----------------------------------------------------------- */

static const struct blk_option *
option_named(const struct blk_plugin *p, const char *key)
{
    for (const struct blk_option *o = p->options; o && o->name; o++) {
        if (!strcmp(o->name, key))
            return o;
    }
    return NULL;
}

/* "plugin" and "name" are the engine's, in every layer. */
static bool
reserved(const char *key)
{
    return !strcmp(key, "plugin") || !strcmp(key, "name");
}

static const struct blk_kv *
key_given(const struct blk_conf *conf, const char *key, unsigned before)
{
    for (unsigned i = 0; i < before; i++) {
        if (!strcmp(conf->kv[i].key, key))
            return &conf->kv[i];
    }
    return NULL;
}

static int
parse_keys(const struct blk_plugin *p, const struct blk_conf *conf, void *self,
           struct place *at)
{
    for (unsigned i = 0; i < conf->n; i++) {
        const struct blk_kv *kv = &conf->kv[i];
        const struct blk_option *o;
        int error;

        at->file = kv->file;
        at->line = kv->line;
        at->key = kv->key;
        if (reserved(kv->key))
            continue;
        o = option_named(p, kv->key);
        if (!o)
            return refuse_key(p, at);
        if (key_given(conf, kv->key, i))
            return refuse(at, "expected once, found twice");
        error = set(o, self, kv->value, at);
        if (error)
            return error;
    }
    return 0;
}

static int
parse_fallbacks(const struct blk_plugin *p, const struct blk_conf *conf,
                void *self, struct place *at)
{
    for (const struct blk_option *o = p->options; o && o->name; o++) {
        int error;

        at->file = conf->file;
        at->line = conf->line;
        at->key = o->name;
        if (key_given(conf, o->name, conf->n))
            continue;
        if (o->required)
            return refuse(at, "expected a value for plugin %s, found none",
                          p->name);
        if (!o->fallback)
            continue;
        error = set(o, self, o->fallback, at);
        if (error)
            return error;
    }
    return 0;
}

int
options_parse(const struct blk_plugin *p, const struct blk_conf *conf,
              void *self, char *why, size_t n)
{
    struct place at = { .why = why, .n = n };
    int error = parse_keys(p, conf, self, &at);

    if (!error)
        error = parse_fallbacks(p, conf, self, &at);
    if (error)
        options_free(p, self);
    return error;
}

void
options_free(const struct blk_plugin *p, void *self)
{
    for (const struct blk_option *o = p->options; o && o->name; o++) {
        char **text = (char **)(void *)((char *)self + o->at);

        if (o->type != BLK_STRING && o->type != BLK_PATH)
            continue;
        free(*text);
        *text = NULL;
    }
}

/* ---- a whole chain ------------------------------------------------------- */

/* 0, or -errno and a sentence in said. */
static int
check_self(const struct blk_plugin *p, const void *self, bool last, char *said,
           size_t n)
{
    int error = p->check ? p->check(self, said, n) : 0;

    if (!error && last && p->check_last)
        error = p->check_last(self, said, n);
    if (error && !said[0])
        snprintf(said, n, "%s", strerror(-error));
    return error;
}

static int
check_layer(const struct blk_conf *conf, bool last, char *why, size_t n)
{
    struct place at = { conf->file, conf->line, conf_name(conf), why, n };
    const struct blk_plugin *p;
    char said[200] = "";
    void *self;
    int error;

    at.key = "plugin";
    if (!conf->plugin)
        return refuse(&at, "expected the name of a plugin, found none");
    p = plugin_find(conf->plugin, said, sizeof(said));
    if (!p)
        return refuse(&at, "%s", said);
    self = calloc(1, p->self_size ? p->self_size : 1);
    if (!self)
        return refuse(&at, "out of memory");
    error = options_parse(p, conf, self, why, n);
    at.key = p->name;
    if (!error)
        error = check_self(p, self, last, said, sizeof(said));
    if (error && said[0])
        refuse(&at, "%s", said);
    options_free(p, self);
    free(self);
    return error;
}

static int
check_place(const struct chain_spec *spec, unsigned i, char *why, size_t n)
{
    const struct blk_conf *conf = &spec->layer[i];
    struct place at = { conf->file, conf->line, "plugin", why, n };
    const struct blk_plugin *p = plugin_find(conf->plugin, why, n);
    bool last = i + 1 == spec->n;

    if (!p)
        return -ENOENT;
    if (p->tail != BLK_EITHER && (p->tail == BLK_TAIL) != last)
        return refuse(&at,
                      last ? "expected a tail as the last layer, found \"%s\", "
                             "which needs one below it"
                           : "expected a layer that passes requests on, found "
                             "\"%s\", which must be the last",
                      p->name);
    at.key = "name";
    for (unsigned k = 0; k < i; k++) {
        if (!strcmp(conf_name(&spec->layer[k]), conf_name(conf)))
            return refuse(&at,
                          "expected a name that no other layer of the disk "
                          "has, found \"%s\" again",
                          conf_name(conf));
    }
    return 0;
}

int
chain_check(const struct chain_spec *spec, char *why, size_t n)
{
    int error = 0;

    if (!spec->n) {
        snprintf(why, n,
                 "disk %s: chain: expected at least one layer, found "
                 "none",
                 spec->disk);
        return -EINVAL;
    }
    for (unsigned i = 0; i < spec->n && !error; i++) {
        error = check_layer(&spec->layer[i], i + 1 == spec->n, why, n);
        if (!error)
            error = check_place(spec, i, why, n);
    }
    return error;
}
