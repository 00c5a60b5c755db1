/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load.c: the files in their order, to one tree or to lines of errors.
 *
 * All files are parsed first (so that the number of disks is known), then
 * read, then checked as a whole.  A step that found errors ends the run after
 * it: later ones would only complain about what is missing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

/* One file that was parsed. */
struct source {
    const char *path; /* the tree's */
    config_t config;
    struct source *next;
};

int
reader_fail_at(struct reader *r, const char *file, int line, const char *key,
               const char *fmt, ...)
{
    char text[768], place[16] = "";
    va_list ap;
    size_t n, room = r->size - r->used;
    char *p;

    if (r->count++ >= CONF_ERRORS || !r->size)
        return -EINVAL;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (line)
        snprintf(place, sizeof(place), ":%d", line);
    n = (size_t)snprintf(r->errors + r->used, room, "%s%s%s%s%s%s\n",
                         file ? file : "", place, file ? ": " : "",
                         key ? key : "", key ? ": " : "", text);
    if (n >= room) { /* whole lines only, but of the first as much as fits */
        n = r->used || room < 2 ? 0 : room - 1;
        if (n)
            r->errors[n - 1] = '\n';
    }
    r->errors[r->used + n] = '\0';
    for (p = r->errors + r->used; n && p < r->errors + r->used + n - 1; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    }
    r->used += n;
    return -EINVAL;
}

int
reader_fail(struct reader *r, int line, const char *key, const char *fmt, ...)
{
    char text[768];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return reader_fail_at(r, r->file, line, key, "%s", text);
}

int
reader_oom(struct reader *r)
{
    reader_fail(r, 0, NULL, "no memory is left to read it");
    return -ENOMEM;
}

/* ---- from text to settings ----------------------------------------------- */

static int
source_syntax(struct reader *r, const config_t *config, const char *text)
{
    const char *what = config_error_text(config);
    int line = config_error_line(config);
    char found[64];

    text_line(text, line, found, sizeof(found));
    if (what && !strcmp(what, "duplicate setting name"))
        return reader_fail(r, line, NULL,
                           "expected each key once, found one again near: %s",
                           found);
    return reader_fail(r, line, NULL,
                       "expected key = value, found, here or just before: %s "
                       "(%s)",
                       found[0] ? found : "the end",
                       what ? what : "syntax error");
}

static struct source *
source_parse(struct reader *r, const char *text, size_t len)
{
    struct source *source;

    if (text_check(r, text, len))
        return NULL;
    source = calloc(1, sizeof(*source));
    if (!source) {
        reader_oom(r);
        return NULL;
    }
    source->path = r->file;
    config_init(&source->config);
    if (config_read_string(&source->config, text))
        return source;
    source_syntax(r, &source->config, text);
    config_destroy(&source->config);
    free(source);
    return NULL;
}

static int
source_read(struct reader *r, const struct source *source)
{
    const config_setting_t *root = config_root_setting(&source->config), *s;
    static const struct conf_key sections[] = { { .name = "daemon" },
                                                { .name = "disks" },
                                                { .name = NULL } };
    int i, rc = 0, n = config_setting_length(root);
    const char *name;
    char hint[96];

    r->file = source->path;
    for (i = 0; i < n; i++) {
        s = config_setting_get_elem(root, (unsigned)i);
        name = config_setting_name(s);
        if (!strcmp(name, "daemon"))
            rc |= daemon_read(r, s);
        else if (!strcmp(name, "disks"))
            rc |= disks_read(r, s);
        else
            rc |= reader_fail(r, (int)config_setting_source_line(s), name,
                              "expected daemon or disks, found an unknown "
                              "key%s",
                              key_hint(sections, name, hint, sizeof(hint)));
    }
    return rc ? -EINVAL : 0;
}

static void
sources_free(struct source *source)
{
    struct source *next;

    for (; source; source = next) {
        next = source->next;
        config_destroy(&source->config);
        free(source);
    }
}

/* Room for all disks at once: they are not moved later. */
static int
sources_reserve(struct reader *r, const struct source *source)
{
    const config_setting_t *s;
    size_t n = 0;

    for (; source; source = source->next) {
        r->file = source->path;
        s = config_lookup(&source->config, "disks");
        if (s && config_setting_is_aggregate(s))
            n += (size_t)config_setting_length(s);
    }
    if (n > CONF_DISKS)
        return reader_fail(r, 0, "disks", "expected at most %d, found %zu",
                           CONF_DISKS, n);
    r->conf->disk = conf_alloc(r->conf, sizeof(*r->conf->disk) * (n + 1));
    return r->conf->disk ? 0 : reader_oom(r);
}

static int
sources_read(struct reader *r, const struct source *first)
{
    const struct source *source;
    int rc = sources_reserve(r, first);

    if (rc)
        return rc;
    for (source = first; source; source = source->next) {
        if (source_read(r, source))
            rc = -EINVAL;
    }
    return rc ? rc : disks_check(r);
}

/* ---- the files ----------------------------------------------------------- */

static int
is_part(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return entry->d_name[0] != '.' && n > 5 &&
           !strcmp(entry->d_name + n - 5, ".conf");
}

/* Not alphasort(): the order must not hang on the locale. */
static int
part_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int
file_load(struct reader *r, const char *path, struct source ***last)
{
    char *text;
    size_t len;

    r->file = conf_strdup(r->conf, path);
    if (!r->file)
        return reader_oom(r);
    text = text_read(r, r->file, &len);
    if (!text)
        return -EINVAL;
    **last = source_parse(r, text, len);
    free(text);
    if (!**last)
        return -EINVAL;
    *last = &(**last)->next;
    return 0;
}

static int
folder_load(struct reader *r, const char *dir, struct source ***last)
{
    struct dirent **entry = NULL;
    char path[4096];
    int i, n, rc = 0;

    n = scandir(dir, &entry, is_part, part_order);
    if (n < 0 && errno == ENOENT)
        return 0;
    if (n < 0)
        return reader_fail_at(r, dir, 0, NULL, "can't be read: %s",
                              strerror(errno));
    for (i = 0; i < n; i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir,
                             entry[i]->d_name) >= sizeof(path))
            rc |= reader_fail_at(r, dir, 0, NULL, "the path is too long");
        else
            rc |= file_load(r, path, last);
        free(entry[i]);
    }
    free(entry);
    return rc;
}

/* The tree when all went well; else nothing is left of it. */
static struct conf *
reader_end(struct reader *r, struct source *sources, int rc)
{
    sources_free(sources);
    if (!rc)
        return r->conf;
    conf_unref(r->conf);
    return NULL;
}

int
reader_begin(struct reader *r, char *errors, size_t n)
{
    *r = (struct reader){ .conf = conf_new(), .errors = errors, .size = n };
    if (n)
        errors[0] = '\0';
    return r->conf ? 0 : reader_oom(r);
}

struct conf *
conf_load(const char *path, const char *dir, char *errors, size_t n)
{
    struct source *sources = NULL, **last = &sources;
    struct reader r;
    int rc;

    if (reader_begin(&r, errors, n))
        return NULL;
    rc = file_load(&r, path, &last);
    if (dir)
        rc |= folder_load(&r, dir, &last);
    if (!rc)
        rc = sources_read(&r, sources);
    return reader_end(&r, sources, rc);
}

struct conf *
conf_load_text(const char *path, const char *text, size_t len, char *errors,
               size_t n)
{
    struct source *source;
    struct reader r;
    int rc = -EINVAL;

    if (reader_begin(&r, errors, n))
        return NULL;
    r.file = conf_strdup(r.conf, path);
    if (!r.file)
        reader_oom(&r);
    source = r.file ? source_parse(&r, text, len) : NULL;
    if (source)
        rc = sources_read(&r, source);
    return reader_end(&r, source, rc);
}

/* The text of a group without its brackets is that of a file. */
int
layer_load_text(struct reader *r, const char *path, const char *text,
                struct blk_conf *layer)
{
    struct source *source;
    int rc;

    r->file = path;
    source = source_parse(r, text, strlen(text));
    if (!source)
        return -EINVAL;
    rc = layer_read(r, config_root_setting(&source->config), layer);
    layer->line = 1; /* libconfig has none for what is the whole text */
    sources_free(source);
    return rc;
}
