/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The front-ends in the wild, step by step, as they talk to a vbd. */
#include "config.h"

#include "tests/test.h"
#include "tests/unit/xenbus_fakes.h"

#define SECOND 1000000000ull

static void
begin(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
}

static void
end(void)
{
    world_free();
    CHECK_EQ(w.ghosts, 0);
    CHECK_EQ(fd.misuses, 0);
    CHECK_EQ(fd.open_now, 0);
    CHECK_EQ(fd.callbacks, fd.expected);
    CHECK_EQ(w.watches, 0);
    CHECK_EQ(w.open_tx, 0);
    world_reset();
}

static void
linux_connects(void)
{
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    front_state("4");
    world_run();
    CHECK_EQ(fd.connected_now, 1);
}

static void
linux_guest(void)
{
    begin();
    CHECK_STR(back_state(), "2");
    CHECK_STR(get(BACK "/max-ring-page-order"), "4");
    CHECK_STR(get(BACK "/multi-queue-max-queues"), "4");
    CHECK_STR(get(BACK "/feature-max-indirect-segments"), "256");
    CHECK_STR(get(BACK "/feature-flush-cache"), "1");
    CHECK_STR(get(BACK "/feature-persistent"), "0");
    CHECK_STR(get(BACK "/feature-barrier"), "0");
    CHECK_STR(get(BACK "/hotplug-status"), "connected");
    linux_connects();
    CHECK_EQ(fd.params.domid, GUEST);
    CHECK_EQ(fd.params.abi, CHAN_ABI_64);
    CHECK_EQ(fd.params.queues, 1);
    CHECK_EQ(fd.params.order, 0);
    CHECK_EQ(fd.params.queue[0].refs[0], 8);
    CHECK_EQ(fd.params.queue[0].port, 15);
    CHECK(fd.params.nonce != 0);
    CHECK_STR(get(BACK "/sectors"), "16384");
    CHECK_STR(get(BACK "/sector-size"), "512");
    CHECK_STR(get(BACK "/physical-sector-size"), "4096");
    CHECK_STR(get(BACK "/info"), "0");
    CHECK_STR(get(BACK "/feature-discard"), "1");
    CHECK_STR(get(BACK "/discard-granularity"), "65536");
    CHECK_STR(get(BACK "/discard-alignment"), "0");
    CHECK_STR(get(BACK "/discard-secure"), "0");
    /* The guest goes: 5, 6; the toolstack takes it away. */
    front_state("5");
    world_run();
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.connected_now, 1);
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.connected_now, 0);
    set(BACK "/online", "0");
    world_run();
    CHECK_EQ(fd.open_now, 0);
    del(BACK);
    del(FRONT);
    world_run();
    CHECK_EQ(w.watches, 2);
    end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(linux_guest);
    return test_end();
}
