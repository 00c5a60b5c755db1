/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd: a server that answers anything, see nbd_peer.h, and the plugin as it is,
 * on a loop in simulated time.  Its two calls of libnbd that would wait or want
 * an address are ours: the linker renames them (--wrap).
 *
 * Requests of the guest end, whatever comes; the disk opens or is refused with
 * a sentence; it stops, and no connection is left.  Once the server has become
 * honest, what is read is what was written.  All this within so many events,
 * and so much memory.
 *
 *   byte 0   what the server offers
 *   byte 1   its flags
 *   byte 2   block sizes; how many connections are wanted
 *   byte 3   the seed of the guest's requests
 *   the rest the script of the server
 */
#include "config.h"

#include <libnbd.h>
#include <poll.h>
#include <sanitizer/allocator_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "host/sim.h"
#include "tests/fuzz/nbd_peer.h"

extern const struct blk_plugin blk_plugin_nbd;
const struct blk_plugin *const blk_plugins_static[] = { &blk_plugin_nbd, NULL };

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
int __wrap_nbd_aio_connect_uri(struct nbd_handle *, const char *uri);
int __real_nbd_poll(struct nbd_handle *, int ms);
int __wrap_nbd_poll(struct nbd_handle *, int ms);

enum {
    HEAD = 4, /* bytes of the input before the script */
    DISK = 256 << 10,
    PIECE = 32 << 10,
    FLYING = 6,
    REQUESTS = 30,
    WATCHES = 16,
    EVENTS = 100000,
    MEMORY_MOST = 24 << 20 /* more than the world and sixteen handles take */
};

static struct peer peer;
static uint8_t memory[FLYING][PIECE];

/* ---- bounds -------------------------------------------------------------- */

static size_t live, live_most;

static void
taken(const volatile void *p, size_t n)
{
    (void)p;
    live += n;
    if (live > live_most)
        live_most = live;
}

static void
given(const volatile void *p)
{
    size_t n = p ? __sanitizer_get_allocated_size((const void *)p) : 0;

    live -= n < live ? n : live;
}

/* ---- the door ------------------------------------------------------------ */

int
__wrap_nbd_aio_connect_uri(struct nbd_handle *h, const char *uri)
{
    (void)uri;
    return nbd_aio_connect_socket(h, peer_accept(&peer));
}

/* The server has its turn instead of a time to wait. */
int
__wrap_nbd_poll(struct nbd_handle *h, int ms)
{
    (void)ms;
    peer_turn(&peer);
    return __real_nbd_poll(h, 0);
}

static const struct loop_ops *sim_ops;
static struct blk_watch *watch[WATCHES];

static void
watch_stop(struct loop *loop, struct blk_watch *w)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (watch[i] == w)
            watch[i] = NULL;
    }
    sim_ops->watch_stop(loop, w);
}

static void
watch_start(struct loop *loop, struct blk_watch *w)
{
    unsigned i = 0;

    watch_stop(loop, w);
    while (i < WATCHES && watch[i])
        i++;
    if (i == WATCHES)
        abort();
    watch[i] = w;
    sim_ops->watch_start(loop, w);
}

/* ---- the disk ------------------------------------------------------------ */

struct fuzz {
    struct sim *sim;
    struct chain *chain;
    uint64_t seed, size;
    struct chain_op op;
    int status; /* of a step; 1: under way */
    unsigned flying, errors, events;
    struct chain_map map;
    uint64_t from, mapped;
    bool mapping, honest;
    struct ask {
        struct fuzz *f;
        struct iovec v;
        bool used;
    } ask[FLYING];
};

static void
turn(struct fuzz *f)
{
    unsigned i;

    peer_turn(&peer);
    for (i = 0; i < WATCHES; i++) {
        struct pollfd p = { 0 };

        if (!watch[i])
            continue;
        p.fd = watch[i]->fd;
        p.events = watch[i]->events;
        if (poll(&p, 1, 0) > 0)
            sim_fd_ready(f->sim, p.fd, p.revents);
    }
    if (++f->events == EVENTS || !sim_step(f->sim))
        abort();
}

static uint64_t
dice(struct fuzz *f, uint64_t n)
{
    f->seed = f->seed * 6364136223846793005u + 1442695040888963407u;
    return (f->seed >> 33) % n;
}

static void
step_done(struct chain_op *op, int error)
{
    ((struct fuzz *)op->data)->status = error;
}

static int
step(struct fuzz *f, void (*fn)(struct chain *, struct chain_op *))
{
    f->op = (struct chain_op){ .done = step_done, .data = f };
    f->status = 1;
    fn(f->chain, &f->op);
    while (f->status > 0)
        turn(f);
    if (f->status && !f->op.why[0])
        abort(); /* a refusal has a sentence */
    return f->status;
}

static void
ask_done(struct chain_req *req, int error)
{
    struct ask *a = req->owner;

    if (error > 0)
        abort();
    a->f->errors += error != 0;
    a->f->flying--;
    a->used = false;
    chain_put(a->f->chain, req);
}

static void
ask(struct fuzz *f, int op, int flags, uint64_t off, uint32_t len)
{
    struct chain_req *req = chain_get(f->chain);
    struct ask *a = f->ask;

    while (a->used)
        a++;
    *a = (struct ask){ f, { memory[a - f->ask], len }, true };
    req->done = ask_done;
    req->owner = a;
    req->req.op = (uint8_t)op;
    req->req.flags = (uint8_t)flags;
    req->req.off = off;
    req->req.len = len;
    req->req.sg = (struct blk_sg){ .v = &a->v, .n = 1, .skip = 0 };
    f->flying++;
    chain_submit(f->chain, req);
}

/* ---- where data are ------------------------------------------------------ */

static bool
extent(struct chain_map *m, uint64_t len, enum blk_extent kind)
{
    struct fuzz *f = m->data;
    const uint8_t *data = peer.liar.disk + f->mapped;

    if (!len || f->mapped + len != m->off ||
        m->off > chain_limits(f->chain)->size)
        abort();
    if (f->honest && kind == BLK_ZEROES &&
        (data[0] || memcmp(data, data + 1, len - 1)))
        abort(); /* it is called zero, and is not */
    f->mapped += len;
    return dice(f, 30);
}

static void
map_done(struct chain_map *m, int error)
{
    struct fuzz *f = m->data;

    if (error > 0 || (error && f->honest) || (!error && f->mapped == f->from))
        abort();
    f->mapping = false;
}

static void
map(struct fuzz *f, uint64_t off, uint64_t len)
{
    if (f->mapping)
        return;
    f->mapping = true;
    f->mapped = f->from = off;
    f->map = (struct chain_map){
        .off = off, .len = len, .extent = extent, .done = map_done, .data = f
    };
    chain_map(f->chain, &f->map);
}

static void
finish(struct fuzz *f, unsigned most)
{
    while (f->flying > most || (!most && f->mapping))
        turn(f);
}

/* ---- what the guest does ------------------------------------------------- */

static void
play(struct fuzz *f)
{
    static const int ops[] = { BLK_READ,  BLK_READ,    BLK_READ, BLK_WRITE,
                               BLK_WRITE, BLK_DISCARD, BLK_ZERO, BLK_FLUSH };
    const uint64_t sectors = f->size / 512;

    for (unsigned i = 0; i < REQUESTS; i++) {
        uint64_t n = 1 + dice(f, sectors < 64 ? sectors : 64);
        uint64_t at = dice(f, sectors - n + 1);
        int op = ops[dice(f, 8)];

        finish(f, FLYING - 1);
        if (!dice(f, 4))
            map(f, at * 512 + dice(f, 512), dice(f, 2 * n * 512) + 1);
        if (op == BLK_FLUSH)
            ask(f, op, 0, 0, 0);
        else
            ask(f, op, op == BLK_READ ? 0 : (int)dice(f, 4), at * 512,
                (uint32_t)n * 512);
        while (dice(f, 3))
            turn(f);
    }
    finish(f, 0);
}

static void
pass(struct fuzz *f, int op)
{
    for (uint64_t off = 0; off < f->size; off += PIECE) {
        uint64_t len = f->size - off < PIECE ? f->size - off : PIECE;

        if (op == BLK_WRITE)
            memset(memory[0], (int)(f->seed + off / PIECE), PIECE);
        else
            memset(memory[0], 0xa5, PIECE);
        ask(f, op, 0, off, (uint32_t)len);
        finish(f, 0);
        if (!f->errors && memcmp(memory[0], peer.liar.disk + off, len))
            abort(); /* what is there is not what was said */
    }
}

/* The server is another one now: what it says is so, if the disk is still
 * there. */
static void
look(struct fuzz *f)
{
    peer_repent(&peer);
    f->errors = 0;
    pass(f, BLK_READ);
    if (!chain_limits(f->chain)->readonly)
        pass(f, BLK_WRITE);
    ask(f, BLK_FLUSH, 0, 0, 0);
    finish(f, 0);
    pass(f, BLK_READ);
    f->honest = true;
    for (f->mapped = 0; f->mapped < f->size;) {
        map(f, f->mapped, f->size - f->mapped);
        finish(f, 0);
    }
}

/* ---- one input ----------------------------------------------------------- */

static void
server(const uint8_t *data, size_t size)
{
    static const uint32_t blocks[][3] = { { 0, 0, 0 },
                                          { 512, 4096, 32 << 20 },
                                          { 4096, 65536, 65536 },
                                          { 1, 512, UINT32_MAX } };
    static const uint16_t flags[] = { 1 | 4 | 8 | 32 | 64 | 256, 1 | 4 };

    peer_init(&peer, data[0] & 8 ? DISK - 512 : DISK);
    peer.liar.structured = data[0] & 1;
    peer.go = !(data[0] & 2);
    peer.old = (data[0] & 0x34) == 0x34;
    peer.flags = (uint16_t)(flags[data[0] >> 6 & 1] ^ data[1]);
    memcpy(peer.block, blocks[data[2] & 3], sizeof(peer.block));
    peer.script.at = data + HEAD;
    peer.script.end = data + size;
}

static void
disk(struct fuzz *f, const uint8_t *data)
{
    f->seed = data[3];
    if (!step(f, chain_start)) {
        f->size = chain_limits(f->chain)->size;
        if (chain_reserve(f->chain, FLYING))
            abort();
        if (f->size > DISK)
            f->size = DISK;
        play(f);
        if (f->size <= peer.liar.size && data[2] & 8)
            look(f);
        if (step(f, chain_stop))
            abort();
    }
    chain_free(f->chain);
}

static void
no_connection_is_left(void)
{
    peer_turn(&peer);
    for (unsigned i = 0; i < PEER_CONNS; i++) {
        if (peer.conn[i].state != PEER_FREE)
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct blk_kv kv[] = { { "uri", "nbd+unix:///?socket=/peer", "f", 1 },
                           { "start", "1s", "f", 1 },
                           { "reconnect", "5s", "f", 1 },
                           { "timeout", "2s", "f", 1 },
                           { "connections", "1", "f", 1 } };
    struct blk_conf layer = {
        .plugin = "nbd", .name = "nbd", .file = "f", .kv = kv, .n = 5
    };
    struct chain_spec spec = { .disk = "disk", .layer = &layer, .n = 1 };
    static bool is_watched;
    struct loop_ops ops;
    struct fuzz f = { 0 };
    struct loop *loop;
    size_t before;
    char why[300];

    if (size < HEAD)
        return 0;
    if (!is_watched && !__sanitizer_install_malloc_and_free_hooks(taken, given))
        abort();
    is_watched = true;
    before = live_most = live;
    log_open(0, false);
    kv[4].value = data[2] & 4 ? "3" : "1";
    server(data, size);
    f.sim = sim_new(data[3]);
    loop = sim_loop_new(f.sim, "data0");
    sim_ops = loop->ops;
    ops = *sim_ops;
    ops.watch_start = watch_start;
    ops.watch_stop = watch_stop;
    loop->ops = &ops;
    if (chain_new(&f.chain, loop, &spec, NULL, NULL, why, sizeof(why)))
        abort();
    disk(&f, data);
    no_connection_is_left();
    loop->ops = sim_ops;
    loop->ops->free(loop);
    sim_free(f.sim);
    peer_free(&peer);
    if (live_most - before > MEMORY_MOST)
        abort();
    return 0;
}
