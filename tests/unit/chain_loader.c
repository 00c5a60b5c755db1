/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding plugins: in the program, in folders; those that must be refused; and
 * that a module finds in the program whatever plugin.h promises.
 */
#include "tests/unit/chain_kit.h"

static const struct blk_plugin plugin_here = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "here",
    .help = "linked in",
};
static const struct blk_plugin plugin_ancient = {
    .abi = BLK_ABI + 1,
    .ops = BLK_ALL_OPS,
    .name = "ancient",
    .help = "old",
};
static const struct blk_plugin plugin_maker = {
    .abi = BLK_ABI,
    .own = 1,
    .ops = BLK_ALL_OPS,
    .name = "maker",
    .help = "makes requests and forgets them",
};
static void
tell(struct blk_layer *l, struct blk_req *r)
{
    blk_end(l, r, 0);
}

static const struct blk_plugin plugin_idle = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "idle",
    .help = "tells where data are, and looks at no request",
    .map = tell,
};
static const struct blk_plugin plugin_mute = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "mute",
    .help = "would be resized, but can't be asked",
    .can = BLK_CAN_RESIZE,
};
static const struct blk_option image_options[] = {
    { .name = "where", .type = BLK_PATH, .help = "a file" },
    { 0 },
};
static const struct blk_image image_wrong = { .format = "x", .path = "here" },
                              image_right = { .format = "x", .path = "where" };
static const struct blk_plugin plugin_lost = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "lost",
    .help = "has a file by an option that there is not",
    .options = image_options,
    .image = &image_wrong,
};
static const struct blk_plugin plugin_found = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "found",
    .help = "has a file",
    .options = image_options,
    .image = &image_right,
};
const struct blk_plugin *const blk_plugins_static[] = {
    &plugin_here, &plugin_ancient, &plugin_maker, &plugin_idle, &plugin_mute,
    &plugin_lost, &plugin_found,   &kit_tail,     NULL,
};

static char why[400];

static const struct blk_plugin *
find(const char *name)
{
    why[0] = '\0';
    return plugin_find(name, why, sizeof(why));
}

static void
in_the_program(void)
{
    CHECK(find("here") == &plugin_here);
    CHECK(!find("ancient"));
    CHECK_STR(why, "plugin ancient: expected interface version 5, found 6: it "
                   "was built for another blktapd");
    CHECK(!find("maker"));
    CHECK_STR(why, "plugin maker can't be used: it makes requests, but has no "
                   "done()");
    CHECK(!find("idle"));
    CHECK_STR(why, "plugin idle can't be used: it tells where data are, but "
                   "has no submit()");
    CHECK(!find("mute"));
    CHECK_STR(why, "plugin mute can't be used: it can be told something, but "
                   "has no command() or no stats()");
    CHECK(!find("lost"));
    CHECK_STR(why, "plugin lost can't be used: its files have no format, or an "
                   "option that there is not");
    CHECK(find("found") == &plugin_found);
}

static void
in_a_folder(void)
{
    const struct blk_plugin *p;

    setenv("BLKTAPD_PLUGINDIR", "/nonexistent:" MODULES, 1);
    p = find("good");
    if (!p)
        printf("%s\n", why);
    REQUIRE(p);
    CHECK_STR(p->name, "good");
    CHECK(find("good") == p);
    CHECK_EQ(p->check(NULL, NULL, 0), 0);
}

static void
refused(void)
{
    setenv("BLKTAPD_PLUGINDIR", MODULES, 1);
    CHECK(!find("old"));
    CHECK_STR(why, "plugin old: expected interface version 5, found 77: it was "
                   "built for another blktapd");
    CHECK(!find("renamed"));
    CHECK_STR(why,
              "plugin renamed can't be used: it calls itself by another name");
    CHECK(!find("hollow"));
    CHECK_STR(why,
              "plugin hollow can't be used: it is a tail, but has no submit()");
    CHECK(!find("strange"));
    CHECK_STR(why, "plugin strange can't be used: its operations are not among "
                   "those that there are");
    CHECK(!find("nothing"));
    CHECK(strstr(why, "nothing.so is no plugin: it has no symbol blk_plugin"));
    CHECK(!find("absent"));
    CHECK(strstr(why, "found \"absent\": there is no absent.so in "));
    CHECK(!find(""));
    CHECK(!find("a/b"));
    CHECK(!find("../good"));
    CHECK_STR(why, "expected the name of a plugin, found \"../good\"");
}

static void
count(void *ctx, const struct blk_plugin *p)
{
    (void)p;
    ++*(int *)ctx;
}

static void
ignore(void *ctx, enum blk_level level, const char *line)
{
    CHECK_EQ(level, BLK_WARN);
    CHECK(line[0] != '\0');
    ++*(int *)ctx;
}

/* All that can be used, and a line for each that can't. */
static void
each(void)
{
    int n = 0, lines = 0;

    setenv("BLKTAPD_PLUGINDIR", MODULES, 1);
    log_tap(ignore, &lines);
    CHECK_EQ(plugin_each(count, &n), n);
    log_tap(NULL, NULL);
    CHECK_EQ(n, 9); /* eight in the program, one module */
    CHECK_EQ(lines, 5);
}

/* The example of blktap-plugin(3), which the test of that page compiled. */
static void
quota(void)
{
    char data[4096];
    struct kit_req k[3];
    struct kit_op *op;
    struct chain *c;
    uint64_t began;

    kit_disk_reset();
    kit_disk.quiet = true;
    c = kit_start("quota:q:rate=4k tail");
    CHECK_EQ(chain_transparent(c), true);
    began = kit_loop.now;
    for (unsigned i = 0; i < 3; i++)
        kit_submit_req(c, &k[i], BLK_READ, 0, 0, 4096, data, 4096);
    kit_run();
    CHECK_EQ(kit_loop.now - began, 2000000000);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(k[i].error, 0);
    /* What is held goes when the disk is paused. */
    for (unsigned i = 0; i < 3; i++)
        kit_submit_req(c, &k[i], BLK_READ, 0, 0, 4096, data, 4096);
    chain_loop_step(&kit_loop);
    CHECK_EQ(k[2].error, 1);
    op = kit_begin(c, chain_pause);
    chain_loop_step(&kit_loop);
    CHECK_EQ(op->error, 0);
    kit_end(op);
    CHECK_EQ(k[2].error, 0);
    CHECK_EQ(kit_replace(c, "quota:q:rate=8k tail"), 0);
    kit_stop(c);
}

int
main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--quota")) {
        TEST(quota);
        return test_end();
    }
    test_args(argc, argv);
    TEST(in_the_program);
    TEST(in_a_folder);
    TEST(refused);
    TEST(each);
    return test_end();
}
