/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * call.c: asking the daemon, and reading what it answered.
 */
#include "config.h"

#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/wire.h"

int
ctl_error(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("blktapctl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

struct json_object *
ctl_ask(const struct ctl *ctl, const char *command, int argc, char **argv,
        bool *ok)
{
    struct json_object *result = NULL;
    const char *args[64];
    struct wire w;
    char *why = NULL;
    int i, rc;

    *ok = false;
    for (i = 0; i < argc && i < 64; i++)
        args[i] = argv[i];
    rc = wire_open(&w, ctl->socket, &why);
    if (!rc) {
        rc = wire_call(&w, command, args, i, &result, &why);
        wire_close(&w);
    }
    if (rc)
        ctl_error("%s", why ? why : "out of memory");
    free(why);
    *ok = !rc;
    return result;
}

int
ctl_dump(struct json_object *o)
{
    puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
                                               JSON_C_TO_STRING_SPACED |
                                               JSON_C_TO_STRING_NOSLASHESCAPE));
    return 0;
}

struct json_object *
get(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;

    if (json_object_is_type(o, json_type_object))
        json_object_object_get_ex(o, key, &v);
    return v;
}

const char *
get_str(struct json_object *o, const char *key)
{
    const char *s = json_object_get_string(get(o, key));

    return s ? s : "";
}

uint64_t
get_u64(struct json_object *o, const char *key)
{
    return json_object_get_uint64(get(o, key));
}

bool
get_bool(struct json_object *o, const char *key)
{
    return json_object_get_boolean(get(o, key));
}

size_t
count(struct json_object *array)
{
    return json_object_is_type(array, json_type_array)
               ? json_object_array_length(array)
               : 0;
}

struct json_object *
at(struct json_object *array, size_t i)
{
    return i < count(array) ? json_object_array_get_idx(array, i) : NULL;
}
