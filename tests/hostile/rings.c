/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rings.c: what is shared is changed behind the back-end's back.
 */
#include "hostile.h"

#include <pthread.h>
#include <string.h>

/* ---- indices --------------------------------------------------------------
 */

/* One index that can't be, so far from the good one, after so many requests;
 * then a good request behind it, which a back-end that stopped the ring does
 * not answer. */
static bool
stopped_by(struct dev *d, unsigned good, uint32_t jump)
{
    struct req r = rw(d, READ, 64, 16, 1);
    uint64_t end = ms_now(d) + 300;
    uint32_t before;

    reopen(d, 1, 0, ABI_64);
    while (good--)
        if (ask(d, &r) != OKAY)
            return false;
    before = header_get(d, 0, 2);
    header(d, 0, 0, d->prod[0] + jump);
    d->t->notify(d, 0);
    while (ms_now(d) < end)
        d->t->wait(d, 50);
    return header_get(d, 0, 2) == before;
}

static void
overrun(struct dev *d, struct report *rp)
{
    const uint32_t jump[] = { d->slots + 1, UINT32_C(1) << 31, UINT32_MAX,
                              UINT32_MAX - 5, dice(d) | 0x10000 };

    for (unsigned i = 0; i < 5; i++) {
        if (!stopped_by(d, 0, jump[i]))
            found(rp, false, "req_prod %u was answered", jump[i]);
    }
    if (!stopped_by(d, 5, UINT32_MAX - 2))
        found(rp, false, "a req_prod that goes back was answered");
    found(rp, true,
          "N + 1, 2^31, -1, -6, random, back by 3: nothing was taken");
}

static void
full_ring(struct dev *d, struct report *rp)
{
    uint64_t end = ms_now(d) + 20000;
    unsigned n = 0;
    struct answer a;

    /* Slots of 0xa5: an operation that nobody knows, in each. */
    d->prod[0] = d->slots;
    push(d, 0);
    while (n < d->slots && ms_now(d) < end) {
        while (n < d->slots && take(d, 0, &a)) {
            n++;
            if (!a.status)
                found(rp, false, "slot %u was taken for a good one", n);
        }
        d->t->wait(d, 20);
    }
    found(rp, n == d->slots, "a jump by N: %u of %u refused", n, d->slots);
}

/* Our indices are the back-end's to write: what we put there is not believed,
 * it goes on from its own. */
static void
foreign_indices(struct dev *d, struct report *rp)
{
    for (unsigned i = 0; i < 200; i++) {
        struct req r = rw(d, READ, 64, 16, 1);
        unsigned word = 1 + i % 3;
        uint64_t end = ms_now(d) + 60000;

        put(d, 0, &r);
        header(d, 0, word, word == 2 ? d->cons[0] : dice(d));
        header(d, 0, 0, d->prod[0]);
        d->t->notify(d, 0);
        while (header_get(d, 0, 2) != d->prod[0] && ms_now(d) < end)
            d->t->wait(d, 5);
        if (header_get(d, 0, 2) != d->prod[0]) {
            found(rp, false, "no answer after word %u was changed", word);
            break;
        }
        d->cons[0] = d->prod[0];
    }
    header(d, 0, 2, dice(d));
    found(rp, true, "200 requests done with indices of ours at random");
}

/* ---- leaks ------------------------------------------------------------------
 */

static void
padding(struct dev *d, struct report *rp)
{
    for (unsigned i = 0; i < 20; i++) {
        struct req r = rw(d, READ, 64, 16, 1);
        uint8_t *s = slot(d, 0, d->prod[0]), was[112];
        uint32_t at = d->prod[0]++;
        unsigned changed = 0;
        struct answer a;
        uint64_t end = ms_now(d) + 20000;

        d->prod[0] = at;
        memset(s, 0xa5, stride(d));
        put(d, 0, &r);
        memcpy(was, s, stride(d));
        push(d, 0);
        while (!take(d, 0, &a) && ms_now(d) < end)
            d->t->wait(d, 50);
        for (unsigned b = 9; b < stride(d); b++)
            changed += b != 10 && b != 11 && s[b] != was[b];
        if (changed)
            found(rp, false, "%u bytes beside the answer's were written",
                  changed);
    }
    found(rp, true, "only id, operation and status are written");
}

/* A read of part of a page leaves the rest of the page alone. */
static void
partial_pages(struct dev *d, struct report *rp)
{
    struct req r = rw(d, READ, 64, 16, 1);
    unsigned changed = 0;

    memset(d->page[16], 0x5a, PAGE);
    r.seg[0].first = r.seg[0].last = 3;
    if (ask(d, &r))
        found(rp, false, "a read of one sector failed");
    for (unsigned i = 0; i < PAGE; i++)
        changed += (i < 3 * 512 || i >= 4 * 512) && d->page[16][i] != 0x5a;
    found(rp, !changed, "%u bytes outside of the segment changed", changed);
}

/* ---- double fetch
 * ------------------------------------------------------------- */

struct flipper {
    struct dev *d;
    bool stop;
    uint64_t flips;
};

/* Fields of slots and of the segment list, as fast as a CPU can. */
static void *
flip(void *arg)
{
    struct flipper *f = arg;
    static const uint8_t at[] = { 0, 1, 2, 16, 24, 28, 29, 45 };
    uint32_t x = 12345;

    while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
        uint8_t *s;

        x = x * 1664525 + 1013904223;
        s = slot(f->d, 0, x >> 24) + at[x >> 20 & 7];
        __atomic_store_n(s, (uint8_t)(x >> 12), __ATOMIC_RELAXED);
        s = f->d->page[15] + (x >> 8 & 511);
        __atomic_store_n(s, (uint8_t)(x >> 16), __ATOMIC_RELAXED);
        f->flips++;
    }
    return NULL;
}

struct flips {
    uint64_t sent, answers, flips;
    unsigned own; /* rings that we lost by a read of ours */
};

static void
ring_filled(struct dev *d)
{
    for (unsigned i = 0; i < d->slots; i++) {
        struct req r = rw(d, i % 2 ? READ : WRITE, 64, 16, 8);

        if (i % 3 == 0 && d->indirect) {
            r.op = INDIRECT;
            r.inner = READ;
            r.list[0] = d->ref[15];
        }
        put(d, 0, &r);
    }
    push(d, 0);
}

/* A flipped reference can be the ring's: then a read of ours goes over our own
 * req_prod, and the ring is lost by no fault of the back-end. */
static bool
ring_ours(struct dev *d)
{
    return header_get(d, 0, 0) == d->prod[0];
}

/* Rings full of requests that change while they are read, until there were
 * enough.  On a machine that is busy with others an answer may take long. */
static void
flipped(struct dev *d, struct flips *n, uint64_t end)
{
    while (n->sent < 5000 && (!n->sent || ms_now(d) < end)) {
        uint64_t open = d->slots, last = ms_now(d);
        struct answer a;

        ring_filled(d);
        n->sent += open;
        while (open && ring_ours(d) && ms_now(d) < last + 60000) {
            while (open && take(d, 0, &a)) {
                open--;
                last = ms_now(d);
            }
            if (open)
                d->t->wait(d, 5);
        }
        if (!ring_ours(d)) {
            n->own++;
            n->sent -= d->slots;
            return;
        }
        n->answers += d->slots - open;
        if (open)
            return;
    }
}

static void
double_fetch(struct dev *d, struct report *rp)
{
    struct flips n = { 0 };
    uint64_t end = ms_now(d) + 15000;
    bool whole = true;

    while (whole && n.sent < 5000 && (!n.sent || ms_now(d) < end) &&
           n.answers == n.sent) {
        struct flipper f = { .d = d };
        pthread_t t;

        if (pthread_create(&t, NULL, flip, &f)) {
            skip(rp, "no thread");
            return;
        }
        flipped(d, &n, end);
        __atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
        pthread_join(t, NULL);
        n.flips += f.flips;
        /* A flip can also carry a write of ours to sector 0, where serves()
         * looks for what was written before. */
        whole = !reopen(d, 1, 0, ABI_64) && canary_set(d);
    }
    found(rp, whole, "afterwards a write fails");
    found(rp, n.answers == n.sent && n.sent,
          "%llu requests, %llu answers, %llu flips, %u rings lost by own reads",
          (unsigned long long)n.sent, (unsigned long long)n.answers,
          (unsigned long long)n.flips, n.own);
}

/* ---- storms
 * ------------------------------------------------------------------- */

static void
event_storm(struct dev *d, struct report *rp)
{
    struct req r = rw(d, READ, 64, 16, 1);
    unsigned n = d->t->threads ? 200000 : 20000;

    for (unsigned i = 0; i < n; i++)
        d->t->notify(d, i % d->got.queues);
    found(rp, ask(d, &r) == OKAY, "%u events without a request, then a read",
          n);
}

/* Connections with requests on their way, given up at once. */
static void
reconnects(struct dev *d, struct report *rp)
{
    unsigned n = d->t->store ? 50 : 300;

    for (unsigned i = 0; i < n; i++) {
        struct req r = rw(d, READ, 64, 16, 11);

        if (reopen(d, 1 + i % QUEUES, i % 3, i % 2 ? ABI_32 : ABI_64)) {
            found(rp, false, "connection %u was refused", i);
            return;
        }
        for (unsigned q = 0; q < d->got.queues; q++) {
            for (unsigned k = 0; k < 8; k++)
                put(d, q, &r);
            push(d, q);
        }
    }
    found(rp, true, "%u connections given up with requests in flight", n);
}

static void
both_layouts(struct dev *d, struct report *rp)
{
    static const char *const names[] = { "x86_64-abi", "x86_32-abi" };

    for (unsigned abi = 0; abi < 2; abi++) {
        if (reopen(d, 1, 0, (enum abi)abi)) {
            found(rp, false, "%s was refused", names[abi]);
            continue;
        }
        if (d->got.abi != abi)
            continue;
        for (unsigned op = 0; op < 8; op++) {
            struct req r = rw(d, (enum op)op, 64, 16, 1);

            r.count = 8;
            r.list[0] = d->ref[15];
            if (op == INDIRECT)
                memset(d->page[15], 0xff, PAGE);
            if (ask(d, &r) == NO_ANSWER)
                found(rp, false, "%s: op %u was not answered", names[abi], op);
        }
    }
    found(rp, true, "each operation answered in each layout there is");
}

const struct hostile_case ring_cases[] = {
    { "xsa_039_ring_overrun", "XSA-39; 7.1: 6",
      "the ring is stopped, the next connection served", overrun, 0 },
    { "full_ring", "7.1: 6", "a full ring of nonsense is answered", full_ring,
      0 },
    { "foreign_indices", "7.1: 7", "not believed: served on", foreign_indices,
      0 },
    { "both_layouts", "7.1: 9", "each operation is answered", both_layouts, 0 },
    { "xsa_155_double_fetch", "XSA-155, 197; 7.1: 8", "each is answered once",
      double_fetch, NEEDS_THREADS },
    { "xsa_216_padding", "XSA-216; 7.1: 14", "other bytes as they were",
      padding, 0 },
    { "xsa_403_partial_page", "XSA-403", "the rest of a page as it was",
      partial_pages, 0 },
    { "xsa_332_event_storm", "XSA-331, 332; 7.1: 12", "served after it",
      event_storm, 0 },
    { "xsa_371_reconnects", "XSA-371; 7.1: 12", "each connection is served",
      reconnects, 0 },
    { NULL, NULL, NULL, NULL, 0 }
};
