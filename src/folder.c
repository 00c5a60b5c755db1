/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* folder.c: see folder.h. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "folder.h"

int
folder_sync(const char *path)
{
    char dir[PATH_MAX];
    int fd, rc;

    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fsync(fd) ? -errno : 0;
    close(fd);
    return rc;
}

/* Root's, made just now or by an earlier start: the user's from here on. */
static int
give_away(int dir, const char *user)
{
    struct passwd *pw;
    struct stat st;

    if (geteuid() || !user || fstat(dir, &st) || st.st_uid)
        return 0;
    pw = getpwnam(user);
    if (!pw)
        return 0; /* privileges_drop() says it */
    return fchown(dir, pw->pw_uid, pw->pw_gid) ? -errno : 0;
}

int
folder_make(const char *path, const char *user, int *dir)
{
    int rc;

    *dir = -1;
    if (mkdir(path, 0700) && errno != EEXIST)
        return -errno;
    *dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*dir < 0)
        return -errno;
    rc = give_away(*dir, user);
    if (rc) {
        close(*dir);
        *dir = -1;
    }
    return rc;
}

bool
folder_is_ours(int dir)
{
    struct stat st;

    return !fstat(dir, &st) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

bool
folder_is_volatile(int dir)
{
    struct statfs st;

    return !fstatfs(dir, &st) &&
           (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC);
}
