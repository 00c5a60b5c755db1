/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * private.h: an open disk, as libblktap has it.
 *
 * The memfd:
 *
 *   ┌────────┬────────┬───┬───────────────────────┬──────────────────┐
 *   │ ring 0 │ ring 1 │ … │ lists of segments,    │ data pages       │
 *   │        │        │   │ one page per entry    │                  │
 *   └────────┴────────┴───┴───────────────────────┴──────────────────┘
 *    1 << order pages each  (only with indirect)
 */
#ifndef LIB_PRIVATE_H
#define LIB_PRIVATE_H

#include "blktap/app.h"
#include "pages.h"
#include "ring_client.h"
#include "wire.h"

enum { APP_QUEUES_MAX = 16, APP_PAGE = 4096, APP_SEGS_MAX = 256 };

/* A request that waits for its answer, and its data pages. */
struct app_flight {
    struct app_flight *next;
    struct blktap_req *req;
    uint32_t *page; /* segs of them */
    uint32_t pages;
};

struct app_queue {
    struct ring_client ring;
    struct ring_slot slot[RING_ENTRIES_MAX];
    int to_back, to_front; /* eventfds; -1: none */
};

struct blktap_disk {
    struct blktap_info info;
    struct wire wire;
    unsigned order, segs; /* segs: most of a request */
    int epoll;
    bool gone, reaping;
    uint8_t *memory;
    size_t size; /* of memory */
    struct app_queue *queue;
    struct pages pages;
    struct app_flight *flights, *flight; /* all; the free ones */
    uint32_t *page;                      /* of all flights */
};

#endif
