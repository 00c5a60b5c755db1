/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nbd_peer.c: see nbd_peer.h. */
#include "config.h"

#include "tests/fuzz/nbd_peer.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OPTION_MAGIC 0x49484156454f5054
#define REPLY_MAGIC  0x0003e889045565a9
#define OLD_MAGIC    0x0000420281861253
enum {
    REQUEST_MAGIC = 0x25609513,
    OPTION_EXPORT_NAME = 1,
    OPTION_GO = 7,
    OPTION_STRUCTURED = 8,
    OPTION_CONTEXT = 10,
    REPLY_ACK = 1,
    REPLY_INFO = 3,
    REPLY_CONTEXT = 4,
    INFO_EXPORT = 0,
    INFO_BLOCK_SIZE = 3,
    WRITE = 1,
    BYE = 2,
    TRIM = 4,
    ZERO = 6,
    REQUEST = 28, /* bytes */
    OPTION = 16,
    OUT = LIAR_REPLY + (1 << 20)
};
#define REPLY_UNSUPPORTED 0x80000001

/* One for all targets: what is large is made once. */
static uint8_t buffers_in[PEER_CONNS][PEER_IN];
static uint8_t buffers_out[PEER_CONNS][OUT];
static uint8_t reply[OUT];

/* ---- sending ------------------------------------------------------------- */

static void
conn_free(struct peer_conn *c)
{
    close(c->liar.fd);
    c->state = PEER_FREE;
}

/* What has no room is as good as a connection that broke. */
static void
queue(struct peer_conn *c, const uint8_t *bytes, size_t n)
{
    if (c->out_n + n > OUT) {
        c->ends = true;
        return;
    }
    memcpy(c->out + c->out_n, bytes, n);
    c->out_n += n;
}

static uint64_t
number(struct peer_conn *c)
{
    static const uint64_t odd[] = { 0,         1,          511,
                                    512,       4096,       65536,
                                    1 << 25,   1u << 31,   UINT32_MAX,
                                    INT64_MAX, UINT64_MAX, 0x8000000000000000 };
    unsigned which = (unsigned)liar_dice(&c->liar, 16);

    return which < 12 ? odd[which] : liar_dice(&c->liar, UINT64_MAX);
}

/* How many bytes remain of it. */
static size_t
change(struct peer_conn *c, uint8_t *bytes, size_t n)
{
    struct liar_conn *l = &c->liar;
    unsigned times = 1 + (unsigned)liar_dice(l, 4);
    uint8_t *at;

    while (n && times-- > 0) {
        at = bytes + liar_dice(l, n < 256 ? n : 256);
        switch (liar_dice(l, 3)) {
        case 0:
            *at ^= (uint8_t)(1u << liar_dice(l, 8));
            break;
        case 1:
            if (bytes + n - at >= 4)
                put_be(&at, number(c), 4);
            break;
        default:
            if (bytes + n - at >= 8)
                put_be(&at, number(c), 8);
        }
    }
    return n;
}

/* A message on its way: most go as they are. */
static void
tell(struct peer_conn *c, uint8_t *bytes, size_t n)
{
    struct liar_conn *l = &c->liar;
    unsigned how = (unsigned)liar_dice(l, 256), times = 1, i;

    switch (how < 160 ? 0 : 1 + how % 8) {
    case 1:
    case 2:
    case 3:
        n = change(c, bytes, n);
        break;
    case 4: /* the connection ends in it */
        n = n ? (size_t)liar_dice(l, n) : 0;
        c->ends = true;
        break;
    case 5: /* nothing comes any more */
        n = n ? (size_t)liar_dice(l, n) : 0;
        c->state = PEER_DEAF;
        break;
    case 6:
        n = (size_t)liar_dice(l, 64);
        for (i = 0; i < n; i++)
            bytes[i] = (uint8_t)liar_dice(l, 256);
        break;
    case 7:
        times += (unsigned)liar_dice(l, 64);
        break;
    case 8:
        n = 0;
        break;
    default:
        break;
    }
    while (times-- > 0)
        queue(c, bytes, n);
}

/* ---- the handshake ------------------------------------------------------- */

static void
greet(struct peer_conn *c)
{
    struct peer *p = c->peer;
    uint8_t bytes[200] = "NBDMAGIC", *at = bytes + 8;

    put_be(&at, p->old ? OLD_MAGIC : OPTION_MAGIC, 8);
    if (p->old) {
        put_be(&at, p->liar.size, 8);
        put_be(&at, p->flags, 4);
        at += 124;
        c->state = PEER_REQUEST;
    } else {
        put_be(&at, 3, 2);
        c->state = PEER_CLIENT_FLAGS;
    }
    tell(c, bytes, (size_t)(at - bytes));
}

static uint8_t *
option_reply(uint8_t *at, uint32_t option, uint32_t type, uint32_t len)
{
    put_be(&at, REPLY_MAGIC, 8);
    put_be(&at, option, 4);
    put_be(&at, type, 4);
    put_be(&at, len, 4);
    return at;
}

static uint8_t *
export_reply(const struct peer *p, uint8_t *at, uint32_t option)
{
    unsigned i;

    at = option_reply(at, option, REPLY_INFO, 12);
    put_be(&at, INFO_EXPORT, 2);
    put_be(&at, p->liar.size, 8);
    put_be(&at, p->flags, 2);
    if (p->block[0] || p->block[1] || p->block[2]) {
        at = option_reply(at, option, REPLY_INFO, 14);
        put_be(&at, INFO_BLOCK_SIZE, 2);
        for (i = 0; i < 3; i++)
            put_be(&at, p->block[i], 4);
    }
    return option_reply(at, option, REPLY_ACK, 0);
}

static void
answer_option(struct peer_conn *c, uint32_t option)
{
    const struct peer *p = c->peer;
    uint8_t bytes[300] = { 0 }, *at = bytes;

    if (option == OPTION_EXPORT_NAME) {
        put_be(&at, p->liar.size, 8);
        put_be(&at, p->flags, 2);
        at += c->no_zeroes ? 0 : 124;
        c->state = PEER_REQUEST;
    } else if (option == OPTION_GO && p->go) {
        at = export_reply(p, at, option);
        c->state = PEER_REQUEST;
    } else if (option == OPTION_STRUCTURED && p->liar.structured) {
        c->liar.structured = true;
        at = option_reply(at, option, REPLY_ACK, 0);
    } else if (option == OPTION_CONTEXT && c->liar.structured) {
        at = option_reply(at, option, REPLY_CONTEXT, 19);
        at = liar_context(at);
        at = option_reply(at, option, REPLY_ACK, 0);
    } else {
        at = option_reply(at, option, REPLY_UNSUPPORTED, 0);
    }
    tell(c, bytes, (size_t)(at - bytes));
}

/* Bytes that are taken from what has come; 0: it is not all there. */
static size_t
take_option(struct peer_conn *c)
{
    uint64_t len;

    if (c->in_n < OPTION)
        return 0;
    len = get_be(c->in + 12, 4);
    if (get_be(c->in, 8) != OPTION_MAGIC || len > PEER_IN - OPTION) {
        c->ends = true;
        return 0;
    }
    if (c->in_n < OPTION + len)
        return 0;
    answer_option(c, (uint32_t)get_be(c->in + 8, 4));
    return OPTION + (size_t)len;
}

static size_t
take_client_flags(struct peer_conn *c)
{
    if (c->in_n < 4)
        return 0;
    c->no_zeroes = get_be(c->in, 4) & 2;
    c->state = PEER_OPTION;
    return 4;
}

/* ---- requests ------------------------------------------------------------ */

static size_t
take_request(struct peer_conn *c, struct liar_request *q)
{
    struct liar *l = &c->peer->liar;
    size_t data;

    if (c->in_n < REQUEST)
        return 0;
    q->flags = (uint16_t)get_be(c->in + 4, 2);
    q->type = (uint16_t)get_be(c->in + 6, 2);
    q->cookie = get_be(c->in + 8, 8);
    q->off = get_be(c->in + 16, 8);
    q->len = (uint32_t)get_be(c->in + 24, 4);
    data = q->type == WRITE ? q->len : 0;
    if (get_be(c->in, 4) != REQUEST_MAGIC || q->type == BYE ||
        q->off > l->size || q->len > l->size - q->off ||
        data > PEER_IN - REQUEST) {
        c->ends = true;
        return 0;
    }
    if (c->in_n < REQUEST + data)
        return 0;
    if (q->type == WRITE)
        memcpy(l->disk + q->off, c->in + REQUEST, q->len);
    if (q->type == TRIM || q->type == ZERO)
        memset(l->disk + q->off, 0, q->len);
    return REQUEST + data;
}

static void
answer(struct peer_conn *c, const struct liar_request *q)
{
    bool ends;
    size_t n = liar_reply(&c->liar, q, reply, &ends);

    tell(c, reply, n);
    if (ends)
        c->ends = true;
}

/* All that has come, answered in an order of the script's. */
static void
serve(struct peer_conn *c)
{
    struct liar_request held[PEER_HELD];
    unsigned n = 0, i;
    size_t taken;

    do {
        if (c->state == PEER_CLIENT_FLAGS)
            taken = take_client_flags(c);
        else if (c->state == PEER_OPTION)
            taken = take_option(c);
        else if (c->state == PEER_REQUEST)
            n += (taken = take_request(c, &held[n])) > 0;
        else
            taken = c->in_n;
        c->in_n -= taken;
        memmove(c->in, c->in + taken, c->in_n);
        while (n == PEER_HELD || (n && !taken)) {
            i = (unsigned)liar_dice(&c->liar, n);
            answer(c, &held[i]);
            held[i] = held[--n];
        }
    } while (taken && !c->ends);
}

/* ---- connections --------------------------------------------------------- */

static void
send_out(struct peer_conn *c)
{
    while (c->out_at < c->out_n) {
        ssize_t n = send(c->liar.fd, c->out + c->out_at, c->out_n - c->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            c->ends = true;
            break;
        }
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_n = 0;
}

static void
conn_turn(struct peer_conn *c)
{
    ssize_t n;

    send_out(c);
    while (!c->ends) {
        n = recv(c->liar.fd, c->in + c->in_n, PEER_IN - c->in_n, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            conn_free(c);
            return;
        }
        c->in_n += (size_t)n;
        serve(c);
        send_out(c);
    }
    if (c->ends && !c->out_n)
        conn_free(c);
}

void
peer_turn(struct peer *p)
{
    unsigned i;

    for (i = 0; i < PEER_CONNS; i++) {
        if (p->conn[i].state != PEER_FREE)
            conn_turn(&p->conn[i]);
    }
    if (p->script.at == p->script.end)
        atomic_store(&p->liar.rate, 0);
}

int
peer_accept(struct peer *p)
{
    struct peer_conn *c = p->conn;
    int fd[2];

    peer_turn(p);
    while (c < p->conn + PEER_CONNS && c->state != PEER_FREE)
        c++;
    /* More than it may have: the plugin does not close them. */
    if (c == p->conn + PEER_CONNS ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
        abort();
    *c = (struct peer_conn){ .peer = p,
                             .in = buffers_in[c - p->conn],
                             .out = buffers_out[c - p->conn] };
    c->liar.liar = &p->liar;
    c->liar.script = &p->script;
    c->liar.fd = fd[1];
    greet(c);
    return fd[0];
}

void
peer_repent(struct peer *p)
{
    unsigned i;

    p->script.at = p->script.end;
    atomic_store(&p->liar.rate, 0);
    for (i = 0; i < PEER_CONNS; i++) {
        if (p->conn[i].state != PEER_FREE)
            conn_free(&p->conn[i]);
    }
}

void
peer_init(struct peer *p, size_t size)
{
    memset(p, 0, sizeof(*p));
    p->liar.size = size;
    p->liar.disk = calloc(1, size);
    if (!p->liar.disk)
        abort();
    atomic_store(&p->liar.left, INT_MAX);
    atomic_store(&p->liar.rate, 3);
}

void
peer_free(struct peer *p)
{
    peer_repent(p);
    free(p->liar.disk);
}
