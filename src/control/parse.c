/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * parse.c: a line of the control socket to a command.
 */
#include "config.h"

#include "control/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The whole text must be one JSON value. */
static int
value_parse(struct json_object **root, const char *text, size_t len, char *why,
            size_t n)
{
    struct json_tokener *tok = json_tokener_new_ex(CONTROL_DEPTH_MAX);
    enum json_tokener_error error;

    if (!tok) {
        snprintf(why, n, "out of memory");
        return -ENOMEM;
    }
    json_tokener_set_flags(tok,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    *root = json_tokener_parse_ex(tok, text, (int)len);
    error = json_tokener_get_error(tok);
    if (error == json_tokener_success &&
        json_tokener_get_parse_end(tok) != len) {
        error = json_tokener_error_parse_unexpected;
    }
    json_tokener_free(tok);
    if (error != json_tokener_success) {
        snprintf(why, n, "expected a JSON object on a line, found: %s",
                 json_tokener_error_desc(error));
        json_object_put(*root);
        *root = NULL;
        return -EINVAL;
    }
    return 0;
}

/* A string without a NUL inside, or NULL. */
static const char *
string_of(struct json_object *o)
{
    const char *s;

    if (!json_object_is_type(o, json_type_string)) {
        return NULL;
    }
    s = json_object_get_string(o);
    return strlen(s) == (size_t)json_object_get_string_len(o) ? s : NULL;
}

static int
args_parse(struct control_line *l, struct json_object *args, char *why,
           size_t n)
{
    size_t i, count;

    if (!json_object_is_type(args, json_type_array)) {
        snprintf(why, n, "args: expected an array of strings");
        return -EINVAL;
    }
    count = json_object_array_length(args);
    if (count > CONTROL_ARGS_MAX) {
        snprintf(why, n, "args: expected at most %d, found %zu",
                 (int)CONTROL_ARGS_MAX, count);
        return -EINVAL;
    }
    for (i = 0; i < count; i++) {
        l->argv[i] = string_of(json_object_array_get_idx(args, i));
        if (!l->argv[i]) {
            snprintf(why, n, "args: expected strings, found another at %zu",
                     i + 1);
            return -EINVAL;
        }
    }
    l->argc = (int)count;
    return 0;
}

static int
members_parse(struct control_line *l, char *why, size_t n)
{
    if (!json_object_is_type(l->root, json_type_object)) {
        snprintf(why, n, "expected {\"command\": NAME, \"args\": [...]}");
        return -EINVAL;
    }
    json_object_object_foreach(l->root, key, value)
    {
        int rc = 0;

        if (!strcmp(key, "command")) {
            l->name = string_of(value);
        } else if (!strcmp(key, "args")) {
            rc = args_parse(l, value, why, n);
        } else {
            snprintf(why, n, "expected command and args, found \"%.40s\"", key);
            rc = -EINVAL;
        }
        if (rc) {
            return rc;
        }
    }
    if (!l->name) {
        snprintf(why, n, "command: expected the name of a command");
        return -EINVAL;
    }
    return 0;
}

int
control_parse(struct control_line *l, const char *text, size_t len, char *why,
              size_t n)
{
    int rc;

    memset(l, 0, sizeof(*l));
    rc = value_parse(&l->root, text, len, why, n);
    if (!rc) {
        rc = members_parse(l, why, n);
    }
    if (rc) {
        json_object_put(l->root);
        l->root = NULL;
    }
    return rc;
}
