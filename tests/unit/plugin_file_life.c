/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file plugin's life: what it opens and how, locks, live changes, sizes. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/plugin_run.h"

static uint8_t buf[65536] __attribute__((aligned(4096)));

/* What fcntl(2) says to a second writer: 0 when the file is free. */
static bool
locked(const char *path)
{
    struct flock lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool is;

    REQUIRE(fd >= 0);
    REQUIRE(!fcntl(fd, F_OFD_GETLK, &lk));
    is = lk.l_type != F_UNLCK;
    close(fd);
    return is;
}

/* How many of our descriptors are open on path with these open(2) flags. */
static unsigned
descriptors(const char *path, int mask, int flags)
{
    char name[64], link[300], line[100];
    unsigned n = 0;
    int fd;

    for (fd = 0; fd < 256; fd++) {
        int found = -1;
        ssize_t len;
        FILE *f;

        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        len = readlink(name, link, sizeof(link) - 1);
        if (len < 0)
            continue;
        link[len] = '\0';
        if (strcmp(link, path))
            continue;
        snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
        f = fopen(name, "re");
        while (f && fgets(line, sizeof(line), f)) {
            if (!strncmp(line, "flags:", 6))
                found = (int)strtol(line + 6, NULL, 8);
        }
        if (f)
            fclose(f);
        n += found >= 0 && (found & mask) == flags;
    }
    return n;
}

/* ---- opening ------------------------------------------------------------- */

static void
second_writer_is_refused(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 }, second = { 0 };
    char want[400];

    RUN(r, "file path=%s", path);
    CHECK(locked(path));
    CHECK_EQ(run_open(&second, RUN_READWRITE, "file path=%s", path), -EBUSY);
    snprintf(want, sizeof(want), "%s: cannot lock it: another writer has it",
             path);
    CHECK(strstr(second.why, want));
    CHECK_EQ(run_open(&second, RUN_READONLY, "file path=%s", path), -EBUSY);

    RUN(second, "file path=%s lock=false", path);
    CHECK_EQ(run_io(&second, BLK_READ, 0, 0, buf, 4096), 0);
    run_close(&second);
    CHECK(locked(path));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    run_close(&r);
    CHECK(!locked(path));
}

/* A daemon that was killed holds its lock a moment longer: here, until it was
 * asked for twice. */
static void
waits_for_a_lock_that_goes(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct flock lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_RDWR | O_CLOEXEC), ready[2];
    struct run *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char byte;
    pid_t child;

    REQUIRE(r != MAP_FAILED && fd >= 0 && !pipe(ready));
    child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        (void)!write(ready[1], fcntl(fd, F_SETLK, &lk) ? "n" : "y", 1);
        for (int i = 0; i < 12000 && *(volatile unsigned *)&r->timers < 2; i++)
            usleep(5000);
        _exit(0);
    }
    REQUIRE(read(ready[0], &byte, 1) == 1 && byte == 'y');
    RUN(*r, "file path=%s", path);
    CHECK(r->timers >= 2);
    run_close(r);
    munmap(r, sizeof(*r));
    close(fd);
    close(ready[0]);
    close(ready[1]);
}

static void
readers_share(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 }, second = { 0 }, writer = { 0 };

    CHECK_EQ(run_open(&r, RUN_READONLY, "file path=%s", path), 0);
    CHECK_EQ(run_open(&second, RUN_READONLY, "file path=%s", path), 0);
    CHECK_EQ(run_open(&writer, RUN_READWRITE, "file path=%s", path), -EBUSY);
    CHECK(strstr(writer.why, "cannot lock it: another reader has it"));
    run_close(&second);
    run_close(&r);
}

static void
readonly_is_readonly(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };

    CHECK_EQ(run_open(&r, RUN_READONLY, "file path=%s", path), 0);
    CHECK_EQ(descriptors(path, O_ACCMODE, O_RDONLY), 1);
    CHECK_EQ(descriptors(path, O_ACCMODE, O_RDWR), 0);
    CHECK(chain_limits(r.chain)->readonly);
    CHECK(!(chain_limits(r.chain)->ops & BLK_BIT(BLK_WRITE)));
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 4096) < 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    run_close(&r);
    CHECK_EQ(descriptors(path, 0, 0), 0);
}

static void
direct_is_as_asked(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };
    bool can;

    RUN(r, "file path=%s", path);
    can = run_counter(&r, 0, "direct");
    CHECK_EQ(descriptors(path, O_DIRECT, O_DIRECT), can);
    CHECK_EQ(chain_limits(r.chain)->fua, can);
    CHECK(chain_limits(r.chain)->volatile_cache);
    run_close(&r);
    RUN(r, "file path=%s direct=off", path);
    CHECK_EQ(descriptors(path, O_DIRECT, 0), 1);
    CHECK(!chain_limits(r.chain)->fua);
    CHECK_EQ(chain_limits(r.chain)->align, 512);
    run_close(&r);
    if (can)
        RUN(r, "file path=%s direct=on", path);
    else
        CHECK(run_open(&r, RUN_READWRITE, "file path=%s direct=on", path));
    if (can)
        run_close(&r);
}

static void
sizes_are_whole_sectors(void)
{
    struct run r = { 0 };

    run_log();
    RUN(r, "file path=%s direct=off", run_file("odd", 10000));
    CHECK_EQ(chain_limits(r.chain)->size, 9728);
    CHECK(strstr(run_log(), "the last 272 bytes are not used: its size, 10000, "
                            "is no multiple of 512"));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 9216, buf, 512), 0);
    CHECK(run_io(&r, BLK_READ, 0, 9728, buf, 512) < 0);
    run_close(&r);
}

static void
what_is_no_disk_is_refused(void)
{
    struct run r = { 0 };

    CHECK_EQ(run_open(&r, RUN_READWRITE, "file path=%s/none", run_dir()),
             -ENOENT);
    CHECK(strstr(r.why, "/none"));
    CHECK(run_open(&r, RUN_READWRITE, "file path=%s", run_dir()) < 0);
    CHECK(run_open(&r, RUN_READWRITE, "file path=/dev/null") < 0);
    CHECK_EQ(run_open(&r, RUN_READWRITE, "file path=%s direct=off",
                      run_file("tiny", 511)),
             -EINVAL);
    CHECK(strstr(r.why, "tiny: expected at least 512 bytes, found 511"));
    CHECK(run_open(&r, RUN_READWRITE, "file path=relative") < 0);
    CHECK(run_open(&r, RUN_READWRITE, "file") < 0);
    CHECK(run_open(&r, RUN_READWRITE, "file path=/x direct=maybe") < 0);
    CHECK_EQ(descriptors(run_path("tiny"), 0, 0), 0);
}

/* ---- live changes -------------------------------------------------------- */

static void
change_keeps_file_and_lock(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };

    RUN(r, "file path=%s direct=off", path);
    memset(buf, 3, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    /* The same, said in other words: a new instance on the same open file. */
    CHECK_EQ(run_replace(&r, "file path=%s direct=off lock=yes", path), 0);
    CHECK(locked(path));
    CHECK_EQ(descriptors(path, 0, 0), 1);
    /* Another way of opening: the old one stays, for its lock. */
    CHECK_EQ(run_replace(&r, "file path=%s direct=auto", path), 0);
    CHECK(locked(path));
    CHECK_EQ(descriptors(path, 0, 0), 2);
    /* And again, and without: nothing is left over. */
    CHECK_EQ(run_replace(&r, "file path=%s direct=off", path), 0);
    CHECK(locked(path));
    CHECK_EQ(run_replace(&r, "file path=%s direct=off lock=false", path), 0);
    RUN_WAIT(r, !locked(path));
    CHECK_EQ(descriptors(path, 0, 0), 1);
    memset(buf, 0, 4096);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(buf[4095], 3);
    run_close(&r);
    CHECK_EQ(descriptors(path, 0, 0), 0);
}

static void
change_to_another_file(void)
{
    const char *one = run_file("one", 1 << 20), *two = run_file("two", 2 << 20);
    struct run r = { 0 };

    RUN(r, "file path=%s", one);
    CHECK_EQ(run_replace(&r, "file path=%s", two), 0);
    RUN_WAIT(r, !locked(one));
    CHECK(locked(two));
    CHECK_EQ(chain_limits(r.chain)->size, 2 << 20);
    run_close(&r);
}

/* The old instance goes on: same file, same lock, same content. */
static void
change_that_fails_harms_nothing(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };

    RUN(r, "file path=%s direct=off", path);
    memset(buf, 4, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK(run_replace(&r,
                      "trace file=/nonexistent/t | file path=%s direct=off "
                      "lock=yes",
                      path));
    CHECK(run_replace(&r, "trace file=/nonexistent/t | file path=%s", path));
    CHECK(run_replace(&r, "file path=%s/none", run_dir()));
    RUN_WAIT(r, descriptors(path, 0, 0) == 1);
    CHECK(locked(path));
    memset(buf, 0, 4096);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(buf[0], 4);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    run_close(&r);
}

static void
readonly_can_come_but_not_go(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };

    RUN(r, "file path=%s", path);
    r.mode = RUN_READONLY;
    CHECK_EQ(run_replace(&r, "file path=%s", path), 0);
    CHECK_EQ(descriptors(path, O_ACCMODE, O_RDONLY), 1);
    CHECK(locked(path));
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 4096) < 0);
    r.mode = RUN_READWRITE;
    CHECK_EQ(run_replace(&r, "file path=%s", path), -EBUSY);
    CHECK(strstr(r.why, "a read-only disk can't become writable while it "
                        "runs"));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    run_close(&r);
    CHECK_EQ(descriptors(path, 0, 0), 0);
}

/* ---- commands ------------------------------------------------------------ */

static void
rescan_finds_a_new_size(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };
    char out[1000];

    RUN(r, "file path=%s", path);
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), -EBUSY);
    RUN_WAIT(r, run_command(&r, "file", "rescan", out, sizeof(out)) == 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    CHECK_EQ(chain_limits(r.chain)->size, 1 << 20);
    REQUIRE(!truncate(path, 3 << 20));
    CHECK(run_io(&r, BLK_READ, 0, 2 << 20, buf, 4096) < 0);
    run_log();
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    RUN_WAIT(r, chain_limits(r.chain)->size == 3 << 20);
    CHECK(strstr(run_log(), "the size was 1048576 bytes and is now 3145728"));
    CHECK(r.relimits);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 2 << 20, buf, 4096), 0);

    /* Nothing left of it: the size stays. */
    REQUIRE(!truncate(path, 100));
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    CHECK(strstr(run_log(), "bytes, found 100: the size stays 3145728"));
    CHECK_EQ(chain_limits(r.chain)->size, 3 << 20);
    run_close(&r);
}

/* Pause, stop and change while the rescan is under way. */
static void
rescan_is_waited_for(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };
    char out[1000];

    RUN(r, "file path=%s", path);
    REQUIRE(!truncate(path, 2 << 20));
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    RUN_WAIT(r, chain_limits(r.chain)->size == 2 << 20);
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    CHECK_EQ(run_replace(&r, "file path=%s lock=yes", path), 0);
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    run_close(&r);
    CHECK_EQ(descriptors(path, 0, 0), 0);
}

static void
rescan_works_while_paused(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };
    char out[1000];

    RUN(r, "file path=%s", path);
    REQUIRE(!truncate(path, 2 << 20));
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    RUN_WAIT(r, run_command(&r, "file", "rescan", out, sizeof(out)) == 0);
    CHECK_EQ(run_resume(&r), 0);
    RUN_WAIT(r, chain_limits(r.chain)->size == 2 << 20);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 1 << 20, buf, 4096), 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_command(&r, "file", "rescan", out, sizeof(out)), 0);
    run_close(&r);
    CHECK_EQ(descriptors(path, 0, 0), 0);
}

static void
info_says_what_is_open(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };
    char out[1000], want[300];

    RUN(r, "file path=%s", path);
    CHECK_EQ(run_command(&r, "file", "info", out, sizeof(out)), 0);
    snprintf(want, sizeof(want), "path=%s\nsize=1048576\nkind=file\n", path);
    CHECK(strstr(out, want));
    CHECK(strstr(out, "mode=read-write\nlock=held\n"));
    CHECK_EQ(run_command(&r, "file", "dance", out, sizeof(out)), -EINVAL);
    CHECK(strstr(out, "expected rescan or info, found dance"));
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(second_writer_is_refused);
    TEST(waits_for_a_lock_that_goes);
    TEST(readers_share);
    TEST(readonly_is_readonly);
    TEST(direct_is_as_asked);
    TEST(sizes_are_whole_sectors);
    TEST(what_is_no_disk_is_refused);
    TEST(change_keeps_file_and_lock);
    TEST(change_to_another_file);
    TEST(change_that_fails_harms_nothing);
    TEST(readonly_can_come_but_not_go);
    TEST(rescan_finds_a_new_size);
    TEST(rescan_is_waited_for);
    TEST(rescan_works_while_paused);
    TEST(info_says_what_is_open);
    return test_end();
}
