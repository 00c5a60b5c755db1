/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as blktapd.conf: a tree or lines of errors, never both, never a
 * crash; and a tree prints as text that makes the same tree.
 *
 * Plugins are not looked for: everything else of the configuration is.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
chain_check(const struct chain_spec *spec, char *why, size_t n)
{
    const struct blk_conf *last = &spec->layer[spec->n - 1];

    if (strcmp(last->plugin, "trace"))
        return 0;
    snprintf(why, n, "%s:%d: plugin: expected a tail, found \"trace\"",
             last->file, last->line);
    return -1;
}

/* Layers called so. */
const struct blk_plugin *
plugin_find(const char *name, char *why, size_t n)
{
    static const struct blk_plugin vbd = { .back_end = true },
                                   trace = { .transparent = true }, other;

    (void)why, (void)n;
    return !strcmp(name, "vbd")     ? &vbd
           : !strcmp(name, "trace") ? &trace
                                    : &other;
}

/* The engine's own has a target of its own. */
int
parse_size(const char *text, uint64_t *to)
{
    char *end;

    *to = strtoull(text, &end, 10);
    if (end == text)
        return -1;
    *to <<= *end == 'M' ? 20 : 0;
    return 0;
}

int
parse_time(const char *text, uint64_t *to)
{
    char *end;

    *to = strtoull(text, &end, 10);
    if (end == text)
        return -1;
    *to *= *end == 's' ? 1000000000 : 1000000;
    return 0;
}

void
log_line(enum blk_level level, const struct log_fields *fields, const char *fmt,
         ...)
{
    (void)level, (void)fields, (void)fmt;
}

/* Whole lines, that begin with the name, without control characters. */
static void
check_errors(const char *errors)
{
    const char *p;
    unsigned lines = 0;

    assert(errors[0] && errors[strlen(errors) - 1] == '\n');
    for (p = errors; *p; p = strchr(p, '\n') + 1) {
        assert(!strncmp(p, "F:", 2));
        lines++;
    }
    assert(lines <= CONF_ERRORS);
    for (p = errors; *p; p++)
        assert((unsigned char)*p >= ' ' || *p == '\n');
}

static void
changed(void *ctx, enum conf_change change, const struct conf_disk *old,
        const struct conf_disk *new_)
{
    (void)ctx, (void)old, (void)new_;
    assert(change == CONF_SAME);
}

static void
check_tree(struct conf *conf)
{
    char errors[8192], *text = NULL;
    struct conf *again;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    unsigned i;

    assert(f);
    conf_print(conf, f);
    fclose(f);
    if (n <= CONF_FILE_MAX) {
        again = conf_load_text("F", text, n, errors, sizeof(errors));
        if (!again)
            fprintf(stderr, "%s\n%s", text, errors);
        assert(again);
        conf_diff(conf, again, changed, NULL);
        assert(!conf_needs_restart(conf, again));
        conf_unref(again);
    }
    free(text);
    for (i = 0; i < conf->disks; i++)
        assert(conf_match(conf, conf->disk[i].name, NULL, 0) == &conf->disk[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char errors[8192] = "", *text = malloc(size + 1);
    struct conf *conf;
    uint32_t devid;

    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';
    devid_parse(text, &devid);
    conf = conf_load_text("F", text, size, errors, sizeof(errors));
    assert(!conf == (errors[0] != '\0'));
    if (conf)
        check_tree(conf);
    else
        check_errors(errors);
    conf_unref(conf);
    free(text);
    return 0;
}
