/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watch.c: what goes on: events, rates, and counters for Prometheus.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/human.h"
#include "ctl/table.h"
#include "lib/wire.h"

/* ---- events -------------------------------------------------------------- */

static void
event_print(const struct ctl *ctl, struct json_object *e)
{
    char when[HUMAN_SIZE];

    human_when(when, get_u64(e, "at_ns"));
    if (ctl->json) {
        json_object_object_add(e, "time", json_object_new_string(when));
        puts(json_object_to_json_string_ext(
            e, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    } else {
        printf("%s  %-12s %s%s%s\n", when,
               *get_str(e, "disk") ? get_str(e, "disk") : "-",
               get_str(e, "what"), *get_str(e, "detail") ? ": " : "",
               get_str(e, "detail"));
    }
    fflush(stdout);
}

/* Until the daemon hangs up, or nobody reads us any more. */
static int
events_follow(const struct ctl *ctl, struct wire *w)
{
    struct json_object *o;
    char *why = NULL;

    while (!wire_line(w, &o, &why)) {
        event_print(ctl, get(o, "event"));
        json_object_put(o);
        if (ferror(stdout))
            return 1;
    }
    ctl_error("%s", why ? why : "out of memory");
    free(why);
    return 1;
}

int
events_run(const struct ctl *ctl, int argc, char **argv)
{
    static const char *const follow[] = { "-f" };
    struct json_object *past = NULL;
    struct wire w;
    char *why = NULL;
    int rc;
    size_t i;

    if (argc && strcmp(argv[0], "-f") && strcmp(argv[0], "--follow"))
        return ctl_error("events: expected -f, found \"%s\"", argv[0]);
    rc = wire_open(&w, ctl->socket, &why);
    if (!rc)
        rc = wire_call(&w, "events", follow, argc, &past, &why);
    if (rc) {
        ctl_error("%s", why ? why : "out of memory");
        free(why);
        wire_close(&w);
        return 1;
    }
    for (i = 0; i < count(past); i++)
        event_print(ctl, at(past, i));
    json_object_put(past);
    if (argc)
        rc = events_follow(ctl, &w);
    wire_close(&w);
    return rc;
}

/* ---- top ----------------------------------------------------------------- */

static struct json_object *
disk_before(struct json_object *stats, const char *name)
{
    struct json_object *disks = get(stats, "disks");
    size_t i;

    for (i = 0; i < count(disks); i++) {
        if (!strcmp(get_str(at(disks, i), "disk"), name))
            return get(at(disks, i), "channel");
    }
    return NULL;
}

/* A counter's rate; a channel that was opened in between began at 0. */
static double
rate(struct json_object *then, struct json_object *now, const char *what,
     const char *op, double seconds)
{
    uint64_t a = get_u64(get(then, what), op), b = get_u64(get(now, what), op);

    return seconds > 0 ? (double)(b >= a ? b - a : b) / seconds : 0;
}

static void
top_print(struct json_object *before, struct json_object *after)
{
    struct table t = { .head = "DISK|STATE|>IN FLIGHT|>READS/S|>READ/S|"
                               ">WRITES/S|>WRITTEN/S|>FLUSHES/S" };
    struct json_object *disks = get(after, "disks");
    double s =
        (double)(get_u64(after, "at_ns") - get_u64(before, "at_ns")) / 1e9;
    char text[HUMAN_SIZE];
    size_t i;

    for (i = 0; i < count(disks); i++) {
        struct json_object *d = at(disks, i), *now = get(d, "channel");
        struct json_object *then = disk_before(before, get_str(d, "disk"));

        table_row(&t);
        table_cell(&t, "%s", get_str(d, "disk"));
        table_cell(&t, "%s", get_str(d, "state"));
        table_cell(&t, "%" PRIu64, get_u64(now, "in-flight"));
        table_cell(&t, "%.0f", rate(then, now, "requests", "read", s));
        table_cell(
            &t, "%s",
            human_bytes(text, (uint64_t)rate(then, now, "bytes", "read", s)));
        table_cell(&t, "%.0f", rate(then, now, "requests", "write", s));
        table_cell(
            &t, "%s",
            human_bytes(text, (uint64_t)rate(then, now, "bytes", "write", s)));
        table_cell(&t, "%.0f", rate(then, now, "requests", "flush", s));
    }
    table_print(&t, stdout);
    table_free(&t);
}

static int
top_options(int argc, char **argv, uint64_t *interval, uint64_t *n)
{
    int i;

    *interval = 1;
    *n = 0;
    for (i = 0; i < argc; i += 2) {
        uint64_t *to = !strcmp(argv[i], "--interval") ? interval
                       : !strcmp(argv[i], "--count")  ? n
                                                      : NULL;

        if (!to)
            return ctl_error("top: expected --interval or --count, found "
                             "\"%s\"",
                             argv[i]);
        if (i + 1 == argc || !human_parse_number(argv[i + 1], 1, 86400, to))
            return ctl_error("top: %s: expected a number of 1 to 86400",
                             argv[i]);
    }
    return 0;
}

int
top_run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *before = NULL, *after;
    uint64_t interval, n, round;
    bool ok = true;

    if (top_options(argc, argv, &interval, &n))
        return 1;
    for (round = 0; !n || round <= n; round++) {
        after = ctl_ask(ctl, "stats", 0, NULL, &ok);
        if (!ok)
            break;
        if (before && ctl->json) {
            ctl_dump(after);
        } else if (before) {
            if (isatty(STDOUT_FILENO))
                fputs("\033[H\033[2J", stdout);
            top_print(before, after);
        }
        fflush(stdout);
        json_object_put(before);
        before = after;
        if (ferror(stdout))
            break;
        if (!n || round < n)
            sleep((unsigned)interval);
    }
    json_object_put(before);
    return ok ? 0 : 1;
}

/* ---- metrics ------------------------------------------------------------- */

static void
metric_ops(struct json_object *disks, const char *member, const char *name,
           const char *help)
{
    size_t i;

    printf("# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    for (i = 0; i < count(disks); i++) {
        struct json_object *d = at(disks, i);
        struct json_object *v = get(get(d, "channel"), member);

        if (!v)
            continue;
        json_object_object_foreach(v, op, n)
        {
            printf("%s{disk=\"%s\",op=\"%s\"} %" PRIu64 "\n", name,
                   get_str(d, "disk"), op, json_object_get_uint64(n));
        }
    }
}

static void
metric_one(struct json_object *disks, const char *member, const char *name,
           const char *type, const char *help)
{
    size_t i;

    printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    for (i = 0; i < count(disks); i++) {
        struct json_object *d = at(disks, i), *c = get(d, "channel");

        if (c)
            printf("%s{disk=\"%s\"} %" PRIu64 "\n", name, get_str(d, "disk"),
                   get_u64(c, member));
    }
}

static void
metric_states(struct json_object *disks)
{
    size_t i;

    printf("# HELP blktapd_disk_state The state a disk is in\n"
           "# TYPE blktapd_disk_state gauge\n");
    for (i = 0; i < count(disks); i++)
        printf("blktapd_disk_state{disk=\"%s\",state=\"%s\"} 1\n",
               get_str(at(disks, i), "disk"), get_str(at(disks, i), "state"));
}

int
metrics_run(const struct ctl *ctl, int argc, char **argv)
{
    struct json_object *o, *disks;
    bool ok;

    o = ctl_ask(ctl, "stats", argc, argv, &ok);
    if (!ok)
        return 1;
    disks = get(o, "disks");
    metric_states(disks);
    metric_ops(disks, "requests", "blktapd_requests_total",
               "Requests of the front-end");
    metric_ops(disks, "bytes", "blktapd_bytes_total",
               "Bytes of the front-end's requests");
    metric_ops(disks, "errors", "blktapd_errors_total",
               "Requests that were answered with an error");
    metric_one(disks, "in-flight", "blktapd_in_flight", "gauge",
               "Requests that are not answered yet");
    metric_one(disks, "notifies", "blktapd_notifies_total", "counter",
               "Notifications of the front-end");
    metric_one(disks, "events", "blktapd_events_total", "counter",
               "Notifications by the front-end");
    metric_one(disks, "malformed", "blktapd_malformed_total", "counter",
               "Requests that were not well formed");
    metric_one(disks, "spurious-events", "blktapd_spurious_events_total",
               "counter", "Notifications without a request");
    metric_one(disks, "throttled", "blktapd_throttled_total", "counter",
               "Pauses of a front-end that sent too much of these");
    json_object_put(o);
    return 0;
}
