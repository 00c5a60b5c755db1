/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a chain: starts that fail, pauses that wait, replacements that
 * are taken back, steps asked for while others are under way.
 */
#include "tests/unit/chain_kit.h"

/* Ends its steps when the test says so; takes over from its predecessor. */
struct slow {
    uint64_t mark;
    struct blk_layer *l;
};
static struct slow *slow_now; /* whose step is under way */
static bool slow_async;
static int slow_error[5]; /* by enum layer_step, once */
static struct blk_layer *slow_layer;
static bool slow_grow;

static const struct blk_option slow_options[] = {
    { .name = "mark",
      .type = BLK_UINT,
      .at = offsetof(struct slow, mark),
      .help = "any number" },
    { .name = NULL },
};

static void
slow_step(struct blk_layer *l, enum layer_step step)
{
    struct slow *s = blk_self(l);
    int error = slow_error[step];

    s->l = l;
    slow_error[step] = 0;
    if (error)
        blk_why(l, "step %d is wrong", step);
    if (slow_async && !error) {
        slow_now = s;
    } else {
        blk_ready(l, error);
    }
}

static void
slow_go(void)
{
    REQUIRE(slow_now);
    blk_ready(slow_now->l, 0);
    slow_now = NULL;
    kit_run();
}

static void
slow_start(struct blk_layer *l, struct blk_layer *old)
{
    struct slow *s = blk_self(l);

    if (old)
        note("start%" PRIu64 ">%" PRIu64, ((struct slow *)blk_self(old))->mark,
             s->mark);
    else
        note("start%" PRIu64, s->mark);
    slow_layer = l;
    slow_step(l, STEP_START);
}

static void
slow_pause(struct blk_layer *l)
{
    note("pause");
    slow_step(l, STEP_PAUSE);
}

static void
slow_resume(struct blk_layer *l)
{
    note("resume");
    slow_step(l, STEP_RESUME);
}

static void
slow_stop(struct blk_layer *l)
{
    note("stop%" PRIu64, ((struct slow *)blk_self(l))->mark);
    slow_step(l, STEP_STOP);
}

static void
slow_submit(struct blk_layer *l, struct blk_req *r)
{
    blk_down(l, r);
}

static void
slow_limits(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    if (slow_grow)
        lim->size = KIT_SIZE / 2;
}

static const struct blk_plugin plugin_slow = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct slow),
    .ops = BLK_ALL_OPS,
    .name = "slow",
    .help = "takes its time",
    .options = slow_options,
    .start = slow_start,
    .pause = slow_pause,
    .resume = slow_resume,
    .stop = slow_stop,
    .submit = slow_submit,
    .limits = slow_limits,
};

static const struct blk_plugin plugin_other = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct slow),
    .ops = BLK_ALL_OPS,
    .transparent = true,
    .name = "other",
    .help = "another plugin",
    .options = slow_options,
    .start = slow_start,
    .stop = slow_stop,
};

const struct blk_plugin *const blk_plugins_static[] = { &plugin_slow,
                                                        &plugin_other,
                                                        &kit_tail, NULL };

static void
reset(void)
{
    kit_disk_reset();
    memset(slow_error, 0, sizeof(slow_error));
    slow_async = slow_grow = false;
    slow_now = NULL;
}

static void
start_fails(void)
{
    struct chain *c;

    reset();
    c = kit_new("slow:a slow:b:mark=2 tail");
    slow_error[STEP_START] = -ENXIO;
    CHECK_EQ(kit_step_now(c, chain_start), -ENXIO);
    CHECK_STR(kit_why, "disk/b: step 1 is wrong");
    CHECK_STR(noted(), "start2");
    /* Stopping what never started is allowed; starting again is not. */
    CHECK_EQ(kit_step_now(c, chain_start), -ENODEV);
    CHECK_EQ(kit_step_now(c, chain_pause), -ENODEV);
    CHECK_EQ(kit_step_now(c, chain_stop), 0);
    chain_free(c);

    reset();
    c = kit_new("slow:a slow:b:mark=2 tail");
    slow_async = true;
    kit_run();
    struct kit_op *op = kit_begin(c, chain_start);
    kit_run();
    slow_async = false;
    slow_error[STEP_START] = -ENXIO;
    CHECK_EQ(op->error, 1);
    slow_go();
    CHECK_EQ(kit_end(op), -ENXIO);
    /* The one that had started is stopped. */
    CHECK_STR(noted(), "start2 start0 stop2");
    chain_free(c);
}

static void
never_started(void)
{
    struct chain *c;

    reset();
    c = kit_new("slow tail");
    chain_free(c);
    CHECK_STR(noted(), "");
    chain_free(NULL);
}

static void
pause_waits(void)
{
    char data[512] = { 0 };
    struct kit_req a, b;
    struct kit_op *op;
    struct chain *c;
    uint64_t began;

    reset();
    kit_disk.hold = true;
    c = kit_start("slow tail");
    noted();
    kit_submit_req(c, &a, BLK_READ, 0, 0, 512, data, 512);
    kit_run();
    CHECK(!chain_holds(c)->now);
    CHECK_EQ(chain_holds(c)->times, 0); /* the start was none */
    op = kit_begin(c, chain_pause);
    kit_run();
    CHECK(chain_holds(c)->now);
    began = kit_loop.now;
    kit_loop.now += 5000;
    CHECK_EQ(op->error, 1);
    kit_submit_req(c, &b, BLK_READ, 0, 512, 512, data, 512);
    kit_run();
    CHECK_STR(noted(), "read@0+512");
    slow_async = true;
    kit_release(0);
    kit_run();
    CHECK_EQ(a.error, 0);
    CHECK_STR(noted(), "pause");
    CHECK_EQ(op->error, 1);
    slow_go();
    CHECK_EQ(kit_end(op), 0);
    /* What waited at the head goes on by itself. */
    op = kit_begin(c, chain_resume);
    kit_run();
    CHECK_STR(noted(), "resume");
    slow_async = false;
    slow_go();
    CHECK_EQ(kit_end(op), 0);
    CHECK_EQ(chain_holds(c)->times, 1);
    CHECK_EQ(chain_holds(c)->last_ns, kit_loop.now - began);
    CHECK(chain_holds(c)->last_ns >= 5000);
    CHECK_EQ(chain_holds(c)->longest_ns, chain_holds(c)->last_ns);
    CHECK_STR(noted(), "read@512+512");
    CHECK_EQ(b.error, 1);
    kit_release(0);
    kit_run();
    CHECK_EQ(b.error, 0);
    kit_stop(c);
}

static void
pause_fails(void)
{
    struct chain *c;
    char data[512];

    reset();
    c = kit_start("slow:a slow:b tail");
    noted();
    slow_error[STEP_PAUSE] = -EBUSY;
    CHECK_EQ(kit_step_now(c, chain_pause), -EBUSY);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    CHECK_STR(noted(), "pause read@0+512");
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    slow_error[STEP_RESUME] = -ENOSPC;
    CHECK_EQ(kit_step_now(c, chain_resume), -ENOSPC);
    CHECK_EQ(kit_fatal, -ENOSPC);
    CHECK_STR(kit_fatal_why, "disk/b: can't resume: step 3 is wrong");
    kit_stop(c);
}

static void
stop_ends_what_waits(void)
{
    char data[512];
    struct kit_req a, b;
    struct chain *c;

    reset();
    c = kit_start("slow tail");
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    kit_submit_req(c, &a, BLK_READ, 0, 0, 512, data, 512);
    CHECK_EQ(kit_step_now(c, chain_stop), 0);
    CHECK_EQ(a.error, -ESHUTDOWN);
    kit_submit_req(c, &b, BLK_READ, 0, 0, 512, data, 512);
    kit_run();
    CHECK_EQ(b.error, -ESHUTDOWN);
    CHECK_EQ(kit_step_now(c, chain_stop), 0);
    chain_free(c);
}

/* Its owner frees it as soon as it may: nothing is left behind. */
static void
freed_at_once(struct chain_op *op, int error)
{
    note("over%d", error);
    chain_free(op->data);
}

static void
freed_by_done(void)
{
    struct kit_req a, b;
    struct chain_op op = { .done = freed_at_once };
    struct chain *c;
    char data[512];

    reset();
    op.data = c = kit_start("slow tail");
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    kit_submit_req(c, &a, BLK_READ, 0, 0, 512, data, 512);
    noted();
    chain_stop(c, &op);
    kit_run();
    CHECK_EQ(a.error, -ESHUTDOWN);
    CHECK_STR(noted(), "stop0 over0");

    op.data = c = kit_new("slow tail");
    slow_error[STEP_START] = -EIO;
    CHECK_EQ(chain_reserve(c, 1), 0);
    kit_submit_req(c, &b, BLK_READ, 0, 0, 512, data, 512);
    chain_start(c, &op);
    kit_run();
    CHECK_EQ(b.error, -ESHUTDOWN);
    CHECK_STR(noted(), "start0 over-5");
}

static void
replaced(void)
{
    struct chain *c;

    reset();
    c = kit_start("slow:a:mark=1 tail");
    noted();
    CHECK_EQ(kit_replace(c, "slow:a:mark=2 tail"), 0);
    CHECK_STR(noted(), "pause start1>2 stop1");
    /* Another plugin of the same name inherits nothing. */
    CHECK_EQ(kit_replace(c, "other:a:mark=3 tail"), 0);
    CHECK_STR(noted(), "pause start3 stop2");
    CHECK(chain_transparent(c));
    CHECK_EQ(kit_replace(c, "slow:a:mark=4 other:b tail"), 0);
    CHECK_STR(noted(), "start0 start4 stop3");
    CHECK_EQ(chain_layers(c), 3);
    CHECK(!chain_transparent(c));
    CHECK_STR(chain_layer_name(c, 0), "a");
    CHECK(chain_layer_name(c, 3) == NULL);
    CHECK_EQ(chain_layer_limits(c, 0)->size, chain_limits(c)->size);
    CHECK(chain_layer_limits(c, 3) == NULL);
    kit_stop(c);
}

static void
replace_fails(void)
{
    char data[512];
    struct chain *c;

    reset();
    c = kit_start("slow:a:mark=1 slow:b:mark=2 tail");
    noted();
    slow_error[STEP_START] = -ENXIO;
    CHECK_EQ(kit_replace(c, "slow:a:mark=7 slow:b:mark=8 tail"), -ENXIO);
    CHECK_STR(kit_why, "disk/b: step 1 is wrong");
    CHECK_STR(noted(), "pause pause start2>8 resume resume");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    noted();
    /* The same again, but for the second that starts. */
    slow_async = true;
    struct kit_op *op =
        kit_replace_begin(c, "slow:a:mark=7 slow:b:mark=8 tail");
    kit_run();
    slow_go();
    slow_go();
    slow_async = false;
    slow_error[STEP_START] = -EPERM;
    slow_go();
    CHECK_EQ(kit_end(op), -EPERM);
    CHECK_STR(noted(), "pause pause start2>8 start1>7 stop8 resume resume");
    /* What is wrong with a spec is told without a pause. */
    CHECK(kit_replace(c, "gone tail") < 0);
    CHECK(strstr(kit_why, "gone") != NULL);
    CHECK_STR(noted(), "");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    kit_stop(c);
}

/* What the new layers offer is too little for the owner: they go, and the old
 * chain serves as before. */
static void
replace_not_accepted(void)
{
    char data[512];
    struct chain *c;

    reset();
    c = kit_start("slow:a:mark=1 tail");
    noted();
    kit_least = chain_limits(c)->size + 1;
    CHECK_EQ(kit_replace(c, "slow:a:mark=2 slow:b tail"), -ERANGE);
    CHECK(strstr(kit_why, "is too small") != NULL);
    CHECK_STR(noted(), "pause start0 start1>2 stop2 stop0 resume");
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    CHECK_EQ(chain_layers(c), 2);
    kit_least = chain_limits(c)->size;
    CHECK_EQ(kit_replace(c, "slow:a:mark=2 slow:b tail"), 0);
    CHECK_EQ(chain_layers(c), 3);
    kit_stop(c);
}

/* A replacement while somebody holds the chain: it stays held. */
static void
replaced_while_held(void)
{
    char data[512];
    struct kit_req a;
    struct chain *c;

    reset();
    c = kit_start("slow:a:mark=1 tail");
    CHECK_EQ(kit_step_now(c, chain_pause), 0);
    kit_submit_req(c, &a, BLK_READ, 0, 0, 512, data, 512);
    noted();
    CHECK_EQ(kit_replace(c, "slow:a:mark=2 slow:b:mark=3 tail"), 0);
    CHECK_STR(noted(), "start3 start1>2 stop1");
    CHECK_EQ(a.error, 1);
    slow_error[STEP_START] = -EIO;
    CHECK_EQ(kit_replace(c, "slow:a:mark=5 slow:b:mark=3 tail"), -EIO);
    CHECK_EQ(a.error, 1);
    noted();
    CHECK_EQ(kit_step_now(c, chain_resume), 0);
    CHECK_STR(noted(), "read@0+512");
    CHECK_EQ(a.error, 0);
    kit_stop(c);
}

/* Steps asked for at once are done in order, one after the other. */
static void
queued(void)
{
    struct kit_op *a, *b, *d, *e;
    struct chain *c;

    reset();
    c = kit_start("slow:a:mark=1 tail");
    noted();
    a = kit_begin(c, chain_pause);
    b = kit_replace_begin(c, "slow:a:mark=2 tail");
    d = kit_begin(c, chain_resume);
    e = kit_begin(c, chain_stop);
    kit_run();
    CHECK_EQ(kit_end(a), 0);
    CHECK_EQ(kit_end(b), 0);
    CHECK_EQ(kit_end(d), 0);
    CHECK_EQ(kit_end(e), 0);
    CHECK_STR(noted(), "pause start1>2 stop1 pause stop2");
    chain_free(c);
}

static void
relimit(void)
{
    char data[512];
    struct chain *c;

    reset();
    c = kit_start("slow tail");
    noted();
    CHECK_EQ(chain_limits(c)->size, KIT_SIZE);
    slow_grow = true;
    blk_relimit(slow_layer);
    blk_relimit(slow_layer);
    kit_run();
    CHECK_EQ(kit_relimits, 1);
    CHECK_EQ(chain_limits(c)->size, KIT_SIZE / 2);
    CHECK_STR(noted(), "pause resume");
    CHECK_EQ(kit_do(c, BLK_READ, 0, KIT_SIZE / 2, 512, data), -EINVAL);
    /* Nothing changed: nobody is told. */
    blk_relimit(slow_layer);
    kit_run();
    CHECK_EQ(kit_relimits, 1);
    /* A layer that offers nonsense from now on: the disk can't go on. */
    kit_disk.limits.align = 7;
    blk_relimit(slow_layer);
    kit_run();
    CHECK_EQ(kit_fatal, -EINVAL);
    CHECK(strstr(kit_fatal_why, "found 7") != NULL);
    kit_stop(c);
}

static void
fatal(void)
{
    struct chain *c;

    reset();
    c = kit_start("slow tail");
    blk_fatal(slow_layer, -EILSEQ, "the %s is gone", "image");
    CHECK_EQ(kit_fatal, 0);
    kit_run();
    CHECK_EQ(kit_fatal, -EILSEQ);
    CHECK_STR(kit_fatal_why, "disk/slow: the image is gone");
    kit_stop(c);
}

static void
readonly_changes(void)
{
    struct kit_spec k;
    struct kit_op op = { .op.done = kit_op_done, .error = 1 };
    char data[512];
    struct chain *c;

    reset();
    c = kit_start("slow:a:mark=1 tail");
    noted();
    kit_spec(&k, "slow:a:mark=1 tail");
    k.spec.readonly = true;
    chain_replace(c, &k.spec, &op.op);
    kit_run();
    CHECK_EQ(op.error, 0);
    CHECK_STR(noted(), "pause start1>1 stop1");
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 512, data), -EROFS);
    kit_stop(c);
}

/* Memory for another number of requests, before and after the start. */
static void
reserved(void)
{
    char data[512];
    struct chain_req *req[8];
    struct chain *c;

    reset();
    c = kit_new("slow tail");
    CHECK(chain_get(c) == NULL);
    CHECK_EQ(chain_reserve(c, 2), 0);
    CHECK_EQ(kit_step_now(c, chain_start), 0);
    CHECK_EQ(chain_reserve(c, 8), 0);
    for (unsigned i = 0; i < 8; i++)
        CHECK((req[i] = chain_get(c)) != NULL);
    CHECK(chain_get(c) == NULL);
    for (unsigned i = 0; i < 8; i++)
        chain_put(c, req[i]);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    kit_stop(c);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(start_fails);
    TEST(never_started);
    TEST(pause_waits);
    TEST(pause_fails);
    TEST(stop_ends_what_waits);
    TEST(freed_by_done);
    TEST(replaced);
    TEST(replace_fails);
    TEST(replace_not_accepted);
    TEST(replaced_while_held);
    TEST(queued);
    TEST(relimit);
    TEST(fatal);
    TEST(readonly_changes);
    TEST(reserved);
    return test_end();
}
