/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that a layer makes in its start() and pause(): they reach layers
 * below that do not run yet, or are paused, through the whole engine.
 */
#include "tests/unit/chain_kit.h"

/* Reads its first sector in start(), adds one to byte 0, and writes it in
 * pause().  Serves by a request of its own, as one that keeps tables does. */
struct table {
    struct blk_layer *l;
    struct iovec v;
    struct blk_sg sg;
    bool starting;
    uint64_t mark;
    struct blk_req *held;
    unsigned char *data; /* in room, where it is aligned: self is not */
    unsigned char room[512 + BLK_MEM_ALIGN];
};
static int table_error; /* of the next start() */

static const struct blk_option table_options[] = {
    { .name = "mark",
      .type = BLK_UINT,
      .at = offsetof(struct table, mark),
      .help = "any number" },
    { .name = NULL },
};

static void
table_io(struct blk_layer *l, int op)
{
    struct table *t = blk_self(l);
    struct blk_req *r;

    t->v = (struct iovec){ t->data, 512 };
    t->sg = (struct blk_sg){ .v = &t->v, .n = 1, .skip = 0 };
    r = blk_new(l, op, 0, op == BLK_FLUSH ? 0 : 512, t->sg);
    REQUIRE(r);
    blk_down(l, r);
    CHECK(!blk_new(l, op, 0, 512, t->sg)); /* own = 1 */
}

static void
table_start(struct blk_layer *l, struct blk_layer *old)
{
    struct table *t = blk_self(l);

    (void)old;
    t->l = l;
    t->data = t->room + BLK_MEM_ALIGN - (uintptr_t)t->room % BLK_MEM_ALIGN;
    t->starting = true;
    note("start%u", l->index);
    CHECK(!blk_last(l));
    table_io(l, BLK_READ);
}

static void
table_pause(struct blk_layer *l)
{
    note("pause%u", l->index);
    table_io(l, BLK_WRITE);
}

static void
table_stop(struct blk_layer *l)
{
    struct table *t = blk_self(l);

    CHECK(!blk_new(l, BLK_READ, 0, 512, t->sg));
    note("stop");
    blk_ready(l, 0);
}

/* What comes from above waits until our own sector was read again. */
static void
table_submit(struct blk_layer *l, struct blk_req *r)
{
    struct table *t = blk_self(l);

    if (t->held) {
        blk_wait(l, r);
        return;
    }
    t->held = r;
    table_io(l, BLK_FLUSH);
}

static void
table_done(struct blk_layer *l, struct blk_req *r)
{
    struct table *t = blk_self(l);
    struct blk_req *held = t->held;
    int error = r->error;

    if (!r->mine) {
        blk_end(l, r, error);
        return;
    }
    blk_end(l, r, 0);
    if (held) {
        t->held = NULL;
        blk_down(l, held);
    } else if (t->starting) {
        t->starting = false;
        t->data[0]++;
        if (!error)
            error = table_error;
        table_error = 0;
        blk_ready(l, error);
    } else {
        blk_ready(l, error);
    }
}

static const struct blk_plugin plugin_table = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct table),
    .own = 1,
    .ops = BLK_ALL_OPS,
    .name = "table",
    .help = "keeps a table below",
    .options = table_options,
    .start = table_start,
    .pause = table_pause,
    .stop = table_stop,
    .submit = table_submit,
    .done = table_done,
};

/* Watches both ways, in the middle of a chain or at its end. */
static bool either_last;

static void
either_submit(struct blk_layer *l, struct blk_req *r)
{
    either_last = blk_last(l);
    if (either_last)
        blk_end(l, r, -ENODATA);
    else
        blk_down(l, r);
}

static unsigned either_starts;

static void
either_start(struct blk_layer *l, struct blk_layer *old)
{
    either_starts++;
    if (old)
        note("over");
    blk_ready(l, 0);
}

static void
either_limits(struct blk_layer *l, struct blk_limits *lim)
{
    if (blk_last(l))
        lim->size = KIT_SIZE;
}

static const struct blk_plugin plugin_either = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .tail = BLK_EITHER,
    .name = "either",
    .help = "in the middle, or at the end",
    .start = either_start,
    .submit = either_submit,
    .limits = either_limits,
};

const struct blk_plugin *const blk_plugins_static[] = { &plugin_table,
                                                        &plugin_either,
                                                        &kit_tail, NULL };

static void
reset(void)
{
    kit_disk_reset();
    table_error = 0;
}

/* Read on start, through nothing else; written on pause. */
static void
alone(void)
{
    struct chain *c;

    reset();
    kit_disk.data[0] = 7;
    c = kit_start("table tail");
    CHECK_STR(noted(), "start1 read@0+512");
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    CHECK_STR(noted(), "pause1 write@0+512");
    CHECK_EQ(kit_disk.data[0], 8);
    CHECK_EQ(kit_step_now(c, chain_resume), 0);
    kit_stop(c);
    CHECK_STR(noted(), "pause1 write@0+512 stop");
}

/* The one above starts through the one below, which serves it with a request
 * of its own before it runs; and through one that can be either. */
static void
stacked(void)
{
    unsigned char data[512];
    struct chain *c;

    reset();
    c = kit_start("table:a table:b either tail");
    CHECK_STR(noted(), "start2 read@0+512 start1 flush@0+0 read@0+512");
    CHECK(!either_last);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 512, 512, data), 0);
    CHECK_STR(noted(), "flush@0+0 flush@0+0 flush@0+0 read@512+512");
    kit_stop(c);
    CHECK_STR(noted(), "pause1 flush@0+0 write@0+512 pause2 write@0+512 stop "
                       "stop");
}

/* Requests of the guest wait meanwhile, also when the start takes time. */
static void
slowly(void)
{
    struct chain *c;
    unsigned char data[512];
    struct kit_req a;
    struct kit_op *op;

    reset();
    c = kit_new("table:a table:b tail");
    REQUIRE(!chain_reserve(c, 4));
    kit_disk.hold = true;
    op = kit_begin(c, chain_start);
    kit_submit_req(c, &a, BLK_READ, 0, 1024, 512, data, 512);
    kit_run();
    CHECK_STR(noted(), "start2 read@0+512");
    kit_release(0);
    kit_run();
    CHECK_STR(noted(), "start1 flush@0+0");
    kit_release(0);
    kit_run();
    CHECK_STR(noted(), "read@0+512");
    CHECK_EQ(op->error, 1);
    kit_disk.hold = false;
    kit_release(0);
    kit_run();
    CHECK_EQ(kit_end(op), 0);
    CHECK_EQ(a.error, 0);
    CHECK_STR(noted(), "flush@0+0 flush@0+0 flush@0+0 read@1024+512");
    kit_stop(c);
}

/* What the layer reads may fail; nothing is left behind. */
static void
start_reads_an_error(void)
{
    struct chain *c;

    reset();
    c = kit_new("table:a table:b tail");
    kit_disk.error = -EMEDIUMTYPE;
    CHECK_EQ(kit_step_now(c, chain_start), -EMEDIUMTYPE);
    CHECK_STR(noted(), "start2 read@0+512");
    chain_free(c);

    reset();
    c = kit_new("either:x table:b tail");
    table_error = -EDOM;
    CHECK_EQ(kit_step_now(c, chain_start), -EDOM);
    chain_free(c);
}

/* A new layer above one that is kept and paused. */
static void
inserted(void)
{
    unsigned char data[512];
    struct chain *c;

    reset();
    c = kit_start("table:b tail");
    noted();
    CHECK_EQ(kit_replace(c, "table:a table:b tail"), 0);
    CHECK_STR(noted(), "pause1 write@0+512 start1 flush@0+0 read@0+512");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 512, 512, data), 0);
    CHECK_STR(noted(), "flush@0+0 flush@0+0 flush@0+0 read@512+512");
    /* And one below it: only what is new starts. */
    CHECK_EQ(kit_replace(c, "table:a table:n table:b tail"), 0);
    CHECK_STR(noted(), "pause1 flush@0+0 write@0+512 pause2 write@0+512 "
                       "start2 flush@0+0 read@0+512");
    CHECK_EQ(kit_replace(c, "either table:b tail"), 0);
    CHECK_STR(noted(), "pause1 flush@0+0 flush@0+0 flush@0+0 write@0+512 "
                       "pause2 flush@0+0 write@0+512 pause3 write@0+512 "
                       "stop stop");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 512, 512, data), 0);
    kit_stop(c);
}

/* The same layer, but it is the last one now, or not any more: that is another
 * instance, which can refuse. */
static void
becomes_the_last(void)
{
    unsigned char data[512];
    struct chain *c;

    reset();
    c = kit_start("either:x tail");
    either_starts = 0;
    CHECK_EQ(kit_replace(c, "either:x"), 0);
    CHECK_EQ(either_starts, 1);
    CHECK_STR(noted(), "over");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), -ENODATA);
    CHECK_EQ(kit_replace(c, "either:x tail"), 0);
    CHECK_EQ(either_starts, 2);
    CHECK_EQ(kit_replace(c, "table:a either:x tail"), 0);
    CHECK_EQ(either_starts, 2);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    CHECK_EQ(kit_replace(c, "either:x"), 0);
    CHECK_EQ(either_starts, 3);
    kit_stop(c);
}

/* A replacement that fails: the old chain goes on, with its old places. */
static void
taken_back(void)
{
    unsigned char data[512];
    struct chain *c;

    reset();
    c = kit_start("table:a table:b tail");
    noted();
    table_error = -ENXIO;
    CHECK_EQ(kit_replace(c, "table:x either table:y table:b tail"), -ENXIO);
    CHECK_STR(noted(), "pause1 flush@0+0 write@0+512 pause2 write@0+512 "
                       "start3 flush@0+0 read@0+512");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 512, 512, data), 0);
    CHECK_STR(noted(), "flush@0+0 flush@0+0 flush@0+0 read@512+512");
    /* The second of two fails: the first is stopped, and makes none. */
    kit_disk.hold = true;
    struct kit_op *op = kit_replace_begin(c, "table:x table:y table:b tail");
    kit_run();
    while (strstr(kit_log, "start1") == NULL) {
        kit_release(0);
        kit_run();
    }
    kit_disk.hold = false;
    table_error = -EPERM;
    kit_release(0);
    kit_run();
    CHECK_EQ(kit_end(op), -EPERM);
    CHECK(strstr(noted(), " stop") != NULL);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 512, 512, data), 0);
    CHECK_STR(noted(), "flush@0+0 flush@0+0 flush@0+0 read@512+512");
    kit_stop(c);
}

/* As a tail, it is asked to end everything; the chain is as it says. */
static void
either_as_tail(void)
{
    unsigned char data[512];
    struct kit_spec k;
    struct chain *c;

    reset();
    c = kit_start("either");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), -ENODATA);
    CHECK(either_last);
    kit_stop(c);
    CHECK_EQ(chain_check(kit_spec(&k, "either:x either:y"), kit_why, 200), 0);
    CHECK(chain_check(kit_spec(&k, "tail either"), kit_why, 200) != 0);
    CHECK(chain_check(kit_spec(&k, "either table"), kit_why, 200) != 0);
}

/* A layer that is paused makes no request of its own accord. */
static void
not_when_paused(void)
{
    struct blk_layer *l;
    struct chain *c;

    reset();
    c = kit_start("table tail");
    l = c->stack->layer[1];
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    CHECK(!blk_new(l, BLK_FLUSH, 0, 0, (struct blk_sg){ .n = 0 }));
    CHECK_EQ(kit_step_now(c, chain_resume), 0);
    kit_stop(c);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(alone);
    TEST(stacked);
    TEST(slowly);
    TEST(start_reads_an_error);
    TEST(inserted);
    TEST(becomes_the_last);
    TEST(taken_back);
    TEST(either_as_tail);
    TEST(not_when_paused);
    return test_end();
}
