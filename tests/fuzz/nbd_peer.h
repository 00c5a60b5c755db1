/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd_peer.h: a server of the NBD protocol inside of a fuzz target: no thread,
 * no clock, no address.  It does what it is asked; how it answers is said by a
 * script.  Each message, of the handshake and after, is made as it should be,
 * or as one of the lies of nbd_liar.h; then it may be changed, cut, swallowed
 * or made of the script's bytes.  Where the script ends all is true.
 *
 * peer_turn() reads what has come and answers; between two turns nothing
 * happens.
 */
#ifndef TESTS_FUZZ_NBD_PEER_H
#define TESTS_FUZZ_NBD_PEER_H

#include "tests/functional/nbd_liar.h"

enum { PEER_CONNS = 8, PEER_HELD = 8, PEER_IN = 160 << 10 };

/* In the order of time.  DEAF: it reads, and does not answer any more. */
enum peer_state {
    PEER_FREE,
    PEER_CLIENT_FLAGS,
    PEER_OPTION,
    PEER_REQUEST,
    PEER_DEAF
};

struct peer_conn {
    struct liar_conn liar;
    struct peer *peer;
    enum peer_state state;
    bool ends; /* after what is in out */
    bool no_zeroes;
    uint8_t *in, *out;
    size_t in_n, out_at, out_n;
};

struct peer {
    struct liar liar; /* the disk */
    struct liar_script script;
    bool go, old; /* NBD_OPT_GO is known; the handshake before 2011 */
    uint16_t flags;
    uint32_t block[3]; /* smallest, best, largest; all 0: not said */
    struct peer_conn conn[PEER_CONNS];
};

/* size bytes of zeroes; the rest of the peer is the caller's to set. */
void peer_init(struct peer *, size_t size);
void peer_free(struct peer *);
/* A new connection: the client's end of it. */
int peer_accept(struct peer *);
void peer_turn(struct peer *);
/* All connections end; from here on it is honest. */
void peer_repent(struct peer *);

#endif
