/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * open.c: from the name of a disk to its rings, and back.
 *
 * The daemon answers `front` with what the disk is, and with descriptors: the
 * memfd, the eventfds towards the back-end, those towards us (a queue each).
 */
#include "config.h"

#include "private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPTIONS = 7, OPTION_SIZE = 64 };

/* ---- asking -------------------------------------------------------------- */

static int
front_call(struct blktap_disk *d, const char *name,
           const struct blktap_options *o, struct json_object **result,
           char **why)
{
    char text[OPTIONS][OPTION_SIZE];
    const char *argv[OPTIONS + 1] = { name };
    int n = 0, i;

    snprintf(text[n++], OPTION_SIZE, "queues=%u", o->queues ? o->queues : 1);
    snprintf(text[n++], OPTION_SIZE, "ring-order=%u", o->ring_order);
    if (o->indirect) {
        snprintf(text[n++], OPTION_SIZE, "indirect=%u", o->indirect);
    }
    if (o->buffers) {
        snprintf(text[n++], OPTION_SIZE, "buffers=%u", o->buffers);
    }
    if (o->readonly) {
        snprintf(text[n++], OPTION_SIZE, "readonly=yes");
    }
    snprintf(text[n++], OPTION_SIZE, "name=%.32s",
             program_invocation_short_name);
    for (i = 0; i < n; i++) {
        argv[i + 1] = text[i];
    }
    return wire_call(&d->wire, "front", argv, n + 1, result, why);
}

static uint64_t
number(struct json_object *o, const char *key)
{
    struct json_object *v;

    return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v)
                                                 : 0;
}

static bool
truth(struct json_object *o, const char *key)
{
    struct json_object *v;

    return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}

/* Takes the numbers; false when they do not fit together. */
static bool
answer_read(struct blktap_disk *d, struct json_object *o)
{
    uint64_t queues = number(o, "queues"), order = number(o, "ring_order");
    uint64_t segs = number(o, "indirect"), pages = number(o, "pages");
    uint64_t max_len = number(o, "max_len"), lists, entries;

    if (!queues || queues > APP_QUEUES_MAX || order > RING_ORDER_MAX ||
        segs > APP_SEGS_MAX || d->wire.n != 1 + 2 * queues ||
        pages > UINT32_MAX) {
        return false;
    }
    entries = ring_client_entries((unsigned)order);
    lists = segs > RING_DIRECT_MAX ? entries * queues : 0;
    if (pages <= (queues << order) + lists) {
        return false;
    }
    d->order = (unsigned)order;
    d->segs = segs > RING_DIRECT_MAX ? (unsigned)segs : RING_DIRECT_MAX;
    d->size = pages * APP_PAGE;
    pages -= (queues << order) + lists;
    max_len = max_len / 512 * 512;
    if (max_len > (uint64_t)d->segs * APP_PAGE) {
        max_len = (uint64_t)d->segs * APP_PAGE;
    }
    if (max_len > pages * APP_PAGE) {
        max_len = pages * APP_PAGE;
    }
    d->info = (struct blktap_info){
        .size = number(o, "size"),
        .physical_block = (uint32_t)number(o, "physical_block"),
        .discard_granularity = (uint32_t)number(o, "discard_granularity"),
        .max_len = (uint32_t)max_len,
        .queues = (unsigned)queues,
        .depth = (unsigned)(queues * entries),
        .readonly = truth(o, "readonly"),
        .flush = truth(o, "flush"),
    };
    return max_len >= 512;
}

/* ---- making -------------------------------------------------------------- */

static int
memory_map(struct blktap_disk *d)
{
    struct stat st;
    void *at;

    if (fstat(d->wire.fds[0], &st)) {
        return -errno;
    }
    if ((uint64_t)st.st_size < d->size) {
        return -EPROTO;
    }
    at = mmap(NULL, d->size, PROT_READ | PROT_WRITE, MAP_SHARED, d->wire.fds[0],
              0);
    if (at == MAP_FAILED) {
        return -errno;
    }
    d->memory = at;
    return 0;
}

static void *
page_at(const struct blktap_disk *d, uint32_t page)
{
    return d->memory + (size_t)page * APP_PAGE;
}

/* The rings, their lists of segments, and what is left as data pages. */
static int
rings_make(struct blktap_disk *d)
{
    uint32_t entries = ring_client_entries(d->order), i;
    uint32_t page = (uint32_t)(d->info.queues << d->order);
    unsigned q;

    d->queue = calloc(d->info.queues, sizeof(*d->queue));
    if (!d->queue) {
        return -ENOMEM;
    }
    for (q = 0; q < d->info.queues; q++) {
        struct app_queue *queue = &d->queue[q];

        queue->to_back = d->wire.fds[1 + q];
        queue->to_front = d->wire.fds[1 + d->info.queues + q];
        for (i = 0; d->segs > RING_DIRECT_MAX && i < entries; i++) {
            queue->slot[i].indirect = page_at(d, page);
            queue->slot[i].indirect_ref = page++;
        }
        ring_client_init(&queue->ring, page_at(d, (uint32_t)(q << d->order)),
                         d->order, queue->slot);
    }
    return pages_init(&d->pages, page, (uint32_t)(d->size / APP_PAGE) - page);
}

static int
flights_make(struct blktap_disk *d)
{
    unsigned i;

    d->flights = calloc(d->info.depth, sizeof(*d->flights));
    d->page = calloc((size_t)d->info.depth * d->segs, sizeof(*d->page));
    if (!d->flights || !d->page) {
        return -ENOMEM;
    }
    for (i = d->info.depth; i-- > 0;) {
        d->flights[i].page = d->page + (size_t)i * d->segs;
        d->flights[i].next = d->flight;
        d->flight = &d->flights[i];
    }
    return 0;
}

/* One descriptor that is readable when anything is to be done. */
static int
epoll_make(struct blktap_disk *d)
{
    struct epoll_event e = { .events = EPOLLIN };
    unsigned q;

    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (d->epoll < 0) {
        return -errno;
    }
    for (q = 0; q < d->info.queues; q++) {
        e.data.u32 = q;
        if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->queue[q].to_front, &e)) {
            return -errno;
        }
    }
    e.data.u32 = APP_QUEUES_MAX;
    if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->wire.fd, &e)) {
        return -errno;
    }
    return 0;
}

static int
disk_make(struct blktap_disk *d)
{
    int rc = memory_map(d);

    if (!rc) {
        rc = rings_make(d);
    }
    if (!rc) {
        rc = flights_make(d);
    }
    if (!rc) {
        rc = epoll_make(d);
    }
    return rc;
}

static void
disk_free(struct blktap_disk *d)
{
    if (d->epoll >= 0) {
        close(d->epoll);
    }
    if (d->memory) {
        munmap(d->memory, d->size);
    }
    pages_free(&d->pages);
    wire_close(&d->wire);
    free(d->queue);
    free(d->flights);
    free(d->page);
    free(d);
}

struct blktap_disk *
blktap_open(const char *name, const struct blktap_options *options, char **why)
{
    static const struct blktap_options none;
    struct blktap_disk *d = calloc(1, sizeof(*d));
    struct json_object *result = NULL;
    int rc;

    if (why) {
        *why = NULL;
    }
    if (!d) {
        wire_why(why, "out of memory");
        return NULL;
    }
    d->epoll = -1;
    options = options ? options : &none;
    rc = wire_open(&d->wire, options->socket, why);
    if (!rc) {
        rc = front_call(d, name, options, &result, why);
    }
    if (!rc && !answer_read(d, result)) {
        rc = -EPROTO;
        wire_why(why, "%s: the daemon's answer to front makes no sense", name);
    } else if (!rc) {
        rc = disk_make(d);
        if (rc) {
            wire_why(why, "%s: can't use the daemon's rings: %s", name,
                     strerror(-rc));
        }
    }
    json_object_put(result);
    if (rc) {
        disk_free(d);
        return NULL;
    }
    return d;
}

void
blktap_close(struct blktap_disk *d)
{
    struct ring_answer a;
    unsigned q;

    if (!d) {
        return;
    }
    /* Hanging up is what ends the connection: what the daemon still does goes
     * to pages that nobody reads. */
    for (q = 0; q < d->info.queues; q++) {
        while (ring_client_cancel(&d->queue[q].ring, &a)) {
            struct app_flight *f = a.user;

            f->req->error = -ECANCELED;
            f->req->done(f->req);
        }
    }
    disk_free(d);
}

const struct blktap_info *
blktap_info(const struct blktap_disk *d)
{
    return &d->info;
}
