/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd: a disk on a server of the Network Block Device protocol.  This part is
 * the layer: its options, its life, what it offers and counts.
 *
 * libnbd speaks the protocol; it is the one library that reaches the kernel
 * past the host, since the sockets, TLS and their buffers are its own.
 */
#include "plugins/nbd/nbd.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull

enum { ALIGN_MOST = 65536, LEN_MOST = 1 << 20, READS_SIZE = 8 << 20 };

static const struct blk_option nbd_options[] = {
    { .name = "uri",
      .type = BLK_STRING,
      .at = offsetof(struct nbd, uri),
      .required = true,
      .help = "the export: nbd[s]://HOST[:PORT]/NAME or "
              "nbd[s]+unix:///NAME?socket=PATH" },
    { .name = "connections",
      .type = BLK_UINT,
      .at = offsetof(struct nbd, connections),
      .fallback = "4",
      .min = 1,
      .max = NBD_CONNS,
      .help = "connections to the server, where it allows several" },
    { .name = "start",
      .type = BLK_TIME,
      .at = offsetof(struct nbd, start_ns),
      .fallback = "5s",
      .max = 3600 * SECOND,
      .help = "how long the first connection is tried for" },
    { .name = "reconnect",
      .type = BLK_TIME,
      .at = offsetof(struct nbd, reconnect_ns),
      .fallback = "0",
      .max = 86400 * SECOND,
      .help = "how long requests wait for a lost server; 0: for ever" },
    { .name = "timeout",
      .type = BLK_TIME,
      .at = offsetof(struct nbd, timeout_ns),
      .fallback = "0",
      .max = 3600 * SECOND,
      .help = "silence after which a connection counts as lost; 0: none" },
    { .name = "replay",
      .type = BLK_SIZE,
      .at = offsetof(struct nbd, replay),
      .fallback = "16M",
      .min = 4 << 20,
      .max = 1 << 30,
      .help = "memory for writes that are not flushed yet" },
    { .name = "readonly",
      .type = BLK_BOOL,
      .at = offsetof(struct nbd, readonly),
      .fallback = "false",
      .help = "only read, as below an overlay" },
    { .name = "tls-certificates",
      .type = BLK_PATH,
      .at = offsetof(struct nbd, tls_certificates),
      .help = "folder with ca-cert.pem, and client-cert.pem and -key.pem" },
    { .name = "tls-psk",
      .type = BLK_PATH,
      .at = offsetof(struct nbd, tls_psk),
      .help = "file with user names and pre-shared keys" },
    { .name = "tls-user",
      .type = BLK_STRING,
      .at = offsetof(struct nbd, tls_user),
      .help = "who we are in the file of keys" },
    { 0 }
};

static const struct blk_counter nbd_counters[] = {
    { "connects", offsetof(struct nbd, connects), "events",
      "times that all connections were opened" },
    { "losses", offsetof(struct nbd, losses), "events",
      "times that they were lost" },
    { "failures", offsetof(struct nbd, failures), "events",
      "tries to open them that failed" },
    { "waits", offsetof(struct nbd, waits), "requests",
      "requests that waited for a connection" },
    { "waiting", offsetof(struct nbd, waiting_now), "requests",
      "requests that wait now, for a connection or for memory" },
    { "again", offsetof(struct nbd, again_sent), "requests",
      "requests that were under way when a connection was lost" },
    { "replayed", offsetof(struct nbd, replayed), "requests",
      "writes that were sent again to a server that came back" },
    { "replayed_bytes", offsetof(struct nbd, replayed_bytes), "bytes",
      "what they wrote" },
    { "own_flushes", offsetof(struct nbd, own_flushes), "requests",
      "flushes that nobody asked for, to get memory back" },
    { 0 }
};

static int
nbd_check(const void *self, char *why, size_t why_size)
{
    const char *fault = nbd_uri_fault(self);

    if (!fault)
        return 0;
    snprintf(why, why_size, "uri: %s, found %s", fault,
             ((const struct nbd *)self)->uri);
    return -EINVAL;
}

/* ---- start --------------------------------------------------------------- */

static void
free_memory(struct nbd *n)
{
    kept_free(&n->writes);
    kept_free(&n->reads);
    latest_free(&n->latest);
}

static bool
is_power_of_two(uint32_t x)
{
    return x && !(x & (x - 1));
}

static uint32_t
nbd_align(const struct nbd *n)
{
    return n->export.block_min > 512 ? n->export.block_min : 512;
}

/* What this disk can't be made of. */
static int
export_check(struct nbd *n)
{
    const struct nbd_export *x = &n->export;

    if (x->readonly && !n->readonly && !blk_readonly(n->layer)) {
        blk_why(n->layer,
                "%s: expected an export that may be written, found a read-only "
                "one: give the guest a read-only disk, or, below an overlay, "
                "say readonly = true",
                n->uri);
        return -EROFS;
    }
    if (x->block_min > ALIGN_MOST ||
        (x->block_min && !is_power_of_two(x->block_min))) {
        blk_why(n->layer,
                "%s: expected a smallest block of at most %d bytes and a power "
                "of two, found %" PRIu32,
                n->uri, ALIGN_MOST, x->block_min);
        return -EINVAL;
    }
    if (x->size < nbd_align(n)) {
        blk_why(n->layer,
                "%s: expected at least %" PRIu32 " bytes, found %" PRIu64,
                n->uri, nbd_align(n), x->size);
        return -EINVAL;
    }
    if (x->most && x->most < nbd_align(n)) {
        blk_why(n->layer,
                "%s: expected requests of %" PRIu32
                " bytes to be allowed, found %" PRIu32,
                n->uri, nbd_align(n), x->most);
        return -EINVAL;
    }
    return 0;
}

static void
export_tell(struct nbd *n)
{
    const struct nbd_export *x = &n->export;

    if (!x->flush && !x->readonly)
        blk_log(n->layer, BLK_WARN,
                "%s: the server can't flush: what it acknowledges is taken for "
                "durable",
                n->uri);
    if (!x->multi && !x->readonly && n->connections > 1)
        blk_log(n->layer, BLK_INFO,
                "%s: one connection, as the server does not promise that a "
                "flush holds for several",
                n->uri);
}

/* A process before us, that was killed, may have had writes acknowledged which
 * the server has not flushed.  Nobody can send those again: so they are made
 * durable before the next flush of the guest's says that they are. */
static void
settle(struct nbd *n)
{
    if (!n->export.flush || n->export.readonly || n->readonly ||
        blk_readonly(n->layer)) {
        blk_ready(n->layer, 0);
        return;
    }
    n->settling = true;
    cmd_flush(n);
}

static void
settled(struct nbd *n)
{
    n->settling = false;
    if (!n->own.error) {
        blk_ready(n->layer, 0);
        return;
    }
    blk_why(n->layer,
            "%s: expected a server that flushes what it was given, found: %s",
            n->uri, strerror(n->own.error));
    nbd_started(n, -n->own.error);
}

void
nbd_started(struct nbd *n, int error)
{
    if (!error)
        error = export_check(n);
    if (!error) {
        export_tell(n);
        settle(n);
        return;
    }
    n->settling = false;
    blk_timer_stop(n->layer, &n->tick);
    link_close(n);
    free_memory(n);
    blk_ready(n->layer, error);
}

static void
nbd_start(struct blk_layer *l, struct blk_layer *old)
{
    struct nbd *n = blk_self(l);

    (void)old; /* it has flushed; connections of our own are as good */
    n->layer = l;
    TAILQ_INIT(&n->waiting);
    TAILQ_INIT(&n->flying);
    TAILQ_INIT(&n->ended);
    if (kept_init(&n->writes, n->replay) || kept_init(&n->reads, READS_SIZE) ||
        latest_init(&n->latest, &n->writes)) {
        free_memory(n);
        blk_why(l, "no memory for writes that are not flushed");
        blk_ready(l, -ENOMEM);
        return;
    }
    n->began_ns = n->since_ns = blk_now(l);
    link_begin(n);
}

/* ---- pause and stop ------------------------------------------------------ */

/* What was acknowledged after that flush was sent wants another, which
 * link_pump() sends. */
void
nbd_flushed(struct nbd *n)
{
    bool more = n->writes.acked && !n->failed && n->conns;

    if (n->settling) {
        settled(n);
        return;
    }
    if (!n->pausing || more)
        return;
    n->pausing = false;
    blk_ready(n->layer, 0);
}

/* A layer that is stopped next, or a daemon that goes, can't send again what
 * the server had not made durable: so it is made so, if there is a server. */
static void
nbd_pause(struct blk_layer *l)
{
    struct nbd *n = blk_self(l);

    n->pausing = true;
    nbd_flushed(n);
    if (n->pausing)
        link_pump(n);
}

void
nbd_stopped(struct nbd *n)
{
    free_memory(n);
    blk_ready(n->layer, 0);
}

static void
nbd_stop(struct blk_layer *l)
{
    struct nbd *n = blk_self(l);

    n->stopping = true;
    blk_timer_stop(l, &n->again);
    blk_timer_stop(l, &n->tick);
    link_close(n);
    if (n->writes.acked && n->state != LINK_READY)
        blk_log(l, BLK_WARN,
                "%s: %" PRIu64 " writes that were not flushed are left to the "
                "server, which is not connected",
                n->uri, n->writes.acked);
    if (n->is_opening)
        atomic_store(&n->opening.cancel, true);
    else
        nbd_stopped(n);
}

/* ---- limits, stats, commands --------------------------------------------- */

static uint32_t
least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static void
nbd_limits(struct blk_layer *l, struct blk_limits *limits)
{
    struct nbd *n = blk_self(l);
    const struct nbd_export *x = &n->export;
    uint32_t align = nbd_align(n), most = LEN_MOST;

    if (x->most)
        most = least(most, x->most);
    most = least(most, kept_most(&n->writes));
    limits->size = x->size - x->size % align;
    limits->align = align;
    limits->block = align;
    if (x->block_best > align && x->block_best <= ALIGN_MOST &&
        is_power_of_two(x->block_best))
        limits->block = x->block_best;
    limits->max_len = most - most % align;
    limits->mem_align = 1;
    limits->discard_align = 0;
    limits->max_discard = 1u << 30;
    limits->volatile_cache = x->flush;
    limits->fua = x->fua;
    if (!x->trim)
        limits->ops &= ~BLK_BIT(BLK_DISCARD);
    if (!x->zero)
        limits->ops &= ~BLK_BIT(BLK_ZERO);
    if (x->readonly || n->readonly || blk_readonly(l)) {
        limits->readonly = true;
        limits->ops &= BLK_BIT(BLK_READ) | BLK_BIT(BLK_FLUSH);
    }
}

static void
nbd_stats(struct blk_layer *l, struct blk_out *out)
{
    struct nbd *n = blk_self(l);

    blk_put_str(out, "uri", n->uri);
    blk_put_str(out, "link", link_state_name(n->state));
    blk_put_u64(out, "open_connections", n->conns);
    blk_put_u64(out, "size", n->export.size);
    blk_put_u64(out, "unflushed_bytes", n->writes.used);
    blk_put_u64(out, "block_status", n->export.status);
    blk_put_u64(out, "failed", n->failed);
}

static int
nbd_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    struct nbd *n = blk_self(l);

    if (argc == 1 && !strcmp(argv[0], "info")) {
        nbd_stats(l, out);
        return 0;
    }
    if (argc == 1 && !strcmp(argv[0], "reconnect")) {
        if (n->state != LINK_READY) {
            blk_printf(out, "reconnect: one is already under way\n");
            return -EBUSY;
        }
        link_lost(n, "asked for by command");
        return 0;
    }
    blk_printf(out, "expected info or reconnect, found %s\n",
               argc ? argv[0] : "nothing");
    return -EINVAL;
}

BLK_PLUGIN(nbd) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct nbd),
    .req_size = sizeof(struct nbd_cmd),
    .ops = BLK_ALL_OPS,
    .tail = true,
    .name = "nbd",
    .help = "a remote disk, by the NBD protocol",
    .options = nbd_options,
    .counters = nbd_counters,
    .check = nbd_check,
    .start = nbd_start,
    .pause = nbd_pause,
    .stop = nbd_stop,
    .submit = cmd_submit,
    .map = status_map,
    .limits = nbd_limits,
    .stats = nbd_stats,
    .command = nbd_command,
    .commands = "info\n"
                "reconnect\n",
};
