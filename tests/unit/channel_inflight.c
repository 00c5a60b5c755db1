/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inflight.c, from inside: a table is written by one life, read by the next. */
#include "channel/inflight.c"

#include <sys/resource.h>

#include "tests/test.h"

static struct chan_params params;
static struct inflight f, g;
static char why[200];
static uint32_t list[512];

static void
make(unsigned queues, unsigned order)
{
    memset(&params, 0, sizeof(params));
    params.domid = 3;
    params.queues = queues;
    params.order = order;
    params.nonce = 99;
    for (unsigned q = 0; q < queues; q++) {
        params.queue[q].port = 50 + q;
        for (uint32_t i = 0; i < 1u << order; i++)
            params.queue[q].refs[i] = 1000 + q * 16 + i;
    }
    CHECK_EQ(inflight_make(&f, &params), 0);
    for (unsigned q = 0; q < queues; q++)
        inflight_begin(&f, q, 0);
}

static int
adopt(void)
{
    why[0] = '\0';
    return inflight_adopt(&g, &params, f.fd, why, sizeof(why));
}

static int
recover(unsigned queue, uint32_t rsp, uint32_t *cons)
{
    why[0] = '\0';
    return inflight_recover(&g, queue, rsp, cons, list, why, sizeof(why));
}

static uint32_t
note(unsigned queue, unsigned what)
{
    uint8_t raw[BLKIF_RAW_MAX] = { (uint8_t)what };

    return inflight_note(&f, queue, raw);
}

static void
an_empty_table(void)
{
    uint32_t cons = 9;

    make(1, 0);
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(0, 0, &cons), 0);
    CHECK_EQ(cons, 0);
    CHECK_EQ(g.spares, 32);
    inflight_free(&g);
    inflight_free(&f);
}

/* Consumed, answered and not published, published and not dropped. */
static void
each_stage(void)
{
    uint32_t e[6], cons;

    make(1, 0);
    for (unsigned i = 0; i < 6; i++)
        e[i] = note(0, i);
    inflight_answer(&f, e[4], 0); /* published, as rsp_prod is 2 */
    inflight_answer(&f, e[1], 1);
    inflight_answer(&f, e[3], 2); /* only noted */
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(0, 2, &cons), 4);
    CHECK_EQ(cons, 6);
    CHECK_EQ(inflight_raw(&g, list[0])[0], 0);
    CHECK_EQ(inflight_raw(&g, list[1])[0], 2);
    CHECK_EQ(inflight_raw(&g, list[2])[0], 3);
    CHECK_EQ(inflight_raw(&g, list[3])[0], 5);
    CHECK_EQ(g.spares, 32 - 4);
    inflight_free(&g);
    inflight_free(&f);
}

/* Killed between the entry and cons: the ring still has the request. */
static void
noted_and_not_advanced(void)
{
    uint32_t cons;

    make(1, 0);
    note(0, 1);
    note(0, 2);
    f.table->queue[0].cons = cons_word(1);
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(0, 0, &cons), 1);
    CHECK_EQ(cons, 1);
    CHECK_EQ(inflight_raw(&g, list[0])[0], 1);
    inflight_free(&g);
    inflight_free(&f);
}

/* Oldest first, whichever entries they got and although indices wrap. */
static void
by_age_over_the_wrap(void)
{
    uint32_t start = UINT32_MAX - 4, old, cons, e;

    make(2, 0);
    inflight_begin(&f, 1, start);
    old = note(1, 200);
    for (uint32_t i = 0; i < 40; i++) {
        e = note(1, i);
        if (i == 20 || i == 38)
            continue;
        inflight_answer(&f, e, start + i);
        inflight_drop(&f, e);
    }
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(1, start + 38, &cons), 3);
    CHECK_EQ(cons, start + 41);
    CHECK_EQ(list[0], old);
    CHECK_EQ(inflight_raw(&g, list[1])[0], 20);
    CHECK_EQ(inflight_raw(&g, list[2])[0], 38);
    CHECK_EQ(recover(0, 0, &cons), 0);
    inflight_free(&g);
    inflight_free(&f);
}

/* An entry that is used again lies before older ones. */
static void
by_age_not_by_place(void)
{
    uint32_t cons, first;

    make(1, 0);
    first = note(0, 0);
    note(0, 1);
    note(0, 2);
    inflight_answer(&f, first, 0);
    inflight_drop(&f, first);
    CHECK_EQ(note(0, 3), first);
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(0, 1, &cons), 3);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(inflight_raw(&g, list[i])[0], i + 1);
    inflight_free(&g);
    inflight_free(&f);
}

/* The guest's rsp_prod has to fit, to the last request. */
static void
a_guest_that_disagrees(void)
{
    uint32_t cons;

    make(1, 0);
    note(0, 1);
    note(0, 2);
    CHECK_EQ(adopt(), 0);
    for (uint32_t rsp = UINT32_MAX - 40; rsp != 60; rsp++) {
        int n = recover(0, rsp, &cons);

        CHECK_EQ(n, rsp == 0 ? 2 : -EPROTO);
        CHECK_EQ(why[0] != '\0', n < 0);
    }
    inflight_free(&g);
    inflight_free(&f);
}

static void
refused(const char *sentence)
{
    CHECK_EQ(adopt(), -EINVAL);
    if (!strstr(why, sentence))
        test_fail(__FILE__, __LINE__, "expected \"... %s\", found \"%s\"",
                  sentence, why);
}

static void
damaged_tables(void)
{
    struct inflight_entry *e;

    make(2, 1);
    note(0, 1);
    e = &f.table->entry[note(1, 2)];
    CHECK_EQ(adopt(), 0);
    inflight_free(&g);
#define SPOILT(field, value, sentence)      \
    do {                                    \
        __typeof__(field) kept_ = field;    \
        field = (__typeof__(field))(value); \
        refused(sentence);                  \
        field = kept_;                      \
        CHECK_EQ(adopt(), 0);               \
        inflight_free(&g);                  \
    } while (0)
#define RESUMMED(field, value, sentence)        \
    do {                                        \
        __typeof__(field) old_ = field;         \
        field = (__typeof__(field))(value);     \
        f.table->check = header_check(f.table); \
        refused(sentence);                      \
        field = old_;                           \
        f.table->check = header_check(f.table); \
    } while (0)
    SPOILT(f.table->magic, 0, "no such table");
    SPOILT(f.table->version, 1, "another version");
    SPOILT(f.table->version, 3, "another version");
    SPOILT(f.table->bytes, 12, "header's sum");
    SPOILT(f.table->nonce, 98, "header's sum");
    SPOILT(f.table->domid, 4, "header's sum");
    SPOILT(f.table->abi, 1, "header's sum");
    SPOILT(f.table->order, 2, "header's sum");
    SPOILT(f.table->queues, 1, "header's sum");
    SPOILT(f.table->slots, 32, "header's sum");
    SPOILT(f.table->check, 32, "header's sum");
    SPOILT(f.table->queue[1].port, 1, "header's sum");
    SPOILT(f.table->queue[1].refs[1], 1, "header's sum");
    SPOILT(f.table->queue[9].mark, 1, "header's sum");
    SPOILT(f.table->queue[0].cons, 1, "does not go with its check");
    RESUMMED(f.table->nonce, 98, "another connection");
    RESUMMED(f.table->domid, 4, "another connection");
    RESUMMED(f.table->abi, 1, "another shape");
    RESUMMED(f.table->order, 2, "another shape");
    RESUMMED(f.table->queues, 1, "another shape");
    RESUMMED(f.table->slots, 32, "another shape");
    RESUMMED(f.table->bytes, 12, "another shape");
    RESUMMED(f.table->queue[1].port, 1, "another ring");
    RESUMMED(f.table->queue[1].refs[1], 1, "another ring");
    SPOILT(e->word, 3, "no known state");
    SPOILT(e->word, e->word + 1, "no known state");
    SPOILT(e->queue, 2, "entry's sum");
    SPOILT(e->index, 2, "entry's sum");
    SPOILT(e->check, 2, "entry's sum");
    SPOILT(e->raw[0], 77, "entry's sum");
    SPOILT(e->raw[111], 77, "entry's sum");
    e->queue = 2;
    e->check = entry_check(e);
    refused("no queue");
    e->queue = 1;
    e->index = 2;
    e->check = entry_check(e);
    refused("never consumed");
#undef RESUMMED
#undef SPOILT
    inflight_free(&f);
}

static void
the_same_request_twice(void)
{
    uint32_t cons, e;

    make(1, 0);
    note(0, 1);
    e = note(0, 2);
    f.table->entry[e].index = 0;
    f.table->entry[e].check = entry_check(&f.table->entry[e]);
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(0, 0, &cons), -EPROTO);
    inflight_free(&g);
    inflight_free(&f);
}

static void
whose_table_it_is(void)
{
    make(1, 0);
    CHECK(chan_table_of(f.fd, params.nonce));
    CHECK(!chan_table_of(f.fd, params.nonce + 1));
    CHECK(!chan_table_of(999, params.nonce));
    inflight_free(&f);
}

/* Something else under the descriptor: no fault, no trust. */
static void
not_a_table(void)
{
    FILE *file = tmpfile();
    void *addr;
    int fd;

    make(1, 0);
    CHECK_EQ(inflight_adopt(&g, &params, fileno(file), why, sizeof(why)),
             -EINVAL);
    CHECK(strstr(why, "too short"));
    CHECK(!ftruncate(fileno(file), 1 << 20));
    CHECK(!fchmod(fileno(file), 0644));
    CHECK_EQ(inflight_adopt(&g, &params, fileno(file), why, sizeof(why)),
             -EINVAL);
    CHECK(strstr(why, "not sealed"));
    fclose(file);
    CHECK(!host_memory("test", 1 << 20, &addr, &fd));
    CHECK_EQ(inflight_adopt(&g, &params, fd, why, sizeof(why)), -EINVAL);
    CHECK(strstr(why, "too long"));
    host_memory_free(addr, 1 << 20, fd);
    CHECK(!host_memory("test", f.size, &addr, &fd));
    CHECK_EQ(inflight_adopt(&g, &params, fd, why, sizeof(why)), -EINVAL);
    CHECK(strstr(why, "no such table"));
    host_memory_free(addr, f.size, fd);
    CHECK_EQ(inflight_adopt(&g, &params, 999, why, sizeof(why)), -EINVAL);
    inflight_free(&f);
}

/* Any one bit of the table, wrong: refused, or harmless. */
static void
any_bit(void)
{
    static uint8_t good[64 * 1024];
    uint32_t cons;

    make(2, 0);
    for (unsigned i = 0; i < 5; i++)
        inflight_answer(&f, note(i & 1, i), i / 2);
    REQUIRE(f.size <= sizeof(good));
    memcpy(good, f.table, f.size);
    for (size_t bit = 0; bit < f.size * 8; bit += 3) {
        ((uint8_t *)f.table)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (!adopt()) {
            for (unsigned q = 0; q < 2; q++) {
                int n = recover(q, 0, &cons);

                CHECK(n < 0 || n <= 32);
            }
            inflight_free(&g);
        }
        memcpy(f.table, good, f.size);
    }
    inflight_free(&f);
}

/* That the disk failed stands in the table until it was mended; a word that
 * says neither is no table to go on from. */
static void
a_disk_that_failed(void)
{
    make(2, 0);
    CHECK(!inflight_lossy(&f));
    CHECK(!inflight_was_lossy(f.fd, &params));
    inflight_mark(&f, true);
    CHECK(inflight_lossy(&f));
    CHECK_EQ(adopt(), 0);
    CHECK(inflight_lossy(&g));
    inflight_mark(&g, false);
    inflight_free(&g);
    CHECK_EQ(adopt(), 0);
    CHECK(!inflight_lossy(&g));
    inflight_free(&g);
    for (unsigned bit = 0; bit < 32; bit++) {
        f.table->queue[0].mark = (bit & 1 ? DISK_LOSSY : 0) ^ 1u << bit;
        CHECK_EQ(adopt(), -EINVAL);
        CHECK(strstr(why, "whether the disk failed can't be read"));
        CHECK(!inflight_was_lossy(f.fd, &params));
    }
    /* It is told also by a table of which the rest can't be used. */
    inflight_mark(&f, true);
    f.table->entry[3].word = 1;
    CHECK_EQ(adopt(), -EINVAL);
    CHECK(inflight_was_lossy(f.fd, &params));
    params.nonce++;
    CHECK(!inflight_was_lossy(f.fd, &params));
    inflight_free(&f);
}

/* One queue has more entries than its ring has slots, and as many as the ring
 * counts: no ring can be so. */
static void
more_than_slots(void)
{
    uint32_t cons;

    make(2, 0);
    for (unsigned i = 0; i < 33; i++)
        note(0, i);
    CHECK_EQ(adopt(), 0);
    CHECK_EQ(recover(0, 0, &cons), -EPROTO);
    CHECK(strstr(why, "expected 33 requests without an answer, found 33"));
    inflight_free(&g);
    inflight_free(&f);
}

/* Damaged after it was checked: it counts as over, and so one is missing. */
static void
damaged_since(void)
{
    uint32_t cons, e;

    make(1, 0);
    note(0, 1);
    e = note(0, 2);
    CHECK_EQ(adopt(), 0);
    g.table->entry[e].word = 3;
    CHECK_EQ(recover(0, 0, &cons), -EPROTO);
    CHECK(strstr(why, "expected 2 requests without an answer, found 1"));
    inflight_free(&g);
    inflight_free(&f);
}

/* ---- whose file it is ---------------------------------------------------- */

static void
refused_file(int fd, const char *sentence)
{
    why[0] = '\0';
    CHECK_EQ(inflight_adopt(&g, &params, fd, why, sizeof(why)), -EINVAL);
    if (!strstr(why, sentence))
        test_fail(__FILE__, __LINE__, "expected \"... %s\", found \"%s\"",
                  sentence, why);
    CHECK_EQ(g.fd, -1);
    CHECK(!g.spare);
}

/* In a file of ours, in place of a memfd: only as long as it is ours alone. */
static void
in_a_file(void)
{
    char name[] = "/tmp/channel_inflight.XXXXXX", other[sizeof(name) + 2];
    int fd = mkstemp(name);
    uint32_t cons;

    REQUIRE(fd >= 0);
    make(1, 0);
    inflight_free(&f);
    params.room = fd;
    CHECK_EQ(inflight_make(&f, &params), 0);
    inflight_begin(&f, 0, 0);
    note(0, 7);
    CHECK_EQ(inflight_adopt(&g, &params, fd, why, sizeof(why)), 0);
    CHECK_EQ(recover(0, 0, &cons), 1);
    CHECK_EQ(inflight_raw(&g, list[0])[0], 7);
    inflight_free(&g);
    CHECK(!fchmod(fd, 0640));
    refused_file(fd, "not sealed, and a file that others can open");
    CHECK(!fchmod(fd, 0600));
    snprintf(other, sizeof(other), "%s.2", name);
    CHECK(!link(name, other));
    refused_file(fd, "not sealed, and a file that others can open");
    CHECK(!unlink(other));
    CHECK_EQ(adopt(), 0);
    inflight_free(&g);
    if (!geteuid()) {
        CHECK(!fchown(fd, 65534, 65534));
        refused_file(fd, "not sealed, and a file of another user");
    }
    CHECK(!unlink(name));
    inflight_free(&f);
    close(fd);
}

static void
no_file_at_all(void)
{
    int ends[2], fd;

    make(1, 0);
    REQUIRE(!pipe(ends));
    refused_file(ends[0], "not a file");
    close(ends[0]);
    close(ends[1]);
    /* A memfd that nobody sealed; then a file system that knows no seals. */
    fd = memfd_create("channel_inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(fd >= 0);
    refused_file(fd, "not sealed, and a file that others can open");
    close(fd);
    fd = open("/proc/self/maps", O_RDONLY);
    REQUIRE(fd >= 0);
    refused_file(fd, "not sealed, and a file that others can open");
    close(fd);
    inflight_free(&f);
}

/* All is well with the table, but not with us. */
static void
no_means(void)
{
    struct rlimit all, few;
    char name[40];
    int fd;

    make(1, 0);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", f.fd);
    fd = open(name, O_RDONLY);
    REQUIRE(fd >= 0);
    refused_file(fd, "can't be mapped");
    close(fd);
    CHECK(!getrlimit(RLIMIT_NOFILE, &all));
    few = all;
    few.rlim_cur = 3;
    CHECK(!setrlimit(RLIMIT_NOFILE, &few));
    refused_file(f.fd, "no file descriptor left");
    CHECK(!setrlimit(RLIMIT_NOFILE, &all));
    CHECK_EQ(adopt(), 0);
    inflight_free(&g);
    inflight_free(&f);
    params.room = open("/dev/null", O_RDONLY); /* no place for a table */
    REQUIRE(params.room > 0);
    CHECK_EQ(inflight_make(&f, &params), 0);
    CHECK(fcntl(f.fd, F_GET_SEALS) & F_SEAL_SHRINK);
    close(params.room);
    inflight_free(&f);
}

/* ---- rings that were made anew ------------------------------------------- */

/* The table of f, as another connection's parameters see it. */
static bool
other_ring(unsigned queues, uint32_t port, uint32_t ref)
{
    struct chan_params p = params;

    p.queues = queues;
    for (unsigned q = 0; q < queues; q++) {
        p.queue[q].port = port + q;
        p.queue[q].refs[0] = ref + q;
    }
    return inflight_other_ring(f.fd, &p);
}

static void
rings_made_anew(void)
{
    make(2, 0);
    CHECK(other_ring(2, 70, 3000));
    CHECK(other_ring(1, 70, 3000));
    CHECK(other_ring(3, 70, 3000)); /* one more than the table has */
    CHECK(!other_ring(2, 50, 1000));
    CHECK(!other_ring(2, 50, 3000)); /* the port of one is enough */
    CHECK(!other_ring(2, 70, 1000)); /* and its page, too */
    CHECK(!other_ring(2, 70, 1015)); /* of the second queue: 1016 */
    CHECK(!inflight_other_ring(999, &params));
    params.nonce++;
    CHECK(!other_ring(2, 70, 3000));
    params.nonce--;
    params.domid++;
    CHECK(!other_ring(2, 70, 3000));
    params.domid--;
    f.table->magic++;
    CHECK(!other_ring(2, 70, 3000));
    f.table->magic--;
    f.table->version++;
    CHECK(!other_ring(2, 70, 3000));
    f.table->version--;
    f.table->check++;
    CHECK(!other_ring(2, 70, 3000));
    f.table->check--;
    CHECK(other_ring(2, 70, 3000));
    inflight_free(&f);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(an_empty_table);
    TEST(each_stage);
    TEST(noted_and_not_advanced);
    TEST(by_age_over_the_wrap);
    TEST(by_age_not_by_place);
    TEST(a_guest_that_disagrees);
    TEST(damaged_tables);
    TEST(the_same_request_twice);
    TEST(whose_table_it_is);
    TEST(not_a_table);
    TEST(any_bit);
    TEST(a_disk_that_failed);
    TEST(more_than_slots);
    TEST(damaged_since);
    TEST(in_a_file);
    TEST(no_file_at_all);
    TEST(no_means);
    TEST(rings_made_anew);
    return test_end();
}
