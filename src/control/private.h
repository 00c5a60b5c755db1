/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * private.h: what the files of this folder share.
 *
 *   server.c    the listening socket: who may come in
 *   client.c    one connection: bytes to lines, lines to bytes
 *   parse.c     a line to a command's name and arguments
 *   command.c   commands by name, calls and their answers
 *   events.c    the last events, and who follows them
 *   near.c      "did you mean"
 */
#ifndef CONTROL_PRIVATE_H
#define CONTROL_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/control.h"

enum {
    CONTROL_LINE_MAX = 64 * 1024,
    CONTROL_BACKLOG_MAX = 4 * 1024 * 1024,
    CONTROL_CLIENTS_MAX = 64, /* local front-ends are not counted */
    CONTROL_ARGS_MAX = 64,
    CONTROL_DEPTH_MAX = 8,
    CONTROL_FDS_MAX = 64,
    CONTROL_EVENTS = 256
};

/* What could not be sent at once. */
struct control_chunk {
    struct control_chunk *next;
    size_t len, sent;
    char text[];
};

/* A connection.  Closing it only marks it dead; task then tells who waits for
 * the hangup and frees it, so that no caller finds it gone under its feet.  It
 * outlives the call that is not answered yet. */
struct control_client {
    struct control_client *next, **link;
    struct control *control;
    struct blk_watch watch;
    struct loop_task task;
    int fd, pid;
    bool dead, eof, follows;
    bool oversize; /* of the line that is coming: skip to its end */
    char *in;      /* NULL when nothing is buffered */
    size_t in_at, in_len, in_size; /* up to in_at was taken */
    struct control_chunk *out, **out_tail;
    size_t out_len;
    struct control_call *call; /* the one that is not answered yet */
    void (*hangup)(void *);    /* with a call answered */
    void *hangup_data;
};

/* A call's line lives until it is answered: argv points into it. */
struct control_call {
    struct control_client *client; /* NULL: after control_close() */
    struct json_object *line;
    const char *argv[CONTROL_ARGS_MAX + 1];
    int argc;
    void (*hangup)(void *);
    void *hangup_data;
};

struct control_command {
    const char *name, *usage, *help;
    int min, max;
    control_fn *fn;
    void *ctx;
};

struct control {
    struct loop *loop;
    char *path;
    int fd;
    struct blk_watch watch;
    struct control_client *client;
    unsigned clients, fronts; /* fronts: those with a hangup */
    struct control_command *command;
    unsigned commands;
    struct json_object *event[CONTROL_EVENTS];
    uint64_t events; /* ever; the last is event[(events - 1) % size] */
};

/* ---- client.c */
struct control_client *client_new(struct control *, int fd);
/* Queue a line; a client that does not read is closed. */
void client_send(struct control_client *, struct json_object *);
/* With descriptors: goes out now, or the client is closed. */
void client_send_fds(struct control_client *, struct json_object *,
                     const int *fds, unsigned n);
/* The call was answered: go on with the next line. */
void client_next(struct control_client *);
void client_close(struct control_client *);
void client_free(struct control_client *);

/* ---- parse.c: 0, or -EINVAL with a sentence in why. */
struct control_line {
    struct json_object *root; /* owner of the rest; to be put */
    const char *name;
    const char *argv[CONTROL_ARGS_MAX + 1]; /* NULL-ended */
    int argc;
};
int control_parse(struct control_line *, const char *text, size_t len,
                  char *why, size_t n);

/* ---- command.c */
void command_line(struct control_client *, const char *text, size_t len);
void command_refuse(struct control_client *, const char *why);
void commands_free(struct control *);

/* ---- events.c */
void events_init(struct control *);
void events_free(struct control *);

#endif
