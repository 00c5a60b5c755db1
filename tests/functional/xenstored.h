/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenstored.h: a real xenstored for one test, in a directory of its own, with
 * the shim in the place of the hypervisor.  XENSTORED_SHIM is where that is.
 */
#ifndef TESTS_FUNCTIONAL_XENSTORED_H
#define TESTS_FUNCTIONAL_XENSTORED_H

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct xenstored {
    char dir[64], socket[96];
    pid_t pid;
};

/* Of any version that is installed; false: none is. */
static bool
xenstored_find(char *path, size_t n)
{
    glob_t g;
    bool found = !glob("/usr/lib/xen-*/bin/xenstored", 0, NULL, &g);

    if (found)
        snprintf(path, n, "%s", g.gl_pathv[g.gl_pathc - 1]);
    globfree(&g);
    return found;
}

static bool
xenstored_answers(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    ok = fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* The directory is made at the first start.  Sets XENSTORED_PATH, by which
 * libxenstore finds it. */
static bool
xenstored_start(struct xenstored *x)
{
    char binary[256];

    if (!xenstored_find(binary, sizeof binary))
        return false;
    if (!x->dir[0]) {
        snprintf(x->dir, sizeof x->dir, "/tmp/xenstored.XXXXXX");
        if (!mkdtemp(x->dir))
            return false;
        snprintf(x->socket, sizeof x->socket, "%s/socket", x->dir);
        setenv("XENSTORED_PATH", x->socket, 1);
    }
    unlink(x->socket);
    x->pid = fork();
    if (!x->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("LD_PRELOAD", XENSTORED_SHIM, 1);
        setenv("XENSTORED_RUNDIR", x->dir, 1);
        unsetenv("XENSTORED_PATH");
        execl(binary, "xenstored", "-N", "-I", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 6000 && !xenstored_answers(x->socket); i++)
        usleep(10000);
    return xenstored_answers(x->socket);
}

static void
xenstored_kill(struct xenstored *x)
{
    kill(x->pid, SIGKILL);
    waitpid(x->pid, NULL, 0);
    x->pid = 0;
}

static void
xenstored_remove(struct xenstored *x)
{
    char cmd[96];

    if (x->pid)
        xenstored_kill(x);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", x->dir);
    if (x->dir[0] && system(cmd))
        perror(cmd);
}

#endif
