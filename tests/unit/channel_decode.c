/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slots written byte by byte, as the protocol's tables have them. */
#include "channel/blkif.h"
#include "tests/test.h"

static uint8_t raw[BLKIF_RAW_MAX];

static void
put(unsigned at, unsigned bytes, uint64_t v)
{
    for (unsigned i = 0; i < bytes; i++)
        raw[at + i] = (uint8_t)(v >> (8 * i));
}

#define ID     UINT64_C(0x0123456789abcdef)
#define SECTOR UINT64_C(0xfedcba9876543210)
#define COUNT  UINT64_C(0x1020304050607080)

static struct blkif_op
decode(enum chan_abi abi, unsigned op, unsigned b1, unsigned b23)
{
    struct blkif_op r;

    put(0, 1, op);
    put(1, 1, b1);
    put(2, 2, b23);
    put(abi == CHAN_ABI_64 ? 8 : 4, 8, ID);
    put(abi == CHAN_ABI_64 ? 16 : 12, 8, SECTOR);
    memset(&r, 0x11, sizeof(r));
    blkif_decode(abi, raw, &r);
    CHECK_EQ(r.op, op);
    CHECK(r.id == ID);
    CHECK(r.sector == SECTOR);
    return r;
}

static void
direct(void)
{
    for (int abi = 0; abi < 2; abi++) {
        unsigned seg = abi == CHAN_ABI_64 ? 24 : 20;

        memset(raw, 0xee, sizeof(raw));
        for (unsigned i = 0; i < 11; i++) {
            put(seg + i * 8, 4, 0xa0000000u + i);
            put(seg + i * 8 + 4, 1, i);
            put(seg + i * 8 + 5, 1, 200 + i);
        }
        for (unsigned op = 0; op < 4; op++) {
            struct blkif_op r = decode((enum chan_abi)abi, op, 255, 0x1234);

            CHECK_EQ(r.nsegs, 255);
            for (unsigned i = 0; i < 11; i++) {
                CHECK_EQ(r.seg[i].gref, 0xa0000000u + i);
                CHECK_EQ(r.seg[i].first, i);
                CHECK_EQ(r.seg[i].last, 200 + i);
            }
        }
    }
}

static void
discard(void)
{
    for (int abi = 0; abi < 2; abi++) {
        struct blkif_op r;

        memset(raw, 0xee, sizeof(raw));
        put(abi == CHAN_ABI_64 ? 24 : 20, 8, COUNT);
        r = decode((enum chan_abi)abi, 5, 0x81, 7);
        CHECK_EQ(r.flag, 0x81);
        CHECK(r.nr_sectors == COUNT);
        CHECK_EQ(r.nsegs, 0);
    }
}

static void
indirect(void)
{
    for (int abi = 0; abi < 2; abi++) {
        unsigned grefs = abi == CHAN_ABI_64 ? 28 : 24;
        struct blkif_op r;

        memset(raw, 0xee, sizeof(raw));
        for (unsigned i = 0; i < 8; i++)
            put(grefs + i * 4, 4, 0xb0000000u + i);
        r = decode((enum chan_abi)abi, 6, 1, 0xfedc);
        CHECK_EQ(r.inner, 1);
        CHECK_EQ(r.nsegs, 0xfedc);
        for (unsigned i = 0; i < 8; i++)
            CHECK_EQ(r.gref[i], 0xb0000000u + i);
    }
}

/* Any operation has its id, so that it can be answered. */
static void
unknown(void)
{
    for (int abi = 0; abi < 2; abi++) {
        memset(raw, 0xee, sizeof(raw));
        for (unsigned op = 7; op < 256; op++)
            decode((enum chan_abi)abi, op, 3, 0);
        decode((enum chan_abi)abi, 4, 3, 0);
    }
}

static void
layouts(void)
{
    CHECK_EQ(blkif_layout(CHAN_ABI_64)->stride, 112);
    CHECK_EQ(blkif_layout(CHAN_ABI_X86_32)->stride, 108);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(direct);
    TEST(discard);
    TEST(indirect);
    TEST(unknown);
    TEST(layouts);
    return test_end();
}
