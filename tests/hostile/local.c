/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * local.c: the back-end is blktapd on this machine, without Xen.  It makes the
 * shared memory and hands it over its control socket; a reference is the
 * number of a page, a port an eventfd.
 */
#include "hostile.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS = 1 + 2 * QUEUES };

struct local {
    int fd[FDS], socket;
    unsigned fds;
    uint8_t *memory;
    size_t size;
    uint32_t pages;
};

static int
dial(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One line, and the descriptors that came with it. */
static int
hear(struct local *l, char *text, size_t size)
{
    char control[CMSG_SPACE(sizeof(l->fd))];
    size_t n = 0;

    while (n + 1 < size && !memchr(text, '\n', n)) {
        struct iovec v = { text + n, size - 1 - n };
        struct msghdr m = { .msg_iov = &v,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control) };
        ssize_t got = recvmsg(l->socket, &m, MSG_CMSG_CLOEXEC);

        if (got <= 0)
            return -EPIPE;
        n += (size_t)got;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            size_t len = c->cmsg_len - CMSG_LEN(0);

            if (c->cmsg_type != SCM_RIGHTS || l->fds || len > sizeof(l->fd))
                continue;
            memcpy(l->fd, CMSG_DATA(c), len);
            l->fds = (unsigned)(len / sizeof(int));
        }
    }
    text[n] = 0;
    return 0;
}

static uint64_t
number(const char *text, const char *key)
{
    char want[40];
    const char *p;

    snprintf(want, sizeof(want), "\"%s\":", key);
    p = strstr(text, want);
    return p ? strtoull(p + strlen(want), NULL, 10) : 0;
}

static void
local_close(struct dev *d)
{
    struct local *l = d->private;

    if (!l)
        return;
    if (l->memory)
        munmap(l->memory, l->size);
    for (unsigned i = 0; i < l->fds; i++)
        close(l->fd[i]);
    close(l->socket);
    free(l);
    d->private = NULL;
}

static int
local_map(struct dev *d, struct local *l, const char *text)
{
    uint32_t first;

    d->got = (struct shape){ (unsigned)number(text, "queues"),
                             (unsigned)number(text, "ring_order"), ABI_64,
                             !!strstr(text, "\"readonly\":true") };
    d->indirect = (unsigned)number(text, "indirect");
    d->sectors = number(text, "size") / 512;
    d->readonly = d->got.readonly;
    l->pages = (uint32_t)number(text, "pages");
    first = d->got.queues << d->got.order;
    if (l->fds != 1 + 2 * d->got.queues || l->pages < first + PAGES)
        return -EPROTO;
    l->size = (size_t)l->pages * PAGE;
    l->memory =
        mmap(NULL, l->size, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd[0], 0);
    if (l->memory == MAP_FAILED) {
        l->memory = NULL;
        return -errno;
    }
    for (unsigned q = 0; q < d->got.queues; q++)
        d->ring[q] = l->memory + (size_t)PAGE * (q << d->got.order);
    for (unsigned i = 0; i < PAGES; i++) {
        d->ref[i] = first + i;
        d->page[i] = l->memory + (size_t)PAGE * (first + i);
    }
    front_reset(d);
    return 0;
}

/* One try: the daemon may not have seen yet that we hung up. */
static int
local_try(struct dev *d, const struct shape *s, char *text, size_t size)
{
    struct local *l = calloc(1, sizeof(*l));
    const char *path = getenv("BLKTAPD_SOCKET");
    int n, rc = -ENOMEM;

    if (!l)
        return rc;
    d->private = l;
    l->socket = dial(path ? path : "/run/blktapd/control");
    n = snprintf(text, size,
                 "{\"command\":\"front\",\"args\":[\"%s\",\"queues=%u\","
                 "\"ring-order=%u\",\"indirect=256\",\"name=hostile\"%s]}\n",
                 d->name, s->queues, s->order,
                 s->readonly ? ",\"readonly=yes\"" : "");
    if (l->socket < 0 || write(l->socket, text, (size_t)n) != n)
        rc = -ENOTCONN;
    else
        rc = hear(l, text, size);
    for (char *from = text, *to = text; !rc; from++) {
        if (*from != ' ')
            *to++ = *from;
        if (!*from)
            break;
    }
    if (!rc)
        rc = l->fds ? local_map(d, l, text) : -EBUSY;
    if (rc)
        local_close(d);
    return rc;
}

static int
local_open(struct dev *d, const struct shape *s)
{
    char text[2048] = "";
    uint64_t end = ms_now(d) + 100000;
    int rc;

    while ((rc = local_try(d, s, text, sizeof(text))) && ms_now(d) < end)
        usleep(2000);
    if (rc)
        fprintf(stderr, "hostile: %s: %s: %s\n", d->name, strerror(-rc), text);
    return rc;
}

static void
local_notify(struct dev *d, unsigned q)
{
    struct local *l = d->private;
    uint64_t one = 1;

    if (write(l->fd[1 + q], &one, 8) != 8 && errno != EAGAIN)
        perror("hostile: notify");
}

static void
local_wait(struct dev *d, unsigned ms)
{
    struct local *l = d->private;
    struct pollfd p[QUEUES];
    uint64_t count;

    for (unsigned q = 0; q < d->got.queues; q++)
        p[q] = (struct pollfd){ .fd = l->fd[1 + d->got.queues + q],
                                .events = POLLIN };
    if (poll(p, d->got.queues, (int)ms) <= 0)
        return;
    for (unsigned q = 0; q < d->got.queues; q++)
        if (p[q].revents && read(p[q].fd, &count, 8) < 0 && errno != EAGAIN)
            perror("hostile: wait");
}

static uint32_t
local_strange(struct dev *d, enum strange what)
{
    const struct local *l = d->private;

    return what == REF_REVOKED ? l->pages : 0;
}

const struct transport transport_local = {
    .name = "local",
    .threads = true,
    .open = local_open,
    .close = local_close,
    .notify = local_notify,
    .wait = local_wait,
    .strange = local_strange,
};
