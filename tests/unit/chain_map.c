/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where data are: which layers are asked, what is made of what they tell, and
 * that a pause waits for it.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/chain_kit.h"

/* ---- layers that do what the test tells them ----------------------------- */

static void (*upper_map_fn)(struct blk_layer *, struct blk_req *);
static void (*lower_map_fn)(struct blk_layer *, struct blk_req *);
static struct blk_limits upper_limits; /* size 0: as below */

static void
upper_map(struct blk_layer *l, struct blk_req *r)
{
    note("upper@%" PRIu64 "+%u", r->off, r->len);
    upper_map_fn(l, r);
}

static void
lower_map(struct blk_layer *l, struct blk_req *r)
{
    CHECK_EQ(r->op, BLK_MAP);
    CHECK(!r->mine && !r->error && !r->parent);
    note("lower@%" PRIu64 "+%u", r->off, r->len);
    lower_map_fn(l, r);
}

static void
upper_limit(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    if (upper_limits.size)
        *lim = upper_limits;
}

static void
upper_submit(struct blk_layer *l, struct blk_req *r)
{
    blk_down(l, r);
}

static void
upper_done(struct blk_layer *l, struct blk_req *r)
{
    CHECK(r->op != BLK_MAP);
    blk_end(l, r, r->error);
}

static const struct blk_plugin plugin_upper = {
    .abi = BLK_ABI,
    .own = 1,
    .ops = BLK_ALL_OPS,
    .name = "upper",
    .help = "knows something",
    .submit = upper_submit,
    .done = upper_done,
    .map = upper_map,
    .limits = upper_limit,
};

static const struct blk_plugin plugin_clear = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .transparent = true,
    .name = "clear",
    .help = "can be looked through",
    .submit = upper_submit,
    .done = upper_done,
};

static const struct blk_plugin plugin_opaque = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "opaque",
    .help = "makes other data of it",
    .submit = upper_submit,
};

static const struct blk_plugin plugin_lower = {
    .abi = BLK_ABI,
    .req_size = 64,
    .ops = BLK_ALL_OPS,
    .tail = BLK_TAIL,
    .name = "lower",
    .help = "a disk that knows where its data are",
    .submit = kit_submit,
    .map = lower_map,
    .limits = kit_limits,
};

const struct blk_plugin *const blk_plugins_static[] = {
    &plugin_upper, &plugin_clear, &plugin_opaque, &plugin_lower, &kit_tail, NULL
};

/* ---- asking -------------------------------------------------------------- */

static struct {
    struct chain_map map;
    unsigned wanted; /* extents */
    int error;       /* 1: not over */
} asked;

static bool
told(struct chain_map *m, uint64_t len, enum blk_extent kind)
{
    (void)m;
    note("%s+%" PRIu64, kind == BLK_ZEROES ? "zero" : "data", len);
    return --asked.wanted > 0;
}

static void
over(struct chain_map *m, int error)
{
    note("%d,%s@%" PRIu64, error, m->known ? "known" : "unknown", m->off);
    asked.error = error;
}

static void
ask(struct chain *c, uint64_t off, uint64_t len)
{
    if (!asked.wanted)
        asked.wanted = 100;
    asked.error = 1;
    asked.map = (struct chain_map){
        .off = off, .len = len, .extent = told, .done = over
    };
    chain_map(c, &asked.map);
    CHECK_EQ(asked.error, 1);
    kit_run();
}

static struct chain *
begin(const char *layers)
{
    kit_disk_reset();
    memset(&asked, 0, sizeof(asked));
    memset(&upper_limits, 0, sizeof(upper_limits));
    upper_map_fn = lower_map_fn = NULL;
    return kit_start(layers);
}

/* ---- what they do -------------------------------------------------------- */

static void
half_and_half(struct blk_layer *l, struct blk_req *r)
{
    CHECK(blk_map(l, r, r->len / 2, BLK_ZEROES));
    CHECK(!blk_map(l, r, r->len / 2, BLK_DATA));
    blk_end(l, r, 0);
}

static void
too_much(struct blk_layer *l, struct blk_req *r)
{
    CHECK(blk_map(l, r, 0, BLK_ZEROES)); /* is nothing */
    CHECK(!blk_map(l, r, UINT64_MAX, BLK_ZEROES));
    CHECK(!blk_map(l, r, 512, BLK_ZEROES));
    blk_end(l, r, 0);
}

static void
nothing(struct blk_layer *l, struct blk_req *r)
{
    blk_end(l, r, 0);
}

static void
fails(struct blk_layer *l, struct blk_req *r)
{
    blk_map(l, r, 512, BLK_ZEROES);
    blk_end(l, r, -EIO);
}

/* Knows of 1024 bytes, and of the next 2048 that they are below, a megabyte
 * before. */
static void
some_is_below(struct blk_layer *l, struct blk_req *r)
{
    CHECK(blk_map(l, r, 1024, BLK_DATA));
    r->off -= 65536 - 1024;
    r->len = 2048;
    blk_down(l, r);
}

/* Also when nothing more is wanted. */
static void
tells_and_passes_on(struct blk_layer *l, struct blk_req *r)
{
    CHECK(!blk_map(l, r, 512, BLK_ZEROES));
    CHECK(!blk_map(l, r, 512, BLK_ZEROES));
    blk_down(l, r);
}

static uint64_t down_off;
static uint32_t down_len;

static void
down_there(struct blk_layer *l, struct blk_req *r)
{
    r->off = down_off;
    r->len = down_len;
    blk_down(l, r);
}

/* ---- tests --------------------------------------------------------------- */

static void
the_first_that_knows_is_asked(void)
{
    struct chain *c = begin("clear clear:two lower");

    lower_map_fn = half_and_half;
    ask(c, 4096, 8192);
    CHECK_STR(noted(), "lower@4096+8192 zero+4096 data+4096 0,known@12288");
    kit_stop(c);
}

static void
what_nobody_knows_is_data(void)
{
    static const char *const chains[] = { "tail", "opaque lower",
                                          "clear opaque lower", "clear tail" };

    for (unsigned i = 0; i < 4; i++) {
        struct chain *c = begin(chains[i]);

        ask(c, 0, 4096);
        CHECK_STR(noted(), "data+4096 0,unknown@4096");
        kit_stop(c);
    }
}

static void
silence_is_data_too(void)
{
    struct chain *c = begin("lower");

    lower_map_fn = nothing;
    ask(c, 100, 5000);
    CHECK_STR(noted(), "lower@0+5120 data+5000 0,unknown@5100");
    kit_stop(c);
}

static void
what_is_beyond_is_left_out(void)
{
    struct chain *c = begin("lower");

    lower_map_fn = too_much;
    ask(c, 1000, 1000);
    CHECK_STR(noted(), "lower@512+1536 zero+1000 0,known@2000");
    ask(c, KIT_SIZE - 100, UINT64_MAX);
    CHECK_STR(noted(), "lower@1048064+512 zero+100 0,known@1048576");
    ask(c, KIT_SIZE, 512);
    CHECK_STR(noted(), "-22,unknown@1048576");
    ask(c, 0, 0);
    CHECK_STR(noted(), "-22,unknown@0");
    kit_stop(c);
}

static void
some_of_it(struct blk_layer *l, struct blk_req *r)
{
    CHECK(blk_map(l, r, 1024, BLK_ZEROES));
    blk_end(l, r, 0);
}

/* Of a layer with large blocks, which stops before the first byte of ours. */
static void
what_is_told_of_bytes_before_it_does_not_count(void)
{
    struct chain *c;

    kit_disk_reset();
    memset(&asked, 0, sizeof(asked));
    kit_disk.limits.align = 4096;
    c = kit_start("lower");
    lower_map_fn = some_of_it;
    ask(c, 1024, 2000);
    CHECK_STR(noted(), "lower@0+4096 data+2000 0,unknown@3024");
    ask(c, 1025, 2000);
    CHECK_STR(noted(), "lower@0+4096 data+2000 0,unknown@3025");
    ask(c, 1023, 2000);
    CHECK_STR(noted(), "lower@0+4096 zero+1 0,known@1024");
    kit_stop(c);
}

static void
a_layer_goes_on_where_the_one_above_ends(void)
{
    struct chain *c = begin("upper clear lower");

    upper_map_fn = some_is_below;
    lower_map_fn = too_much;
    ask(c, 65536, 65536);
    CHECK_STR(noted(), "upper@65536+65536 data+1024 lower@1024+2048 zero+2048 "
                       "0,known@68608");
    lower_map_fn = nothing; /* the rest is asked for anew */
    ask(c, 65536, 65536);
    CHECK_STR(noted(), "upper@65536+65536 data+1024 lower@1024+2048 "
                       "0,known@66560");
    kit_stop(c);
}

static void
below_a_layer_what_is_silent_is_no_more_than_it_asked_for(void)
{
    struct chain *c = begin("upper opaque lower");

    upper_map_fn = down_there;
    down_off = 512;
    down_len = 1024;
    ask(c, 0, 65536);
    CHECK_STR(noted(), "upper@0+65536 data+1024 0,unknown@1024");
    kit_stop(c);
}

/* What an image says may be anything. */
static void
what_the_layers_below_would_refuse_they_do_not_see(void)
{
    static const struct {
        uint64_t off;
        uint32_t len;
    } bad[] = { { 1, 512 },
                { 0, 100 },
                { KIT_SIZE, 512 },
                { KIT_SIZE - 512, 1024 },
                { UINT64_MAX - 511, 1024 } };
    struct chain *c = begin("upper lower");

    upper_map_fn = down_there;
    lower_map_fn = half_and_half;
    for (unsigned i = 0; i < 5; i++) {
        down_off = bad[i].off;
        down_len = bad[i].len;
        ask(c, 0, 4096);
        CHECK(!strstr(noted(), "lower"));
        CHECK_EQ(asked.error, 0);
        CHECK(!asked.map.known && asked.map.off > 0);
    }
    kit_stop(c);
}

static void
enough_is_enough(void)
{
    struct chain *c = begin("upper lower");

    asked.wanted = 1;
    upper_map_fn = tells_and_passes_on;
    lower_map_fn = too_much;
    ask(c, 0, 2048);
    CHECK_STR(noted(), "upper@0+2048 zero+512 0,known@512");
    kit_stop(c);
}

static void
an_error_ends_it(void)
{
    struct chain *c = begin("clear lower");

    lower_map_fn = fails;
    ask(c, 0, 4096);
    CHECK_STR(noted(), "lower@0+4096 zero+512 -5,known@512");
    kit_stop(c);
}

static struct blk_layer *kept_layer;
static struct blk_req *kept;

static void
keep(struct blk_layer *l, struct blk_req *r)
{
    kept_layer = l;
    kept = r;
}

static unsigned waits;

static void
wait_twice(struct blk_layer *l, struct blk_req *r)
{
    if (waits++ < 2)
        blk_wait(l, r);
    else
        half_and_half(l, r);
}

/* It may take its time; a pause waits for it, and while paused it waits. */
static void
a_pause_waits_for_it(void)
{
    struct chain *c = begin("clear lower");
    struct kit_op *op;

    lower_map_fn = keep;
    ask(c, 0, 4096);
    CHECK_STR(noted(), "lower@0+4096");
    op = kit_begin(c, chain_pause);
    kit_run();
    CHECK_EQ(op->error, 1);
    blk_map(kept_layer, kept, 4096, BLK_DATA);
    blk_end(kept_layer, kept, 0);
    kit_run();
    CHECK_EQ(kit_end(op), 0);
    CHECK_STR(noted(), "data+4096 0,known@4096");
    lower_map_fn = half_and_half;
    ask(c, 0, 4096);
    CHECK_STR(noted(), "");
    CHECK_EQ(kit_replace(c, "clear opaque lower"), 0);
    CHECK_EQ(kit_step_now(c, chain_resume), 0);
    CHECK_STR(noted(), "data+4096 0,unknown@4096");
    CHECK_EQ(kit_replace(c, "lower"), 0);
    ask(c, 0, 4096);
    CHECK_STR(noted(), "lower@0+4096 zero+2048 data+2048 0,known@4096");
    kit_stop(c);
}

/* Beside as many requests as there may be. */
static void
it_takes_no_request_of_the_guest(void)
{
    struct chain *c = begin("lower");
    struct kit_req k[16];
    char data[512];

    lower_map_fn = keep;
    ask(c, 0, 512);
    kit_disk.hold = true;
    for (unsigned i = 0; i < 16; i++)
        kit_submit_req(c, &k[i], BLK_READ, 0, 0, 512, data, 512);
    kit_run();
    while (kit_disk.n_held)
        kit_release(0);
    blk_end(kept_layer, kept, 0);
    kit_run();
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(k[i].error, 0);
    CHECK_EQ(asked.error, 0);
    CHECK_EQ(chain_layer_stats(c, 0)->requests[BLK_READ], 16);
    kit_stop(c);
}

static void
it_may_wait_in_a_layer(void)
{
    struct chain *c = begin("lower");
    struct kit_req k;
    char data[512];

    waits = 0;
    lower_map_fn = wait_twice;
    ask(c, 0, 4096);
    CHECK_EQ(asked.error, 1);
    CHECK_EQ(waits, 1);
    kit_submit_req(c, &k, BLK_READ, 0, 0, 512, data, 512);
    kit_run(); /* lines up behind it */
    CHECK_EQ(k.error, 1);
    engine_wake(c->stack->layer[1]); /* as the end of another would */
    kit_run();
    CHECK_EQ(asked.error, 1);
    engine_wake(c->stack->layer[1]);
    kit_run();
    CHECK_EQ(asked.error, 0);
    CHECK_EQ(k.error, 0);
    kit_stop(c);
}

static void
a_chain_that_is_stopped_has_none(void)
{
    struct chain *c = begin("lower");

    lower_map_fn = half_and_half;
    CHECK_EQ(kit_step_now(c, chain_stop), 0);
    ask(c, 0, 4096);
    CHECK_STR(noted(), "-108,unknown@0");
    chain_free(c);
}

/* ---- who breaks the contract --------------------------------------------- */

static void
split_it(struct blk_layer *l, struct blk_req *r)
{
    blk_split(l, r, 0, 512);
}

static void
nothing_down(struct blk_layer *l, struct blk_req *r)
{
    r->len = 0;
    blk_down(l, r);
}

static void
another_op(struct blk_layer *l, struct blk_req *r)
{
    r->op = BLK_READ;
    blk_down(l, r);
}

static void
tells_when_it_is_gone(struct blk_layer *l, struct blk_req *r)
{
    blk_down(l, r);
    blk_map(l, r, 512, BLK_ZEROES);
}

static void
broken_contracts_are_told(void)
{
    static void (*const bad[])(struct blk_layer *, struct blk_req *) = {
        split_it, nothing_down, another_op, tells_when_it_is_gone
    };

    for (unsigned i = 0; i < 4; i++) {
        int status = 0;
        pid_t child = fork();

        REQUIRE(child >= 0);
        if (!child) {
            struct chain *c = begin("upper lower");

            close(2);
            upper_map_fn = bad[i];
            lower_map_fn = nothing;
            ask(c, 0, 4096);
            _exit(0);
        }
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(the_first_that_knows_is_asked);
    TEST(what_nobody_knows_is_data);
    TEST(silence_is_data_too);
    TEST(what_is_beyond_is_left_out);
    TEST(what_is_told_of_bytes_before_it_does_not_count);
    TEST(a_layer_goes_on_where_the_one_above_ends);
    TEST(below_a_layer_what_is_silent_is_no_more_than_it_asked_for);
    TEST(what_the_layers_below_would_refuse_they_do_not_see);
    TEST(enough_is_enough);
    TEST(an_error_ends_it);
    TEST(a_pause_waits_for_it);
    TEST(it_takes_no_request_of_the_guest);
    TEST(it_may_wait_in_a_layer);
    TEST(a_chain_that_is_stopped_has_none);
    TEST(broken_contracts_are_told);
    return test_end();
}
