/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The crypt plugin's ciphers against known answers and against XTS made of
 * single blocks; its walks; and where its keys are in memory. */
#include "config.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugins/common/secret.c"
#include "plugins/common/xts.c"
#include "src/host/secret.c"
#include "tests/test.h"
#include "tests/unit/locked.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static uint64_t seed = 1;

static uint64_t
word(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void
noise(uint8_t *p, size_t n)
{
    while (n--)
        *p++ = (uint8_t)word();
}

static size_t
from_hex(const char *hex, uint8_t *to)
{
    size_t n;
    unsigned x;

    for (n = 0; sscanf(hex + 2 * n, "%2x", &x) == 1; n++)
        to[n] = (uint8_t)x;
    return n;
}

/* ---- known answers: IEEE 1619-2007, annex B ------------------------------ */

static const struct {
    const char *key;
    uint64_t number;
    const char *plain, *cipher; /* NULL: 00 to ff, twice; the first bytes */
    uint32_t sector;
} vectors[] = {
    { "11111111111111111111111111111111"
      "22222222222222222222222222222222",
      0x3333333333,
      "4444444444444444444444444444444444444444444444444444444444444444",
      "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0", 32 },
    { "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0"
      "22222222222222222222222222222222",
      0x3333333333,
      "4444444444444444444444444444444444444444444444444444444444444444",
      "af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89", 32 },
    { "2718281828459045235360287471352662497757247093699959574966967627"
      "3141592653589793238462643383279502884197169399375105820974944592",
      0xff, NULL,
      "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b", 512 },
};

static void
known_answers(void)
{
    uint8_t key[64], plain[512], buf[512], cipher[64];
    unsigned i, k;

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        const size_t len = from_hex(vectors[i].key, key);
        const size_t n = from_hex(vectors[i].cipher, cipher);
        struct xts *x = xts_new(key, len, vectors[i].sector);

        REQUIRE(x);
        for (k = 0; k < sizeof(plain); k++)
            plain[k] = (uint8_t)k;
        if (vectors[i].plain)
            from_hex(vectors[i].plain, plain);
        memcpy(buf, plain, sizeof(buf));
        CHECK_EQ(
            xts_run(x, XTS_ENCRYPT, vectors[i].number, buf, vectors[i].sector),
            0);
        CHECK(!memcmp(buf, cipher, n));
        CHECK_EQ(
            xts_run(x, XTS_DECRYPT, vectors[i].number, buf, vectors[i].sector),
            0);
        CHECK(!memcmp(buf, plain, sizeof(buf)));
        xts_free(x);
    }
}

/* ---- XTS of single blocks ------------------------------------------------ */

static void
block(const uint8_t *key, size_t len, int encrypt, uint8_t *b)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    REQUIRE(ctx && EVP_CipherInit_ex(
                       ctx, len == 32 ? EVP_aes_256_ecb() : EVP_aes_128_ecb(),
                       NULL, key, NULL, encrypt));
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    REQUIRE(EVP_CipherUpdate(ctx, b, &n, b, 16) && n == 16);
    EVP_CIPHER_CTX_free(ctx);
}

static void
reference(const uint8_t *key, size_t len, uint64_t number, uint8_t *buf,
          size_t sector)
{
    uint8_t tweak[16] = { 0 }, carry;
    size_t at;
    int i;

    memcpy(tweak, &number, 8); /* little end first, as we are */
    block(key + len / 2, len / 2, 1, tweak);
    for (at = 0; at < sector; at += 16) {
        for (i = 0; i < 16; i++)
            buf[at + (size_t)i] ^= tweak[i];
        block(key, len / 2, 1, buf + at);
        for (i = 0; i < 16; i++)
            buf[at + (size_t)i] ^= tweak[i];
        carry = tweak[15] >> 7;
        for (i = 15; i > 0; i--)
            tweak[i] = (uint8_t)(tweak[i] << 1 | tweak[i - 1] >> 7);
        tweak[0] = (uint8_t)(tweak[0] << 1 ^ (carry ? 0x87 : 0));
    }
}

static void
as_of_single_blocks(void)
{
    static uint8_t buf[16384], expected[16384], plain[16384];
    const uint32_t sectors[] = { 512, 4096 };
    const size_t lens[] = { 32, 64 };
    uint8_t key[64];
    unsigned i;

    for (i = 0; i < 8; i++) {
        const uint32_t sector = sectors[i & 1];
        const size_t len = lens[i >> 1 & 1];
        const uint64_t number = word() & ~(uint64_t)7;
        struct xts *x;
        size_t at;

        noise(key, sizeof(key));
        noise(plain, sizeof(plain));
        memcpy(buf, plain, sizeof(buf));
        memcpy(expected, plain, sizeof(buf));
        for (at = 0; at < sizeof(buf); at += sector)
            reference(key, len, number + at / 512, expected + at, sector);
        x = xts_new(key, len, sector);
        REQUIRE(x);
        CHECK_EQ(xts_run(x, XTS_ENCRYPT, number, buf, sizeof(buf)), 0);
        CHECK(!memcmp(buf, expected, sizeof(buf)));
        CHECK_EQ(xts_run(x, XTS_DECRYPT, number, buf, sizeof(buf)), 0);
        CHECK(!memcmp(buf, plain, sizeof(buf)));
        xts_free(x);
    }
}

static void
refuses_weak_keys(void)
{
    uint8_t key[64] = { 0 };

    CHECK(!xts_new(key, 64, 512));
    noise(key, 64);
    CHECK(!xts_new(key, 48, 512));
    CHECK(!xts_new(key, 0, 512));
    xts_free(NULL);
}

/* ---- walks --------------------------------------------------------------- */

static void
walks_over_pieces(void)
{
    static uint8_t memory[4096], copy[4096], back[4096];
    struct iovec v[64];
    unsigned round;

    for (round = 0; round < 200; round++) {
        struct blk_sg sg = { .v = v };
        size_t at = 0, skip = word() % 100, len, done, n;
        struct walk w;

        noise(memory, sizeof(memory));
        while (at < sizeof(memory)) {
            n = sg.n == 63 ? sizeof(memory) - at : word() % 150;
            if (n > sizeof(memory) - at)
                n = sizeof(memory) - at;
            v[sg.n++] = (struct iovec){ memory + at, n }; /* some are empty */
            at += n;
        }
        while (skip >= v[0].iov_len) {
            sg.v++;
            sg.n--;
            at -= v[0].iov_len;
            memmove(v, v + 1, sg.n * sizeof(v[0]));
            sg.v = v;
        }
        sg.skip = (uint32_t)skip;
        len = at - skip;
        walk_begin(&w, &sg);
        for (done = 0; done < len; done += n) {
            n = 1 + word() % 700;
            if (n > len - done)
                n = len - done;
            walk_read(&w, copy + done, n);
        }
        REQUIRE(!memcmp(copy, memory + sizeof(memory) - len, len));
        noise(copy, len);
        memcpy(back, memory, sizeof(back));
        walk_begin(&w, &sg);
        for (done = 0; done < len; done += n) {
            n = 1 + word() % 700;
            if (n > len - done)
                n = len - done;
            walk_write(&w, copy + done, n);
        }
        REQUIRE(!memcmp(copy, memory + sizeof(memory) - len, len));
        REQUIRE(!memcmp(back, memory, sizeof(memory) - len));
    }
}

/* ---- secrets ------------------------------------------------------------- */

enum { DUMPED, NOT_DUMPED };

/* How often the 32 bytes are in the process's memory, in what is dumped and
 * in what is not; the range from `except` on is left out. */
static void
search(const uint8_t *secret, unsigned found[2], const void *except)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    unsigned long from = 0, to = 0;
    char line[512], mode[8] = "";

    REQUIRE(f);
    found[DUMPED] = found[NOT_DUMPED] = 0;
    while (fgets(line, sizeof(line), f)) {
        unsigned long a, b;
        const uint8_t *p, *end;
        char m[8];

        if (sscanf(line, "%lx-%lx %7s", &a, &b, m) == 3) {
            from = a;
            to = b;
            memcpy(mode, m, sizeof(mode));
            if (strstr(line, "[v"))
                mode[0] = '-';
        }
        if (strncmp(line, "VmFlags:", 8) || mode[0] != 'r' || mode[1] != 'w' ||
            to - from > 64 << 20 || from == (unsigned long)except)
            continue;
        p = (const uint8_t *)from;
        end = (const uint8_t *)to;
        while ((p = memmem(p, (size_t)(end - p), secret, 32))) {
            found[strstr(line, " dd") ? NOT_DUMPED : DUMPED]++;
            p++;
        }
    }
    fclose(f);
}

/* What libcrypto has of the key is where nobody finds it, and gone with it. */
static void
keeps_keys_out_of_dumps(void)
{
    uint8_t *key = blk_secret_map(64);
    unsigned found[2];
    struct xts *x;

    REQUIRE(key);
    CHECK_EQ(secret_works(), 0);
    CHECK(is_locked(key));
    noise(key, 64);
    x = xts_new(key, 64, 512);
    REQUIRE(x);
    search(key, found, key);
    CHECK_EQ(found[DUMPED], 0);
    CHECK(found[NOT_DUMPED] > 0);
    CHECK(range && is_locked(range));
    xts_free(x);
    search(key, found, key);
    CHECK_EQ(found[DUMPED], 0);
    CHECK_EQ(found[NOT_DUMPED], 0);
    blk_secret_unmap(key, 64);
    blk_secret_unmap(NULL, 64);
}

static void
gives_slots_back(void)
{
    size_t before;
    uint8_t key[64];
    unsigned i;

    noise(key, sizeof(key));
    xts_free(xts_new(key, 64, 512));
    before = used;
    for (i = 0; i < 2000; i++) {
        struct xts *x = xts_new(key, 64, 512);

        REQUIRE(x);
        xts_free(x);
    }
    CHECK_EQ(used, before);
}

/* The calls that libcrypto may make, one by one. */
static void
hooks_keep_apart(void)
{
    uint8_t *p, *q;

    p = host_secret_malloc(10, "", 0);
    CHECK(p && !slot_owned(p));
    p = host_secret_realloc(p, 100, "", 0);
    CHECK(p && !slot_owned(p));
    host_secret_free(p, "", 0);
    secret_begin();
    CHECK(!host_secret_malloc(SECRET_SLOT + 1, "", 0));
    p = host_secret_realloc(NULL, 10, "", 0);
    secret_end();
    REQUIRE(p && slot_owned(p));
    memset(p, 7, SECRET_SLOT);
    CHECK(host_secret_realloc(p, SECRET_SLOT, "", 0) == p);
    q = host_secret_realloc(p, SECRET_SLOT + 1, "", 0);
    CHECK(q && !slot_owned(q) && q[SECRET_SLOT - 1] == 7);
    CHECK_EQ(p[SECRET_SLOT - 1], 0);
    host_secret_free(q, "", 0);
    host_secret_free(NULL, "", 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(known_answers);
    TEST(as_of_single_blocks);
    TEST(refuses_weak_keys);
    TEST(walks_over_pieces);
    /* A sanitizer's mlock() does nothing, and its memory is not to be read. */
    if (SANITIZED)
        printf("under a sanitizer: without keeps_keys_out_of_dumps\n");
    else
        TEST(keeps_keys_out_of_dumps);
    TEST(gives_slots_back);
    TEST(hooks_keep_apart);
    return test_end();
}
