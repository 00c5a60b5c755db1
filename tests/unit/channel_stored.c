/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables that earlier versions of the daemon left, byte for byte: of a guest
 * with one queue that had three writes taken and the second one answered.  The
 * one of this version is gone on from, so that its layout can't change without
 * its number; others are not, and nothing is lost for that.
 */
#include "tests/unit/channel_model.h"

enum { STORED_BYTES = 8192 };

struct piece {
    unsigned at;
    const char *hex;
};

static const struct piece version_1[] = {
    { 0, "627469666c67687401000000301600002a0000000000000007" },
    { 36, "010000002000000000000000eeffffff000000006400000010" },
    { 1328, "0100000000000000ebffffff" },
    { 1352, "0101a5a5a5a5a5a5" },
    { 1376, "c80000000007" },
    { 1472, "ecffffff00000000ebffffff000000000101a5a5a5a5a5a5"
            "01000000000000000800000000000000c80000000007" },
    { 1600, "0100000000000000edffffff" },
    { 1624, "0101a5a5a5a5a5a502000000000000001000000000000000"
            "c80000000007" },
    { 0, NULL }
};

static const struct piece version_2[] = {
    { 0, "627469666c67687402000000301600002a0000000000000007" },
    { 36, "0100000020000000faaf42d2eeffffff000008ed6400000010" },
    { 1332, "e1963c5aebffffff0000000000000000113e8edf"
            "0101a5a5a5a5a5a5" },
    { 1376, "c80000000007" },
    { 1472, "ecffffff00000000000000006122f5ef0101a5a5a5a5a5a5"
            "01000000000000000800000000000000c80000000007" },
    { 1604, "e1963c5aedffffff0000000000000000b5fca46e"
            "0101a5a5a5a5a5a502000000000000001000000000000000"
            "c80000000007" },
    { 0, NULL }
};

static int
stored(const struct piece *p)
{
    void *addr;
    uint8_t *bytes;
    int fd;

    REQUIRE(!host_memory("stored", STORED_BYTES, &addr, &fd));
    bytes = addr;
    for (; p->hex; p++) {
        unsigned byte;

        for (size_t i = 0; sscanf(p->hex + 2 * i, "%2x", &byte) == 1; i++)
            bytes[p->at + i] = (uint8_t)byte;
    }
    munmap(addr, STORED_BYTES);
    return fd;
}

/* The guest whose table it is; its daemon is gone. */
static void
begin_stored(void)
{
    struct front_response rsp;

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(3);
    fake_run(&m.rig.fake);
    REQUIRE(m.n == 3);
    chan_complete(pick(1), 0);
    fake_run(&m.rig.fake);
    CHECK(front_get(&m.rig.front[0], &rsp));
    CHECK_EQ(rsp.id, 1);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
}

static int
reopen(int fd, char *why, size_t why_size)
{
    int error;

    why[0] = '\0';
    error = chan_open(&m.rig.chan, m.rig.sweep, &m.rig.params, &model_ops, &m,
                      fd, why, why_size);
    close(fd);
    return error;
}

static void
of_this_version(void)
{
    char why[256];

    begin_stored();
    REQUIRE(!reopen(stored(version_2), why, sizeof(why)));
    CHECK_STR(why, "");
    CHECK(chan_adopted(m.rig.chan));
    CHECK(!chan_is_lossy(m.rig.chan));
    fake_run(&m.rig.fake);
    REQUIRE(m.n == 2);
    CHECK_EQ(m.io[0]->off, 0);
    CHECK_EQ(m.io[1]->off, 2 * 4096);
    answers(2);
    put_writes(1);
    answers(1);
    finish();
}

/* Two requests have no answer: where they are is not known, so nothing is
 * touched. */
static void
of_version_1(void)
{
    struct front_response rsp;
    char why[256];

    begin_stored();
    CHECK_EQ(reopen(stored(version_1), why, sizeof(why)), -EUCLEAN);
    CHECK(strstr(why, "found one that is of another version; 2 requests have "
                      "no answer: the disk waits, untouched"));
    CHECK_EQ(m.rig.fake.maps, 0);
    CHECK_EQ(m.rig.fake.binds, 0);
    CHECK(!front_get(&m.rig.front[0], &rsp));
    m.rig.chan = NULL;
    finish();
}

/* All were answered before that daemon ended: its table is not needed. */
static void
of_version_1_and_all_answered(void)
{
    char why[256];

    begin_stored();
    front_set(&m.rig.front[0], 8, m.rig.front[0].req);
    m.rig.front[0].rsp = m.rig.front[0].req;
    REQUIRE(!reopen(stored(version_1), why, sizeof(why)));
    CHECK(strstr(why, "of another version; all requests have their answer"));
    CHECK(!chan_adopted(m.rig.chan));
    put_writes(2);
    answers(2);
    finish();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(of_this_version);
    TEST(of_version_1);
    TEST(of_version_1_and_all_answered);
    return test_end();
}
