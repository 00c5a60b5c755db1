/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk's jobs, in every order that matters. */
#include "config.h"

#include "tests/unit/disk_kit.h"

static void
opens_and_closes(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    CHECK_EQ(disk_limits(d)->size, 1 << 20);
    CHECK(disks_find(disks, "web") == d);
    teardown(d);
    CHECK_STR(trail, "ox");
    CHECK_EQ(fake.chain_stops, 1);
    CHECK_EQ(fake.chain_frees, 1);
}

/* The control loop may take the last answer, and free the unit, before the
 * data loop has done its next step.  (The address sanitizer tells.) */
static void
closes_with_a_faster_control_loop(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    fake.control_is_faster = true;
    teardown(d);
    CHECK_STR(trail, "ox");
}

static void
open_fails_with_a_sentence(void)
{
    struct disk *d;

    setup();
    fake.start_error = -ENOENT;
    d = open_disk();
    CHECK_STR(sentence, "no such medium");
    teardown(d);
    CHECK_STR(trail, "o!x");
}

static void
second_front_end_is_refused(void)
{
    struct disk *d, *other = NULL;
    char why[128] = "";

    setup();
    d = open_disk();
    CHECK_EQ(disk_open(&other, disks, &conf, &cd, false, &front, &owner, NULL,
                       opened, why, sizeof why),
             -EBUSY);
    CHECK_STR(why, "disk web is in use by guest guest, xvda");
    teardown(d);
}

static void
waits_for_one_that_closes(void)
{
    struct disk *d, *next;

    setup();
    d = connect_disk();
    disk_close(d, closed);
    next = open_disk();
    CHECK_STR(trail, "oc"); /* the first drains: the second has to wait */
    CHECK_EQ(fake.chain_starts, 1);
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocxo");
    CHECK_EQ(fake.chain_starts, 2);
    teardown(next);
}

static void
held_one_can_be_closed(void)
{
    struct disk *d, *next;

    setup();
    d = connect_disk();
    disk_close(d, closed);
    next = open_disk();
    disk_close(next, closed);
    fake_run();
    fake_idle();
    fake_run();
    CHECK_STR(trail, "oco!xx");
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

static void
connects_with_what_the_chain_offers(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    CHECK_EQ(fake.params.size, 1 << 20);
    CHECK(fake.params.discard);
    CHECK_EQ(fake.params.max_indirect, 256);
    CHECK_EQ(fake.reserved, 32);
    teardown(d);
    CHECK_STR(trail, "ocx");
    CHECK_EQ(fake.chan_closes, 1);
}

static void
readonly_reaches_everybody(void)
{
    struct chan_params p = { .queues = 1 };
    struct disk *d = NULL;
    char why[128];

    setup();
    REQUIRE(!disk_open(&d, disks, &conf, &cd, true, &front, &owner, NULL,
                       opened, why, sizeof why));
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK(disk_readonly(d));
    CHECK(fake.spec_readonly);
    CHECK(fake.params.readonly);
    teardown(d);
}

static void
connect_fails_with_a_sentence(void)
{
    struct disk *d;

    setup();
    fake.chan_error = -EINVAL;
    d = connect_disk();
    CHECK_STR(trail, "oc!");
    CHECK_STR(sentence, "ring 0: expected a page, found none");
    fake.chan_error = 0;
    teardown(d);
    CHECK_EQ(fake.chan_closes, 0);
}

static void
requests_go_down_and_come_up(void)
{
    struct chan_io a, b;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&a, BLK_READ, 4096, 8192);
    fake_request(&b, BLK_WRITE, 512, 512);
    REQUIRE(fake.nsent == 2);
    CHECK_EQ(fake.sent[0]->req.op, BLK_READ);
    CHECK_EQ(fake.sent[0]->req.off, 4096);
    CHECK_EQ(fake.sent[0]->req.len, 8192);
    CHECK(fake.sent[1]->req.sg.v == &b.iov);
    fake_end(0);
    CHECK_EQ(fake.last_error, 0);
    fake_end(-ENOSPC);
    CHECK_EQ(fake.last_error, -ENOSPC);
    CHECK_EQ(fake.completed, 2);
    teardown(d);
}

static void
barrier_is_flush_then_durable_write(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    memset(&io, 0, sizeof io);
    io.op = BLK_WRITE;
    io.barrier = true;
    io.len = 512;
    fake.chan_ops->request(fake.chan_ctx, &io);
    CHECK_EQ(fake.sent[0]->req.op, BLK_FLUSH);
    fake_end(0);
    CHECK_EQ(fake.completed, 0);
    CHECK_EQ(fake.sent[0]->req.op, BLK_WRITE);
    CHECK_EQ(fake.sent[0]->req.flags, BLK_FUA);
    fake_end(0);
    CHECK_EQ(fake.completed, 1);
    io.len = 0; /* an empty one is a flush */
    fake.chan_ops->request(fake.chan_ctx, &io);
    fake_end(0);
    CHECK_EQ(fake.nsent, 0);
    CHECK_EQ(fake.completed, 2);
    teardown(d);
}

static void
long_discard_is_cut(void)
{
    uint64_t gib = 1ull << 30, sum = 0;
    struct chan_io io;
    struct disk *d;
    unsigned n = 0;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_DISCARD, 512, 5 * gib + 512);
    while (fake.nsent) {
        CHECK_EQ(fake.sent[0]->req.off, 512 + sum);
        sum += fake.sent[0]->req.len;
        n++;
        fake_end(0);
    }
    CHECK_EQ(sum, 5 * gib + 512);
    CHECK_EQ(n, 6);
    CHECK_EQ(fake.completed, 1);
    teardown(d);
}

static void
disconnect_drains(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disk_disconnect(d, disconnected);
    fake_run();
    CHECK_STR(trail, "oc");
    CHECK_EQ(fake.chan_closes, 0);
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocd");
    CHECK_EQ(fake.chan_closes, 1);
    CHECK(!fake_timer());
    disk_disconnect(d, disconnected); /* of nothing: at once */
    fake_run();
    CHECK_STR(trail, "ocdd");
    teardown(d);
}

static void
hung_request_does_not_hold_the_ring(void)
{
    struct chan_params p = { .queues = 1 };
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_WRITE, 0, 512);
    disk_disconnect(d, disconnected);
    fake_run();
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "ocd");
    CHECK_EQ(fake.chan_closes, 1);
    disk_connect(d, &p, NULL, connected); /* waits for the old write */
    fake_run();
    CHECK_EQ(fake.chan_opens, 1);
    fake_end(0);
    fake_run();
    CHECK_EQ(fake.chan_opens, 2);
    CHECK_STR(trail, "ocdc");
    teardown(d);
}

static void
resize_is_told(void)
{
    struct blk_limits l = { .size = 2 << 20 };
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chain_events->relimit(fake.chain_ctx, &l);
    fake_run();
    CHECK_EQ(fake.resized, 2 << 20);
    CHECK_EQ(disk_limits(d)->size, 2 << 20);
    CHECK_STR(trail, "ocr");
    teardown(d);
}

static void
pause_and_close(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disk_pause(d, stepped, NULL);
    disk_pause(d, stepped, NULL);
    fake_run();
    CHECK_EQ(fake.paused, 1);
    CHECK_STR(trail, "ocpp");
    teardown(d); /* resumes first, or nothing in the chain would ever end */
    CHECK_EQ(fake.resumed, 1);
}

/* A request does not end in time: it is not paused, and may be asked again. */
static void
pause_is_given_up(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disks_drain(disks, UINT64_C(4000000000));
    fake.hold_steps = true;
    disk_pause(d, stepped, NULL);
    fake_run();
    fake.hold_steps = false;
    CHECK_EQ(fake.drain_ns, UINT64_C(4000000000));
    snprintf(fake.held->why, sizeof fake.held->why, "late");
    fake_step(-ETIMEDOUT);
    fake_run();
    CHECK_STR(trail, "ocp!");
    CHECK_STR(sentence, "late");
    disk_resume(d, stepped, NULL);
    fake_run();
    CHECK_EQ(fake.resumed, 0);
    disks_drain(disks, 0);
    disk_pause(d, stepped, NULL);
    fake_run();
    CHECK_EQ(fake.paused, 2);
    CHECK_EQ(fake.drain_ns, 0);
    CHECK_STR(trail, "ocp!pp");
    teardown(d);
    CHECK_EQ(fake.resumed, 1);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(opens_and_closes);
    TEST(closes_with_a_faster_control_loop);
    TEST(open_fails_with_a_sentence);
    TEST(second_front_end_is_refused);
    TEST(waits_for_one_that_closes);
    TEST(held_one_can_be_closed);
    TEST(connects_with_what_the_chain_offers);
    TEST(readonly_reaches_everybody);
    TEST(connect_fails_with_a_sentence);
    TEST(requests_go_down_and_come_up);
    TEST(barrier_is_flush_then_durable_write);
    TEST(long_discard_is_cut);
    TEST(disconnect_drains);
    TEST(hung_request_does_not_hold_the_ring);
    TEST(resize_is_told);
    TEST(pause_and_close);
    TEST(pause_is_given_up);
    return test_end();
}
