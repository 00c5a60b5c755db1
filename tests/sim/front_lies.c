/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_lies.c: a back-end that lies: in its ring, with its events, and in its
 * nodes.  At worst its own front ends, with a sentence.
 */
#include "config.h"

#include <errno.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/io/blkif.h>

#include "lib/ring_client.h"
#include "tests/sim/front_rig.h"

static struct rig r;
static struct rig_io a, b;
static struct blkif_sring *ring;
static int port;

/* Connects, and then does what the test does. */
static void
connect_only(struct rig *rig)
{
    ring = sim_grant_page(rig->sim, OURS, front_node(rig, "ring-ref"));
    port =
        rig->tap->ops->bind(rig->tap, OURS, front_node(rig, "event-channel"));
    CHECK(ring && port > 0);
    back_nodes(rig);
    back_state(rig, 4);
}

static void
setup(uint64_t seed)
{
    struct front_conf conf = rig_conf;

    rig_new(&r, seed);
    r.instead = connect_only;
    conf.order = 0;
    conf.queues = 1;
    REQUIRE(!rig_open(&r, &conf));
    rig_start(&r, &a, BLK_READ, 4096, 4096);
    rig_start(&r, &b, BLK_WRITE, 8192, 4096);
    rig_run(&r, MS);
    CHECK_EQ(ring->req_prod, 2);
}

static void
teardown(void)
{
    rig_close(&r);
    r.tap->ops->unbind(r.tap, port);
    CHECK_EQ(sim_mapped(r.sim, OURS), 0);
    rig_end(&r);
}

static uint64_t
id(unsigned i)
{
    return ring->ring[i].req.id;
}

static void
answer(uint64_t which, int op, int status)
{
    struct blkif_response *rsp = &ring->ring[ring->rsp_prod % 32].rsp;

    rsp->id = which;
    rsp->operation = (uint8_t)op;
    rsp->status = (int16_t)status;
    ring->rsp_prod++;
}

static void
event(void)
{
    r.tap->ops->notify(r.tap, port);
    rig_run(&r, 10 * MS);
}

/* ---- in the ring --------------------------------------------------------- */

static uint64_t first_id, second_id;

static void
twice(void)
{
    answer(first_id, BLKIF_OP_READ, 0);
    answer(first_id, BLKIF_OP_READ, 0);
}

static void
never_asked(void)
{
    answer(31, BLKIF_OP_READ, 0);
}

static void
far_off(void)
{
    answer(UINT64_C(0x100000000) + first_id, BLKIF_OP_READ, 0);
}

static void
another_operation(void)
{
    answer(first_id, BLKIF_OP_WRITE, 0);
}

static void
too_many(void)
{
    ring->rsp_prod = 3;
}

static void
backwards(void)
{
    ring->rsp_prod = UINT32_MAX;
}

static void
lie(void (*how)(void), const char *sentence)
{
    char why[200];
    unsigned i;

    setup(1);
    first_id = id(0);
    second_id = id(1);
    how();
    event();
    CHECK_EQ(r.fatals, 1);
    snprintf(why, sizeof why, "the back-end broke the protocol: %s", sentence);
    CHECK_STR(r.why, why);
    CHECK(a.done && b.done);
    CHECK_EQ(b.error, -EIO);
    /* And nothing it does now is of any interest. */
    for (i = 0; i < 40; i++)
        answer(i, BLKIF_OP_READ, 0);
    event();
    CHECK_EQ(r.fatals, 1);
    CHECK_EQ(rig_do(&r, &b, BLK_READ, 0, 512), -EIO);
    teardown();
}

static void
is_not_fooled_by_answers(void)
{
    lie(twice, "an answer to a request that does not wait");
    lie(never_asked, "an answer to a request that does not wait");
    lie(far_off, "an answer's id is not that of any request");
    lie(another_operation, "an answer with another operation than asked");
    lie(too_many, "more answers than requests");
    lie(backwards, "more answers than requests");
}

/* Bad news are no lie; unknown ones are errors. */
static void
passes_errors_on(void)
{
    static const struct {
        int status, error;
    } cases[] = { { BLKIF_RSP_ERROR, -EIO },
                  { BLKIF_RSP_EOPNOTSUPP, -EOPNOTSUPP },
                  { 77, -EIO },
                  { -4711, -EIO } };

    for (unsigned i = 0; i < 4; i++) {
        setup(2);
        memset(a.buf, 7, sizeof a.buf);
        answer(id(0), BLKIF_OP_READ, cases[i].status);
        answer(id(1), BLKIF_OP_WRITE, 0);
        event();
        CHECK(a.done && b.done);
        CHECK_EQ(a.error, cases[i].error);
        CHECK_EQ(b.error, 0);
        CHECK(a.buf[0] == 7 && a.buf[4095] == 7); /* no data without success */
        CHECK_EQ(r.fatals, 0);
        teardown();
    }
}

/* So what was written may be lost when the back-end is. */
static void
a_flush_that_failed_covers_nothing(void)
{
    setup(8);
    answer(id(1), BLKIF_OP_WRITE, 0);
    event();
    rig_start(&r, &b, BLK_FLUSH, 0, 0);
    answer(id(2), BLKIF_OP_FLUSH_DISKCACHE, BLKIF_RSP_ERROR);
    event();
    CHECK(b.done && !a.done);
    CHECK_EQ(b.error, -EIO);
    r.state = 0;
    sim_store_rm(r.sim, BACK);
    rig_run(&r, 100 * MS);
    CHECK_EQ(r.fatals, 0);
    back_nodes(&r);
    back_state(&r, 2);
    rig_run(&r, 100 * MS);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.why, "not flushed may be lost"));
    CHECK(a.done && a.error == -EIO);
    teardown();
}

/* What it writes over our requests, and over read data once they are
 * answered, is its own business. */
static void
believes_its_own_copy(void)
{
    setup(3);
    first_id = id(0);
    second_id = id(1);
    memset(ring->ring, 0xff, 32 * sizeof ring->ring[0]);
    ring->req_prod = 4711;
    answer(second_id, BLKIF_OP_WRITE, 0);
    answer(first_id, BLKIF_OP_READ, 0);
    event();
    CHECK(a.done && b.done);
    CHECK_EQ(a.error | b.error, 0);
    rig_start(&r, &a, BLK_FLUSH, 0, 0);
    CHECK_EQ(ring->req_prod, 3);
    CHECK_EQ(ring->ring[2].req.operation, BLKIF_OP_FLUSH_DISKCACHE);
    answer(id(2), BLKIF_OP_FLUSH_DISKCACHE, 0);
    event();
    CHECK_EQ(a.error, 0);
    teardown();
}

/* ---- in the last connection's ring --------------------------------------- */

/* It may have that mapped for as long as it likes: nobody reads it. */
static void
writes_to_a_ring_that_was_given_up(void)
{
    const union blkif_sring_entry *slot;
    uint32_t ref;
    void *page;
    int old;

    setup(9);
    ref = front_node(&r, "ring-ref");
    old = port;
    REQUIRE(!r.tap->ops->map(r.tap, OURS, &ref, 1, &page));
    back_state(&r, 5);
    rig_run(&r, 1000 * MS);
    REQUIRE(rig_connected(&r) && ring);
    CHECK(front_node(&r, "ring-ref") != ref);
    memset(page, 0xff, 4096);
    r.tap->ops->notify(r.tap, old);
    event();
    CHECK(!a.done && !b.done);
    CHECK_EQ(ring->req_prod, 2);
    slot = ring->ring;
    answer(id(1), slot[1].req.operation, 0);
    answer(id(0), slot[0].req.operation, 0);
    event();
    CHECK(a.done && b.done);
    CHECK_EQ(a.error | b.error, 0);
    CHECK_EQ(r.fatals, 0);
    r.tap->ops->unbind(r.tap, old);
    r.tap->ops->unmap(r.tap, page, 1);
    teardown();
}

/* ---- with events --------------------------------------------------------- */

bool __real_ring_client_rearm(struct ring_client *);
bool __wrap_ring_client_rearm(struct ring_client *);

/* Called once, when all answers are taken and no event is asked for yet. */
static void (*meanwhile)(void);

bool
__wrap_ring_client_rearm(struct ring_client *rc)
{
    void (*what)(void) = meanwhile;

    meanwhile = NULL;
    if (what)
        what();
    return __real_ring_client_rearm(rc);
}

static void
answer_second(void)
{
    answer(second_id, BLKIF_OP_WRITE, 0);
}

/* No event comes with it, as none was asked for. */
static void
hears_what_comes_while_it_goes_to_sleep(void)
{
    setup(5);
    first_id = id(0);
    second_id = id(1);
    answer(first_id, BLKIF_OP_READ, 0);
    meanwhile = answer_second;
    event();
    CHECK(!meanwhile);
    CHECK(a.done && b.done);
    CHECK_EQ(a.error | b.error, 0);
    teardown();
}

static void
storm(void *data)
{
    unsigned *left = data;

    r.tap->ops->notify(r.tap, port);
    if (--*left)
        sim_after(r.sim, 1000, storm, left);
}

/* A storm of events costs a look in a millisecond; answers are still heard. */
static void
sits_a_storm_out(void)
{
    unsigned left = 500000, events;

    setup(4);
    sim_after(r.sim, 0, storm, &left);
    rig_run(&r, 100 * MS);
    events = (unsigned)r.fronts.ops->counters(r.front)->events;
    CHECK(events > 30 && events < 250);
    answer(id(0), BLKIF_OP_READ, 0);
    rig_run(&r, 5 * MS);
    CHECK(a.done);
    rig_run(&r, 500 * MS);
    CHECK_EQ(left, 0);
    CHECK_EQ(r.fatals, 0);
    teardown();
}

/* Whoever is asked for nothing is not heard, whatever it does; and as soon as
 * it is asked, it is. */
static void
does_not_listen_when_it_asked_nothing(void)
{
    unsigned left = 100000;
    uint64_t events;

    setup(10);
    answer(id(0), BLKIF_OP_READ, 0);
    event();
    CHECK(a.done && !b.done);
    answer(id(1), BLKIF_OP_WRITE, 0);
    event();
    CHECK(b.done);
    events = r.fronts.ops->counters(r.front)->events;
    sim_after(r.sim, 0, storm, &left);
    rig_run(&r, 200 * MS);
    CHECK_EQ(left, 0);
    CHECK_EQ(r.fronts.ops->counters(r.front)->events, events);
    rig_start(&r, &a, BLK_READ, 0, 512);
    rig_run(&r, 10 * MS);
    CHECK_EQ(r.fronts.ops->counters(r.front)->events, events + 1);
    CHECK(!a.done);
    answer(id(2), BLKIF_OP_READ, 0);
    event();
    CHECK(a.done && !a.error);
    CHECK_EQ(r.fatals, 0);
    teardown();
}

/* An answer to nothing is found out when something is asked, and said to be
 * what it is. */
static void
finds_out_later_what_it_did_meanwhile(void)
{
    setup(11);
    second_id = id(1);
    answer(id(0), BLKIF_OP_READ, 0);
    answer(second_id, BLKIF_OP_WRITE, 0);
    event();
    CHECK(a.done && b.done);
    answer(second_id, BLKIF_OP_READ, 0);
    event();
    CHECK_EQ(r.fatals, 0);
    rig_start(&r, &a, BLK_READ, 0, 512);
    rig_run(&r, 10 * MS);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.why, "more answers than requests"));
    CHECK(a.done);
    CHECK_EQ(a.error, -EIO);
    teardown();
}

/* Events of a connection that is over cost nothing: it stays in state 5, where
 * nothing can be asked of it. */
static void
does_not_listen_to_whom_it_left(void)
{
    unsigned left = 100000;
    uint64_t events;

    setup(6);
    r.late = true;
    back_state(&r, 5);
    rig_run(&r, 10 * MS);
    CHECK_STR(r.fronts.ops->state(r.front), "waiting");
    events = r.fronts.ops->counters(r.front)->events;
    sim_after(r.sim, 0, storm, &left);
    rig_run(&r, 200 * MS);
    CHECK_EQ(left, 0);
    CHECK(r.fronts.ops->counters(r.front)->events - events <= 1);
    CHECK(!a.done && !b.done);
    CHECK_EQ(r.fatals, 0);
    r.late = false;
    teardown();
}

/* ---- in its nodes -------------------------------------------------------- */

static const struct {
    const char *node, *value, *why;
} nodes[] = {
    { "sectors", "", "expected a number, found nothing" },
    { "sectors", "-1", "expected a number up to 18014398509481983" },
    { "sectors", "99999999999999999999", "expected a number up to" },
    { "sectors", "0", "expected a disk, found one of 0 bytes" },
    { "sector-size", "511", "expected a power of two from 512 to 4096" },
    { "sector-size", "0", "expected a power of two from 512 to 4096" },
    { "sector-size", "8192", "expected a number up to 4096" },
    { "info", "x", "expected a number up to" },
    { "feature-flush-cache", "yes", "expected a number up to" },
    { "discard-granularity", "1e3", "expected a number up to" },
    { "feature-max-indirect-segments", "99999999999", "expected a number" },
    { "multi-queue-max-queues", "0", "expected a queue at least, found 0" },
    { "multi-queue-max-queues", "two", "expected a number up to" },
};

static unsigned node;

static void
connect_with_nonsense(struct rig *rig)
{
    char path[128];

    back_nodes(rig);
    snprintf(path, sizeof path, BACK "/%s", nodes[node].node);
    sim_store_write(rig->sim, path, "%s", nodes[node].value);
    back_state(rig, 4);
}

static void
refuses_nonsense_in_nodes(void)
{
    for (node = 0; node < sizeof nodes / sizeof nodes[0]; node++) {
        rig_new(&r, 60 + node);
        r.instead = connect_with_nonsense;
        CHECK_EQ(rig_open(&r, &rig_conf), -EINVAL);
        CHECK(strstr(r.why, nodes[node].node));
        CHECK(strstr(r.why, nodes[node].why));
        rig_close(&r);
        rig_end(&r);
    }
}

/* Also before we have made a ring. */
static void
refuses_rings_that_make_no_sense(void)
{
    static const char *const odd[] = { "0", "-4", "18446744073709551616" };

    for (unsigned i = 0; i < 3; i++) {
        rig_new(&r, 75 + i);
        sim_store_write(r.sim, BACK "/multi-queue-max-queues", "%s", odd[i]);
        CHECK_EQ(rig_open(&r, &rig_conf), -EINVAL);
        CHECK(strstr(r.why, BACK "/multi-queue-max-queues: expected a "));
        rig_close(&r);
        CHECK_EQ(front_state(&r), 6);
        rig_end(&r);
    }
}

/* Numbers that are no nonsense, and too large to use. */
static void
takes_what_it_can_use(void)
{
    const struct front_info *info;

    rig_new(&r, 80);
    r.order = 99;
    r.segments = 1000000;
    r.queues = 4000000000;
    back_nodes(&r);
    sim_store_write(r.sim, BACK "/physical-sector-size", "3");
    r.instead = connect_only;
    sim_store_write(r.sim, FRONT "/state", "1");
    {
        struct front_conf conf = rig_conf;

        conf.order = 0;
        conf.queues = 1;
        conf.pages = FRONT_PAGES_MAX;
        REQUIRE(!rig_open(&r, &conf));
    }
    info = r.fronts.ops->info(r.front);
    CHECK_EQ(info->segments, FRONT_SEGMENTS_MAX);
    CHECK_EQ(info->order, FRONT_ORDER_MAX);
    CHECK_EQ(info->queues, FRONT_QUEUES_MAX);
    CHECK_EQ(info->block, 512);
    teardown();
}

/* ---- with its states ----------------------------------------------------- */

static uint64_t flips;

static void
flip(void *data)
{
    (void)data;
    if (!flips)
        return;
    flips--;
    back_state(&r, (int)sim_below(r.sim, 9));
    sim_after(r.sim, sim_below(r.sim, MS), flip, NULL);
}

/* With whatever ring there is. */
static void
connect_somehow(struct rig *rig)
{
    back_nodes(rig);
    back_state(rig, 4);
}

/* It dies in each state, and shows any: we end, or are connected, but never
 * hang, and nothing is left. */
static void
survives_any_states(void)
{
    for (uint64_t seed = 200; seed < 240; seed++) {
        rig_new(&r, seed);
        flips = 1 + sim_below(r.sim, 300);
        sim_after(r.sim, 0, flip, NULL);
        r.instead = connect_somehow;
        {
            struct front_conf conf = rig_conf;

            conf.order = 0;
            conf.queues = 1;
            conf.connect_ns = 500 * MS;
            (void)rig_open(&r, &conf);
        }
        rig_run(&r, sim_below(r.sim, 300 * MS));
        if (!r.error)
            rig_start(&r, &a, BLK_WRITE, 0, 4096);
        rig_run(&r, sim_below(r.sim, 300 * MS));
        CHECK(r.closed || r.front);
        rig_close(&r);
        CHECK_EQ(sim_mapped(r.sim, OURS), 0);
        flips = 0;
        rig_end(&r);
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_open(BLK_ERR, false);
    TEST(is_not_fooled_by_answers);
    TEST(passes_errors_on);
    TEST(a_flush_that_failed_covers_nothing);
    TEST(believes_its_own_copy);
    TEST(writes_to_a_ring_that_was_given_up);
    TEST(hears_what_comes_while_it_goes_to_sleep);
    TEST(sits_a_storm_out);
    TEST(does_not_listen_when_it_asked_nothing);
    TEST(finds_out_later_what_it_did_meanwhile);
    TEST(does_not_listen_to_whom_it_left);
    TEST(refuses_nonsense_in_nodes);
    TEST(refuses_rings_that_make_no_sense);
    TEST(takes_what_it_can_use);
    TEST(survives_any_states);
    return test_end();
}
