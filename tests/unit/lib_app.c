/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lib_app.c: libblktap against a daemon of this test's own: it answers as it
 * is told, and serves the rings by hand.  One that is good, and one that is
 * broken, or gone.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/io/blkif.h>

#include "blktap/app.h"
#include "tests/test.h"

enum { PAGE = 4096, PAGES = 1 + 32 + 40 };

static char dir[] = "/tmp/lib_app.XXXXXX", path[64];

/* ---- the daemon ---------------------------------------------------------- */

static int listener, client, memfd, to_back, to_front;
static uint8_t *memory;
static char asked[4096];
static const char *answer;
static unsigned answer_fds;
static pthread_t thread;

static void
answer_send(void)
{
    int fds[3] = { memfd, to_back, to_front };
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(fds))];
    } u;
    struct iovec iov = { (char *)(uintptr_t)answer, strlen(answer) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    memset(&u, 0, sizeof(u));
    if (answer_fds) {
        msg.msg_control = u.room;
        msg.msg_controllen = CMSG_SPACE(answer_fds * sizeof(int));
        *CMSG_FIRSTHDR(&msg) =
            (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS,
                              .cmsg_len = CMSG_LEN(answer_fds * sizeof(int)) };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, answer_fds * sizeof(int));
    }
    CHECK(sendmsg(client, &msg, MSG_NOSIGNAL) >= 0);
}

static void *
answer_one(void *arg)
{
    ssize_t n;

    client = accept(listener, NULL, NULL);
    n = read(client, asked, sizeof(asked) - 1);
    asked[n > 0 ? n : 0] = '\0';
    if (answer)
        answer_send();
    else
        close(client);
    return arg;
}

#define GOOD                                                         \
    "\"size\":1048576,\"physical_block\":4096,"                      \
    "\"discard_granularity\":4096,\"max_len\":1048576,\"queues\":1," \
    "\"ring_order\":0,\"indirect\":32,\"pages\":73,\"flush\":true"
static const char good[] = "{\"result\":{" GOOD ",\"readonly\":false}}\n";

static void
daemon_make(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/control", dir);
    strcpy(addr.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(!bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
    REQUIRE(!listen(listener, 5));
    memfd = memfd_create("lib_app", 0);
    REQUIRE(!ftruncate(memfd, (off_t)PAGES * PAGE));
    memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                  MAP_SHARED, memfd, 0);
    to_back = eventfd(0, EFD_NONBLOCK);
    to_front = eventfd(0, EFD_NONBLOCK);
}

/* Opens a disk of a daemon that says this. */
static struct blktap_disk *
open_said(const char *said, unsigned fds, char **why)
{
    struct blktap_options o = { .socket = path, .buffers = 163840 };
    struct blktap_disk *d;
    uint64_t n;

    while (read(to_back, &n, sizeof(n)) > 0 ||
           read(to_front, &n, sizeof(n)) > 0)
        ;
    answer = said;
    answer_fds = fds;
    pthread_create(&thread, NULL, answer_one, NULL);
    d = blktap_open("web", &o, why);
    pthread_join(thread, NULL);
    return d;
}

static struct blktap_disk *
open_good(void)
{
    char *why = NULL;
    struct blktap_disk *d = open_said(good, 3, &why);

    if (!d)
        printf("%s\n", why);
    REQUIRE(d);
    return d;
}

static void
close_all(struct blktap_disk *d)
{
    blktap_close(d);
    if (answer)
        close(client);
}

/* ---- the back-end -------------------------------------------------------- */

static struct blkif_sring *
ring(void)
{
    return (struct blkif_sring *)(void *)memory;
}

static struct blkif_request
request(uint32_t i)
{
    struct blkif_request r;

    memcpy(&r, &ring()->ring[i % 32].req, sizeof(r));
    return r;
}

static void
respond(uint64_t id, uint8_t op, int16_t status)
{
    struct blkif_sring *s = ring();
    struct blkif_response r = { .id = id, .operation = op, .status = status };
    uint64_t one = 1;

    memcpy(&s->ring[s->rsp_prod % 32].rsp, &r, sizeof(r));
    __atomic_store_n(&s->rsp_prod, s->rsp_prod + 1, __ATOMIC_RELEASE);
    CHECK_EQ(write(to_front, &one, sizeof(one)), 8);
}

static bool
notified(void)
{
    uint64_t n;

    return read(to_back, &n, sizeof(n)) == sizeof(n);
}

/* ---- requests ------------------------------------------------------------ */

static unsigned ended;
static int last_error;

static void
over(struct blktap_req *r)
{
    ended++;
    last_error = r->error;
}

static char data[1 << 20];

static struct blktap_req
make(enum blktap_op op, uint64_t off, uint64_t len)
{
    return (struct blktap_req){
        .op = op, .off = off, .len = len, .buf = data, .done = over
    };
}

static void
asks_for_what_was_wanted(void)
{
    struct blktap_disk *d = open_good();
    const struct blktap_info *info = blktap_info(d);

    CHECK(strstr(asked, "\"front\""));
    CHECK(strstr(asked, "\"web\",\"queues=1\",\"ring-order=0\","
                        "\"buffers=163840\",\"name=lib_app\""));
    CHECK_EQ(info->size, 1048576);
    CHECK_EQ(info->depth, 32);
    CHECK_EQ(info->max_len, 32 * PAGE);
    CHECK_EQ(info->physical_block, 4096);
    CHECK(info->flush && !info->readonly);
    close_all(d);
}

static void
writes_by_pages(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req r = make(BLKTAP_WRITE, 8192, 2 * PAGE + 512);
    struct blkif_request e;
    int i;

    for (i = 0; i < 3 * PAGE; i++)
        data[i] = (char)(i / 512);
    ended = 0;
    CHECK_EQ(blktap_submit(d, &r), 0);
    CHECK(!notified());
    blktap_kick(d);
    CHECK(notified());
    CHECK_EQ(ring()->req_prod, 1);
    e = request(0);
    CHECK_EQ(e.operation, BLKIF_OP_WRITE);
    CHECK_EQ(e.sector_number, 16);
    CHECK_EQ(e.nr_segments, 3);
    CHECK_EQ(e.seg[1].last_sect, 7);
    CHECK_EQ(e.seg[2].last_sect, 0);
    for (i = 0; i < 3; i++)
        CHECK(!memcmp(memory + (size_t)e.seg[i].gref * PAGE, data + i * PAGE,
                      i < 2 ? PAGE : 512));
    CHECK_EQ(blktap_reap(d), 0);
    respond(e.id, BLKIF_OP_WRITE, BLKIF_RSP_OKAY);
    CHECK_EQ(blktap_wait(d, 1000), 1);
    CHECK_EQ(ended, 1);
    CHECK_EQ(last_error, 0);
    close_all(d);
}

static void
reads_and_tells_errors(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req r = make(BLKTAP_READ, 0, 1024);
    struct blkif_request e;
    struct pollfd p = { .fd = blktap_fd(d), .events = POLLIN };

    memset(data, 0, 2048);
    CHECK_EQ(blktap_submit(d, &r), 0);
    blktap_kick(d);
    CHECK_EQ(poll(&p, 1, 0), 0);
    e = request(0);
    memset(memory + (size_t)e.seg[0].gref * PAGE, 'x', PAGE);
    respond(e.id, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(blktap_reap(d), 1);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK(data[0] == 'x' && data[1023] == 'x' && !data[1024]);
    CHECK_EQ(blktap_submit(d, &r), 0);
    blktap_kick(d);
    respond(request(1).id, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    CHECK_EQ(blktap_reap(d), 1);
    CHECK_EQ(last_error, -EIO);
    close_all(d);
}

static void
uses_a_list_for_many_pages(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req r = make(BLKTAP_READ, 0, 20 * PAGE);
    struct blkif_request e;
    struct blkif_request_indirect i;
    const struct blkif_request_segment *list;

    CHECK_EQ(blktap_submit(d, &r), 0);
    blktap_kick(d);
    e = request(0);
    memcpy(&i, &e, sizeof(i));
    CHECK_EQ(i.operation, BLKIF_OP_INDIRECT);
    CHECK_EQ(i.nr_segments, 20);
    CHECK(i.indirect_grefs[0] >= 1 && i.indirect_grefs[0] < 33);
    list = (const void *)(memory + (size_t)i.indirect_grefs[0] * PAGE);
    CHECK(list[19].gref >= 33 && list[19].gref < PAGES);
    respond(i.id, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    CHECK_EQ(blktap_reap(d), 1);
    close_all(d);
}

/* 40 data pages: three requests of 11 fit, and the one that comes after an
 * answer. */
static void
waits_for_pages(void)
{
    static struct blktap_req r[4];
    struct blktap_disk *d = open_good();
    int i;

    for (i = 0; i < 4; i++) {
        r[i] = make(BLKTAP_READ, 0, 11 * PAGE);
        CHECK_EQ(blktap_submit(d, &r[i]), i < 3 ? 0 : -EAGAIN);
    }
    blktap_kick(d);
    respond(request(1).id, BLKIF_OP_READ, 0);
    CHECK_EQ(blktap_reap(d), 1);
    CHECK_EQ(blktap_submit(d, &r[3]), 0);
    ended = 0;
    close_all(d);
    CHECK_EQ(ended, 3);
    CHECK_EQ(last_error, -ECANCELED);
}

static void
is_full_with_the_ring(void)
{
    static struct blktap_req r[33];
    struct blktap_disk *d = open_good();
    int i;

    for (i = 0; i < 33; i++) {
        r[i] = make(BLKTAP_FLUSH, 0, 0);
        CHECK_EQ(blktap_submit(d, &r[i]), i < 32 ? 0 : -EAGAIN);
    }
    close_all(d);
}

static void
refuses_bad_requests(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req bad[] = {
        make(BLKTAP_READ, 0, 0),
        make(BLKTAP_READ, 1, 512),
        make(BLKTAP_READ, 0, 513),
        make(BLKTAP_READ, 1048576, 512),
        make(BLKTAP_READ, UINT64_MAX - 511, 512),
        make(BLKTAP_READ, 0, 33 * PAGE),
        make(BLKTAP_DISCARD, 0, UINT64_MAX - 511),
        make(BLKTAP_FLUSH, 0, 512),
        make((enum blktap_op)9, 0, 512),
        make(BLKTAP_READ, 0, 512),
        make(BLKTAP_READ, 0, 512),
    };
    size_t i, n = sizeof(bad) / sizeof(bad[0]);

    bad[n - 1].queue = 1;
    bad[n - 2].buf = NULL;
    for (i = 0; i < n; i++) {
        if (blktap_submit(d, &bad[i]) != -EINVAL)
            test_fail(__FILE__, __LINE__, "bad request %zu was taken", i);
    }
    close_all(d);
    d = open_said("{\"result\":{" GOOD ",\"readonly\":true}}\n", 3, NULL);
    REQUIRE(d);
    bad[0] = make(BLKTAP_WRITE, 0, 512);
    CHECK_EQ(blktap_submit(d, &bad[0]), -EROFS);
    close_all(d);
}

/* ---- a daemon that is broken, or gone ------------------------------------ */

static void
sees_the_daemon_go(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req r = make(BLKTAP_READ, 0, 512);
    struct pollfd p = { .fd = blktap_fd(d), .events = POLLIN };

    CHECK_EQ(blktap_submit(d, &r), 0);
    blktap_kick(d);
    respond(request(0).id, BLKIF_OP_READ, 0);
    close(client);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(blktap_reap(d), 1); /* what was answered comes first */
    CHECK_EQ(poll(&p, 1, 0), 1); /* and who polls hears of the rest */
    CHECK_EQ(blktap_reap(d), -EPIPE);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(blktap_submit(d, &r), 0);
    CHECK_EQ(blktap_wait(d, -1), -EPIPE);
    ended = 0;
    blktap_close(d);
    CHECK_EQ(ended, 1);
}

static void
sees_a_broken_ring(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req r = make(BLKTAP_READ, 0, 512);

    CHECK_EQ(blktap_submit(d, &r), 0);
    blktap_kick(d);
    respond(17, BLKIF_OP_READ, 0);
    CHECK_EQ(blktap_wait(d, 1000), -EPROTO);
    CHECK_EQ(blktap_reap(d), -EPROTO);
    close_all(d);
}

static void
waits_no_longer_than_asked(void)
{
    struct blktap_disk *d = open_good();
    struct blktap_req r = make(BLKTAP_READ, 0, 512);

    CHECK_EQ(blktap_wait(d, -1), 0); /* nothing to wait for */
    CHECK_EQ(blktap_submit(d, &r), 0);
    CHECK_EQ(blktap_wait(d, 20), 0);
    close_all(d);
}

static void
says_why_not(void)
{
    static const struct {
        const char *said;
        unsigned fds;
        const char *why;
    } cases[] = {
        { "{\"error\":\"there is no disk\"}\n", 0, "there is no disk" },
        { NULL, 0, "the daemon hung up" },
        { "nonsense\n", 0, "the daemon's answer is not a JSON object" },
        { "[]\n", 0, "the daemon's answer is not a JSON object" },
        { "{}\n", 0, "neither a result nor an error" },
        { "{\"result\":null}\n", 3, "makes no sense" },
        { good, 0, "makes no sense" },
        { good, 2, "makes no sense" },
        { "{\"result\":{\"queues\":1,\"pages\":33,\"max_len\":512,"
          "\"indirect\":32}}\n",
          3, "makes no sense" }, /* no data pages */
        { "{\"result\":{\"queues\":1,\"pages\":9,\"max_len\":511}}\n", 3,
          "makes no sense" },
        { "{\"result\":{\"queues\":17,\"pages\":99,\"max_len\":512}}\n", 3,
          "makes no sense" },
        { "{\"result\":{\"queues\":1,\"pages\":99,\"ring_order\":5,"
          "\"max_len\":512}}\n",
          3, "makes no sense" },
        { "{\"result\":{\"queues\":1,\"pages\":74,\"max_len\":512}}\n", 3,
          "can't use the daemon's rings" }, /* the memfd is shorter */
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *why = NULL;

        CHECK(!open_said(cases[i].said, cases[i].fds, &why));
        if (!why || !strstr(why, cases[i].why))
            test_fail(__FILE__, __LINE__, "said \"%s\", expected \"%s\"",
                      why ? why : "(nothing)", cases[i].why);
        free(why);
        if (answer)
            close(client);
    }
}

static void
says_that_nobody_is_there(void)
{
    struct blktap_options o = { .socket = "/nowhere/at/all" };
    char *why = NULL;

    CHECK(!blktap_open("web", &o, &why));
    CHECK_STR(why, "can't reach the daemon on /nowhere/at/all: No such file "
                   "or directory (is blktapd running?)");
    free(why);
    CHECK(!blktap_open("web", &o, NULL));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    daemon_make();
    TEST(asks_for_what_was_wanted);
    TEST(writes_by_pages);
    TEST(reads_and_tells_errors);
    TEST(uses_a_list_for_many_pages);
    TEST(waits_for_pages);
    TEST(is_full_with_the_ring);
    TEST(refuses_bad_requests);
    TEST(sees_the_daemon_go);
    TEST(sees_a_broken_ring);
    TEST(waits_no_longer_than_asked);
    TEST(says_why_not);
    TEST(says_that_nobody_is_there);
    unlink(path);
    rmdir(dir);
    return test_end();
}
