/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * server.c: the listening socket.
 *
 * The socket's mode is 0660 before it has a name, so that nobody else comes
 * in between.  A file that is left of a daemon that was killed is replaced;
 * one that somebody answers on is not.
 */
#include "config.h"

#include "control/private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 64 };

static int
address_make(struct sockaddr_un *addr, const char *path, char *why, size_t n)
{
    *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (!*path || strlen(path) >= sizeof(addr->sun_path)) {
        snprintf(why, n,
                 "control socket: expected a path of 1 to %zu bytes, found "
                 "%zu: \"%.40s\"",
                 sizeof(addr->sun_path) - 1, strlen(path), path);
        return -EINVAL;
    }
    strcpy(addr->sun_path, path);
    return 0;
}

/* Removes a socket that nobody listens on. */
static int
stale_remove(const struct sockaddr_un *addr, char *why, size_t n)
{
    const char *path = addr->sun_path;
    struct stat st;
    int fd, rc;

    if (lstat(path, &st)) {
        return 0;
    }
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(why, n, "control socket: %s is there and is not a socket",
                 path);
        return -EEXIST;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        rc = -errno;
        snprintf(why, n, "control socket: %s", strerror(-rc));
        return rc;
    }
    rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
    close(fd);
    if (rc == -ECONNREFUSED) {
        unlink(path);
        return 0;
    }
    if (rc == -ENOENT) {
        return 0;
    }
    snprintf(why, n, "control socket: another daemon answers on %s", path);
    return -EADDRINUSE;
}

static int
listen_at(const char *path, char *why, size_t n)
{
    struct sockaddr_un addr;
    int fd = -1, rc;

    rc = address_make(&addr, path, why, n);
    if (!rc) {
        rc = stale_remove(&addr, why, n);
    }
    if (rc) {
        return rc;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fchmod(fd, 0660) ||
        bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0660) ||
        listen(fd, 128)) {
        rc = -errno;
        snprintf(why, n, "control socket: can't listen on %s: %s", path,
                 strerror(-rc));
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    return fd;
}

static void
client_refuse(int fd)
{
    static const char text[] = "{\"error\":\"64 clients are connected to the "
                               "daemon, and it takes no more\"}\n";

    if (send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        /* It will see that it was hung up on. */
    }
    close(fd);
}

static void
server_ready(struct blk_watch *watch, short events)
{
    struct control *control = watch->data;
    int i;

    (void)events;
    for (i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            return;
        }
        if (control->clients - control->fronts >= CONTROL_CLIENTS_MAX ||
            !client_new(control, fd)) {
            client_refuse(fd);
        }
    }
}

int
control_open(struct control **to, struct loop *loop, const char *path,
             char *why, size_t n)
{
    struct control *control = calloc(1, sizeof(*control));
    int rc;

    *to = NULL;
    if (!control || !(control->path = strdup(path))) {
        free(control);
        snprintf(why, n, "out of memory");
        return -ENOMEM;
    }
    rc = listen_at(path, why, n);
    if (rc < 0) {
        free(control->path);
        free(control);
        return rc;
    }
    control->loop = loop;
    control->fd = rc;
    control->watch = (struct blk_watch){
        .fd = rc, .events = POLLIN, .ready = server_ready, .data = control
    };
    loop->ops->watch_start(loop, &control->watch);
    events_init(control);
    *to = control;
    return 0;
}

void
control_close(struct control *control)
{
    if (!control) {
        return;
    }
    control->loop->ops->watch_stop(control->loop, &control->watch);
    close(control->fd);
    unlink(control->path);
    while (control->client) {
        client_free(control->client);
    }
    commands_free(control);
    events_free(control);
    free(control->path);
    free(control);
}
