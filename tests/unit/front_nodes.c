/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_nodes.c: what a front-end writes and what it takes away, as names and
 * values; and what it makes of what a back-end says of its rings.
 */
#include "config.h"

#include <errno.h>

#include "front/link.h"
#include "host/sim.h"
#include "tests/test.h"

#define FRONT "/local/domain/0/data/blktapd-vbd/51712"
#define BACK  "/local/domain/0/backend/vbd/0/51712"

static struct sim *sim;
static struct loop *loop;
static struct store *store;

static void
begin(void)
{
    sim = sim_new(1);
    loop = sim_loop_new(sim, "control");
    store = sim_store_open(sim, loop);
}

static void
end(void)
{
    store->ops->free(store);
    loop->ops->free(loop);
    sim_free(sim);
}

/* Ring i has the port 10 + i and the references 100 i, 100 i + 1 ... */
static void
write_nodes(unsigned queues, unsigned order)
{
    struct link_offer o = { .queues = queues, .order = order };

    for (unsigned i = 0; i < queues; i++) {
        o.queue[i].port = 10 + i;
        for (unsigned k = 0; k < 1u << order; k++)
            o.queue[i].refs[k] = 100 * i + k;
    }
    CHECK_EQ(nodes_write(store, FRONT, &o), 0);
}

static void
check(const char *leaf, const char *value)
{
    char path[128];
    const char *found;

    snprintf(path, sizeof path, FRONT "/%s", leaf);
    found = sim_store_read(sim, path);
    CHECK_STR(found ? found : "(none)", value ? value : "(none)");
}

static void
check_number(const char *dir, const char *leaf, unsigned value, bool there)
{
    char path[64], text[16];

    snprintf(path, sizeof path, "%s%s", dir, leaf);
    snprintf(text, sizeof text, "%u", value);
    check(path, there ? text : NULL);
}

/* In a directory of its own, or beside the others. */
static void
check_ring(const char *dir, unsigned i, unsigned order, bool there)
{
    char leaf[32];

    check_number(dir, "event-channel", 10 + i, there);
    check_number(dir, "ring-ref", 100 * i, there && !order);
    for (unsigned k = 0; k < 1u << FRONT_ORDER_MAX; k++) {
        snprintf(leaf, sizeof leaf, "ring-ref%u", k);
        check_number(dir, leaf, 100 * i + k, there && order && k < 1u << order);
    }
}

static void
check_nodes(unsigned queues, unsigned order)
{
    char dir[32];

    check("state", "3");
    check("feature-persistent", "1");
    check_number("", "ring-page-order", order, order);
    check_number("", "multi-queue-num-queues", queues, queues > 1);
    check_ring("", 0, order, queues == 1);
    for (unsigned i = 0; i < FRONT_QUEUES_MAX; i++) {
        snprintf(dir, sizeof dir, "queue-%u/", i);
        check_ring(dir, i, order, queues > 1 && i < queues);
        snprintf(dir, sizeof dir, "queue-%u", i);
        check(dir, queues > 1 && i < queues ? "" : NULL);
    }
}

/* Each after each: nothing of the one before is left. */
static void
writes_what_it_offers_and_nothing_else(void)
{
    static const unsigned queues[] = { 1, 2, 3, FRONT_QUEUES_MAX };
    static const unsigned orders[] = { 0, 1, FRONT_ORDER_MAX };

    begin();
    for (unsigned from = 0; from < 12; from++) {
        for (unsigned to = 0; to < 12; to++) {
            write_nodes(queues[from % 4], orders[from / 4]);
            write_nodes(queues[to % 4], orders[to / 4]);
            check_nodes(queues[to % 4], orders[to / 4]);
        }
    }
    end();
}

/* Other drivers', as after a change of what serves the directory. */
static void
takes_away_what_others_left(void)
{
    begin();
    sim_store_write(sim, FRONT "/num-ring-pages", "4");
    sim_store_write(sim, FRONT "/ring-page-order", "2");
    sim_store_write(sim, FRONT "/ring-ref3", "9");
    sim_store_write(sim, FRONT "/multi-queue-num-queues", "2");
    sim_store_write(sim, FRONT "/queue-1/ring-ref7", "8");
    write_nodes(1, 0);
    check_nodes(1, 0);
    check("num-ring-pages", NULL);
    check("ring-ref3", NULL);
    check("queue-1/ring-ref7", NULL);
    write_nodes(2, 1);
    check("queue-1/ring-ref7", NULL);
    end();
}

static void
reads_how_many_queues_there_may_be(void)
{
    static const struct {
        const char *text;
        unsigned queues; /* 0: refused */
        const char *why;
    } cases[] = {
        { NULL, 1, "" },
        { "1", 1, "" },
        { "4", 4, "" },
        { "8", 8, "" },
        { "9", 8, "" },
        { "4294967295", 8, "" },
        { "0", 0, "expected a queue at least, found 0" },
        { "4294967296", 0, "expected a number up to 4294967295" },
        { "-1", 0, "expected a number up to 4294967295, found" },
        { "2 ", 0, "expected a number up to 4294967295, found" },
        { "0x2", 0, "expected a number up to 4294967295, found" },
        { "many", 0, "expected a number up to 4294967295, found" },
    };
    struct front_info info;
    char why[200];

    begin();
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(&info, 0, sizeof info);
        if (cases[i].text)
            sim_store_write(sim, BACK "/multi-queue-max-queues", "%s",
                            cases[i].text);
        CHECK_EQ(info_rings(store, BACK, &info, why, sizeof why),
                 cases[i].queues ? 0 : -EINVAL);
        CHECK_EQ(info.queues, cases[i].queues);
        CHECK(cases[i].queues || strstr(why, BACK "/multi-queue-max-queues: "));
        CHECK(cases[i].queues || strstr(why, cases[i].why));
    }
    end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(writes_what_it_offers_and_nothing_else);
    TEST(takes_away_what_others_left);
    TEST(reads_how_many_queues_there_may_be);
    return test_end();
}
