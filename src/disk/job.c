/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * job.c: the jobs that a disk's control half sends to its data half: made,
 * also when there is no memory, and given back with all that they hold.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/disk_private.h"

/* A disk's life goes on without memory: of each step of it one is under way at
 * a time, and has its job in the disk. */
static struct job *
job_spare(struct disk *d, enum job_kind kind)
{
    if (kind >= JOB_MUST)
        return NULL;
    assert(!d->spared[kind]);
    d->spared[kind] = true;
    memset(&d->spare[kind], 0, sizeof d->spare[kind]);
    return &d->spare[kind];
}

struct job *
disk_job(struct disk *d, enum job_kind kind, void (*answer)(struct job *),
         disk_fn *fn, void *ctx)
{
    struct job *j = calloc(1, sizeof *j);

    if (!j)
        j = job_spare(d, kind);
    if (!j)
        return NULL;
    j->disk = d;
    j->kind = kind;
    j->drain_ns = d->disks->drain_ns;
    j->answer = answer;
    j->fn = fn;
    j->ctx = ctx;
    j->inherit = j->room = j->table_fd = -1;
    return j;
}

/* A disk that closes may be gone before the jobs that it did not get, but those
 * are none of its own. */
static void
job_memory_free(struct job *j)
{
    if (j->kind < JOB_MUST && j == &j->disk->spare[j->kind])
        j->disk->spared[j->kind] = false;
    else
        free(j);
}

void
job_free(struct job *j)
{
    int i;

    for (i = 0; i < j->argc; i++)
        free(j->argv[i]);
    free(j->argv);
    free(j->layer);
    if (j->is_local)
        local_share_close(&j->share);
    if (j->inherit >= 0)
        close(j->inherit);
    if (j->room >= 0)
        close(j->room);
    if (j->table_fd >= 0)
        close(j->table_fd);
    if (j->json)
        json_object_put(j->json);
    job_memory_free(j);
}
