/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "xenbus/read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/node.h"

struct front {
    const struct front_ask *ask;
    struct chan_params *params;
    char *why;
    size_t why_size;
};

/* ---- one number ---------------------------------------------------------- */

/* What is expected of a number, and the sentence when it is not so. */
static int
front_number(struct front *f, struct store *s, store_tx tx, const char *leaf,
             uint64_t min, uint64_t max, uint64_t *out)
{
    char found[64] = "nothing";
    int rc = node_number(s, tx, f->ask->front, leaf, UINT64_MAX, out, found,
                         sizeof found);

    if (rc == -ENOENT || rc == -EACCES)
        return -ENOENT;
    if (rc && rc != -EINVAL)
        return rc;
    if (rc || *out < min || *out > max) {
        snprintf(f->why, f->why_size,
                 "front-end node %s: expected a number from %" PRIu64
                 " to %" PRIu64 ", found %s",
                 leaf, min, max, found);
        return -EPROTO;
    }
    return 0;
}

static int
front_missing(struct front *f, const char *leaf)
{
    snprintf(f->why, f->why_size,
             "front-end node %s: expected a number, found nothing", leaf);
    return -EPROTO;
}

static int
front_required(struct front *f, struct store *s, store_tx tx, const char *leaf,
               uint32_t *out)
{
    uint64_t v = 0;
    int rc = front_number(f, s, tx, leaf, 0, UINT32_MAX, &v);

    *out = (uint32_t)v;
    return rc == -ENOENT ? front_missing(f, leaf) : rc;
}

/* ---- the parts ----------------------------------------------------------- */

/* A guest can't make us serve a directory that is not its own; here it only
 * proves that it means us. */
static int
front_points_back(struct front *f, struct store *s, store_tx tx)
{
    char found[64] = "nothing";
    char *v = node_text(s, tx, f->ask->front, "backend");
    int rc = 0;

    if (!v && errno != ENOENT && errno != EACCES && errno != EINVAL)
        return -errno;
    if (!v || strcmp(v, f->ask->back)) {
        if (v)
            printable(found, sizeof found, v, strlen(v));
        snprintf(f->why, f->why_size,
                 "front-end node backend: expected \"%s\", found %s",
                 f->ask->back, found);
        rc = -EPROTO;
    }
    free(v);
    return rc;
}

/* Missing means what the kernel's back-end takes it for: the 32-bit layout on
 * x86, the only one elsewhere. */
static int
front_protocol(struct front *f, struct store *s, store_tx tx)
{
    char found[64];
    char *v = node_text(s, tx, f->ask->front, "protocol");
    int rc = 0;

    if (!v && errno != ENOENT && errno != EACCES && errno != EINVAL)
        return -errno;
    if (!v && errno != EINVAL) {
#if defined(__i386__) || defined(__x86_64__)
        f->params->abi = CHAN_ABI_X86_32;
#else
        f->params->abi = CHAN_ABI_64;
#endif
        return 0;
    }
    if (v && !strcmp(v, "x86_32-abi")) {
        f->params->abi = CHAN_ABI_X86_32;
    } else if (v && (!strcmp(v, "x86_64-abi") || !strcmp(v, "arm-abi"))) {
        f->params->abi = CHAN_ABI_64;
    } else {
        printable(found, sizeof found, v ? v : "\1", v ? strlen(v) : 1);
        snprintf(f->why, f->why_size,
                 "front-end node protocol: expected x86_64-abi, x86_32-abi or "
                 "arm-abi, found %s",
                 found);
        rc = -EPROTO;
    }
    free(v);
    return rc;
}

/* The node decides about names too: with it, even 0, they are numbered. */
static int
front_order(struct front *f, struct store *s, store_tx tx, bool *numbered)
{
    unsigned max = f->ask->order_max;
    uint64_t v = 0;
    int rc;

    if (max > CHAN_ORDER_MAX)
        max = CHAN_ORDER_MAX;
    rc = front_number(f, s, tx, "ring-page-order", 0, max, &v);
    *numbered = !rc;
    f->params->order = (unsigned)v;
    return rc == -ENOENT ? 0 : rc;
}

static int
front_queues(struct front *f, struct store *s, store_tx tx)
{
    unsigned max = f->ask->queues_max;
    uint64_t v = 1;
    int rc;

    if (max > CHAN_QUEUES_MAX)
        max = CHAN_QUEUES_MAX;
    rc = front_number(f, s, tx, "multi-queue-num-queues", 1, max, &v);
    f->params->queues = rc ? 1 : (unsigned)v;
    return rc == -ENOENT ? 0 : rc;
}

static int
front_refs(struct front *f, struct store *s, store_tx tx, const char *prefix,
           unsigned q, bool numbered)
{
    uint32_t *refs = f->params->queue[q].refs;
    unsigned i, pages = 1u << f->params->order;
    char leaf[64];
    uint64_t v = 0;
    int rc;

    if (pages == 1) {
        /* Windows and old front-ends write the plain name; where the order
         * is given as 0 either is taken. */
        if (numbered) {
            snprintf(leaf, sizeof leaf, "%sring-ref0", prefix);
            rc = front_number(f, s, tx, leaf, 0, UINT32_MAX, &v);
            refs[0] = (uint32_t)v;
            if (rc != -ENOENT)
                return rc;
        }
        snprintf(leaf, sizeof leaf, "%sring-ref", prefix);
        return front_required(f, s, tx, leaf, &refs[0]);
    }
    for (i = 0; i < pages; i++) {
        snprintf(leaf, sizeof leaf, "%sring-ref%u", prefix, i);
        rc = front_required(f, s, tx, leaf, &refs[i]);
        if (rc)
            return rc;
    }
    return 0;
}

static int
front_queue(struct front *f, struct store *s, store_tx tx, unsigned q,
            bool numbered)
{
    char prefix[24] = "", leaf[64];
    int rc;

    if (f->params->queues > 1)
        snprintf(prefix, sizeof prefix, "queue-%u/", q);
    rc = front_refs(f, s, tx, prefix, q, numbered);
    if (rc)
        return rc;
    snprintf(leaf, sizeof leaf, "%sevent-channel", prefix);
    return front_required(f, s, tx, leaf, &f->params->queue[q].port);
}

/* ---- all of it ----------------------------------------------------------- */

static int
front_read_once(struct store *s, store_tx tx, void *arg)
{
    struct front *f = arg;
    bool numbered;
    unsigned q;
    int rc;

    rc = front_points_back(f, s, tx);
    if (!rc)
        rc = front_protocol(f, s, tx);
    if (!rc)
        rc = front_order(f, s, tx, &numbered);
    if (!rc)
        rc = front_queues(f, s, tx);
    for (q = 0; !rc && q < f->params->queues; q++)
        rc = front_queue(f, s, tx, q, numbered);
    return rc;
}

int
front_read(struct store *s, const struct front_ask *ask, struct chan_params *p,
           char *why, size_t n)
{
    struct front f = { .ask = ask, .params = p, .why = why, .why_size = n };
    int rc = node_transact(s, front_read_once, &f);

    if (rc && rc != -EPROTO)
        snprintf(why, n, "front-end nodes: expected to be readable, found %s",
                 strerror(-rc));
    return rc;
}
