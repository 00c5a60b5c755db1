/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hostile front-end against the whole daemon in a world of one seed:
 * XenStore, grants, event channels and time are simulated, so every case that
 * needs no thread is run, those of XenBus too; beside it is a guest that keeps
 * all rules, whose requests are answered without an error.
 */
#include "config.h"

#include <inttypes.h>

#include "tests/hostile/hostile.h"
#include "tests/sim/daemon/guest.h"
#include "tests/test.h"

enum {
    HOSTILE = 7,
    GOOD = 8,
    DISK = 51712,
    DISK_RO = 51728,
    REF_RING = 100,
    REF_DATA = 1000,
    REF_RO = 2000,
    REF_GONE,
    SIZE = 4 << 20,
    GOOD_SECTORS = 4096,
    GOOD_REQUESTS = 3000
};

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static struct world w;
static struct guest good;

/* Which vbd of the hostile domain a device is. */
struct vbd {
    uint32_t devid;
    bool fired;
    char front[80], back[80];
};

/* ---- the transport ------------------------------------------------------- */

static void
fired(void *data)
{
    ((struct vbd *)data)->fired = true;
}

static int
daemon_ports(struct dev *d, unsigned n)
{
    for (unsigned q = 0; q < QUEUES; q++) {
        if (d->port[q])
            sim_port_close(w.sim, HOSTILE, d->port[q]);
        d->port[q] = q < n ? sim_port(w.sim, HOSTILE, fired, d->private) : 0;
    }
    return 0;
}

static void
daemon_notify(struct dev *d, unsigned q)
{
    if (d->port[q])
        sim_port_notify(w.sim, HOSTILE, d->port[q]);
}

static uint64_t
daemon_ms(const struct dev *d)
{
    (void)d;
    return sim_now(w.sim) / MS;
}

static void
daemon_wait(struct dev *d, unsigned ms)
{
    struct vbd *v = d->private;
    uint64_t end = sim_now(w.sim) + ms * MS;

    while (!v->fired && sim_now(w.sim) < end)
        REQUIRE(world_step(&w) && w.alive);
    v->fired = false;
}

static int
daemon_write(struct dev *d, const char *leaf, const char *value, size_t len)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", ((struct vbd *)d->private)->front,
             leaf);
    sim_store_write(w.sim, path, "%.*s", (int)len, value);
    return 0;
}

static int
daemon_rm(struct dev *d, const char *leaf)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", ((struct vbd *)d->private)->front,
             leaf);
    sim_store_rm(w.sim, path);
    return 0;
}

static uint64_t
daemon_back(struct dev *d, const char *leaf, uint64_t otherwise)
{
    char path[160];
    const char *v;

    snprintf(path, sizeof path, "%s/%s", ((struct vbd *)d->private)->back,
             leaf);
    v = sim_store_read(w.sim, path);
    return v ? strtoull(v, NULL, 10) : otherwise;
}

static void
daemon_close(struct dev *d)
{
    CHECK(bus_close(d));
}

static uint32_t
daemon_strange(struct dev *d, enum strange what)
{
    (void)d;
    return what == REF_READONLY ? REF_RO : what == REF_REVOKED ? REF_GONE : 0;
}

static const struct transport transport_daemon = {
    .name = "daemon",
    .store = true,
    .open = bus_connect,
    .close = daemon_close,
    .notify = daemon_notify,
    .wait = daemon_wait,
    .now_ms = daemon_ms,
    .strange = daemon_strange,
    .write = daemon_write,
    .rm = daemon_rm,
    .back = daemon_back,
    .ports = daemon_ports,
};

/* ---- a world ------------------------------------------------------------- */

static void
dev_new(struct dev *d, struct vbd *v, uint64_t seed, uint32_t devid,
        uint32_t first, const char *disk, const char *mode)
{
    *d = (struct dev){ .t = &transport_daemon, .name = disk, .seed = seed };
    *v = (struct vbd){ .devid = devid };
    d->private = v;
    d->readonly = !strcmp(mode, "r");
    snprintf(v->front, sizeof v->front, "/local/domain/%d/device/vbd/%" PRIu32,
             HOSTILE, devid);
    snprintf(v->back, sizeof v->back,
             "/local/domain/0/backend/vbd3/%d/%" PRIu32, HOSTILE, devid);
    for (uint32_t i = 0; i < RING_PAGES; i++) {
        uint8_t *page = sim_grant(w.sim, HOSTILE, first + REF_RING + i, false);

        d->rings = i ? d->rings : page;
        d->ring_ref[i] = first + REF_RING + i;
        REQUIRE(page == d->rings + (size_t)i * PAGE);
    }
    for (uint32_t i = 0; i < PAGES; i++) {
        d->ref[i] = first + REF_DATA + i;
        d->page[i] = sim_grant(w.sim, HOSTILE, d->ref[i], false);
        REQUIRE(d->page[i]);
    }
    world_attach(&w, HOSTILE, devid, disk, mode);
}

static void
tick(void *ctx)
{
    guest_tick(&good);
    sim_after(w.sim, MS, tick, ctx);
}

static struct conf *
conf(void)
{
    static const char text[] =
        "daemon = { loops = 1; kinds = ( \"vbd3\" ); };\n"
        "disks = ( { name = \"h\"; queues = 4; ring-order = 4;\n"
        "            barrier = true; discard = true;\n"
        "            chain = ( { plugin = \"file\"; path = \"/h\"; } ); },\n"
        "          { name = \"r\";\n"
        "            chain = ( { plugin = \"file\"; path = \"/r\"; } ); },\n"
        "          { name = \"g\";\n"
        "            chain = ( { plugin = \"file\"; path = \"/g\"; } ); } "
        ");\n";
    char errors[1024] = "";
    struct conf *c = world_conf(text, errors, sizeof errors);

    if (!c)
        test_fail(__FILE__, __LINE__, "%s", errors);
    return c;
}

static void
world_begin(uint64_t seed)
{
    struct guest_plan p = { .queues = 2,
                            .order = 1,
                            .abi = CHAN_ABI_64,
                            .requests = GOOD_REQUESTS,
                            .depth = 4,
                            .writes = true,
                            .discards = true,
                            .flushes = true };

    world_new(&w, seed, 1);
    world_conf_first(&w, conf());
    sim_file_make(w.sim, "/h", SIZE);
    sim_file_make(w.sim, "/r", SIZE);
    sim_file_make(w.sim, "/g", GOOD_SECTORS * RECORD_SECTOR);
    guest_start(&good, &w, &p, GOOD, DISK, "g", GOOD_SECTORS, GOOD_SECTORS);
    REQUIRE(sim_grant(w.sim, HOSTILE, REF_RO, true));
    REQUIRE(sim_grant(w.sim, HOSTILE, REF_GONE, false));
    CHECK_EQ(sim_ungrant(w.sim, HOSTILE, REF_GONE), 0);
    REQUIRE(!world_start(&w));
    tick(NULL);
}

static void
run_for(uint64_t ns)
{
    uint64_t end = sim_now(w.sim) + ns;

    while (sim_now(w.sim) < end)
        REQUIRE(world_step(&w) && w.alive);
}

/* The good guest has had all it asked for, the disks go, nothing is left. */
static uint64_t
world_over(void)
{
    char why[300] = "";
    uint64_t trace;

    for (int i = 0; i < 600 && good.answered < GOOD_REQUESTS; i++)
        run_for(100 * MS);
    CHECK_EQ(good.answered, GOOD_REQUESTS);
    CHECK_EQ(good.errors, 0);
    CHECK_STR(good.why, "");
    guest_quit(&good);
    world_detach(&w, GOOD, DISK);
    world_vbd_remove(&w, HOSTILE, DISK);
    world_vbd_remove(&w, HOSTILE, DISK_RO);
    run_for(20 * S);
    CHECK_EQ(sim_mapped(w.sim, HOSTILE), 0);
    CHECK_EQ(sim_mapped(w.sim, GOOD), 0);
    CHECK(history_verdict(good.record.history, why, sizeof why));
    CHECK_STR(why, "");
    CHECK(world_stop(&w, 20 * S));
    CHECK_EQ(alloc_live(), 0);
    trace = sim_trace(w.sim);
    guest_free(&good);
    world_free(&w);
    return trace;
}

/* ---- tests --------------------------------------------------------------- */

static void
every_case(void)
{
    static struct dev h, r;
    static struct vbd v, vr;

    world_begin(1);
    dev_new(&h, &v, 1, DISK, 0, "h", "w");
    REQUIRE(!reopen(&h, 1, 0, ABI_64) && canary_set(&h));
    CHECK_EQ(cases_run(&h, NULL), 0);
    dev_new(&r, &vr, 1, DISK_RO, 5000, "r", "r");
    CHECK_EQ(cases_run(&r, "xsa_142_readonly"), 0);
    (void)world_over();
}

static void
toggled(void)
{
    static struct dev h;
    static struct vbd v;
    int whole;

    world_begin(2);
    dev_new(&h, &v, 2, DISK, 0, "h", "w");
    REQUIRE(!reopen(&h, 1, 0, ABI_64) && canary_set(&h));
    whole = toggles(&h, 2000);
    CHECK_EQ(whole, 20);
    (void)world_over();
}

static uint64_t
trace_of(uint64_t seed)
{
    static struct dev h;
    static struct vbd v;
    struct soaked t;

    world_begin(seed);
    dev_new(&h, &v, seed, DISK, 0, "h", "w");
    REQUIRE(!reopen(&h, 1, 0, ABI_64) && canary_set(&h));
    CHECK(soak(&h, 5000, &t));
    CHECK_EQ(toggles(&h, 200), 2);
    return world_over();
}

static void
one_seed_one_trace(void)
{
    uint64_t trace = trace_of(3);

    CHECK(trace == trace_of(3));
    CHECK(trace != trace_of(4));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_level(getenv("SIM_TRACE") ? BLK_DEBUG : -1);
    TEST(every_case);
    TEST(toggled);
    TEST(one_seed_one_trace);
    return test_end();
}
