/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A front-end that an earlier process served, when it can't be served as it
 * was: it is held, with a reason where people look, and goes on as soon as it
 * can.  And what it was promised, when the config changed between our lives.
 */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_kit.h"

#define SECOND 1000000000ull
#define ERROR  "/local/domain/0/error/backend/vbd3/7/51712/error"

static uint64_t nonce; /* of the earlier process's connection */

static void
two_rings_of_two_pages(void)
{
    set(FRONT "/multi-queue-num-queues", "2");
    set(FRONT "/ring-page-order", "1");
    set(FRONT "/queue-0/ring-ref0", "8");
    set(FRONT "/queue-0/ring-ref1", "9");
    set(FRONT "/queue-0/event-channel", "15");
    set(FRONT "/queue-1/ring-ref0", "10");
    set(FRONT "/queue-1/ring-ref1", "11");
    set(FRONT "/queue-1/event-channel", "16");
}

/* An earlier process served this front-end, and is dead. */
static void
first_life(void (*nodes)(void))
{
    make_vbd("web-root");
    world_start();
    nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    front_state("4");
    world_run();
    CHECK_EQ(fd.connected_now, 1);
    nonce = fd.params.nonce;
    CHECK(nonce);
    CHECK(!fd.params.resumed);
    world_free();
    fd.connects = fd.opens = 0;
}

static void
before(void)
{
    world_reset();
    first_life(front_nodes);
}

/* It waits, with this reason; nothing of it was touched. */
static void
is_held(const char *why)
{
    CHECK_EQ(fd.connected_now, 0);
    CHECK_STR(back_state(), "4");
    CHECK_STR(get(FRONT "/state"), "4");
    CHECK(get(ERROR) && strstr(get(ERROR), why));
    if (!strstr(listed("why"), why))
        CHECK_STR(listed("why"), why);
}

/* As the same connection: the table of its requests is looked for. */
static void
goes_on(void)
{
    CHECK_EQ(fd.connected_now, 1);
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.params.nonce, nonce);
    CHECK(fd.params.resumed);
    CHECK(!get(ERROR));
    CHECK_STR(listed("why"), "");
}

static void
less_in_config(void)
{
    w.disk[0].queues = 1;
    w.disk[0].ring_order = 0;
    w.disk[0].indirect = 0;
    w.disk[0].barrier = false;
}

/* ---- no table ------------------------------------------------------------ */

static void
no_table(void)
{
    fd.connect_status = -EUCLEAN;
    strcpy(fd.connect_why, "no table of its requests");
}

static void
held_without_table(void)
{
    before();
    no_table();
    world_start();
    is_held("no table of its requests");
    CHECK_EQ(fd.connects, 1);
    CHECK_EQ(fd.disconnects, 0);
    CHECK_EQ(fd.open_now, 1); /* nobody else may have its disk */
    fd.connect_status = 0;
    world_advance(2 * SECOND);
    goes_on();
    world_end();
}

/* After 1, 2, 4, ... 32, and then every 60 seconds; said once. */
static void
pauses_grow(void)
{
    unsigned i, said;

    before();
    no_table();
    world_start();
    said = w.events;
    for (i = 0; i < 6; i++) {
        world_advance((1ull << i) * SECOND - SECOND / 10);
        CHECK_EQ(fd.connects, i + 1);
        /* Something else makes it look. */
        set(BACK "/online", "1");
        world_run();
        CHECK_EQ(fd.connects, i + 1);
        world_advance(SECOND / 10);
        CHECK_EQ(fd.connects, i + 2);
    }
    world_advance(600 * SECOND);
    CHECK_EQ(fd.connects, 17);
    CHECK_EQ(w.events, said);
    is_held("no table of its requests");
    world_end();
}

static void
another_reason_is_said(void)
{
    before();
    no_table();
    world_start();
    strcpy(fd.connect_why, "the grant can't be mapped");
    world_advance(2 * SECOND);
    is_held("the grant can't be mapped");
    world_end();
}

static void
reload_tries_at_once(void)
{
    before();
    no_table();
    world_start();
    world_advance(100 * SECOND);
    fd.connect_status = 0;
    xenbus_reload(w.x, &w.conf);
    world_run(); /* the clock stands still */
    goes_on();
    world_end();
}

/* A guest that is saved and restored connects anew: nothing is owed to what it
 * was before. */
static void
front_connects_anew(void)
{
    before();
    no_table();
    world_start();
    world_advance(100 * SECOND);
    fd.connect_status = 0;
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    front_state("1");
    world_run();
    CHECK_STR(back_state(), "2");
    set(FRONT "/ring-ref", "21");
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    CHECK(!fd.params.resumed);
    CHECK(fd.params.nonce != nonce);
    CHECK_EQ(fd.params.queue[0].refs[0], 21);
    CHECK(!get(ERROR));
    world_end();
}

/* The guest goes: nothing is held for it. */
static void
guest_dies_while_held(void)
{
    before();
    no_table();
    world_start();
    del(FRONT);
    del(BACK);
    world_run();
    CHECK_EQ(fd.open_now, 0);
    CHECK(!get(ERROR));
    world_end();
}

static void
leave_asked(void)
{
    set(BACK "/online", "0");
    set(BACK "/state", "5");
}

/* Served on in state 5, until it leaves. */
static void
served_until_it_leaves(void)
{
    CHECK_EQ(fd.connected_now, 1);
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.params.nonce, nonce);
    CHECK(fd.params.resumed);
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

/* Asked to leave while it is held: its requests are still owed to it. */
static void
unplug_while_held(void)
{
    before();
    no_table();
    world_start();
    leave_asked();
    world_advance(10 * SECOND);
    CHECK_STR(back_state(), "5");
    xenbus_reload(w.x, &w.conf);
    world_run();
    CHECK_STR(back_state(), "5");
    fd.connect_status = 0;
    world_advance(60 * SECOND);
    served_until_it_leaves();
}

/* The earlier process was killed when it had just shown 4. */
static void
killed_at_4(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    nonce = fd.params.nonce;
    world_free();
    fd.connects = fd.opens = 0;
}

/* While the disk is opened the front-end gets there, and is asked to leave. */
static void
unplug_while_opened(void)
{
    killed_at_4();
    fd.hold = true;
    world_start();
    CHECK_EQ(fd.opens, 1);
    front_state("4");
    leave_asked();
    world_run();
    CHECK_STR(back_state(), "5");
    fd.hold = false;
    world_run();
    served_until_it_leaves();
}

/* It is asked to leave before anybody looks, and was already on its way: what
 * it was shown can't be seen any more. */
static void
unplug_before_it_is_there(void)
{
    killed_at_4();
    leave_asked();
    world_start();
    CHECK_STR(back_state(), "5");
    front_state("4");
    world_run();
    served_until_it_leaves();
    killed_at_4();
    leave_asked();
    world_start();
    front_state("6"); /* it saw the 5 */
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

/* It wants to close: Linux shows that while a file system is still mounted, so
 * it must be served, also after a reload. */
static void
closing_while_held(void)
{
    before();
    no_table();
    world_start();
    front_state("5");
    world_run();
    xenbus_reload(w.x, &w.conf);
    world_run();
    CHECK_STR(back_state(), "4");
    fd.connect_status = 0;
    world_advance(60 * SECOND);
    served_until_it_leaves();
}

/* Another one of us comes to a held vbd: it is as it was found. */
static void
restart_while_held(void)
{
    before();
    no_table();
    world_start();
    world_advance(3 * SECOND);
    world_free();
    fd.connect_status = 0;
    world_start();
    goes_on();
    world_end();
}

/* ---- the medium is not what the guest was told --------------------------- */

static void
disk_is_shorter(void)
{
    before();
    fd.limits.size = (8ull << 20) - 4096;
    world_start();
    is_held("expected no fewer, found 16376; it waits");
    CHECK_EQ(fd.connects, 0);
    CHECK_STR(get(BACK "/sectors"), "16384");
    world_advance(100 * SECOND);
    CHECK_EQ(fd.connects, 0);
    CHECK(fd.opens >= 6); /* asked its size again each time */
    CHECK(fd.opens <= 9);
    is_held("found 16376; it waits");
    fd.limits.size = 8ull << 20;
    world_advance(60 * SECOND);
    goes_on();
    world_end();
}

/* One sentence, however often it is opened and asked again. */
static void
shorter_is_said_once(void)
{
    unsigned said;

    before();
    fd.limits.size = 4096;
    world_start();
    said = w.events;
    world_advance(300 * SECOND);
    CHECK_EQ(w.events, said);
    is_held("found 8; it waits");
    world_end();
}

/* It is away, and when it comes back it is shorter: each has its reason. */
static void
away_then_shorter(void)
{
    before();
    fd.open_status = -EIO;
    strcpy(fd.open_why, "the server is away");
    world_start();
    is_held("the server is away");
    fd.limits.size = 4096;
    fd.open_status = 0;
    world_advance(3 * SECOND);
    is_held("found 8; it waits");
    fd.open_status = -EIO;
    world_advance(60 * SECOND);
    is_held("the server is away");
    fd.limits.size = 8ull << 20;
    fd.open_status = 0;
    world_advance(120 * SECOND);
    goes_on();
    world_end();
}

/* The sectors that an old xenstored lost: nothing is known, nothing refused. */
static void
nothing_told(void)
{
    before();
    del(BACK "/sectors");
    w.disk[0].readonly = true;
    world_start();
    goes_on();
    world_end();
    before();
    set(BACK "/sectors", "many"); /* as good as nothing */
    world_start();
    goes_on();
    world_end();
}

/* A promise that can't be read for once is one all the same: each call in turn
 * fails, and it comes right a little later. */
static void
promises_that_cant_be_read(void)
{
    unsigned n, calls;

    for (n = 1, calls = 1; n <= calls; n++) {
        world_reset();
        w.disk[0].barrier = true;
        first_life(two_rings_of_two_pages);
        less_in_config();
        w.fail_in = n + 4; /* past xenbus_new() */
        w.calls = 0;
        fd.limits.size = 4096;
        world_start();
        CHECK_EQ(fd.connects, 0);
        world_advance(4 * SECOND);
        CHECK_EQ(fd.connects, 0);
        /* The node may be what could not be written. */
        CHECK(strstr(listed("why"), "found 8; it waits"));
        fd.limits.size = 8ull << 20;
        world_advance(20 * SECOND);
        CHECK_EQ(fd.connected_now, 1);
        CHECK_EQ(fd.params.nonce, nonce);
        CHECK(fd.params.resumed);
        CHECK_STR(back_state(), "4");
        CHECK_EQ(fd.params.queues, 2);
        CHECK_EQ(fd.params.max_indirect, 256);
        CHECK(fd.params.barrier);
        calls = w.calls;
        world_end();
    }
    CHECK(n > 60);
}

static void
disk_is_readonly(void)
{
    before();
    w.disk[0].readonly = true;
    world_start();
    is_held("expected a disk that can be written, found it read-only");
    CHECK_EQ(fd.connects, 0);
    w.disk[0].readonly = false;
    xenbus_reload(w.x, &w.conf);
    world_run();
    goes_on();
    world_end();
}

/* It was told so: that promise is kept. */
static void
was_readonly_before(void)
{
    world_reset();
    w.disk[0].readonly = true;
    first_life(front_nodes);
    CHECK_STR(get(BACK "/info"), "4");
    world_start();
    goes_on();
    world_end();
}

/* One that may be written now: the guest goes on as it knows it. */
static void
may_be_written_now(void)
{
    world_reset();
    w.disk[0].readonly = true;
    first_life(front_nodes);
    w.disk[0].readonly = false;
    world_start();
    goes_on();
    world_end();
}

/* ---- rings as they were offered ------------------------------------------ */

static void
promises_are_kept(void)
{
    world_reset();
    w.disk[0].barrier = true;
    first_life(two_rings_of_two_pages);
    less_in_config();
    world_start();
    goes_on();
    CHECK_EQ(fd.params.queues, 2);
    CHECK_EQ(fd.params.order, 1);
    CHECK_EQ(fd.params.max_indirect, 256);
    CHECK(fd.params.barrier);
    CHECK_EQ(fd.params.queue[1].refs[1], 11);
    world_end();
}

/* And the next connection is offered what the config says. */
static void
changes_are_honoured_next(void)
{
    world_reset();
    w.disk[0].barrier = true;
    first_life(two_rings_of_two_pages);
    less_in_config();
    world_start();
    front_state("6");
    world_run();
    front_state("1");
    world_run();
    CHECK_STR(back_state(), "2");
    CHECK_STR(get(BACK "/multi-queue-max-queues"), "1");
    CHECK_STR(get(BACK "/max-ring-page-order"), "0");
    del(FRONT "/multi-queue-num-queues");
    del(FRONT "/ring-page-order");
    del(FRONT "/queue-0");
    del(FRONT "/queue-1");
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK(!fd.params.resumed);
    CHECK_EQ(fd.params.queues, 1);
    CHECK_EQ(fd.params.order, 0);
    CHECK_EQ(fd.params.max_indirect, 0);
    CHECK(!fd.params.barrier);
    world_end();
}

/* A connection of this process, too, has only what is offered now: a promise
 * is one that an earlier process made. */
static void
greed_is_refused(void)
{
    world_reset();
    less_in_config();
    make_vbd("web-root");
    world_start();
    two_rings_of_two_pages();
    front_state("3");
    world_run();
    CHECK_EQ(fd.connects, 0);
    CHECK_STR(back_state(), "5");
    world_end();
}

static void
more_in_config(void)
{
    world_reset();
    less_in_config();
    first_life(front_nodes);
    w.disk[0].queues = 16;
    w.disk[0].ring_order = 4;
    w.disk[0].indirect = 32;
    w.disk[0].barrier = true;
    world_start();
    goes_on();
    CHECK_EQ(fd.params.queues, 1);
    CHECK_EQ(fd.params.order, 0);
    world_end();
}

/* Our own nodes are a toolstack's to write, too: what this version would not
 * have promised is none.  What was connected by it can't be gone on with here,
 * but perhaps by the version that did promise: state 5 would end the disk. */
static void
promises_out_of_range(void)
{
    world_reset();
    first_life(two_rings_of_two_pages);
    less_in_config();
    set(BACK "/multi-queue-max-queues", "17");
    set(BACK "/max-ring-page-order", "5");
    set(BACK "/feature-max-indirect-segments", "257");
    world_start();
    CHECK_EQ(fd.connects, 0);
    is_held("ring-page-order: expected ");
    set(BACK "/multi-queue-max-queues", "4");
    set(BACK "/max-ring-page-order", "4");
    world_advance(2 * SECOND);
    goes_on();
    world_end();
}

/* One that is leaving has perhaps removed its nodes: nothing to go on with. */
static void
nodes_are_gone(void)
{
    before();
    del(FRONT "/ring-ref");
    world_start();
    is_held("ring-ref");
    front_state("5");
    world_run();
    CHECK_STR(back_state(), "5");
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.connects, 0);
    world_end();
}

static void
promises_out_of_range_unused(void)
{
    before();
    less_in_config();
    set(BACK "/multi-queue-max-queues", "17");
    set(BACK "/max-ring-page-order", "5");
    set(BACK "/feature-max-indirect-segments", "257");
    world_start();
    goes_on();
    CHECK_EQ(fd.params.max_indirect, 0);
    world_end();
}

/* ---- the disk leaves the config between our lives, or while held --------- */

static struct conf without;

static void
conf_without(void)
{
    without = w.conf;
    without.refs = 0;
    without.disks = 0;
}

/* Nobody serves it, and nothing of it is touched; brought back, it goes on. */
static void
taken_from_config(void)
{
    unsigned disks;

    before();
    disks = w.conf.disks;
    w.conf.disks = 0;
    world_start();
    world_advance(100 * SECOND);
    CHECK_EQ(fd.opens, 0);
    CHECK_STR(back_state(), "4");
    CHECK_STR(listed("claimed"), "false");
    CHECK(strstr(listed("why"), "no disk in the config matches"));
    w.conf.disks = disks;
    xenbus_reload(w.x, &w.conf);
    world_run();
    goes_on();
    world_end();
}

/* The same of one that is asked to leave: it is not done with its requests. */
static void
taken_from_config_leaving(void)
{
    unsigned disks;

    before();
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    disks = w.conf.disks;
    w.conf.disks = 0;
    world_start();
    CHECK_STR(back_state(), "5");
    w.conf.disks = disks;
    xenbus_reload(w.x, &w.conf);
    world_run();
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.connected_now, 1);
    CHECK_EQ(fd.params.nonce, nonce);
    CHECK(fd.params.resumed);
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

static void
removed_while_held(void)
{
    before();
    no_table();
    conf_without();
    world_start();
    is_held("no table");
    xenbus_reload(w.x, &without);
    world_run();
    CHECK_EQ(fd.open_now, 0);
    CHECK_STR(back_state(), "4");
    CHECK_STR(listed("claimed"), "false");
    world_advance(100 * SECOND);
    CHECK_EQ(fd.connects, 1);
    fd.connect_status = 0;
    xenbus_reload(w.x, &w.conf);
    world_run();
    goes_on();
    CHECK_EQ(fd.connects, 2);
    world_end();
    CHECK_EQ(without.refs, 0);
}

/* What another disk of the config serves it by now is judged anew. */
static void
another_disk_while_held(void)
{
    static struct conf other;
    static struct conf_disk disk;

    before();
    no_table();
    world_start();
    is_held("no table");
    other = w.conf;
    other.refs = 0;
    disk = w.disk[0];
    disk.name = "other";
    disk.vm = "web";
    disk.vdev = "xvda";
    disk.devid = 51712;
    other.disk = &disk;
    other.disks = 1;
    fd.connect_status = 0;
    fd.limits.size = 4096;
    xenbus_reload(w.x, &other);
    world_run();
    CHECK_STR(listed("disk"), "other");
    is_held("found 8; it waits");
    fd.limits.size = 8ull << 20;
    world_advance(3 * SECOND);
    goes_on();
    world_end();
    CHECK_EQ(other.refs, 0);
}

/* xenstored goes and comes back meanwhile. */
static void
xenstored_while_held(void)
{
    before();
    no_table();
    world_start();
    w.store_error = EIO;
    world_advance(30 * SECOND);
    w.store_error = 0;
    fd.connect_status = 0;
    world_renew();
    world_advance(61 * SECOND);
    goes_on();
    world_end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(held_without_table);
    TEST(pauses_grow);
    TEST(another_reason_is_said);
    TEST(reload_tries_at_once);
    TEST(front_connects_anew);
    TEST(guest_dies_while_held);
    TEST(unplug_while_held);
    TEST(unplug_while_opened);
    TEST(unplug_before_it_is_there);
    TEST(closing_while_held);
    TEST(restart_while_held);
    TEST(disk_is_shorter);
    TEST(shorter_is_said_once);
    TEST(away_then_shorter);
    TEST(nothing_told);
    TEST(promises_that_cant_be_read);
    TEST(disk_is_readonly);
    TEST(was_readonly_before);
    TEST(may_be_written_now);
    TEST(promises_are_kept);
    TEST(changes_are_honoured_next);
    TEST(greed_is_refused);
    TEST(more_in_config);
    TEST(promises_out_of_range);
    TEST(promises_out_of_range_unused);
    TEST(nodes_are_gone);
    TEST(taken_from_config);
    TEST(taken_from_config_leaving);
    TEST(removed_while_held);
    TEST(another_disk_while_held);
    TEST(xenstored_while_held);
    return test_end();
}
