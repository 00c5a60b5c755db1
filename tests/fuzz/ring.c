/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring.c: a front-end that does whatever the fuzzer's bytes say, with rings of
 * both ABIs, and a channel that has to live with it.
 *
 * After every round of the loop: nothing in the ring pages changed but
 * responses that were due, rsp_prod and req_event; nothing in pages that are
 * not granted for writing changed; no request was answered that was not
 * consumed; and what the receiver is handed lies inside of the disk.
 */
#include <string.h>
#include <unistd.h>

#include "channel/internal.h"
#include "tests/unit/channel_fake.h"

enum { QUEUES = 3, RING_REF = 16, DATA_REF = 64, DATA_PAGES = 16 };
enum { SECTORS = 256 };

struct run {
    const uint8_t *at, *end;
    struct fake fake;
    struct front front[QUEUES];
    struct sink sink;
    struct sweep *sweep;
    struct chan *chan;
    struct chan_params params;
    uint8_t before[QUEUES][4 * 4096];
    uint8_t data[DATA_PAGES][4096];
    uint32_t rsp[QUEUES];
    bool broken;
};

static uint32_t
take(struct run *r, unsigned n)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < n && r->at < r->end; i++)
        v |= (uint32_t)*r->at++ << (8 * i);
    return v;
}

#define MUST(x)               \
    do {                      \
        if (!(x))             \
            __builtin_trap(); \
    } while (0)

/* ---- what must hold ------------------------------------------------------ */

/* Not granted for writing, so that nothing may change in it. */
static bool
is_kept(const struct fake *f, unsigned i)
{
    const struct fake_page *p = &f->page[DATA_REF - FAKE_REF + i];

    return !f->scramble && (p->readonly || p->revoked);
}

static void
remember(struct run *r)
{
    for (unsigned q = 0; q < r->params.queues; q++) {
        memcpy(r->before[q], r->front[q].page, (size_t)4096 << r->params.order);
        r->rsp[q] = r->chan->queue[q].ring.published;
    }
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        if (is_kept(&r->fake, i))
            memcpy(r->data[i], fake_page(&r->fake, DATA_REF + i), 4096);
    }
}

/* Takes what may have changed over from the ring page. */
static void
allow(struct run *r, unsigned q, size_t at, size_t len)
{
    memcpy(r->before[q] + at, r->front[q].page + at, len);
}

/* Requests without an answer, taken up or to be taken up from the table. */
static uint32_t
owed(const struct queue *q)
{
    return q->live + q->backlog_n - q->backlog_at;
}

static void
examine_rings(struct run *r)
{
    for (unsigned q = 0; q < r->params.queues; q++) {
        const struct front *f = &r->front[q];
        const struct ring *ring = &r->chan->queue[q].ring;

        MUST(ring->rsp == ring->published);
        MUST(ring->cons - ring->rsp <= ring->n);
        MUST(owed(&r->chan->queue[q]) == ring->cons - ring->rsp);
        allow(r, q, 4, 8);
        for (uint32_t i = r->rsp[q]; i != ring->rsp; i++) {
            size_t slot = (size_t)(front_slot(f, i) - f->page);

            allow(r, q, slot, 9);
            allow(r, q, slot + 10, 2);
        }
        MUST(!memcmp(r->before[q], f->page, (size_t)4096 << f->order));
    }
}

/* Pages that the guest did not grant for writing are as they were. */
static void
examine_pages(struct run *r)
{
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        if (is_kept(&r->fake, i))
            MUST(!memcmp(r->data[i], fake_page(&r->fake, DATA_REF + i), 4096));
    }
}

/* What was handed over lies in our buffers and inside of the disk. */
static void
examine_requests(const struct run *r)
{
    const struct buffers *b = &r->chan->buffers;

    for (unsigned i = 0; i < r->sink.n; i++) {
        const struct chan_io *io = r->sink.io[i];
        const uint8_t *at = io->iov.iov_base;

        MUST(io->off % 512 == 0 && io->len % 512 == 0);
        MUST(io->off <= r->params.size && io->len <= r->params.size - io->off);
        MUST(!r->params.readonly || io->op == BLK_READ ||
             (io->len == 0 && io->op != BLK_DISCARD));
        if (io->op == BLK_DISCARD || io->op == BLK_FLUSH || !io->len)
            continue;
        MUST(io->iov.iov_len == io->len && at >= b->addr &&
             at + io->len <= b->addr + b->size);
    }
}

static void
examine(struct run *r)
{
    examine_rings(r);
    examine_pages(r);
    examine_requests(r);
}

static void
rounds(struct run *r, unsigned n)
{
    remember(r);
    for (unsigned i = 0; i < n && fake_round(&r->fake); i++)
        ;
    examine(r);
}

/* ---- what the front-end may do ------------------------------------------- */

static void
put_raw(struct run *r, struct front *f)
{
    uint8_t *slot = front_slot(f, f->req++);
    size_t n = f->abi == CHAN_ABI_64 ? 112 : 108;
    size_t have = (size_t)(r->end - r->at);

    memcpy(slot, r->at, n < have ? n : have);
    r->at += n < have ? n : have;
}

static struct blkif_seg
some_segment(struct run *r)
{
    uint32_t v = take(r, 2);

    return (struct blkif_seg){ .gref = DATA_REF + v % DATA_PAGES,
                               .first = (uint8_t)(v >> 4 & 7),
                               .last = (uint8_t)(v >> 8 & 15) };
}

static void
put_likely(struct run *r, struct front *f)
{
    uint32_t v = take(r, 4);
    struct blkif_op op = { .op = v & 7,
                           .inner = v >> 3 & 3,
                           .flag = v >> 3 & 1,
                           .nsegs = (uint16_t)(v >> 5 & 15),
                           .sector = v >> 9 & 511,
                           .nr_sectors = v >> 22,
                           .id = v };

    for (unsigned i = 0; i < 8; i++)
        op.gref[i] = DATA_REF + (v + i) % DATA_PAGES;
    for (unsigned i = 0; i < op.nsegs && i < CHAN_DIRECT_MAX; i++)
        op.seg[i] = some_segment(r);
    front_put(f, &op);
}

static void
write_page(struct run *r)
{
    uint32_t ref = DATA_REF + take(r, 1) % DATA_PAGES;
    uint8_t *page = fake_page(&r->fake, ref);
    unsigned n = take(r, 1) % 64;

    for (unsigned i = 0; i < n; i++) {
        struct blkif_seg seg = some_segment(r);

        memcpy(page + i * sizeof(seg), &seg, sizeof(seg));
    }
    r->fake.page[ref - FAKE_REF].dirty = true;
}

static void
change_grant(struct run *r)
{
    uint32_t v = take(r, 1);
    struct fake_page *p = &r->fake.page[DATA_REF - FAKE_REF + v % DATA_PAGES];

    p->readonly = v & 64;
    p->revoked = v & 128;
}

static void
complete(struct run *r)
{
    uint32_t v = take(r, 1);

    if (!r->sink.n)
        return;
    r->sink.error = v & 128 ? -5 : v & 64 ? -95 : 0;
    sink_complete(&r->sink, v % r->sink.n);
    r->sink.error = 0;
}

static void
open_chan(struct run *r, int inherit)
{
    char why[200];
    int error = chan_open(&r->chan, r->sweep, &r->params, &sink_ops, &r->sink,
                          inherit, why, sizeof(why));

    if (error && inherit >= 0)
        error = chan_open(&r->chan, r->sweep, &r->params, &sink_ops, &r->sink,
                          -1, why, sizeof(why));
    MUST(!error);
}

/* As a daemon that was killed, and comes back with the table. */
static void
restart(struct run *r)
{
    int table = dup(chan_table_fd(r->chan));

    MUST(table >= 0);
    chan_close(r->chan);
    while (r->sink.n)
        sink_complete(&r->sink, 0);
    open_chan(r, table);
    close(table);
}

static void
step(struct run *r)
{
    uint32_t v = take(r, 1);
    struct front *f = &r->front[(v >> 4) % r->params.queues];

    switch (v & 15) {
    case 0:
        put_raw(r, f);
        break;
    case 1:
    case 2:
    case 3:
        put_likely(r, f);
        break;
    case 4:
        write_page(r);
        break;
    case 5:
        change_grant(r);
        break;
    case 6:
        front_set(f, v >> 4 & 12, take(r, 4));
        break;
    case 7:
        fake_fire(&r->fake, f->remote);
        break;
    case 8:
        complete(r);
        break;
    case 9:
        remember(r);
        fake_pass(&r->fake, 2000000);
        examine(r);
        break;
    case 10:
        chan_drain(r->chan, sink_idle, &r->sink);
        break;
    case 11:
        chan_resume(r->chan);
        break;
    case 12:
        r->sink.hold = !r->sink.hold;
        break;
    case 13:
        if (!(v & 0xc0)) {
            restart(r);
            break;
        }
        /* fall through */
    default:
        front_push(f);
        rounds(r, take(r, 1) & 7);
    }
}

/* ---- a run --------------------------------------------------------------- */

/* Kept from one execution to the next: making it anew took most of the time. */
static void
set_up_once(struct run *r)
{
    fake_init(&r->fake);
    sink_init(&r->sink, SECTORS * 512);
    MUST(!sweep_new(&r->sweep, &r->fake.tap));
}

static void
set_up(struct run *r)
{
    uint32_t v = take(r, 2), start = v & 1 ? UINT32_MAX - 4 : 0;
    unsigned queues = 1 + (v >> 5) % QUEUES;
    /* Several queues are small: large ones are slow and no different. */
    unsigned order = queues > 1 ? v >> 3 & 1 : (v >> 3) % 3;

    fake_renew(&r->fake);
    sink_renew(&r->sink);
    r->fake.scramble = v & 2;
    for (unsigned q = 0; q < queues; q++)
        front_init(&r->front[q], &r->fake,
                   v & 4 ? CHAN_ABI_64 : CHAN_ABI_X86_32, order,
                   RING_REF + q * 4, 100 + q, start);
    front_params(r->front, queues, &r->params);
    r->params.size = SECTORS * 512 - (v & 256 ? 511 : 0);
    r->params.readonly = (v & 0xe00) == 0xe00;
    r->params.discard = v & 0x1000;
    r->params.barrier = v & 0x2000;
    r->params.max_indirect = v & 0x4000 ? 0 : 256;
    r->params.inflight_max = v & 0x8000 ? 5 : 0;
    r->params.buffer_max = 1 << 20;
    open_chan(r, -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run r;

    r.at = data;
    r.end = data + size;
    if (!r.sweep)
        set_up_once(&r);
    set_up(&r);
    while (r.at < r.end)
        step(&r);
    rounds(&r, 8);
    chan_close(r.chan);
    while (r.sink.n)
        sink_complete(&r.sink, 0);
    fake_run(&r.fake);
    MUST(!r.fake.maps && !r.fake.binds && !r.fake.buffers);
    MUST(!fake_timers(&r.fake));
    return 0;
}
