/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * liar.h: a back-end that does what a back-end must not.
 *
 * It serves a disk in its own memory, as xen-blkback would: the same states,
 * up to four rings of up to four pages, READ, WRITE and FLUSH.  Until it is
 * told to lie it is honest; then it lies as the case says, until it is told to
 * be honest again.  What ends the disk is told in one ring, the next time in
 * the next: the others are honest, and must not make up for it.
 *
 * A transport is where the front-end is: on a Xen host (liar_xen.c), or in a
 * world in memory (tests/sim/liar.c).  The cases are the same.  Sources:
 * xen/io/blkif.h, xen/io/ring.h.
 *
 * Threads: one.  liar_step() never waits.
 */
#ifndef LIAR_H
#define LIAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIAR_SLOTS = 32, /* of a ring of one page */
    LIAR_ORDER = 2,  /* of a ring, at most */
    LIAR_PAGES = 1 << LIAR_ORDER,
    LIAR_RINGS = 4,
    LIAR_SEGS = 11,
    LIAR_PAGE = 4096,
    LIAR_PATH = 256,
    LIAR_SECTORS = 4096 /* a disk of 2 MiB */
};

enum liar_op { LIAR_READ, LIAR_WRITE, LIAR_FLUSH = 3 };
enum { LIAR_OKAY = 0, LIAR_ERROR = -1, LIAR_UNSUPPORTED = -2 };
/* The header's words. */
enum liar_word { REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT };
/* States of either end, xen/io/xenbus.h. */
enum { GONE, STARTING, INIT_WAIT, INITIALISED, CONNECTED, CLOSING, CLOSED };

struct liar;
struct liar_transport {
    /* Absolute paths.  0 or -errno. */
    int (*read)(struct liar *, const char *path, char *value, size_t size);
    int (*write)(struct liar *, const char *path, const char *value);
    int (*rm)(struct liar *, const char *path);
    /* A ring, in one piece, and its port; NULL: they can't be had. */
    uint8_t *(*connect)(struct liar *, unsigned ring, const uint32_t *refs,
                        unsigned pages, uint32_t port);
    void (*disconnect)(struct liar *, unsigned ring);
    void (*notify)(struct liar *, unsigned ring);
    /* Bytes of a granted page; 0 or -errno. */
    int (*put)(struct liar *, uint32_t ref, unsigned at, const void *from,
               unsigned n);
    int (*get)(struct liar *, uint32_t ref, unsigned at, void *to, unsigned n);
};

struct liar_request {
    uint8_t op, segs;
    uint64_t id, sector;
    struct {
        uint32_t ref;
        uint8_t first, last;
    } seg[LIAR_SEGS];
};

/* What is expected of the disk over it while it lies. */
enum liar_outcome {
    /* Requests succeed; nobody notices. */
    LIE_SERVED,
    /* They fail, one by one; once it is honest they succeed again. */
    LIE_ERRORS,
    /* They wait, and succeed when it is honest or back. */
    LIE_WAITS,
    /* They fail at once, from now on, and `why` is said; a person's recover
     * brings the disk back when it is honest. */
    LIE_ENDS,
    /* What is told to a front that connects: it does not, and says why. */
    LIE_REFUSED
};

struct liar_case {
    const char *name, *about;
    enum liar_outcome outcome;
    const char *why;
    /* In place of an honest answer; NULL: that. */
    void (*answer)(struct liar *, const struct liar_request *);
    /* What was asked is answered as well: so a write succeeds, and it is the
     * flush after it that fails. */
    bool besides;
    /* At each look; NULL: nothing. */
    void (*look)(struct liar *);
    /* Just before it shows state 4. */
    void (*connecting)(struct liar *);
    /* It dies when it has shown this state (0: it does not), and how. */
    int dies;
    enum { BY_KILL, BY_CLOSING, BY_VANISHING } how;
};
extern const struct liar_case liar_cases[]; /* up to one without a name */

struct liar_ring {
    uint8_t *ring; /* NULL: not connected */
    uint32_t cons, prod;
    struct liar_request first; /* kept back, when `kept` */
    bool kept;
};

struct liar {
    const struct liar_transport *t;
    void *private;
    char front[LIAR_PATH], back[LIAR_PATH];
    uint8_t disk[LIAR_SECTORS * 512];
    int state;               /* as last shown; GONE: no process is there */
    unsigned offers, rings;  /* of rings; 0: one */
    unsigned longest, order; /* of a ring: offered, and as it is */
    struct liar_ring ring[LIAR_RINGS], *at; /* at: that is looked at */
    const struct liar_case *lie;            /* NULL: honest */
    unsigned turn;   /* of the rings, that which lies when one does */
    unsigned passed; /* requests in others since it is to lie */
    /* No flush is to fail: over one that does, Linux ("empty flush op failed")
     * takes it that there is none, and asks for no other.  So what ends a disk,
     * or fails, is not told of a flush, nor where one may come next. */
    bool spares_flushes;
    uint8_t last;                       /* what was asked last, in any ring */
    unsigned told, told_in[LIAR_RINGS]; /* how often it lied, and where */
    uint64_t seed;
    uint64_t served, writes, flushes;
};

/* front and back are there, with what the tools write; we go to 2. */
void liar_start(struct liar *);
/* One look at the front's state and at the ring. */
void liar_step(struct liar *);
/* From now on it lies so; NULL: it is honest, and back when it was gone.
 * What is kept from an honest one so far is answered. */
void liar_tell(struct liar *, const struct liar_case *);
/* Of rings, from the next connection on. */
void liar_offer(struct liar *, unsigned rings, unsigned order);
const struct liar_case *liar_find(const char *name);
/* It is gone. */
void liar_die(struct liar *, int how);

/* For the cases. */
void liar_answer(struct liar *, uint64_t id, int op, int status);
void liar_push(struct liar *); /* and an event */
void liar_notify(struct liar *);
/* What the request asks for is done; its status. */
int liar_do(struct liar *, const struct liar_request *);
void liar_honest(struct liar *, const struct liar_request *);
/* Nothing is asked in this ring, and no flush that is to be spared. */
bool liar_idle(struct liar *);
uint32_t liar_slots(const struct liar *);
/* Another ring that is connected; the same when there is none. */
struct liar_ring *liar_next_ring(struct liar *);
/* An id that nobody asks in this ring, in which `mine` was taken just now;
 * when it is full there is none but that. */
uint64_t liar_id_idle(struct liar *, uint64_t mine);
/* One that is asked in another ring, and not in this; or one that is idle. */
uint64_t liar_id_elsewhere(struct liar *, uint64_t mine);
uint32_t liar_word(const struct liar *, enum liar_word);
void liar_word_set(struct liar *, enum liar_word, uint32_t);
uint32_t liar_below(struct liar *, uint32_t n);
void liar_state(struct liar *, int);
void liar_part(struct liar *); /* from the rings, without a word */
void liar_node(struct liar *, const char *leaf, const char *value);

extern const struct liar_transport liar_xen;
/* Returns 0 or -errno after a sentence on stderr. */
int liar_xen_open(struct liar *, const char *front);
/* Until there is something to look at, or so long. */
void liar_xen_wait(struct liar *, int also, unsigned ms);

#endif
