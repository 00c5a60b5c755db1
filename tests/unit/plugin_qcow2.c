/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin: what it refuses and how, faults of the file, live changes,
 * and each of its options. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/sim/qcow2_image.h"
#include "tests/unit/plugin_model.h"

enum { DISK = 1 << 20 };

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));

static const struct image_format plain = { 3, 16, 4, false, false, DISK, 0 };
static const struct image_format fine = { 3, 9, 4, false, false, DISK, 0 };
static const struct image_format fine2 = { 2, 12, 4, false, false, DISK, 3 };

static void
stamp(uint8_t *sector, uint64_t number)
{
    memset(sector, (int)(number % 251) + 1, 512);
}

/* An image, changed by 64 bits at one place in it. */
static const char *
image(const struct image_format *f, size_t at, uint64_t value, unsigned bytes)
{
    const char *path = run_path("image");
    size_t len;
    uint8_t *p = image_make(f, &len, stamp), v[8];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    q2_put64(v, value);
    memcpy(p + at, v + 8 - bytes, bytes);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, p, len) == (ssize_t)len);
    close(fd);
    free(p);
    return path;
}

static void
judge(const char *path, bool closed)
{
    struct image_found found;
    uint8_t *p = calloc(1, 16 << 20);
    FILE *f = fopen(path, "re");
    size_t n, cluster;

    REQUIRE(f && p);
    n = fread(p, 1, 16 << 20, f);
    fclose(f);
    cluster = (size_t)1 << q2_get32(p + Q2_AT_CLUSTER_BITS);
    image_judge(p, (n + cluster - 1) / cluster * cluster, &found);
    free(p);
    CHECK_STR(found.wrong, "");
    CHECK_EQ(found.low, 0);
    CHECK_EQ(found.wrong_copied, 0);
    if (closed) {
        CHECK_EQ(found.high, 0);
        CHECK(!found.dirty);
    }
}

/* ---- refused ------------------------------------------------------------- */

static void
refused(const char *path, const char *options, const char *sentence)
{
    struct run r = { 0 };

    CHECK(run_open(&r, RUN_READWRITE, "qcow2 path=%s %s", path, options) < 0);
    if (!strstr(r.why, sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say: %s", r.why,
                  sentence);
    CHECK(strstr(r.why, "image") || strstr(r.why, "none"));
}

#define BAD(at, value, bytes, sentence) \
    refused(image(&plain, at, value, bytes), "", sentence)

static void
bad_headers(void)
{
    BAD(0, 0x7f454c46, 4, "expected a qcow2 image, found none");
    BAD(4, 1, 4, "expected version 2 or 3 of qcow2, found 1");
    BAD(4, 4, 4, "expected version 2 or 3 of qcow2, found 4");
    BAD(20, 8, 4, "expected clusters of 512 bytes to 2 MiB");
    BAD(20, 22, 4, "found 2 to the power of 22");
    BAD(24, 0, 8, "expected a disk of at least 512 bytes, found 0");
    BAD(24, 1ull << 60, 8, "expected a disk of less than 64 PiB");
    BAD(24, 1ull << 50, 8, "entries of L1 for");
    BAD(32, 1, 4, "without encryption of its own, found method 1");
    BAD(32, 2, 4, "found method 2");
    BAD(36, 1u << 30, 4, "expected at most 4194304 entries of L1");
    BAD(36, 0, 4, "expected 1 entries of L1");
    BAD(40, 0, 8, "expected the L1 table on a cluster of its own");
    BAD(40, 512, 8, "expected the L1 table on a cluster of its own");
    BAD(48, 0, 8, "expected the refcount table on a cluster");
    BAD(48, 1ull << 60, 8, "expected the refcount table on a cluster");
    BAD(56, 0, 4, "expected a refcount table of 1 to");
    BAD(56, 1 << 20, 4, "expected a refcount table of 1 to");
    BAD(60, 1 << 20, 4, "expected at most 65536 snapshots");
    BAD(96, 7, 4, "expected refcounts of at most 64 bits");
    BAD(100, 64, 4, "expected a header of at least 104 bytes");
    BAD(100, 1 << 20, 4, "expected a header of at least 104 bytes");
    BAD(72, 2, 8, "marked corrupt: repair it with qemu-img check -r all");
    BAD(72, 4, 8, "an external data file");
    BAD(72, 1ull << 40, 8, "the incompatible feature \"bit 40\"");
    refused(run_file("image-empty", 0), "", "expected a qcow2 image, found");
    refused(run_path("image-none"), "", "No such file");
}

/* A feature is called what the image itself calls it. */
static void
feature_by_name(void)
{
    const char *path = image(&plain, 72, 1ull << 9, 8);
    uint8_t ext[8 + 48] = { 0x68, 0x03, 0xf8, 0x57, 0, 0, 0, 48 };
    int fd = open(path, O_RDWR | O_CLOEXEC);

    ext[9] = 9;
    strcpy((char *)ext + 10, "time travel\n");
    REQUIRE(pwrite(fd, ext, sizeof(ext), 104) == sizeof(ext));
    close(fd);
    refused(path, "", "the incompatible feature \"time travel?\"");
}

static void
bad_compression(void)
{
    const char *path = image(&plain, 100, 112, 4);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t type = 1;

    REQUIRE(pwrite(fd, &type, 1, 104) == 1);
    refused(path, "", "expected compression type 0 without its feature bit");
    type = 9;
    REQUIRE(pwrite(fd, &type, 1, 104) == 1);
    REQUIRE(pwrite(fd, "\0\0\0\0\0\0\0\10", 8, 72) == 8);
    refused(path, "", "expected compression by zlib or zstd, found type 9");
    close(fd);
}

/* Tables outside the file: a truncated image is not taken for an empty one. */
static void
bad_tables(void)
{
    struct run r = { 0 };
    const char *path;

    refused(image(&plain, 3 << 16, (1ull << 63) | 90 << 16, 8), "",
            "expected L2 table 0 in the file");
    refused(image(&plain, 3 << 16, 512 * 3, 8), "",
            "expected L2 table 0 in the file");
    refused(image(&plain, 1 << 16, 90 << 16, 8), "",
            "expected refcount block 0 in the file");
    BAD(40, 1ull << 43, 8, "expected the L1 table in the file");
    BAD(48, 1ull << 43, 8, "expected the refcount table in the file");
    path = image(&plain, 60, 1, 4);
    int table = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(pwrite(table, "\0\0\10\0\0\0\0\0", 8, 64) == 8);
    close(table);
    refused(path, "", "expected the snapshot table in the file");
    path = image(&fine2, 0, Q2_MAGIC, 4);
    REQUIRE(!truncate(path, 20000));
    refused(path, "", "qemu-img check");
    /* An entry of L2 is looked at when it is needed: then the disk ends. */
    path = image(&plain, 0, Q2_MAGIC, 4);
    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    run_close(&r);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t wild[8];
    q2_put64(wild, Q2_COPIED | (1ull << 40));
    REQUIRE(pwrite(fd, wild, 8, 4 << 16) == 8);
    close(fd);
    RUN(r, "qcow2 path=%s", path);
    CHECK(run_io(&r, BLK_READ, 0, 0, buf, 4096) < 0);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.fatal, "the image is corrupt: the data of guest offset 0"));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 4096), -EIO);
    run_close(&r);
    /* And one that points at a table. */
    q2_put64(wild, Q2_COPIED | 3 << 16);
    fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(pwrite(fd, wild, 8, 4 << 16) == 8);
    close(fd);
    RUN(r, "qcow2 path=%s", path);
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 4096) < 0);
    CHECK(strstr(r.fatal, "data of the guest where tables are"));
    run_close(&r);
}

/* "This table is yours" without a table, and bits that mean nothing. */
static void
strange_l1(void)
{
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", image(&plain, 3 << 16, 0xc8ull << 56 | 0x101, 8));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, buf, 65536), 0);
    run_close(&r);
    judge(run_path("image"), true);
}

/* Counters that say that the cluster of a table is free. */
static void
bad_counters(void)
{
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", image(&plain, (2 << 16) + 6, 0, 2));
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 4096) < 0);
    CHECK(strstr(r.fatal, "a cluster in use counts as free"));
    run_close(&r);
}

/* ---- what is below ------------------------------------------------------- */

static const char *
image_over(const char *name)
{
    const char *path = image(&plain, 8, 600, 8);
    uint8_t len[4];
    int fd = open(path, O_RDWR | O_CLOEXEC);

    q2_put32(len, (uint32_t)strlen(name));
    REQUIRE(pwrite(fd, len, 4, 16) == 4);
    REQUIRE(pwrite(fd, name, strlen(name), 600) == (ssize_t)strlen(name));
    close(fd);
    return path;
}

static void
backing_must_be_named(void)
{
    const char *path = image_over("/srv/base.raw");
    struct run r = { 0 };

    refused(path, "",
            "expected backing = \"/srv/base.raw\" and a layer below, as the "
            "image names that file, found no layer");
    refused(path, "backing=/srv/base.raw", "found no layer");
    refused(path, "| memory size=1M",
            "expected backing = \"/srv/base.raw\", as the image names it, "
            "found none");
    refused(path, "backing=/etc/passwd | memory size=1M",
            "as the image names it, found \"/etc/passwd\"");
    RUN(r, "qcow2 path=%s backing=/srv/base.raw | memory size=1M", path);
    run_close(&r);
    path = image(&plain, 0, Q2_MAGIC, 4);
    refused(path, "backing=x | memory size=1M",
            "expected no backing here, as the image names no backing file");
    RUN(r, "qcow2 path=%s | memory size=1M", path);
    run_close(&r);
    path = image(&plain, 8, 70000, 8);
    refused(path, "", "expected the name of the backing file in the first");
}

/* ---- faults -------------------------------------------------------------- */

static int fault_error;
static unsigned fault_every;

/* Every so many writes and reads fail; syncs do not. */
static int
fault_some(struct run *r, struct blk_io *io)
{
    if (io->op == BLK_IO_SYNC || !fault_every || run_random(r) % fault_every)
        return 0;
    return run_random(r) % 3 ? fault_error : RUN_SHORT;
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
    const char *path = image(&fine, 0, Q2_MAGIC, 4);
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
    judge(path, false);
    /* If something had leaked, the mark would still be there. */
    RUN(r, "qcow2 path=%s", path);
    run_close(&r);
    judge(path, true);
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
        const struct image_format *f = seed % 2 ? &fine : &plain;
        const char *path = image(f, 0, Q2_MAGIC, 4);
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
                if (io[i].off + io[i].len > DISK)
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
        judge(path, false);
        RUN(r, "qcow2 path=%s", path);
        CHECK_EQ(run_counter(&r, 0, "mended"), 0);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, DISK), 0);
        run_close(&r);
        judge(path, true);
    }
}

static void
failed_sync(void)
{
    const char *path = image(&plain, 0, Q2_MAGIC, 4);
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
    judge(path, false);
}

/* ---- options and life ---------------------------------------------------- */

static void
options(void)
{
    const char *path = image(&plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 }, second = { 0 };
    uint64_t small;

    RUN(r, "qcow2 path=%s cache=256k", path);
    small = run_counter(&r, 0, "cache_bytes");
    CHECK_EQ(small, 256 << 10);
    CHECK(run_open(&second, RUN_READWRITE, "qcow2 path=%s", path) == -EBUSY);
    CHECK(strstr(second.why, "another writer has it"));
    RUN(second, "qcow2 path=%s lock=false", path);
    run_close(&second);
    run_close(&r);
    RUN(r, "qcow2 path=%s cache=1M direct=off", path);
    CHECK_EQ(run_counter(&r, 0, "cache_bytes"), 1 << 20);
    CHECK_EQ(run_counter(&r, 0, "direct"), 0);
    run_close(&r);
    CHECK(run_open(&r, RUN_READWRITE, "qcow2 path=%s cache=1k", path) < 0);
    CHECK(run_open(&r, RUN_READWRITE, "qcow2 cache=1M") < 0);
    if (!run_open(&r, RUN_READWRITE, "qcow2 path=%s direct=on", path)) {
        CHECK_EQ(run_counter(&r, 0, "direct"), 1);
        run_close(&r);
    } else {
        CHECK(strstr(r.why, "direct I/O"));
    }
}

/* Another instance under a running disk: the lock stays, so do the data. */
static void
replaced(void)
{
    const char *path = image(&fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 }, second = { 0 };
    char info[2000];

    RUN(r, "qcow2 path=%s", path);
    memset(buf, 0x5a, 8192);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 1024, buf, 8192), 0);
    CHECK_EQ(run_replace(&r, "qcow2 path=%s cache=1M", path), 0);
    CHECK_EQ(run_open(&second, RUN_READWRITE, "qcow2 path=%s", path), -EBUSY);
    memset(buf, 0, 8192);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 1024, buf, 8192), 0);
    CHECK_EQ(buf[0], 0x5a);
    CHECK_EQ(run_replace(&r, "qcow2 path=%s direct=off", path), 0);
    CHECK_EQ(run_open(&second, RUN_READWRITE, "qcow2 path=%s", path), -EBUSY);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 200 * 512, buf, 8192), 0);
    CHECK(run_replace(&r, "qcow2 path=%s backing=no", path) < 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 300 * 512, buf, 8192), 0);
    CHECK_EQ(run_command(&r, "qcow2", "info", info, sizeof(info)), 0);
    CHECK(strstr(info, path));
    CHECK(run_command(&r, "qcow2", "nonsense", info, sizeof(info)) < 0);
    CHECK_EQ(run_pause(&r), 0);
    judge(path, true); /* a pause leaves it clean */
    CHECK_EQ(run_resume(&r), 0);
    run_close(&r);
    judge(path, true);
}

static void
readonly(void)
{
    const char *path = image(&fine2, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    REQUIRE(!run_open(&r, RUN_READONLY, "qcow2 path=%s", path));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EROFS);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 16384), 0);
    CHECK_EQ(buf[0], 1);
    CHECK_EQ(buf[512], 2);
    CHECK_EQ(buf[4096], 0);
    CHECK_EQ(buf[12288], 25);
    run_close(&r);
    path = image(&plain, 72, Q2_CORRUPT | Q2_DIRTY, 8);
    REQUIRE(!run_open(&r, RUN_READONLY, "qcow2 path=%s", path));
    run_close(&r);
}

/* What a crash left is put right, and said. */
static void
mended(void)
{
    const char *path = image(&plain, 72, Q2_DIRTY, 8);
    struct run r = { 0 };
    int fd = open(path, O_RDWR | O_CLOEXEC);

    REQUIRE(pwrite(fd, "\0\1\0\2\0\0", 6, (2 << 16) + 8) == 6);
    REQUIRE(pwrite(fd, "\0\0", 2, (2 << 16) + 6) == 2); /* that of L1 */
    close(fd);
    run_log();
    RUN(r, "qcow2 path=%s", path);
    CHECK(strstr(run_log(), "2 clusters were counted but not used, 1 used but "
                            "not counted"));
    CHECK_EQ(run_counter(&r, 0, "leaked"), 2);
    CHECK_EQ(run_counter(&r, 0, "mended"), 1);
    run_close(&r);
    judge(path, true);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(bad_headers);
    TEST(feature_by_name);
    TEST(bad_compression);
    TEST(bad_tables);
    TEST(strange_l1);
    TEST(bad_counters);
    TEST(backing_must_be_named);
    TEST(no_space);
    TEST(errors);
    TEST(failed_sync);
    TEST(options);
    TEST(replaced);
    TEST(readonly);
    TEST(mended);
    return test_end();
}
