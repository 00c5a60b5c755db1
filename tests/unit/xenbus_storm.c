/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every pair of a front-end's states, storms of them, and random walks of
 * everybody who writes, with invariants after each step.  A walk that fails
 * says its seed: `xenbus_storm SEED` runs that one alone.
 */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_fakes.h"
#include "xenbus/states.h"

#define SECOND 1000000000ull

static const char *const values[] = { "0", "1", "2", "3", "4",   "5", "6",
                                      "7", "8", "9", "",  "abc", NULL };
enum { VALUES = sizeof values / sizeof values[0] };

static void
front(const char *value)
{
    if (value)
        set(FRONT "/state", value);
    else
        del(FRONT "/state");
}

static void
at_the_end(void)
{
    world_free();
    CHECK_EQ(w.ghosts, 0);
    CHECK_EQ(fd.misuses, 0);
    CHECK_EQ(fd.open_now, 0);
    CHECK_EQ(fd.connected_now, 0);
    CHECK_EQ(fd.callbacks, fd.expected);
    CHECK_EQ(w.watches, 0);
    CHECK_EQ(w.open_tx, 0);
}

/* ---- every pair ---------------------------------------------------------- */

/* After any two states, seen one by one or only the second, an ordinary
 * front-end still gets its disk by walking 5, 6, 1, 3. */
static void
pair(const char *a, const char *b, bool seen)
{
    world_reset();
    make_vbd("web-root");
    front_nodes();
    world_start();
    front(a);
    if (seen)
        world_run();
    front(b);
    world_run();
    if (fd.connected_now != (b && (!strcmp(b, "3") || !strcmp(b, "4")))) {
        /* What is connected stays so at 5 and what isn't a state of blkif. */
        bool was = seen && a && (!strcmp(a, "3") || !strcmp(a, "4"));
        bool stays = b && strchr("5278", b[0]) && b[0];

        if (!was || !stays)
            test_fail(__FILE__, __LINE__, "front-end %s, %s%s: connected %u",
                      a ? a : "(none)", b ? b : "(none)", seen ? "" : " unseen",
                      fd.connected_now);
    }
    front("5");
    world_run();
    CHECK_STR(back_state(), "5");
    front("6");
    world_run();
    CHECK_STR(back_state(), "6");
    front("1");
    world_run();
    CHECK_STR(back_state(), "2");
    front("3");
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    at_the_end();
}

static void
every_pair(void)
{
    unsigned a, b;

    for (a = 0; a < VALUES; a++) {
        for (b = 0; b < VALUES; b++) {
            pair(values[a], values[b], true);
            pair(values[a], values[b], false);
        }
    }
}

/* ---- storms -------------------------------------------------------------- */

static unsigned
nodes_and_timers(void)
{
    return world_nodes() + fake_disk_pending();
}

/* 100,000 writes, delivered one by one: work per second has a bound, and
 * nothing grows. */
static void
storm_of_states(void)
{
    unsigned i, before, calls;

    world_reset();
    make_vbd("web-root");
    front_nodes();
    world_start();
    before = nodes_and_timers();
    calls = w.calls;
    for (i = 0; i < 100000; i++) {
        front(values[1 + i % 6]);
        world_run();
    }
    /* No time has passed: 12 looks, each with a few moves of many calls. */
    CHECK(w.calls - calls < 12 * 400);
    CHECK(nodes_and_timers() < before + 20);
    CHECK(w.timers_started < 400);
    front("1");
    world_advance(2 * SECOND);
    CHECK_STR(back_state(), "2");
    front("3");
    world_run();
    CHECK_STR(back_state(), "4");
    at_the_end();
}

/* All at once: the events wait in XenStore's library, not with us. */
static void
storm_in_one_go(void)
{
    unsigned i, calls;

    world_reset();
    make_vbd("web-root");
    front_nodes();
    world_start();
    calls = w.calls;
    for (i = 0; i < 100000; i++)
        front(i % 2 ? "3" : "6");
    world_run();
    CHECK(w.calls - calls < 12 * 400);
    world_advance(2 * SECOND);
    CHECK_STR(back_state(), "4");
    at_the_end();
}

static void
add_other(void)
{
    set("/local/domain/9/device/vbd/51712/backend",
        "/local/domain/0/backend/vbd3/9/51712");
    set("/local/domain/9/device/vbd/51712/state", "1");
    set("/local/domain/0/backend/vbd3/9/51712/frontend",
        "/local/domain/9/device/vbd/51712");
    set("/local/domain/0/backend/vbd3/9/51712/frontend-id", "9");
    set("/local/domain/0/backend/vbd3/9/51712/params", "other");
    set("/local/domain/0/backend/vbd3/9/51712/online", "1");
}

/* Connects and disconnects as fast as it is let, for ten seconds: calls to the
 * host are bounded in each, and another front-end's move is seen in the same
 * round. */
static void
toggling(void)
{
    static const char *const way[] = { "1", "3", "5", "6" };
    unsigned second, i, calls, most = 0, toggles;

    world_reset();
    add_disk("other", NULL, NULL, 0);
    make_vbd("web-root");
    front_nodes();
    world_start();
    add_other();
    toggles = fd.connects;
    for (second = 0; second < 10; second++) {
        calls = w.calls;
        for (i = 0; i < 2000; i++) {
            front(way[i % 4]);
            world_run();
            if (i % 20 == 19)
                world_advance(SECOND / 100);
        }
        set("/local/domain/0/backend/vbd3/9/51712/state", "1");
        world_run();
        CHECK_STR(get("/local/domain/0/backend/vbd3/9/51712/state"), "2");
        if (w.calls - calls > most)
            most = w.calls - calls;
    }
    toggles = fd.connects - toggles;
    printf("# %u connections in 10 s, at most %u calls to the host a second\n",
           toggles, most);
    CHECK(toggles > 10);
    CHECK(toggles <= 10 * 21);
    CHECK(most < 20 * 60);
    front("1");
    world_advance(2 * SECOND);
    CHECK_STR(back_state(), "2");
    at_the_end();
}

/* While one guest storms another's connection takes no longer. */
static void
others_are_served(void)
{
    unsigned i;

    world_reset();
    add_disk("other", NULL, NULL, 0);
    make_vbd("web-root");
    front_nodes();
    world_start();
    add_other();
    for (i = 0; i < 5000; i++)
        front(i % 2 ? "3" : "6");
    set("/local/domain/0/backend/vbd3/9/51712/state", "1");
    for (i = 0; i < 5000; i++)
        front(i % 2 ? "3" : "6");
    world_run();
    CHECK_STR(get("/local/domain/0/backend/vbd3/9/51712/state"), "2");
    at_the_end();
}

/* ---- random walks -------------------------------------------------------- */

/* An act of somebody else. */
static void
step_world(void)
{
    switch (world_random() % 24) {
    case 0:
        if (get(BACK "/frontend"))
            set(BACK "/online", world_random() % 2 ? "0" : "1");
        break;
    case 1:
        if (get(BACK "/frontend"))
            set(BACK "/state", values[1 + world_random() % 6]);
        break;
    case 2:
        del(BACK);
        break;
    case 3:
        del(FRONT);
        break;
    case 4:
    case 5:
        make_vbd("web-root");
        break;
    case 6:
        set(FRONT "/ring-ref", world_random() % 2 ? "x" : "8");
        break;
    case 7:
        front_nodes();
        break;
    case 8:
        fd.open_status = world_random() % 2 ? -EIO : 0;
        break;
    case 9:
        fd.connect_status = world_random() % 2 ? -EIO : 0;
        break;
    case 10:
        if (fd.last)
            fake_disk_fail(fd.last, "broken");
        break;
    case 11:
        w.conflicts = (unsigned)world_random() % 12;
        break;
    case 12:
        w.fail_in = 1 + (unsigned)world_random() % 30;
        break;
    case 13:
        xenbus_reload(w.x, &w.conf);
        break;
    case 14:
        world_renew();
        break;
    case 15:
        world_free();
        w.fail_in = 0; /* a daemon that can't start is not the story here */
        world_start();
        break;
    default:
        front(values[world_random() % VALUES]);
    }
}

static void
settle(void)
{
    fd.hold = false;
    fd.open_status = fd.connect_status = 0;
    w.conflicts = w.fail_in = 0;
    world_advance(130 * SECOND);
}

/* At rest: what XenStore says is so. */
static bool
is_sane(const char *own, const char *fe)
{

    if (!get(BACK) && fd.connected_now)
        return false;
    if (own && !strcmp(own, "4") && !fd.connected_now)
        return false;
    if (fd.connected_now && own && strcmp(own, "4") && strcmp(own, "5"))
        return false;
    if (fd.connected_now && (!fe || !strchr("234578", fe[0]) || !fe[0]))
        return false;
    return fd.connected_now <= 1 && fd.open_now <= 1;
}

static bool
rest_is_sane(void)
{
    const char *own = back_state(), *fe = get(FRONT "/state");
    bool sane = is_sane(own, fe);

    if (!sane)
        printf("own %s, front-end %s, connected %u, open %u, steps %u\n",
               own ? own : "(none)", fe ? fe : "(none)", fd.connected_now,
               fd.open_now, fake_disk_pending());
    return sane;
}

static void
walk(uint64_t seed)
{
    int failures = test_failures;
    unsigned i;

    world_reset();
    w.seed = seed * 0x9e3779b97f4a7c15ull | 1;
    make_vbd("web-root");
    front_nodes();
    world_start();
    for (i = 0; i < 120; i++) {
        fd.hold = world_random() % 2;
        step_world();
        if (world_random() % 2)
            world_run();
        if (world_random() % 4 == 0)
            world_advance(world_random() % (3 * SECOND));
        if (world_random() % 2)
            fake_disk_step();
        CHECK_EQ(w.ghosts, 0);
        CHECK_EQ(fd.misuses, 0);
        if (i % 20 == 19) {
            settle();
            CHECK(rest_is_sane());
        }
    }
    settle();
    CHECK(rest_is_sane());
    at_the_end();
    if (test_failures != failures)
        printf("seed %" PRIu64 "\n", seed);
}

static uint64_t only_seed;

static void
random_walks(void)
{
    uint64_t seed, most = getenv("CHECK_LONG") ? 20000 : 400;
    int before = test_failures;

    if (only_seed) {
        walk(only_seed);
        return;
    }
    for (seed = 1; seed <= most && test_failures == before; seed++)
        walk(seed);
}

int
main(int argc, char **argv)
{
    if (argc == 2 && (only_seed = strtoull(argv[1], NULL, 10)))
        argc = 1;
    test_args(argc, argv);
    if (!only_seed) {
        TEST(every_pair);
        TEST(storm_of_states);
        TEST(storm_in_one_go);
        TEST(toggling);
        TEST(others_are_served);
    }
    TEST(random_walks);
    world_reset();
    return test_end();
}
