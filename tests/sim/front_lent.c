/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_lent.c: requests whose data lie in memory that the front has lent: no
 * byte of them is copied by us.
 */
#include "config.h"

#include <errno.h>

#include "tests/sim/front_rig.h"

enum { PAGE = 4096 };

static struct rig r;
static struct rig_io a, b;

static const struct front_counters *
counters(void)
{
    return r.fronts.ops->counters(r.front);
}

static struct blk_lender *
lender(void)
{
    return r.fronts.ops->lender(r.front);
}

static void
fill(struct rig_io *ri, unsigned seed)
{
    for (unsigned i = 0; i < sizeof ri->buf; i++)
        ri->buf[i] = (uint8_t)(seed + i * 11 + i / 512);
}

/* As direct and as indirect segments. */
static void
copies_nothing(void)
{
    static const uint32_t lens[] = { 512,   4096,  4608,  45056,
                                     45568, 61440, 65536, 1536 };
    uint64_t bytes = 0;

    rig_new(&r, 1);
    REQUIRE(!rig_open(&r, &rig_conf));
    for (unsigned i = 0; i < 8; i++) {
        uint64_t off = i * 70 * 1024;

        fill(&a, i);
        CHECK_EQ(rig_do_lent(&r, &a, BLK_WRITE, off, lens[i]), 0);
        CHECK(!memcmp(r.disk + off, a.buf, lens[i]));
        memset(b.buf, 0, sizeof b.buf);
        CHECK_EQ(rig_do_lent(&r, &b, BLK_READ, off, lens[i]), 0);
        CHECK(!memcmp(a.buf, b.buf, lens[i]));
        bytes += 2 * lens[i];
    }
    CHECK_EQ(counters()->straight, 16);
    CHECK_EQ(counters()->straight_bytes, bytes);
    CHECK_EQ(counters()->copied, 0);
    CHECK_EQ(counters()->copied_bytes, 0);
    CHECK_EQ(rig_do(&r, &a, BLK_WRITE, 0, 4096), 0);
    CHECK_EQ(counters()->copied, 1);
    CHECK_EQ(counters()->copied_bytes, 4096);
    CHECK_EQ(counters()->straight, 16);
    rig_close(&r);
    rig_end(&r);
}

/* What was lent, in pieces. */
static void
write_pieces(const struct iovec *v, uint32_t n, uint32_t skip, uint32_t len)
{
    uint32_t left = len;

    memcpy(a.v, v, n * sizeof v[0]);
    a.sg.n = n;
    a.sg.skip = skip;
    memset(r.disk, 0, sizeof a.buf);
    rig_submit(&r, &a, BLK_WRITE, 0, len);
    rig_until(&r, &a.done);
    CHECK_EQ(a.error, 0);
    for (uint32_t i = 0, at = 0; left; i++, skip = 0) {
        size_t part = v[i].iov_len - skip < left ? v[i].iov_len - skip : left;

        CHECK(!memcmp(r.disk + at, (char *)v[i].iov_base + skip, part));
        at += (uint32_t)part;
        left -= (uint32_t)part;
    }
}

/* Any whole sectors of lent memory will do, also from the middle of a page; a
 * layer may have cut the request. */
static void
takes_pieces_as_they_are(void)
{
    uint8_t *m;

    rig_new(&r, 2);
    REQUIRE(!rig_open(&r, &rig_conf));
    m = lender()->get(lender(), 8 * PAGE);
    REQUIRE(m);
    for (unsigned i = 0; i < 8 * PAGE; i++)
        m[i] = (uint8_t)(i * 3 + i / 512);
    write_pieces((struct iovec[]){ { m, 8 * PAGE } }, 1, 2 * PAGE, 3 * PAGE);
    write_pieces((struct iovec[]){ { m, 8 * PAGE } }, 1, 512, 2 * PAGE);
    write_pieces((struct iovec[]){ { m + 1024, 512 } }, 1, 0, 512);
    write_pieces((struct iovec[]){ { m + 3584, 1024 }, { m + 512, 512 } }, 2, 0,
                 1536);
    write_pieces((struct iovec[]){ { m + 5 * PAGE, 3 * PAGE }, { m, PAGE } }, 2,
                 1024, 4 * PAGE - 1536);
    CHECK_EQ(counters()->straight, 5);
    CHECK_EQ(counters()->copied_bytes, 0);
    lender()->put(lender(), m, 8 * PAGE);
    rig_close(&r);
    rig_end(&r);
}

/* Half a sector, other memory, and more segments than it may have. */
static void
copies_what_does_not_fit(void)
{
    static uint8_t other[2 * PAGE];
    uint8_t *m, *end;

    rig_new(&r, 3);
    r.segments = 0; /* 11 */
    back_nodes(&r);
    REQUIRE(!rig_open(&r, &rig_conf));
    m = lender()->get(lender(), 12 * PAGE);
    REQUIRE(m);
    memset(m, 7, 12 * PAGE);
    memset(other, 9, sizeof other);
    write_pieces((struct iovec[]){ { m + 100, 512 } }, 1, 0, 512);
    write_pieces((struct iovec[]){ { m, 700 }, { m + 700, 324 } }, 2, 0, 1024);
    write_pieces((struct iovec[]){ { m, 512 }, { other, 512 } }, 2, 0, 1024);
    write_pieces((struct iovec[]){ { other, 512 }, { m, 512 } }, 2, 0, 1024);
    write_pieces((struct iovec[]){ { m, 12 * PAGE } }, 1, 512, 11 * PAGE);
    CHECK_EQ(counters()->straight, 0);
    CHECK_EQ(counters()->copied, 5);
    write_pieces((struct iovec[]){ { m, 12 * PAGE } }, 1, PAGE, 11 * PAGE);
    CHECK_EQ(counters()->straight, 1);
    /* The pool ends somewhere, and what follows it is not granted. */
    end = m + (size_t)(rig_conf.pages - 1) * PAGE;
    write_pieces((struct iovec[]){ { end, PAGE } }, 1, 0, PAGE);
    CHECK_EQ(counters()->straight, 2);
    write_pieces((struct iovec[]){ { end, PAGE }, { other, PAGE } }, 2, PAGE,
                 512);
    write_pieces((struct iovec[]){ { other, 512 } }, 1, 0, 512);
    CHECK_EQ(counters()->straight, 2);
    lender()->put(lender(), m, 12 * PAGE);
    rig_close(&r);
    rig_end(&r);
}

/* All that can be lent is, and somebody sits on it for ever: others go on. */
static void
starves_nobody(void)
{
    enum { MOST = 64 };
    uint8_t *m[MOST];
    unsigned n = 0;

    rig_new(&r, 4);
    REQUIRE(!rig_open(&r, &rig_conf));
    while ((m[n] = lender()->get(lender(), PAGE)))
        REQUIRE(++n < MOST);
    CHECK_EQ(n, 32);
    fill(&a, 9);
    CHECK_EQ(rig_do(&r, &a, BLK_WRITE, 0, 65536), 0);
    CHECK(!memcmp(a.buf, r.disk, 65536));
    while (n)
        lender()->put(lender(), m[--n], PAGE);
    rig_close(&r);
    rig_end(&r);
}

/* The same pages again, so nothing that was there before may be lost: nor has
 * anybody else had them, in which a late read could have landed. */
static void
goes_on_with_another_connection(void)
{
    rig_new(&r, 5);
    REQUIRE(!rig_open(&r, &rig_conf));
    rig_run(&r, 300 * MS); /* so that it is not asked for too soon */
    r.delay_ns = 300 * MS;
    fill(&a, 3);
    memcpy(r.disk + (1 << 20), a.buf + 512, PAGE);
    REQUIRE(rig_start_lent(&r, &a, BLK_WRITE, 0, 65536));
    REQUIRE(rig_start_lent(&r, &b, BLK_READ, 1 << 20, PAGE));
    rig_run(&r, MS);
    CHECK_EQ(r.pending, 2);
    back_drop(&r);
    back_state(&r, 5);
    rig_until(&r, &a.done);
    rig_until(&r, &b.done);
    CHECK_EQ(a.error | b.error, 0);
    rig_give_back(&a);
    rig_give_back(&b);
    CHECK(!memcmp(r.disk, a.buf, 65536));
    CHECK(!memcmp(b.buf, a.buf + 512, PAGE));
    CHECK(r.refused > 0);
    CHECK_EQ(counters()->again, 2);
    CHECK_EQ(counters()->straight, 2);
    CHECK_EQ(counters()->copied_bytes, 0);
    rig_close(&r);
    rig_end(&r);
}

/* A back-end that is given up may still write: nobody gets these pages. */
static void
lends_nothing_when_it_failed(void)
{
    struct front_conf conf = rig_conf;

    rig_new(&r, 6);
    conf.timeout_ns = 1000 * MS;
    REQUIRE(!rig_open(&r, &conf));
    r.mute = true;
    REQUIRE(rig_start_lent(&r, &a, BLK_READ, 0, PAGE));
    rig_until(&r, &a.done);
    CHECK_EQ(a.error, -EIO);
    CHECK_EQ(r.fatals, 1);
    rig_give_back(&a);
    CHECK(!rig_start_lent(&r, &b, BLK_READ, 0, PAGE));
    CHECK_EQ(rig_do(&r, &b, BLK_READ, 0, PAGE), -EIO);
    rig_close(&r);
    rig_end(&r);
}

/* The front is closed, and gone, while a channel has its memory. */
static void
memory_outlives_the_front(void)
{
    uint8_t *m, *other;
    struct blk_lender *l;

    rig_new(&r, 7);
    REQUIRE(!rig_open(&r, &rig_conf));
    l = lender();
    REQUIRE(rig_start_lent(&r, &a, BLK_WRITE, 0, PAGE));
    m = l->get(l, 3 * PAGE);
    rig_until(&r, &a.done);
    rig_close(&r);
    CHECK(r.closed);
    CHECK(!l->get(l, PAGE));
    memset(m, 1, 3 * PAGE);
    /* Another front of the same back-end has memory of its own. */
    r.opened = r.closed = false;
    REQUIRE(!rig_open(&r, &rig_conf));
    other = lender()->get(lender(), PAGE);
    CHECK(other < m - 64 * PAGE || other > m + 64 * PAGE);
    memset(other, 4, PAGE);
    write_pieces((struct iovec[]){ { m, PAGE } }, 1, 0, PAGE);
    CHECK_EQ(counters()->straight, 0);
    CHECK_EQ(counters()->copied, 1);
    write_pieces((struct iovec[]){ { other, PAGE } }, 1, 0, PAGE);
    CHECK_EQ(counters()->straight, 1);
    lender()->put(lender(), other, PAGE);
    rig_give_back(&a);
    l->put(l, m, 3 * PAGE);
    rig_close(&r);
    rig_end(&r);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    log_open(BLK_ERR, false);
    TEST(copies_nothing);
    TEST(takes_pieces_as_they_are);
    TEST(copies_what_does_not_fit);
    TEST(starves_nobody);
    TEST(goes_on_with_another_connection);
    TEST(lends_nothing_when_it_failed);
    TEST(memory_outlives_the_front);
    return test_end();
}
