/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation.c: one disk never answers, another takes 100 ms for everything;
 * what do three others on the same loop notice?  In simulated time, so the
 * figures are exact.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/daemon/guest.h"
#include "tests/test.h"

enum { OTHERS = 3, DISKS = OTHERS + 2, REQUESTS = 4000, SECTORS = 4096 };

#define MS    UINT64_C(1000000)
#define S     UINT64_C(1000000000)
#define NEVER (UINT64_C(1000000) * S)

static uint64_t took[OTHERS * REQUESTS];
static size_t answers;
static struct world w;
static struct guest guest[DISKS];

static void
note(void *ctx, uint64_t ns)
{
    (void)ctx;
    if (answers < sizeof took / sizeof took[0])
        took[answers++] = ns;
}

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static struct conf *
conf(void)
{
    char text[2048], errors[1024] = "";
    size_t n = (size_t)snprintf(
        text, sizeof text,
        "daemon = { loops = 1; kinds = ( \"vbd3\" ); };\ndisks = (");
    struct conf *c;

    for (int i = 0; i < DISKS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "%s{ name = \"d%d\"; chain = ( { plugin = "
                              "\"file\"; path = \"/d%d\"; } ); }",
                              i ? ", " : "", i, i);
    snprintf(text + n, sizeof text - n, ");\n");
    c = world_conf(text, errors, sizeof errors);
    if (!c)
        test_fail(__FILE__, __LINE__, "%s", errors);
    return c;
}

static void
guests_start(void)
{
    struct guest_plan p = { .queues = 1,
                            .order = 0,
                            .abi = CHAN_ABI_64,
                            .requests = REQUESTS,
                            .depth = 16,
                            .writes = true,
                            .flushes = true };
    char name[16], file[16];

    for (unsigned i = 0; i < DISKS; i++) {
        snprintf(name, sizeof name, "d%u", i);
        snprintf(file, sizeof file, "/d%u", i);
        sim_file_make(w.sim, file, SECTORS * RECORD_SECTOR);
        guest_start(&guest[i], &w, &p, i + 1, 51712, name, SECTORS, SECTORS);
        if (i < OTHERS)
            guest[i].latency = note;
    }
}

static void
tick(void *ctx)
{
    for (int i = 0; i < DISKS; i++)
        guest_tick(&guest[i]);
    sim_after(w.sim, 200000, tick, ctx);
}

static bool
others_done(void)
{
    for (int i = 0; i < OTHERS; i++) {
        if (guest[i].answered < REQUESTS)
            return false;
    }
    return true;
}

/* The 99th percentile of the others' requests. */
static uint64_t
run(bool disturbed)
{
    struct sim_faults hung = { .delay_min_ns = NEVER, .delay_max_ns = NEVER };
    struct sim_faults slow = { .delay_min_ns = 100 * MS,
                               .delay_max_ns = 100 * MS };

    answers = 0;
    world_new(&w, 7, 1);
    world_conf_first(&w, conf());
    guests_start();
    CHECK_EQ(world_start(&w), 0);
    tick(NULL);
    while (guest[OTHERS].state != GUEST_RUNNING ||
           guest[OTHERS + 1].state != GUEST_RUNNING)
        world_step(&w);
    if (disturbed) {
        sim_file_faults(w.sim, "/d3", &hung);
        sim_file_faults(w.sim, "/d4", &slow);
    }
    while (!others_done() && !w.failed && sim_now(w.sim) < 600 * S)
        world_step(&w);
    for (int i = 0; i < DISKS; i++)
        CHECK_STR(guest[i].why, "");
    CHECK_EQ(answers, OTHERS * REQUESTS);
    if (disturbed)
        CHECK(guest[OTHERS].inflight > 0);
    world_kill(&w);
    for (int i = 0; i < DISKS; i++)
        guest_free(&guest[i]);
    world_free(&w);
    qsort(took, answers, sizeof took[0], by_size);
    return took[answers * 99 / 100];
}

static void
others_notice_nothing(void)
{
    uint64_t quiet = run(false), disturbed = run(true);

    printf("p99 of %d requests on %d disks: %" PRIu64
           " us undisturbed, %" PRIu64
           " us beside a disk that hangs and one at 100 ms: %.3f\n",
           OTHERS * REQUESTS, OTHERS, quiet / 1000, disturbed / 1000,
           (double)disturbed / (double)quiet);
    CHECK(disturbed * 10 <= quiet * 11);
}

int
main(void)
{
    TEST(others_notice_nothing);
    return test_end();
}
