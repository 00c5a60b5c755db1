/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the head makes of a guest's requests: refused, split, repaired, put
 * through bounce buffers, flushed after.
 */
#include "tests/unit/chain_kit.h"

/* Knows reads and flushes only, and does nothing. */
static const struct blk_plugin plugin_narrow = {
    .abi = BLK_ABI,
    .ops = BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH),
    .name = "narrow",
    .help = "reads only",
};

/* Claims more than there is below it. */
static void
liar_limits(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    lim->size *= 2;
    lim->align = 512;
    lim->max_len *= 4;
    lim->volatile_cache = false;
    lim->fua = true;
    lim->ops = BLK_ALL_OPS;
}

static const struct blk_plugin plugin_liar = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "liar",
    .help = "lies",
    .limits = liar_limits,
};

const struct blk_plugin *const blk_plugins_static[] = { &plugin_narrow,
                                                        &plugin_liar, &kit_tail,
                                                        NULL };

static char *
pattern(char *data, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(i * 31 + i / 256 + seed);
    return data;
}

static void
refused(void)
{
    char data[1024];
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.ops =
        BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_FLUSH);
    c = kit_start("tail");
    CHECK_EQ(kit_do(c, BLK_DISCARD, 0, 0, 4096, NULL), -EOPNOTSUPP);
    CHECK_EQ(kit_do(c, BLK_ZERO, 0, 0, 4096, NULL), -EOPNOTSUPP);
    CHECK_EQ(kit_do(c, 9, 0, 0, 4096, NULL), -EOPNOTSUPP);
    CHECK_EQ(kit_do(c, BLK_READ, 0, KIT_SIZE, 512, data), -EINVAL);
    CHECK_EQ(kit_do(c, BLK_READ, 0, KIT_SIZE - 512, 1024, data), -EINVAL);
    CHECK_EQ(kit_do(c, BLK_READ, 0, UINT64_MAX - 511, 1024, data), -EINVAL);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, NULL), -EINVAL);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 0, NULL), 0);
    CHECK_STR(noted(), "");
    CHECK_EQ(kit_do(c, BLK_READ, 0, KIT_SIZE - 512, 512, data), 0);
    kit_stop(c);
}

static void
readonly(void)
{
    char data[512];
    struct kit_spec k;
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.readonly = true;
    c = kit_start("tail");
    CHECK(chain_limits(c)->readonly);
    CHECK(!(chain_limits(c)->ops & BLK_BIT(BLK_WRITE)));
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 512, data), -EROFS);
    CHECK_EQ(kit_do(c, BLK_DISCARD, 0, 0, 512, NULL), -EROFS);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    kit_stop(c);
    /* Read-only by the vbd, over a disk that could be written. */
    kit_disk_reset();
    kit_spec(&k, "tail");
    k.spec.readonly = true;
    chain_loop_init(&kit_loop, 1);
    REQUIRE(!chain_new(&c, &kit_loop.loop, &k.spec, NULL, NULL, kit_why,
                       sizeof(kit_why)));
    REQUIRE(!chain_reserve(c, 4));
    CHECK_EQ(kit_step_now(c, chain_start), 0);
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 512, data), -EROFS);
    CHECK_EQ(kit_do(c, BLK_FLUSH, 0, 0, 0, NULL), 0);
    kit_stop(c);
}

static void
narrow(void)
{
    char data[512];
    struct chain *c;

    kit_disk_reset();
    c = kit_start("narrow tail");
    CHECK_EQ(chain_limits(c)->ops, BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH));
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 512, data), -EOPNOTSUPP);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    kit_stop(c);
}

static void
liar(void)
{
    struct chain *c;
    const struct blk_limits *lim;

    kit_disk_reset();
    kit_disk.limits.align = 4096;
    kit_disk.limits.max_len = 8192;
    kit_disk.limits.ops = BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH);
    c = kit_start("liar tail");
    lim = chain_limits(c);
    CHECK_EQ(lim->size, KIT_SIZE);
    CHECK_EQ(lim->align, 4096);
    CHECK_EQ(lim->max_len, 8192);
    CHECK(lim->volatile_cache && !lim->fua);
    CHECK_EQ(lim->ops, BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH));
    kit_stop(c);
}

static void
nonsense(void)
{
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.align = 3000;
    c = kit_new("tail");
    CHECK_EQ(kit_step_now(c, chain_start), -EINVAL);
    CHECK_STR(kit_why, "disk/tail: expected in its limits align, a power of "
                       "two, 512 or more, found 3000");
    chain_free(c);
    kit_disk_reset();
    kit_disk.limits.max_segs = 0;
    c = kit_new("tail");
    CHECK_EQ(kit_step_now(c, chain_start), -EINVAL);
    chain_free(c);
}

static void
rounded(void)
{
    struct chain *c;
    const struct blk_limits *lim;

    kit_disk_reset();
    kit_disk.limits.align = 4096;
    kit_disk.limits.block = 512;
    kit_disk.limits.size = KIT_SIZE - 1000;
    kit_disk.limits.max_len = 10000;
    kit_disk.limits.discard_align = 5000;
    kit_disk.limits.max_discard = 0;
    c = kit_start("tail");
    lim = chain_limits(c);
    CHECK_EQ(lim->size, KIT_SIZE - 4096);
    CHECK_EQ(lim->block, 4096);
    CHECK_EQ(lim->max_len, 8192);
    CHECK_EQ(lim->discard_align, 8192);
    CHECK_EQ(lim->max_discard, UINT32_MAX - 4095);
    kit_stop(c);
}

static void
split(void)
{
    static char data[16384], back[16384];
    struct kit_req k;
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.max_len = 4096;
    kit_disk.limits.max_discard = 8192;
    c = kit_start("tail");
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 1024, 10240, pattern(data, 16384, 1)), 0);
    CHECK_STR(noted(), "write@1024+4096 write@5120+4096 write@9216+2048");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 1024, 10240, back), 0);
    CHECK(!memcmp(data, back, 10240));
    noted();
    CHECK_EQ(kit_do(c, BLK_ZERO, 0, 0, 20480, NULL), 0);
    CHECK_STR(noted(), "zero@0+8192 zero@8192+8192 zero@16384+4096");
    /* Discards lose their edges: block is 4096. */
    CHECK_EQ(kit_do(c, BLK_DISCARD, 0, 512, 20480, NULL), 0);
    CHECK_STR(noted(), "discard@4096+8192 discard@12288+8192");
    CHECK_EQ(kit_do(c, BLK_DISCARD, 0, 512, 4096, NULL), 0);
    CHECK_STR(noted(), "");
    kit_stop(c);
    /* By the number of segments. */
    kit_disk_reset();
    kit_disk.limits.max_segs = 3;
    c = kit_start("tail");
    kit_submit_req(c, &k, BLK_WRITE, 0, 0, 8192, pattern(data, 8192, 2), 1024);
    kit_run();
    CHECK_EQ(k.error, 0);
    CHECK_STR(noted(), "write@0+3072 write@3072+3072 write@6144+2048");
    CHECK_EQ(kit_disk.segs_max, 3);
    CHECK(!memcmp(kit_disk.data, data, 8192));
    kit_stop(c);
}

static void
split_error(void)
{
    char data[8192];
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.max_len = 1024;
    c = kit_start("tail");
    kit_disk.error = -ENOSPC;
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 8192, data), -ENOSPC);
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 8192, data), 0);
    kit_stop(c);
}

static void
repair(void)
{
    static unsigned char expected[KIT_SIZE];
    char data[12288], back[12288];
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.align = 4096;
    pattern((char *)kit_disk.data, KIT_SIZE, 9);
    memcpy(expected, kit_disk.data, KIT_SIZE);
    c = kit_start("tail");
    pattern(data, sizeof(data), 77);
    /* Inside one block; over an edge; both edges with a middle. */
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 512, 1024, data), 0);
    memcpy(expected + 512, data, 1024);
    CHECK_STR(noted(), "read@0+4096 write@0+4096");
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 7680, 1024, data), 0);
    memcpy(expected + 7680, data, 1024);
    CHECK_STR(noted(), "read@4096+4096 read@8192+4096 write@4096+4096 "
                       "write@8192+4096");
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 15872, 9216, data), 0);
    memcpy(expected + 15872, data, 9216);
    CHECK_STR(noted(), "read@12288+4096 write@16384+8192 read@24576+4096 "
                       "write@12288+4096 write@24576+4096");
    CHECK_EQ(kit_do(c, BLK_ZERO, 0, 32256, 5120, NULL), 0);
    memset(expected + 32256, 0, 5120);
    CHECK_STR(noted(), "read@28672+4096 zero@32768+4096 read@36864+4096 "
                       "write@28672+4096 write@36864+4096");
    CHECK(!memcmp(expected, kit_disk.data, KIT_SIZE));
    CHECK_EQ(kit_do(c, BLK_READ, 0, 3584, 9728, back), 0);
    CHECK(!memcmp(back, expected + 3584, 9728));
    CHECK_STR(noted(), "read@0+4096 read@4096+8192 read@12288+4096");
    kit_stop(c);
}

/* Two that meet in one block: the second waits; a third elsewhere does not. */
static void
serialised(void)
{
    char one[512], two[512], three[4096];
    struct kit_req a, b, d, e;
    struct chain *c;

    memset(one, 1, sizeof(one));
    memset(two, 2, sizeof(two));
    memset(three, 3, sizeof(three));
    kit_disk_reset();
    kit_disk.limits.align = 4096;
    kit_disk.hold = true;
    c = kit_start("tail");
    kit_submit_req(c, &a, BLK_WRITE, 0, 0, 512, one, 512);
    kit_submit_req(c, &b, BLK_WRITE, 0, 512, 512, two, 512);
    kit_submit_req(c, &d, BLK_WRITE, 0, 4096, 4096, three, 4096);
    kit_submit_req(c, &e, BLK_WRITE, 0, 0, 4096, three, 4096);
    kit_run();
    CHECK_STR(noted(), "read@0+4096 write@4096+4096");
    kit_release(0);
    kit_run();
    CHECK_STR(noted(), "write@0+4096");
    CHECK_EQ(a.error, 1);
    kit_release(1);
    kit_run();
    CHECK_EQ(a.error, 0);
    CHECK_STR(noted(), "read@0+4096");
    kit_release(1);
    kit_run();
    CHECK_STR(noted(), "write@0+4096");
    CHECK_EQ(b.error, 1);
    kit_release(1);
    kit_run();
    CHECK_EQ(b.error, 0);
    CHECK_EQ(kit_disk.data[0], 1);
    CHECK_EQ(kit_disk.data[512], 2);
    CHECK_STR(noted(), "write@0+4096");
    while (kit_disk.n_held)
        kit_release(0);
    kit_run();
    CHECK(!d.error && !e.error);
    CHECK_EQ(kit_disk.data[512], 3);
    kit_stop(c);
}

static void
memory(void)
{
    static _Alignas(4096) char data[16384];
    static char back[12288];
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.mem_align = 4096;
    c = kit_start("tail");
    pattern(data, sizeof(data), 4);
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 12288, data), 0);
    CHECK_STR(noted(), "write@0+12288");
    CHECK(!memcmp(kit_disk.data, data, 12288));
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 12288, data + 512), 0);
    CHECK_STR(noted(), "write@0+12288");
    CHECK(!memcmp(kit_disk.data, data + 512, 12288));
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 12288, back), 0);
    CHECK(!memcmp(kit_disk.data, back, 12288));
    kit_stop(c);
}

/* More than one bounce buffer holds, and more than there are. */
static void
many_bounces(void)
{
    static char data[600 << 10], back[600 << 10];
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.mem_align = 512;
    kit_disk.quiet = true;
    c = kit_start("tail");
    pattern(data, sizeof(data), 4);
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, (600 << 10) - 512, data + 1), 0);
    CHECK(!memcmp(kit_disk.data, data + 1, (600 << 10) - 512));
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, (600 << 10) - 512, back + 1), 0);
    CHECK(!memcmp(kit_disk.data, back + 1, (600 << 10) - 512));
    kit_stop(c);
}

static void
fua(void)
{
    char data[8192] = { 0 };
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.max_len = 4096;
    c = kit_start("tail");
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 0, 512, data), 0);
    CHECK_STR(noted(), "write@0+512 flush@0+0");
    CHECK_EQ(kit_do(c, BLK_ZERO, BLK_FUA, 0, 512, NULL), 0);
    CHECK_STR(noted(), "zero@0+512 flush@0+0");
    CHECK_EQ(kit_do(c, BLK_READ, BLK_FUA, 0, 512, data), 0);
    CHECK_STR(noted(), "read@0+512");
    /* Once, after all pieces. */
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 0, 8192, data), 0);
    CHECK_STR(noted(), "write@0+4096 write@4096+4096 flush@0+0");
    /* Not after an error. */
    kit_disk.error = -EIO;
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 0, 512, data), -EIO);
    CHECK_STR(noted(), "write@0+512");
    kit_stop(c);

    kit_disk_reset();
    kit_disk.limits.fua = true;
    c = kit_start("tail");
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 0, 512, data), 0);
    CHECK_STR(noted(), "write,fua@0+512");
    kit_stop(c);

    kit_disk_reset();
    kit_disk.limits.volatile_cache = false;
    c = kit_start("tail");
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 0, 512, data), 0);
    CHECK_EQ(kit_do(c, BLK_FLUSH, 0, 0, 0, NULL), 0);
    CHECK_STR(noted(), "write@0+512");
    kit_stop(c);
}

/* What can't be flushed can't be written with FUA: said before the write. */
static void
fua_refused(void)
{
    char data[512] = { 0 };
    struct chain *c;

    kit_disk_reset();
    kit_disk.limits.ops &= ~BLK_BIT(BLK_FLUSH);
    c = kit_start("tail");
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 0, 512, data), -EOPNOTSUPP);
    CHECK_EQ(kit_do(c, BLK_FLUSH, 0, 0, 0, NULL), -EOPNOTSUPP);
    CHECK_STR(noted(), "");
    kit_stop(c);
}

static void
flush_error_after_fua(void)
{
    char data[512] = { 0 };
    struct kit_req k;
    struct chain *c;

    kit_disk_reset();
    kit_disk.hold = true;
    c = kit_start("tail");
    kit_submit_req(c, &k, BLK_WRITE, BLK_FUA, 1024, 512, data, 512);
    kit_run();
    kit_release(0);
    kit_run();
    CHECK_EQ(k.error, 1);
    kit_disk.error = -EIO;
    kit_release(0);
    kit_run();
    CHECK_EQ(k.error, -EIO);
    kit_stop(c);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(refused);
    TEST(readonly);
    TEST(narrow);
    TEST(liar);
    TEST(nonsense);
    TEST(rounded);
    TEST(split);
    TEST(split_error);
    TEST(repair);
    TEST(serialised);
    TEST(memory);
    TEST(many_bounces);
    TEST(fua);
    TEST(fua_refused);
    TEST(flush_error_after_fua);
    return test_end();
}
