/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In-flight tables: when one is kept, gone on from, and forgotten. */
#include "config.h"

#include "tests/unit/disk_kit.h"

/* ---- in-flight tables -----------------------------------------------------
 */

static void
table_event(void *ctx, const char *key, int fd)
{
    (void)ctx;
    CHECK_STR(key, "vbd.3.51712");
    tell(fd >= 0 ? 'K' : 'F', 0, NULL);
}

static const struct disks_events table_events = { .table = table_event };
static const struct disk_front vbd_front = {
    .kind = "xen",
    .vm = "guest",
    .vdev = "xvda",
    .domid = 3,
    .path = "/local/domain/0/backend/vbd/3/51712"
};

/* Connects a disk of a vbd, when a table of nonce 5 was left by a process
 * before us (left), and the vbd's connection has this nonce. */
static struct disk *
open_vbd(bool left, uint64_t nonce, bool lossy)
{
    struct chan_params p = { .domid = 3, .queues = 1, .nonce = nonce };
    struct disk *d = NULL;
    char why[128];

    setup();
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    fake.table_fd = 0;
    fake.table_nonce = 5;
    fake.lossy = lossy;
    if (left)
        disks_inherit(disks, "vbd.3.51712", dup(0));
    REQUIRE(!disk_open(&d, disks, &conf, &cd, false, &vbd_front, &owner, NULL,
                       opened, why, sizeof why));
    disk_connect(d, &p, NULL, connected);
    return d;
}

static struct disk *
connect_vbd_of(bool left, uint64_t nonce, bool lossy)
{
    struct disk *d = open_vbd(left, nonce, lossy);

    fake_run();
    return d;
}

static struct disk *
connect_vbd(bool left, uint64_t nonce)
{
    return connect_vbd_of(left, nonce, false);
}

static void
table_is_kept_while_connected(void)
{
    struct disk *d = connect_vbd(false, 5);

    CHECK_EQ(fake.inherit, -1);
    CHECK_STR(trail, "oKc"); /* kept before the guest may send anything */
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    CHECK_STR(trail, "oKcFd");
    teardown(d);
}

static void
table_is_gone_on_from(void)
{
    struct disk *d = connect_vbd(true, 5);

    CHECK(fake.inherit >= 0);
    CHECK_STR(trail, "oKc");
    teardown(d);
}

/* A life before us saw a flush fail: so the disk has failed, and is mended as
 * it would have been then. */
static void
table_says_that_the_disk_failed(void)
{
    struct chan_params p = { .domid = 3, .queues = 1, .nonce = 6 };
    struct chan_io io;
    struct disk *d = connect_vbd_of(true, 5, true);

    CHECK_STR(trail, "oKcs");
    CHECK(strstr(sentence, "before the daemon was started again"));
    fake_request(&io, BLK_FLUSH, 0, 0);
    CHECK_EQ(fake.nsent, 0);
    CHECK_EQ(fake.last_error, -EIO);
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "oKcsmp");
    CHECK(!fake.lossy);
    fake_request(&io, BLK_FLUSH, 0, 0);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    teardown(d);

    d = connect_vbd_of(true, 5, true);
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK_STR(trail, "oKcsFdKc");
    fake_request(&io, BLK_FLUSH, 0, 0);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    teardown(d);
}

/* Nobody is left to be told. */
static void
table_of_a_failed_disk_that_closes(void)
{
    struct disk *d = open_vbd(true, 5, true);

    disk_close(d, closed);
    fake_run();
    if (fake.idle)
        fake_idle();
    fake_run();
    CHECK_STR(trail, "ocFx");
    disks_free(disks);
}

static void
table_of_another_connection_is_not(void)
{
    struct disk *d = connect_vbd(true, 6);

    CHECK_EQ(fake.inherit, -1);
    CHECK_STR(trail, "oKc");
    teardown(d);
}

static void
table_stays_when_not_all_had_ended(void)
{
    struct chan_io io;
    struct disk *d = connect_vbd(false, 5);

    fake_request(&io, BLK_WRITE, 0, 512);
    disk_disconnect(d, disconnected);
    fake_run();
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "oKcd");
    fake_end(0);
    teardown(d);
}

/* The same connection comes back to us, or another one. */
static void
late_one_comes_back(uint64_t nonce)
{
    struct chan_params p = { .domid = 3, .queues = 1, .nonce = nonce };
    struct chan_io io;
    struct disk *d = connect_vbd(false, 5);

    CHECK_EQ(fake.inherit, -1);
    fake_request(&io, BLK_WRITE, 0, 512);
    disk_disconnect(d, disconnected);
    fake_run();
    REQUIRE(fake_timer());
    fake_run();
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK_EQ(fake.chan_opens, 1);
    fake_end(0);
    fake_run();
    CHECK_EQ(fake.chan_opens, 2);
    CHECK_EQ(fake.inherit >= 0, nonce == 5);
    CHECK_EQ(fake.params.resumed, nonce == 5);
    teardown(d);
}

static void
table_of_what_had_not_ended(void)
{
    late_one_comes_back(5);
    late_one_comes_back(6);
}

/* A daemon that is told to stop: its successor asks for the table. */
static void
table_stays_for_the_next_process(void)
{
    struct disk *d = connect_vbd(false, 5);

    disk_leave(d, closed);
    fake_run();
    fake_idle();
    fake_run();
    CHECK_STR(trail, "oKcx");
    disks_free(disks);
}

/* Told to stop before the front-end was connected again. */
static void
table_that_was_not_come_to_stays(void)
{
    struct disk *d = NULL;
    char why[128];

    setup();
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    disks_inherit(disks, "vbd.3.51712", dup(0));
    REQUIRE(!disk_open(&d, disks, &conf, &cd, false, &vbd_front, &owner, NULL,
                       opened, why, sizeof why));
    fake_run();
    disk_close(d, closed);
    fake_run();
    CHECK_STR(trail, "ox");
    disks_free(disks);
}

static int
a_room(void *ctx, const char *key)
{
    (void)ctx;
    CHECK_STR(key, "vbd.3.51712");
    tell('Q', 0, NULL);
    return dup(0);
}

/* Of two tables of one key one is left; other keys' are not touched. */
static void
two_tables_of_one_key(void)
{
    int first = dup(0), second = dup(0), other = dup(0);
    struct table *node = NULL;

    setup();
    disks_inherit(disks, "vbd.3.51712", first);
    disks_inherit(disks, "vbd.4.51712", other);
    disks_inherit(disks, "vbd.3.51712", second);
    CHECK(fcntl(second, F_GETFD) < 0); /* closed */
    CHECK(table_waits(disks, "vbd.3.51712"));
    CHECK(table_waits(disks, "vbd.4.51712"));
    CHECK(!table_waits(disks, "vbd.5.51712"));
    CHECK_EQ(table_take(disks, "vbd.5.51712", &node), -1);
    CHECK(!node);
    CHECK_EQ(table_take(disks, "vbd.3.51712", &node), first);
    CHECK(node);
    CHECK_EQ(table_take(disks, "vbd.3.51712", &node), -1);
    /* Back, and taken once more, with nothing but the node. */
    table_give(disks, &node, "vbd.3.51712", first);
    CHECK(!node);
    CHECK(table_waits(disks, "vbd.3.51712"));
    CHECK_EQ(table_take(disks, "vbd.3.51712", &node), first);
    table_give(disks, &node, "vbd.4.51712", first); /* there is one */
    CHECK(fcntl(first, F_GETFD) < 0);
    free(node);
    disks_free(disks);
    CHECK(fcntl(other, F_GETFD) < 0); /* not asked for: goes at the end */
}

/* The keys of layers are no disk's table, and go another way. */
static void
keys_are_no_table(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    setup();
    REQUIRE(fd >= 0);
    CHECK_EQ(disks_inherit(disks, DISKS_KEYS, fd), 0);
    CHECK(!table_waits(disks, DISKS_KEYS));
    CHECK(fcntl(fd, F_GETFD) < 0); /* there are none in it */
    disks_free(disks);
}

static bool
none_but_four(void *ctx, const char *key)
{
    CHECK(ctx == &conf);
    return strcmp(key, "vbd.4.51712") != 0;
}

/* Those of vbds that went are forgotten; nobody came for them. */
static void
tables_that_nobody_comes_for(void)
{
    int here, gone;

    setup();
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    here = dup(0);
    gone = dup(0);
    disks_inherit(disks, "vbd.4.51712", here);
    disks_inherit(disks, "vbd.3.51712", gone);
    disks_sift_tables(disks, none_but_four, &conf);
    CHECK_STR(trail, "F");
    CHECK(fcntl(gone, F_GETFD) < 0);
    CHECK(fcntl(here, F_GETFD) >= 0);
    CHECK(table_waits(disks, "vbd.4.51712"));
    CHECK(!table_waits(disks, "vbd.3.51712"));
    disks_sift_tables(disks, none_but_four, &conf);
    CHECK_STR(trail, "F");
    disks_free(disks);
}

/* A room is asked for where somebody gives rooms, and for what has a key. */
static void
room_for_a_table(void)
{
    static const struct disks_events none, gives = { .room = a_room };
    int fd;

    setup();
    CHECK_EQ(table_room(disks, "vbd.3.51712"), -1);
    table_keep(disks, "vbd.3.51712", 0);
    table_forget(disks, "vbd.3.51712");
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &none, NULL));
    CHECK_EQ(table_room(disks, "vbd.3.51712"), -1);
    table_keep(disks, "vbd.3.51712", 0);
    table_forget(disks, "vbd.3.51712");
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &gives, NULL));
    CHECK_EQ(table_room(disks, ""), -1);
    CHECK_STR(trail, "");
    fd = table_room(disks, "vbd.3.51712");
    CHECK(fd >= 0);
    CHECK_STR(trail, "Q");
    close(fd);
    disks_free(disks);
    /* Nobody is told of what has no key, or no table. */
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    table_keep(disks, "", 0);
    table_keep(disks, "vbd.3.51712", -1);
    table_forget(disks, "");
    CHECK_STR(trail, "Q");
    table_keep(disks, "vbd.3.51712", 0);
    table_forget(disks, "vbd.3.51712");
    CHECK_STR(trail, "QKF");
    disks_free(disks);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(table_is_kept_while_connected);
    TEST(table_is_gone_on_from);
    TEST(table_says_that_the_disk_failed);
    TEST(table_of_a_failed_disk_that_closes);
    TEST(table_of_another_connection_is_not);
    TEST(table_stays_when_not_all_had_ended);
    TEST(table_of_what_had_not_ended);
    TEST(table_stays_for_the_next_process);
    TEST(table_that_was_not_come_to_stays);
    TEST(two_tables_of_one_key);
    TEST(keys_are_no_table);
    TEST(tables_that_nobody_comes_for);
    TEST(room_for_a_table);
    return test_end();
}
