/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook.c: `blktapctl interpose hook', for the script that libxl runs.
 *
 * What add has begun and can't finish it takes back.  remove is well with what
 * is gone, or never was: libxl runs the script for whatever it takes down.  It
 * asks the guest, where libxl can't, unless it is told that the guest can't
 * answer.
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
    bool force;
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

typedef bool gone_fn(struct store *, struct interposed *);

static bool
is_left(struct store *s, struct interposed *i)
{
    return interpose_left(s, i) == INTERPOSE_LEFT;
}

static void
wait_closed(struct store *s, struct interposed *i, gone_fn *gone)
{
    const struct timespec nap = { .tv_nsec = 100000000 };
    int n;

    for (n = 0; n < CLOSE_S * 10 && !gone(s, i); n++)
        nanosleep(&nap, NULL);
    if (n == CLOSE_S * 10)
        ctl_error("blktapd did not close its disk within %d s: the device "
                  "below is taken away from it",
                  CLOSE_S);
}

/* libxl has asked the guest, and waited, for a vbd of its own alone. */
static int
wait_guest(struct store *s, const struct hooking *k, char *why, size_t n)
{
    int rc;

    if (!interpose_hook_moved(k->found)) {
        wait_closed(s, k->found, interpose_hook_closed);
        return 0;
    }
    /* The other domain may have spoilt its nodes: they go all the same. */
    if (k->force) {
        if (!interpose_hook_cut(s, k->found, why, n))
            wait_closed(s, k->found, is_left);
        return 0;
    }
    rc = interpose_leave(s, k->found, why, n);
    return rc ? rc : left_wait(s, k->found, k->path, why, n);
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
    rc = wait_guest(s, k, why, n);
    return rc ? rc : interpose_hook_remove(s, k->found, why, n);
}

/* add PATH, remove PATH, remove PATH force */
static bool
words_good(int argc, char **argv)
{
    if (argc == 2)
        return !strcmp(argv[0], "add") || !strcmp(argv[0], "remove");
    return argc == 3 && !strcmp(argv[0], "remove") && !strcmp(argv[2], "force");
}

int
hook_run(int argc, char **argv)
{
    struct hooking k = { .force = argc == 3 };
    int rc;

    if (!words_good(argc, argv))
        return ctl_error("usage: blktapctl interpose hook add PATH, or remove "
                         "PATH [force]");
    k.path = argv[1];
    rc = way_do(!strcmp(argv[0], "add") ? add_try : remove_try, &k);
    interpose_free(k.found);
    return rc;
}
