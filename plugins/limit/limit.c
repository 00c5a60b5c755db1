/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * limit: so many requests and bytes a second, for a disk or for a group of
 * disks.
 *
 *      submit ──► nobody waits, and there are tokens ──► down
 *         |
 *         '─────► held: first come, first served ──────► down
 *                 the first has a ticket of the share,
 *                 and the one timer waits for it
 *
 * A flush costs nothing; it goes when all that came before it has gone.
 *
 * Layers of one group are on loops of their own, and nobody tells the others
 * that the rates have changed: so whoever waits for a group looks again
 * after LIMIT_LOOK at the latest.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/plugin.h"
#include "plugins/limit/bucket.h"
#include "plugins/limit/share.h"

#define LIMIT_LOOK (100ull * 1000000)

enum limit_op { LIMIT_ANY, LIMIT_READ, LIMIT_WRITE };

struct limit {
    struct share_rates rates; /* the options */
    uint64_t op;              /* enum limit_op */
    char *group;              /* NULL: none */

    struct share *share;
    bool applied; /* the share knows our rates */
    bool draining;
    struct limit_req *held, **held_tail;
    struct share_ticket ticket; /* of the first of them */
    struct blk_timer timer;
    uint64_t throttled, throttled_ns, held_now;
};

/* Lives in the scratch of a request, while it is held. */
struct limit_req {
    struct blk_req *req;
    struct limit_req *next;
    uint64_t since;
};

static const char *const limit_ops[] = { "any", "read", "write", NULL };

static const struct blk_option limit_options[] = {
    { .name = "iops",
      .type = BLK_UINT,
      .at = offsetof(struct limit, rates.iops),
      .fallback = "0",
      .max = BUCKET_MAX,
      .help = "requests a second; 0: no limit" },
    { .name = "bps",
      .type = BLK_SIZE,
      .at = offsetof(struct limit, rates.bps),
      .fallback = "0",
      .max = BUCKET_MAX,
      .help = "bytes a second; 0: no limit" },
    { .name = "iops-burst",
      .type = BLK_UINT,
      .at = offsetof(struct limit, rates.iops_burst),
      .fallback = "0",
      .max = BUCKET_MAX,
      .help = "requests that may go at once after a pause; 0: iops / 10" },
    { .name = "bps-burst",
      .type = BLK_SIZE,
      .at = offsetof(struct limit, rates.bps_burst),
      .fallback = "0",
      .max = BUCKET_MAX,
      .help = "bytes that may go at once after a pause; 0: bps / 10" },
    { .name = "op",
      .type = BLK_CHOICE,
      .at = offsetof(struct limit, op),
      .fallback = "any",
      .choices = limit_ops,
      .help = "what is limited" },
    { .name = "group",
      .type = BLK_STRING,
      .at = offsetof(struct limit, group),
      .help = "all disks whose limit has this name share it" },
    { 0 }
};

static const struct blk_counter limit_counters[] = {
    { "throttled", offsetof(struct limit, throttled), "requests",
      "requests that had to wait" },
    { "throttled_ns", offsetof(struct limit, throttled_ns), "ns",
      "time that they waited, in sum" },
    { "held", offsetof(struct limit, held_now), "requests",
      "requests that wait now" },
    { 0 }
};

static int
limit_check(const void *self, char *why, size_t why_size)
{
    const struct limit *d = self;

    if (d->rates.iops_burst && !d->rates.iops) {
        snprintf(why, why_size, "iops-burst: expected iops with it");
        return -EINVAL;
    }
    if (d->rates.bps_burst && !d->rates.bps) {
        snprintf(why, why_size, "bps-burst: expected bps with it");
        return -EINVAL;
    }
    if (d->group && !d->group[0]) {
        snprintf(why, why_size, "group: expected a name, found nothing");
        return -EINVAL;
    }
    if (d->group && !d->rates.iops && !d->rates.bps) {
        snprintf(why, why_size,
                 "group: expected iops or bps with it, the same for all of the "
                 "group");
        return -EINVAL;
    }
    return 0;
}

/* ---- requests ------------------------------------------------------------ */

static bool
limit_meant(const struct limit *d, const struct blk_req *r)
{
    switch ((enum limit_op)d->op) {
    case LIMIT_READ:
        return r->op == BLK_READ;
    case LIMIT_WRITE:
        return r->op != BLK_READ;
    case LIMIT_ANY:
        break;
    }
    return true;
}

/* A ticket for r, which is next.  DISCARD and ZERO move no data. */
static void
limit_ticket(struct limit *d, const struct blk_req *r)
{
    d->ticket = (struct share_ticket){ .requests = 1 };
    if (r->op == BLK_READ || r->op == BLK_WRITE)
        d->ticket.bytes = r->len;
}

static void
limit_release(struct limit *d, struct blk_layer *l, uint64_t now)
{
    struct limit_req *q = d->held;

    d->held = q->next;
    if (!d->held)
        d->held_tail = &d->held;
    d->held_now--;
    if (q->req->op != BLK_FLUSH)
        d->throttled_ns += now - q->since;
    blk_down(l, q->req);
}

/* Lets go who may go, and waits for the next. */
static void
limit_run(struct limit *d, struct blk_layer *l)
{
    const uint64_t now = blk_now(l);
    uint64_t wait;

    blk_timer_stop(l, &d->timer);
    while (d->held) {
        if (d->held->req->op != BLK_FLUSH &&
            !share_ask(d->share, &d->ticket, now))
            break;
        limit_release(d, l, now);
        if (d->held)
            limit_ticket(d, d->held->req);
    }
    if (!d->held)
        return;
    wait = d->ticket.due - now;
    if (d->group && wait > LIMIT_LOOK)
        wait = LIMIT_LOOK;
    blk_timer_start(l, &d->timer, wait);
}

static void
limit_fire(struct blk_timer *t)
{
    struct blk_layer *l = t->data;

    limit_run(blk_self(l), l);
}

/* The rates of a group are those of the configuration that began to work last:
 * one that does not, after all, must not have changed them. */
static void
limit_apply(struct limit *d, struct blk_layer *l)
{
    if (!d->applied)
        share_configure(d->share, &d->rates, blk_now(l));
    d->applied = true;
}

static void
limit_submit(struct blk_layer *l, struct blk_req *r)
{
    struct limit *d = blk_self(l);
    struct limit_req *q = r->scratch;

    limit_apply(d, l);
    if (d->draining || !limit_meant(d, r) || (r->op == BLK_FLUSH && !d->held)) {
        blk_down(l, r);
        return;
    }
    q->req = r;
    q->next = NULL;
    q->since = blk_now(l);
    if (!d->held) {
        limit_ticket(d, r);
        if (share_ask(d->share, &d->ticket, q->since)) {
            blk_down(l, r);
            return;
        }
    }
    *d->held_tail = q;
    d->held_tail = &q->next;
    d->held_now++;
    d->throttled += r->op != BLK_FLUSH;
    if (d->held == q)
        limit_run(d, l);
}

/* What is let go so costs nothing; the first has paid. */
static void
limit_drain(struct blk_layer *l)
{
    struct limit *d = blk_self(l);
    const uint64_t now = blk_now(l);

    d->draining = true;
    blk_timer_stop(l, &d->timer);
    while (d->held)
        limit_release(d, l, now);
}

/* ---- commands ------------------------------------------------------------ */

/* "1000", "4k", "10M": 0 or -EINVAL. */
static int
limit_number(const char *text, uint64_t *value)
{
    static const char units[] = "kMGT";
    const char *unit;
    unsigned shift = 0;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno)
        return -EINVAL;
    if (*end) {
        unit = strchr(units, *end);
        if (!unit || end[1])
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (*value > BUCKET_MAX >> shift)
        return -EINVAL;
    *value <<= shift;
    return 0;
}

/* "iops=1000" into rates; 0, or -EINVAL with a line in out. */
static int
limit_word(const char *word, struct share_rates *rates, struct blk_out *out)
{
    static const struct {
        const char *name;
        size_t at;
    } names[] = { { "iops", offsetof(struct share_rates, iops) },
                  { "bps", offsetof(struct share_rates, bps) },
                  { "iops-burst", offsetof(struct share_rates, iops_burst) },
                  { "bps-burst", offsetof(struct share_rates, bps_burst) } };
    const size_t n = strcspn(word, "=");
    unsigned i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i].name) != n || strncmp(names[i].name, word, n))
            continue;
        if (word[n] &&
            !limit_number(word + n + 1,
                          (uint64_t *)(void *)((char *)rates + names[i].at)))
            return 0;
        blk_printf(out, "%s: expected a number such as 500 or 20M, found %s\n",
                   names[i].name, word[n] ? word + n + 1 : "nothing");
        return -EINVAL;
    }
    blk_printf(out,
               "expected iops=, bps=, iops-burst= or bps-burst=, found %s\n",
               word);
    return -EINVAL;
}

static int
limit_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    struct limit *d = blk_self(l);
    struct share_rates rates;
    int i;

    if (argc < 2 || strcmp(argv[0], "set")) {
        blk_printf(out, "expected set NAME=NUMBER..., found %s\n",
                   argc ? argv[0] : "nothing");
        return -EINVAL;
    }
    limit_apply(d, l);
    share_get(d->share, &rates);
    for (i = 1; i < argc; i++) {
        if (limit_word(argv[i], &rates, out))
            return -EINVAL;
    }
    if ((rates.iops_burst && !rates.iops) || (rates.bps_burst && !rates.bps)) {
        blk_printf(out, "a burst is of no use without iops or bps: set it to "
                        "0, too\n");
        return -EINVAL;
    }
    share_set(d->share, &rates, blk_now(l));
    limit_run(d, l);
    return 0;
}

/* ---- life ---------------------------------------------------------------- */

static void
limit_start(struct blk_layer *l, struct blk_layer *old)
{
    struct limit *d = blk_self(l);
    const struct limit *from = old ? blk_self(old) : NULL;

    d->held_tail = &d->held;
    d->timer.fire = limit_fire;
    d->timer.data = l;
    d->share = share_join(l, d->group);
    if (!d->share) {
        blk_why(l, "no memory");
        blk_ready(l, -ENOMEM);
        return;
    }
    if (!d->group) {
        d->applied = true;
        share_set(d->share, &d->rates, blk_now(l));
        if (from && !from->group)
            share_inherit(d->share, from->share, blk_now(l));
    }
    blk_ready(l, 0);
}

static void
limit_resume(struct blk_layer *l)
{
    struct limit *d = blk_self(l);

    d->draining = false;
    blk_ready(l, 0);
}

static void
limit_stop(struct blk_layer *l)
{
    struct limit *d = blk_self(l);

    share_leave(l, d->group, d->share);
    d->share = NULL;
    blk_ready(l, 0);
}

static void
limit_stats(struct blk_layer *l, struct blk_out *out)
{
    struct limit *d = blk_self(l);
    struct share_view view;

    if (!d->share)
        return;
    share_look(d->share, &view);
    if (d->group) {
        blk_put_str(out, "group", d->group);
        blk_put_u64(out, "members", blk_sharers(l, d->share));
    }
    blk_put_u64(out, "iops", view.rates.iops);
    blk_put_u64(out, "iops_burst", view.rates.iops_burst);
    blk_put_u64(out, "bps", view.rates.bps);
    blk_put_u64(out, "bps_burst", view.rates.bps_burst);
}

BLK_PLUGIN(limit) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct limit),
    .req_size = sizeof(struct limit_req),
    .ops = BLK_ALL_OPS,
    .transparent = true,
    .name = "limit",
    .help = "limits requests and bytes a second, with bursts",
    .options = limit_options,
    .counters = limit_counters,
    .check = limit_check,
    .start = limit_start,
    .resume = limit_resume,
    .stop = limit_stop,
    .submit = limit_submit,
    .drain = limit_drain,
    .stats = limit_stats,
    .command = limit_command,
    .commands = "set NAME=NUMBER...\n",
};
