/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * events.c: the last events, those who follow them, and `help`.
 */
#include "config.h"

#include "control/private.h"

#include <stdlib.h>
#include <string.h>

void
control_event(struct control *control, const char *what, const char *disk,
              const char *detail)
{
    struct loop *loop = control->loop;
    struct json_object *e = json_object_new_object(), *line;
    struct control_client *c;
    unsigned at = (unsigned)(control->events % CONTROL_EVENTS);

    json_object_object_add(e, "seq", json_object_new_uint64(control->events));
    json_object_object_add(e, "at_ns",
                           json_object_new_uint64(loop->ops->now(loop)));
    json_object_object_add(e, "what", json_object_new_string(what));
    if (disk) {
        json_object_object_add(e, "disk", json_object_new_string(disk));
    }
    json_object_object_add(e, "detail",
                           json_object_new_string(detail ? detail : ""));
    json_object_put(control->event[at]);
    control->event[at] = e;
    control->events++;
    line = json_object_new_object();
    json_object_object_add(line, "event", json_object_get(e));
    for (c = control->client; c; c = c->next) {
        if (c->follows) {
            client_send(c, line);
        }
    }
    json_object_put(line);
}

static void
events_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    struct control *control = ctx;
    struct json_object *all;
    uint64_t i =
        control->events > CONTROL_EVENTS ? control->events - CONTROL_EVENTS : 0;

    if (argc && strcmp(argv[0], "-f")) {
        control_fail(call, "events: expected -f or nothing, found \"%.64s\"",
                     argv[0]);
        return;
    }
    all = json_object_new_array();
    for (; i < control->events; i++) {
        json_object_array_add(
            all, json_object_get(control->event[i % CONTROL_EVENTS]));
    }
    if (argc && call->client) {
        call->client->follows = true;
    }
    control_answer(call, all);
}

static void
help_command(void *ctx, struct control_call *call, int argc,
             const char *const *argv)
{
    const struct control *control = ctx;
    struct json_object *all = json_object_new_array();
    unsigned i;

    (void)argc;
    (void)argv;
    for (i = 0; i < control->commands; i++) {
        const struct control_command *cmd = &control->command[i];
        struct json_object *o = json_object_new_object();

        json_object_object_add(o, "name", json_object_new_string(cmd->name));
        json_object_object_add(o, "usage", json_object_new_string(cmd->usage));
        json_object_object_add(o, "help", json_object_new_string(cmd->help));
        json_object_array_add(all, o);
    }
    control_answer(call, all);
}

void
events_init(struct control *control)
{
    control_register(control, "events", "[-f]", 0, 1,
                     "what happened lately; -f: and what happens from now on",
                     events_command, control);
    control_register(control, "help", "", 0, 0, "the commands of the daemon",
                     help_command, control);
}

void
events_free(struct control *control)
{
    unsigned i;

    for (i = 0; i < CONTROL_EVENTS; i++) {
        json_object_put(control->event[i]);
    }
}
