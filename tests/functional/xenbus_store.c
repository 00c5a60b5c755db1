/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenbus_store.c: XenBus on the real loop and libxenstore, with a real
 * xenstored, for a guest that is played by this program.  The disks are fakes.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>

#include "tests/functional/xenstored.h"
#include "tests/test.h"
#include "tests/unit/fake_disk.h"
#include "xenbus/xenbus.h"

#define BACK      "/local/domain/0/backend/vbd3/7/51712"
#define FRONT     "/local/domain/7/device/vbd/51712"
#define SECOND_NS UINT64_C(1000000000)

static struct xenstored xenstored;
static struct loop *loop;
static struct store *ours, *theirs; /* the daemon's; everybody else's */
static struct xenbus *x;
static const char *const kinds[] = { "vbd3", NULL };
static struct conf_disk disk = { .name = "web-root",
                                 .discard = true,
                                 .queues = 4,
                                 .ring_order = 4,
                                 .indirect = 256 };
static struct conf conf = { .kinds = kinds, .disk = &disk, .disks = 1 };

struct conf *
conf_ref(struct conf *c)
{
    return c;
}

void
conf_unref(struct conf *c)
{
    (void)c;
}

const struct conf_disk *
conf_disk(const struct conf *c, const char *name)
{
    return strcmp(name, c->disk[0].name) ? NULL : &c->disk[0];
}

/* On a host with xen-blkback too: kind vbd3 is nobody's. */
bool
host_kernel_serves(const char *kind)
{
    (void)kind;
    return false;
}

/* libxenstore's thread is cancelled in the middle of a message when its handle
 * is closed: that is its leak. */
__attribute__((visibility("default"))) const char *
__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
    return "leak:libxenstore";
}

/* ---- time ---------------------------------------------------------------- */

static void
stop_now(struct blk_timer *t)
{
    (void)t;
    loop->ops->stop(loop);
}

static void
run_for(uint64_t ns)
{
    struct blk_timer t = { .fire = stop_now };

    loop->ops->timer_start(loop, &t, ns);
    loop->ops->run(loop);
    fake_disk_run();
}

/* ---- the guest and the toolstack ----------------------------------------- */

static void
put(const char *path, const char *value)
{
    CHECK_EQ(theirs->ops->write(theirs, 0, path, value), 0);
}

static bool
is(const char *path, const char *value)
{
    char *v = theirs->ops->read(theirs, 0, path, NULL);
    bool same = v ? value && !strcmp(v, value) : !value;

    free(v);
    return same;
}

/* value NULL: until it is gone.  For at most a minute. */
static void
wait_for(const char *path, const char *value)
{
    int i;

    for (i = 0; i < 6000 && !is(path, value); i++)
        run_for(SECOND_NS / 100);
    if (!is(path, value))
        test_fail(__FILE__, __LINE__, "%s does not become %s", path,
                  value ? value : "(none)");
}

static void
wait_connected(unsigned n)
{
    int i;

    for (i = 0; i < 6000 && fd.connected_now != n; i++)
        run_for(SECOND_NS / 100);
    CHECK_EQ(fd.connected_now, n);
}

static void
make_guest(void)
{
    put("/local/domain/7/name", "web");
    put("/local/domain/7/device", "");
}

static void
front_nodes(void)
{
    put(FRONT "/ring-ref", "8");
    put(FRONT "/event-channel", "15");
    put(FRONT "/protocol", "x86_64-abi");
}

static void
attach(void)
{
    struct xenbus_attach a = {
        .vm = "web", .vdev = "xvda", .kind = "vbd3", .params = "web-root"
    };
    char why[400] = "";

    if (xenbus_attach(ours, &a, why, sizeof why))
        CHECK_STR(why, "");
}

static void
start(void)
{
    char why[400] = "";

    if (xenbus_new(&x, loop, ours, NULL, &conf, NULL, NULL, why, sizeof why))
        CHECK_STR(why, "");
    REQUIRE(x);
}

static void
stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static void
stop(void)
{
    bool done = false;
    int i;

    xenbus_stop(x, stopped, &done);
    for (i = 0; i < 6000 && !done; i++)
        run_for(SECOND_NS / 100);
    CHECK(done);
    xenbus_free(x);
    x = NULL;
}

/* ---- the stories --------------------------------------------------------- */

static void
connects(void)
{
    make_guest();
    start();
    attach();
    wait_for(BACK "/state", "2");
    CHECK(is(BACK "/max-ring-page-order", "4"));
    front_nodes();
    put(FRONT "/state", "3");
    wait_for(BACK "/state", "4");
    put(FRONT "/state", "4");
    CHECK(is(BACK "/sectors", "16384"));
    CHECK_EQ(fd.connected_now, 1);
    CHECK_EQ(fd.params.queue[0].refs[0], 8);
}

/* The daemon is stopped and started under the guest. */
static void
restarts(void)
{
    uint64_t nonce = fd.params.nonce;

    stop();
    CHECK_EQ(fd.open_now, 0);
    CHECK(is(BACK "/state", "4"));
    start();
    wait_connected(1);
    CHECK(is(BACK "/state", "4"));
    CHECK(fd.params.nonce == nonce);
}

static void
resizes(void)
{
    fake_disk_resize(fd.last, 16ull << 20);
    wait_for(BACK "/sectors", "32768");
    CHECK(is(BACK "/state", "4"));
}

/* A guest that writes its state as fast as it can. */
static void
storms(void)
{
    unsigned i;

    for (i = 0; i < 5000; i++)
        put(FRONT "/state", i % 2 ? "4" : "5");
    put(FRONT "/state", "4");
    run_for(SECOND_NS * 3 / 2);
    CHECK_EQ(fd.disconnects, 0);
    put(FRONT "/state", "6");
    wait_for(BACK "/state", "6");
    put(FRONT "/state", "1");
    wait_for(BACK "/state", "2");
    put(FRONT "/state", "3");
    wait_for(BACK "/state", "4");
    put(FRONT "/state", "4");
    wait_connected(1);
}

/* xenstored dies and comes back empty; the guest's I/O goes on.  Then the
 * toolstack starts over. */
static void
xenstored_dies(void)
{
    int i;

    xenstored_kill(&xenstored);
    run_for(SECOND_NS / 10);
    REQUIRE(xenstored_start(&xenstored));
    run_for(8 * SECOND_NS); /* the probe is every 5 s */
    for (i = 0; i < 60 && (ours->ops->write(ours, 0, "/ours", "") ||
                           theirs->ops->write(theirs, 0, "/theirs", ""));
         i++)
        run_for(SECOND_NS);
    run_for(SECOND_NS / 10);
    CHECK_EQ(fd.connected_now, 1);
    make_guest();
    attach();
    wait_for(BACK "/state", "2");
    CHECK_EQ(fd.connected_now, 0);
    front_nodes();
    put(FRONT "/state", "3");
    wait_for(BACK "/state", "4");
    put(FRONT "/state", "4");
}

static void
detaches(void)
{
    char why[400] = "";

    CHECK_EQ(xenbus_detach(ours, "web", "xvda", false, why, sizeof why), 0);
    wait_for(BACK "/state", "5");
    CHECK_EQ(fd.connected_now, 1);
    put(FRONT "/state", "6");
    wait_for(BACK, NULL);
    wait_for(FRONT, NULL);
    CHECK(is("/libxl/7/device/vbd/51712", NULL));
    CHECK_EQ(fd.open_now, 0);
    stop();
    CHECK_EQ(fd.misuses, 0);
    CHECK_EQ(fd.callbacks, fd.expected);
}

int
main(int argc, char **argv)
{
    struct loop_posix_options o = { .workers = 1 };
    char why[400] = "";

    test_args(argc, argv);
    if (!xenstored_start(&xenstored)) {
        printf("no xenstored is installed: skipped\n");
        xenstored_remove(&xenstored);
        return 77;
    }
    fake_disk_reset();
    if (loop_posix_new(&loop, "control", &o, why, sizeof why) ||
        store_xen_open(&ours, loop, why, sizeof why) ||
        store_xen_open(&theirs, loop, why, sizeof why)) {
        printf("%s\n", why);
        xenstored_remove(&xenstored);
        return 1;
    }
    TEST(connects);
    TEST(restarts);
    TEST(resizes);
    TEST(storms);
    TEST(xenstored_dies);
    TEST(detaches);
    ours->ops->free(ours);
    theirs->ops->free(theirs);
    fake_disk_reset();
    loop->ops->free(loop);
    xenstored_remove(&xenstored);
    return test_end();
}
