/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_interpose.c: `blktapctl interpose` with a real xenstored, and no daemon:
 * what it writes and removes, what it refuses, and what it says.
 */
#include "config.h"

#include "tests/functional/ctl_store.h"

#define LOWER_FRONT "/local/domain/3/data/blktapd-vbd/51712"
#define LOWER_BACK  "/local/domain/0/backend/vbd/3/51712"
#define UPPER_BACK  "/local/domain/3/backend/blktapd/7/51712"

static void
refused(const char *words, const char *sentence)
{
    CHECK_EQ(ctl(words), 1 << 8);
    CHECK_STR(said, sentence);
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
    CHECK(is("/local/domain/3/data/blktapd-vbd", NULL));
    CHECK(is("/local/domain/0/backend/vbd/3", NULL));
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

    refused("sit", "blktapctl: interpose: expected add, remove or hook, found "
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

/* ---- for the script ------------------------------------------------------ */

#define HOOK_FROM "/local/domain/0/data/blktapd-vbd/4"
#define HOOK_TO   "/local/domain/0/backend/vbd/0/4"

static void
hook_puts_a_part_below(void)
{
    char params[256];

    snprintf(params, sizeof params, "web-root:4:%s", device);
    vbd_made(params);
    CHECK_EQ(ctl("hook add backend/vbd/7/51712"), 0);
    CHECK_STR(said, "");
    CHECK(is(HOOK_FROM "/backend", HOOK_TO));
    CHECK(is(HOOK_FROM "/backend-id", "0"));
    CHECK(is(HOOK_FROM "/state", "1"));
    CHECK(is(HOOK_TO "/frontend", HOOK_FROM));
    CHECK(is(HOOK_TO "/interposes", HOOKED));
    CHECK(is(HOOK_TO "/mode", "w"));
    CHECK(is(HOOK_TO "/params", device));
    CHECK(is(HOOK_TO "/physical-device", "7:c8"));
    CHECK(is(HOOKED "/params", "web-root"));
    CHECK(is(HOOKED "/handed-over", "1"));
    CHECK(is(HOOKED "/state", "1"));

    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
    CHECK_STR(said, "");
    CHECK(is(HOOK_FROM, NULL));
    CHECK(is("/local/domain/0/data/blktapd-vbd", NULL));
    CHECK(is("/local/domain/0/backend/vbd/0", NULL));
    CHECK(is(HOOKED "/params", "web-root")); /* libxl's to remove */
    CHECK(is(FRONT "/state", "1"));
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
    CHECK_STR(said, "");
}

/* The guest was destroyed, and its nodes are gone. */
static void
hook_removes_what_was_below(void)
{
    char params[256];

    snprintf(params, sizeof params, "web-root:%s", device);
    vbd_made(params);
    put(HOOKED "/mode", "r");
    CHECK_EQ(ctl("hook add backend/vbd/7/51712"), 0);
    CHECK(is("/local/domain/0/backend/vbd/0/51712/mode", "r"));
    CHECK(is("/local/domain/0/data/blktapd-vbd/51712/state", "1"));
    CHECK_EQ(store->ops->rm(store, 0, HOOKED), 0);
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
    CHECK(is("/local/domain/0/backend/vbd/0/51712", NULL));
    CHECK(is("/local/domain/0/data/blktapd-vbd/51712", NULL));
}

/* And leaves everything as it was. */
static void
hook_refused(const char *params, const char *sentence)
{
    vbd_made(params);
    refused("hook add backend/vbd/7/51712", sentence);
    CHECK(is(HOOKED "/params", params));
    CHECK(is(HOOKED "/handed-over", NULL));
    CHECK(is(HOOKED "/state", "2"));
    CHECK(is(HOOK_FROM, NULL));
}

static void
hook_says_what_is_wrong(void)
{
    static const char form[] = "blktapctl: target: expected "
                               "[DOMAIN/]DISK[:NUMBER]:DEVICE, found \"%s\"\n";
    static const char *const bad[] = {
        "web-root",           ":/dev/vg/web",        "web-root::/dev/vg/web",
        "/dev/null",          "store/web-root",      "/web-root:/dev/vg/web",
        "store/:/dev/vg/web", "store/:4:/dev/vg/web"
    };
    static const char nobody[] = "blktapctl: target: expected the name or "
                                 "number of a running domain before the slash, "
                                 "found \"%s\"\n";
    char params[256], sentence[256];
    static const char usage[] = "blktapctl: usage: blktapctl interpose hook "
                                "add PATH, or remove PATH [force]\n";
    refused("hook", usage);
    refused("hook put backend/vbd/7/51712", usage);
    refused("hook add backend/vbd/7/51712 force", usage);
    refused("hook remove backend/vbd/7/51712 now", usage);
    refused("hook add backend/vbd3/7/51712",
            "blktapctl: expected the path of a back-end as "
            "backend/vbd/7/51712, found \"backend/vbd3/7/51712\"\n");
    refused("hook add backend/vbd/seven/51712",
            "blktapctl: expected the path of a back-end as "
            "backend/vbd/7/51712, found \"backend/vbd/seven/51712\"\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(sentence, sizeof sentence, form, bad[i]);
        hook_refused(bad[i], sentence);
    }
    hook_refused("web-root:4:/no/such",
                 "blktapctl: target: /no/such: No such file or directory\n");
    hook_refused("web-root:4:/dev/null",
                 "blktapctl: target: expected a block device, found "
                 "/dev/null\n");
    snprintf(params, sizeof params, "web-root:four:%s", device);
    hook_refused(params, "blktapctl: number: expected a whole number, found "
                         "\"four\"\n");
    snprintf(sentence, sizeof sentence, nobody, "barn");
    hook_refused("barn/web-root:/dev/vg/web", sentence);
    snprintf(sentence, sizeof sentence, nobody, "8");
    hook_refused("8/web-root:/dev/vg/web", sentence);
    hook_refused("web/web-root:/dev/vg/web",
                 "blktapctl: target: expected another domain than the guest's, "
                 "found \"web\"\n");
}

/* ---- for the script, where blktapd is in another domain -------------------
 */

#define MOVED_FRONT "/local/domain/7/device/vbd/268435456"
#define MOVED_FROM  "/local/domain/3/data/blktapd-vbd/4"
#define MOVED_TO    "/local/domain/0/backend/vbd/3/4"

static void
vbd_moved(void)
{
    char params[256];

    snprintf(params, sizeof params, "store/web-root:4:%s", device);
    vbd_made(params);
    CHECK_EQ(ctl("hook add backend/vbd/7/51712"), 0);
    CHECK_STR(said, "");
}

/* None of the two is left, and of libxl's nothing is touched. */
static void
nothing_moved(void)
{
    CHECK(is(MOVED_FROM, NULL));
    CHECK(is(MOVED_TO, NULL));
    CHECK(is(MOVED_FRONT, NULL));
    CHECK(is(UPPER_BACK, NULL));
    CHECK(is("/local/domain/3/backend/blktapd", NULL) ||
          is("/local/domain/3/backend/blktapd", ""));
    CHECK(is("/libxl/7/device/vbd/51712/backend", HOOKED));
}

static void
hook_moves_it(void)
{
    vbd_moved();
    CHECK(is(MOVED_FROM "/backend", MOVED_TO));
    CHECK(is(MOVED_TO "/frontend", MOVED_FROM));
    CHECK(is(MOVED_TO "/frontend-id", "3"));
    CHECK(is(MOVED_TO "/interposes", UPPER_BACK));
    CHECK(is(MOVED_TO "/interposes-front", MOVED_FRONT));
    CHECK(is(MOVED_TO "/physical-device", "7:c8"));
    CHECK(is(UPPER_BACK "/params", "web-root"));
    CHECK(is(UPPER_BACK "/frontend", MOVED_FRONT));
    CHECK(is(UPPER_BACK "/frontend-id", "7"));
    CHECK(is(UPPER_BACK "/mode", "w"));
    CHECK(is(UPPER_BACK "/dev", "xvda"));
    CHECK(is(UPPER_BACK "/handed-over", "1"));
    CHECK(is(UPPER_BACK "/attached-by", NULL)); /* not for it to remove */
    CHECK(is(UPPER_BACK "/state", "1"));
    CHECK(is(MOVED_FRONT "/backend", UPPER_BACK));
    CHECK(is(MOVED_FRONT "/backend-id", "3"));
    CHECK(is(MOVED_FRONT "/virtual-device", "51712"));
    CHECK(is(MOVED_FRONT "/state", "1"));
    /* Of libxl's: the guest finds none, and it can be removed at once. */
    CHECK(is(FRONT, NULL));
    CHECK(is(HOOKED "/moved-to", UPPER_BACK));
    CHECK(is(HOOKED "/frontend", NULL));
    CHECK(is(HOOKED "/handed-over", NULL));
    CHECK(is(HOOKED "/state", "6"));
    CHECK(is("/libxl/7/device/vbd/51712/backend", HOOKED));

    put(UPPER_BACK "/state", "6"); /* as the guest and blktapd do */
    put(MOVED_FROM "/state", "6");
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
    CHECK_STR(said, "");
    nothing_moved();
    CHECK(is(HOOKED "/state", "6")); /* libxl's to remove */
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
}

/* It can't be asked: its front-end goes first, and blktapd sees that. */
static void
hook_cuts_it(void)
{
    vbd_moved();
    put(UPPER_BACK "/state", "4");
    put(MOVED_FROM "/state", "4");
    put(MOVED_FRONT "/state", "4");
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712 force & "
                 "until [ \"$(xenstore-read " UPPER_BACK "/state)\" = 5 ]; do "
                 "sleep 0.1; done; xenstore-exists " MOVED_FRONT " && echo it "
                 "is there still; xenstore-write " UPPER_BACK
                 "/state 6 " MOVED_FROM "/state 6; wait $!"),
             0);
    CHECK_STR(said, "");
    nothing_moved();
    /* Of what is gone already too. */
    vbd_moved();
    CHECK_EQ(store->ops->rm(store, 0, UPPER_BACK), 0);
    CHECK_EQ(store->ops->rm(store, 0, MOVED_FROM), 0);
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712 force"), 0);
    CHECK_STR(said, "");
    nothing_moved();
    /* And of what its domain has spoilt. */
    vbd_moved();
    CHECK_EQ(store->ops->rm(store, 0, UPPER_BACK "/state"), 0);
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712 force"), 0);
    CHECK_STR(said, "");
    nothing_moved();
}

/* By hand, where libxl has lost it. */
static void
remove_finds_what_was_moved(void)
{
    vbd_moved();
    CHECK_EQ(ctl("remove web xvda force"), 0);
    CHECK_STR(said, "");
    nothing_moved();
    CHECK(is(HOOKED "/moved-to", UPPER_BACK));
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
}

static void
hook_moves_only_what_is_new(void)
{
    char params[256];

    snprintf(params, sizeof params, "store/web-root:4:%s", device);
    vbd_made(params);
    put(HOOKED "/state", "4");
    refused("hook add backend/vbd/7/51712",
            "blktapctl: " HOOKED ": expected a new vbd, found one that is "
            "connected\n");
    nothing_moved();
    CHECK(is(FRONT "/state", "1"));
    CHECK(is(HOOKED "/state", "4"));

    vbd_made(params);
    put(MOVED_FRONT "/state", "4");
    refused("hook add backend/vbd/7/51712",
            "blktapctl: vdev: expected a free one, found " MOVED_FRONT
            " or " UPPER_BACK " in use\n");
    CHECK(is(FRONT "/state", "1"));
    CHECK(is(MOVED_FRONT "/state", "4"));
    CHECK_EQ(store->ops->rm(store, 0, MOVED_FRONT), 0);
    CHECK(is(MOVED_TO, NULL));
    CHECK_EQ(store->ops->rm(store, 0, HOOKED), 0);
}

/* Others have no second number of their own: bit 30. */
static void
hook_moves_other_disks(void)
{
    char params[256];

    snprintf(params, sizeof params, "3/web-root:%s", device);
    put("/local/domain/0/backend/vbd/7/2048/params", params);
    put("/local/domain/0/backend/vbd/7/2048/mode", "r");
    put("/local/domain/0/backend/vbd/7/2048/state", "2");
    CHECK_EQ(ctl("hook add backend/vbd/7/2048"), 0);
    CHECK_STR(said, "");
    CHECK(is("/local/domain/7/device/vbd/1073743872/virtual-device", "2048"));
    CHECK(is("/local/domain/3/backend/blktapd/7/2048/mode", "r"));
    CHECK(is("/local/domain/0/backend/vbd/3/2048/mode", "r"));
    CHECK_EQ(ctl("remove web sda force"), 0);
    CHECK(is("/local/domain/7/device/vbd/1073743872", NULL));
    CHECK(is("/local/domain/0/backend/vbd/3", NULL));
}

/* What stands where the lower one would is another's; and an upper one that is
 * leaving: what was made for it is taken back. */
static void
hook_gives_up(void)
{
    char params[256];

    snprintf(params, sizeof params, "web-root:4:%s", device);
    put(HOOK_TO "/state", "4");
    hook_refused(params, "blktapctl: number: expected one that domain 0 has no "
                         "vbd of, found 4 in use (" HOOK_TO ")\n");
    CHECK(is(HOOK_TO "/state", "4"));
    CHECK_EQ(ctl("hook remove backend/vbd/7/51712"), 0);
    CHECK(is(HOOK_TO "/state", "4"));
    CHECK_EQ(store->ops->rm(store, 0, HOOK_TO), 0);

    vbd_made(params);
    put(HOOKED "/state", "5");
    refused("hook add backend/vbd/7/51712",
            "blktapctl: " HOOKED ": expected a new vbd, found one that is "
            "closing\n");
    CHECK(is(HOOK_FROM, NULL));
    CHECK(is(HOOK_TO, NULL));
    CHECK(is(HOOKED "/handed-over", NULL));
    CHECK_EQ(store->ops->rm(store, 0, HOOKED), 0);
    CHECK_EQ(ctl("hook add backend/vbd/7/51712"), 1 << 8);
    CHECK(is(HOOKED, NULL));
}

int
main(int argc, char **argv)
{
    int status = ctl_store_start();

    test_args(argc, argv);
    if (status)
        return status;
    hosts();
    TEST(says_what_is_wrong);
    TEST(makes_and_removes_both_sides);
    TEST(removes_by_force);
    TEST(hook_puts_a_part_below);
    TEST(hook_removes_what_was_below);
    TEST(hook_says_what_is_wrong);
    TEST(hook_gives_up);
    TEST(hook_moves_it);
    TEST(hook_cuts_it);
    TEST(remove_finds_what_was_moved);
    TEST(hook_moves_only_what_is_new);
    TEST(hook_moves_other_disks);
    return ctl_store_end();
}
