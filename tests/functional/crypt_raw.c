/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt_raw: a second opinion on aes-xts-plain64, straight from libcrypto.
 *
 *     crypt_raw encrypt|decrypt KEYFILE SECTOR <FROM >TO
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
    static unsigned char key[65], buf[4096];
    unsigned char tweak[16] = { 0 };
    unsigned long long number = 0;
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    size_t sector, len;
    FILE *f;
    int n;

    if (argc != 4 || !x)
        return 2;
    f = fopen(argv[2], "re");
    len = f ? fread(key, 1, sizeof(key), f) : 0;
    sector = strtoul(argv[3], NULL, 10);
    if ((len != 32 && len != 64) || (sector != 512 && sector != 4096)) {
        fprintf(stderr, "crypt_raw: a key of %zu bytes, sectors of %zu\n", len,
                sector);
        return 2;
    }
    while (fread(buf, 1, sector, stdin) == sector) {
        memcpy(tweak, &number, sizeof(number)); /* little end first */
        if (!EVP_CipherInit_ex(
                x, len == 64 ? EVP_aes_256_xts() : EVP_aes_128_xts(), NULL, key,
                tweak, !strcmp(argv[1], "encrypt")) ||
            !EVP_CipherUpdate(x, buf, &n, buf, (int)sector) ||
            fwrite(buf, 1, sector, stdout) != sector)
            return 1;
        number += sector / 512;
    }
    EVP_CIPHER_CTX_free(x);
    return fflush(stdout) ? 1 : 0;
}
