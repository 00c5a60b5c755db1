/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of every callback, through three layers of the same kind over a
 * tail.
 */
#include "tests/unit/chain_kit.h"

/* "a" notes all that it is called for and passes it on. */
struct a {
    char *mark;
    bool own;
};

static const struct blk_option a_options[] = {
    { .name = "mark",
      .type = BLK_STRING,
      .at = offsetof(struct a, mark),
      .fallback = "",
      .help = "a mark" },
    { .name = NULL },
};

static const char *
short_name(struct blk_layer *l)
{
    return strchr(blk_name(l), '/') + 1;
}

static void
a_submit(struct blk_layer *l, struct blk_req *r)
{
    CHECK(!r->mine && !r->error);
    note("%s:%s", short_name(l), op_word(r->op));
    blk_down(l, r);
}

static void
a_done(struct blk_layer *l, struct blk_req *r)
{
    note("/%s:%d", short_name(l), r->error);
    blk_end(l, r, r->error);
}

#define A_STEP(step)                          \
    static void a_##step(struct blk_layer *l) \
    {                                         \
        note("%s:" #step, short_name(l));     \
        blk_ready(l, 0);                      \
    }
A_STEP(pause)
A_STEP(resume)
A_STEP(stop)

static void
a_start(struct blk_layer *l, struct blk_layer *old)
{
    note("%s:start%s%s", short_name(l), old ? ">" : "",
         old ? ((struct a *)blk_self(old))->mark : "");
    blk_ready(l, 0);
}

static void
a_drain(struct blk_layer *l)
{
    note("%s:drain", short_name(l));
}

static void
a_kick(struct blk_layer *l)
{
    note("%s:kick", short_name(l));
}

static void
a_limits(struct blk_layer *l, struct blk_limits *lim)
{
    (void)lim;
    note("%s:limits", short_name(l));
}

#define A_PLUGIN(id)                               \
    static const struct blk_plugin plugin_##id = { \
        .abi = BLK_ABI,                            \
        .self_size = sizeof(struct a),             \
        .ops = BLK_ALL_OPS,                        \
        .name = #id,                               \
        .help = "notes",                           \
        .options = a_options,                      \
        .start = a_start,                          \
        .pause = a_pause,                          \
        .resume = a_resume,                        \
        .stop = a_stop,                            \
        .submit = a_submit,                        \
        .done = a_done,                            \
        .drain = a_drain,                          \
        .kick = a_kick,                            \
        .limits = a_limits,                        \
    }
A_PLUGIN(a);
A_PLUGIN(b);
A_PLUGIN(c);

/* Only watches. */
static const struct blk_plugin plugin_w = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "w",
    .help = "watches",
    .done = a_done,
};

/* Does nothing at all. */
static const struct blk_plugin plugin_n = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "n",
    .help = "nothing",
};

const struct blk_plugin *const blk_plugins_static[] = {
    &plugin_a, &plugin_b, &plugin_c, &plugin_w, &plugin_n, &kit_tail, NULL,
};

static void
requests(void)
{
    char data[4096] = { 0 };
    struct chain *c;

    kit_disk_reset();
    kit_disk.quiet = true;
    c = kit_start("a b c tail");
    CHECK_STR(noted(), "c:start c:limits b:start b:limits a:start a:limits");
    for (unsigned op = 0; op < BLK_OPS; op++) {
        char expected[200];
        const char *w = op_word(op);

        CHECK_EQ(kit_do(c, op, 0, 0, op == BLK_FLUSH ? 0 : 4096,
                        op <= BLK_WRITE ? data : NULL),
                 0);
        snprintf(expected, sizeof(expected),
                 "a:%s b:%s c:%s /c:0 /b:0 /a:0 a:kick b:kick c:kick", w, w, w);
        CHECK_STR(noted(), expected);
    }
    kit_disk.error = -EIO;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), -EIO);
    CHECK_STR(noted(), "a:read b:read c:read /c:-5 /b:-5 /a:-5 a:kick b:kick "
                       "c:kick");
    kit_stop(c);
    CHECK_STR(noted(), "a:drain b:drain c:drain a:pause b:pause c:pause "
                       "a:stop b:stop c:stop");
}

static void
life_cycle(void)
{
    struct chain *c;

    kit_disk_reset();
    c = kit_start("a b c tail");
    noted();
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    CHECK_STR(noted(), "a:drain b:drain c:drain a:pause b:pause c:pause");
    CHECK_EQ(kit_step_now(c, chain_resume), 0);
    CHECK_STR(noted(), "c:resume b:resume a:resume");
    CHECK_EQ(kit_replace(c, "a b:b:mark=new c tail"), 0);
    CHECK_STR(noted(),
              "a:drain b:drain c:drain a:pause b:pause c:pause c:limits "
              "b:start> b:limits a:limits b:stop c:resume a:resume");
    CHECK_EQ(kit_replace(c, "a b:b:mark=newer c tail"), 0);
    CHECK_STR(noted(),
              "a:drain b:drain c:drain a:pause b:pause c:pause c:limits "
              "b:start>new b:limits a:limits b:stop c:resume a:resume");
    CHECK_EQ(kit_replace(c, "a b:b:mark=newer c tail"), 0);
    CHECK_STR(noted(), "");
    CHECK_EQ(kit_replace(c, "c a tail"), 0);
    CHECK_STR(noted(),
              "a:drain b:drain c:drain a:pause b:pause c:pause a:limits "
              "c:limits b:stop a:resume c:resume");
    kit_stop(c);
}

static void
watchers_and_nothing(void)
{
    char data[512] = { 0 };
    struct chain *c;

    kit_disk_reset();
    c = kit_start("w:w1 n:n1 w:w2 n:n2 tail");
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 1024, 512, data), 0);
    CHECK_STR(noted(), "write@1024+512 /w2:0 /w1:0");
    CHECK_EQ(kit_disk.kicks, 1);
    CHECK_EQ(chain_layers(c), 5);
    for (unsigned i = 0; i < 5; i++)
        CHECK_EQ(chain_layer_stats(c, i)->requests[BLK_WRITE], 1);
    CHECK_STR(chain_layer_name(c, 3), "n2");
    kit_stop(c);
}

/* One kick for a batch, however many requests it has. */
static void
one_kick(void)
{
    char data[512] = { 0 };
    struct kit_req k[8];
    struct chain *c;

    kit_disk_reset();
    kit_disk.quiet = true;
    c = kit_start("n tail");
    for (unsigned i = 0; i < 8; i++)
        kit_submit_req(c, &k[i], BLK_READ, 0, i * 512, 512, data, 512);
    kit_run();
    CHECK_EQ(kit_disk.requests, 8);
    CHECK_EQ(kit_disk.kicks, 1);
    kit_stop(c);
}

/* A pause that is given up is told to the layers that were drained. */
static void
given_up(void)
{
    char data[512] = { 0 };
    struct kit_req r, q;
    struct kit_op *op;
    struct chain *c;

    kit_disk_reset();
    kit_disk.quiet = true;
    kit_disk.hold = true;
    c = kit_start("a n b tail");
    noted();
    kit_submit_req(c, &r, BLK_READ, 0, 0, 512, data, 512);
    kit_run();
    CHECK_STR(noted(), "a:read b:read a:kick b:kick");
    op = kit_begin(c, chain_pause);
    op->op.drain_ns = UINT64_C(5000000000);
    kit_run();
    CHECK_EQ(kit_end(op), -ETIMEDOUT);
    CHECK_STR(kit_why, "expected the requests under way to end within 5 s, "
                       "found 1 left");
    CHECK_STR(noted(), "a:drain b:drain b:resume a:resume");
    kit_submit_req(c, &q, BLK_READ, 0, 512, 512, data, 512);
    kit_run();
    CHECK_EQ(kit_disk.n_held, 2);
    CHECK_EQ(r.error, 1);
    kit_release(0);
    kit_run();
    CHECK_EQ(r.error, 0);
    noted();

    op = kit_begin(c, chain_pause);
    op->op.drain_ns = 1000000000;
    CHECK(chain_loop_step(&kit_loop)); /* it has begun, and is in time */
    CHECK(kit_loop.timers);
    kit_release(0);
    kit_run();
    CHECK_EQ(q.error, 0);
    CHECK_EQ(kit_end(op), 0);
    CHECK(!kit_loop.timers);
    CHECK_EQ(kit_step_now(c, chain_resume), 0);
    CHECK_STR(
        noted(),
        "a:drain b:drain /b:0 /a:0 a:kick b:kick a:pause b:pause b:resume "
        "a:resume");
    kit_stop(c);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(requests);
    TEST(life_cycle);
    TEST(watchers_and_nothing);
    TEST(one_kick);
    TEST(given_up);
    return test_end();
}
