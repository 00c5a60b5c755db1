/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * world_scratch.c: files that go with an attachment, in the simulated world.
 * The folder of the daemon's own, and who looks at it, is src/scratch.c.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/daemon/points.h"
#include "tests/sim/daemon/world.h"

void
world_opened(struct world *w, const char *path)
{
    unsigned i = 0;

    if (strncmp(path, WORLD_SCRATCH "/", strlen(WORLD_SCRATCH "/")))
        return;
    while (i < w->scratches && strcmp(w->scratch[i], path))
        i++;
    if (i == WORLD_SCRATCHES)
        abort();
    snprintf(w->scratch[i], sizeof w->scratch[i], "%s", path);
    if (i == w->scratches)
        w->scratches++;
}

struct attached {
    const char *attachment;
    bool open;
};

static void
disk_has(void *ctx, struct disk *d)
{
    struct attached *a = ctx;

    a->open |= !strcmp(disk_front(d)->attachment, a->attachment);
}

static bool
attachment_over(void *ctx, const char *attachment)
{
    struct attached a = { .attachment = attachment };
    struct world *w = ctx;

    disks_each(w->disks, disk_has, &a);
    return !a.open && xenbus_detached(w->xenbus, attachment);
}

/* Its name begins with the attachment, which has one comma. */
static bool
is_over(struct world *w, const char *path)
{
    char attachment[160];

    snprintf(attachment, sizeof attachment, "%s",
             path + strlen(WORLD_SCRATCH "/"));
    *strchr(strchr(attachment, ',') + 1, ',') = '\0';
    return attachment_over(w, attachment);
}

unsigned
world_sift(struct world *w)
{
    unsigned i = 0;

    w->sift = false;
    disks_sift_keys(w->disks, attachment_over, w);
    while (i < w->scratches) {
        if (!is_over(w, w->scratch[i])) {
            i++;
            continue;
        }
        points_pass();
        if (sim_file_size(w->sim, w->scratch[i]) >= 0)
            sim_file_remove(w->sim, w->scratch[i]);
        memmove(w->scratch[i], w->scratch[--w->scratches],
                sizeof w->scratch[i]);
    }
    return w->scratches;
}
