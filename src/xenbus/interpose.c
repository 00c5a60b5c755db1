/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* interpose.c: see interpose.h. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/lower.h"

/* Of the lower vbd's front-end, in its domain. */
#define PLACE "data/blktapd-vbd"
/* In the lower back-end: the upper front-end, where it is not as usual. */
#define FRONT_NODE "interposes-front"

void
lower_paths(struct interposed *i, uint32_t number)
{
    snprintf(i->front, sizeof i->front,
             "/local/domain/%" PRIu32 "/" PLACE "/%" PRIu32, i->upper.self,
             number);
    snprintf(i->back, sizeof i->back,
             "/local/domain/0/backend/vbd/%" PRIu32 "/%" PRIu32, i->upper.self,
             number);
}

/* ---- add ----------------------------------------------------------------- */

struct add {
    const struct interpose *ask;
    const struct xenbus_attach *attach;
    const struct interposed *made;
    uint32_t number;
    bool lower_there;
};

static int
write_lower(struct store *s, store_tx tx, const struct interposed *i,
            uint32_t as, const struct interpose *ask)
{
    char self[16], number[16], device[32];
    const char *mode = ask->readonly ? "r" : "w";
    const struct pair_node front[] = {
        { "backend", i->back },
        { "backend-id", "0" },
        { "virtual-device", number },
        { "device-type", "disk" },
        { "state", "1" },
        { NULL, NULL },
    };
    const struct pair_node back[] = {
        { "frontend", i->front },
        { "frontend-id", self },
        { "interposes", i->upper.back },
        { "online", "1" },
        { "removable", "0" },
        { "bootable", "1" },
        { "dev", ask->vdev },
        { "type", "phy" },
        { "mode", mode },
        { "device-type", "disk" },
        { "params", ask->target },
        { "physical-device", device },
        { "state", "1" },
        { NULL, NULL },
    };
    int rc;

    snprintf(self, sizeof self, "%" PRIu32, i->upper.self);
    snprintf(number, sizeof number, "%" PRIu32, as);
    snprintf(device, sizeof device, "%" PRIx32 ":%" PRIx32, ask->major,
             ask->minor);
    rc = pair_dir(s, tx, i->front, i->upper.self, 0);
    if (!rc)
        rc = pair_write(s, tx, i->front, front);
    if (!rc)
        rc = pair_dir(s, tx, i->back, 0, i->upper.self);
    if (!rc && i->moved)
        rc = node_put(s, tx, i->back, FRONT_NODE, i->upper.front);
    return rc ? rc : pair_write(s, tx, i->back, back);
}

int
lower_make(struct store *s, store_tx tx, const struct interposed *i,
           uint32_t number, const struct interpose *ask)
{
    if (pair_exists(s, tx, i->front) || pair_exists(s, tx, i->back))
        return -EEXIST;
    return write_lower(s, tx, i, number, ask);
}

/* A domain that never served has no such directory; it may read, and write,
 * what is below it. */
int
make_backends(struct store *s, store_tx tx, uint32_t domid)
{
    char dir[64];

    snprintf(dir, sizeof dir, "/local/domain/%" PRIu32 "/backend", domid);
    return pair_exists(s, tx, dir) ? 0 : pair_dir(s, tx, dir, domid, 0);
}

bool
node_is(struct store *s, store_tx tx, const char *dir, const char *leaf,
        const char *text)
{
    char *found = node_text(s, tx, dir, leaf);
    bool same = found && !strcmp(found, text);

    free(found);
    return same;
}

bool
lower_is(struct store *s, store_tx tx, const struct interposed *i,
         const struct interpose *ask)
{
    return node_is(s, tx, i->back, "interposes", i->upper.back) &&
           node_is(s, tx, i->back, "params", ask->target);
}

static int
add_tx(struct store *s, store_tx tx, void *arg)
{
    struct add *a = arg;
    int rc;

    if (a->ask->again && lower_is(s, tx, a->made, a->ask) &&
        node_is(s, tx, a->made->upper.back, "params", a->ask->disk))
        return 0;
    rc = make_backends(s, tx, a->made->upper.self);
    if (!rc)
        rc = lower_make(s, tx, a->made, a->number, a->ask);
    a->lower_there = rc == -EEXIST;
    return rc ? rc : pair_make(s, tx, &a->made->upper, a->attach);
}

int
lower_there(const struct interposed *i, uint32_t number, char *why, size_t n)
{
    return pair_say(-EEXIST, why, n,
                    "number: expected one that domain %" PRIu32
                    " has no vbd of, found %" PRIu32 " in use (%s)",
                    i->upper.self, number, i->back);
}

static int
add_error(int rc, const struct add *a, char *why, size_t n)
{
    if (rc == -EEXIST && a->lower_there)
        return lower_there(a->made, a->number, why, n);
    if (rc == -EEXIST)
        return pair_say(rc, why, n,
                        "vdev: expected a free one, found %s in use in vm %s",
                        a->ask->vdev, a->ask->vm);
    return pair_say(rc, why, n, "XenStore: %s: %s", a->made->back,
                    strerror(-rc));
}

/* Who is who; -errno with a sentence. */
static int
add_domains(struct store *s, const struct interpose *ask, struct pair *p,
            char *why, size_t n)
{
    int rc = node_own_domid(s, &p->own);

    if (rc)
        return pair_say(rc, why, n, "XenStore: domid: %s", strerror(-rc));
    if (p->own)
        return pair_say(-EPERM, why, n,
                        "interpose: expected to run in domain 0, found domain "
                        "%" PRIu32,
                        p->own);
    if (ask->domain)
        rc = pair_vm(s, ask->domain, true, &p->self, why, n);
    if (!rc)
        rc = pair_vm(s, ask->vm, true, &p->domid, why, n);
    if (!rc && p->domid == p->self)
        rc = pair_say(-EINVAL, why, n,
                      "vm: expected another domain than blktapd's, found "
                      "domain %" PRIu32 " for both",
                      p->self);
    return rc;
}

int
lower_number(const char *text, uint32_t devid, uint32_t *out, char *why,
             size_t n)
{
    uint64_t number = devid;

    if (text && !number_parse(text, UINT32_MAX, &number))
        return pair_say(-EINVAL, why, n,
                        "number: expected a whole number, found \"%s\"", text);
    *out = (uint32_t)number;
    return 0;
}

int
interpose_add(struct store *s, const struct interpose *ask, char *path,
              size_t path_size, char *why, size_t n)
{
    const char *kind = ask->kind ? ask->kind : "blktapd";
    const struct xenbus_attach attach = { .vm = ask->vm,
                                          .vdev = ask->vdev,
                                          .kind = kind,
                                          .params = ask->disk,
                                          .readonly = ask->readonly };
    struct interposed i = { .upper = { 0 } };
    struct add a = { .ask = ask, .attach = &attach, .made = &i };
    int rc = pair_words(kind, ask->vdev, &i.upper.devid, why, n);

    if (!rc)
        rc = lower_number(ask->number, i.upper.devid, &a.number, why, n);
    if (!rc)
        rc = add_domains(s, ask, &i.upper, why, n);
    if (rc)
        return rc;
    /* xen-blkback is in this domain: it would take the upper one, too. */
    if (!i.upper.self && !strcmp(kind, "vbd"))
        return pair_say(-EINVAL, why, n,
                        "kind: expected another one than that of xen-blkback, "
                        "found \"vbd\"");
    pair_paths(&i.upper, kind);
    lower_paths(&i, a.number);
    rc = node_transact(s, add_tx, &a);
    if (rc)
        return add_error(rc, &a, why, n);
    snprintf(path, path_size, PLACE "/%" PRIu32, a.number);
    return 0;
}

/* ---- find ---------------------------------------------------------------- */

/* The upper back-end's path says the rest: .../backend/KIND/GUEST/DEVICE. */
static bool
is_that(struct store *s, struct interposed *i, uint32_t self, uint32_t number)
{
    char want[VBD_PATH], *found, *kind, *end;
    bool is = false;

    i->upper.self = self;
    lower_paths(i, number);
    found = node_text(s, 0, i->back, "interposes");
    if (!found)
        return false;
    snprintf(want, sizeof want, "/local/domain/%" PRIu32 "/backend/", self);
    if (!strncmp(found, want, strlen(want))) {
        kind = found + strlen(want);
        end = strchr(kind, '/');
        if (end && end - kind < 32) {
            *end = '\0';
            pair_paths(&i->upper, kind);
            *end = '/';
            is = !strcmp(found, i->upper.back);
        }
    }
    free(found);
    return is;
}

/* Where it says so, in a directory that only domain 0 can write.  false: that
 * could not be read. */
static bool
find_front(struct store *s, struct interposed *i)
{
    char *front = node_text(s, 0, i->back, FRONT_NODE);
    bool known = front || errno == ENOENT;

    i->moved = front && strlen(front) < sizeof i->upper.front;
    if (i->moved)
        snprintf(i->upper.front, sizeof i->upper.front, "%s", front);
    free(front);
    return known;
}

static bool
find_in(struct store *s, struct interposed *i, const char *domain)
{
    char dir[VBD_PATH];
    uint64_t self, number;
    unsigned count = 0;
    char **numbers;
    bool found = false;

    if (!number_parse(domain, UINT16_MAX, &self))
        return false;
    snprintf(dir, sizeof dir, "/local/domain/0/backend/vbd/%" PRIu64, self);
    numbers = s->ops->list(s, 0, dir, &count);
    for (unsigned k = 0; numbers && k < count && !found; k++)
        if (number_parse(numbers[k], UINT32_MAX, &number))
            found = is_that(s, i, (uint32_t)self, (uint32_t)number);
    free(numbers);
    return found && find_front(s, i);
}

bool
lower_find(struct store *s, struct interposed *i)
{
    unsigned count = 0;
    char **domains = s->ops->list(s, 0, "/local/domain/0/backend/vbd", &count);
    bool found = false;

    for (unsigned k = 0; domains && k < count && !found; k++)
        found = find_in(s, i, domains[k]);
    free(domains);
    return found;
}

int
interpose_find(struct store *s, const char *vm, const char *vdev,
               struct interposed **out, char *why, size_t n)
{
    struct interposed i = { .upper = { 0 } };
    int rc = pair_words("vbd", vdev, &i.upper.devid, why, n);

    if (!rc)
        rc = pair_vm(s, vm, false, &i.upper.domid, why, n);
    if (rc)
        return rc;
    if (!lower_find(s, &i))
        return pair_say(-ENOENT, why, n,
                        "vdev: expected an interposed disk of vm %s, found no "
                        "%s",
                        vm, vdev);
    *out = malloc(sizeof **out);
    if (!*out)
        return pair_say(-ENOMEM, why, n, "no memory");
    **out = i;
    return 0;
}

void
interpose_free(struct interposed *i)
{
    free(i);
}

/* ---- remove -------------------------------------------------------------- */

static int
leave_tx(struct store *s, store_tx tx, void *arg)
{
    struct interposed *i = arg;

    return pair_exists(s, tx, i->upper.back) ? pair_leave(s, tx, &i->upper) : 0;
}

int
interpose_leave(struct store *s, struct interposed *i, char *why, size_t n)
{
    int rc = node_transact(s, leave_tx, i);

    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", i->upper.back,
                         strerror(-rc))
              : 0;
}

bool
lower_closed(struct store *s, const struct interposed *i)
{
    enum bus_state state;

    return node_state(s, 0, i->front, &state) || state == BUS_CLOSED ||
           state == BUS_INITIALISING;
}

enum interpose_left
interpose_left(struct store *s, struct interposed *i)
{
    enum bus_state state;

    if (!node_state(s, 0, i->upper.back, &state) && state != BUS_CLOSED)
        return INTERPOSE_HELD;
    return lower_closed(s, i) ? INTERPOSE_LEFT : INTERPOSE_OPEN;
}

int
lower_remove(struct store *s, store_tx tx, const struct interposed *i)
{
    int rc = pair_remove_back(s, tx, i->front);

    return rc ? rc : pair_remove_back(s, tx, i->back);
}

static int
remove_tx(struct store *s, store_tx tx, void *arg)
{
    struct interposed *i = arg;
    int rc = i->moved ? move_remove(s, tx, i) : pair_remove(s, tx, &i->upper);

    return rc ? rc : lower_remove(s, tx, i);
}

int
interpose_remove(struct store *s, struct interposed *i, char *why, size_t n)
{
    int rc = node_transact(s, remove_tx, i);

    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", i->back, strerror(-rc))
              : 0;
}
