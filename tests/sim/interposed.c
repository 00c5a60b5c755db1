/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interposed.c: a guest, our channel, a chain that ends in vbd, and a back-end
 * that is our own channel code again, all in a simulated world:
 *
 *    guest ─ring─ chan ── layers ── vbd ── front ─ring─ chan ── disk
 *     (7)         └────────── one data loop ───┘        └ front_rig ┘
 *
 * What counts is where a guest's data are copied, and that they are right when
 * the layers become others and the back-end goes and comes.
 */
#include "config.h"

#include "lib/ring_client.h"
#include "tests/sim/front_rig.h"
#include "tests/unit/plugin_run.h"

enum {
    GUEST = 7,
    PAGE = 4096,
    SLOTS = 32,           /* of its ring */
    AREA = 128 << 10,     /* of the disk, and of memory, for each slot */
    LONGEST = 1 << 20,    /* of one request */
    MEMORY = SLOTS * AREA /* bytes that it grants */
};

static struct rig g; /* the back-end, and the world */
static struct run r; /* the chain */
static struct gate *gate;
static struct fronts fronts;
static struct tap *tap;
static struct sweep *sweep;
static struct chan *chan;

static struct {
    struct loop *loop;
    struct gate *gate;
    struct gate_port port;
    struct ring_client ring;
    struct ring_slot slot[SLOTS];
    void *pages;
    uint32_t ring_ref, ref[MEMORY / PAGE];
    uint8_t *memory;
} guest;

/* What its driver knows of a request. */
struct guest_io {
    enum ring_op op;
    uint64_t off;
    uint32_t len;
    uint8_t *at; /* in its memory */
    bool done;
    int error;
};

/* ---- the guest ----------------------------------------------------------- */

static void
guest_fired(struct gate_port *p)
{
    struct ring_answer a;
    int got;

    (void)p;
    do {
        while ((got = ring_client_take(&guest.ring, &a)) > 0) {
            struct guest_io *io = a.user;

            io->done = true;
            io->error = a.error;
        }
        REQUIRE(!got);
    } while (ring_client_rearm(&guest.ring));
    guest.gate->ops->unmask(guest.gate, &guest.port);
}

static void
guest_start(struct guest_io *io)
{
    static struct ring_seg seg[LONGEST / PAGE];
    struct ring_request q = { .op = io->op,
                              .sector = io->off / 512,
                              .sectors = io->len / 512,
                              .seg = seg,
                              .user = io };
    size_t page = (size_t)(io->at - guest.memory) / PAGE;

    for (uint32_t at = 0; at < io->len; at += PAGE, page++) {
        uint32_t part = io->len - at < PAGE ? io->len - at : PAGE;

        seg[q.segs++] = (struct ring_seg){ .ref = guest.ref[page],
                                           .last = (uint8_t)(part / 512 - 1) };
    }
    io->done = false;
    REQUIRE(!ring_client_put(&guest.ring, &q));
    if (ring_client_publish(&guest.ring))
        guest.gate->ops->notify(guest.gate, &guest.port);
}

static void
guest_new(void)
{
    static void *lists;
    static uint32_t list_ref[SLOTS];
    char why[200];
    void *memory;

    memset(&guest, 0, sizeof guest);
    guest.loop = sim_loop_new(g.sim, "guest");
    guest.gate = sim_gate_new(g.sim, guest.loop, GUEST);
    REQUIRE(!guest.gate->ops->grant(guest.gate, OURS, 1, &guest.ring_ref,
                                    &guest.pages, why, sizeof why));
    REQUIRE(!guest.gate->ops->grant(guest.gate, OURS, SLOTS, list_ref, &lists,
                                    why, sizeof why));
    REQUIRE(!guest.gate->ops->grant(guest.gate, OURS, MEMORY / PAGE, guest.ref,
                                    &memory, why, sizeof why));
    guest.memory = memory;
    for (unsigned i = 0; i < SLOTS; i++) {
        guest.slot[i].indirect = (char *)lists + (size_t)i * PAGE;
        guest.slot[i].indirect_ref = list_ref[i];
    }
    guest.port.fired = guest_fired;
    REQUIRE(!guest.gate->ops->open(guest.gate, OURS, &guest.port));
    ring_client_init(&guest.ring, guest.pages, 0, guest.slot);
}

/* Starts it, and runs the world until it is over. */
static int
guest_do(enum ring_op op, uint64_t off, uint32_t len)
{
    struct guest_io io = {
        .op = op, .off = off, .len = len, .at = guest.memory
    };

    guest_start(&io);
    run_until(&r, &io.done);
    return io.error;
}

static void
fill(uint8_t *at, uint32_t len, uint64_t seed)
{
    for (uint32_t i = 0; i < len; i++)
        at[i] = (uint8_t)(seed + i * 5 + i / 512 + (i >> 16) * 3);
}

/* ---- the channel's receiver, as a disk's --------------------------------- */

static void
request_done(struct chain_req *q, int error)
{
    struct chan_io *io = q->owner;

    chain_put(r.chain, q);
    chan_complete(io, error);
}

static void
request(void *ctx, struct chan_io *io)
{
    struct chain_req *q = chain_get(r.chain);

    (void)ctx;
    REQUIRE(q);
    q->owner = io;
    q->done = request_done;
    q->req.op = io->op;
    q->req.flags = io->flags;
    q->req.off = io->off;
    q->req.len = (uint32_t)io->len;
    if (io->op == BLK_READ || io->op == BLK_WRITE)
        q->req.sg = (struct blk_sg){ &io->iov, 1, 0 };
    chain_submit(r.chain, q);
}

static void
broken(void *ctx, const char *why)
{
    (void)ctx;
    test_fail(__FILE__, __LINE__, "the guest's ring is broken: %s", why);
}

static struct blk_lender *
lender(void *ctx)
{
    (void)ctx;
    return chain_lender(r.chain);
}

static const struct chan_ops ops = { .request = request,
                                     .broken = broken,
                                     .lender = lender };

/* ---- all of it ----------------------------------------------------------- */

static void
looped(struct run *run)
{
    gate = sim_gate_new(g.sim, run->loop, OURS);
    fronts_init(&fronts, run->loop, gate, g.links, "");
    tap = sim_tap_new(g.sim, run->loop);
    REQUIRE(!sweep_new(&sweep, tap));
}

static void
connect_guest(void)
{
    struct chan_params p = { .domid = GUEST,
                             .queues = 1,
                             .size = chain_limits(r.chain)->size,
                             .align = 512,
                             .max_indirect = CHAN_INDIRECT_MAX,
                             .discard = true,
                             .buffer_max = 4 << 20,
                             .nonce = 1 };
    char why[200];

    guest_new();
    p.queue[0].port = guest.port.number;
    p.queue[0].refs[0] = guest.ring_ref;
    REQUIRE(!chan_open(&chan, sweep, &p, &ops, NULL, -1, why, sizeof why));
    run_sleep(&r, MS);
}

#define BEGIN(seed, ...)     \
    do {                     \
        rig_new(&g, seed);   \
        g.segments = 256;    \
        back_nodes(&g);      \
        r.sim = g.sim;       \
        r.looped = looped;   \
        RUN(r, __VA_ARGS__); \
        connect_guest();     \
    } while (0)

static void
end(void)
{
    chan_close(chan);
    guest.gate->ops->free(guest.gate);
    guest.loop->ops->free(guest.loop);
    sweep_free(sweep);
    tap->ops->free(tap);
    run_close(&r);
    gate->ops->free(gate);
    CHECK_EQ(sim_mapped(g.sim, OURS), 0);
    rig_end(&g);
}

#define VBD "vbd path=" FRONT

/* Of the tail, which is layer `tail`. */
static void
check_copies(unsigned tail, uint64_t straight, uint64_t copied)
{
    CHECK_EQ(run_counter(&r, tail, "straight"), straight);
    CHECK_EQ(run_counter(&r, tail, "copied"), copied);
    CHECK_EQ(run_counter(&r, tail, "copied_bytes") != 0, copied != 0);
}

static void
write_and_read(uint64_t off, uint32_t len)
{
    uint8_t *copy = malloc(len);

    REQUIRE(copy);
    fill(guest.memory, len, off + len);
    memcpy(copy, guest.memory, len);
    CHECK_EQ(guest_do(RING_WRITE, off, len), 0);
    memset(guest.memory, 0, len);
    CHECK_EQ(guest_do(RING_READ, off, len), 0);
    CHECK(!memcmp(copy, guest.memory, len));
    free(copy);
}

/* ---- tests --------------------------------------------------------------- */

/* From the guest's page into the back-end's, and nothing between. */
static void
passes_through_without_a_copy(void)
{
    BEGIN(1, VBD);
    write_and_read(0, 4096);
    write_and_read(1 << 20, LONGEST);
    write_and_read(5120, 512);
    CHECK_EQ(guest_do(RING_FLUSH, 0, 0), 0);
    CHECK_EQ(g.flushes, 1);
    check_copies(0, 12, 0); /* the long ones in four pieces */
    CHECK_EQ(run_counter(&r, 0, "straight_bytes"), 2 * (4096 + LONGEST + 512));
    end();
}

static void
layers_that_change_nothing_copy_nothing(void)
{
    BEGIN(2,
          "trace file=%s | delay time=1ms | limit iops=1000 | "
          "error op=read every=1000000 | " VBD,
          run_path("trace"));
    write_and_read(0, 4096);
    write_and_read(1 << 20, LONGEST);
    check_copies(4, 10, 0);
    end();
}

/* A request that the back-end takes in pieces goes in pieces. */
static void
pieces_copy_nothing(void)
{
    rig_new(&g, 3);
    g.segments = 0;
    back_nodes(&g);
    r.sim = g.sim;
    r.looped = looped;
    REQUIRE(!run_open(&r, RUN_READWRITE, VBD));
    connect_guest();
    write_and_read(0, LONGEST);
    check_copies(0, 48, 0); /* of 44 KiB */
    end();
}

static const char *
key_file(void)
{
    const char *path = run_path("key");
    FILE *f = fopen(path, "w");

    REQUIRE(f);
    for (int i = 0; i < 64; i++)
        fputc(i * 7 + 1, f);
    fclose(f);
    return path;
}

/* What it makes of the data is not the back-end's to see. */
static void
crypt_keeps_its_memory_to_itself(void)
{
    BEGIN(4, "crypt mode=plain key-file=%s | " VBD, key_file());
    write_and_read(0, 4096);
    write_and_read(1 << 20, LONGEST);
    fill(guest.memory, PAGE, 4096);
    CHECK(memcmp(g.disk, guest.memory, PAGE));
    check_copies(1, 0, 10);
    end();
}

/* The guest sends more than is lent: the rest is copied, none waits for ever,
 * and all arrives. */
static void
copies_what_is_too_much(void)
{
    static struct guest_io io[SLOTS];

    BEGIN(5, VBD);
    for (unsigned i = 0; i < SLOTS; i++) {
        io[i] = (struct guest_io){ .op = RING_WRITE,
                                   .off = (uint64_t)i * AREA,
                                   .len = AREA,
                                   .at = guest.memory + i * AREA };
        fill(io[i].at, AREA, i);
        guest_start(&io[i]);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        run_until(&r, &io[i].done);
        CHECK_EQ(io[i].error, 0);
    }
    CHECK(!memcmp(g.disk, guest.memory, MEMORY));
    /* A fifth of 320 pages is kept for the longest request: 8 times 32. */
    check_copies(0, 8, 24);
    end();
}

/* Of all that is granted to the back-end. */
static bool
back_end_sees(const uint8_t *page)
{
    for (uint32_t ref = 1000; ref < 4000; ref++) {
        const void *p = sim_grant_page(g.sim, OURS, ref);

        if (p && !memcmp(p, page, PAGE))
            return true;
    }
    return false;
}

/* What waits while the layers become others waits in our own memory. */
static void
nothing_lent_waits_for_other_layers(void)
{
    struct guest_io w = { .op = RING_WRITE, .len = PAGE };
    struct guest_io rd = { .op = RING_READ, .off = PAGE, .len = PAGE };

    BEGIN(6, VBD);
    write_and_read(0, 4096);
    CHECK_EQ(run_pause(&r), 0);
    w.at = guest.memory;
    rd.at = guest.memory + PAGE;
    fill(w.at, PAGE, 99);
    CHECK(!back_end_sees(w.at));
    guest_start(&w);
    guest_start(&rd);
    run_sleep(&r, 10 * MS);
    CHECK(!w.done && !rd.done);
    CHECK(!back_end_sees(w.at));
    REQUIRE(
        !run_replace(&r, "crypt mode=plain key-file=%s | " VBD, key_file()));
    CHECK_EQ(run_resume(&r), 0);
    run_until(&r, &w.done);
    run_until(&r, &rd.done);
    CHECK_EQ(w.error | rd.error, 0);
    CHECK(!back_end_sees(w.at));
    check_copies(1, 2, 2);
    CHECK_EQ(guest_do(RING_READ, 0, PAGE), 0);
    check_copies(1, 2, 3);
    /* And without it, straight again: cipher text, now. */
    REQUIRE(!run_replace(&r, VBD));
    CHECK_EQ(guest_do(RING_READ, 0, PAGE), 0);
    CHECK(!memcmp(guest.memory, g.disk, PAGE));
    check_copies(0, 3, 3);
    end();
}

/* ---- at random ----------------------------------------------------------- */

enum { STEPS = 30 };

static struct worker {
    struct guest_io io;
    uint8_t want[AREA];
    unsigned steps;
} worker[SLOTS];

static void
worker_ended(struct worker *w)
{
    size_t at = w->io.off % AREA;

    CHECK_EQ(w->io.error, 0);
    if (w->io.op == RING_WRITE)
        memcpy(w->want + at, w->io.at, w->io.len);
    if (w->io.op == RING_READ)
        CHECK(!memcmp(w->want + at, w->io.at, w->io.len));
}

static void
worker_step(struct worker *w, unsigned i)
{
    uint32_t most = sim_chance(g.sim, 500000) ? 16 : AREA / 512;
    uint32_t len = (uint32_t)(1 + sim_below(g.sim, most)) * 512;
    uint64_t at = sim_below(g.sim, (AREA - len) / 512 + 1) * 512;
    unsigned dice = (unsigned)sim_below(g.sim, 16);

    w->io.op = dice < 8 ? RING_WRITE : dice < 15 ? RING_READ : RING_FLUSH;
    if (w->io.op == RING_FLUSH)
        at = len = 0;
    w->io.off = (uint64_t)i * AREA + at;
    w->io.len = len;
    w->io.at = guest.memory + i * AREA;
    fill(w->io.at, len, sim_random(g.sim));
    w->steps++;
    guest_start(&w->io);
}

static unsigned
workers_turn(void)
{
    unsigned done = 0;

    for (unsigned i = 0; i < SLOTS; i++) {
        struct worker *w = &worker[i];

        if (w->steps && !w->io.done)
            continue;
        if (w->steps && w->steps <= STEPS)
            worker_ended(w);
        if (w->steps < STEPS)
            worker_step(w, i);
        else
            w->steps = STEPS + 1;
        done += w->steps > STEPS;
    }
    return done;
}

static char options[64]; /* of vbd, that can't change live */
static unsigned replaced, reconnected;

static void
change_something(void)
{
    static const char *const chains[] = {
        VBD,
        "delay time=1ms | " VBD,
        "limit iops=20000 | " VBD,
        "error op=read every=1000000 | " VBD,
        VBD " timeout=60s",
        "delay time=50us | limit iops=9000 | " VBD
    };

    switch (sim_below(g.sim, 4)) {
    case 0:
        reconnected++;
        g.queues = 1 + (unsigned)sim_below(g.sim, 4);
        back_nodes(&g);
        back_drop(&g);
        back_state(&g, 5);
        break;
    case 1:
        reconnected++;
        back_reload(&g);
        break;
    default:
        replaced++;
        CHECK_EQ(run_replace(&r, "%s%s", chains[sim_below(g.sim, 6)], options),
                 0);
    }
}

static void
one_history(uint64_t seed)
{
    struct sim_tap_faults faults = { .spurious = 100000 };
    unsigned done = 0, rounds = 0, tail;

    snprintf(options, sizeof options, " buffer=%uk ring-order=%u queues=%u",
             256 << seed % 3, (unsigned)(seed % 2), 1 + (unsigned)(seed % 5));
    BEGIN(seed, VBD "%s", options);
    sim_tap_faults(g.sim, &faults);
    memset(worker, 0, sizeof worker);
    while (done < SLOTS && rounds++ < 100000) {
        run_sleep(&r, MS / 4);
        done = workers_turn();
        if (g.state == 4 && sim_chance(g.sim, 20000))
            change_something();
    }
    CHECK_EQ(done, SLOTS);
    CHECK_EQ(r.fatals, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        CHECK(!memcmp(worker[i].want, g.disk + (size_t)i * AREA, AREA));
    tail = chain_layers(r.chain) - 1;
    CHECK(run_counter(&r, tail, "straight") > SLOTS);
    end();
}

static void
keeps_the_data_right_at_random(void)
{
    for (uint64_t seed = 100; seed < 148 && !test_failures; seed++) {
        one_history(seed);
        if (test_failures)
            printf("seed %" PRIu64 "\n", seed);
    }
    CHECK(replaced > 20);
    CHECK(reconnected > 20);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(passes_through_without_a_copy);
    TEST(layers_that_change_nothing_copy_nothing);
    TEST(pieces_copy_nothing);
    TEST(crypt_keeps_its_memory_to_itself);
    TEST(copies_what_is_too_much);
    TEST(nothing_lent_waits_for_other_layers);
    TEST(keeps_the_data_right_at_random);
    return test_end();
}
