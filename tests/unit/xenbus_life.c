/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is claimed and what is left alone; media that can't be opened; another
 * config; our own end and start again under a running guest; xenstored away.
 */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_kit.h"

#define SECOND     1000000000ull
#define ERROR_NODE "/local/domain/0/error/backend/vbd3/7/51712/error"

/* ---- claims -------------------------------------------------------------- */

static void
left_alone(const char *why)
{
    world_start();
    front_nodes();
    front_state("3");
    world_advance(10 * SECOND);
    CHECK_STR(back_state(), "1");
    CHECK(!get(BACK "/max-ring-page-order"));
    CHECK(!get(BACK "/hotplug-status"));
    CHECK_EQ(fd.opens, 0);
    CHECK_STR(listed("claimed"), "false");
    CHECK_STR(listed("state"), "initialising");
    if (!strstr(listed("why"), why))
        CHECK_STR(listed("why"), why);
    world_end();
}

static void
not_in_the_config(void)
{
    world_reset();
    make_vbd("aio:/dev/vg/other");
    left_alone("no disk in the config matches (params \"aio:/dev/vg/other\", "
               "vm web, vdev xvda)");
}

static void
owned_by_the_kernel(void)
{
    world_reset();
    w.kernel_serves = true;
    make_vbd("web-root");
    left_alone("xen-blkback owns kind vbd3 in this domain");
}

/* What a script did with one that the kernel had taken and offered. */
static void
handed_over_by_the_kernel(void)
{
    world_reset();
    w.kernel_serves = true;
    make_vbd("web-root:/dev/vg/web");
    set(BACK "/state", "2");
    world_start();
    front_nodes();
    front_state("3");
    world_advance(SECOND);
    CHECK_EQ(fd.opens, 0);
    CHECK_STR(back_state(), "2");
    set(BACK "/params", "web-root");
    set(BACK "/handed-over", "1");
    set(BACK "/state", "1");
    world_advance(SECOND);
    CHECK_EQ(fd.opens, 1);
    CHECK_STR(back_state(), "4");
    CHECK_STR(listed("claimed"), "true");
    world_end();
}

/* Nobody else would tell the script. */
static void
handed_over_but_unknown(void)
{
    world_reset();
    w.kernel_serves = true;
    make_vbd("web-toor");
    set(BACK "/handed-over", "1");
    world_start();
    world_advance(SECOND);
    CHECK_EQ(fd.opens, 0);
    CHECK_STR(back_state(), "1");
    CHECK_STR(get(BACK "/hotplug-status"), "error");
    CHECK_STR(get(BACK "/hotplug-error"),
              "no disk in the config matches (params \"web-toor\", vm web, "
              "vdev xvda)");
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_advance(SECOND);
    CHECK_STR(back_state(), "6");
    world_end();
}

static void
wrong_frontend_id(void)
{
    world_reset();
    make_vbd("web-root");
    set(BACK "/frontend-id", "8");
    left_alone("node frontend-id: expected 7, found \"8\"");
}

static void
wrong_frontend_path(void)
{
    static const char *const paths[] = { "/local/domain/8/device/vbd/51712",
                                         "/local/domain/7",
                                         "/local/domain/7/",
                                         "/local/domain/77/device/vbd/1",
                                         "device/vbd/51712",
                                         "/local/domain/7/device/vbd/51712/",
                                         "/local/domain/7//vbd/51712",
                                         "/local/domain/7/device/../../8",
                                         "" };
    unsigned i;

    for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        world_reset();
        make_vbd("web-root");
        set(BACK "/frontend", paths[i]);
        left_alone("node frontend: expected a path below /local/domain/7/");
    }
}

static void
by_vm_and_vdev(void)
{
    world_reset();
    add_disk("by-name", "web", "xvda", 51712);
    make_vbd("whatever");
    world_start();
    CHECK_STR(back_state(), "2");
    CHECK_STR(listed("disk"), "by-name");
    front_connects();
    world_end();
}

/* A vbd of another guest with the same number in another kind, and odd
 * directories, are no concern of ours. */
static void
odd_directories(void)
{
    world_reset();
    set("/local/domain/0/backend/vbd3/abc/51712/state", "1");
    set("/local/domain/0/backend/vbd3/7/xvda/state", "1");
    set("/local/domain/0/backend/vbd3/7/51728/online", "1");
    set("/local/domain/0/backend/vbd3/-1/1/state", "1");
    set("/local/domain/0/backend/qdisk/7/51712/state", "1");
    world_start();
    CHECK_EQ(w.watches, 2);
    set("/local/domain/0/backend/vbd3/7/51728/state", "1");
    world_run();
    CHECK_STR(get("/local/domain/0/backend/vbd3/7/51728/state"), "1");
    CHECK_STR(listed("claimed"), "false");
    world_end();
}

/* ---- media --------------------------------------------------------------- */

static void
fail_open(const char *why)
{
    world_reset();
    fd.open_status = -ENOENT;
    strcpy(fd.open_why, why);
    make_vbd("web-root");
}

/* A script of xl will read the sentence: it is let run, at once. */
static void
open_fails_with_script(void)
{
    fail_open("web-root: /srv/web.qcow2: no such file");
    set(BACK "/script", "/etc/xen/scripts/block-blktapd");
    world_start();
    CHECK_STR(back_state(), "2");
    CHECK_STR(get(BACK "/hotplug-status"), "error");
    CHECK_STR(get(BACK "/hotplug-error"),
              "web-root: /srv/web.qcow2: no such file");
    CHECK(!get(BACK "/sectors"));
    /* xl takes it away. */
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    CHECK_STR(back_state(), "6");
    del(BACK);
    del(FRONT);
    world_run();
    CHECK(!get("/local/domain/0/error/backend/vbd3/7/51712/error"));
    world_end();
}

/* Nobody would look: the toolstack's time-out has to tell. */
static void
open_fails_without_script(void)
{
    fail_open("web-root: no such file");
    world_start();
    world_advance(9 * SECOND);
    CHECK_STR(back_state(), "1");
    CHECK_STR(get("/local/domain/0/error/backend/vbd3/7/51712/error"),
              "2 web-root: no such file");
    CHECK_STR(listed("why"), "web-root: no such file");
    CHECK(fd.opens >= 3);
    CHECK(fd.opens <= 4); /* after 2, 4, 8 ... seconds */
    /* The medium appears. */
    fd.open_status = 0;
    world_advance(60 * SECOND);
    CHECK_STR(back_state(), "2");
    CHECK_STR(get(BACK "/hotplug-status"), "connected");
    CHECK(!get(BACK "/hotplug-error"));
    CHECK(!get("/local/domain/0/error/backend/vbd3/7/51712/error"));
    front_connects();
    world_end();
}

static void
reload_tries_again(void)
{
    fail_open("no such file");
    world_start();
    world_advance(100 * SECOND);
    fd.open_status = 0;
    xenbus_reload(w.x, &w.conf);
    world_run();
    CHECK_STR(back_state(), "2");
    world_end();
}

/* The guest came while the medium was away: it waits, and gets its disk. */
static void
front_waits_for_medium(void)
{
    fail_open("server is away");
    set(BACK "/script", "x");
    world_start();
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "2");
    fd.open_status = 0;
    world_advance(10 * SECOND);
    CHECK_STR(back_state(), "4");
    world_end();
}

/* A slow medium must not make the toolstack give up after 10 s. */
static void
slow_medium(void)
{
    world_reset();
    fd.hold = true;
    make_vbd("web-root");
    world_start();
    world_advance(2 * SECOND);
    CHECK_STR(back_state(), "1");
    world_advance(2 * SECOND);
    CHECK_STR(back_state(), "2");
    CHECK(!get(BACK "/sectors"));
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "2");
    fd.hold = false;
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_STR(get(BACK "/sectors"), "16384");
    world_end();
}

static void
busy_disk(void)
{
    world_reset();
    fd.busy = true;
    make_vbd("web-root");
    world_start();
    CHECK_STR(back_state(), "1");
    CHECK_STR(listed("why"),
              "disk web-root: expected to be free, found in use");
    fd.busy = false;
    world_advance(3 * SECOND);
    CHECK_STR(back_state(), "2");
    world_end();
}

/* Another vbd of the same disk gets it as soon as the first is done. */
static void
disk_comes_free(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    fd.busy = true;
    set("/local/domain/9/device/vbd/51712/backend",
        "/local/domain/0/backend/vbd3/9/51712");
    set("/local/domain/9/device/vbd/51712/state", "1");
    set("/local/domain/0/backend/vbd3/9/51712/frontend",
        "/local/domain/9/device/vbd/51712");
    set("/local/domain/0/backend/vbd3/9/51712/frontend-id", "9");
    set("/local/domain/0/backend/vbd3/9/51712/params", "web-root");
    set("/local/domain/0/backend/vbd3/9/51712/online", "1");
    set("/local/domain/0/backend/vbd3/9/51712/mode", "w");
    set("/local/domain/0/backend/vbd3/9/51712/state", "1");
    world_run();
    CHECK_STR(get("/local/domain/0/backend/vbd3/9/51712/state"), "1");
    fd.busy = false;
    del(BACK);
    world_run(); /* the clock stands still */
    CHECK_STR(get("/local/domain/0/backend/vbd3/9/51712/state"), "2");
    world_end();
}

/* ---- reload -------------------------------------------------------------- */

static void
reload_claims(void)
{
    static struct conf other;
    static struct conf_disk disk;

    world_reset();
    make_vbd("later");
    world_start();
    CHECK_STR(back_state(), "1");
    other = w.conf;
    other.refs = 0;
    disk = w.disk[0];
    disk.name = "later";
    other.disk = &disk;
    other.disks = 1;
    xenbus_reload(w.x, &other);
    world_run();
    CHECK_STR(back_state(), "2");
    front_connects();
    /* Connected: stays, though the new tree does not know it. */
    xenbus_reload(w.x, &w.conf);
    world_run();
    CHECK_EQ(fd.connected_now, 1);
    front_state("6");
    world_run();
    /* And is let go as soon as it is not. */
    CHECK_EQ(fd.open_now, 0);
    CHECK_STR(listed("claimed"), "false");
    world_end();
}

static void
reload_lets_go(void)
{
    static struct conf none;

    world_reset();
    make_vbd("web-root");
    world_start();
    CHECK_STR(back_state(), "2");
    none = w.conf;
    none.refs = 0;
    none.disks = 0;
    xenbus_reload(w.x, &none);
    world_run();
    CHECK_EQ(fd.open_now, 0);
    CHECK_STR(back_state(), "2");
    xenbus_reload(w.x, &w.conf);
    world_run();
    CHECK_EQ(fd.open_now, 1);
    front_connects();
    world_end();
}

static void
reload_new_kind(void)
{
    static const char *const kinds[] = { "vbd3", "qdisk", NULL };
    static struct conf more;

    world_reset();
    set("/local/domain/7/device/vbd/51728/state", "1");
    set("/local/domain/0/backend/qdisk/7/51728/frontend",
        "/local/domain/7/device/vbd/51728");
    set("/local/domain/0/backend/qdisk/7/51728/frontend-id", "7");
    set("/local/domain/0/backend/qdisk/7/51728/params", "web-root");
    set("/local/domain/0/backend/qdisk/7/51728/online", "1");
    set("/local/domain/0/backend/qdisk/7/51728/state", "1");
    world_start();
    more = w.conf;
    more.refs = 0;
    more.kinds = kinds;
    xenbus_reload(w.x, &more);
    world_run();
    CHECK_STR(get("/local/domain/0/backend/qdisk/7/51728/state"), "2");
    world_end();
}

/* ---- our end, and our start under a running guest ------------------------ */

static void
restart(void)
{
    uint64_t nonce;
    unsigned commits;

    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    nonce = fd.params.nonce;
    world_stop();
    CHECK(w.stopped);
    CHECK_EQ(fd.open_now, 0);
    CHECK_STR(back_state(), "4");
    world_free();
    commits = w.commits;
    world_start();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    CHECK_EQ(fd.params.nonce, nonce);
    CHECK_EQ(fd.params.queue[0].refs[0], 8);
    CHECK_EQ(w.commits, commits); /* nothing was written */
    world_end();
}

/* The disk failed in the life before: its front-end stays, and toolstacks can
 * read why its requests end with errors, until it was recovered. */
static void
restart_of_a_failed_disk(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    world_free();
    fd.stopped = "a flush failed before";
    world_start();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    CHECK(strstr(get(ERROR_NODE), "a flush failed before"));
    fake_disk_recover(fd.last);
    world_run();
    CHECK(!get(ERROR_NODE));
    /* A new connection starts clean, whether it was recovered or not. */
    world_free();
    world_start();
    CHECK(get(ERROR_NODE));
    fd.stopped = NULL;
    front_state("6");
    world_run();
    front_state("1");
    world_run();
    front_connects();
    CHECK(!get(ERROR_NODE));
    world_end();
}

/* The disk grew while nobody looked. */
static void
restart_resized(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    world_free();
    fd.limits.size = 32ull << 20;
    world_start();
    CHECK_STR(get(BACK "/sectors"), "65536");
    CHECK_STR(back_state(), "4");
    world_end();
}

static void
restart_front_moved(void)
{
    static const char *const fronts[] = { "1", "5", "6", "0" };
    static const char *const backs[] = { "2", "5", "6", "6" };
    unsigned i;

    for (i = 0; i < 4; i++) {
        world_reset();
        make_vbd("web-root");
        world_start();
        front_connects();
        world_free();
        front_state(fronts[i]);
        world_start();
        CHECK_STR(back_state(), backs[i]);
        /* At 5 it may still use the disk. */
        CHECK_EQ(fd.connected_now, i == 1);
        world_end();
    }
}

static void
restart_front_gone(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    world_free();
    del(FRONT);
    world_start();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* A mounted disk whose removal was asked for: served on, then let go. */
static void
restart_going_offline(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_run();
    world_free();
    world_start();
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.connected_now, 1);
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    world_end();
}

/* The medium is away at our start: the guest waits, its state untouched. */
static void
restart_medium_away(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    world_free();
    fd.open_status = -EIO;
    strcpy(fd.open_why, "away");
    world_start();
    world_advance(5 * SECOND);
    CHECK_STR(back_state(), "4");
    fd.open_status = 0;
    world_advance(60 * SECOND);
    CHECK_STR(back_state(), "4");
    CHECK_EQ(fd.connected_now, 1);
    world_end();
}

static void
stop_in_every_phase(void)
{
    unsigned phase;

    for (phase = 0; phase < 4; phase++) {
        world_reset();
        fd.hold = true;
        make_vbd("web-root");
        world_start(); /* 0: opening */
        if (phase >= 1) {
            fake_disk_step();
            world_run(); /* 1: waiting */
        }
        if (phase >= 2) {
            front_nodes();
            front_state("3");
            world_run(); /* 2: connecting */
        }
        if (phase >= 3) {
            fake_disk_step();
            world_run();
            front_state("6");
            world_run(); /* 3: disconnecting */
        }
        world_stop();
        CHECK(!w.stopped);
        fd.hold = false;
        world_run();
        CHECK(w.stopped);
        world_end();
    }
}

/* ---- XenStore away ------------------------------------------------------- */

static void
renewed(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    w.store_error = EBADF;
    xenbus_reload(w.x, &w.conf); /* something makes it look */
    world_advance(3 * SECOND);
    CHECK_EQ(fd.connected_now, 1);
    w.store_error = 0;
    world_renew();
    CHECK_EQ(w.watches, 3);
    CHECK_EQ(fd.connected_now, 1);
    CHECK_EQ(fd.disconnects, 0);
    CHECK_STR(back_state(), "4");
    /* Everything works again. */
    front_state("6");
    world_run();
    CHECK_STR(back_state(), "6");
    front_state("1");
    world_run();
    CHECK_STR(back_state(), "2");
    world_end();
}

/* What happened meanwhile is seen. */
static void
renewed_after_changes(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    w.store_error = EIO;
    front_state("6");
    world_run();
    CHECK_EQ(fd.connected_now, 1);
    set("/local/domain/0/backend/vbd3/7/51728/state", "1");
    w.store_error = 0;
    world_renew();
    CHECK_STR(back_state(), "6");
    CHECK_EQ(fd.connected_now, 0);
    world_end();
}

/* The toolstack puts the nodes of a connected vbd back. */
static void
put_back(void)
{
    make_vbd("web-root");
    set(BACK "/state", "4");
    front_nodes();
    front_state("4");
    world_run();
}

/* It came back empty: nobody's disk is taken away for that. */
static void
renewed_empty(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    del("/local");
    world_renew();
    CHECK_EQ(fd.connected_now, 1);
    CHECK(strstr(listed("why"), "served as it was"));
    put_back(); /* then everything is as ever */
    CHECK_EQ(fd.connected_now, 1);
    CHECK_EQ(fd.connects, 1);
    del(BACK);
    world_run();
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* It kept what it had, and the toolstack took a vbd away before we looked. */
static void
renewed_and_removed(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    w.store_error = EIO;
    del(BACK);
    del(FRONT);
    w.store_error = 0;
    world_renew();
    CHECK_EQ(fd.connected_now, 0);
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* It came back empty, went again and came back with what was there by then:
 * nobody has put the vbd's nodes back yet. */
static void
renewed_empty_twice(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    del("/local");
    world_renew();
    world_renew();
    CHECK_EQ(fd.connected_now, 1);
    CHECK(strstr(listed("why"), "served as it was"));
    put_back();
    CHECK_EQ(fd.connects, 1);
    del(BACK);
    world_renew();
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* Where we may not write, what is missing is taken for lost. */
static void
renewed_without_a_mark(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    w.store_error = EIO;
    del("/local/domain/0/data");
    del(BACK);
    w.store_error = 0;
    world_renew();
    CHECK_EQ(fd.connected_now, 1);
    make_vbd("web-root");
    world_run();
    world_end();
}

/* The guest hides its directory: gone for us, and nothing else. */
static void
front_hidden(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    front_connects();
    w.hidden = FRONT;
    set(FRONT "/state", "4");
    world_run();
    CHECK_EQ(fd.connected_now, 0);
    CHECK_STR(back_state(), "6");
    w.hidden = NULL;
    world_end();
}

/* Each call in turn fails once; it always comes right a little later. */
static void
every_call_fails_once(void)
{
    unsigned n, calls;

    for (n = 1, calls = 1; n <= calls; n++) {
        world_reset();
        make_vbd("web-root");
        w.fail_in = n + 3; /* past xenbus_new() */
        world_start();
        world_advance(3 * SECOND);
        front_nodes();
        front_state("3");
        world_advance(3 * SECOND);
        CHECK_STR(back_state(), "4");
        front_state("4");
        world_advance(3 * SECOND);
        set(BACK "/online", "0");
        set(BACK "/state", "5");
        world_advance(3 * SECOND);
        front_state("6");
        world_advance(3 * SECOND);
        CHECK_STR(back_state(), "6");
        CHECK_EQ(fd.open_now, 0);
        calls = w.calls;
        world_end();
    }
    CHECK(n > 100);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(not_in_the_config);
    TEST(owned_by_the_kernel);
    TEST(handed_over_by_the_kernel);
    TEST(handed_over_but_unknown);
    TEST(wrong_frontend_id);
    TEST(wrong_frontend_path);
    TEST(by_vm_and_vdev);
    TEST(odd_directories);
    TEST(open_fails_with_script);
    TEST(open_fails_without_script);
    TEST(reload_tries_again);
    TEST(front_waits_for_medium);
    TEST(slow_medium);
    TEST(busy_disk);
    TEST(disk_comes_free);
    TEST(reload_claims);
    TEST(reload_lets_go);
    TEST(reload_new_kind);
    TEST(restart);
    TEST(restart_of_a_failed_disk);
    TEST(restart_resized);
    TEST(restart_front_moved);
    TEST(restart_front_gone);
    TEST(restart_going_offline);
    TEST(restart_medium_away);
    TEST(stop_in_every_phase);
    TEST(renewed);
    TEST(renewed_after_changes);
    TEST(renewed_empty);
    TEST(renewed_and_removed);
    TEST(renewed_empty_twice);
    TEST(renewed_without_a_mark);
    TEST(front_hidden);
    TEST(every_call_fails_once);
    return test_end();
}
