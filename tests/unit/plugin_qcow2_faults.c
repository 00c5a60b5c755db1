/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin when the file below fails: I/O errors at any step, a full
 * file system, a sync that fails once. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));

/* ---- faults -------------------------------------------------------------- */

static int fault_error;
static unsigned fault_every;

/* Every so many writes, reads and holes fail; syncs do not. */
static int
fault_some(struct run *r, struct blk_io *io)
{
    if (io->op == BLK_IO_SYNC || !fault_every || run_random(r) % fault_every)
        return 0;
    return run_random(r) % 3 || !io->n ? fault_error : RUN_SHORT;
}

static int
fault_sync(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_SYNC ? -EIO : 0;
}

static int
fault_full(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_WRITE && fault_every ? -ENOSPC : 0;
}

/* A full file system: an error, and nothing else; with space it goes on. */
static void
no_space(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    memset(buf, 1, sizeof(buf));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 8192), 0);
    r.fault = fault_full;
    fault_every = 1;
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536 * (1 + i), buf, 65536),
                 -ENOSPC);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 8192), 0);
    fault_every = 0;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 65536), 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    qcow2_judge(path, false);
    /* If something had leaked, the mark would still be there. */
    RUN(r, "qcow2 path=%s", path);
    run_close(&r);
    qcow2_judge(path, true);
}

/* Space for one piece of a write, not for the next: nothing leaks. */
static unsigned fault_after;

static int
fault_later(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op != BLK_IO_WRITE || io->len < 16384)
        return 0;
    return fault_after && !--fault_after ? -ENOSPC : 0;
}

static void
no_space_half_way(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    r.fault = fault_later;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 32768, buf, 512), 0);
    fault_after = 2;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 512, buf, 65536), -ENOSPC);
    CHECK_EQ(fault_after, 0);
    run_close(&r);
    qcow2_judge(path, true);
}

/* A file system that is really full, at any step: what was acknowledged is
 * there, the image is sound, and with space the same disk goes on. */
enum { SMALL = 1 << 20 };

static void
fill(const char *path, off_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(!posix_fallocate(fd, 0, bytes));
    close(fd);
}

static void
read_back(struct run *r, const bool *written, uint64_t n, uint32_t len)
{
    for (uint64_t i = 0; i < n; i++) {
        CHECK_EQ(run_io(r, BLK_READ, 0, i * len, buf, len), 0);
        for (uint32_t b = 0; b < len; b += 512) {
            if (written[i] || buf[b]) /* else: a part of one that failed */
                CHECK_EQ(buf[b], 1 + i % 250);
        }
    }
}

/* Writes what is not yet written; how many were. */
static unsigned
write_on(struct run *r, bool *written, uint64_t n, uint32_t len)
{
    unsigned done = 0;

    for (uint64_t i = 0; i < n; i++) {
        int error;

        if (written[i])
            continue;
        memset(buf, (int)(1 + i % 250), len);
        error = run_io(r, BLK_WRITE, 0, i * len, buf, len);
        if (error)
            CHECK_EQ(error, -ENOSPC);
        written[i] = !error;
        done += !error;
    }
    CHECK_EQ(run_io(r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    return done;
}

static void
full_one(const char *dir, const struct image_format *f, off_t room)
{
    const uint32_t len = 8192, n = QCOW2_DISK / len;
    bool written[QCOW2_DISK / 8192] = { 0 };
    char filler[300], command[700], small[300];
    struct run r = { 0 };

    snprintf(filler, sizeof(filler), "%s/filler", dir);
    snprintf(small, sizeof(small), "%s/image", dir);
    snprintf(command, sizeof(command), "cp %s %s",
             qcow2_image(f, 0, Q2_MAGIC, 4), small);
    REQUIRE(!system(command));
    fill(filler, SMALL / 2 - room);
    RUN(r, "qcow2 path=%s cache=256k", small);
    CHECK(write_on(&r, written, n, len) < n);
    CHECK(run_counter(&r, 0, "full") > 0);
    CHECK(strstr(run_log(), "its file system is full"));
    read_back(&r, written, n, len);
    REQUIRE(!unlink(filler));
    CHECK(write_on(&r, written, n, len) > 0);
    read_back(&r, written, n, len);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    qcow2_judge(small, true);
    RUN(r, "qcow2 path=%s", small);
    read_back(&r, written, n, len);
    run_close(&r);
    REQUIRE(!unlink(small));
}

static void
full_file_system(void)
{
    char dir[256];

    snprintf(dir, sizeof(dir), "%s", run_path("small"));
    REQUIRE(!mkdir(dir, 0700));
    if (mount("none", dir, "tmpfs", 0, "size=1m")) {
        printf("not tried: no tmpfs can be mounted here\n");
        return;
    }
    for (off_t room = 0; room < 24 * 4096; room += 4096) {
        full_one(dir, &qcow2_fine, room);
        if (!(room % 16384))
            full_one(dir, &qcow2_plain, room + (room & 65536));
    }
    CHECK(!umount(dir));
}

/* Entries that could not be written are in memory alone: what is written to
 * such a cluster next, or found to be there already, may end only when they
 * are on the medium.  The copy is what a kill would have left. */
static unsigned fault_tables;

static int
fault_entries(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op != BLK_IO_WRITE || io->off != 4 << 16 || !fault_tables)
        return 0;
    fault_tables--;
    return -EIO;
}

static void
killed_now(const char *path, uint64_t off, int byte)
{
    const char *copy = run_path("killed");
    struct run r = { 0 };
    char command[300];

    snprintf(command, sizeof(command), "cp %s %s", path, copy);
    REQUIRE(!system(command));
    RUN(r, "qcow2 path=%s", copy);
    CHECK_EQ(run_io(&r, BLK_READ, 0, off, buf, 4096), 0);
    CHECK_EQ(buf[0], byte);
    run_close(&r);
    qcow2_judge(copy, true);
}

static void
entries_not_written(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    r.fault = fault_entries;
    memset(buf, 7, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096),
             0); /* the table is there */
    memset(buf, 1, 4096);
    fault_tables = 1;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 4096), -EIO);
    memset(buf, 2, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 4096), 0);
    killed_now(path, 65536, 2);
    fault_tables = 1;
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 65536, NULL, 65536), -EIO);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 65536, NULL, 65536), 0);
    killed_now(path, 65536, 0);
    /* As long as they can't be, nothing is promised; reads go on. */
    fault_tables = 3;
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 0, NULL, 65536), -EIO);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 4096, NULL, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -EIO);
    CHECK_EQ(fault_tables, 0);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 4096, NULL, 4096), 0);
    killed_now(path, 0, 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    RUN(r, "qcow2 path=%s", path); /* what leaked is found */
    run_close(&r);
    qcow2_judge(path, true);
}

static void
way_over(struct run_io *io)
{
    ++*(unsigned *)io->data;
}

/* Errors and short I/O everywhere: requests may fail, the image may not. */
static void
errors(void)
{
    for (unsigned seed = 0; seed < 12; seed++) {
        const struct image_format *f = seed % 2 ? &qcow2_fine : &qcow2_plain;
        const char *path = qcow2_image(f, 0, Q2_MAGIC, 4);
        struct run r = { .seed = seed };
        struct run_io io[8] = { { 0 } };
        unsigned over = 0, begun = 0;

        RUN(r, "qcow2 path=%s cache=256k", path);
        r.seed = seed;
        fault_error = -EIO;
        fault_every = 6;
        r.fault = fault_some;
        while (over < 150) {
            for (unsigned i = 0; i < 8 && begun < 150; i++) {
                if (io[i].run && !io[i].done)
                    continue;
                memset(&io[i], 0, sizeof(io[i]));
                io[i].op = (uint8_t)(run_random(&r) % 6);
                if (io[i].op == 5)
                    io[i].op = BLK_WRITE;
                io[i].off = run_random(&r) % 2000 * 512;
                io[i].len = (uint32_t)(1 + run_random(&r) % 64) * 512;
                if (io[i].off + io[i].len > QCOW2_DISK)
                    io[i].len = 512;
                if (io[i].op == BLK_FLUSH)
                    io[i].off = io[i].len = 0;
                io[i].buf = buf + i * 65536;
                io[i].after = way_over;
                io[i].data = &over;
                begun++;
                run_start(&r, &io[i]);
            }
            r.loop->ops->run(r.loop);
        }
        fault_every = 0;
        CHECK_EQ(r.fatals, 0);
        run_close(&r);
        qcow2_judge(path, false);
        RUN(r, "qcow2 path=%s", path);
        CHECK_EQ(run_counter(&r, 0, "mended"), 0);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, QCOW2_DISK), 0);
        run_close(&r);
        qcow2_judge(path, true);
    }
}

static void
failed_sync(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    r.fault = fault_sync;
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    r.fault = NULL;
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.fatal, "sync failed"));
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    run_close(&r);
    qcow2_judge(path, false);
}
/* What a discard sets free is space of the file system again; not so what a
 * snapshot needs, nor with a ZERO that must keep its space. */
static void
space_given_back(void)
{
    static const struct image_format kept = { 3,    16,         4, false,
                                              true, QCOW2_DISK, 1 };
    char dir[256], small[300], command[700];
    struct stat before, after;
    struct run r = { 0 };

    snprintf(dir, sizeof(dir), "%s", run_path("space"));
    snprintf(small, sizeof(small), "%s/image", dir);
    REQUIRE(!mkdir(dir, 0700));
    if (mount("none", dir, "tmpfs", 0, "size=8m")) {
        printf("not tried: no tmpfs can be mounted here\n");
        return;
    }
    snprintf(command, sizeof(command), "cp %s %s",
             qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4), small);
    REQUIRE(!system(command));
    RUN(r, "qcow2 path=%s", small);
    memset(buf, 1, sizeof(buf));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, QCOW2_DISK), 0);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 0, NULL, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(run_counter(&r, 0, "punched"), 0);
    REQUIRE(!stat(small, &before));
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 65536, NULL, 65536 * 12 + 512), 0);
    CHECK_EQ(run_io(&r, BLK_ZERO, BLK_UNMAP, 65536 * 14, NULL, 65536), 0);
    CHECK_EQ(run_counter(&r, 0, "punched"), 0); /* it is not durable */
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    CHECK_EQ(run_counter(&r, 0, "punched"), 65536 * 13);
    REQUIRE(!stat(small, &after));
    CHECK_EQ(before.st_blocks - after.st_blocks, 65536 * 13 / 512);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 65536 * 13, buf, 65536), 0);
    CHECK_EQ(buf[0] + buf[65535], 2);
    run_close(&r);
    qcow2_judge(small, true);
    snprintf(command, sizeof(command), "cp %s %s",
             qcow2_image(&kept, 0, Q2_MAGIC, 4), small);
    REQUIRE(!system(command));
    RUN(r, "qcow2 path=%s", small);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, QCOW2_DISK), 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_counter(&r, 0, "punched"), 0);
    run_close(&r);
    qcow2_judge(small, true);
    CHECK(!umount(dir));
}

/* A disk that has ended is not freed while the file is still being worked on.
 */
static int
fault_hole(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op == BLK_IO_PUNCH)
        return RUN_HOLD;
    return io->op == BLK_IO_SYNC && fault_every ? -EIO : 0;
}

static bool let_go;

static void
let_go_fire(struct blk_timer *t)
{
    let_go = true;
    run_release(t->data, 0);
}

static void
ended_while_busy(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 };
    struct blk_timer t = { .fire = let_go_fire, .data = &r };
    int fd = open(run_file("holes", 4096), O_RDWR | O_CLOEXEC);

    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)) {
        printf("not tried: this file system makes no holes\n");
        close(fd);
        return;
    }
    close(fd);
    RUN(r, "qcow2 path=%s", path);
    r.fault = fault_hole;
    fault_every = 0;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    RUN_WAIT(r, r.helds);
    fault_every = 1;
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    CHECK_EQ(r.fatals, 1);
    r.loop->ops->timer_start(r.loop, &t, 50000000);
    run_close(&r);
    CHECK(let_go);
    fault_every = 0;
}

/* No space for a larger refcount table: it is tried at the same place again,
 * so that the file does not become longer by each try. */
static int
fault_behind(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_WRITE && io->off >= 8 << 20 ? -ENOSPC : 0;
}

static void
no_space_for_counters(void)
{
    static const struct image_format long_one = { 3,     9,        4, false,
                                                  false, 12 << 20, 0 };
    const char *path = qcow2_image(&long_one, 0, Q2_MAGIC, 4);
    uint64_t at = 0;
    struct run r = { 0 };
    struct stat st;

    RUN(r, "qcow2 path=%s", path);
    r.fault = fault_behind;
    while (!run_io(&r, BLK_WRITE, 0, at, buf, 256 << 10))
        at += 256 << 10;
    CHECK(at > 6 << 20 && at < 8 << 20);
    for (unsigned i = 0; i < 200; i++)
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, at, buf, 256 << 10), -ENOSPC);
    r.fault = NULL;
    for (; at < 12 << 20; at += 256 << 10)
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, at, buf, 256 << 10), 0);
    run_close(&r);
    REQUIRE(!stat(path, &st));
    CHECK(st.st_size < 14 << 20);
    qcow2_judge(path, true);
}

/* Each sync of a disk's life in turn: the request that needed it fails, no
 * other write is taken, and what an earlier flush covered is there. */
static unsigned fault_left;

static int
fault_one_sync(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op != BLK_IO_SYNC || !fault_left)
        return 0;
    return --fault_left ? 0 : -EIO;
}

/* How many writes a flush has covered. */
static unsigned
write_and_flush(struct run *r)
{
    unsigned flushed = 0;

    for (unsigned i = 0; i < 6; i++) {
        const bool failed = r->fatals;
        int error;

        memset(buf, (int)(1 + i), 4096);
        error = run_io(r, BLK_WRITE, 0, i * 100 * 1024, buf, 4096);
        if (!error)
            error = run_io(r, BLK_FLUSH, 0, 0, NULL, 0);
        CHECK_EQ(error, r->fatals ? -EIO : 0);
        CHECK(!failed || error);
        if (!error)
            flushed = i + 1;
    }
    return flushed;
}

static void
each_sync_fails_once(void)
{
    for (unsigned nth = 1;; nth++) {
        const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
        struct run r = { 0 };
        unsigned flushed;

        RUN(r, "qcow2 path=%s", path);
        r.fault = fault_one_sync;
        fault_left = nth;
        flushed = write_and_flush(&r);
        if (fault_left) { /* there are not so many */
            CHECK(nth > 6);
            CHECK_EQ(flushed, 6);
            run_close(&r);
            break;
        }
        CHECK_EQ(r.fatals, 1);
        run_close(&r);
        qcow2_judge(path, false);
        RUN(r, "qcow2 path=%s", path);
        for (unsigned i = 0; i < flushed; i++) {
            CHECK_EQ(run_io(&r, BLK_READ, 0, i * 100 * 1024, buf, 4096), 0);
            CHECK_EQ(buf[4095], 1 + i);
        }
        run_close(&r);
        qcow2_judge(path, true);
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(no_space);
    TEST(no_space_half_way);
    TEST(full_file_system);
    TEST(no_space_for_counters);
    TEST(space_given_back);
    TEST(ended_while_busy);
    TEST(entries_not_written);
    TEST(errors);
    TEST(failed_sync);
    TEST(each_sync_fails_once);
    return test_end();
}
