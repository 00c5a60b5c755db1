/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * app.c: requests of an open disk: submit, kick, reap, wait.
 */
#include "config.h"

#include "private.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Static_assert((int)APP_SEGS_MAX <= (int)RING_INDIRECT_MAX, "");

static const enum ring_op ring_op_of[] = {
    [BLKTAP_READ] = RING_READ,
    [BLKTAP_WRITE] = RING_WRITE,
    [BLKTAP_FLUSH] = RING_FLUSH,
    [BLKTAP_DISCARD] = RING_DISCARD,
};

/* ---- down ---------------------------------------------------------------- */

static int
req_check(const struct blktap_disk *d, const struct blktap_req *r)
{
    if ((unsigned)r->op > BLKTAP_DISCARD || r->queue >= d->info.queues) {
        return -EINVAL;
    }
    if (r->op == BLKTAP_FLUSH) {
        return r->len || r->off ? -EINVAL : 0;
    }
    if (!r->len || r->off % 512 || r->len % 512 || r->len > d->info.size ||
        r->off > d->info.size - r->len) {
        return -EINVAL;
    }
    if (r->op != BLKTAP_DISCARD && (r->len > d->info.max_len || !r->buf)) {
        return -EINVAL;
    }
    return d->info.readonly && r->op != BLKTAP_READ ? -EROFS : 0;
}

/* A request of n bytes starts each page at its begin; only the last page may
 * be used in part. */
static uint32_t
page_bytes(uint64_t len, uint32_t page)
{
    uint64_t left = len - (uint64_t)page * APP_PAGE;

    return left < APP_PAGE ? (uint32_t)left : APP_PAGE;
}

static void
flight_fill(struct blktap_disk *d, struct app_flight *f, struct ring_seg *seg)
{
    const struct blktap_req *r = f->req;
    uint32_t i;

    for (i = 0; i < f->pages; i++) {
        uint32_t n = page_bytes(r->len, i);

        seg[i] = (struct ring_seg){ .ref = f->page[i],
                                    .last = (uint8_t)(n / 512 - 1) };
        if (r->op == BLKTAP_WRITE) {
            memcpy(d->memory + (size_t)f->page[i] * APP_PAGE,
                   (const char *)r->buf + (size_t)i * APP_PAGE, n);
        }
    }
}

static void
flight_end(struct blktap_disk *d, struct app_flight *f)
{
    pages_give(&d->pages, f->page, f->pages);
    f->req = NULL;
    f->next = d->flight;
    d->flight = f;
}

int
blktap_submit(struct blktap_disk *d, struct blktap_req *r)
{
    struct ring_seg seg[APP_SEGS_MAX];
    struct ring_request request = { .seg = seg };
    struct app_flight *f = d->flight;
    uint32_t pages = 0;
    int rc = req_check(d, r);

    if (rc) {
        return rc;
    }
    if (r->op == BLKTAP_READ || r->op == BLKTAP_WRITE) {
        pages = (uint32_t)((r->len + APP_PAGE - 1) / APP_PAGE);
    }
    if (!f || d->queue[r->queue].ring.used == d->queue[r->queue].ring.entries ||
        pages_take(&d->pages, f->page, pages)) {
        return -EAGAIN;
    }
    d->flight = f->next;
    f->req = r;
    f->pages = pages;
    flight_fill(d, f, seg);
    request.op = ring_op_of[r->op];
    request.sector = r->off / 512;
    request.sectors = r->len / 512;
    request.segs = pages;
    request.user = f;
    rc = ring_client_put(&d->queue[r->queue].ring, &request);
    if (rc) {
        flight_end(d, f);
    }
    return rc;
}

void
blktap_kick(struct blktap_disk *d)
{
    static const uint64_t one = 1;
    unsigned q;

    for (q = 0; q < d->info.queues; q++) {
        if (ring_client_publish(&d->queue[q].ring) &&
            write(d->queue[q].to_back, &one, sizeof(one)) < 0) {
            /* Full: it has been notified, and did not look yet. */
        }
    }
}

/* ---- up ------------------------------------------------------------------ */

static void
flight_done(struct blktap_disk *d, const struct ring_answer *a)
{
    struct app_flight *f = a->user;
    struct blktap_req *r = f->req;
    uint32_t i;

    for (i = 0; r->op == BLKTAP_READ && !a->error && i < f->pages; i++) {
        memcpy((char *)r->buf + (size_t)i * APP_PAGE,
               d->memory + (size_t)f->page[i] * APP_PAGE,
               page_bytes(r->len, i));
    }
    flight_end(d, f);
    r->error = a->error;
    r->done(r);
}

/* The daemon says nothing after its answer: it hangs up.  That stays readable,
 * for it may be told only by a later reap: what was answered comes first. */
static void
wire_look(struct blktap_disk *d)
{
    char text[256];
    ssize_t n = recv(d->wire.fd, text, sizeof(text), MSG_DONTWAIT);

    if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        d->gone = true;
    }
}

/* Takes back what made blktap_fd() readable. */
static void
events_take(struct blktap_disk *d)
{
    struct epoll_event e[APP_QUEUES_MAX + 1];
    int i, n = epoll_wait(d->epoll, e, APP_QUEUES_MAX + 1, 0);

    for (i = 0; i < n; i++) {
        uint64_t count;

        if (e[i].data.u32 == APP_QUEUES_MAX) {
            wire_look(d);
        } else if (read(d->queue[e[i].data.u32].to_front, &count,
                        sizeof(count)) < 0) {
            /* Somebody was faster: there is nothing to take back. */
        }
    }
}

static int
queue_reap(struct blktap_disk *d, struct app_queue *queue)
{
    struct ring_answer a;
    int rc, count = 0;

    do {
        while ((rc = ring_client_take(&queue->ring, &a)) == 1) {
            flight_done(d, &a);
            count++;
        }
        if (rc) {
            return rc;
        }
    } while (ring_client_rearm(&queue->ring));
    return count;
}

int
blktap_reap(struct blktap_disk *d)
{
    int rc = 0, count = 0;
    unsigned q;

    if (d->reaping) {
        return 0;
    }
    d->reaping = true;
    events_take(d);
    for (q = 0; q < d->info.queues && rc >= 0; q++) {
        rc = queue_reap(d, &d->queue[q]);
        count += rc > 0 ? rc : 0;
    }
    d->reaping = false;
    if (rc < 0) {
        return rc;
    }
    return !count && d->gone ? -EPIPE : count;
}

int
blktap_fd(const struct blktap_disk *d)
{
    return d->epoll;
}

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool
idle(const struct blktap_disk *d)
{
    unsigned q;

    for (q = 0; q < d->info.queues; q++) {
        if (d->queue[q].ring.used) {
            return false;
        }
    }
    return true;
}

int
blktap_wait(struct blktap_disk *d, int timeout_ms)
{
    struct pollfd p = { .fd = d->epoll, .events = POLLIN };
    int64_t end = timeout_ms < 0 ? 0 : now_ms() + timeout_ms, left;
    int rc;

    blktap_kick(d);
    for (;;) {
        rc = blktap_reap(d);
        if (rc || (idle(d) && timeout_ms < 0)) {
            return rc;
        }
        left = timeout_ms < 0 ? -1 : end - now_ms();
        if (timeout_ms >= 0 && left <= 0) {
            return 0;
        }
        if (poll(&p, 1, (int)left) < 0 && errno != EINTR) {
            return -errno;
        }
    }
}
