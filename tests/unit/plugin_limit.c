/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limit plugin on the real engine: in simulated time, where each request's
 * end is known to the nanosecond, and once with threads and the real clock. */
#include "config.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/plugin_run.h"

#define MS     1000000ull
#define SECOND 1000000000ull

static uint8_t buf[1 << 20];
static struct run_io io[RUN_DEPTH], other[RUN_DEPTH];

/* n requests at once, of len bytes each. */
static void
start(struct run *r, struct run_io *v, int op, unsigned n, uint32_t len)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        v[i] = (struct run_io){
            .op = (uint8_t)op, .len = len, .buf = buf, .off = 4096 * i
        };
        run_start(r, &v[i]);
    }
}

static void
finish(struct run *r, struct run_io *v, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        run_wait(r, &v[i]);
        CHECK_EQ(v[i].error, 0);
    }
}

static uint64_t
took(const struct run_io *v)
{
    return v->end_ns - v->start_ns;
}

static void
requests_a_second(void)
{
    struct run r = { .sim = sim_new(1) };
    uint64_t waited = 0;
    unsigned i;

    RUN(r, "limit iops=30 | null size=1M");
    start(&r, io, BLK_READ, RUN_DEPTH, 512);
    finish(&r, io, RUN_DEPTH);
    for (i = 0; i < RUN_DEPTH; i++) {
        /* Three at once, then one at each 30th of a second, rounded up. */
        CHECK_EQ(took(&io[i]), i < 3 ? 0 : ((i - 2) * SECOND + 29) / 30);
        waited += took(&io[i]);
    }
    CHECK_EQ(run_counter(&r, 0, "throttled"), RUN_DEPTH - 3);
    CHECK_EQ(run_counter(&r, 0, "throttled_ns"), waited);
    CHECK_EQ(run_counter(&r, 0, "held"), 0);
    CHECK_EQ(run_counter(&r, 0, "iops"), 30);
    CHECK_EQ(run_counter(&r, 0, "iops_burst"), 3);
    run_close(&r);
    sim_free(r.sim);
}

static void
bytes_a_second(void)
{
    struct run r = { .sim = sim_new(2) };
    unsigned i;

    RUN(r, "limit bps=64k bps-burst=16k | null size=1M");
    CHECK_EQ(run_counter(&r, 0, "bps_burst"), 16384);
    start(&r, io, BLK_WRITE, 8, 8192);
    finish(&r, io, 8);
    for (i = 0; i < 8; i++)
        CHECK_EQ(took(&io[i]), i < 2 ? 0 : (i - 1) * SECOND / 8);
    /* Longer than the burst: from a full bucket, and paid for by the next. */
    run_sleep(&r, SECOND);
    start(&r, io, BLK_READ, 2, 64 << 10);
    finish(&r, io, 2);
    CHECK_EQ(took(&io[0]), 0);
    CHECK_EQ(took(&io[1]), SECOND);
    /* No data, no bytes. */
    start(&r, io, BLK_DISCARD, 4, 64 << 10);
    finish(&r, io, 4);
    CHECK_EQ(took(&io[3]), 0);
    run_close(&r);
    sim_free(r.sim);
}

/* A flush costs nothing, and waits for what came before it. */
static void
keeps_the_flush_behind(void)
{
    struct run r = { .sim = sim_new(3) };
    struct run_io flush = { .op = BLK_FLUSH }, again = { .op = BLK_FLUSH };

    sim_file_make(r.sim, "/f", 1 << 20);
    RUN(r, "limit iops=10 iops-burst=1 | file path=/f");
    run_start(&r, &again);
    run_wait(&r, &again);
    CHECK(took(&again) < MS);
    start(&r, io, BLK_WRITE, 3, 512);
    run_start(&r, &flush);
    start(&r, other, BLK_WRITE, 1, 512);
    finish(&r, io, 3);
    run_wait(&r, &flush);
    finish(&r, other, 1);
    CHECK(took(&flush) >= 200 * MS && took(&flush) < 210 * MS);
    CHECK(took(&other[0]) >= 300 * MS && took(&other[0]) < 310 * MS);
    CHECK_EQ(run_counter(&r, 0, "throttled"), 3);
    run_close(&r);
    sim_free(r.sim);
}

static void
only_what_is_meant(void)
{
    struct run r = { .sim = sim_new(4) };

    RUN(r, "limit iops=10 iops-burst=1 op=read | limit name=w op=write "
           "iops=5 iops-burst=1 | null size=1M");
    start(&r, io, BLK_READ, 2, 512);
    start(&r, other, BLK_WRITE, 2, 512);
    finish(&r, io, 2);
    finish(&r, other, 2);
    CHECK_EQ(took(&io[1]), 100 * MS);
    CHECK_EQ(took(&other[1]), 200 * MS);
    start(&r, other, BLK_ZERO, 1, 512);
    finish(&r, other, 1);
    CHECK_EQ(took(&other[0]), 200 * MS);
    run_close(&r);
    sim_free(r.sim);
}

static void
expect_said(struct run *r, const char *words, const char *said)
{
    char out[300];

    CHECK_EQ(run_command(r, "limit", words, out, sizeof(out)), -EINVAL);
    if (!strstr(out, said))
        test_fail(__FILE__, __LINE__, "%s: \"%s\" is not \"%s\"", words, out,
                  said);
}

static void
changes_by_command(void)
{
    struct run r = { .sim = sim_new(5) };
    char out[300];

    RUN(r, "limit iops=1 | null size=1M");
    start(&r, io, BLK_READ, 5, 512);
    run_sleep(&r, SECOND / 2);
    CHECK_EQ(run_counter(&r, 0, "held"), 4);
    CHECK_EQ(run_command(&r, "limit", "set iops=100 iops-burst=1", out, 300),
             0);
    finish(&r, io, 5);
    CHECK_EQ(took(&io[1]), SECOND / 2 + 5 * MS); /* half of it was there */
    CHECK_EQ(took(&io[4]), SECOND / 2 + 35 * MS);
    CHECK_EQ(run_command(&r, "limit", "set bps=1M", out, 300), 0);
    CHECK_EQ(run_counter(&r, 0, "iops"), 100);
    CHECK_EQ(run_counter(&r, 0, "bps"), 1 << 20);
    CHECK_EQ(run_counter(&r, 0, "bps_burst"), (1 << 20) / 10);
    start(&r, io, BLK_READ, 9, 512);
    CHECK_EQ(
        run_command(&r, "limit", "set iops=0 iops-burst=0 bps=0", out, 300), 0);
    finish(&r, io, 9);
    CHECK_EQ(took(&io[8]), 0);

    expect_said(&r, "set", "expected set NAME=NUMBER");
    expect_said(&r, "get iops", "found get");
    expect_said(&r, "set iops", "iops: expected a number such as");
    expect_said(&r, "set iops=4kk", "found 4kk");
    expect_said(&r, "set bps=-1", "found -1");
    expect_said(&r, "set bps=9999T", "found 9999T");
    expect_said(&r, "set bps=99999999999999999999", "bps: expected");
    expect_said(&r, "set rate=1", "expected iops=, bps=");
    expect_said(&r, "set iops-burst=1", "is of no use");
    CHECK_EQ(run_counter(&r, 0, "iops"), 0);
    run_close(&r);
    sim_free(r.sim);
}

static void
drain_lets_go_at_once(void)
{
    struct run r = { .sim = sim_new(6) };
    unsigned i;

    RUN(r, "limit iops=1 | null size=1M");
    start(&r, io, BLK_READ, RUN_DEPTH, 512);
    run_sleep(&r, MS);
    CHECK_EQ(run_pause(&r), 0);
    for (i = 0; i < RUN_DEPTH; i++)
        CHECK(io[i].done && !io[i].error);
    CHECK_EQ(run_counter(&r, 0, "held"), 0);
    CHECK_EQ(run_resume(&r), 0);

    /* Not free for ever, and not a second time: only the first was paid. */
    start(&r, io, BLK_READ, 1, 512);
    finish(&r, io, 1);
    CHECK_EQ(took(&io[0]), 2 * SECOND - MS);

    /* A live change: the bucket is as empty as it was. */
    CHECK_EQ(run_replace(&r, "limit iops=10 | null size=1M"), 0);
    start(&r, io, BLK_READ, 2, 512);
    finish(&r, io, 2);
    CHECK_EQ(took(&io[0]), SECOND / 10);
    CHECK_EQ(took(&io[1]), SECOND / 5);
    run_close(&r);
    sim_free(r.sim);
}

/* Two disks on two loops: together no faster than one. */
static void
a_group_shares(void)
{
    struct sim *sim = sim_new(7);
    struct run a = { .sim = sim }, b = { .sim = sim };
    unsigned i;

    RUN(a, "limit group=g iops=100 iops-burst=1 | null size=1M");
    RUN(b, "limit group=g iops=100 iops-burst=1 | null size=1M");
    CHECK_EQ(run_io(&a, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(run_counter(&b, 0, "members"), 2);
    CHECK_EQ(run_counter(&b, 0, "iops"), 100);
    start(&a, io, BLK_READ, 20, 512);
    start(&b, other, BLK_READ, 20, 512);
    finish(&a, io, 20);
    finish(&b, other, 20);
    for (i = 0; i < 20; i++) {
        /* They take turns. */
        CHECK_EQ(io[i].end_ns, io[0].end_ns + i * 20 * MS);
        CHECK_EQ(other[i].end_ns, io[0].end_ns + 10 * MS + i * 20 * MS);
    }

    /* The other hears of a change, within a tenth of a second. */
    CHECK_EQ(run_command(&a, "limit", "set iops=1", (char *)buf, 300), 0);
    start(&b, other, BLK_READ, 2, 512);
    run_sleep(&b, 10 * MS);
    CHECK_EQ(
        run_command(&a, "limit", "set iops=0 iops-burst=0", (char *)buf, 300),
        0);
    finish(&b, other, 2);
    CHECK(took(&other[1]) <= 110 * MS);

    /* Who comes anew and names other rates than the last sets them, with its
     * first request. */
    CHECK_EQ(run_replace(&b, "limit group=g iops=100 iops-burst=1 op=any | "
                             "null size=1M"),
             0);
    CHECK_EQ(run_io(&b, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(run_counter(&a, 0, "iops"), 0);
    CHECK_EQ(run_replace(&b, "limit group=g iops=7 | null size=1M"), 0);
    CHECK_EQ(run_counter(&a, 0, "iops"), 0);
    CHECK_EQ(run_io(&b, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(run_counter(&a, 0, "iops"), 7);
    run_close(&b);
    CHECK_EQ(run_counter(&a, 0, "members"), 1);
    run_close(&a);
    sim_free(sim);
}

/* ---- with threads -------------------------------------------------------- */

/* A disk on a loop of its own, which wants more until all had enough. */
struct busy {
    struct run run;
    pthread_t thread;
    unsigned got;
};

enum { ENOUGH = 2000 };
static atomic_uint had; /* by all disks */

static void
again(struct run_io *v)
{
    struct busy *b = v->data;

    b->got++;
    if (atomic_fetch_add(&had, 1) < ENOUGH)
        run_start(&b->run, v);
}

static void *
be_busy(void *data)
{
    struct busy *b = data;
    struct run_io v[4];
    unsigned i;

    memset(v, 0, sizeof(v));
    for (i = 0; i < 4; i++) {
        v[i] = (struct run_io){ .op = BLK_ZERO, .after = again, .data = b };
        v[i].len = 512;
        run_start(&b->run, &v[i]);
    }
    for (i = 0; i < 4; i++) {
        while (!v[i].done)
            b->run.loop->ops->run(b->run.loop);
    }
    return NULL;
}

static void
a_group_of_threads(void)
{
    static struct busy busy[3];
    unsigned i, sum = 0;
    uint64_t begin, ns;

    for (i = 0; i < 3; i++)
        RUN(busy[i].run, "limit group=t iops=2000 iops-burst=200 | null "
                         "size=1M");
    begin = busy[0].run.loop->ops->now(busy[0].run.loop);
    for (i = 0; i < 3; i++)
        REQUIRE(!pthread_create(&busy[i].thread, NULL, be_busy, &busy[i]));
    for (i = 0; i < 3; i++) {
        pthread_join(busy[i].thread, NULL);
        sum += busy[i].got;
        CHECK(busy[i].got > 0);
    }
    ns = busy[0].run.loop->ops->now(busy[0].run.loop) - begin;
    CHECK(sum >= ENOUGH && sum <= 200 + 2000 * ns / SECOND);
    for (i = 0; i < 3; i++)
        run_close(&busy[i].run);
}

static void
refuses_nonsense(void)
{
    struct run r = { 0 };

    CHECK(run_open(&r, RUN_READWRITE, "limit iops-burst=5 | null size=1M"));
    CHECK(strstr(r.why, "iops-burst: expected iops with it"));
    CHECK(run_open(&r, RUN_READWRITE, "limit bps-burst=5 | null size=1M"));
    CHECK(strstr(r.why, "bps-burst: expected bps with it"));
    CHECK(run_open(&r, RUN_READWRITE, "limit op=flush | null size=1M"));
    CHECK(run_open(&r, RUN_READWRITE, "limit bps=9999T | null size=1M"));
    CHECK(run_open(&r, RUN_READWRITE, "limit group= | null size=1M"));
    CHECK(strstr(r.why, "group: expected a name"));
    CHECK(run_open(&r, RUN_READWRITE, "limit group=g | null size=1M"));
    CHECK(strstr(r.why, "group: expected iops or bps with it"));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(requests_a_second);
    TEST(bytes_a_second);
    TEST(keeps_the_flush_behind);
    TEST(only_what_is_meant);
    TEST(changes_by_command);
    TEST(drain_lets_go_at_once);
    TEST(a_group_shares);
    TEST(a_group_of_threads);
    TEST(refuses_nonsense);
    return test_end();
}
