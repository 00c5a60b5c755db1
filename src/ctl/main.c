/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main.c: the command line of blktapctl.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/near.h"
#include "ctl/ctl.h"

static const struct ctl_command commands[] = {
    { "list", "", "every disk, and what it does", NULL, 0, 0, -1, false,
      list_run },
    { "show", "DISK", "everything about a disk", NULL, 1, 1, -1, false,
      show_run },
    { "stats", "[DISK]", "counters of disks", NULL, 0, 1, -1, false,
      stats_run },
    { "top", "[--interval S] [--count N]", "rates of disks, once a second",
      "  --interval S   seconds between two lines (1)\n"
      "  --count N      stop after N of them (never)\n",
      0, 4, -1, true, top_run },
    { "events", "[-f]", "what happened lately",
      "  -f, --follow   and go on with what happens from now on\n", 0, 1, -1,
      true, events_run },
    { "metrics", "", "counters in the Prometheus text format", NULL, 0, 0, -1,
      false, metrics_run },
    { "attach", "DISK VM VDEV [ro] [KIND]", "give a guest a disk",
      "  VM     the guest's name or number\n"
      "  VDEV   the device as the guest names it: xvdb\n"
      "  ro     it may only read\n"
      "  KIND   of the back-end, as under `kinds' in blktapd.conf\n",
      3, 5, -1, false, attach_run },
    { "detach", "VM VDEV [force]", "take a disk from a guest",
      "  force  without waiting for the guest to let go\n", 2, 3, -1, false,
      detach_run },
    { "interpose", "add|remove|hook ...",
      "put a disk between a guest and a device", interpose_help, 1, -1, -1,
      false, interpose_run },
    { "pause", "DISK", "hold a disk's requests", NULL, 1, 1, -1, false,
      pause_run },
    { "resume", "DISK", "let them go on", NULL, 1, 1, -1, false, resume_run },
    { "recover", "DISK", "have a failed disk try again", NULL, 1, 1, -1, false,
      recover_run },
    { "resize", "DISK [SIZE]",
      "make a disk larger, or look at its medium's size again", NULL, 1, 2, -1,
      false, resize_run },
    { "chain", "DISK [ACTION ...]", "a disk's layers; change them", chain_help,
      1, 5, -1, false, chain_run },
    { "mode", "DISK [MODE]", "which of a disk's layers run; change it",
      mode_help, 1, 2, -1, false, mode_run },
    { "layer", "DISK LAYER COMMAND [ARG...]", "a command of a layer's own",
      NULL, 3, -1, 2, false, layer_run },
    { "copy", "SRC DST [OPTION...]", "copy a disk from or to a file", copy_help,
      2, -1, -1, true, copy_run },
    { "map", "DISK [OFFSET [LENGTH]]", "where a disk has data", map_help, 1, 3,
      -1, false, map_run },
    { "bench", "DISK [OPTION...]", "put load on a disk, and time it",
      bench_help, 1, -1, -1, true, bench_run },
    { "plugins", "[NAME]", "what a chain can be made of", NULL, 0, 1, -1, false,
      plugins_run },
    { "config", "", "the configuration in force", NULL, 0, 0, -1, false,
      config_run },
    { "reload", "", "read the configuration again", NULL, 0, 0, -1, false,
      reload_run },
    { "log", "LEVEL", "log err, warn, info or debug", NULL, 1, 1, -1, false,
      log_run },
    { "version", "", "of the daemon", NULL, 0, 0, -1, false, version_run },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* ---- help ---------------------------------------------------------------- */

static int
help_all(FILE *f)
{
    int i;

    fputs("usage: blktapctl [--socket PATH] [--json] COMMAND [ARG...]\n\n", f);
    for (i = 0; i < COMMANDS; i++)
        fprintf(f, "  %-9s %-31s %s\n", commands[i].name, commands[i].usage,
                commands[i].help);
    fputs("\n"
          "  --socket PATH   of the daemon (" BLKTAPD_RUNDIR "/control)\n"
          "  --json          print what the daemon said, as JSON\n"
          "  --version       of this program\n"
          "  --help          this text; after a command, more about it\n",
          f);
    return f == stdout ? 0 : 1;
}

static int
help_one(const struct ctl_command *c)
{
    printf("usage: blktapctl %s%s%s\n%c%s.\n", c->name, *c->usage ? " " : "",
           c->usage, c->help[0] & ~0x20, c->help + 1);
    if (c->more)
        printf("\n%s", c->more);
    return 0;
}

/* ---- the words ----------------------------------------------------------- */

struct words {
    struct ctl ctl;
    const struct ctl_command *command;
    bool help, version;
    int argc;
    char **argv; /* after the command */
};

static const struct ctl_command *
command_find(const char *name)
{
    struct near near = { .word = name };
    char hint[100];
    int i;

    for (i = 0; i < COMMANDS; i++) {
        if (!strcmp(commands[i].name, name))
            return &commands[i];
        near_try(&near, commands[i].name);
    }
    ctl_error("there is no command \"%s\"%s", name,
              near_hint(&near, hint, sizeof(hint)));
    return NULL;
}

/* --socket PATH and --socket=PATH; how many words it took, 0: it is none. */
static int
socket_take(struct words *w, char **argv, int left)
{
    if (!strncmp(argv[0], "--socket=", 9)) {
        w->ctl.socket = argv[0] + 9;
        return 1;
    }
    if (strcmp(argv[0], "--socket") || left < 2)
        return 0;
    w->ctl.socket = argv[1];
    return 2;
}

/* An option of every command; how many words it took, 0: none, -1: error. */
static int
option_take(struct words *w, char **argv, int left)
{
    int n = socket_take(w, argv, left);

    if (n)
        return n;
    if (!strcmp(argv[0], "--json")) {
        w->ctl.json = true;
        return 1;
    }
    if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
        w->help = true;
        return 1;
    }
    if (!w->command && !strcmp(argv[0], "--version")) {
        w->version = true;
        return 1;
    }
    if (argv[0][0] == '-' && (!w->command || !w->command->options)) {
        ctl_error("there is no option %s%s%s", argv[0],
                  w->command ? " of " : "", w->command ? w->command->name : "");
        return -1;
    }
    return 0;
}

/* The words of the command stay, in their order, at the front of argv. */
static int
words_parse(struct words *w, int argc, char **argv)
{
    int i = 1;

    w->argv = argv;
    while (i < argc) {
        bool raw = w->command && w->command->raw_after >= 0 &&
                   w->argc > w->command->raw_after;
        int n = raw ? 0 : option_take(w, argv + i, argc - i);

        if (n < 0)
            return -1;
        if (n > 0) {
            i += n;
        } else if (!w->command) {
            w->command = command_find(argv[i++]);
            if (!w->command)
                return -1;
        } else {
            w->argv[w->argc++] = argv[i++];
        }
    }
    w->argv[w->argc] = NULL;
    return 0;
}

int
main(int argc, char **argv)
{
    struct words w = { .argc = 0 };
    const struct ctl_command *c;

    if (words_parse(&w, argc, argv))
        return 1;
    c = w.command;
    if (w.version) {
        puts("blktapctl " PACKAGE_VERSION);
        return 0;
    }
    if (!c)
        return help_all(w.help ? stdout : stderr);
    if (w.help)
        return help_one(c);
    if (w.argc < c->min || (c->max >= 0 && w.argc > c->max))
        return ctl_error("usage: blktapctl %s%s%s", c->name,
                         *c->usage ? " " : "", c->usage);
    return c->run(&w.ctl, w.argc, w.argv);
}
