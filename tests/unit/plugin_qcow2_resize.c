/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin: a disk that becomes larger while it works. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));
static char said[1000];

enum { MB = 1 << 20 };

static int
ask(struct run *r, uint64_t size)
{
    char words[60];

    snprintf(words, sizeof(words), "resize %" PRIu64, size);
    return run_command(r, "qcow2", words, said, sizeof(said));
}

static bool
resizing(struct run *r)
{
    run_command(r, "qcow2", "info", said, sizeof(said));
    return strstr(said, "resizing_to");
}

/* And waits until it is done, or could not be, and the disk goes on. */
static void
resize(struct run *r, uint64_t size)
{
    CHECK_EQ(ask(r, size), 0);
    RUN_WAIT(*r, !resizing(r));
    run_io(r, BLK_READ, 0, 0, buf, 4096);
}

static void
fill(struct run *r, uint64_t off, uint8_t with, uint32_t len)
{
    memset(buf, with, len);
    CHECK_EQ(run_io(r, BLK_WRITE, 0, off, buf, len), 0);
}

/* All of it is this. */
static void
holds(struct run *r, uint64_t off, uint8_t want, uint32_t len)
{
    memset(buf, ~want, len);
    CHECK_EQ(run_io(r, BLK_READ, 0, off, buf, len), 0);
    CHECK(buf[0] == want && !memcmp(buf, buf + 1, len - 1));
}

static uint64_t
header(const char *path, unsigned at)
{
    uint8_t v[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    REQUIRE(pread(fd, v, 8, at) == 8);
    close(fd);
    return q2_get64(v);
}

/* ---- larger -------------------------------------------------------------- */

static void
grows_one(const struct image_format *f, uint64_t size)
{
    const char *path = qcow2_image(f, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(chain_limits(r.chain)->size, MB);
    fill(&r, MB - 8192, 0x41, 8192);
    CHECK(run_io(&r, BLK_WRITE, 0, MB, buf, 4096) < 0);
    resize(&r, size);
    CHECK_EQ(chain_limits(r.chain)->size, size);
    holds(&r, MB - 8192, 0x41, 8192);
    holds(&r, MB, 0, 65536);
    fill(&r, MB - 512, 0x42, 4096);
    fill(&r, size - 65536, 0x43, 65536);
    fill(&r, MB / 2, 0x44, 512);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    run_close(&r);
    qcow2_judge(path, true);
    CHECK_EQ(header(path, Q2_AT_SIZE), size);
    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(chain_limits(r.chain)->size, size);
    holds(&r, MB - 8192, 0x41, 7680);
    holds(&r, MB - 512, 0x42, 4096);
    holds(&r, size - 65536, 0x43, 65536);
    holds(&r, MB / 2, 0x44, 512);
    run_close(&r);
    qcow2_judge(path, true);
}

static void
grows(void)
{
    static const struct image_format kept = { 3, 9, 4, false, true, MB, 0 },
                                     wide = { 3, 14, 4, true, false, MB, 0 },
                                     one = { 3, 10, 0, false, false, MB, 0 };

    grows_one(&qcow2_plain, 2 * MB);
    grows_one(&qcow2_plain, 2 * MB - 512);
    grows_one(&qcow2_plain, 1ull << 40); /* more L1, in the same cluster */
    grows_one(&qcow2_plain, 1ull << 44); /* and in others */
    grows_one(&qcow2_fine, 2 * MB);
    grows_one(&qcow2_fine, 8 * MB);
    grows_one(&qcow2_fine, 255ull * 64 * 32768); /* as large as it can be */
    grows_one(&kept, 16 * MB);
    grows_one(&wide, 1ull << 36);
    grows_one(&one, 100 * MB);
}

/* Step by step; what was L1 is used for something else. */
static void
again_and_again(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    for (uint64_t i = 1; i < 40; i++) {
        fill(&r, i * MB - 65536, (uint8_t)i, 65536);
        resize(&r, (i + 1) * MB);
    }
    for (uint64_t i = 1; i < 40; i++)
        holds(&r, i * MB - 65536, (uint8_t)i, 65536);
    CHECK(run_counter(&r, 0, "freed") > 40);
    run_close(&r);
    qcow2_judge(path, true);
}

/* Free clusters are here and there: a table needs them in a row. */
static void
in_holes(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    fill(&r, 0, 1, 512 * 1024);
    for (uint64_t i = 0; i < 1024; i += 2)
        CHECK_EQ(run_io(&r, BLK_DISCARD, 0, i * 512, NULL, 512), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    resize(&r, 200 * MB);
    fill(&r, 199 * MB, 7, 65536);
    /* What was too short is used. */
    for (uint64_t i = 0; i < 1024; i += 2)
        fill(&r, i * 512, 2, 512);
    for (uint64_t i = 0; i < 1024; i += 2) {
        holds(&r, i * 512, 2, 512);
        holds(&r, i * 512 + 512, 1, 512);
    }
    run_close(&r);
    qcow2_judge(path, true);
}

/* With requests under way: each is before the pause or after it. */
static void
under_load(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { .seed = 11 };
    struct model m;

    model_init(&m, &r, MB);
    RUN(r, "qcow2 path=%s cache=256k", path);
    for (uint64_t i = 2; i < 22; i++) {
        unsigned was = r.relimits;

        CHECK_EQ(ask(&r, i * i * MB), 0);
        m.trim = true;
        m.grain = 512;
        model_play(&m, 60);
        RUN_WAIT(r, r.relimits > was);
    }
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    CHECK_EQ(chain_limits(r.chain)->size, 21 * 21 * MB);
    run_close(&r);
    qcow2_judge(path, true);
    model_free(&m);
}

/* Over something shorter it reads as zeroes behind that. */
static void
over_a_shorter_one(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    const char *base = run_file("base", MB - 512);
    struct run r = { 0 };
    int fd = open(base, O_WRONLY | O_CLOEXEC);

    memset(buf, 9, MB - 512);
    REQUIRE(pwrite(fd, buf, MB - 512, 0) == MB - 512);
    close(fd);
    RUN(r, "qcow2 path=%s | file path=%s direct=off", path, base);
    resize(&r, 3 * MB);
    holds(&r, MB - 65536, 9, 65536 - 512);
    holds(&r, MB - 512, 0, 65536);
    holds(&r, 2 * MB, 0, MB);
    fill(&r, MB - 4096, 5, 512); /* the rest of its cluster is copied */
    holds(&r, MB - 3584, 9, 3072);
    holds(&r, MB - 512, 0, 65536);
    run_close(&r);
    qcow2_judge(path, true);
}

/* A person has paused the disk: it is done when it goes on. */
static void
while_paused(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(ask(&r, 4 * MB), 0);
    CHECK_EQ(run_resume(&r), 0);
    RUN_WAIT(r, chain_limits(r.chain)->size == 4 * MB);
    fill(&r, 4 * MB - 4096, 3, 4096);
    run_close(&r);
    qcow2_judge(path, true);
    CHECK_EQ(header(path, Q2_AT_SIZE), 4 * MB);
}

/* ---- refused ------------------------------------------------------------- */

static void
no(struct run *r, const char *words, const char *sentence)
{
    CHECK(run_command(r, "qcow2", words, said, sizeof(said)) < 0);
    if (!strstr(said, sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say: %s", said,
                  sentence);
}

static void
refused(void)
{
    static const struct image_format old = { 2, 12, 4, false, true, MB, 0 };
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    no(&r, "resize", "expected info, resize BYTES or commit, found resize");
    no(&r, "resize much", "expected a number of bytes, found \"much\"");
    no(&r, "resize 12M", "expected a number of bytes, found \"12M\"");
    no(&r, "resize 99999999999999999999", "expected a number of bytes");
    no(&r, "resize 524288", "a disk can't shrink while it works");
    no(&r, "resize 2000000", "expected a multiple of 512 bytes");
    no(&r, "resize 534774272",
       "expected at most 534773760 bytes, as its clusters are of 512, found "
       "534774272");
    CHECK_EQ(ask(&r, MB), 0);
    CHECK(strstr(said, "it has 1048576 bytes already"));
    CHECK_EQ(ask(&r, 2 * MB), 0);
    no(&r, "resize 3145728", "it is already being resized, to 2097152 bytes");
    CHECK_EQ(run_counter(&r, 0, "resizing_to"), 2 * MB);
    RUN_WAIT(r, r.relimits == 1);
    run_close(&r);
    REQUIRE(!run_open(&r, RUN_READONLY, "qcow2 path=%s", path));
    no(&r, "resize 4194304", "found one that is read-only");
    run_close(&r);
    RUN(r, "qcow2 path=%s", qcow2_image(&old, 0, Q2_MAGIC, 4));
    no(&r, "resize 4194304", "expected an image of version 3");
    run_close(&r);
    RUN(r, "qcow2 path=%s | memory size=2M",
        qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4));
    no(&r, "resize 4194304", "what lies behind them would come to light");
    run_close(&r);
}

/* ---- faults -------------------------------------------------------------- */

static unsigned fault_left;
static int fault_error;

static int
fault_once(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op != BLK_IO_WRITE && io->op != BLK_IO_READ)
        return 0;
    return fault_left && !--fault_left ? fault_error : 0;
}

/* Each I/O of it fails once: the size is the old one or the new one, nothing
 * leaks, and only where the header is in doubt the disk ends. */
static void
faults(void)
{
    unsigned failed = 0, ended = 0;

    fault_error = -ENOSPC;
    for (unsigned n = 1;; n++) {
        const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
        struct run r = { 0 };
        uint64_t size;
        bool over;

        RUN(r, "qcow2 path=%s", path);
        fill(&r, 4096, 0x51, 4096);
        r.fault = fault_once;
        fault_left = n;
        resize(&r, 20 * MB);
        over = fault_left != 0;
        fault_left = 0;
        ended += r.fatals;
        size = chain_limits(r.chain)->size;
        if (!r.fatals) {
            CHECK(size == MB || size == 20 * MB);
            failed += size == MB;
            fill(&r, 65536, 0x52, 4096);
            if (size == MB)
                resize(&r, 20 * MB);
            fill(&r, 20 * MB - 4096, 0x53, 4096);
            CHECK_EQ(r.fatals, 0);
        }
        run_close(&r);
        qcow2_judge(path, false);
        RUN(r, "qcow2 path=%s", path);
        size = chain_limits(r.chain)->size;
        CHECK(size == MB || size == 20 * MB);
        holds(&r, 4096, 0x51, 4096);
        run_close(&r);
        qcow2_judge(path, true);
        if (over)
            break;
    }
    CHECK_EQ(failed, 2); /* the counters, the table */
    CHECK_EQ(ended, 1);  /* the header */
}

/* It says why, and that it did not. */
static void
failed_is_told(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    run_log();
    r.fault = fault_once;
    fault_left = 1;
    resize(&r, 2 * MB);
    CHECK(strstr(run_log(), "can't be resized to 2097152 bytes: No space left "
                            "on device; the size stays 1048576"));
    CHECK_EQ(run_command(&r, "qcow2", "info", said, sizeof(said)), 0);
    CHECK(strstr(said, "resize_failed"));
    resize(&r, 2 * MB);
    CHECK(strstr(run_log(), "the size was 1048576 bytes and is now 2097152"));
    CHECK_EQ(run_command(&r, "qcow2", "info", said, sizeof(said)), 0);
    CHECK(!strstr(said, "resize"));
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(grows);
    TEST(again_and_again);
    TEST(in_holes);
    TEST(under_load);
    TEST(over_a_shorter_one);
    TEST(while_paused);
    TEST(refused);
    TEST(faults);
    TEST(failed_is_told);
    return test_end();
}
