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
#include "xenbus/interpose.h"

const char interpose_help[] =
    "  add DISK VM VDEV TARGET [KEY=VALUE...] [ro]\n"
    "         give a guest a disk that is TARGET, a block device of this\n"
    "         domain, through the chain of DISK\n"
    "  remove VM VDEV [force]\n"
    "         take it away again; force: without waiting for the guest\n"
    "  hook add PATH, hook remove PATH [force]\n"
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

/* ---- add ----------------------------------------------------------------- */

int
target_look(const char *target, uint32_t *major, uint32_t *minor, char *why,
            size_t n)
{
    struct stat st;
    int rc;

    if (stat(target, &st)) {
        rc = -errno; /* as it was before the sentence was made */
        snprintf(why, n, "target: %s: %s", target, strerror(-rc));
        return rc;
    }
    if (!S_ISBLK(st.st_mode)) {
        snprintf(why, n, "target: expected a block device, found %s%s", target,
                 S_ISREG(st.st_mode) ? ", a file (losetup makes one of it)"
                                     : "");
        return -ENOTBLK;
    }
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

struct adding {
    struct interpose ask;
    char path[64];
};

static int
add_try(struct store *s, void *arg, char *why, size_t n)
{
    struct adding *a = arg;
    int rc = interpose_add(s, &a->ask, a->path, sizeof a->path, why, n);

    a->ask.again = true;
    return rc;
}

static int
add(const struct ctl *ctl, int argc, char **argv)
{
    struct adding a = { .ask = { .disk = argv[0],
                                 .vm = argv[1],
                                 .vdev = argv[2],
                                 .target = argv[3] } };
    char why[400];

    for (int i = 4; i < argc; i++)
        if (option_take(&a.ask, argv[i]))
            return 1;
    if (target_look(a.ask.target, &a.ask.major, &a.ask.minor, why, sizeof why))
        return ctl_error("%s", why);
    if (way_do(add_try, &a))
        return 1;
    if (ctl->json)
        printf("{ \"path\": \"%s\" }\n", a.path);
    else
        printf("made; the last layer of %s has to be\n"
               "{ plugin = \"vbd\"; path = \"%s\"; }\n",
               a.ask.disk, a.path);
    return 0;
}

/* ---- remove -------------------------------------------------------------- */

int
left_wait(struct store *s, struct interposed *i, const char *vdev, char *why,
          size_t n)
{
    const struct timespec nap = { .tv_nsec = 100000000 };
    enum interpose_left left = interpose_left(s, i);

    for (int k = 0; left != INTERPOSE_LEFT && k < LEAVE_S * 10; k++) {
        nanosleep(&nap, NULL);
        left = interpose_left(s, i);
    }
    if (left == INTERPOSE_HELD)
        snprintf(why, n,
                 "the guest did not let go of %s within %d s (it goes on when "
                 "it does: then remove it again; or force)",
                 vdev, LEAVE_S);
    if (left == INTERPOSE_OPEN)
        snprintf(why, n,
                 "the guest let go of %s, but blktapd did not close its disk "
                 "within %d s (remove it again later; or force)",
                 vdev, LEAVE_S);
    return left == INTERPOSE_LEFT ? 0 : -ETIMEDOUT;
}

struct removing {
    const char *vm, *vdev;
    bool force;
    struct interposed *found; /* also in a try before */
};

static int
remove_try(struct store *s, void *arg, char *why, size_t n)
{
    struct removing *r = arg;
    int rc = 0;

    if (!r->found)
        rc = interpose_find(s, r->vm, r->vdev, &r->found, why, n);
    if (!rc && !r->force)
        rc = interpose_leave(s, r->found, why, n);
    if (!rc && !r->force)
        rc = left_wait(s, r->found, r->vdev, why, n);
    return rc ? rc : interpose_remove(s, r->found, why, n);
}

static int
removed(int argc, char **argv)
{
    struct removing r = { .vm = argv[0], .vdev = argv[1], .force = argc == 3 };
    int rc;

    if (r.force && strcmp(argv[2], "force"))
        return ctl_error("expected force or nothing, found \"%s\"", argv[2]);
    rc = way_do(remove_try, &r);
    interpose_free(r.found);
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
