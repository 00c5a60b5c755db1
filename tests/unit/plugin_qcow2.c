/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin: what it refuses and how, live changes, and each of its
 * options. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));

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
    refused(qcow2_image(&qcow2_plain, at, value, bytes), "", sentence)

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
    BAD(72, 4, 8, "expected data-file with the path of the file");
    BAD(72, 1ull << 40, 8, "the incompatible feature \"bit 40\"");
    refused(run_file("image-empty", 0), "", "expected a qcow2 image, found");
    refused(run_path("image-none"), "", "No such file");
}

/* A feature is called what the image itself calls it. */
static void
feature_by_name(void)
{
    const char *path = qcow2_image(&qcow2_plain, 72, 1ull << 9, 8);
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
    const char *path = qcow2_image(&qcow2_plain, 100, 112, 4);
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

    refused(qcow2_image(&qcow2_plain, 3 << 16, (1ull << 63) | 90 << 16, 8), "",
            "expected L2 table 0 in the file");
    refused(qcow2_image(&qcow2_plain, 3 << 16, 512 * 3, 8), "",
            "expected L2 table 0 in the file");
    refused(qcow2_image(&qcow2_plain, 1 << 16, 90 << 16, 8), "",
            "expected refcount block 0 in the file");
    /* Nor are the header, L1 or the table of refcount blocks other tables. */
    for (uint64_t at = 0x10000; at <= 0x30000; at += 0x20000) {
        refused(qcow2_image(&qcow2_plain, 3 << 16, Q2_COPIED | at, 8), "",
                "expected L2 table 0 in the file");
        refused(qcow2_image(&qcow2_plain, 1 << 16, at, 8), "",
                "expected refcount block 0 in the file");
    }
    BAD(40, 1ull << 43, 8, "expected the L1 table in the file");
    BAD(48, 1ull << 43, 8, "expected the refcount table in the file");
    path = qcow2_image(&qcow2_plain, 60, 1, 4);
    int table = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(pwrite(table, "\0\0\10\0\0\0\0\0", 8, 64) == 8);
    close(table);
    refused(path, "", "expected the snapshot table in the file");
    path = qcow2_image(&qcow2_fine2, 0, Q2_MAGIC, 4);
    REQUIRE(!truncate(path, 20000));
    refused(path, "", "qemu-img check");
    /* An entry of L2 is looked at when it is needed: then the disk ends. */
    path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
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
    refused(path, "", "the image is marked corrupt: repair it with qemu-img");
    /* And one that points at a table. */
    q2_put64(wild, Q2_COPIED | 3 << 16);
    fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(pwrite(fd, "\0\0\0\0\0\0\0\0", 8, Q2_AT_INCOMPATIBLE) == 8);
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

    RUN(r, "qcow2 path=%s",
        qcow2_image(&qcow2_plain, 3 << 16, 0xc8ull << 56 | 0x101, 8));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, buf, 65536), 0);
    run_close(&r);
    qcow2_judge(run_path("image"), true);
}

/* A discard is not done by way of an entry that can't be true: what it names
 * would be counted down. */
static void
bad_entry_discarded(void)
{
    static const uint64_t wild[] = { 1ull << 40, 3 << 16 | 512,
                                     1ull << 40 | Q2_ZERO, 3 << 16 | Q2_ZERO };

    for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
        struct run r = { 0 };
        uint8_t entry[8], count[2];
        int fd;

        RUN(r, "qcow2 path=%s", path);
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 4096), 0);
        run_close(&r);
        fd = open(path, O_RDWR | O_CLOEXEC);
        q2_put64(entry, wild[i]);
        REQUIRE(pwrite(fd, entry, 8, 4 << 16) == 8);
        RUN(r, "qcow2 path=%s", path);
        run_io(&r, BLK_DISCARD, 0, 0, NULL, 65536);
        CHECK_EQ(r.fatals, 1);
        CHECK(strstr(r.fatal, "the image is corrupt"));
        run_close(&r);
        REQUIRE(pread(fd, count, 2, (2 << 16) + 6) == 2); /* of L1 */
        CHECK_EQ(count[1], 1);
        close(fd);
    }
}

/* A discard of a large and empty disk looks at one table after the other. */
static void
long_discard(void)
{
    static const struct image_format wide = {
        3, 9, 4, false, false, 4 << 20, 0
    };
    const char *path = qcow2_image(&wide, 0, Q2_MAGIC, 4);
    const uint64_t size = 1ull << 30;
    struct run r = { 0 };
    uint8_t v[8];
    int fd = open(path, O_RDWR | O_CLOEXEC);

    /* L1 at the end: 32768 tables, none of which is there. */
    REQUIRE(!ftruncate(fd, (1 << 20) + (size >> 15) * 8));
    q2_put64(v, size);
    REQUIRE(pwrite(fd, v, 8, Q2_AT_SIZE) == 8);
    q2_put64(v, 1 << 20);
    REQUIRE(pwrite(fd, v, 8, Q2_AT_L1) == 8);
    q2_put32(v, (uint32_t)(size >> 15));
    REQUIRE(pwrite(fd, v, 4, Q2_AT_L1_ENTRIES) == 4);
    close(fd);
    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, (uint32_t)size), 0);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 0, NULL, (uint32_t)size), 0);
    run_close(&r);
}

/* Counters that say that the cluster of a table is free. */
static void
bad_counters(void)
{
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", qcow2_image(&qcow2_plain, (2 << 16) + 6, 0, 2));
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 4096) < 0);
    CHECK(strstr(r.fatal, "a cluster in use counts as free"));
    run_close(&r);
}

/* ---- what is below ------------------------------------------------------- */

static const char *
image_over(const char *name)
{
    const char *path = qcow2_image(&qcow2_plain, 8, 600, 8);
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
    path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    refused(path, "backing=x | memory size=1M",
            "expected no backing here, as the image names no backing file");
    RUN(r, "qcow2 path=%s | memory size=1M", path);
    run_close(&r);
    path = qcow2_image(&qcow2_plain, 8, 70000, 8);
    refused(path, "", "expected the name of the backing file in the first");
}

/* ---- old bytes around a piece -------------------------------------------- */

static void
base_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0);
    for (unsigned i = 0; i < QCOW2_DISK; i++)
        buf[i] = (uint8_t)(1 + i % 251);
    REQUIRE(pwrite(fd, buf, QCOW2_DISK, 0) == QCOW2_DISK);
    close(fd);
}

/* The disk is as the base, but for a sector of 0xee. */
static void
base_but(struct run *r, uint64_t off)
{
    CHECK_EQ(run_io(r, BLK_READ, 0, 0, buf, QCOW2_DISK), 0);
    for (unsigned i = 0; i < QCOW2_DISK; i++) {
        if (buf[i] != (i - off < 512 ? 0xee : 1 + i % 251)) {
            CHECK_EQ(i, QCOW2_DISK);
            break;
        }
    }
}

/* What is before and behind a small piece is one read, with what is between
 * them; of a large one it is two, to read nothing in vain. */
static void
reads_around(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s | error op=read every=1000000 | memory size=1M",
        path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 1024, buf, 512), 0);
    CHECK_EQ(run_counter(&r, 1, "matched"), 1);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536 + 8192, buf, 40960), 0);
    CHECK_EQ(run_counter(&r, 1, "matched"), 3);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 131072, buf, 512), 0);
    CHECK_EQ(run_counter(&r, 1, "matched"), 4);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 262144 - 512, buf, 1024), 0);
    CHECK_EQ(run_counter(&r, 1, "matched"), 6);
    run_close(&r);
    qcow2_judge(path, true);
}

/* A bad sector of the layer below does not matter to the write that covers
 * it, only to others of its cluster. */
static void
bad_sector(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    const uint64_t bad = 65536 + 32768;
    char base[PATH_MAX];
    struct run r = { 0 };

    snprintf(base, sizeof(base), "%s.base", path);
    base_make(base);
    RUN(r,
        "qcow2 path=%s | error op=read from=%u to=%u | file path=%s lock=false",
        path, (unsigned)bad, (unsigned)bad + 512, base);
    memset(buf, 0xee, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, bad - 4096, buf, 512), -EIO);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, bad, buf, 512), 0);
    base_but(&r, bad);
    run_close(&r);
    qcow2_judge(path, true);
    unlink(base);
}

/* ---- options and life ---------------------------------------------------- */

static void
options(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
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
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
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
    qcow2_judge(path, true); /* a pause leaves it clean */
    CHECK_EQ(run_resume(&r), 0);
    run_close(&r);
    qcow2_judge(path, true);
}

/* A change that fails when another instance has already mended the image and
 * taken the mark away: the old one goes on, and marks it again. */
static void
marked_again(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    uint8_t bits[8];
    struct run r = { 0 };
    int fd = open(path, O_RDWR | O_CLOEXEC);

    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    /* What the next instance will put right: two leaks, and the mark. */
    CHECK_EQ(run_pause(&r), 0);
    REQUIRE(pwrite(fd, "\0\1\0\1", 4, (2 << 16) + 40) == 4);
    CHECK_EQ(run_resume(&r), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 4096), 0);
    CHECK(run_replace(&r, "qcow2 name=top path=%s-none | qcow2 path=%s", path,
                      path) < 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 131072, buf, 4096), 0);
    REQUIRE(pread(fd, bits, 8, Q2_AT_INCOMPATIBLE) == 8);
    CHECK_EQ(q2_get64(bits), Q2_DIRTY);
    run_close(&r);
    close(fd);
}

/* Each counter, by a script of known requests. */
static void
counters(void)
{
    static const struct {
        const char *name;
        uint64_t is;
    } is[] = {
        { "allocated", 6 }, /* a table, three clusters, then two again */
        { "tables", 1 },    { "copied", 2 },   { "freed", 2 },
        { "batched", 4 }, /* three writes and a discard */
        { "commits", 4 },   { "unpacked", 0 }, { "full", 0 },
        { "leaked", 0 },    { "mended", 0 },
    };
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    uint64_t syncs, hits;
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536 + 4096, buf, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 65536, NULL, 131072), 0);
    syncs = run_counter(&r, 0, "syncs");
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(run_counter(&r, 0, "syncs"), syncs + 1);
    hits = run_counter(&r, 0, "l2_hits");
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536 + 4096, buf, 65536), 0);
    CHECK(run_counter(&r, 0, "l2_hits") > hits);
    CHECK_EQ(run_counter(&r, 0, "l2_misses"), 1);
    for (unsigned i = 0; i < sizeof(is) / sizeof(is[0]); i++) {
        if (run_counter(&r, 0, is[i].name) != is[i].is)
            test_fail(__FILE__, __LINE__, "%s is %" PRIu64, is[i].name,
                      run_counter(&r, 0, is[i].name));
    }
    run_close(&r);
    qcow2_judge(path, true);
}

static void
readonly(void)
{
    const char *path = qcow2_image(&qcow2_fine2, 0, Q2_MAGIC, 4);
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
    path = qcow2_image(&qcow2_plain, 72, Q2_CORRUPT | Q2_DIRTY, 8);
    REQUIRE(!run_open(&r, RUN_READONLY, "qcow2 path=%s", path));
    run_close(&r);
}

/* What a crash left is put right, and said. */
static void
mended(void)
{
    const char *path = qcow2_image(&qcow2_plain, 72, Q2_DIRTY, 8);
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
    qcow2_judge(path, true);
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
    TEST(bad_entry_discarded);
    TEST(bad_counters);
    TEST(long_discard);
    TEST(backing_must_be_named);
    TEST(reads_around);
    TEST(bad_sector);
    TEST(options);
    TEST(replaced);
    TEST(marked_again);
    TEST(counters);
    TEST(readonly);
    TEST(mended);
    return test_end();
}
