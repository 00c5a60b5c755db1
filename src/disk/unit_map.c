/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unit_map.c: where a disk has data, as its layers tell it.
 *
 * One question at a time is in the chain, and it is asked again for what an
 * answer left, until enough was found.  A job that begins meanwhile may want
 * the chain to be empty: then what was found so far is the answer.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "disk/unit_private.h"

/* Of one job: at a gigabyte each, a disk without data is not walked through
 * while somebody waits. */
enum { MAP_QUESTIONS = 1024 };

/* ---- what is found ------------------------------------------------------- */

static void
found_put(struct map_found *f)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "offset", json_object_new_uint64(f->off));
    json_object_object_add(o, "length", json_object_new_uint64(f->len));
    json_object_object_add(o, "zero",
                           json_object_new_boolean(f->kind == BLK_ZEROES));
    json_object_array_add(f->extents, o);
    f->off += f->len;
    f->len = 0;
    f->count++;
}

static bool
map_extent(struct chain_map *m, uint64_t len, enum blk_extent kind)
{
    struct unit *u = m->data;
    struct map_found *f = &u->found;

    if (f->len && f->kind != kind) {
        if (f->count + 1 == u->maps->range.extents)
            return false;
        found_put(f);
    }
    f->kind = kind;
    f->len += len;
    return true;
}

static struct json_object *
found_told(struct unit *u)
{
    struct map_found *f = &u->found;
    struct json_object *o = json_object_new_object();

    if (f->len)
        found_put(f);
    json_object_object_add(
        o, "size", json_object_new_uint64(chain_limits(u->chain)->size));
    json_object_object_add(o, "next", json_object_new_uint64(f->off));
    json_object_object_add(o, "unknown", json_object_new_uint64(f->unknown));
    json_object_object_add(o, "extents", f->extents);
    f->extents = NULL;
    return o;
}

/* ---- jobs ---------------------------------------------------------------- */

static struct job *
map_take(struct unit *u)
{
    struct job *j = u->maps;

    u->maps = j->next;
    if (!u->maps)
        u->maps_tail = &u->maps;
    return j;
}

static void
map_refuse(struct unit *u, int error, const char *why)
{
    struct job *j = map_take(u);

    j->status = error;
    snprintf(j->why, sizeof j->why, "%s", why);
    unit_answer(u, j);
}

static void
map_over(struct unit *u, int error)
{
    u->mapping = false;
    if (error) {
        json_object_put(u->found.extents);
        u->found.extents = NULL;
        map_refuse(u, error, strerror(-error));
    } else {
        struct job *j = map_take(u);

        j->json = found_told(u);
        unit_answer(u, j);
    }
}

/* Last: with the request that is over the unit may be gone. */
static void
map_done(struct chain_map *m, int error)
{
    struct unit *u = m->data;
    struct map_found *f = &u->found;
    uint64_t end = f->off + f->len;

    if (!error && !m->known)
        f->unknown += end - f->asked;
    f->asked = end;
    if (!error && m->len && f->off + f->len == m->off && !u->now &&
        !u->failed && ++f->questions < MAP_QUESTIONS) {
        chain_map(u->chain, m);
        return;
    }
    map_over(u, error);
    unit_map_next(u);
    unit_request_over(u);
}

/* Whether the first that waits can be asked for; else it is refused. */
static bool
map_may(struct unit *u)
{
    const struct disk_range *r = &u->maps->range;
    char why[256];

    if (!u->chain || u->state == UNIT_NEW || u->state == UNIT_GONE) {
        map_refuse(u, -ENOTCONN, "the disk is not open");
    } else if (u->failed) {
        snprintf(why, sizeof why, "the disk failed: %.200s", u->reason);
        map_refuse(u, -EIO, why);
    } else if (u->paused) {
        map_refuse(u, -EBUSY, "the disk is paused: resume it first");
    } else if (r->off >= chain_limits(u->chain)->size) {
        snprintf(why, sizeof why,
                 "expected an offset below its %" PRIu64
                 " bytes, found %" PRIu64,
                 chain_limits(u->chain)->size, r->off);
        map_refuse(u, -EINVAL, why);
    } else {
        return true;
    }
    return false;
}

static void
map_begin(struct unit *u)
{
    const struct disk_range *r = &u->maps->range;
    uint64_t left = chain_limits(u->chain)->size - r->off;

    u->mapping = true;
    u->found = (struct map_found){ .extents = json_object_new_array(),
                                   .off = r->off,
                                   .asked = r->off };
    u->map = (struct chain_map){ .off = r->off,
                                 .len = r->len < left ? r->len : left,
                                 .extent = map_extent,
                                 .done = map_done,
                                 .data = u };
    u->in_chain++;
    chain_map(u->chain, &u->map);
}

void
unit_map_next(struct unit *u)
{
    while (u->maps && !u->mapping && !u->now) {
        if (map_may(u))
            map_begin(u);
    }
}

void
unit_map(struct unit *u, struct job *j)
{
    j->next = NULL;
    *u->maps_tail = j;
    u->maps_tail = &j->next;
    unit_map_next(u);
}

void
unit_maps_end(struct unit *u)
{
    while (u->maps)
        map_refuse(u, -ESHUTDOWN, "the disk is being closed");
}
