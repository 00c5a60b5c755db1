/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"
#include "tests/unit/plugin_model.h"

void
model_init(struct model *m, struct run *r, uint64_t size)
{
    unsigned i;

    memset(m, 0, sizeof(*m));
    m->run = r;
    m->size = size;
    m->data = calloc(1, size);
    m->grain = 4096;
    m->unit = 512;
    REQUIRE(m->data);
    for (i = 0; i < MODEL_WAYS; i++) {
        m->way[i].model = m;
        REQUIRE(!posix_memalign((void **)&m->way[i].buf, 4096, MODEL_LEN));
    }
}

void
model_free(struct model *m)
{
    unsigned i;

    for (i = 0; i < MODEL_WAYS; i++)
        free(m->way[i].buf);
    free(m->data);
}

static bool
overlaps(const struct model *m, uint64_t off, uint32_t len)
{
    unsigned i;

    for (i = 0; i < MODEL_WAYS; i++) {
        const struct run_io *io = &m->way[i].io;

        if (io->run && !io->done && off < io->off + io->len &&
            io->off < off + len)
            return true;
    }
    return false;
}

static void
compare(const struct model *m, const struct run_io *io)
{
    uint32_t i;

    for (i = 0; i < io->len; i++) {
        if (io->buf[i] == m->data[io->off + i])
            continue;
        test_fail(__FILE__, __LINE__,
                  "byte %" PRIu64 " is %02x, expected %02x (%" PRIu32
                  " bytes at %" PRIu64 ")",
                  io->off + i, io->buf[i], m->data[io->off + i], io->len,
                  io->off);
        return;
    }
}

static void
zero(struct model *m, uint64_t from, uint64_t to)
{
    if (from < to)
        memset(m->data + from, 0, to - from);
}

/* What a request that succeeded has done. */
static void
settle(struct model *m, const struct run_io *io)
{
    uint64_t end = io->off + io->len;

    switch (io->op) {
    case BLK_READ:
        compare(m, io);
        break;
    case BLK_WRITE:
        memcpy(m->data + io->off, io->buf, io->len);
        break;
    case BLK_ZERO:
        zero(m, io->off, end);
        break;
    case BLK_DISCARD:
        if (m->trim)
            zero(m, (io->off + m->grain - 1) / m->grain * m->grain,
                 end / m->grain * m->grain);
        break;
    default:
        break;
    }
}

static void way_next(struct run_io *io);

static void
way_start(struct model_way *w)
{
    struct model *m = w->model;
    struct run *r = m->run;
    uint32_t units = (uint32_t)(m->size / m->unit), most = MODEL_LEN / m->unit;
    uint64_t dice = run_random(r) % 100, at;
    struct run_io *io = &w->io;
    uint32_t i;

    io->op = dice < 40   ? BLK_READ
             : dice < 80 ? BLK_WRITE
             : dice < 85 ? BLK_FLUSH
             : dice < 92 ? (m->no_zero ? BLK_READ : BLK_ZERO)
             : m->trim   ? BLK_DISCARD
                         : BLK_READ;
    io->flags = io->op == BLK_ZERO && run_random(r) % 2 ? BLK_UNMAP : 0;
    if ((io->op == BLK_WRITE || io->op == BLK_ZERO) && !(run_random(r) % 8))
        io->flags |= BLK_FUA;
    do {
        io->off = at = run_random(r) % units;
        io->len = (uint32_t)(1 + run_random(r) % most);
        if (run_random(r) % 2)
            io->len = 1 + io->len % 8;
        if (at + io->len > units)
            io->len = units - (uint32_t)at;
        io->off *= m->unit;
        io->len *= m->unit;
    } while (overlaps(m, io->off, io->len));
    if (io->op == BLK_FLUSH)
        io->off = io->len = 0;
    /* Corners of a scatter list: every so often pieces of 512 bytes. */
    io->segs = 1 + (uint32_t)(run_random(r) % (io->len / 512 + 1)) % 100;
    io->step = io->len / io->segs / 512 * 512;
    if (!io->step)
        io->segs = 1;
    io->buf = w->buf;
    for (i = 0; i < io->len; i += 8) {
        uint64_t word = run_random(r);

        memcpy(w->buf + i, &word, 8);
    }
    io->after = way_next;
    io->data = w;
    m->flights++;
    run_start(r, io);
}

static void
way_next(struct run_io *io)
{
    struct model_way *w = io->data;
    struct model *m = w->model;

    m->flights--;
    if (io->error) {
        m->errors++;
        if (!m->reads_may_fail || io->op != BLK_READ)
            test_fail(__FILE__, __LINE__,
                      "op %u of %" PRIu32 " at %" PRIu64 ": error %d", io->op,
                      io->len, io->off, io->error);
    } else {
        settle(m, io);
    }
    if (m->left) {
        m->left--;
        way_start(w);
    }
}

void
model_play(struct model *m, unsigned n)
{
    unsigned i;

    m->left = n;
    for (i = 0; i < MODEL_WAYS && m->left; i++) {
        m->left--;
        way_start(&m->way[i]);
    }
    while (m->flights)
        m->run->loop->ops->run(m->run->loop);
}

void
model_check(struct model *m)
{
    struct run_io io = { .op = BLK_READ, .buf = m->way[0].buf };

    for (io.off = 0; io.off < m->size; io.off += io.len) {
        io.len = MODEL_LEN;
        if (io.len > m->size - io.off)
            io.len = (uint32_t)(m->size - io.off);
        run_start(m->run, &io);
        run_wait(m->run, &io);
        CHECK_EQ(io.error, 0);
        compare(m, &io);
    }
}
