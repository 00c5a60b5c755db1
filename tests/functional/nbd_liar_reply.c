/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nbd_liar_reply.c: replies, true and false: see nbd_liar.h. */
#include "config.h"

#include "tests/functional/nbd_liar.h"

#include <string.h>

enum {
    SIMPLE = 0x67446698,
    STRUCTURED = 0x668e33ef,
    DONE = 1,
    CHUNK_NONE = 0,
    CHUNK_DATA = 1,
    CHUNK_HOLE = 2,
    CHUNK_STATUS = 5,
    STATUS_ZERO = 3, /* and a hole */
    CHUNK_ERROR = 0x8001,
    READ = 0,
    ESHUTDOWN_WIRE = 108,
    HEADER = 20 /* of a chunk */
};

/* As many bytes as n wants. */
static uint64_t
script_dice(struct liar_script *s, uint64_t n)
{
    unsigned bytes = n <= 256 ? 1 : n <= 65536 ? 2 : 8;
    uint64_t z = 0;

    while (bytes-- > 0)
        z = z << 8 | (s->at < s->end ? *s->at++ : 0);
    return z % n;
}

uint64_t
liar_dice(struct liar_conn *c, uint64_t n)
{
    uint64_t z;

    if (c->script)
        return script_dice(c->script, n);
    z = c->seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % n;
}

void
put_be(uint8_t **at, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0)
        *(*at)++ = (uint8_t)(value >> (8 * bytes));
}

uint64_t
get_be(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

/* ---- what is true -------------------------------------------------------- */

static uint8_t *
simple(uint8_t *at, const struct liar_request *q, uint32_t error)
{
    put_be(&at, SIMPLE, 4);
    put_be(&at, error, 4);
    put_be(&at, q->cookie, 8);
    return at;
}

static uint8_t *
chunk(uint8_t *at, const struct liar_request *q, unsigned flags, unsigned type,
      uint32_t len)
{
    put_be(&at, STRUCTURED, 4);
    put_be(&at, flags, 2);
    put_be(&at, type, 2);
    put_be(&at, q->cookie, 8);
    put_be(&at, len, 4);
    return at;
}

static uint8_t *
data_chunk(const struct liar *l, uint8_t *at, const struct liar_request *q,
           unsigned flags, uint32_t from, uint32_t n)
{
    at = chunk(at, q, flags, CHUNK_DATA, n + 8);
    put_be(&at, q->off + from, 8);
    memcpy(at, l->disk + q->off + from, n);
    return at + n;
}

/* In some pieces; holes where it is zero anyway. */
static uint8_t *
chunks(struct liar_conn *c, uint8_t *at, const struct liar_request *q)
{
    const struct liar *l = c->liar;
    uint32_t from, n;

    for (from = 0; from < q->len; from += n) {
        const uint8_t *data = l->disk + q->off + from;
        unsigned flags;

        n = 512 * (1 + (uint32_t)liar_dice(c, 64));
        if (n > q->len - from)
            n = q->len - from;
        flags = from + n == q->len ? DONE : 0;
        if (data[0] || memcmp(data, data + 1, n - 1)) {
            at = data_chunk(l, at, q, flags, from, n);
        } else {
            at = chunk(at, q, flags, CHUNK_HOLE, 12);
            put_be(&at, q->off + from, 8);
            put_be(&at, n, 4);
        }
    }
    return at;
}

uint8_t *
liar_context(uint8_t *at)
{
    static const char name[] = "base:allocation";

    put_be(&at, LIAR_CONTEXT, 4);
    memcpy(at, name, sizeof(name) - 1);
    return at + sizeof(name) - 1;
}

/* A chunk that begins with these extents; they follow, with the flags of each
 * after its length. */
static uint8_t *
status_chunk(uint8_t *at, const struct liar_request *q, unsigned flags,
             uint32_t context, unsigned extents)
{
    at = chunk(at, q, flags, CHUNK_STATUS, 4 + 8 * extents);
    put_be(&at, context, 4);
    return at;
}

/* Now and then zeroes are called data, or the end is left out. */
static uint8_t *
status(struct liar_conn *c, uint8_t *at, const struct liar_request *q)
{
    uint8_t *head = at, *extents = status_chunk(at, q, DONE, LIAR_CONTEXT, 0);
    uint32_t from, n, count = 0;

    at = extents;
    for (from = 0; from < q->len; from += n, count++) {
        const uint8_t *data = c->liar->disk + q->off + from;
        bool zero;

        n = 512 * (1 + (uint32_t)liar_dice(c, 64));
        if (n > q->len - from)
            n = q->len - from;
        zero = !data[0] && !memcmp(data, data + 1, n - 1);
        put_be(&at, n, 4);
        put_be(&at, zero && liar_dice(c, 4) ? STATUS_ZERO : 0, 4);
        if (!liar_dice(c, 200)) {
            count++;
            break;
        }
    }
    status_chunk(head, q, DONE, LIAR_CONTEXT, count);
    return at;
}

static uint8_t *
truth(struct liar_conn *c, uint8_t *at, const struct liar_request *q)
{
    if (q->type == READ && c->structured)
        return chunks(c, at, q);
    if (q->type == LIAR_STATUS)
        return status(c, at, q);
    if (c->structured && liar_dice(c, 2))
        return chunk(at, q, DONE, CHUNK_NONE, 0);
    at = simple(at, q, 0);
    if (q->type == READ) {
        memcpy(at, c->liar->disk + q->off, q->len);
        at += q->len;
    }
    return at;
}

/* A reply that says that it failed; the number may be one that nobody knows. */
static uint8_t *
failure(struct liar_conn *c, uint8_t *at, const struct liar_request *q)
{
    static const uint32_t errors[] = { 1, 5, 12, 22, 28, 75, 95, 0x7fffffff };
    uint32_t error = errors[liar_dice(c, 8)];
    unsigned text = (unsigned)liar_dice(c, 300);

    if (!c->structured)
        return simple(at, q, error);
    at = chunk(at, q, DONE, CHUNK_ERROR, 6 + text);
    put_be(&at, error, 4);
    put_be(&at, text, 2);
    memset(at, '%', text);
    return at + text;
}

/* ---- what is not --------------------------------------------------------- */

static void
flip(uint8_t *at, uint64_t noise, unsigned bytes)
{
    at[noise % bytes] ^= (uint8_t)(1u << (noise >> 8) % 8);
}

/* Chunks that cover the first half, and end as if that were all. */
static uint8_t *
half_of_it(const struct liar *l, uint8_t *at, const struct liar_request *q)
{
    return data_chunk(l, at, q, DONE, 0, q->len / 1024 * 512);
}

static uint8_t *
too_much(const struct liar *l, uint8_t *at, const struct liar_request *q)
{
    at = data_chunk(l, at, q, 0, 0, q->len);
    at = data_chunk(l, at, q, 0, 0, 512);
    return data_chunk(l, at, q, DONE, q->len - 512, 512);
}

static uint8_t *
false_hole(struct liar_conn *c, uint8_t *at, const struct liar_request *q)
{
    at = chunk(at, q, DONE, CHUNK_HOLE, 12);
    put_be(&at, q->off, 8);
    put_be(&at, q->len + 1 + liar_dice(c, UINT32_MAX - q->len), 4);
    return at;
}

static uint8_t *
elsewhere(struct liar_conn *c, uint8_t *at, const struct liar_request *q)
{
    uint8_t *off = at + HEADER;

    at = data_chunk(c->liar, at, q, DONE, 0, q->len);
    put_be(&off, q->off + 1 + liar_dice(c, UINT64_MAX / 2), 8);
    return at;
}

/* What can be told from a true answer: all else would be believed. */
static uint8_t *
false_status(struct liar_conn *c, enum liar_lie lie, uint8_t *at,
             const struct liar_request *q)
{
    bool twice = lie == LIAR_BEHIND, again = lie == LIAR_AGAIN;
    uint32_t context = LIAR_CONTEXT + (lie == LIAR_STRANGE);
    int i;

    at = status_chunk(at, q, again ? 0 : DONE, context, twice ? 2 : 1);
    for (i = 0; i < 1 + twice + again; i++) {
        if (again && i)
            at = status_chunk(at, q, DONE, context, 1);
        put_be(&at, lie == LIAR_NOTHING ? 0 : q->len, 4);
        /* Of two, the first may be told before the second comes. */
        put_be(&at, again ? 0 : 1 + liar_dice(c, 3), 4);
    }
    return at;
}

/* Those that begin with the truth and spoil it. */
static uint8_t *
spoil(struct liar_conn *c, enum liar_lie lie, uint8_t *at,
      const struct liar_request *q)
{
    uint8_t *end = truth(c, at, q), *field;
    const bool is_chunk = get_be(at, 4) == STRUCTURED;
    size_t n = (size_t)(end - at);

    switch (lie) {
    case LIAR_MAGIC:
        flip(at, liar_dice(c, UINT64_MAX), 4);
        break;
    case LIAR_COOKIE:
        field = at + 8;
        put_be(&field, liar_dice(c, UINT64_MAX), 8);
        break;
    case LIAR_HALF:
        end = at + 1 + liar_dice(c, n - 1);
        break;
    case LIAR_TWICE:
        memcpy(end, at, n);
        end += n;
        break;
    case LIAR_LENGTH:
        field = at + 16;
        if (is_chunk && q->type == LIAR_STATUS)
            put_be(&field, liar_dice(c, 8), 4); /* more would be believed */
        else if (is_chunk)
            put_be(&field, liar_dice(c, UINT32_MAX), 4);
        break;
    case LIAR_TYPE:
        field = at + 6;
        if (is_chunk)
            put_be(&field, 3 + liar_dice(c, 0x7ffc), 2);
        break;
    case LIAR_PAYLOAD:
        if (q->type != READ)
            end = data_chunk(c->liar, at,
                             &(struct liar_request){ .cookie = q->cookie },
                             DONE, 0, 512);
        break;
    default:
        break;
    }
    return end;
}

static uint8_t *
lie_about(struct liar_conn *c, enum liar_lie lie, uint8_t *at,
          const struct liar_request *q)
{
    const bool is_read = q->type == READ && c->structured;
    unsigned i;

    switch (lie) {
    case LIAR_NOISE:
        for (i = 1 + (unsigned)liar_dice(c, 64); i > 0; i--)
            *at++ = (uint8_t)liar_dice(c, 256);
        return truth(c, at, q);
    case LIAR_GOING:
        return simple(at, q, ESHUTDOWN_WIRE);
    case LIAR_GONE:
        return at;
    case LIAR_OFFSET:
        return is_read ? elsewhere(c, at, q) : truth(c, at, q);
    case LIAR_HOLE:
        return is_read ? false_hole(c, at, q) : truth(c, at, q);
    case LIAR_SHORT:
        return is_read ? half_of_it(c->liar, at, q) : truth(c, at, q);
    case LIAR_NONE:
        return is_read ? chunk(at, q, DONE, CHUNK_NONE, 0) : truth(c, at, q);
    case LIAR_MORE:
        return is_read ? too_much(c->liar, at, q) : truth(c, at, q);
    case LIAR_NOTHING:
    case LIAR_BEHIND:
    case LIAR_AGAIN:
    case LIAR_STRANGE:
        return q->type == LIAR_STATUS ? false_status(c, lie, at, q)
                                      : truth(c, at, q);
    case LIAR_PLAIN:
        at = simple(at, q, 0);
        if (q->type == READ)
            memcpy(at, c->liar->disk + q->off, q->len);
        return at + (q->type == READ ? q->len : 0);
    default:
        return spoil(c, lie, at, q);
    }
}

/* What can be told at once the connection survives, or the client ends it; the
 * rest would have it wait for bytes that never come. */
static bool
goes_on(enum liar_lie lie)
{
    return lie == LIAR_SHORT || lie == LIAR_NONE || lie == LIAR_MORE ||
           lie == LIAR_PLAIN || lie == LIAR_NOTHING || lie == LIAR_BEHIND ||
           lie == LIAR_AGAIN || lie == LIAR_STRANGE || lie == LIAR_TWICE ||
           lie == LIAR_GOING;
}

size_t
liar_reply(struct liar_conn *c, const struct liar_request *q, uint8_t *out,
           bool *ends)
{
    const unsigned rate = atomic_load(&c->liar->rate);
    enum liar_lie lie;

    *ends = false;
    if (atomic_load(&c->liar->fail))
        return (size_t)(failure(c, out, q) - out);
    if (!rate || liar_dice(c, rate) || atomic_fetch_sub(&c->liar->left, 1) <= 0)
        return (size_t)(truth(c, out, q) - out);
    lie = (enum liar_lie)liar_dice(c, LIAR_HANDSHAKE);
    atomic_fetch_add(&c->liar->told[lie], 1);
    *ends = !goes_on(lie);
    return (size_t)(lie_about(c, lie, out, q) - out);
}
