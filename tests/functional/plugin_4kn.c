/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk with sectors of 4096 bytes under a guest that knows 512: a loop
 * device, opened with direct I/O.  Skipped where there is no loop device. */
#include "config.h"
#include <errno.h>
#include <unistd.h>

#include "tests/unit/plugin_model.h"

static char device[64];

static bool
losetup(const char *image)
{
    char command[400];
    bool ok;
    FILE *f;

    snprintf(command, sizeof(command),
             "losetup --sector-size 4096 --find --show '%s' 2>&1", image);
    f = popen(command, "re");
    REQUIRE(f);
    ok = fgets(device, sizeof(device), f);
    device[strcspn(device, "\n")] = '\0';
    ok = !pclose(f) && ok && !strncmp(device, "/dev/", 5);
    if (!ok)
        printf("skipped: no loop device with 4096-byte sectors: %s\n", device);
    return ok;
}

static void
detach(void)
{
    char command[100];

    snprintf(command, sizeof(command), "losetup --detach %s", device);
    if (system(command))
        printf("%s failed\n", command);
}

static void
offers_4096(void)
{
    const struct blk_limits *l;
    struct run r = { 0 };

    RUN(r, "file path=%s direct=on", device);
    l = chain_limits(r.chain);
    CHECK_EQ(l->size, 4 << 20);
    CHECK(l->block >= 4096);
    CHECK_EQ(run_counter(&r, 0, "align"), 4096);
    CHECK_EQ(run_counter(&r, 0, "direct"), 1);
    run_close(&r);
}

static void
small_requests_are_repaired(void)
{
    struct run r = { .seed = 4096 };
    struct model m;

    RUN(r, "file path=%s direct=on", device);
    model_init(&m, &r, 4 << 20);
    model_play(&m, 600);
    CHECK_EQ(m.errors, 0);
    run_close(&r);
    RUN(r, "file path=%s direct=off", device);
    CHECK_EQ(chain_limits(r.chain)->align, 512);
    model_check(&m);
    run_close(&r);
    model_free(&m);
}

static void
second_writer_is_refused(void)
{
    struct run r = { 0 }, second = { 0 };

    RUN(r, "file path=%s", device);
    CHECK_EQ(run_open(&second, RUN_READWRITE, "file path=%s", device), -EBUSY);
    CHECK(strstr(second.why, device));
    run_close(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    if (!losetup(run_file("image", 4 << 20)))
        return 77;
    atexit(detach);
    TEST(offers_4096);
    TEST(small_requests_are_repaired);
    TEST(second_writer_is_refused);
    return test_end();
}
