/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "daemon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "seccomp_table.h"

#define STOP_NS (10000000000ull) /* more than a disconnect may take: unit.h */
#define SIFT_NS (30000000000ull)

/* ---- the data loops ------------------------------------------------------ */

static int
data_loop_new(struct daemon *d, unsigned i, char *why, size_t n)
{
    struct loop_posix_options o = { .workers = d->conf->workers,
                                    .io_entries = 1024 };
    struct data_loop *l = &d->data[i];
    int rc;

    snprintf(l->name, sizeof l->name, "data%u", i);
    rc = loop_posix_new(&l->loop, l->name, &o, why, n);
    if (rc)
        return rc;
    l->loop->commons = &d->commons;
    d->loops = i + 1;
    d->data_loops[i] = l->loop;
    if (d->host == HOST_LOCAL)
        return 0;
    rc = tap_xen_open(&l->tap, l->loop, why, n);
    if (rc)
        return rc;
    rc = sweep_new(&l->sweep, l->tap);
    if (rc)
        snprintf(why, n, "out of memory");
    d->sweeps[i] = l->sweep;
    return rc;
}

static int
data_loops_new(struct daemon *d, char *why, size_t n)
{
    unsigned i;
    int rc = 0;

    commons_init(&d->commons);
    for (i = 0; !rc && i < d->conf->loops; i++)
        rc = data_loop_new(d, i, why, n);
    return rc;
}

struct loop_stop {
    struct loop_mail mail;
    struct loop *loop;
};

static void *
data_loop_thread(void *arg)
{
    struct loop *l = arg;

    pthread_setname_np(pthread_self(), l->name);
    l->ops->run(l);
    return NULL;
}

/* Signals are the control loop's: a new thread takes none. */
static int
data_loop_start(struct data_loop *l)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&l->thread, NULL, data_loop_thread, l->loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    l->started = !rc;
    return -rc;
}

static void
data_loop_stop(struct loop_mail *m)
{
    struct loop_stop *stop = (struct loop_stop *)m;

    stop->loop->ops->stop(stop->loop);
}

static void
data_loops_stop(struct daemon *d)
{
    unsigned i;

    for (i = 0; i < d->loops; i++) {
        struct data_loop *l = &d->data[i];
        struct loop_stop stop = { { data_loop_stop, NULL }, l->loop };

        if (l->started) {
            l->loop->ops->post(l->loop, &stop.mail);
            pthread_join(l->thread, NULL);
        }
        if (l->sweep)
            sweep_free(l->sweep);
        if (l->gate)
            l->gate->ops->free(l->gate);
        if (l->tap)
            l->tap->ops->free(l->tap);
        l->loop->ops->free(l->loop);
    }
    d->loops = 0;
}

/* ---- start --------------------------------------------------------------- */

static void
daemon_event(void *ctx, const char *what, const char *disk, const char *detail)
{
    struct daemon *d = ctx;

    if (d->view.control) /* gone while we stop */
        control_event(d->view.control, what, disk, detail);
}

static void
daemon_table(void *ctx, const char *key, int fd)
{
    struct daemon *d = ctx;

    if (fd >= 0 && !strcmp(key, DISKS_KEYS) && !keep_in_memory(&d->keep, key))
        log_line(BLK_WARN, NULL,
                 "keys of encrypted layers are in no place that outlives the "
                 "daemon, as neither a service manager keeps descriptors for "
                 "it nor is %s in memory: if it is killed, what guests wrote "
                 "to such layers is lost, and their disks are held",
                 d->keep.path[0] ? d->keep.path : "a folder");
    else if (fd >= 0)
        keep_table(&d->keep, key, fd);
    else
        keep_forget(&d->keep, key);
}

static int
daemon_room(void *ctx, const char *key)
{
    struct daemon *d = ctx;

    if (!strcmp(key, DISKS_KEYS) && !keep_in_memory(&d->keep, key))
        return -1;
    return keep_room(&d->keep, key);
}

static void
daemon_kept(void *ctx, const char *key, int fd)
{
    struct daemon *d = ctx;

    if (disks_inherit(d->disks, key, fd))
        d->table_lost = true;
}

/* ---- files that go with an attachment ------------------------------------ */

struct attached {
    const char *attachment;
    bool open;
};

static void
disk_has(void *ctx, struct disk *disk)
{
    struct attached *a = ctx;

    a->open |= !strcmp(disk_front(disk)->attachment, a->attachment);
}

/* A local front-end's ends with its disk, or with the process that served it.
 */
static bool
daemon_attachment_over(void *ctx, const char *attachment)
{
    struct daemon *d = ctx;
    struct attached a = { .attachment = attachment };

    disks_each(d->disks, disk_has, &a);
    if (a.open)
        return false;
    if (!strncmp(attachment, "local,", 6))
        return true;
    return d->xenbus && xenbus_detached(d->xenbus, attachment);
}

/* The keys first: without them what is in the files is nothing. */
static void
daemon_closed(void *ctx)
{
    struct daemon *d = ctx;

    disks_sift_keys(d->disks, daemon_attachment_over, d);
    scratch_sift(&d->scratch);
}

static const struct disks_events disks_events = { .event = daemon_event,
                                                  .table = daemon_table,
                                                  .room = daemon_room,
                                                  .closed = daemon_closed };
static const struct xenbus_events xenbus_events = { .event = daemon_event };

static struct conf *
daemon_conf(void *ctx)
{
    return ((struct daemon *)ctx)->conf;
}

static void
daemon_log_level(void *ctx, int level)
{
    (void)ctx;
    log_level(level);
}

static void
daemon_host_choose(struct daemon *d)
{
    if (d->host == HOST_AUTO)
        d->host = access("/dev/xen/gntdev", F_OK) ? HOST_LOCAL : HOST_XEN;
}

static const char *
daemon_conf_is_old(void *ctx)
{
    const struct daemon *d = ctx;

    return d->conf_is_old[0] ? d->conf_is_old : NULL;
}

/* The files can't be read, for the reasons in why: guests would wait for their
 * disks until somebody has mended them. */
static int
daemon_load_last(struct daemon *d, char *why, size_t n)
{
    char errors[2048];
    size_t used = strlen(why);

    d->conf = lastconf_load(d->lastconf, errors, sizeof errors);
    if (!d->conf) {
        snprintf(why + used, n - used, "%s", errors);
        return -EINVAL;
    }
    snprintf(d->conf_is_old, sizeof d->conf_is_old,
             "the configuration from before the restart is in force, as the "
             "files can't be read: %.*s",
             (int)strcspn(why, "\n"), why);
    reload_log_lines(why);
    log_line(BLK_ERR, NULL,
             "the configuration from before the restart is in force (%s): mend "
             "the files and reload",
             d->lastconf);
    why[0] = '\0';
    return 0;
}

static int
daemon_load(struct daemon *d, char *why, size_t n)
{
    lastconf_path(d->lastconf, d->conf_path, "last.conf");
    d->conf = conf_load(d->conf_path, d->conf_dir, why, n);
    if (!d->conf && daemon_load_last(d, why, n))
        return -EINVAL;
    log_level(d->conf->log_level);
    return 0;
}

/* Without gntalloc there are no front-ends, and everything else works. */
static int
fronts_open(struct daemon *d, char *why, size_t n)
{
    char no_gate[200];
    int rc = store_xen_open(&d->front_store, d->control, why, n);

    if (!rc)
        rc = front_links_new(&d->links, d->control, d->front_store);
    for (unsigned i = 0; !rc && i < d->loops; i++) {
        struct data_loop *l = &d->data[i];

        no_gate[0] = '\0';
        if (gate_xen_open(&l->gate, l->tap, no_gate, sizeof no_gate))
            l->gate = NULL;
        fronts_init(&l->fronts, l->loop, l->gate, d->links, no_gate);
    }
    return rc;
}

/* All that may need root: sockets, devices, XenStore. */
static int
daemon_open(struct daemon *d, char *why, size_t n)
{
    struct loop_posix_options o = { .workers = 1, .io_entries = 0 };
    char tables[LASTCONF_PATH], scratch[CONFFILE_PATH];
    int rc;

    rc = loop_posix_new(&d->control, "control", &o, why, n);
    if (rc)
        return rc;
    rc = data_loops_new(d, why, n);
    if (rc)
        return rc;
    if (d->host == HOST_XEN) {
        rc = store_xen_open(&d->store, d->control, why, n);
        if (!rc)
            rc = fronts_open(d, why, n);
        if (rc)
            return rc;
    }
    rc = control_open(&d->view.control, d->control, d->conf->control, why, n);
    if (rc)
        return rc;
    lastconf_path(tables, d->conf_path, "tables");
    keep_open(&d->keep, tables, d->conf->user, keep_store_max());
    if (d->conf->scratch)
        snprintf(scratch, sizeof scratch, "%s", d->conf->scratch);
    else
        conffile_path(scratch, d->conf_path, "STATE_DIRECTORY",
                      BLKTAPD_STATEDIR, "scratch");
    scratch_open(&d->scratch, scratch, d->conf->user);
    return privileges_drop(d->conf->user, why, n);
}

static int
daemon_assemble(struct daemon *d, char *why, size_t n)
{
    int rc;

    rc = disks_new(&d->disks, d->control, d->data_loops, d->sweeps, d->loops,
                   &disks_events, d);
    if (!rc) {
        disks_drain(d->disks, d->conf->drain_ns);
        keep_load(&d->keep, daemon_kept, d);
        scratch_begin(&d->scratch, d->control, daemon_attachment_over, d);
        scratch_lend(&d->scratch, &d->commons);
        d->commons.keeper = disks_keeper(d->disks);
    }
    if (!rc && d->table_lost) {
        rc = -ENOMEM;
        snprintf(why, n, "no memory for the in-flight tables of before");
    }
    if (!rc && d->store)
        rc = xenbus_new(&d->xenbus, d->control, d->store, d->disks, d->conf,
                        &xenbus_events, d, why, n);
    if (rc)
        return rc;
    d->view.loop = d->control;
    d->view.disks = d->disks;
    d->view.xenbus = d->xenbus;
    d->view.store = d->store;
    d->view.ctx = d;
    d->view.conf = daemon_conf;
    d->view.conf_is_old = daemon_conf_is_old;
    d->view.reload = daemon_reload;
    d->view.log_level = daemon_log_level;
    d->view.chain = daemon_chain;
    d->view.snapshot = daemon_snapshot;
    d->view.commit = daemon_commit;
    return commands_register(&d->view);
}

static void daemon_signal(void *ctx, int signo);

static int
daemon_signals(struct daemon *d)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    rc = loop_posix_signal(d->control, SIGHUP, daemon_signal, d);
    if (!rc)
        rc = loop_posix_signal(d->control, SIGTERM, daemon_signal, d);
    if (!rc)
        rc = loop_posix_signal(d->control, SIGINT, daemon_signal, d);
    return rc;
}

/* Sanitizers make calls of their own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Where the kernel has no filters the unit's sandbox must do. */
static int
daemon_sandbox(struct daemon *d, char *why, size_t n)
{
    int rc;

    if (!d->conf->sandbox || SANITIZED) {
        log_line(BLK_WARN, NULL, "no filter of system calls: %s",
                 SANITIZED ? "a build with sanitizers"
                           : "daemon.sandbox is false");
        return 0;
    }
    rc = seccomp_filter(SECCOMP_EPERM, why, n);
    if (rc != -EINVAL && rc != -ENOSYS)
        return rc;
    log_line(BLK_WARN, NULL, "%s", why);
    why[0] = '\0';
    return 0;
}

int
daemon_start(struct daemon *d, char *why, size_t n)
{
    unsigned i;
    int rc;

    daemon_host_choose(d);
    rc = daemon_load(d, why, n);
    if (rc)
        return rc;
    rc = daemon_open(d, why, n);
    if (!rc)
        rc = live_load(d, why, n);
    if (!rc)
        rc = daemon_signals(d);
    for (i = 0; !rc && i < d->loops; i++)
        rc = data_loop_start(&d->data[i]);
    if (!rc)
        rc = daemon_assemble(d, why, n);
    if (!rc)
        rc = watchdog_start(d);
    if (!rc)
        rc = daemon_sandbox(d, why, n);
    if (rc && !why[0])
        snprintf(why, n, "can't start: %s", strerror(-rc));
    if (!rc && !d->conf_is_old[0])
        lastconf_save(d->lastconf, d->conf);
    return rc;
}

/* ---- run and stop -------------------------------------------------------- */

/* (1) vbds are drained; (2) the control socket closes, which ends local
 * front-ends; (3) when no disk is left the loop ends. */
static void
daemon_over(void *ctx)
{
    struct daemon *d = ctx;

    d->control->ops->stop(d->control);
}

static void
daemon_vbds_stopped(void *ctx)
{
    struct daemon *d = ctx;

    control_close(d->view.control);
    d->view.control = NULL;
    disks_quiet(d->disks, daemon_over, d);
}

/* A request that does not end holds its disk, and a disk the daemon.  To end
 * now is as good as a kill: the tables say what is owed to whom. */
static void
daemon_late(struct blk_timer *t)
{
    struct daemon *d = t->data;

    log_line(BLK_ERR, NULL,
             "stopping: %u disks still had requests at work after %u s; the "
             "next process goes on with them",
             disks_count(d->disks), (unsigned)(STOP_NS / 1000000000));
    log_close();
    _exit(0);
}

static void
daemon_signal(void *ctx, int signo)
{
    struct daemon *d = ctx;

    if (signo == SIGHUP) {
        daemon_reload(d, NULL, NULL); /* it logs what comes of it */
        return;
    }
    if (d->stopping)
        return;
    d->stopping = true;
    d->late.fire = daemon_late;
    d->late.data = d;
    d->control->ops->timer_start(d->control, &d->late, STOP_NS);
    log_line(BLK_INFO, NULL, "stopping: draining %u disks",
             disks_count(d->disks));
    notify_stopping();
    if (!disks_count(d->disks))
        lastconf_drop(d->lastconf); /* nobody waits for us to be back */
    if (d->xenbus)
        xenbus_stop(d->xenbus, daemon_vbds_stopped, d);
    else
        daemon_vbds_stopped(d);
}

/* What an earlier process kept for vbds that went meanwhile: now and then, as
 * xenstored may not answer just now. */
static bool
daemon_vbd_gone(void *ctx, const char *key)
{
    return xenbus_gone(ctx, key);
}

static void
daemon_sift(struct blk_timer *t)
{
    struct daemon *d = t->data;

    if (!d->xenbus || d->stopping)
        return;
    disks_sift_tables(d->disks, daemon_vbd_gone, d->xenbus);
    daemon_closed(d);
    d->control->ops->timer_start(d->control, t, SIFT_NS);
}

void
daemon_run(struct daemon *d)
{
    log_line(BLK_INFO, NULL, "%s: %u disks configured, %u data loops, %s host",
             PACKAGE_STRING, d->conf->disks, d->loops,
             d->host == HOST_XEN ? "Xen" : "local");
    notify_ready(d);
    d->sift.fire = daemon_sift;
    d->sift.data = d;
    d->control->ops->timer_start(d->control, &d->sift, SIFT_NS);
    daemon_closed(d); /* what an earlier process left */
    d->control->ops->run(d->control);
}

void
daemon_free(struct daemon *d)
{
    watchdog_stop(d);
    if (d->control) {
        d->control->ops->timer_stop(d->control, &d->late);
        d->control->ops->timer_stop(d->control, &d->sift);
    }
    if (d->view.control)
        control_close(d->view.control);
    if (d->xenbus)
        xenbus_free(d->xenbus);
    data_loops_stop(d);
    disks_free(d->disks);
    commits_free(d);
    keep_close(&d->keep);
    front_links_free(d->links);
    if (d->front_store)
        d->front_store->ops->free(d->front_store);
    if (d->store)
        d->store->ops->free(d->store);
    if (d->control)
        d->control->ops->free(d->control);
    scratch_close(&d->scratch);
    conf_unref(d->conf);
}
