/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * node.h: XenStore nodes as text, numbers and states.
 *
 * Errors are 0 or -errno.  A node that is there but empty reads as missing:
 * GRUB and OVMF leave such behind.
 */
#ifndef XENBUS_NODE_H
#define XENBUS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/host.h"
#include "xenbus/states.h"

enum { NODE_PATH = 512 };

/* dir/leaf into out; -ENAMETOOLONG. */
int node_path(char out[NODE_PATH], const char *dir, const char *leaf);
/* malloc'd; NULL and errno (ENOENT when missing or empty, EINVAL when it
 * contains a NUL). */
char *node_text(struct store *, store_tx, const char *dir, const char *leaf);
/* Strict: decimal digits only, up to max; -ENOENT, -EINVAL.  found, if not
 * NULL, takes what stood there, made printable. */
int node_number(struct store *, store_tx, const char *dir, const char *leaf,
                uint64_t max, uint64_t *, char *found, size_t found_size);
/* -ENOENT: missing.  On any error the state is BUS_GONE. */
int node_state(struct store *, store_tx, const char *dir, enum bus_state *);
/* Writes what is not there already. */
int node_put(struct store *, store_tx, const char *dir, const char *leaf,
             const char *value);
int node_put_u64(struct store *, store_tx, const char *dir, const char *leaf,
                 uint64_t value);
/* Missing is fine. */
int node_drop(struct store *, store_tx, const char *dir, const char *leaf);

/* Runs fn in a transaction, again while others interfere (a few times, then
 * -EAGAIN).  It commits when fn returns 0; fn's error comes back as it is. */
typedef int node_tx_fn(struct store *, store_tx, void *);
int node_transact(struct store *, node_tx_fn *, void *);

/* This domain's number; where none is written it is domain 0. */
int node_own_domid(struct store *, uint32_t *);

/* All digits, up to max. */
bool number_parse(const char *, uint64_t max, uint64_t *);
/* A guest's bytes, fit for a sentence: quoted, short, ASCII. */
void printable(char *out, size_t n, const char *in, size_t len);

#endif
