/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The crypt plugin on the real engine and loop: what it writes, judged by
 * libcrypto; headers, made by libcryptsetup; and what it refuses. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <openssl/evp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/crypt_kit.h"
#include "tests/unit/plugin_model.h"

/* A sanitizer's mlock() does nothing. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { DISK = 3 << 20 };

static uint8_t buf[1 << 20], raw[1 << 20];

/* Sectors as they are below, decrypted; number: of the first 512 bytes.  In a
 * child: in this process libcrypto is for the plugin. */
static void
judge(const char *path, uint64_t off, uint64_t number, uint32_t sector,
      size_t key_len, const uint8_t *expected, size_t n)
{
    pid_t pid = fork();
    int status = 1, out;

    if (!pid) {
        EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
        uint8_t tweak[16] = { 0 };
        size_t at;

        get_file(path, off, raw, n);
        for (at = 0; at < n; at += sector) {
            uint64_t t = number + at / 512;

            memcpy(tweak, &t, 8);
            if (!EVP_DecryptInit_ex(
                    x, key_len == 64 ? EVP_aes_256_xts() : EVP_aes_128_xts(),
                    NULL, volume_key, tweak) ||
                !EVP_DecryptUpdate(x, raw + at, &out, raw + at, (int)sector))
                _exit(2);
        }
        _exit(memcmp(raw, expected, n) ? 3 : 0);
    }
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
}

static void
fill(uint64_t seed)
{
    struct run r = { .seed = seed };
    unsigned i;

    for (i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)run_random(&r);
}

/* ---- plain --------------------------------------------------------------- */

static void
play(const char *options, uint64_t seed)
{
    struct run r = { .seed = seed };
    struct model m;
    uint64_t at;

    RUN(r, "crypt mode=plain key-file=%s %s | file path=%s direct=off",
        key_path, options, run_file("disk", DISK));
    memset(buf, 0, sizeof(buf));
    for (at = 0; at < DISK; at += sizeof(buf))
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, at, buf, sizeof(buf)), 0);
    model_init(&m, &r, DISK);
    m.no_zero = true;
    model_play(&m, 1500);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    judge(run_path("disk"), 0, 0, strstr(options, "4k") ? 4096 : 512, 64,
          m.data, sizeof(raw));
    model_free(&m);
    CHECK_EQ(run_counter(&r, 0, "memory_used"), 0);
    if (strstr(options, "worker=0"))
        CHECK_EQ(run_counter(&r, 0, "worked"), 0);
    else
        CHECK(run_counter(&r, 0, "worked") > 0);
    run_close(&r);
}

static void
holds_what_was_written(void)
{
    play("", 1);
    play("sector=4k", 2);
    play("worker=512 memory=1M", 3);
    play("sector=4k worker=0 memory=1M", 4);
}

static void
begins_where_it_is_told(void)
{
    const char *path = run_file("disk", DISK);
    struct run r = { 0 };

    fill(5);
    RUN(r, "crypt mode=plain key-file=%s offset=1M | file path=%s", key_path,
        path);
    CHECK_EQ(chain_limits(r.chain)->size, 2 << 20);
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 1 << 20, buf, 1 << 20), 0);
    judge(path, 2 << 20, 2048, 512, 64, buf, 1 << 20);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 2 << 20, buf, 512), -EINVAL);
    run_close(&r);

    /* Half as long a key. */
    put_file("short", volume_key, 32);
    RUN(r, "crypt mode=plain key-file=%s | file path=%s", run_path("short"),
        path);
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, buf, 1 << 20), 0);
    judge(path, 0, 0, 512, 32, buf, 1 << 20);
    run_close(&r);
}

/* Eight at once, of which the memory of a disk that was told nothing takes but
 * four. */
static void
has_the_memory_it_is_told(void)
{
    static struct run_io io[8];
    struct run r = { 0 };
    unsigned i;

    RUN(r,
        "crypt mode=plain key-file=%s memory=16M worker=0 | delay time=5ms | "
        "memory size=8M",
        key_path);
    for (i = 0; i < 8; i++) {
        io[i] = (struct run_io){ .op = BLK_WRITE,
                                 .off = (uint64_t)i << 20,
                                 .buf = buf,
                                 .len = 1 << 20 };
        run_start(&r, &io[i]);
    }
    for (i = 0; i < 8; i++) {
        run_wait(&r, &io[i]);
        CHECK_EQ(io[i].error, 0);
    }
    CHECK_EQ(run_counter(&r, 0, "waited"), 0);
    run_close(&r);
}

/* More writes than there is memory for: all of them end, in any order. */
static void
waits_for_memory(void)
{
    static struct run_io io[RUN_DEPTH];
    struct run r = { 0 };
    unsigned i;

    fill(6);
    RUN(r,
        "crypt mode=plain key-file=%s memory=1M | delay time=2ms | memory "
        "size=64M",
        key_path);
    for (i = 0; i < RUN_DEPTH; i++) {
        io[i] = (struct run_io){ .op = BLK_WRITE,
                                 .off = (uint64_t)i << 20,
                                 .buf = buf,
                                 .len = i % 3 ? 512 : 1 << 20,
                                 .segs = 200,
                                 .step = 512 };
        if (i % 3)
            io[i].segs = 1;
        run_start(&r, &io[i]);
    }
    for (i = 0; i < RUN_DEPTH; i++) {
        run_wait(&r, &io[i]);
        CHECK_EQ(io[i].error, 0);
    }
    CHECK(run_counter(&r, 0, "waited") > 0);
    CHECK_EQ(run_counter(&r, 0, "memory_used"), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, raw, sizeof(raw)), 0);
    CHECK(!memcmp(raw, buf, sizeof(raw)));
    run_close(&r);
}

/* Errors from below come up, and give their memory back. */
static void
passes_errors_on(void)
{
    struct run r = { 0 };
    unsigned i;

    RUN(r,
        "crypt mode=plain key-file=%s memory=1M worker=512 | error op=any "
        "| memory size=4M",
        key_path);
    for (i = 0; i < 40; i++) {
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 256 << 10), -EIO);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), -EIO);
    }
    CHECK_EQ(run_counter(&r, 0, "memory_used"), 0);
    run_close(&r);
}

static void
offers_its_limits(void)
{
    const struct blk_limits *l;
    struct run r = { 0 };

    RUN(r, "crypt mode=plain key-file=%s | memory size=4M", key_path);
    l = chain_limits(r.chain);
    CHECK_EQ(l->align, 512);
    CHECK_EQ(l->max_len, 1 << 20);
    CHECK_EQ(l->ops,
             BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_FLUSH));
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 0, NULL, 4096), -EOPNOTSUPP);
    run_close(&r);
    RUN(r,
        "crypt mode=plain key-file=%s discard=true sector=4k offset=4k | "
        "memory size=4M",
        key_path);
    l = chain_limits(r.chain);
    CHECK_EQ(l->align, 4096);
    CHECK(l->ops & BLK_BIT(BLK_DISCARD));
    memset(buf, 1, 8192);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 8192), 0);
    CHECK_EQ(run_counter(&r, 1, "used_bytes"), 8192);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, 4096, NULL, 4096), 0);
    CHECK_EQ(run_counter(&r, 1, "used_bytes"), 4096);
    run_close(&r);
}

/* ---- LUKS ---------------------------------------------------------------- */

static void
opens(const struct shape *s, const char *options)
{
    const char *path = run_file("luks", ROOM);
    const struct blk_limits *l;
    struct run r = { 0 };
    uint64_t offset;

    format(path, s);
    fill(7);
    RUN(r, "crypt key-file=%s %s | file path=%s", key_path, options, path);
    offset = run_counter(&r, 0, "offset");
    l = chain_limits(r.chain);
    CHECK(offset >= 1 << 20);
    CHECK_EQ(l->size, ROOM - offset);
    CHECK_EQ(l->align, s->sector ? s->sector : 512);
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 8192, buf, 1 << 20), 0);
    judge(path, offset + 8192, 16, l->align, s->key_len ? s->key_len : 64, buf,
          1 << 20);
    run_close(&r);
}

static void
opens_headers(void)
{
    opens(&(struct shape){ .type = CRYPT_LUKS1 }, "");
    opens(&(struct shape){ .type = CRYPT_LUKS1, .key_len = 32 }, "");
    opens(&(struct shape){ .type = CRYPT_LUKS2 }, "");
    opens(&(struct shape){ .type = CRYPT_LUKS2, .sector = 4096 }, "");
    opens(&(struct shape){ .type = CRYPT_LUKS2,
                           .kdf = "argon2i",
                           .memory_kb = 1024 },
          "kdf-memory=1M");
    opens(&(struct shape){ .type = CRYPT_LUKS2,
                           .kdf = "argon2id",
                           .memory_kb = 4096,
                           .sector = 4096 },
          "worker=0");
}

static void
opens_a_detached_header(void)
{
    const char *header = strdup(run_file("header", 16 << 20));
    const char *data = strdup(run_file("data", DISK));
    struct shape s = { .type = CRYPT_LUKS2, .data = data };
    struct run r = { 0 };

    format(header, &s);
    fill(8);
    RUN(r, "crypt key-file=%s header=%s | file path=%s", key_path, header,
        data);
    CHECK_EQ(run_counter(&r, 0, "offset"), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, BLK_FUA, 0, buf, 1 << 20), 0);
    judge(data, 0, 0, 512, 64, buf, 1 << 20);
    run_close(&r);
    /* As if it were in front of its data. */
    CHECK(run_open(&r, RUN_READWRITE, "crypt key-file=%s | file path=%s",
                   key_path, header));
    CHECK(strstr(r.why, "the header belongs to data that are elsewhere"));
    free((void *)(uintptr_t)header);
    free((void *)(uintptr_t)data);
}

/* Two disks, one of them with one crypt over another; and one whose first
 * header is damaged. */
static void
opens_more(void)
{
    const char *path = run_file("luks", ROOM);
    struct shape s = { .type = CRYPT_LUKS2 };
    struct run a = { 0 }, b = { 0 };
    uint8_t damage[64] = { 0 };

    format(path, &s);
    RUN(a, "crypt key-file=%s | file path=%s lock=false", key_path, path);
    RUN(b,
        "crypt mode=plain key-file=%s | crypt name=two key-file=%s | file "
        "path=%s lock=false",
        key_path, key_path, path);
    run_close(&a);
    run_close(&b);
    patch_file(path, 16, damage, sizeof(damage));
    RUN(a, "crypt key-file=%s | file path=%s", key_path, path);
    run_close(&a);
    patch_file(path, 0, damage, sizeof(damage));
    RUN(a, "crypt key-file=%s | file path=%s", key_path, path);
    run_close(&a);
}

/* While it runs: the header is read again, through layers that stand still; and
 * when that fails, all goes on as it was. */
static void
is_changed_live(void)
{
    const char *path = strdup(run_file("luks", ROOM));
    const char *wrong = strdup(put_file("wrong", "wrong", 5));
    struct shape s = { .type = CRYPT_LUKS2, .sector = 4096 };
    struct run r = { 0 };

    format(path, &s);
    fill(9);
    RUN(r, "crypt key-file=%s | file path=%s", key_path, path);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 4096, buf, 1 << 20), 0);
    CHECK_EQ(run_replace(&r, "crypt key-file=%s worker=0 | file path=%s",
                         key_path, path),
             0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 4096, raw, 1 << 20), 0);
    CHECK(!memcmp(buf, raw, sizeof(raw)));
    CHECK_EQ(run_counter(&r, 0, "worked"), 0);
    CHECK_EQ(run_replace(&r, "crypt key-file=%s | file path=%s", wrong, path),
             -EPERM);
    CHECK(strstr(r.why, "opens no key slot"));
    memset(raw, 0, sizeof(raw));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 4096, raw, 1 << 20), 0);
    CHECK(!memcmp(buf, raw, sizeof(raw)));
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);

    /* It grows with what is below. */
    REQUIRE(!truncate(path, ROOM + (1 << 20)));
    CHECK_EQ(run_command(&r, "file", "rescan", (char *)raw, sizeof(raw)), 0);
    RUN_WAIT(r, r.relimits == 1);
    CHECK_EQ(chain_limits(r.chain)->size,
             ROOM + (1 << 20) - run_counter(&r, 0, "offset"));
    run_close(&r);
    free((void *)(uintptr_t)path);
    free((void *)(uintptr_t)wrong);
}

/* ---- what it refuses ----------------------------------------------------- */

static void
expect(const char *sentence, const char *fmt, const char *a, const char *b)
{
    struct run r = { 0 };
    char text[600];

    snprintf(text, sizeof(text), fmt, a, b);
    CHECK(run_open(&r, RUN_READWRITE, "%s", text));
    if (!strstr(r.why, sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" is not \"%s\"", r.why, sentence);
    if (!r.status)
        run_close(&r);
}

#define ON_FILE "crypt key-file=%s | file path=%s"

static void
refuses_headers(void)
{
    const char *path = strdup(run_file("luks", ROOM));
    struct shape s = { .type = CRYPT_LUKS1 };
    const uint8_t many[4] = { 0xff, 0xff, 0xff, 0xff };

    expect("expected a LUKS header, found none", ON_FILE, key_path, path);
    expect("expected a LUKS header, found only 512 bytes",
           "crypt key-file=%s | null size=512%s", key_path, "");
    expect("can't read the header",
           "crypt key-file=%s | error op=read | null "
           "size=%s",
           key_path, "1M");
    expect("header: ", "crypt key-file=%s header=%s | null size=1M", key_path,
           "/nonexistent");

    format(path, &s);
    expect("opens no key slot", ON_FILE, put_file("wrong", "wrong\n", 6), path);
    patch_file(path, 164, many, 4);
    expect("to check the key would take too long", ON_FILE, key_path, path);
    patch_file(path, 212, many, 4);
    expect("key slot 0 would take too long to open", ON_FILE, key_path, path);
    REQUIRE(!truncate(path, 1 << 20));
    expect("found one that is damaged or cut off", ON_FILE, key_path, path);

    REQUIRE(!truncate(path, ROOM));
    s = (struct shape){ .type = CRYPT_LUKS2,
                        .cipher = "aes",
                        .mode = "cbc-essiv:sha256",
                        .key_len = 32 };
    format(path, &s);
    expect("expected the cipher aes-xts-plain64, found aes-cbc-essiv:sha256",
           ON_FILE, key_path, path);
    s = (struct shape){ .type = CRYPT_LUKS2,
                        .kdf = "argon2id",
                        .memory_kb = 8192 };
    format(path, &s);
    expect("key slot 0 needs 8 MiB of memory to open, and kdf-memory allows 4",
           "crypt key-file=%s kdf-memory=4M | file path=%s", key_path, path);
    REQUIRE(!truncate(path, 16 << 20));
    expect("expected a layer below that is longer", ON_FILE, key_path, path);
    free((void *)(uintptr_t)path);
}

static void
refuses_keys(void)
{
    expect("can't open it: No such file",
           "crypt mode=plain key-file=%s | null size=1M%s", "/nonexistent", "");
    expect("expected 32 or 64 bytes, the key itself, found 5",
           "crypt mode=plain key-file=%s | null size=1M%s",
           put_file("five", "12345", 5), "");
    expect("expected a key, found nothing",
           "crypt mode=plain key-file=%s | null size=1M%s",
           put_file("empty", "", 0), "");
    expect("a key has at most", "crypt mode=plain key-file=%s | null size=1M%s",
           "/dev/zero", "");
    memset(buf, 'x', 64);
    expect("both halves of it are equal",
           "crypt mode=plain key-file=%s | null size=1M%s",
           put_file("weak", buf, 64), "");
    expect("key-keyring no-such-key",
           "crypt mode=plain key-keyring=%s | null "
           "size=1M%s",
           "no-such-key", "");
    unsetenv("CREDENTIALS_DIRECTORY");
    expect("LoadCredential=web:",
           "crypt mode=plain key-credential=%s | null size=1M%s", "web", "");
    expect("expected a multiple of 4096, the sector of the layer below",
           "crypt mode=plain key-file=%s offset=512 | null size=1M sector=4k%s",
           key_path, "");
}

static void
refuses_options(void)
{
    expect("expected one of key-file, key-credential and key-keyring, found "
           "none",
           "crypt %s%s| null size=1M", "", "");
    expect("found more", "crypt key-file=%s key-keyring=%s | null size=1M",
           key_path, "k");
    expect("key-credential: expected a name without /",
           "crypt key-credential=%s%s | null size=1M", "../x", "");
    expect("offset: expected mode = \"plain\"",
           "crypt key-file=%s offset=%s | null size=1M", key_path, "4k");
    expect("header: expected mode = \"luks\"",
           "crypt mode=plain key-file=%s header=%s | null size=1M", key_path,
           "/h");
    expect("sector: expected 512 or 4096, found 1024",
           "crypt mode=plain key-file=%s sector=%s | null size=1M", key_path,
           "1k");
    expect("offset: expected a multiple of sector (4096), found 512",
           "crypt mode=plain key-file=%s sector=4k offset=%s | null size=1M",
           key_path, "512");
    expect("memory", "crypt mode=plain key-file=%s memory=%s | null size=1M",
           key_path, "4k");
}

/* Without the right to lock memory nothing is opened.  In a child, which gives
 * the privilege away that would let it. */
static int
open_unlocked(void)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct caps[2];
    const struct rlimit none = { 0 };
    struct run r = { .no_uring = true };

    if (syscall(SYS_capget, &head, caps))
        return 2;
    caps[0].effective &= ~(1u << CAP_IPC_LOCK);
    if (syscall(SYS_capset, &head, caps) || setrlimit(RLIMIT_MEMLOCK, &none))
        return 2;
    if (!run_open(&r, RUN_READWRITE,
                  "crypt mode=plain key-file=%s | null size=1M", key_path))
        return 3;
    return strstr(r.why, "raise the limit of locked memory") ? 0 : 4;
}

static void
refuses_what_can_be_swapped(void)
{
    int status = -1;
    pid_t pid = fork();

    if (!pid)
        _exit(SANITIZED ? 0 : open_unlocked());
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
}

/* ---- where keys come from ------------------------------------------------ */

static void
takes_a_credential(void)
{
    struct run r = { 0 };

    setenv("CREDENTIALS_DIRECTORY", run_dir(), 1);
    RUN(r, "crypt mode=plain key-credential=key | null size=1M");
    run_close(&r);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void
takes_a_key_of_the_kernel(void)
{
    long id = syscall(SYS_add_key, "user", "blktapd-test", volume_key, 64,
                      -4 /* KEY_SPEC_USER_KEYRING */);
    struct run r = { 0 };

    if (id < 0) {
        printf("no keyring here: %s\n", strerror(errno));
        return;
    }
    RUN(r, "crypt mode=plain key-keyring=blktapd-test | null size=1M");
    run_close(&r);
    syscall(SYS_keyctl, 9 /* KEYCTL_UNLINK */, id, -4);
    CHECK(run_open(&r, RUN_READWRITE,
                   "crypt mode=plain key-keyring=blktapd-test | null size=1M"));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    make_keys();
    TEST(holds_what_was_written);
    TEST(begins_where_it_is_told);
    TEST(has_the_memory_it_is_told);
    TEST(waits_for_memory);
    TEST(passes_errors_on);
    TEST(offers_its_limits);
    TEST(opens_headers);
    TEST(opens_a_detached_header);
    TEST(opens_more);
    TEST(is_changed_live);
    TEST(refuses_headers);
    TEST(refuses_keys);
    TEST(refuses_options);
    TEST(refuses_what_can_be_swapped);
    TEST(takes_a_credential);
    TEST(takes_a_key_of_the_kernel);
    return test_end();
}
