/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook.c: `blktapctl interpose hook', for the script that libxl runs.
 *
 * What add has begun and can't finish it takes back.  remove is well with what
 * is gone, or never was: libxl runs the script for whatever it takes down.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/way.h"
#include "host/host.h"
#include "xenbus/interpose.h"

/* How long blktapd gets to close its disk; the script has 40 s in all. */
enum { CLOSE_S = 15 };

struct hooking {
    const char *path;
    struct interpose_hook h;
    bool read; /* later its nodes no longer say what was asked for */
    struct interposed *found;
};

static void
take_back(struct store *s, const char *path)
{
    struct interposed *i;
    char why[400];

    if (interpose_hook_find(s, path, &i, why, sizeof why))
        return;
    if (interpose_hook_remove(s, i, why, sizeof why))
        ctl_error("%s", why);
    interpose_free(i);
}

static int
take_upper(struct store *s, const struct interpose_hook *h, char *why, size_t n)
{
    char device[48];
    int rc;

    snprintf(device, sizeof device, "vbd-%" PRIu32 "-%" PRIu32, h->domid,
             h->devid);
    rc = host_kernel_release("vbd", device);
    if (!rc)
        return interpose_hook_hand(s, h, why, n);
    snprintf(why, n,
             "xen-blkback does not let go of %s: %s (/sys/bus/xen-backend/"
             "drivers/vbd/unbind)",
             device, strerror(-rc));
    return rc;
}

/* The lower one first: as long as something is wrong with it, the upper one
 * stays the kernel's, which knows how to let it go. */
static int
add_try(struct store *s, void *arg, char *why, size_t n)
{
    struct hooking *k = arg;
    uint32_t major, minor;
    int rc = 0;

    if (!k->read)
        rc = interpose_hook_read(s, k->path, &k->h, why, n);
    if (rc)
        return rc;
    k->read = true;
    rc = target_look(k->h.target, &major, &minor, why, n);
    if (!rc)
        rc = interpose_hook_make(s, &k->h, major, minor, why, n);
    k->h.again = true;
    if (rc)
        return rc;
    rc = take_upper(s, &k->h, why, n);
    if (rc)
        take_back(s, k->path);
    return rc;
}

static void
wait_closed(struct store *s, struct interposed *i)
{
    const struct timespec nap = { .tv_nsec = 100000000 };
    int n;

    for (n = 0; n < CLOSE_S * 10 && !interpose_hook_closed(s, i); n++)
        nanosleep(&nap, NULL);
    if (n == CLOSE_S * 10)
        ctl_error("blktapd did not close its disk within %d s: the device "
                  "below is taken away from it",
                  CLOSE_S);
}

static int
remove_try(struct store *s, void *arg, char *why, size_t n)
{
    struct hooking *k = arg;
    int rc = 0;

    if (!k->found)
        rc = interpose_hook_find(s, k->path, &k->found, why, n);
    if (rc)
        return rc == -ENOENT ? 0 : rc;
    wait_closed(s, k->found);
    return interpose_hook_remove(s, k->found, why, n);
}

int
hook_run(int argc, char **argv)
{
    struct hooking k = { .path = argc == 2 ? argv[1] : NULL };
    int rc;

    if (argc != 2 || (strcmp(argv[0], "add") && strcmp(argv[0], "remove")))
        return ctl_error("usage: blktapctl interpose hook add|remove PATH");
    rc = way_do(!strcmp(argv[0], "add") ? add_try : remove_try, &k);
    interpose_free(k.found);
    return rc;
}
