/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/crypt/luks.h"

#include <errno.h>
#include <inttypes.h>
#include <libcryptsetup.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LUKS_HEADERS = 8 << 20 }; /* two LUKS2 headers of the largest size */

__attribute__((format(printf, 4, 5))) static int
fail(int error, char *why, size_t n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, n, fmt, ap);
    va_end(ap);
    return error;
}

static uint64_t
big_endian(const uint8_t *p, unsigned bytes)
{
    uint64_t x = 0;

    while (bytes--)
        x = x << 8 | *p++;
    return x;
}

/* What the library has to say is for our own sentence; it is never printed. */
static void
take_log(int level, const char *text, void *data)
{
    struct luks *h = data;

    if (!h || level != CRYPT_LOG_ERROR)
        return;
    snprintf(h->said, sizeof(h->said), "%s", text);
    h->said[strcspn(h->said, "\n")] = '\0';
}

/* ---- how much of it ------------------------------------------------------ */

static bool
is_ours(const uint8_t *head, size_t size)
{
    static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

    return size >= sizeof(magic) && !memcmp(head, magic, sizeof(magic));
}

/* LUKS2 has a second copy of its header, which the library looks for when the
 * first one is damaged; where that is only the first one tells. */
size_t
luks_first(const uint8_t *head, size_t size)
{
    const bool ours = is_ours(head, LUKS_HEAD);
    const uint64_t version = big_endian(head + 6, 2);
    uint64_t want = LUKS_HEADERS;

    if (ours && version == 1)
        want = LUKS_HEAD;
    else if (ours && version == 2)
        want = 2 * (big_endian(head + 8, 8) & (LUKS_HEADERS - 1));
    if (want < LUKS_HEAD || want > LUKS_HEADERS)
        want = LUKS_HEADERS;
    return want < size ? (size_t)want : size;
}

/* ---- what it costs ------------------------------------------------------- */

/* The largest number that goes by this name anywhere in a JSON text. */
static uint64_t
json_largest(const char *json, const char *name)
{
    const size_t len = strlen(name);
    uint64_t most = 0;

    while ((json = strstr(json, name))) {
        uint64_t x;

        json += len;
        x = strtoull(json + strspn(json, " :"), NULL, 10);
        if (x > most)
            most = x;
    }
    return most;
}

/* Of what checks the volume key; LUKS1 has it in its fixed header. */
static uint64_t
digest_iterations(struct luks *h, const uint8_t *copy)
{
    const char *json = NULL;

    if (h->version == 1)
        return big_endian(copy + 164, 4);
    if (crypt_dump_json(h->cd, &json, 0) || !json)
        return UINT64_MAX;
    return json_largest(json, "\"iterations\"");
}

static int
slot_costs(struct luks *h, int slot, char *why, size_t n)
{
    struct crypt_pbkdf_type kdf = { 0 };
    uint64_t memory;

    if (crypt_keyslot_get_pbkdf(h->cd, slot, &kdf))
        return fail(-EINVAL, why, n, "key slot %d can't be read: %s", slot,
                    h->said);
    memory = (uint64_t)kdf.max_memory_kb << 10;
    if (memory > h->memory_max)
        return fail(-ENOMEM, why, n,
                    "key slot %d needs %" PRIu64 " MiB of memory to open, and "
                    "kdf-memory allows %" PRIu64 " MiB",
                    slot, memory >> 20, h->memory_max >> 20);
    if (kdf.iterations > (memory ? LUKS_PASSES : LUKS_ITERATIONS) ||
        kdf.parallel_threads > LUKS_THREADS)
        return fail(-EINVAL, why, n,
                    "key slot %d would take too long to open (%s, %" PRIu32
                    " iterations, %" PRIu32 " threads): convert it with "
                    "cryptsetup luksConvertKey",
                    slot, kdf.type ? kdf.type : "?", kdf.iterations,
                    kdf.parallel_threads);
    return 0;
}

/* The areas of the slots in use; and that to open them is bearable. */
static int
load_slots(struct luks *h, const uint8_t *copy, size_t size, char *why,
           size_t n)
{
    const int max = crypt_keyslot_max(crypt_get_type(h->cd));
    int slot, rc;

    for (slot = 0; slot < max && slot < LUKS_SLOTS; slot++) {
        struct luks_area *a = &h->area[h->areas];
        crypt_keyslot_info info = crypt_keyslot_status(h->cd, slot);

        if (info != CRYPT_SLOT_ACTIVE && info != CRYPT_SLOT_ACTIVE_LAST)
            continue;
        rc = slot_costs(h, slot, why, n);
        if (rc)
            return rc;
        if (crypt_keyslot_area(h->cd, slot, &a->off, &a->len) ||
            a->off > size || a->len > size - a->off)
            return fail(-EINVAL, why, n,
                        "key slot %d is not inside of the header: expected it "
                        "in the first %zu bytes",
                        slot, size);
        h->areas++;
    }
    if (!h->areas)
        return fail(-ENOENT, why, n,
                    "the header has no key slot: expected one, made by "
                    "cryptsetup luksAddKey");
    if (digest_iterations(h, copy) > LUKS_ITERATIONS)
        return fail(-EINVAL, why, n,
                    "to check the key would take too long: expected at most "
                    "%d iterations",
                    LUKS_ITERATIONS);
    return 0;
}

/* ---- what it says -------------------------------------------------------- */

static int
check_cipher(struct luks *h, char *why, size_t n)
{
    const char *cipher = crypt_get_cipher(h->cd);
    const char *mode = crypt_get_cipher_mode(h->cd);
    const int len = crypt_get_volume_key_size(h->cd);

    if (!cipher || !mode || strcmp(cipher, "aes") ||
        strcmp(mode, "xts-plain64"))
        return fail(-EOPNOTSUPP, why, n,
                    "expected the cipher aes-xts-plain64, found %s-%s: change "
                    "it with cryptsetup reencrypt --cipher aes-xts-plain64",
                    cipher ? cipher : "none", mode ? mode : "none");
    if (len != 32 && len != 64)
        return fail(-EOPNOTSUPP, why, n,
                    "expected a key of 256 or 512 bits, found one of %d",
                    8 * len);
    h->key_len = (size_t)len;
    return 0;
}

static int
check_layout(struct luks *h, char *why, size_t n)
{
    struct crypt_params_integrity integrity = { 0 };
    const int sector = crypt_get_sector_size(h->cd);
    uint64_t offset = crypt_get_data_offset(h->cd);
    uint32_t needs = 0;

    if (h->version == 2 &&
        (crypt_persistent_flags_get(h->cd, CRYPT_FLAGS_REQUIREMENTS, &needs) ||
         needs))
        return fail(-EBUSY, why, n,
                    "the header asks for something that is not known here "
                    "(%#" PRIx32 "), as while it is being reencrypted: end "
                    "that with cryptsetup",
                    needs);
    if (h->version == 2 && !crypt_get_integrity_info(h->cd, &integrity) &&
        integrity.integrity && strcmp(integrity.integrity, "none"))
        return fail(-EOPNOTSUPP, why, n,
                    "expected a header without integrity, found %s",
                    integrity.integrity);
    if (sector != 512 && sector != 4096)
        return fail(-EOPNOTSUPP, why, n,
                    "expected sectors of 512 or 4096 bytes, found %d", sector);
    if (!offset && !h->detached)
        return fail(-EINVAL, why, n,
                    "the header belongs to data that are elsewhere: name it by "
                    "the option header of the layer over those");
    if (offset > INT64_MAX / 512)
        return fail(-EINVAL, why, n, "the data begins too far away");
    h->data = offset * 512;
    h->iv = crypt_get_iv_offset(h->cd);
    h->sector = (uint32_t)sector;
    return 0;
}

/* ---- the library --------------------------------------------------------- */

/* What was a header once is in front of somebody's data: to make a new one is
 * no advice to give.  The library calls the copy by a name of our own. */
static int
not_loaded(const struct luks *h, const uint8_t *copy, size_t size, int rc,
           char *why, size_t n)
{
    static const char path[] = "Device /proc/self/fd/";
    const char *said = h->said[0] ? h->said : strerror(-rc), *the = "";

    if (!strncmp(said, path, sizeof(path) - 1)) {
        said += sizeof(path) - 1;
        said += strspn(said, "0123456789 ");
        the = "it ";
    }
    if (is_ours(copy, size))
        return fail(-EINVAL, why, n,
                    "expected a LUKS header that is whole, found one that is "
                    "damaged or cut off (%s%s): bring it back with cryptsetup "
                    "luksHeaderRestore, or name a backup by the option header",
                    the, said);
    return fail(-EINVAL, why, n,
                "expected a LUKS header, found none (%s%s): make one with "
                "cryptsetup luksFormat, or name it by the option header",
                the, said);
}

int
luks_load(struct luks *h, int fd, const uint8_t *copy, size_t size, char *why,
          size_t n)
{
    char path[40];
    int rc;

    crypt_set_log_callback(NULL, take_log, NULL);
    /* The copy is ours alone. */
    crypt_metadata_locking(NULL, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rc = crypt_init(&h->cd, path);
    if (rc)
        return fail(rc, why, n, "libcryptsetup can't begin: %s", strerror(-rc));
    crypt_set_log_callback(h->cd, take_log, h);
    rc = crypt_load(h->cd, CRYPT_LUKS, NULL);
    if (rc)
        return not_loaded(h, copy, size, rc, why, n);
    h->version = strcmp(crypt_get_type(h->cd), CRYPT_LUKS1) ? 2 : 1;
    rc = check_cipher(h, why, n);
    if (!rc)
        rc = check_layout(h, why, n);
    return rc ? rc : load_slots(h, copy, size, why, n);
}

int
luks_unlock(struct luks *h, const struct key *k, uint8_t *key, char *why,
            size_t n)
{
    size_t len = h->key_len;
    int rc;

    h->said[0] = '\0';
    rc = crypt_volume_key_get(h->cd, CRYPT_ANY_SLOT, (char *)key, &len,
                              (const char *)k->bytes, k->len);
    if (rc == -EPERM)
        return fail(rc, why, n,
                    "%s opens no key slot: expected what cryptsetup open "
                    "--key-file takes (a newline at its end counts)",
                    k->name);
    if (rc < 0)
        return fail(rc, why, n, "no key slot can be opened: %s",
                    h->said[0] ? h->said : strerror(-rc));
    return len == h->key_len ? 0
                             : fail(-EINVAL, why, n,
                                    "expected a volume key of %zu bytes, found "
                                    "one of %zu",
                                    h->key_len, len);
}

void
luks_close(struct luks *h)
{
    crypt_free(h->cd);
    h->cd = NULL;
}
