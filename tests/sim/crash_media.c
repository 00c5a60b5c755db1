/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crash_media.c: what the media of a world hold when its first life begins.
 */
#include "host/sim.h"
#include "plugins/qcow2/format.h"
#include "tests/sim/crash_world.h"
#include "tests/test.h"

static uint64_t
below(uint64_t n)
{
    return sim_below(w.sim, n);
}

/* A hash of a whole file. */
uint64_t
crash_hash(const char *name)
{
    const size_t n = (size_t)sim_file_size(w.sim, name);
    uint64_t *p = calloc(1, n + 8), hash = n;

    sim_file_get(w.sim, name, 0, p, n);
    for (size_t i = 0; i < n / 8 + 1; i++)
        hash = (hash ^ p[i]) * 0x9e3779b97f4a7c15ull + (hash >> 29);
    free(p);
    return hash;
}

void
crash_stamp_before(uint8_t *sector, uint64_t at)
{
    guest_stamp(sector, at ^ 0x5a5a5a5a);
}

static void
stamp_image(uint8_t *sector, uint64_t number)
{
    guest_stamp(sector, number + 1);
    if (w.stack->seal)
        w.stack->seal(sector, number);
}

static void
stamp_base(uint8_t *sector, uint64_t number)
{
    guest_stamp(sector, number + CRASH_BASE);
    if (w.stack->seal_base)
        w.stack->seal_base(sector, number);
}

/* Each cluster that a discard sets free becomes a hole. */
static const struct blk_file_info blocks = {
    .block = 512, .physical = 4096, .mem_align = 1, .discard_align = 512
};

static void
file_make(const char *name, const struct image_format *f,
          void (*stamp)(uint8_t *sector, uint64_t number))
{
    size_t len;
    uint8_t *p = image_make(f, &len, stamp);

    sim_file_make(w.sim, name, 0);
    sim_file_describe(w.sim, name, &blocks);
    sim_file_put(w.sim, name, 0, p, len);
    free(p);
}

/* What is below; every sector of it has data, or every fourth cluster. */
static void
base_make(void)
{
    const struct image_format f = { 3,     CRASH_BASE_BITS, 4, false,
                                    false, w.f.size,        4 };
    uint8_t sector[512];

    if (w.stack->base == CRASH_QCOW2) {
        file_make("/base", &f, stamp_base);
    } else {
        sim_file_make(w.sim, "/base", w.f.size);
        for (uint64_t s = 0; s < w.guest.sectors; s++) {
            stamp_base(sector, s);
            sim_file_put(w.sim, "/base", s * 512, sector, 512);
        }
    }
    for (uint64_t s = 0; s < w.guest.sectors; s++) {
        if (w.stack->base == CRASH_RAW || (s * 512 >> 12) % 4 == 0)
            w.guest.stable[s] = s + CRASH_BASE;
    }
    w.base = crash_hash("/base");
}

/* Data in a file of their own: it has what nobody wrote, and no entry of the
 * image says that anything of it is there. */
static void
apart_make(void)
{
    uint8_t bits[8], sector[512];

    sim_file_get(w.sim, "/image", Q2_AT_INCOMPATIBLE, bits, 8);
    q2_put64(bits, q2_get64(bits) | Q2_DATA_FILE);
    sim_file_put(w.sim, "/image", Q2_AT_INCOMPATIBLE, bits, 8);
    sim_file_make(w.sim, "/data", w.f.size);
    sim_file_describe(w.sim, "/data", &blocks);
    for (uint64_t at = 0; at < w.f.size; at += 512) {
        crash_stamp_before(sector, at);
        sim_file_put(w.sim, "/data", at, sector, 512);
    }
}

/* The disk alone, behind what is not its. */
static void
raw_make(void)
{
    uint8_t sector[512];

    w.f.filled = 1;
    w.f.cluster_bits = 9;
    REQUIRE(w.stack->raw <= CRASH_RAW_MOST);
    sim_file_make(w.sim, "/image", w.stack->raw + w.f.size);
    for (uint64_t at = 0; at < w.stack->raw; at += 512) {
        crash_stamp_before(sector, at);
        sim_file_put(w.sim, "/image", at, sector, 512);
    }
    for (uint64_t s = 0; s < w.guest.sectors; s++) {
        stamp_image(sector, s);
        sim_file_put(w.sim, "/image", w.stack->raw + s * 512, sector, 512);
    }
}

void
crash_world_make(uint64_t seed, crash_pick pick)
{
    static const struct image_format formats[] = {
        { 3, 12, 4, false, false, 192 << 10, 0 },
        { 3, 9, 4, false, false, 512 << 10, 0 },
        { 2, 9, 4, false, false, 64 << 10, 3 },
        { 3, 9, 4, false, true, 512 << 10, 130 },
        { 3, 12, 4, false, true, 256 << 10, 3 },
        { 3, 14, 4, true, false, 256 << 10, 4 },
        { 3, 12, 3, false, false, 256 << 10, 2 },
        { 2, 12, 4, false, true, 128 << 10, 2 },
    };

    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.sim = sim_new(seed);
    w.f = formats[seed % (sizeof(formats) / sizeof(formats[0]))];
    w.stack = pick(w.sim, &w.f);
    if (w.stack->raw) /* no tables are to be filled */
        w.f.size = 96 << 10;
    if (w.stack->apart)
        w.f.filled = 0;
    guest_init(&w.guest, w.sim, w.f.size / 512, 1);
    w.guest.blank = w.stack->blank;
    w.guest.faulty = below(3) == 0 && !crash_enumerates();
    w.size = w.asked = w.f.size;
    memcpy(w.layer, w.stack->layer, w.stack->n * sizeof(w.layer[0]));
    w.n = w.stack->n;
    w.commits = w.stack->base != CRASH_NO_BASE && !w.f.snapshot && below(2);
    /* What would be read then, below, is not what is blank above. */
    w.guest.no_discard = w.commits && w.stack->seal_base && !w.stack->blank;
    w.resizes = !w.commits && !w.stack->raw && seed % 5 == 2 &&
                !w.guest.faulty && (w.f.version >= 3 || !w.f.snapshot);
    if (w.stack->raw)
        raw_make();
    else
        file_make("/image", &w.f, stamp_image);
    if (w.stack->apart)
        apart_make();
    if (w.stack->base != CRASH_NO_BASE)
        base_make();
    for (uint64_t s = 0; s < w.guest.sectors && w.f.filled; s++) {
        if ((s * 512 >> w.f.cluster_bits) % w.f.filled == 0)
            w.guest.stable[s] = s + 1;
    }
}
