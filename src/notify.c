/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* notify.c: what the service manager is told: readiness, status, life. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "daemon.h"

/* One sign of life per data loop: mail there and back. */
struct ping {
    struct loop_mail mail;
    struct watchdog *watchdog;
    struct loop *loop;
    bool away;
};

struct watchdog {
    struct daemon *daemon;
    struct blk_timer timer;
    uint64_t every_ns;
    struct ping ping[DATA_LOOPS_MAX];
    unsigned away;
};

void
notify_ready(const struct daemon *d)
{
    sd_notify(0, "READY=1");
    notify_status(d);
}

void
notify_reloading(void)
{
    sd_notify(0, "RELOADING=1");
}

void
notify_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Draining.");
}

void
notify_status(const struct daemon *d)
{
    sd_notifyf(0, "STATUS=%u of %u configured disks open; %s.%s%s",
               disks_count(d->disks), d->conf->disks,
               d->xenbus ? "serving Xen" : "local front-ends only",
               d->conf_is_old[0] ? "  NOTE: " : "", d->conf_is_old);
}

/* ---- what outlives us ---------------------------------------------------- */

void
notify_keep(const char *key, int fd)
{
    char text[160];

    snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s", key);
    sd_pid_notify_with_fds(0, 0, text, &fd, 1);
}

void
notify_forget(const char *key)
{
    sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", key);
}

void
notify_kept(void (*cb)(void *ctx, const char *key, int fd), void *ctx)
{
    char **names = NULL;
    int i, n = sd_listen_fds_with_names(0, &names);

    for (i = 0; i < n; i++) {
        cb(ctx, names[i], SD_LISTEN_FDS_START + i);
        free(names[i]);
    }
    free(names);
}

/* ---- the watchdog -------------------------------------------------------- */

static void
ping_back(struct loop_mail *m)
{
    struct ping *p = (struct ping *)m;

    p->away = false;
    if (!--p->watchdog->away)
        sd_notify(0, "WATCHDOG=1");
}

static void
ping_there(struct loop_mail *m)
{
    struct ping *p = (struct ping *)m;
    struct loop *control = p->watchdog->daemon->control;

    m->run = ping_back;
    control->ops->post(control, m);
}

static void
watchdog_due(struct blk_timer *t)
{
    struct watchdog *w = t->data;
    struct daemon *d = w->daemon;
    unsigned i;

    d->control->ops->timer_start(d->control, t, w->every_ns);
    notify_status(d);
    if (w->away)
        return; /* a loop did not answer: no pet, the manager decides */
    w->away = d->loops;
    for (i = 0; i < d->loops; i++) {
        struct ping *p = &w->ping[i];

        p->away = true;
        p->watchdog = w;
        p->loop = d->data_loops[i];
        p->mail.run = ping_there;
        p->loop->ops->post(p->loop, &p->mail);
    }
}

int
watchdog_start(struct daemon *d)
{
    struct watchdog *w;
    uint64_t us = 0;

    if (sd_watchdog_enabled(0, &us) <= 0 || !us)
        return 0;
    w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->daemon = d;
    w->every_ns = us * 1000 / 3;
    w->timer.fire = watchdog_due;
    w->timer.data = w;
    d->watchdog = w;
    watchdog_due(&w->timer);
    return 0;
}

void
watchdog_stop(struct daemon *d)
{
    if (!d->watchdog)
        return;
    d->control->ops->timer_stop(d->control, &d->watchdog->timer);
    free(d->watchdog);
    d->watchdog = NULL;
}
