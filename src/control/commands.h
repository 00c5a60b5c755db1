/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commands.h: the daemon's own commands on the control socket, and what they
 * may see of the daemon.
 */
#ifndef CONTROL_COMMANDS_H
#define CONTROL_COMMANDS_H

#include "config/config.h"
#include "control/control.h"
#include "disk/disk.h"
#include "xenbus/xenbus.h"

enum chain_force {
    CHAIN_SAFE, /* refuse what may change what the guest reads */
    CHAIN_FORCE
};
typedef void chain_done(void *arg, int status, const char *why,
                        uint64_t took_ns);
typedef void daemon_chain_fn(void *ctx, const char *disk,
                             const struct conf_edit *, enum chain_force,
                             chain_done *, void *arg);
/* The disk's data stay as they are, and what is written from now on goes to a
 * new image, file, in a layer of its own. */
typedef void daemon_snapshot_fn(void *ctx, const char *disk, const char *file,
                                chain_done *, void *arg);

/* A layer's data go to what is below it, and then the layer out of the chain.
 * verb: NULL: begin, of layer, or, NULL, of the uppermost that can be; else
 * pause, resume, cancel or status.  told is the receiver's. */
struct json_object;
typedef void commit_done(void *arg, int status, const char *why,
                         struct json_object *told);
typedef void daemon_commit_fn(void *ctx, const char *disk, const char *verb,
                              const char *layer, commit_done *, void *arg);

/* Lent by main for as long as the control socket is open.  Pointers to what
 * this host has not are NULL (xenbus, store on a local host). */
struct daemon_view {
    struct control *control;
    struct loop *loop; /* the control loop */
    struct disks *disks;
    struct xenbus *xenbus;
    struct store *store;
    void *ctx;
    /* The config in force; borrowed. */
    struct conf *(*conf)(void *ctx);
    /* When that is not what the files say, as they can't be read: a sentence;
     * else NULL.  May be NULL itself. */
    const char *(*conf_is_old)(void *ctx);
    /* As SIGHUP; why: every error, a line each. */
    void (*reload)(void *ctx,
                   void (*done)(void *arg, int status, const char *why),
                   void *arg);
    void (*log_level)(void *ctx, int level); /* enum blk_level */
    /* A disk's chain or mode, changed live; why: one sentence. */
    daemon_chain_fn *chain;
    daemon_snapshot_fn *snapshot;
    daemon_commit_fn *commit;
};

int commands_register(struct daemon_view *);

#endif
