/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest.c: requests of a front-end and their answers.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/daemon/guest_private.h"

enum { PAGE = 4096 };
enum { REQ_PROD = 0, REQ_EVENT = 4, RSP_PROD = 8, RSP_EVENT = 12 };

void
guest_fail(struct guest *g, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    if (g->why[0])
        return;
    n = (size_t)snprintf(g->why, sizeof g->why,
                         "guest %" PRIu32 " (%s): ", g->domid, g->disk);
    va_start(ap, fmt);
    vsnprintf(g->why + n, sizeof g->why - n, fmt, ap);
    va_end(ap);
    g->world->failed = true;
}

/* ---- the ring, from the other end ---------------------------------------- */

/* Pages are granted one by one and need not be neighbours. */
static uint8_t *
at(const struct guest_queue *q, size_t off)
{
    return q->page[off / PAGE] + off % PAGE;
}

static void
put_bytes(const struct guest_queue *q, size_t off, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *at(q, off + i) = ((const uint8_t *)bytes)[i];
}

static uint32_t
get32(const struct guest_queue *q, size_t off)
{
    uint32_t v;

    memcpy(&v, at(q, off), sizeof v);
    return v;
}

static size_t
slot(const struct guest_queue *q, uint32_t index)
{
    return BLKIF_RING_HEADER + (size_t)(index & (q->n - 1)) *
                                   blkif_layout(q->guest->plan.abi)->stride;
}

static void
push(struct guest_queue *q, uint32_t old)
{
    uint32_t event;

    put_bytes(q, REQ_PROD, &q->prod, 4);
    event = get32(q, REQ_EVENT);
    if (q->prod - event < q->prod - old)
        sim_port_notify(q->guest->sim, q->guest->domid, q->port);
}

/* ---- requests ------------------------------------------------------------ */

static struct guest_request *
request_spare(struct guest *g)
{
    for (int i = 0; i < GUEST_REQUESTS; i++) {
        if (!g->request[i].used)
            return &g->request[i];
    }
    return NULL;
}

static uint16_t
page_take(struct guest *g)
{
    uint16_t i = g->spare[--g->spares];

    if (g->plan.fresh)
        g->data[i] = sim_grant(g->sim, g->domid, guest_ref(g, i), false);
    return i;
}

/* Its request was answered: nobody may have it any more. */
static void
page_give(struct guest *g, uint16_t i)
{
    if (g->plan.fresh && sim_ungrant(g->sim, g->domid, guest_ref(g, i)))
        guest_fail(g, "page %u of a request that was answered is mapped", i);
    g->spare[g->spares++] = i;
}

static bool
writes(uint8_t op)
{
    return op == BLKIF_WRITE || op == BLKIF_BARRIER;
}

/* A barrier is a flush and a write beside it. */
static enum history_op
history_of(uint8_t op)
{
    switch (op) {
    case BLKIF_WRITE:
        return HISTORY_WRITE;
    case BLKIF_BARRIER:
        return HISTORY_FUA;
    case BLKIF_DISCARD:
        return HISTORY_DISCARD;
    case BLKIF_FLUSH:
        return HISTORY_FLUSH;
    default:
        return HISTORY_READ;
    }
}

static void
segments_fill(struct guest *g, struct guest_request *r, uint64_t stamp)
{
    uint64_t left = r->sectors;
    unsigned most =
        g->indirect && r->op != BLKIF_BARRIER ? GUEST_SEGS : CHAN_DIRECT_MAX;

    for (r->segs = 0; left; r->segs++) {
        uint64_t n = 1 + sim_below(g->sim, left < 8 ? left : 8);
        unsigned first = (unsigned)sim_below(g->sim, 9 - n);
        uint8_t *page;

        /* What is left must fit into the segments that are. */
        if (left + 8 > 8 * (most - r->segs - 1u) || sim_below(g->sim, 2)) {
            n = left < 8 ? left : 8;
            first = 0;
        }
        r->page[r->segs] = page_take(g);
        r->first[r->segs] = (uint8_t)first;
        r->last[r->segs] = (uint8_t)(first + n - 1);
        page = g->data[r->page[r->segs]] + first * RECORD_SECTOR;
        for (uint64_t i = 0; writes(r->op) && i < n; i++)
            record_bytes(stamp++, page + i * RECORD_SECTOR);
        left -= n;
    }
}

static void
segment_bytes(const struct guest *g, const struct guest_request *r, unsigned i,
              uint8_t out[BLKIF_SEG_SIZE])
{
    uint32_t ref = guest_ref(g, r->page[i]);

    memset(out, 0, BLKIF_SEG_SIZE);
    memcpy(out, &ref, 4);
    out[4] = r->first[i];
    out[5] = r->last[i];
}

static void
encode(struct guest *g, const struct guest_request *r, uint8_t *raw)
{
    const struct blkif_layout *l = blkif_layout(g->plan.abi);
    uint8_t seg[BLKIF_SEG_SIZE];
    uint16_t segs = (uint16_t)r->segs;
    uint32_t ref;

    memset(raw, 0xa5, l->stride);
    raw[0] = r->op;
    raw[1] = (uint8_t)r->segs;
    memcpy(raw + l->id, &r->id, 8);
    memcpy(raw + l->sector, &r->sector, 8);
    if (r->op == BLKIF_DISCARD) {
        raw[1] = 0;
        memcpy(raw + l->count, &r->sectors, 8);
        return;
    }
    if (r->list != GUEST_PAGES) {
        raw[0] = BLKIF_INDIRECT;
        raw[1] = r->op;
        memcpy(raw + 2, &segs, 2);
        ref = guest_ref(g, r->list);
        memcpy(raw + l->grefs, &ref, 4);
    }
    for (unsigned i = 0; i < r->segs; i++) {
        segment_bytes(g, r, i, seg);
        memcpy(r->list != GUEST_PAGES
                   ? g->data[r->list] + i * (size_t)BLKIF_SEG_SIZE
                   : raw + l->seg + i * (size_t)BLKIF_SEG_SIZE,
               seg, sizeof seg);
    }
}

static uint8_t
choose_op(struct guest *g)
{
    uint64_t dice = sim_below(g->sim, 100);

    if (dice < 8 && g->plan.flushes)
        return BLKIF_FLUSH;
    if (dice < 11 && g->plan.discards && g->discard)
        return BLKIF_DISCARD;
    if (dice < 14 && g->barrier && g->plan.writes)
        return BLKIF_BARRIER;
    return dice < 62 && g->plan.writes ? BLKIF_WRITE : BLKIF_READ;
}

/* A range that may be asked for now; false: none. */
static bool
choose_range(struct guest *g, struct guest_request *r)
{
    uint64_t most = g->indirect && sim_below(g->sim, 4) == 0 ? 160 : 24;

    if (r->op == BLKIF_FLUSH ||
        (r->op == BLKIF_BARRIER && sim_below(g->sim, 2)))
        return true;
    r->sectors = 1 + sim_below(g->sim, most);
    if (r->op == BLKIF_BARRIER && r->sectors > 24)
        r->sectors = 24;
    r->sector = sim_below(g->sim, g->record.sectors - r->sectors);
    if (!record_ready(&g->record, history_of(r->op), r->sector, r->sectors))
        return false;
    return g->spares > GUEST_SEGS + 1;
}

static void
sent(struct guest *g, struct guest_request *r)
{
    if (r->op == BLKIF_FLUSH || r->op == BLKIF_BARRIER)
        r->flush = record_begin(&g->record, HISTORY_FLUSH, 0, 0, NULL);
    if (!r->sectors)
        return;
    if (record_beside(&g->record, r->sector, r->sectors))
        guest_count(g, TALLY_BESIDE);
    r->record = record_begin(&g->record, history_of(r->op), r->sector,
                             r->sectors, &r->stamp);
    if (r->op != BLKIF_DISCARD)
        segments_fill(g, r, r->stamp);
}

void
guest_again(struct guest *g)
{
    for (int i = 0; i < GUEST_REQUESTS; i++) {
        struct guest_request *r = &g->request[i];

        if (!r->used)
            continue;
        if (r->op == BLKIF_FLUSH || r->op == BLKIF_BARRIER)
            r->flush = record_again(&g->record, HISTORY_FLUSH, 0, 0, 0);
        if (r->sectors)
            r->record = record_again(&g->record, history_of(r->op), r->sector,
                                     r->sectors, r->stamp);
    }
}

static void
tally(struct guest *g, const struct guest_request *r)
{
    if (r->op == BLKIF_FLUSH)
        guest_count(g, TALLY_FLUSH);
    else if (r->op == BLKIF_BARRIER)
        guest_count(g, TALLY_BARRIER);
    else if (r->op == BLKIF_DISCARD)
        guest_count(g, TALLY_DISCARD);
    if (r->list != GUEST_PAGES)
        guest_count(g, TALLY_INDIRECT);
    if (r->segs)
        guest_count(g, g->plan.fresh ? TALLY_FRESH : TALLY_PERSISTENT);
}

/* true: one was sent. */
static bool
send_one(struct guest *g, struct guest_queue *q)
{
    struct guest_request *r = request_spare(g);
    uint8_t raw[BLKIF_RAW_MAX];

    if (!r || q->prod - q->cons == q->n)
        return false;
    *r = (struct guest_request){ .op = choose_op(g), .list = GUEST_PAGES };
    if (!choose_range(g, r))
        return false;
    sent(g, r);
    if (r->segs > CHAN_DIRECT_MAX || (r->segs && r->op != BLKIF_BARRIER &&
                                      g->indirect && !sim_below(g->sim, 6)))
        r->list = page_take(g);
    r->used = true;
    r->queue = (unsigned)(q - g->queue);
    r->sent_ns = sim_now(g->sim);
    r->id = g->sent++ << 8 | (uint64_t)(r - g->request);
    tally(g, r);
    encode(g, r, raw);
    put_bytes(q, slot(q, q->prod), raw, blkif_layout(g->plan.abi)->stride);
    q->prod++;
    g->inflight++;
    return true;
}

void
guest_send(struct guest *g)
{
    for (unsigned i = 0; i < g->queues; i++) {
        struct guest_queue *q = &g->queue[i];
        uint32_t old = q->prod;
        uint64_t n = sim_below(g->sim, 4);

        while (n-- && g->inflight < g->plan.depth &&
               g->sent < g->plan.requests && send_one(g, q))
            ;
        if (q->prod != old)
            push(q, old);
    }
}

/* ---- answers ------------------------------------------------------------- */

static void
answer_data(struct guest *g, struct guest_request *r, bool ok)
{
    uint64_t seen[RECORD_REQUEST_MAX], n = 0;

    for (unsigned i = 0; i < r->segs; i++) {
        const uint8_t *page =
            g->data[r->page[i]] + r->first[i] * (size_t)RECORD_SECTOR;

        for (unsigned k = r->first[i]; k <= r->last[i]; k++, n++) {
            if (ok && r->op == BLKIF_READ && record_stamp(page, &seen[n]))
                guest_fail(g, "sector %" PRIu64 ": its bytes are of no write",
                           r->sector + n);
            page += RECORD_SECTOR;
        }
        page_give(g, r->page[i]);
    }
    if (r->sectors)
        record_end(&g->record, r->record, history_of(r->op), r->sector,
                   r->sectors, ok, seen);
    if (r->op == BLKIF_FLUSH || r->op == BLKIF_BARRIER)
        record_end(&g->record, r->flush, HISTORY_FLUSH, 0, 0, ok, NULL);
}

static void
answer(struct guest *g, struct guest_request *r, int status)
{
    bool ok = status == BLKIF_OKAY;

    if (!ok) {
        g->errors++;
        guest_count(g, TALLY_ERRORS);
        if (!g->plan.errors)
            guest_fail(g, "request %" PRIu64 " (operation %u) was answered %d",
                       r->id >> 8, r->op, status);
    }
    answer_data(g, r, ok);
    if (r->list != GUEST_PAGES)
        page_give(g, r->list);
    if (g->latency)
        g->latency(g->latency_ctx, sim_now(g->sim) - r->sent_ns);
    r->used = false;
    g->inflight--;
    g->answered++;
}

static void
take(struct guest_queue *q)
{
    struct guest *g = q->guest;
    uint8_t raw[12];
    uint64_t id;
    int16_t status;
    struct guest_request *r;

    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = *at(q, slot(q, q->cons) + i);
    memcpy(&id, raw, 8);
    memcpy(&status, raw + 10, 2);
    r = &g->request[id & 0xff];
    if ((id & 0xff) >= GUEST_REQUESTS || !r->used || r->id != id ||
        &g->queue[r->queue] != q) {
        guest_fail(g,
                   "an answer for a request that is not on its way: "
                   "%" PRIx64,
                   id);
        return;
    }
    if (raw[8] != r->op && raw[8] != BLKIF_INDIRECT)
        guest_fail(g, "the answer to operation %u says %u", r->op, raw[8]);
    answer(g, r, status);
}

/* An event came.  Without one no answer is looked for. */
void
guest_notified(void *data)
{
    struct guest_queue *q = data;
    uint32_t prod, event;

    for (;;) {
        prod = get32(q, RSP_PROD);
        if (prod - q->cons > q->prod - q->cons) {
            guest_fail(q->guest,
                       "rsp_prod %" PRIu32 " is not between %" PRIu32
                       " and %" PRIu32,
                       prod, q->cons, q->prod);
            return;
        }
        if (prod == q->cons)
            break;
        while (q->cons != prod && !q->guest->why[0])
            take(q), q->cons++;
        if (q->guest->why[0])
            return;
        event = q->cons + 1;
        put_bytes(q, RSP_EVENT, &event, 4);
    }
}
