/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/sealed.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/host.h"
#include "tests/sim/daemon/peer.h"

enum { KEY_LEN = 64, SECTOR = 512 };

extern const struct blk_plugin blk_plugin_crypt, blk_plugin_nbd,
    blk_plugin_qcow2;
const struct blk_plugin *const peer_others[] = { &blk_plugin_crypt,
                                                 &blk_plugin_nbd,
                                                 &blk_plugin_qcow2, NULL };
const bool sealed_built = true;

/* ---- the cipher ---------------------------------------------------------- */

static uint8_t key[KEY_LEN];

const char *
sealed_key(void)
{
    static char path[64];
    FILE *f;

    if (path[0])
        return path;
    f = tmpfile();
    for (unsigned i = 0; i < KEY_LEN; i++)
        key[i] = (uint8_t)(i * 29 + 5);
    if (!f || fwrite(key, 1, KEY_LEN, f) != KEY_LEN || fflush(f))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    return path;
}

static void
cipher(uint8_t *at, uint64_t first, uint64_t sectors, int encrypt)
{
    static EVP_CIPHER_CTX *x[2];
    EVP_CIPHER_CTX **c = &x[encrypt];
    uint8_t tweak[16] = { 0 };
    int n;

    sealed_key();
    if (!*c &&
        !((*c = EVP_CIPHER_CTX_new()) &&
          EVP_CipherInit_ex(*c, EVP_aes_256_xts(), NULL, key, tweak, encrypt)))
        abort();
    for (uint64_t i = 0; i < sectors; i++, at += SECTOR) {
        for (unsigned k = 0; k < 8; k++)
            tweak[k] = (uint8_t)((first + i) >> 8 * k);
        if (!EVP_CipherInit_ex(*c, NULL, NULL, NULL, tweak, -1) ||
            !EVP_CipherUpdate(*c, at, &n, at, SECTOR) || n != SECTOR)
            abort();
    }
}

void
sealed_close(void *bytes, uint64_t first, uint64_t sectors)
{
    cipher(bytes, first, sectors, 1);
}

void
sealed_open(void *bytes, uint64_t first, uint64_t sectors)
{
    cipher(bytes, first, sectors, 0);
}

/* ---- secrets of plugins -------------------------------------------------- */

/* In place of src/host/secret.c, whose memory is the process's and would stay
 * with a daemon that was killed: here it is the daemon's, and goes with it.
 * What libcrypto is asked for outside of begin and end is the world's. */
void *alloc_calloc(size_t, size_t);
void *alloc_malloc(size_t);
void alloc_free(void *);

static bool wanted;

void *
host_secret_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return wanted ? alloc_malloc(n) : malloc(n);
}

void *
host_secret_realloc(void *p, size_t n, const char *file, int line)
{
    /* A cipher's context is never made larger. */
    return p ? realloc(p, n) : host_secret_malloc(n, file, line);
}

void
host_secret_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    alloc_free(p);
}

void *
host_secret_map(size_t n)
{
    return alloc_calloc(1, n);
}

void
host_secret_unmap(void *p, size_t n)
{
    if (p)
        OPENSSL_cleanse(p, n);
    alloc_free(p);
}

int
host_secret_protect(void *p, size_t n)
{
    (void)p;
    (void)n;
    return 0;
}

void
host_secret_begin(void)
{
    wanted = true;
}

void
host_secret_end(void)
{
    wanted = false;
}
