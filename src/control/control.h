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
struct control_call; /* one request, until it is answered */

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
 * its connection does: a local front-end. */
void control_on_hangup(struct control_call *, void (*cb)(void *), void *);
/* To every follower, and kept in a ring of the last 256.  disk may be NULL.
 * detail: one sentence. */
void control_event(struct control *, const char *what, const char *disk,
                   const char *detail);

#endif
