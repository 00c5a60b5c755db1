/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers as people write them, options of every type, every message, and the
 * rules of a chain that can be told without opening anything.
 */
#include "tests/unit/chain_kit.h"

struct opt {
    char *text, *path;
    bool flag;
    uint64_t count, size, after, choice;
    double ratio;
};

static const char *const colours[] = { "red", "green", "blue", NULL };
static const struct blk_option opt_options[] = {
    { "text", BLK_STRING, offsetof(struct opt, text), "none", false, 0, 0, NULL,
      "a text" },
    { "path", BLK_PATH, offsetof(struct opt, path), NULL, true, 0, 0, NULL,
      "a path" },
    { "flag", BLK_BOOL, offsetof(struct opt, flag), "true", false, 0, 0, NULL,
      "a flag" },
    { "count", BLK_UINT, offsetof(struct opt, count), "3", false, 1, 10, NULL,
      "a number" },
    { "block-size", BLK_SIZE, offsetof(struct opt, size), "4k", false, 512, 0,
      NULL, "a size" },
    { "after", BLK_TIME, offsetof(struct opt, after), NULL, false, 0, 0, NULL,
      "a time" },
    { "ratio", BLK_RATIO, offsetof(struct opt, ratio), "0.5", false, 0, 0, NULL,
      "a ratio" },
    { "colour", BLK_CHOICE, offsetof(struct opt, choice), "green", false, 0, 0,
      colours, "a choice" },
    { .name = NULL },
};

static int
opt_check(const void *self, char *why, size_t n)
{
    const struct opt *o = self;

    if (!o->count || o->count != 7)
        return 0;
    snprintf(why, n, "expected any count but 7");
    return -EINVAL;
}

static int
opt_check_last(const void *self, char *why, size_t n)
{
    const struct opt *o = self;

    if (o->count != 8)
        return 0;
    snprintf(why, n, "expected any count but 8 in the last layer");
    return -EINVAL;
}

static void
opt_submit(struct blk_layer *l, struct blk_req *r)
{
    blk_down(l, r);
}

static const struct blk_plugin plugin_opt = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct opt),
    .ops = BLK_ALL_OPS,
    .name = "opt",
    .help = "options of every type",
    .options = opt_options,
    .check = opt_check,
    .submit = opt_submit,
};

/* One that may be last, but not always. */
static const struct blk_plugin plugin_either = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct opt),
    .ops = BLK_ALL_OPS,
    .tail = BLK_EITHER,
    .name = "either",
    .help = "options of every type",
    .options = opt_options,
    .check = opt_check,
    .check_last = opt_check_last,
    .submit = opt_submit,
};

static const struct blk_plugin plugin_none = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "none",
    .help = "no options",
};

const struct blk_plugin *const blk_plugins_static[] = { &plugin_opt,
                                                        &plugin_none, &kit_tail,
                                                        &plugin_either, NULL };

static void
numbers(void)
{
    static const struct {
        const char *text;
        uint64_t value;
    } sizes[] = {
        { "0", 0 },
        { "512", 512 },
        { "4k", 4096 },
        { "4K", 4096 },
        { "16M", 16u << 20 },
        { "10G", 10ull << 30 },
        { "2T", 2ull << 40 },
        { "18446744073709551615", UINT64_MAX },
        { "15P", 15ull << 50 },
    };
    static const char *const bad_sizes[] = {
        "",
        "k",
        "-1",
        " 1",
        "1 ",
        "1kk",
        "1kB",
        "0x10",
        "1.5G",
        "18446744073709551616",
        "18446744073709551615k",
        "16384P",
        NULL,
    };
    uint64_t value;

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CHECK_EQ(parse_size(sizes[i].text, &value), 0);
        CHECK_EQ(value, sizes[i].value);
    }
    for (unsigned i = 0; bad_sizes[i]; i++)
        CHECK_EQ(parse_size(bad_sizes[i], &value), -EINVAL);
    CHECK(!parse_time("5ms", &value) && value == 5000000);
    CHECK(!parse_time("2s", &value) && value == 2000000000);
    CHECK(!parse_time("7ns", &value) && value == 7);
    CHECK(!parse_time("3us", &value) && value == 3000);
    CHECK(!parse_time("1m", &value) && value == 60000000000);
    CHECK(!parse_time("1h", &value) && value == 3600000000000);
    CHECK(!parse_time("0", &value) && value == 0);
    CHECK_EQ(parse_time("5", &value), -EINVAL);
    CHECK_EQ(parse_time("5 s", &value), -EINVAL);
    CHECK_EQ(parse_time("9999999999999999999h", &value), -EINVAL);
    CHECK(!parse_uint("42", &value) && value == 42);
    CHECK_EQ(parse_uint("42k", &value), -EINVAL);
    CHECK_EQ(parse_uint(NULL, &value), -EINVAL);
}

static void
truths(void)
{
    bool b = false;

    CHECK(!parse_bool("true", &b) && b);
    CHECK(!parse_bool("no", &b) && !b);
    CHECK(!parse_bool("1", &b) && b);
    CHECK(!parse_bool("off", &b) && !b);
    CHECK_EQ(parse_bool("maybe", &b), -EINVAL);
    CHECK_EQ(parse_bool("", &b), -EINVAL);
    CHECK_EQ(parse_bool(NULL, &b), -EINVAL);
}

/* "key=value key=value ..." on lines 11, 12, ... */
static int
parse(struct opt *o, const char *text, char *why, size_t n)
{
    struct blk_kv kv[12];
    struct blk_conf conf = { "opt", "opt", "b.conf", 10, kv, 0 };
    char words[400], *save = NULL;

    memset(o, 0, sizeof(*o));
    snprintf(words, sizeof(words), "%s", text);
    for (char *w = strtok_r(words, " ", &save); w;
         w = strtok_r(NULL, " ", &save)) {
        char *value = strchr(w, '=');

        *value++ = '\0';
        kv[conf.n] = (struct blk_kv){ w, value, "b.conf", 11 + (int)conf.n };
        conf.n++;
    }
    why[0] = '\0';
    return options_parse(&plugin_opt, &conf, o, why, n);
}

static void
values(void)
{
    struct opt o;
    char why[200];

    REQUIRE(!parse(&o, "path=/a/b", why, sizeof(why)));
    CHECK_STR(o.text, "none");
    CHECK_STR(o.path, "/a/b");
    CHECK(o.flag);
    CHECK_EQ(o.count, 3);
    CHECK_EQ(o.size, 4096);
    CHECK_EQ(o.after, 0);
    CHECK(o.ratio > 0.49 && o.ratio < 0.51);
    CHECK_EQ(o.choice, 1);
    options_free(&plugin_opt, &o);
    CHECK(!o.text && !o.path);
    REQUIRE(!parse(&o,
                   "text=x path=/ flag=no count=10 block-size=1M after=2s "
                   "ratio=1 colour=blue name=me plugin=opt",
                   why, sizeof(why)));
    CHECK_STR(o.text, "x");
    CHECK(!o.flag);
    CHECK_EQ(o.count, 10);
    CHECK_EQ(o.size, 1 << 20);
    CHECK_EQ(o.after, 2000000000);
    CHECK(o.ratio > 0.99 && o.ratio <= 1);
    CHECK_EQ(o.choice, 2);
    options_free(&plugin_opt, &o);
}

static void
messages(void)
{
    static const char *const wrong[][2] = {
        { "text=x", "b.conf:10: path: expected a value for plugin opt, found "
                    "none" },
        { "path=a/b",
          "b.conf:11: path: expected an absolute path, found \"a/b\"" },
        { "path=/ flag=perhaps",
          "b.conf:12: flag: expected true or false, found \"perhaps\"" },
        { "path=/ count=x", "b.conf:12: count: expected a number, found "
                            "\"x\"" },
        { "path=/ count=11",
          "b.conf:12: count: expected 1 to 10, found \"11\"" },
        { "path=/ count=0", "b.conf:12: count: expected 1 to 10, found \"0\"" },
        { "path=/ block-size=4Q", "b.conf:12: block-size: expected a size such "
                                  "as 4k or 10G, found \"4Q\"" },
        { "path=/ block-size=511",
          "b.conf:12: block-size: expected at least 512, found \"511\"" },
        { "path=/ after=5",
          "b.conf:12: after: expected a time such as 5ms or 2s, found \"5\"" },
        { "path=/ ratio=1.1",
          "b.conf:12: ratio: expected a ratio from 0 to 1, found \"1.1\"" },
        { "path=/ ratio=nan",
          "b.conf:12: ratio: expected a ratio from 0 to 1, found \"nan\"" },
        { "path=/ ratio=.",
          "b.conf:12: ratio: expected a ratio from 0 to 1, found \".\"" },
        { "path=/ colour=pink",
          "b.conf:12: colour: expected one of red, green, blue, found "
          "\"pink\"" },
        { "path=/ blocksize=4k",
          "b.conf:12: blocksize: expected an option of opt, found "
          "\"blocksize\"; did you mean \"block-size\"?" },
        { "path=/ cuont=4",
          "b.conf:12: cuont: expected an option of opt, found "
          "\"cuont\"; did you mean \"count\"?" },
        { "path=/ zebra=4",
          "b.conf:12: zebra: expected an option of opt (text, path, flag, "
          "count, block-size, after, ratio, colour), found \"zebra\"" },
        { "path=/ count=4 count=5",
          "b.conf:13: count: expected once, found twice" },
    };
    struct opt o;
    char why[300];

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(parse(&o, wrong[i][0], why, sizeof(why)) < 0);
        CHECK_STR(why, wrong[i][1]);
        CHECK(!o.text && !o.path);
    }
    /* A small buffer is filled, and no more. */
    CHECK(parse(&o, "path=a/b", why, 12) < 0);
    CHECK_STR(why, "b.conf:11: ");
}

static int
check(const char *layers)
{
    struct kit_spec k;

    kit_why[0] = '\0';
    return chain_check(kit_spec(&k, layers), kit_why, sizeof(kit_why));
}

static void
chains(void)
{
    CHECK_EQ(check("opt:opt:path=/ none tail"), 0);
    CHECK_EQ(check("tail"), 0);
    CHECK(check("") < 0);
    CHECK_STR(kit_why,
              "disk disk: chain: expected at least one layer, found none");
    CHECK(check("none") < 0);
    CHECK_STR(kit_why, "t.conf:1: plugin: expected a tail as the last layer, "
                       "found \"none\", which needs one below it");
    CHECK(check("tail:a tail:b") < 0);
    CHECK_STR(kit_why,
              "t.conf:1: plugin: expected a layer that passes requests on, "
              "found \"tail\", which must be the last");
    CHECK(check("none none tail") < 0);
    CHECK_STR(kit_why, "t.conf:2: name: expected a name that no other layer of "
                       "the disk has, found \"none\" again");
    CHECK_EQ(check("none none:second tail"), 0);
    CHECK(check("none:none:key=1 tail") < 0);
    CHECK_STR(kit_why, "t.conf:1: key: expected an option of none (there is "
                       "none), found \"key\"");
    CHECK(check("opt tail") < 0);
    CHECK_STR(kit_why, "t.conf:1: path: expected a value for plugin opt, found "
                       "none");
    CHECK(check("gone tail") < 0);
    CHECK(strstr(kit_why, "t.conf:1: plugin: expected the name of a plugin, "
                          "found \"gone\": there is no gone.so in ") != NULL);
    CHECK(check("../../etc/x tail") < 0);
    CHECK_STR(kit_why, "t.conf:1: plugin: expected the name of a plugin, found "
                       "\"../../etc/x\"");
}

/* What check() of a plugin says has a place, too. */
static void
plugin_says_no(void)
{
    struct blk_kv kv[] = { { "path", "/", "t.conf", 5 },
                           { "count", "7", "t.conf", 6 } };
    struct blk_conf layer[] = { { "opt", "opt", "t.conf", 4, kv, 2 },
                                { "tail", "tail", "t.conf", 9, NULL, 0 } };
    struct chain_spec spec = { .disk = "disk", .layer = layer, .n = 2 };
    char why[200];

    CHECK_EQ(chain_check(&spec, why, sizeof(why)), -EINVAL);
    CHECK_STR(why, "t.conf:4: opt: expected any count but 7");
    kv[1].value = "8";
    CHECK_EQ(chain_check(&spec, why, sizeof(why)), 0);
    layer[0].plugin = "either";
    CHECK_EQ(chain_check(&spec, why, sizeof(why)), 0);
    spec.n = 1;
    CHECK_EQ(chain_check(&spec, why, sizeof(why)), -EINVAL);
    CHECK_STR(why,
              "t.conf:4: either: expected any count but 8 in the last layer");
    kv[1].value = "7";
    CHECK_EQ(chain_check(&spec, why, sizeof(why)), -EINVAL);
    CHECK_STR(why, "t.conf:4: either: expected any count but 7");
    kv[1].value = "9";
    CHECK_EQ(chain_check(&spec, why, sizeof(why)), 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(numbers);
    TEST(truths);
    TEST(values);
    TEST(messages);
    TEST(chains);
    TEST(plugin_says_no);
    return test_end();
}
