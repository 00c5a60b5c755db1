/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * act.c: the commands that change something: the words go to the daemon as
 * they are.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
static void
told_print(const struct ctl *ctl, struct json_object *o)
{
    size_t i;

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
    "  commit [LAYER]           what an overlay (the uppermost, or LAYER) "
    "holds\n"
    "                           goes to what is below it, and it is taken out\n"
    "  commit pause|resume|cancel|status [LAYER]\n"
    "                           while that is at work\n"
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

/* ---- commit -------------------------------------------------------------- */

#define COMMIT_LOOK_NS 200000000L

static void
commit_progress(struct json_object *o)
{
    char done[HUMAN_SIZE], of[HUMAN_SIZE], copied[HUMAN_SIZE];

    printf("%s: %s of %s seen, %s copied", get_str(o, "commit"),
           human_bytes(done, get_u64(o, "commit_done")),
           human_bytes(of, get_u64(o, "commit_of")),
           human_bytes(copied, get_u64(o, "commit_copied")));
}

/* Until it is over; it goes on also without us. */
static int
commit_follow(const struct ctl *ctl, char *disk, const char *layer)
{
    char chain[] = "chain", commit[] = "commit", status[] = "status";
    char *words[] = { disk, commit, status, strdup(layer), NULL };
    const struct timespec wait = { .tv_nsec = COMMIT_LOOK_NS };
    bool person = isatty(STDOUT_FILENO), ok = true;
    struct json_object *o = NULL;
    int rc = 1;

    while (ok && words[3]) {
        json_object_put(o);
        o = ctl_ask(ctl, chain, 4, words, &ok);
        if (!ok || get(o, "over"))
            break;
        if (person && !ctl->json) {
            printf("\r");
            commit_progress(o);
            printf("\033[K");
            fflush(stdout);
        }
        nanosleep(&wait, NULL);
    }
    if (person && !ctl->json)
        printf("\r\033[K");
    if (ok && ctl->json)
        ctl_dump(o);
    if (ok && get(o, "why"))
        ctl_error("%s", get_str(o, "why"));
    else if (ok)
        rc = 0;
    if (!rc && !ctl->json)
        changed(o);
    json_object_put(o);
    free(words[3]);
    return rc;
}

/* What it says while it is at work, or of the last. */
static void
commit_print(struct json_object *o)
{
    if (get(o, "why"))
        printf("%s: %s\n", get_str(o, "over"), get_str(o, "why"));
    else if (get(o, "over"))
        printf("%s\n", get_str(o, "over"));
    else if (get(o, "commit_of")) {
        commit_progress(o);
        puts("");
    } else if (get(o, "commit"))
        puts(get_str(o, "commit"));
}

static int
commit_run(const struct ctl *ctl, int argc, char **argv)
{
    bool ok, begins = argc < 3 ||
                      (strcmp(argv[2], "pause") && strcmp(argv[2], "resume") &&
                       strcmp(argv[2], "cancel") && strcmp(argv[2], "status"));
    struct json_object *o = ctl_ask(ctl, "chain", argc, argv, &ok);
    int rc = ok ? 0 : 1;

    if (ok && begins)
        rc = commit_follow(ctl, argv[0], get_str(o, "layer"));
    else if (ok && ctl->json)
        ctl_dump(o);
    else if (ok)
        commit_print(o);
    json_object_put(o);
    return rc;
}

int
chain_run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *o;
    bool ok;

    if (argc > 1 && !strcmp(argv[1], "commit"))
        return commit_run(ctl, argc, argv);
    o = ctl_ask(ctl, "chain", argc, argv, &ok);
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
    bool ok;
    struct json_object *o = ctl_ask(ctl, "layer", argc, argv, &ok);

    if (ok)
        told_print(ctl, o);
    json_object_put(o);
    return ok ? 0 : 1;
}

/* ---- resize -------------------------------------------------------------- */

#define RESIZE_LOOK_NS 50000000L

/* Of the layer of that name, in what is shown of a disk; NULL: it does not run.
 */
static struct json_object *
shown_counters(struct json_object *shown, const char *layer)
{
    struct json_object *layers = get(shown, "layers");
    size_t i;

    for (i = 0; i < count(layers); i++) {
        if (!strcmp(get_str(at(layers, i), "name"), layer))
            return get(at(layers, i), "counters");
    }
    return NULL;
}

/* What is shown of the disk once the layer has done what it was asked for, and
 * requests go on; NULL, and it was said why: that can't be known. */
static struct json_object *
resize_wait(const struct ctl *ctl, char *disk, const char *layer)
{
    const struct timespec wait = { .tv_nsec = RESIZE_LOOK_NS };
    char *words[] = { disk, NULL };
    struct json_object *shown, *told;
    bool ok;

    for (;;) {
        shown = ctl_ask(ctl, "show", 1, words, &ok);
        told = shown_counters(shown, layer);
        if (told && !get(told, "resizing_to") &&
            !get_bool(get(shown, "held"), "now"))
            return shown;
        if (ok && !told)
            ctl_error("disk %s was closed before it had another size", disk);
        if (!told) {
            json_object_put(shown);
            return NULL;
        }
        json_object_put(shown);
        nanosleep(&wait, NULL);
    }
}

static void
resize_done(const struct ctl *ctl, struct json_object *o, uint64_t size)
{
    char text[HUMAN_SIZE];

    if (ctl->json)
        ctl_dump(o);
    else
        printf("resized to %llu bytes; requests waited for %s\n",
               (unsigned long long)size,
               human_ns(text, get_u64(o, "waited_ns")));
}

/* o: what was answered, to which what became of it is added. */
static int
resize_follow(const struct ctl *ctl, char *disk, struct json_object *o)
{
    const char *layer = get_str(o, "layer"), *why;
    uint64_t size = get_u64(o, "resizing_to");
    struct json_object *shown = resize_wait(ctl, disk, layer);
    int rc = 0;

    if (!shown)
        return 1;
    why = get_str(shown_counters(shown, layer), "resize_failed");
    json_object_object_add(
        o, "waited_ns",
        json_object_new_uint64(get_u64(get(shown, "held"), "last-ns")));
    if (why[0])
        rc = ctl_error("disk %s can't be resized to %s", disk, why);
    else
        resize_done(ctl, o, size);
    json_object_put(shown);
    return rc;
}

int
resize_run(const struct ctl *ctl, int argc, char **argv)
{
    bool ok;
    struct json_object *o = ctl_ask(ctl, "resize", argc, argv, &ok);
    int rc = ok ? 0 : 1;

    if (ok && get(o, "resizing_to"))
        rc = resize_follow(ctl, argv[0], o);
    else if (ok)
        told_print(ctl, o);
    json_object_put(o);
    return rc;
}
