/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.h: the control socket: commands registered by name, events.
 *
 * Wire: a unix stream socket; one JSON object a line each way.  Request:
 *   {"command": NAME, "args": [STRING, ...]}
 * Reply:
 *   {"result": ANY}                 or   {"error": "one sentence"}
 * A command that streams (events -f) sends {"event": {...}} lines until the
 * client closes.  A reply may carry file descriptors (SCM_RIGHTS).
 *
 * Threads: the control loop only.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <json-c/json.h>

#include "host/host.h"

struct control;
struct control_call;   /* one request, until it is answered */
struct control_client; /* one connection */

typedef void control_fn(void *ctx, struct control_call *, int argc,
                        const char *const *argv);

int control_open(struct control **, struct loop *, const char *path, char *why,
                 size_t n);
void control_close(struct control *);
/* min/max: of args; max -1: any.  usage and help: one line each. */
void control_register(struct control *, const char *name, const char *usage,
                      int min, int max, const char *help, control_fn *,
                      void *ctx);
/* Each call is answered exactly once, now or later; takes over result. */
void control_answer(struct control_call *, struct json_object *result);
void control_answer_fds(struct control_call *, struct json_object *result,
                        const int *fds, unsigned n); /* dups nothing; sends */
void control_fail(struct control_call *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The client of an answered call hung up (once); for what lives as long as
 * its connection does: a local front-end.  To be asked for before the answer;
 * at most one for a connection (false: there is one).  cb comes from a task
 * and never before the call was answered, and not after control_fail(); also
 * from control_close(), or from inside of the answer after that. */
bool control_on_hangup(struct control_call *, void (*cb)(void *), void *);
/* The connection of a call, for control_drop(); valid until the hangup's cb was
 * called.  NULL after control_close(). */
struct control_client *control_client(struct control_call *);
/* Hang up on it; cb comes as if the client had. */
void control_drop(struct control_client *);
/* The process that called. */
int control_pid(const struct control_call *);
/* To every follower, and kept in a ring of the last 256.  disk may be NULL.
 * detail: one sentence. */
void control_event(struct control *, const char *what, const char *disk,
                   const char *detail);

#endif
