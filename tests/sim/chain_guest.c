/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest: requests of every kind, from memory in any number of pieces, and
 * what it may expect to read.
 *
 * Each write has a number.  Of each unit of the disk the guest knows the
 * number that it must read; or, after a failure or a crash, the least number
 * that it may read: what was flushed must be there, what came later may be.
 */
#include "config.h"
#include "tests/sim/chain_sim.h"

#include <errno.h>

enum { SEGS = 24 };

struct unit {
    uint32_t cur;     /* the number of what must be there */
    uint32_t floor;   /* when maybe: the least there may be */
    uint32_t durable; /* survives a crash, or something later does */
    uint32_t latest;  /* ever written to */
    uint32_t zero;    /* the last ZERO or DISCARD; 0: as it was made */
    uint32_t first;   /* of the writes that are under way together */
    bool maybe;
    bool several, one_ok, one_crossed; /* are under way; of them */
    uint8_t readers, writers;
};

struct guest_slot {
    struct chain_req *req;
    unsigned op, flags, n;
    uint64_t off;
    uint32_t len, number;
    bool crossed; /* a crash came between */
    uint32_t snapshot[UNITS];
    struct iovec v[SEGS];
    uint8_t memory[SLOT_MEMORY];
};

static struct {
    struct unit unit[UNITS];
    struct guest_slot slot[SLOTS];
    uint32_t number;
    unsigned out, grid;
    uint64_t swept; /* of guest_check_all() */
} guest;

enum { CANARY = 0xa5 };

void
guest_reset(void)
{
    memset(guest.unit, 0, sizeof(guest.unit));
    guest.number = 0;
    guest.out = 0;
    guest.swept = 0;
    guest.grid = sim_chance(50) ? UNIT : sim_chance(50) ? 512 : 4096;
    for (unsigned i = 0; i < SLOTS; i++)
        guest.slot[i].req = NULL;
}

bool
guest_idle(void)
{
    return !guest.out;
}

bool
guest_swept(void)
{
    return guest.swept >= chain_limits(sim.chain)->size;
}

/* ---- contents ------------------------------------------------------------ */

static void
content(uint8_t *to, uint32_t unit, uint32_t number)
{
    memcpy(to, &number, 4);
    memcpy(to + 4, &unit, 4);
    for (unsigned i = 8; i < UNIT; i++)
        to[i] = (uint8_t)(number * 31 + i * (unit | 1) + 1);
}

static bool
all_zero(const uint8_t *p)
{
    return !p[0] && !memcmp(p, p + 1, UNIT - 1);
}

/* The number of what was read of a unit. */
static uint32_t
number_of(const uint8_t *p, uint32_t unit, const struct unit *u)
{
    uint8_t expected[UNIT];
    uint32_t number;

    if (all_zero(p))
        return u->zero;
    memcpy(&number, p, 4);
    content(expected, unit, number);
    if (!number || memcmp(p, expected, UNIT))
        sim_fail("unit %u holds what was never written there: %02x %02x %02x "
                 "%02x, expected write %u to %u",
                 unit, p[0], p[1], p[4], p[UNIT - 1], u->floor, u->latest);
    return number;
}

static void
unit_check(uint32_t unit, const uint8_t *p)
{
    struct unit *u = &guest.unit[unit];
    uint32_t number = number_of(p, unit, u);

    sim.compared++;
    if (!u->maybe && number != u->cur)
        sim_fail("unit %u: read write %u, expected %u", unit, number, u->cur);
    if (u->maybe && (number < u->floor || number > u->latest))
        sim_fail("unit %u: read write %u, expected %u to %u%s", unit, number,
                 u->floor, u->latest,
                 number < u->durable ? ": it was durable" : "");
    u->cur = number;
    u->maybe = false;
}

/* ---- completions --------------------------------------------------------- */

/* Whether what s wrote will survive a crash from now on. */
static bool
made_durable(const struct guest_slot *s, int error)
{
    return !error && s->op != BLK_DISCARD &&
           ((s->flags & BLK_FUA) || !chain_limits(sim.chain)->volatile_cache);
}

static void
write_done(struct guest_slot *s, struct unit *u, int error)
{
    bool durable = made_durable(s, error);

    if (durable)
        u->durable = s->number;
    if (error || s->op == BLK_DISCARD || (s->crossed && !durable)) {
        if (!u->maybe)
            u->floor = s->crossed ? u->durable : u->cur;
        u->maybe = true;
        return;
    }
    u->cur = s->number;
    u->maybe = false;
}

/* One of several that overlap: when all are over, any of them may be what is
 * there, if one of them did it. */
static void
write_one_done(struct guest_slot *s, struct unit *u, int error)
{
    if (made_durable(s, error) && u->first > u->durable)
        u->durable = u->first;
    u->one_ok |= !error && s->op != BLK_DISCARD;
    u->one_crossed |= s->crossed;
    if (u->writers)
        return;
    if (!u->maybe)
        u->floor = u->cur;
    if (u->one_ok && !u->one_crossed)
        u->floor = u->first;
    if (u->floor < u->durable)
        u->floor = u->durable;
    u->maybe = true;
    u->several = u->one_ok = u->one_crossed = false;
}

static void
flush_done(const struct guest_slot *s)
{
    for (unsigned i = 0; i < UNITS && !s->crossed; i++) {
        if (s->snapshot[i] > guest.unit[i].durable)
            guest.unit[i].durable = s->snapshot[i];
    }
}

static void
canary_check(const struct guest_slot *s)
{
    const uint8_t *at = s->memory, *end;

    for (unsigned i = 0; i <= s->n; i++) {
        end = i < s->n ? s->v[i].iov_base : s->memory + SLOT_MEMORY;
        /* The gaps are long; what runs over runs over at their ends. */
        for (unsigned k = 0; k < 32 && at + k < end; k++) {
            if (at[k] != CANARY || end[-1 - (int)k] != CANARY)
                sim_fail("memory beside a request was written");
        }
        at = i < s->n ? end + s->v[i].iov_len : end;
    }
}

static void
data_check(const struct guest_slot *s)
{
    static uint8_t data[REQ_MAX];
    struct blk_sg sg = { .n = s->n };
    union {
        const struct iovec *in;
        struct iovec *out;
    } v = { .in = s->v };

    sg.v = v.out;
    blk_sg_read(&sg, 0, data, s->len);
    for (uint32_t at = 0; at < s->len; at += UNIT)
        unit_check((uint32_t)((s->off + at) / UNIT), data + at);
}

static void
guest_done(struct chain_req *req, int error)
{
    struct guest_slot *s = req->owner;
    uint32_t unit = (uint32_t)(s->off / UNIT);

    if (sim.depth)
        sim_fail("completed inside a callback of a layer");
    if (s->req != req)
        sim_fail("completed twice");
    if (error && error != -EIO)
        sim_fail("op %u at %" PRIu64 "+%u: error %d", s->op, s->off, s->len,
                 error);
    if (req->req.op != s->op || req->req.off != s->off ||
        req->req.len != s->len || req->req.flags != s->flags)
        sim_fail("op %u at %" PRIu64 "+%u came back as op %u at %" PRIu64 "+%u",
                 s->op, s->off, s->len, req->req.op, req->req.off,
                 req->req.len);
    sim.requests++;
    sim.failed += error != 0;
    sim_digest((uint64_t)-error << 32 ^ s->off ^ s->number);
    if (s->op == BLK_READ || s->op == BLK_WRITE)
        canary_check(s);
    if (s->op == BLK_READ && !error && !s->crossed)
        data_check(s);
    if (s->op == BLK_FLUSH && !error)
        flush_done(s);
    for (uint32_t at = 0; at < s->len; at += UNIT, unit++) {
        if (s->op == BLK_READ) {
            guest.unit[unit].readers--;
        } else {
            struct unit *u = &guest.unit[unit];

            u->writers--;
            (u->several ? write_one_done : write_done)(s, u, error);
        }
    }
    guest.out--;
    s->req = NULL;
    chain_put(sim.chain, req);
}

/* ---- submitting ---------------------------------------------------------- */

/* Pieces of the slot's memory, with gaps, that add up to len. */
static void
scatter(struct guest_slot *s)
{
    const unsigned how = (unsigned)sim_random(4);
    const uint32_t step = how == 0 ? 1 : how == 1 ? 64 : 512;
    uint8_t *at = s->memory;
    uint32_t left = s->len;

    memset(s->memory, CANARY, SLOT_MEMORY);
    at += -(uintptr_t)at & 4095;
    s->n = 0;
    while (left) {
        uint32_t room = (uint32_t)(s->memory + SLOT_MEMORY - at) - left;
        uint32_t gap = how == 3 ? 0 : (uint32_t)sim_random(6) * step, len;

        if (gap <= room)
            at += gap;
        len = how == 3 || s->n == SEGS - 1
                  ? left
                  : (uint32_t)(1 + sim_random(4)) * (step < 64 ? 333 : step);
        if (len > left)
            len = left;
        s->v[s->n++] = (struct iovec){ at, len };
        at += len;
        left -= len;
    }
}

static void
fill(struct guest_slot *s)
{
    static uint8_t data[REQ_MAX];
    struct blk_sg sg = { .v = s->v, .n = s->n };

    for (uint32_t at = 0; at < s->len; at += UNIT)
        content(data + at, (uint32_t)((s->off + at) / UNIT), s->number);
    blk_sg_write(&sg, 0, data, s->len);
}

/* Nobody reads what is being written; two may write to the same place. */
static bool
range_free(uint64_t off, uint32_t len, unsigned op)
{
    bool overlap = op != BLK_READ && sim_chance(15);

    for (uint64_t at = off; at < off + len; at += UNIT) {
        const struct unit *u = &guest.unit[at / UNIT];

        if ((u->writers && !overlap) || (op != BLK_READ && u->readers))
            return false;
    }
    return true;
}

static void
send(struct guest_slot *s)
{
    struct chain_req *req = chain_get(sim.chain);

    if (!req)
        sim_fail("no memory for a request");
    for (uint32_t at = 0; at < s->len; at += UNIT) {
        struct unit *u = &guest.unit[(s->off + at) / UNIT];

        if (s->op == BLK_READ) {
            u->readers++;
            continue;
        }
        if (!u->writers++)
            u->first = s->number;
        else
            u->several = true;
        u->latest = s->number;
        if (s->op != BLK_WRITE)
            u->zero = s->number;
    }
    s->req = req;
    s->crossed = false;
    req->owner = s;
    req->done = guest_done;
    req->req.op = (uint8_t)s->op;
    req->req.flags = (uint8_t)s->flags;
    req->req.off = s->off;
    req->req.len = s->len;
    req->req.sg = (struct blk_sg){ .v = s->v, .n = s->n };
    guest.out++;
    chain_submit(sim.chain, req);
}

static struct guest_slot *
slot_free(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!guest.slot[i].req)
            return &guest.slot[i];
    }
    return NULL;
}

static void
snapshot(struct guest_slot *s)
{
    for (unsigned i = 0; i < UNITS; i++) {
        const struct unit *u = &guest.unit[i];

        s->snapshot[i] = u->maybe ? u->floor : u->cur;
    }
}

static unsigned
pick_op(void)
{
    unsigned x = (unsigned)sim_random(100);
    unsigned op = x < 40   ? BLK_READ
                  : x < 80 ? BLK_WRITE
                  : x < 90 ? BLK_FLUSH
                  : x < 95 ? BLK_DISCARD
                           : BLK_ZERO;

    return chain_limits(sim.chain)->ops & BLK_BIT(op) ? op : BLK_WRITE;
}

static void
submit_one(void)
{
    struct guest_slot *s = slot_free();
    uint64_t size = chain_limits(sim.chain)->size;

    if (!s)
        return;
    s->op = pick_op();
    s->flags = 0;
    s->off = s->len = s->n = 0;
    s->number = ++guest.number;
    if (s->op == BLK_FLUSH) {
        snapshot(s);
        send(s);
        return;
    }
    /* A few blocks are hit all the time: neighbours meet there. */
    s->len = guest.grid * (uint32_t)(1 + sim_random(REQ_MAX / guest.grid));
    if (sim_chance(50))
        s->len = guest.grid * (uint32_t)(1 + sim_random(2));
    s->off =
        sim_random((sim_chance(50) ? size : 16384) / guest.grid) * guest.grid;
    if (s->off + s->len > size || !range_free(s->off, s->len, s->op))
        return;
    if ((s->op == BLK_WRITE || s->op == BLK_ZERO) && sim_chance(20))
        s->flags = BLK_FUA;
    if (s->op == BLK_READ || s->op == BLK_WRITE)
        scatter(s);
    if (s->op == BLK_WRITE)
        fill(s);
    send(s);
}

void
guest_step(void)
{
    for (unsigned n = (unsigned)sim_random(5); n; n--)
        submit_one();
}

void
guest_check_all(void)
{
    uint64_t size = chain_limits(sim.chain)->size;
    struct guest_slot *s = slot_free();

    if (!s || guest.swept >= size)
        return;
    s->op = BLK_READ;
    s->flags = 0;
    s->off = guest.swept;
    s->len = size - s->off < REQ_MAX ? (uint32_t)(size - s->off) : REQ_MAX;
    guest.swept += s->len;
    scatter(s);
    send(s);
}

void
guest_crash(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        guest.slot[i].crossed = true;
    for (unsigned i = 0; i < UNITS; i++) {
        guest.unit[i].maybe = true;
        guest.unit[i].floor = guest.unit[i].durable;
    }
}

bool
guest_at(const void *addr, unsigned *op, uint64_t *off)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct guest_slot *s = &guest.slot[i];
        uint64_t before = 0;

        if (!s->req || (const uint8_t *)addr < s->memory ||
            (const uint8_t *)addr >= s->memory + SLOT_MEMORY)
            continue;
        for (unsigned k = 0; k < s->n; before += s->v[k++].iov_len) {
            uintptr_t at = (uintptr_t)addr - (uintptr_t)s->v[k].iov_base;

            if (at < s->v[k].iov_len) {
                *op = s->op;
                *off = s->off + before + at;
                return true;
            }
        }
    }
    return false;
}
