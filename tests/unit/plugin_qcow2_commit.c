/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin: what it holds is folded into the layer below. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));
static char said[1000];

enum { MB = QCOW2_DISK };

static int
ask(struct run *r, const char *words)
{
    return run_command(r, "qcow2", words, said, sizeof(said));
}

static bool
is(struct run *r, const char *state)
{
    char line[40];

    CHECK_EQ(ask(r, "commit status"), 0);
    snprintf(line, sizeof(line), "commit=%s\n", state);
    return strstr(said, line);
}

/* A file of a disk's size; each sector has its number and a bit. */
static const char *
base_make(void)
{
    const char *path = run_file("base", MB);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    for (unsigned i = 0; i < MB / 512; i++)
        memset(buf + i * 512, (int)(i % 127) + 128, 512);
    REQUIRE(pwrite(fd, buf, MB, 0) == MB);
    close(fd);
    return path;
}

/* What the disk holds now is what it is to hold. */
static void
model_take(struct model *m)
{
    for (uint32_t at = 0; at < MB; at += 65536)
        CHECK_EQ(run_io(m->run, BLK_READ, 0, at, m->data + at, 65536), 0);
}

/* The file holds what the disk does, to the byte. */
static void
base_is(const char *path, const struct model *m)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    REQUIRE(pread(fd, buf, MB, 0) == MB);
    close(fd);
    CHECK(!memcmp(buf, m->data, MB));
}

static void
play_until(struct model *m, const char *state)
{
    unsigned left = 2000;

    do
        model_play(m, 20);
    while (!is(m->run, state) && --left);
    CHECK(left);
}

/* ---- folded -------------------------------------------------------------- */

/* Under load from the first to the last; then without the image. */
static void
folds_one(const struct image_format *f, const char *below, uint64_t seed)
{
    const char *path = qcow2_image(f, 0, Q2_MAGIC, 4), *base = base_make();
    struct run r = { .seed = seed };
    struct model m;

    model_init(&m, &r, MB);
    m.trim = true;
    m.grain = 1u << f->cluster_bits;
    RUN(r, "qcow2 path=%s cache=256k | %s path=%s direct=off", path, below,
        base);
    model_take(&m);
    model_play(&m, 200);
    CHECK(is(&r, "none"));
    CHECK_EQ(ask(&r, "commit"), 0);
    play_until(&m, "ready");
    model_play(&m, 100);
    CHECK(is(&r, "ready"));
    CHECK(strstr(said, "commit_done=1048576\ncommit_of=1048576\n"));
    CHECK_EQ(ask(&r, "commit end word"), 0);
    model_play(&m, 100);
    CHECK_EQ(run_replace(&r, "%s path=%s direct=off", below, base), 0);
    base_is(base, &m);
    m.trim = false;
    m.no_zero = true;
    model_play(&m, 50);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    run_close(&r);
    qcow2_judge(path, true);
    model_free(&m);
}

static void
folds(void)
{
    static const struct image_format wide = { 3, 14, 4, true, false, MB, 3 },
                                     full = { 3, 12, 4, false, false, MB, 1 };
    static const char nothing[] = "error op=read probability=0 | file",
                      no_zero[] = "error op=zero errno=EOPNOTSUPP | file";

    folds_one(&qcow2_plain, "file", 1);
    folds_one(&qcow2_fine, "file", 2);
    folds_one(&wide, "file", 3);
    folds_one(&full, nothing, 4);
    folds_one(&full, no_zero, 5);
    folds_one(&wide, no_zero, 6);
}

/* Without a guest: what was not in the image is not written. */
static void
only_what_it_has(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s | file path=%s", path, base_make());
    memset(buf, 7, 8192);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 8192), 0);
    CHECK_EQ(run_io(&r, BLK_ZERO, 0, 512 * 1024, NULL, 4096), 0);
    CHECK_EQ(ask(&r, "commit"), 0);
    RUN_WAIT(r, is(&r, "ready"));
    CHECK(strstr(said, "commit_copied=12288\n"));
    CHECK(strstr(said, "commit_again=0\n"));
    /* Or 2, where the file system has no zeroes to give. */
    CHECK(chain_layer_stats(r.chain, 1)->requests[BLK_WRITE] - 1 <= 1);
    CHECK_EQ(chain_layer_stats(r.chain, 1)->requests[BLK_ZERO], 1);
    CHECK_EQ(chain_layer_stats(r.chain, 1)->requests[BLK_FLUSH], 0);
    CHECK_EQ(ask(&r, "commit end w"), 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(chain_layer_stats(r.chain, 1)->requests[BLK_FLUSH], 1);
    CHECK_EQ(run_resume(&r), 0);
    run_close(&r);
}

/* A guest that writes faster than is copied waits for it in the end. */
static void
again_and_again(struct run_io *io)
{
    unsigned *left = io->data;

    if (*left && --*left)
        run_start(io->run, io);
}

static void
comes_to_an_end(void)
{
    const char *path = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    unsigned left = 1u << 30;
    struct run r = { 0 };
    struct run_io way[4];

    memset(way, 0, sizeof(way));
    memset(buf, 3, sizeof(buf));
    RUN(r, "qcow2 path=%s | delay op=write time=20ms | memory size=1M", path);
    for (unsigned i = 0; i < 4; i++) {
        way[i] = (struct run_io){ .op = BLK_WRITE,
                                  .off = i * 262144,
                                  .len = 131072,
                                  .buf = buf,
                                  .after = again_and_again,
                                  .data = &left };
        run_start(&r, &way[i]);
    }
    CHECK_EQ(ask(&r, "commit"), 0);
    RUN_WAIT(r, is(&r, "ready"));
    left = 1;
    for (unsigned i = 0; i < 4; i++)
        run_wait(&r, &way[i]);
    RUN_WAIT(r, is(&r, "ready") && strstr(said, "commit_again=0\n"));
    CHECK_EQ(ask(&r, "commit end w"), 0);
    CHECK_EQ(run_replace(&r, "delay op=write time=20ms | memory size=1M"), 0);
    run_close(&r);
}

/* ---- held, given up, paused ---------------------------------------------- */

static void
held(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    const char *base = base_make();
    struct run r = { .seed = 5 };
    struct model m;

    model_init(&m, &r, MB);
    RUN(r, "qcow2 path=%s | file path=%s direct=off", path, base);
    model_take(&m);
    model_play(&m, 100);
    CHECK_EQ(ask(&r, "commit"), 0);
    CHECK_EQ(ask(&r, "commit pause"), 0);
    model_play(&m, 100);
    CHECK(is(&r, "paused"));
    CHECK(!strstr(said, "commit_done=1048576\n"));
    CHECK_EQ(ask(&r, "commit resume"), 0);
    play_until(&m, "ready");
    /* Also then; what is written meanwhile does not wait. */
    CHECK_EQ(ask(&r, "commit pause"), 0);
    model_play(&m, 50);
    CHECK(is(&r, "paused"));
    CHECK(!strstr(said, "commit_again=0\n"));
    CHECK(ask(&r, "commit end w") == -EBUSY);
    CHECK(strstr(said, "its commit is not complete"));
    CHECK_EQ(ask(&r, "commit resume"), 0);
    play_until(&m, "ready");
    /* The engine pauses for something else. */
    for (unsigned i = 0; i < 5; i++) {
        CHECK_EQ(run_pause(&r), 0);
        CHECK_EQ(run_resume(&r), 0);
        model_play(&m, 20);
    }
    play_until(&m, "ready");
    CHECK_EQ(ask(&r, "commit end w"), 0);
    CHECK_EQ(run_replace(&r, "file path=%s direct=off", base), 0);
    base_is(base, &m);
    run_close(&r);
    model_free(&m);
}

static void
given_up(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    const char *base = base_make();
    struct run r = { .seed = 6 };
    struct model m;

    model_init(&m, &r, MB);
    RUN(r, "qcow2 path=%s | file path=%s direct=off", path, base);
    model_take(&m);
    for (unsigned i = 0; i < 8; i++) {
        model_play(&m, 40);
        CHECK_EQ(ask(&r, "commit"), 0);
        model_play(&m, 10 * i);
        CHECK_EQ(ask(&r, "commit cancel"), 0);
        model_play(&m, 10);
        RUN_WAIT(r, is(&r, "none"));
    }
    model_check(&m);
    CHECK_EQ(ask(&r, "commit"), 0);
    run_close(&r); /* in the midst of it */
    RUN(r, "qcow2 path=%s | file path=%s direct=off", path, base);
    CHECK(is(&r, "none"));
    model_check(&m);
    run_close(&r);
    qcow2_judge(path, true);
    model_free(&m);
}

/* The engine pauses again and again, from the first moment on. */
static void
paused_by_the_engine(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    const char *base = base_make();
    struct run r = { .seed = 7 };
    struct model m;

    model_init(&m, &r, MB);
    RUN(r, "qcow2 path=%s | file path=%s direct=off", path, base);
    model_take(&m);
    model_play(&m, 300);
    CHECK_EQ(ask(&r, "commit"), 0);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_EQ(run_pause(&r), 0);
        CHECK(!is(&r, "failed"));
        CHECK_EQ(run_resume(&r), 0);
        model_play(&m, 5);
    }
    play_until(&m, "ready");
    CHECK_EQ(ask(&r, "commit end w"), 0);
    CHECK_EQ(run_replace(&r, "file path=%s direct=off", base), 0);
    base_is(base, &m);
    run_close(&r);
    model_free(&m);
}

/* ---- what goes wrong ----------------------------------------------------- */

static void
write_fails_below(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    const char *base = base_make();
    struct run r = { .seed = 8 };
    struct model m;

    model_init(&m, &r, MB);
    RUN(r,
        "qcow2 path=%s | error op=write errno=ENOSPC every=5 | "
        "file path=%s direct=off",
        path, base);
    model_take(&m);
    model_play(&m, 200);
    run_log();
    CHECK_EQ(ask(&r, "commit"), 0);
    play_until(&m, "failed");
    CHECK(strstr(said, "commit_failed=writing the layer below: No space left "
                       "on device\n"));
    CHECK(strstr(run_log(), "the commit ended: writing the layer below: No "
                            "space left on device; the disk goes on with both "
                            "layers"));
    model_play(&m, 50);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    CHECK(ask(&r, "commit end w") == -EBUSY);
    CHECK_EQ(
        run_replace(&r, "qcow2 path=%s | file path=%s direct=off", path, base),
        0);
    CHECK_EQ(ask(&r, "commit"), 0);
    play_until(&m, "ready");
    CHECK_EQ(ask(&r, "commit end w"), 0);
    CHECK_EQ(run_replace(&r, "file path=%s direct=off", base), 0);
    base_is(base, &m);
    run_close(&r);
    model_free(&m);
}

/* The image stays, and a pause that is for something else is no failure once
 * the word was said. */
static void
flush_fails_below(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    const char *base = base_make();
    struct run r = { .seed = 9 };
    struct model m;

    model_init(&m, &r, MB);
    RUN(r, "qcow2 path=%s | error op=flush | file path=%s direct=off", path,
        base);
    model_take(&m);
    model_play(&m, 50);
    CHECK_EQ(ask(&r, "commit"), 0);
    play_until(&m, "ready");
    CHECK_EQ(ask(&r, "commit end right"), 0);
    CHECK(ask(&r, "commit cancel") == -EBUSY);
    CHECK(ask(&r, "commit pause") == -EBUSY);
    CHECK(run_replace(&r, "error op=flush | file path=%s direct=off", base) <
          0);
    CHECK(strstr(r.why, "its commit is not complete: flushing the layer below: "
                        "Input/output error"));
    model_play(&m, 50);
    CHECK(is(&r, "failed"));
    CHECK(run_pause(&r) < 0);
    CHECK_EQ(run_resume(&r), 0);
    CHECK(ask(&r, "commit again wrong") == -EINVAL);
    CHECK_EQ(ask(&r, "commit again right"), 0);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    model_check(&m);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    qcow2_judge(path, true);
    model_free(&m);
}

static int
fault_reads(struct run *r, struct blk_io *io)
{
    (void)r;
    return io->op == BLK_IO_READ ? -EIO : 0;
}

static void
read_fails(void)
{
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s | memory size=1M", path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 65536), 0);
    r.fault = fault_reads;
    CHECK_EQ(ask(&r, "commit"), 0);
    RUN_WAIT(r, is(&r, "failed"));
    CHECK(strstr(said, "commit_failed=reading the image: Input/output error"));
    r.fault = NULL;
    CHECK_EQ(ask(&r, "commit"), 0);
    RUN_WAIT(r, is(&r, "ready"));
    CHECK(!strstr(said, "commit_failed"));
    run_close(&r);
}

/* ---- refused ------------------------------------------------------------- */

static void
no(struct run *r, const char *words, const char *sentence)
{
    CHECK(ask(r, words) < 0);
    if (!strstr(said, sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say: %s", said,
                  sentence);
}

static void
refused(void)
{
    static const struct image_format kept = { 3, 12, 4, false, true, MB, 0 };
    const char *path = qcow2_image(&qcow2_fine, 0, Q2_MAGIC, 4);
    struct run r = { 0 };

    RUN(r, "qcow2 path=%s", path);
    no(&r, "commit", "expected a layer below to commit to, found none");
    no(&r, "commit pause", "no commit is at work");
    no(&r, "commit soon",
       "expected pause, resume, cancel, status or nothing, "
       "found soon");
    run_close(&r);
    RUN(r, "qcow2 path=%s | memory size=2M", path);
    no(&r, "commit",
       "expected a layer below of the 1048576 bytes of this one, "
       "found 2097152");
    run_close(&r);
    RUN(r, "qcow2 path=%s | memory size=512k", path);
    no(&r, "commit", "found 524288");
    run_close(&r);
    REQUIRE(
        !run_open(&r, RUN_READONLY, "qcow2 path=%s | memory size=1M", path));
    no(&r, "commit", "found one that is read-only");
    run_close(&r);
    RUN(r, "qcow2 path=%s | memory size=1M", path);
    CHECK_EQ(ask(&r, "commit"), 0);
    no(&r, "commit", "it is being committed already");
    no(&r, "resize 2097152", "it is being committed: wait, or cancel that");
    no(&r, "commit again x", "expected the word that was said at the end");
    run_close(&r);
    RUN(r, "qcow2 path=%s | memory size=1M",
        qcow2_image(&kept, 0, Q2_MAGIC, 4));
    no(&r, "commit", "expected an image without internal snapshots, found 1");
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(folds);
    TEST(only_what_it_has);
    TEST(comes_to_an_end);
    TEST(held);
    TEST(given_up);
    TEST(paused_by_the_engine);
    TEST(write_fails_below);
    TEST(flush_fails_below);
    TEST(read_fails);
    TEST(refused);
    return test_end();
}
