/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trace plugin, on the real engine and loop. */
#include "config.h"
#include <errno.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/plugin_run.h"

static uint8_t buf[65536];

/* The whole of a file; valid until the next call. */
static const char *
text(const char *path)
{
    static char all[4 << 20];
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(all, 1, sizeof(all) - 1, f) : 0;

    if (f)
        fclose(f);
    all[n] = '\0';
    return all;
}

static unsigned
count(const char *all, const char *what)
{
    unsigned n = 0;

    for (; (all = strstr(all, what)); all += strlen(what))
        n++;
    return n;
}

static void
check_regex(const char *all, const char *pattern)
{
    regex_t re;

    REQUIRE(!regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB));
    if (regexec(&re, all, 0, NULL, 0))
        test_fail(__FILE__, __LINE__, "expected /%s/, found:\n%s", pattern,
                  all);
    regfree(&re);
}

/* One request of each kind. */
static void
one_of_each(struct run *r)
{
    CHECK_EQ(run_io(r, BLK_READ, 0, 4096, buf, 8192), 0);
    CHECK_EQ(run_io(r, BLK_WRITE, BLK_FUA, 1024, buf, 512), 0);
    CHECK_EQ(run_io(r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(run_io(r, BLK_DISCARD, 0, 65536, NULL, 4096), 0);
    CHECK_EQ(run_io(r, BLK_ZERO, BLK_UNMAP, 131072, NULL, 4096), 0);
    CHECK_EQ(run_io(r, BLK_ZERO, 0, 135168, NULL, 4096), 0);
}

#define T "[0-9]+\\.[0-9]{6} "
#define E " status=0 latency_us=[0-9]+\n"

static void
text_lines_are_golden(void)
{
    const char *disk = run_file("disk", 1 << 20), *path = run_path("text");
    struct run r = { 0 };

    RUN(r, "trace file=%s | file path=%s", path, disk);
    one_of_each(&r);
    run_close(&r);
    check_regex(text(path),
                "^" T "read off=4096 len=8192 flags=-" E                   /**/
                    T "write off=1024 len=512 flags=fua" E                 /**/
                        T "flush off=0 len=0 flags=-" E                    /**/
                            T "discard off=65536 len=4096 flags=-" E       /**/
                                T "zero off=131072 len=4096 flags=unmap" E /**/
                                    T "zero off=135168 len=4096 flags=-" E "$");
}

#undef T
#undef E
#define T "\\{\"time\":[0-9]+\\.[0-9]{6},\"disk\":\"disk\",\"op\":"
#define E ",\"status\":0,\"latency_us\":[0-9]+\\}\n"

static void
json_lines_are_golden(void)
{
    const char *disk = run_file("disk", 1 << 20), *path = run_path("json");
    struct run r = { 0 };

    RUN(r, "trace format=json file=%s | file path=%s", path, disk);
    one_of_each(&r);
    run_close(&r);
    check_regex(text(path),
                "^" T "\"read\",\"off\":4096,\"len\":8192,\"fua\":false,"
                "\"unmap\":false" E T "\"write\",\"off\":1024,\"len\":512,"
                "\"fua\":true,\"unmap\":false" E T
                "\"flush\",\"off\":0,\"len\":0,"
                "\"fua\":false,\"unmap\":false" E T "\"discard\",\"off\":65536,"
                "\"len\":4096,\"fua\":false,\"unmap\":false" E T "\"zero\","
                "\"off\":131072,\"len\":4096,\"fua\":false,\"unmap\":true" E T
                "\"zero\",\"off\":135168,\"len\":4096,\"fua\":false,"
                "\"unmap\":false" E "$");
}

static void
iolog_lines_are_golden(void)
{
    const char *disk = run_file("disk", 1 << 20), *path = run_path("iolog");
    struct run r = { 0 };

    RUN(r, "trace format=iolog file=%s | file path=%s", path, disk);
    one_of_each(&r);
    run_close(&r);
    check_regex(text(path), "^fio version 3 iolog\n"
                            "[0-9]+ disk add\n"
                            "[0-9]+ disk open\n"
                            "[0-9]+ disk read 4096 8192\n"
                            "[0-9]+ disk write 1024 512\n"
                            "[0-9]+ disk datasync 0 0\n"
                            "[0-9]+ disk trim 65536 4096\n"
                            "[0-9]+ disk trim 131072 4096\n"
                            "[0-9]+ disk write 135168 4096\n"
                            "[0-9]+ disk close\n$");
}

static void
errors_and_time_are_those_of_the_disk(void)
{
    const char *path = run_path("late");
    struct run r = { 0 };
    unsigned us = 0;

    RUN(r,
        "trace file=%s | error op=write errno=ENOSPC | delay time=20ms "
        "op=read | memory size=1M",
        path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -ENOSPC);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    run_close(&r);
    check_regex(text(path), "write off=0 len=512 flags=- status=-28 ");
    CHECK_EQ(sscanf(strstr(text(path), "read"),
                    "read off=0 len=512 flags=- status=0 latency_us=%u", &us),
             1);
    CHECK(us >= 19000 && us < 600000000);
}

static void
filter_chooses_lines(void)
{
    const char *path = run_path("some");
    struct run r = { 0 };

    RUN(r, "trace file=%s op=write from=64k to=128k | memory size=1M", path);
    run_io(&r, BLK_WRITE, 0, 0, buf, 512);
    run_io(&r, BLK_READ, 0, 65536, buf, 512);
    run_io(&r, BLK_WRITE, 0, 65536, buf, 512);
    run_io(&r, BLK_WRITE, 0, 131072, buf, 512);
    run_close(&r);
    CHECK_EQ(count(text(path), "\n"), 1);
    check_regex(text(path), " write off=65536 len=512 ");
}

static void
journal_without_a_file(void)
{
    struct run r = { 0 };
    const char *log;

    run_log();
    RUN(r, "trace format=json | memory size=1M");
    run_io(&r, BLK_WRITE, 0, 0, buf, 512);
    log = run_log();
    CHECK(strstr(log, "\"op\":\"write\",\"off\":0,\"len\":512"));
    CHECK_EQ(count(log, "\n"), 1);
    CHECK_EQ(run_counter(&r, 0, "journal"), 1);
    run_close(&r);
    CHECK(run_open(&r, RUN_READWRITE, "trace format=iolog | memory size=1M"));
    CHECK(strstr(r.why, "file: expected a path, because format is iolog"));
}

/* ---- in the background --------------------------------------------------- */

static uint64_t
loop_now(struct run *r)
{
    return r->loop->ops->now(r->loop);
}

static void
idle_disks_wake_nobody(void)
{
    const char *path = run_path("idle");
    struct run r = { 0 };
    uint64_t start;
    unsigned timers, lines, tries = 0;

again:
    RUN(r, "trace file=%s mode=truncate | memory size=1M", path);
    timers = r.timers;
    run_sleep(&r, 30000000);
    CHECK_EQ(r.timers, timers);
    start = loop_now(&r);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    timers = r.timers - timers;
    lines = count(text(path), "\n");
    if (loop_now(&r) - start >= 900000000 && ++tries < 20) {
        run_close(&r); /* it had time to write them */
        goto again;
    }
    CHECK_EQ(timers, 1);
    CHECK_EQ(lines, 0);
    timers = r.timers;
    RUN_WAIT(r, count(text(path), "\n") == 2);
    CHECK(loop_now(&r) - start >= 990000000);
    CHECK_EQ(r.timers, timers);
    run_close(&r);
}

static void
pause_writes_all(void)
{
    const char *path = run_path("paused");
    struct run r = { 0 };

    RUN(r, "trace file=%s | memory size=1M", path);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(count(text(path), "\n"), 1);
    CHECK_EQ(run_resume(&r), 0);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    run_close(&r);
    CHECK_EQ(count(text(path), "\n"), 2);
}

static void
half_full_is_written(void)
{
    const char *path = run_path("half");
    struct run r = { 0 };
    unsigned i;

    RUN(r, "trace file=%s buffer=4k | memory size=1M", path);
    for (i = 0; i < 200; i++) {
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
        if (i % 10 == 9 && i >= 39)
            RUN_WAIT(r, count(text(path), "\n") + 39 > i);
    }
    run_close(&r);
    CHECK_EQ(count(text(path), "\n"), 200);
}

static int
fault_hold(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_WRITE ? RUN_HOLD : 0;
}

/* A file that hangs: requests go on, lines are lost and counted, and what is
 * left in the file is whole lines. */
static void
slow_files_hold_nobody_up(void)
{
    const char *path = run_path("slow"), *all;
    struct run r = { 0 };
    uint64_t dropped;
    unsigned i;

    RUN(r, "trace file=%s buffer=4k | memory size=1M", path);
    r.fault = fault_hold;
    for (i = 0; i < 500; i++)
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(r.helds, 1);
    dropped = run_counter(&r, 0, "dropped");
    CHECK(dropped > 300 && dropped < 500);
    CHECK_EQ(run_counter(&r, 0, "lines") + dropped, 500);
    r.fault = NULL;
    run_release(&r, 0);
    run_close(&r);
    all = text(path);
    CHECK_EQ(count(all, "\n"), 500 - dropped);
    CHECK_EQ(count(all, " read off=0 len=512 flags=- status=0 latency_us="),
             500 - dropped);
}

static int
fault_full(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_WRITE ? -ENOSPC : 0;
}

static int
fault_short(struct run *r, struct blk_io *io)
{
    uint64_t dice = run_random(r) % 4;

    if (io->op != BLK_IO_WRITE)
        return 0;
    return dice == 0 ? RUN_SHORT : dice == 1 ? -EINTR : 0;
}

static void
full_files_cost_lines_only(void)
{
    const char *path = run_path("full");
    struct run r = { 0 };
    char out[100];

    RUN(r, "trace file=%s | memory size=1M", path);
    r.fault = fault_full;
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    run_log();
    CHECK_EQ(run_command(&r, "trace", "flush", out, sizeof(out)), 0);
    RUN_WAIT(r, run_counter(&r, 0, "dropped") == 2);
    CHECK_EQ(run_counter(&r, 0, "write_errors"), 1);
    CHECK(strstr(run_log(), "lines of the trace are lost: No space left"));
    r.fault = NULL;
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    run_close(&r);
    CHECK_EQ(count(text(path), "\n"), 1);
}

static void
short_writes_lose_nothing(void)
{
    const char *path = run_path("short");
    struct run r = { .seed = 3 };
    unsigned i;

    RUN(r, "trace file=%s buffer=4k | memory size=1M", path);
    r.fault = fault_short;
    for (i = 0; i < 300; i++) {
        CHECK_EQ(run_io(&r, BLK_READ, 0, 512 * i, buf, 512), 0);
        if (i % 10 == 9 && i >= 49)
            RUN_WAIT(r, count(text(path), "\n") + 49 > i);
    }
    run_close(&r);
    CHECK_EQ(count(text(path), " status=0 latency_us="), 300);
    CHECK_EQ(count(text(path), "\n"), 300);
}

/* ---- files --------------------------------------------------------------- */

static void
append_and_truncate(void)
{
    const char *path = run_path("mode");
    struct run r = { 0 };
    struct stat st;
    unsigned i;

    for (i = 0; i < 3; i++) {
        RUN(r, "trace file=%s format=iolog mode=%s | memory size=1M", path,
            i == 2 ? "truncate" : "append");
        run_io(&r, BLK_READ, 0, 0, buf, 512);
        run_close(&r);
        CHECK_EQ(count(text(path), "disk read"), i == 1 ? 2 : 1);
        CHECK_EQ(count(text(path), "iolog"), 1);
        CHECK_EQ(count(text(path), "disk add"), 1);
        CHECK_EQ(count(text(path), "disk open"), i == 1 ? 2 : 1);
        CHECK_EQ(count(text(path), "disk close"), i == 1 ? 2 : 1);
    }
    REQUIRE(!stat(path, &st));
    CHECK_EQ(st.st_mode & 0137, 0);
}

static void
change_goes_on_in_the_file(void)
{
    const char *path = run_path("change");
    struct run r = { 0 };

    RUN(r, "trace file=%s format=iolog mode=truncate | memory size=1M", path);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    CHECK_EQ(run_replace(&r,
                         "trace file=%s format=iolog mode=truncate "
                         "buffer=8k | memory size=1M",
                         path),
             0);
    run_io(&r, BLK_WRITE, 0, 0, buf, 512);
    CHECK(run_replace(&r,
                      "trace file=%s format=iolog mode=truncate "
                      "| memory size=4k",
                      path));
    CHECK(run_replace(&r,
                      "trace name=top file=/nonexistent/t | trace file=%s "
                      "format=iolog mode=truncate | memory size=1M",
                      path));
    run_io(&r, BLK_READ, 0, 512, buf, 512);
    run_close(&r);
    check_regex(text(path), "^fio version 3 iolog\n"
                            "[0-9]+ disk add\n"
                            "[0-9]+ disk open\n"
                            "[0-9]+ disk read 0 512\n"
                            "[0-9]+ disk close\n"
                            "[0-9]+ disk open\n"
                            "[0-9]+ disk write 0 512\n"
                            "([0-9]+ disk close\n"
                            "[0-9]+ disk open\n)+"
                            "[0-9]+ disk read 512 512\n"
                            "[0-9]+ disk close\n$");
}

static void
rotate_loses_nothing(void)
{
    const char *path = run_path("rotate"), *old = run_path("rotate.1");
    struct run r = { 0 };
    char out[200];
    unsigned i;

    RUN(r, "trace file=%s format=iolog | memory size=1M", path);
    for (i = 0; i < 20; i++)
        run_io(&r, BLK_READ, 0, 0, buf, 512);
    REQUIRE(!rename(path, old));
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), 0);
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), -EBUSY);
    for (i = 0; i < 20; i++)
        run_io(&r, BLK_READ, 0, 0, buf, 512);
    RUN_WAIT(r, count(text(path), "disk open") == 1);
    for (i = 0; i < 20; i++)
        run_io(&r, BLK_WRITE, 0, 0, buf, 512);
    run_close(&r);
    i = count(text(old), "disk read");
    check_regex(text(old), "^fio version 3 iolog\n.*disk close\n$");
    i += count(text(path), "disk read");
    CHECK_EQ(i, 40);
    CHECK_EQ(count(text(path), "disk write"), 20);
    check_regex(text(path),
                "^fio version 3 iolog\n[0-9]+ disk add\n[0-9]+ disk "
                "open\n.*disk close\n$");
}

/* A rotate that is under way when the disk pauses, or closes. */
static void
rotate_is_waited_for(void)
{
    const char *path = run_path("hurry"), *old = run_path("hurry.1");
    struct run r = { 0 };
    char out[200];

    RUN(r, "trace file=%s format=iolog | memory size=1M", path);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    REQUIRE(!rename(path, old));
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), 0);
    CHECK_EQ(run_pause(&r), 0);
    check_regex(text(old), "disk read 0 512\n[0-9]+ disk close\n$");
    check_regex(text(path), "disk open\n[0-9]+ disk close\n$");
    CHECK_EQ(run_resume(&r), 0);
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), 0);
    run_close(&r);
    check_regex(text(path), "disk close\n$");
}

static void
rotate_works_while_paused(void)
{
    const char *path = run_path("night"), *old = run_path("night.1");
    struct run r = { 0 };
    char out[200];

    RUN(r, "trace file=%s format=iolog | memory size=1M", path);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    CHECK_EQ(run_pause(&r), 0);
    REQUIRE(!rename(path, old));
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), 0);
    RUN_WAIT(r, count(text(path), "disk add") == 1);
    CHECK_EQ(run_resume(&r), 0);
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), 0);
    run_close(&r);
    check_regex(text(path), "^fio version 3 iolog\n[0-9]+ disk add\n"
                            "[0-9]+ disk open\n[0-9]+ disk read 0 512\n"
                            "[0-9]+ disk close\n");
    check_regex(text(path), "disk close\n$");
}

static void
rotate_that_fails_stays(void)
{
    const char *dir = run_path("gone");
    struct run r = { 0 };
    char out[200], path[400], moved[300];

    REQUIRE(!mkdir(dir, 0700));
    snprintf(path, sizeof(path), "%s/trace", dir);
    snprintf(moved, sizeof(moved), "%s.moved", dir);
    RUN(r, "trace file=%s | memory size=1M", path);
    REQUIRE(!rename(dir, moved));
    run_log();
    CHECK_EQ(run_command(&r, "trace", "rotate", out, sizeof(out)), 0);
    RUN_WAIT(r, strstr(run_log(), "the old file stays"));
    run_io(&r, BLK_READ, 0, 0, buf, 512);
    run_close(&r);
    snprintf(path, sizeof(path), "%s/trace", moved);
    CHECK_EQ(count(text(path), "\n"), 1);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(text_lines_are_golden);
    TEST(json_lines_are_golden);
    TEST(iolog_lines_are_golden);
    TEST(errors_and_time_are_those_of_the_disk);
    TEST(filter_chooses_lines);
    TEST(journal_without_a_file);
    TEST(idle_disks_wake_nobody);
    TEST(pause_writes_all);
    TEST(half_full_is_written);
    TEST(slow_files_hold_nobody_up);
    TEST(full_files_cost_lines_only);
    TEST(short_writes_lose_nothing);
    TEST(append_and_truncate);
    TEST(change_goes_on_in_the_file);
    TEST(rotate_loses_nothing);
    TEST(rotate_is_waited_for);
    TEST(rotate_works_while_paused);
    TEST(rotate_that_fails_stays);
    return test_end();
}
