/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The error plugin, on the real engine and loop. */
#include "config.h"
#include <errno.h>

#include "tests/unit/plugin_run.h"

static uint8_t buf[4096];

static unsigned
failures(struct run *r, int op, unsigned n, int error)
{
    unsigned i, failed = 0;

    for (i = 0; i < n; i++) {
        int status = run_io(r, op, 0, 0, buf, op == BLK_FLUSH ? 0 : 512);

        CHECK(!status || status == error);
        failed += status != 0;
    }
    return failed;
}

static void
before_hides_the_request(void)
{
    struct run r = { 0 };

    RUN(r, "error op=write errno=ENOSPC | memory size=1M");
    memset(buf, 1, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -ENOSPC);
    CHECK_EQ(run_counter(&r, 1, "used_bytes"), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(buf[0], 0);
    run_close(&r);
}

static void
after_does_the_work(void)
{
    struct run r = { 0 };

    RUN(r, "error op=write when=after errno=ETIMEDOUT | memory size=1M");
    memset(buf, 1, 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -ETIMEDOUT);
    CHECK_EQ(run_counter(&r, 1, "used_bytes"), 4096);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(buf[511], 1);
    run_close(&r);
}

static void
every_name_is_its_number(void)
{
    static const struct {
        const char *name;
        int error;
    } names[] = { { "EIO", -EIO },
                  { "ENOSPC", -ENOSPC },
                  { "EOPNOTSUPP", -EOPNOTSUPP },
                  { "ETIMEDOUT", -ETIMEDOUT },
                  { "EROFS", -EROFS },
                  { "EACCES", -EACCES },
                  { "ENODEV", -ENODEV },
                  { "ENOMEM", -ENOMEM } };
    struct run r = { 0 };
    unsigned i;

    RUN(r, "error errno=EIO | memory size=1M");
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK_EQ(
            run_replace(&r, "error errno=%s | memory size=1M", names[i].name),
            0);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), names[i].error);
    }
    run_close(&r);
}

static void
ranges_are_bad_sectors(void)
{
    struct run r = { 0 };

    RUN(r, "error op=read from=64k to=68k | memory size=1M");
    CHECK_EQ(run_io(&r, BLK_READ, 0, 63488, buf, 2048), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 63488, buf, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 69120, buf, 512), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 69632, buf, 512), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 4096), 0);
    CHECK_EQ(run_counter(&r, 0, "failed"), 2);
    run_close(&r);
}

static void
every_and_count(void)
{
    struct run r = { 0 };

    RUN(r, "error every=4 | memory size=1M");
    CHECK_EQ(failures(&r, BLK_READ, 40, -EIO), 10);
    run_close(&r);
    RUN(r, "error every=4 count=3 | memory size=1M");
    CHECK_EQ(failures(&r, BLK_READ, 40, -EIO), 3);
    CHECK_EQ(run_counter(&r, 0, "matched"), 40);
    CHECK_EQ(run_counter(&r, 0, "failed"), 3);
    run_close(&r);
}

/* 400 draws with 0.25: 100, with a deviation of 9; six of them on each side.
 * The same seed gives the same number again. */
static void
probability_comes_from_the_seed(void)
{
    unsigned first = 0, again, turn;

    for (turn = 0; turn < 2; turn++) {
        struct run r = { .seed = 77 };

        RUN(r, "error probability=0.25 | memory size=1M");
        again = failures(&r, BLK_WRITE, 400, -EIO);
        CHECK(again > 46 && again < 154);
        if (!turn)
            first = again;
        CHECK_EQ(again, first);
        run_close(&r);
    }
}

/* Of a chain of two, the upper one sees what the lower one made of it. */
static void
layers_stack(void)
{
    struct run r = { 0 };

    RUN(r, "error name=top op=flush | error name=low op=write errno=ENOSPC | "
           "error name=third op=read when=after errno=ENODEV | memory size=1M");
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -ENOSPC);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), -ENODEV);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 4096), 0);
    run_close(&r);
}

/* Only when it is told to, at the first that fails, and once. */
static void
fatal_is_for_good(void)
{
    struct run r = { 0 };

    RUN(r, "error op=write errno=ENODEV | memory size=1M");
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 512), -ENODEV);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    RUN(r, "error op=write errno=ENODEV fatal=yes | memory size=1M");
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 512), 0);
    CHECK_EQ(r.fatals, 0);
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 512) < 0);
    RUN_WAIT(r, r.fatals);
    CHECK(strstr(r.fatal, "told to fail for good (ENODEV)"));
    CHECK(run_io(&r, BLK_WRITE, 0, 0, buf, 512) < 0);
    CHECK_EQ(r.fatals, 1);
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(before_hides_the_request);
    TEST(after_does_the_work);
    TEST(every_name_is_its_number);
    TEST(ranges_are_bad_sectors);
    TEST(every_and_count);
    TEST(probability_comes_from_the_seed);
    TEST(layers_stack);
    TEST(fatal_is_for_good);
    return test_end();
}
