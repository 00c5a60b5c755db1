/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The null plugin, on the real engine and loop. */
#include "config.h"
#include <errno.h>

#include "tests/unit/plugin_run.h"

static uint8_t buf[64 << 10];

static void
reads_zeroes_whatever_was_written(void)
{
    struct run r = { 0 };
    struct run_io io = { .op = BLK_READ, .off = 512, .buf = buf, .segs = 7 };
    unsigned i;

    RUN(r, "null size=1P");
    memset(buf, 0xaa, sizeof(buf));
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, buf, sizeof(buf)), 0);
    io.len = sizeof(buf) - 512;
    run_start(&r, &io);
    run_wait(&r, &io);
    CHECK_EQ(io.error, 0);
    for (i = 0; i < io.len; i++)
        REQUIRE(!buf[i]);
    CHECK_EQ(buf[io.len], 0xaa);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 1 << 20), 0);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, (1ull << 50) - 4096, NULL, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 1ull << 50, buf, 512), -EINVAL);
    run_close(&r);
}

static void
offers_its_limits(void)
{
    const struct blk_limits *l;
    struct run r = { 0 };

    RUN(r, "null size=1M");
    l = chain_limits(r.chain);
    CHECK_EQ(l->size, 1 << 20);
    CHECK_EQ(l->align, 512);
    CHECK_EQ(l->block, 4096);
    CHECK_EQ(l->discard_align, 4096);
    CHECK_EQ(l->ops, BLK_ALL_OPS);
    CHECK(!l->volatile_cache && l->fua && !l->readonly);
    run_close(&r);
    RUN(r, "null size=1M sector=4k block=16k");
    l = chain_limits(r.chain);
    CHECK_EQ(l->align, 4096);
    CHECK_EQ(l->block, 16384);
    CHECK_EQ(l->discard_align, 16384);
    run_close(&r);
    CHECK_EQ(run_open(&r, RUN_READONLY, "null size=1M"), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -EROFS);
    run_close(&r);
}

static void
expect_refused(const char *options, const char *sentence)
{
    struct run r = { 0 };

    CHECK(run_open(&r, RUN_READWRITE, "null %s", options));
    if (!strstr(r.why, sentence))
        test_fail(__FILE__, __LINE__, "%s: \"%s\" is not \"%s\"", options,
                  r.why, sentence);
}

static void
refuses_nonsense(void)
{
    expect_refused("", "size");
    expect_refused("size=0", "size");
    expect_refused("size=1025P", "size");
    expect_refused("size=1000",
                   "size: expected a multiple of sector (512), found 1000");
    expect_refused("size=1M sector=1000",
                   "sector: expected a power of two, found 1000");
    expect_refused("size=1M block=5000",
                   "block: expected a power of two, found 5000");
    expect_refused("size=1M sector=4k block=512",
                   "block: expected at least sector (4096), found 512");
    expect_refused("size=1M sector=128k", "sector");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(reads_zeroes_whatever_was_written);
    TEST(offers_its_limits);
    TEST(refuses_nonsense);
    return test_end();
}
