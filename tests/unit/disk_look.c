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

/* ---- where data are ------------------------------------------------------ */

static void
mapped(void *ctx, int status, const char *why, struct json_object *o)
{
    (void)ctx;
    tell('m', status, why ? why : json_object_to_json_string(o));
    json_object_put(o);
}

static void
ask(struct disk *d, uint64_t off, uint64_t len, unsigned extents)
{
    const struct disk_range range = { off, len, extents };

    sentence[0] = '\0';
    disk_map(d, &range, mapped, NULL);
    fake_run();
}

static void
a_map_is_asked_for_until_it_is_whole(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    ask(d, 512, UINT64_MAX, 10);
    REQUIRE(fake.map);
    CHECK_EQ(fake.map->off, 512);
    CHECK_EQ(fake.map->len, (1 << 20) - 512);
    fake_map(512, BLK_DATA);
    fake_map(512, BLK_DATA);
    fake_map(1024, BLK_ZEROES);
    fake_map_end(0);
    CHECK_STR(trail, "o");
    REQUIRE(fake.map);
    CHECK_EQ(fake.map->off, 2560);
    fake_map((1 << 20) - 2560, BLK_ZEROES);
    fake.map->known = false; /* as of a layer that can't tell */
    fake_map_end(0);
    fake_run();
    CHECK(!fake.map);
    CHECK_STR(trail, "om");
    CHECK_STR(sentence,
              "{ \"size\": 1048576, \"next\": 1048576, \"unknown\": 1046016, "
              "\"extents\": [ { \"offset\": 512, \"length\": 1024, \"zero\": "
              "false }, { \"offset\": 1536, \"length\": 1047040, \"zero\": "
              "true } ] }");
    teardown(d);
}

static void
a_map_ends_with_the_extents_that_were_wanted(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    ask(d, 0, 8192, 2);
    REQUIRE(fake.map);
    CHECK_EQ(fake.map->len, 8192);
    fake_map(512, BLK_DATA);
    fake_map(512, BLK_ZEROES);
    fake_map(512, BLK_DATA);
    fake_map_end(0);
    fake_run();
    CHECK_STR(trail, "om");
    CHECK(strstr(sentence, "\"next\": 1024,"));
    teardown(d);
}

static void
maps_come_one_after_the_other(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    ask(d, 0, 512, 1);
    ask(d, 512, 512, 1);
    CHECK_EQ(fake.map->off, 0);
    fake_map_end(-EIO);
    fake_run();
    CHECK_STR(trail, "om!");
    CHECK_STR(sentence, strerror(EIO));
    REQUIRE(fake.map);
    CHECK_EQ(fake.map->off, 512);
    fake_map(512, BLK_DATA);
    fake_map_end(0);
    fake_run();
    CHECK_STR(trail, "om!m");
    teardown(d);
}

static void
a_map_waits_for_a_step_and_gives_way_to_one(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    fake.hold_steps = true;
    disk_pause(d, stepped, NULL);
    ask(d, 0, 1024, 10);
    CHECK(!fake.map);
    fake_step(0);
    fake_run();
    CHECK_STR(sentence, "the disk is paused: resume it first");
    fake.hold_steps = false;
    disk_resume(d, stepped, NULL);
    ask(d, 0, 1024, 10);
    REQUIRE(fake.map);
    fake_map(512, BLK_ZEROES);
    fake.hold_steps = true;
    disk_pause(d, stepped, NULL);
    fake_run();
    sentence[0] = '\0';
    fake_map_end(0); /* the pause waits for it */
    fake_run();
    CHECK(strstr(sentence, "\"next\": 512,"));
    CHECK(!fake.map);
    fake.hold_steps = false;
    fake_step(0);
    fake_run();
    disk_resume(d, stepped, NULL);
    fake_run();
    teardown(d);
}

static void
a_disk_that_closes_waits_for_its_map(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    ask(d, 0, 1024, 10);
    ask(d, 0, 1024, 10); /* waits, and is answered all the same */
    disk_close(d, closed);
    disk_map(d, &(struct disk_range){ 0, 512, 1 }, mapped, NULL);
    fake_run();
    CHECK_STR(trail, "om!");
    CHECK_STR(sentence, "the disk is being closed");
    CHECK_EQ(fake.chain_stops, 0);
    fake_map_end(0);
    fake_run();
    CHECK_STR(trail, "om!mm!x");
    CHECK_EQ(fake.chain_stops, 1);
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

static void
a_map_that_can_not_be_is_refused(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    ask(d, 1 << 20, 512, 1);
    CHECK_STR(sentence, "expected an offset below its 1048576 bytes, found "
                        "1048576");
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "it is gone");
    fake_run();
    ask(d, 0, 512, 1);
    CHECK_STR(sentence, "the disk failed: it is gone");
    CHECK(!fake.map);
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
    TEST(a_map_is_asked_for_until_it_is_whole);
    TEST(a_map_ends_with_the_extents_that_were_wanted);
    TEST(maps_come_one_after_the_other);
    TEST(a_map_waits_for_a_step_and_gives_way_to_one);
    TEST(a_disk_that_closes_waits_for_its_map);
    TEST(a_map_that_can_not_be_is_refused);
    return test_end();
}
