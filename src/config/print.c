/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * print.c: a tree as text that makes the same tree again.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

/* As libconfig reads it: only these need a backslash; bytes of UTF-8 stay. */
static void
print_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", f);
        else if (c == '\t')
            fputs("\\t", f);
        else if (c < ' ' || c == 0x7f)
            fprintf(f, "\\x%02x", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

/* A number or a truth value that reads back as the very same text is printed
 * bare, all else as a string. */
static void
print_value(FILE *f, const char *text)
{
    char same[32];
    long n = strtol(text, NULL, 10);

    snprintf(same, sizeof(same), "%ld", n);
    if (!strcmp(text, "true") || !strcmp(text, "false") ||
        (!strcmp(text, same) && n >= INT_MIN && n <= INT_MAX))
        fputs(text, f);
    else
        print_string(f, text);
}

void
print_key(FILE *f, const char *indent, const char *key, const char *text)
{
    if (!text)
        return;
    fprintf(f, "%s%s = ", indent, key);
    print_string(f, text);
    fputs(";\n", f);
}

static const char *
log_name(int level)
{
    switch (level) {
    case BLK_ERR:
        return "error";
    case BLK_WARN:
        return "warn";
    case BLK_DEBUG:
        return "debug";
    default:
        return "info";
    }
}

static void
print_time(FILE *f, const char *indent, const char *key, uint64_t ns)
{
    if (ns % 1000000000)
        fprintf(f, "%s%s = \"%" PRIu64 "ns\";\n", indent, key, ns);
    else if (ns)
        fprintf(f, "%s%s = \"%" PRIu64 "s\";\n", indent, key, ns / 1000000000);
    else
        fprintf(f, "%s%s = 0;\n", indent, key);
}

static void
print_daemon(FILE *f, const struct conf *conf)
{
    const char *const *kind;

    fputs("daemon = {\n", f);
    print_key(f, "  ", "control", conf->control);
    print_key(f, "  ", "user", conf->user);
    print_key(f, "  ", "scratch", conf->scratch);
    fprintf(f, "  loops = %u;\n  workers = %u;\n  log = \"%s\";\n", conf->loops,
            conf->workers, log_name(conf->log_level));
    fprintf(f, "  sandbox = %s;\n", conf->sandbox ? "true" : "false");
    print_time(f, "  ", "drain", conf->drain_ns);
    fputs("  kinds = (", f);
    for (kind = conf->kinds; *kind; kind++) {
        fputs(kind == conf->kinds ? " " : ", ", f);
        print_string(f, *kind);
    }
    fputs(" );\n};\n", f);
}

static void
print_layer(FILE *f, const struct blk_conf *layer)
{
    unsigned i;

    fputs("{ plugin = ", f);
    print_string(f, layer->plugin);
    if (strcmp(layer->name, layer->plugin)) {
        fputs("; name = ", f);
        print_string(f, layer->name);
    }
    for (i = 0; i < layer->n; i++) {
        fprintf(f, "; %s = ", layer->kv[i].key);
        print_value(f, layer->kv[i].value);
    }
    fputs("; }", f);
}

void
conf_print_chain(FILE *f, const struct chain_spec *chain, const char *indent)
{
    unsigned i;

    for (i = 0; i < chain->n; i++) {
        fputs(indent, f);
        print_layer(f, &chain->layer[i]);
        fputs(i + 1 < chain->n ? ",\n" : "\n", f);
    }
}

static void
print_disk(FILE *f, const struct conf_disk *d)
{
    fputs("  {\n", f);
    print_key(f, "    ", "name", d->name);
    print_key(f, "    ", "vm", d->vm);
    print_key(f, "    ", "vdev", d->vdev);
    print_key(f, "    ", "mode", conf_mode_name(d->mode));
    fprintf(f, "    readonly = %s;\n    discard = %s;\n    barrier = %s;\n",
            d->readonly ? "true" : "false", d->discard ? "true" : "false",
            d->barrier ? "true" : "false");
    fprintf(f,
            "    queues = %u;\n    ring-order = %u;\n    indirect = %u;\n"
            "    buffers = %" PRIu64 ";\n    chain = (\n",
            d->queues, d->ring_order, d->indirect, d->buffers);
    conf_print_chain(f, &d->chain, "      ");
    fputs("    );\n  }", f);
}

void
conf_print(const struct conf *conf, FILE *f)
{
    unsigned i;

    print_daemon(f, conf);
    fputs("disks = (", f);
    for (i = 0; i < conf->disks; i++) {
        fputs(i ? ",\n" : "\n", f);
        print_disk(f, &conf->disk[i]);
    }
    fputs(conf->disks ? "\n);\n" : ");\n", f);
}
