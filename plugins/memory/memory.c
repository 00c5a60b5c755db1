/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory: a disk in memory; sparse, and gone when the daemon ends.
 *
 *   top[]            one entry per 2 MiB of the disk
 *    └─ leaf         512 pointers, and how many of them are set
 *        └─ page     4 KiB, made by the first write to it
 *
 * What has no page reads as zeroes.  The data path allocates: that is what
 * this disk is; a request that gets no memory fails with ENOMEM, one that
 * would pass the limit with ENOSPC, and all others go on.
 *
 * The store is shared by instances that follow each other in a live change:
 * whichever of the two is stopped, the other has the content.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/plugin.h"

#define MEMORY_PAGE   4096u
#define MEMORY_SLOTS  512u
#define MEMORY_LEAF   ((uint64_t)MEMORY_PAGE * MEMORY_SLOTS)
#define MEMORY_MAX    (16ull << 40) /* a top[] of 64 MiB */
#define MEMORY_ERASED (64ull << 20) /* most that one request frees */

struct memory_leaf {
    unsigned used; /* pages that are there */
    uint8_t *page[MEMORY_SLOTS];
};

struct memory_store {
    unsigned refs;
    uint64_t leaves; /* entries of top[] */
    struct memory_leaf **top;
    uint64_t used_bytes; /* pages only */
};

struct memory {
    uint64_t size, limit; /* the options */
    struct memory_store *store;
    uint64_t no_memory, over_limit;
};

static const struct blk_option memory_options[] = {
    { .name = "size",
      .type = BLK_SIZE,
      .at = offsetof(struct memory, size),
      .required = true,
      .min = MEMORY_PAGE,
      .max = MEMORY_MAX,
      .help = "size of the disk, a multiple of 4k" },
    { .name = "limit",
      .type = BLK_SIZE,
      .at = offsetof(struct memory, limit),
      .fallback = "0",
      .help = "most memory for its data; 0: as much as its size" },
    { 0 }
};

static const struct blk_counter memory_counters[] = {
    { "no_memory", offsetof(struct memory, no_memory), "requests",
      "writes that failed because the daemon got no memory" },
    { "over_limit", offsetof(struct memory, over_limit), "requests",
      "writes that failed because of the limit" },
    { 0 }
};

static int
memory_check(const void *self, char *why, size_t why_size)
{
    const struct memory *m = self;

    if (m->size % MEMORY_PAGE) {
        snprintf(why, why_size,
                 "size: expected a multiple of %u bytes, found %" PRIu64,
                 MEMORY_PAGE, m->size);
        return -EINVAL;
    }
    return 0;
}

/* ---- the store ----------------------------------------------------------- */

/* Room for size bytes; what is in it stays.  0 or -ENOMEM, with no change. */
static int
store_grow(struct memory_store *s, uint64_t size)
{
    uint64_t leaves = (size + MEMORY_LEAF - 1) / MEMORY_LEAF;
    struct memory_leaf **top;

    if (leaves <= s->leaves)
        return 0;
    top = calloc(leaves, sizeof(*top));
    if (!top)
        return -ENOMEM;
    if (s->leaves)
        memcpy(top, s->top, s->leaves * sizeof(*top));
    free(s->top);
    s->top = top;
    s->leaves = leaves;
    return 0;
}

static void
store_unref(struct memory_store *s)
{
    uint64_t i;
    unsigned j;

    if (!s || --s->refs)
        return;
    for (i = 0; i < s->leaves; i++) {
        for (j = 0; s->top[i] && j < MEMORY_SLOTS; j++)
            free(s->top[i]->page[j]);
        free(s->top[i]);
    }
    free(s->top);
    free(s);
}

/* The page with byte off, or NULL. */
static uint8_t *
store_page(const struct memory_store *s, uint64_t off)
{
    const struct memory_leaf *leaf = s->top[off / MEMORY_LEAF];

    return leaf ? leaf->page[off / MEMORY_PAGE % MEMORY_SLOTS] : NULL;
}

/* As store_page(), but makes it, zeroed.  NULL: no memory. */
static uint8_t *
store_make(struct memory_store *s, uint64_t off)
{
    struct memory_leaf **leaf = &s->top[off / MEMORY_LEAF];
    uint8_t **page;

    if (!*leaf)
        *leaf = calloc(1, sizeof(**leaf));
    if (!*leaf)
        return NULL;
    page = &(*leaf)->page[off / MEMORY_PAGE % MEMORY_SLOTS];
    if (!*page) {
        *page = calloc(1, MEMORY_PAGE);
        if (*page) {
            (*leaf)->used++;
            s->used_bytes += MEMORY_PAGE;
        }
    }
    return *page;
}

static void
store_drop(struct memory_store *s, uint64_t off)
{
    struct memory_leaf **leaf = &s->top[off / MEMORY_LEAF];
    uint8_t **page;

    if (!*leaf)
        return;
    page = &(*leaf)->page[off / MEMORY_PAGE % MEMORY_SLOTS];
    if (!*page)
        return;
    free(*page);
    *page = NULL;
    s->used_bytes -= MEMORY_PAGE;
    if (!--(*leaf)->used) {
        free(*leaf);
        *leaf = NULL;
    }
}

/* How much of [off, end) is in the page of off. */
static uint32_t
page_part(uint64_t off, uint64_t end)
{
    uint64_t room = MEMORY_PAGE - off % MEMORY_PAGE;

    return (uint32_t)(end - off < room ? end - off : room);
}

/* ---- requests ------------------------------------------------------------ */

static void
memory_read(const struct memory_store *s, const struct blk_req *r)
{
    uint64_t off, end = r->off + r->len;
    uint32_t n;

    for (off = r->off; off < end; off += n) {
        const uint8_t *page = store_page(s, off);
        uint32_t at = (uint32_t)(off - r->off);

        n = page_part(off, end);
        if (page)
            blk_sg_write(&r->sg, at, page + off % MEMORY_PAGE, n);
        else
            blk_sg_zero(&r->sg, at, n);
    }
}

static int
memory_write(struct memory *m, const struct blk_req *r)
{
    struct memory_store *s = m->store;
    uint64_t off, end = r->off + r->len;
    uint32_t n;

    for (off = r->off; off < end; off += n) {
        uint8_t *page = store_page(s, off);

        n = page_part(off, end);
        if (!page && m->limit && s->used_bytes + MEMORY_PAGE > m->limit) {
            m->over_limit++;
            return -ENOSPC;
        }
        if (!page)
            page = store_make(s, off);
        if (!page) {
            m->no_memory++;
            return -ENOMEM;
        }
        blk_sg_read(&r->sg, (uint32_t)(off - r->off), page + off % MEMORY_PAGE,
                    n);
    }
    return 0;
}

static void
memory_erase(struct memory_store *s, const struct blk_req *r)
{
    uint64_t off, end = r->off + r->len;
    uint32_t n;

    for (off = r->off; off < end; off += n) {
        uint8_t *page = store_page(s, off);

        n = page_part(off, end);
        if (n == MEMORY_PAGE)
            store_drop(s, off);
        else if (page)
            memset(page + off % MEMORY_PAGE, 0, n);
    }
}

static void
memory_submit(struct blk_layer *l, struct blk_req *r)
{
    struct memory *m = blk_self(l);
    int error = 0;

    switch (r->op) {
    case BLK_READ:
        memory_read(m->store, r);
        break;
    case BLK_WRITE:
        error = memory_write(m, r);
        break;
    case BLK_DISCARD:
    case BLK_ZERO:
        memory_erase(m->store, r);
        break;
    case BLK_FLUSH:
        break;
    default:
        error = -EOPNOTSUPP;
    }
    if (error)
        blk_log(l, BLK_WARN, "write of %" PRIu32 " bytes at %" PRIu64 ": %s",
                r->len, r->off,
                error == -ENOSPC ? "the limit is reached" : "no memory");
    blk_end(l, r, error);
}

/* ---- life ---------------------------------------------------------------- */

/* The content of the old instance, when that is one of ours.  A disk that
 * would lose its end is refused: only a new disk begins empty. */
static int
memory_inherit(struct blk_layer *l, struct blk_layer *old)
{
    struct memory *m = blk_self(l);
    const struct memory *from = blk_self(old);

    if (m->size < from->size) {
        blk_why(l,
                "size: expected at least the %" PRIu64
                " bytes of the running disk, found %" PRIu64,
                from->size, m->size);
        return -EINVAL;
    }
    if (store_grow(from->store, m->size)) {
        blk_why(l, "no memory for the table of a larger disk");
        return -ENOMEM;
    }
    m->store = from->store;
    m->store->refs++;
    return 0;
}

static void
memory_start(struct blk_layer *l, struct blk_layer *old)
{
    struct memory *m = blk_self(l);

    if (old) {
        blk_ready(l, memory_inherit(l, old));
        return;
    }
    m->store = calloc(1, sizeof(*m->store));
    if (!m->store || store_grow(m->store, m->size)) {
        free(m->store);
        m->store = NULL;
        blk_why(l, "no memory for the table of the disk");
        blk_ready(l, -ENOMEM);
        return;
    }
    m->store->refs = 1;
    blk_ready(l, 0);
}

static void
memory_stop(struct blk_layer *l)
{
    struct memory *m = blk_self(l);

    store_unref(m->store);
    m->store = NULL;
    blk_ready(l, 0);
}

static void
memory_limits(struct blk_layer *l, struct blk_limits *limits)
{
    struct memory *m = blk_self(l);

    limits->size = m->size;
    limits->align = 512;
    limits->block = MEMORY_PAGE;
    limits->mem_align = 1;
    limits->discard_align = MEMORY_PAGE;
    if (!limits->max_discard || limits->max_discard > MEMORY_ERASED)
        limits->max_discard = MEMORY_ERASED;
    limits->volatile_cache = false;
    limits->fua = true;
}

static void
memory_stats(struct blk_layer *l, struct blk_out *out)
{
    const struct memory *m = blk_self(l);

    blk_put_u64(out, "size", m->size);
    blk_put_u64(out, "limit", m->limit);
    blk_put_u64(out, "used_bytes", m->store ? m->store->used_bytes : 0);
}

BLK_PLUGIN(memory) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct memory),
    .ops = BLK_ALL_OPS,
    .tail = BLK_TAIL,
    .name = "memory",
    .help = "a sparse disk in memory",
    .options = memory_options,
    .counters = memory_counters,
    .check = memory_check,
    .start = memory_start,
    .stop = memory_stop,
    .submit = memory_submit,
    .limits = memory_limits,
    .stats = memory_stats,
};
