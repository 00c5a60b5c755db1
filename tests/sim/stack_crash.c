/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stack-crash: crash states of stacks with an image in them: other layers over
 * it, and other layers below it.  What crypt makes of a sector is said by
 * libcrypto, without the plugin.
 */
#include <openssl/evp.h>

#include "host/sim.h"
#include "tests/sim/qcow2_crash.h"
#include "tests/test.h"

extern const struct blk_plugin blk_plugin_crypt, blk_plugin_file,
    blk_plugin_limit, blk_plugin_qcow2, blk_plugin_trace;
const struct blk_plugin *const blk_plugins_static[] = {
    &blk_plugin_crypt, &blk_plugin_file,  &blk_plugin_limit,
    &blk_plugin_qcow2, &blk_plugin_trace, NULL
};

/* ---- the cipher ---------------------------------------------------------- */

enum { KEY_LEN = 64, UNIT = 4096 };
static uint8_t key[KEY_LEN];
static char key_path[64]; /* the plugin reads it there */

static void
key_make(void)
{
    FILE *f = tmpfile();

    REQUIRE(f);
    for (unsigned i = 0; i < KEY_LEN; i++)
        key[i] = (uint8_t)(i * 29 + 5);
    REQUIRE(fwrite(key, 1, KEY_LEN, f) == KEY_LEN && !fflush(f));
    snprintf(key_path, sizeof(key_path), "/proc/self/fd/%d", fileno(f));
}

/* The 512 bytes are a part of a unit, whose tweak is the number of its first
 * 512; in XTS no part of a unit depends on another one. */
static void
cipher(uint8_t *sector, uint64_t number, uint64_t unit, int encrypt)
{
    static EVP_CIPHER_CTX *x;
    uint8_t tweak[16] = { 0 }, from[UNIT] = { 0 }, to[UNIT];
    const uint64_t in_unit = number % (unit / 512), first = number - in_unit;
    int n;

    for (unsigned i = 0; i < 8; i++)
        tweak[i] = (uint8_t)(first >> 8 * i);
    memcpy(from + in_unit * 512, sector, 512);
    if (!x)
        x = EVP_CIPHER_CTX_new();
    REQUIRE(
        EVP_CipherInit_ex(x, EVP_aes_256_xts(), NULL, key, tweak, encrypt) &&
        EVP_CipherUpdate(x, to, &n, from, (int)unit) && n == (int)unit);
    memcpy(sector, to + in_unit * 512, 512);
}

static void
seal(uint8_t *sector, uint64_t number)
{
    cipher(sector, number, 512, 1);
}

static void
seal_4096(uint8_t *sector, uint64_t number)
{
    cipher(sector, number, UNIT, 1);
}

/* Zeroes, as if they were ciphertext. */
static void
blank(uint8_t *sector, uint64_t number)
{
    memset(sector, 0, 512);
    cipher(sector, number, 512, 0);
}

static void
blank_4096(uint8_t *sector, uint64_t number)
{
    memset(sector, 0, 512);
    cipher(sector, number, UNIT, 0);
}

/* ---- stacks -------------------------------------------------------------- */

/* clang-format off */
#define KV(k, v) { (k), (v), "test", 1 }
#define LAYER(plugin, kv) \
    { (plugin), (plugin), "test", 1, (kv), sizeof(kv) / sizeof((kv)[0]) }
/* clang-format on */

static const struct blk_kv image[] = { KV("path", "/image"),
                                       KV("cache", "256k") };
static const struct blk_kv base[] = { KV("path", "/base") };
static const struct blk_kv base_image[] = { KV("path", "/base"),
                                            KV("cache", "256k") };
static const struct blk_kv plain[] = { KV("mode", "plain"),
                                       KV("key-file", key_path),
                                       KV("memory", "1M"), KV("worker", "4k"),
                                       KV("discard", "true") };
static const struct blk_kv plain_4096[] = { KV("mode", "plain"),
                                            KV("key-file", key_path),
                                            KV("memory", "1M"),
                                            KV("sector", "4096") };
static const struct blk_kv rates[] = { KV("iops", "1500"),
                                       KV("iops-burst", "2") };
static const struct blk_kv lines[] = { KV("file", "/trace"),
                                       KV("buffer", "4k") };

static const struct blk_conf crypt_qcow2[] = { LAYER("crypt", plain),
                                               LAYER("qcow2", image) };
static const struct blk_conf crypt4096_qcow2[] = { LAYER("crypt", plain_4096),
                                                   LAYER("qcow2", image) };
static const struct blk_conf limit_qcow2[] = { LAYER("limit", rates),
                                               LAYER("qcow2", image) };
static const struct blk_conf trace_qcow2[] = { LAYER("trace", lines),
                                               LAYER("qcow2", image) };
static const struct blk_conf qcow2_crypt[] = { LAYER("qcow2", image),
                                               LAYER("crypt", plain),
                                               LAYER("file", base) };
static const struct blk_conf qcow2_crypt4096[] = { LAYER("qcow2", image),
                                                   LAYER("crypt", plain_4096),
                                                   LAYER("file", base) };
static const struct blk_conf qcow2_qcow2[] = {
    LAYER("qcow2", image), { "qcow2", "base", "test", 1, base_image, 2 }
};
static const struct blk_conf crypt_qcow2_file[] = { LAYER("crypt", plain),
                                                    LAYER("qcow2", image),
                                                    LAYER("file", base) };

/* With version 2 only those that have nothing below the image. */
static const struct crash_stack stacks[] = {
    { "crypt, qcow2", crypt_qcow2, 2, .seal = seal, .blank = blank },
    { "crypt 4096, qcow2", crypt4096_qcow2, 2, .seal = seal_4096,
      .blank = blank_4096, .coarse = true },
    { "limit, qcow2", limit_qcow2, 2, .base = CRASH_NO_BASE },
    { "trace, qcow2", trace_qcow2, 2, .base = CRASH_NO_BASE },
    { "qcow2, crypt, file", qcow2_crypt, 3, CRASH_RAW, .seal_base = seal },
    { "qcow2, crypt 4096, file", qcow2_crypt4096, 3, CRASH_RAW,
      .seal_base = seal_4096, .coarse = true },
    { "qcow2, qcow2", qcow2_qcow2, 2, .base = CRASH_QCOW2 },
    { "crypt, qcow2, file", crypt_qcow2_file, 3, CRASH_RAW, .seal = seal,
      .seal_base = seal, .blank = blank },
};

/* crypt alone over a file: what is before its data is nobody's. */
static const struct blk_kv behind[] = { KV("mode", "plain"),
                                        KV("key-file", key_path),
                                        KV("memory", "1M"), KV("offset", "64k"),
                                        KV("discard", "true") };
static const struct blk_kv behind_4096[] = {
    KV("mode", "plain"), KV("key-file", key_path), KV("memory", "1M"),
    KV("offset", "64k"), KV("sector", "4096")
};
static const struct blk_kv disk[] = { KV("path", "/image") };
static const struct blk_conf crypt_file[] = { LAYER("crypt", behind),
                                              LAYER("file", disk) };
static const struct blk_conf crypt4096_file[] = { LAYER("crypt", behind_4096),
                                                  LAYER("file", disk) };
static const struct crash_stack alone[] = {
    { "crypt", crypt_file, 2, .seal = seal, .blank = blank, .raw = 64 << 10 },
    { "crypt 4096", crypt4096_file, 2, .seal = seal_4096, .blank = blank_4096,
      .raw = 64 << 10, .coarse = true },
};

static const struct crash_stack *
pick(struct sim *sim, const struct image_format *f)
{
    const unsigned n = sizeof(stacks) / sizeof(stacks[0]);
    const struct crash_stack *s = &stacks[sim_below(sim, n)];

    while ((f->version < 3 && s->base != CRASH_NO_BASE) ||
           (f->cluster_bits < 12 && s->layer == qcow2_crypt4096))
        s = &stacks[sim_below(sim, n)];
    return s;
}

static const struct crash_stack *
pick_alone(struct sim *sim, const struct image_format *f)
{
    (void)f;
    return &alone[sim_below(sim, sizeof(alone) / sizeof(alone[0]))];
}

/* As crypt-crash it is of crypt alone. */
int
main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    const bool crypt = strstr(slash ? slash : argv[0], "crypt-crash") != NULL;

    key_make();
    return crash_main(argc, argv, crypt ? pick_alone : pick);
}
