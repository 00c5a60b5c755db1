/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* map.c: where a disk has data, a piece at a time. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "control/commands_private.h"

static void
map_done(void *arg, int status, const char *why, struct json_object *map)
{
    if (status)
        control_fail(arg, "map: %s", why);
    else
        control_answer(arg, map);
}

/* false: the call was failed. */
static bool
map_range(struct control_call *call, int argc, const char *const *argv,
          struct disk_range *r)
{
    uint64_t extents = DISK_EXTENTS;

    *r = (struct disk_range){ .len = UINT64_MAX };
    if (argc > 1 && parse_size(argv[1], &r->off)) {
        control_fail(call, "map: expected an offset as 1G, found \"%.64s\"",
                     argv[1]);
        return false;
    }
    if (argc > 2 && (parse_size(argv[2], &r->len) || !r->len)) {
        control_fail(call, "map: expected a length as 1G, found \"%.64s\"",
                     argv[2]);
        return false;
    }
    if (argc > 3 &&
        (parse_uint(argv[3], &extents) || !extents || extents > DISK_EXTENTS)) {
        control_fail(call,
                     "map: expected a number of extents, 1 to %d, found "
                     "\"%.64s\"",
                     (int)DISK_EXTENTS, argv[3]);
        return false;
    }
    r->extents = (unsigned)extents;
    return true;
}

void
map_command(void *ctx, struct control_call *call, int argc,
            const char *const *argv)
{
    struct disk_range range;
    struct disk *d;

    if (!map_range(call, argc, argv, &range))
        return;
    d = disk_running(ctx, call, argv[0]);
    if (d)
        disk_map(d, &range, map_done, call);
}
