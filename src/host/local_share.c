/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * local_share.c: what a local front-end and its tap have in common: pages in
 * one sealed memfd, and two eventfds for each queue.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/host.h"

enum { PAGE = 4096 };

static void
clear(struct local_share *s)
{
    memset(s, 0, sizeof *s);
    s->memfd = -1;
    for (unsigned i = 0; i < LOCAL_QUEUES_MAX; i++)
        s->to_back[i] = s->to_front[i] = -1;
}

int
local_share_make(struct local_share *s, uint32_t pages, uint32_t queues)
{
    size_t len = (size_t)pages * PAGE;
    void *addr;
    int err;

    clear(s);
    if (!pages || !queues || queues > LOCAL_QUEUES_MAX)
        return -EINVAL;
    err = host_memory("blktap-share", len, &addr, &s->memfd);
    if (err)
        return err;
    host_memory_free(addr, len, -1);
    s->pages = pages;
    for (s->queues = 0; s->queues < queues; s->queues++) {
        unsigned q = s->queues;

        s->to_back[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        s->to_front[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->to_back[q] < 0 || s->to_front[q] < 0)
            goto fail;
    }
    return 0;
fail:
    err = -errno;
    local_share_close(s);
    return err;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void
local_share_close(struct local_share *s)
{
    close_fd(&s->memfd);
    for (unsigned i = 0; i < LOCAL_QUEUES_MAX; i++) {
        close_fd(&s->to_back[i]);
        close_fd(&s->to_front[i]);
    }
    clear(s);
}

static int
dup_fd(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int
local_share_dup(struct local_share *to, const struct local_share *from)
{
    int err;

    clear(to);
    to->pages = from->pages;
    to->queues = from->queues;
    to->memfd = dup_fd(from->memfd);
    if (to->memfd < 0)
        goto fail;
    for (unsigned i = 0; i < from->queues; i++) {
        to->to_back[i] = dup_fd(from->to_back[i]);
        to->to_front[i] = dup_fd(from->to_front[i]);
        if (to->to_back[i] < 0 || to->to_front[i] < 0)
            goto fail;
    }
    return 0;
fail:
    err = -errno;
    local_share_close(to);
    return err;
}
