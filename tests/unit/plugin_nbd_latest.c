/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of the nbd plugin's kept writes is sent again, against a plain disk. */
#include "config.h"

#include "plugins/nbd/kept.c"
#include "plugins/nbd/latest.c"

#include "tests/test.h"
#include "tests/unit/plugin_nbd.h"

enum { SIZE = 1 << 16, PLACES = 64, MOST = SIZE / 64 };

/* Of each place the entry that was added last, as a list says it. */
static void
expect(struct kept *k, struct kept_entry *place[PLACES])
{
    struct kept_entry *e;
    uint64_t at;

    memset(place, 0, PLACES * sizeof *place);
    for (e = kept_first(k); e; e = kept_next(k, e))
        for (at = e->off; at < e->off + e->len; at++)
            place[at] = e;
}

static void
compare(struct latest *l)
{
    struct kept_entry *place[PLACES];
    struct latest_part part;
    uint64_t at = 0;

    expect(l->kept, place);
    latest_begin(l);
    while (latest_next(l, &part)) {
        REQUIRE(part.len && part.off >= at);
        REQUIRE(part.off + part.len <= PLACES);
        for (; at < part.off; at++)
            REQUIRE(!place[at]);
        for (; at < part.off + part.len; at++)
            REQUIRE(place[at] == part.e);
    }
    CHECK(!part.e);
    for (; at < PLACES; at++)
        CHECK(!place[at]);
    CHECK(!latest_next(l, &part));
}

/* The ring goes round: entries come, and some die, anywhere. */
static void
step(struct kept *k)
{
    struct kept_entry *e = kept_add(k, dice(3) ? 0 : dice(4000));
    uint64_t n = 0, which;

    if (e) {
        e->off = dice(PLACES);
        e->len = 1 + (uint32_t)dice(dice(4) ? 4 : PLACES);
        if (e->off + e->len > PLACES)
            e->len = (uint32_t)(PLACES - e->off);
        if (dice(3))
            return;
    }
    for (e = kept_first(k); e; e = kept_next(k, e))
        n++;
    which = dice(dice(2) ? n : 1 + n / 8);
    for (e = kept_first(k); which--;)
        e = kept_next(k, e);
    kept_drop(k, e);
}

static void
each_place_has_its_latest(void)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct latest l;
        struct kept k;

        state = seed;
        REQUIRE(!kept_init(&k, SIZE));
        REQUIRE(!latest_init(&l, &k));
        for (unsigned i = 0; i < 2000; i++) {
            step(&k);
            compare(&l);
        }
        latest_free(&l);
        kept_free(&k);
    }
}

/* As many as there can be: each within the one before, and all in one place. */
static void
a_full_ring_of_nested_ones(void)
{
    struct kept_entry *e;
    struct latest_part part;
    struct latest l;
    struct kept k;
    unsigned n = 0, parts = 0;

    REQUIRE(!kept_init(&k, SIZE));
    REQUIRE(!latest_init(&l, &k));
    for (; (e = kept_add(&k, 0)); n++) {
        e->off = n;
        e->len = 2 * (MOST - n);
    }
    CHECK_EQ(n, MOST);
    for (latest_begin(&l); latest_next(&l, &part); parts++)
        ;
    CHECK_EQ(parts, 2 * MOST - 1);
    while ((e = kept_first(&k)))
        kept_drop(&k, e);
    while ((e = kept_add(&k, 0)))
        e->len = 1;
    latest_begin(&l);
    CHECK(latest_next(&l, &part));
    CHECK(!kept_next(&k, part.e));
    CHECK(!latest_next(&l, &part));
    latest_free(&l);
    kept_free(&k);
}

/* What was sent again may fail, and is dropped, while the rest still comes. */
static void
one_that_dies_meanwhile(void)
{
    static const struct {
        uint64_t off;
        uint32_t len, of;
    } want[] = { { 0, 4, 0 }, { 6, 2, 1 }, { 8, 2, 2 }, { 10, 6, 1 } };
    struct kept_entry *e[3];
    struct latest_part part;
    struct latest l;
    struct kept k;

    REQUIRE(!kept_init(&k, SIZE));
    REQUIRE(!latest_init(&l, &k));
    for (unsigned i = 0; i < 3; i++) {
        e[i] = kept_add(&k, 0);
        e[i]->off = want[i].off;
        e[i]->len = i == 1 ? 10 : want[i].len;
    }
    latest_begin(&l);
    for (unsigned i = 0; i < 4; i++) {
        REQUIRE(latest_next(&l, &part));
        CHECK(part.e == e[want[i].of]);
        CHECK_EQ(part.off, want[i].off);
        CHECK_EQ(part.len, want[i].len);
        if (i == 0 || i == 2)
            kept_drop(&k, part.e);
    }
    CHECK(!latest_next(&l, &part));
    latest_free(&l);
    kept_free(&k);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(each_place_has_its_latest);
    TEST(a_full_ring_of_nested_ones);
    TEST(one_that_dies_meanwhile);
    return test_end();
}
