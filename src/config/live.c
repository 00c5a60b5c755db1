/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * live.c: chains and modes that were changed by a command, not in the files.
 *
 * Such a disk's chain and mode are what it has now, and `filed' and
 * `filed_mode' what the files say of them.  The change holds as long as the
 * files say that: across reloads, and as text across restarts.  Whoever edits
 * this disk's chain in the files means what is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

/* Between the chains as they are and those of the files. */
static const char divide[] = "# What the files say of them:\n";

/* ---- an edit ------------------------------------------------------------- */

static struct conf_disk *
disk_of(struct conf *conf, const char *name)
{
    unsigned i;

    for (i = 0; i < conf->disks; i++) {
        if (!strcmp(conf->disk[i].name, name))
            return &conf->disk[i];
    }
    return NULL;
}

static bool
number_of(const char *text, unsigned *number)
{
    size_t n = strspn(text, "0123456789");

    *number = (unsigned)strtoul(text, NULL, 10);
    return n > 0 && n < 6 && !text[n];
}

/* Names first: one may look like a number. */
static int
edit_find(struct reader *r, const struct chain_spec *now,
          const struct conf_edit *edit, unsigned *at)
{
    unsigned i, last = now->n - (edit->kind != CONF_INSERT);

    for (i = 0; i < now->n; i++) {
        if (!strcmp(now->layer[i].name, edit->at)) {
            *at = i;
            return 0;
        }
    }
    if (!number_of(edit->at, at) || *at > last)
        return reader_fail_at(r, NULL, 0, NULL,
                              "expected the name of a layer or its number, 0 "
                              "to %u, found \"%.64s\"",
                              last, edit->at);
    return 0;
}

/* chain has room for one layer more than it has. */
static int
edit_layers(struct reader *r, struct chain_spec *chain, struct blk_conf *layer,
            const struct conf_edit *edit)
{
    size_t after;
    unsigned at = 0;

    if (edit_find(r, chain, edit, &at))
        return -EINVAL;
    after = (chain->n - at) * sizeof(*layer);
    if (edit->kind == CONF_REMOVE) {
        memmove(layer + at, layer + at + 1, after - sizeof(*layer));
        chain->n--;
        return 0;
    }
    if (edit->kind == CONF_INSERT) {
        if (chain->n == CONF_LAYERS)
            return reader_fail_at(r, NULL, 0, NULL,
                                  "expected at most %d layers", CONF_LAYERS);
        memmove(layer + at + 1, layer + at, after);
        memset(layer + at, 0, sizeof(*layer));
        chain->n++;
    } else {
        memset(layer + at, 0, sizeof(*layer));
    }
    return layer_load_text(r, "layer", edit->layer, &layer[at]);
}

/* d has the chain of now. */
static int
edit_chain(struct reader *r, struct conf_disk *d, const struct conf_edit *edit)
{
    unsigned n = d->chain.n;
    struct blk_conf *layer =
        conf_alloc(r->conf, sizeof(*layer) * ((size_t)n + 1));

    if (!layer)
        return reader_oom(r);
    memcpy(layer, d->chain.layer, sizeof(*layer) * n);
    d->chain.layer = layer;
    if (edit_layers(r, &d->chain, layer, edit))
        return -EINVAL;
    return layer_names(r, &d->chain);
}

/* d, a disk of r's own tree, becomes now, edited. */
static int
edit_disk(struct reader *r, struct conf_disk *d, const struct conf_disk *now,
          const struct conf_edit *edit)
{
    const struct chain_spec filed = d->filed ? *d->filed : d->chain;
    const enum conf_mode mode = d->filed ? d->filed_mode : d->mode;
    int rc = 0;

    if (edit->kind == CONF_RESET) {
        d->chain.layer = filed.layer;
        d->chain.n = filed.n;
        d->mode = mode;
        d->filed = NULL;
        return 0;
    }
    d->mode = edit->kind == CONF_MODE ? edit->mode : now->mode;
    if (chain_copy(r->conf, &d->chain, &now->chain))
        return reader_oom(r);
    if (edit->kind != CONF_MODE)
        rc = edit_chain(r, d, edit);
    if (rc)
        return rc;
    if (!d->filed && !(d->filed = chain_dup(r->conf, &filed)))
        return reader_oom(r);
    d->filed_mode = mode;
    return 0;
}

/* What can only be told when the layers are there; why is from the engine, or
 * of a mode. */
static int
edit_check(struct conf_disk *d, const struct conf_edit *edit, char *why,
           size_t n)
{
    if (chain_check(&d->chain, why, n))
        return -EINVAL;
    if (edit->kind != CONF_MODE)
        mode_follow(d);
    if (mode_check(d, why, n))
        return -EINVAL;
    if (d->filed && d->mode == d->filed_mode &&
        conf_layers_equal(&d->chain, d->filed))
        d->filed = NULL;
    return 0;
}

struct conf *
conf_edit(const struct conf *from, const char *disk,
          const struct conf_disk *now, const struct conf_edit *edit,
          char *errors, size_t n)
{
    struct reader r = { .conf = conf_copy_tree(from),
                        .errors = errors,
                        .size = n };
    struct conf_disk *d;
    char why[512] = "";
    int rc;

    errors[0] = '\0';
    if (!r.conf) {
        reader_oom(&r);
        return NULL;
    }
    d = disk_of(r.conf, disk);
    if (!d)
        rc =
            reader_fail_at(&r, NULL, 0, NULL,
                           "expected a disk of the configuration, found \"%s\" "
                           "that is no longer in it",
                           disk);
    else
        rc = edit_disk(&r, d, now, edit);
    if (!rc && edit_check(d, edit, why, sizeof(why)))
        rc = reader_fail_at(&r, NULL, 0, NULL, "%s", why);
    if (!rc)
        return r.conf;
    conf_unref(r.conf);
    return NULL;
}

/* ---- over a reading of the files ----------------------------------------- */

static int
keep_one(struct conf *to, struct conf_disk *d, const struct conf_disk *live)
{
    d->filed = chain_dup(to, live->filed);
    d->filed_mode = live->filed_mode;
    d->mode = live->mode;
    return d->filed ? chain_copy(to, &d->chain, &live->chain) : -ENOMEM;
}

int
conf_keep_live(struct conf *to, const struct conf *from,
               enum conf_origin origin,
               void (*dropped)(void *, const struct conf_disk *), void *ctx)
{
    unsigned i;

    for (i = 0; i < from->disks; i++) {
        const struct conf_disk *live = &from->disk[i];
        struct conf_disk *d = disk_of(to, live->name);
        bool followed;

        if (!live->filed)
            continue;
        followed = d && d->mode == live->mode &&
                   conf_layers_equal(&d->chain, &live->chain);
        if (d && ((d->mode == live->filed_mode &&
                   conf_layers_equal(&d->chain, live->filed)) ||
                  (followed && origin == CONF_LAST))) {
            if (keep_one(to, d, live))
                return -ENOMEM;
        } else if (!followed && dropped) {
            dropped(ctx, live);
        }
    }
    return 0;
}

unsigned
conf_live_count(const struct conf *conf)
{
    unsigned i, n = 0;

    for (i = 0; i < conf->disks; i++)
        n += conf->disk[i].filed != NULL;
    return n;
}

/* ---- as text ------------------------------------------------------------- */

static void
print_half(const struct conf *conf, FILE *f, bool filed)
{
    const char *before = "";
    unsigned i;

    fputs("disks = (", f);
    for (i = 0; i < conf->disks; i++) {
        const struct conf_disk *d = &conf->disk[i];

        if (!d->filed)
            continue;
        fprintf(f, "%s\n  {\n", before);
        print_key(f, "    ", "name", d->name);
        print_key(f, "    ", "mode",
                  conf_mode_name(filed ? d->filed_mode : d->mode));
        fputs("    chain = (\n", f);
        conf_print_chain(f, filed ? d->filed : &d->chain, "      ");
        fputs("    );\n  }", f);
        before = ",";
    }
    fputs("\n);\n", f);
}

void
conf_print_live(const struct conf *conf, FILE *f)
{
    print_half(conf, f, false);
    fputs(divide, f);
    print_half(conf, f, true);
}

/* What the second half says becomes `filed' of the disks of the first. */
static int
halves_join(struct conf *live, const struct conf *filed)
{
    unsigned i;

    for (i = 0; i < live->disks; i++) {
        const struct conf_disk *d = conf_disk(filed, live->disk[i].name);

        if (!d)
            return -EINVAL;
        live->disk[i].filed_mode = d->mode;
        live->disk[i].filed = chain_dup(live, &d->chain);
        if (!live->disk[i].filed)
            return -ENOMEM;
    }
    return 0;
}

static struct conf *
halves_load(const char *path, char *text, size_t len, char *errors, size_t n)
{
    char *second = strstr(text, divide);
    struct conf *live, *filed = NULL;

    if (!second) {
        snprintf(errors, n, "%s: expected two lists of disks, found one\n",
                 path);
        return NULL;
    }
    *second = '\0';
    live = conf_load_text(path, text, (size_t)(second - text), errors, n);
    second += strlen(divide);
    if (live)
        filed = conf_load_text(path, second, (size_t)(text + len - second),
                               errors, n);
    if (live && filed && !halves_join(live, filed)) {
        conf_unref(filed);
        return live;
    }
    if (live && filed)
        snprintf(errors, n,
                 "%s: expected the same disks in both lists, or no memory is "
                 "left\n",
                 path);
    conf_unref(live);
    conf_unref(filed);
    return NULL;
}

struct conf *
conf_load_live(const char *path, char *errors, size_t n)
{
    struct reader r;
    struct conf *live = NULL;
    size_t len;
    char *text;

    if (reader_begin(&r, errors, n))
        return NULL;
    r.file = path;
    text = text_read(&r, path, &len);
    if (text)
        live = halves_load(path, text, len, errors, n);
    free(text);
    conf_unref(r.conf);
    return live;
}
