/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * command.c: commands by name, calls of them, and their answers.
 */
#include "config.h"

#include "control/near.h"
#include "control/private.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the register -------------------------------------------------------- */

void
control_register(struct control *control, const char *name, const char *usage,
                 int min, int max, const char *help, control_fn *fn, void *ctx)
{
    struct control_command *all =
        realloc(control->command, (control->commands + 1) * sizeof(*all));

    if (!all) {
        log_line(BLK_ERR, NULL, "no memory for the command %s", name);
        return;
    }
    control->command = all;
    all[control->commands++] = (struct control_command){ .name = name,
                                                         .usage = usage,
                                                         .help = help,
                                                         .min = min,
                                                         .max = max,
                                                         .fn = fn,
                                                         .ctx = ctx };
}

void
commands_free(struct control *control)
{
    free(control->command);
}

static const struct control_command *
command_find(const struct control *control, const char *name)
{
    unsigned i;

    for (i = 0; i < control->commands; i++) {
        if (!strcmp(control->command[i].name, name)) {
            return &control->command[i];
        }
    }
    return NULL;
}

/* ---- answers ------------------------------------------------------------- */

static struct json_object *
line_make(const char *key, struct json_object *value)
{
    struct json_object *line = json_object_new_object();

    json_object_object_add(line, key, value);
    return line;
}

static void
call_free(struct control_call *call)
{
    struct control_client *c = call->client;

    if (c) {
        client_next(c);
    }
    json_object_put(call->line);
    free(call);
}

/* Hands a call's wish to hear of the hangup over to its connection. */
static void
hangup_arm(struct control_call *call)
{
    struct control_client *c = call->client;

    if (!call->hangup) {
        return;
    }
    if (!c) {
        call->hangup(call->hangup_data);
        return;
    }
    c->hangup = call->hangup;
    c->hangup_data = call->hangup_data;
    c->control->fronts++;
    if (c->eof) {
        client_close(c);
    }
}

void
control_answer(struct control_call *call, struct json_object *result)
{
    struct json_object *line = line_make("result", result);

    if (call->client) {
        client_send(call->client, line);
    }
    json_object_put(line);
    hangup_arm(call);
    call_free(call);
}

void
control_answer_fds(struct control_call *call, struct json_object *result,
                   const int *fds, unsigned n)
{
    struct json_object *line = line_make("result", result);

    if (call->client) {
        client_send_fds(call->client, line, fds, n);
    }
    json_object_put(line);
    hangup_arm(call);
    call_free(call);
}

void
control_fail(struct control_call *call, const char *fmt, ...)
{
    char why[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    if (call->client) {
        command_refuse(call->client, why);
    }
    call_free(call);
}

void
command_refuse(struct control_client *c, const char *why)
{
    struct json_object *line = line_make("error", json_object_new_string(why));

    client_send(c, line);
    json_object_put(line);
}

bool
control_on_hangup(struct control_call *call, void (*cb)(void *), void *data)
{
    if (call->hangup || (call->client && call->client->hangup)) {
        return false;
    }
    call->hangup = cb;
    call->hangup_data = data;
    return true;
}

struct control_client *
control_client(struct control_call *call)
{
    return call->client;
}

void
control_drop(struct control_client *c)
{
    if (c) {
        client_close(c);
    }
}

int
control_pid(const struct control_call *call)
{
    return call->client ? call->client->pid : 0;
}

/* ---- calls --------------------------------------------------------------- */

static void
command_unknown(struct control_client *c, const char *name)
{
    const struct control *control = c->control;
    struct near near = { .word = name };
    char hint[100], why[256];
    unsigned i;

    for (i = 0; i < control->commands; i++) {
        near_try(&near, control->command[i].name);
    }
    snprintf(why, sizeof(why), "there is no command \"%.64s\"%s", name,
             near_hint(&near, hint, sizeof(hint)));
    command_refuse(c, why);
}

static void
command_usage(struct control_client *c, const struct control_command *cmd)
{
    char why[256];

    snprintf(why, sizeof(why), "usage: %s%s%s", cmd->name,
             *cmd->usage ? " " : "", cmd->usage);
    command_refuse(c, why);
}

/* Takes over the line. */
static void
command_call(struct control_client *c, const struct control_command *cmd,
             const struct control_line *l)
{
    struct control_call *call = calloc(1, sizeof(*call));

    if (!call) {
        json_object_put(l->root);
        command_refuse(c, "out of memory");
        return;
    }
    call->client = c;
    call->line = l->root;
    call->argc = l->argc;
    memcpy(call->argv, l->argv, sizeof(call->argv));
    c->call = call;
    cmd->fn(cmd->ctx, call, call->argc, call->argv);
}

void
command_line(struct control_client *c, const char *text, size_t len)
{
    const struct control_command *cmd;
    struct control_line l;
    char why[256];

    while (len && isspace((unsigned char)text[len - 1])) {
        len--;
    }
    if (control_parse(&l, text, len, why, sizeof(why))) {
        command_refuse(c, why);
        return;
    }
    cmd = command_find(c->control, l.name);
    if (!cmd) {
        command_unknown(c, l.name);
    } else if (l.argc < cmd->min || (cmd->max >= 0 && l.argc > cmd->max)) {
        command_usage(c, cmd);
    } else {
        command_call(c, cmd, &l);
        return;
    }
    json_object_put(l.root);
}
