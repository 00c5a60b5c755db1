/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/medium.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/qcow2/format.h"
#include "tests/sim/daemon/scene.h"
#include "tests/sim/daemon/sealed.h"
#include "tests/sim/nbd_fake.h"

/* Of one round of a loop, and more. */
#define MOMENT_NS UINT64_C(100000)

enum { SECTOR = RECORD_SECTOR };

/* ---- by the dice --------------------------------------------------------- */

/* An error layer's options. */
static void
error_dice(struct run *r, struct medium *m)
{
    static const char *const code[] = { "EIO", "ENOSPC", "ETIMEDOUT",
                                        "ENOMEM" };
    struct sim *s = r->world.sim;

    m->failing = true;
    m->fatal = sim_below(s, 3) == 0;
    snprintf(m->error, sizeof m->error,
             "errno = \"%s\"; when = \"%s\"; fatal = %s; probability = %s",
             code[sim_below(s, 4)], sim_below(s, 2) ? "before" : "after",
             m->fatal ? "true" : "false", m->fatal ? "0.03" : "0.05");
}

static void
image_dice(struct run *r, struct medium *m, unsigned i)
{
    static const struct image_format formats[] = {
        { .version = 3, .cluster_bits = 12, .refcount_order = 4 },
        { .version = 3, .cluster_bits = 9, .refcount_order = 4 },
        { .version = 3,
          .cluster_bits = 14,
          .refcount_order = 4,
          .extended = true },
        { .version = 2, .cluster_bits = 12, .refcount_order = 4 },
    };
    struct sim *s = r->world.sim;

    m->image = (enum medium_image)sim_below(s, 4);
    /* A data file came with version 3. */
    m->format = formats[sim_below(s, m->image == IMAGE_APART ? 3 : 4)];
    if (m->image == IMAGE_APART)
        snprintf(m->data, sizeof m->data, "/data%u", i);
    else if (m->image != IMAGE_ALONE)
        snprintf(m->base, sizeof m->base, "/base%u", i);
    if (m->image == IMAGE_FLEETING)
        m->file[0] = '\0';
    m->encrypted =
        sealed_built && m->image == IMAGE_FLEETING && sim_below(s, 2);
}

static void
crypt_dice(struct run *r, struct medium *m)
{
    if (!sealed_built || m->tail == TAIL_MEMORY || m->data[0] ||
        sim_below(r->world.sim, 5))
        return;
    m->crypt = m->base[0] ? CRYPT_BELOW : CRYPT_ABOVE;
    /* A full image, with one block of counters. */
    if (m->crypt == CRYPT_ABOVE && m->format.cluster_bits < 12)
        m->format.cluster_bits = 12;
}

void
medium_dice(struct run *r, unsigned i)
{
    static const enum medium_tail tails[16] = {
        TAIL_MEMORY, TAIL_MEMORY, TAIL_PEER,  TAIL_PEER,  TAIL_NBD,
        TAIL_NBD,    TAIL_IMAGE,  TAIL_IMAGE, TAIL_IMAGE, TAIL_IMAGE,
    };
    struct sim *s = r->world.sim;
    struct medium *m = &r->disk[i];

    m->number = i + 1;
    snprintf(m->file, sizeof m->file, "/d%u", i);
    if (r->plan->quiet)
        return;
    m->tail = tails[sim_below(s, 16)];
    if (m->tail == TAIL_MEMORY)
        m->file[0] = '\0';
    if (m->tail == TAIL_IMAGE)
        image_dice(r, m, i);
    crypt_dice(r, m);
    m->traced = sim_below(s, 6) == 0;
    m->limited = sim_below(s, 6) == 0;
    m->grouped = sim_below(s, 8) < 3;
    /* Of what is not an image all sectors have to be sealed at first. */
    m->resizes = m->tail != TAIL_MEMORY && m->tail != TAIL_NBD && m->file[0] &&
                 !(m->tail == TAIL_IMAGE && m->crypt == CRYPT_ABOVE) &&
                 sim_below(s, 3) == 0;
    /* A chain that is made anew after a fatal error has an empty memory. */
    if (r->faults && m->tail != TAIL_MEMORY && sim_below(s, 2))
        error_dice(r, m);
}

/* ---- its chain ----------------------------------------------------------- */

struct text {
    char *at;
    size_t n, room;
};

__attribute__((format(printf, 2, 3))) static void
say(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    t->n += (size_t)vsnprintf(t->at + t->n, t->room - t->n, fmt, ap);
    va_end(ap);
    if (t->n >= t->room)
        abort();
}

static void
say_crypt(struct text *t, unsigned number)
{
    say(t,
        "{ plugin = \"crypt\"; mode = \"plain\"; key-file = \"%s\"; "
        "memory = \"1M\"; worker = \"%s\"; }, ",
        sealed_key(), number % 2 ? "4k" : "32k");
}

static void
say_image(struct text *t, const struct medium *m, unsigned number)
{
    say(t, "{ plugin = \"qcow2\"; cache = \"%s\"; ",
        number % 2 ? "512k" : "256k");
    if (m->image == IMAGE_FLEETING)
        say(t, "ephemeral = true; encrypt = %s; }",
            m->encrypted ? "true" : "false");
    else
        say(t, "path = \"%s\"; ", m->file);
    if (m->image == IMAGE_APART)
        say(t, "data-file = \"%s\"; ", m->data);
    if (m->image != IMAGE_FLEETING)
        say(t, "}");
    if (!m->base[0])
        return;
    say(t, ", ");
    if (m->crypt == CRYPT_BELOW)
        say_crypt(t, number);
    say(t, "{ plugin = \"file\"; path = \"%s\"; lock = false; }", m->base);
}

static void
say_tail(struct text *t, const struct medium *m, unsigned number)
{
    switch (m->tail) {
    case TAIL_MEMORY:
        say(t, "{ plugin = \"memory\"; size = \"%uk\"; }", SECTORS_MAX / 2);
        break;
    case TAIL_PEER:
        say(t, "{ plugin = \"peer\"; path = \"%s\"; }", m->file);
        break;
    case TAIL_NBD:
        say(t,
            "{ plugin = \"nbd\"; uri = \"nbd://server%s\"; replay = \"4M\"; }",
            m->file);
        break;
    case TAIL_IMAGE:
        say_image(t, m, number);
        break;
    case TAIL_FILE:
        say(t, "{ plugin = \"file\"; path = \"%s\"; }", m->file);
        break;
    }
}

size_t
medium_chain(const struct run *r, unsigned i, unsigned number, char *text,
             size_t room)
{
    const struct medium *m = &r->disk[i];
    struct text t = { .at = text, .room = room };

    if ((i + number) % 3 == 2)
        say(&t,
            "{ plugin = \"delay\"; time = \"200us\"; jitter = \"%uus\"; }, ",
            number % 2 * 300);
    if (m->traced)
        say(&t,
            "{ plugin = \"trace\"; file = \"/trace%u\"; format = \"%s\"; }, ",
            i, number % 2 ? "json" : "iolog");
    if (m->grouped)
        say(&t,
            "{ plugin = \"limit\"; name = \"group\"; group = \"all\"; "
            "iops = %u; }, ",
            4000 + number % 2 * 4000);
    if (m->limited)
        say(&t,
            "{ plugin = \"limit\"; iops = %u; iops-burst = 4; bps = \"20M\"; "
            "bps-burst = \"64k\"; }, ",
            2000 + number % 2 * 3000);
    if (m->failing)
        say(&t, "{ plugin = \"error\"; %s; }, ", m->error);
    if (m->crypt == CRYPT_ABOVE)
        say_crypt(&t, number);
    say_tail(&t, m, number);
    return t.n;
}

/* ---- its files ----------------------------------------------------------- */

static void
blank_sealed(uint8_t *sector, uint64_t number)
{
    memset(sector, 0, SECTOR);
    sealed_close(sector, number, 1);
}

/* Sectors of zeroes, at the end of a file. */
static void
file_append(struct run *r, const struct medium *m, const char *name,
            uint64_t from, uint64_t to)
{
    uint8_t sector[SECTOR] = { 0 };

    for (; from < to; from++) {
        if (m->crypt != CRYPT_NONE)
            blank_sealed(sector, from);
        sim_file_put(r->world.sim, name, from * SECTOR, sector, SECTOR);
    }
}

/* Each sector of it has something to be seen. */
static void
base_make(struct run *r, struct medium *m, uint64_t sectors)
{
    struct sim *s = r->world.sim;
    uint8_t bytes[SECTOR];

    m->based = m->image == IMAGE_FLEETING ? sectors
                                          : 8 * (1 + sim_below(s, sectors / 8));
    sim_file_make(s, m->base, m->based * SECTOR);
    for (uint64_t i = 0; i < m->based; i++) {
        record_bytes(record_base(m->number, i), bytes);
        if (m->crypt == CRYPT_BELOW)
            sealed_close(bytes, i, 1);
        sim_file_put(s, m->base, i * SECTOR, bytes, SECTOR);
    }
}

static void
image_file(struct run *r, struct medium *m, uint64_t sectors)
{
    /* Each cluster that a discard sets free becomes a hole. */
    static const struct blk_file_info blocks = { .block = SECTOR,
                                                 .physical = 4096,
                                                 .mem_align = 1,
                                                 .discard_align = SECTOR };
    struct sim *s = r->world.sim;
    struct image_format f = m->format;
    size_t len;
    uint8_t *p;

    f.size = sectors * SECTOR;
    f.filled = m->crypt == CRYPT_ABOVE ? 1 : 0;
    p = image_make(&f, &len, blank_sealed);
    if (m->image == IMAGE_APART) {
        q2_put64(p + Q2_AT_INCOMPATIBLE,
                 q2_get64(p + Q2_AT_INCOMPATIBLE) | Q2_DATA_FILE);
        q2_put32(p + Q2_V3_LEN, Q2_EXT_DATA_FILE);
        q2_put32(p + Q2_V3_LEN + 4, (uint32_t)strlen(m->data));
        memcpy(p + Q2_V3_LEN + 8, m->data, strlen(m->data));
        sim_file_make(s, m->data, sectors * SECTOR);
        sim_file_describe(s, m->data, &blocks);
    }
    sim_file_make(s, m->file, 0);
    sim_file_describe(s, m->file, &blocks);
    sim_file_put(s, m->file, 0, p, len);
    free(p);
}

static void
tally(struct run *r, const struct medium *m)
{
    static const enum tally image[] = { TALLY_IMAGES, TALLY_OVERLAYS,
                                        TALLY_APART, TALLY_FLEETING };
    static const enum tally tail[] = { TALLY_FILES, TALLY_MEMORY, TALLY_PEERS,
                                       TALLY_SERVED };

    r->result->tally[m->tail == TAIL_IMAGE ? image[m->image] : tail[m->tail]]++;
    r->result->tally[TALLY_LIMITED] += m->limited;
    r->result->tally[TALLY_GROUPED] += m->grouped;
    r->result->tally[TALLY_SEALED] += m->crypt != CRYPT_NONE;
    r->result->tally[TALLY_ENCRYPTED] += m->encrypted;
}

uint64_t
medium_make(struct run *r, unsigned i, uint64_t sectors)
{
    struct sim *s = r->world.sim;
    struct medium *m = &r->disk[i];

    tally(r, m);
    if (m->tail == TAIL_MEMORY)
        return SECTORS_MAX;
    if (m->base[0])
        base_make(r, m, sectors);
    if (m->tail == TAIL_IMAGE && m->file[0])
        image_file(r, m, sectors);
    else if (m->file[0])
        sim_file_make(s, m->file, sectors * SECTOR);
    if (m->tail != TAIL_IMAGE && m->crypt == CRYPT_ABOVE)
        file_append(r, m, m->file, 0, sectors);
    return sectors;
}

/* A failed sync leaves an image's tables as nobody promises them: they are
 * right in the cache of the kernel, and no later sync writes them. */
void
medium_faults(struct run *r, unsigned i)
{
    const struct medium *m = &r->disk[i];
    const char *file[] = { m->file, m->base, m->data };
    const struct sim_faults f = {
        .read = 10000, .write = 20000, .range = 20000, .shorter = 20000
    };

    for (unsigned k = 0; m->tail == TAIL_IMAGE && k < 3; k++) {
        if (file[k][0])
            sim_file_faults(r->world.sim, file[k], &f);
    }
}

bool
medium_goes(const struct medium *m)
{
    return m->tail == TAIL_MEMORY ||
           (m->tail == TAIL_IMAGE && m->image == IMAGE_FLEETING);
}

/* ---- while it runs ------------------------------------------------------- */

void
medium_grow(struct run *r, unsigned i)
{
    struct sim *s = r->world.sim;
    struct medium *m = &r->disk[i];
    struct guest *g = &r->guest[i];
    const char *rescan[] = { "rescan" }, *resize[2] = { "resize" };
    uint64_t from, size;
    char bytes[24];

    if (!m->resizes || !r->world.alive)
        return;
    from = m->tail == TAIL_IMAGE ? g->record.sectors
                                 : (uint64_t)sim_file_size(s, m->file) / SECTOR;
    size = from + 8 * (1 + sim_below(s, 16));
    if (size > SECTORS_MAX)
        return;
    r->result->tally[TALLY_RESIZED]++;
    if (m->tail == TAIL_IMAGE) {
        snprintf(bytes, sizeof bytes, "%" PRIu64, size * SECTOR);
        resize[1] = bytes;
        world_command(&r->world, g->disk, "qcow2", 2, resize);
        return;
    }
    file_append(r, m, m->file, from, size);
    if (m->tail == TAIL_FILE)
        world_command(&r->world, g->disk, "file", 1, rescan);
}

bool
medium_untold(struct run *r, unsigned i)
{
    const struct medium *m = &r->disk[i];
    uint64_t at;

    if (m->tail != TAIL_FILE)
        return false;
    at = sim_file_sync_failed(r->world.sim, m->file);
    return at && at + MOMENT_NS >= sim_now(r->world.sim);
}

/* ---- what it holds ------------------------------------------------------- */

struct bytes {
    uint8_t *p;
    size_t len;
};

static struct bytes
bytes_of(struct run *r, const char *file)
{
    int64_t len = file[0] ? sim_file_size(r->world.sim, file) : 0;
    struct bytes b = { .len = len > 0 ? (size_t)len : 0 };

    b.p = calloc(1, b.len + 1);
    if (!b.p)
        abort();
    if (b.len)
        sim_file_get(r->world.sim, file, 0, b.p, b.len);
    return b;
}

/* What is below an image is as it was at the beginning. */
static int
look_at_base(const struct medium *m, const struct bytes *base, char *why,
             size_t n)
{
    uint8_t want[SECTOR];

    for (uint64_t i = 0; i < m->based; i++) {
        record_bytes(record_base(m->number, i), want);
        if (!memcmp(base->p + i * SECTOR, want, SECTOR))
            continue;
        snprintf(why, n,
                 "sector %" PRIu64 " of %s, below an image, was written to", i,
                 m->base);
        return -1;
    }
    return 0;
}

/* The image is sound, and its disk goes into out. */
static int
image_disk(struct run *r, const struct medium *m, const struct bytes *base,
           uint8_t *out, char *why, size_t n)
{
    const uint64_t cluster = UINT64_C(1) << m->format.cluster_bits;
    struct bytes image = bytes_of(r, m->file), data = bytes_of(r, m->data);
    struct image_bytes b = { .image = image.p,
                             .data = m->data[0] ? data.p : NULL,
                             .below = base->p,
                             .image_len = image.len,
                             .data_len = data.len,
                             .below_len = base->len };
    struct image_found found = { 0 };
    uint8_t *whole;
    size_t len = (image.len + cluster - 1) / cluster * cluster;
    int rc = -1;

    whole = calloc(1, len);
    if (!whole)
        abort();
    memcpy(whole, image.p, image.len);
    image_judge(whole, len, &found);
    if (found.wrong[0] || found.low || found.wrong_copied)
        snprintf(why, n,
                 "%s is not sound: %s; %" PRIu64 " counters are too low, "
                 "%" PRIu64 " flags wrong",
                 m->file, found.wrong, found.low, found.wrong_copied);
    else if (found.high && !found.dirty && m->format.version >= 3)
        snprintf(why, n, "%s: %" PRIu64 " leaks without a mark", m->file,
                 found.high);
    else if (!image_read(&b, out, SECTORS_MAX * SECTOR))
        snprintf(why, n, "%s: a table can't be true", m->file);
    else
        rc = 0;
    free(whole);
    free(image.p);
    free(data.p);
    return rc;
}

int
medium_look(struct run *r, unsigned i, char *why, size_t n)
{
    const struct medium *m = &r->disk[i];
    struct bytes base = bytes_of(r, m->base);
    uint8_t *disk = calloc(SECTORS_MAX, SECTOR);
    int64_t size;
    int rc = 0;

    if (!disk)
        abort();
    if (m->crypt == CRYPT_BELOW)
        sealed_open(base.p, 0, m->based);
    if (m->base[0])
        rc = look_at_base(m, &base, why, n);
    if (!rc && m->tail == TAIL_IMAGE && m->file[0])
        rc = image_disk(r, m, &base, disk, why, n);
    else if (m->file[0])
        sim_file_get(r->world.sim, m->file, 0, disk, SECTORS_MAX * SECTOR);
    size = m->tail == TAIL_IMAGE ? (int64_t)r->guest[i].record.sectors * SECTOR
           : m->file[0]          ? sim_file_size(r->world.sim, m->file)
                                 : 0;
    if (!rc && m->crypt == CRYPT_ABOVE)
        sealed_open(disk, 0, (uint64_t)size / SECTOR);
    if (!rc && m->file[0] && !nbd_fake_has_lost(m->file))
        rc = record_look(&r->guest[i].record, disk, m->file, why, n);
    free(disk);
    free(base.p);
    return rc;
}
