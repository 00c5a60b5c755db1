/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * liar.c: the cases of blkif-liar in one world and one seed: a back-end lies to
 * one front, while another front on the same loops, whose back-end is honest,
 * writes and reads and finds what it wrote.
 */
#include "config.h"

#include <errno.h>

#include "front/front.h"
#include "host/sim.h"
#include "tests/hostile/liar/liar.h"
#include "tests/test.h"

#define MS UINT64_C(1000000)

/* DEPTH: as many as four rings get some of. */
enum { OURS = 0, DEPTH = 30, LEN = 4096, VICTIM = 0, NEIGHBOUR = 1 };

struct io {
    struct front_io io;
    struct side *side;
    struct blk_sg sg;
    struct iovec v;
    uint8_t buf[LEN];
    bool busy;
    uint64_t off;
    enum blk_op op;
};

/* A disk: both ends of it. */
struct side {
    struct liar liar;
    const char *path, *back;
    /* The back-end's transport. */
    struct {
        void *pages;
        unsigned n;
        int port;
    } ring[LIAR_RINGS];
    /* The front's user. */
    struct front *front;
    bool opened, closed;
    int error; /* of opened() or fatal() */
    unsigned fatals;
    char why[400];
    /* What is asked of it. */
    struct io io[DEPTH];
    uint8_t model[LIAR_SECTORS * 512];
    bool unknown[LIAR_SECTORS * 512 / LEN]; /* a write of it failed */
    bool wild;   /* what is read may be anything just now */
    bool strict; /* every request must succeed */
    uint64_t good, bad;
};

static struct sim *sim;
static struct loop *back_loop, *control, *data;
static struct tap *tap;
static struct store *store;
static struct gate *gate;
static struct front_links *links;
static struct fronts fronts;
static struct side side[2];
static bool stepping;

/* ---- the back-end's transport -------------------------------------------- */

static int
t_read(struct liar *l, const char *path, char *value, size_t size)
{
    const char *found = sim_store_read(sim, path);

    (void)l;
    if (!found)
        return -ENOENT;
    snprintf(value, size, "%s", found);
    return 0;
}

static int
t_write(struct liar *l, const char *path, const char *value)
{
    (void)l;
    sim_store_write(sim, path, "%s", value);
    return 0;
}

static int
t_rm(struct liar *l, const char *path)
{
    (void)l;
    sim_store_rm(sim, path);
    return 0;
}

static uint8_t *
t_connect(struct liar *l, unsigned ring, const uint32_t *refs, unsigned pages,
          uint32_t port)
{
    struct side *s = l->private;

    s->ring[ring].port = tap->ops->bind(tap, OURS, port);
    if (s->ring[ring].port < 0)
        return NULL;
    s->ring[ring].n = pages;
    if (tap->ops->map(tap, OURS, refs, pages, &s->ring[ring].pages)) {
        tap->ops->unbind(tap, s->ring[ring].port);
        return NULL;
    }
    return s->ring[ring].pages;
}

static void
t_disconnect(struct liar *l, unsigned ring)
{
    struct side *s = l->private;

    tap->ops->unbind(tap, s->ring[ring].port);
    tap->ops->unmap(tap, s->ring[ring].pages, s->ring[ring].n);
}

static void
t_notify(struct liar *l, unsigned ring)
{
    tap->ops->notify(tap, ((struct side *)l->private)->ring[ring].port);
}

static int
t_put(struct liar *l, uint32_t ref, unsigned at, const void *from, unsigned n)
{
    uint8_t *page = sim_grant_page(sim, OURS, ref);

    (void)l;
    if (!page)
        return -EINVAL;
    memcpy(page + at, from, n);
    return 0;
}

static int
t_get(struct liar *l, uint32_t ref, unsigned at, void *to, unsigned n)
{
    const uint8_t *page = sim_grant_page(sim, OURS, ref);

    (void)l;
    if (!page)
        return -EINVAL;
    memcpy(to, page + at, n);
    return 0;
}

static const struct liar_transport transport = {
    .read = t_read,
    .write = t_write,
    .rm = t_rm,
    .connect = t_connect,
    .disconnect = t_disconnect,
    .notify = t_notify,
    .put = t_put,
    .get = t_get,
};

static void
back_looks(void *arg)
{
    (void)arg;
    if (!stepping)
        return;
    liar_step(&side[VICTIM].liar);
    liar_step(&side[NEIGHBOUR].liar);
    sim_after(sim, MS / 2 + sim_below(sim, MS), back_looks, NULL);
}

/* ---- requests ------------------------------------------------------------ */

static void start_io(struct io *);

/* Each has a part of the disk to itself, so that the model is simple. */
static void
done(struct front_io *fio, int error)
{
    struct io *io = (struct io *)(void *)fio;
    struct side *s = io->side;

    CHECK(io->busy);
    io->busy = false;
    if (error)
        s->bad++;
    else
        s->good++;
    if (s->strict)
        CHECK_EQ(error, 0);
    if (io->op == BLK_READ && !error && !s->wild && !s->unknown[io->off / LEN])
        CHECK(!memcmp(io->buf, s->model + io->off, LEN));
    if (io->op == BLK_WRITE)
        s->unknown[io->off / LEN] = error || s->wild;
    if (io->op == BLK_WRITE && !error)
        memcpy(s->model + io->off, io->buf, LEN);
}

static void
start_op(struct io *io, enum blk_op op)
{
    struct side *s = io->side;
    uint64_t n = (uint64_t)(io - s->io) +
                 DEPTH * sim_below(sim, LIAR_SECTORS * 512 / LEN / DEPTH);

    io->op = op;
    io->off = io->op == BLK_FLUSH ? 0 : n * LEN;
    if (io->op == BLK_WRITE)
        memset(io->buf, (int)sim_below(sim, 256), LEN);
    io->v = (struct iovec){ io->buf, LEN };
    io->sg = (struct blk_sg){ .v = &io->v, .n = 1 };
    io->busy = true;
    io->io = (struct front_io){ .op = (uint8_t)io->op,
                                .off = io->off,
                                .len = io->op == BLK_FLUSH ? 0 : LEN,
                                .sg = &io->sg,
                                .done = done };
    fronts.ops->submit(s->front, &io->io);
    fronts.ops->kick(s->front);
}

static void
start_io(struct io *io)
{
    uint32_t what = (uint32_t)sim_below(sim, 10);

    start_op(io, what < 5 ? BLK_READ : what < 9 ? BLK_WRITE : BLK_FLUSH);
}

static void
ask(struct side *s)
{
    for (unsigned i = 0; i < DEPTH && s->front && s->opened && !s->error; i++)
        if (!s->io[i].busy)
            start_io(&s->io[i]);
}

static bool
busy(const struct side *s)
{
    for (unsigned i = 0; i < DEPTH; i++)
        if (s->io[i].busy)
            return true;
    return false;
}

/* Requests on both, for so long. */
static void
play(uint64_t ms)
{
    for (uint64_t end = sim_now(sim) + ms * MS; sim_now(sim) < end;) {
        ask(&side[VICTIM]);
        ask(&side[NEIGHBOUR]);
        sim_run_for(sim, MS);
    }
}

static void
rest(void)
{
    bool over = false;

    for (unsigned i = 0; i < 20000 && !over; i++) {
        over = !busy(&side[VICTIM]) && !busy(&side[NEIGHBOUR]);
        if (!over)
            sim_run_for(sim, MS);
    }
    CHECK(over);
}

/* What is durable is nobody's worry when a directory is made anew. */
static void
flush(struct side *s)
{
    rest();
    start_op(&s->io[0], BLK_FLUSH);
    rest();
}

static void
read_only(struct side *s)
{
    start_op(&s->io[0], BLK_READ);
}

/* ---- the fronts ---------------------------------------------------------- */

static void
opened(void *ctx, int error, const char *why)
{
    struct side *s = ctx;

    CHECK(!s->opened);
    s->opened = true;
    s->error = error;
    snprintf(s->why, sizeof s->why, "%s", why ? why : "");
}

static void
changed(void *ctx)
{
    (void)ctx;
}

static void
fatal(void *ctx, int error, const char *why)
{
    struct side *s = ctx;

    s->fatals++;
    s->error = error;
    snprintf(s->why, sizeof s->why, "%s", why);
}

static void
logged(void *ctx, enum blk_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
}

static const struct front_user user = {
    .opened = opened, .changed = changed, .fatal = fatal, .log = logged
};

static bool
is_set(void *flag)
{
    return *(const bool *)flag;
}

static int
side_open(struct side *s)
{
    const struct front_conf conf = {
        .path = s->path,
        .connect_ns = 5000 * MS,
        .pages = 64,
        .order = LIAR_ORDER,
        .queues = LIAR_RINGS,
    };

    s->opened = s->closed = false;
    s->error = 0;
    s->fatals = 0;
    REQUIRE(!fronts.ops->open(&fronts, &conf, &user, s, &s->front, s->why,
                              sizeof s->why));
    REQUIRE(sim_run_until(sim, is_set, &s->opened, 60000 * MS));
    return s->error;
}

static void
closed(void *ctx)
{
    struct side *s = ctx;

    s->closed = true;
    s->front = NULL;
}

static void
side_close(struct side *s)
{
    fronts.ops->close(s->front, closed, s);
    REQUIRE(sim_run_until(sim, is_set, &s->closed, 60000 * MS));
    CHECK(!busy(s));
}

static void
side_make(struct side *s, const char *path, const char *back, uint64_t seed)
{
    char node[LIAR_PATH];

    memset(s, 0, sizeof *s);
    s->path = path;
    s->back = back;
    for (unsigned i = 0; i < DEPTH; i++)
        s->io[i].side = s;
    s->liar.t = &transport;
    s->liar.private = s;
    s->liar.seed = sim_random(sim);
    s->liar.offers = 1 + (unsigned)(seed % LIAR_RINGS);
    s->liar.longest = (unsigned)(seed / LIAR_RINGS % (LIAR_ORDER + 1));
    s->liar.turn = (unsigned)(seed / LIAR_RINGS);
    snprintf(s->liar.front, sizeof s->liar.front, "%s", path);
    snprintf(s->liar.back, sizeof s->liar.back, "%s", back);
    snprintf(node, sizeof node, "%s/backend", path);
    sim_store_write(sim, node, "%s", back);
    snprintf(node, sizeof node, "%s/backend-id", path);
    sim_store_write(sim, node, "0");
    snprintf(node, sizeof node, "%s/state", path);
    sim_store_write(sim, node, "1");
    liar_start(&s->liar);
}

/* ---- how often the fronts ask XenStore ----------------------------------- */

static struct store_ops counting;
static const struct store_ops *honest_ops;
static unsigned reads;

static char *
counted_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    reads++;
    return honest_ops->read(s, tx, path, len);
}

static void
count_reads(void)
{
    honest_ops = store->ops;
    counting = *honest_ops;
    counting.read = counted_read;
    store->ops = &counting;
}

/* However often a back-end writes its nodes: each look is a dozen calls, and
 * the control loop has others to look after. */
static void
reads_are_few(unsigned before, unsigned seconds)
{
    enum { LOOKS = 24 /* in a second */, CALLS = 13 };

    CHECK(reads - before <= LOOKS * CALLS * (seconds + 1));
}

/* ---- the world: 1 to 4 queues of 1 to 4 pages each, by the seed ---------- */

static void
world(uint64_t seed)
{
    sim = sim_new(seed);
    back_loop = sim_loop_new(sim, "back");
    tap = sim_tap_new(sim, back_loop);
    control = sim_loop_new(sim, "control");
    data = sim_loop_new(sim, "data");
    store = sim_store_open(sim, control);
    count_reads();
    gate = sim_gate_new(sim, data, OURS);
    REQUIRE(!front_links_new(&links, control, store));
    fronts_init(&fronts, data, gate, links, "");
    side_make(&side[VICTIM], "/local/domain/0/data/blktapd-vbd/51712",
              "/local/domain/0/backend/liar/0/51712", seed);
    side_make(&side[NEIGHBOUR], "/local/domain/0/data/blktapd-vbd/51728",
              "/local/domain/0/backend/liar/0/51728", seed / 4);
    side[NEIGHBOUR].strict = true;
    stepping = true;
    sim_after(sim, 0, back_looks, NULL);
    REQUIRE(!side_open(&side[VICTIM]));
    REQUIRE(!side_open(&side[NEIGHBOUR]));
}

static void
world_end(void)
{
    rest();
    CHECK_EQ(side[NEIGHBOUR].bad, 0);
    CHECK_EQ(side[NEIGHBOUR].fatals, 0);
    if (side[VICTIM].front)
        side_close(&side[VICTIM]);
    side_close(&side[NEIGHBOUR]);
    sim_run_for(sim, 5000 * MS);
    liar_die(&side[VICTIM].liar, BY_KILL);
    liar_die(&side[NEIGHBOUR].liar, BY_KILL);
    stepping = false;
    sim_run_for(sim, 100 * MS);
    CHECK_EQ(sim_mapped(sim, OURS), 0);
    tap->ops->free(tap);
    gate->ops->free(gate);
    front_links_free(links);
    store->ops->free(store);
    data->ops->free(data);
    control->ops->free(control);
    back_loop->ops->free(back_loop);
    sim_free(sim);
}

/* From here on data are what was written. */
static void
calm(struct side *s)
{
    if (s->wild)
        memset(s->unknown, true, sizeof s->unknown);
    s->wild = false;
}

/* It is honest again: everything is as it was. */
static void
must_work(struct side *s)
{
    uint64_t good = s->good, bad = s->bad;

    if (!s->front)
        CHECK_EQ(side_open(s), 0);
    calm(s);
    for (unsigned i = 0; i < 20000 && s->good < good + 20; i++) {
        ask(s);
        sim_run_for(sim, MS);
    }
    rest();
    CHECK(s->good >= good + 20);
    CHECK_EQ(s->bad, bad);
}

/* ---- one case each ------------------------------------------------------- */

static const struct liar_case *the_case;

/* So often in each ring, in all cases. */
static uint64_t lied_in[LIAR_RINGS];

static void
lies_in_one_ring(const struct liar *l)
{
    unsigned rings = 0;

    for (unsigned i = 0; i < LIAR_RINGS; i++) {
        rings += l->told_in[i] > 0;
        lied_in[i] += l->told_in[i];
    }
    CHECK_EQ(rings, 1);
}

static void
ends(struct side *s)
{
    s->wild = true;
    play(100);
    lies_in_one_ring(&s->liar);
    CHECK_EQ(s->fatals, 1);
    CHECK(strstr(s->why, "the back-end broke the protocol: "));
    CHECK(strstr(s->why, the_case->why));
    CHECK(!busy(s));
    read_only(s); /* fails at once */
    CHECK(!busy(s) && s->bad > 0);
    liar_tell(&s->liar, NULL);
    side_close(s);
}

static void
refuses(struct side *s)
{
    int error;

    side_close(s);
    error = side_open(s);
    CHECK(error < 0);
    CHECK(strstr(s->why, the_case->why));
    side_close(s);
    liar_tell(&s->liar, NULL);
}

static void
waits(struct side *s)
{
    const struct front_counters *c = fronts.ops->counters(s->front);
    uint64_t bad = s->bad, connects = c->connects;
    unsigned before = reads;

    for (unsigned i = 0; i < 1000 && !s->liar.told; i++) {
        if (!busy(s))
            read_only(s);
        sim_run_for(sim, MS);
    }
    sim_run_for(sim, 2000 * MS);
    CHECK_EQ(s->fatals, 0);
    CHECK_EQ(s->bad, bad);
    /* However fast it comes and goes, we do not. */
    CHECK(c->connects - connects <= 13);
    reads_are_few(before, 3);
    liar_tell(&s->liar, NULL);
}

static void
fails(struct side *s)
{
    uint64_t good, bad = s->bad;

    play(1);
    rest();
    good = s->good;
    play(100);
    rest();
    CHECK(s->bad > bad + 20);
    CHECK_EQ(s->good, good);
    CHECK_EQ(s->fatals, 0);
    liar_tell(&s->liar, NULL);
}

static void
serves(struct side *s)
{
    uint64_t good = s->good;
    unsigned before = reads;

    s->strict = true;
    play(200);
    reads_are_few(before, 1);
    CHECK(s->good > good + 50);
    CHECK_EQ(s->bad + s->fatals, 0);
    liar_tell(&s->liar, NULL);
}

/* With one ring, or so many more. */
static void
one_case(unsigned more)
{
    struct side *s = &side[VICTIM];

    world(1000 + 4 * (uint64_t)(the_case - liar_cases) + more);
    play(20);
    if (the_case->outcome == LIE_WAITS)
        flush(s);
    liar_tell(&s->liar, the_case);
    switch (the_case->outcome) {
    case LIE_ENDS:
        ends(s);
        break;
    case LIE_REFUSED:
        refuses(s);
        break;
    case LIE_WAITS:
        waits(s);
        break;
    case LIE_ERRORS:
        fails(s);
        break;
    case LIE_SERVED:
        serves(s);
        break;
    }
    must_work(s);
    CHECK(side[NEIGHBOUR].good > 20);
    world_end();
}

static void
each_case(void (*one)(void))
{
    for (the_case = liar_cases; the_case->name; the_case++) {
        int before = test_failures;

        one();
        if (test_failures != before)
            printf("so it was in the case %s\n", the_case->name);
    }
}

static void
in_two_worlds(void)
{
    one_case(0);
    one_case(1 + (unsigned)(the_case - liar_cases) % 3);
}

static void
every_case(void)
{
    each_case(in_two_worlds);
    for (unsigned i = 0; i < LIAR_RINGS; i++)
        CHECK(lied_in[i] > 0);
}

/* ---- but for flushes ----------------------------------------------------- */

/* n at once; false: one failed. */
static bool
do_some(struct side *s, enum blk_op op, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        start_op(&s->io[i], op);
    rest();
    return !s->bad;
}

/* Who writes, flushes and reads, one after the other, until something fails,
 * has no flush that failed. */
static void
spare(uint64_t seed)
{
    struct side *s = &side[VICTIM];
    bool good = true;

    world(seed);
    s->wild = true;
    s->liar.spares_flushes = true;
    play(10);
    rest();
    liar_tell(&s->liar, the_case);
    for (unsigned i = 0; i < 300 && good; i++) {
        unsigned n = i % 2 ? DEPTH : 1;

        good = do_some(s, BLK_WRITE, n);
        CHECK(!good || do_some(s, BLK_FLUSH, 1));
        good = good && do_some(s, BLK_READ, n);
    }
    CHECK(!good);
    liar_tell(&s->liar, NULL);
    if (s->error)
        side_close(s);
    must_work(s);
    world_end();
}

static void
in_four_worlds(void)
{
    if (the_case->outcome != LIE_ENDS && the_case->outcome != LIE_ERRORS)
        return;
    for (unsigned rings = 0; rings < LIAR_RINGS; rings++)
        spare(rings + 4 * (uint64_t)(the_case - liar_cases));
}

static void
flushes_are_spared(void)
{
    each_case(in_four_worlds);
}

/* ---- any, at any moment -------------------------------------------------- */

/* The disk may end, be refused, wait or serve, as its back-end pleases; when
 * that is honest again a person brings it back. */
static void
any_lies(void)
{
    uint64_t seeds = 200;

    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct side *s = &side[VICTIM];
        unsigned cases = 0, before = (unsigned)test_failures;

        while (liar_cases[cases].name)
            cases++;
        world(seed);
        s->wild = true;
        for (unsigned i = 0; i < 6; i++) {
            liar_tell(&s->liar, &liar_cases[sim_below(sim, cases)]);
            play(sim_below(sim, 200));
            if (s->error && sim_below(sim, 2)) {
                side_close(s);
                (void)side_open(s);
            }
            if (!sim_below(sim, 3))
                liar_tell(&s->liar, NULL);
        }
        liar_tell(&s->liar, NULL);
        for (unsigned i = 0; i < 20000 && busy(s); i++)
            sim_run_for(sim, MS);
        sim_run_for(sim, 5 * MS); /* a ring that is calmed is looked at */
        if (s->error)
            side_close(s);
        must_work(s);
        CHECK(side[NEIGHBOUR].good > 20);
        world_end();
        if (before != (unsigned)test_failures) {
            printf("so it was with the seed %d\n", (int)seed);
            break;
        }
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_open(BLK_ERR, false);
    TEST(every_case);
    TEST(flushes_are_spared);
    TEST(any_lies);
    return test_end();
}
