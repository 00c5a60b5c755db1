/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_switch.c: the layers above a real back-end's disk change at random,
 * all of them at once (a change of mode) or some, while requests are under
 * way and the back-end goes and comes back, in the middle of changes, too.
 * Every byte is as it was written, and none was asked for in vain.
 */
#include "config.h"

#include "tests/sim/front_rig.h"
#include "tests/unit/plugin_run.h"

enum { WORKERS = 24, AREA = 64 << 10, SWITCHES = 60, MOST = 64 << 10 };

static struct rig g;
static struct run r;
static struct gate *gate;
static struct fronts fronts;
static bool over; /* workers end */

/* ---- who uses the disk --------------------------------------------------- */

/* One request at a time, in an area of its own. */
static struct worker {
    struct run_io io;
    uint8_t buf[MOST], want[AREA];
    unsigned requests;
} worker[WORKERS];

static void
worker_starts(struct worker *w)
{
    static const uint8_t ops[] = { BLK_WRITE, BLK_WRITE,   BLK_WRITE, BLK_READ,
                                   BLK_READ,  BLK_DISCARD, BLK_FLUSH };
    uint64_t at, base = (uint64_t)(w - worker) * AREA;
    struct run_io *io = &w->io;
    uint8_t seed = (uint8_t)sim_random(g.sim);
    uint32_t unit;

    io->op = ops[sim_below(g.sim, sizeof ops)];
    unit = io->op == BLK_DISCARD ? 4096 : 512; /* less may be left undone */
    io->len = (uint32_t)(1 + sim_below(g.sim, MOST / unit)) * unit;
    at = sim_below(g.sim, (AREA - io->len) / unit + 1) * unit;
    if (io->op == BLK_FLUSH)
        at = base = io->len = 0;
    io->off = base + at;
    io->buf = w->buf;
    io->segs = 1 + (unsigned)sim_below(g.sim, 4);
    io->step = 0;
    if (io->op == BLK_WRITE) {
        for (uint32_t i = 0; i < io->len; i++)
            w->buf[i] = (uint8_t)(seed + i * 11 + i / 512);
    }
    run_start(&r, io);
}

static void
worker_ended(struct run_io *io)
{
    struct worker *w = (struct worker *)io;
    uint8_t *want = w->want + io->off % AREA;

    CHECK_EQ(io->error, 0);
    if (io->op == BLK_WRITE)
        memcpy(want, w->buf, io->len);
    else if (io->op == BLK_READ)
        CHECK(!memcmp(want, w->buf, io->len));
    else if (io->op == BLK_DISCARD)
        memset(want, 0, io->len);
    w->requests++;
    if (!over)
        worker_starts(w);
}

static bool
workers_done(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        if (!worker[i].io.done)
            return false;
    }
    return true;
}

/* ---- the back-end -------------------------------------------------------- */

static unsigned deaths;

static void
dies(void *data)
{
    (void)data;
    if (g.state != 4)
        return; /* it has not come back from the last time */
    deaths++;
    if (sim_chance(g.sim, 500000)) {
        back_reload(&g);
    } else {
        back_drop(&g);
        back_state(&g, 5);
    }
}

/* ---- what changes -------------------------------------------------------- */

/* Above the vbd; "" is passthrough. */
static const char *
layers(char *text, size_t n)
{
    unsigned time = 1 + (unsigned)sim_below(g.sim, 2000);
    unsigned iops = 2000 + (unsigned)sim_below(g.sim, 20000);

    text[0] = '\0';
    switch (sim_below(g.sim, 6)) {
    case 0:
        snprintf(text, n, "delay time=%uus |", time);
        break;
    case 1:
        snprintf(text, n, "limit iops=%u |", iops);
        break;
    case 2:
        snprintf(text, n, "delay time=%uus | limit iops=%u |", time, iops);
        break;
    case 3:
        snprintf(text, n, "limit iops=%u | delay time=%uus |", iops, time);
        break;
    default:
        break;
    }
    return text;
}

static void
switches(unsigned *timeout)
{
    char text[100];

    layers(text, sizeof text);
    if (sim_chance(g.sim, 250000)) /* the same connection, another instance */
        *timeout = 60 + (unsigned)sim_below(g.sim, 600);
    if (sim_chance(g.sim, 100000)) { /* no header: the old chain goes on */
        CHECK(run_replace(
            &r, "crypt key-file=%s | %s vbd path=%s name=real timeout=%us",
            run_file("key", 32), text, FRONT, *timeout));
        return;
    }
    if (run_replace(&r, "%s vbd path=%s name=real timeout=%us", text, FRONT,
                    *timeout))
        test_fail(__FILE__, __LINE__, "no switch: %s", r.why);
}

/* ---- all of it ----------------------------------------------------------- */

static void
looped(struct run *run)
{
    gate = sim_gate_new(g.sim, run->loop, OURS);
    fronts_init(&fronts, run->loop, gate, g.links, "");
}

static void
one_history(uint64_t seed, bool dying)
{
    unsigned timeout = 300, requests = 0;

    rig_new(&g, seed);
    g.order = (unsigned)sim_below(g.sim, 3);
    g.segments = sim_chance(g.sim, 300000) ? 0 : 32;
    back_nodes(&g);
    memset(worker, 0, sizeof worker);
    memset(&r, 0, sizeof r);
    r.sim = g.sim;
    r.looped = looped;
    deaths = 0;
    over = false;
    REQUIRE(!run_open(&r, RUN_READWRITE, "vbd path=%s name=real timeout=%us",
                      FRONT, timeout));
    for (unsigned i = 0; i < WORKERS; i++) {
        worker[i].io.after = worker_ended;
        worker_starts(&worker[i]);
    }
    for (unsigned i = 0; i < SWITCHES && !test_failures; i++) {
        run_sleep(&r, sim_below(g.sim, 4 * MS));
        if (dying && sim_chance(g.sim, 300000))
            sim_after(g.sim, sim_below(g.sim, 3 * MS), dies, NULL);
        switches(&timeout);
    }
    over = true;
    RUN_WAIT(r, workers_done());
    for (unsigned i = 0; i < WORKERS; i++) {
        requests += worker[i].requests;
        CHECK(!memcmp(worker[i].want, g.disk + i * AREA, AREA));
    }
    CHECK(requests > WORKERS);
    CHECK_EQ(r.fatals, 0);
    CHECK(!dying || deaths);
    CHECK(run_counter(&r, chain_layers(r.chain) - 1, "connects") <= 1 + deaths);
    run_close(&r);
    CHECK_EQ(front_state(&g), 6);
    gate->ops->free(gate);
    CHECK_EQ(sim_mapped(g.sim, OURS), 0);
    rig_end(&g);
}

static void
histories(bool dying)
{
    for (uint64_t seed = 300; seed < 310 && !test_failures; seed++) {
        one_history(seed, dying);
        if (test_failures)
            printf("seed %" PRIu64 "\n", seed);
    }
}

static void
layers_change_at_random(void)
{
    histories(false);
}

static void
layers_change_while_the_back_end_dies(void)
{
    histories(true);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(layers_change_at_random);
    TEST(layers_change_while_the_back_end_dies);
    return test_end();
}
