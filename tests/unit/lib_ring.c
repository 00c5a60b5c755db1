/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lib_ring.c: the ring client against a small server that knows the protocol
 * from its other side, and against one that breaks it.
 */
#include "config.h"

#include <errno.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/io/blkif.h>

#include "lib/ring_client.h"
#include "tests/test.h"

enum { PAGE = 4096 };

static uint8_t memory[16 * PAGE] __attribute__((aligned(4096)));
static uint8_t lists[RING_ENTRIES_MAX][PAGE] __attribute__((aligned(4096)));
static struct ring_slot slot[RING_ENTRIES_MAX];
static struct ring_client rc;
static const struct ring_seg whole = { .ref = 77, .first = 0, .last = 7 };
static int users[RING_ENTRIES_MAX];

/* ---- the server ---------------------------------------------------------- */

static struct blkif_sring *sring;
static uint32_t cons;

static union blkif_sring_entry *
entry(uint32_t i)
{
    return &sring->ring[i & (rc.entries - 1)];
}

static void
setup(unsigned order)
{
    uint32_t i;

    memset(memory, 0xee, sizeof(memory));
    memset(slot, 0, sizeof(slot));
    for (i = 0; i < RING_ENTRIES_MAX; i++) {
        slot[i].indirect = lists[i];
        slot[i].indirect_ref = 1000 + i;
    }
    ring_client_init(&rc, memory, order, slot);
    sring = (struct blkif_sring *)memory;
    cons = 0;
}

static bool
server_take(struct blkif_request *r)
{
    if (cons == sring->req_prod)
        return false;
    memcpy(r, &entry(cons++)->req, sizeof(*r));
    return true;
}

static void
server_answer(uint64_t id, int op, int16_t status)
{
    struct blkif_response r = { .id = id,
                                .operation = (uint8_t)op,
                                .status = status };

    memcpy(&entry(sring->rsp_prod)->rsp, &r, sizeof(r));
    sring->rsp_prod++;
}

static int
put(enum ring_op op, const struct ring_seg *seg, unsigned segs, void *user)
{
    struct ring_request r = {
        .op = op, .sector = 8, .seg = seg, .segs = segs, .user = user
    };

    return ring_client_put(&rc, &r);
}

/* ---- requests ------------------------------------------------------------ */

static void
counts_entries(void)
{
    CHECK_EQ(ring_client_entries(0), 32);
    CHECK_EQ(ring_client_entries(1), 64);
    CHECK_EQ(ring_client_entries(2), 128);
    CHECK_EQ(ring_client_entries(3), 256);
    CHECK_EQ(ring_client_entries(4), 512);
}

static void
writes_a_direct_request(void)
{
    struct ring_seg seg[RING_DIRECT_MAX];
    struct blkif_request r;
    unsigned i;

    setup(0);
    for (i = 0; i < RING_DIRECT_MAX; i++)
        seg[i] = (struct ring_seg){ .ref = i + 5, .first = 1, .last = 6 };
    CHECK_EQ(put(RING_WRITE, seg, RING_DIRECT_MAX, users), 0);
    CHECK(!server_take(&r));
    CHECK(ring_client_publish(&rc));
    CHECK(server_take(&r));
    CHECK_EQ(r.operation, BLKIF_OP_WRITE);
    CHECK_EQ(r.nr_segments, RING_DIRECT_MAX);
    CHECK_EQ(r.sector_number, 8);
    for (i = 0; i < RING_DIRECT_MAX; i++) {
        CHECK_EQ(r.seg[i].gref, i + 5);
        CHECK_EQ(r.seg[i].first_sect, 1);
        CHECK_EQ(r.seg[i].last_sect, 6);
    }
    CHECK(!server_take(&r));
}

static void
writes_an_indirect_request(void)
{
    const struct blkif_request_segment *list;
    struct ring_seg seg[RING_INDIRECT_MAX];
    struct blkif_request_indirect e;
    struct blkif_request r;
    unsigned i;

    setup(0);
    for (i = 0; i < RING_INDIRECT_MAX; i++)
        seg[i] = (struct ring_seg){ .ref = i * 3, .last = (uint8_t)(i % 8) };
    CHECK_EQ(put(RING_READ, seg, RING_DIRECT_MAX + 1, users), 0);
    CHECK_EQ(put(RING_WRITE, seg, RING_INDIRECT_MAX, users), 0);
    ring_client_publish(&rc);
    for (i = 0; i < 2; i++) {
        CHECK(server_take(&r));
        memcpy(&e, &r, sizeof(e));
        CHECK_EQ(e.operation, BLKIF_OP_INDIRECT);
        CHECK_EQ(e.indirect_op, i ? BLKIF_OP_WRITE : BLKIF_OP_READ);
        CHECK_EQ(e.nr_segments, i ? RING_INDIRECT_MAX : RING_DIRECT_MAX + 1);
        CHECK_EQ(e.sector_number, 8);
        CHECK_EQ(e.indirect_grefs[0], 1000 + e.id);
        list = (const struct blkif_request_segment *)(const void *)lists[e.id];
        CHECK_EQ(list[e.nr_segments - 1].gref, (e.nr_segments - 1) * 3);
        CHECK_EQ(list[11].last_sect, 3);
    }
}

static void
writes_flush_and_discard(void)
{
    struct ring_request d = {
        .op = RING_DISCARD, .sector = 100, .sectors = 1ull << 40, .user = users
    };
    struct blkif_request_discard e;
    struct blkif_request r;

    setup(0);
    CHECK_EQ(put(RING_FLUSH, NULL, 0, users), 0);
    CHECK_EQ(ring_client_put(&rc, &d), 0);
    CHECK_EQ(put(RING_BARRIER, NULL, 0, users), 0);
    ring_client_publish(&rc);
    CHECK(server_take(&r));
    CHECK_EQ(r.operation, BLKIF_OP_FLUSH_DISKCACHE);
    CHECK_EQ(r.nr_segments, 0);
    CHECK(server_take(&r));
    memcpy(&e, &r, sizeof(e));
    CHECK_EQ(e.operation, BLKIF_OP_DISCARD);
    CHECK_EQ(e.sector_number, 100);
    CHECK_EQ(e.nr_sectors, 1ll << 40);
    CHECK(server_take(&r));
    CHECK_EQ(r.operation, BLKIF_OP_WRITE_BARRIER);
}

static void
refuses_what_is_not_a_request(void)
{
    struct ring_seg seg[RING_INDIRECT_MAX + 1] = { { .last = 7 } };
    unsigned i;

    setup(0);
    for (i = 0; i <= RING_INDIRECT_MAX; i++)
        seg[i].last = 7;
    CHECK_EQ(put(RING_READ, NULL, 0, users), -EINVAL);
    CHECK_EQ(put(RING_FLUSH, seg, 1, users), -EINVAL);
    CHECK_EQ(put(RING_DISCARD, seg, 1, users), -EINVAL);
    CHECK_EQ(put(RING_WRITE, seg, RING_INDIRECT_MAX + 1, users), -EINVAL);
    CHECK_EQ(put(RING_BARRIER, seg, RING_DIRECT_MAX + 1, users), -EINVAL);
    slot[0].indirect = NULL;
    CHECK_EQ(put(RING_READ, seg, RING_DIRECT_MAX + 1, users), -EINVAL);
    seg[3].first = 5;
    seg[3].last = 4;
    CHECK_EQ(put(RING_READ, seg, 4, users), -EINVAL);
    seg[3].last = 8;
    CHECK_EQ(put(RING_READ, seg, 4, users), -EINVAL);
    CHECK(!ring_client_publish(&rc));
    CHECK_EQ(rc.used, 0);
}

/* ---- answers ------------------------------------------------------------- */

static void
takes_answers_in_any_order(void)
{
    struct blkif_request r[3];
    struct ring_answer a;
    int i;

    setup(0);
    for (i = 0; i < 3; i++)
        CHECK_EQ(put(RING_READ, &whole, 1, &users[i]), 0);
    ring_client_publish(&rc);
    CHECK_EQ(ring_client_take(&rc, &a), 0);
    for (i = 0; i < 3; i++)
        CHECK(server_take(&r[i]));
    server_answer(r[2].id, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    server_answer(r[0].id, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    server_answer(r[1].id, BLKIF_OP_READ, BLKIF_RSP_EOPNOTSUPP);
    CHECK_EQ(ring_client_take(&rc, &a), 1);
    CHECK(a.user == &users[2] && a.error == 0);
    CHECK_EQ(ring_client_take(&rc, &a), 1);
    CHECK(a.user == &users[0] && a.error == -EIO);
    CHECK_EQ(ring_client_take(&rc, &a), 1);
    CHECK(a.user == &users[1] && a.error == -EOPNOTSUPP);
    CHECK_EQ(ring_client_take(&rc, &a), 0);
    CHECK_EQ(rc.used, 0);
}

/* Many rounds over the ring, so that the indices wrap around its end and,
 * started near it, around 2^32. */
static void
goes_round(uint32_t from, unsigned order)
{
    struct blkif_request r;
    struct ring_answer a;
    uint32_t i, left, round, n = 0;

    setup(order);
    rc.req_prod = rc.published = rc.rsp_cons = cons = from;
    sring->req_prod = sring->rsp_prod = from;
    sring->req_event = sring->rsp_event = from + 1;
    for (round = 0; round < 40; round++) {
        while (put(RING_READ, &whole, 1, &users[n % RING_ENTRIES_MAX]) == 0)
            n++;
        CHECK_EQ(rc.used, rc.entries);
        ring_client_publish(&rc);
        left = round % 2 ? 0 : rc.entries / 3;
        for (i = 0; i < rc.entries - left && server_take(&r); i++)
            server_answer(r.id, r.operation, 0);
        while (ring_client_take(&rc, &a) == 1)
            ;
        CHECK_EQ(rc.used, sring->req_prod - sring->rsp_prod);
    }
    CHECK(!rc.broken);
}

static void
goes_round_the_ring(void)
{
    goes_round(0, 0);
    goes_round(0xffffff00u, 0);
    goes_round(0xfffff800u, 4);
}

static void
is_full_with_all_entries(void)
{
    unsigned i;

    setup(0);
    for (i = 0; i < 32; i++)
        CHECK_EQ(put(RING_READ, &whole, 1, users), 0);
    CHECK_EQ(put(RING_READ, &whole, 1, users), -EAGAIN);
}

/* ---- notifications ------------------------------------------------------- */

static void
notifies_only_who_waits(void)
{
    setup(0);
    put(RING_READ, &whole, 1, users);
    CHECK(ring_client_publish(&rc));
    CHECK(!ring_client_publish(&rc));
    put(RING_READ, &whole, 1, users);
    CHECK(!ring_client_publish(&rc)); /* it did not look yet */
    sring->req_event = 3;
    put(RING_READ, &whole, 1, users);
    CHECK(ring_client_publish(&rc));
    sring->req_event = 6; /* wants to hear of the sixth */
    put(RING_READ, &whole, 1, users);
    put(RING_READ, &whole, 1, users);
    CHECK(!ring_client_publish(&rc));
    put(RING_READ, &whole, 1, users);
    put(RING_READ, &whole, 1, users);
    CHECK(ring_client_publish(&rc));
}

static void
looks_again_before_it_sleeps(void)
{
    struct blkif_request r;
    struct ring_answer a;

    setup(0);
    put(RING_READ, &whole, 1, users);
    put(RING_READ, &whole, 1, users);
    ring_client_publish(&rc);
    server_take(&r);
    server_answer(r.id, r.operation, 0);
    CHECK_EQ(ring_client_take(&rc, &a), 1);
    CHECK(!ring_client_rearm(&rc));
    CHECK_EQ(sring->rsp_event, 2);
    server_take(&r);
    server_answer(r.id, r.operation, 0);
    CHECK(ring_client_rearm(&rc));
}

/* ---- a server that breaks the ring --------------------------------------- */

static void
broken_by(void (*how)(void), const char *why)
{
    struct blkif_request r;
    struct ring_answer a;

    setup(0);
    put(RING_READ, &whole, 1, users);
    put(RING_WRITE, &whole, 1, users);
    ring_client_publish(&rc);
    while (server_take(&r))
        ;
    how();
    CHECK_EQ(ring_client_take(&rc, &a), -EPROTO);
    CHECK_STR(rc.broken, why);
    /* And it stays so, whatever comes. */
    sring->rsp_prod = 0;
    CHECK_EQ(ring_client_take(&rc, &a), -EPROTO);
    CHECK_EQ(put(RING_READ, &whole, 1, users), -EAGAIN);
}

static void
too_many(void)
{
    sring->rsp_prod = 3;
}

static void
backwards(void)
{
    sring->rsp_prod = (uint32_t)-1;
}

static void
wild_id(void)
{
    server_answer(1ull << 32, BLKIF_OP_READ, 0);
}

static void
idle_id(void)
{
    server_answer(9, BLKIF_OP_READ, 0);
}

static void
other_op(void)
{
    server_answer(0, BLKIF_OP_WRITE, 0);
}

static void
is_not_fooled(void)
{
    broken_by(too_many, "more answers than requests");
    broken_by(backwards, "more answers than requests");
    broken_by(wild_id, "an answer's id is not that of any request");
    broken_by(idle_id, "an answer to a request that does not wait");
    broken_by(other_op, "an answer with another operation than asked");
}

static void
takes_no_answer_twice(void)
{
    struct blkif_request r;
    struct ring_answer a;

    setup(0);
    put(RING_READ, &whole, 1, users);
    put(RING_READ, &whole, 1, users);
    ring_client_publish(&rc);
    server_take(&r);
    server_answer(r.id, r.operation, 0);
    server_answer(r.id, r.operation, 0);
    CHECK_EQ(ring_client_take(&rc, &a), 1);
    CHECK_EQ(ring_client_take(&rc, &a), -EPROTO);
}

static void
cancels_what_waits(void)
{
    struct ring_answer a;
    int i, n = 0;

    setup(0);
    for (i = 0; i < 5; i++)
        put(RING_READ, &whole, 1, &users[i]);
    ring_client_publish(&rc);
    while (ring_client_cancel(&rc, &a)) {
        CHECK_EQ(a.error, -ECANCELED);
        CHECK(a.user == &users[n]);
        n++;
    }
    CHECK_EQ(n, 5);
    CHECK_EQ(rc.used, 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(counts_entries);
    TEST(writes_a_direct_request);
    TEST(writes_an_indirect_request);
    TEST(writes_flush_and_discard);
    TEST(refuses_what_is_not_a_request);
    TEST(takes_answers_in_any_order);
    TEST(goes_round_the_ring);
    TEST(is_full_with_all_entries);
    TEST(notifies_only_who_waits);
    TEST(looks_again_before_it_sleeps);
    TEST(is_not_fooled);
    TEST(takes_no_answer_twice);
    TEST(cancels_what_waits);
    return test_end();
}
