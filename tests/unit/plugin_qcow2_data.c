/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin with a data file: which one it takes, what is written when,
 * discards, a larger disk, what can't be. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

enum { CLUSTER = 65536, L2_AT = 4 * CLUSTER };

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));

/* ---- images -------------------------------------------------------------- */

enum { PLAIN = 0, RAW = Q2_RAW_DATA };

/* An empty image whose data are in the file of this name; NULL: it names
 * none. */
static const char *
image(uint64_t autoclear, const char *name)
{
    const char *path = qcow2_image(&qcow2_plain, 72, Q2_DATA_FILE, 8);
    uint8_t ext[8];

    qcow2_put64(path, Q2_AT_AUTOCLEAR, autoclear);
    if (name) {
        q2_put32(ext, Q2_EXT_DATA_FILE);
        q2_put32(ext + 4, (uint32_t)strlen(name));
        qcow2_put(path, Q2_V3_LEN, ext, 8);
        qcow2_put(path, Q2_V3_LEN + 8, name, strlen(name));
    }
    return path;
}

/* And the file, full of what nobody wrote. */
static const char *
data_file(void)
{
    const char *path = run_file("data", QCOW2_DISK);

    memset(buf, 0xdd, QCOW2_DISK);
    qcow2_put(path, 0, buf, QCOW2_DISK);
    return path;
}

static uint8_t
byte_at(const char *path, uint64_t at)
{
    return (uint8_t)(qcow2_get64(path, at) >> 56);
}

/* ---- which file ---------------------------------------------------------- */

static void
refused(const char *path, const char *options, const char *sentence)
{
    struct run r = { 0 };

    CHECK(run_open(&r, RUN_READWRITE, "qcow2 path=%s %s", path, options) < 0);
    if (!strstr(r.why, sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say: %s", r.why,
                  sentence);
}

static void
accepted(const char *path, const char *file)
{
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    run_close(&r);
}

/* The configuration and the image must say the same; neither is enough. */
static void
must_be_named(void)
{
    const char *file = data_file(), *path;
    char want[400], option[400];

    snprintf(option, sizeof(option), "data-file=%s", file);
    path = image(PLAIN, file);
    snprintf(want, sizeof(want),
             "expected data-file = \"%s\", as the image names it, found none",
             file);
    refused(path, "", want);
    snprintf(want, sizeof(want),
             "as the image names it, found \"/etc/passwd\"");
    refused(path, "data-file=/etc/passwd", want);
    accepted(path, file);
    /* QEMU looks for such a name where it was started. */
    path = image(PLAIN, "data");
    refused(path, "", "expected data-file = \"/.../data\", as the image names");
    refused(path, "data-file=/etc/metadata", "expected data-file = \"/...");
    accepted(path, file);
    path = image(PLAIN, NULL);
    refused(path, "", "which the image does not name, found none");
    accepted(path, file);
    path = image(PLAIN, "nbd://there/x");
    refused(path, option, "qemu-img amend -o data_file=PATH");
    path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    refused(path, option, "expected no data-file here, as the image holds its");
    snprintf(option, sizeof(option), "data-file=%s", path);
    refused(path, option, "data-file: expected another file than the image");
    refused(path, "data-file=here", "data-file");
}

static void
cant_be(void)
{
    const char *file = data_file(), *path;
    char option[400];

    snprintf(option, sizeof(option), "data-file=%s", file);
    path = image(PLAIN, "a");
    qcow2_put(path, Q2_V3_LEN + 4, "\0\0\5\0", 4);
    refused(path, option, "expected a name of a data file of at most 1023");
    path = image(PLAIN, file);
    qcow2_put(path, Q2_AT_SNAPSHOTS, "\0\0\0\1", 4);
    qcow2_put64(path, Q2_AT_SNAPSHOT_TABLE, CLUSTER);
    refused(path, option, "expected no snapshots with a data file, found 1");
    path = image(RAW, NULL);
    qcow2_put64(path, Q2_AT_BACKING, 600);
    qcow2_put(path, Q2_AT_BACKING_LEN, "\0\0\0\4", 4);
    qcow2_put(path, 600, "base", 4);
    refused(path, option, "expected no backing file with a raw data file");
    path = image(RAW, file);
    snprintf(option, sizeof(option), "data-file=%s | memory size=1M", file);
    refused(path, option, "expected no layer below an image with a raw data");
    refused("", "", "path");
    REQUIRE(!truncate(file, QCOW2_DISK - 512));
    snprintf(option, sizeof(option), "data-file=%s", file);
    refused(path, option, "of the disk, found 1048064: was it truncated?");
    REQUIRE(!unlink(file));
    refused(path, option, "No such file");
}

static void
not_for_an_ephemeral_one(void)
{
    struct run r = { 0 };

    CHECK(run_open(&r, RUN_READWRITE,
                   "qcow2 ephemeral=true data-file=/x | memory size=1M") < 0);
    CHECK(strstr(r.why, "data-file: expected none with ephemeral = true"));
}

/* Entries that are not where the guest has them, or packed: the disk ends. */
static void
bad_entries(void)
{
    static const struct {
        uint64_t entry;
        const char *says;
    } bad[] = {
        { Q2_COPIED | 5 * CLUSTER, "the data of guest offset 0 at 327680 of" },
        { 5 * CLUSTER | Q2_ZERO, "the data of guest offset 0 at 327680 of" },
        { Q2_PACKED | 5 * CLUSTER, "a compressed cluster with a data file" },
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *file = data_file(), *path = image(PLAIN, file);
        struct run r = { 0 };

        RUN(r, "qcow2 path=%s data-file=%s", path, file);
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
        run_close(&r);
        qcow2_put64(path, L2_AT, bad[i].entry);
        for (int op = BLK_READ; op <= BLK_WRITE; op++) {
            qcow2_put64(path, Q2_AT_INCOMPATIBLE,
                        Q2_DATA_FILE); /* not corrupt */
            RUN(r, "qcow2 path=%s data-file=%s", path, file);
            CHECK(run_io(&r, op, 0, 0, buf, 4096) < 0);
            CHECK_EQ(r.fatals, 1);
            CHECK(strstr(r.fatal, bad[i].says));
            run_close(&r);
            r = (struct run){ 0 };
        }
    }
}

/* ---- what is written ----------------------------------------------------- */

/* Data are where the guest has them; of a new cluster nothing is left of what
 * the file had there; the image counts tables alone. */
static void
same_place(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK_EQ(buf[0], 0);
    memset(buf, 7, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 3 * CLUSTER + 4096, buf, 4096), 0);
    CHECK_EQ(byte_at(file, 0), 7);
    CHECK_EQ(byte_at(file, 4096), 0);
    CHECK_EQ(byte_at(file, CLUSTER), 0xdd);
    CHECK_EQ(byte_at(file, 3 * CLUSTER), 0);
    CHECK_EQ(byte_at(file, 3 * CLUSTER + 4096), 7);
    CHECK_EQ(run_counter(&r, 0, "allocated"), 1); /* the table */
    CHECK_EQ(run_counter(&r, 0, "data_file_raw"), 0);
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, L2_AT), Q2_COPIED); /* at offset 0, and there */
    CHECK_EQ(qcow2_get64(path, L2_AT + 24), Q2_COPIED | 3 * CLUSTER);
    qcow2_judge(path, true);
    /* Without its flag an entry is not ours to write in place: it is written
     * as a new one, at the same place. */
    qcow2_put64(path, L2_AT + 24, 3 * CLUSTER);
    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 3 * CLUSTER, buf, 512), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 3 * CLUSTER, buf, CLUSTER), 0);
    CHECK_EQ(buf[512], 0);
    CHECK_EQ(buf[4096], 7);
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, L2_AT + 24), Q2_COPIED | 3 * CLUSTER);
    CHECK_EQ(qcow2_get64(path, Q2_AT_AUTOCLEAR), 0);
}

/* The bit for a raw data file stays, others go. */
static void
raw_stays(void)
{
    const char *file = run_file("data", QCOW2_DISK);
    const char *path = image(RAW | 1, file);
    struct run r = { 0 };

    qcow2_put64(path, Q2_AT_INCOMPATIBLE, Q2_DATA_FILE | Q2_DIRTY);
    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    CHECK_EQ(run_counter(&r, 0, "data_file_raw"), 1);
    CHECK_EQ(qcow2_get64(path, Q2_AT_AUTOCLEAR), RAW);
    memset(buf, 7, CLUSTER);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 512, buf, CLUSTER), 0);
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), Q2_DATA_FILE | Q2_DIRTY);
    CHECK_EQ(qcow2_get64(path, Q2_AT_AUTOCLEAR), RAW);
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), Q2_DATA_FILE);
    CHECK_EQ(byte_at(file, 0), 0);
    CHECK_EQ(byte_at(file, 512), 7);
    qcow2_judge(path, true);
}

/* After a kill the image has the mark, and counts nothing but tables. */
static void
killed(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    const char *left = run_path("left");
    char command[600];
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    memset(buf, 7, 4 * CLUSTER);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4 * CLUSTER), 0);
    snprintf(command, sizeof(command), "cp %s %s", path, left);
    REQUIRE(!system(command));
    run_close(&r);
    RUN(r, "qcow2 path=%s data-file=%s", left, file);
    CHECK_EQ(run_counter(&r, 0, "leaked") + run_counter(&r, 0, "mended"), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 3 * CLUSTER, buf, CLUSTER), 0);
    CHECK_EQ(buf[0], 7);
    run_close(&r);
    qcow2_judge(left, true);
}

/* ---- syncs --------------------------------------------------------------- */

static struct blk_file *first_file;
static unsigned syncs, data_syncs, fail_sync;

/* The first I/O of all is the mark in the image. */
static int
watch(struct run *r, struct blk_io *io)
{
    (void)r;
    if (!first_file)
        first_file = io->file;
    if (io->op != BLK_IO_SYNC)
        return 0;
    if (io->file != first_file) {
        CHECK_EQ(data_syncs, syncs); /* it comes before the image's */
        data_syncs++;
        return fail_sync ? -EIO : 0;
    }
    syncs++;
    return 0;
}

static void
synced_first(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    r.fault = watch;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, CLUSTER, buf, 4096), 0);
    CHECK(syncs >= 2);
    CHECK_EQ(data_syncs, syncs);
    syncs = data_syncs = 0;
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(syncs, 1);
    CHECK_EQ(data_syncs, 1);
    /* No entry of a cluster whose data may be lost. */
    fail_sync = 1;
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 2 * CLUSTER, buf, 4096), -EIO);
    CHECK_EQ(syncs, 1);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.fatal, file));
    CHECK(strstr(r.fatal, "sync failed"));
    CHECK_EQ(qcow2_get64(path, L2_AT + 16), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EIO);
    run_close(&r);
}

/* ---- discards ------------------------------------------------------------ */

static unsigned punches, zeroes;
static enum { HOLES, NO_HOLES, NO_ZEROES } can;

static int
watch_holes(struct run *r, struct blk_io *io)
{
    (void)r;
    punches += io->op == BLK_IO_PUNCH;
    zeroes += io->op == BLK_IO_ZERO;
    if (can == NO_HOLES && io->op == BLK_IO_PUNCH)
        return -EOPNOTSUPP;
    if (can == NO_ZEROES && io->op == BLK_IO_ZERO)
        return -ENOSPC;
    return 0;
}

/* What is there becomes zeroes in the data file and stays there; what is not
 * is left as it is. */
static void
discards(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    r.fault = watch_holes;
    memset(buf, 7, 2 * CLUSTER);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, CLUSTER, buf, 2 * CLUSTER), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 2 * CLUSTER), 0);
    CHECK_EQ(byte_at(file, 0), 0xdd);
    CHECK_EQ(byte_at(file, CLUSTER), 0);
    CHECK_EQ(byte_at(file, 2 * CLUSTER), 7);
    if (punches)
        CHECK_EQ(run_counter(&r, 0, "punched"), CLUSTER);
    CHECK_EQ(run_counter(&r, 0, "freed"), 0);
    can = NO_HOLES;
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 4 * CLUSTER), 0);
    CHECK(zeroes > 0);
    CHECK_EQ(byte_at(file, 2 * CLUSTER), 0);
    CHECK_EQ(byte_at(file, 3 * CLUSTER), 0xdd);
    zeroes = punches = 0;
    can = HOLES;
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, CLUSTER, NULL, CLUSTER), 0);
    CHECK_EQ(zeroes, 1); /* it may not free the space */
    CHECK_EQ(run_io(&r, BLK_ZERO, BLK_UNMAP, CLUSTER, NULL, CLUSTER), 0);
    CHECK_EQ(zeroes, 2); /* nor can it, as the file said */
    CHECK_EQ(punches, 0);
    can = NO_ZEROES;
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, CLUSTER, NULL, CLUSTER), -ENOSPC);
    CHECK_EQ(r.fatals, 0);
    can = HOLES;
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, L2_AT + 8), Q2_COPIED | CLUSTER);
    CHECK_EQ(qcow2_get64(path, L2_AT + 16), Q2_COPIED | 2 * CLUSTER);
    CHECK_EQ(qcow2_get64(path, L2_AT), 0);
    qcow2_judge(path, true);
}

/* Over a layer, what was never written has to be hidden. */
static void
discards_over_a_layer(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    const char *base = run_file("base", QCOW2_DISK);
    struct run r = { 0 };

    memset(buf, 9, QCOW2_DISK);
    qcow2_put(base, 0, buf, QCOW2_DISK);
    RUN(r, "qcow2 path=%s data-file=%s | file path=%s", path, file, base);
    memset(buf, 7, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, CLUSTER, buf, 512), 0);
    CHECK_EQ(byte_at(file, CLUSTER + 512), 9);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 3 * CLUSTER), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4 * CLUSTER), 0);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(buf[i * CLUSTER], i < 3 ? 0 : 9);
    memset(buf, 7, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, CLUSTER), 0);
    CHECK_EQ(buf[0], 7);
    CHECK_EQ(buf[512], 0);
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, L2_AT), Q2_COPIED);
    CHECK_EQ(qcow2_get64(path, L2_AT + 16) & Q2_ZERO, Q2_ZERO);
    qcow2_judge(path, true);
}

/* ---- a larger disk ------------------------------------------------------- */

static uint64_t
length(const char *path)
{
    struct stat st;

    REQUIRE(!stat(path, &st));
    return (uint64_t)st.st_size;
}

static void
larger(void)
{
    const char *file = run_file("data", QCOW2_DISK), *path = image(RAW, file);
    struct run r = { 0 };
    char text[300];

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    CHECK_EQ(run_command(&r, "qcow2", "resize 2097152", text, 300), 0);
    RUN_WAIT(r, chain_limits(r.chain)->size == 2097152);
    CHECK_EQ(length(file), 2097152);
    memset(buf, 7, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 2097152 - 512, buf, 512), 0);
    CHECK_EQ(byte_at(file, 2097152 - 512), 7);
    run_close(&r);
    CHECK_EQ(length(file), 2097152);
    qcow2_judge(path, true);
    /* What lies behind the disk in a raw one would come to light. */
    REQUIRE(!truncate(file, 4194304));
    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    CHECK_EQ(run_command(&r, "qcow2", "resize 3145728", text, 300), -EINVAL);
    CHECK(strstr(text, "expected a raw data file of the 2097152 bytes"));
    run_close(&r);
}

static int
fault_truncate(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_TRUNCATE ? -EFBIG : 0;
}

static void
not_larger(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    struct run r = { 0 };
    char text[2000];

    RUN(r, "qcow2 path=%s data-file=%s", path, file);
    r.fault = fault_truncate;
    CHECK_EQ(run_command(&r, "qcow2", "resize 2097152", text, 300), 0);
    RUN_WAIT(r, !run_command(&r, "qcow2", "info", text, sizeof(text)) &&
                    strstr(text, "resize_failed"));
    CHECK_EQ(chain_limits(r.chain)->size, QCOW2_DISK);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), 0);
    run_close(&r);
    CHECK_EQ(length(file), QCOW2_DISK);
    qcow2_judge(path, true);
}

/* ---- life ---------------------------------------------------------------- */

/* Both files are locked, also while instances follow each other. */
static void
locked(void)
{
    const char *file = data_file(), *path = image(PLAIN, file);
    struct run r = { 0 }, second = { 0 };
    char chain[900];

    snprintf(chain, sizeof(chain), "qcow2 path=%s data-file=%s", path, file);
    RUN(r, "%s", chain);
    memset(buf, 7, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), 0);
    CHECK_EQ(run_open(&second, RUN_READWRITE, "file path=%s", file), -EBUSY);
    CHECK_EQ(run_replace(&r, "%s cache=1M", chain), 0);
    CHECK_EQ(run_replace(&r, "%s direct=off", chain), 0);
    CHECK_EQ(run_open(&second, RUN_READWRITE, "file path=%s", file), -EBUSY);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(buf[0], 7);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, CLUSTER, buf, 512), 0);
    CHECK(run_replace(&r, "qcow2 path=%s", path) < 0);
    CHECK(run_replace(&r, "qcow2 path=%s data-file=/etc/passwd", path) < 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 2 * CLUSTER, buf, 512), 0);
    run_close(&r);
    qcow2_judge(path, true);
    RUN(second, "file path=%s", file);
    CHECK_EQ(run_open(&r, RUN_READWRITE, "%s", chain), -EBUSY);
    CHECK(strstr(r.why, file));
    run_close(&second);
    REQUIRE(!run_open(&r, RUN_READONLY, "%s", chain));
    CHECK_EQ(run_io(&r, BLK_READ, 0, CLUSTER, buf, 512), 0);
    CHECK_EQ(buf[0], 7);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -EROFS);
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(must_be_named);
    TEST(cant_be);
    TEST(not_for_an_ephemeral_one);
    TEST(bad_entries);
    TEST(same_place);
    TEST(raw_stays);
    TEST(killed);
    TEST(synced_first);
    TEST(discards);
    TEST(discards_over_a_layer);
    TEST(larger);
    TEST(not_larger);
    TEST(locked);
    return test_end();
}
