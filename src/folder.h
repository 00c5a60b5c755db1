/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* folder.h: folders of the daemon's own, and names of files that must be there
 * after a power failure. */
#ifndef FOLDER_H
#define FOLDER_H

#include <stdbool.h>

/* The names in the folder of path, which is absolute, are on the medium: of
 * files that were made, renamed or removed there.  Any thread; waits for the
 * medium.  0 or -errno. */
int folder_sync(const char *path);
/* Makes the folder, or takes the one that is there; the descriptor is the
 * caller's.  Before privileges go: root's becomes user's (may be NULL).  0 or
 * -errno. */
int folder_make(const char *path, const char *user, int *dir);
/* It belongs to whom we are now, and nobody else can open it. */
bool folder_is_ours(int dir);
/* It is in memory: a tmpfs, as /run is. */
bool folder_is_volatile(int dir);

#endif
