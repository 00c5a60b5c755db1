/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd_liar.c: connections: one thread that accepts, and one for each.
 *
 * Requests are done as they come, and answered in an order of the dice's, as
 * soon as no more come for a moment.
 */
#include "config.h"

#include "tests/functional/nbd_liar.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/plugin_run.h"

#define OPTION_MAGIC 0x49484156454f5054
#define REPLY_MAGIC  0x0003e889045565a9
enum {
    OPTION_GO = 7,
    OPTION_STRUCTURED = 8,
    OPTION_CONTEXT = 10,
    REPLY_ACK = 1,
    REPLY_INFO = 3,
    REPLY_CONTEXT = 4,
    WRITE = 1,
    BYE = 2,
    TRIM = 4,
    ZERO = 6,
    REQUEST = 28, /* bytes */
    LONGEST = 1 << 20,
    HELD = 8 /* requests that wait for their answers */
};
#define REPLY_UNSUPPORTED 0x80000001
#define FLAGS             (1 | 4 | 8 | 32 | 64 | 256)

/* ---- bytes --------------------------------------------------------------- */

/* All of it, or false: the client is gone, or says nothing for long. */
static bool
get(int fd, void *to, size_t n)
{
    uint8_t *at = to;

    while (n > 0) {
        ssize_t got = recv(fd, at, n, 0);

        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* In pieces, as a network has them. */
static bool
put(struct liar_conn *c, const uint8_t *from, size_t n)
{
    while (n > 0) {
        size_t part = 1 + (size_t)liar_dice(c, n < 4096 ? n : 4 * n);
        ssize_t sent;

        if (part > n)
            part = n;
        sent = send(c->fd, from, part, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        from += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* ---- the handshake ------------------------------------------------------- */

/* A client who was misled may wait for more, as we do for him. */
static void
patience(struct liar_conn *c, int ms)
{
    struct timeval t = { .tv_usec = ms * 1000 };

    REQUIRE(!setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
}

/* Part of a handshake; in some of them one bit is wrong. */
static bool
shake(struct liar_conn *c, uint8_t *bytes, const uint8_t *end)
{
    const unsigned rate = atomic_load(&c->liar->shakes);
    size_t n = (size_t)(end - bytes);

    if (rate && !liar_dice(c, rate)) {
        bytes[liar_dice(c, n)] ^= (uint8_t)(1u << liar_dice(c, 8));
        atomic_fetch_add(&c->liar->told[LIAR_HANDSHAKE], 1);
        patience(c, 50);
    }
    return put(c, bytes, n);
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

/* true: it was the last one. */
static bool
answer_option(struct liar_conn *c, uint32_t option, bool *good)
{
    uint8_t bytes[200], *at = bytes;

    if (option == OPTION_GO) {
        at = option_reply(at, option, REPLY_INFO, 12);
        put_be(&at, 0, 2);
        put_be(&at, c->liar->size, 8);
        put_be(&at, FLAGS, 2);
        at = option_reply(at, option, REPLY_ACK, 0);
    } else if (option == OPTION_STRUCTURED && c->liar->structured) {
        c->structured = true;
        at = option_reply(at, option, REPLY_ACK, 0);
    } else if (option == OPTION_CONTEXT && c->structured) {
        at = option_reply(at, option, REPLY_CONTEXT, 19);
        at = liar_context(at);
        at = option_reply(at, option, REPLY_ACK, 0);
    } else {
        at = option_reply(at, option, REPLY_UNSUPPORTED, 0);
    }
    *good = shake(c, bytes, at);
    return option == OPTION_GO;
}

static bool
handshake(struct liar_conn *c)
{
    uint8_t bytes[4096], *at = bytes;
    uint32_t option, len;
    bool good = true;

    c->structured = false;
    memcpy(at, "NBDMAGICIHAVEOPT", 16);
    at += 16;
    put_be(&at, 3, 2);
    if (!shake(c, bytes, at) || !get(c->fd, bytes, 4))
        return false;
    do {
        if (!get(c->fd, bytes, 16) || get_be(bytes, 8) != OPTION_MAGIC)
            return false;
        option = (uint32_t)get_be(bytes + 8, 4);
        len = (uint32_t)get_be(bytes + 12, 4);
        if (len > sizeof(bytes) || !get(c->fd, bytes, len))
            return false;
    } while (!answer_option(c, option, &good) && good);
    return good;
}

/* ---- requests ------------------------------------------------------------ */

static bool
more_comes(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) > 0;
}

/* Does it, unless the client has gone: he will ask on another connection, and
 * an old write must not come after that. */
static bool
request_do(struct liar_conn *c, const struct liar_request *q,
           const uint8_t *data)
{
    struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };
    struct liar *l = c->liar;
    bool here;

    pthread_mutex_lock(&l->lock);
    here = poll(&p, 1, 0) == 0;
    if (here && q->type == WRITE)
        memcpy(l->disk + q->off, data, q->len);
    if (here && (q->type == TRIM || q->type == ZERO))
        memset(l->disk + q->off, 0, q->len);
    pthread_mutex_unlock(&l->lock);
    return here;
}

static bool
request_get(struct liar_conn *c, struct liar_request *q)
{
    struct liar *l = c->liar;
    uint8_t head[REQUEST];
    static _Thread_local uint8_t data[LONGEST];

    if (!get(c->fd, head, sizeof(head)))
        return false;
    q->flags = (uint16_t)get_be(head + 4, 2);
    q->type = (uint16_t)get_be(head + 6, 2);
    q->cookie = get_be(head + 8, 8);
    q->off = get_be(head + 16, 8);
    q->len = (uint32_t)get_be(head + 24, 4);
    if (get_be(head, 4) != 0x25609513 || q->type == BYE || q->off > l->size ||
        q->len > l->size - q->off || (q->type == WRITE && q->len > LONGEST))
        return false;
    if (q->type == WRITE && !get(c->fd, data, q->len))
        return false;
    return atomic_load(&l->fail) || request_do(c, q, data);
}

static void
serve(struct liar_conn *c)
{
    struct liar_request held[HELD];
    uint8_t *out = malloc(LIAR_REPLY);
    unsigned n = 0, i;
    bool ends = false;

    REQUIRE(out);
    while (!ends) {
        size_t len;

        if (!n || (n < HELD && more_comes(c->fd))) {
            if (!request_get(c, &held[n]))
                break;
            n++;
            continue;
        }
        i = (unsigned)liar_dice(c, n);
        pthread_mutex_lock(&c->liar->lock);
        len = liar_reply(c, &held[i], out, &ends);
        pthread_mutex_unlock(&c->liar->lock);
        if (!put(c, out, len))
            break;
        held[i] = held[--n];
    }
    free(out);
}

static void *
conn_main(void *data)
{
    struct liar_conn *c = data;

    if (handshake(c))
        serve(c);
    shutdown(c->fd, SHUT_RDWR);
    atomic_store(&c->over, true);
    return NULL;
}

/* ---- connections --------------------------------------------------------- */

static void
conn_end(struct liar_conn *c)
{
    shutdown(c->fd, SHUT_RDWR);
    pthread_join(c->thread, NULL);
    close(c->fd);
    c->used = false;
}

/* A free one: of those that are over, or the first of all. */
static struct liar_conn *
conn_free(struct liar *l)
{
    unsigned i;

    for (i = 0; i < LIAR_CONNS && l->conn[i].used; i++) {
        if (atomic_load(&l->conn[i].over))
            break;
    }
    if (i == LIAR_CONNS)
        i = l->accepted % LIAR_CONNS;
    if (l->conn[i].used)
        conn_end(&l->conn[i]);
    return &l->conn[i];
}

static void *
accept_main(void *data)
{
    struct liar *l = data;
    int fd;

    while ((fd = accept(l->listener, NULL, NULL)) >= 0) {
        struct liar_conn *c = conn_free(l);

        c->liar = l;
        c->fd = fd;
        c->used = true;
        c->seed = l->seed * 1000 + l->accepted++;
        atomic_store(&c->over, false);
        REQUIRE(!pthread_create(&c->thread, NULL, conn_main, c));
    }
    return NULL;
}

void
liar_start(struct liar *l, size_t size, uint64_t seed, bool structured)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    memset(l, 0, sizeof(*l));
    l->size = size;
    l->seed = seed;
    l->structured = structured;
    l->disk = calloc(1, size);
    REQUIRE(l->disk);
    pthread_mutex_init(&l->lock, NULL);
    snprintf(l->socket, sizeof(l->socket), "%s", run_path("liar"));
    unlink(l->socket);
    REQUIRE(strlen(l->socket) < sizeof(at.sun_path));
    strcpy(at.sun_path, l->socket);
    l->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(l->listener >= 0 &&
            !bind(l->listener, (struct sockaddr *)&at, sizeof(at)) &&
            !listen(l->listener, 16));
    REQUIRE(!pthread_create(&l->thread, NULL, accept_main, l));
}

void
liar_stop(struct liar *l)
{
    unsigned i;

    shutdown(l->listener, SHUT_RDWR);
    pthread_join(l->thread, NULL);
    close(l->listener);
    for (i = 0; i < LIAR_CONNS; i++) {
        if (l->conn[i].used)
            conn_end(&l->conn[i]);
    }
    pthread_mutex_destroy(&l->lock);
    free(l->disk);
}
