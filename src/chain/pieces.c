/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pieces.c: cuts a request of the guest into pieces that the layers accept.
 *
 *      offset      |  align  |         |         |         |
 *      guest             [=================================)
 *      pieces            [edge)[ as long as max_len ..)[edge)
 *
 * A READ or WRITE of an edge goes through a bounce buffer, as whole blocks; so
 * does whatever lies in memory that is not aligned as the layers need it, or
 * in too many segments.  The edge of a ZERO is a WRITE; that of a DISCARD is
 * left out, as a DISCARD is only advice.
 */
#include "config.h"
#include "chain/head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNCES_FEW = 4, BOUNCES_MANY = 16, BOUNCE_PAGE = 4096 };

/* ---- bounce buffers ------------------------------------------------------ */

void
bounces_free(struct head *h)
{
    free(h->bounces);
    free(h->bounce_memory);
    h->bounces = h->bounce_free = NULL;
    h->bounce_memory = NULL;
    h->bounces_n = 0;
}

/* Buffers that serve lim; none may be in use.  Without what lim asks for, few
 * are needed: guests' memory and requests are in sectors. */
int
bounces_prepare(struct head *h, const struct blk_limits *lim)
{
    bool few = lim->align <= 512 && lim->mem_align <= 512;
    unsigned n = few ? BOUNCES_FEW : BOUNCES_MANY;
    uint32_t align =
        lim->mem_align > BOUNCE_PAGE ? lim->mem_align : BOUNCE_PAGE;
    size_t size = lim->align > BOUNCE_SIZE ? lim->align : BOUNCE_SIZE;
    struct bounce *b;
    void *memory;

    size = (size + align - 1) & ~(size_t)(align - 1);
    if (h->bounces_n == n && h->bounce_size == size && h->bounce_align == align)
        return 0;
    b = calloc(n, sizeof(*b));
    if (!b)
        return -ENOMEM;
    if (posix_memalign(&memory, align, n * size)) {
        free(b);
        return -ENOMEM;
    }
    bounces_free(h);
    h->bounces = b;
    h->bounce_memory = memory;
    h->bounce_size = size;
    h->bounce_align = align;
    h->bounces_n = n;
    for (unsigned i = 0; i < n; i++) {
        b[i].memory = h->bounce_memory + i * size;
        b[i].next = h->bounce_free;
        h->bounce_free = &b[i];
    }
    return 0;
}

/* ---- what fits ----------------------------------------------------------- */

bool
pieces_sg_covers(const struct blk_req *r)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < r->sg.n; i++)
        bytes += r->sg.v[i].iov_len;
    return bytes >= (uint64_t)r->sg.skip + r->len;
}

/* How many bytes of the list, from byte `at` on and at most `most`, are in
 * segments that the layers take: base and length aligned, but for the length
 * of the last.  A multiple of align. */
static uint32_t
sg_fits(const struct blk_limits *lim, const struct blk_sg *sg, uint32_t at,
        uint32_t most)
{
    const uintptr_t mask = lim->mem_align - 1;
    uint64_t skip = (uint64_t)sg->skip + at;
    uint32_t fits = 0, segs = 0;

    for (uint32_t i = 0; i < sg->n && fits < most; i++) {
        uint64_t len = sg->v[i].iov_len;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        if ((((uintptr_t)sg->v[i].iov_base + skip) & mask) ||
            segs++ == lim->max_segs)
            break;
        len -= skip;
        skip = 0;
        if (len > most - fits)
            len = most - fits;
        fits += (uint32_t)len;
        if (len & mask)
            break;
    }
    return fits & ~(lim->align - 1);
}

static uint32_t
longest(const struct blk_limits *lim, unsigned op)
{
    return op == BLK_READ || op == BLK_WRITE ? lim->max_len
                                             : (uint32_t)lim->max_discard;
}

static bool
discard_fits(const struct blk_limits *lim, const struct blk_req *r)
{
    return !(r->off % lim->discard_align) && !(r->len % lim->discard_align);
}

/* Nothing has to be done to r: the usual case. */
bool
pieces_whole(const struct blk_limits *lim, const struct blk_req *r)
{
    if (((r->off | r->len) & (lim->align - 1)) || r->len > longest(lim, r->op))
        return false;
    if (r->op == BLK_DISCARD)
        return discard_fits(lim, r);
    return r->op == BLK_ZERO || sg_fits(lim, &r->sg, 0, r->len) == r->len;
}

/* A part of a block will be changed. */
bool
pieces_repair(const struct blk_limits *lim, const struct blk_req *r)
{
    return (r->op == BLK_WRITE || r->op == BLK_ZERO) &&
           ((r->off | r->len) & (lim->align - 1));
}

/* ---- making one ---------------------------------------------------------- */

/* Only whole units of what can be discarded: the next such part of r, or 0
 * when there is none; *skip: bytes before it that are left out. */
static uint32_t
discard_next(const struct blk_limits *lim, const struct blk_req *r, uint32_t at,
             uint32_t *skip)
{
    const uint64_t unit = lim->discard_align, off = r->off + at;
    uint64_t begin = (off + unit - 1) / unit * unit;
    uint64_t end = (r->off + r->len) / unit * unit, len;

    if (begin >= end)
        return 0;
    *skip = (uint32_t)(begin - off);
    len = end - begin;
    if (len > lim->max_discard) {
        len = lim->max_discard;
        if (len > unit)
            len -= len % unit;
    }
    return (uint32_t)len;
}

static bool
piece_plain(struct blk_layer *l, struct blk_req *r, uint32_t at, uint32_t len)
{
    struct head_req *hr = head_req(r);
    struct blk_req *piece = blk_split(l, r, at, len);

    if (!piece)
        return false;
    if (!l->below.fua)
        piece->flags &= (uint8_t)~BLK_FUA;
    head_req(piece)->phase = PIECE_PLAIN;
    hr->pieces++;
    hr->at = at + len;
    blk_down(l, piece);
    return true;
}

/* Sends the bounce buffer down as whole blocks. */
static void
bounce_down(struct blk_layer *l, struct blk_req *piece, unsigned op)
{
    struct head_req *pr = head_req(piece);
    const uint32_t mask = l->below.align - 1;

    piece->op = (uint8_t)op;
    piece->len = (pr->skip + pr->part + mask) & ~mask;
    pr->bounce->v.iov_base = pr->bounce->memory;
    pr->bounce->v.iov_len = piece->len;
    piece->sg = (struct blk_sg){ .v = &pr->bounce->v, .n = 1, .skip = 0 };
    blk_down(l, piece);
}

/* The guest's bytes go into the buffer, and the buffer down. */
static void
bounce_write(struct blk_layer *l, struct blk_req *piece)
{
    struct head_req *pr = head_req(piece);
    char *to = pr->bounce->memory + pr->skip;

    if (pr->zero)
        memset(to, 0, pr->part);
    else
        blk_sg_read(&pr->sg, 0, to, pr->part);
    pr->phase = PIECE_WRITE;
    bounce_down(l, piece, BLK_WRITE);
}

static bool
piece_bounce(struct blk_layer *l, struct blk_req *r, uint32_t at, uint32_t len)
{
    struct head *h = l->self;
    struct head_req *hr = head_req(r), *pr;
    const uint32_t mask = l->below.align - 1;
    struct blk_req *piece = h->bounce_free ? blk_split(l, r, at, len) : NULL;

    if (!piece)
        return false;
    pr = head_req(piece);
    pr->bounce = h->bounce_free;
    h->bounce_free = pr->bounce->next;
    pr->sg = piece->sg;
    pr->part = len;
    pr->skip = (uint32_t)piece->off & mask;
    pr->zero = r->op == BLK_ZERO;
    piece->off -= pr->skip;
    if (!l->below.fua || r->op == BLK_READ)
        piece->flags = 0;
    piece->flags &= (uint8_t)~BLK_UNMAP;
    hr->pieces++;
    hr->at = at + len;
    if (r->op == BLK_READ) {
        pr->phase = PIECE_READ;
        bounce_down(l, piece, BLK_READ);
    } else if (pr->skip || (len & mask)) {
        pr->phase = PIECE_FILL;
        pr->flags = piece->flags;
        piece->flags = 0;
        bounce_down(l, piece, BLK_READ);
    } else {
        bounce_write(l, piece);
    }
    return true;
}

/* How much goes through one bounce buffer: an edge alone (so that as little as
 * possible is read before it is written), or as much as there is. */
static uint32_t
bounce_length(const struct blk_layer *l, uint64_t off, uint32_t left)
{
    const struct head *h = l->self;
    const uint32_t align = l->below.align;
    uint32_t before = (uint32_t)off & (align - 1), most;

    if (before)
        return left < align - before ? left : align - before;
    if (left < align)
        return left;
    most = l->below.max_len < h->bounce_size ? l->below.max_len
                                             : (uint32_t)h->bounce_size;
    most &= ~(align - 1);
    left &= ~(align - 1);
    return left < most ? left : most;
}

/* The next piece of r goes down; false: there is no memory for it now. */
bool
pieces_make(struct blk_layer *l, struct blk_req *r)
{
    const struct blk_limits *lim = &l->below;
    struct head_req *hr = head_req(r);
    uint64_t off = r->off + hr->at;
    uint32_t left = r->len - hr->at, len, skip = 0;

    if (r->op == BLK_DISCARD) {
        len = discard_next(lim, r, hr->at, &skip);
        if (len)
            return piece_plain(l, r, hr->at + skip, len);
        hr->at = r->len;
        return true;
    }
    len = left & ~(lim->align - 1);
    if ((off & (lim->align - 1)) || !len)
        return piece_bounce(l, r, hr->at, bounce_length(l, off, left));
    if (len > longest(lim, r->op))
        len = longest(lim, r->op);
    if (r->op != BLK_ZERO)
        len = sg_fits(lim, &r->sg, hr->at, len);
    if (!len)
        return piece_bounce(l, r, hr->at, bounce_length(l, off, left));
    return piece_plain(l, r, hr->at, len);
}

/* ---- and taking it back -------------------------------------------------- */

static void
bounce_put(struct blk_layer *l, struct head_req *pr)
{
    struct head *h = l->self;

    pr->bounce->next = h->bounce_free;
    h->bounce_free = pr->bounce;
    pr->bounce = NULL;
}

/* A piece came up; true: it is over, false: it went down again. */
bool
pieces_done(struct blk_layer *l, struct blk_req *piece)
{
    struct head_req *pr = head_req(piece);

    if (pr->phase == PIECE_PLAIN)
        return true;
    if (pr->phase == PIECE_FILL && !piece->error) {
        piece->flags = pr->flags;
        bounce_write(l, piece);
        return false;
    }
    if (pr->phase == PIECE_READ && !piece->error)
        blk_sg_write(&pr->sg, 0, pr->bounce->memory + pr->skip, pr->part);
    bounce_put(l, pr);
    return true;
}
