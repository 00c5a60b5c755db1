/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inflight.c: a table of requests in flight that was damaged: header, queues,
 * entries.  It may be refused, or gone on from: then what it gives lies inside
 * of it, no entry twice, oldest first, and it can be used like a new one.
 *
 * The fuzzer's bytes say how much is noted and answered by an honest life, and
 * then what is written where, as (what, where, value) and not as an offset: so
 * that most damage hits a field.
 */
#include <string.h>
#include <unistd.h>

#include "channel/blkif.h"
#include "channel/chan.h"
#include "channel/inflight.h"

enum { HEADER = 64, AREA = 4096, QUEUES = 2, SLOTS_MAX = 64 };

struct input {
    const uint8_t *at, *end;
};

static uint32_t
take(struct input *in, unsigned n)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < n && in->at < in->end; i++)
        v |= (uint32_t)*in->at++ << (8 * i);
    return v;
}

#define MUST(x)               \
    do {                      \
        if (!(x))             \
            __builtin_trap(); \
    } while (0)

static void
make_params(struct chan_params *p, uint32_t v)
{
    memset(p, 0, sizeof(*p));
    p->domid = 7;
    p->abi = v & 1 ? CHAN_ABI_X86_32 : CHAN_ABI_64;
    p->queues = 1 + (v >> 1 & 1);
    p->order = v >> 2 & 1;
    p->nonce = 42;
    for (unsigned q = 0; q < p->queues; q++) {
        p->queue[q].port = 3 + q;
        p->queue[q].refs[0] = 16 + 2 * q;
        p->queue[q].refs[1] = 17 + 2 * q;
    }
}

/* Requests are noted, some of them answered and some of these dropped. */
static void
live(struct inflight *f, struct input *in)
{
    uint8_t raw[BLKIF_RAW_MAX] = { 0 };
    uint32_t start = take(in, 1) & 1 ? UINT32_MAX - 3 : 0;
    uint32_t rsp[QUEUES] = { start, start };
    unsigned n = take(in, 1) % f->slots;

    for (unsigned q = 0; q < f->queues; q++)
        inflight_begin(f, q, start);
    for (unsigned i = 0; i < n; i++) {
        uint32_t v = take(in, 1), q = v % f->queues;
        uint32_t entry;

        raw[0] = (uint8_t)i;
        entry = inflight_note(f, q, raw);
        if (v & 0x40)
            inflight_answer(f, entry, rsp[q]++);
        if ((v & 0xc0) == 0xc0)
            inflight_drop(f, entry);
    }
}

static void
damage(struct inflight *f, struct input *in)
{
    uint8_t *bytes = (uint8_t *)f->table;

    while (in->at < in->end) {
        uint32_t what = take(in, 1), where = take(in, 2);
        uint32_t value = take(in, what & 4 ? 4 : 1);
        size_t room = what & 3 ? f->size : HEADER, at;

        if ((what & 3) == 2)
            room = f->size < AREA ? f->size : AREA;
        at = ((size_t)where * 4) % (room - sizeof(value));
        memcpy(bytes + at, &value, what & 8 ? 1 : sizeof(value));
    }
}

static void
go_on(struct inflight *f, const struct chan_params *p, uint32_t rsp)
{
    bool seen[QUEUES * SLOTS_MAX] = { false };
    char why[200] = "";

    for (unsigned q = 0; q < p->queues; q++) {
        uint32_t list[SLOTS_MAX], cons = 0;
        int n = inflight_recover(f, q, rsp, &cons, list, why, sizeof(why));

        if (n < 0) {
            MUST(why[0]);
            return;
        }
        MUST((unsigned)n <= f->slots && (uint32_t)n == cons - rsp);
        for (int i = 0; i < n; i++) {
            MUST(list[i] < f->n && !seen[list[i]]);
            seen[list[i]] = true;
            MUST(inflight_raw(f, list[i]));
        }
        for (int i = 0; i < n; i++)
            inflight_drop(f, list[i]);
    }
    /* Only what was damaged without being found can still be missing. */
    MUST(f->spares <= f->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .at = data, .end = data + size };
    struct inflight was, is;
    struct chan_params params;
    char why[200] = "";
    uint32_t rsp;

    make_params(&params, take(&in, 1));
    rsp = take(&in, 1);
    rsp = rsp & 0x80 ? UINT32_MAX - 3 + (rsp & 0x7f) : rsp;
    MUST(!inflight_make(&was, &params));
    live(&was, &in);
    damage(&was, &in);
    if (!inflight_adopt(&is, &params, was.fd, why, sizeof(why))) {
        go_on(&is, &params, rsp);
        inflight_free(&is);
    } else {
        MUST(why[0]);
    }
    inflight_free(&was);
    return 0;
}
