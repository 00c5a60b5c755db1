/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapshot.c: `blktapctl chain DISK snapshot FILE'.
 *
 *   the place ─► its size ─► a new image, on a worker ─► the place again ─►
 *   inserted, as by `chain insert' (live.c)
 *
 * The overlay comes directly above the topmost layer that could be the last of
 * a chain, for that one and those below hold the data.  Layers above it only
 * watch, slow down or encrypt, and do so to what the overlay holds, too.
 *
 * The image is whole and on the medium, with its name, before the chain is
 * written down, and that is before the first request comes to it.  So after a
 * kill the disk has the old chain and an image that nobody ever wrote to, or
 * the new chain.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "folder.h"

/* BACKING: formats that hold a longer name are few. */
enum { NAME_SIZE = 16, BELOW_SIZE = 256, BACKING_SIZE = 1024 };

/* Where the overlay comes, and what it says of what is below. */
struct place {
    char name[NAME_SIZE];       /* of the overlay's layer */
    char below[BELOW_SIZE];     /* of the layer that it is above */
    char backing[BACKING_SIZE]; /* a file that other programs can open; or "" */
    const char *format;         /* of it */
    const struct blk_plugin *maker; /* of the overlay; NULL: there is none */
};

struct snapshot {
    struct blk_work work; /* first */
    struct daemon *daemon;
    char disk[64], file[PATH_MAX];
    struct place place;
    uint64_t size;
    int status; /* of the work */
    char why[PATH_MAX + 200];
    chain_done *done;
    void *arg;
};

/* ---- the place ----------------------------------------------------------- */

static const char *
layer_option(const struct blk_conf *layer, const char *key)
{
    unsigned i;

    for (i = 0; i < layer->n; i++) {
        if (!strcmp(layer->kv[i].key, key))
            return layer->kv[i].value;
    }
    return NULL;
}

static const struct blk_plugin *
layer_plugin(const struct blk_conf *layer)
{
    char why[256];

    return plugin_find(layer->plugin, why, sizeof why);
}

/* The topmost layer that holds data. */
static unsigned
chain_store(const struct chain_spec *chain)
{
    const struct blk_plugin *p;
    unsigned i;

    for (i = 0; i + 1 < chain->n; i++) {
        p = layer_plugin(&chain->layer[i]);
        if (p && p->tail != BLK_MIDDLE)
            break;
    }
    return i;
}

/* A file that is all of the disk from this layer on, or that names the rest:
 * with any other, a program that went by the name would read something else. */
static void
place_backing(struct place *place, const struct chain_spec *chain, unsigned at)
{
    const struct blk_conf *layer = &chain->layer[at];
    const struct blk_plugin *p = layer_plugin(layer);
    const struct blk_image *image = p ? p->image : NULL;
    const char *path = image ? layer_option(layer, image->path) : NULL;

    place->backing[0] = '\0';
    if (!path || strlen(path) >= sizeof place->backing)
        return;
    if (at + 1 < chain->n &&
        (!image->backing || !layer_option(layer, image->backing)))
        return;
    place->format = image->format;
    snprintf(place->backing, sizeof place->backing, "%s", path);
}

/* The first that can, by name. */
static void
maker_find(void *ctx, const struct blk_plugin *p)
{
    const struct blk_plugin **maker = ctx;

    if (!*maker && p->image && p->image->overlay)
        *maker = p;
}

/* One that the disk has already, or else any that there is. */
static const struct blk_plugin *
place_maker(const struct chain_spec *chain)
{
    const struct blk_plugin *maker = NULL, *p;
    unsigned i;

    for (i = 0; i < chain->n; i++) {
        p = layer_plugin(&chain->layer[i]);
        if (p)
            maker_find(&maker, p);
    }
    if (!maker)
        plugin_each(maker_find, &maker);
    return maker;
}

static bool
name_taken(const struct chain_spec *chain, const char *name)
{
    unsigned i;

    for (i = 0; i < chain->n; i++) {
        if (!strcmp(chain->layer[i].name, name))
            return true;
    }
    return false;
}

static void
place_find(struct place *place, const struct chain_spec *chain)
{
    unsigned at = chain_store(chain), number = 1;

    memset(place, 0, sizeof *place);
    snprintf(place->below, sizeof place->below, "%s", chain->layer[at].name);
    place_backing(place, chain, at);
    place->maker = place_maker(chain);
    do
        snprintf(place->name, sizeof place->name, "snap%u", number++);
    while (name_taken(chain, place->name));
}

static bool
place_equal(const struct place *a, const struct place *b)
{
    return !strcmp(a->name, b->name) && !strcmp(a->below, b->below) &&
           !strcmp(a->backing, b->backing) && a->maker == b->maker;
}

/* ---- the end ------------------------------------------------------------- */

static void
snapshot_over(struct snapshot *s, int status, const char *why, uint64_t took_ns)
{
    s->done(s->arg, status, why, took_ns);
    free(s);
}

/* Whatever the option is called that names it. */
static bool
layer_names(const struct blk_conf *layer, const char *file)
{
    unsigned i;

    for (i = 0; i < layer->n; i++) {
        if (!strcmp(layer->kv[i].value, file))
            return true;
    }
    return false;
}

static bool
chain_has(const struct conf_disk *cd, const char *file)
{
    unsigned i;

    for (i = 0; cd && i < cd->chain.n; i++) {
        if (layer_names(&cd->chain.layer[i], file))
            return true;
    }
    return false;
}

/* A change that could not be written down is made all the same: then the guest
 * writes to the image. */
static bool
snapshot_used(const struct snapshot *s)
{
    const struct daemon *d = s->daemon;
    struct disk *disk = disks_find(d->disks, s->disk);

    return chain_has(conf_disk(d->conf, s->disk), s->file) ||
           (disk && chain_has(disk_conf(disk), s->file));
}

static void
snapshot_changed(void *arg, int status, const char *why, uint64_t took_ns)
{
    struct snapshot *s = arg;
    struct log_fields f = { .disk = s->disk };

    if (!status || snapshot_used(s))
        log_line(BLK_INFO, &f, "%s: what is written from now on is in %s",
                 s->disk, s->file);
    else
        unlink(s->file);
    snapshot_over(s, status, why, took_ns);
}

/* ---- the image ----------------------------------------------------------- */

/* 0 or -errno. */
static int
image_write(int fd, const struct snapshot *s)
{
    const struct blk_image *image = s->place.maker->image;
    struct blk_overlay o = { .fd = fd, .size = s->size };
    int rc;

    if (s->place.backing[0] && image->backing) {
        o.backing = s->place.backing;
        o.format = s->place.format;
    }
    rc = image->overlay(&o);
    if (!rc && fsync(fd))
        rc = -errno;
    return rc ? rc : folder_sync(s->file);
}

static int
image_refused(struct snapshot *s, int rc)
{
    if (rc == -EEXIST)
        snprintf(s->why, sizeof s->why,
                 "%s: expected the name of a file that is not there yet, found "
                 "one: a snapshot writes over nothing",
                 s->file);
    else if (rc == -EACCES || rc == -EPERM || rc == -EROFS)
        snprintf(s->why, sizeof s->why,
                 "%s: can't be made: %s: expected a folder that the daemon's "
                 "user may write to, and ReadWritePaths= of its unit allows",
                 s->file, strerror(-rc));
    else
        snprintf(s->why, sizeof s->why, "%s: can't be made: %s", s->file,
                 strerror(-rc));
    return rc;
}

/* Worker thread. */
static void
image_make(struct blk_work *w)
{
    struct snapshot *s = (struct snapshot *)w;
    int fd, rc;

    fd =
        open(s->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        s->status = image_refused(s, -errno);
        return;
    }
    rc = image_write(fd, s);
    if (rc) {
        unlink(s->file);
        s->status = image_refused(s, rc);
    }
    close(fd);
}

/* ---- into the chain ------------------------------------------------------ */

static void
put_quoted(FILE *f, const char *key, const char *value)
{
    fprintf(f, "%s = \"", key);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            fputc('\\', f);
        fputc(*value, f);
    }
    fputs("\"; ", f);
}

/* As in the files; malloc'd, or NULL. */
static char *
layer_text(const struct snapshot *s)
{
    const struct blk_image *image = s->place.maker->image;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    put_quoted(f, "plugin", s->place.maker->name);
    put_quoted(f, "name", s->place.name);
    put_quoted(f, image->path, s->file);
    if (s->place.backing[0] && image->backing)
        put_quoted(f, image->backing, s->place.backing);
    if (fclose(f)) {
        free(text);
        return NULL;
    }
    return text;
}

static void
snapshot_made(struct blk_work *w)
{
    struct snapshot *s = (struct snapshot *)w;
    struct disk *disk = disks_find(s->daemon->disks, s->disk);
    struct conf_edit edit = { .kind = CONF_INSERT, .at = s->place.below };
    struct place now;
    char *text;

    if (s->status) {
        snapshot_over(s, s->status, s->why, 0);
        return;
    }
    if (!disk) {
        snapshot_changed(s, -ESHUTDOWN, "the disk was closed meanwhile", 0);
        return;
    }
    place_find(&now, &disk_conf(disk)->chain);
    if (!place_equal(&now, &s->place)) {
        snapshot_changed(s, -EBUSY,
                         "the chain was changed meanwhile: try it again", 0);
        return;
    }
    text = layer_text(s);
    if (!text) {
        snapshot_changed(s, -ENOMEM, "out of memory", 0);
        return;
    }
    edit.layer = text;
    daemon_chain(s->daemon, s->disk, &edit, CHAIN_FORCE, snapshot_changed, s);
    free(text);
}

/* ---- what the disk has --------------------------------------------------- */

/* What that layer offers: 0, it does not run. */
static uint64_t
layer_size(struct json_object *shown, const char *name)
{
    struct json_object *layers, *size;
    size_t i;

    if (!json_object_object_get_ex(shown, "layers", &layers))
        return 0;
    for (i = 0; i < json_object_array_length(layers); i++) {
        struct json_object *l = json_object_array_get_idx(layers, i), *its;

        if (json_object_object_get_ex(l, "name", &its) &&
            !strcmp(json_object_get_string(its), name) &&
            json_object_object_get_ex(l, "size", &size))
            return json_object_get_uint64(size);
    }
    return 0;
}

static bool
shown_readonly(struct json_object *shown)
{
    struct json_object *limits, *readonly;

    return json_object_object_get_ex(shown, "limits", &limits) &&
           json_object_object_get_ex(limits, "readonly", &readonly) &&
           json_object_get_boolean(readonly);
}

static void
snapshot_shown(void *ctx, struct json_object *shown)
{
    struct snapshot *s = ctx;
    struct loop *l = s->daemon->control;
    bool readonly = shown_readonly(shown);

    s->size = layer_size(shown, s->place.below);
    json_object_put(shown);
    if (!s->size) {
        snapshot_over(s, -ENOTCONN,
                      "its chain does not run, so its size is not known", 0);
    } else if (readonly) {
        snapshot_over(s, -EROFS,
                      "the disk is read-only: an overlay would stay empty", 0);
    } else {
        s->work.work = image_make;
        s->work.done = snapshot_made;
        l->ops->work(l, &s->work);
    }
}

/* Also what a configuration can't hold. */
static bool
file_named(const char *file)
{
    const char *c;

    for (c = file; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    }
    return file[0] == '/' && c - file < PATH_MAX && c[-1] != '/';
}

void
daemon_snapshot(void *daemon, const char *disk, const char *file,
                chain_done *done, void *arg)
{
    struct daemon *d = daemon;
    struct disk *running = disks_find(d->disks, disk);
    struct snapshot *s;

    if (!file_named(file)) {
        done(arg, -EINVAL, "snapshot: expected the absolute path of a new file",
             0);
        return;
    }
    if (!running || d->reload || d->change) {
        done(arg, running ? -EBUSY : -ENOTCONN,
             running ? "an earlier change or reload is still at work"
                     : "the disk is not open",
             0);
        return;
    }
    s = calloc(1, sizeof *s);
    if (!s) {
        done(arg, -ENOMEM, "out of memory", 0);
        return;
    }
    s->daemon = d;
    s->done = done;
    s->arg = arg;
    snprintf(s->disk, sizeof s->disk, "%s", disk);
    snprintf(s->file, sizeof s->file, "%s", file);
    place_find(&s->place, &disk_conf(running)->chain);
    if (!s->place.maker)
        snapshot_over(s, -ENOENT,
                      "expected a plugin that can make an overlay, found none "
                      "in the folder of plugins",
                      0);
    else
        disk_show(running, snapshot_shown, s);
}
