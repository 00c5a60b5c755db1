/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * map.c: where a disk has data: asked for, printed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/app.h"
#include "ctl/human.h"
#include "ctl/map.h"
#include "lib/wire.h"

/* The daemon answers with nothing when the disk was just being changed. */
enum { ASKS_MAX = 100 };

/* ---- asking -------------------------------------------------------------- */

static int
map_ask(struct map *m, uint64_t off, char **why)
{
    char from[24], len[24];
    const char *args[] = { m->disk, from, len };
    struct wire w;
    int rc;

    map_close(m);
    snprintf(from, sizeof(from), "%" PRIu64, off);
    snprintf(len, sizeof(len), "%" PRIu64, m->end - off);
    rc = wire_open(&w, m->ctl->socket, why);
    if (rc)
        return rc;
    rc = wire_call(&w, "map", args, m->end ? 3 : 2, &m->answer, why);
    wire_close(&w);
    m->size = get_u64(m->answer, "size");
    m->next = get_u64(m->answer, "next");
    m->unknown += get_u64(m->answer, "unknown");
    m->at = 0;
    return rc;
}

/* false: it is not in this answer. */
static bool
map_look(struct map *m, uint64_t off, struct map_extent *e)
{
    struct json_object *all = get(m->answer, "extents");

    for (; m->at < count(all); m->at++) {
        struct json_object *o = at(all, m->at);

        e->off = get_u64(o, "offset");
        e->len = get_u64(o, "length");
        e->zero = get_bool(o, "zero");
        if (off < e->off)
            return false;
        if (off - e->off >= e->len)
            continue;
        e->len -= off - e->off;
        e->off = off;
        return true;
    }
    return false;
}

int
map_find(struct map *m, uint64_t off, struct map_extent *e, char **why)
{
    int i, rc;

    if (map_look(m, off, e))
        return 0;
    for (i = 0; i < ASKS_MAX; i++) {
        rc = map_ask(m, off, why);
        if (rc || map_look(m, off, e))
            return rc;
    }
    wire_why(why, "the daemon does not tell where disk %s has data", m->disk);
    return -EIO;
}

void
map_close(struct map *m)
{
    json_object_put(m->answer);
    m->answer = NULL;
}

/* ---- printing ------------------------------------------------------------ */

const char map_help[] =
    "  OFFSET  from there on, as 1G (0)\n"
    "  LENGTH  of what is asked for (up to the end)\n\n"
    "  A line for each extent: its offset, its length, in bytes, and data or\n"
    "  zero.  What is zero reads as zeroes; data may be anything, also "
    "zeroes.\n";

static void
extent_print(const struct ctl *ctl, const struct map_extent *e, bool first)
{
    if (!ctl->json)
        printf("%" PRIu64 " %" PRIu64 " %s\n", e->off, e->len,
               e->zero ? "zero" : "data");
    else
        printf("%s{\"offset\": %" PRIu64 ", \"length\": %" PRIu64
               ", \"zero\": %s}",
               first ? "[ " : ",\n  ", e->off, e->len,
               e->zero ? "true" : "false");
}

/* Answers end where they are full: those of a kind that meet are one. */
static int
map_print(struct map *m, uint64_t off, char **why)
{
    struct map_extent last = { 0 }, e;
    bool first = true;
    int rc;

    do {
        rc = map_find(m, off, &e, why);
        if (rc)
            break;
        off += e.len;
        if (last.len && last.zero == e.zero) {
            last.len += e.len;
            continue;
        }
        if (last.len) {
            extent_print(m->ctl, &last, first);
            first = false;
        }
        last = e;
    } while (off < m->size && (!m->end || off < m->end));
    if (last.len)
        extent_print(m->ctl, &last, first);
    if (last.len && m->ctl->json)
        puts(" ]");
    return rc;
}

/* A disk that nobody has is opened for as long as this takes. */
static int
disk_hold(const struct ctl *ctl, char *name, struct blktap_disk **disk)
{
    struct blktap_options o = { .socket = ctl->socket, .readonly = true };
    char *argv[] = { name, NULL }, *why = NULL;
    struct json_object *shown;
    bool ok, is_free;

    shown = ctl_ask(ctl, "show", 1, argv, &ok);
    is_free = ok && !strcmp(get_str(shown, "state"), "free");
    json_object_put(shown);
    if (!is_free)
        return ok ? 0 : 1;
    *disk = blktap_open(name, &o, &why);
    if (*disk)
        return 0;
    ctl_error("%s", why ? why : "out of memory");
    free(why);
    return 1;
}

static int
range_parse(struct map *m, int argc, char **argv, uint64_t *off)
{
    uint64_t len;

    *off = 0;
    if (argc > 1 && !human_parse_bytes(argv[1], off))
        return ctl_error("map: expected an offset as 1G, found %s", argv[1]);
    if (argc < 3)
        return 0;
    if (!human_parse_bytes(argv[2], &len) || !len || len > UINT64_MAX - *off)
        return ctl_error("map: expected a length as 1G, found %s", argv[2]);
    m->end = *off + len;
    return 0;
}

int
map_run(const struct ctl *ctl, int argc, char **argv)
{
    struct map m = { .ctl = ctl, .disk = argv[0] };
    struct blktap_disk *disk = NULL;
    char *why = NULL;
    uint64_t off;
    int status;

    if (range_parse(&m, argc, argv, &off) || disk_hold(ctl, argv[0], &disk))
        return 1;
    status = map_print(&m, off, &why) ? 1 : 0;
    if (status)
        ctl_error("%s", why ? why : "out of memory");
    else if (m.unknown)
        fprintf(stderr,
                "blktapctl: of %" PRIu64 " bytes no layer could tell: they "
                "count as data\n",
                m.unknown);
    free(why);
    map_close(&m);
    blktap_close(disk);
    return status;
}
