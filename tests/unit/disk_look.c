/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a new config changes, and what a person asks. */
#include "config.h"

#include "tests/unit/disk_kit.h"

static int reload_status = 99;
static void
reloaded(void *ctx, int status, const char *why)
{
    (void)ctx;
    reload_status = status;
    if (why)
        snprintf(sentence, sizeof sentence, "%s", why);
}

static void
reload_touches_what_changed(void)
{
    static struct blk_conf other = { .plugin = "file" };
    struct disk *d;

    setup();
    d = connect_disk();
    cd2 = cd;
    disks_reload(disks, &conf2, reloaded, NULL);
    fake_run();
    CHECK_EQ(reload_status, 0);
    CHECK_EQ(fake.replaces, 0);
    cd2.chain.layer = &other;
    cd2.queues = 2;
    disks_reload(disks, &conf2, reloaded, NULL);
    fake_run();
    CHECK_EQ(fake.replaces, 1);
    CHECK_EQ(conf2.refs, 2);
    CHECK_EQ(conf.refs, 1);
    CHECK(disk_conf(d) == &cd2);
    CHECK(strchr(trail, 'R'));
    teardown(d);
}

static void
reload_that_fails_keeps_the_old(void)
{
    static struct blk_conf other = { .plugin = "file" };
    struct disk *d;

    setup();
    d = connect_disk();
    cd2 = cd;
    cd2.chain.layer = &other;
    fake.replace_error = -ENOENT;
    disks_reload(disks, &conf2, reloaded, NULL);
    fake_run();
    CHECK_EQ(reload_status, -ENOENT);
    CHECK_STR(sentence, "web: keeps its old chain: no such medium");
    CHECK(disk_conf(d) == &cd);
    teardown(d);
}

static struct json_object *shown;
static void
show(void *ctx, struct json_object *o)
{
    (void)ctx;
    shown = o;
}

static void
shows_while_a_step_hangs(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    fake.hold_steps = true;
    disk_pause(d, stepped, NULL);
    disk_show(d, show, NULL);
    fake_run();
    REQUIRE(shown);
    CHECK(strstr(json_object_to_json_string(shown), "\"things\": 7"));
    CHECK(strstr(json_object_to_json_string(shown), "\"connected\""));
    json_object_put(shown);
    fake.hold_steps = false;
    fake_step(0);
    fake_run();
    teardown(d);
}

/* Its data half may be gone when a look would arrive there. */
static void
looks_at_a_closing_disk_are_answered(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disk_close(d, closed);
    shown = NULL;
    disk_show(d, show, NULL);
    disk_pause(d, stepped, NULL);
    CHECK(!shown); /* from the loop, not from inside */
    fake_run();
    REQUIRE(shown);
    CHECK(strstr(json_object_to_json_string(shown), "\"closing\""));
    json_object_put(shown);
    CHECK_STR(trail, "ocp!");
    CHECK_STR(sentence, "the disk is being closed");
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocp!x");
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

static void
command_out(void *ctx, int status, struct json_object *o)
{
    (void)ctx;
    tell('k', status, json_object_to_json_string(o));
    json_object_put(o);
}

static void
commands_reach_the_layer(void)
{
    static const char *const argv[] = { "hello" };
    struct disk *d;

    setup();
    d = open_disk();
    disk_command(d, "fake", 1, argv, command_out, NULL);
    disk_command(d, "none", 1, argv, command_out, NULL);
    fake_run();
    CHECK_STR(trail, "okk!");
    CHECK(strstr(sentence, "hello"));
    teardown(d);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(reload_touches_what_changed);
    TEST(reload_that_fails_keeps_the_old);
    TEST(shows_while_a_step_hangs);
    TEST(looks_at_a_closing_disk_are_answered);
    TEST(commands_reach_the_layer);
    return test_end();
}
