/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tail: works only on what it was kicked for, in any order, late; fails
 * now and then; keeps writes in a cache that a crash takes away.
 */
#include "config.h"
#include "tests/sim/chain_sim.h"

#include <errno.h>

enum { PENDING = 256 };

static struct {
    uint8_t cache[DISK_MAX + SHIFT], media[DISK_MAX + SHIFT];
    struct blk_limits limits, next; /* next: once they are asked for */
    bool dead;
    struct blk_layer *l; /* the instance that works */
} disk;

struct disk_self {
    uint64_t mark;
    struct blk_layer *l;
    struct blk_req *pending[PENDING];
    unsigned n, kicked; /* pending[0..kicked) may be worked on */
    struct blk_timer timer, ready;
    bool armed;
};

static void
limits_pick(bool first)
{
    struct blk_limits *lim = &disk.next;
    uint64_t size = (DISK_MIN + 4096 * sim_random(8)) & ~(uint64_t)4095;

    if (sim.remapped)
        size += SHIFT;
    if (first || size > lim->size)
        lim->size = size;
    lim->align = 512u << sim_random(4);
    lim->block = lim->align << sim_random(2);
    lim->max_len = lim->align * (uint32_t)(1 + sim_random(6));
    lim->max_segs = (uint32_t)(1 + sim_random(8));
    lim->mem_align = sim_chance(50) ? 1 : 64u << sim_random(7);
    /* A layer that splits keeps to it only so. */
    if (lim->mem_align > lim->align)
        lim->mem_align = lim->align;
    lim->discard_align = sim_chance(50) ? 0 : 512u << sim_random(4);
    lim->max_discard = lim->align * (1 + sim_random(6));
    lim->ops = BLK_ALL_OPS;
    if (first) {
        lim->volatile_cache = sim_chance(80);
        lim->fua = sim_chance(40);
    }
}

void
disk_reset(void)
{
    const uint64_t shift = sim.remapped ? SHIFT : 0;

    memset(&disk, 0, sizeof(disk));
    for (uint64_t i = 0; sim.xored && i < DISK_MAX; i++)
        disk.cache[i + shift] = disk.media[i + shift] =
            xor_key(sim.moved_first ? i + shift : i);
    limits_pick(true);
}

void
disk_change(void)
{
    limits_pick(false);
    if (disk.l)
        blk_relimit(disk.l);
}

/* Of what was not flushed, a part is there and a part is not. */
void
disk_crash(void)
{
    disk.dead = true;
    for (size_t at = 0; at < sizeof(disk.cache); at += UNIT) {
        if (sim_chance(20))
            memcpy(disk.media + at, disk.cache + at, UNIT);
        else
            memcpy(disk.cache + at, disk.media + at, UNIT);
    }
}

void
disk_revive(void)
{
    disk.dead = false;
}

/* ---- work ---------------------------------------------------------------- */

static void
settle(uint64_t off, uint32_t len)
{
    memcpy(disk.media + off, disk.cache + off, len);
}

static void
disk_apply(const struct blk_req *r)
{
    uint64_t unit = r->off & ~(uint64_t)(UNIT - 1);

    switch (r->op) {
    case BLK_READ:
        if (blk_sg_write(&r->sg, 0, disk.cache + r->off, r->len) != r->len)
            sim_fail("the list of a READ is too short");
        return;
    case BLK_WRITE:
        if (blk_sg_read(&r->sg, 0, disk.cache + r->off, r->len) != r->len)
            sim_fail("the list of a WRITE is too short");
        break;
    case BLK_ZERO:
        memset(disk.cache + r->off, 0, r->len);
        break;
    case BLK_DISCARD:
        for (; unit < r->off + r->len; unit += UNIT) {
            if (sim_chance(50))
                memset(disk.cache + unit, 0, UNIT);
        }
        break;
    default:
        memcpy(disk.media, disk.cache, sizeof(disk.media));
        return;
    }
    if ((r->flags & BLK_FUA) || !disk.limits.volatile_cache)
        settle(r->off, r->len);
}

static void
disk_serve(struct blk_layer *l, struct blk_req *r)
{
    int error = disk.dead || sim_chance(2) ? -EIO : 0;

    /* A write that failed may have been done all the same. */
    if (!error || (!disk.dead && r->op == BLK_WRITE && sim_chance(50)))
        disk_apply(r);
    sim_digest(r->off ^ (uint64_t)r->len << 32 ^ (uint64_t)r->op << 60);
    blk_end(l, r, error);
}

static void
disk_arm(struct blk_layer *l, struct disk_self *d)
{
    if (d->armed || !d->kicked)
        return;
    d->armed = true;
    blk_timer_start(l, &d->timer, 1 + sim_random(20000));
}

static void
disk_fire(struct blk_timer *t)
{
    struct disk_self *d = t->data;
    unsigned n = 1 + (unsigned)sim_random(4);

    sim_enter();
    d->armed = false;
    while (d->kicked && n--) {
        unsigned i = (unsigned)sim_random(d->kicked);
        struct blk_req *r = d->pending[i];

        d->pending[i] = d->pending[--d->kicked];
        d->pending[d->kicked] = d->pending[--d->n];
        disk_serve(d->l, r);
    }
    disk_arm(d->l, d);
    sim_leave();
}

static void
disk_accept(const struct blk_req *r)
{
    const struct blk_limits *lim = &disk.limits;
    bool data = r->op == BLK_READ || r->op == BLK_WRITE;
    uint64_t skip = r->sg.skip, left = r->len;

    if (r->op == BLK_FLUSH) {
        if (!lim->volatile_cache)
            sim_fail("a FLUSH for a disk without a cache");
        return;
    }
    if (!r->len || (r->off | r->len) % lim->align)
        sim_fail("not aligned: %" PRIu64 "+%u, align %u", r->off, r->len,
                 lim->align);
    if (r->off + r->len > lim->size)
        sim_fail("beyond the end: %" PRIu64 "+%u", r->off, r->len);
    if (r->len > (data ? lim->max_len : lim->max_discard))
        sim_fail("too long: %u", r->len);
    if ((r->flags & BLK_FUA) && !lim->fua)
        sim_fail("FUA that is not offered");
    if (!data)
        return;
    if (r->sg.n > lim->max_segs)
        sim_fail("%u segments, expected at most %u", r->sg.n, lim->max_segs);
    for (uint32_t i = 0; i < r->sg.n && left; i++, skip = 0) {
        uint64_t len = r->sg.v[i].iov_len - skip;

        if (((uintptr_t)r->sg.v[i].iov_base + skip) % lim->mem_align)
            sim_fail("memory is not aligned to %u", lim->mem_align);
        left -= len < left ? len : left;
    }
}

static void
disk_submit(struct blk_layer *l, struct blk_req *r)
{
    struct disk_self *d = blk_self(l);

    sim_enter();
    disk_accept(r);
    if (d->n == PENDING)
        sim_fail("the disk is full of requests");
    d->pending[d->n++] = r;
    sim_leave();
}

static void
disk_kick(struct blk_layer *l)
{
    struct disk_self *d = blk_self(l);

    sim_enter();
    d->kicked = d->n;
    disk_arm(l, d);
    sim_leave();
}

/* ---- life ---------------------------------------------------------------- */

static void
disk_ready(struct blk_timer *t)
{
    blk_ready(((struct disk_self *)t->data)->l, 0);
}

static void
disk_start(struct blk_layer *l, struct blk_layer *old)
{
    struct disk_self *d = blk_self(l);

    (void)old;
    sim_enter();
    d->l = l;
    disk.l = l;
    d->timer.fire = disk_fire;
    d->timer.data = d;
    d->ready.fire = disk_ready;
    d->ready.data = d;
    blk_timer_start(l, &d->ready, sim_random(30000));
    sim_leave();
}

static void
disk_pause(struct blk_layer *l)
{
    struct disk_self *d = blk_self(l);

    sim_enter();
    if (d->n)
        sim_fail("paused with %u requests in the disk", d->n);
    blk_timer_start(l, &d->ready, sim_random(30000));
    sim_leave();
}

static void
disk_stop(struct blk_layer *l)
{
    struct disk_self *d = blk_self(l);

    sim_enter();
    if (d->n)
        sim_fail("stopped with %u requests in the disk", d->n);
    blk_timer_stop(l, &d->timer);
    blk_timer_stop(l, &d->ready);
    if (disk.l == l)
        disk.l = NULL;
    blk_ready(l, 0);
    sim_leave();
}

static void
disk_limits(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    *lim = disk.limits = disk.next;
}

static const struct blk_option disk_options[] = {
    { .name = "mark",
      .type = BLK_UINT,
      .at = offsetof(struct disk_self, mark),
      .help = "any number" },
    { .name = NULL },
};

const struct blk_plugin sim_disk = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct disk_self),
    .ops = BLK_ALL_OPS,
    .tail = BLK_TAIL,
    .name = "disk",
    .help = "a disk that forgets",
    .options = disk_options,
    .start = disk_start,
    .pause = disk_pause,
    .stop = disk_stop,
    .submit = disk_submit,
    .kick = disk_kick,
    .limits = disk_limits,
};
