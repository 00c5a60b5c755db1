/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_uring.c: what the kernel rarely does to an io_uring: it would not take
 * a submission, asks for another try, has no ring to give, can't register.
 * This program stands between the loop and liburing.
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/host.h"
#include "tests/test.h"

enum { MANY = 3000, BLOCK = 512 };

static int refuse_submit; /* the next so many: -EAGAIN */
static unsigned
    again_one_in; /* one completion in so many is -EAGAIN; 0: none */
static unsigned submits, seen; /* calls, completions */
static int no_ring, no_table;  /* errors of the set-up */
static unsigned inflight_max;
static unsigned cq_entries;
static struct io_uring *the_ring; /* the loop's */

static void *
real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int
io_uring_submit(struct io_uring *ring)
{
    int (*fn)(struct io_uring *);

    if (refuse_submit) {
        refuse_submit--;
        return refuse_submit % 2 ? -EAGAIN : -EBUSY;
    }
    submits++;
    *(void **)&fn = real("io_uring_submit");
    return fn(ring);
}

unsigned
io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                        unsigned count)
{
    unsigned (*fn)(struct io_uring *, struct io_uring_cqe **, unsigned), n;

    *(void **)&fn = real("io_uring_peek_batch_cqe");
    n = fn(ring, cqes, count);
    for (unsigned i = 0; i < n; i++) {
        if (again_one_in && ++seen % again_one_in == 0)
            cqes[i]->res = seen % 2 ? -EAGAIN : -EINTR;
    }
    if (io_uring_cq_ready(ring) > inflight_max)
        inflight_max = io_uring_cq_ready(ring);
    CHECK(!io_uring_cq_has_overflow(ring));
    return n;
}

int
io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                           struct io_uring_params *p)
{
    int (*fn)(unsigned, struct io_uring *, struct io_uring_params *), err;

    if (no_ring)
        return no_ring;
    /* As a kernel before 5.19. */
    if (p->flags & IORING_SETUP_COOP_TASKRUN && refuse_submit)
        return -EINVAL;
    *(void **)&fn = real("io_uring_queue_init_params");
    err = fn(entries, ring, p);
    cq_entries = p->cq_entries;
    the_ring = ring;
    return err;
}

int
io_uring_register_buffers_sparse(struct io_uring *ring, unsigned nr)
{
    int (*fn)(struct io_uring *, unsigned);

    if (no_table)
        return no_table;
    *(void **)&fn = real("io_uring_register_buffers_sparse");
    return fn(ring, nr);
}

/* ---- the loop over it ---------------------------------------------------- */

static struct loop *loop;
static struct blk_file *file;
static char path[] = "/tmp/host_uring.XXXXXX";
static unsigned left;

static void
opened(struct blk_open *o)
{
    file = o->file;
    loop->ops->stop(loop);
}

static void
setup(void)
{
    struct loop_posix_options opt = { .workers = 2, .io_entries = 32 };
    struct blk_open o = { .path = path, .done = opened };
    char why[200] = "";

    again_one_in = submits = seen = inflight_max = 0;
    REQUIRE(!loop_posix_new(&loop, "test", &opt, why, sizeof why));
    loop->ops->file_open(loop, &o);
    loop->ops->run(loop);
    REQUIRE(!o.status);
}

static void
teardown(void)
{
    loop->ops->file_close(loop, file);
    loop->ops->free(loop);
    refuse_submit = no_ring = no_table = 0;
    again_one_in = 0;
}

static struct blk_io io[MANY];
static struct iovec iov[MANY];
static char data[MANY][BLOCK], back[MANY][BLOCK];

static void
io_done(struct blk_io *i)
{
    CHECK_EQ(i->status, BLOCK);
    CHECK(!i->data); /* never twice */
    i->data = i;
    if (!--left)
        loop->ops->stop(loop);
}

static void
pass(enum blk_io_op op, char buf[][BLOCK])
{
    left = MANY;
    for (unsigned i = 0; i < MANY; i++) {
        iov[i] = (struct iovec){ buf[i], BLOCK };
        io[i] = (struct blk_io){ .op = op,
                                 .file = file,
                                 .off = i * BLOCK,
                                 .len = BLOCK,
                                 .iov = &iov[i],
                                 .n = 1,
                                 .done = io_done };
        loop->ops->io(loop, &io[i]);
    }
    alarm(200);
    loop->ops->run(loop);
    alarm(0);
    CHECK_EQ(left, 0);
}

static void
write_and_read_back(void)
{
    for (unsigned i = 0; i < MANY; i++)
        memset(data[i], (int)(i * 7 + submits), BLOCK);
    memset(back, 0, sizeof back);
    pass(BLK_IO_WRITE, data);
    pass(BLK_IO_READ, back);
    CHECK(!memcmp(data, back, sizeof data));
}

static void
as_it_should_be(void)
{
    setup();
    write_and_read_back();
    CHECK(inflight_max <= cq_entries);
    teardown();
}

/* One call for all that was started in a round. */
static void
one_submission_per_round(void)
{
    setup();
    submits = 0;
    left = 20;
    for (unsigned i = 0; i < 20; i++) {
        iov[i] = (struct iovec){ back[i], BLOCK };
        io[i] = (struct blk_io){ .op = BLK_IO_READ,
                                 .file = file,
                                 .len = BLOCK,
                                 .iov = &iov[i],
                                 .n = 1,
                                 .done = io_done };
        loop->ops->io(loop, &io[i]);
    }
    CHECK_EQ(submits, 0);
    loop->ops->run(loop);
    CHECK_EQ(submits, 1);
    teardown();
}

static void
submissions_are_refused(void)
{
    refuse_submit = 1; /* also: the old kernel's way to make a ring */
    setup();
    refuse_submit = 7;
    write_and_read_back();
    CHECK_EQ(refuse_submit, 0);
    teardown();
}

/* It is tried again, until it is done, and done once. */
static void
completions_ask_for_another_try(void)
{
    setup();
    again_one_in = 3;
    write_and_read_back();
    CHECK(seen > 2 * MANY * 4 / 3);
    teardown();
}

static void
ends(struct blk_io *i)
{
    left = 0;
    (void)i;
    loop->ops->stop(loop);
}

/* But not for ever. */
static void
trying_has_an_end(void)
{
    setup();
    again_one_in = 1;
    iov[0] = (struct iovec){ back[0], BLOCK };
    io[0] = (struct blk_io){ .op = BLK_IO_READ,
                             .file = file,
                             .len = BLOCK,
                             .iov = iov,
                             .n = 1,
                             .done = ends };
    loop->ops->io(loop, &io[0]);
    alarm(200);
    loop->ops->run(loop);
    alarm(0);
    CHECK(io[0].status == -EAGAIN || io[0].status == -EINTR);
    again_one_in = 0;
    teardown();
}

static void
there_is_no_io_uring(void)
{
    no_ring = -ENOSYS;
    setup();
    write_and_read_back();
    CHECK_EQ(submits, 0);
    CHECK_EQ(loop->ops->buffer_add(loop, data, sizeof data), -EOPNOTSUPP);
    teardown();
}

static void
buffers_can_not_be_registered(void)
{
    setup();
    no_table = -ENOMEM;
    CHECK_EQ(loop->ops->buffer_add(loop, data, sizeof data), -ENOMEM);
    write_and_read_back();
    loop->ops->buffer_remove(loop, data, sizeof data);
    no_table = 0;
    CHECK_EQ(loop->ops->buffer_add(loop, data, sizeof data), 0);
    write_and_read_back();
    loop->ops->buffer_remove(loop, data, sizeof data);
    teardown();
}

/* What the kernel says to one entry, past the loop. */
static int
answer_to(uint8_t op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(the_ring);
    struct io_uring_cqe *cqe;
    int result;

    REQUIRE(sqe);
    io_uring_prep_rw(op, sqe, AT_FDCWD, "/etc/passwd", 0, 0);
    CHECK_EQ(io_uring_submit(the_ring), 1);
    REQUIRE(!io_uring_wait_cqe(the_ring, &cqe));
    result = cqe->res;
    io_uring_cqe_seen(the_ring, cqe);
    return result;
}

/* Through a ring a process gets past its filter of system calls; so ours takes
 * nothing but reads, writes, syncs and what gives space back, and can't be told
 * otherwise. */
static void
it_is_restricted(void)
{
    static const uint8_t refused[] = {
        IORING_OP_OPENAT,      IORING_OP_OPENAT2,  IORING_OP_CLOSE,
        IORING_OP_STATX,       IORING_OP_CONNECT,  IORING_OP_ACCEPT,
        IORING_OP_SENDMSG,     IORING_OP_RECVMSG,  IORING_OP_SEND,
        IORING_OP_RECV,        IORING_OP_SPLICE,   IORING_OP_TEE,
        IORING_OP_RENAMEAT,    IORING_OP_UNLINKAT, IORING_OP_SYMLINKAT,
        IORING_OP_LINKAT,      IORING_OP_MKDIRAT,  IORING_OP_EPOLL_CTL,
        IORING_OP_FADVISE,     IORING_OP_MADVISE,  IORING_OP_SHUTDOWN,
        IORING_OP_POLL_ADD,    IORING_OP_TIMEOUT,  IORING_OP_NOP,
        IORING_OP_FILES_UPDATE
    };
    struct io_uring_probe probe = { 0 };

    setup();
    for (size_t i = 0; i < sizeof refused; i++)
        CHECK_EQ(answer_to(refused[i]), -EACCES);
    CHECK(answer_to(IORING_OP_FSYNC) != -EACCES);
    CHECK(syscall(__NR_io_uring_register, the_ring->ring_fd,
                  IORING_REGISTER_PROBE, &probe, 1) < 0 &&
          errno == EACCES);
    CHECK(syscall(__NR_io_uring_register, the_ring->ring_fd,
                  IORING_REGISTER_RESTRICTIONS, &probe, 1) < 0);
    write_and_read_back();
    teardown();
}

/* free() waits for what the kernel still writes into our memory. */
static void
freed_with_io_in_flight(void)
{
    struct loop_posix_options opt = { .workers = 1, .io_entries = 32 };
    struct blk_open o = { .path = path, .done = opened };
    char why[200] = "";

    for (int k = 0; k < 20; k++) {
        char *buf = malloc(64 * BLOCK);

        REQUIRE(!loop_posix_new(&loop, "test", &opt, why, sizeof why));
        loop->ops->file_open(loop, &o);
        loop->ops->run(loop);
        left = 1 << 30;
        for (unsigned i = 0; i < 64; i++) {
            iov[i] = (struct iovec){ buf + i * BLOCK, BLOCK };
            io[i] = (struct blk_io){ .op = BLK_IO_READ,
                                     .file = file,
                                     .off = i * BLOCK,
                                     .len = BLOCK,
                                     .iov = &iov[i],
                                     .n = 1,
                                     .done = io_done };
            loop->ops->io(loop, &io[i]);
        }
        loop->ops->stop(loop);
        loop->ops->run(loop);
        loop->ops->file_close(loop, file);
        loop->ops->free(loop);
        free(buf);
    }
}

int
main(int argc, char **argv)
{
    int fd = mkstemp(path);

    test_args(argc, argv);
    REQUIRE(fd >= 0 && !ftruncate(fd, sizeof data));
    TEST(as_it_should_be);
    TEST(one_submission_per_round);
    TEST(submissions_are_refused);
    TEST(completions_ask_for_another_try);
    TEST(trying_has_an_end);
    TEST(there_is_no_io_uring);
    TEST(buffers_can_not_be_registered);
    TEST(it_is_restricted);
    TEST(freed_with_io_in_flight);
    unlink(path);
    close(fd);
    return test_end();
}
