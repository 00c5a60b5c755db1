/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plugin_vbd.c: the tail vbd in a chain, over a front in a simulated world
 * with a back-end of our own channel code.
 */
#include "config.h"

#include <errno.h>

#include "tests/sim/front_rig.h"
#include "tests/unit/plugin_run.h"

enum { LONG = 600 << 10 };

static struct rig g;
static struct run r;
static struct gate *gate;
static struct fronts fronts;
static uint8_t wrote[LONG], got[LONG];

static void
looped(struct run *run)
{
    gate = sim_gate_new(g.sim, run->loop, OURS);
    fronts_init(&fronts, run->loop, gate, g.links, "");
}

static void
setup(uint64_t seed)
{
    rig_new(&g, seed);
    r.sim = g.sim;
    r.looped = looped;
}

static void
teardown(void)
{
    gate->ops->free(gate);
    CHECK_EQ(sim_mapped(g.sim, OURS), 0);
    rig_end(&g);
}

#define OPEN(words) run_open(&r, RUN_READWRITE, "vbd path=" FRONT " " words)

static void
serves(void)
{
    const struct blk_limits *lim;

    setup(1);
    REQUIRE(!OPEN("ring-order=4"));
    /* The most that this back-end takes. */
    CHECK_STR(sim_store_read(g.sim, FRONT "/ring-page-order"), "2");
    lim = chain_limits(r.chain);
    CHECK_EQ(lim->size, DISK_SIZE);
    CHECK_EQ(lim->align, 512);
    CHECK_EQ(lim->discard_align, 4096);
    CHECK(lim->volatile_cache && !lim->readonly);
    CHECK_EQ(lim->ops & BLK_BIT(BLK_ZERO), 0);
    for (unsigned i = 0; i < LONG; i++)
        wrote[i] = (uint8_t)(i * 13 + i / 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 1536, wrote, LONG), 0);
    CHECK(!memcmp(g.disk + 1536, wrote, LONG));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 1536, got, LONG), 0);
    CHECK(!memcmp(got, wrote, LONG));
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(g.flushes, 1);
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, wrote, 4096), 0);
    CHECK_EQ(g.flushes, 2);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 4096, NULL, 8192), 0);
    CHECK_EQ(g.disk[4096] | g.disk[12287], 0);
    CHECK_EQ(run_counter(&r, 0, "connects"), 1);
    CHECK(run_counter(&r, 0, "sent") > 10);
    run_close(&r);
    CHECK_EQ(front_state(&g), 6);
    teardown();
}

/* What a disk without a flush acknowledged is durable. */
static void
offers_what_the_back_end_does(void)
{
    setup(2);
    g.no_flush = true;
    g.segments = 0;
    back_nodes(&g);
    REQUIRE(!OPEN(""));
    CHECK(!chain_limits(r.chain)->volatile_cache);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, wrote, LONG), 0);
    CHECK(!memcmp(g.disk, wrote, LONG));
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(g.flushes, 0);
    run_close(&r);
    teardown();

    setup(3);
    g.readonly = true;
    REQUIRE(!OPEN(""));
    CHECK(chain_limits(r.chain)->readonly);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, got, 4096), 0);
    run_close(&r);
    teardown();
}

/* Another timeout does not disconnect; what would is refused. */
static void
changes_live(void)
{
    setup(4);
    REQUIRE(!OPEN(""));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, wrote, 4096), 0);
    REQUIRE(!run_replace(&r, "vbd path=%s timeout=100ms", FRONT));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, got, 4096), 0);
    CHECK_EQ(run_counter(&r, 0, "connects"), 1);
    CHECK_EQ(run_replace(&r, "vbd path=%s buffer=2M", FRONT), -EBUSY);
    CHECK(strstr(r.why, "can't change while the disk is connected"));
    CHECK_EQ(run_replace(&r, "vbd path=%s queues=2", FRONT), -EBUSY);
    CHECK_EQ(run_replace(&r, "error op=read every=1 | vbd path=%s x=1", FRONT),
             -EINVAL);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, got, 4096), 0);
    CHECK_EQ(r.fatals, 0);
    g.mute = true;
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, got, 4096), -EIO);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.fatal, "did not answer a request within 100 ms"));
    run_close(&r);
    teardown();
}

/* The new instance starts, and serves the layer above it, which finds no
 * header there and does not start: the old one goes on with the connection.
 * (Without crypt the change is refused before anything starts.) */
static void
goes_back_to_the_old_instance(void)
{
    setup(5);
    REQUIRE(!OPEN(""));
    CHECK(run_replace(&r, "crypt key-file=%s | vbd path=%s timeout=1s",
                      run_file("key", 32), FRONT));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, wrote, 4096), 0);
    CHECK_EQ(run_counter(&r, 0, "connects"), 1);
    back_drop(&g);
    back_state(&g, 5);
    run_sleep(&r, 100 * MS);
    CHECK(strstr(run_log(), "requests wait"));
    run_close(&r);
    teardown();
}

/* As many rings as both want; and no more than four unless told so. */
static void
has_several_queues(void)
{
    static const struct {
        unsigned offered;
        const char *options;
        uint64_t queues;
    } cases[] = { { 3, "", 3 },          { 16, "", 4 },
                  { 16, "queues=8", 8 }, { 4, "queues=2", 2 },
                  { 4, "queues=1", 1 },  { 1, "queues=8", 1 } };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setup(20 + i);
        g.queues = cases[i].offered;
        back_nodes(&g);
        REQUIRE(!run_open(&r, RUN_READWRITE, "vbd path=" FRONT " %s",
                          cases[i].options));
        CHECK_EQ(g.connected, cases[i].queues);
        CHECK_EQ(run_counter(&r, 0, "queues"), cases[i].queues);
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, wrote, LONG), 0);
        CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
        CHECK(!memcmp(g.medium, wrote, LONG));
        run_close(&r);
        teardown();
    }
}

static void
refused(const char *words, const char *why)
{
    setup(30);
    CHECK_EQ(run_open(&r, RUN_READWRITE, "vbd path=" FRONT " %s", words),
             -EINVAL);
    CHECK(strstr(r.why, why));
    teardown();
}

static void
has_a_buffer(const char *words, uint64_t bytes)
{
    setup(31);
    REQUIRE(!run_open(&r, RUN_READWRITE, "vbd path=" FRONT " %s", words));
    CHECK_EQ(run_counter(&r, 0, "buffer"), bytes);
    run_close(&r);
    teardown();
}

static void
judges_its_options(void)
{
    refused("queues=0", "queues: expected");
    refused("queues=9", "queues: expected");
    refused("buffer=84k", "buffer: expected 0, or at least 90112 bytes");
    has_a_buffer("buffer=88k", 90112);
    has_a_buffer("", 1280 << 10);
}

static void
tells_of_a_new_size(void)
{
    setup(6);
    g.size = DISK_SIZE / 2;
    back_nodes(&g);
    REQUIRE(!OPEN(""));
    g.size = DISK_SIZE;
    chan_resize(g.chan, g.size);
    back_nodes(&g);
    back_state(&g, 4);
    RUN_WAIT(r, r.relimits == 1);
    CHECK_EQ(chain_limits(r.chain)->size, DISK_SIZE);
    run_close(&r);
    teardown();
}

static void
says_why_not(void)
{
    setup(7);
    back_state(&g, 1);
    CHECK_EQ(OPEN("connect-timeout=2s"), -ETIMEDOUT);
    CHECK(strstr(r.why, "did not connect within 2 s"));
    teardown();

    setup(8);
    r.looped = NULL;
    CHECK_EQ(OPEN(""), -ENODEV);
    CHECK(strstr(r.why, "there is no Xen here"));
    rig_end(&g);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(serves);
    TEST(offers_what_the_back_end_does);
    TEST(changes_live);
    TEST(goes_back_to_the_old_instance);
    TEST(has_several_queues);
    TEST(judges_its_options);
    TEST(tells_of_a_new_size);
    TEST(says_why_not);
    return test_end();
}
