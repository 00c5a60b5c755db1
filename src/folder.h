/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* folder.h: names of files that must be there after a power failure. */
#ifndef FOLDER_H
#define FOLDER_H

/* The names in the folder of path, which is absolute, are on the medium: of
 * files that were made, renamed or removed there.  Any thread; waits for the
 * medium.  0 or -errno. */
int folder_sync(const char *path);

#endif
