/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of devices to the numbers that XenStore knows them by. */
#include "config_fake.h"

static const struct {
    const char *text;
    uint32_t devid;
} good[] = {
    { "xvda", 51712 },
    { "xvdb", 51728 },
    { "xvda1", 51713 },
    { "xvda15", 51727 },
    { "xvdp", 51952 },
    { "xvdp15", 51967 },
    /* what does not fit in the old form */
    { "xvda16", 1u << 28 | 16 },
    { "xvdq", 1u << 28 | 16 << 8 },
    { "xvdq1", 1u << 28 | 16 << 8 | 1 },
    { "xvdz", 1u << 28 | 25 << 8 },
    { "xvdaa", 1u << 28 | 26 << 8 },
    { "xvdaa255", 1u << 28 | 26 << 8 | 255 },
    { "sda", 2048 },
    { "sda1", 2049 },
    { "sdp15", 8 << 8 | 15 << 4 | 15 },
    { "hda", 768 },
    { "hda1", 769 },
    { "hdb", 832 },
    { "hdc", 5632 },
    { "hdd63", 22 << 8 | 1 << 6 | 63 },
    { "d0", 51712 },
    { "d0p1", 51713 },
    { "d1", 51728 },
    { "d16p0", 1u << 28 | 16 << 8 },
    { "d1048575p255", 1u << 28 | 1048575u << 8 | 255 },
    { "51712", 51712 },
    { "0xca00", 51712 },
    { "0", 0 },
    { "2147483647", 2147483647 },
};

static const char *const bad[] = {
    "",
    "xvd",
    "xvd1",
    "xvdA",
    "xvda0",
    "xvda256",
    "xvda ",
    " xvda",
    "xvda-1",
    "xvda1x",
    "sdq",
    "sda16",
    "hde",
    "hda64",
    "d",
    "dp1",
    "d0p",
    "d0p01",
    "d0p-1",
    "d0p256",
    "d1048576",
    "2147483648",
    "-1",
    "+1",
    "1x",
    "0x",
    "0xg",
    "vda",
    "floppy",
    "/dev/xvda",
    "xvdé",
    "xvdzzzzz",
    "xvdzzzzzzzzzzzzzz",
    "99999999999999999999",
};

static void
good_names(void)
{
    uint32_t devid;
    size_t i;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        devid = 7;
        if (devid_parse(good[i].text, &devid) || devid != good[i].devid)
            test_fail(__FILE__, __LINE__, "%s is %u, expected %u", good[i].text,
                      devid, good[i].devid);
    }
}

static void
bad_names(void)
{
    uint32_t devid = 0;
    size_t i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (devid_parse(bad[i], &devid) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" was taken as %u", bad[i],
                      devid);
    }
}

/* No two names of whole disks have one number. */
static void
numbers_differ(void)
{
    uint32_t devid, last = 0;
    char name[16];
    unsigned i;

    for (i = 0; i < 26 * 27; i++) {
        if (i < 26)
            snprintf(name, sizeof(name), "xvd%c", 'a' + i);
        else
            snprintf(name, sizeof(name), "xvd%c%c", 'a' + i / 26 - 1,
                     'a' + i % 26);
        CHECK_EQ(devid_parse(name, &devid), 0);
        CHECK(devid > last);
        last = devid;
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(good_names);
    TEST(bad_names);
    TEST(numbers_differ);
    return test_end();
}
