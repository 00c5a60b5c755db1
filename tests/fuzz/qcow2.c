/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images of any bytes: the whole plugin opens them in simulated time, reads all
 * of the disk, writes, discards and closes.  It may refuse, fail or end the
 * disk; it may not crash, hang, or take memory without end.
 *
 *   byte 0   255: the rest is the image.  Else a sound image of one of the
 *            formats (bit 6: whose data are in a file of their own), with
 *            changes, of ten bytes each:
 *   0        how: the region (low bits), and how the value is meant
 *   1        which entry of the region
 *   2 to 9   the value
 */
#include "config.h"
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "host/sim.h"
#include "plugins/qcow2/format.h"
#include "tests/sim/qcow2_image.h"

extern const struct blk_plugin blk_plugin_qcow2;
const struct blk_plugin *const blk_plugins_static[] = { &blk_plugin_qcow2,
                                                        NULL };

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { CHANGE = 10, REQUEST = 65536, EVENTS = 200000, APART = 64 };

static const struct image_format formats[] = {
    { 3, 9, 4, false, false, 128 << 10, 3 },
    { 3, 12, 4, false, true, 256 << 10, 2 },
    { 2, 12, 4, false, false, 256 << 10, 3 },
    { 3, 14, 4, true, false, 512 << 10, 3 },
    { 3, 12, 1, false, false, 256 << 10, 4 },
    { 3, 16, 6, false, false, 1 << 20, 2 },
};

static void
stamp(uint8_t *sector, uint64_t number)
{
    memset(sector, (int)number, 512);
}

/* ---- the image ----------------------------------------------------------- */

/* Where a region begins, as the image says by now. */
static uint64_t
region(const uint8_t *p, size_t len, uint64_t cluster, unsigned which)
{
    uint64_t l1 = q2_get64(p + Q2_AT_L1), reftable;

    reftable = q2_get64(p + Q2_AT_REFTABLE);
    switch (which % 8) {
    case 0:
        return 0;
    case 1:
        return l1 < len - 8 ? l1 : 0;
    case 2:
        return reftable < len - 8 ? reftable : 0;
    case 3:
        return 2 * cluster;
    case 4:
        return l1 < len - 8 ? q2_get64(p + l1) & Q2_OFFSET : 0;
    case 5:
        return q2_get64(p + Q2_AT_SNAPSHOT_TABLE);
    case 6:
        return Q2_AT_INCOMPATIBLE;
    default:
        return 4 * cluster;
    }
}

static void
change(uint8_t *p, size_t len, uint64_t cluster, const uint8_t *c)
{
    uint64_t v = q2_get64(c + 2);
    uint64_t at = region(p, len, cluster, c[0]) + c[1] * 8ull;

    if (at > len - 8)
        return;
    switch (c[0] >> 3 & 7) {
    case 0:
        q2_put64(p + at, v);
        break;
    case 1: /* a cluster of the file, with flags */
        q2_put64(p + at, (v % 64) * cluster | (v & ~Q2_OFFSET));
        break;
    case 2:
        q2_put64(p + at, q2_get64(p + at) ^ (uint64_t)1 << (v % 64));
        break;
    case 3:
        q2_put32(p + at, (uint32_t)v);
        break;
    case 4:
        p[at] = (uint8_t)v;
        break;
    case 5: /* compressed */
        q2_put64(p + at, Q2_PACKED | (v % len) | (v >> 32 & 3) << (70 - 12));
        break;
    default:
        q2_put64(p + at, q2_get64(p + at) + v % 5 - 2);
    }
}

static bool
is_apart(const uint8_t *data)
{
    return data[0] != 255 && data[0] & APART;
}

/* Nothing is there yet: where guests' clusters are is not where they are in an
 * image of the other kind. */
static uint8_t *
image_apart(const struct image_format *like, size_t *len)
{
    struct image_format f = *like;
    uint8_t *p;

    f.version = 3;
    f.filled = 0;
    f.snapshot = false;
    p = image_make(&f, len, stamp);
    q2_put64(p + Q2_AT_INCOMPATIBLE,
             q2_get64(p + Q2_AT_INCOMPATIBLE) | Q2_DATA_FILE);
    q2_put32(p + Q2_V3_LEN, Q2_EXT_DATA_FILE);
    q2_put32(p + Q2_V3_LEN + 4, 5);
    memcpy(p + Q2_V3_LEN + 8, "/data", 5);
    return p;
}

static uint8_t *
image_of(const uint8_t *data, size_t size, size_t *len)
{
    const unsigned kinds = sizeof(formats) / sizeof(formats[0]);
    const struct image_format *f = &formats[data[0] % APART % kinds];
    uint8_t *p;

    if (data[0] == 255) {
        *len = size - 1;
        p = malloc(size);
        memcpy(p, data + 1, size - 1);
        return p;
    }
    p = is_apart(data) ? image_apart(f, len) : image_make(f, len, stamp);
    for (size_t i = 1; i + CHANGE <= size; i += CHANGE)
        change(p, *len, (uint64_t)1 << f->cluster_bits, data + i);
    return p;
}

/* ---- the disk ------------------------------------------------------------ */

struct fuzz {
    struct sim *sim;
    struct chain *chain;
    int status; /* 1: under way */
    struct chain_op op;
    uint8_t *buf;
};

static void
step_done(struct chain_op *op, int error)
{
    ((struct fuzz *)op->data)->status = error;
}

static void
req_done(struct chain_req *req, int error)
{
    ((struct fuzz *)req->owner)->status = error;
}

/* Until it is over; it must be within so many events. */
static int
finish(struct fuzz *f)
{
    for (unsigned i = 0; f->status > 0; i++) {
        if (i == EVENTS || !sim_step(f->sim))
            abort();
    }
    return f->status;
}

static int
step(struct fuzz *f, void (*fn)(struct chain *, struct chain_op *))
{
    f->op = (struct chain_op){ .done = step_done, .data = f };
    f->status = 1;
    fn(f->chain, &f->op);
    return finish(f);
}

static void
request(struct fuzz *f, int op, uint64_t off, uint64_t len)
{
    struct chain_req *req = chain_get(f->chain);
    struct iovec v = { f->buf, len };

    req->done = req_done;
    req->owner = f;
    req->req.op = (uint8_t)op;
    req->req.off = off;
    req->req.len = (uint32_t)len;
    req->req.sg = (struct blk_sg){ .v = &v, .n = 1, .skip = 0 };
    f->status = 1;
    chain_submit(f->chain, req);
    finish(f);
    chain_put(f->chain, req);
}

/* The disk may say that it is very large: its beginning and its end. */
static void
use(struct fuzz *f)
{
    uint64_t size = chain_limits(f->chain)->size, off;
    static const int ops[] = { BLK_READ, BLK_WRITE, BLK_DISCARD,
                               BLK_READ, BLK_ZERO,  BLK_WRITE };
    uint64_t last = size > 8 * REQUEST ? size - REQUEST : 0;

    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        for (off = 0; off < size && off < 8 * REQUEST; off += REQUEST) {
            uint64_t len = size - off < REQUEST ? size - off : REQUEST;

            if (ops[i] == BLK_WRITE && len > 5120)
                len -= 4608; /* not whole clusters */
            request(f, ops[i], off, len);
        }
        if (last)
            request(f, ops[i], last & ~(uint64_t)4095, 4096);
    }
    request(f, BLK_FLUSH, 0, 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct blk_kv kv[] = { { "path", "/image", "f", 1 },
                                        { "cache", "256k", "f", 1 },
                                        { "data-file", "/data", "f", 1 } };
    struct blk_conf layer = {
        .plugin = "qcow2", .name = "qcow2", .file = "f", .kv = kv, .n = 2
    };
    struct chain_spec spec = { .disk = "disk", .layer = &layer, .n = 1 };
    struct fuzz f = { 0 };
    struct loop *loop;
    char why[300];
    uint8_t *p;
    size_t len;

    if (!size)
        return 0;
    log_open(0, false);
    f.sim = sim_new(1);
    f.buf = aligned_alloc(4096, REQUEST);
    memset(f.buf, 7, REQUEST);
    p = image_of(data, size, &len);
    sim_file_make(f.sim, "/image", 0);
    sim_file_put(f.sim, "/image", 0, p, len);
    free(p);
    if (is_apart(data)) {
        layer.n = 3;
        sim_file_make(f.sim, "/data", 1 << 20);
    }
    loop = sim_loop_new(f.sim, "data0");
    if (chain_new(&f.chain, loop, &spec, NULL, NULL, why, sizeof(why)) ||
        chain_reserve(f.chain, 2))
        abort();
    if (!step(&f, chain_start)) {
        use(&f);
        step(&f, chain_stop);
    } else if (!f.op.why[0]) {
        abort(); /* a refusal has a sentence */
    }
    chain_free(f.chain);
    loop->ops->free(loop);
    sim_free(f.sim);
    free(f.buf);
    return 0;
}
