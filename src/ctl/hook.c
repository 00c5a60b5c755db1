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
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/way.h"
#include "host/host.h"
#include "xenbus/interpose.h"

/* How long blktapd gets to close its disk; the script has 40 s in all. */
enum { CLOSE_S = 15 };

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

/* The lower one first: as long as something is wrong with it, the upper one
 * stays the kernel's, which knows how to let it go. */
static int
add_below(struct store *s, const char *path)
{
    struct interpose_hook h;
    char device[48], why[400];
    uint32_t major, minor;
    int rc;

    if (interpose_hook_read(s, path, &h, why, sizeof why))
        return ctl_error("%s", why);
    if (target_look(h.target, &major, &minor))
        return 1;
    if (interpose_hook_make(s, &h, major, minor, why, sizeof why))
        return ctl_error("%s", why);
    snprintf(device, sizeof device, "vbd-%" PRIu32 "-%" PRIu32, h.domid,
             h.devid);
    rc = host_kernel_release("vbd", device);
    if (rc)
        snprintf(why, sizeof why,
                 "xen-blkback does not let go of %s: %s (/sys/bus/xen-backend/"
                 "drivers/vbd/unbind)",
                 device, strerror(-rc));
    else
        rc = interpose_hook_hand(s, &h, why, sizeof why);
    if (!rc)
        return 0;
    ctl_error("%s", why);
    take_back(s, path);
    return 1;
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
remove_below(struct store *s, const char *path)
{
    struct interposed *i;
    char why[400];
    int rc = interpose_hook_find(s, path, &i, why, sizeof why);

    if (rc == -ENOENT)
        return 0;
    if (rc)
        return ctl_error("%s", why);
    wait_closed(s, i);
    rc = interpose_hook_remove(s, i, why, sizeof why);
    interpose_free(i);
    return rc ? ctl_error("%s", why) : 0;
}

int
hook_run(int argc, char **argv)
{
    struct way way = { NULL, NULL };
    int rc;

    if (argc != 2 || (strcmp(argv[0], "add") && strcmp(argv[0], "remove")))
        return ctl_error("usage: blktapctl interpose hook add|remove PATH");
    if (way_open(&way))
        return 1;
    rc = !strcmp(argv[0], "add") ? add_below(way.store, argv[1])
                                 : remove_below(way.store, argv[1]);
    way_close(&way);
    return rc;
}
