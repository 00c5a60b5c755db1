/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * secret.h: libcrypto keeps the expanded key in memory of its own, where
 * whoever reads a core dump would find it.  So it gets its memory from the
 * daemon (blk_secret_malloc()) while a thread says so; all else that it wants
 * comes from malloc() as ever.
 *
 * Threads: any.
 */
#ifndef PLUGINS_COMMON_SECRET_H
#define PLUGINS_COMMON_SECRET_H

/* What libcrypto allocates on this thread in between is secret; as long as
 * it lives, and whoever frees it.  Not nested. */
void secret_begin(void);
void secret_end(void);
/* 0, or -errno: libcrypto was used in this process before we were loaded, and
 * can't be told any more. */
int secret_works(void);

#endif
