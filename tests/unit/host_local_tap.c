/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_local_tap.c: pages and events between two threads, as with a process
 * beside us. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/host.h"
#include "tests/test.h"

enum { PAGES = 64, QUEUES = 4, PAGE = 4096, MS = 1000000 };

static struct loop *loop;
static struct local_share share;
static struct tap *tap;
static char *front; /* the other side's mapping */
static unsigned count[QUEUES];
static bool unmask_at_once;

static void
stop_now(struct blk_timer *t)
{
    (void)t;
    loop->ops->stop(loop);
}

static void
run_for(uint64_t ns)
{
    struct blk_timer t = { .fire = stop_now };

    loop->ops->timer_start(loop, &t, ns);
    loop->ops->run(loop);
    loop->ops->timer_stop(loop, &t);
}

static void
fired(void *ctx, const uint32_t *ports, unsigned n)
{
    CHECK(ctx == &tap);
    for (unsigned i = 0; i < n; i++)
        count[ports[i]]++;
    if (unmask_at_once)
        tap->ops->unmask(tap, ports, n);
}

static void
setup(void)
{
    struct loop_posix_options opt = { .workers = 1 };
    char why[200] = "";

    REQUIRE(!loop_posix_new(&loop, "data0", &opt, why, sizeof why));
    REQUIRE(!local_share_make(&share, PAGES, QUEUES));
    REQUIRE(!tap_local_open(&tap, loop, &share));
    tap->fired = fired;
    tap->ctx = &tap;
    front = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                 share.memfd, 0);
    REQUIRE(front != MAP_FAILED);
    memset(count, 0, sizeof count);
    unmask_at_once = false;
}

static void
teardown(void)
{
    munmap(front, (size_t)PAGES * PAGE);
    tap->ops->free(tap);
    local_share_close(&share);
    loop->ops->free(loop);
}

static void
ring(unsigned q)
{
    uint64_t one = 1;

    CHECK_EQ(write(share.to_back[q], &one, 8), 8);
}

/* ---- the share ----------------------------------------------------------- */

static void
a_share_can_not_change_its_size(void)
{
    struct local_share two;

    setup();
    CHECK(ftruncate(share.memfd, 0) < 0);
    CHECK(ftruncate(share.memfd, (off_t)2 * PAGES * PAGE) < 0);
    CHECK(fcntl(share.memfd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
    CHECK_EQ(local_share_dup(&two, &share), 0);
    CHECK(two.memfd != share.memfd && two.to_back[3] != share.to_back[3]);
    CHECK_EQ(two.to_back[4], -1);
    CHECK_EQ(two.pages, PAGES);
    local_share_close(&two);
    CHECK_EQ(two.memfd, -1);
    CHECK_EQ(local_share_make(&two, 0, 1), -EINVAL);
    CHECK_EQ(local_share_make(&two, 1, 0), -EINVAL);
    CHECK_EQ(local_share_make(&two, 1, LOCAL_QUEUES_MAX + 1), -EINVAL);
    teardown();
}

/* ---- pages --------------------------------------------------------------- */

static void
pages_in_a_row_and_scattered(void)
{
    uint32_t row[3] = { 5, 6, 7 }, some[3] = { 7, 5, 40 },
             bad[2] = { 1, PAGES };
    void *a, *b, *c;

    setup();
    for (int i = 0; i < PAGES; i++)
        front[i * PAGE] = (char)i;
    CHECK_EQ(tap->ops->map(tap, 0, row, 3, &a), 0);
    CHECK_EQ(tap->ops->map(tap, 0, some, 3, &b), 0);
    CHECK(((char *)a)[0] == 5 && ((char *)a)[PAGE] == 6);
    CHECK(((char *)b)[0] == 7 && ((char *)b)[PAGE] == 5);
    CHECK(((char *)b)[2 * PAGE] == 40);
    ((char *)b)[2 * PAGE + 1] = 'x';
    CHECK_EQ(front[40 * PAGE + 1], 'x');
    CHECK_EQ(tap->ops->map(tap, 0, bad, 2, &c), -EINVAL);
    CHECK_EQ(tap->ops->map(tap, 0, row, 0, &c), -EINVAL);
    bad[1] = UINT32_MAX;
    CHECK_EQ(tap->ops->map(tap, 0, bad, 2, &c), -EINVAL);
    tap->ops->unmap(tap, b, 3);
    tap->ops->unmap(tap, a, 3);
    CHECK_EQ(tap->ops->map(tap, 0, row, 3, &a), 0);
    CHECK_EQ(((char *)a)[0], 5);
    tap->ops->unmap(tap, a, 3);
    teardown();
}

static void
copies_and_their_bounds(void)
{
    char buf[PAGE], back[PAGE] = "";
    struct tap_copy c[6] = {
        { .ref = 3,
          .offset = 512,
          .len = 1024,
          .local = buf,
          .to_guest = true,
          .status = 9 },
        { .ref = 3, .offset = 512, .len = 1024, .local = back, .status = 9 },
        { .ref = 3, .offset = 0, .len = PAGE, .local = back, .status = 9 },
        { .ref = PAGES, .offset = 0, .len = 1, .local = back, .status = 9 },
        { .ref = 3, .offset = 4095, .len = 2, .local = back, .status = 9 },
        { .ref = 3, .offset = UINT16_MAX, .len = UINT16_MAX, .local = back },
    };

    setup();
    memset(buf, 'b', sizeof buf);
    CHECK_EQ(tap->ops->copy(tap, c, 6), 0);
    CHECK_EQ(c[0].status, 0);
    CHECK_EQ(c[1].status, 0);
    CHECK_EQ(c[2].status, 0);
    CHECK_EQ(c[3].status, -3);
    CHECK_EQ(c[4].status, -10);
    CHECK_EQ(c[5].status, -10);
    CHECK(!front[3 * PAGE + 511] && front[3 * PAGE + 512] == 'b');
    CHECK(front[3 * PAGE + 1535] == 'b' && !front[3 * PAGE + 1536]);
    CHECK(back[512] == 'b' && !back[0]);
    teardown();
}

/* ---- events -------------------------------------------------------------- */

/* The port has fired n times in all, and does not once more. */
static void
fires(uint32_t port, unsigned n)
{
    for (int i = 0; i < 1000 && count[port] < n; i++)
        run_for(5 * MS);
    run_for(5 * MS);
    CHECK_EQ(count[port], n);
}

static void
one_event_at_bind_then_masked(void)
{
    uint32_t port = 1;

    setup();
    CHECK_EQ(tap->ops->bind(tap, 0, QUEUES), -EINVAL);
    CHECK_EQ(tap->ops->bind(tap, 0, 1), 1);
    CHECK_EQ(tap->ops->bind(tap, 0, 1), -EBUSY);
    fires(1, 1);
    ring(1);
    ring(1);
    fires(1, 1);
    tap->ops->unmask(tap, &port, 1);
    fires(1, 2);
    tap->ops->unmask(tap, &port, 1);
    fires(1, 2);
    ring(1);
    fires(1, 3);
    tap->ops->unbind(tap, 1);
    tap->ops->unmask(tap, &port, 1);
    ring(1);
    fires(1, 3);
    CHECK_EQ(tap->ops->bind(tap, 0, 1), 1);
    fires(1, 4);
    port = 77; /* not ours: no harm */
    tap->ops->unmask(tap, &port, 1);
    tap->ops->unbind(tap, 77);
    tap->ops->unbind(tap, -1);
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

static void
a_masked_port_does_not_spin(void)
{
    uint64_t us = UINT64_MAX;

    setup();
    CHECK_EQ(tap->ops->bind(tap, 0, 0), 0);
    run_for(2 * MS);
    ring(0);
    /* What others cost us they do not cost each time. */
    for (int i = 0; i < 5 && us >= 20000; i++) {
        us = cpu_us();
        run_for(200 * MS);
        us = cpu_us() - us;
    }
    CHECK(us < 20000);
    CHECK_EQ(count[0], 1);
    teardown();
}

static void
notifications_reach_the_front(void)
{
    struct pollfd p;
    uint64_t n = 0;

    setup();
    p = (struct pollfd){ .fd = share.to_front[2], .events = POLLIN };
    tap->ops->notify(tap, 2); /* not bound */
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(tap->ops->bind(tap, 0, 2), 2);
    tap->ops->notify(tap, 2);
    tap->ops->notify(tap, 2);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(read(share.to_front[2], &n, 8), 8);
    CHECK_EQ(n, 2);
    /* Full: the next one must not block. */
    n = UINT64_MAX - 1;
    CHECK_EQ(write(share.to_front[2], &n, 8), 8);
    tap->ops->notify(tap, 2);
    teardown();
}

/* ---- no event is lost ---------------------------------------------------- */

enum { ROUNDS = 30000 };

static _Atomic uint32_t produced[QUEUES];
static uint32_t consumed[QUEUES];

/* If the last event of a queue is lost, what came with it is never seen. */
static void *
producer(void *arg)
{
    (void)arg;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        unsigned q = i % QUEUES;

        atomic_fetch_add(&produced[q], 1);
        ring(q);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void
consume(void *ctx, const uint32_t *ports, unsigned n)
{
    uint32_t total = 0;

    (void)ctx;
    /* Unmask first, then look: what comes later fires again. */
    tap->ops->unmask(tap, ports, n);
    for (unsigned i = 0; i < n; i++)
        consumed[ports[i]] = atomic_load(&produced[ports[i]]);
    for (unsigned q = 0; q < QUEUES; q++)
        total += consumed[q];
    if (total == ROUNDS)
        loop->ops->stop(loop);
}

static void
give_up(struct blk_timer *t)
{
    (void)t;
    test_fail(__FILE__, __LINE__, "an event was lost");
    loop->ops->stop(loop);
}

static void
no_event_is_lost(void)
{
    struct blk_timer t = { .fire = give_up };
    pthread_t thread;

    setup();
    tap->fired = consume;
    for (unsigned q = 0; q < QUEUES; q++)
        CHECK_EQ(tap->ops->bind(tap, 0, q), (int)q);
    loop->ops->timer_start(loop, &t, UINT64_C(15000) * MS);
    pthread_create(&thread, NULL, producer, NULL);
    loop->ops->run(loop);
    pthread_join(thread, NULL);
    for (unsigned q = 0; q < QUEUES; q++)
        CHECK_EQ(consumed[q], produced[q]);
    teardown();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(a_share_can_not_change_its_size);
    TEST(pages_in_a_row_and_scattered);
    TEST(copies_and_their_bounds);
    TEST(one_event_at_bind_then_masked);
    TEST(a_masked_port_does_not_spin);
    TEST(notifications_reach_the_front);
    TEST(no_event_is_lost);
    return test_end();
}
