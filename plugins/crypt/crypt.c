/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt: what is below is encrypted, by AES-XTS; with a LUKS header, as
 * cryptsetup and the kernel's dm-crypt have it, or without.
 *
 * This part has the options and the life; see crypt.h.
 */
#include "plugins/crypt/crypt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const crypt_modes[] = { "luks", "plain", NULL };

static const struct blk_option crypt_options[] = {
    { .name = "mode",
      .type = BLK_CHOICE,
      .at = offsetof(struct crypt, mode),
      .fallback = "luks",
      .choices = crypt_modes,
      .help = "with a LUKS header, or plain, without" },
    { .name = "key-file",
      .type = BLK_PATH,
      .at = offsetof(struct crypt, from.file),
      .help = "a file with the key" },
    { .name = "key-credential",
      .type = BLK_STRING,
      .at = offsetof(struct crypt, from.credential),
      .help = "the name of a credential of the service, with the key" },
    { .name = "key-keyring",
      .type = BLK_STRING,
      .at = offsetof(struct crypt, from.keyring),
      .help = "the description of a user key in the kernel's keyring" },
    { .name = "header",
      .type = BLK_PATH,
      .at = offsetof(struct crypt, header),
      .help = "the LUKS header, when it is in a file of its own" },
    { .name = "kdf-memory",
      .type = BLK_SIZE,
      .at = offsetof(struct crypt, kdf_memory),
      .fallback = "1G",
      .min = 1 << 20,
      .max = 4ull << 30,
      .help = "most memory that opening a key slot may take" },
    { .name = "sector",
      .type = BLK_SIZE,
      .at = offsetof(struct crypt, plain_sector),
      .fallback = "512",
      .min = 512,
      .max = 4096,
      .help = "of plain: bytes that are encrypted as one, 512 or 4096" },
    { .name = "offset",
      .type = BLK_SIZE,
      .at = offsetof(struct crypt, plain_offset),
      .fallback = "0",
      .max = 1ull << 60,
      .help = "of plain: where the data begins, a multiple of sector" },
    { .name = "discard",
      .type = BLK_BOOL,
      .at = offsetof(struct crypt, discard),
      .fallback = "false",
      .help = "let discards through: they show which blocks are in use" },
    { .name = "memory",
      .type = BLK_SIZE,
      .at = offsetof(struct crypt, memory),
      .fallback = "4M",
      .min = (uint64_t)SEALER_CHUNK * SEALER_CHUNKS,
      .max = 1 << 30,
      .help = "for writes on their way" },
    { .name = "worker",
      .type = BLK_SIZE,
      .at = offsetof(struct crypt, worker),
      .fallback = "64k",
      .max = 1 << 30,
      .help = "requests from this length on go to worker threads; 0: none" },
    { 0 }
};

static const struct blk_counter crypt_counters[] = {
    { "worked", offsetof(struct crypt, sealer.worked), "requests",
      "requests that a worker thread encrypted or decrypted" },
    { "waited", offsetof(struct crypt, waited), "requests",
      "writes that waited for memory" },
    { 0 }
};

static int
check_plain(const struct crypt *d, char *why, size_t why_size)
{
    if (d->mode != CRYPT_MODE_PLAIN && d->plain_offset) {
        snprintf(why, why_size,
                 "offset: expected mode = \"plain\" with it; a LUKS header "
                 "says where its data begins");
        return -EINVAL;
    }
    if (d->mode != CRYPT_MODE_PLAIN && d->plain_sector != 512) {
        snprintf(why, why_size,
                 "sector: expected mode = \"plain\" with it; a LUKS header "
                 "says how long its sectors are");
        return -EINVAL;
    }
    if (d->mode == CRYPT_MODE_PLAIN && d->header) {
        snprintf(why, why_size,
                 "header: expected mode = \"luks\" with it; plain has none");
        return -EINVAL;
    }
    if (d->plain_sector != 512 && d->plain_sector != 4096) {
        snprintf(why, why_size, "sector: expected 512 or 4096, found %" PRIu64,
                 d->plain_sector);
        return -EINVAL;
    }
    if (d->plain_offset % d->plain_sector) {
        snprintf(why, why_size,
                 "offset: expected a multiple of sector (%" PRIu64
                 "), found %" PRIu64,
                 d->plain_sector, d->plain_offset);
        return -EINVAL;
    }
    return 0;
}

static int
crypt_check(const void *self, char *why, size_t why_size)
{
    const struct crypt *d = self;
    const struct key_from *k = &d->from;

    if (!!k->file + !!k->credential + !!k->keyring != 1) {
        snprintf(why, why_size,
                 "expected one of key-file, key-credential and key-keyring, "
                 "found %s",
                 k->file || k->credential || k->keyring ? "more" : "none");
        return -EINVAL;
    }
    if (k->credential && (!k->credential[0] || strchr(k->credential, '/'))) {
        snprintf(why, why_size,
                 "key-credential: expected a name without /, found \"%s\"",
                 k->credential);
        return -EINVAL;
    }
    return check_plain(d, why, why_size);
}

/* ---- life ---------------------------------------------------------------- */

/* What the key is for fits to what is below. */
static int
crypt_fits(struct blk_layer *l)
{
    struct crypt *d = blk_self(l);
    const struct blk_limits *below = blk_below(l);

    if (d->data % below->align) {
        blk_why(l,
                "the data begins at byte %" PRIu64 ": expected a multiple of "
                "%" PRIu32 ", the sector of the layer below",
                d->data, below->align);
        return -EINVAL;
    }
    if (below->size < d->data || below->size - d->data < d->sector) {
        blk_why(l,
                "the data begins at byte %" PRIu64 ": expected a layer below "
                "that is longer, found %" PRIu64 " bytes",
                d->data, below->size);
        return -EINVAL;
    }
    return 0;
}

void
crypt_ready(struct blk_layer *l, int error)
{
    struct crypt *d = blk_self(l);

    if (!error)
        error = crypt_fits(l);
    if (!error) {
        error = crypt_prepare(d);
        if (error == -EINVAL)
            blk_why(l, "libcrypto does not take the key: both halves of it "
                       "are equal, or it can't be kept in locked memory");
        else if (error)
            blk_why(l, "no memory for requests, or none that can be locked for "
                       "the key: make memory smaller, or raise the limit of "
                       "locked memory (LimitMEMLOCK= of the unit)");
    }
    /* From now on only libcrypto has it. */
    blk_secret_unmap(d->key, LUKS_KEY_BYTES);
    d->key = NULL;
    if (error)
        crypt_release(d);
    else
        sealer_warn(l);
    blk_ready(l, error);
}

static void
crypt_start(struct blk_layer *l, struct blk_layer *old)
{
    (void)old;
    crypt_open(l);
}

static void
crypt_stop(struct blk_layer *l)
{
    crypt_release(blk_self(l));
    blk_ready(l, 0);
}

/* ZERO would have to write as many bytes: whoever wants that writes them. */
static void
crypt_limits(struct blk_layer *l, struct blk_limits *limits)
{
    const struct crypt *d = blk_self(l);
    const uint64_t most =
        (uint64_t)SEALER_CHUNK *
        (limits->max_segs < SEALER_CHUNKS ? limits->max_segs : SEALER_CHUNKS);

    limits->size = limits->size > d->data ? limits->size - d->data : 0;
    if (limits->align < d->sector)
        limits->align = d->sector;
    if (limits->max_len > most)
        limits->max_len = (uint32_t)most;
    limits->ops &= ~BLK_BIT(BLK_ZERO);
    if (!d->discard)
        limits->ops &= ~BLK_BIT(BLK_DISCARD);
}

static void
crypt_stats(struct blk_layer *l, struct blk_out *out)
{
    const struct crypt *d = blk_self(l);
    char cipher[40];

    snprintf(cipher, sizeof(cipher), "aes-xts-plain64, %zu bits",
             8 * d->key_len);
    blk_put_str(out, "format",
                d->luks == 2   ? "LUKS2"
                : d->luks == 1 ? "LUKS1"
                               : "plain");
    blk_put_str(out, "cipher", cipher);
    blk_put_u64(out, "sector", d->sector);
    blk_put_u64(out, "offset", d->data);
    blk_put_u64(out, "memory_used",
                (uint64_t)(d->sealer.chunks_n - d->sealer.chunks_free) *
                    SEALER_CHUNK);
}

BLK_PLUGIN(crypt) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct crypt),
    .req_size = sizeof(struct sealer_io),
    .own = CRYPT_OWN,
    .ops = BLK_BIT(BLK_READ) | BLK_BIT(BLK_WRITE) | BLK_BIT(BLK_FLUSH) |
           BLK_BIT(BLK_DISCARD),
    .name = "crypt",
    .help = "encrypts what is below: LUKS, or plain AES-XTS",
    .options = crypt_options,
    .counters = crypt_counters,
    .check = crypt_check,
    .start = crypt_start,
    .stop = crypt_stop,
    .submit = crypt_submit,
    .done = crypt_done,
    .limits = crypt_limits,
    .stats = crypt_stats,
};
