/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_posix.c: the posix loop: timers, watches, mail, workers, signals. */
#include "config.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "host/host.h"
#include "tests/test.h"

static struct loop *loop;
static char trace[256];

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
setup(unsigned io_entries)
{
    struct loop_posix_options opt = { .workers = 2, .io_entries = io_entries };
    char why[200] = "";

    trace[0] = '\0';
    REQUIRE(!loop_posix_new(&loop, "test", &opt, why, sizeof why));
}

static void
teardown(void)
{
    loop->ops->free(loop);
}

/* ---- timers -------------------------------------------------------------- */

enum { MS = 1000000 };

struct alarm {
    struct blk_timer timer;
    char name;
    uint64_t due;
    bool last;
};

static void
fired(struct blk_timer *t)
{
    struct alarm *a = (struct alarm *)t;

    CHECK(loop->ops->now(loop) >= a->due);
    note(a->name);
    if (a->last)
        loop->ops->stop(loop);
}

static void
set_alarm(struct alarm *a, uint64_t after_ns)
{
    a->timer.fire = fired;
    a->due = loop->ops->now(loop) + after_ns;
    loop->ops->timer_start(loop, &a->timer, after_ns);
}

static void
timers_in_order_and_never_early(void)
{
    struct alarm a = { .name = 'a' }, b = { .name = 'b' };
    struct alarm c = { .name = 'c', .last = true }, d = { .name = 'd' };

    setup(0);
    usleep(20000); /* libev's clock is stale now */
    /* Far apart: we may be interrupted for a while between two of them. */
    set_alarm(&c, 600 * MS);
    set_alarm(&b, 300 * MS);
    set_alarm(&a, 5 * MS);
    set_alarm(&d, 10 * MS);
    loop->ops->timer_stop(loop, &d.timer);
    loop->ops->timer_stop(loop, &d.timer);
    loop->ops->run(loop);
    CHECK_STR(trace, "abc");
    teardown();
}

static void
a_timer_started_again_moves(void)
{
    struct alarm a = { .name = 'a' }, z = { .name = 'z', .last = true };

    setup(0);
    set_alarm(&a, 2 * MS);
    set_alarm(&a, UINT64_C(600000) * MS);
    set_alarm(&z, 10 * MS);
    loop->ops->run(loop);
    CHECK_STR(trace, "z");
    a.last = true;
    set_alarm(&a, 5 * MS);
    loop->ops->run(loop);
    CHECK_STR(trace, "za");
    teardown();
}

/* ---- tasks --------------------------------------------------------------- */

struct job {
    struct loop_task task;
    unsigned left;
    enum loop_stage stage;
};

static void
step(struct loop_task *t)
{
    struct job *j = (struct job *)t;

    if (!j->left--)
        loop->ops->stop(loop);
    else
        loop_defer(loop, t, j->stage);
}

/* With nothing else to wake it, a loop that slept would stay so. */
static void
next_does_not_sleep(void)
{
    struct job j = { .task.run = step, .left = 1000, .stage = STAGE_NEXT };

    setup(64);
    loop_defer(loop, &j.task, STAGE_NEXT);
    loop->ops->run(loop);
    CHECK_EQ(j.left, UINT32_MAX);
    teardown();
}

static uint64_t
cpu_us(void)
{
    struct rusage ru;

    getrusage(RUSAGE_THREAD, &ru);
    return (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) +
           1000000 * (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec);
}

static long
switches(void)
{
    struct rusage ru;

    getrusage(RUSAGE_THREAD, &ru);
    return ru.ru_nvcsw;
}

static void
an_idle_loop_sleeps(void)
{
    struct alarm z = { .name = 'z', .last = true };
    struct job j = { .task.run = step, .left = 3, .stage = STAGE_NEXT };
    uint64_t us = UINT64_MAX;
    long sw = LONG_MAX;

    setup(64);
    j.left = 3;
    loop_defer(loop, &j.task, STAGE_CHAIN);
    loop->ops->run(loop);
    /* What others cost us they do not cost each time. */
    for (int i = 0; i < 5 && (us >= 20000 || sw > 5); i++) {
        set_alarm(&z, 300 * MS);
        us = cpu_us();
        sw = switches();
        loop->ops->run(loop);
        us = cpu_us() - us;
        sw = switches() - sw;
    }
    CHECK(us < 20000);
    CHECK(sw <= 5);
    teardown();
}

/* ---- watches ------------------------------------------------------------- */

struct pipe_watch {
    struct blk_watch w;
    int seen;
};

static void
readable(struct blk_watch *w, short events)
{
    struct pipe_watch *pw = (struct pipe_watch *)w;
    char c;

    CHECK(events & POLLIN);
    CHECK_EQ(read(w->fd, &c, 1), 1);
    note(c);
    pw->seen++;
    if (c == 'z') {
        loop->ops->watch_stop(loop, w);
        loop->ops->stop(loop);
    }
}

static void
a_watch_sees_each_byte(void)
{
    struct pipe_watch pw = { .w.ready = readable };
    int fd[2];

    setup(0);
    REQUIRE(!pipe(fd));
    pw.w.fd = fd[0];
    pw.w.events = POLLIN;
    loop->ops->watch_start(loop, &pw.w);
    CHECK_EQ(write(fd[1], "abz", 3), 3);
    loop->ops->run(loop);
    CHECK_STR(trace, "abz");
    CHECK_EQ(write(fd[1], "q", 1), 1);
    struct alarm z = { .name = '.', .last = true };
    set_alarm(&z, 5 * MS);
    loop->ops->run(loop);
    CHECK_STR(trace, "abz.");
    teardown();
    close(fd[0]);
    close(fd[1]);
}

static void
writable(struct blk_watch *w, short events)
{
    CHECK(events & POLLOUT);
    note('w');
    loop->ops->watch_stop(loop, w);
    loop->ops->stop(loop);
}

static void
a_watch_for_room(void)
{
    struct blk_watch w = { .ready = writable, .events = POLLOUT };
    int fd[2];

    setup(0);
    REQUIRE(!pipe(fd));
    w.fd = fd[1];
    loop->ops->watch_start(loop, &w);
    loop->ops->run(loop);
    CHECK_STR(trace, "w");
    teardown();
    close(fd[0]);
    close(fd[1]);
}

/* ---- mail ---------------------------------------------------------------- */

enum { SENDERS = 8, LETTERS = 20000 };

struct letter {
    struct loop_mail mail;
    unsigned sender, number;
};

static unsigned received[SENDERS], total;
static bool disorder;

static void
receive(struct loop_mail *m)
{
    struct letter *l = (struct letter *)m;

    if (received[l->sender]++ != l->number)
        disorder = true;
    free(l);
    if (++total == SENDERS * LETTERS)
        loop->ops->stop(loop);
}

static void *
sender(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;

    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter *l = malloc(sizeof *l);

        l->mail.run = receive;
        l->sender = me;
        l->number = i;
        loop->ops->post(loop, &l->mail);
    }
    return NULL;
}

static void
mail_of_many_threads_arrives_in_order(void)
{
    pthread_t thread[SENDERS];

    setup(0);
    total = 0;
    memset(received, 0, sizeof received);
    for (uintptr_t i = 0; i < SENDERS; i++)
        pthread_create(&thread[i], NULL, sender, (void *)i);
    loop->ops->run(loop);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(thread[i], NULL);
    CHECK_EQ(total, SENDERS * LETTERS);
    CHECK(!disorder);
    teardown();
}

/* ---- workers ------------------------------------------------------------- */

enum { JOBS = 2000 };

static pthread_t loop_thread;
static unsigned finished;
static pthread_barrier_t both;

static void
in_worker(struct blk_work *w)
{
    CHECK(!pthread_equal(pthread_self(), loop_thread));
    *(unsigned *)w->data += 1;
}

static void
in_loop(struct blk_work *w)
{
    CHECK(pthread_equal(pthread_self(), loop_thread));
    CHECK_EQ(*(unsigned *)w->data, 1);
    if (++finished == JOBS)
        loop->ops->stop(loop);
}

static void
work_is_done_elsewhere(void)
{
    static struct blk_work w[JOBS];
    static unsigned n[JOBS];

    setup(0);
    finished = 0;
    loop_thread = pthread_self();
    for (unsigned i = 0; i < JOBS; i++) {
        w[i] = (struct blk_work){ .work = in_worker,
                                  .done = in_loop,
                                  .data = &n[i] };
        loop->ops->work(loop, &w[i]);
    }
    loop->ops->run(loop);
    CHECK_EQ(finished, JOBS);
    teardown();
}

static void
wait_for_other(struct blk_work *w)
{
    (void)w;
    pthread_barrier_wait(&both);
}

static void
one_of_two(struct blk_work *w)
{
    (void)w;
    if (++finished == 2)
        loop->ops->stop(loop);
}

/* Ends only if two threads work at a time; also when one was idle and has to
 * be woken, and both jobs come before it is. */
static void
workers_are_several(void)
{
    struct blk_work a = { .work = wait_for_other, .done = one_of_two }, b = a;

    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 100; i++) {
        setup(0);
        usleep(500); /* the first thread is idle now, most likely */
        finished = 0;
        loop->ops->work(loop, &a);
        loop->ops->work(loop, &b);
        alarm(200);
        loop->ops->run(loop);
        alarm(0);
        CHECK_EQ(finished, 2);
        teardown();
    }
    pthread_barrier_destroy(&both);
}

/* ---- signals, randomness ------------------------------------------------- */

static void
on_signal(void *data, int signo)
{
    CHECK_STR(data, "word");
    CHECK_EQ(signo, SIGHUP);
    note('h');
    loop->ops->stop(loop);
}

static void
a_signal_is_an_event(void)
{
    char word[] = "word";

    setup(0);
    CHECK_EQ(loop_posix_signal(loop, SIGHUP, on_signal, word), 0);
    kill(getpid(), SIGHUP);
    loop->ops->run(loop);
    CHECK_STR(trace, "h");
    teardown();
}

static void
random_words_differ(void)
{
    uint64_t r[200];

    setup(0);
    for (int i = 0; i < 200; i++) {
        r[i] = loop->ops->random(loop);
        for (int j = 0; j < i; j++)
            CHECK(r[i] != r[j]);
    }
    teardown();
}

/* stop() before run(), and run() again. */
static void
stop_and_go(void)
{
    struct alarm z = { .name = 'z', .last = true };

    setup(0);
    loop->ops->stop(loop);
    loop->ops->run(loop);
    set_alarm(&z, 1 * MS);
    loop->ops->run(loop);
    CHECK_STR(trace, "z");
    teardown();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(timers_in_order_and_never_early);
    TEST(a_timer_started_again_moves);
    TEST(next_does_not_sleep);
    TEST(an_idle_loop_sleeps);
    TEST(a_watch_sees_each_byte);
    TEST(a_watch_for_room);
    TEST(mail_of_many_threads_arrives_in_order);
    TEST(work_is_done_elsewhere);
    TEST(workers_are_several);
    TEST(a_signal_is_an_event);
    TEST(random_words_differ);
    TEST(stop_and_go);
    return test_end();
}
