/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_history: the checker of histories says yes to what is legal, and no to
 * what is not: by hand, and with a small model of a disk whose legal histories
 * are then falsified.
 */
#include "tests/sim/history.h"

#include "tests/test.h"

static struct history *h;
static char why[256];

static uint32_t
wr(uint64_t sector, uint64_t stamp)
{
    uint32_t id = history_begin(h, HISTORY_WRITE, sector, 1, stamp);

    history_end(h, id, 0, NULL);
    return id;
}

static void
done(enum history_op op, uint64_t sector, uint64_t stamp)
{
    history_end(h, history_begin(h, op, sector, op != HISTORY_FLUSH, stamp), 0,
                NULL);
}

static void
rd(uint64_t sector, uint64_t stamp)
{
    history_end(h, history_begin(h, HISTORY_READ, sector, 1, 0), 0, &stamp);
}

static bool
legal(void)
{
    bool good = history_verdict(h, why, sizeof(why));

    CHECK(good == !why[0]);
    CHECK(good == history_verdict(h, why, sizeof(why)));
    history_free(h);
    h = history_new(16);
    return good;
}

static void
plain(void)
{
    rd(3, 0);
    wr(3, 10);
    rd(3, 10);
    wr(3, 20);
    history_final(h, 3, 20);
    CHECK(legal());

    wr(3, 10);
    wr(3, 20);
    rd(3, 10);
    CHECK(!legal());
    CHECK(!strcmp(why, "sector 3: expected 14 of write #1 or newer, found the "
                       "older a of write #0 in read #2"));
    wr(3, 10);
    rd(3, 0);
    CHECK(!legal());
    wr(3, 10);
    rd(3, 77);
    CHECK(!legal());
    rd(3, 10);
    wr(3, 10);
    CHECK(!legal());
}

static void
every_sector_has_its_stamp(void)
{
    uint64_t seen[2] = { 100, 101 }, moved[2] = { 101, 100 };

    for (int i = 0; i < 2; i++) {
        uint32_t w = history_begin(h, HISTORY_WRITE, 4, 2, 100), r;

        history_end(h, w, 0, NULL);
        r = history_begin(h, HISTORY_READ, 4, 2, 0);
        history_end(h, r, 0, i ? moved : seen);
        CHECK(legal() == !i);
    }
}

static void
overlapping(void)
{
    /* Two writes at once: any order, but one for all. */
    for (int i = 0; i < 4; i++) {
        uint32_t a = history_begin(h, HISTORY_WRITE, 1, 1, 10);
        uint32_t b = history_begin(h, HISTORY_WRITE, 1, 1, 20);

        if (i == 2)
            rd(1, 10);
        history_end(h, b, 0, NULL);
        if (i == 3)
            rd(1, 10);
        history_end(h, a, 0, NULL);
        rd(1, i == 1 ? 10 : 20);
        rd(1, i == 1 ? 10 : 20);
        if (i == 3)
            rd(1, 10);
        CHECK(legal() == (i != 3));
    }
}

static void
failed_and_open(void)
{
    uint32_t id;

    for (int seen = 0; seen < 2; seen++) {
        wr(1, 10);
        id = history_begin(h, HISTORY_WRITE, 1, 1, 20);
        history_end(h, id, -5, NULL);
        rd(1, seen ? 20 : 10);
        CHECK(legal());
    }
    /* It failed; then it can't come later. */
    id = history_begin(h, HISTORY_WRITE, 1, 1, 20);
    history_end(h, id, -5, NULL);
    wr(1, 30);
    rd(1, 20);
    CHECK(!legal());
    /* Never answered: late is fine, twice is not. */
    history_begin(h, HISTORY_WRITE, 1, 1, 20);
    wr(1, 30);
    rd(1, 30);
    rd(1, 20);
    CHECK(legal());
    history_begin(h, HISTORY_WRITE, 1, 1, 20);
    rd(1, 20);
    wr(1, 30);
    rd(1, 30);
    rd(1, 20);
    CHECK(!legal());
    /* Answered twice. */
    history_end(h, wr(2, 9), 0, NULL);
    CHECK(!legal());
    /* A read that failed says nothing. */
    wr(1, 10);
    id = history_begin(h, HISTORY_READ, 1, 1, 0);
    history_end(h, id, -5, NULL);
    CHECK(legal());
}

static void
power(void)
{
    /* Not flushed: any of them may be what is left; after that, only it. */
    for (uint64_t left = 0; left <= 30; left += 10) {
        wr(1, 10);
        wr(1, 20);
        history_power_failed(h);
        rd(1, left);
        rd(1, left);
        CHECK(legal() == (left < 30));
    }
    wr(1, 10);
    history_power_failed(h);
    rd(1, 0);
    rd(1, 10);
    CHECK(!legal());
    /* Flushed. */
    for (int left = 10; left <= 30; left += 10) {
        wr(1, 10);
        wr(1, 20);
        done(HISTORY_FLUSH, 0, 0);
        wr(1, 30);
        history_power_failed(h);
        rd(1, (uint64_t)left);
        CHECK(legal() == (left > 10));
    }
    /* A flush is worth something only when it ended well. */
    for (int i = 0; i < 2; i++) {
        uint32_t f;

        wr(1, 10);
        f = history_begin(h, HISTORY_FLUSH, 0, 0, 0);
        if (i)
            history_end(h, f, -5, NULL);
        history_power_failed(h);
        rd(1, 0);
        CHECK(legal());
    }
    /* FUA. */
    for (int left = 0; left <= 30; left += 10) {
        wr(1, 10);
        done(HISTORY_FUA, 1, 20);
        wr(1, 30);
        history_power_failed(h);
        rd(1, (uint64_t)left);
        CHECK(legal() == (left >= 20));
    }
    /* What was in flight ends with the power, and across two failures. */
    history_begin(h, HISTORY_WRITE, 1, 1, 10);
    history_power_failed(h);
    history_power_failed(h);
    rd(1, 10);
    CHECK(legal());
    wr(1, 10);
    done(HISTORY_FLUSH, 0, 0);
    history_power_failed(h);
    history_power_failed(h);
    rd(1, 0);
    CHECK(!legal());
    wr(1, 10);
    history_power_failed(h);
    wr(1, 20);
    rd(1, 10);
    CHECK(!legal());
}

/* A flush failed, and the disk is back: what was not flushed before may be
 * lost, and what was written and flushed since then not. */
static void
forgiven(void)
{
    for (int left = 0; left <= 30; left += 10) {
        wr(1, 10);
        done(HISTORY_FLUSH, 0, 0);
        wr(1, 20);
        wr(2, 100);
        history_end(h, history_begin(h, HISTORY_FLUSH, 0, 0, 0), -5, NULL);
        history_forgiven(h);
        rd(1, 20);
        done(HISTORY_FLUSH, 0, 0);
        wr(2, 200);
        history_power_failed(h);
        rd(1, (uint64_t)left);
        rd(2, (uint64_t)left * 10);
        CHECK(legal() == (left == 10 || left == 20));
    }
    for (int left = 10; left <= 30; left += 10) {
        wr(1, 10);
        history_forgiven(h);
        wr(1, 20);
        done(HISTORY_FLUSH, 0, 0);
        history_forgiven(h);
        wr(1, 30);
        if (left > 20)
            done(HISTORY_FLUSH, 0, 0);
        history_power_failed(h);
        rd(1, (uint64_t)left);
        CHECK(legal() == (left > 10));
    }
    wr(1, 10);
    history_forgiven(h);
    wr(1, 20);
    done(HISTORY_FLUSH, 0, 0);
    history_power_failed(h);
    rd(1, 10);
    CHECK(!legal());
    CHECK(strstr(why, "durable write"));
}

static void
discards(void)
{
    for (int seen = 0; seen <= 20; seen += 10) {
        wr(1, 10);
        wr(1, 20);
        done(HISTORY_DISCARD, 1, 0);
        rd(1, (uint64_t)seen);
        CHECK(legal() == (seen != 10));
    }
    wr(1, 10);
    done(HISTORY_DISCARD, 1, 0);
    rd(1, 0);
    rd(1, 10);
    CHECK(!legal()); /* Zeroes, and then what was discarded. */
    done(HISTORY_DISCARD, 1, 0);
    wr(1, 10);
    rd(1, 0);
    CHECK(!legal());
}

/* ---- a model ------------------------------------------------------------- */

enum { SECTORS = 4, LIVE = 4 };

static uint64_t state;

static unsigned
some(unsigned n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

enum lie { HONEST, LOSES_WRITE, OLD_READ, SKIPS_FLUSH, LATE_AGAIN, LIES };

struct disk {
    uint64_t now[SECTORS], hard[SECTORS], old[SECTORS];
    uint64_t stamp;
    struct {
        uint32_t id;
        enum history_op op;
        unsigned sector;
        uint64_t stamp, seen;
        bool live, over;
    } req[LIVE];
    enum lie lie;
    bool lied;
};

static void
effect(struct disk *d, int i)
{
    unsigned s = d->req[i].sector;
    bool lie = !d->lied && some(8) == 0;

    d->req[i].over = true;
    if (d->req[i].op == HISTORY_READ) {
        d->req[i].seen = d->now[s];
        if (d->lie == OLD_READ && lie && d->old[s] != d->now[s]) {
            d->req[i].seen = d->old[s];
            d->lied = true;
        }
    } else if (d->req[i].op == HISTORY_FLUSH) {
        if (d->lie != SKIPS_FLUSH)
            memcpy(d->hard, d->now, sizeof(d->hard));
    } else if (d->lie == LOSES_WRITE && lie) {
        d->lied = true;
    } else {
        d->old[s] = d->now[s];
        d->now[s] = d->req[i].stamp;
        if (d->req[i].op == HISTORY_FUA)
            d->hard[s] = d->now[s];
    }
}

static void
start(struct disk *d, int i)
{
    d->req[i].op = (enum history_op)some(4);
    d->req[i].sector = some(SECTORS);
    d->req[i].stamp = ++d->stamp;
    d->req[i].live = true;
    d->req[i].over = false;
    d->req[i].id =
        history_begin(h, d->req[i].op, d->req[i].sector, 1, d->req[i].stamp);
}

static void
lose_power(struct disk *d)
{
    history_power_failed(h);
    for (int s = 0; s < SECTORS; s++) {
        if (some(2))
            d->now[s] = d->hard[s];
        d->hard[s] = d->old[s] = d->now[s];
    }
    for (int i = 0; i < LIVE; i++)
        d->req[i].live = false;
}

static void
play(struct disk *d)
{
    for (int step = 0; step < 300; step++) {
        int i = (int)some(LIVE);

        if (some(60) == 0)
            lose_power(d);
        else if (!d->req[i].live)
            start(d, i);
        else if (!d->req[i].over)
            effect(d, i);
        else {
            d->req[i].live = false;
            history_end(h, d->req[i].id, 0, &d->req[i].seen);
            /* Done again although it was answered: an old write lands. */
            if (d->lie == LATE_AGAIN && some(8) == 0)
                d->now[d->req[i].sector] = d->old[d->req[i].sector];
        }
    }
    for (unsigned s = 0; s < SECTORS; s++)
        history_final(h, s, d->now[s]);
}

/* Lies are not always seen; but each kind is, and soon; honesty never is. */
static void
random_histories(void)
{
    static const char *const name[LIES] = { "none", "a lost write",
                                            "an old read", "no flush",
                                            "an old write again" };

    for (int lie = HONEST; lie < LIES; lie++) {
        int bad = 0, runs = lie == HONEST ? 2000 : 200;

        for (int run = 0; run < runs; run++) {
            struct disk d = { .lie = (enum lie)lie };

            state = (uint64_t)run * 977 + (uint64_t)lie;
            play(&d);
            bad += !legal();
            if (lie == HONEST && why[0])
                printf("  seed %d: %s\n", run, why);
        }
        printf("  %-20s %d of %d found: %s\n", name[lie], bad, runs, why);
        if (lie == HONEST)
            CHECK_EQ(bad, 0);
        else
            CHECK(bad > runs / 10);
    }
}

/* Whole histories: what a read saw is changed to another stamp that the sector
 * had before and that was overwritten twice, one after the other. */
static void
every_falsified_read_is_found(void)
{
    for (unsigned at = 2; at < 200; at++) {
        for (uint64_t i = 1; i <= 200; i++) {
            wr(5, i * 10);
            rd(5, i == at ? (i - 1) * 10 : i * 10);
        }
        CHECK(!legal());
    }
}

static void
long_history(void)
{
    for (uint64_t i = 1; i <= 200000; i++) {
        wr(i % 16, i * 10);
        rd(i % 16, i * 10);
    }
    CHECK(legal());
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    h = history_new(16);
    TEST(plain);
    TEST(every_sector_has_its_stamp);
    TEST(overlapping);
    TEST(failed_and_open);
    TEST(power);
    TEST(forgiven);
    TEST(discards);
    TEST(random_histories);
    TEST(every_falsified_read_is_found);
    TEST(long_history);
    history_free(h);
    return test_end();
}
