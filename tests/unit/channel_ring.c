/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ring.c, from inside: what happens at a full barrier is the test's. */
#include "channel/shm.h"
#include "tests/test.h"

static void (*at_barrier)(void);

static void
barrier(void)
{
    void (*f)(void) = at_barrier;

    at_barrier = NULL;
    if (f)
        f();
}

#define shm_mb barrier
#include "channel/ring.c"
#undef shm_mb

static _Alignas(4096) uint8_t page[16 * 4096];
static struct ring ring;
static char why[200];

static void
set(unsigned at, uint32_t v)
{
    memcpy(page + at, &v, 4);
}

static uint32_t
get(unsigned at)
{
    uint32_t v;

    memcpy(&v, page + at, 4);
    return v;
}

static void
start(enum chan_abi abi, unsigned order, uint32_t index)
{
    memset(page, 0xa5, sizeof(page));
    set(REQ_PROD, index);
    set(REQ_EVENT, index + 1);
    set(RSP_PROD, index);
    set(RSP_EVENT, index + 1);
    ring_init(&ring, page, abi, order, index, index);
}

static uint32_t
look(void)
{
    uint32_t n = 99;

    CHECK_EQ(ring_look(&ring, &n, why, sizeof(why)), 0);
    return n;
}

static void
sizes(void)
{
    for (unsigned order = 0; order <= 4; order++) {
        CHECK_EQ(blkif_ring_entries(CHAN_ABI_64, order), 32u << order);
        CHECK_EQ(blkif_ring_entries(CHAN_ABI_X86_32, order), 32u << order);
    }
}

/* Each slot's first and last byte arrive from where they lie, also over the
 * border of two pages. */
static void
takes_slots_of(enum chan_abi abi, unsigned order, unsigned stride)
{
    uint8_t raw[BLKIF_RAW_MAX];
    uint32_t index = UINT32_MAX - 4;

    start(abi, order, index);
    set(REQ_PROD, index + (32u << order));
    for (unsigned i = 0; i < 32u << order; i++) {
        uint8_t *slot = page + 64 + (size_t)i * stride;

        memset(slot, (int)(i & 63), stride);
        slot[0] = 0x77;
        slot[stride - 1] = (uint8_t)i;
    }
    CHECK_EQ(look(), 32u << order);
    for (unsigned i = 0; i < 32u << order; i++) {
        unsigned at = (index + i) & ((32u << order) - 1);

        memset(raw, 0, sizeof(raw));
        ring_take(&ring, raw);
        CHECK_EQ(raw[0], 0x77);
        CHECK_EQ(raw[1], at & 63);
        CHECK_EQ(raw[stride - 1], at & 255);
    }
    CHECK_EQ(look(), 0);
    CHECK_EQ(ring.cons, index + (32u << order));
}

static void
takes_slots(void)
{
    for (unsigned order = 0; order <= 4; order++) {
        takes_slots_of(CHAN_ABI_64, order, 112);
        takes_slots_of(CHAN_ABI_X86_32, order, 108);
    }
}

static void
refuse(uint32_t prod)
{
    uint32_t n = 99;

    set(REQ_PROD, prod);
    why[0] = '\0';
    CHECK_EQ(ring_look(&ring, &n, why, sizeof(why)), -EPROTO);
    CHECK_EQ(n, 0);
    CHECK(strstr(why, "expected req_prod"));
}

static void
refuses_wild_indices(void)
{
    static const uint32_t starts[] = { 0, 7, UINT32_MAX - 4,
                                       UINT32_C(1) << 31 };
    uint8_t raw[BLKIF_RAW_MAX];

    for (unsigned i = 0; i < 4; i++) {
        uint32_t at = starts[i];

        start(CHAN_ABI_64, 0, at);
        refuse(at + 33);
        refuse(at + 64);
        refuse(at + (UINT32_C(1) << 31));
        refuse(at - 1);
        set(REQ_PROD, at + 32);
        CHECK_EQ(look(), 32);
        set(REQ_PROD, at + 3);
        CHECK_EQ(look(), 3);
        for (int k = 0; k < 3; k++)
            ring_take(&ring, raw);
        CHECK_EQ(look(), 0);
        refuse(at + 2); /* behind what was taken */
        refuse(at);
        refuse(at + 33); /* none was answered yet */
        ring_respond(&ring, 1, 0, 0);
        set(REQ_PROD, at + 33);
        CHECK_EQ(look(), 30);
    }
}

static void
push_one(void)
{
    CHECK_EQ(get(REQ_EVENT), ring.cons + 1); /* asked before looking again */
    set(REQ_PROD, ring.cons + 1);
}

static void
push_wild(void)
{
    set(REQ_PROD, ring.cons + 1000);
}

static void
final_check(void)
{
    uint32_t n;

    start(CHAN_ABI_64, 0, UINT32_MAX);
    /* Nothing there: event asked for. */
    CHECK_EQ(ring_final(&ring, &n, why, sizeof(why)), 0);
    CHECK_EQ(n, 0);
    CHECK_EQ(get(REQ_EVENT), 0);
    /* A push that comes between both looks is seen. */
    set(REQ_EVENT, 0x55);
    at_barrier = push_one;
    CHECK_EQ(ring_final(&ring, &n, why, sizeof(why)), 0);
    CHECK_EQ(n, 1);
    /* There is work anyway: no event wanted. */
    set(REQ_EVENT, 0x55);
    CHECK_EQ(ring_final(&ring, &n, why, sizeof(why)), 0);
    CHECK_EQ(n, 1);
    CHECK_EQ(get(REQ_EVENT), 0x55);
    /* A wild index between both looks. */
    start(CHAN_ABI_64, 0, 0);
    at_barrier = push_wild;
    CHECK_EQ(ring_final(&ring, &n, why, sizeof(why)), -EPROTO);
    CHECK_EQ(n, 0);
}

/* XSA-216: only id, operation and status are written. */
static void
padding_of(enum chan_abi abi, unsigned stride)
{
    uint64_t id = UINT64_C(0x1122334455667788);
    int16_t status;

    start(abi, 0, 0);
    for (unsigned i = 0; i < 32; i++)
        CHECK_EQ(ring_respond(&ring, id + i, 6, -2), i);
    CHECK_EQ(get(RSP_PROD), 0);
    for (unsigned i = 0; i < 32; i++) {
        uint8_t *s = page + 64 + i * stride;

        CHECK(!memcmp(s, &(uint64_t){ id + i }, 8));
        CHECK_EQ(s[8], 6);
        memcpy(&status, s + 10, 2);
        CHECK_EQ(status, -2);
        CHECK_EQ(s[9], 0xa5);
        for (unsigned k = 12; k < stride; k++)
            CHECK_EQ(s[k], 0xa5);
    }
    for (unsigned k = 16; k < 64; k++)
        CHECK_EQ(page[k], 0xa5);
    for (unsigned k = 64 + 32 * stride; k < sizeof(page); k++)
        CHECK_EQ(page[k], 0xa5);
}

static void
padding(void)
{
    padding_of(CHAN_ABI_64, 112);
    padding_of(CHAN_ABI_X86_32, 108);
}

/* Publishes n, when the guest wants an event at `event`. */
static bool
publish(unsigned n, uint32_t event)
{
    set(RSP_EVENT, event);
    while (n--)
        ring_respond(&ring, 1, 0, 0);
    return ring_publish(&ring);
}

static void
notifies(void)
{
    for (uint32_t at = UINT32_MAX - 6; at != 7; at++) {
        start(CHAN_ABI_64, 0, at);
        CHECK(!publish(0, at + 1)); /* nothing: no event, whatever asked */
        CHECK(publish(1, at + 1));
        CHECK_EQ(get(RSP_PROD), at + 1);
        CHECK(!publish(1, at + 1));  /* it was told already */
        CHECK(publish(3, at + 3));   /* in the middle of a batch */
        CHECK(publish(3, at + 8));   /* its end */
        CHECK(!publish(3, at + 12)); /* behind its end */
        CHECK(!publish(1, at + 40));
        CHECK(!publish(1, at - 100));
        CHECK_EQ(get(RSP_PROD), at + 13);
    }
}

/* The guest owns the page: what it writes to rsp_prod changes nothing. */
static void
old_index_is_private(void)
{
    start(CHAN_ABI_64, 0, 0);
    CHECK(publish(1, 1));
    set(RSP_PROD, 12345);
    CHECK(publish(1, 2));
    CHECK_EQ(get(RSP_PROD), 2);
    set(RSP_PROD, UINT32_MAX - 27);
    CHECK(!publish(1, 1));
    CHECK_EQ(get(RSP_PROD), 3);
}

static void
ask_late(void)
{
    CHECK_EQ(get(RSP_PROD), ring.rsp); /* published before the question */
    set(RSP_EVENT, ring.rsp);
}

static void
event_is_read_after_publishing(void)
{
    start(CHAN_ABI_64, 0, 0);
    at_barrier = ask_late;
    CHECK(publish(1, 99));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(sizes);
    TEST(takes_slots);
    TEST(refuses_wild_indices);
    TEST(final_check);
    TEST(padding);
    TEST(notifies);
    TEST(old_index_is_private);
    TEST(event_is_read_after_publishing);
    return test_end();
}
