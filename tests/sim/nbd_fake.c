/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/nbd_fake.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>

#include "tests/test.h"

enum { HANDLES = 64, SERVERS = 8, FD = 1000 };
enum { DELAY_NS = 400000, DOWN_NS = 40000000 };
enum op { OP_READ, OP_WRITE, OP_FLUSH, OP_ZERO, OP_MAP };
enum { GRAIN = 512, EXTENTS = 64 }; /* of a map */

struct command {
    struct command *next;
    struct nbd_handle *h; /* NULL: nobody waits for it any more */
    enum op op;
    uint64_t off, len;
    uint8_t *data; /* WRITE: its own */
    void *to;      /* READ */
    nbd_completion_callback cb;
    nbd_chunk_callback chunk;
    nbd_extent_callback extent;
    uint32_t *extents; /* MAP */
    size_t extents_n;
    bool over;
    int error;
};

struct server {
    char file[16];
    uint64_t down_until;
    bool flushed; /* since the client is connected */
    bool lost;    /* it died, and its client has not sent all again */
};

struct nbd_handle {
    bool used, dead;
    struct server *server; /* NULL: it was not connected yet */
};

static struct {
    struct sim *sim;
    struct nbd_fake_count count;
    struct server server[SERVERS];
    struct nbd_handle handle[HANDLES];
    struct command *first;
    uint64_t refused; /* 0: none */
    bool flush_refused;
} peer;

static int
handle_fd(const struct nbd_handle *h)
{
    return FD + (int)(h - peer.handle);
}

/* ---- servers ------------------------------------------------------------- */

static struct server *
server_of(const char *file)
{
    struct server *s = peer.server;

    while (s->file[0] && strcmp(s->file, file))
        REQUIRE(++s < peer.server + SERVERS);
    snprintf(s->file, sizeof(s->file), "%s", file);
    return s;
}

static bool
is_zero(struct server *s, uint64_t off)
{
    uint8_t bytes[GRAIN];

    sim_file_get(peer.sim, s->file, off, bytes, GRAIN);
    return !bytes[0] && !memcmp(bytes, bytes + 1, GRAIN - 1);
}

/* Zeroes may be called data; the end may be left to another question, or the
 * last extent be longer than asked for. */
static void
execute_map(struct command *c, struct server *s)
{
    uint32_t *e = calloc(EXTENTS + 1, 2 * sizeof(*e));
    uint64_t at = 0;
    size_t n = 0;

    REQUIRE(e);
    for (; at < c->len && n < EXTENTS; at += GRAIN) {
        uint32_t flags = is_zero(s, c->off + at) && sim_below(peer.sim, 8)
                             ? LIBNBD_STATE_ZERO | LIBNBD_STATE_HOLE
                             : 0;

        if (!n || flags != e[2 * n - 1])
            e[2 * n++ + 1] = flags;
        e[2 * n - 2] += GRAIN;
        if (!sim_below(peer.sim, 100))
            break;
    }
    if (at >= c->len && !sim_below(peer.sim, 3))
        e[2 * n - 2] += 65536;
    c->extents = e;
    c->extents_n = 2 * n;
}

static void
execute(struct command *c, struct server *s)
{
    switch (c->op) {
    case OP_MAP:
        execute_map(c, s);
        break;
    case OP_READ:
        sim_file_get(peer.sim, s->file, c->off, c->to, c->len);
        break;
    case OP_WRITE:
        if (peer.refused && !memcmp(c->data, &peer.refused, 8)) {
            c->error = EIO;
            peer.refused = 0;
            break;
        }
        __attribute__((fallthrough));
    case OP_ZERO:
        sim_file_write(peer.sim, s->file, c->off, c->data, c->len);
        break;
    case OP_FLUSH:
        if (peer.flush_refused) {
            c->error = EIO;
            peer.flush_refused = false;
            break;
        }
        sim_file_sync(peer.sim, s->file);
        s->flushed = true;
        break;
    }
    c->over = true;
}

static void
command_free(struct command *c)
{
    struct command **p = &peer.first;

    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    free(c->data);
    free(c->extents);
    free(c);
}

/* Its time has come; what was settled before is only waited for. */
static void
turn(void *data)
{
    struct command *c = data;

    if (!c->h) {
        command_free(c);
        return;
    }
    execute(c, c->h->server);
    sim_fd_ready(peer.sim, handle_fd(c->h), POLLIN);
}

/* Nobody waits for these, and each was done or is not. */
static void
settle(struct nbd_handle *h)
{
    struct command *c, *next;

    for (c = peer.first; c; c = next) {
        next = c->next;
        if (c->h != h)
            continue;
        c->h = NULL;
        if (c->over)
            command_free(c); /* its turn has been */
        else if (c->op != OP_READ && c->op != OP_MAP && sim_below(peer.sim, 2))
            execute(c, h->server);
    }
}

void
nbd_fake_break(const char *file)
{
    struct server *s = server_of(file);
    uint64_t were = peer.count.breaks;

    for (unsigned i = 0; i < HANDLES; i++) {
        struct nbd_handle *h = &peer.handle[i];

        if (!h->used || h->dead || h->server != s)
            continue;
        settle(h);
        h->dead = true;
        peer.count.breaks++;
        sim_fd_ready(peer.sim, handle_fd(h), POLLIN | POLLHUP);
    }
    /* Else it might be down at each try of its client, and these get rare. */
    if (peer.count.breaks == were)
        return;
    s->flushed = false;
    s->down_until = sim_now(peer.sim) + sim_below(peer.sim, DOWN_NS);
}

void
nbd_fake_die(const char *file)
{
    nbd_fake_break(file);
    server_of(file)->lost = true;
    peer.count.deaths++;
    sim_file_power(peer.sim, file);
}

void
nbd_fake_refuse(uint64_t word)
{
    peer.refused = word;
}

void
nbd_fake_refuse_flush(void)
{
    peer.flush_refused = true;
}

bool
nbd_fake_has_flushed(const char *file)
{
    return server_of(file)->flushed;
}

bool
nbd_fake_has_lost(const char *file)
{
    bool has = false;

    for (const struct server *s = peer.server; s < peer.server + SERVERS; s++)
        has |= s->lost && (!file || !strcmp(s->file, file));
    return has;
}

struct nbd_fake_count
nbd_fake_count(void)
{
    return peer.count;
}

void
nbd_fake_client_gone(void)
{
    for (unsigned i = 0; i < HANDLES; i++) {
        if (peer.handle[i].used)
            settle(&peer.handle[i]);
        peer.handle[i].used = false;
    }
    for (unsigned i = 0; i < SERVERS; i++)
        peer.server[i].flushed = peer.server[i].lost = false;
    while (peer.first) /* their turns go with the world's events */
        command_free(peer.first);
}

void
nbd_fake_world(struct sim *sim)
{
    memset(&peer, 0, sizeof(peer));
    peer.sim = sim;
}

/* ---- the library --------------------------------------------------------- */

static int64_t
submit(struct nbd_handle *h, const struct command *like, const void *data)
{
    struct command *c;

    if (h->dead)
        return -1;
    /* What it does when all was sent again. */
    if (like->op == OP_READ || like->op == OP_FLUSH)
        h->server->lost = false;
    c = calloc(1, sizeof(*c));
    REQUIRE(c);
    *c = *like;
    c->h = h;
    if (c->op == OP_WRITE || c->op == OP_ZERO) {
        c->data = calloc(1, c->len);
        REQUIRE(c->data);
        if (data)
            memcpy(c->data, data, c->len);
    }
    c->next = peer.first;
    peer.first = c;
    sim_after(peer.sim, 1000 + sim_below(peer.sim, DELAY_NS), turn, c);
    return 1;
}

int64_t
nbd_aio_pread_structured(struct nbd_handle *h, void *buf, size_t count,
                         uint64_t offset, nbd_chunk_callback chunk,
                         nbd_completion_callback cb, uint32_t flags)
{
    const struct command c = { .op = OP_READ,
                               .off = offset,
                               .len = count,
                               .to = buf,
                               .cb = cb,
                               .chunk = chunk };

    (void)flags;
    return submit(h, &c, NULL);
}

int64_t
nbd_aio_pwrite(struct nbd_handle *h, const void *buf, size_t count,
               uint64_t offset, nbd_completion_callback cb, uint32_t flags)
{
    const struct command c = {
        .op = OP_WRITE, .off = offset, .len = count, .cb = cb
    };

    (void)flags;
    return submit(h, &c, buf);
}

int64_t
nbd_aio_flush(struct nbd_handle *h, nbd_completion_callback cb, uint32_t flags)
{
    const struct command c = { .op = OP_FLUSH, .cb = cb };

    (void)flags;
    return submit(h, &c, NULL);
}

int64_t
nbd_aio_zero(struct nbd_handle *h, uint64_t count, uint64_t offset,
             nbd_completion_callback cb, uint32_t flags)
{
    const struct command c = {
        .op = OP_ZERO, .off = offset, .len = count, .cb = cb
    };

    (void)flags;
    return submit(h, &c, NULL);
}

int64_t
nbd_aio_trim(struct nbd_handle *h, uint64_t count, uint64_t offset,
             nbd_completion_callback cb, uint32_t flags)
{
    return nbd_aio_zero(h, count, offset, cb, flags);
}

int64_t
nbd_aio_block_status(struct nbd_handle *h, uint64_t count, uint64_t offset,
                     nbd_extent_callback extent, nbd_completion_callback cb,
                     uint32_t flags)
{
    const struct command c = {
        .op = OP_MAP, .off = offset, .len = count, .cb = cb, .extent = extent
    };

    (void)flags;
    return submit(h, &c, NULL);
}

int
nbd_aio_notify_read(struct nbd_handle *h)
{
    struct command *c, *next;

    if (h->dead)
        return -1;
    for (c = peer.first; c; c = next) {
        int error = c->error;

        next = c->next;
        if (c->h != h || !c->over)
            continue;
        if (c->op == OP_READ)
            c->chunk.callback(c->chunk.user_data, c->to, c->len, c->off,
                              LIBNBD_READ_DATA, &error);
        if (c->op == OP_MAP)
            c->extent.callback(c->extent.user_data,
                               LIBNBD_CONTEXT_BASE_ALLOCATION, c->off,
                               c->extents, c->extents_n, &error);
        c->cb.callback(c->cb.user_data, &error);
        command_free(c);
    }
    return 0;
}

int
nbd_aio_notify_write(struct nbd_handle *h)
{
    return h->dead ? -1 : 0;
}

struct nbd_handle *
nbd_create(void)
{
    for (unsigned i = 0; i < HANDLES; i++) {
        if (peer.handle[i].used)
            continue;
        peer.handle[i] = (struct nbd_handle){ .used = true };
        return &peer.handle[i];
    }
    return NULL;
}

void
nbd_close(struct nbd_handle *h)
{
    settle(h);
    if (h->server && !h->dead) /* on purpose: nothing is kept any more */
        h->server->flushed = false;
    h->used = false;
}

int
nbd_aio_connect_uri(struct nbd_handle *h, const char *uri)
{
    static const char at[] = "nbd://server";

    REQUIRE(!strncmp(uri, at, sizeof(at) - 1));
    uri += sizeof(at) - 1;
    h->server = server_of(*uri ? uri : "/server");
    h->dead = sim_now(peer.sim) < h->server->down_until;
    return h->dead ? -1 : 0;
}

int
nbd_aio_is_ready(struct nbd_handle *h)
{
    return !h->dead;
}

int
nbd_aio_is_dead(struct nbd_handle *h)
{
    return h->dead;
}

int
nbd_aio_is_closed(struct nbd_handle *h)
{
    (void)h;
    return 0;
}

unsigned
nbd_aio_get_direction(struct nbd_handle *h)
{
    (void)h;
    return LIBNBD_AIO_DIRECTION_READ;
}

int
nbd_aio_get_fd(struct nbd_handle *h)
{
    return handle_fd(h);
}

int64_t
nbd_get_size(struct nbd_handle *h)
{
    return sim_file_size(peer.sim, h->server->file);
}

const char *
nbd_get_error(void)
{
    return "the server is gone";
}

int
nbd_get_errno(void)
{
    return ECONNRESET;
}

/* What has one answer. */
#define ANSWER(type, name, what)    \
    type name(struct nbd_handle *h) \
    {                               \
        (void)h;                    \
        return what;                \
    }
ANSWER(int, nbd_is_read_only, 0)
ANSWER(int, nbd_can_flush, 1)
ANSWER(int, nbd_can_fua, 0)
ANSWER(int, nbd_can_trim, 1)
ANSWER(int, nbd_can_zero, 1)
ANSWER(int, nbd_can_multi_conn, 1)

#define SETTER(name, type)                     \
    int name(struct nbd_handle *h, type value) \
    {                                          \
        (void)h;                               \
        (void)value;                           \
        return 0;                              \
    }
SETTER(nbd_set_uri_allow_transports, uint32_t)
SETTER(nbd_set_uri_allow_local_file, bool)
SETTER(nbd_set_tls_certificates, const char *)
SETTER(nbd_set_tls_psk_file, const char *)
SETTER(nbd_set_tls_username, const char *)
SETTER(nbd_add_meta_context, const char *)
SETTER(nbd_poll, int)
SETTER(nbd_aio_disconnect, uint32_t)

int64_t
nbd_get_block_size(struct nbd_handle *h, int kind)
{
    (void)h;
    (void)kind;
    return 0;
}

int
nbd_can_meta_context(struct nbd_handle *h, const char *name)
{
    (void)h;
    return !strcmp(name, LIBNBD_CONTEXT_BASE_ALLOCATION);
}
