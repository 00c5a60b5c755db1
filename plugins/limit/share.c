/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/limit/share.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/limit/bucket.h"

struct share {
    pthread_mutex_t lock; /* of all below */
    struct bucket requests, bytes;
    struct share_rates rates; /* as they were set */
    struct share_rates configured;
    uint64_t edition; /* of them */
};

/* ---- who belongs to it --------------------------------------------------- */

static void
share_begin(void *share)
{
    struct share *p = share;

    pthread_mutex_init(&p->lock, NULL);
}

static void
share_end(void *share)
{
    struct share *p = share;

    pthread_mutex_destroy(&p->lock);
}

struct share *
share_join(struct blk_layer *l, const char *group)
{
    struct share *p;

    if (group)
        return blk_share(l, group, sizeof(*p), share_begin, share_end);
    p = calloc(1, sizeof(*p));
    if (p)
        share_begin(p);
    return p;
}

void
share_leave(struct blk_layer *l, const char *group, struct share *p)
{
    if (group) {
        blk_unshare(l, p);
        return;
    }
    share_end(p);
    free(p);
}

/* ---- what it gives ------------------------------------------------------- */

static uint64_t
burst_of(uint64_t rate, uint64_t burst)
{
    if (burst)
        return burst;
    return rate / 10 ? rate / 10 : 1;
}

void
share_look(struct share *p, struct share_view *view)
{
    pthread_mutex_lock(&p->lock);
    view->rates = p->rates;
    view->rates.iops_burst = p->rates.iops ? p->requests.burst : 0;
    view->rates.bps_burst = p->rates.bps ? p->bytes.burst : 0;
    pthread_mutex_unlock(&p->lock);
}

void
share_get(struct share *p, struct share_rates *rates)
{
    pthread_mutex_lock(&p->lock);
    *rates = p->rates;
    pthread_mutex_unlock(&p->lock);
}

/* Called with the lock. */
static void
change(struct share *p, const struct share_rates *rates, uint64_t now)
{
    p->rates = *rates;
    p->edition++;
    bucket_set(&p->requests, rates->iops,
               burst_of(rates->iops, rates->iops_burst), now);
    bucket_set(&p->bytes, rates->bps, burst_of(rates->bps, rates->bps_burst),
               now);
}

void
share_set(struct share *p, const struct share_rates *rates, uint64_t now)
{
    pthread_mutex_lock(&p->lock);
    change(p, rates, now);
    pthread_mutex_unlock(&p->lock);
}

void
share_configure(struct share *p, const struct share_rates *rates, uint64_t now)
{
    pthread_mutex_lock(&p->lock);
    if (memcmp(&p->configured, rates, sizeof(*rates))) {
        p->configured = *rates;
        change(p, rates, now);
    }
    pthread_mutex_unlock(&p->lock);
}

void
share_inherit(struct share *to, struct share *from, uint64_t now)
{
    struct share_rates rates;

    share_get(to, &rates);
    pthread_mutex_lock(&from->lock);
    to->requests = from->requests;
    to->bytes = from->bytes;
    pthread_mutex_unlock(&from->lock);
    share_set(to, &rates, now);
}

bool
share_ask(struct share *p, struct share_ticket *t, uint64_t now)
{
    uint64_t wait, other;

    pthread_mutex_lock(&p->lock);
    if (t->taken && t->edition != p->edition) {
        bucket_give(&p->requests, t->paid_requests);
        bucket_give(&p->bytes, t->paid_bytes);
        t->taken = false;
    }
    if (!t->taken) {
        t->paid_requests = p->requests.rate ? t->requests : 0;
        t->paid_bytes = p->bytes.rate ? t->bytes : 0;
        wait = bucket_take(&p->requests, t->requests, now);
        other = bucket_take(&p->bytes, t->bytes, now);
        t->due = now + (wait > other ? wait : other);
        t->edition = p->edition;
        t->taken = true;
    }
    pthread_mutex_unlock(&p->lock);
    return t->due <= now;
}
