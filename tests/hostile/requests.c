/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * requests.c: requests that can't be right, one by one.
 */
#include "hostile.h"

#include <string.h>

static const char *
say(int status)
{
    return status == OKAY          ? "OKAY"
           : status == ERROR       ? "ERROR"
           : status == EOPNOTSUPP_ ? "EOPNOTSUPP"
           : status == NO_ANSWER   ? "no answer"
                                   : "another status";
}

/* Right or wrong is not said anywhere. */
static void
answered(struct dev *d, struct report *rp, const char *what,
         const struct req *r)
{
    if (ask(d, r) == NO_ANSWER)
        found(rp, false, "%s: no answer", what);
}

/* Neither done nor unanswered. */
static void
refused(struct dev *d, struct report *rp, const char *what, const struct req *r)
{
    int status = ask(d, r);

    if (status != ERROR && status != EOPNOTSUPP_)
        found(rp, false, "%s: %s", what, say(status));
    if (status == NO_ANSWER)
        reopen(d, 1, 0, ABI_64);
}

static void
accepted(struct dev *d, struct report *rp, const char *what,
         const struct req *r)
{
    int status = ask(d, r);

    if (status != OKAY)
        found(rp, false, "%s: %s", what, say(status));
}

static void
segment_counts(struct dev *d, struct report *rp)
{
    static const uint16_t counts[] = { 0, 12, 13, 127, 128, 255 };
    static const enum op ops[] = { READ, WRITE, BARRIER, FLUSH };
    struct req r;

    for (unsigned o = 0; o < 4; o++) {
        for (unsigned i = 0; i < 6; i++) {
            r = rw(d, ops[o], 64, 16, counts[i]);
            if (counts[i] || ops[o] == READ || ops[o] == WRITE)
                refused(d, rp, "nr_segments", &r);
        }
    }
    r = rw(d, READ, 64, 16, 11);
    accepted(d, rp, "11 segments", &r);
    found(rp, true, "0 and 12 to 255 refused, 11 taken");
}

static void
indirect_counts(struct dev *d, struct report *rp)
{
    uint16_t counts[] = { 0, (uint16_t)(d->indirect + 1), 4096, 65535 };
    struct req r = rw(d, READ, 64, 16, 1);

    r.op = INDIRECT;
    memset(d->page[15], 0, PAGE);
    for (unsigned i = 0; i < 8; i++)
        r.list[i] = d->ref[15];
    for (unsigned i = 0; i < 4; i++) {
        for (uint8_t inner = 0; inner < 2; inner++) {
            r.inner = inner;
            r.segs = counts[i];
            refused(d, rp, "indirect nr_segments", &r);
        }
    }
    if (d->indirect) {
        for (unsigned i = 0; i < PAGE / 8; i++) {
            memcpy(d->page[15] + 8 * (size_t)i, &d->ref[16], 4);
            d->page[15][8 * i + 5] = 7;
        }
        r.inner = READ;
        r.segs = (uint16_t)d->indirect;
        accepted(d, rp, "indirect nr_segments of the most", &r);
    }
    found(rp, true, "0, max + 1 and 65535 refused, max taken");
}

static void
segment_bounds(struct dev *d, struct report *rp)
{
    static const uint8_t bad[][2] = { { 0, 8 },   { 8, 8 }, { 255, 255 },
                                      { 5, 4 },   { 7, 0 }, { 0, 255 },
                                      { 255, 0 }, { 8, 7 } };
    struct req r;

    for (unsigned i = 0; i < 8; i++) {
        for (unsigned at = 0; at < 3; at++) {
            r = rw(d, i % 2 ? WRITE : READ, 64, 16, 3);
            r.seg[at].first = bad[i][0];
            r.seg[at].last = bad[i][1];
            refused(d, rp, "first_sect, last_sect", &r);
        }
    }
    r = rw(d, READ, 64, 16, 1);
    accepted(d, rp, "(0, 7)", &r);
    r.seg[0].first = 7;
    accepted(d, rp, "(7, 7)", &r);
    found(rp, true, "each pair outside of a page refused");
}

static void
sector_ranges(struct dev *d, struct report *rp)
{
    const uint64_t bad[] = {
        d->sectors - 7,    d->sectors,           d->sectors + 1,
        UINT64_C(1) << 63, UINT64_MAX,           UINT64_MAX - 7,
        UINT64_MAX / 512,  UINT64_MAX / 512 + 1, (UINT64_C(1) << 55) + 1
    };
    struct req r;

    for (unsigned i = 0; i < 9; i++) {
        r = rw(d, WRITE, bad[i], 16, 1);
        refused(d, rp, "write past the end", &r);
        r.op = READ;
        refused(d, rp, "read past the end", &r);
        r = (struct req){ .op = DISCARD, .sector = bad[i], .count = 8 };
        refused(d, rp, "discard past the end", &r);
    }
    r = (struct req){ .op = DISCARD, .sector = 8, .count = UINT64_MAX };
    refused(d, rp, "discard of 2^64 - 1", &r);
    r = (struct req){ .op = DISCARD, .sector = 8, .count = UINT64_MAX - 7 };
    refused(d, rp, "discard that wraps", &r);
    r = (struct req){ .op = DISCARD, .sector = 64, .count = 0 };
    answered(d, rp, "discard of nothing", &r);
    r = rw(d, READ, d->sectors - 8, 16, 1);
    accepted(d, rp, "the last page", &r);
    found(rp, true, "end - 7 to 2^64 - 1 and sums that wrap refused");
}

static void
operations(struct dev *d, struct report *rp)
{
    struct req r = rw(d, READ, 64, 16, 1);

    for (unsigned op = 0; op < 256; op++) {
        r.op = (uint8_t)op;
        if (op == 4 || op > 6)
            refused(d, rp, "unknown operation", &r);
    }
    r.op = INDIRECT;
    r.list[0] = d->ref[15];
    for (unsigned inner = 2; inner < 256; inner++) {
        r.inner = (uint8_t)inner;
        refused(d, rp, "indirect_op", &r);
    }
    found(rp, true, "op 4, 7 to 255 and indirect_op 2 to 255 refused");
}

static void
bad_references(struct dev *d, struct report *rp)
{
    static const char *const names[] = { "read-only grant", "revoked grant",
                                         "another domain's grant" };
    struct req r = rw(d, READ, 64, 16, 1);
    unsigned had = 0;

    r.seg[0].ref = UINT32_MAX;
    refused(d, rp, "reference 2^32 - 1", &r);
    r.op = WRITE;
    refused(d, rp, "reference 2^32 - 1, write", &r);
    /* Often granted, to somebody: a read would go over what is there. */
    r.seg[0].ref = 0;
    answered(d, rp, "reference 0, write", &r);
    r = rw(d, READ, 64, 16, 1);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t ref = d->t->strange(d, (enum strange)i);

        if (!ref)
            continue;
        had++;
        r.seg[0].ref = ref;
        r.op = READ;
        refused(d, rp, names[i], &r);
        r.op = WRITE;
        if (i != REF_READONLY)
            refused(d, rp, names[i], &r);
        r = rw(d, READ, 64, 16, 1);
    }
    r = rw(d, READ, 64, 16, 11);
    for (unsigned i = 0; i < SEGS; i++)
        r.seg[i].ref = d->ref[16];
    accepted(d, rp, "one page for all segments", &r);
    found(rp, true, "2^32 - 1 and %u more kinds refused, 0 answered", had);
}

static void
kth_segment(struct dev *d, struct report *rp)
{
    for (unsigned k = 0; k < SEGS; k++) {
        struct req r = rw(d, WRITE, 64, 16, SEGS);

        r.seg[k].ref = UINT32_MAX;
        refused(d, rp, "write with one bad segment", &r);
        r.op = READ;
        refused(d, rp, "read with one bad segment", &r);
    }
    found(rp, true, "an error wherever of 11 the bad one is");
}

static void
indirect_references(struct dev *d, struct report *rp)
{
    struct req r = rw(d, READ, 64, 16, 8);

    if (!d->indirect) {
        skip(rp, "the back-end takes no INDIRECT");
        return;
    }
    r.op = INDIRECT;
    r.list[0] = UINT32_MAX;
    refused(d, rp, "list at reference 2^32 - 1", &r);
    r.list[0] = d->ref[15];
    for (unsigned k = 0; k < 8; k++) {
        for (unsigned i = 0; i < 8; i++) {
            uint32_t ref = i == k ? UINT32_MAX : d->ref[16 + i];
            uint8_t *p = d->page[15] + 8 * (size_t)i;

            memcpy(p, &ref, 4);
            p[4] = 0;
            p[5] = 7;
        }
        refused(d, rp, "list with one bad reference", &r);
        memcpy(d->page[15] + 8 * (size_t)k, &d->ref[16], 4);
        d->page[15][8 * k + 5] = 8;
        refused(d, rp, "list with one bad segment", &r);
    }
    found(rp, true, "bad list, bad reference and bad segment refused");
}

static void
same_ids(struct dev *d, struct report *rp)
{
    unsigned n = d->slots < 16 ? d->slots : 16, answers = 0;
    uint64_t end = ms_now(d) + 20000;
    struct answer a;

    for (unsigned i = 0; i < n; i++) {
        struct req r = rw(d, READ, 64 + 8 * i, 16 + i, 1);

        r.id = UINT64_C(0xfeedfacefeedface);
        put(d, 0, &r);
    }
    push(d, 0);
    while (answers < n && ms_now(d) < end) {
        while (take(d, 0, &a)) {
            answers++;
            if (a.status || a.id != UINT64_C(0xfeedfacefeedface))
                found(rp, false, "answer with %s", say(a.status));
        }
        if (answers < n)
            d->t->wait(d, 50);
    }
    found(rp, answers == n, "%u requests of one id, %u answers", n, answers);
}

static void
readonly(struct dev *d, struct report *rp)
{
    struct req r;

    if (!d->readonly) {
        skip(rp, "the disk may be written; run it on one that may not");
        return;
    }
    r = rw(d, WRITE, 64, 16, 1);
    refused(d, rp, "write", &r);
    r.op = BARRIER;
    refused(d, rp, "barrier", &r);
    r.op = FLUSH;
    refused(d, rp, "flush with data", &r);
    r = (struct req){ .op = DISCARD, .sector = 64, .count = 8 };
    refused(d, rp, "discard", &r);
    if (d->indirect) {
        r = rw(d, INDIRECT, 64, 16, 1);
        r.inner = WRITE;
        r.list[0] = d->ref[15];
        refused(d, rp, "indirect write", &r);
    }
    found(rp, true, "write, barrier, discard, indirect write refused");
}

const struct hostile_case request_cases[] = {
    { "nr_segments", "7.1: 1", "status ERROR", segment_counts, 0 },
    { "nr_segments_indirect", "7.1: 1", "status ERROR", indirect_counts, 0 },
    { "segment_bounds", "7.1: 2", "status ERROR", segment_bounds, 0 },
    { "sector_ranges", "7.1: 3", "status ERROR", sector_ranges, 0 },
    { "operations", "7.1: 4", "status EOPNOTSUPP or ERROR", operations, 0 },
    { "xsa_361_bad_gref", "XSA-361, 362; 7.1: 5", "status ERROR",
      bad_references, 0 },
    { "xsa_365_kth_segment", "XSA-365; 7.1: 5", "status ERROR", kth_segment,
      0 },
    { "indirect_references", "7.1: 5", "status ERROR", indirect_references, 0 },
    { "duplicate_ids", "7.1: 15", "each is answered", same_ids, 0 },
    { "xsa_142_readonly", "XSA-142; CVE-2013-2140", "status ERROR", readonly,
      0 },
    { NULL, NULL, NULL, NULL, 0 }
};
