/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk that fails, and the ways in which it comes back. */
#include "config.h"

#include "tests/unit/disk_kit.h"

static void
failed_flush_stops_the_disk(void)
{
    struct chan_io io, more;
    bool lossy;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_FLUSH, 0, 0);
    fake_end(-EIO);
    lossy = fake.lossy_at_answer;
    fake_request(&more, BLK_WRITE, 0, 512);
    CHECK_EQ(fake.nsent, 0);
    CHECK_EQ(fake.last_error, -EIO);
    CHECK(lossy);
    fake_run();
    CHECK_STR(trail, "ocs");
    CHECK(strstr(sentence, "flush failed"));
    teardown(d);
}

static void
flush_that_is_not_there_does_not(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_FLUSH, 0, 0);
    fake_end(-EOPNOTSUPP);
    CHECK(!fake.lossy);
    fake_run();
    CHECK_STR(trail, "oc");
    teardown(d);
}

static void
fatal_layer_is_mended_by_a_new_connection(void)
{
    struct chan_params p = { .queues = 1 };
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    CHECK_STR(trail, "ocs");
    CHECK(fake.lossy);
    CHECK_STR(sentence, "the medium went away");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK_EQ(fake.chains, 2);
    CHECK_EQ(fake.chain_frees, 1);
    CHECK_STR(trail, "ocsdc");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    teardown(d);
}

/* The ring is gone on with; what comes meanwhile gets an error. */
static void
fatal_layer_is_mended_by_command(void)
{
    struct chan_io old, io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&old, BLK_READ, 0, 512);
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    CHECK_STR(trail, "ocs");
    /* Not before the old chain is empty. */
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_EQ(fake.chains, 1);
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    CHECK_EQ(fake.chains, 1);
    fake.hold_steps = true;
    fake_end(-EIO);
    fake_run();
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    fake.hold_steps = false;
    fake_step(0);
    fake_run();
    CHECK_EQ(fake.chains, 2);
    CHECK_EQ(fake.chain_frees, 1);
    CHECK_EQ(fake.chan_opens, 1);
    CHECK(!fake.lossy);
    CHECK_STR(trail, "ocsmp");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    CHECK_EQ(fake.last_error, 0);
    /* Once is enough. */
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsmpp!");
    CHECK(strstr(sentence, "not quarantined"));
    teardown(d);
}

static void
recovery_that_fails_may_be_tried_again(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    fake.start_error = -ENODEV;
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsp!");
    CHECK(fake.lossy);
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    fake.start_error = 0;
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsp!mp");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    teardown(d);
}

static struct disk *
quarantined_disk(void)
{
    struct disk *d = connect_disk();

    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    CHECK_STR(trail, "ocs");
    return d;
}

static void
recover_works(struct disk *d)
{
    struct chan_io io;

    fake.new_error = fake.reserve_error = fake.start_error = 0;
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK(!fake.lossy);
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    CHECK_EQ(fake.last_error, 0);
    teardown(d);
}

/* The old chain is gone by then; the front-end hears errors all the while. */
static void
no_chain_can_be_made(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = quarantined_disk();
    fake.new_error = -ENOENT;
    for (int i = 0; i < 2; i++) {
        disk_recover(d, stepped, NULL);
        fake_run();
        CHECK_STR(sentence, "there is no such plugin");
        fake_request(&io, BLK_READ, 0, 512);
        CHECK_EQ(fake.last_error, -EIO);
    }
    CHECK_STR(trail, "ocsp!p!");
    CHECK(fake.lossy);
    recover_works(d);
}

static void
chain_has_no_room_for_the_ring(void)
{
    struct disk *d;

    setup();
    d = quarantined_disk();
    fake.reserve_error = -ENOMEM;
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsp!");
    CHECK(fake.lossy);
    recover_works(d);
}

static void
new_connection_finds_no_medium(void)
{
    struct chan_params p = { .queues = 1 };
    struct disk *d;

    setup();
    d = quarantined_disk();
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsdp!");
    CHECK(strstr(sentence, "no front-end is connected"));
    fake.start_error = -ENODEV;
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK_STR(trail, "ocsdp!c!");
    fake.start_error = 0;
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK_STR(trail, "ocsdp!c!c");
    teardown(d);
}

static void
paused_disk_is_resumed_first(void)
{
    struct disk *d;

    setup();
    d = quarantined_disk();
    disk_pause(d, stepped, NULL);
    fake_run();
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocspp!");
    CHECK(strstr(sentence, "resume it first"));
    disk_resume(d, stepped, NULL);
    fake_run();
    recover_works(d);
}

static void
throttling_is_told_at_a_rate(void)
{
    struct disk *d;
    unsigned before;

    setup();
    d = connect_disk();
    before = fake.warnings;
    for (int i = 0; i < 4; i++) {
        fake.log_full = i % 2;
        fake.chan_ops->throttled(fake.chan_ctx);
        fake_run();
    }
    CHECK_EQ(fake.warnings - before, 2);
    CHECK_STR(trail, "oc");
    teardown(d);
}

static void
broken_ring_is_not_recovered(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chan_ops->broken(fake.chan_ctx, "ring 0: expected 32, found 99");
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocfp!");
    CHECK(strstr(sentence, "only a new connection"));
    teardown(d);
}

static void
broken_ring_is_told(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    CHECK(fake.chan_ops->lender(fake.chan_ctx) == &fake.lender);
    fake.chan_ops->broken(fake.chan_ctx, "ring 0: expected 32, found 99");
    /* Its requests don't reach the chain, so nor does their memory come of
     * there. */
    CHECK(!fake.chan_ops->lender(fake.chan_ctx));
    fake_run();
    CHECK_STR(trail, "ocf");
    CHECK(!fake.lossy);
    CHECK_STR(sentence, "ring 0: expected 32, found 99");
    teardown(d);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(failed_flush_stops_the_disk);
    TEST(flush_that_is_not_there_does_not);
    TEST(fatal_layer_is_mended_by_a_new_connection);
    TEST(fatal_layer_is_mended_by_command);
    TEST(recovery_that_fails_may_be_tried_again);
    TEST(no_chain_can_be_made);
    TEST(chain_has_no_room_for_the_ring);
    TEST(new_connection_finds_no_medium);
    TEST(paused_disk_is_resumed_first);
    TEST(throttling_is_told_at_a_rate);
    TEST(broken_ring_is_not_recovered);
    TEST(broken_ring_is_told);
    return test_end();
}
