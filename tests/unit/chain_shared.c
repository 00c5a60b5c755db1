/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What layers have in common: whose it is, who makes it, and when it goes. */
#include "config.h"

#include <pthread.h>

#include "chain/shared.c"
#include "tests/test.h"

static const struct blk_plugin plugin_a = { .name = "a" };
static const struct blk_plugin plugin_b = { .name = "b" };

/* A layer on a loop of its own. */
struct one {
    struct loop loop;
    struct chain chain;
    struct blk_layer layer;
};

static struct blk_layer *
one_make(struct one *o, const struct blk_plugin *plugin,
         struct commons *commons)
{
    memset(o, 0, sizeof(*o));
    loop_init(&o->loop, NULL, "test");
    if (commons)
        o->loop.commons = commons;
    o->chain.loop = &o->loop;
    o->layer.chain = &o->chain;
    o->layer.plugin = plugin;
    o->layer.name = (char *)(uintptr_t) "disk/layer";
    return &o->layer;
}

struct thing {
    uint64_t began, many;
};

static unsigned ended;

static void
thing_begin(void *p)
{
    struct thing *t = p;

    t->began++;
}

static void
thing_end(void *p)
{
    struct thing *t = p;

    CHECK_EQ(t->began, 1);
    ended++;
}

static struct thing *
get(struct blk_layer *l, const char *name)
{
    return blk_share(l, name, sizeof(struct thing), thing_begin, thing_end);
}

static void
is_one_for_all_of_a_name(void)
{
    struct commons commons;
    struct one one, two, other;
    struct blk_layer *a, *b, *c;
    struct thing *x, *y;

    commons_init(&commons);
    ended = 0;
    a = one_make(&one, &plugin_a, &commons);
    b = one_make(&two, &plugin_a, &commons);
    c = one_make(&other, &plugin_b, &commons);
    x = get(a, "x");
    REQUIRE(x && !((uintptr_t)x % _Alignof(max_align_t)));
    CHECK_EQ(x->began, 1);
    CHECK_EQ(x->many, 0);
    CHECK(get(b, "x") == x && x->began == 1);
    CHECK_EQ(blk_sharers(a, x), 2);
    /* Another name, and another plugin. */
    y = get(b, "y");
    CHECK(y && y != x);
    blk_unshare(b, y);
    CHECK_EQ(ended, 1);
    y = get(c, "x");
    CHECK(y && y != x);
    CHECK_EQ(blk_sharers(c, y), 1);
    /* The last one ends it. */
    x->many = 7;
    blk_unshare(a, x);
    CHECK_EQ(ended, 1);
    CHECK_EQ(blk_sharers(b, x), 1);
    blk_unshare(b, x);
    CHECK_EQ(ended, 2);
    x = get(a, "x");
    CHECK_EQ(x->many, 0);
    blk_unshare(a, x);
    blk_unshare(c, y);
    CHECK_EQ(ended, 4);
    CHECK(!commons.first);
    x = blk_share(a, "plain", 1, NULL, NULL);
    REQUIRE(x);
    blk_unshare(a, x);
}

/* Two daemons in a process, and a loop that belongs to none. */
static void
is_of_one_daemon(void)
{
    struct commons first, second;
    struct one one, two, alone;
    struct blk_layer *a, *b, *c;
    struct thing *x, *y, *z;

    commons_init(&first);
    commons_init(&second);
    a = one_make(&one, &plugin_a, &first);
    b = one_make(&two, &plugin_a, &second);
    c = one_make(&alone, &plugin_a, NULL);
    x = get(a, "x");
    y = get(b, "x");
    z = get(c, "x");
    CHECK(x != y && y != z && x != z);
    CHECK_EQ(blk_sharers(a, x), 1);
    blk_unshare(b, y);
    blk_unshare(a, x);
    blk_unshare(c, z);
}

static struct commons common;

/* It is there for two at a time, and for none. */
static void *
come_and_go(void *data)
{
    struct one one;
    struct blk_layer *l = one_make(&one, &plugin_a, &common);
    unsigned i;

    for (i = 0; i < 20000; i++) {
        struct thing *t = get(l, i % 3 ? "x" : "y");

        REQUIRE(t && t->began == 1);
        REQUIRE(blk_sharers(l, t) >= 1);
        blk_unshare(l, t);
    }
    return data;
}

static void
threads_come_and_go(void)
{
    pthread_t thread[4];
    unsigned i;

    commons_init(&common);
    for (i = 0; i < 4; i++)
        REQUIRE(!pthread_create(&thread[i], NULL, come_and_go, NULL));
    for (i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    CHECK(!common.first);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(is_one_for_all_of_a_name);
    TEST(is_of_one_daemon);
    TEST(threads_come_and_go);
    return test_end();
}
