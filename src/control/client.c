/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * client.c: one connection to the control socket.
 *
 * Lines are taken one at a time: while a call is not answered, what comes
 * next waits in the buffer, and beyond one line in the socket.  A client that
 * closed only its own direction still gets its answers; one that follows
 * events, or holds a front-end, has hung up by that.
 */
#include "config.h"

#include "control/private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void client_ready(struct blk_watch *, short events);
static void client_turn(struct loop_task *);

struct control_client *
client_new(struct control *control, int fd)
{
    struct control_client *c = calloc(1, sizeof(*c));
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (!c) {
        return NULL;
    }
    c->control = control;
    c->fd = fd;
    if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
        c->pid = cred.pid;
    }
    c->out_tail = &c->out;
    c->task.run = client_turn;
    c->next = control->client;
    c->link = &control->client;
    if (c->next) {
        c->next->link = &c->next;
    }
    control->client = c;
    control->clients++;
    c->watch = (struct blk_watch){
        .fd = fd, .events = POLLIN, .ready = client_ready, .data = c
    };
    control->loop->ops->watch_start(control->loop, &c->watch);
    return c;
}

static void
client_later(struct control_client *c)
{
    loop_defer(c->control->loop, &c->task, STAGE_CHAIN);
}

/* ---- the end ------------------------------------------------------------- */

void
client_close(struct control_client *c)
{
    struct loop *loop = c->control->loop;

    if (c->dead) {
        return;
    }
    c->dead = true;
    if (c->watch.events) {
        loop->ops->watch_stop(loop, &c->watch);
    }
    close(c->fd);
    client_later(c);
}

void
client_free(struct control_client *c)
{
    struct control *control = c->control;

    client_close(c);
    loop_undefer(control->loop, &c->task, STAGE_CHAIN);
    *c->link = c->next;
    if (c->next) {
        c->next->link = c->link;
    }
    control->clients--;
    if (c->call) {
        c->call->client = NULL;
    }
    if (c->hangup) {
        control->fronts--;
        c->hangup(c->hangup_data);
    }
    while (c->out) {
        struct control_chunk *chunk = c->out;

        c->out = chunk->next;
        free(chunk);
    }
    free(c->in);
    free(c);
}

/* ---- lines in ------------------------------------------------------------ */

/* Room for one line and its end; 0 when there is none now.  What was taken is
 * at the front, and is let go of at the end of a turn. */
static size_t
in_room(const struct control_client *c)
{
    return CONTROL_LINE_MAX + 1 - c->in_len;
}

static bool
in_grow(struct control_client *c)
{
    size_t size = c->in_size ? c->in_size * 2 : 4096;
    char *in;

    if (c->in_len < c->in_size) {
        return true;
    }
    size = size > CONTROL_LINE_MAX + 1 ? CONTROL_LINE_MAX + 1 : size;
    in = realloc(c->in, size);
    if (!in) {
        return false;
    }
    c->in = in;
    c->in_size = size;
    return true;
}

/* Lets go of the lines that were taken; an idle connection holds no buffer. */
static void
in_shrink(struct control_client *c)
{
    if (c->in_at) {
        c->in_len -= c->in_at;
        memmove(c->in, c->in + c->in_at, c->in_len);
        c->in_at = 0;
    }
    if (!c->in_len) {
        free(c->in);
        c->in = NULL;
        c->in_size = 0;
    }
}

/* Closed for good, and not only in the client's own direction. */
static bool
client_gone(const struct control_client *c)
{
    struct pollfd p = { .fd = c->fd };

    if (c->follows || c->hangup) {
        return true;
    }
    return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
}

static void
client_read(struct control_client *c)
{
    ssize_t n;

    if (!in_room(c) || c->eof) {
        return;
    }
    if (!in_grow(c)) {
        client_close(c);
        return;
    }
    n = read(c->fd, c->in + c->in_len, c->in_size - c->in_len);
    if (n > 0) {
        c->in_len += (size_t)n;
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    c->eof = true;
    if (n < 0 || client_gone(c)) {
        client_close(c);
    }
}

/* The buffer holds no end of a line: if it is full, the line is too long, and
 * is skipped as it comes. */
static void
line_partial(struct control_client *c)
{
    if (!c->in_at && !in_room(c)) {
        c->oversize = true;
    }
    if (c->oversize) {
        c->in_len = c->in_at;
    }
}

/* Takes one line off the buffer; false: none is complete. */
static bool
line_take(struct control_client *c)
{
    size_t left = c->in_len - c->in_at;
    char *line = left ? c->in + c->in_at : NULL;
    char *end = left ? memchr(line, '\n', left) : NULL;

    if (!end) {
        line_partial(c);
        return false;
    }
    c->in_at += (size_t)(end - line) + 1;
    if (c->oversize) {
        c->oversize = false;
        command_refuse(c, "a line is longer than 64 KiB");
    } else {
        command_line(c, line, (size_t)(end - line));
    }
    return true;
}

/* ---- bytes out ----------------------------------------------------------- */

static void
out_write(struct control_client *c)
{
    while (c->out && !c->dead) {
        struct control_chunk *chunk = c->out;
        ssize_t n = send(c->fd, chunk->text + chunk->sent,
                         chunk->len - chunk->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n < 0) {
            client_close(c);
            return;
        }
        chunk->sent += (size_t)n;
        c->out_len -= (size_t)n;
        if (chunk->sent == chunk->len) {
            c->out = chunk->next;
            if (!c->out) {
                c->out_tail = &c->out;
            }
            free(chunk);
        }
    }
}

static struct control_chunk *
chunk_new(struct json_object *line)
{
    struct control_chunk *chunk;
    size_t len;
    const char *text = json_object_to_json_string_length(
        line, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

    chunk = text ? malloc(sizeof(*chunk) + len + 1) : NULL;
    if (!chunk) {
        return NULL;
    }
    chunk->next = NULL;
    chunk->len = len + 1;
    chunk->sent = 0;
    memcpy(chunk->text, text, len);
    chunk->text[len] = '\n';
    return chunk;
}

static void
out_append(struct control_client *c, struct control_chunk *chunk)
{
    *c->out_tail = chunk;
    c->out_tail = &chunk->next;
    c->out_len += chunk->len - chunk->sent;
}

void
client_send(struct control_client *c, struct json_object *line)
{
    struct control_chunk *chunk;

    if (c->dead) {
        return;
    }
    chunk = chunk_new(line);
    if (!chunk) {
        client_close(c);
        return;
    }
    out_append(c, chunk);
    out_write(c);
    if (c->out_len > CONTROL_BACKLOG_MAX) {
        client_close(c);
    }
    client_later(c);
}

/* The first byte of the line carries all descriptors. */
static ssize_t
fds_send(int to, struct control_chunk *chunk, const int *fds, unsigned n)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
    } u;
    struct iovec iov = { chunk->text, chunk->len };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = u.room,
                          .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
    struct cmsghdr *head;

    memset(&u, 0, sizeof(u));
    head = CMSG_FIRSTHDR(&msg);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(head), fds, n * sizeof(int));
    return sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
client_send_fds(struct control_client *c, struct json_object *line,
                const int *fds, unsigned n)
{
    struct control_chunk *chunk;
    ssize_t sent = -1;

    if (c->dead) {
        return;
    }
    chunk = chunk_new(line);
    /* The descriptors are the caller's and closed soon: they can't wait for
     * a client that does not read what it was sent before. */
    if (chunk && !c->out && n && n <= CONTROL_FDS_MAX) {
        sent = fds_send(c->fd, chunk, fds, n);
    }
    if (sent < 0) {
        free(chunk);
        client_close(c);
        return;
    }
    chunk->sent = (size_t)sent;
    if (chunk->sent == chunk->len) {
        free(chunk);
    } else {
        out_append(c, chunk);
    }
    client_later(c);
}

/* ---- turns --------------------------------------------------------------- */

/* Wait for what can be gone on with, and for nothing else. */
static void
client_watch(struct control_client *c)
{
    struct loop *loop = c->control->loop;
    short events = 0;

    if (!c->eof && in_room(c)) {
        events |= POLLIN;
    }
    if (c->out) {
        events |= POLLOUT;
    }
    if (events == c->watch.events) {
        return;
    }
    if (c->watch.events) {
        loop->ops->watch_stop(loop, &c->watch);
    }
    c->watch.events = events;
    if (events) {
        loop->ops->watch_start(loop, &c->watch);
    }
}

/* The backlog of a client that asks and does not read must not grow. */
static bool
client_hears(const struct control_client *c)
{
    return !c->call && !c->dead && !c->out;
}

static void
client_turn(struct loop_task *task)
{
    struct control_client *c =
        (struct control_client *)((char *)task -
                                  offsetof(struct control_client, task));

    while (client_hears(c) && line_take(c)) {
        ;
    }
    if (!c->dead && c->eof && client_hears(c)) {
        client_close(c);
    }
    if (!c->dead) {
        in_shrink(c);
        client_watch(c);
    } else if (!c->call) {
        client_free(c);
    }
}

static void
client_ready(struct blk_watch *watch, short events)
{
    struct control_client *c = watch->data;

    if (events & POLLOUT) {
        out_write(c);
    }
    if (!c->dead && events & ~POLLOUT) {
        client_read(c);
    }
    client_later(c);
}

void
client_next(struct control_client *c)
{
    c->call = NULL;
    client_later(c);
}
