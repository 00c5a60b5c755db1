/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration that was in force last: where it is kept, that it is there
 * whole or not at all, and what is not trusted.  Text and tree are made up.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/host/host.h"
#include "src/lastconf.h"
#include "tests/test.h"

static char dir[] = "/tmp/lastconf.XXXXXX", path[LASTCONF_PATH];
static char log_text[1024], errors[512];
static struct conf conf, found;
static bool cut; /* no room after half of the text */
static bool no_memory, bad_disk;

/* ---- what is around it --------------------------------------------------- */

FILE *__real_fdopen(int fd, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode);

FILE *
__wrap_fdopen(int fd, const char *mode)
{
    return no_memory ? NULL : __real_fdopen(fd, mode);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int
__wrap_fsync(int fd)
{
    if (!bad_disk)
        return __real_fsync(fd);
    errno = EIO;
    return -1;
}

/* As if the folder were full: the file is made, and takes nothing. */
void
conf_print(const struct conf *c, FILE *f)
{
    int full;

    fprintf(f, "disks %u\n", c->disks);
    if (!cut)
        return;
    full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    dup2(full, fileno(f));
    close(full);
}

struct conf *
conf_load(const char *p, const char *folder, char *why, size_t n)
{
    char line[256], last[256] = "";
    FILE *f = fopen(p, "r");

    CHECK(!folder);
    while (f && fgets(line, sizeof line, f))
        snprintf(last, sizeof last, "%s", line);
    if (f)
        fclose(f);
    if (sscanf(last, "disks %u", &found.disks) == 1)
        return &found;
    snprintf(why, n, "%s:1: bad\n", p);
    return NULL;
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    va_list ap;

    (void)f;
    CHECK_EQ(level, BLK_WARN);
    va_start(ap, fmt);
    vsnprintf(log_text, sizeof log_text, fmt, ap);
    va_end(ap);
}

static bool
exists(const char *p)
{
    struct stat st;

    return !lstat(p, &st);
}

static void
begin(void)
{
    setenv("RUNTIME_DIRECTORY", dir, 1);
    lastconf_path(path, "/etc/other.conf", "last.conf");
    unlink(path);
    log_text[0] = '\0';
    strcpy(errors, "none yet");
    conf.disks = 3;
    found.disks = 0;
}

static struct conf *
load(void)
{
    return lastconf_load(path, errors, sizeof errors);
}

/* ---- where --------------------------------------------------------------- */

static void
is_at(const char *runtime, const char *conf_path, const char *expected)
{
    char at[LASTCONF_PATH];

    if (runtime)
        setenv("RUNTIME_DIRECTORY", runtime, 1);
    else
        unsetenv("RUNTIME_DIRECTORY");
    lastconf_path(at, conf_path, "last.conf");
    CHECK_STR(at, expected);
}

static void
where_it_is(void)
{
    static const char ours[] = BLKTAPD_SYSCONFDIR "/blktapd.conf";
    char edge[LASTCONF_PATH];

    is_at(NULL, ours, BLKTAPD_RUNDIR "/last.conf");
    is_at(NULL, "/tmp/mine.conf", "");
    is_at("/run/b", ours, "/run/b/last.conf");
    is_at("/run/b", "/tmp/mine.conf", "/run/b/last.conf");
    is_at("/run/b:/run/c", ours, "/run/b/last.conf");
    is_at("", ours, "/last.conf"); /* a folder, if an odd one */
    is_at("run/b", ours, "");
    memset(edge, 'a', sizeof edge);
    edge[0] = '/';
    edge[LASTCONF_PATH - 11] = '\0'; /* "/last.conf" and an end fit */
    setenv("RUNTIME_DIRECTORY", edge, 1);
    lastconf_path(path, ours, "last.conf");
    CHECK_EQ(strlen(path), LASTCONF_PATH - 1);
    edge[LASTCONF_PATH - 11] = 'a';
    edge[LASTCONF_PATH - 10] = '\0';
    is_at(edge, ours, "");
}

static void
kept_nowhere(void)
{
    begin();
    lastconf_save("", &conf);
    lastconf_drop("");
    CHECK(!lastconf_load("", errors, sizeof errors));
    CHECK_STR(errors, "");
    CHECK_STR(log_text, "");
}

/* ---- there and back ------------------------------------------------------ */

static void
there_and_back(void)
{
    struct stat st;

    begin();
    CHECK(!load());
    CHECK_STR(errors, ""); /* none is no error */
    lastconf_save(path, &conf);
    REQUIRE(!lstat(path, &st));
    CHECK_EQ(st.st_mode, S_IFREG | 0600);
    CHECK(load() == &found);
    CHECK_EQ(found.disks, 3);
    conf.disks = 4;
    lastconf_save(path, &conf);
    CHECK(load() == &found);
    CHECK_EQ(found.disks, 4);
    lastconf_drop(path);
    CHECK(!exists(path));
    lastconf_drop(path); /* gone is gone */
    CHECK_STR(log_text, "");
}

/* One that was killed while it wrote. */
static void
rest_of_an_earlier_one(void)
{
    char next[LASTCONF_PATH + 8];

    begin();
    snprintf(next, sizeof next, "%s.new", path);
    REQUIRE(!symlink("/etc/hostname", next));
    lastconf_save(path, &conf);
    CHECK(load() == &found);
    CHECK(!exists(next));
}

/* ---- what fails ---------------------------------------------------------- */

/* An older one would be wrong: none is left, nor a half. */
static void
none_is_left(int error)
{
    char next[LASTCONF_PATH + 8], expected[400];

    snprintf(next, sizeof next, "%s.new", path);
    snprintf(expected, sizeof expected,
             "%s: the configuration in force can't be kept for a restart: %s",
             path, strerror(error));
    CHECK_STR(log_text, expected);
    CHECK(!exists(path));
    CHECK(!exists(next));
    CHECK(!load());
    CHECK_STR(errors, "");
}

static void
no_room(void)
{
    begin();
    lastconf_save(path, &conf);
    cut = true;
    lastconf_save(path, &conf);
    cut = false;
    none_is_left(ENOSPC);
}

static void
folder_on_a_bad_disk(void)
{
    begin();
    lastconf_save(path, &conf);
    bad_disk = true;
    lastconf_save(path, &conf);
    bad_disk = false;
    none_is_left(EIO);
}

static void
no_memory_to_write(void)
{
    begin();
    lastconf_save(path, &conf);
    no_memory = true;
    lastconf_save(path, &conf);
    no_memory = false;
    none_is_left(ENOMEM);
}

static void
no_folder(void)
{
    begin();
    snprintf(path, sizeof path, "%s/gone/last.conf", dir);
    lastconf_save(path, &conf);
    none_is_left(ENOENT);
}

/* What is there can't be replaced, nor removed: said, and never used. */
static void
something_else_there(void)
{
    begin();
    REQUIRE(!mkdir(path, 0700));
    lastconf_save(path, &conf);
    CHECK(strstr(log_text, "last.conf: can't be removed: "));
    CHECK(!load());
    CHECK(strstr(errors, "expected a file of our own"));
    REQUIRE(!rmdir(path));
}

/* ---- what is not trusted ------------------------------------------------- */

static void
is_not_used(void)
{
    CHECK(!load());
    CHECK(strstr(errors, "expected a file of our own that nobody else may "
                         "write, found another\n"));
}

static void
not_trusted(void)
{
    char other[LASTCONF_PATH + 8];

    begin();
    lastconf_save(path, &conf);
    chmod(path, 0620);
    is_not_used();
    chmod(path, 0602);
    is_not_used();
    chmod(path, 0644);
    CHECK(load() == &found);
    snprintf(other, sizeof other, "%s.other", path);
    REQUIRE(!rename(path, other) && !symlink(other, path));
    is_not_used();
    unlink(path);
    unlink(other);
}

static void
of_another_user(void)
{
    if (geteuid())
        return; /* nobody else can give files away */
    begin();
    lastconf_save(path, &conf);
    REQUIRE(!chown(path, 65534, 65534));
    is_not_used();
}

/* A path that can't be looked at is no absent file. */
static void
not_to_be_seen(void)
{
    begin();
    snprintf(path, sizeof path, "/dev/null/last.conf");
    is_not_used();
}

static void
bad_itself(void)
{
    FILE *f;

    begin();
    f = fopen(path, "w");
    REQUIRE(f);
    fputs("dis", f);
    fclose(f);
    chmod(path, 0600);
    CHECK(!load());
    CHECK(strstr(errors, "last.conf:1: bad\n"));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    REQUIRE(mkdtemp(dir));
    TEST(where_it_is);
    TEST(kept_nowhere);
    TEST(there_and_back);
    TEST(rest_of_an_earlier_one);
    TEST(no_room);
    TEST(folder_on_a_bad_disk);
    TEST(no_memory_to_write);
    TEST(no_folder);
    TEST(something_else_there);
    TEST(not_trusted);
    TEST(of_another_user);
    TEST(not_to_be_seen);
    TEST(bad_itself);
    begin();
    rmdir(dir);
    return test_end();
}
