/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hostile front-end against the channel in a world of one seed: grants,
 * event channels and time are simulated, and a guest beside it, on the same
 * tap, has its requests answered as quickly as ever.
 */
#include "tests/hostile/hostile.h"

#include "channel/chan.h"
#include "host/sim.h"
#include "tests/test.h"

enum {
    HOSTILE = 7,
    GOOD = 8,
    RINGS = QUEUES << ORDER,
    REF_RING = 100,
    REF_DATA = 1000,
    REF_RO = 2000,
    REF_GONE,
    SIZE = 4 << 20,
    FLIGHTS = 4096
};

/* A disk: each request takes 100 us of simulated time. */
struct flight {
    struct chan_io *io;
    struct disk *disk;
};
struct disk {
    uint8_t bytes[SIZE];
    struct flight flight[FLIGHTS];
    unsigned n, broken;
};

struct world {
    struct sim *sim;
    struct loop *loop;
    struct tap *tap;
    struct sweep *sweep;
    struct side {
        struct chan *chan;
        uint32_t port[QUEUES], domid;
        struct disk disk;
        uint8_t *rings;
    } hostile, good;
    uint64_t nonce;
};

static struct world w;

/* ---- the disk --------------------------------------------------------------
 */

static void
flight_over(void *arg)
{
    struct flight *f = arg;
    struct chan_io *io = f->io;

    f->io = NULL;
    if (io->op == BLK_READ)
        memcpy(io->iov.iov_base, f->disk->bytes + io->off, io->len);
    else if (io->op == BLK_WRITE && io->len)
        memcpy(f->disk->bytes + io->off, io->iov.iov_base, io->len);
    chan_complete(io, 0);
}

static void
disk_request(void *ctx, struct chan_io *io)
{
    struct disk *k = ctx;

    while (k->flight[k->n % FLIGHTS].io)
        k->n++;
    k->flight[k->n % FLIGHTS] = (struct flight){ io, k };
    sim_after(w.sim, 100000, flight_over, &k->flight[k->n++ % FLIGHTS]);
}

static void
disk_broken(void *ctx, const char *why)
{
    struct disk *k = ctx;

    CHECK(*why);
    k->broken++;
}

static const struct chan_ops disk_ops = { .request = disk_request,
                                          .broken = disk_broken,
                                          .throttled = NULL };

/* ---- the transport
 * ------------------------------------------------------------ */

static struct side *
side_of(struct dev *d)
{
    return d->private;
}

static int
sim_open(struct dev *d, const struct shape *s)
{
    struct side *side = side_of(d);
    struct chan_params p = { .domid = side->domid,
                             .abi = s->abi == ABI_64 ? CHAN_ABI_64
                                                     : CHAN_ABI_X86_32,
                             .queues = s->queues,
                             .order = s->order,
                             .size = SIZE,
                             .align = 512,
                             .max_indirect = 256,
                             .readonly = s->readonly,
                             .discard = true,
                             .barrier = true,
                             .buffer_max = 4 << 20,
                             .nonce = ++w.nonce };
    char why[200] = "";

    d->got = *s;
    d->sectors = SIZE / 512;
    d->indirect = 256;
    for (unsigned q = 0; q < s->queues; q++) {
        d->ring[q] = side->rings + (size_t)PAGE * (q << s->order);
        p.queue[q].port = side->port[q];
        for (unsigned i = 0; i < 1u << s->order; i++)
            p.queue[q].refs[i] = REF_RING + (q << s->order) + i;
    }
    front_reset(d);
    if (chan_open(&side->chan, w.sweep, &p, &disk_ops, &side->disk, -1, why,
                  sizeof(why))) {
        printf("%s\n", why);
        return -1;
    }
    return 0;
}

static void
sim_close(struct dev *d)
{
    chan_close(side_of(d)->chan);
    side_of(d)->chan = NULL;
}

static void
sim_notify(struct dev *d, unsigned q)
{
    struct side *side = side_of(d);

    sim_port_notify(w.sim, side->domid, side->port[q]);
}

/* A thousandth of what it is elsewhere: nothing here needs longer. */
static void
sim_wait(struct dev *d, unsigned ms)
{
    (void)d;
    sim_run_for(w.sim, ms * UINT64_C(20000));
}

static uint64_t
sim_ms(const struct dev *d)
{
    (void)d;
    return sim_now(w.sim) / 1000000;
}

static uint32_t
sim_strange(struct dev *d, enum strange what)
{
    (void)d;
    return what == REF_READONLY ? REF_RO : what == REF_REVOKED ? REF_GONE : 0;
}

static const struct transport transport_sim = {
    .name = "sim",
    .open = sim_open,
    .close = sim_close,
    .notify = sim_notify,
    .wait = sim_wait,
    .now_ms = sim_ms,
    .strange = sim_strange,
};

/* ---- a world
 * ------------------------------------------------------------------- */

static void
side_new(struct side *side, struct dev *d, uint32_t domid)
{
    memset(side, 0, sizeof(*side));
    side->domid = domid;
    for (uint32_t i = 0; i < RINGS; i++) {
        uint8_t *page = sim_grant(w.sim, domid, REF_RING + i, false);

        side->rings = i ? side->rings : page;
        REQUIRE(page == side->rings + (size_t)i * PAGE);
    }
    for (unsigned i = 0; i < PAGES; i++) {
        d->ref[i] = REF_DATA + i;
        d->page[i] = sim_grant(w.sim, domid, REF_DATA + i, false);
        REQUIRE(d->page[i]);
    }
    REQUIRE(sim_grant(w.sim, domid, REF_RO, true));
    REQUIRE(sim_grant(w.sim, domid, REF_GONE, false));
    CHECK_EQ(sim_ungrant(w.sim, domid, REF_GONE), 0);
    for (unsigned q = 0; q < QUEUES; q++)
        side->port[q] = sim_port(w.sim, domid, NULL, NULL);
    d->private = side;
}

static void
world_new(uint64_t seed, struct dev *hostile, struct dev *good)
{
    w.sim = sim_new(seed);
    w.loop = sim_loop_new(w.sim, "data0");
    w.tap = sim_tap_new(w.sim, w.loop);
    REQUIRE(!sweep_new(&w.sweep, w.tap));
    *hostile = (struct dev){ .t = &transport_sim, .name = "h", .seed = seed };
    *good = (struct dev){ .t = &transport_sim, .name = "g", .seed = seed };
    side_new(&w.hostile, hostile, HOSTILE);
    side_new(&w.good, good, GOOD);
    REQUIRE(!reopen(good, 1, 0, ABI_64) && canary_set(good));
    REQUIRE(!reopen(hostile, 1, 0, ABI_64) && canary_set(hostile));
}

/* The trace of all that happened. */
static uint64_t
world_end(struct dev *hostile, struct dev *good)
{
    struct report r = { .found = "" };
    uint64_t trace;

    CHECK(serves(good, &r));
    CHECK_STR(r.found, "");
    hostile->t->close(hostile);
    good->t->close(good);
    sim_run_for(w.sim, 1000000000);
    CHECK_EQ(sim_mapped(w.sim, HOSTILE), 0);
    CHECK_EQ(sim_mapped(w.sim, GOOD), 0);
    CHECK_EQ(w.good.disk.broken, 0);
    for (unsigned q = 0; q < QUEUES; q++)
        CHECK(!sim_port_bound(w.sim, HOSTILE, w.hostile.port[q]));
    trace = sim_trace(w.sim);
    sweep_free(w.sweep);
    w.tap->ops->free(w.tap);
    w.loop->ops->free(w.loop);
    sim_free(w.sim);
    return trace;
}

/* ---- tests
 * --------------------------------------------------------------------- */

static void
every_case(void)
{
    static struct dev h, g;

    world_new(1, &h, &g);
    CHECK_EQ(cases_run(&h, NULL), 0);
    CHECK(w.hostile.disk.broken >= 5); /* the indices that can't be */
    h.readonly = true;
    CHECK_EQ(cases_run(&h, "xsa_142_readonly"), 0);
    world_end(&h, &g);
}

static void
requests(void)
{
    static struct dev h, g;
    struct soaked t;

    world_new(2, &h, &g);
    CHECK(soak(&h, 200000, &t));
    printf("%" PRIu64 " wrong requests: %" PRIu64 " ERROR, %" PRIu64
           " EOPNOTSUPP, %" PRIu64 " accepted, %" PRIu64 " not answered\n",
           t.sent, t.error, t.unsupported, t.accepted, t.lost);
    CHECK_EQ(t.sent, 200000);
    CHECK_EQ(t.error + t.unsupported, t.sent);
    CHECK_EQ(w.hostile.disk.broken, 0);
    world_end(&h, &g);
}

static void
connections(void)
{
    static struct dev h, g;

    world_new(3, &h, &g);
    CHECK_EQ(toggles(&h, 2000), 2000);
    world_end(&h, &g);
}

static uint64_t
trace_of(uint64_t seed)
{
    static struct dev h, g;
    struct soaked t;

    world_new(seed, &h, &g);
    CHECK(soak(&h, 5000, &t));
    CHECK_EQ(toggles(&h, 20), 20);
    return world_end(&h, &g);
}

static void
one_seed_one_trace(void)
{
    uint64_t trace = trace_of(4);

    CHECK(trace == trace_of(4));
    CHECK(trace != trace_of(5));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(every_case);
    TEST(requests);
    TEST(connections);
    TEST(one_seed_one_trace);
    return test_end();
}
