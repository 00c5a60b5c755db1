/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory plugin, on the real engine and loop. */
#include "config.h"
#include <errno.h>

#include "tests/unit/plugin_model.h"

static uint8_t buf[64 << 10];

static void
holds_what_was_written(void)
{
    struct model m;
    struct run r = { .seed = 1 };

    RUN(r, "memory size=3M");
    model_init(&m, &r, 3 << 20);
    m.trim = true;
    model_play(&m, 3000);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    model_free(&m);
    run_close(&r);
}

static void
begins_as_zeroes(void)
{
    struct run r = { 0 };
    unsigned i;

    RUN(r, "memory size=16T");
    memset(buf, 0xaa, sizeof(buf));
    CHECK_EQ(run_io(&r, BLK_READ, 0, (16ull << 40) - 4096, buf, 4096), 0);
    for (i = 0; i < 4096; i++)
        REQUIRE(!buf[i]);
    CHECK_EQ(run_counter(&r, 0, "used_bytes"), 0);
    run_close(&r);
}

static void
offers_its_limits(void)
{
    const struct blk_limits *l;
    struct run r = { 0 };

    RUN(r, "memory size=1M");
    l = chain_limits(r.chain);
    CHECK_EQ(l->size, 1 << 20);
    CHECK_EQ(l->align, 512);
    CHECK_EQ(l->block, 4096);
    CHECK_EQ(l->discard_align, 4096);
    CHECK_EQ(l->ops, BLK_ALL_OPS);
    CHECK(!l->volatile_cache && l->fua && !l->readonly);
    run_close(&r);
}

static void
gives_pages_back(void)
{
    struct run r = { 0 };

    RUN(r, "memory size=8M");
    memset(buf, 1, sizeof(buf));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 2 << 20, buf, 65536), 0);
    CHECK_EQ(run_counter(&r, 0, "used_bytes"), 65536);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, (2 << 20) + 512, NULL, 8192), 0);
    CHECK_EQ(run_counter(&r, 0, "used_bytes"), 65536 - 4096);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 2 << 20, NULL, 65536), 0);
    CHECK_EQ(run_counter(&r, 0, "used_bytes"), 0);
    run_close(&r);
}

static void
keeps_to_its_limit(void)
{
    struct run r = { 0 };

    RUN(r, "memory size=1M limit=8k");
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 8192), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 8192, buf, 512), -ENOSPC);
    CHECK_EQ(run_counter(&r, 0, "over_limit"), 1);
    CHECK(strstr(run_log(), "write of 512 bytes at 8192: the limit"));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 4096, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 8192, buf, 512), 0);
    run_close(&r);
}

static void
grows_live_and_keeps_its_content(void)
{
    struct model m;
    struct run r = { .seed = 2 };

    RUN(r, "memory size=1M");
    model_init(&m, &r, 8 << 20);
    m.trim = true;
    m.size = 1 << 20;
    model_play(&m, 300);
    CHECK_EQ(run_replace(&r, "memory size=8M"), 0);
    CHECK_EQ(chain_limits(r.chain)->size, 8 << 20);
    m.size = 8 << 20;
    model_check(&m);
    model_play(&m, 300);
    model_check(&m);
    model_free(&m);
    run_close(&r);
}

static void
never_shrinks(void)
{
    struct run r = { 0 };

    RUN(r, "memory size=1M");
    memset(buf, 7, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), 0);
    CHECK_EQ(run_replace(&r, "memory size=512k"), -EINVAL);
    CHECK(strstr(r.why, "size: expected at least the 1048576 bytes of the "
                        "running disk, found 524288"));
    memset(buf, 0, 512);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(buf[511], 7);
    run_close(&r);
}

/* The other layer of the new chain fails to start after we took the content
 * over: the old instance goes on with all of it. */
static void
survives_a_change_that_fails(void)
{
    struct run r = { 0 };

    RUN(r, "memory size=1M");
    memset(buf, 9, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), 0);
    CHECK(run_replace(&r, "trace file=/nonexistent/trace | memory size=2M"));
    CHECK_EQ(chain_limits(r.chain)->size, 1 << 20);
    memset(buf, 0, 512);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(buf[0], 9);
    run_close(&r);
}

static void
refuses_odd_sizes(void)
{
    struct run r = { 0 };

    CHECK_EQ(run_open(&r, RUN_READWRITE, "memory size=5000"), -EINVAL);
    CHECK(strstr(r.why, "size: expected a multiple of 4096 bytes, found 5000"));
    CHECK(run_open(&r, RUN_READWRITE, "memory"));
    CHECK(run_open(&r, RUN_READWRITE, "memory size=17T"));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(holds_what_was_written);
    TEST(begins_as_zeroes);
    TEST(offers_its_limits);
    TEST(gives_pages_back);
    TEST(keeps_to_its_limit);
    TEST(grows_live_and_keeps_its_content);
    TEST(never_shrinks);
    TEST(survives_a_change_that_fails);
    TEST(refuses_odd_sizes);
    return test_end();
}
