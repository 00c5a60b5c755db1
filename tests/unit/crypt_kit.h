/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* crypt_kit.h: keys, and headers that libcryptsetup made, for tests. */
#ifndef TESTS_UNIT_CRYPT_KIT_H
#define TESTS_UNIT_CRYPT_KIT_H

#include <fcntl.h>
#include <libcryptsetup.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/plugin_run.h"

enum { ROOM = 24 << 20 };

static uint8_t volume_key[64];
static const char *key_path; /* a volume key, and a person's key */

__attribute__((unused)) static const char *
put_file(const char *name, const void *bytes, size_t n)
{
    const char *path = run_path(name);
    FILE *f = fopen(path, "we");

    REQUIRE(f && fwrite(bytes, 1, n, f) == n && !fclose(f));
    return path;
}

__attribute__((unused)) static void
get_file(const char *path, uint64_t off, void *to, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    REQUIRE(fd >= 0 && pread(fd, to, n, (off_t)off) == (ssize_t)n);
    close(fd);
}

__attribute__((unused)) static void
patch_file(const char *path, uint64_t off, const void *from, size_t n)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    REQUIRE(fd >= 0 && pwrite(fd, from, n, (off_t)off) == (ssize_t)n);
    close(fd);
}

__attribute__((unused)) static void
make_keys(void)
{
    unsigned i;

    for (i = 0; i < sizeof(volume_key); i++)
        volume_key[i] = (uint8_t)(i * 37 + 11);
    key_path = strdup(put_file("key", volume_key, sizeof(volume_key)));
}

struct shape {
    const char *type, *cipher, *mode, *kdf;
    size_t key_len;
    uint32_t sector, memory_kb;
    const char *data; /* of a detached header */
};

/* A header with one key slot, which key_path opens; cheap.  In a child. */
__attribute__((unused)) static void
format(const char *path, const struct shape *s)
{
    struct crypt_pbkdf_type kdf = { .type = s->kdf ? s->kdf : "pbkdf2",
                                    .hash = "sha256",
                                    .iterations = 1000,
                                    .flags = CRYPT_PBKDF_NO_BENCHMARK };
    struct crypt_params_luks1 one = { .hash = "sha256",
                                      .data_device = s->data };
    struct crypt_params_luks2 two = { .pbkdf = &kdf,
                                      .data_device = s->data,
                                      .sector_size =
                                          s->sector ? s->sector : 512 };
    bool old = !strcmp(s->type, CRYPT_LUKS1);
    struct crypt_device *cd = NULL;
    int status = 1;
    pid_t pid;

    if (s->memory_kb) {
        kdf.iterations = 4;
        kdf.max_memory_kb = s->memory_kb;
        kdf.parallel_threads = 2;
    }
    pid = fork();
    if (!pid) {
        if (crypt_init(&cd, path) || crypt_set_pbkdf_type(cd, &kdf) ||
            crypt_format(cd, s->type, s->cipher ? s->cipher : "aes",
                         s->mode ? s->mode : "xts-plain64", NULL,
                         (const char *)volume_key, s->key_len ? s->key_len : 64,
                         old ? (void *)&one : (void *)&two) ||
            crypt_keyslot_add_by_volume_key(cd, 0, (const char *)volume_key,
                                            s->key_len ? s->key_len : 64,
                                            (const char *)volume_key, 64) < 0)
            _exit(2);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (status)
        test_fail(__FILE__, __LINE__, "can't format %s: %x", path, status);
}

#endif
