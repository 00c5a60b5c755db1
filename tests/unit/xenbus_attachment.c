/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which attachment a disk is opened for: the same one as long as the back-end
 * directory stands, over any number of our lives; never that of another.
 */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_kit.h"

#define SECOND 1000000000ull
#define NODE   BACK "/blktapd-attachment"

static char first[128];

static void
remember(void)
{
    snprintf(first, sizeof first, "%s", fd.attachment);
}

static void
begin(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    world_run();
    remember();
}

/* ---- one attachment ------------------------------------------------------ */

static void
stands_before_it_opens(void)
{
    char want[128];

    begin();
    CHECK_EQ(fd.opens, 1);
    REQUIRE(get(NODE));
    snprintf(want, sizeof want, "vbd3.7.51712,%s", get(NODE));
    CHECK_STR(fd.attachment, want);
    CHECK(!fd.used);
    CHECK(!xenbus_detached(w.x, first));
    world_end();
}

/* Killed, upgraded, told to stop: the next process knows it. */
static void
outlives_us(void)
{
    begin();
    front_connects();
    for (int i = 0; i < 3; i++) {
        if (i == 1)
            world_stop();
        world_free();
        world_start();
        world_run();
        CHECK_STR(fd.attachment, first);
        CHECK(fd.used);
        CHECK_EQ(fd.connected_now, 1);
    }
    world_end();
}

/* A front-end that goes and comes, and a disk that could not be opened. */
static void
stays_while_the_directory_does(void)
{
    world_reset();
    make_vbd("web-root");
    fd.open_status = -ENOENT;
    strcpy(fd.open_why, "no file");
    world_start();
    world_run();
    remember();
    CHECK(!fd.used);
    fd.open_status = 0;
    world_advance(10 * SECOND);
    CHECK_EQ(fd.opens, 2);
    CHECK_STR(fd.attachment, first);
    CHECK(!fd.used);
    front_connects();
    front_state("5");
    world_run();
    front_state("6");
    world_run();
    front_state("1");
    world_run();
    front_connects();
    CHECK_EQ(fd.opens, 2);
    CHECK(!xenbus_detached(w.x, first));
    world_end();
}

/* ---- another one --------------------------------------------------------- */

/* Taken away and given back before we look: the disk is opened anew. */
static void
directory_made_anew(void)
{
    begin();
    front_connects();
    del(BACK);
    del(FRONT);
    make_vbd("web-root");
    world_advance(10 * SECOND);
    CHECK_EQ(fd.opens, 2);
    CHECK_EQ(fd.closes, 1);
    CHECK(strcmp(fd.attachment, first));
    CHECK(!strncmp(fd.attachment, "vbd3.7.51712,", 13));
    CHECK(!fd.used);
    CHECK(xenbus_detached(w.x, first));
    CHECK(!xenbus_detached(w.x, fd.attachment));
    front_connects();
    world_end();
}

static void
directory_made_anew_while_we_are_dead(void)
{
    begin();
    front_connects();
    world_free();
    del(BACK);
    del(FRONT);
    make_vbd("web-root");
    world_start();
    world_run();
    CHECK(strcmp(fd.attachment, first));
    CHECK(!fd.used);
    CHECK(xenbus_detached(w.x, first));
    world_end();
}

/* One that was in use and has no number: it can't be told which it is. */
static void
number_lost(void)
{
    begin();
    front_connects();
    world_free();
    del(NODE);
    world_start();
    world_run();
    CHECK_STR(fd.attachment, "");
    CHECK(fd.used);
    CHECK(!get(NODE));
    CHECK_EQ(fd.connected_now, 1); /* what needs none is served */
    world_end();
}

/* ---- over ---------------------------------------------------------------- */

static void
over_when_it_was_left(void)
{
    begin();
    front_connects();
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    CHECK(!xenbus_detached(w.x, first));
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    CHECK(xenbus_detached(w.x, first));
    del(BACK);
    world_run();
    CHECK(xenbus_detached(w.x, first));
    world_end();
}

static void
names_that_are_none(void)
{
    begin();
    CHECK(xenbus_detached(w.x, "vbd3.7.51712"));
    CHECK(xenbus_detached(w.x, "vbd3.7.51712,x"));
    CHECK(xenbus_detached(w.x, "vbd3.7.51712,1"));
    CHECK(xenbus_detached(w.x, "vbd3.8.51712,1"));
    world_end();
}

/* Nobody's is over because XenStore does not answer, or came back empty. */
static void
not_over_when_it_cant_be_told(void)
{
    begin();
    w.store_error = EIO;
    CHECK(!xenbus_detached(w.x, first));
    w.store_error = 0;
    front_connects();
    del("/local/domain/0/data/blktapd");
    del(BACK);
    world_renew();
    world_run();
    CHECK(!xenbus_detached(w.x, first));
    world_end();
}

/* ---- XenStore fails ------------------------------------------------------ */

/* Whichever call it is: the disk is opened for the one that stands there. */
static void
any_call_fails(void)
{
    unsigned i;

    for (i = 1; i < 60; i++) {
        char want[128];

        world_reset();
        world_start();
        world_run();
        w.fail_in = i;
        make_vbd("web-root");
        world_advance(10 * SECOND);
        CHECK_EQ(fd.opens, 1);
        REQUIRE(get(NODE));
        snprintf(want, sizeof want, "vbd3.7.51712,%s", get(NODE));
        CHECK_STR(fd.attachment, want);
        world_end();
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(stands_before_it_opens);
    TEST(outlives_us);
    TEST(stays_while_the_directory_does);
    TEST(directory_made_anew);
    TEST(directory_made_anew_while_we_are_dead);
    TEST(number_lost);
    TEST(over_when_it_was_left);
    TEST(names_that_are_none);
    TEST(not_over_when_it_cant_be_told);
    TEST(any_call_fails);
    return test_end();
}
