/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest may write, and what is made of it. */
#include "config.h"

#include <errno.h>

#include "tests/test.h"
#include "tests/unit/xenbus_fakes.h"
#include "xenbus/node.h"
#include "xenbus/read.h"

static struct chan_params params;
static char why[400];

static int
read_with(unsigned queues, unsigned order)
{
    struct front_ask ask = {
        .front = FRONT, .back = BACK, .queues_max = queues, .order_max = order
    };

    memset(&params, 0, sizeof params);
    why[0] = '\0';
    return front_read(&w.store, &ask, &params, why, sizeof why);
}

static void
begin(void)
{
    world_reset();
    set(FRONT "/backend", BACK);
    front_nodes();
}

static void
refused(const char *leaf, const char *value, const char *sentence)
{
    char path[200];

    begin();
    snprintf(path, sizeof path, FRONT "/%s", leaf);
    if (value)
        set(path, value);
    else
        del(path);
    CHECK_EQ(read_with(4, 4), -EPROTO);
    if (!strstr(why, sentence))
        CHECK_STR(why, sentence);
    CHECK_EQ(w.open_tx, 0);
}

static void
numbers(void)
{
    static const struct {
        const char *text;
        uint64_t max, value;
        bool good;
    } cases[] = {
        { "0", 0, 0, true },
        { "7", 7, 7, true },
        { "8", 7, 0, false },
        { "007", 7, 7, true },
        { "4294967295", UINT32_MAX, UINT32_MAX, true },
        { "4294967296", UINT32_MAX, 0, false },
        { "18446744073709551615", UINT64_MAX, UINT64_MAX, true },
        { "18446744073709551616", UINT64_MAX, 0, false },
        { "99999999999999999999999", UINT64_MAX, 0, false },
        { "", UINT64_MAX, 0, false },
        { "-1", UINT64_MAX, 0, false },
        { "+1", UINT64_MAX, 0, false },
        { " 1", UINT64_MAX, 0, false },
        { "1 ", UINT64_MAX, 0, false },
        { "1\n", UINT64_MAX, 0, false },
        { "0x10", UINT64_MAX, 0, false },
        { "1e3", UINT64_MAX, 0, false },
        { "x", UINT64_MAX, 0, false },
        { "5", 4, 0, false },
    };
    unsigned i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t v = 0;
        bool good = number_parse(cases[i].text, cases[i].max, &v);

        if (good != cases[i].good || (good && v != cases[i].value))
            test_fail(__FILE__, __LINE__, "\"%s\"", cases[i].text);
    }
}

static void
sentences_are_printable(void)
{
    char out[64], big[5000];

    printable(out, sizeof out, "a\"b\n\x80\xff", 6);
    CHECK_STR(out, "\"a?b???\"");
    memset(big, 'x', sizeof big);
    printable(out, sizeof out, big, sizeof big);
    CHECK(strlen(out) < 50);
    CHECK_STR(out + strlen(out) - 4, "...\"");
    printable(out, sizeof out, "", 0);
    CHECK_STR(out, "\"\"");
    printable(out, 12, "abcdefghijklmnop", 16);
    CHECK(strlen(out) < 12);
    printable(out, 1, "abc", 3);
    CHECK_STR(out, "");
}

static void
plain(void)
{
    begin();
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queues, 1);
    CHECK_EQ(params.order, 0);
    CHECK_EQ(params.abi, CHAN_ABI_64);
    CHECK_EQ(params.queue[0].refs[0], 8);
    CHECK_EQ(params.queue[0].port, 15);
}

static void
protocols(void)
{
    static const struct {
        const char *text;
        enum chan_abi abi;
        bool good;
    } cases[] = {
        { "x86_64-abi", CHAN_ABI_64, true },
        { "x86_32-abi", CHAN_ABI_X86_32, true },
        { "arm-abi", CHAN_ABI_64, true },
        { "X86_64-ABI", CHAN_ABI_64, false },
        { "x86_64-abi ", CHAN_ABI_64, false },
        { "ia64-abi", CHAN_ABI_64, false },
        { "\1\2\3", CHAN_ABI_64, false },
#if defined(__x86_64__) || defined(__i386__)
        { NULL, CHAN_ABI_X86_32, true }, /* as the kernel takes it */
        { "", CHAN_ABI_X86_32, true },
#endif
    };
    unsigned i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        if (cases[i].text)
            set(FRONT "/protocol", cases[i].text);
        else
            del(FRONT "/protocol");
        CHECK_EQ(read_with(1, 0), cases[i].good ? 0 : -EPROTO);
        if (cases[i].good)
            CHECK_EQ(params.abi, cases[i].abi);
    }
    begin();
    set_bytes(FRONT "/protocol", "x86_64-abi\0x", 12);
    CHECK_EQ(read_with(1, 0), -EPROTO);
}

/* The order node, even 0, decides about names; either is taken with 0. */
static void
names_of_refs(void)
{
    begin();
    set(FRONT "/ring-page-order", "0");
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queue[0].refs[0], 8);
    set(FRONT "/ring-ref0", "9");
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queue[0].refs[0], 9);
    set(FRONT "/ring-ref0", ""); /* left behind */
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queue[0].refs[0], 8);
    /* Without the order node a left-over of an earlier driver is not it. */
    set(FRONT "/ring-ref0", "9");
    set(FRONT "/ring-ref1", "10");
    del(FRONT "/ring-page-order");
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queue[0].refs[0], 8);
    set(FRONT "/ring-page-order", "1");
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.order, 1);
    CHECK_EQ(params.queue[0].refs[0], 9);
    CHECK_EQ(params.queue[0].refs[1], 10);
}

static void
queues(void)
{
    begin();
    set(FRONT "/multi-queue-num-queues", "1");
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queue[0].refs[0], 8);
    set(FRONT "/multi-queue-num-queues", "2");
    CHECK_EQ(read_with(4, 4), -EPROTO);
    CHECK_STR(why, "front-end node queue-0/ring-ref: expected a number, found "
                   "nothing");
    set(FRONT "/queue-0/ring-ref", "1");
    set(FRONT "/queue-0/event-channel", "2");
    set(FRONT "/queue-1/ring-ref", "3");
    CHECK_EQ(read_with(4, 4), -EPROTO);
    CHECK_STR(why, "front-end node queue-1/event-channel: expected a number, "
                   "found nothing");
    set(FRONT "/queue-1/event-channel", "4");
    CHECK_EQ(read_with(4, 4), 0);
    CHECK_EQ(params.queues, 2);
    CHECK_EQ(params.queue[1].refs[0], 3);
    CHECK_EQ(params.queue[1].port, 4);
    CHECK_EQ(read_with(1, 4), -EPROTO);
    CHECK_STR(why, "front-end node multi-queue-num-queues: expected a number "
                   "from 1 to 1, found \"2\"");
}

static void
garbage(void)
{
    static const char *const bad[] = {
        "-1", "x", " 1", "4294967296", "18446744073709551616", "0x1", "\xff"
    };
    static const char *const leaves[] = { "ring-ref", "event-channel" };
    char big[4097];
    unsigned i, k;

    memset(big, '1', 4096);
    big[4096] = '\0';
    for (k = 0; k < 2; k++) {
        for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
            refused(leaves[k], bad[i], "expected a number");
        refused(leaves[k], big, "...\"");
        refused(leaves[k], NULL, "found nothing");
        refused(leaves[k], "", "found nothing");
    }
    refused("multi-queue-num-queues", "0", "from 1 to 4, found \"0\"");
    refused("multi-queue-num-queues", "5", "from 1 to 4, found \"5\"");
    refused("multi-queue-num-queues", "x", "found \"x\"");
    refused("multi-queue-num-queues", "-1", "found \"-1\"");
    refused("multi-queue-num-queues", big, "...\"");
    refused("ring-page-order", "5", "from 0 to 4, found \"5\"");
    refused("ring-page-order", "4294967296", "from 0 to 4");
    refused("ring-page-order", "3", "ring-ref0: expected a number");
    refused("backend", "/local/domain/0/backend/vbd3/7/51728",
            "front-end node backend: expected \"" BACK "\"");
    refused("backend", big, "...\"");
    refused("backend", NULL, "found nothing");
    begin();
    set_bytes(FRONT "/ring-ref", "8\0008", 3);
    CHECK_EQ(read_with(4, 4), -EPROTO);
}

/* What the config offers may be more than the channel can. */
static void
limits_of_the_channel(void)
{
    begin();
    set(FRONT "/multi-queue-num-queues", "17");
    CHECK_EQ(read_with(1000, 1000), -EPROTO);
    begin();
    set(FRONT "/ring-page-order", "5");
    CHECK_EQ(read_with(1000, 1000), -EPROTO);
}

static void
missing_one_ref(void)
{
    char path[200];
    unsigned i;

    begin();
    set(FRONT "/ring-page-order", "4");
    for (i = 0; i < 16; i++) {
        snprintf(path, sizeof path, FRONT "/ring-ref%u", i);
        setf(path, "%u", 100 + i);
    }
    CHECK_EQ(read_with(1, 4), 0);
    CHECK_EQ(params.queue[0].refs[15], 115);
    del(FRONT "/ring-ref3");
    CHECK_EQ(read_with(1, 4), -EPROTO);
    CHECK_STR(why, "front-end node ring-ref3: expected a number, found "
                   "nothing");
}

/* It writes while we read: read again, and not for ever. */
static void
write_again(void)
{
    setf(FRONT "/ring-ref", "%u", 100 + w.calls);
}

static void
one_transaction(void)
{
    begin();
    w.meanwhile = write_again;
    CHECK_EQ(read_with(4, 4), -EAGAIN);
    CHECK_EQ(w.open_tx, 0);
    CHECK(w.calls < 200);
    w.meanwhile = NULL;
    w.conflicts = 3;
    CHECK_EQ(read_with(4, 4), 0);
    w.store_error = EIO;
    CHECK_EQ(read_with(4, 4), -EIO);
}

/* Any single node missing or odd: refused or read, never anything else. */
static void
random_nodes(void)
{
    static const char *const leaves[] = {
        "ring-ref",
        "ring-ref0",
        "ring-ref1",
        "event-channel",
        "protocol",
        "ring-page-order",
        "queue-0",
        "multi-queue-num-queues",
        "queue-0/ring-ref",
        "queue-1/ring-ref",
        "queue-0/event-channel",
        "queue-1/event-channel",
        "backend",
    };
    static const char *const values[] = { "0", "1",  "2", "",  "x86_64-abi",
                                          "4", "-1", "a", BACK };
    unsigned n, i, good = 0;

    for (n = 0; n < 20000; n++) {
        int rc;

        begin();
        w.seed += n * 0x9e3779b97f4a7c15ull;
        for (i = 0; i < 6; i++) {
            char path[200];

            snprintf(path, sizeof path, FRONT "/%s",
                     leaves[world_random() % 13]);
            if (world_random() % 3)
                set(path, values[world_random() % 9]);
            else
                del(path);
        }
        rc = read_with(2, 2);
        CHECK(!rc || rc == -EPROTO);
        CHECK(!rc || why[0]);
        if (rc)
            continue;
        good++;
        CHECK(params.queues >= 1 && params.queues <= 2);
        CHECK(params.order <= 2);
    }
    CHECK(good > 100);
    CHECK(good < n - 100);
    world_reset();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(numbers);
    TEST(sentences_are_printable);
    TEST(plain);
    TEST(protocols);
    TEST(names_of_refs);
    TEST(queues);
    TEST(garbage);
    TEST(limits_of_the_channel);
    TEST(missing_one_ref);
    TEST(one_transaction);
    TEST(random_nodes);
    return test_end();
}
