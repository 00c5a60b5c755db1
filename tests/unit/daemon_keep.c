/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* keep.c: tables in a manager's store and in files, and what is left there. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keep.c"
#include "tests/test.h"

static struct keep k;
static char folder[64], trail[256], said[4096], loaded[256];
/* What the manager gives us at the start. */
static struct {
    const char *key;
    int fd;
} stored[4];
static unsigned stored_n;

/* ---- the manager, and the log -------------------------------------------- */

static void
note(const char *what, const char *key)
{
    size_t n = strlen(trail);

    snprintf(trail + n, sizeof trail - n, "%s%s ", what, key);
}

void
notify_keep(const char *key, int fd)
{
    CHECK(fcntl(fd, F_GETFD) >= 0);
    note("+", key);
}

void
notify_forget(const char *key)
{
    note("-", key);
}

void
notify_kept(void (*cb)(void *ctx, const char *key, int fd), void *ctx)
{
    for (unsigned i = 0; i < stored_n; i++)
        cb(ctx, stored[i].key, stored[i].fd);
    stored_n = 0;
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    size_t n = strlen(said);
    va_list ap;

    (void)level;
    (void)f;
    va_start(ap, fmt);
    vsnprintf(said + n, sizeof said - n, fmt, ap);
    va_end(ap);
}

/* ---- helpers ------------------------------------------------------------- */

static const char *
in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/t/%s", folder, name);
    return path;
}

static bool
there_is(const char *name)
{
    struct stat st;

    return !lstat(in_folder(name), &st);
}

/* A table, as far as this file cares: its key and its first byte. */
static void
got(void *ctx, const char *key, int fd)
{
    size_t n = strlen(loaded);
    char c = '?';

    (void)ctx;
    CHECK(pread(fd, &c, 1, 0) == 1);
    snprintf(loaded + n, sizeof loaded - n, "%s=%c ", key, c);
    close(fd);
}

static void
clear(void)
{
    trail[0] = said[0] = loaded[0] = '\0';
}

/* A life of the daemon begins. */
static void
start(unsigned store_max)
{
    clear();
    keep_open(&k, in_folder(""), NULL, store_max);
    keep_load(&k, got, NULL);
}

static void
first_life(unsigned store_max)
{
    snprintf(folder, sizeof folder, "/tmp/daemon_keep.XXXXXX");
    REQUIRE(mkdtemp(folder));
    start(store_max);
    CHECK_STR(said, "");
}

static void
remove_all(void)
{
    char line[128];

    keep_close(&k);
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    CHECK(!system(line));
}

static int
memory(char what)
{
    int fd = memfd_create("table", MFD_CLOEXEC);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, &what, 1) == 1);
    return fd;
}

/* As a disk does it: room, or a memfd, and then it is to be kept. */
static void
connect_disk(const char *key, char what)
{
    int fd = keep_room(&k, key);

    if (fd < 0)
        fd = memory(what);
    else
        REQUIRE(write(fd, &what, 1) == 1);
    keep_table(&k, key, fd);
    close(fd);
}

static void
left(const char *name, char what, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_EXCL, 0600);

    REQUIRE(fd >= 0 && write(fd, &what, 1) == 1);
    CHECK(!fchmod(fd, mode));
    close(fd);
}

/* ---- tests --------------------------------------------------------------- */

/* With a manager that has room no file is made. */
static void
in_the_store(void)
{
    int fd;

    first_life(2);
    CHECK_EQ(keep_room(&k, "vbd.3.51712"), -1);
    fd = memory('a');
    keep_table(&k, "vbd.3.51712", fd);
    CHECK_STR(trail, "+vbd.3.51712 ");
    keep_table(&k, "vbd.3.51712", fd); /* it is there */
    CHECK_STR(trail, "+vbd.3.51712 ");
    close(fd);
    connect_disk("vbd.3.51712", 'b'); /* another one in its place */
    CHECK_STR(trail, "+vbd.3.51712 -vbd.3.51712 +vbd.3.51712 ");
    CHECK_EQ(k.in_store, 1);
    keep_forget(&k, "vbd.3.51712");
    CHECK_EQ(k.in_store, 0);
    CHECK_STR(said, "");
    CHECK(!there_is("vbd.3.51712"));
    remove_all();
}

/* Told once; a place that gets free is used again, and the one who has one
 * keeps it. */
static void
a_full_store(void)
{
    first_life(1);
    connect_disk("vbd.1.1", 'a');
    CHECK_STR(said, "");
    connect_disk("vbd.2.2", 'b');
    CHECK_STR(trail, "+vbd.1.1 ");
    CHECK(there_is("vbd.2.2"));
    CHECK(!there_is(".new.vbd.2.2"));
    CHECK(strstr(said, "keeps 1 in-flight tables"));
    clear();
    connect_disk("vbd.3.3", 'c');
    CHECK_STR(said, "");
    connect_disk("vbd.1.1", 'A');
    CHECK_STR(trail, "-vbd.1.1 +vbd.1.1 ");
    keep_forget(&k, "vbd.1.1");
    clear();
    connect_disk("vbd.2.2", 'B'); /* from the folder to the store */
    CHECK_STR(trail, "+vbd.2.2 ");
    CHECK(!there_is("vbd.2.2"));
    CHECK_EQ(k.in_store, 1);
    remove_all();
}

static void
in_files(void)
{
    struct stat st;

    first_life(0);
    connect_disk("vbd.3.51712", 'x');
    connect_disk("vbd3.4.51728", 'y');
    CHECK_STR(trail, "");
    CHECK(!stat(in_folder("vbd.3.51712"), &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK(!stat(in_folder(""), &st));
    CHECK_EQ(st.st_mode & 07777, 0700);
    keep_close(&k);

    start(0);
    CHECK_EQ(strlen(loaded), 29);
    CHECK(strstr(loaded, "vbd.3.51712=x "));
    CHECK(strstr(loaded, "vbd3.4.51728=y "));
    CHECK_STR(said, "");
    connect_disk("vbd.3.51712", 'z'); /* a new connection */
    keep_forget(&k, "vbd3.4.51728");
    keep_close(&k);

    start(0);
    CHECK_STR(loaded, "vbd.3.51712=z ");
    remove_all();
}

/* The disk goes on from it: it stays what and where it is, whatever room was
 * made in vain. */
static void
gone_on_from(void)
{
    int fd, room;

    first_life(0);
    connect_disk("vbd.3.51712", 'x');
    keep_close(&k);
    start(0);
    room = keep_room(&k, "vbd.3.51712");
    CHECK(room >= 0);
    fd = open(in_folder("vbd.3.51712"), O_RDWR);
    keep_table(&k, "vbd.3.51712", fd);
    drop(&k, "vbd.3.51712"); /* there was no memory to note it */
    keep_table(&k, "vbd.3.51712", fd);
    CHECK_STR(trail, "");
    CHECK_STR(said, "");
    close(room);
    close(fd);
    keep_close(&k);
    CHECK(there_is(".new.vbd.3.51712"));
    start(0);
    CHECK_STR(loaded, "vbd.3.51712=x ");
    CHECK(!there_is(".new.vbd.3.51712"));
    remove_all();
}

/* No place in the file system: the table is a memfd after all. */
static void
no_place(void)
{
    int room, fd;

    first_life(0);
    connect_disk("vbd.1.1", 'o');
    room = keep_room(&k, "vbd.1.1");
    CHECK(room >= 0);
    fd = memory('m');
    keep_table(&k, "vbd.1.1", fd);
    CHECK(strstr(said, "table of vbd.1.1 is in no place that outlives"));
    CHECK(!there_is("vbd.1.1"));
    CHECK(!there_is(".new.vbd.1.1"));
    CHECK_STR(trail, "+vbd.1.1 "); /* it may do, and does no harm */
    close(room);
    close(fd);
    CHECK(!rmdir(in_folder("")));
    clear();
    CHECK_EQ(keep_room(&k, "vbd.2.2"), -1);
    CHECK(strstr(said, "vbd.2.2: can't be made"));
    remove_all();
}

/* Something is in the way of its name: the table is a memfd's after all. */
static void
no_name(void)
{
    first_life(0);
    CHECK(!mkdir(in_folder("vbd.9.9"), 0700));
    connect_disk("vbd.9.9", 'w');
    CHECK(strstr(said, ".new.vbd.9.9: can't be renamed"));
    CHECK(strstr(said, "table of vbd.9.9 is in no place that outlives"));
    CHECK_STR(trail, "+vbd.9.9 ");
    CHECK(!there_is(".new.vbd.9.9"));
    clear();
    keep_table(&k, "vbd.8.8", -1); /* no table at all */
    CHECK_STR(trail, "");
    CHECK(!there_is("vbd.8.8"));
    remove_all();
}

/* Names that are no key get nothing, and do nothing. */
static void
bad_keys(void)
{
    static const char *const bad[] = { "",    ".",    "..",  ".new.x",
                                       "a/b", "../x", "a b", "a\nb" };
    char longest[120];
    int fd = memory('k');

    first_life(0);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    CHECK_EQ(keep_room(&k, longest), -1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(keep_room(&k, bad[i]), -1);
        keep_table(&k, bad[i], fd);
        keep_forget(&k, bad[i]);
    }
    CHECK_STR(trail, "");
    close(fd);
    remove_all();
}

/* Nothing that anybody else could have made or could still write. */
static void
left_by_others(void)
{
    char target[128];
    int n = 5;

    first_life(0);
    keep_close(&k);
    left("vbd.0.1", 'g', 0600);
    left("vbd.0.2", 'b', 0640);
    left("vbd.0.3", 'b', 0602);
    left("no key", 'b', 0600);
    left(".new.vbd.0.9", 'b', 0600);
    snprintf(target, sizeof target, "%s/elsewhere", folder);
    CHECK(!link(in_folder("vbd.0.3"), target));
    CHECK(!symlink(target, in_folder("vbd.0.4")));
    CHECK(!mkfifo(in_folder("vbd.0.5"), 0600));
    CHECK(!mkdir(in_folder("vbd.0.6"), 0700));
    left("vbd.0.7", 'b', 0600);
    if (!geteuid()) {
        CHECK(!chown(in_folder("vbd.0.7"), 65534, 65534));
        n++;
    } else {
        CHECK(!unlink(in_folder("vbd.0.7")));
    }
    start(0);
    CHECK_STR(loaded, "vbd.0.1=g ");
    CHECK(!there_is(".new.vbd.0.9"));
    CHECK(strstr(said,
                 "t//vbd.0.2: expected an in-flight table, found one that "
                 "is not ours"));
    CHECK(strstr(said, "no key: expected an in-flight table, found no disk's"));
    CHECK(strstr(said, "vbd.0.5: expected an in-flight table, found not a"));
    for (const char *at = said; (at = strstr(at, "it is not used")); at++)
        n--;
    CHECK_EQ(n, -1);              /* that, and the directory */
    connect_disk("vbd.0.4", 'n'); /* in its place; what it names is whole */
    CHECK(!access(target, F_OK));
    keep_close(&k);
    start(0);
    CHECK(strstr(loaded, "vbd.0.4=n "));
    remove_all();
}

/* Of a key that the manager has, too: which is the younger can't be known, and
 * the manager's can't be written by anybody. */
static void
stored_before(void)
{
    int ends[2], fd = memory('s');

    first_life(0);
    connect_disk("vbd.1.1", 'f');
    connect_disk("vbd.2.2", 'f');
    keep_close(&k);
    REQUIRE(!pipe(ends));
    stored[0].key = "vbd.1.1";
    stored[0].fd = dup(fd);
    stored[1].key = "stored"; /* a pipe */
    stored[1].fd = ends[0];
    stored[2].key = "a/b";
    stored[2].fd = dup(fd);
    stored_n = 3;
    start(4);
    CHECK_STR(loaded, "vbd.1.1=s vbd.2.2=f ");
    CHECK_STR(trail, "-stored -a/b ");
    CHECK(fcntl(ends[0], F_GETFD) < 0);
    CHECK(strstr(said, "kept \"stored\": expected an in-flight table"));
    CHECK(strstr(said, "vbd.1.1: expected an in-flight table, found a second"));
    CHECK_EQ(k.in_store, 1);
    keep_table(&k, "vbd.1.1", fd); /* it is there */
    CHECK_STR(trail, "-stored -a/b ");
    keep_forget(&k, "vbd.1.1");
    CHECK(!there_is("vbd.1.1"));
    close(ends[1]);
    close(fd);
    remove_all();
}

static void
no_good_folder(const char *sentence)
{
    clear();
    keep_open(&k, in_folder(""), NULL, 1);
    keep_load(&k, got, NULL);
    CHECK_EQ(k.dir, -1);
    CHECK(strstr(said, sentence));
    CHECK(!strstr(said, "leaves disks"));
    connect_disk("vbd.1.1", 'a'); /* the manager has room */
    CHECK_EQ(keep_room(&k, "vbd.2.2"), -1);
    CHECK(strstr(said, "are kept in no place"));
    keep_forget(&k, "vbd.1.1");
    keep_close(&k);
}

static void
a_folder_of_no_use(void)
{
    first_life(0);
    keep_close(&k);
    CHECK(!chmod(in_folder(""), 0770));
    no_good_folder("of our own that nobody else can open");
    CHECK(!chmod(in_folder(""), 0700));
    if (!geteuid()) {
        CHECK(!chown(in_folder(""), 65534, 65534));
        no_good_folder("of our own that nobody else can open");
    }
    CHECK(!rmdir(in_folder("")));
    clear();
    keep_open(&k, "", NULL, 0); /* nobody said where */
    keep_load(&k, got, NULL);
    CHECK_EQ(keep_room(&k, "vbd.1.1"), -1);
    CHECK_STR(said, "");
    keep_open(&k, "/nonexistent/folder/tables", NULL, 0);
    CHECK_EQ(k.dir, -1);
    CHECK(
        strstr(said, "tables: no in-flight tables are kept in files: No such"));
    CHECK(strstr(said, "a kill of the daemon leaves disks"));
    remove_all();
}

static void
a_link_for_a_folder(void)
{
    char link[128];

    first_life(0);
    keep_close(&k);
    snprintf(link, sizeof link, "%s/l", folder);
    CHECK(!symlink("t", link));
    clear();
    keep_open(&k, link, NULL, 0);
    CHECK_EQ(k.dir, -1);
    CHECK(strstr(said, "l: no in-flight tables are kept in files"));
    remove_all();
}

/* Started by root, who then becomes a user. */
static void
with_privileges_gone(void)
{
    int status;
    pid_t child;

    if (geteuid()) {
        printf("# not root: skipped\n");
        return;
    }
    snprintf(folder, sizeof folder, "/tmp/daemon_keep.XXXXXX");
    REQUIRE(mkdtemp(folder));
    CHECK(!chmod(folder, 0755));
    clear();
    keep_open(&k, in_folder(""), "nobody", 0);
    child = fork();
    if (!child) {
        char why[128] = "";

        if (privileges_drop("nobody", why, sizeof why))
            _exit(2);
        keep_load(&k, got, NULL);
        connect_disk("vbd.1.1", 'p');
        if (k.dir < 0 || said[0] || !there_is("vbd.1.1"))
            _exit(3);
        keep_close(&k);
        keep_open(&k, in_folder(""), "nobody", 0);
        keep_load(&k, got, NULL);
        _exit(strcmp(loaded, "vbd.1.1=p ") ? 4 : test_failures);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    keep_close(&k);
    keep_open(&k, in_folder(""), "nobody", 0); /* a start after that */
    keep_close(&k);
    keep_open(&k, in_folder(""), "no such user at all", 0);
    remove_all();
}

/* What must be on no medium: in a store that has room for it, or in a folder
 * in memory, whatever room there is elsewhere. */
static void
places_in_memory(void)
{
    first_life(1);
    k.volatile_dir = false; /* wherever temporary files are */
    CHECK(keep_in_memory(&k, "keys"));
    connect_disk("keys", 'k');
    CHECK(keep_in_memory(&k, "keys")); /* in the place that it has */
    CHECK(!keep_in_memory(&k, "others"));
    k.volatile_dir = true;
    CHECK(keep_in_memory(&k, "others"));
    close(k.dir);
    k.dir = -1;
    CHECK(!keep_in_memory(&k, "others"));
    remove_all();

    snprintf(folder, sizeof folder, "/dev/shm/daemon_keep.XXXXXX");
    REQUIRE(mkdtemp(folder));
    start(0);
    CHECK(k.volatile_dir);
    CHECK(keep_in_memory(&k, "keys"));
    keep_close(&k);
    k.dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(k.dir >= 0);
    CHECK(!folder_is_volatile(k.dir));
    remove_all();
}

static void
how_many(void)
{
    unsetenv("NOTIFY_SOCKET");
    setenv("FDSTORE", "7", 1);
    CHECK_EQ(keep_store_max(), 0);
    setenv("NOTIFY_SOCKET", "/run/x", 1);
    CHECK_EQ(keep_store_max(), 7);
    setenv("BLKTAPD_FDSTORE", "512", 1);
    CHECK_EQ(keep_store_max(), 7);
    unsetenv("FDSTORE");
    CHECK_EQ(keep_store_max(), 512);
    setenv("BLKTAPD_FDSTORE", "-1", 1);
    CHECK_EQ(keep_store_max(), 4096);
    setenv("BLKTAPD_FDSTORE", "many", 1);
    CHECK_EQ(keep_store_max(), 0);
    unsetenv("BLKTAPD_FDSTORE");
    CHECK_EQ(keep_store_max(), 0);
    unsetenv("NOTIFY_SOCKET");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(in_the_store);
    TEST(a_full_store);
    TEST(in_files);
    TEST(gone_on_from);
    TEST(no_place);
    TEST(no_name);
    TEST(bad_keys);
    TEST(left_by_others);
    TEST(stored_before);
    TEST(a_folder_of_no_use);
    TEST(a_link_for_a_folder);
    TEST(with_privileges_gone);
    TEST(places_in_memory);
    TEST(how_many);
    return test_end();
}
