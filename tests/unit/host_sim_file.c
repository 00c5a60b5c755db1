/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_sim_file.c: simulated files: what a crash leaves of them. */
#include "config.h"

#include <errno.h>

#include "host/sim.h"
#include "tests/test.h"

enum { SECTOR = 512, SECTORS = 64, SIZE = SECTORS * SECTOR };

static struct sim *sim;
static struct loop *loop;
static unsigned done;

static void
setup(uint64_t seed)
{
    sim = sim_new(seed);
    loop = sim_loop_new(sim, "data0");
    sim_file_make(sim, "/img", SIZE);
    done = 0;
}

static void
teardown(void)
{
    loop->ops->free(loop);
    sim_free(sim);
}

static void
opened(struct blk_open *o)
{
    (void)o;
    done++;
}

static int
open_file(struct blk_open *o, const char *name, uint32_t flags)
{
    *o = (struct blk_open){ .path = name, .flags = flags, .done = opened };
    done = 0;
    loop->ops->file_open(loop, o);
    CHECK_EQ(done, 0);
    CHECK(sim_run_all(sim, 1000));
    CHECK_EQ(done, 1);
    return o->status;
}

static struct blk_file *
image(uint32_t flags)
{
    struct blk_open o;

    REQUIRE(!open_file(&o, "/img", flags));
    return o.file;
}

static void
io_done(struct blk_io *io)
{
    (void)io;
    done++;
}

static void
start_io(struct blk_io *io, struct iovec *v, struct blk_file *f,
         enum blk_io_op op, void *p, size_t len, uint64_t off)
{
    *v = (struct iovec){ p, len };
    *io = (struct blk_io){ .op = op,
                           .file = f,
                           .off = off,
                           .len = len,
                           .iov = v,
                           .n = p ? 1 : 0,
                           .done = io_done };
    loop->ops->io(loop, io);
}

static int64_t
go(struct blk_file *f, enum blk_io_op op, void *p, size_t len, uint64_t off)
{
    struct blk_io io;
    struct iovec v;

    done = 0;
    start_io(&io, &v, f, op, p, len, off);
    CHECK_EQ(done, 0);
    CHECK(sim_run_all(sim, 1000));
    CHECK_EQ(done, 1);
    return io.status;
}

static void
the_operations(void)
{
    char a[4096], b[8192];
    struct blk_open o;
    struct blk_file *f;

    setup(1);
    f = image(0);
    memset(a, 'a', sizeof a);
    CHECK_EQ(go(f, BLK_IO_WRITE, a, sizeof a, 1000), 4096);
    CHECK_EQ(go(f, BLK_IO_READ, b, 2000, 0), 2000);
    CHECK(!b[999] && b[1000] == 'a' && b[1999] == 'a');
    CHECK_EQ(go(f, BLK_IO_READ, b, 4096, SIZE - 1000), 1000);
    CHECK_EQ(go(f, BLK_IO_READ, b, 4096, SIZE), 0);
    CHECK_EQ(go(f, BLK_IO_PUNCH, NULL, 512, 1024), 0);
    CHECK_EQ(go(f, BLK_IO_READ, b, 2048, 0), 2048);
    CHECK(b[1023] == 'a' && !b[1024] && !b[1535] && b[1536] == 'a');
    CHECK_EQ(go(f, BLK_IO_ZERO, NULL, 512, SIZE), 0);
    CHECK_EQ(sim_file_size(sim, "/img"), SIZE + 512);
    CHECK_EQ(go(f, BLK_IO_TRUNCATE, NULL, 0, 2000), 0);
    o = (struct blk_open){ .file = f, .done = opened };
    loop->ops->file_stat(loop, &o);
    sim_run_all(sim, 10);
    CHECK_EQ(o.info.size, 2000);
    CHECK_EQ(go(f, BLK_IO_TRUNCATE, NULL, 0, SIZE), 0);
    CHECK_EQ(go(f, BLK_IO_READ, b, 4096, 1536), 4096);
    CHECK(b[0] == 'a' && b[463] == 'a' && !b[464]);
    loop->ops->file_close(loop, f);
    teardown();
}

static void
opening(void)
{
    struct blk_open a, b, c;
    char x = 'x';

    setup(2);
    CHECK_EQ(open_file(&a, "/none", 0), -ENOENT);
    CHECK(strstr(a.why, "/none"));
    CHECK_EQ(open_file(&a, "/img", BLK_FILE_CREATE | BLK_FILE_EXCL), -EEXIST);
    CHECK_EQ(open_file(&a, "/new", BLK_FILE_CREATE | BLK_FILE_LOCK), 0);
    CHECK_EQ(a.info.size, 0);
    CHECK_EQ(open_file(&b, "/new", BLK_FILE_LOCK), -EBUSY);
    CHECK(strstr(b.why, "another writer has it"));
    CHECK_EQ(open_file(&b, "/new", BLK_FILE_LOCK | BLK_FILE_RDONLY), -EBUSY);
    loop->ops->file_close(loop, a.file);
    sim_run_all(sim, 10);
    CHECK_EQ(open_file(&b, "/new", BLK_FILE_LOCK | BLK_FILE_RDONLY), 0);
    CHECK_EQ(open_file(&c, "/new", BLK_FILE_LOCK | BLK_FILE_RDONLY), 0);
    CHECK_EQ(open_file(&a, "/new", BLK_FILE_LOCK), -EBUSY);
    CHECK(strstr(a.why, "another reader has it"));
    CHECK_EQ(go(b.file, BLK_IO_WRITE, &x, 1, 0), -EBADF);
    loop->ops->file_close(loop, b.file);
    /* The name goes, the file stays until nobody has it. */
    sim_file_remove(sim, "/new");
    CHECK_EQ(open_file(&a, "/new", 0), -ENOENT);
    loop->ops->file_close(loop, c.file);
    CHECK_EQ(open_file(&a, "/img", BLK_FILE_TRUNC), 0);
    CHECK_EQ(a.info.size, 0);
    loop->ops->file_close(loop, a.file);
    teardown();
}

static void
direct_wants_alignment(void)
{
    static char buf[8192] __attribute__((aligned(4096)));
    struct blk_file_info info = {
        .block = 4096, .physical = 4096, .mem_align = 512, .direct = true
    };
    struct blk_open o;

    setup(3);
    sim_file_describe(sim, "/img", &info);
    CHECK_EQ(open_file(&o, "/img", BLK_FILE_DIRECT), 0);
    CHECK(o.info.direct);
    CHECK_EQ(go(o.file, BLK_IO_WRITE, buf, 4096, 4096), 4096);
    CHECK_EQ(go(o.file, BLK_IO_WRITE, buf, 4096, 512), -EINVAL);
    CHECK_EQ(go(o.file, BLK_IO_READ, buf, 512, 0), -EINVAL);
    CHECK_EQ(go(o.file, BLK_IO_READ, buf + 1, 4096, 0), -EINVAL);
    CHECK_EQ(go(o.file, BLK_IO_PUNCH, NULL, 4096, 0), -EOPNOTSUPP);
    loop->ops->file_close(loop, o.file);
    CHECK_EQ(open_file(&o, "/img", 0), 0);
    CHECK(!o.info.direct);
    CHECK_EQ(go(o.file, BLK_IO_READ, buf + 1, 513, 7), 513);
    loop->ops->file_close(loop, o.file);
    teardown();
}

static void
a_scatter_list(void)
{
    char a[3] = "abc", b[2] = "de", back[6] = "";
    struct iovec v[2] = { { a, 3 }, { b, 2 } };
    struct blk_io io = { .op = BLK_IO_WRITE,
                         .off = 510,
                         .len = 5,
                         .iov = v,
                         .n = 2,
                         .done = io_done };

    setup(4);
    io.file = image(0);
    loop->ops->io(loop, &io);
    sim_run_all(sim, 10);
    CHECK_EQ(io.status, 5);
    CHECK_EQ(go(io.file, BLK_IO_READ, back, 5, 510), 5);
    CHECK_STR(back, "abcde");
    loop->ops->file_close(loop, io.file);
    teardown();
}

/* ---- crashes ------------------------------------------------------------- */

static char
sector_of(unsigned i)
{
    char buf[SECTOR];

    sim_file_get(sim, "/img", i * SECTOR, buf, SECTOR);
    for (int k = 1; k < SECTOR; k++)
        CHECK_EQ(buf[k], buf[0]);
    return buf[0];
}

/* Written, synced, written again: each sector is new or as synced, and over
 * many seeds both happen within one write. */
static void
unsynced_is_lost_kept_or_torn(void)
{
    char a[SIZE], b[SIZE];
    unsigned torn = 0, old = 0, new = 0;

    memset(a, 'a', SIZE);
    memset(b, 'b', SIZE);
    for (uint64_t seed = 0; seed < 50; seed++) {
        unsigned n = 0;
        struct blk_file *f;

        setup(seed);
        f = image(0);
        CHECK_EQ(go(f, BLK_IO_WRITE, a, SIZE, 0), SIZE);
        CHECK_EQ(sim_file_unsynced(sim, "/img"), SIZE);
        CHECK_EQ(go(f, BLK_IO_SYNC, NULL, 0, 0), 0);
        CHECK_EQ(sim_file_unsynced(sim, "/img"), 0);
        CHECK_EQ(go(f, BLK_IO_WRITE, b, SIZE / 2, 0), SIZE / 2);
        sim_crash(sim);
        CHECK(!sim_step(sim));
        for (unsigned i = 0; i < SECTORS; i++) {
            char c = sector_of(i);

            CHECK(c == 'a' || (c == 'b' && i < SECTORS / 2));
            n += c == 'b';
        }
        old += SECTORS / 2 - n;
        new += n;
        torn += n > 0 && n < SECTORS / 2;
        teardown();
    }
    CHECK(torn && old && new);
}

/* Put stays, written may be lost, synced stays. */
static void
a_write_of_the_test_itself(void)
{
    unsigned lost = 0, kept = 0;
    char s[SECTOR];

    for (uint64_t seed = 0; seed < 50; seed++) {
        setup(seed);
        sim_file_make(sim, "/img", SIZE);
        for (unsigned i = 0; i < 3; i++) {
            memset(s, "abc"[i], SECTOR);
            if (i == 1)
                sim_file_put(sim, "/img", i * SECTOR, s, SECTOR);
            else
                sim_file_write(sim, "/img", i * SECTOR, s, SECTOR);
            CHECK_EQ(sector_of(i), "abc"[i]);
            if (!i)
                sim_file_sync(sim, "/img");
        }
        sim_crash(sim);
        CHECK_EQ(sector_of(0), 'a');
        CHECK_EQ(sector_of(1), 'b');
        lost += !sector_of(2);
        kept += sector_of(2) == 'c';
        teardown();
    }
    CHECK(lost && kept && lost + kept == 50);
}

/* A FUA write stays, in spite of an older one that was not synced. */
static void
fua_is_durable(void)
{
    char a[SECTOR], b[SECTOR];

    memset(a, 'a', SECTOR);
    memset(b, 'b', SECTOR);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct iovec v = { b, SECTOR };
        struct blk_io io = { .op = BLK_IO_WRITE,
                             .fua = true,
                             .len = SECTOR,
                             .iov = &v,
                             .n = 1,
                             .done = io_done };

        setup(seed);
        io.file = image(0);
        CHECK_EQ(go(io.file, BLK_IO_WRITE, a, SECTOR, 0), SECTOR);
        loop->ops->io(loop, &io);
        sim_run_all(sim, 10);
        CHECK_EQ(io.status, SECTOR);
        sim_crash(sim);
        CHECK_EQ(sector_of(0), 'b');
        teardown();
    }
}

/* What was still on its way when the sync began is not covered by it. */
static void
a_sync_covers_what_was_done(void)
{
    char b[SECTOR];
    unsigned lost = 0;

    memset(b, 'b', SECTOR);
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct blk_io w, s;
        struct iovec v, none;

        setup(seed);
        start_io(&w, &v, image(0), BLK_IO_WRITE, b, SECTOR, 0);
        start_io(&s, &none, w.file, BLK_IO_SYNC, NULL, 0, 0);
        sim_run_all(sim, 10);
        CHECK_EQ(s.status, 0);
        sim_crash(sim);
        lost += sector_of(0) != 'b';
        teardown();
    }
    CHECK(lost > 10 && lost < 50);
}

static void
in_flight_when_the_power_fails(void)
{
    char b[8 * SECTOR];
    unsigned some = 0, none = 0;

    memset(b, 'b', sizeof b);
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct blk_io w;
        struct iovec v;
        unsigned n = 0;

        setup(seed);
        start_io(&w, &v, image(0), BLK_IO_WRITE, b, sizeof b, 0);
        sim_crash(sim);
        sim_run_all(sim, 10);
        CHECK_EQ(done, 1); /* the open: the write never ends */
        for (unsigned i = 0; i < 8; i++)
            n += sector_of(i) == 'b';
        some += n > 0;
        none += n < 8;
        teardown();
    }
    CHECK(some && none);
}

static void
a_kill_keeps_the_page_cache(void)
{
    char b[8 * SECTOR];
    struct blk_open o;

    memset(b, 'b', sizeof b);
    setup(5);
    CHECK_EQ(open_file(&o, "/img", BLK_FILE_LOCK), 0);
    CHECK_EQ(go(o.file, BLK_IO_WRITE, b, sizeof b, 0), sizeof b);
    sim_kill(sim);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(sector_of(i), 'b');
    CHECK_EQ(sim_file_unsynced(sim, "/img"), sizeof b);
    loop->ops->free(loop);
    loop = sim_loop_new(sim, "data0");
    /* The lock went with the program. */
    CHECK_EQ(open_file(&o, "/img", BLK_FILE_LOCK), 0);
    CHECK_EQ(go(o.file, BLK_IO_SYNC, NULL, 0, 0), 0);
    sim_crash(sim);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(sector_of(i), 'b');
    teardown();
}

/* A sync that fails has forgotten what it could not write: the next one that
 * succeeds says nothing about it. */
static void
a_failed_sync_forgets(void)
{
    struct sim_faults bad = { .sync = 1000000 }, good = { 0 };
    char b[SECTOR];
    unsigned lost = 0;

    memset(b, 'b', SECTOR);
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct blk_file *f;

        setup(seed);
        f = image(0);
        CHECK_EQ(go(f, BLK_IO_WRITE, b, SECTOR, 0), SECTOR);
        sim_file_faults(sim, "/img", &bad);
        CHECK_EQ(sim_file_sync_failed(sim, "/img"), 0);
        CHECK_EQ(go(f, BLK_IO_SYNC, NULL, 0, 0), -EIO);
        CHECK_EQ(sim_file_sync_failed(sim, "/img"), sim_now(sim));
        CHECK_EQ(sector_of(0), 'b');
        sim_file_faults(sim, "/img", &good);
        CHECK_EQ(go(f, BLK_IO_SYNC, NULL, 0, 0), 0);
        sim_crash(sim);
        lost += sector_of(0) != 'b';
        teardown();
    }
    CHECK(lost > 5 && lost < 35);
}

static void
faults(void)
{
    struct sim_faults f = { .read = 1000000, .error = ENOSPC };
    char b[4 * SECTOR];
    struct blk_file *file;
    int64_t n;

    setup(6);
    file = image(0);
    sim_file_faults(sim, NULL, &f);
    CHECK_EQ(go(file, BLK_IO_READ, b, SECTOR, 0), -ENOSPC);
    f = (struct sim_faults){ .write = 1000000, .range = 1000000 };
    sim_file_faults(sim, NULL, &f);
    CHECK_EQ(go(file, BLK_IO_WRITE, b, SECTOR, 0), -EIO);
    CHECK_EQ(go(file, BLK_IO_PUNCH, NULL, SECTOR, 0), -EIO);
    f = (struct sim_faults){ .shorter = 1000000 };
    sim_file_faults(sim, NULL, &f);
    for (int i = 0; i < 20; i++) {
        n = go(file, BLK_IO_READ, b, sizeof b, 0);
        CHECK(n >= SECTOR && n < (int64_t)sizeof b && n % SECTOR == 0);
    }
    f = (struct sim_faults){ .delay_min_ns = 7000, .delay_max_ns = 7000 };
    sim_file_faults(sim, NULL, &f);
    n = (int64_t)sim_now(sim);
    CHECK_EQ(go(file, BLK_IO_READ, b, SECTOR, 0), SECTOR);
    CHECK_EQ(sim_now(sim), n + 7000);
    loop->ops->file_close(loop, file);
    teardown();
}

/* The same seed, the same medium. */
static uint64_t
a_run(uint64_t seed, char *image_out)
{
    static char data[16][SECTOR * 4];
    struct blk_io io[16];
    struct iovec v[16];
    uint64_t hash;

    setup(seed);
    for (unsigned i = 0; i < 16; i++) {
        memset(data[i], (int)('a' + i), sizeof data[i]);
        start_io(&io[i], &v[i], i ? io[0].file : image(0), BLK_IO_WRITE,
                 data[i], sizeof data[i], i * 2 * SECTOR);
    }
    for (int i = 0; i < 8; i++)
        sim_step(sim);
    sim_crash(sim);
    sim_file_get(sim, "/img", 0, image_out, SIZE);
    hash = sim_trace(sim);
    teardown();
    return hash;
}

static void
the_seed_is_all(void)
{
    static char a[SIZE], b[SIZE];

    CHECK_EQ(a_run(7, a), a_run(7, b));
    CHECK(!memcmp(a, b, SIZE));
    CHECK(a_run(8, b) != a_run(7, a));
    CHECK(memcmp(a, b, SIZE));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(the_operations);
    TEST(opening);
    TEST(direct_wants_alignment);
    TEST(a_scatter_list);
    TEST(unsynced_is_lost_kept_or_torn);
    TEST(a_write_of_the_test_itself);
    TEST(fua_is_durable);
    TEST(a_sync_covers_what_was_done);
    TEST(in_flight_when_the_power_fails);
    TEST(a_kill_keeps_the_page_cache);
    TEST(a_failed_sync_forgets);
    TEST(faults);
    TEST(the_seed_is_all);
    return test_end();
}
