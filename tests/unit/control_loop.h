/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control_loop.h: a loop of watches and tasks that a test turns by hand, and a
 * client of the socket that never blocks.  Enough for the control socket.
 */
#ifndef TESTS_UNIT_CONTROL_LOOP_H
#define TESTS_UNIT_CONTROL_LOOP_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/control.h"
#include "tests/test.h"

enum { TEST_WATCHES = 512 };

static struct blk_watch *test_watch[TEST_WATCHES];
static uint64_t test_now;

static uint64_t
test_loop_now(struct loop *loop)
{
    (void)loop;
    return test_now;
}

static void
test_loop_watch(struct loop *loop, struct blk_watch *w)
{
    unsigned i;

    (void)loop;
    for (i = 0; i < TEST_WATCHES; i++) {
        if (!test_watch[i]) {
            test_watch[i] = w;
            return;
        }
    }
    test_fail(__FILE__, __LINE__, "too many watches");
}

static void
test_loop_unwatch(struct loop *loop, struct blk_watch *w)
{
    unsigned i;

    (void)loop;
    for (i = 0; i < TEST_WATCHES; i++) {
        if (test_watch[i] == w) {
            test_watch[i] = NULL;
            return;
        }
    }
    test_fail(__FILE__, __LINE__, "a watch was stopped that had not begun");
}

static void
test_loop_wake(struct loop *loop)
{
    (void)loop;
}

static const struct loop_ops test_loop_ops = { .now = test_loop_now,
                                               .watch_start = test_loop_watch,
                                               .watch_stop = test_loop_unwatch,
                                               .wake = test_loop_wake };
static struct loop test_loop;

__attribute__((unused)) static unsigned
test_watches(void)
{
    unsigned i, n = 0;

    for (i = 0; i < TEST_WATCHES; i++)
        n += !!test_watch[i];
    return n;
}

/* Rounds until nothing is ready; false if it never ends. */
__attribute__((unused)) static bool
test_turn(void)
{
    int round;

    for (round = 0; round < 100000; round++) {
        bool any = false;
        unsigned i;

        loop_round(&test_loop);
        for (i = 0; i < TEST_WATCHES; i++) {
            struct blk_watch *w = test_watch[i];
            struct pollfd p;

            if (!w)
                continue;
            p = (struct pollfd){ .fd = w->fd, .events = w->events };
            if (poll(&p, 1, 0) == 1) {
                any = true;
                w->ready(w, p.revents);
            }
        }
        if (!any)
            return true;
    }
    return false;
}

/* ---- the client ---------------------------------------------------------- */

struct test_client {
    int fd;
    char line[1 << 20];
    char text[1 << 20]; /* read, not taken */
    size_t len;
    int fds[64];
    unsigned n;
};

__attribute__((unused)) static bool
test_connect(struct test_client *c, const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    memset(c, 0, sizeof(*c));
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    return !connect(c->fd, (struct sockaddr *)&addr, sizeof(addr));
}

__attribute__((unused)) static void
test_put(struct test_client *c, const void *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n =
            send(c->fd, (const char *)text + at, len - at, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            REQUIRE(test_turn());
            continue;
        }
        if (n < 0)
            return;
        at += (size_t)n;
    }
    REQUIRE(test_turn());
}

__attribute__((unused)) static void
test_say(struct test_client *c, const char *text)
{
    test_put(c, text, strlen(text));
}

static ssize_t
test_receive(struct test_client *c)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(c->fds))];
    } u;
    struct iovec iov = { c->text + c->len, sizeof(c->text) - c->len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = u.room,
                          .msg_controllen = sizeof(u.room) };
    struct cmsghdr *head;
    ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);

    if (n <= 0)
        return n;
    for (head = CMSG_FIRSTHDR(&msg); head; head = CMSG_NXTHDR(&msg, head)) {
        c->n = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(c->fds, CMSG_DATA(head), c->n * sizeof(int));
    }
    c->len += (size_t)n;
    return n;
}

/* The next line, without its end; NULL: none has come, or the daemon hung up
 * (then text is empty and closed is true). */
__attribute__((unused)) static const char *
test_line(struct test_client *c)
{
    char *end;

    REQUIRE(test_turn());
    while (!(end = memchr(c->text, '\n', c->len))) {
        if (test_receive(c) <= 0)
            return NULL;
        REQUIRE(test_turn());
    }
    *end = '\0';
    strcpy(c->line, c->text);
    c->len -= (size_t)(end - c->text) + 1;
    memmove(c->text, end + 1, c->len);
    return c->line;
}

__attribute__((unused)) static bool
test_hung_up(struct test_client *c)
{
    REQUIRE(test_turn());
    return test_receive(c) == 0;
}

#endif
