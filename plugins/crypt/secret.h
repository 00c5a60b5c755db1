/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * secret.h: memory for keys: it is never swapped out, it is in no core dump,
 * and it is wiped before it goes.
 *
 * libcrypto keeps the expanded key in memory of its own, where whoever reads a
 * core dump would find it.  So it gets its memory from here while a thread says
 * so; all else that it wants comes from malloc() as ever.
 *
 * Threads: any.
 */
#ifndef PLUGINS_CRYPT_SECRET_H
#define PLUGINS_CRYPT_SECRET_H

#include <stddef.h>

/* Zeroed; whole pages are taken.  NULL and errno: ENOMEM also when there is
 * more of it than may be locked (RLIMIT_MEMLOCK). */
void *secret_map(size_t n);
void secret_unmap(void *, size_t n); /* NULL: nothing */

/* What libcrypto allocates on this thread in between is secret; as long as
 * it lives, and whoever frees it.  Not nested. */
void secret_begin(void);
void secret_end(void);
/* 0, or -errno: libcrypto was used in this process before we were loaded, and
 * can't be told any more. */
int secret_works(void);

#endif
