/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin finds metadata that can't be true while the disk works: the
 * header says so from then on, once and durably, and nobody writes any more. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

enum { CLUSTER = 65536, COUNTS = 2 * CLUSTER, L2_AT = 4 * CLUSTER };

static uint8_t buf[CLUSTER] __attribute__((aligned(4096)));

/* An image with data in its first two clusters. */
static const char *
image(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    memset(buf, 7, CLUSTER);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, CLUSTER), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, CLUSTER, buf, CLUSTER), 0);
    run_close(&r);
    return path;
}

/* And the first one is where it can't be. */
static const char *
wild_image(void)
{
    const char *path = image();

    qcow2_put64(path, L2_AT, Q2_COPIED | 1ull << 40);
    return path;
}

static bool
is_marked(const char *path)
{
    return qcow2_get64(path, Q2_AT_INCOMPATIBLE) & Q2_CORRUPT;
}

/* ---- found --------------------------------------------------------------- */

/* The end of all of them: marked, and read-only at most. */
static void
ended(struct run *r, const char *path)
{
    struct run again = { 0 };

    CHECK_EQ(r->fatals, 1);
    CHECK(strstr(r->fatal, "the image is corrupt: "));
    CHECK(strstr(r->fatal, "repair it with qemu-img check -r all"));
    CHECK_EQ(run_io(r, BLK_READ, 0, CLUSTER, buf, 512), -EIO);
    run_close(r);
    CHECK(is_marked(path));
    CHECK_EQ(run_open(&again, RUN_READWRITE, "qcow2 path=%s", path), -EUCLEAN);
    CHECK(strstr(again.why, "the image is marked corrupt: repair it with "
                            "qemu-img check -r all, or open it read-only"));
    REQUIRE(!run_open(&again, RUN_READONLY, "qcow2 path=%s", path));
    CHECK_EQ(run_io(&again, BLK_READ, 0, CLUSTER, buf, 512), 0);
    CHECK_EQ(buf[0], 7);
    run_close(&again);
    CHECK(is_marked(path));
}

static void
found_by_a_read(void)
{
    const char *path = wild_image();
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_READ, 0, CLUSTER, buf, 512), 0);
    CHECK(!is_marked(path));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), -EUCLEAN);
    ended(&r, path);
    /* Nothing but the bit: nobody had written to it. */
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), Q2_CORRUPT);
}

static void
found_by_a_write(void)
{
    const char *path = image();
    struct run r = { 0 };

    qcow2_put64(path, L2_AT, Q2_COPIED | 3 * CLUSTER); /* where L1 is */
    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 4 * CLUSTER, buf, 512), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -EUCLEAN);
    ended(&r, path);
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), Q2_CORRUPT | Q2_DIRTY);
    CHECK_EQ(qcow2_get64(path, 3 * CLUSTER), Q2_COPIED | L2_AT);
}

/* A table in use counts as free. */
static void
found_by_an_allocation(void)
{
    const char *path = image();
    struct run r = { 0 };

    qcow2_put(path, COUNTS + 6, "\0\0", 2); /* of L1 */
    RUN(r, "qcow2 path=%s", path);
    CHECK(run_io(&r, BLK_WRITE, 0, 4 * CLUSTER, buf, 512) < 0);
    ended(&r, path);
}

/* What is set free was free already: found after the sync of the discard. */
static void
found_by_a_discard(void)
{
    const char *path = image();
    struct run r = { 0 };

    qcow2_put(path, COUNTS + 10, "\0\0", 2); /* of the first data */
    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, CLUSTER), 0);
    run_io(&r, BLK_FLUSH, 0, 0, NULL, 0);
    RUN_WAIT(r, r.fatals == 1);
    ended(&r, path);
}

/* ---- how it is written --------------------------------------------------- */

static unsigned heads, syncs;
static int fail;
static bool hold;

static int
watch(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op == BLK_IO_SYNC && heads)
        syncs++;
    if (io->op != BLK_IO_WRITE || io->off)
        return 0;
    heads++;
    if (hold) {
        hold = false;
        return RUN_HOLD;
    }
    return fail;
}

static void
once_and_synced(void)
{
    const char *path = wild_image();
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    r.fault = watch;
    heads = syncs = 0;
    for (unsigned i = 0; i < 3; i++)
        CHECK(run_io(&r, BLK_READ, 0, 0, buf, 512) < 0);
    RUN_WAIT(r, syncs);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(heads, 1);
    CHECK_EQ(syncs, 1);
    CHECK_EQ(run_resume(&r), 0);
    ended(&r, path);
    CHECK_EQ(heads, 1);
    CHECK_EQ(syncs, 1);
}

/* The mark of a write is under way: it can't take the bit away. */
static void
after_the_mark(void)
{
    const char *path = wild_image();
    struct run r = { 0 };
    struct run_io w = { .op = BLK_WRITE, .off = 4 * CLUSTER, .len = 512 };

    RUN(r, "qcow2 path=%s", path);
    r.fault = watch;
    heads = syncs = 0;
    hold = true;
    w.buf = buf;
    run_start(&r, &w);
    RUN_WAIT(r, heads == 1);
    CHECK(run_io(&r, BLK_READ, 0, 0, buf + 4096, 512) < 0);
    CHECK_EQ(heads, 1);
    CHECK(!is_marked(path));
    run_release(&r, 0);
    run_wait(&r, &w);
    RUN_WAIT(r, heads == 2);
    ended(&r, path);
    CHECK_EQ(heads, 2);
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), Q2_CORRUPT | Q2_DIRTY);
}

/* It can't be written: that is said, and the disk ends all the same. */
static void
not_written(void)
{
    const char *path = wild_image();
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    r.fault = watch;
    heads = 0;
    fail = -EIO;
    run_log();
    CHECK(run_io(&r, BLK_READ, 0, 0, buf, 512) < 0);
    run_close(&r);
    fail = 0;
    CHECK_EQ(heads, 1);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(run_log(), "can't be marked as corrupt (Input/output error)"));
    CHECK(!is_marked(path));
}

/* ---- not marked ---------------------------------------------------------- */

static void
not_of_a_readonly_disk(void)
{
    const char *path = wild_image();
    struct run r = { 0 };

    REQUIRE(!run_open(&r, RUN_READONLY, "qcow2 path=%s", path));
    CHECK(run_io(&r, BLK_READ, 0, 0, buf, 512) < 0);
    CHECK_EQ(r.fatals, 1);
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), 0);
}

/* Where newer ones have the bit, version 2 has what it likes. */
static void
not_of_version_2(void)
{
    const char *path = qcow2_image(&qcow2_fine2, 0, Q2_MAGIC, 4);
    uint64_t l2 = qcow2_get64(path, qcow2_get64(path, Q2_AT_L1)) & Q2_OFFSET;
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    qcow2_put64(path, l2, Q2_COPIED | 1ull << 40);
    CHECK(run_io(&r, BLK_READ, 0, 0, buf, 512) < 0);
    CHECK_EQ(r.fatals, 1);
    run_close(&r);
    CHECK_EQ(qcow2_get64(path, Q2_AT_INCOMPATIBLE), 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(found_by_a_read);
    TEST(found_by_a_write);
    TEST(found_by_an_allocation);
    TEST(found_by_a_discard);
    TEST(once_and_synced);
    TEST(after_the_mark);
    TEST(not_written);
    TEST(not_of_a_readonly_disk);
    TEST(not_of_version_2);
    return test_end();
}
