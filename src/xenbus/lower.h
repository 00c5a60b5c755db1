/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lower.h: the lower vbd of an interposed disk, for those who make one.
 */
#ifndef XENBUS_LOWER_H
#define XENBUS_LOWER_H

#include "xenbus/interpose.h"
#include "xenbus/pair.h"

struct interposed {
    struct pair upper;
    char front[VBD_PATH], back[VBD_PATH]; /* of the lower one */
    bool moved; /* the upper one is not where libxl made it */
};

/* In a transaction: the node has that text. */
bool node_is(struct store *, store_tx, const char *dir, const char *leaf,
             const char *text);
/* In a transaction: the directory of a domain's back-ends. */
int make_backends(struct store *, store_tx, uint32_t domid);

/* upper.self, of the two, must be set. */
void lower_paths(struct interposed *, uint32_t number);
/* Its number, from text (NULL: devid). */
int lower_number(const char *text, uint32_t devid, uint32_t *out, char *why,
                 size_t n);
/* In a transaction.  -EEXIST: one is there. */
int lower_make(struct store *, store_tx, const struct interposed *,
               uint32_t number, const struct interpose *);
/* In a transaction: the one that is there is what would be made. */
bool lower_is(struct store *, store_tx, const struct interposed *,
              const struct interpose *);
/* -EEXIST, in a sentence. */
int lower_there(const struct interposed *, uint32_t number, char *why,
                size_t n);
/* In a transaction; with what is above it, when that is empty. */
int lower_remove(struct store *, store_tx, const struct interposed *);
/* Whether a domain has one for the upper one of these numbers; fills the rest.
 */
bool lower_find(struct store *, struct interposed *);
/* blktapd does not hold it, as far as XenStore can be asked. */
bool lower_closed(struct store *, const struct interposed *);

/* ---- hook_move.c: an upper one that libxl made, for another domain. */
/* upper.self, .domid and .devid must be set. */
void move_paths(struct interposed *);
/* In a transaction: something stands in one of its places; and -EBUSY, in a
 * sentence. */
bool move_taken(struct store *, store_tx, const struct interposed *);
int move_refused(const struct interposed *, char *why, size_t n);
int hook_move(struct store *, const struct interpose_hook *,
              const struct interposed *, char *why, size_t n);
/* In a transaction: all nodes of the upper one. */
int move_remove(struct store *, store_tx, const struct interposed *);

#endif
