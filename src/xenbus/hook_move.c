/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook_move.c: a vbd that libxl made in domain 0 becomes another domain's.
 *
 *   libxl's        /local/domain/0/backend/vbd/7/51712         closed for good
 *   instead of it  /local/domain/3/backend/blktapd/7/51712     blktapd's
 *   libxl's        /local/domain/7/device/vbd/51712            removed
 *   instead of it  /local/domain/7/device/vbd/268435456
 *
 * A guest that runs has perhaps read the nodes of libxl's front-end: it looks
 * as soon as they are there, and a script runs later.  Linux reads `backend'
 * once, and would give its pages to the wrong domain for ever.  Hence another
 * front-end with another number: whatever the guest knows of the first, it
 * drops that, which never was connected, and finds the second, complete from
 * the beginning.  The disk's name comes from `virtual-device', which is the
 * same.  A guest that does not run yet gets the same two directories, so that
 * it finds them again when it is saved and restored.
 *
 * libxl goes on believing in its back-end.  It waits for state 6 before it runs
 * the script for a removal, so it gets that beforehand: the script is then run
 * at once, and it is where the guest is asked and waited for.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/lower.h"

/* Most disks have two numbers, of which libxl always takes this one: xvda is
 * 202 << 8, and 1 << 28.  Guests that look at it see the same disk.  */
static uint32_t
other_number(uint32_t devid)
{
    enum { XVD = 202, DISK = 0xf0, PARTITION = 0xf };

    if (devid >> 8 == XVD)
        return UINT32_C(1) << 28 | (devid & DISK) << 4 | (devid & PARTITION);
    return devid | UINT32_C(1) << 30;
}

void
move_paths(struct interposed *i)
{
    pair_paths(&i->upper, "blktapd");
    snprintf(i->upper.front, sizeof i->upper.front,
             "/local/domain/%" PRIu32 "/device/vbd/%" PRIu32, i->upper.domid,
             other_number(i->upper.devid));
    /* Whoever runs this does not serve it, and libxl has a record already. */
    i->upper.own = UINT32_MAX;
    i->moved = true;
}

bool
move_taken(struct store *s, store_tx tx, const struct interposed *i)
{
    return pair_exists(s, tx, i->upper.front) ||
           pair_exists(s, tx, i->upper.back);
}

int
move_refused(const struct interposed *i, char *why, size_t n)
{
    return pair_say(-EBUSY, why, n,
                    "vdev: expected a free one, found %s or %s in use",
                    i->upper.front, i->upper.back);
}

struct move {
    const struct interpose_hook *hook;
    const struct interposed *made;
    struct pair libxl; /* as libxl made it */
    enum bus_state found;
};

static int
make_upper(struct store *s, store_tx tx, const struct move *m)
{
    const struct xenbus_attach ask = { .vdev = m->hook->vdev,
                                       .params = m->hook->disk,
                                       .readonly = m->hook->readonly };
    const struct pair *upper = &m->made->upper;
    int rc = make_backends(s, tx, upper->self);

    if (!rc)
        rc = pair_make(s, tx, upper, &ask);
    return rc ? rc : node_put(s, tx, upper->back, INTERPOSE_HANDED, "1");
}

static int
move_tx(struct store *s, store_tx tx, void *arg)
{
    struct move *m = arg;
    const char *back = m->libxl.back, *to = m->made->upper.back;
    int rc = node_state(s, tx, back, &m->found);

    if (rc || (m->hook->again && node_is(s, tx, back, INTERPOSE_MOVED, to)))
        return rc;
    if (m->found != BUS_INITIALISING && m->found != BUS_INIT_WAIT)
        return -ESTALE;
    rc = make_upper(s, tx, m);
    if (!rc && pair_exists(s, tx, m->libxl.front))
        rc = s->ops->rm(s, tx, m->libxl.front);
    if (!rc)
        rc = node_put(s, tx, back, INTERPOSE_MOVED, to);
    /* Without it no driver can take it once more. */
    return rc ? rc : node_drop(s, tx, back, "frontend");
}

/* After that: a guest that watches it shall first see that it is gone. */
static int
close_tx(struct store *s, store_tx tx, void *arg)
{
    struct move *m = arg;
    int rc = node_state(s, tx, m->libxl.back, &m->found);

    return rc ? rc : node_put(s, tx, m->libxl.back, "state", "6");
}

int
hook_move(struct store *s, const struct interpose_hook *hook,
          const struct interposed *i, char *why, size_t n)
{
    struct move m = { .hook = hook,
                      .made = i,
                      .libxl = { .domid = hook->domid, .devid = hook->devid } };
    int rc;

    pair_paths(&m.libxl, "vbd");
    rc = node_transact(s, move_tx, &m);
    if (!rc)
        rc = node_transact(s, close_tx, &m);
    if (rc == -ESTALE)
        return pair_say(rc, why, n,
                        "%s: expected a new vbd, found one that is %s",
                        m.libxl.back, bus_name(m.found));
    if (rc == -EEXIST)
        return move_refused(i, why, n);
    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", m.libxl.back,
                         strerror(-rc))
              : 0;
}

/* ---- and its end --------------------------------------------------------- */

int
move_remove(struct store *s, store_tx tx, const struct interposed *i)
{
    int rc = 0;

    if (pair_exists(s, tx, i->upper.front))
        rc = s->ops->rm(s, tx, i->upper.front);
    return rc ? rc : pair_remove_back(s, tx, i->upper.back);
}

static int
cut_tx(struct store *s, store_tx tx, void *arg)
{
    struct interposed *i = arg;
    int rc = 0;

    if (pair_exists(s, tx, i->upper.front))
        rc = s->ops->rm(s, tx, i->upper.front);
    if (!rc && pair_exists(s, tx, i->upper.back))
        rc = pair_leave(s, tx, &i->upper);
    return rc;
}

int
interpose_hook_cut(struct store *s, struct interposed *i, char *why, size_t n)
{
    int rc = node_transact(s, cut_tx, i);

    return rc ? pair_say(rc, why, n, "XenStore: %s: %s", i->upper.back,
                         strerror(-rc))
              : 0;
}
