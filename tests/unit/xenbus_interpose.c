/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both sides of an interposed disk: what is written, found and removed. */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_fakes.h"
#include "xenbus/interpose.h"

#define LOWER_FRONT "/local/domain/3/data/blktapd-vbd/51712"
#define LOWER_BACK  "/local/domain/0/backend/vbd/3/51712"
#define UPPER_BACK  "/local/domain/3/backend/blktapd/7/51712"
#define LIBXL       "/libxl/7/device/vbd/51712"

static char why[400], path[64];
static const struct interpose usual = { .disk = "web-root",
                                        .vm = "web",
                                        .vdev = "xvda",
                                        .target = "/dev/vg/web",
                                        .major = 253,
                                        .minor = 17,
                                        .domain = "store" };

static void
hosts(void)
{
    world_reset();
    set("/local/domain/0/name", "Domain-0");
    set("/local/domain/3/name", "store");
    set("/local/domain/7/name", "web");
}

static int
add(const struct interpose *ask)
{
    why[0] = '\0';
    return interpose_add(&w.store, ask, path, sizeof path, why, sizeof why);
}

static struct interposed *
find(const char *vm, const char *vdev)
{
    struct interposed *i = NULL;

    why[0] = '\0';
    if (interpose_find(&w.store, vm, vdev, &i, why, sizeof why))
        return NULL;
    return i;
}

static void
makes_both_sides(void)
{
    hosts();
    REQUIRE(!add(&usual));
    CHECK_STR(path, "data/blktapd-vbd/51712");
    /* Each directory is its domain's, and readable by the other's. */
    CHECK_STR(get(LOWER_FRONT), "n3,r0");
    CHECK_STR(get(LOWER_BACK), "n0,r3");
    CHECK_STR(get(UPPER_BACK), "n3,r7");
    CHECK_STR(get(FRONT), "n7,r3");
    CHECK_STR(get("/local/domain/3/backend"), "n3,r0");
    CHECK_STR(get(LOWER_FRONT "/backend"), LOWER_BACK);
    CHECK_STR(get(LOWER_FRONT "/backend-id"), "0");
    CHECK_STR(get(LOWER_FRONT "/virtual-device"), "51712");
    CHECK_STR(get(LOWER_FRONT "/state"), "1");
    CHECK_STR(get(LOWER_BACK "/frontend"), LOWER_FRONT);
    CHECK_STR(get(LOWER_BACK "/frontend-id"), "3");
    CHECK_STR(get(LOWER_BACK "/physical-device"), "fd:11");
    CHECK_STR(get(LOWER_BACK "/params"), "/dev/vg/web");
    CHECK_STR(get(LOWER_BACK "/online"), "1");
    CHECK_STR(get(LOWER_BACK "/mode"), "w");
    CHECK_STR(get(LOWER_BACK "/state"), "1");
    CHECK_STR(get(LOWER_BACK "/interposes"), UPPER_BACK);
    CHECK_STR(get(UPPER_BACK "/params"), "web-root");
    CHECK_STR(get(UPPER_BACK "/frontend"), FRONT);
    CHECK_STR(get(UPPER_BACK "/frontend-id"), "7");
    CHECK_STR(get(UPPER_BACK "/state"), "1");
    CHECK_STR(get(FRONT "/backend"), UPPER_BACK);
    CHECK_STR(get(FRONT "/backend-id"), "3");
    CHECK_STR(get(LIBXL "/backend"), UPPER_BACK);
    /* It can't remove the guest's nodes: so it shall not try. */
    CHECK(!get(UPPER_BACK "/attached-by"));
    CHECK_EQ(w.commits, 1);
}

static void
makes_them_in_this_domain(void)
{
    struct interpose ask = usual;

    hosts();
    ask.domain = NULL;
    ask.number = "9";
    ask.readonly = true;
    REQUIRE(!add(&ask));
    CHECK_STR(path, "data/blktapd-vbd/9");
    CHECK_STR(get("/local/domain/0/data/blktapd-vbd/9"), "n0,r0");
    CHECK_STR(get("/local/domain/0/backend/vbd/0/9/mode"), "r");
    CHECK_STR(get("/local/domain/0/backend/vbd/0/9/interposes"),
              "/local/domain/0/backend/blktapd/7/51712");
    CHECK_STR(get("/local/domain/0/backend/blktapd/7/51712/mode"), "r");
    CHECK_STR(get("/local/domain/0/backend/blktapd/7/51712/attached-by"),
              "blktapctl");
}

static void
refused(const struct interpose *ask, int error, const char *sentence)
{
    unsigned before = world_nodes();

    CHECK_EQ(add(ask), error);
    CHECK_STR(why, sentence);
    CHECK_EQ(world_nodes(), before);
}

static void
refuses_what_it_cannot_do(void)
{
    struct interpose ask;

    hosts();
    ask = usual;
    ask.vdev = "sofa";
    refused(&ask, -EINVAL, "vdev: expected a name like xvda, found \"sofa\"");
    ask = usual;
    ask.kind = "a/b";
    refused(&ask, -EINVAL, "kind: expected one like vbd3, found \"a/b\"");
    ask = usual;
    ask.number = "-1";
    refused(&ask, -EINVAL, "number: expected a whole number, found \"-1\"");
    ask = usual;
    ask.vm = "mail";
    refused(&ask, -ENOENT, "vm: expected a running guest, found \"mail\"");
    ask.vm = "9";
    refused(&ask, -ENOENT, "vm: expected a running guest, found no domain 9");
    ask = usual;
    ask.domain = "web";
    refused(&ask, -EINVAL,
            "vm: expected another domain than blktapd's, found domain 7 for "
            "both");
    ask = usual;
    ask.domain = NULL;
    ask.kind = "vbd";
    refused(&ask, -EINVAL,
            "kind: expected another one than that of xen-blkback, found "
            "\"vbd\"");
    set("/local/domain/0/domid", "3"); /* "domid" reads as this here */
    refused(&usual, -EPERM,
            "interpose: expected to run in domain 0, found domain 3");
}

static void
refuses_what_is_there(void)
{
    struct interpose ask = usual;

    hosts();
    REQUIRE(!add(&usual));
    ask.vdev = "xvdb";
    ask.number = "51712";
    refused(&ask, -EEXIST,
            "number: expected one that domain 3 has no vbd of, found 51712 in "
            "use (" LOWER_BACK ")");
    ask = usual;
    ask.number = "5";
    refused(&ask, -EEXIST,
            "vdev: expected a free one, found xvda in use in vm web");
    ask.vdev = "xvdb";
    CHECK_EQ(add(&ask), 0);
}

static void
finds_by_its_own_record(void)
{
    struct interposed *i;

    hosts();
    REQUIRE(!add(&usual));
    CHECK(!find("web", "xvdb"));
    CHECK_STR(why, "vdev: expected an interposed disk of vm web, found no "
                   "xvdb");
    CHECK(!find("8", "xvda"));
    /* A guest may write into its own directory; and be gone. */
    set(FRONT "/backend", "/local/domain/0/backend/vbd/1/1");
    del("/local/domain/7");
    i = find("7", "xvda");
    CHECK(i);
    interpose_free(i);
    set(LOWER_BACK "/interposes", "/local/domain/3/backend/blktapd/7");
    CHECK(!find("7", "xvda"));
    set(LOWER_BACK "/interposes", "/local/domain/5/backend/blktapd/7/51712");
    CHECK(!find("7", "xvda"));
}

static void
waits_for_both_and_removes_all(void)
{
    struct interposed *i;
    unsigned before;

    hosts();
    set("/local/domain/3/backend", "");
    before = world_nodes();
    REQUIRE(!add(&usual));
    i = find("web", "xvda");
    REQUIRE(i);
    set(UPPER_BACK "/state", "4");
    set(LOWER_FRONT "/state", "4");
    CHECK_EQ(interpose_leave(&w.store, i, why, sizeof why), 0);
    CHECK_STR(get(UPPER_BACK "/online"), "0");
    CHECK_STR(get(UPPER_BACK "/state"), "5");
    CHECK_STR(get(LOWER_BACK "/online"), "1");
    CHECK_EQ(interpose_left(&w.store, i), INTERPOSE_HELD);
    set(UPPER_BACK "/state", "6");
    CHECK_EQ(interpose_left(&w.store, i), INTERPOSE_OPEN);
    set(LOWER_FRONT "/state", "6");
    CHECK_EQ(interpose_left(&w.store, i), INTERPOSE_LEFT);
    CHECK_EQ(interpose_remove(&w.store, i, why, sizeof why), 0);
    CHECK(!get(FRONT));
    CHECK(!get(LIBXL));
    CHECK(!get(UPPER_BACK));
    CHECK(!get(LOWER_FRONT));
    CHECK(!get(LOWER_BACK));
    CHECK(world_nodes() <= before + 12); /* the directories above them */
    interpose_free(i);
    CHECK(!find("web", "xvda"));
    CHECK_EQ(add(&usual), 0); /* and all of it again */
}

/* Each call in turn fails. */
static void
leaves_nothing_half_done(void)
{
    unsigned before, all, calls, failed = 0;

    hosts();
    before = world_nodes();
    calls = w.calls;
    REQUIRE(!add(&usual));
    calls = w.calls - calls;
    all = world_nodes();
    CHECK(calls > 30);
    for (unsigned n = 1; n <= calls; n++) {
        int rc;

        hosts();
        w.fail_in = n;
        rc = add(&usual);
        w.fail_in = 0;
        failed += rc != 0;
        CHECK_EQ(world_nodes(), rc ? before : all);
        CHECK(!rc || why[0]);
        CHECK_EQ(w.open_tx, 0);
    }
    CHECK(failed > 30);
}

static void
is_done_again_when_others_interfere(void)
{
    hosts();
    w.conflicts = 3;
    CHECK_EQ(add(&usual), 0);
    CHECK_STR(get(LOWER_BACK "/state"), "1");
}

/* ---- made by libxl, and moved ---------------------------------------------
 */

#define HOOKED      "/local/domain/0/backend/vbd/7/51712"
#define HOOK        "backend/vbd/7/51712"
#define MOVED_FRONT "/local/domain/7/device/vbd/268435456"

static void
vbd_made(void)
{
    hosts();
    set(HOOKED, "n0,r7");
    set(HOOKED "/params", "store/web-root:/dev/vg/web");
    set(HOOKED "/frontend", FRONT);
    set(HOOKED "/mode", "w");
    set(HOOKED "/state", "2");
    set(FRONT, "n7,r0");
    set(FRONT "/state", "1");
}

static int
move(void)
{
    struct interpose_hook h = { .again = false };
    int rc = interpose_hook_read(&w.store, HOOK, &h, why, sizeof why);

    if (!rc)
        rc = interpose_hook_make(&w.store, &h, 253, 17, why, sizeof why);
    return rc ? rc : interpose_hook_hand(&w.store, &h, why, sizeof why);
}

static void
moves_to_their_owners(void)
{
    vbd_made();
    REQUIRE(!move());
    CHECK_STR(get(MOVED_FRONT), "n7,r3");
    CHECK_STR(get(UPPER_BACK), "n3,r7");
    CHECK_STR(get(LOWER_FRONT), "n3,r0");
    CHECK_STR(get(LOWER_BACK), "n0,r3");
    CHECK_STR(get("/local/domain/3/backend"), "n3,r0");
    CHECK_STR(get(HOOKED), "n0,r7");
    CHECK(!get(FRONT));
    CHECK(!get(LIBXL));
    CHECK_STR(get(HOOKED "/state"), "6");
}

/* Each call in turn fails; then it is taken back, as blktapctl does. */
static void
moves_all_or_can_be_taken_back(void)
{
    unsigned calls, failed = 0;
    struct interposed *i;

    vbd_made();
    calls = w.calls;
    REQUIRE(!move());
    calls = w.calls - calls;
    CHECK(calls > 60);
    for (unsigned n = 1; n <= calls; n++) {
        vbd_made();
        w.fail_in = n;
        why[0] = '\0';
        if (!move())
            continue;
        w.fail_in = 0;
        failed++;
        CHECK(why[0]);
        CHECK_EQ(w.open_tx, 0);
        if (!interpose_hook_find(&w.store, HOOK, &i, why, sizeof why)) {
            CHECK_EQ(interpose_hook_remove(&w.store, i, why, sizeof why), 0);
            interpose_free(i);
        }
        CHECK(!get(LOWER_FRONT));
        CHECK(!get(LOWER_BACK));
        CHECK(!get(UPPER_BACK));
        CHECK(!get(MOVED_FRONT));
        CHECK(get(HOOKED "/state"));
    }
    w.fail_in = 0;
    CHECK(failed > 50);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(makes_both_sides);
    TEST(makes_them_in_this_domain);
    TEST(refuses_what_it_cannot_do);
    TEST(refuses_what_is_there);
    TEST(finds_by_its_own_record);
    TEST(waits_for_both_and_removes_all);
    TEST(leaves_nothing_half_done);
    TEST(is_done_again_when_others_interfere);
    TEST(moves_to_their_owners);
    TEST(moves_all_or_can_be_taken_back);
    return test_end();
}
