/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin: overlays that are encrypted by a key which is kept for the
 * attachment alone.  The keys are the daemon's own (src/disk/keys.c). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "src/disk/keys.c"
#include "src/disk/tables.c"
#include "tests/unit/plugin_qcow2_image.h"

#define COW   "qcow2 name=cow ephemeral=true encrypt=true"
#define BELOW " | file path=%s lock=off"
#define CHAIN COW BELOW
#define PLAIN "qcow2 name=cow ephemeral=true" BELOW
#define BASE  run_path("base")
#define NAME  "vbd.1.51712,7"

enum { SIZE = 16 << 20, SECTOR = 512 };

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));
static const char *folder;
static struct disks disks; /* no more of it than its keys */

static void
lend(struct run *r)
{
    disks.control = r->loop;
    r->loop->commons->scratch = folder;
    r->loop->commons->keeper = disks_keeper(&disks);
}

static bool
every(void *ctx, const char *attachment)
{
    (void)ctx;
    (void)attachment;
    return true;
}

static void
lose_keys(void)
{
    disks_sift_keys(&disks, every, NULL);
}

static struct run
begin(bool resumed)
{
    struct run r = { .looped = lend, .attachment = NAME, .resumed = resumed };

    return r;
}

static const char *
scratch(void)
{
    return run_path("scratch/" NAME ",disk,cow");
}

static void
fresh(void)
{
    static char path[400];

    snprintf(path, sizeof(path), "%s", run_path("scratch"));
    folder = path;
    mkdir(path, 0700);
    unlink(scratch());
    run_file("base", SIZE);
    if (!disks.keys)
        REQUIRE(!keys_new(&disks));
    lose_keys();
}

/* Sectors that nothing else is, each with its number. */
static void
mark(uint8_t *p, uint64_t off, uint32_t len, uint32_t stamp)
{
    for (uint32_t at = 0; at < len; at += 16) {
        memcpy(p + at, "PLAINTEXT", 8);
        q2_put32(p + at + 8, (uint32_t)((off + at) / 16));
        q2_put32(p + at + 12, stamp);
    }
}

static int
put(struct run *r, uint64_t off, uint32_t len, uint32_t stamp)
{
    mark(buf, off, len, stamp);
    return run_io(r, BLK_WRITE, 0, off, buf, len);
}

static void
holds(struct run *r, uint64_t off, uint32_t len, uint32_t stamp)
{
    static uint8_t want[sizeof(buf)];

    memset(want, 0, len);
    if (stamp)
        mark(want, off, len, stamp);
    memset(buf, 0x5a, len);
    CHECK_EQ(run_io(r, BLK_READ, 0, off, buf, len), 0);
    CHECK(!memcmp(buf, want, len));
}

static bool
file_has(const char *words)
{
    int fd = open(scratch(), O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *p;
    bool found;

    REQUIRE(fd >= 0 && !fstat(fd, &st) && st.st_size);
    p = malloc((size_t)st.st_size);
    REQUIRE(p && pread(fd, p, (size_t)st.st_size, 0) == st.st_size);
    found = memmem(p, (size_t)st.st_size, words, strlen(words));
    free(p);
    close(fd);
    return found;
}

static void
refused(bool resumed, int error, const char *chain, const char *words)
{
    struct run r = begin(resumed);

    CHECK_EQ(run_open(&r, RUN_READWRITE, chain, BASE), error);
    if (!strstr(r.why, words))
        test_fail(__FILE__, __LINE__, "expected \"%s\", found \"%s\"", words,
                  r.why);
    if (r.chain)
        run_close(&r);
}

/* ---- what is in the file ------------------------------------------------- */

/* Small and large, whole clusters and pieces of them, and what is between:
 * the file has nothing of it, and the next process reads all. */
static void
keeps_plaintext_out(void)
{
    struct run r = begin(false);

    fresh();
    RUN(r, CHAIN, BASE);
    CHECK_EQ(put(&r, 65536 + 512, 4096, 1), 0);
    CHECK_EQ(put(&r, 4 << 20, 1 << 20, 2), 0);
    CHECK_EQ(put(&r, 9 << 20, SECTOR, 3), 0);
    CHECK_EQ(put(&r, 65536 + 512 + 1024, 512, 4), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK(!file_has("PLAINTEX"));
    holds(&r, 0, 65536 + 512, 0);
    holds(&r, 65536 + 512, 1024, 1);
    holds(&r, 65536 + 512 + 1024, 512, 4);
    holds(&r, 65536 + 512 + 4096, 4096, 0);
    holds(&r, 4 << 20, 1 << 20, 2);
    holds(&r, (9 << 20) + SECTOR, 65536 - SECTOR, 0);
    CHECK(run_counter(&r, 0, "encrypt_worked") > 0);
    run_close(&r);
    CHECK(!file_has("PLAINTEX"));
    qcow2_judge(scratch(), true);
    r = begin(true);
    RUN(r, CHAIN, BASE);
    holds(&r, 65536 + 512, 1024, 1);
    holds(&r, 4 << 20, 1 << 20, 2);
    holds(&r, 9 << 20, SECTOR, 3);
    holds(&r, 10 << 20, 65536, 0);
    run_close(&r);
}

/* One sector of the file as libcrypto alone reads it. */
static void
decrypt(uint8_t *p, uint64_t number, const uint8_t *key)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t tweak[16] = { 0 };
    int n;

    for (unsigned i = 0; i < 8; i++)
        tweak[i] = (uint8_t)(number >> 8 * i);
    REQUIRE(c && EVP_DecryptInit_ex(c, EVP_aes_256_xts(), NULL, key, tweak));
    REQUIRE(EVP_DecryptUpdate(c, p, &n, p, SECTOR) && n == SECTOR);
    EVP_CIPHER_CTX_free(c);
}

/* AES-256-XTS, and each sector has the number of its place in the file. */
static void
is_what_the_page_says(void)
{
    uint8_t want[SECTOR], sector[SECTOR];
    unsigned found = 0;
    struct run r = begin(false);
    int fd;

    fresh();
    memset(want, 'w', sizeof(want));
    memset(buf, 'w', 65536);
    RUN(r, CHAIN, BASE);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 65536, buf, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 5 << 20, buf, SECTOR), 0);
    run_close(&r);
    fd = open(scratch(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    for (off_t n = 0; pread(fd, sector, SECTOR, n * SECTOR) == SECTOR; n++) {
        decrypt(sector, (uint64_t)n, disks.keys->table->slot[0].bytes);
        found += !memcmp(sector, want, SECTOR);
    }
    CHECK_EQ(found, 65536 / SECTOR + 1);
    close(fd);
}

/* The same without the option, or the test above sees nothing. */
static void
would_be_seen(void)
{
    struct run r = begin(false);

    fresh();
    RUN(r, PLAIN, BASE);
    CHECK_EQ(put(&r, 65536, 4096, 1), 0);
    run_close(&r);
    CHECK(file_has("PLAINTEX"));
}

/* Against a model, with pieces of any length; clusters are set free and taken
 * again, and what was in them is not seen. */
static void
reads_what_was_written(void)
{
    static uint32_t model[SIZE / SECTOR]; /* stamps; 0: zeroes */
    struct run r = begin(false);

    fresh();
    memset(model, 0, sizeof(model));
    r.seed = 7;
    RUN(r, CHAIN, BASE);
    for (uint32_t i = 1; i < 400; i++) {
        uint32_t n = 1 + (uint32_t)(run_random(&r) % (i % 8 ? 64 : 1024));
        uint32_t first = (uint32_t)(run_random(&r) % (SIZE / SECTOR - n));
        uint64_t off = (uint64_t)first * SECTOR;
        bool zero = i % 5 == 0;

        if (zero)
            CHECK_EQ(run_io(&r, BLK_ZERO, 0, off, NULL, n * SECTOR), 0);
        else
            CHECK_EQ(put(&r, off, n * SECTOR, i), 0);
        for (uint32_t k = 0; k < n; k++)
            model[first + k] = zero ? 0 : i;
        if (i % 100 == 0) {
            run_close(&r);
            r = begin(true);
            r.seed = i;
            RUN(r, CHAIN, BASE);
        }
    }
    for (uint32_t k = 0; k < SIZE / SECTOR; k++)
        holds(&r, (uint64_t)k * SECTOR, SECTOR, model[k]);
    run_close(&r);
    CHECK(!file_has("PLAINTEX"));
}

/* ---- keys ---------------------------------------------------------------- */

static void
written(void)
{
    struct run r = begin(false);

    fresh();
    RUN(r, CHAIN, BASE);
    CHECK_EQ(put(&r, 0, 8192, 1), 0);
    run_close(&r);
}

static void
a_missing_key_is_told(void)
{
    written();
    lose_keys();
    refused(true, -ESTALE, CHAIN,
            "its key: expected the one of this attachment");
    refused(true, -ESTALE, CHAIN, "take the disk away from the guest");
    CHECK(file_has("QFI\xfb"));
}

static void
another_key_is_told(void)
{
    struct key_table *t;

    written();
    t = disks.keys->table;
    REQUIRE(t && t->slot[0].state == SLOT_USED);
    t->slot[0].bytes[5] ^= 1;
    refused(true, -ESTALE, CHAIN,
            "expected the key that it was encrypted with");
    t->slot[0].bytes[5] ^= 1;
    refused(true, 0, CHAIN, "");
}

/* No guest was connected yet: nothing is lost. */
static void
without_a_guest_it_is_made_anew(void)
{
    struct run r = begin(false);

    written();
    lose_keys();
    RUN(r, CHAIN, BASE);
    holds(&r, 0, 8192, 0);
    CHECK_EQ(put(&r, 0, 8192, 2), 0);
    holds(&r, 0, 8192, 2);
    run_close(&r);
    r = begin(false); /* with its key it is the same */
    RUN(r, CHAIN, BASE);
    holds(&r, 0, 8192, 2);
    run_close(&r);
    r = begin(false);
    RUN(r, PLAIN, BASE);
    holds(&r, 0, 8192, 0);
    run_close(&r);
}

/* The option can't change under what was written. */
static void
the_option_stays(void)
{
    const char *path;
    struct run r;

    written();
    refused(true, -EINVAL, PLAIN, "expected encrypt = true, as when");
    r = begin(true);
    path = scratch();
    CHECK_EQ(run_open(&r, RUN_READWRITE, "qcow2 path=%s" BELOW, path, BASE),
             -EINVAL);
    CHECK(strstr(r.why, "whose key is gone"));
    fresh();
    r = begin(false);
    RUN(r, PLAIN, BASE);
    CHECK_EQ(put(&r, 0, 8192, 1), 0);
    CHECK_EQ(run_replace(&r, CHAIN, BASE), -EINVAL);
    CHECK(strstr(r.why, "expected encrypt = false, as when"));
    holds(&r, 0, 8192, 1);
    run_close(&r);
    refused(true, -EINVAL, CHAIN, "expected encrypt = false, as when");
    r = begin(false);
    CHECK_EQ(run_open(&r, RUN_READWRITE, "qcow2 encrypt=true path=%s" BELOW,
                      path, BASE),
             -EINVAL);
    CHECK(strstr(r.why, "encrypt: expected ephemeral = true with it"));
}

/* ---- changes under a guest ----------------------------------------------- */

static void
replaced_it_stays(void)
{
    struct run r = begin(false);

    fresh();
    RUN(r, CHAIN, BASE);
    CHECK_EQ(put(&r, 8192, 8192, 1), 0);
    CHECK_EQ(run_replace(&r, "trace | " CHAIN, BASE), 0);
    holds(&r, 8192, 8192, 1);
    CHECK_EQ(run_replace(&r, COW " cache=1M" BELOW, BASE), 0);
    holds(&r, 8192, 8192, 1);
    CHECK_EQ(run_replace(&r, COW " direct=off" BELOW, BASE), 0);
    holds(&r, 8192, 8192, 1);
    CHECK_EQ(put(&r, 1 << 20, 1 << 20, 2), 0);
    CHECK(run_replace(&r, COW " | file name=two path=%s/none", folder));
    holds(&r, 8192, 8192, 1);
    CHECK_EQ(run_replace(&r, PLAIN, BASE), -EINVAL);
    holds(&r, 1 << 20, 1 << 20, 2);
    run_close(&r);
    CHECK(!file_has("PLAINTEX"));
}

static void
inserted_it_is_new(void)
{
    uint8_t key[3][BLK_KEEP];
    struct run r = begin(true);

    fresh();
    RUN(r, "file path=%s lock=off", BASE);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(run_replace(&r, CHAIN, BASE), 0);
        memcpy(key[i], disks.keys->table->slot[0].bytes, BLK_KEEP);
        holds(&r, 0, 8192, 0);
        CHECK_EQ(put(&r, 0, 8192, i + 1), 0);
        holds(&r, 0, 8192, i + 1);
        CHECK_EQ(run_replace(&r, "file path=%s lock=off", BASE), 0);
    }
    run_close(&r);
    CHECK(memcmp(key[0], key[1], BLK_KEEP) && memcmp(key[1], key[2], BLK_KEEP));
}

/* ---- when it is hard ----------------------------------------------------- */

static unsigned every_nth;
static int fails_with;
static bool cut; /* in a sector */

/* Of what is longer the kernel does two sectors and a part of the third. */
static void
cut_short(struct blk_io *io)
{
    static struct iovec shorter[256];
    static unsigned n;
    struct iovec *v = &shorter[n++ % 256];

    *v = io->iov[0];
    if (v->iov_len > 3 * SECTOR)
        v->iov_len = 2 * SECTOR + 100;
    io->iov = v;
    io->n = 1;
}

static int
fail_some(struct run *r, struct blk_io *io)
{
    if (io->op != BLK_IO_READ && io->op != BLK_IO_WRITE)
        return 0;
    if (!every_nth || run_random(r) % every_nth)
        return 0;
    if (cut)
        cut_short(io);
    return cut ? 0 : fails_with;
}

static void
failing(struct run *r)
{
    lend(r);
    r->fault = fail_some;
}

/* Requests that come short are gone on with, those that fail are told; what
 * each of them had is given back. */
static void
short_and_failing_io(void)
{
    static const uint32_t len = 256 << 10;
    struct run r = begin(false);
    unsigned failed = 0;

    fresh();
    every_nth = 0;
    r.looped = failing;
    r.seed = 5;
    RUN(r, CHAIN, BASE);
    every_nth = 3;
    fails_with = RUN_SHORT;
    for (uint32_t i = 0; i < 64; i++) {
        CHECK_EQ(put(&r, (i % 16) * len, len, i + 1), 0);
        holds(&r, (i % 16) * len, len, i + 1);
    }
    fails_with = -EIO;
    for (uint32_t i = 0; i < 400; i++) {
        failed += put(&r, (i % 16) * len, len, 100) != 0;
        failed += run_io(&r, BLK_READ, 0, (i % 16) * len, buf, len) != 0;
    }
    CHECK(failed > 50);
    every_nth = 0;
    for (uint32_t i = 0; i < 16; i++) {
        CHECK_EQ(put(&r, i * len, len, 200 + i), 0);
        holds(&r, i * len, len, 200 + i);
    }
    run_close(&r);
}

/* Nothing of a sector is, when not all of it is. */
static void
cut_in_a_sector(void)
{
    static const uint32_t len = 16 << 10;
    struct run r = begin(false);

    fresh();
    every_nth = 0;
    r.looped = failing;
    r.seed = 6;
    RUN(r, COW " direct=off" BELOW, BASE);
    CHECK_EQ(put(&r, 0, 16 * len, 0), 0); /* nothing is read from below */
    every_nth = 3;
    cut = true;
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_EQ(put(&r, (uint64_t)(i % 16) * len, len, i + 1), 0);
        holds(&r, (uint64_t)(i % 16) * len, len, i + 1);
    }
    cut = false;
    every_nth = 0;
    for (uint32_t i = 184; i < 200; i++)
        holds(&r, (uint64_t)(i % 16) * len, len, i + 1);
    run_close(&r);
}

/* More at a time than there is memory for, of lengths that never fit. */
static void
waits_for_memory(void)
{
    static uint8_t data[24][512 << 10] __attribute__((aligned(4096)));
    static struct run_io io[24];
    struct run r = begin(false);
    const uint32_t len = sizeof(data[0]);

    fresh();
    RUN(r, CHAIN, BASE);
    for (int turn = 0; turn < 3; turn++) {
        for (uint32_t i = 0; i < 24; i++) {
            memset(&io[i], 0, sizeof(io[i]));
            io[i].op = BLK_WRITE;
            io[i].off = (uint64_t)i * len;
            io[i].len = len - i % 5 * (24u << 10);
            io[i].buf = data[i];
            mark(data[i], io[i].off, io[i].len, i + 1 + 100 * (uint32_t)turn);
            run_start(&r, &io[i]);
        }
        for (uint32_t i = 0; i < 24; i++) {
            run_wait(&r, &io[i]);
            CHECK_EQ(io[i].error, 0);
        }
    }
    for (uint32_t i = 0; i < 24; i++)
        holds(&r, (uint64_t)i * len, io[i].len, i + 201);
    run_close(&r);
    CHECK(!file_has("PLAINTEX"));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(keeps_plaintext_out);
    TEST(is_what_the_page_says);
    TEST(would_be_seen);
    TEST(reads_what_was_written);
    TEST(a_missing_key_is_told);
    TEST(another_key_is_told);
    TEST(without_a_guest_it_is_made_anew);
    TEST(the_option_stays);
    TEST(replaced_it_stays);
    TEST(inserted_it_is_new);
    TEST(short_and_failing_io);
    TEST(cut_in_a_sector);
    TEST(waits_for_memory);
    lose_keys();
    keys_free(&disks);
    return test_end();
}
