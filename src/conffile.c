/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conffile.c: the daemon's own files of configuration; see conffile.h. */
#include "config.h"

#include "conffile.h"
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host.h"

enum { NEXT_PATH = CONFFILE_PATH + 8 };

void
conffile_path(char path[CONFFILE_PATH], const char *conf_path,
              const char *variable, const char *dir, const char *name)
{
    const char *given = getenv(variable);
    int n;

    path[0] = '\0';
    if (!given && strcmp(conf_path, BLKTAPD_SYSCONFDIR "/blktapd.conf"))
        return;
    if (given)
        dir = given;
    /* A unit may have several: the first is ours. */
    n = snprintf(path, CONFFILE_PATH, "%.*s/%s", (int)strcspn(dir, ":"), dir,
                 name);
    if (path[0] != '/' || n >= CONFFILE_PATH)
        path[0] = '\0';
}

static void
next_path(char next[NEXT_PATH], const char *path)
{
    snprintf(next, NEXT_PATH, "%s.new", path);
}

/* 0 or -errno; the file is closed. */
static int
write_out(int fd, const char *head, const struct conf *conf,
          void (*print)(const struct conf *, FILE *))
{
    FILE *f = fdopen(fd, "w");
    int rc = 0;

    if (!f) {
        close(fd);
        return -ENOMEM;
    }
    fputs(head, f);
    print(conf, f);
    if (fflush(f) || fsync(fd))
        rc = -errno;
    fclose(f); /* says nothing new after fsync() */
    return rc;
}

int
conffile_prepare(const char *path, const char *head, const struct conf *conf,
                 void (*print)(const struct conf *, FILE *))
{
    char next[NEXT_PATH];
    int fd, rc;

    next_path(next, path);
    unlink(next); /* of one that was killed here */
    fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    rc = write_out(fd, head, conf, print);
    if (rc)
        unlink(next);
    return rc;
}

int
conffile_commit(const char *path)
{
    char next[NEXT_PATH];
    int rc = 0;

    next_path(next, path);
    if (rename(next, path)) {
        rc = -errno;
        unlink(next);
    }
    return rc ? rc : folder_sync(path);
}

void
conffile_cancel(const char *path)
{
    char next[NEXT_PATH];

    next_path(next, path);
    unlink(next);
}

int
conffile_drop(const char *path)
{
    int rc = 0;

    if (!path[0])
        return 0;
    if (!unlink(path))
        return folder_sync(path);
    if (errno != ENOENT) {
        rc = -errno;
        log_line(BLK_WARN, NULL, "%s: can't be removed: %s", path,
                 strerror(-rc));
    }
    return rc;
}

int
conffile_ours(const char *path, char *why, size_t n)
{
    struct stat st;
    int rc;

    why[0] = '\0';
    if (!path[0])
        return 0;
    rc = lstat(path, &st) ? -errno : 0;
    if (rc == -ENOENT)
        return 0;
    if (!rc && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        !(st.st_mode & (S_IWGRP | S_IWOTH)))
        return 1;
    snprintf(why, n,
             "%s: expected a file of our own that nobody else may write, "
             "found another\n",
             path);
    return -EPERM;
}
