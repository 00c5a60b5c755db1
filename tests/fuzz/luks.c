/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * luks: headers of any bytes through the crypt plugin's glue.  The input is
 * the beginning of a disk; the checksum of a LUKS2 header is put right, as
 * nothing behind it would be reached otherwise.
 *
 * Nothing that is accepted may ask for more than the bounds, and every key slot
 * must be inside.  A key is derived only where that is quick.
 */
#include "config.h"

#include <libcryptsetup.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugins/crypt/luks.c"

enum {
    DISK = 20 << 20, /* as much as an ordinary header asks for */
    QUICK = 2000,    /* iterations */
    BINARY = 4096,
    ALGORITHM = 72, /* where these are in a LUKS2 header */
    CHECKSUM = 448
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put_right(uint8_t *disk)
{
    const uint64_t size = big_endian(disk + 8, 8);

    if (memcmp(disk, "LUKS\xba\xbe\0\2", 8) || size < BINARY || size > DISK ||
        memcmp(disk + ALGORITHM, "sha256", 7))
        return;
    memset(disk + CHECKSUM, 0, 64);
    EVP_Digest(disk, size, disk + CHECKSUM, NULL, EVP_sha256(), NULL);
}

static int
is_quick(struct luks *h, const uint8_t *disk)
{
    struct crypt_pbkdf_type kdf;
    int slot;

    if (digest_iterations(h, disk) > QUICK)
        return 0;
    for (slot = 0; slot < LUKS_SLOTS; slot++) {
        if (crypt_keyslot_status(h->cd, slot) < CRYPT_SLOT_ACTIVE)
            continue;
        memset(&kdf, 0, sizeof(kdf));
        if (crypt_keyslot_get_pbkdf(h->cd, slot, &kdf) ||
            kdf.iterations > (kdf.max_memory_kb ? 4 : QUICK))
            return 0;
    }
    return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct luks h = { .memory_max = 1 << 20 };
    struct key k = { .bytes = (uint8_t[]){ "secret" }, .len = 6 };
    uint8_t *disk, key[LUKS_KEY_BYTES];
    int fd = memfd_create("luks", MFD_CLOEXEC);
    char why[300] = "";
    unsigned i;

    if (fd < 0 || ftruncate(fd, DISK))
        abort();
    disk = mmap(NULL, DISK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (disk == MAP_FAILED)
        abort();
    memcpy(disk, data, size < DISK ? size : DISK);
    put_right(disk);
    if (luks_first(disk, DISK) > DISK)
        abort();
    if (luks_load(&h, fd, disk, DISK, why, sizeof(why))) {
        if (!why[0])
            abort();
    } else {
        if (!h.areas || h.areas > LUKS_SLOTS || h.key_len > LUKS_KEY_BYTES)
            abort();
        for (i = 0; i < h.areas; i++) {
            if (h.area[i].off > DISK || h.area[i].len > DISK - h.area[i].off)
                abort();
        }
        if (is_quick(&h, disk) && luks_unlock(&h, &k, key, why, sizeof(why)) &&
            !why[0])
            abort();
    }
    luks_close(&h);
    munmap(disk, DISK);
    close(fd);
    return 0;
}
