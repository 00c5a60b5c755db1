/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reload.c: a new configuration, while everything runs.
 *
 * Parsed and checked whole; if that fails the running one stays to the byte.
 * Then disks whose chain changed get the new one, one after the other under a
 * pause of their own; a chain that can't be opened leaves its disk as it was,
 * and that is said.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

struct daemon_reload {
    struct daemon *daemon;
    struct conf *to;
    void (*done)(void *arg, int status, const char *why);
    void *arg;
};

void
reload_log_lines(const char *lines)
{
    size_t n;

    for (; *lines; lines += n + strspn(lines + n, "\n")) {
        n = strcspn(lines, "\n");
        log_line(BLK_ERR, NULL, "%.*s", (int)n, lines);
    }
}

static void
reload_over(struct daemon_reload *r, int status, const char *why)
{
    struct daemon *d = r->daemon;
    bool again = d->reload_again;

    d->reload = NULL;
    d->reload_again = false;
    notify_ready(d);
    if (r->done)
        r->done(r->arg, status, why);
    free(r);
    if (again)
        daemon_reload(d, NULL, NULL);
}

static void
reload_disks_done(void *ctx, int status, const char *why)
{
    struct daemon_reload *r = ctx;
    struct daemon *d = r->daemon;

    /* Disks that did not follow keep a reference of their own. */
    conf_unref(d->conf);
    d->conf = r->to;
    d->conf_is_old[0] = '\0';
    live_save(d);
    lastconf_save(d->lastconf, d->conf);
    log_level(d->conf->log_level);
    if (d->xenbus)
        xenbus_reload(d->xenbus, d->conf);
    if (status)
        log_line(BLK_ERR, NULL, "reload: %s", why);
    else
        log_line(BLK_INFO, NULL, "reload: %s is in force, %u disks",
                 d->conf_path, d->conf->disks);
    control_event(d->view.control, "reload", NULL, status ? why : "done");
    reload_over(r, status, why);
}

void
daemon_reload(void *daemon,
              void (*done)(void *arg, int status, const char *why), void *arg)
{
    struct daemon *d = daemon;
    struct daemon_reload *r;
    char errors[8192] = "";
    const char *restart;

    if (d->reload || d->change) {
        /* Nobody waits for an answer to a signal: it is done afterwards, as
         * the files may have changed since they were read. */
        if (done)
            done(arg, -EBUSY, "an earlier change or reload is still at work");
        else
            d->reload_again = true;
        return;
    }
    r = calloc(1, sizeof *r);
    if (!r) {
        if (done)
            done(arg, -ENOMEM, "out of memory");
        return;
    }
    r->daemon = d;
    r->done = done;
    r->arg = arg;
    d->reload = r;
    notify_reloading();
    r->to = conf_load(d->conf_path, d->conf_dir, errors, sizeof errors);
    if (!r->to) {
        reload_log_lines(errors);
        reload_over(r, -EINVAL, errors);
        return;
    }
    if (live_keep(d, r->to)) {
        conf_unref(r->to);
        reload_over(r, -ENOMEM, "out of memory");
        return;
    }
    restart = conf_needs_restart(d->conf, r->to);
    if (restart)
        log_line(BLK_WARN, NULL, "reload: %s", restart);
    disks_drain(d->disks, r->to->drain_ns); /* also for this change */
    disks_reload(d->disks, r->to, reload_disks_done, r);
}
