/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The crypt plugin where something is odd: headers that are cut off, sizes that
 * do not fit, memory that is not ours, reads that fail half way, and a disk
 * that works while another one's key is derived. */
#include "config.h"

#include <errno.h>
#include <sys/mman.h>

#include "tests/unit/crypt_kit.h"

enum { MB = 1 << 20, GUEST = 256 << 10 };

static uint8_t buf[MB];

/* What it says ends with what to do, and is not about memory or such. */
static void
refused(const char *chain, const char *a, const char *b, const char *sentence)
{
    struct run r = { 0 };
    char text[600];

    snprintf(text, sizeof(text), chain, a, b);
    CHECK(run_open(&r, RUN_READWRITE, "%s", text));
    if (!strstr(r.why, sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" is not \"%s\"", r.why, sentence);
    if (!r.status)
        run_close(&r);
}

/* From whichever byte on it is missing. */
static void
refuses_cut_headers(void)
{
    static const uint32_t at[] = { 0,    1,     511,   512,   4095,
                                   4096, 16384, 32768, 40000, 200000 };
    const char *types[] = { CRYPT_LUKS1, CRYPT_LUKS2 };
    const char *header = strdup(run_path("header"));
    unsigned t, i;

    for (t = 0; t < 2; t++) {
        const char *data = strdup(run_file("data", MB));
        struct shape s = { .type = types[t], .data = data };

        for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
            char text[300];

            run_file("header", 16 << 20);
            format(header, &s);
            REQUIRE(!truncate(header, at[i]));
            snprintf(text, sizeof(text),
                     "crypt key-file=%s header=%%s | file path=%%s", key_path);
            refused(text, header, data,
                    at[i] < 6 ? "make one with cryptsetup luksFormat"
                              : "bring it back with cryptsetup "
                                "luksHeaderRestore");
        }
        free((void *)(uintptr_t)data);
    }
    free((void *)(uintptr_t)header);
}

/* The last of the data that is no whole sector is not there. */
static void
sectors_larger_than_the_rest(void)
{
    const char *path = strdup(run_file("luks", ROOM));
    struct shape s = { .type = CRYPT_LUKS2, .sector = 4096 };
    const struct blk_limits *l;
    struct run r = { 0 };

    format(path, &s);
    REQUIRE(!truncate(path, ROOM + 1536));
    RUN(r, "crypt key-file=%s | file path=%s direct=off", key_path, path);
    l = chain_limits(r.chain);
    CHECK_EQ(l->align, 4096);
    CHECK_EQ(l->size % 4096, 0);
    CHECK_EQ(l->size, ROOM - run_counter(&r, 0, "offset"));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, l->size - 4096, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, l->size, buf, 512), -EINVAL);
    run_close(&r);
    refused("crypt key-file=%s sector=4k | file path=%s", key_path, path,
            "sector: expected mode = \"plain\" with it");
    free((void *)(uintptr_t)path);
}

/* What a write comes from is only read, whether a worker does it or the loop:
 * the page is the guest's, and may be in use for something else. */
static void
writes_from_memory_of_others(void)
{
    uint8_t *page = mmap(NULL, GUEST, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const char *workers[] = { "0", "512" };
    unsigned i;

    REQUIRE(page != MAP_FAILED);
    for (i = 0; i < GUEST; i++)
        page[i] = (uint8_t)(i * 7 + i / 512);
    REQUIRE(!mprotect(page, GUEST, PROT_READ));
    for (i = 0; i < 2; i++) {
        struct run_io w = { .op = BLK_WRITE, .buf = page, .len = GUEST };
        struct run r = { 0 };

        w.segs = 37;
        RUN(r, "crypt mode=plain key-file=%s worker=%s | memory size=1M",
            key_path, workers[i]);
        run_start(&r, &w);
        run_wait(&r, &w);
        CHECK_EQ(w.error, 0);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, GUEST), 0);
        CHECK(!memcmp(buf, page, GUEST));
        run_close(&r);
    }
    munmap(page, GUEST);
}

/* The second half of a read fails, or is short: the guest is told. */
static int
second_half(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op != BLK_IO_READ || io->off + io->len <= GUEST / 2)
        return 0;
    return io->off < GUEST / 2 ? RUN_SHORT : -EIO;
}

static void
reads_that_fail_half_way(void)
{
    const char *path = run_file("half", MB);
    const char *workers[] = { "0", "512" };
    unsigned i;

    for (i = 0; i < 2; i++) {
        struct run r = { 0 };

        RUN(r,
            "crypt mode=plain key-file=%s worker=%s | file path=%s direct=off",
            key_path, workers[i], path);
        r.fault = second_half;
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, GUEST), -EIO);
        CHECK_EQ(run_io(&r, BLK_READ, 0, GUEST / 2, buf, 4096), -EIO);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, GUEST / 2), 0);
        r.fault = NULL;
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, GUEST), 0);
        CHECK_EQ(run_counter(&r, 0, "memory_used"), 0);
        run_close(&r);
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    make_keys();
    TEST(refuses_cut_headers);
    TEST(sectors_larger_than_the_rest);
    TEST(writes_from_memory_of_others);
    TEST(reads_that_fail_half_way);
    return test_end();
}
