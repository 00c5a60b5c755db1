/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * act.c: the commands that change something: the words go to the daemon as
 * they are.
 */
#include "config.h"

#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/human.h"

static int
act(const struct ctl *ctl, const char *command, int argc, char **argv)
{
    bool ok;
    struct json_object *o = ctl_ask(ctl, command, argc, argv, &ok);

    if (ok && ctl->json)
        ctl_dump(o);
    json_object_put(o);
    return ok ? 0 : 1;
}

int
attach_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "attach", argc, argv);
}

int
detach_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "detach", argc, argv);
}

int
pause_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "pause", argc, argv);
}

int
resume_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "resume", argc, argv);
}

int
recover_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "recover", argc, argv);
}

int
reload_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "reload", argc, argv);
}

int
log_run(const struct ctl *ctl, int argc, char **argv)
{
    return act(ctl, "log", argc, argv);
}

/* What a layer has to say: its lines as they are, its numbers by name. */
static int
act_told(const struct ctl *ctl, const char *command, int argc, char **argv)
{
    bool ok;
    struct json_object *o = ctl_ask(ctl, command, argc, argv, &ok);
    size_t i;

    if (!ok)
        return 1;
    if (ctl->json) {
        ctl_dump(o);
    } else if (json_object_is_type(o, json_type_object)) {
        json_object_object_foreach(o, key, value)
        {
            if (!json_object_is_type(value, json_type_array))
                printf("%s: %s\n", key, json_object_get_string(value));
        }
        for (i = 0; i < count(get(o, "text")); i++) {
            const char *line = json_object_get_string(at(get(o, "text"), i));

            fputs(line, stdout);
        }
    }
    json_object_put(o);
    return 0;
}

/* ---- chain --------------------------------------------------------------- */

const char chain_help[] =
    "  show                     its layers, as in blktapd.conf (also without\n"
    "                           a word)\n"
    "  insert AT LAYER [force]  a layer before AT\n"
    "  replace AT LAYER [force] another layer in the place of AT\n"
    "  remove AT [force]        without the layer AT\n"
    "  reset [force]            back to what the files say\n"
    "  snapshot FILE            what is written from now on goes to FILE, a\n"
    "                           new image over what the disk has now\n"
    "\n"
    "  AT     the name of a layer, or its number, 0 for the first\n"
    "  LAYER  as in blktapd.conf: 'plugin = \"trace\"; file = \"/tmp/t\"'\n"
    "  force  also when the guest may read other data afterwards\n";

static void
changed(struct json_object *o)
{
    uint64_t ns = get_u64(o, "waited_ns");
    char text[HUMAN_SIZE];

    if (ns)
        printf("changed; requests waited for %s\n", human_ns(text, ns));
    else
        puts("changed");
}

int
chain_run(const struct ctl *ctl, int argc, char **argv)
{
    bool ok;
    struct json_object *o = ctl_ask(ctl, "chain", argc, argv, &ok);

    if (!ok)
        return 1;
    if (ctl->json)
        ctl_dump(o);
    else if (get(o, "text"))
        fputs(get_str(o, "text"), stdout);
    else
        changed(o);
    json_object_put(o);
    return 0;
}

/* ---- mode ---------------------------------------------------------------- */

const char mode_help[] =
    "  intercept    all of its layers run; the last has data of its own\n"
    "  interpose    all of its layers run; the last is the front-end of "
    "another\n"
    "               back-end, and the data are there\n"
    "  passthrough  only that last layer runs; those above it are not opened\n";

int
mode_run(const struct ctl *ctl, int argc, char **argv)
{
    bool ok;
    struct json_object *o = ctl_ask(ctl, "mode", argc, argv, &ok);

    if (!ok)
        return 1;
    if (ctl->json)
        ctl_dump(o);
    else if (get(o, "mode"))
        puts(get_str(o, "mode"));
    else
        changed(o);
    json_object_put(o);
    return 0;
}

int
layer_run(const struct ctl *ctl, int argc, char **argv)
{
    return act_told(ctl, "layer", argc, argv);
}

int
resize_run(const struct ctl *ctl, int argc, char **argv)
{
    return act_told(ctl, "resize", argc, argv);
}
