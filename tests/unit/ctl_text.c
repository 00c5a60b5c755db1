/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_text.c: how blktapctl writes tables, sizes, times, and reads them; and
 * its histogram.
 */
#include "config.h"

#include <math.h>

#include "control/near.h"
#include "ctl/human.h"
#include "ctl/latency.h"
#include "ctl/table.h"
#include "tests/test.h"

/* ---- tables -------------------------------------------------------------- */

static char *
printed(const struct table *t)
{
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    table_print(t, f);
    fclose(f);
    return text;
}

static void
aligns_columns(void)
{
    struct table t = { .head = "DISK|>SIZE|REASON" };
    char *text;

    table_row(&t);
    table_cell(&t, "%s", "a");
    table_cell(&t, "%d", 12345);
    table_cell(&t, "why");
    table_row(&t);
    table_cell(&t, "longer");
    table_cell(&t, "%d", 1);
    table_cell(&t, "%s", "");
    text = printed(&t);
    CHECK_STR(text, "DISK     SIZE  REASON\n"
                    "a       12345  why\n"
                    "longer      1  -\n");
    free(text);
    table_free(&t);
    CHECK_EQ(t.rows, 0);
}

static void
prints_rows_that_are_short(void)
{
    struct table t = { .head = "A|>B|C", .indent = 2 };
    char *text;

    table_row(&t);
    table_cell(&t, "x");
    text = printed(&t);
    CHECK_STR(text, "  A  B  C\n  x  -  -\n");
    free(text);
    table_free(&t);
}

static void
needs_no_head(void)
{
    struct table t = { .align = "<>" };
    char *text;

    table_row(&t);
    table_cell(&t, "requests");
    table_cell(&t, "7");
    table_row(&t);
    table_cell(&t, "x");
    table_cell(&t, "100");
    text = printed(&t);
    CHECK_STR(text, "requests    7\nx         100\n");
    free(text);
    table_free(&t);
}

static void
takes_no_more_cells_than_fit(void)
{
    struct table t = { .head = "A" };
    int i;

    table_row(&t);
    for (i = 0; i < TABLE_COLUMNS + 5; i++)
        table_cell(&t, "%d", i);
    CHECK_EQ(t.columns, TABLE_COLUMNS);
    table_free(&t);
}

/* ---- numbers ------------------------------------------------------------- */

static void
writes_bytes(void)
{
    char to[HUMAN_SIZE];

    CHECK_STR(human_bytes(to, 0), "0 B");
    CHECK_STR(human_bytes(to, 1023), "1023 B");
    CHECK_STR(human_bytes(to, 1024), "1 KiB");
    CHECK_STR(human_bytes(to, 1536), "1.5 KiB");
    CHECK_STR(human_bytes(to, UINT64_C(10) << 30), "10 GiB");
    CHECK_STR(human_bytes(to, UINT64_MAX), "16 EiB");
}

static void
writes_times(void)
{
    char to[HUMAN_SIZE];

    CHECK_STR(human_ns(to, 999), "999 ns");
    CHECK_STR(human_ns(to, 12345), "12.3 us");
    CHECK_STR(human_ns(to, 4560000), "4.56 ms");
    CHECK_STR(human_ns(to, 1200000000), "1.20 s");
    CHECK_STR(human_clock(to, 7), "0:07");
    CHECK_STR(human_clock(to, 3723), "1:02:03");
    human_when(to, now_ns());
    CHECK_EQ(strlen(to), strlen("2026-03-01 12:34:56.789"));
}

static void
reads_bytes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        { "0", 0 },          { "512", 512 },       { "4k", 4096 },
        { "4K", 4096 },      { "1M", 1 << 20 },    { "1MiB", 1 << 20 },
        { "2g", 2ll << 30 }, { "1tb", 1ll << 40 }, { "15e", 15ull << 60 }
    };
    static const char *const bad[] = {
        "",    "k",     "-1",  "1x",   "1kk",
        "1 k", "1kib8", "16e", "0x10", "99999999999999999999"
    };
    uint64_t v;
    size_t i;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(human_parse_bytes(good[i].text, &v));
        CHECK_EQ(v, good[i].bytes);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (human_parse_bytes(bad[i], &v))
            test_fail(__FILE__, __LINE__, "%s was read as a size", bad[i]);
    }
}

static void
reads_numbers(void)
{
    uint64_t v;

    CHECK(human_parse_number("16", 1, 16, &v));
    CHECK_EQ(v, 16);
    CHECK(!human_parse_number("17", 1, 16, &v));
    CHECK(!human_parse_number("0", 1, 16, &v));
    CHECK(!human_parse_number("", 0, 16, &v));
    CHECK(!human_parse_number("1 ", 0, 16, &v));
    CHECK(!human_parse_number("-1", 0, UINT64_MAX, &v));
}

/* ---- latency ------------------------------------------------------------- */

static void
finds_percentiles(void)
{
    static struct latency l;
    uint64_t i;

    CHECK_EQ(latency_at(&l, 0.5), 0);
    CHECK_EQ(latency_mean(&l), 0);
    for (i = 1; i <= 100000; i++)
        latency_add(&l, i * 1000);
    CHECK_EQ(l.n, 100000);
    CHECK_EQ(l.max_ns, 100000000);
    CHECK_EQ(latency_mean(&l), 50000500);
    CHECK(fabs((double)latency_at(&l, 0.5) / 50e6 - 1) < 0.032);
    CHECK(fabs((double)latency_at(&l, 0.9) / 90e6 - 1) < 0.032);
    CHECK(fabs((double)latency_at(&l, 0.999) / 99.9e6 - 1) < 0.032);
    CHECK_EQ(latency_at(&l, 1), 100000000);
}

/* Never below what was added, and at most a 32nd above. */
static void
is_exact_enough(void)
{
    static const struct latency none;
    static struct latency l;
    uint64_t ns;

    for (ns = 1; ns < UINT64_C(1) << 62; ns += ns / 4 + 1) {
        l = none;
        latency_add(&l, ns);
        latency_add(&l, UINT64_MAX >> 1);
        CHECK(latency_at(&l, 0.5) >= ns);
        CHECK(latency_at(&l, 0.5) - ns <= ns / 32);
    }
}

/* ---- near words ---------------------------------------------------------- */

static const char *
hint(const char *word, const char *a, const char *b)
{
    static char to[100];
    struct near near = { .word = word };

    near_try(&near, a);
    near_try(&near, b);
    return near_hint(&near, to, sizeof(to));
}

static void
guesses_words(void)
{
    char large[201];

    memset(large, 'x', 200);
    large[200] = '\0';
    CHECK_STR(hint("lsit", "stats", "list"), "; did you mean \"list\"?");
    CHECK_STR(hint("web-rot", "web-root", "db"),
              "; did you mean \"web-root\"?");
    CHECK_STR(hint("weeb", "web", "webs"), "; did you mean \"web\"?");
    CHECK_STR(hint("zzz", "web", "db"), "");
    CHECK_STR(hint("", "web", "db"), "");
    CHECK_STR(hint("x", "y", "z"), "");
    CHECK_STR(hint(large, "web", large), "");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(aligns_columns);
    TEST(prints_rows_that_are_short);
    TEST(needs_no_head);
    TEST(takes_no_more_cells_than_fit);
    TEST(writes_bytes);
    TEST(writes_times);
    TEST(reads_bytes);
    TEST(reads_numbers);
    TEST(finds_percentiles);
    TEST(is_exact_enough);
    TEST(guesses_words);
    return test_end();
}
