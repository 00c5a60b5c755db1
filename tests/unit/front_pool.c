/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool.c, from inside: lent runs, single pages, and who has to wait. */
#include "front/pool.c"
#include "tests/test.h"

static struct gate gate;
static unsigned grants;
static int grant_error;

static int
grant(struct gate *g, uint32_t domid, unsigned n, uint32_t *refs, void **addr,
      char *why, size_t why_size)
{
    CHECK(g == &gate);
    CHECK_EQ(domid, 5);
    snprintf(why, why_size, "no");
    if (grant_error)
        return grant_error;
    *addr = aligned_alloc(FRONT_PAGE, (size_t)n * FRONT_PAGE);
    REQUIRE(*addr);
    memset(*addr, 0, (size_t)n * FRONT_PAGE);
    for (unsigned i = 0; i < n; i++)
        refs[i] = 100 + i;
    grants++;
    return 0;
}

static void
ungrant(struct gate *g, void *addr, unsigned n)
{
    CHECK(g == &gate && n);
    free(addr);
    grants--;
}

static const struct gate_ops gate_ops = { .grant = grant, .ungrant = ungrant };

static struct pool *p;

static void
begin(unsigned pages, unsigned reserve)
{
    char why[100];

    gate.ops = &gate_ops;
    REQUIRE(!pool_make(&p, &gate, 5, pages, why, sizeof why));
    p->reserve = reserve;
}

static void
end(void)
{
    CHECK_EQ(p->free, p->n);
    pool_drop(p);
    CHECK_EQ(grants, 0);
}

static char *
borrow(unsigned pages)
{
    return p->lender.get(&p->lender, (size_t)pages * FRONT_PAGE);
}

static void
back(char *addr, unsigned pages)
{
    p->lender.put(&p->lender, addr, (size_t)pages * FRONT_PAGE);
}

static void
makes_and_drops(void)
{
    char why[100];

    pool_drop(NULL);
    gate.ops = &gate_ops;
    grant_error = -ENOSPC;
    CHECK_EQ(pool_make(&p, &gate, 5, 4, why, sizeof why), -ENOSPC);
    CHECK_STR(why, "no");
    grant_error = 0;
    begin(70, 70);
    CHECK(!borrow(1)); /* nothing, until it is known what must be kept */
    end();
}

static void
lends_runs_from_below(void)
{
    char *a, *b, *c;

    begin(70, 0);
    CHECK(!p->lender.get(&p->lender, 0));
    CHECK(!borrow(71));
    a = p->lender.get(&p->lender, 1);
    CHECK(a == p->base);
    b = borrow(66);
    CHECK(b == p->base + FRONT_PAGE);
    c = borrow(3);
    CHECK(c == p->base + (size_t)67 * FRONT_PAGE);
    CHECK(!borrow(1));
    back(b, 66);
    CHECK(borrow(66) == b);
    back(b, 66);
    b = borrow(2);
    CHECK(b == p->base + FRONT_PAGE);
    back(a, 1);
    CHECK(borrow(1) == a); /* what was used last, again */
    back(a, 1);
    back(b, 2);
    back(c, 3);
    end();
}

/* Single pages leave the runs alone, until there are no others. */
static void
takes_single_pages_from_above(void)
{
    uint16_t a, b, c;
    char *run;

    begin(128, 10);
    CHECK(!pool_take(p, 0, &a));
    CHECK(!pool_take(p, 129, &a));
    CHECK(pool_take(p, 2, &a));
    CHECK_EQ(a, 126);
    CHECK_EQ(p->next[126], 127);
    CHECK_EQ(p->next[127], NO_PAGE);
    run = borrow(118);
    CHECK(run == p->base);
    CHECK(pool_take(p, 8, &b));
    CHECK_EQ(b, 118);
    CHECK(!pool_take(p, 1, &c));
    pool_give(p, a);
    CHECK(pool_take(p, 1, &c));
    CHECK_EQ(c, 127);
    back(run, 118);
    CHECK(pool_take(p, 119, &a));
    CHECK(!borrow(1));
    pool_give(p, a);
    pool_give(p, b);
    pool_give(p, c);
    end();
}

/* However much is lent, the longest request that is copied finds room. */
static void
keeps_a_reserve(void)
{
    char *run[54];
    uint16_t first;

    begin(64, 11);
    for (unsigned i = 0; i < 53; i++)
        REQUIRE((run[i] = borrow(1)));
    CHECK(!borrow(1));
    CHECK(pool_take(p, 11, &first));
    pool_give(p, first);
    for (unsigned i = 0; i < 53; i += 2)
        back(run[i], 1);
    CHECK(!borrow(13)); /* there is no such run: it is not pieced together */
    CHECK(borrow(12));
    back(p->base + (size_t)52 * FRONT_PAGE, 12);
    for (unsigned i = 1; i < 53; i += 2)
        back(run[i], 1);
    end();
}

/* The memory is there as long as somebody has some of it, the pool is not. */
static void
outlives_its_front(void)
{
    char *a, *b;

    begin(32, 4);
    a = borrow(4);
    b = borrow(1);
    p->shut = true;
    CHECK(!borrow(1));
    pool_drop(p);
    CHECK_EQ(grants, 1);
    memset(a, 1, 4 * FRONT_PAGE);
    back(a, 4);
    CHECK_EQ(grants, 1);
    memset(b, 2, FRONT_PAGE);
    back(b, 1);
    CHECK_EQ(grants, 0);
}

/* ---- against a plain map of pages ---------------------------------------- */

enum { PAGES = 200, RESERVE = 20, HELD = 64 };

static struct held {
    unsigned first, pages;
    bool lent;
} held[HELD];
static bool used[PAGES];
static unsigned n, lent, free_now, refused;

static void
hold_lent(unsigned pages)
{
    unsigned run = 0, first;
    char *at = borrow(pages);

    for (unsigned i = 0; i < PAGES && run < pages; i++)
        run = used[i] ? 0 : run + 1;
    CHECK_EQ(at != NULL, run == pages && lent + pages + RESERVE <= PAGES);
    refused += !at;
    if (!at)
        return;
    first = (unsigned)(at - p->base) / FRONT_PAGE;
    for (unsigned i = first; i < first + pages; i++) {
        CHECK(!used[i]);
        used[i] = true;
    }
    held[n++] = (struct held){ first, pages, true };
    lent += pages;
    free_now -= pages;
}

static void
hold_taken(unsigned pages)
{
    uint16_t first;
    unsigned got = 0;

    if (!pool_take(p, pages, &first)) {
        CHECK(pages > free_now);
        return;
    }
    for (uint16_t q = first; q != NO_PAGE; q = p->next[q], got++) {
        CHECK(!used[q]);
        used[q] = true;
    }
    CHECK_EQ(got, pages);
    held[n++] = (struct held){ first, pages, false };
    free_now -= pages;
}

static void
let_go(unsigned i)
{
    struct held h = held[i];

    held[i] = held[--n];
    free_now += h.pages;
    if (h.lent) {
        lent -= h.pages;
        memset(used + h.first, false, h.pages);
        back(p->base + (size_t)h.first * FRONT_PAGE, h.pages);
        return;
    }
    for (uint16_t q = (uint16_t)h.first; q != NO_PAGE; q = p->next[q])
        used[q] = false;
    pool_give(p, (uint16_t)h.first);
}

static void
random_use(void)
{
    uint64_t seed = 1;

    begin(PAGES, RESERVE);
    free_now = PAGES;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned pages;

        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        pages = 1 + (unsigned)(seed >> 40) % (seed >> 30 & 3 ? 8 : 40);
        if (n == HELD || (n && seed >> 63))
            let_go((unsigned)(seed >> 20) % n);
        else if (seed >> 62 & 1)
            hold_lent(pages);
        else
            hold_taken(pages);
        CHECK_EQ(p->free, free_now);
        CHECK_EQ(p->lent, lent);
    }
    CHECK(refused > 100);
    while (n)
        let_go(0);
    end();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(makes_and_drops);
    TEST(lends_runs_from_below);
    TEST(takes_single_pages_from_above);
    TEST(keeps_a_reserve);
    TEST(outlives_its_front);
    TEST(random_use);
    return test_end();
}
