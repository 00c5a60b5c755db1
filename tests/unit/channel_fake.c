/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/channel_fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the loop ------------------------------------------------------------ */

static struct fake *
of_loop(struct loop *loop)
{
    return (struct fake *)(void *)loop;
}

static struct fake *
of_tap(struct tap *tap)
{
    return (struct fake *)(void *)((char *)tap - offsetof(struct fake, tap));
}

static uint64_t
loop_now(struct loop *loop)
{
    return of_loop(loop)->now;
}

static void
timer_stop(struct loop *loop, struct blk_timer *t)
{
    struct fake *f = of_loop(loop);

    for (int i = 0; i < FAKE_TIMERS; i++) {
        if (f->timer[i] == t)
            f->timer[i] = NULL;
    }
}

static void
timer_start(struct loop *loop, struct blk_timer *t, uint64_t after)
{
    struct fake *f = of_loop(loop);

    timer_stop(loop, t);
    for (int i = 0; i < FAKE_TIMERS; i++) {
        if (!f->timer[i]) {
            f->timer[i] = t;
            f->due[i] = f->now + after;
            return;
        }
    }
    abort();
}

static int
buffer_add(struct loop *loop, void *addr, size_t len)
{
    (void)addr;
    (void)len;
    of_loop(loop)->buffers++;
    return 0;
}

static void
buffer_remove(struct loop *loop, void *addr, size_t len)
{
    (void)addr;
    (void)len;
    of_loop(loop)->buffers--;
}

static const struct loop_ops loop_ops = {
    .now = loop_now,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .buffer_add = buffer_add,
    .buffer_remove = buffer_remove,
};

/* ---- the tap ------------------------------------------------------------- */

uint8_t *
fake_page(struct fake *f, uint32_t ref)
{
    if (ref < FAKE_REF || ref - FAKE_REF >= FAKE_PAGES)
        return NULL;
    return f->mem[ref - FAKE_REF];
}

static int
tap_map(struct tap *tap, uint32_t domid, const uint32_t *refs, unsigned n,
        void **addr)
{
    struct fake *f = of_tap(tap);

    if (f->fail_map || domid != FAKE_DOMID)
        return -EINVAL;
    for (unsigned i = 0; i < n; i++) {
        if (!fake_page(f, refs[i]) || refs[i] != refs[0] + i)
            return -EINVAL;
    }
    *addr = fake_page(f, refs[0]);
    f->maps += n;
    return 0;
}

static void
tap_unmap(struct tap *tap, void *addr, unsigned n)
{
    (void)addr;
    of_tap(tap)->maps -= n;
}

static int16_t
copy_piece(struct fake *f, const struct tap_copy *c)
{
    uint8_t *page = fake_page(f, c->ref);
    const struct fake_page *p;

    if (!page || c->domid != FAKE_DOMID)
        return -3;
    p = &f->page[c->ref - FAKE_REF];
    if (p->revoked || (p->readonly && c->to_guest))
        return -3;
    if (c->offset + c->len > 4096)
        return -9;
    f->page[c->ref - FAKE_REF].dirty |= c->to_guest || f->scramble;
    if (c->to_guest)
        memcpy(page + c->offset, c->local, c->len);
    else
        memcpy(c->local, page + c->offset, c->len);
    if (f->scramble && !c->to_guest)
        memset(page + c->offset, 0x5a, c->len);
    return 0;
}

static int
tap_copy(struct tap *tap, struct tap_copy *c, unsigned n)
{
    struct fake *f = of_tap(tap);

    f->copy_calls++;
    f->copies += n;
    if (f->fail_call)
        return f->fail_call;
    for (unsigned i = 0; i < n; i++)
        c[i].status =
            f->fail_piece == (int)i ? (int16_t)-3 : copy_piece(f, &c[i]);
    return 0;
}

struct fake_port *
fake_port(struct fake *f, uint32_t remote)
{
    for (int i = 0; i < FAKE_PORTS; i++) {
        if (f->port[i].bound && f->port[i].remote == remote)
            return &f->port[i];
    }
    return NULL;
}

static int
tap_bind(struct tap *tap, uint32_t domid, uint32_t remote)
{
    struct fake *f = of_tap(tap);

    if (f->fail_bind || domid != FAKE_DOMID)
        return -EINVAL;
    for (int i = 1; i < FAKE_PORTS; i++) {
        if (!f->port[i].bound) {
            f->port[i] = (struct fake_port){ .bound = true,
                                             .pending = true,
                                             .remote = remote };
            f->binds++;
            return i;
        }
    }
    return -ENOSPC;
}

static void
tap_unbind(struct tap *tap, int port)
{
    of_tap(tap)->port[port].bound = false;
    of_tap(tap)->binds--;
}

static void
tap_notify(struct tap *tap, int port)
{
    of_tap(tap)->port[port].notified++;
}

static void
tap_unmask(struct tap *tap, const uint32_t *ports, unsigned n)
{
    struct fake *f = of_tap(tap);

    f->unmask_calls++;
    for (unsigned i = 0; i < n; i++)
        f->port[ports[i]].masked = false;
}

static const struct tap_ops tap_ops = {
    .map = tap_map,
    .unmap = tap_unmap,
    .copy = tap_copy,
    .bind = tap_bind,
    .unbind = tap_unbind,
    .notify = tap_notify,
    .unmask = tap_unmask,
};

/* ---- time ---------------------------------------------------------------- */

void
fake_init(struct fake *f)
{
    memset(f, 0, sizeof(*f));
    loop_init(&f->loop, &loop_ops, "fake");
    f->tap.ops = &tap_ops;
    f->tap.loop = &f->loop;
    f->mem = calloc(FAKE_PAGES, sizeof(f->mem[0]));
    f->fail_piece = -1;
}

void
fake_renew(struct fake *f)
{
    uint8_t(*mem)[4096] = f->mem;

    for (int i = 0; i < FAKE_PAGES; i++) {
        if (f->page[i].dirty)
            memset(mem[i], 0, 4096);
    }
    memset(f->timer, 0, sizeof(f->timer));
    memset(f->page, 0, sizeof(f->page));
    memset(f->port, 0, sizeof(f->port));
    f->now = 0;
    f->fail_call = 0;
    f->fail_piece = -1;
    f->fail_map = f->fail_bind = f->scramble = false;
}

void
fake_end(struct fake *f)
{
    free(f->mem);
}

void
fake_fire(struct fake *f, uint32_t remote)
{
    struct fake_port *p = fake_port(f, remote);

    if (p)
        p->pending = true;
}

static void
deliver(struct fake *f)
{
    uint32_t ports[FAKE_PORTS], n = 0;

    for (uint32_t i = 0; i < FAKE_PORTS; i++) {
        struct fake_port *p = &f->port[i];

        if (!p->bound || !p->pending || p->masked)
            continue;
        p->pending = false;
        p->masked = true;
        ports[n++] = i;
    }
    if (n && f->tap.fired)
        f->tap.fired(f->tap.ctx, ports, n);
}

static bool
deliverable(const struct fake *f)
{
    for (int i = 0; i < FAKE_PORTS; i++) {
        if (f->port[i].bound && f->port[i].pending && !f->port[i].masked)
            return true;
    }
    return false;
}

bool
fake_round(struct fake *f)
{
    bool more;

    deliver(f);
    more = loop_round(&f->loop);
    return more || (f->tap.fired && deliverable(f));
}

void
fake_run(struct fake *f)
{
    while (fake_round(f))
        ;
}

void
fake_pass(struct fake *f, uint64_t ns)
{
    uint64_t end = f->now + ns;

    for (;;) {
        int next = -1;

        for (int i = 0; i < FAKE_TIMERS; i++) {
            if (f->timer[i] && f->due[i] <= end &&
                (next < 0 || f->due[i] < f->due[next]))
                next = i;
        }
        if (next < 0)
            break;
        struct blk_timer *t = f->timer[next];
        f->now = f->due[next];
        f->timer[next] = NULL;
        t->fire(t);
        fake_run(f);
    }
    f->now = end;
}

unsigned
fake_timers(const struct fake *f)
{
    unsigned n = 0;

    for (int i = 0; i < FAKE_TIMERS; i++)
        n += f->timer[i] != NULL;
    return n;
}

/* ---- the front-end ------------------------------------------------------- */

uint32_t
front_field(const struct front *r, unsigned at)
{
    uint32_t v;

    memcpy(&v, r->page + at, sizeof(v));
    return v;
}

void
front_set(struct front *r, unsigned at, uint32_t v)
{
    memcpy(r->page + at, &v, sizeof(v));
}

uint8_t *
front_slot(const struct front *r, uint32_t index)
{
    return r->page + 64 +
           (size_t)(index & (r->n - 1)) * (r->abi == CHAN_ABI_64 ? 112u : 108u);
}

void
front_init(struct front *r, struct fake *f, enum chan_abi abi, unsigned order,
           uint32_t ref, uint32_t remote, uint32_t start)
{
    memset(r, 0, sizeof(*r));
    r->fake = f;
    r->abi = abi;
    r->order = order;
    r->n = 32u << order;
    r->ref = ref;
    r->remote = remote;
    r->page = fake_page(f, ref);
    memset(r->page, 0xa5, (size_t)4096 << order);
    r->req = r->rsp = start;
    front_set(r, 0, start);
    front_set(r, 4, start + 1);
    front_set(r, 8, start);
    front_set(r, 12, start + 1);
}

void
front_params(const struct front *r, unsigned n, struct chan_params *p)
{
    memset(p, 0, sizeof(*p));
    p->domid = FAKE_DOMID;
    p->abi = r->abi;
    p->queues = n;
    p->order = r->order;
    for (unsigned q = 0; q < n; q++) {
        for (uint32_t i = 0; i < 1u << r->order; i++)
            p->queue[q].refs[i] = r[q].ref + i;
        p->queue[q].port = r[q].remote;
    }
    p->size = 64 << 20;
    p->align = 512;
    p->max_indirect = 256;
    p->discard = true;
    p->barrier = true;
    p->buffer_max = 4 << 20;
    p->nonce = 42;
}

void
front_encode(enum chan_abi abi, const struct blkif_op *op, uint8_t *raw)
{
    unsigned id = abi == CHAN_ABI_64 ? 8 : 4;

    raw[0] = op->op;
    memcpy(raw + id, &op->id, 8);
    memcpy(raw + id + 8, &op->sector, 8);
    switch (op->op) {
    case BLKIF_DISCARD:
        raw[1] = op->flag;
        memcpy(raw + id + 16, &op->nr_sectors, 8);
        break;
    case BLKIF_INDIRECT:
        raw[1] = op->inner;
        memcpy(raw + 2, &op->nsegs, 2);
        memcpy(raw + id + 20, op->gref, sizeof(op->gref));
        break;
    default:
        raw[1] = (uint8_t)op->nsegs;
        memcpy(raw + id + 16, op->seg, sizeof(op->seg));
    }
}

void
front_put(struct front *r, const struct blkif_op *op)
{
    front_encode(r->abi, op, front_slot(r, r->req++));
}

bool
front_push(struct front *r)
{
    uint32_t old = front_field(r, 0), event;

    front_set(r, 0, r->req);
    event = front_field(r, 4);
    if (r->req - event >= r->req - old)
        return false;
    fake_fire(r->fake, r->remote);
    return true;
}

bool
front_get(struct front *r, struct front_response *out)
{
    const uint8_t *s;

    if (r->rsp == front_field(r, 8))
        return false;
    s = front_slot(r, r->rsp++);
    memcpy(&out->id, s, 8);
    out->op = s[8];
    memcpy(&out->status, s + 10, 2);
    front_set(r, 12, r->rsp + 1);
    return true;
}

/* ---- the receiver -------------------------------------------------------- */

void
sink_init(struct sink *s, uint64_t size)
{
    memset(s, 0, sizeof(*s));
    s->disk = calloc(1, size);
    s->size = s->low = size;
}

void
sink_renew(struct sink *s)
{
    if (s->low < s->high)
        memset(s->disk + s->low, 0, s->high - s->low);
    s->low = s->size;
    s->high = 0;
    s->n = s->given = s->broken = s->idle = 0;
    s->hold = false;
    s->error = 0;
}

void
sink_end(struct sink *s)
{
    free(s->disk);
}

static void
note_written(struct sink *s, uint64_t from, uint64_t to)
{
    if (from < s->low)
        s->low = from;
    if (to > s->high)
        s->high = to;
}

static void
sink_do(struct sink *s, const struct chan_io *io)
{
    if (s->error)
        return;
    if (io->op != BLK_FLUSH &&
        (io->off > s->size || io->len > s->size - io->off))
        abort();
    if (io->op == BLK_READ)
        memcpy(io->iov.iov_base, s->disk + io->off, io->len);
    else if (io->op != BLK_FLUSH && io->len)
        note_written(s, io->off, io->off + io->len);
    if (io->op == BLK_WRITE && io->len)
        memcpy(s->disk + io->off, io->iov.iov_base, io->len);
    else if (io->op == BLK_DISCARD)
        memset(s->disk + io->off, 0, io->len);
}

void
sink_complete(struct sink *s, unsigned i)
{
    struct chan_io *io = s->io[i];

    s->n--;
    memmove(&s->io[i], &s->io[i + 1], (s->n - i) * sizeof(s->io[0]));
    sink_do(s, io);
    chan_complete(io, s->error);
}

void
sink_complete_all(struct sink *s)
{
    while (s->n)
        sink_complete(s, 0);
}

void
sink_idle(void *arg)
{
    ((struct sink *)arg)->idle++;
}

static void
sink_request(void *ctx, struct chan_io *io)
{
    struct sink *s = ctx;

    if (s->n == SINK_MAX)
        abort();
    s->io[s->n++] = io;
    s->given++;
    if (!s->hold)
        sink_complete(s, s->n - 1);
}

static void
sink_broken(void *ctx, const char *why)
{
    struct sink *s = ctx;

    s->broken++;
    strncpy(s->why, why, sizeof(s->why) - 1);
}

const struct chan_ops sink_ops = {
    .request = sink_request,
    .broken = sink_broken,
};
