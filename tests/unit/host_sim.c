/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_sim.c: the simulated world: loops, its clock, grants and ports. */
#include "config.h"

#include <errno.h>
#include <poll.h>

#include "host/sim.h"
#include "tests/test.h"

static struct sim *sim;
static struct loop *loop;
static char trace[64];

static void
note(char c)
{
    size_t n = strlen(trace);

    if (n < sizeof trace - 1) {
        trace[n] = c;
        trace[n + 1] = '\0';
    }
}

static void
setup(uint64_t seed)
{
    sim = sim_new(seed);
    loop = sim_loop_new(sim, "data0");
    trace[0] = '\0';
}

static void
teardown(void)
{
    loop->ops->free(loop);
    sim_free(sim);
}

/* ---- loops --------------------------------------------------------------- */

struct alarm {
    struct blk_timer timer;
    char name;
};

static void
fired(struct blk_timer *t)
{
    note(((struct alarm *)t)->name);
}

struct batch {
    struct blk_timer timer;
    struct loop_task *task;
};

static void
round_over(struct loop_task *t)
{
    (void)t;
    note('|');
}

static void
batch_fired(struct blk_timer *t)
{
    note('.');
    loop_defer(loop, ((struct batch *)t)->task, STAGE_FLUSH);
}

/* Of events close to each other some are in one round; none that are not, none
 * of another loop's, and none twice. */
static void
events_of_one_round(void)
{
    static const char *const expected[] = { ".|.|.|.|", ".|.|.|.|", "..|.|.|",
                                            "...|.|" };
    struct loop_task task = { .run = round_over };
    struct batch b[4];

    for (unsigned n = 0; n < 4; n++) {
        setup(1);
        sim_rounds(sim, n);
        for (unsigned i = 0; i < 4; i++) {
            b[i] = (struct batch){ { .fire = batch_fired }, &task };
            loop->ops->timer_start(loop, &b[i].timer,
                                   i < 3 ? 1000 * i : 10000000);
        }
        sim_run_for(sim, 5000000);
        CHECK_EQ(sim_now(sim), UINT64_C(1005000000));
        sim_run_for(sim, 10000000);
        CHECK_STR(trace, expected[n]);
        teardown();
    }
}

static void
timers_and_the_clock(void)
{
    struct alarm a = { { .fire = fired }, 'a' }, b = { { .fire = fired }, 'b' };
    struct alarm c = { { .fire = fired }, 'c' };
    uint64_t start;

    setup(1);
    start = sim_now(sim);
    loop->ops->timer_start(loop, &b.timer, 200);
    loop->ops->timer_start(loop, &a.timer, 100);
    loop->ops->timer_start(loop, &c.timer, 150);
    loop->ops->timer_stop(loop, &c.timer);
    CHECK(sim_step(sim));
    CHECK_STR(trace, "a");
    CHECK_EQ(loop->ops->now(loop), start + 100);
    loop->ops->timer_start(loop, &b.timer, 1000);
    sim_run_for(sim, 500);
    CHECK_STR(trace, "a");
    CHECK_EQ(sim_now(sim), start + 600);
    CHECK(sim_run_all(sim, 100));
    CHECK_STR(trace, "ab");
    CHECK_EQ(sim_now(sim), start + 1100);
    CHECK(!sim_step(sim));
    teardown();
}

struct task {
    struct loop_task task;
    char name;
    int again;
};

static void
do_task(struct loop_task *t)
{
    struct task *k = (struct task *)t;

    note(k->name);
    if (k->again-- > 0)
        loop_defer(loop, t, STAGE_NEXT);
}

static void
tasks_from_outside_are_run(void)
{
    struct task a = { { .run = do_task }, 'a', 2 };

    setup(1);
    loop_defer(loop, &a.task, STAGE_CHAIN);
    CHECK_STR(trace, "");
    CHECK(sim_run_all(sim, 100));
    CHECK_STR(trace, "aaa");
    teardown();
}

struct letter {
    struct loop_mail mail;
    char name;
};

static void
receive(struct loop_mail *m)
{
    note(((struct letter *)m)->name);
}

static void
mail_in_order_for_several_loops(void)
{
    struct letter l[8];
    struct loop *other;

    for (uint64_t seed = 0; seed < 50; seed++) {
        setup(seed);
        other = sim_loop_new(sim, "control");
        for (int i = 0; i < 8; i++) {
            l[i] = (struct letter){ { .run = receive }, (char)('a' + i) };
            other->ops->post(i % 2 ? other : loop, &l[i].mail);
        }
        CHECK(sim_run_all(sim, 100));
        CHECK_EQ(strlen(trace), 8);
        for (char c = 'a'; c < 'g'; c++)
            CHECK(strchr(trace, c) < strchr(trace, c + 2));
        other->ops->free(other);
        teardown();
    }
}

static void
work_part(struct blk_work *w)
{
    (void)w;
    note('w');
}

static void
work_done(struct blk_work *w)
{
    (void)w;
    note('d');
    loop->ops->stop(loop);
}

static void
work_and_run(void)
{
    struct blk_work w = { .work = work_part, .done = work_done };

    setup(2);
    loop->ops->work(loop, &w);
    CHECK_STR(trace, "");
    loop->ops->run(loop);
    CHECK_STR(trace, "wd");
    teardown();
}

static void
ready(struct blk_watch *w, short events)
{
    CHECK_EQ(events, POLLIN);
    note('r');
    loop->ops->watch_stop(loop, w);
}

static void
watches(void)
{
    struct blk_watch w = { .fd = 77, .events = POLLIN, .ready = ready };

    setup(3);
    loop->ops->watch_start(loop, &w);
    sim_fd_ready(sim, 78, POLLIN);
    sim_fd_ready(sim, 77, POLLOUT);
    CHECK(sim_run_all(sim, 100));
    CHECK_STR(trace, "");
    sim_fd_ready(sim, 77, POLLIN | POLLOUT);
    sim_fd_ready(sim, 77, POLLIN);
    CHECK(sim_run_all(sim, 100));
    CHECK_STR(trace, "r");
    teardown();
}

static void
own(void *data)
{
    note(*(char *)data);
}

static bool
two_notes(void *data)
{
    (void)data;
    return strlen(trace) >= 2;
}

static void
own_events_and_conditions(void)
{
    char a = 'a', b = 'b', c = 'c';

    setup(4);
    sim_after(sim, 300, own, &c);
    sim_after(sim, 100, own, &a);
    sim_after(sim, 200, own, &b);
    CHECK(!sim_run_until(sim, two_notes, NULL, 150));
    CHECK(sim_run_until(sim, two_notes, NULL, 1000));
    CHECK_STR(trace, "ab");
    teardown();
}

/* ---- the same seed is the same run --------------------------------------- */

static uint64_t
a_run(uint64_t seed)
{
    struct letter l[8];
    struct blk_work w = { .work = work_part, .done = work_done };
    uint64_t hash;

    setup(seed);
    for (int i = 0; i < 8; i++) {
        l[i] = (struct letter){ { .run = receive }, (char)('a' + i) };
        loop->ops->post(loop, &l[i].mail);
    }
    loop->ops->work(loop, &w);
    loop->ops->random(loop);
    sim_run_all(sim, 100);
    hash = sim_trace(sim);
    teardown();
    return hash;
}

static void
the_seed_is_all(void)
{
    CHECK_EQ(a_run(42), a_run(42));
    CHECK(a_run(42) != a_run(43));
}

static void
dice_are_fair_enough(void)
{
    unsigned hits = 0, count[10] = { 0 };

    setup(5);
    for (int i = 0; i < 100000; i++) {
        hits += sim_chance(sim, 250000);
        count[sim_below(sim, 10)]++;
    }
    CHECK(hits > 24000 && hits < 26000);
    for (int i = 0; i < 10; i++)
        CHECK(count[i] > 9500 && count[i] < 10500);
    CHECK(!sim_chance(sim, 0));
    CHECK(sim_chance(sim, 1000000));
    teardown();
}

/* ---- grants -------------------------------------------------------------- */

static struct tap *tap;

static void
grants_are_mapped_in_order(void)
{
    uint32_t refs[3] = { 9, 700, 8 };
    char *p[3];
    void *addr;
    char *at;

    setup(6);
    tap = sim_tap_new(sim, loop);
    for (int i = 0; i < 3; i++) {
        p[i] = sim_grant(sim, 5, refs[i], false);
        REQUIRE(p[i]);
        p[i][0] = (char)('a' + i);
    }
    CHECK_EQ(tap->ops->map(tap, 5, refs, 3, &addr), 0);
    at = addr;
    CHECK(at[0] == 'a' && at[4096] == 'b' && at[8192] == 'c');
    at[4097] = 'x';
    CHECK_EQ(p[1][1], 'x');
    CHECK_EQ(sim_mapped(sim, 5), 3);
    CHECK_EQ(sim_ungrant(sim, 5, 700), -EBUSY);
    CHECK_EQ(at[4097], 'x');
    tap->ops->unmap(tap, addr, 3);
    CHECK_EQ(sim_mapped(sim, 5), 0);
    CHECK_EQ(sim_ungrant(sim, 5, 700), -ENOENT);
    CHECK_EQ(sim_ungrant(sim, 5, 9), 0);
    CHECK(tap->ops->map(tap, 5, refs, 3, &addr) < 0);
    CHECK_EQ(sim_mapped(sim, 5), 0);
    CHECK(tap->ops->map(tap, 6, &refs[2], 1, &addr) < 0);
    tap->ops->free(tap);
    teardown();
}

static void
copies_are_refused_as_by_xen(void)
{
    char buf[4096] = "hello", back[4096];
    struct tap_copy c[5] = {
        { .domid = 5,
          .ref = 1,
          .offset = 512,
          .len = 512,
          .local = buf,
          .to_guest = true },
        { .domid = 5, .ref = 1, .offset = 512, .len = 512, .local = back },
        { .domid = 5,
          .ref = 2,
          .offset = 0,
          .len = 512,
          .local = buf,
          .to_guest = true },
        { .domid = 5, .ref = 3, .offset = 0, .len = 512, .local = back },
        { .domid = 5, .ref = 1, .offset = 4000, .len = 512, .local = back },
    };
    struct sim_tap_faults f = { .copy = 1000000, .error = ENOSYS };

    setup(7);
    tap = sim_tap_new(sim, loop);
    sim_grant(sim, 5, 1, false);
    sim_grant(sim, 5, 2, true);
    CHECK_EQ(tap->ops->copy(tap, c, 5), 0);
    CHECK_EQ(c[0].status, 0);
    CHECK_EQ(c[1].status, 0);
    CHECK(!memcmp(buf, back, 512));
    CHECK_EQ(c[2].status, -8);
    CHECK_EQ(c[3].status, -3);
    CHECK_EQ(c[4].status, -10);
    sim_tap_faults(sim, &f);
    CHECK_EQ(tap->ops->copy(tap, c, 5), -ENOSYS);
    f = (struct sim_tap_faults){ .segment = 1000000, .status = -1 };
    sim_tap_faults(sim, &f);
    CHECK_EQ(tap->ops->copy(tap, c, 1), 0);
    CHECK_EQ(c[0].status, -1);
    sim_domain_die(sim, 5);
    sim_tap_faults(sim, &(struct sim_tap_faults){ 0 });
    CHECK_EQ(tap->ops->copy(tap, c, 1), 0);
    CHECK(c[0].status < 0);
    tap->ops->free(tap);
    teardown();
}

/* ---- ports --------------------------------------------------------------- */

static void
port_fired(void *ctx, const uint32_t *ports, unsigned n)
{
    CHECK(ctx == &tap);
    for (unsigned i = 0; i < n; i++)
        note((char)('0' + ports[i]));
}

static void
front_notified(void *data)
{
    note(*(char *)data);
}

static void
ports_fire_masked(void)
{
    char f = 'f';
    uint32_t remote, local;
    int port;

    setup(8);
    tap = sim_tap_new(sim, loop);
    tap->fired = port_fired;
    tap->ctx = &tap;
    remote = sim_port(sim, 5, front_notified, &f);
    CHECK_EQ(tap->ops->bind(tap, 5, remote + 1), -EINVAL);
    port = tap->ops->bind(tap, 5, remote);
    CHECK_EQ(port, 1);
    CHECK(sim_port_bound(sim, 5, remote));
    CHECK_EQ(tap->ops->bind(tap, 5, remote), -EINVAL);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "1"); /* one is pending at bind */
    sim_port_notify(sim, 5, remote);
    sim_port_notify(sim, 5, remote);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "1"); /* masked */
    local = (uint32_t)port;
    tap->ops->unmask(tap, &local, 1);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "11");
    tap->ops->unmask(tap, &local, 1);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "11");
    tap->ops->notify(tap, port);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "11f");
    sim_port_notify(sim, 5, remote);
    tap->ops->unbind(tap, port);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "11f");
    CHECK(!sim_port_bound(sim, 5, remote));
    CHECK_EQ(tap->ops->bind(tap, 5, remote), 1);
    sim_domain_die(sim, 5);
    sim_run_all(sim, 100);
    tap->ops->notify(tap, 1);
    tap->ops->free(tap);
    teardown();
}

static int broken_with;

static void
tap_broken(void *ctx, int error)
{
    (void)ctx;
    broken_with = error;
}

static void
a_tap_breaks(void)
{
    setup(9);
    tap = sim_tap_new(sim, loop);
    tap->broken = tap_broken;
    sim_tap_break(tap, -EFBIG);
    sim_run_all(sim, 10);
    CHECK_EQ(broken_with, -EFBIG);
    tap->ops->free(tap);
    teardown();
}

/* ---- kill ---------------------------------------------------------------- */

static void
nothing_happens_after_a_kill(void)
{
    struct alarm a = { { .fire = fired }, 'a' };
    struct task t = { { .run = do_task }, 't', 1 };
    struct letter l = { { .run = receive }, 'l' };
    struct blk_work w = { .work = work_part, .done = work_done };
    uint32_t ref = 4, port;
    void *addr;

    setup(10);
    tap = sim_tap_new(sim, loop);
    tap->fired = port_fired;
    tap->ctx = &tap;
    port = sim_port(sim, 5, NULL, NULL);
    CHECK(sim_grant(sim, 5, ref, false));
    CHECK_EQ(tap->ops->map(tap, 5, &ref, 1, &addr), 0);
    CHECK_EQ(tap->ops->bind(tap, 5, port), 1);
    loop->ops->timer_start(loop, &a.timer, 10);
    loop_defer(loop, &t.task, STAGE_NEXT);
    loop->ops->post(loop, &l.mail);
    loop->ops->work(loop, &w);
    sim_kill(sim);
    CHECK(!sim_step(sim));
    loop->ops->timer_stop(loop, &a.timer);
    loop->ops->timer_start(loop, &a.timer, 10);
    loop_undefer(loop, &t.task, STAGE_NEXT);
    loop_defer(loop, &t.task, STAGE_NEXT);
    loop->ops->post(loop, &l.mail);
    CHECK(!sim_step(sim));
    CHECK_STR(trace, "");
    tap->ops->unmap(tap, addr, 1);
    tap->ops->unbind(tap, 1);
    tap->ops->free(tap);
    loop->ops->free(loop);
    /* The next program finds the grants and the port of the guest. */
    loop = sim_loop_new(sim, "data0");
    tap = sim_tap_new(sim, loop);
    tap->fired = port_fired;
    tap->ctx = &tap;
    CHECK_EQ(sim_mapped(sim, 5), 0);
    CHECK_EQ(tap->ops->map(tap, 5, &ref, 1, &addr), 0);
    CHECK_EQ(tap->ops->bind(tap, 5, port), 1);
    sim_run_all(sim, 100);
    CHECK_STR(trace, "1");
    tap->ops->free(tap);
    teardown();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(timers_and_the_clock);
    TEST(events_of_one_round);
    TEST(tasks_from_outside_are_run);
    TEST(mail_in_order_for_several_loops);
    TEST(work_and_run);
    TEST(watches);
    TEST(own_events_and_conditions);
    TEST(the_seed_is_all);
    TEST(dice_are_fair_enough);
    TEST(grants_are_mapped_in_order);
    TEST(copies_are_refused_as_by_xen);
    TEST(ports_fire_masked);
    TEST(a_tap_breaks);
    TEST(nothing_happens_after_a_kill);
    return test_end();
}
