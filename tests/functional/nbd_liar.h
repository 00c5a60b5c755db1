/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd_liar.h: a server of the NBD protocol, in threads of the test, that does
 * what it is asked and then answers wrongly, by dice: halves, other orders,
 * lengths and offsets of its own, cookies that nobody has, what was answered
 * already, or noise.
 *
 * It never lies in a way that nobody could notice: what it sends as the data
 * of a request that it answers well is the data.
 */
#ifndef TESTS_FUNCTIONAL_NBD_LIAR_H
#define TESTS_FUNCTIONAL_NBD_LIAR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LIAR_CONNS = 4 };

enum liar_lie {
    LIAR_MAGIC,     /* of another reply, or none */
    LIAR_COOKIE,    /* of nobody */
    LIAR_HALF,      /* and then the connection ends */
    LIAR_TWICE,     /* the same reply */
    LIAR_NOISE,     /* before it */
    LIAR_LENGTH,    /* of a chunk */
    LIAR_TYPE,      /* of a chunk */
    LIAR_OFFSET,    /* of a chunk: outside of the request */
    LIAR_HOLE,      /* longer than the request */
    LIAR_SHORT,     /* well-formed chunks, but half of the data is missing */
    LIAR_NONE,      /* well-formed, and no data at all */
    LIAR_MORE,      /* well-formed chunks, and some a second time */
    LIAR_PAYLOAD,   /* of a request that has none */
    LIAR_PLAIN,     /* a simple reply to a structured read */
    LIAR_NOTHING,   /* of a block status: an extent of no length */
    LIAR_BEHIND,    /* an extent behind what was asked for */
    LIAR_AGAIN,     /* two answers */
    LIAR_STRANGE,   /* of a context that nobody asked for */
    LIAR_GOING,     /* the server says that it shuts down */
    LIAR_GONE,      /* no reply: the connection ends */
    LIAR_AFTER,     /* the reply, and the connection ends */
    LIAR_HANDSHAKE, /* one bit of it */
    LIAR_LIES
};

/* Throws of the dice, as long as there are some; after that they are 0. */
struct liar_script {
    const uint8_t *at, *end;
};

struct liar_conn {
    struct liar *liar;
    struct liar_script *script; /* NULL: the throws are the seed's */
    pthread_t thread;
    int fd;
    atomic_bool over;
    bool used, structured;
    uint64_t seed;
};

struct liar {
    char socket[200];
    uint8_t *disk;
    size_t size;
    uint64_t seed;
    atomic_uint rate;   /* one in so many replies is a lie; 0: none */
    atomic_int left;    /* so many more lies in replies */
    atomic_uint shakes; /* one in so many handshakes is; 0: none */
    atomic_uint fail;   /* all is answered with an error */
    atomic_uint told[LIAR_LIES];
    bool structured; /* is offered */
    int listener;
    pthread_t thread;
    pthread_mutex_t lock; /* of disk */
    unsigned accepted;
    struct liar_conn conn[LIAR_CONNS];
};

/* size bytes of zeroes, on a socket in the test's folder. */
void liar_start(struct liar *, size_t size, uint64_t seed, bool structured);
void liar_stop(struct liar *);

/* nbd_liar_reply.c: how one request is answered. */
struct liar_request {
    uint16_t flags, type;
    uint64_t cookie, off;
    uint32_t len;
};
enum { LIAR_REPLY = (4 << 20), LIAR_CONTEXT = 7, LIAR_STATUS = 7 };
/* What is offered as the one context: the bytes of the reply to the option. */
uint8_t *liar_context(uint8_t *at);
/* Bytes of the reply in out (LIAR_REPLY); *ends: the connection is over after
 * it. */
size_t liar_reply(struct liar_conn *, const struct liar_request *, uint8_t *out,
                  bool *ends);
uint64_t liar_dice(struct liar_conn *, uint64_t n);
void put_be(uint8_t **at, uint64_t value, unsigned bytes);
uint64_t get_be(const uint8_t *at, unsigned bytes);

#endif
