/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * local.c: local front-ends.
 *
 *   local_front ──► opening ──► connecting ──► answered ──► closing ──► freed
 *                      │ error       │ error      hangup, or    ▲
 *                      └─────────────┴─► failed   the disk failed
 *                                          └────────────────────┘
 */
#include "config.h"

#include "disk/local.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 4096,
    LISTED_MIN =
        12, /* segments from which on they are in a page of their own */
    DIRECT_MAX = 11,
    ENTRIES =
        32, /* of a ring of one page; twice the pages, twice the entries */
    BUFFERS_DEFAULT = 4 << 20,
    BUFFERS_MIN = 64 << 10
};

/* One local front-end, from the command to the disk's last callback. */
struct local {
    struct control_call *call;     /* until it is answered */
    struct control_client *client; /* from then on, until it hangs up */
    struct disk *disk;
    struct local_share share;
    unsigned queues, order, indirect;
    uint64_t buffers;
    bool readonly, dropped;
    char name[64];
};

/* ---- options ------------------------------------------------------------- */

static bool
option_number(const char *value, uint64_t max, uint64_t *to)
{
    return !parse_size(value, to) && *to <= max;
}

/* NULL, or what was expected of the value. */
static const char *
option_take(struct local *l, const char *key, const char *value)
{
    uint64_t v;

    if (!strcmp(key, "queues")) {
        if (!option_number(value, LOCAL_QUEUES_MAX, &v) || !v)
            return "1 to 16";
        l->queues = (unsigned)v;
    } else if (!strcmp(key, "ring-order")) {
        if (!option_number(value, CHAN_ORDER_MAX, &v))
            return "0 to 4";
        l->order = (unsigned)v;
    } else if (!strcmp(key, "indirect")) {
        if (!option_number(value, CHAN_INDIRECT_MAX, &v))
            return "0 to 256";
        l->indirect = (unsigned)v;
    } else if (!strcmp(key, "buffers")) {
        if (!option_number(value, UINT32_MAX, &v) || v < BUFFERS_MIN)
            return "64k or more";
        l->buffers = v;
    } else if (!strcmp(key, "readonly")) {
        if (parse_bool(value, &l->readonly))
            return "yes or no";
    } else if (!strcmp(key, "name")) {
        snprintf(l->name, sizeof(l->name), "%s", value);
    } else {
        return "queues, ring-order, indirect, buffers, readonly or name";
    }
    return NULL;
}

static int
options_take(struct local *l, int argc, const char *const *argv, char *why,
             size_t n)
{
    int i;

    for (i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '='), *expected;
        char key[32];

        if (!value) {
            snprintf(why, n, "front: expected KEY=VALUE, found \"%.64s\"",
                     argv[i]);
            return -EINVAL;
        }
        snprintf(key, sizeof(key), "%.*s", (int)(value - argv[i]), argv[i]);
        expected = option_take(l, key, value + 1);
        if (expected) {
            snprintf(why, n, "front: %s: expected %s, found \"%.64s\"", key,
                     expected, value + 1);
            return -EINVAL;
        }
    }
    return 0;
}

/* What the config allows is the most that a front-end gets. */
static void
options_limit(struct local *l, const struct conf_disk *cd)
{
    l->queues = l->queues < cd->queues ? l->queues : cd->queues;
    l->order = l->order < cd->ring_order ? l->order : cd->ring_order;
    l->indirect = l->indirect < cd->indirect ? l->indirect : cd->indirect;
    l->buffers = l->buffers < cd->buffers ? l->buffers : cd->buffers;
    if (l->indirect < LISTED_MIN)
        l->indirect = 0;
}

/* ---- the end ------------------------------------------------------------- */

static void
local_closed(void *ctx, struct disk *disk, int status, const char *why)
{
    (void)disk;
    (void)status;
    (void)why;
    free(ctx);
}

static void
local_hangup(void *ctx)
{
    struct local *l = ctx;

    l->client = NULL;
    disk_close(l->disk, local_closed);
}

static void
local_fail(struct local *l, int status, const char *why)
{
    control_fail(l->call, "%s", why ? why : strerror(-status));
    l->call = NULL;
    disk_close(l->disk, local_closed);
}

/* ---- what the disk says unasked ------------------------------------------ */

/* The client sees the connection end, and reads the reason in the events. */
static void
local_drop(struct local *l)
{
    l->dropped = true;
    if (l->client)
        control_drop(l->client);
}

static void
local_failed(void *ctx, struct disk *disk, const char *why)
{
    (void)disk;
    (void)why;
    local_drop(ctx);
}

/* Its requests end with errors, and it may be recovered. */
static void
local_stopped(void *ctx, struct disk *disk, const char *why)
{
    (void)ctx;
    (void)disk;
    (void)why;
}

static void
local_reconnect(void *ctx, struct disk *disk)
{
    (void)disk;
    local_drop(ctx);
}

/* A client that wants the new size opens the disk again. */
static void
local_resized(void *ctx, struct disk *disk)
{
    (void)ctx;
    (void)disk;
}

static const struct disk_owner local_owner = { .resized = local_resized,
                                               .failed = local_failed,
                                               .stopped = local_stopped,
                                               .reconnect = local_reconnect };

/* ---- connected ----------------------------------------------------------- */

static void
put(struct json_object *o, const char *key, uint64_t v)
{
    json_object_object_add(o, key, json_object_new_uint64(v));
}

static uint32_t
discard_granularity(const struct disk *d)
{
    const struct blk_limits *limits = disk_limits(d);

    if (!disk_conf(d)->discard || disk_readonly(d) ||
        !(limits->ops & BLK_BIT(BLK_DISCARD)))
        return 0;
    return limits->discard_align ? limits->discard_align : limits->block;
}

static struct json_object *
local_describe(const struct local *l)
{
    const struct blk_limits *limits = disk_limits(l->disk);
    struct json_object *o = json_object_new_object();
    unsigned segs = l->indirect ? l->indirect : DIRECT_MAX;

    put(o, "size", limits->size);
    put(o, "physical_block", limits->block);
    put(o, "discard_granularity", discard_granularity(l->disk));
    put(o, "max_len", (uint64_t)segs * PAGE);
    put(o, "queues", l->queues);
    put(o, "ring_order", l->order);
    put(o, "indirect", l->indirect);
    put(o, "pages", l->share.pages);
    json_object_object_add(
        o, "readonly",
        json_object_new_boolean(disk_readonly(l->disk) || limits->readonly));
    json_object_object_add(
        o, "flush",
        json_object_new_boolean(!!(limits->ops & BLK_BIT(BLK_FLUSH))));
    return o;
}

static void
local_connected(void *ctx, struct disk *disk, int status, const char *why)
{
    struct local *l = ctx;
    int fds[1 + 2 * LOCAL_QUEUES_MAX];
    unsigned i, n = 0;

    if (status) {
        local_share_close(&l->share);
        local_fail(l, status, why);
        return;
    }
    fds[n++] = l->share.memfd;
    for (i = 0; i < l->queues; i++)
        fds[n++] = l->share.to_back[i];
    for (i = 0; i < l->queues; i++)
        fds[n++] = l->share.to_front[i];
    l->disk = disk;
    l->client = control_client(l->call);
    control_answer_fds(l->call, local_describe(l), fds, n);
    local_share_close(&l->share);
    if (l->client && l->dropped)
        control_drop(l->client);
}

/* ---- opened -------------------------------------------------------------- */

static void
local_params(const struct local *l, struct chan_params *p)
{
    unsigned q, i, page = 0;

    memset(p, 0, sizeof(*p));
    p->abi = CHAN_ABI_64;
    p->queues = l->queues;
    p->order = l->order;
    for (q = 0; q < l->queues; q++) {
        for (i = 0; i < 1u << l->order; i++)
            p->queue[q].refs[i] = page++;
        p->queue[q].port = q;
    }
}

static uint32_t
local_pages(const struct local *l)
{
    uint32_t lists =
        l->indirect ? l->queues * ((uint32_t)ENTRIES << l->order) : 0;

    return (l->queues << l->order) + lists + (uint32_t)(l->buffers / PAGE);
}

static void
local_opened(void *ctx, struct disk *disk, int status, const char *why)
{
    struct local *l = ctx;
    struct chan_params params;
    int rc;

    if (status) {
        local_fail(l, status, why);
        return;
    }
    rc = local_share_make(&l->share, local_pages(l), l->queues);
    if (rc) {
        local_fail(l, rc, NULL);
        return;
    }
    local_params(l, &params);
    disk_connect(disk, &params, &l->share, local_connected);
}

/* ---- asked for ----------------------------------------------------------- */

static struct local *
local_new(struct control_call *call)
{
    struct local *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->call = call;
    l->queues = 1;
    l->indirect = CHAN_INDIRECT_MAX;
    l->buffers = BUFFERS_DEFAULT;
    snprintf(l->name, sizeof(l->name), "process");
    return l;
}

void
local_front(struct disks *disks, struct conf *conf, const struct conf_disk *cd,
            struct control_call *call, int argc, const char *const *argv)
{
    struct local *l = local_new(call);
    struct disk_front front = { .kind = "local" };
    char who[96], why[400] = "";
    int rc;

    rc = l ? options_take(l, argc, argv, why, sizeof(why)) : -ENOMEM;
    if (!rc && !control_on_hangup(call, local_hangup, l)) {
        snprintf(why, sizeof(why), "this connection has a front-end already");
        rc = -EBUSY;
    }
    if (!rc) {
        options_limit(l, cd);
        snprintf(who, sizeof(who), "%s[%d]", l->name, control_pid(call));
        snprintf(front.attachment, sizeof(front.attachment),
                 "local,%016" PRIx64, disks_random(disks));
        front.vm = who;
        front.vdev = "";
        rc = disk_open(&l->disk, disks, conf, cd, l->readonly, &front,
                       &local_owner, l, local_opened, why, sizeof(why));
    }
    if (rc) {
        control_fail(call, "%s", why[0] ? why : strerror(-rc));
        free(l);
    }
}
