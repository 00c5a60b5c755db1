/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config.h: /etc/blktapd.conf and /etc/blktapd.d/ as an immutable tree, and
 * the difference of two trees.
 *
 * A tree is made whole or not at all; it is reference-counted and read by any
 * thread.  Every message has the form
 *     FILE:LINE: KEY: expected THIS, found THAT
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "chain/chain.h"

/* Which layers of a chain run: see mode.c. */
enum conf_mode { CONF_INTERCEPT, CONF_INTERPOSE, CONF_PASSTHROUGH };

struct conf_disk {
    const char *name;      /* unique; [A-Za-z0-9._-], 1 to 63 */
    const char *vm, *vdev; /* both or none; vdev as "xvda" */
    uint32_t devid;        /* of vdev */
    enum conf_mode mode;
    bool readonly;         /* whatever the toolstack says */
    bool discard, barrier; /* offered to the guest */
    unsigned queues;       /* most; 1 to 16, default 4 */
    unsigned ring_order;   /* most; 0 to 4, default 4 */
    unsigned indirect;     /* segments; 0 (off), or 12 to 256, default 256 */
    uint64_t buffers;      /* bytes; 1M to 1G, default 16M */
    struct chain_spec chain;
    /* What the files say of the chain and of the mode, when one of them was
     * changed since by a command; else NULL. */
    const struct chain_spec *filed;
    enum conf_mode filed_mode;
    const char *file;
    int line;
};

struct conf {
    unsigned refs;
    const char *control; /* socket path */
    bool sandbox;        /* give system calls up once started; default yes */
    const char *user;    /* to become, when started as root; or NULL */
    const char *scratch; /* folder of files that go with an attachment; NULL:
                          * where the daemon keeps its state */
    unsigned loops;      /* data loops; default 1 */
    unsigned workers;    /* per loop; 0: one per core */
    int log_level;       /* enum blk_level */
    /* What requests get to end in before a change of a chain, or a pause, is
     * given up; 0: as long as they like; default 30 s: more than a medium takes
     * that is only slow. */
    uint64_t drain_ns;
    const char *const *kinds; /* back-end kinds to serve; NULL-ended */
    struct conf_disk *disk;
    unsigned disks;
    void *memory;
};

/* Reads path, then every *.conf of dir in the order of names (dir may be NULL
 * or absent).  NULL on error, with a line per error (at most 20) in errors,
 * each ending in a newline. */
struct conf *conf_load(const char *path, const char *dir, char *errors,
                       size_t n);
struct conf *conf_ref(struct conf *);
void conf_unref(struct conf *);
/* The disk for a vbd: by name (params with any "aio:" prefix stripped), else
 * by vm and devid; NULL: none. */
const struct conf_disk *conf_match(const struct conf *, const char *params,
                                   const char *vm, uint32_t devid);
const struct conf_disk *conf_disk(const struct conf *, const char *name);
/* The layers that run, those of the disk's chain or the last of them; borrowed
 * from the disk. */
struct chain_spec conf_running(const struct conf_disk *);
const char *conf_mode_name(enum conf_mode);
/* 0 or -EINVAL. */
int conf_mode_parse(const char *, enum conf_mode *);
/* The text that would make the same tree again. */
void conf_print(const struct conf *, FILE *);

/* ---- chains and modes that were changed by a command (live.c) ------------ */

enum conf_edit_kind {
    CONF_INSERT,  /* layer comes before at, which may be the number of layers */
    CONF_REMOVE,  /* at goes */
    CONF_REPLACE, /* layer takes the place of at */
    CONF_MODE,    /* another mode of the same chain */
    CONF_RESET    /* back to what the files say */
};
struct conf_edit {
    enum conf_edit_kind kind;
    const char *at; /* name of a layer, or its number, from 0; not of RESET */
    const char *layer;   /* as in the files, between { and }; of the first and
                          * the third */
    enum conf_mode mode; /* of MODE */
};
/* A tree that differs from `from` in the chain and the mode of one disk: they
 * are now's, edited and checked.  With a last layer of another sort comes the
 * mode that it needs.  NULL on error, as conf_load() has it: what is wrong in
 * the layer's text is told as of a file called "layer". */
struct conf *conf_edit(const struct conf *from, const char *disk,
                       const struct conf_disk *now, const struct conf_edit *,
                       char *errors, size_t n);
/* Where `to` came from. */
enum conf_origin {
    CONF_FILES, /* the administrator's */
    CONF_LAST   /* what was in force, with its chains as they were */
};
/* The disks that were changed in `from` are so in `to`, which nobody else has
 * yet, where the files say what they said then.  dropped (may be NULL): is
 * told of each disk of which they say something else, or nothing: then the
 * files are right.  0 or -ENOMEM. */
int conf_keep_live(struct conf *to, const struct conf *from, enum conf_origin,
                   void (*dropped)(void *, const struct conf_disk *),
                   void *ctx);
/* How many were. */
unsigned conf_live_count(const struct conf *);
/* They as text, and back: a tree for conf_keep_live() alone, or NULL. */
void conf_print_live(const struct conf *, FILE *);
struct conf *conf_load_live(const char *path, char *errors, size_t n);
/* One chain as the files have it, for a person. */
void conf_print_chain(FILE *, const struct chain_spec *, const char *indent);

enum conf_change { CONF_SAME, CONF_ADDED, CONF_REMOVED, CONF_CHANGED };
bool conf_disk_equal(const struct conf_disk *, const struct conf_disk *);
bool conf_layers_equal(const struct chain_spec *, const struct chain_spec *);
/* cb per disk of either tree; what it would do, for -t and SIGHUP. */
void conf_diff(const struct conf *from, const struct conf *to,
               void (*cb)(void *, enum conf_change, const struct conf_disk *old,
                          const struct conf_disk *new_),
               void *ctx);
/* A sentence when `to` changes what only a restart can (loops, user, control
 * socket); NULL: nothing. */
const char *conf_needs_restart(const struct conf *from, const struct conf *to);

/* "xvda", "sda1", "hdc", "d0p1" or a number -> devid; 0 or -EINVAL. */
int devid_parse(const char *, uint32_t *);

#endif
