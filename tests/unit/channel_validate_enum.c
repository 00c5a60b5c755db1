/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every request that is near a boundary, in both ABIs, put to decoder and
 * validator and to an oracle: both must say the same.
 */
#include "channel/validate.h"
#include "tests/test.h"
#include "tests/unit/channel_oracle.h"

static uint64_t compared, accepted;
static uint8_t raw[2][BLKIF_RAW_MAX]; /* one per ABI, kept equal in meaning */
static uint8_t page[4096];
static struct oracle_disk disk;

static const unsigned body_at[2] = { 16, 12 };

/* ---- putting one case ---------------------------------------------------- */

static void
differ(enum chan_abi abi, const struct verdict *v, const struct oracle_says *o)
{
    const uint8_t *r = raw[abi];

    test_fail(__FILE__, __LINE__,
              "abi %d op %u/%u/%u: we say %d, %" PRIu64 "+%" PRIu64
              "; the oracle %d, %" PRIu64 "+%" PRIu64,
              abi, r[0], r[1], r[2] | r[3] << 8, v->status, v->off, v->len,
              o->status, o->off, o->len);
    if (test_failures > 20)
        exit(1);
}

static void
compare(enum chan_abi abi)
{
    struct validate_params p = { .size = disk.size,
                                 .max_indirect = disk.max_indirect,
                                 .readonly = disk.readonly,
                                 .discard = disk.discard,
                                 .barrier = disk.barrier };
    struct oracle_says o =
        oracle(abi == CHAN_ABI_X86_32, raw[abi], page, &disk);
    struct blkif_op op;
    struct verdict v;

    blkif_decode(abi, raw[abi], &op);
    validate_request(&op, &p, &v);
    if (op.op == BLKIF_INDIRECT && v.status == BLKIF_OKAY)
        validate_segments((const struct blkif_seg *)(const void *)page,
                          op.nsegs, op.sector, &p, &v);
    compared++;
    accepted += v.status == BLKIF_OKAY;
    if (v.status != o.status ||
        (!o.status && (v.off != o.off || v.len != o.len)))
        differ(abi, &v, &o);
}

static void
compare_both(void)
{
    compare(CHAN_ABI_64);
    compare(CHAN_ABI_X86_32);
}

/* ---- building cases ------------------------------------------------------ */

static void
put_head(unsigned b0, unsigned b1, unsigned b23)
{
    for (int abi = 0; abi < 2; abi++) {
        raw[abi][0] = (uint8_t)b0;
        raw[abi][1] = (uint8_t)b1;
        raw[abi][2] = (uint8_t)b23;
        raw[abi][3] = (uint8_t)(b23 >> 8);
    }
}

static void
put_sector(uint64_t sector)
{
    for (int abi = 0; abi < 2; abi++)
        memcpy(raw[abi] + body_at[abi], &sector, 8);
}

static void
put_count(uint64_t count)
{
    for (int abi = 0; abi < 2; abi++)
        memcpy(raw[abi] + body_at[abi] + 8, &count, 8);
}

static void
put_segment(unsigned i, unsigned first, unsigned last)
{
    for (int abi = 0; abi < 2; abi++) {
        raw[abi][body_at[abi] + 8 + i * 8 + 4] = (uint8_t)first;
        raw[abi][body_at[abi] + 8 + i * 8 + 5] = (uint8_t)last;
    }
}

static void
fresh(uint64_t size)
{
    memset(raw, 0x5c, sizeof(raw));
    memset(page, 0x5c, sizeof(page));
    for (unsigned i = 0; i < CHAN_DIRECT_MAX; i++)
        put_segment(i, 0, 7);
    for (unsigned i = 0; i < 512; i++) {
        page[i * 8 + 4] = 0;
        page[i * 8 + 5] = 7;
    }
    disk = (struct oracle_disk){
        .size = size, .max_indirect = 256, .discard = true, .barrier = true
    };
}

static void
set_flags(unsigned bits)
{
    disk.readonly = bits & 1;
    disk.discard = bits & 2;
    disk.barrier = bits & 4;
    disk.max_indirect = bits & 8 ? 256 : 0;
}

/* ---- the enumerations ---------------------------------------------------- */

/* Every operation with every second byte (a count, a flag, an inner
 * operation), for every kind of disk. */
static void
every_operation(void)
{
    static const uint64_t sector[] = { 0, 100, UINT64_MAX };

    fresh(1 << 20);
    for (unsigned flags = 0; flags < 16; flags++) {
        set_flags(flags);
        for (unsigned op = 0; op < 256; op++) {
            for (unsigned b = 0; b < 256; b++) {
                for (unsigned i = 0; i < 3; i++) {
                    put_head(op, b, 3);
                    put_sector(sector[i]);
                    if (op == BLKIF_DISCARD)
                        put_count(b);
                    compare_both();
                    if (op == BLKIF_DISCARD)
                        put_segment(0, 0, 7);
                }
            }
        }
    }
}

/* Every pair of first and last sector, in every segment of a direct request,
 * alone (as the last one) and followed by good ones. */
static void
every_pair(void)
{
    static const uint8_t ops[] = { BLKIF_READ, BLKIF_WRITE, BLKIF_BARRIER,
                                   BLKIF_FLUSH };

    for (unsigned at = 0; at < CHAN_DIRECT_MAX; at++) {
        fresh(1 << 20);
        put_sector(8);
        for (unsigned pair = 0; pair < 65536; pair++) {
            put_segment(at, pair & 255, pair >> 8);
            put_head(ops[pair & 3], at + 1, 0);
            compare_both();
            for (unsigned i = 0; i < 4; i++) {
                put_head(ops[i], CHAN_DIRECT_MAX, 0);
                compare_both();
            }
        }
    }
}

static void
every_pair_indirect_at(unsigned at)
{
    fresh(4 << 20);
    put_sector(0);
    put_head(BLKIF_INDIRECT, at & 1, at + 1);
    for (unsigned pair = 0; pair < 65536; pair++) {
        page[at * 8 + 4] = (uint8_t)pair;
        page[at * 8 + 5] = (uint8_t)(pair >> 8);
        compare_both();
    }
}

static void
every_pair_indirect(void)
{
    static const unsigned at[] = { 0, 1, 10, 11, 12, 100, 254, 255 };

    if (getenv("CHECK_LONG")) {
        for (unsigned i = 0; i < CHAN_INDIRECT_MAX; i++)
            every_pair_indirect_at(i);
        return;
    }
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
        every_pair_indirect_at(at[i]);
}

/* Every count of segments that 16 bits can hold. */
static void
every_indirect_count(void)
{
    static const uint8_t inner[] = { 0, 1, 2, 3, 4, 5, 6, 7, 128, 255 };
    static const unsigned max[] = { 0, 1, 11, 32, 255, 256 };

    fresh(4 << 20);
    put_sector(5);
    for (unsigned m = 0; m < sizeof(max) / sizeof(max[0]); m++) {
        disk.max_indirect = max[m];
        for (unsigned i = 0; i < sizeof(inner); i++) {
            for (unsigned n = 0; n < 65536; n++) {
                put_head(BLKIF_INDIRECT, inner[i], n);
                compare_both();
            }
        }
    }
}

static unsigned
boundaries(uint64_t size, uint64_t *list)
{
    uint64_t sectors = size / 512, base[] = { 0,
                                              sectors,
                                              UINT64_C(1) << 31,
                                              UINT64_C(1) << 32,
                                              UINT64_C(1) << 54,
                                              UINT64_C(1) << 55,
                                              UINT64_C(1) << 63 };
    unsigned n = 0;

    for (unsigned i = 0; i < sizeof(base) / sizeof(base[0]); i++) {
        for (uint64_t k = 0; k < 181; k++)
            list[n++] = base[i] + k - 90;
    }
    for (unsigned i = 0; i < 64; i++)
        list[n++] = UINT64_C(1) << i;
    return n;
}

static const uint64_t sizes[] = { 0,
                                  511,
                                  512,
                                  4096,
                                  45056,
                                  1 << 20,
                                  (1 << 20) + 511,
                                  UINT64_C(1) << 40,
                                  (UINT64_C(1) << 63) - 512,
                                  UINT64_C(1) << 63,
                                  UINT64_MAX };

/* Every boundary of the disk and of the types, with every length. */
static void
every_range(void)
{
    static uint64_t at[2000];

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        unsigned n = boundaries(sizes[s], at);

        fresh(sizes[s]);
        for (unsigned i = 0; i < n; i++) {
            put_sector(at[i]);
            for (unsigned segs = 0; segs <= CHAN_DIRECT_MAX; segs++) {
                for (unsigned last = 0; last < 8; last++) {
                    put_segment(segs ? segs - 1 : 0, 0, last);
                    put_head(segs & 1 ? BLKIF_WRITE : BLKIF_READ, segs, 0);
                    compare_both();
                }
            }
            for (unsigned b = 0; b < CHAN_DIRECT_MAX; b++)
                put_segment(b, 0, 7);
        }
    }
}

static void
every_discard(void)
{
    static uint64_t at[2000];

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        unsigned n = boundaries(sizes[s], at);

        fresh(sizes[s]);
        put_head(BLKIF_DISCARD, 0, 0);
        for (unsigned i = 0; i < n; i += 3) {
            put_sector(at[i]);
            for (unsigned k = i % 3; k < n; k += 5) {
                put_count(at[k]);
                compare_both();
            }
        }
    }
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(every_operation);
    TEST(every_pair);
    TEST(every_pair_indirect);
    TEST(every_indirect_count);
    TEST(every_range);
    TEST(every_discard);
    printf("%" PRIu64 " cases compared, %" PRIu64 " of them accepted\n",
           compared, accepted);
    return test_end();
}
