/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_interpose.c: `blktapctl interpose` with a real xenstored, and no daemon:
 * what it writes and removes, what it refuses, and what it says.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "host/host.h"
#include "tests/functional/xenstored.h"
#include "tests/test.h"

#define LOWER_FRONT "/local/domain/3/data/blktapd-vbd/51712"
#define LOWER_BACK  "/local/domain/0/backend/vbd/3/51712"
#define UPPER_BACK  "/local/domain/3/backend/blktapd/7/51712"
#define FRONT       "/local/domain/7/device/vbd/51712"

static struct xenstored xenstored;
static struct loop *loop;
static struct store *store;
static char device[128], said[4096];

static void
put(const char *path, const char *value)
{
    CHECK_EQ(store->ops->write(store, 0, path, value), 0);
}

static bool
is(const char *path, const char *value)
{
    char *v = store->ops->read(store, 0, path, NULL);
    bool same = v ? value && !strcmp(v, value) : !value;

    free(v);
    return same;
}

/* Its status; what it said, on either stream, is in said. */
static int
ctl(const char *words)
{
    char cmd[512];
    size_t n;
    FILE *f;

    /* libxenstore leaves to the end of the process what it reads with. */
    snprintf(cmd, sizeof cmd,
             "LSAN_OPTIONS=detect_leaks=0 ./blktapctl interpose %s 2>&1",
             words);
    f = popen(cmd, "r");
    REQUIRE(f);
    n = fread(said, 1, sizeof said - 1, f);
    said[n] = '\0';
    return pclose(f);
}

static void
refused(const char *words, const char *sentence)
{
    CHECK_EQ(ctl(words), 1 << 8);
    CHECK_STR(said, sentence);
}

static void
hosts(void)
{
    put("/local/domain/0/name", "Domain-0");
    put("/local/domain/3/name", "store");
    put("/local/domain/7/name", "web");
}

static void
makes_and_removes_both_sides(void)
{
    char words[256];

    snprintf(words, sizeof words, "add web-root web xvda %s domain=store",
             device);
    CHECK_EQ(ctl(words), 0);
    CHECK_STR(said, "made; the last layer of web-root has to be\n"
                    "{ plugin = \"vbd\"; path = \"data/blktapd-vbd/51712\"; "
                    "}\n");
    CHECK(is(LOWER_FRONT "/backend", LOWER_BACK));
    CHECK(is(LOWER_FRONT "/state", "1"));
    CHECK(is(LOWER_BACK "/frontend", LOWER_FRONT));
    CHECK(is(LOWER_BACK "/frontend-id", "3"));
    CHECK(is(LOWER_BACK "/params", device));
    CHECK(is(LOWER_BACK "/physical-device", "7:c8"));
    CHECK(is(LOWER_BACK "/state", "1"));
    CHECK(is(UPPER_BACK "/params", "web-root"));
    CHECK(is(UPPER_BACK "/frontend", FRONT));
    CHECK(is(FRONT "/backend", UPPER_BACK));
    CHECK(is(FRONT "/backend-id", "3"));
    CHECK(is(FRONT "/state", "1"));
    CHECK_EQ(ctl(words), 1 << 8);
    CHECK(strstr(said, "found 51712 in use"));

    put(UPPER_BACK "/state", "6"); /* as the guest and blktapd do */
    put(LOWER_FRONT "/state", "6");
    CHECK_EQ(ctl("remove web xvda"), 0);
    CHECK_STR(said, "");
    CHECK(is(LOWER_FRONT, NULL));
    CHECK(is(LOWER_BACK, NULL));
    CHECK(is(UPPER_BACK, NULL));
    CHECK(is(FRONT, NULL));
    refused("remove web xvda",
            "blktapctl: vdev: expected an interposed disk of vm web, found no "
            "xvda\n");
}

static void
removes_by_force(void)
{
    char words[256];

    snprintf(words, sizeof words,
             "add web-root 7 xvdb %s number=5 kind=mine ro", device);
    CHECK_EQ(ctl(words), 0);
    CHECK(strstr(said, "data/blktapd-vbd/5\""));
    CHECK(is("/local/domain/0/backend/vbd/0/5/mode", "r"));
    /* The path that was said is from the domain's own directory. */
    CHECK(is("data/blktapd-vbd/5/backend", "/local/domain/0/backend/vbd/0/5"));
    CHECK(is("/local/domain/0/backend/mine/7/51728/mode", "r"));
    put("/local/domain/0/backend/mine/7/51728/state", "4");
    CHECK_EQ(ctl("remove 7 xvdb force"), 0);
    CHECK(is("/local/domain/0/backend/vbd/0/5", NULL));
    CHECK(is("/local/domain/0/data/blktapd-vbd/5", NULL));
    CHECK(is("/local/domain/0/backend/mine/7/51728", NULL));
}

static void
says_what_is_wrong(void)
{
    char words[256];

    refused("sit", "blktapctl: interpose: expected add or remove, found "
                   "\"sit\"\n");
    refused("add a b c", "blktapctl: usage: blktapctl interpose add DISK VM "
                         "VDEV TARGET [KEY=VALUE...] [ro]\n");
    refused("remove web", "blktapctl: usage: blktapctl interpose remove VM "
                          "VDEV [force]\n");
    refused("remove web xvda now",
            "blktapctl: expected force or nothing, found \"now\"\n");
    refused("add web-root web xvda /no/such",
            "blktapctl: target: /no/such: No such file or directory\n");
    refused("add web-root web xvda /dev/null",
            "blktapctl: target: expected a block device, found /dev/null\n");
    refused("add web-root web xvda /etc/passwd",
            "blktapctl: target: expected a block device, found /etc/passwd, a "
            "file (losetup makes one of it)\n");
    refused("add web-root web xvda /dev/null color=red",
            "blktapctl: expected domain=, number=, kind= or ro, found "
            "\"color=red\"\n");
    snprintf(words, sizeof words, "add web-root mail xvda %s", device);
    refused(words, "blktapctl: vm: expected a running guest, found \"mail\"\n");
    CHECK(is("/local/domain/0/backend", NULL));
}

/* It need not be there: only what it says of itself counts. */
static bool
device_make(void)
{
    snprintf(device, sizeof device, "%s/device", xenstored.dir);
    return !mknod(device, S_IFBLK | 0600, makedev(7, 200));
}

int
main(int argc, char **argv)
{
    const struct loop_posix_options o = { 0 };
    char why[400] = "";

    test_args(argc, argv);
    if (!xenstored_start(&xenstored)) {
        printf("no xenstored is installed: skipped\n");
        xenstored_remove(&xenstored);
        return 77;
    }
    if (!device_make()) {
        printf("no block device can be made here: skipped\n");
        xenstored_remove(&xenstored);
        return 77;
    }
    if (loop_posix_new(&loop, "test", &o, why, sizeof why) ||
        store_xen_open(&store, loop, why, sizeof why)) {
        printf("%s\n", why);
        xenstored_remove(&xenstored);
        return 1;
    }
    hosts();
    TEST(says_what_is_wrong);
    TEST(makes_and_removes_both_sides);
    TEST(removes_by_force);
    store->ops->free(store);
    loop->ops->free(loop);
    xenstored_remove(&xenstored);
    return test_end();
}
