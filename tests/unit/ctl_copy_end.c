/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_copy_end.c: the files of a copy: what is a file and what a disk, holes,
 * reading past the end, writing around zeroes.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/copy.h"
#include "tests/test.h"

enum { K = 1024 };

static char dir[] = "/tmp/ctl_copy_end.XXXXXX", path[64];
static const struct copy_depth depth = { 4, 64 * K };
static const struct ctl nobody = { .socket = "/nowhere/at/all" };
static char buf[256 * K];

/* A file of size bytes with letters in [from, to). */
static void
make(off_t size, off_t from, off_t to)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);

    memset(buf, 'x', sizeof(buf));
    REQUIRE(fd >= 0 && !ftruncate(fd, size));
    REQUIRE(pwrite(fd, buf, (size_t)(to - from), from) == to - from);
    close(fd);
}

static void
tells_files_from_disks(void)
{
    CHECK_EQ(copy_kind_of("./a"), COPY_FILE);
    CHECK_EQ(copy_kind_of("/dev/x"), COPY_FILE);
    CHECK_EQ(copy_kind_of("a/b"), COPY_FILE);
    CHECK_EQ(copy_kind_of(".a"), COPY_FILE);
    CHECK_EQ(copy_kind_of("web"), COPY_DISK);
    CHECK_EQ(copy_kind_of("web.raw"), COPY_DISK);
    CHECK_EQ(copy_kind_of("disk:web"), COPY_DISK);
    CHECK_EQ(copy_kind_of("disk:./a"), COPY_DISK);
}

static void
knows_zeroes(void)
{
    memset(buf, 0, 4096);
    CHECK(is_zero(buf, 4096) && is_zero(buf, 1) && is_zero(buf, 0));
    buf[4095] = 1;
    CHECK(!is_zero(buf, 4096) && is_zero(buf, 4095));
    buf[4095] = 0;
    buf[0] = 1;
    CHECK(!is_zero(buf, 4096));
}

static void
finds_holes(void)
{
    struct copy_end e;
    uint64_t end;

    make(1024 * K, 128 * K, 192 * K);
    REQUIRE(!copy_end_source(&e, &nobody, path, &depth));
    CHECK_EQ(e.size, 1024 * K);
    CHECK(!e.is_new && !e.zeroed);
    CHECK(copy_end_is_hole(&e, 0, &end));
    CHECK_EQ(end, 128 * K);
    CHECK(!copy_end_is_hole(&e, 128 * K, &end));
    CHECK_EQ(end, 192 * K);
    CHECK(copy_end_is_hole(&e, 192 * K, &end));
    CHECK_EQ(end, 1024 * K);
    copy_end_close(&e);
    copy_end_close(&e); /* does no harm */
}

static void
reads_zeroes_past_the_end(void)
{
    struct copy_end e;

    make(1000, 0, 1000);
    REQUIRE(!copy_end_source(&e, &nobody, path, &depth));
    memset(buf, 'y', 2048);
    CHECK_EQ(copy_file_read(&e, buf, 1024, 512), 0);
    CHECK(buf[0] == 'x' && buf[487] == 'x');
    CHECK(is_zero(buf + 488, 1024 - 488));
    CHECK_EQ(buf[1024], 'y');
    copy_end_close(&e);
}

static void
leaves_zeroes_out_of_a_new_file(void)
{
    struct copy_end e;
    uint64_t skipped = 0;
    struct stat st;

    make(512 * K, 0, 256 * K); /* what was there must be gone */
    REQUIRE(!copy_end_target(&e, &nobody, path, &depth));
    CHECK(e.is_new && e.zeroed);
    CHECK_EQ(copy_end_resize(&e, 512 * K), 0);
    memset(buf, 0, sizeof(buf));
    buf[100 * K] = 1; /* of the second block of 64 KiB */
    CHECK_EQ(copy_file_write(&e, buf, 256 * K, 0, &skipped), 0);
    CHECK_EQ(skipped, 192 * K);
    REQUIRE(!fstat(e.fd, &st));
    CHECK_EQ(st.st_size, 512 * K);
    CHECK(st.st_blocks * 512 <= 128 * K);
    CHECK_EQ(pread(e.fd, buf, 1, 100 * K), 1);
    CHECK_EQ(buf[0], 1);
    CHECK_EQ(pread(e.fd, buf, K, 0), K);
    CHECK(is_zero(buf, K));
    CHECK_EQ(copy_end_flush(&e), 0);
    copy_end_close(&e);
}

static void
writes_zeroes_where_something_was(void)
{
    struct copy_end e;
    uint64_t skipped = 0;

    make(128 * K, 0, 128 * K);
    REQUIRE(!copy_end_target(&e, &nobody, path, &depth));
    e.zeroed = false; /* as of a block device */
    memset(buf, 0, sizeof(buf));
    CHECK_EQ(copy_file_write(&e, buf, 100 * K, 3 * K, &skipped), 0);
    CHECK_EQ(skipped, 0);
    memset(buf, 'y', sizeof(buf));
    CHECK_EQ(pread(e.fd, buf, 128 * K, 0), 128 * K);
    CHECK(buf[3 * K - 1] == 'x' && buf[103 * K] == 'x');
    CHECK(is_zero(buf + 3 * K, 100 * K));
    copy_end_close(&e);
}

static void
says_what_can_not_be_opened(void)
{
    struct copy_end e;

    CHECK_EQ(copy_end_source(&e, &nobody, "/nowhere/at/all", &depth), 1);
    copy_end_close(&e);
    CHECK_EQ(copy_end_source(&e, &nobody, "/dev/null", &depth), 1);
    copy_end_close(&e);
    CHECK_EQ(copy_end_source(&e, &nobody, "web", &depth), 1);
    copy_end_close(&e);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
    TEST(tells_files_from_disks);
    TEST(knows_zeroes);
    TEST(finds_holes);
    TEST(reads_zeroes_past_the_end);
    TEST(leaves_zeroes_out_of_a_new_file);
    TEST(writes_zeroes_where_something_was);
    TEST(says_what_can_not_be_opened);
    unlink(path);
    rmdir(dir);
    return test_end();
}
