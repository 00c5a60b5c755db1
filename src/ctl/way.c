/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* way.c: see way.h. */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/way.h"
#include "host/host.h"

/* How often a connection may break, and how long xenstored may be away. */
enum { BREAKS_MAX = 20, AWAY_S = 30 };

struct way {
    struct loop *loop;
    struct store *store;
};

static void
way_close(struct way *w)
{
    if (w->store)
        w->store->ops->free(w->store);
    if (w->loop)
        w->loop->ops->free(w->loop);
    *w = (struct way){ NULL, NULL };
}

static int
way_open(struct way *w, char *why, size_t n)
{
    const struct loop_posix_options none = { 0 };
    int rc = loop_posix_new(&w->loop, "ctl", &none, why, n);

    if (!rc)
        rc = store_xen_open(&w->store, w->loop, why, n);
    if (rc)
        way_close(w);
    return rc;
}

/* A store that was lost stays so, as nothing runs its loop. */
static bool
way_broke(const struct way *w)
{
    char *root = w->store->ops->read(w->store, 0, "/", NULL);
    bool broke = !root && errno == ENOTCONN;

    free(root);
    return broke;
}

/* A socket may take us and have nobody behind it. */
static int
way_answers(struct way *w, char *why, size_t n)
{
    int rc;

    way_close(w);
    rc = way_open(w, why, n);
    if (rc || !way_broke(w))
        return rc;
    way_close(w);
    snprintf(why, n, "the connection to xenstored was lost, and is again");
    return -ENOTCONN;
}

static int
way_again(struct way *w, char *why, size_t n)
{
    const struct timespec nap = { .tv_nsec = 100000000 };
    int rc = way_answers(w, why, n);

    for (int i = 0; rc && i < AWAY_S * 10; i++) {
        nanosleep(&nap, NULL);
        rc = way_answers(w, why, n);
    }
    return rc;
}

int
way_do(way_fn *fn, void *arg)
{
    struct way w = { NULL, NULL };
    char why[400] = "";
    int rc;

    log_level(BLK_ERR); /* of a loss only what comes of it is of interest */
    rc = way_open(&w, why, sizeof why);
    if (!rc)
        rc = fn(w.store, arg, why, sizeof why);
    for (int n = 0; w.store && n < BREAKS_MAX && way_broke(&w); n++) {
        rc = way_again(&w, why, sizeof why);
        if (!rc)
            rc = fn(w.store, arg, why, sizeof why);
    }
    way_close(&w);
    return rc ? ctl_error("%s", why) : 0;
}
