/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * daemon.h: the parts of the daemon, put together.
 *
 *   control loop (the main thread)              data loop 0..n-1 (threads)
 *   ┌──────────────────────────────────┐  mail  ┌─────────────────────────┐
 *   │ signals  config  control socket  │◄──────►│ tap ─ sweep ─ channels  │
 *   │ XenStore ─ xenbus ─ disks        │        │ chains ─ files ─ timers │
 *   └──────────────────────────────────┘        └─────────────────────────┘
 */
#ifndef DAEMON_H
#define DAEMON_H

#include <pthread.h>

#include "config/config.h"
#include "control/commands.h"
#include "front/front.h"
#include "keep.h"
#include "lastconf.h"
#include "scratch.h"

enum daemon_host { HOST_AUTO, HOST_XEN, HOST_LOCAL };

enum { DATA_LOOPS_MAX = 64 };

struct data_loop {
    struct loop *loop;
    struct tap *tap;
    struct sweep *sweep;
    struct gate *gate; /* for being a front-end; may be NULL */
    struct fronts fronts;
    char name[16];
    pthread_t thread;
    bool started;
};

struct daemon {
    const char *conf_path, *conf_dir;
    enum daemon_host host;
    struct conf *conf;
    char lastconf[LASTCONF_PATH];
    /* Not "": the files can't be read, conf is what was in force before. */
    char conf_is_old[512];
    struct loop *control;
    struct data_loop data[DATA_LOOPS_MAX];
    unsigned loops;
    struct commons commons; /* of the data loops */
    struct loop *data_loops[DATA_LOOPS_MAX];
    struct sweep *sweeps[DATA_LOOPS_MAX];
    struct store *store;
    struct store *front_store; /* the front-ends' own connection */
    struct front_links *links;
    struct xenbus *xenbus;
    struct disks *disks;
    struct keep keep;
    struct scratch scratch;
    struct daemon_view view;
    struct watchdog *watchdog;
    struct daemon_reload *reload;  /* one at a time */
    struct daemon_change *change;  /* of a chain; never with a reload */
    struct daemon_commit *commits; /* at work, or the last of a disk */
    bool reload_again;             /* a signal came while that was at work */
    char live[CONFFILE_PATH];      /* chains that commands changed; or "" */
    unsigned lives;                /* how many of them are there */
    bool table_lost;               /* no memory for what was kept for us */
    bool stopping;
    struct blk_timer late; /* while it stops */
    struct blk_timer sift; /* of tables that nobody asks for */
};

/* 0, or -errno with a sentence in why.  Opens everything that needs
 * privileges, then drops them; nothing is served before daemon_run(). */
int daemon_start(struct daemon *, char *why, size_t n);
/* Until SIGTERM or SIGINT; all disks are drained by then. */
void daemon_run(struct daemon *);
void daemon_free(struct daemon *);

/* reload.c: SIGHUP and the `reload` command: parsed whole, then swapped. */
void daemon_reload(void *daemon,
                   void (*done)(void *arg, int status, const char *why),
                   void *arg);
/* live.c: what commands changed. */
/* Before any disk is opened: over the configuration that was read, and written
 * anew when the files have gone their own way.  0, or -errno with a sentence:
 * to serve a guest from another chain than the one that it wrote through would
 * be worse than not to start. */
int live_load(struct daemon *, char *why, size_t n);
/* The same at a reload; before anybody has the new tree. */
int live_keep(struct daemon *, struct conf *to);
/* A reload is over. */
void live_save(struct daemon *);
daemon_chain_fn daemon_chain;
/* snapshot.c */
daemon_snapshot_fn daemon_snapshot;
/* commit.c */
daemon_commit_fn daemon_commit;
void commits_free(struct daemon *); /* all disks are closed */
/* Whole lines of errors to the log. */
void reload_log_lines(const char *lines);

/* privileges.c: become user, without a capability; 0 or -errno. */
int privileges_drop(const char *user, char *why, size_t n);

/* notify.c: the service manager. */
void notify_ready(const struct daemon *);
void notify_reloading(void);
void notify_stopping(void);
void notify_status(const struct daemon *);
/* An in-flight table, kept by the manager while we are dead; fd is lent. */
void notify_keep(const char *key, int fd);
void notify_forget(const char *key);
/* What the manager kept for us: fd is the receiver's. */
void notify_kept(void (*cb)(void *ctx, const char *key, int fd), void *ctx);
/* Pets the manager's watchdog while the control loop and every data loop
 * answer.  Does nothing when none is asked for. */
int watchdog_start(struct daemon *);
void watchdog_stop(struct daemon *);

#endif
