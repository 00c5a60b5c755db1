/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files, their order, and the lines that come of what is wrong in them. */
#include <sys/stat.h>
#include <unistd.h>

#include "config_fake.h"

static char root[64], path[256], dir[256], errors[8192];

static void
put(const char *name, const char *text)
{
    char at[512];
    FILE *f;

    snprintf(at, sizeof(at), "%s/%s", root, name);
    unlink(at);
    f = fopen(at, "w");
    REQUIRE(f);
    fputs(text, f);
    fclose(f);
}

static void
take(const char *name)
{
    char at[512];

    snprintf(at, sizeof(at), "%s/%s", root, name);
    unlink(at);
    rmdir(at);
}

/* The errors of loading, each path without the folder; "" when it loads. */
static const char *
load(void)
{
    struct conf *conf;
    size_t n = strlen(root) + 1;
    char *p;

    errors[0] = '\0';
    conf = conf_load(path, dir, errors, sizeof(errors));
    CHECK_EQ(!conf, errors[0] != '\0');
    conf_unref(conf);
    while ((p = strstr(errors, root)))
        memmove(p, p + n, strlen(p + n) + 1);
    return errors;
}

static void
no_folder(void)
{
    struct conf *conf;

    put("main", DISKS(DISK("a", "")));
    CHECK_STR(load(), "");
    conf = conf_load(path, NULL, errors, sizeof(errors));
    CHECK(conf);
    conf_unref(conf);
}

static void
what_is_no_file(void)
{
    put("main", "");
    take("main");
    CHECK_STR(load(), "main: can't be opened: No such file or directory\n");
    REQUIRE(!mkdir(path, 0700));
    CHECK_STR(load(), "main: expected a regular file, found something else\n");
    take("main");
    REQUIRE(!mkfifo(path, 0600));
    CHECK_STR(load(), "main: expected a regular file, found something else\n");
    take("main");
    put("main", "");
    REQUIRE(!truncate(path, (1 << 20) + 1));
    CHECK_STR(load(), "main: expected at most 1048576 bytes, found 1048577\n");
    put("main", "");
}

static void
folder_by_name(void)
{
    struct conf *conf;

    put("main", DISKS(DISK("m", "")));
    REQUIRE(!mkdir(dir, 0700));
    put("d/20.conf", DISKS(DISK("b", "")));
    put("d/10.conf", "daemon = { loops = 3; };" DISKS(DISK("a", "")));
    put("d/30.conf", "");
    put("d/00.conf~", "no");
    put("d/.10.conf", "no");
    put("d/.conf", "no");
    put("d/README", "no");
    conf = conf_load(path, dir, errors, sizeof(errors));
    REQUIRE(conf);
    CHECK_EQ(conf->disks, 3);
    CHECK_STR(conf->disk[0].name, "m");
    CHECK_STR(conf->disk[1].name, "a");
    CHECK_STR(conf->disk[2].name, "b");
    CHECK_EQ(conf->loops, 3);
    conf_unref(conf);
}

static void
across_files(void)
{
    put("main", "\ndaemon = { loops = 2; };\n" DISKS(DISK("b", "")));
    CHECK_STR(load(), "d/10.conf:1: daemon: expected in one file only, found "
                      "again (first at main:2)\n");
    put("d/10.conf", "\n" DISKS(DISK("b", "")));
    CHECK_STR(load(),
              "d/10.conf:2: name: expected another name, found \"b\" as at "
              "main:3\nd/20.conf:1: name: expected another name, found \"b\" "
              "as at d/10.conf:2\n");
    put("d/10.conf", "disks = (");
    put("d/20.conf", "\n#\n}");
    CHECK_STR(load(),
              "d/10.conf:1: expected the end of the '(' that begins here, "
              "found the end of the file\n"
              "d/20.conf:3: expected no '}' here, found one: nothing is "
              "open\n");
    put("d/10.conf", "");
    put("d/20.conf", "");
    put("main", "");
    CHECK_STR(load(), "");
}

static void
everybody_may_write(void)
{
    fake_log[0] = '\0';
    CHECK_STR(load(), "");
    CHECK_STR(fake_log, "");
    REQUIRE(!chmod(path, 0666));
    CHECK_STR(load(), "");
    CHECK(strstr(fake_log, "main: everybody may write this file (mode 0666)"));
    put("main", "");
}

/* 20 lines are told, of however many. */
static void
not_too_many(void)
{
    char text[4096] = "", *p;
    unsigned i, lines = 0;

    for (i = 0; i < 50; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "key%u = 1;\n", i);
    put("main", text);
    load();
    for (p = errors; (p = strchr(p, '\n')); p++)
        lines++;
    CHECK_EQ(lines, 20);
    CHECK(strstr(errors, "main:20: key19: "));
    CHECK(!strstr(errors, "main:21: "));
}

/* Whatever the room: whole lines, ended, and nothing behind the end. */
static void
little_room(void)
{
    char whole[8192], small[512];
    size_t n;

    load_text("aaa = 1;\nbbb = 2;");
    snprintf(whole, sizeof(whole), "%s", fake_errors);
    for (n = 0; n < sizeof(small); n++) {
        memset(small, '!', sizeof(small));
        CHECK(!conf_load_text("T", "aaa = 1;\nbbb = 2;", 17, small, n));
        CHECK(n == sizeof(small) || small[n] == '!');
        if (n)
            CHECK(memchr(small, '\0', n) != NULL);
        if (n > 2)
            CHECK_EQ(small[strlen(small) - 1], '\n');
    }
    CHECK_STR(small, whole);
}

/* A line stays a line, whatever the value. */
static void
control_characters(void)
{
    CHECK(!load_text("disks = ( { name = \"a\nb\x1b[2J\\x7f\"; } );"));
    CHECK(strstr(fake_errors, "found \"a?b?[2J?\"\n"));
}

static void
engine_errors(void)
{
    CHECK(!load_text("disks = (\n{ name = \"a\"; chain = (\n{ plugin = "
                     "\"nosuch\"; } ); } );"));
    CHECK_STR(fake_errors, "T:3: plugin: refused\n");
    CHECK(!load_text("\ndisks = ( { name = \"a\"; chain = ( { plugin = "
                     "\"placeless\"; } ); } );"));
    CHECK_STR(fake_errors, "T:2: chain: something is wrong somewhere\n");
}

static void
too_many_disks(void)
{
    static char text[CONF_FILE_MAX];
    size_t n = 0;
    int i;

    n += (size_t)snprintf(text, sizeof(text), "disks = ( 0");
    for (i = 0; i < CONF_DISKS; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ", 0");
    snprintf(text + n, sizeof(text) - n, " );");
    CHECK(!load_text(text));
    CHECK_STR(fake_errors, "T: disks: expected at most 4096, found 4097\n");
}

/* As many as there may be: the checks must not be slow. */
static void
many_disks(void)
{
    static char text[CONF_FILE_MAX];
    struct conf *conf;
    size_t n = 0;
    int i;

    n += (size_t)snprintf(text, sizeof(text), "disks = (");
    for (i = 0; i < CONF_DISKS; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "%s { name = \"d%d\"; vm = \"v%d\"; vdev = "
                              "\"xvda\"; chain = ( { plugin = \"tail\"; } "
                              "); }\n",
                              i ? "," : "", i, i);
    snprintf(text + n, sizeof(text) - n, ");");
    conf = load_text(text);
    REQUIRE(conf);
    CHECK_EQ(conf->disks, CONF_DISKS);
    CHECK_STR(conf_match(conf, NULL, "v4095", 51712)->name, "d4095");
    conf_unref(conf);
}

static void
clean_up(void)
{
    static const char *const names[] = {
        "d/20.conf", "d/10.conf", "d/30.conf", "d/00.conf~", "d/.10.conf",
        "d/.conf",   "d/README",  "d",         "main"
    };
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        take(names[i]);
    rmdir(root);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    snprintf(root, sizeof(root), "/tmp/config_load.XXXXXX");
    REQUIRE(mkdtemp(root));
    umask(022);
    snprintf(path, sizeof(path), "%s/main", root);
    snprintf(dir, sizeof(dir), "%s/d", root);
    TEST(no_folder);
    TEST(what_is_no_file);
    TEST(folder_by_name);
    TEST(across_files);
    TEST(everybody_may_write);
    TEST(not_too_many);
    TEST(little_room);
    TEST(control_characters);
    TEST(engine_errors);
    TEST(too_many_disks);
    TEST(many_disks);
    clean_up();
    return test_end();
}
