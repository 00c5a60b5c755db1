/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check.c: the rules that need more than one disk, or the plugins.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

static int
by_name(const void *a, const void *b)
{
    const struct conf_disk *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);

    /* Equals stay in the order of reading: they are in one array. */
    return order ? order : (*x > *y) - (*x < *y);
}

static int
by_device(const void *a, const void *b)
{
    const struct conf_disk *const *x = a, *const *y = b;
    int order;

    if (!(*x)->vm || !(*y)->vm)
        return ((*x)->vm != NULL) - ((*y)->vm != NULL);
    order = strcmp((*x)->vm, (*y)->vm);
    if (!order)
        order = ((*x)->devid > (*y)->devid) - ((*x)->devid < (*y)->devid);
    return order ? order : (*x > *y) - (*x < *y);
}

static int
names_differ(struct reader *r, const struct conf_disk **sorted)
{
    const struct conf_disk *d, *first;
    unsigned i;
    int rc = 0;

    for (i = 1; i < r->conf->disks; i++) {
        d = sorted[i], first = sorted[i - 1];
        if (!strcmp(d->name, first->name))
            rc = reader_fail_at(r, d->file, d->line, "name",
                                "expected another name, found \"%s\" as at "
                                "%s:%d",
                                d->name, first->file, first->line);
    }
    return rc;
}

static int
devices_differ(struct reader *r, const struct conf_disk **sorted)
{
    const struct conf_disk *d, *first;
    unsigned i;
    int rc = 0;

    for (i = 1; i < r->conf->disks; i++) {
        d = sorted[i], first = sorted[i - 1];
        if (d->vm && first->vm && !strcmp(d->vm, first->vm) &&
            d->devid == first->devid)
            rc = reader_fail_at(r, d->file, d->line, "vdev",
                                "expected one disk per device, found %s of "
                                "\"%s\" as at %s:%d",
                                d->vdev, d->vm, first->file, first->line);
    }
    return rc;
}

/* What the engine says begins with the place, where it knows it. */
static int
chain_refused(struct reader *r, const struct conf_disk *d, const char *why)
{
    size_t n = strlen(d->file);

    if (!strncmp(why, d->file, n) && why[n] == ':')
        return reader_fail_at(r, NULL, 0, NULL, "%s", why);
    return reader_fail_at(r, d->file, d->line, "chain", "%s", why);
}

int
disks_check(struct reader *r)
{
    struct conf *conf = r->conf;
    const struct conf_disk **sorted;
    char why[512];
    unsigned i;
    int rc = 0;

    sorted = calloc((size_t)conf->disks + 1, sizeof(*sorted));
    if (!sorted)
        return reader_oom(r);
    for (i = 0; i < conf->disks; i++)
        sorted[i] = &conf->disk[i];
    qsort(sorted, conf->disks, sizeof(*sorted), by_name);
    if (names_differ(r, sorted))
        rc = -EINVAL;
    qsort(sorted, conf->disks, sizeof(*sorted), by_device);
    if (devices_differ(r, sorted))
        rc = -EINVAL;
    for (i = 0; i < conf->disks; i++) {
        struct conf_disk *d = &conf->disk[i];

        why[0] = '\0';
        if (chain_check(&d->chain, why, sizeof(why))) {
            rc = chain_refused(r, d, why);
            continue;
        }
        if (d->mode == MODE_ANY)
            mode_follow(d);
        if (mode_check(d, why, sizeof(why)))
            rc = reader_fail_at(r, d->file, d->line, "mode", "%s", why);
    }
    free(sorted);
    return rc;
}
