/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules of validate.c by name; channel_validate_enum has the numbers. */
#include "channel/validate.h"
#include "tests/test.h"

static const struct validate_params usual = {
    .size = 1 << 20, .max_indirect = 256, .discard = true, .barrier = true
};
enum { SECTORS = 2048 };

static struct blkif_op
make(uint8_t op, uint64_t sector, unsigned n)
{
    struct blkif_op r = { .op = op, .sector = sector, .nsegs = (uint16_t)n };

    for (unsigned i = 0; i < CHAN_DIRECT_MAX; i++)
        r.seg[i].last = 7;
    return r;
}

static struct verdict
judge(struct blkif_op r, struct validate_params p)
{
    struct verdict v = { .status = 99 };

    validate_request(&r, &p, &v);
    return v;
}

static int
status(struct blkif_op r)
{
    return judge(r, usual).status;
}

static void
counts_of_segments(void)
{
    for (uint8_t op = BLKIF_READ; op <= BLKIF_FLUSH; op++) {
        bool empty = op == BLKIF_BARRIER || op == BLKIF_FLUSH;

        CHECK_EQ(status(make(op, 0, 0)), empty ? 0 : -1);
        CHECK_EQ(status(make(op, 0, 1)), 0);
        CHECK_EQ(status(make(op, 0, 11)), 0);
        CHECK_EQ(status(make(op, 0, 12)), -1);
        CHECK_EQ(status(make(op, 0, 255)), -1);
    }
}

static void
sectors_in_a_page(void)
{
    static const struct {
        uint8_t first, last;
        int status;
        unsigned len;
    } c[] = { { 0, 7, 0, 4096 }, { 7, 7, 0, 512 },    { 3, 4, 0, 1024 },
              { 0, 8, -1, 0 },   { 8, 8, -1, 0 },     { 5, 4, -1, 0 },
              { 7, 0, -1, 0 },   { 255, 255, -1, 0 }, { 0, 255, -1, 0 } };

    for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        struct blkif_op r = make(BLKIF_READ, 5, 1);
        struct verdict v;

        r.seg[0].first = c[i].first;
        r.seg[0].last = c[i].last;
        v = judge(r, usual);
        CHECK_EQ(v.status, c[i].status);
        if (!v.status) {
            CHECK_EQ(v.off, 5 * 512);
            CHECK_EQ(v.len, c[i].len);
        }
    }
}

static void
ends_of_the_disk(void)
{
    CHECK_EQ(status(make(BLKIF_WRITE, SECTORS - 8, 1)), 0);
    CHECK_EQ(status(make(BLKIF_WRITE, SECTORS - 7, 1)), -1);
    CHECK_EQ(status(make(BLKIF_WRITE, SECTORS, 1)), -1);
    CHECK_EQ(status(make(BLKIF_WRITE, UINT64_MAX, 1)), -1);
    CHECK_EQ(status(make(BLKIF_WRITE, UINT64_MAX - 7, 1)), -1);
    CHECK_EQ(status(make(BLKIF_WRITE, UINT64_C(1) << 55, 1)), -1);
    CHECK_EQ(status(make(BLKIF_FLUSH, UINT64_MAX, 0)), 0);
    CHECK_EQ(status(make(BLKIF_BARRIER, UINT64_MAX, 0)), 0);
    CHECK_EQ(status(make(BLKIF_FLUSH, UINT64_MAX, 1)), -1);
}

static void
a_size_that_is_no_sector(void)
{
    struct validate_params p = usual;

    p.size += 511;
    CHECK_EQ(judge(make(BLKIF_READ, SECTORS - 8, 1), p).status, 0);
    CHECK_EQ(judge(make(BLKIF_READ, SECTORS - 7, 1), p).status, -1);
}

static void
discards(void)
{
    struct blkif_op r = { .op = BLKIF_DISCARD, .nr_sectors = SECTORS };
    struct validate_params p = usual;

    CHECK_EQ(judge(r, p).len, 1 << 20);
    CHECK_EQ(status(r), 0);
    r.sector = 1;
    CHECK_EQ(status(r), -1);
    r.nr_sectors = UINT64_MAX;
    CHECK_EQ(status(r), -1);
    r.nr_sectors = 0;
    CHECK_EQ(status(r), 0);
    r.flag = BLKIF_DISCARD_SECURE;
    CHECK_EQ(status(r), -2);
    r.flag = 2; /* unknown bits mean nothing */
    CHECK_EQ(status(r), 0);
    p.readonly = true;
    CHECK_EQ(judge(r, p).status, -1);
    p.discard = false;
    CHECK_EQ(judge(r, p).status, -2);
}

static void
indirect(void)
{
    struct blkif_op r = { .op = BLKIF_INDIRECT, .nsegs = 1 };
    struct validate_params p = usual;

    for (unsigned inner = 0; inner < 256; inner++) {
        r.inner = (uint8_t)inner;
        CHECK_EQ(status(r), inner <= BLKIF_WRITE ? 0 : -1);
        CHECK_EQ(judge(r, usual).answer, inner);
    }
    r.inner = BLKIF_WRITE;
    r.nsegs = 0;
    CHECK_EQ(status(r), -1);
    r.nsegs = 256;
    CHECK_EQ(status(r), 0);
    r.nsegs = 257;
    CHECK_EQ(status(r), -1);
    r.nsegs = 65535;
    CHECK_EQ(status(r), -1);
    r.nsegs = 1;
    p.readonly = true;
    CHECK_EQ(judge(r, p).status, -1);
    r.inner = BLKIF_READ;
    CHECK_EQ(judge(r, p).status, 0);
    p.max_indirect = 0;
    CHECK_EQ(judge(r, p).status, -2);
}

static void
readonly(void)
{
    struct validate_params p = usual;

    p.readonly = true;
    CHECK_EQ(judge(make(BLKIF_READ, 0, 1), p).status, 0);
    CHECK_EQ(judge(make(BLKIF_WRITE, 0, 1), p).status, -1);
    CHECK_EQ(judge(make(BLKIF_BARRIER, 0, 1), p).status, -1);
    CHECK_EQ(judge(make(BLKIF_FLUSH, 0, 1), p).status, -1);
    CHECK_EQ(judge(make(BLKIF_FLUSH, 0, 0), p).status, 0);
    CHECK_EQ(judge(make(BLKIF_BARRIER, 0, 0), p).status, 0);
}

static void
unknown_operations(void)
{
    for (unsigned op = 0; op < 256; op++) {
        struct verdict v = judge(make((uint8_t)op, 0, 1), usual);

        if (op == 4 || op > 6)
            CHECK_EQ(v.status, -2);
        if (op != BLKIF_INDIRECT)
            CHECK_EQ(v.answer, op);
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(counts_of_segments);
    TEST(sectors_in_a_page);
    TEST(ends_of_the_disk);
    TEST(a_size_that_is_no_sector);
    TEST(discards);
    TEST(indirect);
    TEST(readonly);
    TEST(unknown_operations);
    return test_end();
}
