/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenstore.h: XenStore by the kernel's device, without a library.  One
 * question at a time.  Relative paths are this domain's.
 */
#ifndef HOSTILE_XENSTORE_H
#define HOSTILE_XENSTORE_H

#include <stddef.h>

/* A descriptor, or -errno. */
int xenstore_open(void);
/* Bytes of the value, which is NUL-terminated; or -errno. */
int xenstore_read(int fd, const char *path, char *value, size_t size);
int xenstore_write(int fd, const char *path, const char *value, size_t len);
int xenstore_rm(int fd, const char *path);

#endif
