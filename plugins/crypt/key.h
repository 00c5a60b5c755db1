/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * key.h: the secret that a person gave us, from where he put it.
 *
 * Threads: key_get() and what it calls may block: a worker's.
 */
#ifndef PLUGINS_CRYPT_KEY_H
#define PLUGINS_CRYPT_KEY_H

#include <stddef.h>
#include <stdint.h>

/* One of them is not NULL. */
struct key_from {
    const char *file;       /* a path */
    const char *credential; /* a name in $CREDENTIALS_DIRECTORY */
    const char *keyring;    /* the description of a key of type user */
};

#define KEY_MAX (8u << 20) /* as much as cryptsetup reads of a file */

struct key {
    uint8_t *bytes; /* secret_map() of room bytes; NULL: none */
    size_t len, room;
    char name[200]; /* where it came from, for sentences */
};

/* All bytes that are there, a last newline too.  0, or -errno and why. */
int key_get(struct key *, const struct key_from *, char *why, size_t n);
void key_drop(struct key *);

#endif
