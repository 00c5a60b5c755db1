/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wire.c: lines of JSON, and descriptors, to and from the daemon.
 */
#include "config.h"

#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 << 20 };

void
wire_why(char **why, const char *fmt, ...)
{
    va_list ap;

    if (!why) {
        return;
    }
    va_start(ap, fmt);
    if (vasprintf(why, fmt, ap) < 0) {
        *why = NULL;
    }
    va_end(ap);
}

int
wire_open(struct wire *w, const char *path, char **why)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int rc;

    memset(w, 0, sizeof(*w));
    w->fd = -1;
    path = path ? path : BLKTAPD_RUNDIR "/control";
    if (strlen(path) >= sizeof(addr.sun_path)) {
        wire_why(why, "the socket's path is longer than %zu bytes: %s",
                 sizeof(addr.sun_path) - 1, path);
        return -ENAMETOOLONG;
    }
    strcpy(addr.sun_path, path);
    w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&addr, sizeof(addr))) {
        rc = -errno;
        wire_why(why, "can't reach the daemon on %s: %s%s", path, strerror(-rc),
                 rc == -ENOENT || rc == -ECONNREFUSED ? " (is blktapd running?)"
                                                      : "");
        wire_close(w);
        return rc;
    }
    return 0;
}

void
wire_close(struct wire *w)
{
    while (w->n) {
        close(w->fds[--w->n]);
    }
    if (w->fd >= 0) {
        close(w->fd);
    }
    w->fd = -1;
    free(w->text);
    w->text = NULL;
    w->len = w->size = 0;
}

/* ---- in ------------------------------------------------------------------ */

static void
fds_take(struct wire *w, struct msghdr *msg)
{
    struct cmsghdr *head;

    for (head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
        size_t i, n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
            if (w->n < WIRE_FDS_MAX) {
                w->fds[w->n++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

static int
text_grow(struct wire *w)
{
    size_t size = w->size ? w->size * 2 : 4096;
    char *text;

    if (w->len < w->size) {
        return 0;
    }
    text = size > LINE_MAX_BYTES ? NULL : realloc(w->text, size);
    if (!text) {
        return -ENOMEM;
    }
    w->text = text;
    w->size = size;
    return 0;
}

/* More text; what the daemon said before it hung up is not lost. */
static int
text_read(struct wire *w, char **why)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
    } u;
    struct iovec iov;
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = u.room,
                          .msg_controllen = sizeof(u.room) };
    ssize_t n;

    if (text_grow(w)) {
        wire_why(why, "a line of the daemon is too long");
        return -ENOMEM;
    }
    iov = (struct iovec){ w->text + w->len, w->size - w->len };
    do {
        n = recvmsg(w->fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        int rc = n < 0 && errno != ECONNRESET ? -errno : -EPIPE;

        wire_why(why, "the daemon hung up%s%s", rc == -EPIPE ? "" : ": ",
                 rc == -EPIPE ? "" : strerror(-rc));
        return rc;
    }
    fds_take(w, &msg);
    w->len += (size_t)n;
    return 0;
}

static int
line_parse(const char *text, size_t len, struct json_object **line)
{
    struct json_tokener *tok = json_tokener_new();

    if (!tok) {
        return -ENOMEM;
    }
    *line = json_tokener_parse_ex(tok, text, (int)len);
    if (json_tokener_get_error(tok) != json_tokener_success ||
        !json_object_is_type(*line, json_type_object)) {
        json_object_put(*line);
        *line = NULL;
    }
    json_tokener_free(tok);
    return *line ? 0 : -EPROTO;
}

int
wire_line(struct wire *w, struct json_object **line, char **why)
{
    size_t seen = 0, len;
    char *end;
    int rc;

    *line = NULL;
    while (!(end = w->len > seen ? memchr(w->text + seen, '\n', w->len - seen)
                                 : NULL)) {
        seen = w->len;
        rc = text_read(w, why);
        if (rc) {
            return rc;
        }
    }
    len = (size_t)(end - w->text) + 1;
    rc = line_parse(w->text, len, line);
    if (rc) {
        wire_why(why, "the daemon's answer is not a JSON object");
    }
    w->len -= len;
    memmove(w->text, w->text + len, w->len);
    return rc;
}

/* ---- out ----------------------------------------------------------------- */

static int
text_send(struct wire *w, const char *text, size_t len, char **why)
{
    while (len) {
        ssize_t n = send(w->fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            int rc = -errno;

            wire_why(why, "can't write to the daemon: %s", strerror(-rc));
            return rc;
        }
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

static int
call_send(struct wire *w, const char *command, const char *const *argv,
          int argc, char **why)
{
    struct json_object *o = json_object_new_object();
    struct json_object *args = json_object_new_array();
    char *text;
    int i, rc;

    json_object_object_add(o, "command", json_object_new_string(command));
    json_object_object_add(o, "args", args);
    for (i = 0; i < argc; i++) {
        json_object_array_add(args, json_object_new_string(argv[i]));
    }
    rc = asprintf(&text, "%s\n",
                  json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
    json_object_put(o);
    if (rc < 0) {
        wire_why(why, "out of memory");
        return -ENOMEM;
    }
    rc = text_send(w, text, strlen(text), why);
    free(text);
    return rc;
}

/* {"result": R} -> R; {"error": sentence} -> why. */
static int
answer_split(struct json_object *line, struct json_object **result, char **why)
{
    struct json_object *error;

    if (json_object_object_get_ex(line, "result", result)) {
        *result = json_object_get(*result);
        return 0;
    }
    if (json_object_object_get_ex(line, "error", &error)) {
        wire_why(why, "%s", json_object_get_string(error));
        return -EREMOTEIO;
    }
    wire_why(why, "the daemon's answer has neither a result nor an error");
    return -EPROTO;
}

int
wire_call(struct wire *w, const char *command, const char *const *argv,
          int argc, struct json_object **result, char **why)
{
    struct json_object *line = NULL;
    int rc;

    *result = NULL;
    rc = call_send(w, command, argv, argc, why);
    if (rc == -EPIPE) {
        /* It may have said why before it hung up. */
        if (why) {
            free(*why);
            *why = NULL;
        }
        rc = 0;
    }
    if (!rc) {
        rc = wire_line(w, &line, why);
    }
    if (!rc) {
        rc = answer_split(line, result, why);
    }
    json_object_put(line);
    return rc;
}
