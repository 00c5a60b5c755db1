/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * live.c: chains and modes that are changed by a command, under a running
 * guest, and that are so after a restart.
 *
 * The chain that a guest wrote through is where its data are: an overlay that
 * was inserted must be there again after a kill, or the guest would read what
 * was before.  So a change is written down, beside the configuration, at the
 * moment in which it happens: see disk/unit_step.c.  A change of one disk and a
 * reload of all are never at work together.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

static const char head[] =
    "# Made by blktapd: chains that were changed by \"blktapctl chain\", and\n"
    "# modes by \"blktapctl mode\", and what the files said of them then.  As\n"
    "# long as they say that, a chain and its mode are as they are here.\n";

struct daemon_change {
    struct daemon *daemon;
    struct conf *to;
    char disk[64];
    const char *what; /* of it is changed */
    bool open;        /* its chain runs */
    int kept; /* 0, or why the change, once made, is not on the medium */
    chain_done *done;
    void *arg;
};

/* ---- kept for a restart -------------------------------------------------- */

/* Whether there is something to be written, or to be taken away. */
static bool
live_matters(const struct daemon *d, const struct conf *conf)
{
    return d->live[0] && (d->lives || conf_live_count(conf));
}

static int
live_prepare(struct daemon *d, const struct conf *conf)
{
    if (!live_matters(d, conf) || !conf_live_count(conf))
        return 0;
    return conffile_prepare(d->live, head, conf, conf_print_live);
}

/* What was prepared is in force.  0, or -errno: a restart will not know it. */
static int
live_commit(struct daemon *d, const struct conf *conf)
{
    unsigned lives = conf_live_count(conf);
    int rc = 0;

    if (live_matters(d, conf) && lives)
        rc = conffile_commit(d->live);
    else if (live_matters(d, conf))
        rc = conffile_drop(d->live);
    d->lives = lives;
    if (rc)
        log_line(BLK_ERR, NULL,
                 "%s: a change of a chain can't be kept for a restart: %s: "
                 "change the files",
                 d->live, strerror(-rc));
    return rc;
}

void
live_save(struct daemon *d)
{
    int rc;

    if (d->lives == conf_live_count(d->conf))
        return; /* a reload only drops some */
    rc = live_prepare(d, d->conf);
    if (rc)
        log_line(BLK_ERR, NULL, "%s: can't be written: %s", d->live,
                 strerror(-rc));
    else
        (void)live_commit(d,
                          d->conf); /* what is dropped now is dropped again */
}

/* ---- over what the files say --------------------------------------------- */

static void
live_dropped(void *ctx, const struct conf_disk *cd)
{
    struct log_fields f = { .disk = cd->name };

    (void)ctx;
    log_line(BLK_WARN, &f,
             "%s: its chain was changed in the files: what was changed by "
             "command before is over",
             cd->name);
}

int
live_keep(struct daemon *d, struct conf *to)
{
    return conf_keep_live(to, d->conf, CONF_FILES, live_dropped, d);
}

static void
live_tell(const struct conf *conf)
{
    unsigned i;

    for (i = 0; i < conf->disks; i++) {
        struct log_fields f = { .disk = conf->disk[i].name };

        if (conf->disk[i].filed)
            log_line(BLK_INFO, &f,
                     "%s: its chain is as it was changed by command, not as in "
                     "the files",
                     conf->disk[i].name);
    }
}

int
live_load(struct daemon *d, char *why, size_t n)
{
    enum conf_origin origin = d->conf_is_old[0] ? CONF_LAST : CONF_FILES;
    struct conf *live = NULL;
    char errors[1024];
    int rc;

    conffile_path(d->live, d->conf_path, "STATE_DIRECTORY", BLKTAPD_STATEDIR,
                  "live.conf");
    rc = conffile_ours(d->live, errors, sizeof errors);
    if (!rc)
        return 0;
    if (rc > 0)
        live = conf_load_live(d->live, errors, sizeof errors);
    if (!live) {
        snprintf(why, n,
                 "%schains that were changed by command are unknown: mend %s, "
                 "or remove it to go on with what the files say",
                 errors, d->live);
        return -EINVAL;
    }
    rc = conf_keep_live(d->conf, live, origin, live_dropped, d);
    d->lives = conf_live_count(live);
    conf_unref(live);
    if (rc)
        return rc;
    live_tell(d->conf);
    live_save(d);
    return 0;
}

/* ---- a change ------------------------------------------------------------ */

/* Whether what a guest reads may be something else without this layer. */
static bool
layer_matters(const struct blk_conf *layer)
{
    char why[256];
    const struct blk_plugin *p = plugin_find(layer->plugin, why, sizeof why);

    return !p || !p->transparent;
}

/* A layer of a that b has not, and that matters; or NULL. */
static const struct blk_conf *
layer_missing(const struct chain_spec *a, const struct chain_spec *b)
{
    unsigned i, k;

    for (i = 0; i < a->n; i++) {
        struct chain_spec one = { .layer = &a->layer[i], .n = 1 };
        bool there = false;

        for (k = 0; k < b->n && !there; k++) {
            struct chain_spec other = { .layer = &b->layer[k], .n = 1 };

            there = conf_layers_equal(&one, &other);
        }
        if (!there && layer_matters(&a->layer[i]))
            return &a->layer[i];
    }
    return NULL;
}

static int
change_is_safe(const struct chain_spec *now, const struct chain_spec *then,
               char *why, size_t n)
{
    const struct blk_conf *layer = layer_missing(now, then);

    if (!layer)
        layer = layer_missing(then, now);
    if (!layer)
        return 0;
    snprintf(why, n,
             "the guest may read other data with or without layer \"%s\" "
             "(plugin %s): say force if that is right",
             layer->name, layer->plugin);
    return -EPERM;
}

static void
change_over(struct daemon_change *c, int status, const char *why,
            uint64_t took_ns)
{
    struct daemon *d = c->daemon;
    struct log_fields f = { .disk = c->disk };
    bool again = d->reload_again;
    char unkept[200];

    d->change = NULL;
    d->reload_again = false;
    if (status) {
        if (d->live[0])
            conffile_cancel(d->live);
        conf_unref(c->to);
        log_line(BLK_WARN, &f, "%s", why);
    } else {
        conf_unref(d->conf);
        d->conf = c->to;
        lastconf_save(d->lastconf, d->conf);
        if (d->xenbus)
            xenbus_reload(d->xenbus, d->conf);
        log_line(BLK_INFO, &f, "%s: its %s was changed by command", c->disk,
                 c->what);
    }
    if (!status && c->kept) {
        status = c->kept;
        snprintf(unkept, sizeof unkept,
                 "the %s was changed, but that can't be kept for a restart: "
                 "%s: change the files",
                 c->what, strerror(-status));
        why = unkept;
    }
    c->done(c->arg, status, why, took_ns);
    free(c);
    if (again)
        daemon_reload(d, NULL, NULL);
}

static void
change_switched(void *ctx)
{
    struct daemon_change *c = ctx;

    c->kept = live_commit(c->daemon, c->to);
}

static void
change_done(void *ctx, int status, const char *why, uint64_t took_ns)
{
    change_over(ctx, status, why, took_ns);
}

/* 0, or -errno with a sentence: nothing was changed. */
static int
change_plan(struct daemon_change *c, const struct conf_edit *edit,
            enum chain_force force, char *why, size_t n)
{
    struct daemon *d = c->daemon;
    struct disk *running = disks_find(d->disks, c->disk);
    const struct conf_disk *cd =
        running ? disk_conf(running) : conf_disk(d->conf, c->disk);
    struct chain_spec now, then;
    int rc = 0;

    if (!cd) {
        snprintf(why, n, "there is no disk \"%s\"", c->disk);
        return -ENOENT;
    }
    c->open = running != NULL;
    c->to = conf_edit(d->conf, c->disk, cd, edit, why, n);
    if (!c->to)
        return -EINVAL;
    now = conf_running(cd);
    then = conf_running(conf_disk(c->to, c->disk));
    if (force == CHAIN_SAFE)
        rc = change_is_safe(&now, &then, why, n);
    if (rc)
        return rc;
    rc = live_prepare(d, c->to);
    if (rc)
        snprintf(why, n, "%s: the change can't be kept for a restart: %s",
                 d->live, strerror(-rc));
    return rc;
}

void
daemon_chain(void *daemon, const char *disk, const struct conf_edit *edit,
             enum chain_force force, chain_done *done, void *arg)
{
    struct daemon *d = daemon;
    struct daemon_change *c;
    char why[1024] = "";
    int rc;

    if (d->reload || d->change) {
        done(arg, -EBUSY, "an earlier change or reload is still at work", 0);
        return;
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        done(arg, -ENOMEM, "out of memory", 0);
        return;
    }
    c->daemon = d;
    c->what = edit->kind == CONF_MODE ? "mode" : "chain";
    c->done = done;
    c->arg = arg;
    snprintf(c->disk, sizeof c->disk, "%s", disk);
    rc = change_plan(c, edit, force, why, sizeof why);
    if (rc) {
        conf_unref(c->to);
        free(c);
        why[strcspn(why, "\n")] = '\0';
        done(arg, rc, why, 0);
        return;
    }
    d->change = c;
    if (c->open) {
        disks_rechain(d->disks, disks_find(d->disks, c->disk), c->to,
                      conf_disk(c->to, c->disk), change_switched, change_done,
                      c);
    } else {
        change_switched(c);
        change_over(c, 0, NULL, 0);
    }
}
