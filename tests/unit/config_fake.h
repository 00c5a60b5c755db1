/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config_fake.h: what config/ calls of other rooms, made simple.
 *
 * Plugins are not looked for: "nosuch" is unknown, all others exist, and those
 * whose name begins with "tail" are tails; "tail-back" is one of a back-end,
 * and "opaque" changes data.
 */
#ifndef TESTS_UNIT_CONFIG_FAKE_H
#define TESTS_UNIT_CONFIG_FAKE_H

#include <errno.h>

#include "config/tree.h"
#include "tests/test.h"

static char fake_log[512]; /* the last line */

int
chain_check(const struct chain_spec *spec, char *why, size_t n)
{
    const struct blk_conf *l;
    unsigned i;

    for (i = 0; i < spec->n; i++) {
        l = &spec->layer[i];
        if (!strcmp(l->plugin, "placeless")) {
            snprintf(why, n, "something is wrong somewhere");
            return -EINVAL;
        }
        if (!strcmp(l->plugin, "nosuch") ||
            (i + 1 == spec->n) != !strncmp(l->plugin, "tail", 4)) {
            snprintf(why, n, "%s:%d: plugin: refused", l->file, l->line);
            return -EINVAL;
        }
    }
    return 0;
}

const struct blk_plugin *
plugin_find(const char *name, char *why, size_t n)
{
    static const struct blk_plugin plain = { .transparent = true },
                                   back = { .back_end = true }, opaque;

    if (!strcmp(name, "nosuch")) {
        snprintf(why, n, "there is no plugin \"nosuch\"");
        return NULL;
    }
    return !strcmp(name, "tail-back") ? &back
           : !strcmp(name, "opaque")  ? &opaque
                                      : &plain;
}

int
parse_size(const char *text, uint64_t *to)
{
    char unit = 0;
    unsigned long long n;

    if (sscanf(text, "%llu%c", &n, &unit) < 1)
        return -EINVAL;
    *to = unit == 'M' ? n << 20 : unit == 'k' ? n << 10 : n;
    return 0;
}

int
parse_time(const char *text, uint64_t *to)
{
    char unit[3] = "";
    unsigned long long n;

    if (sscanf(text, "%llu%2[a-z]", &n, unit) != 2)
        return -EINVAL;
    *to = n * (!strcmp(unit, "ms")  ? 1000000ull
               : !strcmp(unit, "m") ? 60000000000ull
                                    : 1000000000ull);
    return 0;
}

void
log_line(enum blk_level level, const struct log_fields *fields, const char *fmt,
         ...)
{
    va_list ap;

    (void)level, (void)fields;
    va_start(ap, fmt);
    vsnprintf(fake_log, sizeof(fake_log), fmt, ap);
    va_end(ap);
}

/* The tree of a text, or NULL with the errors. */
static char fake_errors[8192];

__attribute__((unused)) static struct conf *
load_text(const char *text)
{
    return conf_load_text("T", text, strlen(text), fake_errors,
                          sizeof(fake_errors));
}

#define DISK(name, more) \
    "{ name = \"" name "\"; " more " chain = ( { plugin = \"tail\"; } ); }"
#define DISKS(list) "disks = ( " list " );"

#endif
