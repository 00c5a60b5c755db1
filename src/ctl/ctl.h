/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl.h: blktapctl: a table of subcommands, each asks the daemon and prints.
 *
 *   main.c      the command line
 *   call.c      asking the daemon
 *   look.c      list, show, stats, plugins, version, config: for people
 *   watch.c     events, top, metrics: what goes on
 *   act.c       what changes something
 *   copy.c      disks from and to files     copy_end.c    one side of a copy
 *   bench.c     load on a disk              latency.c     its histogram
 *   interpose.c both sides of an interposed disk, without the daemon
 *   hook.c      the same for a script of xl's    way.c   to XenStore
 *   table.c     aligned columns             human.c       sizes and times
 *
 * Errors go to stderr as one sentence; the exit status is then 1.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct ctl {
    const char *socket; /* NULL: the usual one */
    bool json;
};

struct ctl_command {
    const char *name, *usage, *help;
    const char *more; /* the rest of its --help, lines; or NULL */
    int min, max;     /* words after the name; max -1: any */
    /* Words after this many are not looked at for options of ours; -1: all
     * are. */
    int raw_after;
    bool options; /* has options of its own: takes what starts with "--" */
    int (*run)(const struct ctl *, int argc, char **argv); /* exit status */
};

/* ---- call.c: each says on stderr what went wrong. */
/* "blktapctl: sentence"; returns 1. */
int ctl_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The result; NULL after an error, or when the daemon answered null (then *ok
 * is true). */
struct json_object *ctl_ask(const struct ctl *, const char *command, int argc,
                            char **argv, bool *ok);
/* One call, the result as JSON on stdout. */
int ctl_dump(struct json_object *);
/* For results: what is absent is "", 0 or false. */
const char *get_str(struct json_object *, const char *key);
uint64_t get_u64(struct json_object *, const char *key);
bool get_bool(struct json_object *, const char *key);
struct json_object *get(struct json_object *, const char *key);
/* Of an absent array: 0 and NULL. */
size_t count(struct json_object *array);
struct json_object *at(struct json_object *array, size_t i);

/* ---- the subcommands */
typedef int ctl_fn(const struct ctl *, int argc, char **argv);
ctl_fn list_run, show_run, stats_run, plugins_run, version_run, config_run;
ctl_fn events_run, top_run, metrics_run;
ctl_fn pause_run, resume_run, recover_run, resize_run, reload_run, log_run,
    layer_run, chain_run, mode_run;
ctl_fn attach_run, detach_run;
ctl_fn copy_run, map_run, bench_run, interpose_run;
extern const char copy_help[], map_help[], bench_help[], chain_help[],
    mode_help[], interpose_help[];

#endif
