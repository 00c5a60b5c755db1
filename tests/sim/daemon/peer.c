/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "host/sim.h"
#include "tests/sim/daemon/tally.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum { LONGEST = 64 << 10, ALIGN = 512 };

struct sim *peer_sim;
uint64_t *peer_tally;

/*  WAITS ── connected ──► SENT ── it arrives ──► DONE ── the answer arrives
 *    ▲                      │                     │
 *    └──── the connection breaks ─────────────────┘                         */
enum phase { WAITS, SENT, DONE };

/* Lives in the scratch of a request. */
struct peer_req {
    struct peer *peer;
    struct blk_req *req;
    struct peer_req *next, **prev;
    struct blk_timer timer;
    enum phase phase;
};

struct peer {
    char *path;     /* the options */
    uint64_t every; /* between two breaks, at most */

    struct blk_layer *layer;
    struct blk_timer line; /* when the connection breaks, or is there again */
    bool connected, pausing;
    uint64_t size;
    struct peer_req *first; /* all, the last to come first */
};

static const struct blk_option peer_options[] = {
    { .name = "path",
      .type = BLK_PATH,
      .at = offsetof(struct peer, path),
      .required = true,
      .help = "the server's file" },
    { .name = "breaks",
      .type = BLK_TIME,
      .at = offsetof(struct peer, every),
      .fallback = "20ms",
      .help = "the longest time that a connection lives" },
    { 0 }
};

static uint64_t
between(const struct peer *p, uint64_t least, uint64_t most)
{
    return least + blk_random(p->layer) % (most - least);
}

/* ---- the server ---------------------------------------------------------- */

static void
serve(const struct peer *p, const struct blk_req *r)
{
    static char bytes[LONGEST];

    switch (r->op) {
    case BLK_READ:
        sim_file_get(peer_sim, p->path, r->off, bytes, r->len);
        blk_sg_write(&r->sg, 0, bytes, r->len);
        break;
    case BLK_WRITE:
        blk_sg_read(&r->sg, 0, bytes, r->len);
        sim_file_write(peer_sim, p->path, r->off, bytes, r->len);
        break;
    case BLK_FLUSH:
        sim_file_sync(peer_sim, p->path);
        break;
    default:
        memset(bytes, 0, sizeof bytes);
        sim_file_write(peer_sim, p->path, r->off, bytes, r->len);
        break;
    }
}

/* ---- requests ------------------------------------------------------------ */

static void
arrived(struct blk_timer *t)
{
    struct peer_req *q = t->data;
    struct peer *p = q->peer;

    if (q->phase == SENT) {
        serve(p, q->req);
        q->phase = DONE;
        blk_timer_start(p->layer, t, between(p, 5 * US, 500 * US));
        return;
    }
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    blk_end(p->layer, q->req, 0);
}

static void
post(struct peer_req *q)
{
    struct peer *p = q->peer;

    q->phase = SENT;
    blk_timer_start(p->layer, &q->timer, between(p, 5 * US, 1000 * US));
}

static void
peer_submit(struct blk_layer *l, struct blk_req *r)
{
    struct peer *p = blk_self(l);
    struct peer_req *q = r->scratch;

    q->peer = p;
    q->req = r;
    q->timer.fire = arrived;
    q->timer.data = q;
    q->phase = WAITS;
    q->next = p->first;
    q->prev = &p->first;
    if (q->next)
        q->next->prev = &q->next;
    p->first = q;
    if (p->connected)
        post(q);
}

/* ---- the connection ------------------------------------------------------ */

static void
limits_look(struct peer *p)
{
    uint64_t size = (uint64_t)sim_file_size(peer_sim, p->path);

    if (size == p->size)
        return;
    p->size = size;
    blk_relimit(p->layer);
}

/* Of what had not arrived the server gets some, or not. */
static void
breaks(struct peer *p)
{
    p->connected = false;
    peer_tally[TALLY_LOST]++;
    for (struct peer_req *q = p->first; q; q = q->next) {
        blk_timer_stop(p->layer, &q->timer);
        if (q->phase == SENT && blk_random(p->layer) % 2)
            serve(p, q->req);
        peer_tally[TALLY_REPLAYED] += q->phase != WAITS;
        q->phase = WAITS;
    }
    blk_timer_start(p->layer, &p->line, between(p, 10 * US, 5 * MS));
}

static void
connects(struct peer *p)
{
    p->connected = true;
    blk_timer_start(p->layer, &p->line, between(p, 100 * US, p->every));
    for (struct peer_req *q = p->first; q; q = q->next)
        post(q);
    limits_look(p);
}

static void
line_fires(struct blk_timer *t)
{
    struct peer *p = t->data;

    if (p->connected)
        breaks(p);
    else
        connects(p);
}

/* ---- life ---------------------------------------------------------------- */

static void
peer_start(struct blk_layer *l, struct blk_layer *old)
{
    struct peer *p = blk_self(l);
    int64_t size = sim_file_size(peer_sim, p->path);

    (void)old;
    p->layer = l;
    p->line.fire = line_fires;
    p->line.data = p;
    if (size < 0) {
        blk_why(l, "%s: there is no such file", p->path);
        blk_ready(l, (int)size);
        return;
    }
    p->size = (uint64_t)size;
    connects(p);
    blk_ready(l, 0);
}

static void
peer_pause(struct blk_layer *l)
{
    struct peer *p = blk_self(l);

    blk_timer_stop(l, &p->line);
    p->connected = false;
    blk_ready(l, 0);
}

static void
peer_resume(struct blk_layer *l)
{
    connects(blk_self(l));
    blk_ready(l, 0);
}

static void
peer_stop(struct blk_layer *l)
{
    blk_timer_stop(l, &((struct peer *)blk_self(l))->line);
    blk_ready(l, 0);
}

static void
peer_limits(struct blk_layer *l, struct blk_limits *limits)
{
    const struct peer *p = blk_self(l);

    limits->size = p->size;
    limits->align = ALIGN;
    limits->block = ALIGN;
    limits->max_len = LONGEST;
    limits->max_discard = LONGEST;
    limits->volatile_cache = true;
}

const struct blk_plugin blk_plugin_peer = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct peer),
    .req_size = sizeof(struct peer_req),
    .ops = BLK_ALL_OPS,
    .tail = BLK_TAIL,
    .back_end = true,
    .name = "peer",
    .help = "a remote disk, for simulations",
    .options = peer_options,
    .start = peer_start,
    .pause = peer_pause,
    .resume = peer_resume,
    .stop = peer_stop,
    .limits = peer_limits,
    .submit = peer_submit,
};

/* ---- among the others ---------------------------------------------------- */

/* The loader's list, with this one after the shipping ones (--wrap). */
extern const struct blk_plugin *const __real_blk_plugins_static[];
extern const struct blk_plugin *__wrap_blk_plugins_static[];
const struct blk_plugin *__wrap_blk_plugins_static[32];

__attribute__((constructor)) static void
enter(void)
{
    const struct blk_plugin **to = __wrap_blk_plugins_static;
    size_t n = 0, others = 0;

    for (; __real_blk_plugins_static[n]; n++)
        to[n] = __real_blk_plugins_static[n];
    to[n++] = &blk_plugin_peer;
    for (; peer_others && peer_others[others]; others++)
        to[n++] = peer_others[others];
    if (n >= sizeof __wrap_blk_plugins_static / sizeof(void *))
        abort();
}
