/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limit plugin's buckets and shares, with a clock of the test's own. */
#include "config.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "plugins/limit/bucket.c"
#include "plugins/limit/share.c"
#include "tests/test.h"

#define SECOND 1000000000ull

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % n;
}

static void
goes_at_its_rate(void)
{
    struct bucket b = { 0 };
    uint64_t i, now = 5 * SECOND;

    /* Three a second: the k-th after the burst comes at ceil(k / 3 s). */
    bucket_set(&b, 3, 2, now);
    CHECK_EQ(bucket_take(&b, 1, now), 0);
    CHECK_EQ(bucket_take(&b, 1, now), 0);
    for (i = 1; i <= 30000; i++)
        CHECK_EQ(bucket_take(&b, 1, now), (i * SECOND + 2) / 3);
    /* One nanosecond before the last debt is paid, it is not. */
    now += 10000 * SECOND;
    CHECK_EQ(bucket_take(&b, 1, now - 1), 333333335);
    bucket_give(&b, 1);
    CHECK_EQ(bucket_take(&b, 1, now), 333333334);
}

static void
gathers_no_more_than_its_burst(void)
{
    struct bucket b = { 0 };

    bucket_set(&b, 1000, 10, 0);
    CHECK_EQ(bucket_take(&b, 10, 100 * SECOND), 0);
    CHECK_EQ(bucket_take(&b, 1, 100 * SECOND), 1000000);
    bucket_give(&b, 1000);
    CHECK_EQ(bucket_take(&b, 10, 100 * SECOND), 0);
    CHECK(bucket_take(&b, 1, 100 * SECOND) > 0);
}

/* More than the burst goes from a full bucket, and is paid for afterwards. */
static void
lets_the_large_go(void)
{
    struct bucket b = { 0 };

    bucket_set(&b, 1000, 10, 0);
    CHECK_EQ(bucket_take(&b, 1010, 0), 0);
    CHECK_EQ(bucket_take(&b, 10, 0), SECOND + 10 * SECOND / 1000);
    bucket_give(&b, 10);
    CHECK_EQ(bucket_take(&b, 50, 0), SECOND + 10 * SECOND / 1000);
}

static void
changes_its_rate(void)
{
    struct bucket b = { 0 };

    CHECK_EQ(bucket_take(&b, UINT64_MAX, 0), 0);
    bucket_set(&b, 10, 1, 0);
    CHECK_EQ(bucket_take(&b, 1, 0), 0);
    CHECK_EQ(bucket_take(&b, 1, 0), SECOND / 10);
    bucket_set(&b, 1000, 100, 0); /* the debt of one stays */
    CHECK_EQ(bucket_take(&b, 1, 0), 2 * SECOND / 1000);
    bucket_set(&b, 1000, 1, 10 * SECOND); /* what it gathered has no room */
    CHECK_EQ(bucket_take(&b, 1, 10 * SECOND), 0);
    CHECK(bucket_take(&b, 1, 10 * SECOND) > 0);
    bucket_set(&b, 0, 0, 11 * SECOND);
    CHECK_EQ(bucket_take(&b, 1ull << 40, 11 * SECOND), 0);
    /* A clock that goes back brings nothing, and takes nothing. */
    bucket_set(&b, 1, 1, 20 * SECOND);
    CHECK_EQ(bucket_take(&b, 1, 20 * SECOND), 0);
    CHECK_EQ(bucket_take(&b, 1, 19 * SECOND), SECOND);
    /* Numbers at their bounds. */
    bucket_set(&b, BUCKET_MAX, BUCKET_MAX, 21 * SECOND);
    CHECK_EQ(bucket_take(&b, BUCKET_MAX, INT64_MAX), 0);
    bucket_set(&b, 1, 1, INT64_MAX);
    CHECK_EQ(bucket_take(&b, BUCKET_MAX, INT64_MAX), SECOND);
    CHECK_EQ(bucket_take(&b, 1ull << 62, INT64_MAX), INT64_MAX);
    CHECK_EQ(bucket_take(&b, 0, INT64_MAX), 0);
}

/* Random requests, first come, first served.  Each goes as early as the rule
 * allows, to the nanosecond, and none earlier: over any stretch of time t at
 * most burst + rate * (t + 1 ns) went; and of one that had to wait, there is a
 * stretch over which a nanosecond less would have been too little. */
static void
keeps_its_promise(void)
{
    enum { N = 400 };
    static uint64_t at[N], cost[N], wait[N];
    unsigned round, i, k;

    for (round = 0; round < 60; round++) {
        const uint64_t rate = 1 + below(below(2) ? 20 : 100000000);
        const uint64_t burst = 1 + below(rate);
        uint64_t now = below(SECOND);
        struct bucket b = { 0 };

        seed = round + 1;
        bucket_set(&b, rate, burst, now);
        for (i = 0; i < N; i++) {
            if (!below(3))
                now += below(2 * burst * SECOND / rate + 1);
            cost[i] = 1 + below(burst);
            wait[i] = bucket_take(&b, cost[i], now);
            now = at[i] = now + wait[i];
        }
        for (i = 0; i < N; i++) {
            __int128 sum = 0;
            bool tight = false;

            for (k = i + 1; k-- > 0;) {
                __int128 may =
                    (__int128)burst * SECOND + (__int128)(at[i] - at[k]) * rate;

                sum += (__int128)cost[k] * SECOND;
                REQUIRE(sum < may + (__int128)rate);
                /* A nanosecond earlier would have been too much. */
                tight |= sum > may - (__int128)rate;
            }
            REQUIRE(tight || !wait[i]);
        }
    }
}

/* ---- shares ---------------------------------------------------------------
 */

static void
tells_its_bursts(void)
{
    struct share *p = share_join(NULL, NULL);
    struct share_rates rates = { .iops = 100, .bps = 1000, .bps_burst = 7 };
    struct share_view view;

    share_look(p, &view);
    CHECK_EQ(view.rates.iops, 0);
    CHECK_EQ(view.rates.iops_burst, 0);
    share_set(p, &rates, 0);
    share_look(p, &view);
    CHECK_EQ(view.rates.iops_burst, 10);
    CHECK_EQ(view.rates.bps_burst, 7);
    share_leave(NULL, NULL, p);
}

static void
waits_for_the_slower(void)
{
    struct share *p = share_join(NULL, NULL);
    struct share_rates rates = { .iops = 10, .bps = 1000, .bps_burst = 1000 };
    struct share_ticket t = { .requests = 1, .bytes = 500 };
    struct share_ticket u = { .requests = 1, .bytes = 1000 };
    struct share_ticket v = { .requests = 1, .bytes = 0 };

    share_set(p, &rates, 0);
    CHECK(share_ask(p, &t, 0));
    CHECK(!share_ask(p, &u, 0));
    CHECK_EQ(u.due, SECOND / 2);
    CHECK(!share_ask(p, &u, SECOND / 2 - 1));
    CHECK(share_ask(p, &u, SECOND / 2));
    CHECK(share_ask(p, &v, SECOND / 2));
    v.taken = false;
    CHECK(!share_ask(p, &v, SECOND / 2));
    CHECK_EQ(v.due, SECOND / 2 + SECOND / 10);
    share_leave(NULL, NULL, p);
}

/* A ticket is reckoned anew, and costs once. */
static void
changes_while_one_waits(void)
{
    struct share *p = share_join(NULL, NULL);
    struct share_rates slow = { .iops = 1 }, fast = { .iops = 1000 };
    struct share_rates bytes = { .iops = 1, .bps = 100 }, none = { 0 };
    struct share_ticket t = { .requests = 1, .bytes = 50 }, u = t, v = t;

    share_set(p, &slow, 0);
    CHECK(share_ask(p, &t, 0));
    CHECK(!share_ask(p, &u, 0));
    CHECK_EQ(u.due, SECOND);
    share_set(p, &fast, 0);
    CHECK(!share_ask(p, &u, 0));
    CHECK_EQ(u.due, SECOND / 1000);
    CHECK(!share_ask(p, &v, 0));
    CHECK_EQ(v.due, 2 * SECOND / 1000);
    share_set(p, &bytes, 0);
    CHECK(!share_ask(p, &v, 0)); /* alone in line: the others have not asked */
    CHECK_EQ(v.paid_bytes, 50);
    share_set(p, &none, 0);
    CHECK(share_ask(p, &u, 0));
    CHECK(share_ask(p, &v, 0));
    CHECK_EQ(v.paid_requests, 0);
    share_leave(NULL, NULL, p);
}

/* The content of the old one: a live change is no new burst. */
static void
inherits(void)
{
    struct share *old = share_join(NULL, NULL), *new = share_join(NULL, NULL);
    struct share_rates rates = { .iops = 10, .iops_burst = 5 };
    struct share_ticket t = { .requests = 5 }, u = { .requests = 1 };

    share_set(old, &rates, 0);
    CHECK(share_ask(old, &t, 0));
    rates.iops = 100;
    share_set(new, &rates, 0);
    share_inherit(new, old, 0);
    CHECK(!share_ask(new, &u, 0));
    CHECK_EQ(u.due, SECOND / 100);
    share_leave(NULL, NULL, old);
    share_leave(NULL, NULL, new);
}

/* Four threads with one clock that they all move: no more goes than is right,
 * and each gets a share. */
static struct share *shared;
static atomic_uint_least64_t clock_ns;
enum { THREADS = 4, UNTIL = 8 };

static void *
use(void *data)
{
    uint64_t *got = data, now;

    while ((now = atomic_load(&clock_ns)) < UNTIL * SECOND) {
        struct share_ticket t = { .requests = 1, .bytes = 100 };

        while (!share_ask(shared, &t, now) && now < UNTIL * SECOND)
            now = atomic_fetch_add(&clock_ns, 1000) + 1000;
        *got += now < UNTIL * SECOND;
    }
    return NULL;
}

static void
is_shared_by_threads(void)
{
    struct share_rates rates = { .iops = 1000,
                                 .bps = 200000,
                                 .bps_burst = 100 };
    uint64_t got[THREADS] = { 0 }, sum = 0;
    pthread_t thread[THREADS];
    unsigned i;

    shared = share_join(NULL, NULL);
    share_set(shared, &rates, 0);
    for (i = 0; i < THREADS; i++)
        REQUIRE(!pthread_create(&thread[i], NULL, use, &got[i]));
    for (i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        sum += got[i];
    }
    /* The burst, and 1000 a second; what is under way at the end is lost. */
    CHECK(sum <= 100 + UNTIL * 1000 && sum >= UNTIL * 1000 - THREADS);
    share_leave(NULL, NULL, shared);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(goes_at_its_rate);
    TEST(gathers_no_more_than_its_burst);
    TEST(lets_the_large_go);
    TEST(changes_its_rate);
    TEST(keeps_its_promise);
    TEST(tells_its_bursts);
    TEST(waits_for_the_slower);
    TEST(changes_while_one_waits);
    TEST(inherits);
    TEST(is_shared_by_threads);
    return test_end();
}
