/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_loop.c: the order of a round. */
#include "host/host.h"
#include "tests/test.h"

struct step {
    struct loop_task task;
    char name;
    struct loop_task *then; /* queued by this one, when it runs */
    enum loop_stage stage;
    int again; /* how often it queues itself again */
};

static struct loop loop;
static char trace[64];
static unsigned woken;

static void
wake(struct loop *l)
{
    CHECK(l == &loop);
    woken++;
}

static const struct loop_ops ops = { .wake = wake };

static void
run(struct loop_task *t)
{
    struct step *s = (struct step *)t;
    size_t n = strlen(trace);

    CHECK(!t->queued);
    if (n < sizeof trace - 1) {
        trace[n] = s->name;
        trace[n + 1] = '\0';
    }
    if (s->then)
        loop_defer(&loop, s->then, s->stage);
    if (s->again-- > 0)
        loop_defer(&loop, t, s->stage);
}

#define STEP(c)                      \
    {                                \
        .task.run = run, .name = (c) \
    }

static void
setup(void)
{
    loop_init(&loop, &ops, "test");
    trace[0] = '\0';
    woken = 0;
}

static void
in_the_order_of_queueing(void)
{
    struct step a = STEP('a'), b = STEP('b'), c = STEP('c');

    setup();
    loop_defer(&loop, &b.task, STAGE_CHAIN);
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    loop_defer(&loop, &c.task, STAGE_CHAIN);
    loop_defer(&loop, &b.task, STAGE_CHAIN);
    CHECK(b.task.queued);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "bac");
    CHECK_EQ(woken, 3);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "bac");
}

static void
flush_comes_after_every_chain_task(void)
{
    struct step f = STEP('f'), a = STEP('a'), b = STEP('b');

    setup();
    a.then = &b.task;
    a.stage = STAGE_CHAIN;
    loop_defer(&loop, &f.task, STAGE_FLUSH);
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "abf");
}

static void
chain_again_when_a_flush_made_some(void)
{
    struct step f = STEP('f'), g = STEP('g'), a = STEP('a');

    setup();
    f.then = &a.task;
    f.stage = STAGE_CHAIN;
    a.then = &f.task;
    a.stage = STAGE_FLUSH;
    loop_defer(&loop, &f.task, STAGE_FLUSH);
    loop_defer(&loop, &g.task, STAGE_FLUSH);
    a.then = NULL;
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "fga");
}

static void
a_chain_task_of_a_flush_gets_its_flush_in_this_round(void)
{
    struct step f = STEP('f'), g = STEP('g'), a = STEP('a');

    setup();
    f.then = &a.task;
    f.stage = STAGE_CHAIN;
    a.then = &g.task;
    a.stage = STAGE_FLUSH;
    loop_defer(&loop, &f.task, STAGE_FLUSH);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "fag");
}

static void
a_flush_that_wants_itself_does_not_hold_the_round(void)
{
    struct step f = STEP('f');

    setup();
    f.stage = STAGE_FLUSH;
    f.again = 2;
    loop_defer(&loop, &f.task, STAGE_FLUSH);
    CHECK(loop_round(&loop));
    CHECK_STR(trace, "f");
    CHECK(loop_round(&loop));
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "fff");
}

static void
next_waits_for_the_next_round(void)
{
    struct step n = STEP('n'), a = STEP('a'), b = STEP('b');

    setup();
    n.stage = STAGE_NEXT;
    n.again = 1;
    loop_defer(&loop, &n.task, STAGE_CHAIN);
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    CHECK(loop_round(&loop));
    CHECK_STR(trace, "na");
    loop_defer(&loop, &b.task, STAGE_CHAIN);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "nanb");
}

static void
next_alone_and_several(void)
{
    struct step n = STEP('n'), m = STEP('m'), a = STEP('a');

    setup();
    loop_defer(&loop, &n.task, STAGE_NEXT);
    loop_defer(&loop, &m.task, STAGE_NEXT);
    m.then = &a.task;
    m.stage = STAGE_CHAIN;
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "nma");
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "nmaa");
}

static void
last_comes_after_the_round(void)
{
    struct step l = STEP('l'), m = STEP('m'), f = STEP('f'), a = STEP('a');

    setup();
    f.then = &m.task;
    f.stage = STAGE_LAST;
    loop_defer(&loop, &l.task, STAGE_LAST);
    loop_defer(&loop, &f.task, STAGE_FLUSH);
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "af");
    loop_last(&loop);
    CHECK_STR(trace, "aflm");
    loop_last(&loop);
    CHECK_STR(trace, "aflm");
    loop_defer(&loop, &l.task, STAGE_LAST);
    loop_undefer(&loop, &l.task, STAGE_LAST);
    loop_last(&loop);
    CHECK_STR(trace, "aflm");
}

static void
undefer_anywhere(void)
{
    struct step a = STEP('a'), b = STEP('b'), c = STEP('c'), d = STEP('d');

    setup();
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    loop_defer(&loop, &b.task, STAGE_CHAIN);
    loop_defer(&loop, &c.task, STAGE_CHAIN);
    loop_undefer(&loop, &c.task, STAGE_CHAIN);
    CHECK(!c.task.queued);
    loop_undefer(&loop, &a.task, STAGE_CHAIN);
    loop_undefer(&loop, &a.task, STAGE_CHAIN);
    loop_defer(&loop, &d.task, STAGE_CHAIN);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "bd");
    loop_defer(&loop, &a.task, STAGE_CHAIN);
    loop_undefer(&loop, &a.task, STAGE_CHAIN);
    loop_defer(&loop, &b.task, STAGE_CHAIN);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "bdb");
}

static struct step victim = STEP('v');

static void
take_victim(struct loop_task *t)
{
    (void)t;
    loop_undefer(&loop, &victim.task, STAGE_NEXT);
}

/* The victim was queued for the next round, and that has begun. */
static void
undefer_of_next_in_its_round(void)
{
    struct loop_task killer = { .run = take_victim };

    setup();
    loop_defer(&loop, &killer, STAGE_NEXT);
    loop_defer(&loop, &victim.task, STAGE_NEXT);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "");
    CHECK(!victim.task.queued);
}

static void
undefer_of_a_flush_by_a_flush(void)
{
    struct loop_task killer = { .run = take_victim };

    setup();
    loop_defer(&loop, &killer, STAGE_FLUSH);
    loop_defer(&loop, &victim.task, STAGE_FLUSH);
    CHECK(!loop_round(&loop));
    CHECK_STR(trace, "");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(in_the_order_of_queueing);
    TEST(flush_comes_after_every_chain_task);
    TEST(chain_again_when_a_flush_made_some);
    TEST(a_chain_task_of_a_flush_gets_its_flush_in_this_round);
    TEST(a_flush_that_wants_itself_does_not_hold_the_round);
    TEST(next_waits_for_the_next_round);
    TEST(next_alone_and_several);
    TEST(last_comes_after_the_round);
    TEST(undefer_anywhere);
    TEST(undefer_of_next_in_its_round);
    TEST(undefer_of_a_flush_by_a_flush);
    return test_end();
}
