/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The delay plugin, on the real engine and loop. */
#include "config.h"
#include <errno.h>

#include "tests/unit/plugin_run.h"

#define MS 1000000ull

static uint8_t buf[4096];

static uint64_t
took(struct run *r, int op, uint64_t off)
{
    struct run_io io = {
        .op = (uint8_t)op, .off = off, .len = 512, .buf = buf
    };

    if (op == BLK_FLUSH)
        io.off = io.len = 0;
    run_start(r, &io);
    run_wait(r, &io);
    CHECK_EQ(io.error, 0);
    return io.end_ns - io.start_ns;
}

static void
holds_for_its_time(void)
{
    struct run r = { 0 };
    uint64_t ns;

    RUN(r, "delay time=30ms op=write | memory size=1M");
    ns = took(&r, BLK_WRITE, 0);
    CHECK(ns >= 29 * MS);
    took(&r, BLK_READ, 0);
    CHECK_EQ(run_counter(&r, 0, "matched"), 1);
    CHECK_EQ(run_counter(&r, 0, "delayed"), 1);
    CHECK_EQ(run_counter(&r, 0, "delayed_ns"), 30 * MS);
    CHECK_EQ(run_counter(&r, 0, "held"), 0);
    run_close(&r);
}

static void
jitter_is_within_its_bound(void)
{
    struct run r = { .seed = 5 };
    uint64_t last, sum;
    unsigned i;

    RUN(r, "delay time=1ms jitter=8ms | memory size=1M");
    for (i = 0, last = 0; i < 20; i++, last = sum) {
        took(&r, BLK_READ, 0);
        sum = run_counter(&r, 0, "delayed_ns");
        CHECK(sum - last >= MS && sum - last <= 9 * MS);
    }
    /* 20 draws, evenly from 0 to 8 ms: this far out once in a million. */
    CHECK(last > 20 * MS + 40 * MS && last < 20 * MS + 120 * MS);
    run_close(&r);
}

static void
drain_lets_go_at_once(void)
{
    struct run_io io[RUN_DEPTH];
    struct run r = { 0 };
    unsigned i;

    memset(io, 0, sizeof(io));
    RUN(r, "delay time=1h | memory size=1M");
    for (i = 0; i < RUN_DEPTH; i++) {
        io[i] = (struct run_io){
            .op = BLK_READ, .len = 512, .buf = buf, .off = 512 * i
        };
        run_start(&r, &io[i]);
    }
    RUN_WAIT(r, run_counter(&r, 0, "held") == RUN_DEPTH);
    CHECK_EQ(run_pause(&r), 0);
    for (i = 0; i < RUN_DEPTH; i++)
        CHECK(io[i].done && !io[i].error);
    CHECK_EQ(run_counter(&r, 0, "held"), 0);
    CHECK_EQ(run_resume(&r), 0);

    /* And holds again after it. */
    run_start(&r, &io[0]);
    RUN_WAIT(r, run_counter(&r, 0, "held") == 1);
    run_close(&r);
    CHECK(io[0].done);
}

/* Timers that fire take their request out of the middle of the list. */
static void
leaves_in_any_order(void)
{
    struct run_io io[RUN_DEPTH];
    struct run r = { .seed = 6 };
    unsigned i;

    memset(io, 0, sizeof(io));
    RUN(r, "delay time=0 jitter=20ms probability=0.7 | memory size=1M");
    for (i = 0; i < RUN_DEPTH; i++) {
        io[i] = (struct run_io){ .op = BLK_READ, .len = 512, .buf = buf };
        run_start(&r, &io[i]);
    }
    for (i = 0; i < RUN_DEPTH; i++)
        run_wait(&r, &io[i]);
    CHECK_EQ(run_counter(&r, 0, "held"), 0);
    CHECK_EQ(run_counter(&r, 0, "matched"), RUN_DEPTH);
    i = (unsigned)run_counter(&r, 0, "delayed");
    CHECK(i > 10 && i < RUN_DEPTH);
    run_close(&r);
}

static void
stops_after_count(void)
{
    struct run r = { 0 };

    RUN(r, "delay time=30ms count=1 | memory size=1M");
    CHECK(took(&r, BLK_WRITE, 0) >= 29 * MS);
    took(&r, BLK_READ, 0);
    CHECK_EQ(run_counter(&r, 0, "delayed"), 1);
    run_close(&r);
}

static uint64_t
delayed_of(struct run *r, unsigned n, uint64_t off)
{
    const uint64_t before = run_counter(r, 0, "delayed");

    while (n-- > 0)
        took(r, BLK_READ, off);
    return run_counter(r, 0, "delayed") - before;
}

static void
holds_whom_it_is_told(void)
{
    struct sim *sim = sim_new(1);
    struct run r = { .sim = sim };
    uint64_t n;

    RUN(r, "delay time=1ms every=3 | memory size=1M");
    CHECK_EQ(delayed_of(&r, 2, 0), 0);
    CHECK_EQ(delayed_of(&r, 1, 0), 1);
    CHECK_EQ(delayed_of(&r, 9, 0), 3);
    run_close(&r);
    RUN(r, "delay time=1ms from=4k to=8k | memory size=1M");
    CHECK_EQ(delayed_of(&r, 1, 3584), 0);
    CHECK_EQ(delayed_of(&r, 1, 4096), 1);
    CHECK_EQ(delayed_of(&r, 1, 7680), 1);
    CHECK_EQ(delayed_of(&r, 1, 8192), 0);
    run_close(&r);
    r.seed = 3;
    RUN(r, "delay time=1ms probability=0.25 | memory size=1M");
    n = delayed_of(&r, 400, 0);
    CHECK(n > 50 && n < 150);
    run_close(&r);
    sim_free(sim);
}

static void
refuses_nonsense(void)
{
    struct run r = { 0 };

    CHECK(run_open(&r, RUN_READWRITE, "delay | memory size=1M"));
    CHECK(run_open(&r, RUN_READWRITE,
                   "delay time=1s from=2M to=1M | memory size=1M"));
    CHECK(
        strstr(r.why, "to: expected more than from (2097152), found 1048576"));
    CHECK(run_open(&r, RUN_READWRITE,
                   "delay time=1s probability=1.5 | memory size=1M"));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(holds_for_its_time);
    TEST(jitter_is_within_its_bound);
    TEST(drain_lets_go_at_once);
    TEST(leaves_in_any_order);
    TEST(stops_after_count);
    TEST(holds_whom_it_is_told);
    TEST(refuses_nonsense);
    return test_end();
}
