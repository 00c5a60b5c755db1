/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree: what is in it, who finds what, what differs, how it prints. */
#include "config_fake.h"

static struct conf *
load(const char *text)
{
    struct conf *conf = load_text(text);

    if (!conf)
        printf("%s", fake_errors);
    REQUIRE(conf);
    return conf;
}

static char *
print(const struct conf *conf)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    REQUIRE(f);
    conf_print(conf, f);
    fclose(f);
    return text;
}

static void
defaults(void)
{
    struct conf *conf = load(DISKS(DISK("a", "")));
    const struct conf_disk *d = &conf->disk[0];

    CHECK_STR(conf->control, "/run/blktapd/control");
    CHECK(!conf->user && !conf->scratch);
    CHECK_EQ(conf->loops, 1);
    CHECK_EQ(conf->workers, 0);
    CHECK(conf->sandbox);
    CHECK_EQ(conf->log_level, BLK_INFO);
    CHECK_EQ(conf->drain_ns, UINT64_C(30000000000));
    CHECK_STR(conf->kinds[0], "vbd");
    CHECK_STR(conf->kinds[1], "vbd3");
    CHECK(!conf->kinds[2]);
    CHECK_EQ(conf->disks, 1);
    CHECK_STR(d->name, "a");
    CHECK(!d->vm && !d->vdev);
    CHECK_EQ(d->mode, CONF_INTERCEPT);
    CHECK(!d->readonly && d->discard && !d->barrier);
    CHECK_EQ(d->queues, 4);
    CHECK_EQ(d->ring_order, 4);
    CHECK_EQ(d->indirect, 256);
    CHECK_EQ(d->buffers, 16 << 20);
    CHECK_EQ(d->chain.n, 1);
    CHECK_STR(d->chain.disk, "a");
    CHECK_STR(d->file, "T");
    CHECK_EQ(d->line, 1);
    conf_unref(conf);
}

static void
every_key(void)
{
    struct conf *conf = load(
        "daemon = { control = \"/x\"; user = \"u\"; loops = 2; "
        "scratch = \"/y\";\n"
        "workers = 3; log = \"warn\"; drain = \"2m\"; kinds = [ \"k\" ]; };\n"
        "disks = ( { name = \"d\"; vm = \"my vm\"; vdev = \"sdb1\";\n"
        "mode = \"intercept\"; readonly = true; discard = false;\n"
        "barrier = true; queues = 16; ring-order = 0; indirect = 12;\n"
        "buffers = 1048576;\n"
        "chain = ( { plugin = \"p\"; b = true; i = -5; f = 0.1;\n"
        "  big = 5000000000L; s = \"x\"; h = 0x10; e = \"\"; },\n"
        "  { plugin = \"tail\"; name = \"t\"; } ); } );");
    const struct conf_disk *d = &conf->disk[0];
    const struct blk_conf *l = d->chain.layer;
    static const char *const values[] = { "true", "-5", "0.1", "5000000000",
                                          "x",    "16", "" };
    unsigned i;

    CHECK_STR(conf->control, "/x");
    CHECK_STR(conf->user, "u");
    CHECK_STR(conf->scratch, "/y");
    CHECK_EQ(conf->loops, 2);
    CHECK_EQ(conf->workers, 3);
    CHECK_EQ(conf->log_level, BLK_WARN);
    CHECK_EQ(conf->drain_ns, UINT64_C(120000000000));
    CHECK_STR(conf->kinds[0], "k");
    CHECK(!conf->kinds[1]);
    CHECK_STR(d->vm, "my vm");
    CHECK_EQ(d->devid, 2065);
    CHECK(d->readonly && !d->discard && d->barrier && d->chain.readonly);
    CHECK_EQ(d->queues, 16);
    CHECK_EQ(d->ring_order, 0);
    CHECK_EQ(d->indirect, 12);
    CHECK_EQ(d->buffers, 1 << 20);
    CHECK_EQ(d->chain.n, 2);
    CHECK_STR(l[0].plugin, "p");
    CHECK_STR(l[0].name, "p");
    CHECK_STR(l[1].name, "t");
    CHECK_EQ(l[0].n, 7);
    for (i = 0; i < l[0].n; i++)
        CHECK_STR(l[0].kv[i].value, values[i]);
    CHECK_STR(l[0].kv[3].key, "big");
    CHECK_EQ(l[0].kv[3].line, 8);
    CHECK_EQ(l[1].line, 9);
    conf_unref(conf);
}

/* What is printed makes the same tree, and prints the same. */
static void
prints_itself(void)
{
    struct conf *a = load(
        "daemon = { log = \"debug\"; user = \"u\"; scratch = \"/y\"; };"
        "disks = ( { name = \"a\"; vm = \"v\\\"\\\\ü\"; vdev = \"xvda\"; "
        "chain = ( { plugin = \"p\"; s = \"1\\n2\\t\\x01\\\\q\"; i = 7; "
        "oct = \"007\"; big = 5000000000L; f = 1e-7; yes = true; }, "
        "{ plugin = \"tail\"; } ); }, " DISK("b", "readonly = true;") ");");
    char *first = print(a), *second;
    struct conf *b = load(first);
    const struct blk_kv *kv = a->disk[0].chain.layer[0].kv;

    second = print(b);
    CHECK_STR(first, second);
    CHECK_STR(kv[0].value, "1\n2\t\x01\\q");
    CHECK_STR(b->disk[0].chain.layer[0].kv[0].value, kv[0].value);
    CHECK(conf_disk_equal(&a->disk[0], &b->disk[0]));
    CHECK(conf_disk_equal(&a->disk[1], &b->disk[1]));
    CHECK(!conf_needs_restart(a, b));
    free(first);
    free(second);
    conf_unref(a);
    conf_unref(b);
}

static void
empty_is_a_tree(void)
{
    struct conf *conf = load("");

    CHECK_EQ(conf->disks, 0);
    CHECK(!conf_disk(conf, "a"));
    conf_unref(conf);
    conf = load("disks = ();");
    CHECK_EQ(conf->disks, 0);
    conf_unref(conf);
    conf_unref(NULL);
}

static void
references(void)
{
    struct conf *conf = load("");

    CHECK(conf_ref(conf) == conf);
    conf_unref(conf);
    CHECK_EQ(conf->refs, 1); /* the sanitizer watches that it lives */
    conf_unref(conf);
}

static const char *
match(const struct conf *conf, const char *params, const char *vm,
      uint32_t devid)
{
    const struct conf_disk *d = conf_match(conf, params, vm, devid);

    return d ? d->name : "";
}

static void
matches(void)
{
    struct conf *conf =
        load(DISKS(DISK("by-name", "") ","                          //
                   DISK("both", "vm = \"v\"; vdev = \"xvda\";") "," //
                   DISK("other", "vm = \"v\"; vdev = \"xvdb\";")));

    CHECK_STR(match(conf, "by-name", NULL, 0), "by-name");
    CHECK_STR(match(conf, "aio:by-name", "x", 1), "by-name");
    CHECK_STR(match(conf, "tap2:aio:by-name", NULL, 0), "by-name");
    CHECK_STR(match(conf, "vhd:both", "x", 1), "both");
    CHECK_STR(match(conf, "", "v", 51712), "both");
    CHECK_STR(match(conf, NULL, "v", 51728), "other");
    CHECK_STR(match(conf, "/dev/sda", "v", 51728), "other");
    CHECK_STR(match(conf, "other", "v", 51712), "other"); /* the name wins */
    CHECK_STR(match(conf, NULL, "v", 51744), "");
    CHECK_STR(match(conf, NULL, "w", 51712), "");
    CHECK_STR(match(conf, NULL, NULL, 51712), "");
    CHECK_STR(match(conf, "by-nam", NULL, 0), "");
    CHECK_STR(match(conf, "by-name ", NULL, 0), "");
    CHECK_STR(match(conf, ":by-name", NULL, 0), "");
    CHECK_STR(match(conf, "aio:", "w", 0), "");
    CHECK_STR(match(conf, "aio:aio:", NULL, 0), "");
    conf_unref(conf);
}

static char diff_text[512];

static void
diff_note(void *ctx, enum conf_change change, const struct conf_disk *old,
          const struct conf_disk *new_)
{
    static const char marks[] = "=+-~";
    size_t n = strlen(diff_text);

    CHECK(ctx == diff_text);
    CHECK_EQ(!old, change == CONF_ADDED);
    CHECK_EQ(!new_, change == CONF_REMOVED);
    snprintf(diff_text + n, sizeof(diff_text) - n, "%c%s ", marks[change],
             old ? old->name : new_->name);
}

static const char *
diff(const char *from, const char *to)
{
    struct conf *a = load(from), *b = load(to);

    diff_text[0] = '\0';
    conf_diff(a, b, diff_note, diff_text);
    conf_unref(a);
    conf_unref(b);
    return diff_text;
}

static void
differences(void)
{
    CHECK_STR(diff("", ""), "");
    CHECK_STR(diff("", DISKS(DISK("a", ""))), "+a ");
    CHECK_STR(diff(DISKS(DISK("a", "") "," DISK("b", "") "," DISK("c", "")),
                   DISKS(DISK("d", "") "," DISK("c", "queues = 1;") "," //
                         DISK("a", ""))),
              "-b +d ~c =a ");
    /* another line, another order of keys: the same disk */
    CHECK_STR(diff(DISKS("{ name = \"a\"; chain = ( { plugin = \"tail\"; "
                         "x = 1; y = 2; } ); }"),
                   DISKS("\n\n{ chain = ( { y = 2; x = 1; plugin = \"tail\"; "
                         "} ); name = \"a\"; }")),
              "=a ");
}

/* Every field counts: each text differs from the first in one. */
static void
every_field_counts(void)
{
    static const char *const other[] = {
        "vm = \"v\"; vdev = \"xvda\"; ",
        "readonly = true; ",
        "discard = false; ",
        "barrier = true; ",
        "queues = 3; ",
        "ring-order = 3; ",
        "indirect = 0; ",
        "buffers = \"2M\"; ",
    };
    static const char *const chains[] = {
        "{ plugin = \"tail2\"; }",
        "{ plugin = \"tail\"; name = \"other\"; }",
        "{ plugin = \"tail\"; x = 1; }",
        "{ plugin = \"tail\"; y = 0; }",
        "{ plugin = \"l\"; }, { plugin = \"tail\"; x = 0; }",
    };
    char text[512];
    size_t i;

    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        snprintf(text, sizeof(text),
                 "disks = ( { name = \"a\"; %s "
                 "chain = ( { plugin = \"tail\"; } ); } );",
                 other[i]);
        CHECK_STR(diff(DISKS(DISK("a", "")), text), "~a ");
    }
    for (i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        snprintf(text, sizeof(text),
                 "disks = ( { name = \"a\"; chain = ( %s ); } );", chains[i]);
        CHECK_STR(diff(DISKS("{ name = \"a\"; chain = ( { plugin = \"tail\"; "
                             "x = 0; } ); }"),
                       text),
                  "~a ");
    }
}

static void
restarts(void)
{
    static const struct {
        const char *daemon, *said;
    } cases[] = {
        { "log = \"debug\";", NULL },
        { "drain = 0;", NULL },
        { "control = \"/x\";", "daemon.control" },
        { "user = \"x\";", "daemon.user" },
        { "scratch = \"/x\";", "daemon.scratch" },
        { "loops = 2;", "daemon.loops" },
        { "workers = 2;", "daemon.workers" },
        { "sandbox = false;", "daemon.sandbox" },
        { "kinds = ( \"vbd\" );", "daemon.kinds" },
        { "kinds = ( \"vbd\", \"qdisk\" );", "daemon.kinds" },
        { "kinds = ( \"vbd\", \"vbd3\", \"x\" );", "daemon.kinds" },
    };
    struct conf *a = load(""), *b;
    const char *said;
    char text[128];
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "daemon = { %s };", cases[i].daemon);
        b = load(text);
        said = conf_needs_restart(a, b);
        CHECK_EQ(!said, !cases[i].said);
        if (said && cases[i].said)
            CHECK(!strncmp(said, cases[i].said, strlen(cases[i].said)));
        conf_unref(b);
    }
    conf_unref(a);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(defaults);
    TEST(every_key);
    TEST(prints_itself);
    TEST(empty_is_a_tree);
    TEST(references);
    TEST(matches);
    TEST(differences);
    TEST(every_field_counts);
    TEST(restarts);
    return test_end();
}
