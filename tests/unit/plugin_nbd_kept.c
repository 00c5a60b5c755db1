/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ring of the nbd plugin's unflushed writes, against a plain list. */
#include "config.h"

#include "plugins/nbd/kept.c"

#include "tests/test.h"
#include "tests/unit/plugin_nbd.h"

enum { SIZE = 1 << 16, MOST = 400 };

/* What the ring must hold, oldest first. */
static struct held {
    struct kept_entry *e;
    uint64_t seq;
    size_t bytes;
    uint8_t fill;
} held[MOST];
static unsigned helds;

static void
forget(unsigned i)
{
    memmove(held + i, held + i + 1, (--helds - i) * sizeof *held);
}

static void
compare(struct kept *k)
{
    struct kept_entry *e = kept_first(k);
    uint64_t acked = 0;
    unsigned i;
    size_t at;

    for (i = 0; i < helds; i++, e = kept_next(k, e)) {
        REQUIRE(e == held[i].e);
        CHECK_EQ(e->state, held[i].seq ? KEPT_ACKED : KEPT_FLYING);
        acked += held[i].seq != 0;
        for (at = 0; at < held[i].bytes; at++)
            REQUIRE(e->data[at] == held[i].fill);
    }
    CHECK(!e);
    CHECK_EQ(k->acked, acked);
    CHECK(k->used <= k->size);
}

static void
add(struct kept *k)
{
    size_t bytes = dice(4) ? dice(3000) : dice(kept_most(k));
    struct kept_entry *e;

    if (helds == MOST)
        return;
    e = kept_add(k, bytes);
    if (!e) {
        CHECK(k->used);
        return;
    }
    CHECK(!((uintptr_t)e->data % 64));
    held[helds] = (struct held){ e, 0, bytes, (uint8_t)dice(256) };
    memset(e->data, held[helds].fill, bytes);
    helds++;
}

static void
flush(struct kept *k)
{
    uint64_t seq = k->seq - (k->seq ? dice(k->seq < 8 ? k->seq : 8) : 0);
    unsigned i;

    kept_flushed(k, seq);
    for (i = helds; i--;)
        if (held[i].seq && held[i].seq <= seq)
            forget(i);
}

static void
step(struct kept *k)
{
    unsigned i;

    if (dice(10) < 4 || !helds) {
        add(k);
        return;
    }
    i = (unsigned)dice(helds);
    switch (dice(10)) {
    case 0:
        flush(k);
        break;
    case 1:
    case 2:
        kept_drop(k, held[i].e);
        forget(i);
        break;
    default:
        if (held[i].seq)
            return;
        kept_acked(k, held[i].e);
        held[i].seq = k->seq;
    }
}

static void
holds_what_is_not_flushed(void)
{
    unsigned seed, i;

    for (seed = 1; seed <= 20; seed++) {
        struct kept k;

        state = seed;
        helds = 0;
        REQUIRE(!kept_init(&k, SIZE));
        for (i = 0; i < 2000; i++) {
            step(&k);
            compare(&k);
        }
        kept_free(&k);
    }
}

static void
the_longest_finds_room_in_an_empty_ring(void)
{
    struct kept k;
    struct kept_entry *e;
    unsigned i;

    REQUIRE(!kept_init(&k, SIZE));
    for (i = 0; i < 100; i++) {
        e = kept_add(&k, 100 * i);
        REQUIRE(e);
        kept_drop(&k, e);
        e = kept_add(&k, kept_most(&k));
        REQUIRE(e);
        kept_drop(&k, e);
        CHECK_EQ(k.used, 0);
    }
    kept_free(&k);
}

/* Full to the last byte, its first and its end are the same place. */
static void
a_full_ring_ends(void)
{
    struct kept k;
    struct kept_entry *e;
    unsigned n = 0;

    REQUIRE(!kept_init(&k, SIZE));
    while (kept_add(&k, 0))
        n++;
    CHECK_EQ(k.used, k.size);
    CHECK_EQ(n, SIZE / sizeof(struct kept_entry));
    for (e = kept_first(&k); e; e = kept_next(&k, e))
        n--;
    CHECK_EQ(n, 0);
    kept_free(&k);
}

static void
too_much_memory_is_refused(void)
{
    struct kept k;

    CHECK_EQ(kept_init(&k, (size_t)1 << 60), -ENOMEM);
    kept_free(&k);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(holds_what_is_not_flushed);
    TEST(the_longest_finds_room_in_an_empty_ring);
    TEST(a_full_ring_ends);
    TEST(too_much_memory_is_refused);
    return test_end();
}
