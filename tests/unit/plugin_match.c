/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which requests the filter of trace, delay and error means. */
#include "config.h"
#include "plugins/common/match.c"
#include "tests/test.h"

static uint64_t random_next;

uint64_t
blk_random(struct blk_layer *l)
{
    (void)l;
    return random_next;
}

static bool
place(uint64_t op, uint64_t from, uint64_t to, uint8_t r_op, uint64_t off,
      uint32_t len)
{
    struct match m = { .op = op, .from = from, .to = to };
    struct blk_req r = { .op = r_op, .off = off, .len = len };

    return match_place(&m, &r);
}

static void
op_is_any_or_named(void)
{
    unsigned op, named;

    for (op = 0; op < BLK_OPS; op++) {
        CHECK(place(0, 0, 0, (uint8_t)op, 0, 512));
        for (named = 0; named < BLK_OPS; named++)
            CHECK_EQ(place(named + 1, 0, 0, (uint8_t)op, 0, 512), op == named);
    }
    CHECK_STR(match_ops[1 + BLK_READ], "read");
    CHECK_STR(match_ops[1 + BLK_WRITE], "write");
    CHECK_STR(match_ops[1 + BLK_FLUSH], "flush");
    CHECK_STR(match_ops[1 + BLK_DISCARD], "discard");
    CHECK_STR(match_ops[1 + BLK_ZERO], "zero");
    CHECK(!match_ops[1 + BLK_OPS]);
}

static void
range_is_half_open(void)
{
    CHECK(!place(0, 4096, 8192, BLK_READ, 0, 4096));
    CHECK(place(0, 4096, 8192, BLK_READ, 0, 4608));
    CHECK(place(0, 4096, 8192, BLK_READ, 7680, 512));
    CHECK(!place(0, 4096, 8192, BLK_READ, 8192, 512));
    CHECK(place(0, 4096, 0, BLK_READ, 1ull << 50, 512));
    CHECK(place(0, 4096, 8192, BLK_READ, 0, 65536));
}

static void
flush_has_no_place(void)
{
    CHECK(place(0, 0, 0, BLK_FLUSH, 0, 0));
    CHECK(!place(0, 4096, 0, BLK_FLUSH, 0, 0));
    CHECK(!place(0, 0, 4096, BLK_FLUSH, 0, 0));
    CHECK(place(1 + BLK_FLUSH, 4096, 8192, BLK_FLUSH, 0, 0));
}

static void
every_and_count(void)
{
    struct match m = { .probability = 1, .every = 3, .count = 2 };
    struct blk_req r = { .op = BLK_READ, .len = 512 };
    char seen[13] = "";
    unsigned i;

    for (i = 0; i < 12; i++)
        seen[i] = match_hit(&m, NULL, &r) ? 'x' : '-';
    CHECK_STR(seen, "--x--x------");
    CHECK_EQ(m.seen, 12);
    CHECK_EQ(m.hit, 2);
}

static void
probability_has_exact_ends(void)
{
    struct match never = { .probability = 0 }, half = { .probability = 0.5 };
    struct match almost = { .probability = 0x1.fffffffffffffp-1 };
    struct blk_req r = { .op = BLK_READ, .len = 512 };

    random_next = 0;
    CHECK(!match_hit(&never, NULL, &r));
    CHECK(match_hit(&half, NULL, &r));
    random_next = (1ull << 63) - 1;
    CHECK(match_hit(&half, NULL, &r));
    random_next = 1ull << 63;
    CHECK(!match_hit(&half, NULL, &r));
    CHECK(match_hit(&almost, NULL, &r));
    random_next = UINT64_MAX;
    CHECK(!match_hit(&almost, NULL, &r));
}

static void
empty_ranges_are_refused(void)
{
    struct match m = { .from = 8192, .to = 4096 };
    char why[100] = "";

    CHECK(match_check(&m, why, sizeof(why)) < 0);
    CHECK_STR(why, "to: expected more than from (8192), found 4096");
    m.to = 8192;
    CHECK(match_check(&m, why, sizeof(why)) < 0);
    m.to = 8193;
    CHECK_EQ(match_check(&m, why, sizeof(why)), 0);
    m.to = 0;
    CHECK_EQ(match_check(&m, why, sizeof(why)), 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(op_is_any_or_named);
    TEST(range_is_half_open);
    TEST(flush_has_no_place);
    TEST(every_and_count);
    TEST(probability_has_exact_ends);
    TEST(empty_ranges_are_refused);
    return test_end();
}
