/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook.c: an interposed disk whose upper vbd libxl made, see interpose.h.
 *
 * Kind vbd is the only one that libxl makes with a script of ours in every
 * version, and xen-blkback takes each of them at once: by state 2, for which
 * libxl waits before it runs the script, the upper one is the kernel's.  It is
 * new again when it is handed over, so that what the kernel has offered is not
 * what counts; or it is moved, where blktapd is in another domain: hook_move.c.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/lower.h"

/* ---- what is asked ------------------------------------------------------- */

/* "backend/vbd/7/51712" */
static int
hook_path(const char *path, uint32_t *domid, uint32_t *devid, char *why,
          size_t n)
{
    static const char kind[] = "backend/vbd/";
    uint64_t guest = 0, device = 0;
    char first[16];
    const char *slash = NULL, *numbers = NULL;
    bool good = !strncmp(path, kind, strlen(kind));

    if (good) {
        numbers = path + strlen(kind);
        slash = strchr(numbers, '/');
        good = slash && slash - numbers < (int)sizeof first;
    }
    if (good) {
        snprintf(first, sizeof first, "%.*s", (int)(slash - numbers), numbers);
        good = number_parse(first, UINT16_MAX, &guest) &&
               number_parse(slash + 1, UINT32_MAX, &device);
    }
    if (!good)
        return pair_say(-EINVAL, why, n,
                        "expected the path of a back-end as backend/vbd/7/51712"
                        ", found \"%s\"",
                        path);
    *domid = (uint32_t)guest;
    *devid = (uint32_t)device;
    return 0;
}

static bool
copied(char *to, size_t size, const char *from, size_t length)
{
    if (!length || length >= size)
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    return true;
}

/* [DOMAIN/]DISK[:NUMBER]:DEVICE.  Neither a disk's name nor a number has a
 * colon or a slash. */
static bool
hook_parse(const char *params, struct interpose_hook *h)
{
    const char *device = strstr(params, ":/"), *slash;
    size_t disk;

    h->number[0] = h->domain[0] = '\0';
    if (!device ||
        !copied(h->target, sizeof h->target, device + 1, strlen(device + 1)))
        return false;
    slash = memrchr(params, '/', (size_t)(device - params));
    if (slash &&
        !copied(h->domain, sizeof h->domain, params, (size_t)(slash - params)))
        return false;
    params = slash ? slash + 1 : params;
    disk = strcspn(params, ":");
    if (!copied(h->disk, sizeof h->disk, params, disk))
        return false;
    params += disk;
    return params == device || copied(h->number, sizeof h->number, params + 1,
                                      (size_t)(device - params - 1));
}

static void
upper_paths(struct interposed *i, const struct interpose_hook *h)
{
    *i = (struct interposed){
        .upper = { .self = h->self, .domid = h->domid, .devid = h->devid }
    };
    if (h->self)
        move_paths(i);
    else
        pair_paths(&i->upper, "vbd");
}

/* Of the one that libxl made. */
static void
libxl_back(char *out, size_t size, const struct interpose_hook *h)
{
    snprintf(out, size, "/local/domain/0/backend/vbd/%" PRIu32 "/%" PRIu32,
             h->domid, h->devid);
}

static int
in_domain0(struct store *s, char *why, size_t n)
{
    uint32_t own;
    int rc = node_own_domid(s, &own);

    if (rc)
        return pair_say(rc, why, n, "XenStore: domid: %s", strerror(-rc));
    if (own)
        return pair_say(-EPERM, why, n,
                        "interpose: expected to run in domain 0, found domain "
                        "%" PRIu32 " (there the device below is a vbd of its "
                        "own: see blktap-vbd(7))",
                        own);
    return 0;
}

/* A copy of the node; what is missing is "". */
static int
hook_text(struct store *s, const char *dir, const char *leaf, char *out,
          size_t size)
{
    char *text = node_text(s, 0, dir, leaf);
    int rc = text || errno == ENOENT ? 0 : -errno;

    snprintf(out, size, "%s", text ? text : "");
    free(text);
    return rc;
}

static int
hook_domain(struct store *s, struct interpose_hook *h, char *why, size_t n)
{
    int rc;

    h->self = 0;
    if (!h->domain[0])
        return 0;
    rc = pair_vm(s, h->domain, true, &h->self, why, n);
    if (rc == -ENOENT)
        return pair_say(rc, why, n,
                        "target: expected the name or number of a running "
                        "domain before the slash, found \"%s\"",
                        h->domain);
    if (!rc && h->self == h->domid)
        return pair_say(-EINVAL, why, n,
                        "target: expected another domain than the guest's, "
                        "found \"%s\"",
                        h->domain);
    return rc;
}

int
interpose_hook_read(struct store *s, const char *path, struct interpose_hook *h,
                    char *why, size_t n)
{
    char params[4 * INTERPOSE_TEXT], mode[16], back[VBD_PATH];
    int rc = hook_path(path, &h->domid, &h->devid, why, n);

    if (!rc)
        rc = in_domain0(s, why, n);
    if (rc)
        return rc;
    libxl_back(back, sizeof back, h);
    rc = hook_text(s, back, "params", params, sizeof params);
    if (!rc)
        rc = hook_text(s, back, "mode", mode, sizeof mode);
    if (!rc)
        rc = hook_text(s, back, "dev", h->vdev, sizeof h->vdev);
    if (rc)
        return pair_say(rc, why, n, "XenStore: %s: %s", back, strerror(-rc));
    h->readonly = !strchr(mode, 'w');
    if (!hook_parse(params, h))
        return pair_say(-EINVAL, why, n,
                        "target: expected [DOMAIN/]DISK[:NUMBER]:DEVICE, found "
                        "\"%s\"",
                        params);
    return hook_domain(s, h, why, n);
}

/* ---- the lower one ------------------------------------------------------- */

struct make {
    const struct interpose *ask;
    char libxl[VBD_PATH];
    const struct interposed *made;
    uint32_t number;
};

static int
make_tx(struct store *s, store_tx tx, void *arg)
{
    struct make *m = arg;

    /* It may be taken away while we are at it: then nobody would remove ours.
     */
    if (!pair_exists(s, tx, m->libxl))
        return -ENOENT;
    if (m->ask->again && lower_is(s, tx, m->made, m->ask))
        return 0;
    /* From now on they would be taken for ours. */
    if (m->made->moved && move_taken(s, tx, m->made))
        return -EBUSY;
    return lower_make(s, tx, m->made, m->number, m->ask);
}

int
interpose_hook_make(struct store *s, const struct interpose_hook *h,
                    uint32_t major, uint32_t minor, char *why, size_t n)
{
    const struct interpose ask = { .vdev = h->vdev,
                                   .target = h->target,
                                   .major = major,
                                   .minor = minor,
                                   .readonly = h->readonly,
                                   .again = h->again };
    struct interposed i;
    struct make m = { .ask = &ask, .made = &i };
    int rc = lower_number(h->number[0] ? h->number : NULL, h->devid, &m.number,
                          why, n);

    if (rc)
        return rc;
    libxl_back(m.libxl, sizeof m.libxl, h);
    upper_paths(&i, h);
    lower_paths(&i, m.number);
    rc = node_transact(s, make_tx, &m);
    if (rc == -EEXIST)
        return lower_there(&i, m.number, why, n);
    if (rc == -EBUSY)
        return move_refused(&i, why, n);
    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", i.back, strerror(-rc))
              : 0;
}

int
interpose_hook_find(struct store *s, const char *path, struct interposed **out,
                    char *why, size_t n)
{
    struct interposed i = { .upper = { 0 } };
    int rc = hook_path(path, &i.upper.domid, &i.upper.devid, why, n);

    if (rc)
        return rc;
    if (!lower_find(s, &i))
        return -ENOENT;
    *out = malloc(sizeof **out);
    if (!*out)
        return pair_say(-ENOMEM, why, n, "no memory");
    **out = i;
    return 0;
}

bool
interpose_hook_moved(const struct interposed *i)
{
    return i->moved;
}

bool
interpose_hook_closed(struct store *s, struct interposed *i)
{
    return lower_closed(s, i);
}

static int
lower_remove_tx(struct store *s, store_tx tx, void *arg)
{
    return lower_remove(s, tx, arg);
}

int
interpose_hook_remove(struct store *s, struct interposed *i, char *why,
                      size_t n)
{
    int rc;

    if (i->moved)
        return interpose_remove(s, i, why, n);
    rc = node_transact(s, lower_remove_tx, i);
    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", i->back, strerror(-rc))
              : 0;
}

/* ---- the upper one ------------------------------------------------------- */

struct hand {
    const struct interpose_hook *hook;
    const char *back;
    enum bus_state found;
};

static int
hand_tx(struct store *s, store_tx tx, void *arg)
{
    struct hand *h = arg;
    char path[NODE_PATH];
    int rc = node_state(s, tx, h->back, &h->found);

    if (rc)
        return rc;
    if (h->hook->again && node_is(s, tx, h->back, INTERPOSE_HANDED, "1"))
        return 0;
    if (h->found != BUS_INITIALISING && h->found != BUS_INIT_WAIT)
        return -ESTALE;
    rc = node_put(s, tx, h->back, "params", h->hook->disk);
    if (!rc)
        rc = node_put(s, tx, h->back, INTERPOSE_HANDED, "1");
    if (!rc)
        rc = node_path(path, h->back, "state");
    /* Also where it is that already: it is what blktapd looks at. */
    return rc ? rc : s->ops->write(s, tx, path, "1");
}

int
interpose_hook_hand(struct store *s, const struct interpose_hook *hook,
                    char *why, size_t n)
{
    struct interposed i;
    struct hand h = { .hook = hook, .back = i.upper.back };
    int rc;

    upper_paths(&i, hook);
    if (i.moved)
        return hook_move(s, hook, &i, why, n);
    rc = node_transact(s, hand_tx, &h);
    if (rc == -ESTALE)
        return pair_say(rc, why, n,
                        "%s: expected a new vbd, found one that is %s",
                        i.upper.back, bus_name(h.found));
    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", i.upper.back,
                         strerror(-rc))
              : 0;
}
