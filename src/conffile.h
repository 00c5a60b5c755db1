/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * conffile.h: configurations that the daemon writes down for itself: files
 * that follow in one step, and that only it can have written.
 */
#ifndef CONFFILE_H
#define CONFFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum { CONFFILE_PATH = 256 };

/* A file of this name in the folder that the service manager gives us (the
 * variable says where) or, for the system's own configuration, in dir; "":
 * nothing is kept. */
void conffile_path(char path[CONFFILE_PATH], const char *conf_path,
                   const char *variable, const char *dir, const char *name);
/* The next file, beside the one that is in force: all of it is on the medium.
 * 0 or -errno. */
int conffile_prepare(const char *path, const char *head, const struct conf *,
                     void (*print)(const struct conf *, FILE *));
/* It takes the other's place, for good.  0 or -errno. */
int conffile_commit(const char *path);
/* The next one is not wanted. */
void conffile_cancel(const char *path);
/* No file is left, for good.  0, or -errno: it may be there again after a
 * crash. */
int conffile_drop(const char *path);
/* 1: a file that nobody but us can have written; 0: there is none; -EPERM, with
 * a line in why: another. */
int conffile_ours(const char *path, char *why, size_t n);

#endif
