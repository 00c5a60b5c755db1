/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chains that a command changed: edits and what is wrong with them, what
 * becomes of them when the files are read again, and as text.  Memory that
 * ends at each allocation is here, too.
 */
#include <stdlib.h>
#include <unistd.h>

static void *short_calloc(size_t, size_t);

#define calloc short_calloc
#include "config/tree.c"
#undef calloc

#include "config_fake.h"

static unsigned left = UINT32_MAX; /* allocations that still succeed */

static void *
short_calloc(size_t n, size_t size)
{
    return left && left-- ? calloc(n, size) : NULL;
}

static const char one[] =
    "daemon = { control = \"/x\"; user = \"u\"; };"
    "disks = ( { name = \"a\"; readonly = true; vm = \"v\"; vdev = \"xvda\"; "
    "  chain = ( { plugin = \"p\"; s = \"x\"; i = 1; b = true; },"
    "  { plugin = \"tail\"; } ); }, " DISK("b", "") ");";

/* ---- the chain as words -------------------------------------------------- */

static const char *
words(const struct chain_spec *chain)
{
    static char text[256];
    size_t n = 0;
    unsigned i, k;

    text[0] = '\0';
    for (i = 0; i < chain->n; i++) {
        const struct blk_conf *l = &chain->layer[i];

        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "",
                              l->plugin);
        if (strcmp(l->name, l->plugin))
            n += (size_t)snprintf(text + n, sizeof text - n, ":%s", l->name);
        for (k = 0; k < l->n; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, ",%s=%s",
                                  l->kv[k].key, l->kv[k].value);
    }
    return text;
}

/* The disk, which must be there. */
static const struct conf_disk *
disk_of(const struct conf *c, const char *name)
{
    const struct conf_disk *d = conf_disk(c, name);

    REQUIRE(d);
    return d;
}

static struct conf *
edit(const struct conf *from, enum conf_edit_kind kind, const char *at,
     const char *layer)
{
    const struct conf_edit e = { .kind = kind, .at = at, .layer = layer };

    return conf_edit(from, "a", disk_of(from, "a"), &e, fake_errors,
                     sizeof(fake_errors));
}

/* The edit, in the place of the tree. */
static void
becomes(struct conf **conf, enum conf_edit_kind kind, const char *at,
        const char *layer, const char *chain, const char *filed)
{
    struct conf *to = edit(*conf, kind, at, layer);
    const struct conf_disk *d;

    if (!to)
        printf("%s", fake_errors);
    REQUIRE(to);
    conf_unref(*conf);
    *conf = to;
    d = disk_of(to, "a");
    CHECK_STR(words(&d->chain), chain);
    CHECK_EQ(d->filed != NULL, filed != NULL);
    if (d->filed)
        CHECK_STR(words(d->filed), filed);
    CHECK(d->chain.readonly);
    CHECK_STR(d->chain.disk, "a");
    CHECK_EQ(conf_live_count(to), filed != NULL);
}

/* ---- edits --------------------------------------------------------------- */

#define FILED "p,s=x,i=1,b=true tail"

static void
edits(void)
{
    struct conf *c = load_text(one);

    REQUIRE(c);
    becomes(&c, CONF_INSERT, "0", "plugin = \"q\"; k = 3;", "q,k=3 " FILED,
            FILED);
    becomes(&c, CONF_INSERT, "tail", "plugin = \"q\"; name = \"r\"",
            "q,k=3 p,s=x,i=1,b=true q:r tail", FILED);
    becomes(&c, CONF_REPLACE, "p", "plugin = \"p\"", "q,k=3 p q:r tail", FILED);
    becomes(&c, CONF_REMOVE, "0", NULL, "p q:r tail", FILED);
    becomes(&c, CONF_REPLACE, "2", "plugin = \"tail2\"", "p q:r tail2", FILED);
    becomes(&c, CONF_RESET, NULL, NULL, FILED, NULL);
    becomes(&c, CONF_RESET, NULL, NULL, FILED, NULL);
    /* What is as in the files again is not kept as a change. */
    becomes(&c, CONF_REMOVE, "p", NULL, "tail", FILED);
    becomes(&c, CONF_INSERT, "tail",
            "plugin = \"p\"; b = true; s = \"x\"; i = 1",
            "p,b=true,s=x,i=1 tail", NULL);
    /* The rest of the tree is as it was. */
    CHECK_STR(c->control, "/x");
    CHECK_STR(c->user, "u");
    CHECK_STR(c->kinds[1], "vbd3");
    CHECK(!c->kinds[2]);
    CHECK_EQ(c->disks, 2);
    CHECK_STR(disk_of(c, "a")->vdev, "xvda");
    CHECK_STR(words(&disk_of(c, "b")->chain), "tail");
    conf_unref(c);
}

/* A layer with a number for its name is found by that. */
static void
names_before_numbers(void)
{
    struct conf *c = load_text(one);

    REQUIRE(c);
    becomes(&c, CONF_REPLACE, "0", "plugin = \"p\"; name = \"1\"", "p:1 tail",
            FILED);
    becomes(&c, CONF_REMOVE, "1", NULL, "tail", FILED);
    conf_unref(c);
}

static void
bad(const struct conf *c, enum conf_edit_kind kind, const char *at,
    const char *layer, const char *why)
{
    CHECK(!edit(c, kind, at, layer));
    CHECK_STR(fake_errors, why);
}

static void
bad_edits(void)
{
    struct conf *c = load_text(one);
    const struct conf_edit e = { .kind = CONF_RESET };

    REQUIRE(c);
    bad(c, CONF_INSERT, "3", "plugin = \"q\"",
        "expected the name of a layer or its number, 0 to 2, found \"3\"\n");
    bad(c, CONF_REMOVE, "2", NULL,
        "expected the name of a layer or its number, 0 to 1, found \"2\"\n");
    bad(c, CONF_REPLACE, "pp", "plugin = \"q\"",
        "expected the name of a layer or its number, 0 to 1, found \"pp\"\n");
    bad(c, CONF_REMOVE, "1x", NULL,
        "expected the name of a layer or its number, 0 to 1, found \"1x\"\n");
    bad(c, CONF_REMOVE, "000000", NULL,
        "expected the name of a layer or its number, 0 to 1, found "
        "\"000000\"\n");
    bad(c, CONF_INSERT, "0", "plugin = \"p\"",
        "layer:1: name: expected another name for this layer, found \"p\" as "
        "at line 1\n");
    bad(c, CONF_INSERT, "0", "name = \"p\"",
        "layer: plugin: expected the name of a plugin, found a layer without "
        "one\n");
    bad(c, CONF_INSERT, "0", "plugin = \"nosuch\"",
        "layer:1: plugin: refused\n");
    bad(c, CONF_REMOVE, "tail", NULL, "T:1: plugin: refused\n");
    bad(c, CONF_INSERT, "0", "plugin = \"q",
        "layer:1: expected a '\"' at the end of the string that begins here, "
        "found the end of the file\n");
    bad(c, CONF_INSERT, "0", "plugin = ;",
        "layer:1: expected key = value, found, here or just before: plugin = ; "
        "(syntax error)\n");
    CHECK(
        !conf_edit(c, "z", &c->disk[0], &e, fake_errors, sizeof(fake_errors)));
    CHECK_STR(fake_errors, "expected a disk of the configuration, found \"z\" "
                           "that is no longer in it\n");
    conf_unref(c);
}

static void
too_many(void)
{
    struct conf *c = load_text(one), *next;
    char layer[64];
    unsigned i;

    REQUIRE(c);
    for (i = 2; i < CONF_LAYERS; i++) {
        snprintf(layer, sizeof layer, "plugin = \"q\"; name = \"q%u\"", i);
        next = edit(c, CONF_INSERT, "0", layer);
        REQUIRE(next);
        conf_unref(c);
        c = next;
    }
    bad(c, CONF_INSERT, "0", "plugin = \"q\"", "expected at most 32 layers\n");
    conf_unref(c);
}

/* The disk runs with another chain than the tree has: it could not follow a
 * reload.  The edit is one of what it has. */
static void
of_what_runs(void)
{
    struct conf *c = load_text(one), *to;
    const struct conf_edit e = { .kind = CONF_REMOVE, .at = "x" };
    struct blk_conf layer[2] = {
        { .plugin = "p", .name = "x", .file = "f" },
        { .plugin = "tail", .name = "tail", .file = "f" }
    };
    const struct conf_disk now = { .chain = {
                                       .disk = "a", .layer = layer, .n = 2 } };

    REQUIRE(c);
    to = conf_edit(c, "a", &now, &e, fake_errors, sizeof(fake_errors));
    REQUIRE(to);
    CHECK_STR(words(&disk_of(to, "a")->chain), "tail");
    REQUIRE(disk_of(to, "a")->filed);
    CHECK_STR(words(disk_of(to, "a")->filed), FILED);
    conf_unref(to);
    conf_unref(c);
}

/* ---- modes --------------------------------------------------------------- */

static const char relay[] =
    "disks = ( { name = \"a\"; chain = ( { plugin = \"p\"; },"
    "  { plugin = \"tail-back\"; } ); } );";

static struct conf *
mode_edit(const struct conf *from, enum conf_mode mode)
{
    const struct conf_edit e = { .kind = CONF_MODE, .mode = mode };

    return conf_edit(from, "a", disk_of(from, "a"), &e, fake_errors,
                     sizeof(fake_errors));
}

/* The mode, and what the files say, if that is not the same. */
static void
mode_becomes(struct conf **conf, struct conf *to, enum conf_mode mode,
             int filed)
{
    const struct conf_disk *d;

    if (!to)
        printf("%s", fake_errors);
    REQUIRE(to);
    conf_unref(*conf);
    *conf = to;
    d = disk_of(to, "a");
    CHECK_EQ(d->mode, mode);
    CHECK_EQ(d->filed ? (int)d->filed_mode : -1, filed);
}

static void
modes(void)
{
    struct conf *c = load_text(relay);

    REQUIRE(c);
    CHECK_EQ(disk_of(c, "a")->mode, CONF_INTERPOSE);
    mode_becomes(&c, mode_edit(c, CONF_INTERPOSE), CONF_INTERPOSE, -1);
    mode_becomes(&c, mode_edit(c, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    CHECK_STR(words(&disk_of(c, "a")->chain), "p tail-back");
    /* Layers that do not run are edited, too, and the mode stays. */
    mode_becomes(&c, edit(c, CONF_INSERT, "0", "plugin = \"q\""),
                 CONF_PASSTHROUGH, CONF_INTERPOSE);
    mode_becomes(&c, mode_edit(c, CONF_INTERPOSE), CONF_INTERPOSE,
                 CONF_INTERPOSE); /* the chain is still another one */
    mode_becomes(&c, mode_edit(c, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    mode_becomes(&c, edit(c, CONF_REMOVE, "q", NULL), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    mode_becomes(&c, edit(c, CONF_RESET, NULL, NULL), CONF_INTERPOSE, -1);
    conf_unref(c);
}

/* Another sort of tail wants another mode. */
static void
mode_follows(void)
{
    struct conf *c = load_text(relay);

    REQUIRE(c);
    mode_becomes(&c, mode_edit(c, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    mode_becomes(&c, edit(c, CONF_REPLACE, "tail-back", "plugin = \"tail\""),
                 CONF_INTERCEPT, CONF_INTERPOSE);
    mode_becomes(&c, edit(c, CONF_REPLACE, "tail", "plugin = \"tail-back\""),
                 CONF_INTERPOSE, -1);
    conf_unref(c);
}

static void
mode_refused(const struct conf *c, enum conf_mode mode, const char *why)
{
    CHECK(!mode_edit(c, mode));
    CHECK_STR(fake_errors, why);
}

static void
bad_modes(void)
{
    struct conf *c = load_text(one);

    REQUIRE(c);
    CHECK_EQ(disk_of(c, "a")->mode, CONF_INTERCEPT);
    mode_refused(c, CONF_PASSTHROUGH,
                 "expected \"intercept\", as the last layer, \"tail\" (plugin "
                 "tail), has data of its own, found \"passthrough\"\n");
    conf_unref(c);
    c = load_text(relay);
    REQUIRE(c);
    mode_refused(c, CONF_INTERCEPT,
                 "expected \"interpose\" or \"passthrough\", as the last "
                 "layer, \"tail-back\" (plugin tail-back), has the data of "
                 "another back-end, found \"intercept\"\n");
    mode_becomes(&c, edit(c, CONF_INSERT, "p", "plugin = \"opaque\""),
                 CONF_INTERPOSE, CONF_INTERPOSE);
    mode_refused(c, CONF_PASSTHROUGH,
                 "expected another mode than \"passthrough\", or no layer "
                 "\"opaque\": without it (plugin opaque) the guest reads other "
                 "data\n");
    mode_becomes(&c, edit(c, CONF_REMOVE, "opaque", NULL), CONF_INTERPOSE, -1);
    mode_becomes(&c, mode_edit(c, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    bad(c, CONF_INSERT, "p", "plugin = \"opaque\"",
        "expected another mode than \"passthrough\", or no layer \"opaque\": "
        "without it (plugin opaque) the guest reads other data\n");
    conf_unref(c);
}

/* The layers that run. */
static void
runs(void)
{
    struct conf *c = load_text(relay);
    struct chain_spec spec;

    REQUIRE(c);
    spec = conf_running(disk_of(c, "a"));
    CHECK_STR(words(&spec), "p tail-back");
    mode_becomes(&c, mode_edit(c, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    spec = conf_running(disk_of(c, "a"));
    CHECK_STR(words(&spec), "tail-back");
    CHECK_STR(spec.disk, "a");
    conf_unref(c);
}

/* ---- the files again ----------------------------------------------------- */

static unsigned drops;

static void
dropped(void *ctx, const struct conf_disk *d)
{
    CHECK(ctx == &drops);
    CHECK_STR(d->name, "a");
    drops++;
}

static const char caught_up[] =
    "disks = ( { name = \"a\"; chain = ( { plugin = \"tail\"; } ); } );";
static const char other[] =
    "disks = ( { name = \"a\"; chain = ( { plugin = \"tail3\"; } ); } );";
static const char without[] = "disks = ( " DISK("b", "") ");";

/* A change of `one' over what the files say now: the chain, and whether that
 * is still a change. */
static void
again(const char *files, enum conf_origin origin, const char *chain, bool live,
      unsigned told)
{
    struct conf *was = load_text(one), *c = load_text(files);
    const struct conf_disk *d;

    REQUIRE(was && c);
    becomes(&was, CONF_REMOVE, "p", NULL, "tail", FILED);
    drops = 0;
    CHECK_EQ(conf_keep_live(c, was, origin, dropped, &drops), 0);
    conf_unref(was); /* nothing of it is in the other */
    CHECK_EQ(drops, told);
    CHECK_EQ(conf_live_count(c), live);
    d = conf_disk(c, "a");
    if (d)
        CHECK_STR(words(&d->chain), chain);
    if (d && live)
        CHECK_STR(words(d->filed), FILED);
    conf_unref(c);
}

static void
files_again(void)
{
    again(one, CONF_FILES, "tail", true, 0);
    again(caught_up, CONF_FILES, "tail", false, 0);
    again(other, CONF_FILES, "tail3", false, 1);
    again(without, CONF_FILES, NULL, false, 1);
    /* What was in force has the chain already; the files come back some day. */
    again(caught_up, CONF_LAST, "tail", true, 0);
    again(other, CONF_LAST, "tail3", false, 1);
}

static void
nobody_is_told(void)
{
    struct conf *was = load_text(one), *c = load_text(other);

    REQUIRE(was && c);
    becomes(&was, CONF_REMOVE, "p", NULL, "tail", FILED);
    CHECK_EQ(conf_keep_live(c, was, CONF_FILES, NULL, NULL), 0);
    conf_unref(was);
    conf_unref(c);
}

/* A mode is kept as a chain is: until the files say something else of either.
 */
static void
mode_again(const char *files, enum conf_origin origin, enum conf_mode mode,
           bool live)
{
    struct conf *was = load_text(relay), *c = load_text(files);

    REQUIRE(was && c);
    mode_becomes(&was, mode_edit(was, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    CHECK_EQ(conf_keep_live(c, was, origin, NULL, NULL), 0);
    conf_unref(was);
    CHECK_EQ(disk_of(c, "a")->mode, mode);
    CHECK_EQ(conf_live_count(c), live);
    conf_unref(c);
}

static void
modes_again(void)
{
    static const char followed[] =
        "disks = ( { name = \"a\"; mode = \"passthrough\"; chain = ("
        "{ plugin = \"p\"; }, { plugin = \"tail-back\"; } ); } );";

    mode_again(relay, CONF_FILES, CONF_PASSTHROUGH, true);
    mode_again(followed, CONF_FILES, CONF_PASSTHROUGH, false);
    mode_again(followed, CONF_LAST, CONF_PASSTHROUGH, true);
    mode_again(caught_up, CONF_FILES, CONF_INTERCEPT, false);
}

/* ---- as text ------------------------------------------------------------- */

static char path[] = "/tmp/config_live.XXXXXX";

static void
put(const char *text)
{
    FILE *f = fopen(path, "w");

    REQUIRE(f);
    fputs(text, f);
    fclose(f);
}

static void
there_and_back(void)
{
    struct conf *c = load_text(one), *live, *files = load_text(one);
    FILE *f;

    REQUIRE(c && files);
    becomes(&c, CONF_INSERT, "0",
            "plugin = \"q\"; s = \"a \\\"b\\\" \\\\ \\x01\"; n = 0.5; t = "
            "\"07\"",
            "q,s=a \"b\" \\ \x01,n=0.5,t=07 " FILED, FILED);
    f = fopen(path, "w");
    REQUIRE(f);
    fputs("# made by a test\n", f);
    conf_print_live(c, f);
    fclose(f);
    live = conf_load_live(path, fake_errors, sizeof(fake_errors));
    if (!live)
        printf("%s", fake_errors);
    REQUIRE(live);
    CHECK_EQ(live->disks, 1); /* of the others nothing is said */
    CHECK_EQ(conf_keep_live(files, live, CONF_FILES, NULL, NULL), 0);
    conf_unref(live);
    CHECK(conf_layers_equal(&disk_of(files, "a")->chain,
                            &disk_of(c, "a")->chain));
    REQUIRE(disk_of(files, "a")->filed && disk_of(c, "a")->filed);
    CHECK(
        conf_layers_equal(disk_of(files, "a")->filed, disk_of(c, "a")->filed));
    conf_unref(files);
    conf_unref(c);
}

static void
mode_there_and_back(void)
{
    struct conf *c = load_text(relay), *live, *files = load_text(relay);
    FILE *f = fopen(path, "w");

    REQUIRE(c && files && f);
    mode_becomes(&c, mode_edit(c, CONF_PASSTHROUGH), CONF_PASSTHROUGH,
                 CONF_INTERPOSE);
    conf_print_live(c, f);
    fclose(f);
    conf_unref(c);
    live = conf_load_live(path, fake_errors, sizeof(fake_errors));
    REQUIRE(live);
    CHECK_EQ(conf_keep_live(files, live, CONF_FILES, NULL, NULL), 0);
    conf_unref(live);
    CHECK_EQ(disk_of(files, "a")->mode, CONF_PASSTHROUGH);
    CHECK_EQ(disk_of(files, "a")->filed_mode, CONF_INTERPOSE);
    CHECK_EQ(conf_live_count(files), 1);
    conf_unref(files);
}

static void
bad_text(const char *text, const char *why)
{
    put(text);
    CHECK(!conf_load_live(path, fake_errors, sizeof(fake_errors)));
    if (!strstr(fake_errors, why))
        test_fail(__FILE__, __LINE__, "\"%s\" not in \"%s\"", why, fake_errors);
}

#define SECOND "# What the files say of them:\n"

static void
bad_texts(void)
{
    bad_text("", "expected two lists of disks, found one");
    bad_text(caught_up, "expected two lists of disks, found one");
    bad_text(SECOND "disks = (;", ":1:");
    bad_text("disks = (;\n" SECOND, ":1:");
    bad_text("disks = ( " DISK("a", "") " );\n" SECOND
                                        "disks = ( " DISK("b", "") " );\n",
             "expected the same disks in both lists");
    unlink(path);
    CHECK(!conf_load_live(path, fake_errors, sizeof(fake_errors)));
    CHECK(strstr(fake_errors, "can't be") != NULL);
}

/* ---- memory -------------------------------------------------------------- */

static void
no_memory(void)
{
    struct conf *c = load_text(one), *to = NULL, *files;
    unsigned n;
    int rc = -ENOMEM;

    REQUIRE(c);
    for (n = 0; !to && n < 1000; n++) {
        left = n;
        to = edit(c, CONF_INSERT, "0", "plugin = \"q\"; k = 3");
        if (!to && !strstr(fake_errors, "no memory"))
            test_fail(__FILE__, __LINE__, "with %u: \"%s\"", n, fake_errors);
    }
    CHECK(to && n > 30);
    for (n = 0; to && rc && n < 1000; n++) {
        left = UINT32_MAX;
        files = load_text(one);
        left = n;
        rc = conf_keep_live(files, to, CONF_FILES, NULL, NULL);
        left = UINT32_MAX;
        conf_unref(files);
    }
    CHECK(!rc && n > 10);
    left = UINT32_MAX;
    conf_unref(to);
    conf_unref(c);
}

int
main(int argc, char **argv)
{
    int fd = mkstemp(path);

    if (fd >= 0)
        close(fd);
    test_args(argc, argv);
    TEST(edits);
    TEST(names_before_numbers);
    TEST(bad_edits);
    TEST(too_many);
    TEST(of_what_runs);
    TEST(modes);
    TEST(mode_follows);
    TEST(bad_modes);
    TEST(runs);
    TEST(files_again);
    TEST(modes_again);
    TEST(nobody_is_told);
    TEST(there_and_back);
    TEST(mode_there_and_back);
    TEST(bad_texts);
    TEST(no_memory);
    unlink(path);
    return test_end();
}
