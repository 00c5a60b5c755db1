/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file plugin's data path, on the real engine and loop. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/plugin_model.h"

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));

/* ---- integrity ----------------------------------------------------------- */

static bool no_uring;

/* Plays, then opens the file again and compares all of it. */
static void
play(uint64_t seed, const char *options, unsigned n,
     int (*fault)(struct run *, struct blk_io *), bool trim)
{
    const char *path = run_file("disk", 6 << 20);
    struct run r = { .seed = seed, .no_uring = no_uring };
    struct model m;

    RUN(r, "file path=%s %s", path, options);
    r.fault = fault;
    model_init(&m, &r, 6 << 20);
    m.trim = trim;
    model_play(&m, n);
    CHECK_EQ(m.errors, 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    RUN(r, "file path=%s", path);
    model_check(&m);
    model_free(&m);
    run_close(&r);
}

static void
holds_what_was_written(void)
{
    play(11, "direct=auto", 1500, NULL, true);
}

static void
holds_what_was_written_buffered(void)
{
    play(12, "direct=off", 1500, NULL, true);
}

static void
holds_what_was_written_by_workers(void)
{
    no_uring = true;
    play(16, "direct=auto", 400, NULL, true);
    play(17, "direct=off", 400, NULL, true);
    no_uring = false;
}

/* Half of all reads and writes come short; some want to be started again. */
static int
fault_short(struct run *r, struct blk_io *io)
{
    uint64_t dice = run_random(r) % 100;

    if (io->op != BLK_IO_READ && io->op != BLK_IO_WRITE)
        return dice < 5 ? -EINTR : 0;
    return dice < 50 ? RUN_SHORT : dice < 55 ? -EAGAIN : dice < 60 ? -EINTR : 0;
}

static void
goes_on_after_short_io(void)
{
    play(13, "direct=off", 600, fault_short, true);
    play(14, "direct=auto", 300, fault_short, true);
}

static int
fault_no_punch(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_PUNCH ? -EOPNOTSUPP : 0;
}

static void
zeroes_without_punch(void)
{
    struct run r = { 0 };

    play(15, "direct=off", 300, fault_no_punch, false);

    RUN(r, "file path=%s", run_file("disk", 1 << 20));
    r.fault = fault_no_punch;
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 65536), -EOPNOTSUPP);
    CHECK_EQ(run_io(&r, BLK_ZERO, BLK_UNMAP, 0, NULL, 65536), 0);
    CHECK_EQ(run_counter(&r, 0, "zeroed"), 65536);
    CHECK_EQ(run_counter(&r, 0, "punched"), 0);
    run_close(&r);
}

static int
fault_again(struct run *r, struct blk_io *io)
{
    (void)r;
    (void)io;
    return -EAGAIN;
}

static void
gives_up_when_nothing_moves(void)
{
    struct run r = { 0 };

    RUN(r, "file path=%s", run_file("disk", 1 << 20));
    r.fault = fault_again;
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), -EAGAIN);
    CHECK_EQ(run_counter(&r, 0, "retried"), 16);
    run_close(&r);
}

/* ---- space --------------------------------------------------------------- */

static uint64_t
blocks(const char *path)
{
    struct stat st;

    REQUIRE(!stat(path, &st));
    return (uint64_t)st.st_blocks * 512;
}

/* The file system needs a block for itself here and there. */
static bool
near(uint64_t found, uint64_t expected)
{
    return found + (16 << 10) >= expected && found <= expected + (16 << 10);
}

static void
discard_gives_space_back(void)
{
    const char *path = run_file("disk", 8 << 20);
    struct run r = { 0 };
    uint64_t full;

    RUN(r, "file path=%s", path);
    memset(buf, 0x5a, sizeof(buf));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 1 << 20), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    full = blocks(path);
    CHECK(full >= 1 << 20);

    /* The edges are no whole blocks: they stay. */
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 512, NULL, (512 << 10) - 1024), 0);
    CHECK(blocks(path) <= full - (500 << 10));
    CHECK(run_counter(&r, 0, "punched") >= 500 << 10);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 1024), 0);
    CHECK_EQ(buf[511], 0x5a);
    CHECK_EQ(buf[1023], 0x5a);

    /* Less than one block: nothing, and no error. */
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 512, NULL, 512), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 512, buf, 512), 0);
    CHECK_EQ(buf[0], 0x5a);

    full = blocks(path);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 512 << 10, NULL, 128 << 10), 0);
    CHECK(near(blocks(path), full));
    CHECK_EQ(run_io(&r, BLK_ZERO, BLK_UNMAP, 512 << 10, NULL, 256 << 10), 0);
    CHECK(near(blocks(path), full - (256 << 10)));
    memset(buf, 1, 4096);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 600 << 10, buf, 4096), 0);
    CHECK(!buf[0] && !memcmp(buf, buf + 1, 4095));
    run_close(&r);
}

static void
full_file_system_is_said(void)
{
    const char *path = run_path("small"), *line;
    struct run r = { 0 };
    char image[300];

    REQUIRE(!mkdir(path, 0700));
    if (mount("none", path, "tmpfs", 0, "size=1m")) {
        printf("not tried: no tmpfs can be mounted here\n");
        return;
    }
    snprintf(image, sizeof(image), "%s/disk", path);
    REQUIRE(!close(open(image, O_CREAT | O_RDWR | O_CLOEXEC, 0600)));
    REQUIRE(!truncate(image, 4 << 20));
    RUN(r, "file path=%s", image);
    run_log();
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 256 << 10), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 1 << 20, buf, 1 << 20), -ENOSPC);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 2 << 20, buf, 1 << 20), -ENOSPC);
    CHECK_EQ(run_counter(&r, 0, "full"), 2);
    line = run_log();
    CHECK(strstr(line, "no space left for a write of 1048576 bytes at 1048576: "
                       "its file system is full"));
    CHECK(!strstr(line, "at 2097152"));
    /* Others go on, and space that is given back is space again. */
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 1 << 20, NULL, 2 << 20), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 3 << 20, buf, 512 << 10), 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    CHECK(!umount(path));
}

/* ---- errors -------------------------------------------------------------- */

static bool sync_fails;

static int
fault_sync(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_SYNC && sync_fails ? -EIO : 0;
}

static void
failed_sync_is_final(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };
    char want[400];

    RUN(r, "file path=%s direct=off", path);
    r.fault = fault_sync;
    sync_fails = true;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    sync_fails = false; /* as the kernel has it: it tells once */
    CHECK_EQ(r.fatals, 1);
    snprintf(want, sizeof(want),
             "%s: sync failed (Input/output error): writes may be lost, no "
             "more are taken until the file is opened again",
             path);
    CHECK(strstr(r.fatal, want));
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(r.fatals, 1);
    CHECK_EQ(run_counter(&r, 0, "sync_errors"), 1);
    CHECK_EQ(run_counter(&r, 0, "failed"), 1);

    /* Another instance on the same open file knows. */
    CHECK_EQ(run_replace(&r, "trace | file path=%s direct=off lock=true", path),
             0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    run_close(&r);
    RUN(r, "file path=%s direct=off", path);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    run_close(&r);
}

static int
fault_fua(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_WRITE && io->fua ? -EIO : 0;
}

static void
failed_fua_is_final(void)
{
    struct run r = { 0 };

    RUN(r, "file path=%s", run_file("disk", 1 << 20));
    if (!run_counter(&r, 0, "direct")) {
        printf("not tried: no direct I/O here\n");
        run_close(&r);
        return;
    }
    r.fault = fault_fua;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, buf, 4096), -EIO);
    CHECK_EQ(r.fatals, 1);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EIO);
    run_close(&r);
}

/* Without direct I/O a FUA write is a write and a sync of the engine. */
static unsigned syncs;

static int
fault_count_syncs(struct run *r, struct blk_io *io)
{
    (void)r;
    syncs += io->op == BLK_IO_SYNC;
    CHECK(!io->fua);
    return 0;
}

static void
buffered_fua_syncs(void)
{
    struct run r = { 0 };

    RUN(r, "file path=%s direct=off", run_file("disk", 1 << 20));
    r.fault = fault_count_syncs;
    syncs = 0;
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, buf, 4096), 0);
    CHECK_EQ(syncs, 1);
    CHECK_EQ(run_io(&r, BLK_ZERO, BLK_FUA, 0, NULL, 4096), 0);
    CHECK_EQ(syncs, 2);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(syncs, 2);
    run_close(&r);
}

/* With it, a ZERO is no write that could carry the flag: the plugin syncs. */
static int
fault_see_syncs(struct run *r, struct blk_io *io)
{
    (void)r;
    syncs += io->op == BLK_IO_SYNC;
    return 0;
}

static void
direct_fua_zero_syncs(void)
{
    struct run r = { 0 };

    RUN(r, "file path=%s", run_file("disk", 1 << 20));
    if (run_counter(&r, 0, "direct")) {
        r.fault = fault_see_syncs;
        syncs = 0;
        CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, buf, 4096), 0);
        CHECK_EQ(syncs, 0);
        CHECK_EQ(run_io(&r, BLK_ZERO, BLK_FUA, 0, NULL, 4096), 0);
        CHECK_EQ(syncs, 1);
        CHECK_EQ(run_io(&r, BLK_ZERO, BLK_FUA | BLK_UNMAP, 0, NULL, 4096), 0);
        CHECK_EQ(syncs, 2);
        CHECK_EQ(run_io(&r, BLK_ZERO, 0, 0, NULL, 4096), 0);
        CHECK_EQ(syncs, 2);
    } else {
        printf("not tried: no direct I/O here\n");
    }
    run_close(&r);
}

static int
fault_read(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_READ ? -EIO : io->op == BLK_IO_WRITE ? -ENXIO : 0;
}

/* A bad sector is the business of its request alone. */
static void
bad_sectors_are_passed_on(void)
{
    struct run r = { 0 };

    RUN(r, "file path=%s", run_file("disk", 1 << 20));
    r.fault = fault_read;
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -ENXIO);
    r.fault = NULL;
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
}

static void
truncated_image_is_said(void)
{
    const char *path = run_file("disk", 1 << 20);
    struct run r = { 0 };

    RUN(r, "file path=%s", path);
    run_log();
    REQUIRE(!truncate(path, 512 << 10));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 768 << 10, buf, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, (512 << 10) - 4096, buf, 8192), -EIO);
    CHECK_EQ(run_counter(&r, 0, "truncated"), 2);
    CHECK(strstr(run_log(), "expected 1048576 bytes, found the end at or "
                            "before 786432: was it truncated?"));
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(holds_what_was_written);
    TEST(holds_what_was_written_buffered);
    TEST(holds_what_was_written_by_workers);
    TEST(goes_on_after_short_io);
    TEST(zeroes_without_punch);
    TEST(gives_up_when_nothing_moves);
    TEST(discard_gives_space_back);
    TEST(full_file_system_is_said);
    TEST(failed_sync_is_final);
    TEST(failed_fua_is_final);
    TEST(buffered_fua_syncs);
    TEST(direct_fua_zero_syncs);
    TEST(bad_sectors_are_passed_on);
    TEST(truncated_image_is_said);
    return test_end();
}
