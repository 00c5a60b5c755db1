/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loader.c: plugins by name: linked into the program, or modules of a folder.
 *
 * The loader keeps no state: dlopen(3) knows what is loaded, and nothing is
 * ever unloaded, so a plugin found once is found at the same address again.
 */
#include "config.h"
#include "chain/engine.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A program that links plugins statically defines this list. */
#pragma weak blk_plugins_static

/* ---- what modules call ---------------------------------------------------
 *
 * A linker takes from an archive only what somebody refers to; modules come
 * too late for that.  So everything that plugin.h promises is referred to
 * here, and named in plugin.syms.
 */
typedef void export_fn(void);
#define EXPORT(name) (export_fn *)(name)
extern export_fn *const chain_exports[];
__attribute__((used)) export_fn *const chain_exports[] = {
    EXPORT(blk_down),       EXPORT(blk_end),         EXPORT(blk_wait),
    EXPORT(blk_split),      EXPORT(blk_new),         EXPORT(blk_sg_read),
    EXPORT(blk_sg_write),   EXPORT(blk_sg_zero),     EXPORT(blk_self),
    EXPORT(blk_name),       EXPORT(blk_disk_name),   EXPORT(blk_below),
    EXPORT(blk_last),       EXPORT(blk_readonly),    EXPORT(blk_ready),
    EXPORT(blk_relimit),    EXPORT(blk_why),         EXPORT(blk_fatal),
    EXPORT(blk_log),        EXPORT(blk_trace),       EXPORT(blk_put_u64),
    EXPORT(blk_put_str),    EXPORT(blk_printf),      EXPORT(blk_now),
    EXPORT(blk_random),     EXPORT(blk_timer_start), EXPORT(blk_timer_stop),
    EXPORT(blk_file_open),  EXPORT(blk_file_stat),   EXPORT(blk_file_close),
    EXPORT(blk_io_start),   EXPORT(blk_work_start),  EXPORT(blk_watch_start),
    EXPORT(blk_watch_stop), EXPORT(blk_memory),      EXPORT(blk_memory_free),
    EXPORT(blk_share),      EXPORT(blk_unshare),     EXPORT(blk_sharers),
};

/* ---- is it one? ---------------------------------------------------------- */

/* Of a file's path, and, if it has one, of what is below. */
static bool
image_options_are(const struct blk_plugin *p)
{
    const struct blk_image *image = p->image;
    const struct blk_option *o;
    bool path = false, backing = !image->backing;

    for (o = p->options; o && o->name; o++) {
        path = path || (image->path && !strcmp(o->name, image->path));
        backing = backing || !strcmp(o->name, image->backing);
    }
    return path && backing && image->format;
}

/* NULL, or what is wrong with it. */
static const char *
plugin_wrong(const struct blk_plugin *p, const char *name)
{
    if (!p->name || strcmp(p->name, name))
        return "it calls itself by another name";
    if (!p->help)
        return "it has no help";
    if (!(p->ops & BLK_ALL_OPS) || (p->ops & ~BLK_ALL_OPS))
        return "its operations are not among those that there are";
    if (p->tail && !p->submit)
        return "it is a tail, but has no submit()";
    if (p->tail > BLK_EITHER)
        return "it has no place in a chain that there is";
    if (p->map && !p->submit)
        return "it tells where data are, but has no submit()";
    if (p->own && !p->done)
        return "it makes requests, but has no done()";
    if (p->can && (!p->command || !p->stats))
        return "it can be told something, but has no command() or no stats()";
    if (p->image && !image_options_are(p))
        return "its files have no format, or an option that there is not";
    return NULL;
}

static const struct blk_plugin *
plugin_accept(const struct blk_plugin *p, const char *name, char *why, size_t n)
{
    const char *wrong;

    if (p->abi != BLK_ABI) {
        snprintf(why, n,
                 "plugin %s: expected interface version %d, found %u: it was "
                 "built for another blktapd",
                 name, BLK_ABI, p->abi);
        return NULL;
    }
    wrong = plugin_wrong(p, name);
    if (!wrong)
        return p;
    snprintf(why, n, "plugin %s can't be used: %s", name, wrong);
    return NULL;
}

/* ---- modules ------------------------------------------------------------- */

/* Folders, separated by colons. */
static const char *
plugin_path(void)
{
    const char *path = secure_getenv("BLKTAPD_PLUGINDIR");

    return path && *path ? path : BLKTAPD_PLUGINDIR;
}

static const struct blk_plugin *
module_load(const char *file, const char *name, char *why, size_t n)
{
    void *module = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const struct blk_plugin *p;

    if (!module) {
        snprintf(why, n, "plugin %s can't be loaded: %s", name, dlerror());
        return NULL;
    }
    p = dlsym(module, "blk_plugin");
    if (!p) {
        snprintf(why, n, "%s is no plugin: it has no symbol blk_plugin", file);
        return NULL;
    }
    return plugin_accept(p, name, why, n);
}

/* The file of a module in one of the folders; false: there is none. */
static bool
module_file(const char *name, char *file, size_t n)
{
    const char *path = plugin_path();

    while (*path) {
        size_t len = strcspn(path, ":");
        FILE *f;

        snprintf(file, n, "%.*s/%s.so", (int)len, path, name);
        f = fopen(file, "re");
        if (f) {
            fclose(f);
            return true;
        }
        path += len + (path[len] == ':');
    }
    return false;
}

static bool
name_valid(const char *name)
{
    return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_-")];
}

const struct blk_plugin *
plugin_find(const char *name, char *why, size_t n)
{
    char file[512];

    for (const struct blk_plugin *const *p = blk_plugins_static; p && *p; p++) {
        if (!strcmp((*p)->name, name))
            return plugin_accept(*p, name, why, n);
    }
    if (!name_valid(name)) {
        snprintf(why, n, "expected the name of a plugin, found \"%s\"", name);
        return NULL;
    }
    if (!module_file(name, file, sizeof(file))) {
        snprintf(why, n,
                 "expected the name of a plugin, found \"%s\": there "
                 "is no %s.so in %s",
                 name, name, plugin_path());
        return NULL;
    }
    return module_load(file, name, why, n);
}

static int
each_in(const char *dir, void (*cb)(void *, const struct blk_plugin *),
        void *ctx)
{
    struct dirent **entry;
    int count = 0, n = scandir(dir, &entry, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        size_t len = strlen(entry[i]->d_name);
        const struct blk_plugin *p;
        char why[256];

        if (len > 3 && !strcmp(entry[i]->d_name + len - 3, ".so")) {
            entry[i]->d_name[len - 3] = '\0';
            p = plugin_find(entry[i]->d_name, why, sizeof(why));
            if (p) {
                cb(ctx, p);
                count++;
            } else {
                log_line(BLK_WARN, NULL, "%s", why);
            }
        }
        free(entry[i]);
    }
    if (n >= 0)
        free(entry);
    return count;
}

int
plugin_each(void (*cb)(void *, const struct blk_plugin *), void *ctx)
{
    const char *path = plugin_path();
    int count = 0;

    for (const struct blk_plugin *const *p = blk_plugins_static; p && *p; p++) {
        cb(ctx, *p);
        count++;
    }
    while (*path) {
        size_t len = strcspn(path, ":");
        char dir[400];

        snprintf(dir, sizeof(dir), "%.*s", (int)len, path);
        count += each_in(dir, cb, ctx);
        path += len + (path[len] == ':');
    }
    return count;
}
