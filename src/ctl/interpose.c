/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interpose.c: both sides of an interposed disk.
 *
 * The daemon is not asked: it may run in another domain, and not at all in
 * this one.  XenStore is all that is needed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/way.h"
#include "host/host.h"
#include "xenbus/interpose.h"

const char interpose_help[] =
    "  add DISK VM VDEV TARGET [KEY=VALUE...] [ro]\n"
    "         give a guest a disk that is TARGET, a block device of this\n"
    "         domain, through the chain of DISK\n"
    "  remove VM VDEV [force]\n"
    "         take it away again; force: without waiting for the guest\n"
    "  hook add|remove PATH\n"
    "         for the script block-blktapd: the part below a vbd of xl's\n"
    "\n"
    "  VM       the guest's name or number\n"
    "  VDEV     the device as the guest names it: xvdb\n"
    "  domain=  the name or number of the domain of blktapd (this one)\n"
    "  number=  of the vbd between blktapd and this domain (as of VDEV)\n"
    "  kind=    of the guest's back-end (blktapd)\n"
    "  ro       it may only read\n";

/* How long a guest, and blktapd after it, get to let go. */
enum { LEAVE_S = 30 };

/* ---- XenStore ------------------------------------------------------------ */

void
way_close(struct way *w)
{
    if (w->store)
        w->store->ops->free(w->store);
    if (w->loop)
        w->loop->ops->free(w->loop);
}

int
way_open(struct way *w)
{
    const struct loop_posix_options none = { 0 };
    char why[300] = "";

    if (!loop_posix_new(&w->loop, "ctl", &none, why, sizeof why) &&
        !store_xen_open(&w->store, w->loop, why, sizeof why))
        return 0;
    way_close(w);
    return ctl_error("%s", why);
}

/* ---- add ----------------------------------------------------------------- */

int
target_look(const char *target, uint32_t *major, uint32_t *minor)
{
    struct stat st;

    if (stat(target, &st))
        return ctl_error("target: %s: %s", target, strerror(errno));
    if (!S_ISBLK(st.st_mode))
        return ctl_error("target: expected a block device, found %s%s", target,
                         S_ISREG(st.st_mode) ? ", a file (losetup makes one of"
                                               " it)"
                                             : "");
    *major = major(st.st_rdev);
    *minor = minor(st.st_rdev);
    return 0;
}

/* What stands after KEY=, or NULL. */
static const char *
after(const char *word, const char *key)
{
    size_t n = strlen(key);

    return strncmp(word, key, n) || word[n] != '=' ? NULL : word + n + 1;
}

static int
option_take(struct interpose *ask, const char *word)
{
    const char *value;

    if (!strcmp(word, "ro"))
        ask->readonly = true;
    else if ((value = after(word, "domain")))
        ask->domain = value;
    else if ((value = after(word, "number")))
        ask->number = value;
    else if ((value = after(word, "kind")))
        ask->kind = value;
    else
        return ctl_error("expected domain=, number=, kind= or ro, found "
                         "\"%s\"",
                         word);
    return 0;
}

static int
add(const struct ctl *ctl, int argc, char **argv)
{
    struct interpose ask = {
        .disk = argv[0], .vm = argv[1], .vdev = argv[2], .target = argv[3]
    };
    struct way way = { NULL, NULL };
    char path[64], why[400];
    int rc;

    for (int i = 4; i < argc; i++)
        if (option_take(&ask, argv[i]))
            return 1;
    if (target_look(ask.target, &ask.major, &ask.minor) || way_open(&way))
        return 1;
    rc = interpose_add(way.store, &ask, path, sizeof path, why, sizeof why);
    if (rc)
        ctl_error("%s", why);
    else if (ctl->json)
        printf("{ \"path\": \"%s\" }\n", path);
    else
        printf("made; the last layer of %s has to be\n"
               "{ plugin = \"vbd\"; path = \"%s\"; }\n",
               ask.disk, path);
    way_close(&way);
    return rc ? 1 : 0;
}

/* ---- remove -------------------------------------------------------------- */

static int
wait_left(struct store *s, struct interposed *i, const char *vdev)
{
    const struct timespec nap = { .tv_nsec = 100000000 };
    enum interpose_left left = interpose_left(s, i);

    for (int n = 0; left != INTERPOSE_LEFT && n < LEAVE_S * 10; n++) {
        nanosleep(&nap, NULL);
        left = interpose_left(s, i);
    }
    if (left == INTERPOSE_HELD)
        return ctl_error("the guest did not let go of %s within %d s (it goes "
                         "on when it does: then remove it again; or force)",
                         vdev, LEAVE_S);
    if (left == INTERPOSE_OPEN)
        return ctl_error("the guest let go of %s, but blktapd did not close "
                         "its disk within %d s (remove it again later; or "
                         "force)",
                         vdev, LEAVE_S);
    return 0;
}

static int
take_away(struct store *s, struct interposed *i, const char *vdev, bool force)
{
    char why[400];

    if (!force) {
        if (interpose_leave(s, i, why, sizeof why))
            return ctl_error("%s", why);
        if (wait_left(s, i, vdev))
            return 1;
    }
    return interpose_remove(s, i, why, sizeof why) ? ctl_error("%s", why) : 0;
}

static int
removed(int argc, char **argv)
{
    struct way way = { NULL, NULL };
    struct interposed *i;
    char why[400];
    int rc;

    if (argc == 3 && strcmp(argv[2], "force"))
        return ctl_error("expected force or nothing, found \"%s\"", argv[2]);
    if (way_open(&way))
        return 1;
    if (interpose_find(way.store, argv[0], argv[1], &i, why, sizeof why)) {
        rc = ctl_error("%s", why);
    } else {
        rc = take_away(way.store, i, argv[1], argc == 3);
        interpose_free(i);
    }
    way_close(&way);
    return rc;
}

int
interpose_run(const struct ctl *ctl, int argc, char **argv)
{
    if (!strcmp(argv[0], "add"))
        return argc >= 5 ? add(ctl, argc - 1, argv + 1)
                         : ctl_error("usage: blktapctl interpose add DISK VM "
                                     "VDEV TARGET [KEY=VALUE...] [ro]");
    if (!strcmp(argv[0], "remove"))
        return argc == 3 || argc == 4
                   ? removed(argc - 1, argv + 1)
                   : ctl_error("usage: blktapctl interpose remove VM VDEV "
                               "[force]");
    if (!strcmp(argv[0], "hook"))
        return hook_run(argc - 1, argv + 1);
    return ctl_error("interpose: expected add, remove or hook, found \"%s\"",
                     argv[0]);
}
