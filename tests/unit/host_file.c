/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_file.c: every operation on a file, by io_uring and by worker threads,
 * which must give the same results, on each file system that is at hand.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/host.h"
#include "tests/test.h"

enum { KIB = 1024, MIB = 1024 * KIB, FILE_SIZE = 4 * MIB };

static struct loop *loop;
static unsigned io_entries; /* 0: no io_uring */
static char dir[64];        /* on the file system under test */
static char path[100];

static void
setup(void)
{
    struct loop_posix_options opt = { .workers = 2, .io_entries = io_entries };
    char why[200] = "";

    REQUIRE(!loop_posix_new(&loop, "test", &opt, why, sizeof why));
    snprintf(path, sizeof path, "%s/image", dir);
    unlink(path);
}

static void
teardown(void)
{
    loop->ops->free(loop);
    unlink(path);
}

/* ---- one thing at a time ------------------------------------------------- */

static void
opened(struct blk_open *o)
{
    (void)o;
    loop->ops->stop(loop);
}

static int
open_at(struct blk_open *o, const char *name, uint32_t flags)
{
    *o = (struct blk_open){
        .path = name, .flags = flags, .mode = 0600, .done = opened
    };
    loop->ops->file_open(loop, o);
    loop->ops->run(loop);
    return o->status;
}

static struct blk_file *
image(uint32_t flags)
{
    struct blk_open o;
    struct blk_file *f;

    if (open_at(&o, path, flags | BLK_FILE_CREATE))
        test_fail(__FILE__, __LINE__, "%s", o.why);
    REQUIRE(!o.status);
    f = o.file;
    CHECK_EQ(truncate(path, FILE_SIZE), 0);
    return f;
}

static bool is_done;

static void
io_done(struct blk_io *io)
{
    (void)io;
    is_done = true;
    loop->ops->stop(loop);
}

static int64_t
go(struct blk_io *io)
{
    io->done = io_done;
    is_done = false;
    loop->ops->io(loop, io);
    CHECK(!is_done); /* never from inside the call */
    loop->ops->run(loop);
    return io->status;
}

static int64_t
transfer(struct blk_file *f, enum blk_io_op op, void *p, size_t len,
         uint64_t off, bool fua)
{
    struct iovec v = { p, len };
    struct blk_io io = { .op = op,
                         .file = f,
                         .off = off,
                         .len = len,
                         .iov = &v,
                         .n = 1,
                         .fua = fua };

    return go(&io);
}

static int64_t
range(struct blk_file *f, enum blk_io_op op, uint64_t off, uint64_t len)
{
    struct blk_io io = { .op = op, .file = f, .off = off, .len = len };

    return go(&io);
}

static void
fill(char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 251 + seed);
}

static bool
all_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i])
            return false;
    }
    return true;
}

static void *
aligned(size_t n)
{
    void *p = NULL;

    REQUIRE(!posix_memalign(&p, 4096, n));
    return p;
}

/* ---- reading and writing ------------------------------------------------- */

static void
what_is_written_is_read(void)
{
    char *a = aligned(64 * KIB), *b = aligned(64 * KIB);
    struct blk_file *f;

    setup();
    f = image(0);
    fill(a, 64 * KIB, 1);
    CHECK_EQ(transfer(f, BLK_IO_WRITE, a, 64 * KIB, 8 * KIB, false), 64 * KIB);
    CHECK_EQ(transfer(f, BLK_IO_READ, b, 64 * KIB, 8 * KIB, false), 64 * KIB);
    CHECK(!memcmp(a, b, 64 * KIB));
    CHECK_EQ(transfer(f, BLK_IO_WRITE, a, 4 * KIB, 0, true), 4 * KIB);
    CHECK_EQ(range(f, BLK_IO_SYNC, 0, 0), 0);
    CHECK_EQ(transfer(f, BLK_IO_READ, b, 8 * KIB, 0, false), 8 * KIB);
    CHECK(!memcmp(a, b, 4 * KIB) && all_zero(b + 4 * KIB, 4 * KIB));
    loop->ops->file_close(loop, f);
    teardown();
    free(a);
    free(b);
}

static void
a_scatter_list(void)
{
    char *a = aligned(16 * KIB), *b = aligned(16 * KIB);
    struct iovec v[3] = { { a + 8 * KIB, 4 * KIB },
                          { a, 8 * KIB },
                          { a + 12 * KIB, 4 * KIB } };
    struct blk_io io = {
        .op = BLK_IO_WRITE, .off = 12 * KIB, .len = 16 * KIB, .iov = v, .n = 3
    };

    setup();
    io.file = image(0);
    fill(a, 16 * KIB, 2);
    CHECK_EQ(go(&io), 16 * KIB);
    CHECK_EQ(transfer(io.file, BLK_IO_READ, b, 16 * KIB, 12 * KIB, false),
             16 * KIB);
    CHECK(!memcmp(b, a + 8 * KIB, 4 * KIB));
    CHECK(!memcmp(b + 4 * KIB, a, 8 * KIB));
    memset(a, 0, 16 * KIB);
    io.op = BLK_IO_READ;
    CHECK_EQ(go(&io), 16 * KIB);
    CHECK(!memcmp(b, a + 8 * KIB, 4 * KIB));
    CHECK(!memcmp(b + 12 * KIB, a + 12 * KIB, 4 * KIB));
    loop->ops->file_close(loop, io.file);
    teardown();
    free(a);
    free(b);
}

static void
short_and_failed(void)
{
    char *a = aligned(16 * KIB);
    struct blk_open o;
    struct blk_file *f;

    setup();
    f = image(0);
    CHECK_EQ(transfer(f, BLK_IO_READ, a, 16 * KIB, FILE_SIZE - 4 * KIB, false),
             4 * KIB);
    CHECK_EQ(transfer(f, BLK_IO_READ, a, 4 * KIB, 2 * FILE_SIZE, false), 0);
    CHECK_EQ(transfer(f, BLK_IO_READ, (void *)16, 4 * KIB, 0, false), -EFAULT);
    CHECK_EQ(open_at(&o, path, BLK_FILE_RDONLY), 0);
    CHECK_EQ(transfer(o.file, BLK_IO_WRITE, a, 4 * KIB, 0, false), -EBADF);
    CHECK_EQ(transfer(o.file, BLK_IO_READ, a, 4 * KIB, 0, false), 4 * KIB);
    loop->ops->file_close(loop, o.file);
    loop->ops->file_close(loop, f);
    teardown();
    free(a);
}

static void
holes_zeroes_and_size(void)
{
    char *a = aligned(64 * KIB), *b = aligned(64 * KIB);
    struct blk_open o;
    struct blk_file *f;
    struct stat st;

    setup();
    f = image(0);
    fill(a, 64 * KIB, 3);
    memset(a, 'x', 64 * KIB);
    CHECK_EQ(transfer(f, BLK_IO_WRITE, a, 64 * KIB, 0, false), 64 * KIB);
    CHECK_EQ(range(f, BLK_IO_PUNCH, 8 * KIB, 8 * KIB), 0);
    CHECK_EQ(range(f, BLK_IO_ZERO, 32 * KIB, 8 * KIB), 0);
    CHECK_EQ(range(f, BLK_IO_ZERO, 48 * KIB, 512), 0); /* learned by now */
    CHECK_EQ(transfer(f, BLK_IO_READ, b, 64 * KIB, 0, false), 64 * KIB);
    CHECK(all_zero(b + 8 * KIB, 8 * KIB) && all_zero(b + 32 * KIB, 8 * KIB));
    CHECK(all_zero(b + 48 * KIB, 512));
    CHECK_EQ(b[48 * KIB + 512], 'x');
    CHECK(!memcmp(a, b, 8 * KIB));
    CHECK(!memcmp(a + 16 * KIB, b + 16 * KIB, 16 * KIB));
    CHECK(!memcmp(a + 40 * KIB, b + 40 * KIB, 8 * KIB));
    CHECK(!memcmp(a + 52 * KIB, b + 52 * KIB, 12 * KIB));
    /* Zeroes behind the end make the file longer, as writing them would. */
    CHECK_EQ(range(f, BLK_IO_ZERO, FILE_SIZE, 4 * KIB), 0);
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_size, FILE_SIZE + 4 * KIB);
    CHECK_EQ(range(f, BLK_IO_TRUNCATE, 12 * KIB, 0), 0);
    o = (struct blk_open){ .file = f, .done = opened };
    loop->ops->file_stat(loop, &o);
    loop->ops->run(loop);
    CHECK_EQ(o.status, 0);
    CHECK_EQ(o.info.size, 12 * KIB);
    CHECK_EQ(range(f, BLK_IO_TRUNCATE, FILE_SIZE, 0), 0);
    CHECK_EQ(transfer(f, BLK_IO_READ, b, 4 * KIB, 16 * KIB, false), 4 * KIB);
    CHECK(all_zero(b, 4 * KIB));
    loop->ops->file_close(loop, f);
    teardown();
    free(a);
    free(b);
}

static void
direct_where_possible(void)
{
    char *a = aligned(64 * KIB), *b = aligned(64 * KIB);
    struct blk_open o;

    setup();
    loop->ops->file_close(loop, image(0));
    CHECK_EQ(open_at(&o, path, BLK_FILE_DIRECT), 0);
    CHECK(o.info.block >= 512 && o.info.block <= 4096);
    CHECK(o.info.physical >= o.info.block);
    CHECK(o.info.mem_align >= 1 && o.info.mem_align <= 4096);
    CHECK_EQ(o.info.size, FILE_SIZE);
    CHECK(!o.info.device);
    CHECK(o.info.discard_align >= 512);
    CHECK(o.info.direct || o.info.mem_align == 1);
    /* A registered buffer must be whole blocks, piece by piece. */
    CHECK(!o.info.direct || o.info.mem_align >= o.info.block);
    fill(a, 64 * KIB, 4);
    CHECK_EQ(transfer(o.file, BLK_IO_WRITE, a, 64 * KIB, 0, false), 64 * KIB);
    CHECK_EQ(range(o.file, BLK_IO_ZERO, 4 * KIB, 8 * KIB), 0);
    CHECK_EQ(transfer(o.file, BLK_IO_READ, b, 64 * KIB, 0, false), 64 * KIB);
    CHECK(!memcmp(a, b, 4 * KIB) && all_zero(b + 4 * KIB, 8 * KIB));
    CHECK(!memcmp(a + 12 * KIB, b + 12 * KIB, 52 * KIB));
    loop->ops->file_close(loop, o.file);
    teardown();
    free(a);
    free(b);
}

/* ---- many ---------------------------------------------------------------- */

enum { MANY = 10000 };

static unsigned many_left;

static void
one_of_many(struct blk_io *io)
{
    CHECK_EQ(io->status, 512);
    if (!--many_left)
        loop->ops->stop(loop);
}

/* Far more than the ring holds: none is lost, none is done twice. */
static void
ten_thousand_at_once(void)
{
    struct blk_io *io = calloc(MANY, sizeof *io);
    struct iovec *v = calloc(MANY, sizeof *v);
    char *data = aligned((size_t)MANY * 512);
    char *back = aligned((size_t)MANY * 512);
    struct blk_file *f;

    setup();
    f = image(0);
    for (size_t i = 0; i < (size_t)MANY * 512; i++)
        data[i] = (char)(i / 512 * 31 + i);
    for (int pass = 0; pass < 2; pass++) {
        many_left = MANY;
        for (unsigned i = 0; i < MANY; i++) {
            v[i] = (struct iovec){ (pass ? back : data) + i * 512, 512 };
            io[i] = (struct blk_io){ .op = pass ? BLK_IO_READ : BLK_IO_WRITE,
                                     .file = f,
                                     .off = i * 512,
                                     .len = 512,
                                     .iov = &v[i],
                                     .n = 1,
                                     .done = one_of_many };
            loop->ops->io(loop, &io[i]);
        }
        loop->ops->run(loop);
        CHECK_EQ(many_left, 0);
    }
    CHECK(!memcmp(data, back, (size_t)MANY * 512));
    loop->ops->file_close(loop, f);
    teardown();
    free(io);
    free(v);
    free(data);
    free(back);
}

/* ---- registered buffers -------------------------------------------------- */

static void
registered_or_not_is_the_same(void)
{
    enum { LEN = 256 * KIB };
    struct blk_file *f;
    char *outside = aligned(64 * KIB), *m;
    void *addr;
    int err;

    setup();
    f = image(BLK_FILE_DIRECT);
    REQUIRE(!host_memory("buffers", LEN, &addr, NULL));
    m = addr;
    err = loop->ops->buffer_add(loop, m, LEN);
    CHECK(io_entries ? !err || err == -ENOMEM : err == -EOPNOTSUPP);
    if (!err)
        CHECK_EQ(loop->ops->buffer_add(loop, m + 4096, 4096), -EEXIST);
    fill(m, LEN, 5);
    CHECK_EQ(transfer(f, BLK_IO_WRITE, m, LEN, 0, false), LEN);
    CHECK_EQ(transfer(f, BLK_IO_WRITE, m, 4 * KIB, LEN, true), 4 * KIB);
    CHECK_EQ(transfer(f, BLK_IO_READ, outside, 64 * KIB, 64 * KIB, false),
             64 * KIB);
    CHECK(!memcmp(outside, m + 64 * KIB, 64 * KIB));
    memset(m, 0, LEN);
    CHECK_EQ(transfer(f, BLK_IO_READ, m + 8 * KIB, 64 * KIB, 64 * KIB, false),
             64 * KIB);
    CHECK(!memcmp(outside, m + 8 * KIB, 64 * KIB));
    loop->ops->buffer_remove(loop, m, LEN);
    memset(m, 0, LEN);
    CHECK_EQ(transfer(f, BLK_IO_READ, m, 64 * KIB, 64 * KIB, false), 64 * KIB);
    CHECK(!memcmp(outside, m, 64 * KIB));
    CHECK_EQ(loop->ops->buffer_add(loop, m, LEN), err);
    loop->ops->buffer_remove(loop, m, LEN);
    loop->ops->file_close(loop, f);
    host_memory_free(addr, LEN, -1);
    teardown();
    free(outside);
}

/* ---- opening ------------------------------------------------------------- */

static void
what_can_not_be_opened_says_why(void)
{
    struct blk_open o;
    char name[120];

    setup();
    snprintf(name, sizeof name, "%s/none/image", dir);
    CHECK_EQ(open_at(&o, name, 0), -ENOENT);
    CHECK(strstr(o.why, name) && strstr(o.why, "No such file"));
    CHECK(!o.file);
    CHECK_EQ(open_at(&o, dir, BLK_FILE_RDONLY), -EISDIR);
    CHECK(strstr(o.why, "expected a file or a block device"));
    CHECK(strstr(o.why, "directory"));
    CHECK_EQ(open_at(&o, "/dev/null", 0), -EINVAL);
    CHECK(strstr(o.why, "character device"));
    snprintf(name, sizeof name, "%s/fifo", dir);
    CHECK_EQ(mkfifo(name, 0600), 0);
    CHECK_EQ(open_at(&o, name, BLK_FILE_RDONLY), -EINVAL);
    CHECK(strstr(o.why, "FIFO"));
    unlink(name);
    loop->ops->file_close(loop, image(0));
    CHECK_EQ(open_at(&o, path, BLK_FILE_CREATE | BLK_FILE_EXCL), -EEXIST);
    teardown();
}

static void
a_second_writer_is_refused(void)
{
    struct blk_open a, b, c;

    setup();
    loop->ops->file_close(loop, image(0));
    CHECK_EQ(open_at(&a, path, BLK_FILE_LOCK), 0);
    /* It must not have been truncated when it was refused. */
    CHECK_EQ(open_at(&b, path, BLK_FILE_LOCK | BLK_FILE_TRUNC), -EBUSY);
    CHECK(strstr(b.why, "another writer has it"));
    CHECK_EQ(open_at(&b, path, BLK_FILE_LOCK | BLK_FILE_RDONLY), -EBUSY);
    CHECK(strstr(b.why, "another writer has it"));
    CHECK_EQ(open_at(&b, path, 0), 0);
    CHECK_EQ(b.info.size, FILE_SIZE);
    loop->ops->file_close(loop, b.file);
    loop->ops->file_close(loop, a.file);
    /* Closing is for the workers; there are two of them. */
    for (int i = 0; i < 60000; i++) {
        if (!open_at(&b, path, BLK_FILE_LOCK | BLK_FILE_RDONLY))
            break;
        usleep(1000);
    }
    CHECK_EQ(b.status, 0);
    CHECK_EQ(open_at(&c, path, BLK_FILE_LOCK | BLK_FILE_RDONLY), 0);
    CHECK_EQ(open_at(&a, path, BLK_FILE_LOCK), -EBUSY);
    CHECK(strstr(a.why, "another reader has it"));
    loop->ops->file_close(loop, b.file);
    loop->ops->file_close(loop, c.file);
    teardown();
}

static void
truncate_and_append(void)
{
    char *a = aligned(4 * KIB), *b = aligned(8 * KIB);
    struct blk_open o;

    setup();
    loop->ops->file_close(loop, image(0));
    CHECK_EQ(open_at(&o, path, BLK_FILE_TRUNC | BLK_FILE_APPEND), 0);
    CHECK_EQ(o.info.size, 0);
    fill(a, 4 * KIB, 6);
    CHECK_EQ(transfer(o.file, BLK_IO_WRITE, a, 4 * KIB, 0, false), 4 * KIB);
    CHECK_EQ(transfer(o.file, BLK_IO_WRITE, a, 4 * KIB, 0, false), 4 * KIB);
    CHECK_EQ(transfer(o.file, BLK_IO_READ, b, 8 * KIB, 0, false), 8 * KIB);
    CHECK(!memcmp(a, b, 4 * KIB) && !memcmp(a, b + 4 * KIB, 4 * KIB));
    loop->ops->file_close(loop, o.file);
    teardown();
    free(a);
    free(b);
}

/* ---- a block device, where a loop device can be had ---------------------- */

static bool
attach(char *dev, size_t n)
{
    char cmd[240];
    FILE *p;
    bool ok;

    snprintf(cmd, sizeof cmd, "losetup --show -f '%s' 2>/dev/null", path);
    p = popen(cmd, "r");
    if (!p)
        return false;
    ok = fgets(dev, (int)n, p);
    pclose(p);
    dev[strcspn(dev, "\n")] = '\0';
    return ok && dev[0] == '/';
}

static void
a_block_device(void)
{
    char dev[64] = "", cmd[120];
    char *a = aligned(64 * KIB), *b = aligned(64 * KIB);
    struct blk_open o;

    setup();
    loop->ops->file_close(loop, image(0));
    if (!attach(dev, sizeof dev)) {
        printf("no loop device is to be had: left out\n");
        goto out;
    }
    CHECK_EQ(open_at(&o, dev, BLK_FILE_DIRECT | BLK_FILE_LOCK), 0);
    if (o.status)
        goto detach;
    CHECK(o.info.device);
    CHECK_EQ(o.info.size, FILE_SIZE);
    CHECK_EQ(o.info.block, 512);
    fill(a, 64 * KIB, 7);
    CHECK_EQ(transfer(o.file, BLK_IO_WRITE, a, 64 * KIB, 4096, false),
             64 * KIB);
    CHECK_EQ(range(o.file, BLK_IO_ZERO, 8192, 4096), 0);
    if (o.info.discard_align)
        CHECK_EQ(range(o.file, BLK_IO_PUNCH, 16384, 4096), 0);
    CHECK_EQ(range(o.file, BLK_IO_SYNC, 0, 0), 0);
    CHECK_EQ(transfer(o.file, BLK_IO_READ, b, 64 * KIB, 4096, false), 64 * KIB);
    CHECK(!memcmp(a, b, 4096) && all_zero(b + 4096, 4096));
    CHECK(!memcmp(a + 8192, b + 8192, 4096));
    CHECK(!memcmp(a + 16384, b + 16384, 48 * KIB));
    CHECK(range(o.file, BLK_IO_TRUNCATE, 0, 0) < 0);
    loop->ops->file_close(loop, o.file);
detach:
    snprintf(cmd, sizeof cmd, "losetup -d %s", dev);
    CHECK_EQ(system(cmd), 0);
out:
    teardown();
    free(a);
    free(b);
}

static void
on(const char *base, unsigned entries)
{
    io_entries = entries;
    snprintf(dir, sizeof dir, "%s/host_file.XXXXXX", base);
    REQUIRE(mkdtemp(dir));
    printf("# %s, %s\n", base, entries ? "io_uring" : "workers");
    TEST(what_is_written_is_read);
    TEST(a_scatter_list);
    TEST(short_and_failed);
    TEST(holes_zeroes_and_size);
    TEST(direct_where_possible);
    TEST(ten_thousand_at_once);
    TEST(registered_or_not_is_the_same);
    TEST(what_can_not_be_opened_says_why);
    TEST(a_second_writer_is_refused);
    TEST(truncate_and_append);
    TEST(a_block_device);
    rmdir(dir);
}

int
main(int argc, char **argv)
{
    static const char *const base[] = { "/tmp", "/dev/shm", "/var/tmp" };

    test_args(argc, argv);
    for (size_t i = 0; i < 2; i++) {
        if (access(base[i], W_OK))
            continue;
        on(base[i], 64);
        on(base[i], 0);
    }
    return test_end();
}
