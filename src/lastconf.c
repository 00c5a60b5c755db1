/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lastconf.c: the configuration that was in force last; see lastconf.h. */
#include "config.h"

#include "lastconf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host.h"

static const char head[] =
    "# Made by blktapd: the configuration that is in force, or was when it\n"
    "# ended.  Used at a restart when the files in " BLKTAPD_SYSCONFDIR
    " can't be read.\n";

void
lastconf_path(char path[LASTCONF_PATH], const char *conf_path, const char *name)
{
    const char *dir = getenv("RUNTIME_DIRECTORY");
    int n;

    path[0] = '\0';
    if (!dir && strcmp(conf_path, BLKTAPD_SYSCONFDIR "/blktapd.conf"))
        return;
    if (!dir)
        dir = BLKTAPD_RUNDIR;
    /* A unit may have several: the first is ours. */
    n = snprintf(path, LASTCONF_PATH, "%.*s/%s", (int)strcspn(dir, ":"), dir,
                 name);
    if (path[0] != '/' || n >= LASTCONF_PATH)
        path[0] = '\0';
}

/* 0 or -errno; the file is closed. */
static int
write_out(int fd, const struct conf *conf)
{
    FILE *f = fdopen(fd, "w");
    int rc = 0;

    if (!f) {
        close(fd);
        return -ENOMEM;
    }
    fputs(head, f);
    conf_print(conf, f);
    if (fflush(f) || fsync(fd))
        rc = -errno;
    fclose(f); /* says nothing new after fsync() */
    return rc;
}

static int
replace(const char *path, const struct conf *conf)
{
    char next[LASTCONF_PATH + 8];
    int fd, rc;

    snprintf(next, sizeof next, "%s.new", path);
    unlink(next); /* of one that was killed here */
    fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    rc = write_out(fd, conf);
    if (!rc && rename(next, path))
        rc = -errno;
    if (rc)
        unlink(next);
    return rc;
}

void
lastconf_save(const char *path, const struct conf *conf)
{
    int rc;

    if (!path[0])
        return;
    rc = replace(path, conf);
    if (!rc)
        return;
    log_line(BLK_WARN, NULL,
             "%s: the configuration in force can't be kept for a restart: %s",
             path, strerror(-rc));
    lastconf_drop(path);
}

struct conf *
lastconf_load(const char *path, char *errors, size_t n)
{
    struct stat st;

    errors[0] = '\0';
    if (!path[0] || (lstat(path, &st) && errno == ENOENT))
        return NULL;
    if (lstat(path, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & (S_IWGRP | S_IWOTH))) {
        snprintf(errors, n,
                 "%s: expected a file of our own that nobody else may write, "
                 "found another\n",
                 path);
        return NULL;
    }
    return conf_load(path, NULL, errors, n);
}

void
lastconf_drop(const char *path)
{
    if (path[0] && unlink(path) && errno != ENOENT)
        log_line(BLK_WARN, NULL, "%s: can't be removed: %s", path,
                 strerror(errno));
}
