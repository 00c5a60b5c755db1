/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What attach writes, what detach asks for, and who removes what. */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_kit.h"

#define SECOND 1000000000ull
#define LIBXL  "/libxl/7/device/vbd/51712"

static char why[400];

static int
attach(const char *vm, const char *vdev, const char *kind, const char *params)
{
    struct xenbus_attach a = {
        .vm = vm, .vdev = vdev, .kind = kind, .params = params
    };

    why[0] = '\0';
    return xenbus_attach(&w.store, &a, why, sizeof why);
}

static int
detach(const char *vm, const char *vdev, bool force)
{
    why[0] = '\0';
    return xenbus_detach(&w.store, vm, vdev, force, why, sizeof why);
}

static void
as_libxl_writes_it(void)
{
    world_reset();
    set("/local/domain/7/device", "");
    CHECK_EQ(attach("web", "xvda", "vbd3", "web-root"), 0);
    CHECK_STR(get(BACK), "n0,r7");
    CHECK_STR(get(FRONT), "n7,r0");
    CHECK_STR(get(LIBXL), "n0,r0");
    CHECK_STR(get(BACK "/frontend"), FRONT);
    CHECK_STR(get(BACK "/frontend-id"), "7");
    CHECK_STR(get(BACK "/online"), "1");
    CHECK_STR(get(BACK "/state"), "1");
    CHECK_STR(get(BACK "/mode"), "w");
    CHECK_STR(get(BACK "/dev"), "xvda");
    CHECK_STR(get(BACK "/params"), "web-root");
    CHECK_STR(get(FRONT "/backend"), BACK);
    CHECK_STR(get(FRONT "/backend-id"), "0");
    CHECK_STR(get(FRONT "/virtual-device"), "51712");
    CHECK_STR(get(FRONT "/device-type"), "disk");
    CHECK_STR(get(FRONT "/state"), "1");
    CHECK_STR(get(LIBXL "/frontend"), FRONT);
    CHECK_STR(get(LIBXL "/backend"), BACK);
    CHECK_STR(get(LIBXL "/params"), "web-root");
    world_end();
}

static void
attach_connect_detach(void)
{
    world_reset();
    world_start();
    CHECK_EQ(attach("7", "xvda", NULL, "web-root"), 0);
    world_run();
    CHECK_STR(back_state(), "2");
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(back_state(), "4");
    CHECK_EQ(detach("web", "xvda", false), 0);
    world_run();
    CHECK_STR(get(BACK "/online"), "0");
    CHECK_STR(back_state(), "5");
    CHECK_EQ(fd.connected_now, 1);
    front_state("6");
    world_run();
    CHECK(!get(BACK));
    CHECK(!get(FRONT));
    CHECK(!get(LIBXL));
    CHECK(!get("/local/domain/0/backend/vbd3/7")); /* empty: gone as well */
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* By the key of an in-flight table; only XenStore's word counts. */
static void
gone_or_not(void)
{
    char longest[400];

    world_reset();
    world_start();
    CHECK_EQ(attach("web", "xvda", "vbd3", "web-root"), 0);
    CHECK(!xenbus_gone(w.x, "vbd3.7.51712"));
    CHECK(xenbus_gone(w.x, "vbd3.7.51728"));
    CHECK(xenbus_gone(w.x, "vbd3.8.51712"));
    w.fail_in = 1; /* xenstored can't say */
    CHECK(!xenbus_gone(w.x, "vbd3.7.51728"));
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    CHECK(xenbus_gone(w.x, longest));
    world_renew(); /* with all that it had */
    CHECK(xenbus_gone(w.x, "vbd3.7.51728"));
    del("/local"); /* and without: that proves nothing about a vbd */
    world_renew();
    CHECK(!xenbus_gone(w.x, "vbd3.7.51728"));
    world_end();
}

/* We made it, and the daemon was started anew meanwhile: the marker tells. */
static void
detach_after_restart(void)
{
    world_reset();
    world_start();
    CHECK_EQ(attach("web", "xvda", NULL, "web-root"), 0);
    world_run();
    world_free();
    CHECK_EQ(detach("web", "xvda", false), 0);
    world_start();
    CHECK(!get(BACK));
    CHECK(!get(FRONT));
    world_end();
}

static void
detach_of_the_unclaimed(void)
{
    world_reset();
    world_start();
    CHECK_EQ(attach("web", "xvda", NULL, "nobody-knows"), 0);
    world_run();
    CHECK_STR(back_state(), "1");
    CHECK_EQ(detach("web", "xvda", false), 0);
    world_run();
    CHECK(!get(BACK));
    CHECK(!get(FRONT));
    world_end();
}

static void
forced(void)
{
    world_reset();
    world_start();
    CHECK_EQ(attach("web", "xvda", NULL, "web-root"), 0);
    world_run();
    front_nodes();
    front_state("3");
    world_run();
    front_state("4"); /* and it never lets go */
    world_run();
    CHECK_EQ(detach("web", "xvda", true), 0);
    world_run();
    CHECK(!get(BACK));
    CHECK(!get(FRONT));
    CHECK(!get(LIBXL));
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

/* The guest is destroyed: xl removes its directory, we remove ours. */
static void
guest_dies(void)
{
    world_reset();
    world_start();
    CHECK_EQ(attach("web", "xvda", NULL, "web-root"), 0);
    world_run();
    front_nodes();
    front_state("3");
    world_run();
    del("/local/domain/7");
    set("@releaseDomain", "");
    world_run();
    CHECK(!get(BACK));
    CHECK(!get(LIBXL));
    CHECK_EQ(fd.open_now, 0);
    world_end();
}

static void
refusals(void)
{
    world_reset();
    CHECK_EQ(attach("nobody", "xvda", NULL, "d"), -ENOENT);
    CHECK_STR(why, "vm: expected a running guest, found \"nobody\"");
    CHECK_EQ(attach("99", "xvda", NULL, "d"), -ENOENT);
    CHECK_EQ(attach("web", "xvd", NULL, "d"), -EINVAL);
    CHECK_STR(why, "vdev: expected a name like xvda, found \"xvd\"");
    CHECK_EQ(attach("web", "xvda", "no/kind", "d"), -EINVAL);
    CHECK_EQ(attach("web", "xvda", "", "d"), -EINVAL);
    CHECK_EQ(attach("web", "xvda", NULL, ""), -EINVAL);
    CHECK_EQ(attach("web", "xvda", NULL, NULL), -EINVAL);
    CHECK_EQ(attach("web", "xvda", NULL, "web-root"), 0);
    CHECK_EQ(attach("web", "xvda", NULL, "web-root"), -EEXIST);
    CHECK_STR(why, "vdev: expected a free one, found xvda in use in vm web");
    CHECK_EQ(attach("web", "xvda", "qdisk", "web-root"), -EEXIST);
    set("/local/domain/8/name", "web");
    CHECK_EQ(attach("web", "xvdb", NULL, "d"), -EEXIST);
    CHECK_EQ(detach("7", "xvdb", false), -ENOENT);
    CHECK_EQ(detach("7", "xvd", false), -EINVAL);
    world_end();
}

/* What xl made, xl removes. */
static void
not_ours(void)
{
    world_reset();
    make_vbd("web-root");
    world_start();
    CHECK_EQ(detach("web", "xvda", false), -EPERM);
    CHECK(strstr(why, "xl block-detach web xvda"));
    CHECK_STR(back_state(), "2");
    set(BACK "/online", "0");
    set(BACK "/state", "5");
    world_advance(100 * SECOND);
    CHECK_STR(back_state(), "6"); /* left for xl */
    world_end();
}

/* In a driver domain nobody else removes the directory. */
static void
driver_domain(void)
{
    const char *back = "/local/domain/3/backend/vbd3/7/51712";
    char path[200];
    static const char *const nodes[][2] = {
        { "frontend", FRONT },    { "frontend-id", "7" }, { "online", "1" },
        { "params", "web-root" }, { "mode", "w" },        { "script", "x" },
        { "state", "1" },
    };
    unsigned i;

    world_reset();
    set("/local/domain/0/domid", "3"); /* "domid" reads as this here */
    set(FRONT "/backend", back);
    set(FRONT "/state", "1");
    for (i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "%s/%s", back, nodes[i][0]);
        set(path, nodes[i][1]);
    }
    snprintf(path, sizeof path, "%s/state", back);
    world_start();
    CHECK_STR(get(path), "2");
    front_nodes();
    front_state("3");
    world_run();
    CHECK_STR(get(path), "4");
    setf("/local/domain/3/backend/vbd3/7/51712/online", "0");
    set(path, "5");
    front_state("6");
    world_advance(4 * SECOND);
    CHECK_STR(get(path), "6");
    world_advance(2 * SECOND);
    CHECK(!get(back));
    CHECK(get(FRONT "/state")); /* not ours */
    world_end();
}

/* A failed removal, a conflict: again. */
static void
removal_is_repeated(void)
{
    world_reset();
    world_start();
    CHECK_EQ(attach("web", "xvda", NULL, "web-root"), 0);
    world_run();
    CHECK_EQ(detach("web", "xvda", false), 0);
    w.conflicts = 40;
    world_advance(60 * SECOND);
    CHECK(!get(BACK));
    world_end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(as_libxl_writes_it);
    TEST(attach_connect_detach);
    TEST(gone_or_not);
    TEST(detach_after_restart);
    TEST(detach_of_the_unclaimed);
    TEST(forced);
    TEST(guest_dies);
    TEST(refusals);
    TEST(not_ours);
    TEST(driver_domain);
    TEST(removal_is_repeated);
    return test_end();
}
