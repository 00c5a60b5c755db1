/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pair.h: the two ends of a guest's vbd in XenStore, as a toolstack makes and
 * removes them.
 */
#ifndef XENBUS_PAIR_H
#define XENBUS_PAIR_H

#include "xenbus/vbd.h"

/* Where the two ends and the toolstack's copy are. */
struct pair {
    uint32_t own;          /* the domain that we run in */
    uint32_t self;         /* the one that serves; most often the same */
    uint32_t domid, devid; /* whom, as what */
    char front[VBD_PATH], back[VBD_PATH], libxl[VBD_PATH];
};

/* In a back-end directory that we made for ourselves: what we may remove. */
#define PAIR_MARKER "blktapctl"

struct pair_node {
    const char *leaf, *value;
};

/* rc, with a sentence in why. */
int pair_say(int rc, char *why, size_t n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* From the numbers. */
void pair_paths(struct pair *, const char *kind);
/* A domain by name or number.  must_run: a number has to be that of one. */
int pair_vm(struct store *, const char *vm, bool must_run, uint32_t *out,
            char *why, size_t n);
/* kind and vdev are as they have to be; sets devid. */
int pair_words(const char *kind, const char *vdev, uint32_t *devid, char *why,
               size_t n);

/* ---- in a transaction: 0 or -errno. */
bool pair_exists(struct store *, store_tx, const char *path);
/* A directory of owner that reader may read.  What is made in it later takes
 * after it. */
int pair_dir(struct store *, store_tx, const char *dir, uint32_t owner,
             uint32_t reader);
/* Until a leaf that is NULL. */
int pair_write(struct store *, store_tx, const char *dir,
               const struct pair_node *);
/* Both ends; -EEXIST: one is there. */
int pair_make(struct store *, store_tx, const struct pair *,
              const struct xenbus_attach *);
/* As libxl asks for it: offline, and Closing unless it is closed. */
int pair_leave(struct store *, store_tx, void *pair);
/* Both ends and the copy; a removal of what is not there is well. */
int pair_remove(struct store *, store_tx, void *pair);
/* An end's directory, and the one above it (a guest's) when that is empty. */
int pair_remove_back(struct store *, store_tx, const char *back);

#endif
