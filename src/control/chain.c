/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain.c: the layers of a disk, which of them run, and how both are changed
 * under its guest.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/commands_private.h"
#include "control/near.h"

enum { LAYER_TEXT = 8192 };

struct action {
    const char *name;
    enum conf_edit_kind kind;
    int words; /* after the name, without force */
    const char *usage;
};

static const struct action actions[] = {
    { "insert", CONF_INSERT, 2, "insert AT LAYER [force]" },
    { "replace", CONF_REPLACE, 2, "replace AT LAYER [force]" },
    { "remove", CONF_REMOVE, 1, "remove AT [force]" },
    { "reset", CONF_RESET, 0, "reset [force]" },
};

enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static const struct action *
action_find(struct control_call *call, const char *word)
{
    struct near near = { .word = word };
    char hint[100];
    unsigned i;

    for (i = 0; i < ACTIONS; i++) {
        if (!strcmp(actions[i].name, word))
            return &actions[i];
        near_try(&near, actions[i].name);
    }
    near_try(&near, "show");
    near_try(&near, "snapshot");
    near_try(&near, "commit");
    control_fail(call,
                 "chain: expected show, insert, replace, remove, reset, "
                 "snapshot or commit, found \"%.64s\"%s",
                 word, near_hint(&near, hint, sizeof(hint)));
    return NULL;
}

/* ---- show ---------------------------------------------------------------- */

static void
put_text(struct json_object *o, const struct chain_spec *chain)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return;
    fputs("chain = (\n", f);
    conf_print_chain(f, chain, "  ");
    fputs(");\n", f);
    fclose(f);
    put_str(o, "text", text);
    free(text);
}

static void
chain_show(const struct daemon_view *v, struct control_call *call,
           const char *name)
{
    const struct conf_disk *files = conf_disk(view_conf(v), name), *cd = files;
    struct disk *d = disks_find(v->disks, name);
    struct json_object *o;

    if (d)
        cd = disk_conf(d);
    if (!cd) {
        disk_configured(v, call, name); /* says that there is none */
        return;
    }
    o = json_object_new_object();
    put_str(o, "disk", cd->name);
    put_str(o, "mode", conf_mode_name(cd->mode));
    json_object_object_add(o, "chain", chain_describe(&cd->chain));
    if (files && files->filed)
        json_object_object_add(o, "chain-in-files",
                               chain_describe(files->filed));
    put_text(o, &cd->chain);
    control_answer(call, o);
}

/* ---- changes ------------------------------------------------------------- */

static void
chain_changed(void *arg, int status, const char *why, uint64_t took_ns)
{
    struct control_call *call = arg;
    struct json_object *o;

    if (status) {
        control_fail(call, "%s", why);
        return;
    }
    o = json_object_new_object();
    put_u64(o, "waited_ns", took_ns);
    control_answer(call, o);
}

/* The text between the brackets, also when they are there, as `show' prints
 * them.  false: it is too long. */
static bool
layer_text(const char *word, char text[LAYER_TEXT])
{
    size_t n;

    word += strspn(word, " \t\n");
    n = strlen(word);
    while (n && strchr(" \t\n,", word[n - 1]))
        n--;
    if (n > 1 && word[0] == '{' && word[n - 1] == '}') {
        word++;
        n -= 2;
    }
    if (n >= LAYER_TEXT)
        return false;
    memcpy(text, word, n);
    text[n] = '\0';
    return true;
}

static void
chain_change(const struct daemon_view *v, struct control_call *call,
             const struct action *action, int argc, const char *const *argv)
{
    struct conf_edit edit = { .kind = action->kind };
    enum chain_force force = CHAIN_SAFE;
    char text[LAYER_TEXT];

    if (argc == action->words + 3 && !strcmp(argv[argc - 1], "force")) {
        force = CHAIN_FORCE;
        argc--;
    }
    if (argc != action->words + 2) {
        control_fail(call, "usage: chain DISK %s", action->usage);
        return;
    }
    if (action->words > 0)
        edit.at = argv[2];
    if (action->words > 1) {
        if (!layer_text(argv[3], text)) {
            control_fail(call, "chain: expected a layer of at most %d bytes",
                         LAYER_TEXT - 1);
            return;
        }
        edit.layer = text;
    }
    v->chain(v->ctx, argv[0], &edit, force, chain_changed, call);
}

static void
chain_snapshot(const struct daemon_view *v, struct control_call *call, int argc,
               const char *const *argv)
{
    if (argc != 3)
        control_fail(call, "usage: chain DISK snapshot FILE");
    else if (disk_running(v, call, argv[0]))
        v->snapshot(v->ctx, argv[0], argv[2], chain_changed, call);
}

static void
chain_commit_told(void *arg, int status, const char *why,
                  struct json_object *told)
{
    if (status)
        control_fail(arg, "%s", why);
    else
        control_answer(arg, told);
}

static bool
commit_verb(const char *word)
{
    return !strcmp(word, "pause") || !strcmp(word, "resume") ||
           !strcmp(word, "cancel") || !strcmp(word, "status");
}

/* [VERB] [LAYER] */
static void
chain_commit(const struct daemon_view *v, struct control_call *call, int argc,
             const char *const *argv)
{
    const char *verb = argc > 2 && commit_verb(argv[2]) ? argv[2] : NULL;
    int at = verb ? 3 : 2;

    if (argc > at + 1)
        control_fail(call, "usage: chain DISK commit "
                           "[pause|resume|cancel|status] [LAYER]");
    else if (disk_running(v, call, argv[0]))
        v->commit(v->ctx, argv[0], verb, argc > at ? argv[at] : NULL,
                  chain_commit_told, call);
}

void
layers_command(void *ctx, struct control_call *call, int argc,
               const char *const *argv)
{
    const struct daemon_view *v = ctx;
    const struct action *action;

    if (argc < 2 || (argc == 2 && !strcmp(argv[1], "show"))) {
        chain_show(v, call, argv[0]);
        return;
    }
    if (!strcmp(argv[1], "snapshot")) {
        chain_snapshot(v, call, argc, argv);
        return;
    }
    if (!strcmp(argv[1], "commit")) {
        chain_commit(v, call, argc, argv);
        return;
    }
    action = action_find(call, argv[1]);
    if (!action)
        return;
    if (disks_find(v->disks, argv[0]) || disk_configured(v, call, argv[0]))
        chain_change(v, call, action, argc, argv);
}

/* ---- mode ---------------------------------------------------------------- */

static void
mode_show(const struct daemon_view *v, struct control_call *call,
          const struct conf_disk *cd)
{
    const struct conf_disk *files = conf_disk(view_conf(v), cd->name);
    struct json_object *o = json_object_new_object();

    put_str(o, "disk", cd->name);
    put_str(o, "mode", conf_mode_name(cd->mode));
    if (files && files->filed)
        put_str(o, "mode-in-files", conf_mode_name(files->filed_mode));
    control_answer(call, o);
}

void
mode_command(void *ctx, struct control_call *call, int argc,
             const char *const *argv)
{
    const struct daemon_view *v = ctx;
    struct conf_edit edit = { .kind = CONF_MODE };
    struct disk *d = disks_find(v->disks, argv[0]);
    const struct conf_disk *cd =
        d ? disk_conf(d) : disk_configured(v, call, argv[0]);
    struct near near;
    char hint[100];
    int i;

    if (!cd)
        return;
    if (argc < 2) {
        mode_show(v, call, cd);
        return;
    }
    if (!conf_mode_parse(argv[1], &edit.mode)) {
        v->chain(v->ctx, argv[0], &edit, CHAIN_SAFE, chain_changed, call);
        return;
    }
    near = (struct near){ .word = argv[1] };
    for (i = CONF_INTERCEPT; i <= CONF_PASSTHROUGH; i++)
        near_try(&near, conf_mode_name((enum conf_mode)i));
    control_fail(call,
                 "mode: expected passthrough, interpose or intercept, found "
                 "\"%.64s\"%s",
                 argv[1], near_hint(&near, hint, sizeof(hint)));
}
