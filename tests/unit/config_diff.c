/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config_diff.c: a disk equals itself, and no disk from which one field
 * differs.
 */
#include <string.h>

#include "config/config.h"
#include "tests/test.h"

static struct blk_kv kv[] = { { .key = "path", .value = "/a" },
                              { .key = "size", .value = "1M" } };
static struct blk_kv turned[] = { { .key = "size", .value = "1M" },
                                  { .key = "path", .value = "/a" } };
static struct blk_kv other_value[] = { { .key = "path", .value = "/b" },
                                       { .key = "size", .value = "1M" } };
static struct blk_kv other_key[] = { { .key = "paths", .value = "/a" },
                                     { .key = "size", .value = "1M" } };
static struct blk_conf one = {
    .plugin = "file", .name = "f", .kv = kv, .n = 2
};
static const struct conf_disk disk = {
    .name = "a", .vm = "v", .vdev = "xvda", .chain = { .layer = &one, .n = 1 }
};

#define DIFFERS(set)                        \
    do {                                    \
        struct conf_disk d = disk;          \
        set;                                \
        CHECK(!conf_disk_equal(&disk, &d)); \
        CHECK(!conf_disk_equal(&d, &disk)); \
        CHECK(conf_disk_equal(&d, &d));     \
    } while (0)

static void
fields(void)
{
    DIFFERS(d.name = "b");
    DIFFERS(d.vm = "w");
    DIFFERS(d.vm = NULL);
    DIFFERS(d.vdev = "xvdb");
    DIFFERS(d.mode = (enum conf_mode)(disk.mode + 1));
    DIFFERS(d.readonly = true);
    DIFFERS(d.discard = true);
    DIFFERS(d.barrier = true);
    DIFFERS(d.queues = 1);
    DIFFERS(d.ring_order = 1);
    DIFFERS(d.indirect = 12);
    DIFFERS(d.buffers = 1);
}

static void
chains(void)
{
    struct blk_conf other = one;

    DIFFERS(d.chain.n = 0);
    DIFFERS(d.chain.readonly = true);
    other.plugin = "memory";
    DIFFERS(d.chain.layer = &other);
    other = one;
    other.name = "g";
    DIFFERS(d.chain.layer = &other);
    other = one;
    other.n = 1;
    DIFFERS(d.chain.layer = &other);
    other = one;
    other.kv = other_value;
    DIFFERS(d.chain.layer = &other);
    other.kv = other_key;
    DIFFERS(d.chain.layer = &other);
}

static void
order_of_keys(void)
{
    struct blk_conf other = one;
    struct conf_disk d = disk;

    other.kv = turned;
    d.chain.layer = &other;
    CHECK(conf_disk_equal(&disk, &d));
    d.file = "elsewhere";
    d.line = 7;
    CHECK(conf_disk_equal(&disk, &d));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(fields);
    TEST(chains);
    TEST(order_of_keys);
    return test_end();
}
