/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * head.h: the engine's own first layer.  It makes of what a guest asks for
 * what the layers below accept.  Private to head.c and pieces.c.
 */
#ifndef CHAIN_HEAD_H
#define CHAIN_HEAD_H

#include "chain/engine.h"

enum { BOUNCE_SIZE = 64 << 10 };

struct bounce {
    struct bounce *next;
    struct iovec v; /* the whole buffer; iov_len is set per use */
    char *memory;
};

/* self of the head. */
struct head {
    struct bounce *bounces, *bounce_free;
    char *bounce_memory;
    size_t bounce_size; /* of one */
    uint32_t bounce_align;
    unsigned bounces_n;
    struct head_req *first, *last; /* tracked, in the order of arrival */
    unsigned repairs;              /* of them */
    unsigned blocked;
};

enum piece_phase { PIECE_PLAIN, PIECE_READ, PIECE_FILL, PIECE_WRITE };

/* scratch of the head, in a guest's request and in a piece of one. */
struct head_req {
    /* A request of the guest. */
    struct blk_req *req;
    struct head_req *next, *prev; /* tracked: all that modify */
    uint64_t from, to;            /* the blocks it touches */
    uint64_t off;                 /* as it came: a flush may follow it */
    uint32_t len, at;             /* at: the next byte to make a piece of */
    unsigned pieces;              /* under way */
    int error;
    uint8_t op, flags;
    bool begun, tracked, repair, blocked, whole, flushing;
    /* A piece that goes through a bounce buffer. */
    struct bounce *bounce;
    struct blk_sg sg;    /* the guest's memory */
    uint32_t part, skip; /* bytes of the guest; where in the first block */
    enum piece_phase phase;
    bool zero;
};

/* Only of a request that the head holds: further down, r->scratch is another
 * layer's. */
static inline struct head_req *
head_req(const struct blk_req *r)
{
    return r->scratch;
}

/* pieces.c */
bool pieces_whole(const struct blk_limits *, const struct blk_req *);
bool pieces_repair(const struct blk_limits *, const struct blk_req *);
bool pieces_sg_covers(const struct blk_req *);
bool pieces_make(struct blk_layer *, struct blk_req *);
bool pieces_done(struct blk_layer *, struct blk_req *);
int bounces_prepare(struct head *, const struct blk_limits *);
void bounces_free(struct head *);

#endif
