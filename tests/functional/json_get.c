/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json_get PATH: one value of the JSON text on stdin.  PATH: "disks.0.state";
 * "disks.web.state" where web is the "disk" or "name" of a member of an array;
 * "disks.#" is how many there are; "." is all.  Exit status 1: there is none;
 * 2: it is not JSON.
 */
#include "config.h"

#include <ctype.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *
named(struct json_object *array, const char *name)
{
    size_t i;

    for (i = 0; i < json_object_array_length(array); i++) {
        struct json_object *o = json_object_array_get_idx(array, i), *v;

        if ((json_object_object_get_ex(o, "disk", &v) ||
             json_object_object_get_ex(o, "name", &v)) &&
            !strcmp(json_object_get_string(v), name))
            return o;
    }
    return NULL;
}

static struct json_object *
step(struct json_object *o, const char *word)
{
    struct json_object *v = NULL;

    if (json_object_is_type(o, json_type_object)) {
        json_object_object_get_ex(o, word, &v);
        return v;
    }
    if (!json_object_is_type(o, json_type_array))
        return NULL;
    if (isdigit((unsigned char)word[0]))
        return json_object_array_get_idx(o, strtoul(word, NULL, 10));
    return named(o, word);
}

/* Prints what is at path; false: there is none. */
static bool
print(struct json_object *o, char *path)
{
    char *word;

    for (word = strtok(path, "."); word && o; word = strtok(NULL, ".")) {
        if (!strcmp(word, "#") && json_object_is_type(o, json_type_array)) {
            printf("%zu\n", json_object_array_length(o));
            return true;
        }
        o = step(o, word);
    }
    if (o)
        puts(json_object_get_string(o));
    return o;
}

int
main(int argc, char **argv)
{
    static char text[16 << 20];
    size_t len = fread(text, 1, sizeof(text) - 1, stdin);
    struct json_object *o = json_tokener_parse(text);
    int status;

    if (argc != 2 || !len || !o)
        return 2;
    status = print(o, argv[1]) ? 0 : 1;
    json_object_put(o);
    return status;
}
