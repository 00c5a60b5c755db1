/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostile.h: a front-end that does what a front-end must not.
 *
 * A transport is where the back-end is: in another domain of a Xen host, in a
 * process beside us, or in this one (a world in memory).  The cases above it
 * are the same.  Sources: xen/io/blkif.h, xen/io/ring.h, and the advisories
 * that the cases are named after.
 *
 * Threads: one, but for what a case starts and ends itself.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    QUEUES = 4,
    ORDER = 4,
    PAGES = 64, /* granted read-write: 0 to 15 are left alone by the soak */
    RING_PAGES = QUEUES << ORDER,
    PAGE = 4096,
    SEGS = 11,
    SLOTS_MAX = 512,
    NO_ANSWER = -99
};

enum abi { ABI_64, ABI_32 };
enum op { READ, WRITE, BARRIER, FLUSH, DISCARD = 5, INDIRECT };
enum { OKAY = 0, ERROR = -1, EOPNOTSUPP_ = -2 };

/* Grants that no data can go through. */
enum strange { REF_READONLY, REF_REVOKED, REF_FOREIGN };

/* The connection wanted; what is got may be smaller. */
struct shape {
    unsigned queues, order;
    enum abi abi;
    bool readonly;
};

struct transport;

struct dev {
    const struct transport *t;
    const char *name; /* of the disk, as the transport knows it */
    bool connected;
    struct shape got;
    uint64_t sectors;
    bool readonly;
    unsigned indirect; /* most segments; 0: none */
    unsigned slots;    /* of a ring */
    uint8_t *ring[QUEUES];
    uint8_t *page[PAGES];
    uint32_t ref[PAGES];
    /* With store: the pages of all rings, in a row, and what stands for them.
     */
    uint8_t *rings;
    uint32_t ring_ref[RING_PAGES], port[QUEUES];
    uint32_t prod[QUEUES], cons[QUEUES]; /* ours alone */
    uint64_t seed;
    void *private;
};

struct transport {
    const char *name;
    bool store, threads;
    /* 0, or -errno after a sentence on stderr. */
    int (*open)(struct dev *, const struct shape *);
    void (*close)(struct dev *);
    void (*notify)(struct dev *, unsigned queue);
    /* Until something may have happened, at most so long. */
    void (*wait)(struct dev *, unsigned ms);
    uint64_t (*now_ms)(const struct dev *); /* NULL: real time */
    /* 0: this transport has none. */
    uint32_t (*strange)(struct dev *, enum strange);
    /* Of the front-end's directory; only with store. */
    int (*write)(struct dev *, const char *leaf, const char *value, size_t len);
    int (*rm)(struct dev *, const char *leaf);
    /* A number of the back-end's directory. */
    uint64_t (*back)(struct dev *, const char *leaf, uint64_t otherwise);
    /* n ports for the back-end to bind, and no others. */
    int (*ports)(struct dev *, unsigned n);
};

/* ---- bus.c: XenStore, for transports with a store -------------------------
 */

/* The back-end's state, 0 when there is none. */
int bus_state(struct dev *);
void bus_say(struct dev *, const char *leaf, const char *value);
/* Until the back-end waits for us. */
bool bus_reset(struct dev *);
/* Nodes of a connection, all good. */
int bus_nodes(struct dev *, const struct shape *);
/* The whole of it: 0 when both are in state 4. */
int bus_connect(struct dev *, const struct shape *);
bool bus_close(struct dev *);

/* ---- front.c: requests ----------------------------------------------------
 */

struct seg {
    uint32_t ref;
    uint8_t first, last;
};
struct req {
    uint8_t op, inner, flag;
    uint16_t segs;
    uint64_t id, sector, count;
    uint32_t list[8]; /* references of an INDIRECT request's pages */
    struct seg seg[SEGS];
};
struct answer {
    uint64_t id;
    uint8_t op;
    int16_t status;
};

uint32_t dice(struct dev *);
uint32_t below(struct dev *, uint32_t n);
void front_reset(struct dev *); /* rings as new */
unsigned stride(const struct dev *);
uint8_t *slot(const struct dev *, unsigned queue, uint32_t index);
void put(struct dev *, unsigned queue, const struct req *);
void push(struct dev *, unsigned queue);
bool take(struct dev *, unsigned queue, struct answer *);
/* The header's words: 0 req_prod, 1 req_event, 2 rsp_prod, 3 rsp_event. */
void header(struct dev *, unsigned queue, unsigned word, uint32_t value);
uint32_t header_get(struct dev *, unsigned queue, unsigned word);
/* One request on queue 0, its status, or NO_ANSWER after so long. */
int ask_for(struct dev *, const struct req *, unsigned ms);
int ask(struct dev *, const struct req *);
/* Reads or writes n pages at sector, with the pages from `page` on. */
struct req rw(const struct dev *, enum op, uint64_t sector, unsigned page,
              unsigned n);
int reopen(struct dev *, unsigned queues, unsigned order, enum abi);
uint64_t ms_now(const struct dev *); /* of some clock of the transport */
void pause_ms(struct dev *, unsigned ms);

/* ---- cases ------------------------------------------------------------------
 */

struct report {
    bool bad, skipped;
    char found[400];
};
/* What was found; !ok makes the case a failure. */
void found(struct report *, bool ok, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void skip(struct report *, const char *why);

enum { NEEDS_STORE = 1, NEEDS_THREADS = 2 };
struct hostile_case {
    const char *name, *about, *expected;
    void (*run)(struct dev *, struct report *);
    unsigned needs;
};
extern const struct hostile_case request_cases[], ring_cases[], life_cases[];

/* After anything at all: a good connection is had, what was written before is
 * as it was, and a write can be read again. */
bool canary_set(struct dev *);
bool serves(struct dev *, struct report *);
/* Every case, or the one of that name; how many failed, -1: no such case. */
int cases_run(struct dev *, const char *name);
void cases_list(void);

/* ---- soak.c
 * ------------------------------------------------------------------ */

struct soaked {
    uint64_t sent, error, unsupported, accepted, lost;
};
/* n requests, each wrong in at least one way; false: some were accepted, or
 * not answered. */
bool soak(struct dev *, uint64_t n, struct soaked *);
/* A few good reads on queue 0; nobody waits for the answers. */
void requests_away(struct dev *);
/* n writes of states at random with requests on their way, and every so often
 * a whole connection.  How many whole ones; -1: the back-end was lost. */
int toggles(struct dev *, uint64_t n);

extern const struct transport transport_xen, transport_local;
/* The command line; returns the status of the process. */
int hostile_main(struct dev *, int argc, char **argv);

#endif
