/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd.h: what the parts of the nbd plugin share.
 *
 *   nbd.c      the layer: options, start to stop, what it offers and counts
 *   connect.c  a worker opens the connections (names, TLS and handshake block)
 *   link.c     connections on the loop: lost, tried again, replayed
 *   cmd.c      requests: sent, answered, sent again
 *   status.c   where the server has data
 *   cross.c    writes of one place do not fly together
 *   kept.c     the writes that no flush has covered
 *   latest.c   what of these is not covered by a later one
 */
#ifndef PLUGINS_NBD_NBD_H
#define PLUGINS_NBD_NBD_H

#include <libnbd.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "blktap/plugin.h"
#include "plugins/nbd/latest.h"

enum { NBD_CONNS = 16, NBD_REPLAYS = 16, CROSS_ROOM = 2048 };

/*
 *              +--------- failed, after a pause ---------+
 *              v                                         |
 *  NEW --> CONNECT --opened--> REPLAY --all sent--> READY
 *              ^                  |                   |
 *              +------ lost ------+-------- lost -----+
 *
 * REPLAY sends what was acknowledged and not flushed, and what was under way,
 * but for what a later one of them covers; new requests wait.
 */
enum link_state {
    LINK_NEW,
    LINK_CONNECT,
    LINK_REPLAY,
    LINK_READY,
    LINK_STATES
};

/* One request of a guest (in its scratch), or one of ours. */
struct nbd_cmd {
    TAILQ_ENTRY(nbd_cmd) link; /* waiting, flying, or ended */
    struct nbd *n;
    struct blk_req *req;     /* NULL: the layer's own flush, or a replay */
    struct nbd_conn *conn;   /* while it flies */
    struct kept_entry *kept; /* of what writes: its data; READ: its bounce */
    uint64_t off, since_ns;
    uint64_t got; /* READ: bytes that were answered, by this connection */
    uint64_t seq; /* FLUSH: the acknowledgements before it was sent */
    uint32_t len;
    int error; /* of the answer: 0 or errno */
    uint8_t op, flags;
    bool used; /* one of replays[] */
    bool told; /* MAP: it was answered */
};
TAILQ_HEAD(nbd_cmds, nbd_cmd);

struct nbd_conn {
    struct nbd *n;
    struct nbd_handle *h; /* NULL: none */
    struct blk_watch watch;
    short events; /* that are waited for; 0: none */
    unsigned flying;
};

/* What a server said of an export; what must not change between connections. */
struct nbd_export {
    uint64_t size;
    uint32_t block_min, block_best, most; /* bytes; 0: not said */
    bool readonly, flush, fua, trim, zero, multi;
    bool status; /* it tells where data are; may change, as nothing is lost */
};

/* A worker's job; all but cancel is its alone until done(). */
struct nbd_opening {
    struct blk_work work;
    const struct nbd *n; /* only its options are read */
    struct nbd *owner;   /* for done() */
    atomic_bool cancel;
    unsigned want, count;
    struct nbd_handle *h[NBD_CONNS];
    struct nbd_export export;
    int error;
    char why[400];
};

struct nbd {
    /* The options. */
    char *uri, *tls_certificates, *tls_psk, *tls_user;
    bool readonly;
    uint64_t connections, replay;
    uint64_t start_ns, reconnect_ns, timeout_ns;

    struct blk_layer *layer;
    enum link_state state;
    struct nbd_conn conn[NBD_CONNS];
    unsigned conns;
    struct nbd_opening opening;
    bool is_opening, ready_once;
    struct nbd_export export; /* of the first connection */
    struct blk_timer again, tick;
    uint64_t tries, since_ns; /* no connection since then; mute: no answer */
    bool mute;                /* it did not answer, and has not since then */
    bool gave_up;             /* what comes fails until it is back */
    bool failed;              /* for good: a flush failed, or a replay did */
    bool stopping, pausing;
    bool settling;     /* the first flush, before the layer is ready */
    uint64_t began_ns; /* start() */
    bool is_closing;   /* nbd_close() is under way: its callbacks count not */
    bool is_lost;      /* a connection is gone: link_lost() is to follow */

    struct nbd_cmds waiting, flying, ended;
    uint32_t cross[CROSS_ROOM]; /* flying writes, by page */
    unsigned cross_wide;        /* of more pages than are counted */
    struct kept writes, reads;
    struct nbd_cmd own; /* flush */
    bool own_flying;
    struct latest latest;
    struct latest_part replay_at; /* the next one; its e is NULL: none */
    bool replay_over;             /* all of it again, as one of it has failed */
    struct nbd_cmd replays[NBD_REPLAYS];

    /* The counters. */
    uint64_t connects, losses, failures, replayed, replayed_bytes;
    uint64_t own_flushes, waits, again_sent, waiting_now;
};

/* ---- connect.c ----------------------------------------------------------- */

/* NULL, or what is wrong with the options. */
const char *nbd_uri_fault(const struct nbd *);
/* To be given to blk_work_start(); asks opening.cancel ten times a second. */
void connect_work(struct blk_work *);
/* What is not as it was; NULL: nothing. */
const char *export_changed(const struct nbd_export *was,
                           const struct nbd_export *is);

/* ---- link.c -------------------------------------------------------------- */

/* The first connections; ends in nbd_started(). */
void link_begin(struct nbd *);
/* The watch of a connection after something was sent on it. */
void link_watch(struct nbd_conn *);
void link_lost(struct nbd *, const char *why);
/* Closes all; nothing comes back from them. */
void link_close(struct nbd *);
/* What waits goes on, as far as it can. */
void link_pump(struct nbd *);
const char *link_state_name(enum link_state);

/* ---- cmd.c --------------------------------------------------------------- */

void cmd_submit(struct blk_layer *, struct blk_req *);
/* Sends it on a connection; false: there is no room for its data now, and it
 * is the caller's still.  is_lost may be set; a command that can't be sent at
 * all ends with its error. */
bool cmd_send(struct nbd *, struct nbd_cmd *);
/* Those that ended, to whoever waits for them. */
void cmds_end(struct nbd *);
/* The connections are gone: what flew goes back, before what waits. */
void cmds_take_back(struct nbd *);
/* All that waits for a connection fails. */
void cmds_fail(struct nbd *, int error);
/* A flush of the layer's own; none is under way. */
void cmd_flush(struct nbd *);
/* The same, unless one is under way or would be of no use. */
void cmd_make_room(struct nbd *);
/* Sends a part again; false: no free command. */
bool cmd_replay(struct nbd *, const struct latest_part *);

/* ---- status.c ------------------------------------------------------------ */

#define NBD_STATUS LIBNBD_CONTEXT_BASE_ALLOCATION

void status_map(struct blk_layer *, struct blk_req *);
/* Sends a MAP; as libnbd's calls. */
int64_t status_call(struct nbd_cmd *, struct nbd_handle *,
                    nbd_completion_callback);

/* ---- cross.c ------------------------------------------------------------- */

static inline bool
is_write(uint8_t op)
{
    return op == BLK_WRITE || op == BLK_ZERO || op == BLK_DISCARD;
}

/* It is in flying from now on, or no longer. */
void cross_add(struct nbd *, const struct nbd_cmd *);
void cross_take(struct nbd *, const struct nbd_cmd *);
/* A write of what another one that is under way writes, too: it waits.  The
 * server may do them in any order, and whoever sends them again has to know
 * which one came last. */
bool cross_any(const struct nbd *, const struct nbd_cmd *);

/* ---- nbd.c --------------------------------------------------------------- */

/* The first connections are there (0), or not. */
void nbd_started(struct nbd *, int error);
/* The layer's own flush is over. */
void nbd_flushed(struct nbd *);
/* The worker is gone, after stop(). */
void nbd_stopped(struct nbd *);

#endif
