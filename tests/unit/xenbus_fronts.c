/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The front-ends in the wild, step by step, as they talk to a vbd. */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_kit.h"

#define SECOND 1000000000ull

static void
begin(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
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
    front_connects();
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
    world_end();
}

/* ---- front-ends ---------------------------------------------------------- */

static void
front_says(const char *state, const char *answer)
{
    front_state(state);
    world_run();
    CHECK_STR(back_state(), answer);
}

/* It closes before it connects: 2, 5, 6, 2, with online=1; then several
 * queues and pages, and no protocol word of Linux's. */
static void
windows_guest(void)
{
    unsigned q, i;
    char path[200];

    begin();
    front_says("5", "5");
    front_says("6", "6");
    front_says("1", "2");
    CHECK_EQ(fd.opens, 1); /* it spins meanwhile: the medium stays open */
    set(FRONT "/multi-queue-num-queues", "3");
    set(FRONT "/ring-page-order", "4");
    set(FRONT "/protocol", "x86_64-abi");
    for (q = 0; q < 3; q++) {
        for (i = 0; i < 16; i++) {
            snprintf(path, sizeof path, FRONT "/queue-%u/ring-ref%u", q, i);
            setf(path, "%u", 1000 * q + i);
        }
        snprintf(path, sizeof path, FRONT "/queue-%u/event-channel", q);
        setf(path, "%u", 50 + q);
    }
    front_says("3", "4");
    CHECK_EQ(fd.params.queues, 3);
    CHECK_EQ(fd.params.order, 4);
    CHECK_EQ(fd.params.queue[2].refs[15], 2015);
    CHECK_EQ(fd.params.queue[2].port, 52);
    front_says("4", "4");
    /* Unplug: it ejects when online=0 and we show 5. */
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    CHECK_EQ(fd.connected_now, 1);
    front_says("5", "5");
    front_says("6", "6");
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* One ring, "1" queue, the plain name: Windows with order 0. */
static void
windows_order_0(void)
{
    begin();
    front_nodes();
    set(FRONT "/multi-queue-num-queues", "1");
    front_says("3", "4");
    CHECK_EQ(fd.params.queues, 1);
    CHECK_EQ(fd.params.queue[0].refs[0], 8);
    world_end();
}

/* Node by node, without a transaction, and the state last. */
static void
freebsd_guest(void)
{
    begin();
    set(FRONT "/ring-page-order", "1");
    world_run();
    set(FRONT "/num-ring-pages", "2");
    world_run();
    set(FRONT "/ring-ref0", "100");
    world_run();
    CHECK_STR(back_state(), "2");
    set(FRONT "/ring-ref1", "101");
    set(FRONT "/event-channel", "9");
    set(FRONT "/protocol", "x86_64-abi");
    world_run();
    CHECK_EQ(fd.connects, 0);
    front_says("3", "4");
    CHECK_EQ(fd.params.order, 1);
    CHECK_EQ(fd.params.queue[0].refs[1], 101);
    front_says("4", "4");
    front_says("5", "5");
    front_says("6", "6");
    world_end();
}

/* From 1 to 4 without looking, before we are at 2. */
static void
minios_guest(void)
{
    world_reset();
    fd.hold = true;
    make_vbd("web-root");
    world_start();
    CHECK_STR(back_state(), "1");
    front_nodes();
    front_says("4", "1");
    CHECK_EQ(fd.connects, 0);
    fd.hold = false;
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    front_says("5", "5");
    front_says("6", "6");
    front_says("1", "2");
    world_end();
}

/* GRUB writes 3 at once and leaves with 6; its empty nodes stay for Linux. */
static void
grub_then_linux(void)
{
    begin();
    set(FRONT "/ring-ref", "77");
    set(FRONT "/event-channel", "5");
    set(FRONT "/protocol", "x86_64-abi");
    front_says("3", "4");
    front_says("6", "6");
    set(FRONT "/ring-ref", "");
    set(FRONT "/event-channel", "");
    front_says("1", "2");
    CHECK_EQ(fd.opens, 1);
    front_connects();
    CHECK_EQ(fd.params.queue[0].refs[0], 8);
    CHECK_EQ(fd.connects, 2);
    world_end();
}

/* Empty nodes are as missing ones: not there to connect with. */
static void
empty_ring_ref(void)
{
    begin();
    front_nodes();
    set(FRONT "/ring-ref", "");
    front_says("3", "5");
    CHECK_EQ(fd.connects, 0);
    CHECK_STR(get("/local/domain/0/error/backend/vbd3/7/51712/error"),
              "71 front-end node ring-ref: expected a number, found nothing");
    front_says("6", "6");
    front_says("1", "2");
    front_nodes();
    front_says("3", "4");
    world_end();
}

/* OVMF waits for exactly 5, then exactly 6, and removes its nodes. */
static void
ovmf_then_linux(void)
{
    begin();
    front_nodes();
    front_says("4", "4");
    front_says("5", "5");
    front_says("6", "6");
    del(FRONT "/ring-ref");
    del(FRONT "/event-channel");
    del(FRONT "/protocol");
    front_says("1", "2");
    front_connects();
    world_end();
}

/* A new kernel finds 4 and walks the device through 5, 6, 1. */
static void
kexec_walk(void)
{
    begin();
    front_connects();
    front_says("5", "5");
    front_says("6", "6");
    front_says("1", "2");
    set(FRONT "/ring-ref", "9");
    front_says("3", "4");
    CHECK_EQ(fd.params.queue[0].refs[0], 9);
    /* And one that found us closed goes through 5 as well. */
    front_says("6", "6");
    front_says("5", "5");
    front_says("6", "6");
    front_says("1", "2");
    world_end();
}

/* Reset without closing: 1 while we are at 4. */
static void
reset_without_closing(void)
{
    begin();
    front_connects();
    front_says("1", "2");
    CHECK_EQ(fd.connected_now, 0);
    CHECK_EQ(fd.disconnects, 1);
    front_connects();
    world_end();
}

/* Restore: the guest is at 3 with new rings before we have looked. */
static void
restore_3_before_2(void)
{
    world_reset();
    make_vbd("web-root");
    front_nodes();
    front_state("3");
    world_start();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    world_end();
}

/* A slow resume in the same domain: 3 again while we are at 4. */
static void
new_rings_at_4(void)
{
    uint64_t nonce;

    begin();
    front_connects();
    nonce = fd.params.nonce;
    set(FRONT "/ring-ref", "21");
    front_says("3", "4");
    CHECK_EQ(fd.connects, 2);
    CHECK_EQ(fd.params.queue[0].refs[0], 21);
    CHECK(fd.params.nonce != nonce);
    front_says("4", "4");
    CHECK_EQ(fd.connects, 2);
    CHECK_EQ(fd.connected_now, 1);
    world_end();
}

/* Somebody writes our state: the rings are given up.  The front-end, which was
 * at 4 all the time, has them yet, and perhaps requests that the table of this
 * very connection has to answer for. */
static void
cut_under_a_front_end(void)
{
    uint64_t nonce;

    begin();
    front_connects();
    nonce = fd.params.nonce;
    set(BACK "/state", "1");
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connects, 2);
    CHECK_EQ(fd.params.nonce, nonce);
    CHECK(!fd.params.resumed); /* if there is a table it is */
    /* One that has moved meanwhile has made them anew. */
    fd.hold = true;
    set(BACK "/state", "1");
    world_run();
    front_state("3");
    world_run();
    front_state("4");
    fd.hold = false;
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connects, 3);
    CHECK(fd.params.nonce != nonce);
    world_end();
}

static void
double_3(void)
{
    begin();
    front_nodes();
    front_says("3", "4");
    front_says("3", "4");
    front_says("3", "4");
    CHECK_EQ(fd.connects, 1);
    world_end();
}

/* ---- the toolstack ------------------------------------------------------- */

static void
hot_unplug(void)
{
    begin();
    front_connects();
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    /* In use: the guest goes on. */
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.connected_now, 1);
    front_says("6", "6");
    CHECK_EQ(fd.connected_now, 0);
    CHECK_EQ(fd.open_now, 0);
    del(BACK);
    del(FRONT);
    world_run();
    world_end();
}

/* Nobody drives the device: we go to 6 by ourselves. */
static void
unplug_without_driver(void)
{
    begin();
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

static void
unplug_while_opening(void)
{
    world_reset();
    fd.hold = true;
    make_vbd("web-root");
    world_start();
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    CHECK_STR(back_state(), "6");
    fd.hold = false;
    world_run();
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

static void
unplug_of_the_dead(void)
{
    begin();
    front_connects();
    del(FRONT);
    world_run();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.connected_now, 0);
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

/* Directories vanish with I/O in flight; nothing is made again. */
static void
domain_death(void)
{
    begin();
    front_connects();
    fd.hold = true;
    del("/local/domain/7");
    world_run();
    del(BACK);
    world_run();
    CHECK(!get(BACK));
    fd.hold = false;
    world_run();
    CHECK(!get(BACK));
    CHECK_EQ(fd.open_now, 0);
    CHECK_EQ(w.watches, 2);
    world_end();
}

/* The same guest's device is made again while the old one is still closing. */
static void
made_again_at_once(void)
{
    begin();
    front_connects();
    fd.hold = true;
    del(BACK);
    del(FRONT);
    world_run();
    make_vbd("web-root");
    world_run();
    CHECK_STR(back_state(), "1");
    fd.hold = false;
    world_run();
    CHECK_STR(back_state(), "2");
    CHECK_EQ(fd.opens, 2);
    front_connects();
    world_end();
}

/* And before we could see that it was gone at all. */
static void
made_again_unseen(void)
{
    begin();
    front_connects();
    del(BACK);
    del(FRONT);
    make_vbd("web-root");
    world_run();
    CHECK_STR(back_state(), "2");
    CHECK_EQ(fd.connected_now, 0);
    front_connects();
    world_end();
}

static void
resize_while_connected(void)
{
    unsigned commits;

    begin();
    front_connects();
    commits = w.commits;
    fake_disk_resize(fd.last, 16ull << 20);
    world_run();
    CHECK_STR(get(BACK "/sectors"), "32768");
    CHECK_STR(back_state(), "4");
    CHECK_EQ(w.commits, commits + 1);
    fake_disk_resize(fd.last, 16ull << 20); /* nothing new: nothing written */
    world_run();
    CHECK_EQ(w.commits, commits + 1);
    world_end();
}

/* The directory goes just before our n-th write: it is not made again. */
static unsigned begins_left;

static void
remove_on_begin(void)
{
    if (begins_left && !--begins_left)
        del(BACK);
}

static void
gone_in_between(void)
{
    unsigned n;

    for (n = 1; n <= 14; n++) {
        world_reset();
        make_vbd("web-root");
        begins_left = n;
        w.in_begin = remove_on_begin;
        world_start();
        front_nodes();
        front_state("3");
        world_run();
        if (fd.last)
            fake_disk_resize(fd.last, 16ull << 20);
        world_run();
        front_state("5");
        world_run();
        front_state("6");
        world_run();
        CHECK(begins_left || !get(BACK));
        world_end();
    }
    CHECK(begins_left > 0); /* every transaction had its turn */
}

/* The toolstack's 5 comes between our look and the new size: it stays. */
static void
write_5_on_begin(void)
{
    if (!w.open_tx && !strcmp(back_state(), "4"))
        set(BACK "/state", "5");
}

static void
resize_in_between(void)
{
    begin();
    front_connects();
    fake_disk_resize(fd.last, 16ull << 20);
    set(BACK "/online", "0");
    w.in_begin = write_5_on_begin;
    world_run();
    w.in_begin = NULL;
    CHECK_STR(back_state(), "5");
    CHECK_STR(get(BACK "/sectors"), "16384");
    CHECK_EQ(fd.connected_now, 1);
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

/* The toolstack's 5 comes between our look and our write: it stays. */
static void
write_5(void)
{
    static bool done;

    if (w.open_tx || !get(BACK "/sectors") || strcmp(back_state(), "1"))
        return;
    if (!done) {
        set(BACK "/online", "0");
        set(BACK "/state", "5");
    }
    done = true;
}

static void
unplug_in_between(void)
{
    world_reset();
    w.meanwhile = write_5;
    make_vbd("web-root");
    world_start();
    world_advance(SECOND);
    CHECK_STR(back_state(), "6");
    CHECK_STR(get(BACK "/online"), "0");
    w.meanwhile = NULL;
    world_end();
}

static void
conflicts_are_repeated(void)
{
    world_reset();
    w.conflicts = 20;
    make_vbd("web-root");
    world_start();
    world_advance(SECOND);
    CHECK_STR(back_state(), "2");
    w.conflicts = 3;
    front_connects();
    world_end();
}

/* ---- faults -------------------------------------------------------------- */

static void
ring_is_broken(void)
{
    begin();
    front_connects();
    fake_disk_fail(fd.last, "ring 0: expected at most 32, found 4000 requests");
    world_run();
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.connected_now, 0);
    CHECK(strstr(get("/local/domain/0/error/backend/vbd3/7/51712/error"),
                 "found 4000"));
    /* It stays so, whatever is written, until the guest starts anew. */
    front_says("4", "5");
    front_says("3", "5");
    CHECK_EQ(fd.connects, 1);
    front_says("6", "6");
    front_says("1", "2");
    front_connects();
    CHECK(!get("/local/domain/0/error/backend/vbd3/7/51712/error"));
    world_end();
}

static void
connect_fails(void)
{
    begin();
    fd.connect_status = -EINVAL;
    strcpy(fd.connect_why, "grant 8 can't be mapped");
    front_nodes();
    front_says("3", "5");
    CHECK(strstr(w.event, "5 (closing)"));
    fd.connect_status = 0;
    front_says("6", "6");
    front_says("1", "2");
    front_connects();
    world_end();
}

static void
refused_then_unplugged(void)
{
    begin();
    set(FRONT "/ring-ref", "x");
    front_says("3", "5");
    set(BACK "/online", "0");
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

/* The front-end goes while the rings are being mapped. */
static void
gone_while_connecting(void)
{
    begin();
    fd.hold = true;
    front_nodes();
    front_says("3", "2");
    CHECK_EQ(fake_disk_pending(), 1);
    front_says("6", "2");
    fd.hold = false;
    world_run();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.connected_now, 0);
    world_end();
}

static void
readonly_cdrom(void)
{
    world_reset();
    make_vbd("web-root");
    set(BACK "/mode", "r");
    set(BACK "/device-type", "cdrom");
    set(BACK "/removable", "1");
    world_start();
    front_connects();
    CHECK_STR(get(BACK "/info"), "7");
    CHECK_STR(get(BACK "/feature-discard"), "0");
    world_end();
}

static void
discard_is_honoured(void)
{
    world_reset();
    make_vbd("web-root");
    set(BACK "/discard-enable", "0");
    w.disk[0].indirect = 0;
    world_start();
    CHECK_STR(get(BACK "/feature-discard"), "0");
    CHECK(!get(BACK "/discard-granularity"));
    CHECK(!get(BACK "/feature-max-indirect-segments"));
    world_end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(linux_guest);
    TEST(windows_guest);
    TEST(windows_order_0);
    TEST(freebsd_guest);
    TEST(minios_guest);
    TEST(grub_then_linux);
    TEST(empty_ring_ref);
    TEST(ovmf_then_linux);
    TEST(kexec_walk);
    TEST(reset_without_closing);
    TEST(restore_3_before_2);
    TEST(new_rings_at_4);
    TEST(cut_under_a_front_end);
    TEST(double_3);
    TEST(hot_unplug);
    TEST(unplug_without_driver);
    TEST(unplug_while_opening);
    TEST(unplug_of_the_dead);
    TEST(domain_death);
    TEST(made_again_at_once);
    TEST(made_again_unseen);
    TEST(resize_while_connected);
    TEST(gone_in_between);
    TEST(resize_in_between);
    TEST(unplug_in_between);
    TEST(conflicts_are_repeated);
    TEST(ring_is_broken);
    TEST(connect_fails);
    TEST(refused_then_unplugged);
    TEST(gone_while_connecting);
    TEST(readonly_cdrom);
    TEST(discard_is_honoured);
    return test_end();
}
