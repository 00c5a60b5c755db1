/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cmd.c: one request, in the order of time: cmd_submit(), cmd_send(),
 * answered() (inside libnbd, with its lock held: nothing but a note),
 * cmds_end().
 *
 * A command is in exactly one place: in waiting, flying or ended; or, when it
 * is a write whose connection was lost, it is the owner of a kept entry, from
 * which the replay sends it again.
 */
#include "plugins/nbd/nbd.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void
fatal(struct nbd *n, const char *what, int error)
{
    if (!n->failed)
        blk_fatal(
            n->layer, -EIO,
            "%s: %s (%s): writes may be lost, no more are taken until the "
            "disk is opened again",
            n->uri, what, strerror(error));
    n->failed = true;
}

static bool
only_looks(uint8_t op)
{
    return op == BLK_READ || op == BLK_MAP;
}

/* ---- the way down -------------------------------------------------------- */

static int
answered(void *data, int *error)
{
    struct nbd_cmd *c = data;
    struct nbd *n = c->n;

    if (n->is_closing)
        return 1;
    /* It is not over: link_lost() takes it back. */
    if (*error == ENOTCONN || *error == ESHUTDOWN) {
        n->is_lost = true;
        return 1;
    }
    n->mute = false;
    c->error = *error;
    if (!c->error && c->op == BLK_READ && c->got != c->len)
        c->error = EPROTO;
    c->conn->flying--;
    TAILQ_REMOVE(&n->flying, c, link);
    cross_take(n, c);
    TAILQ_INSERT_TAIL(&n->ended, c, link);
    return 1;
}

/* libnbd sees to it that a piece is inside of the request, not that there are
 * all of them: where none is it leaves zeroes. */
static int
piece(void *data, const void *buffer, size_t len, uint64_t off, unsigned status,
      int *error)
{
    struct nbd_cmd *c = data;

    (void)buffer;
    (void)off;
    (void)error;
    if (status != LIBNBD_READ_ERROR)
        c->got += len;
    return 0;
}

/* The memory of a READ: the guest's own, where it is in one piece. */
static uint8_t *
read_buffer(struct nbd *n, struct nbd_cmd *c)
{
    const struct blk_sg *sg = &c->req->sg;

    if (sg->v[0].iov_len - sg->skip >= c->len)
        return (uint8_t *)sg->v[0].iov_base + sg->skip;
    c->kept = kept_add(&n->reads, c->len);
    return c->kept ? c->kept->data : NULL;
}

/* The data of a write is copied once, and sent and kept from there. */
static bool
write_keep(struct nbd *n, struct nbd_cmd *c)
{
    if (c->kept)
        return true;
    c->kept = kept_add(&n->writes, c->op == BLK_WRITE ? c->len : 0);
    if (!c->kept)
        return false;
    c->kept->op = c->op;
    c->kept->flags = c->flags;
    c->kept->off = c->off;
    c->kept->len = c->len;
    c->kept->owner = c;
    if (c->op == BLK_WRITE)
        blk_sg_read(&c->req->sg, 0, c->kept->data, c->len);
    return true;
}

static struct nbd_conn *
idlest(struct nbd *n)
{
    struct nbd_conn *best = &n->conn[0];
    unsigned i;

    for (i = 1; i < n->conns; i++)
        if (n->conn[i].flying < best->flying)
            best = &n->conn[i];
    return best;
}

static int64_t
call(struct nbd_cmd *c, struct nbd_handle *h, uint8_t *buffer)
{
    const nbd_completion_callback cb = { .callback = answered, .user_data = c };
    const nbd_chunk_callback each = { .callback = piece, .user_data = c };
    uint32_t fua = c->flags & BLK_FUA ? LIBNBD_CMD_FLAG_FUA : 0;

    switch (c->op) {
    case BLK_READ:
        c->got = 0;
        return nbd_aio_pread_structured(h, buffer, c->len, c->off, each, cb, 0);
    case BLK_WRITE:
        return nbd_aio_pwrite(h, c->kept->data + (c->off - c->kept->off),
                              c->len, c->off, cb, fua);
    case BLK_FLUSH:
        return nbd_aio_flush(h, cb, 0);
    case BLK_DISCARD:
        return nbd_aio_trim(h, c->len, c->off, cb, fua);
    case BLK_MAP:
        return status_call(c, h, cb);
    default:
        return nbd_aio_zero(
            h, c->len, c->off, cb,
            fua | (c->flags & BLK_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
    }
}

/* It could not be sent, and not for want of a server. */
static void
not_sent(struct nbd *n, struct nbd_cmd *c)
{
    int error = nbd_get_errno();

    TAILQ_REMOVE(&n->flying, c, link);
    cross_take(n, c);
    c->conn->flying--;
    c->error = error ? error : EIO;
    blk_log(n->layer, BLK_ERR, "%s: %s", n->uri, nbd_get_error());
    TAILQ_INSERT_TAIL(&n->ended, c, link);
}

bool
cmd_send(struct nbd *n, struct nbd_cmd *c)
{
    struct nbd_handle *h;
    uint8_t *buffer = NULL;

    c->error = 0;
    if (n->failed && !only_looks(c->op) && c->req) {
        c->error = EIO;
        TAILQ_INSERT_TAIL(&n->ended, c, link);
        return true;
    }
    if (c->op == BLK_READ && !(buffer = read_buffer(n, c)))
        return false;
    if (is_write(c->op) && !write_keep(n, c))
        return false;
    c->seq = n->writes.seq;
    c->since_ns = blk_now(n->layer);
    c->conn = idlest(n);
    h = c->conn->h;
    /* Before the call: the answer may come from inside it. */
    TAILQ_INSERT_TAIL(&n->flying, c, link);
    cross_add(n, c);
    c->conn->flying++;
    if (call(c, h, buffer) < 0 && !nbd_aio_is_dead(h) && !nbd_aio_is_closed(h))
        not_sent(n, c);
    /* A connection that breaks now tells nobody later: it has no more events.
     * Whatever the call returned, it flies, and is taken back. */
    if (nbd_aio_is_dead(h) || nbd_aio_is_closed(h))
        n->is_lost = true;
    else
        link_watch(c->conn);
    return true;
}

void
cmd_submit(struct blk_layer *l, struct blk_req *r)
{
    struct nbd *n = blk_self(l);
    struct nbd_cmd *c = r->scratch;

    if (n->gave_up || (n->failed && !only_looks(r->op))) {
        blk_end(l, r, -EIO);
        return;
    }
    if (r->op == BLK_FLUSH && !n->export.flush) {
        blk_end(l, r, 0);
        return;
    }
    memset(c, 0, sizeof *c);
    c->n = n;
    c->req = r;
    c->op = r->op;
    c->flags = r->flags;
    c->off = r->off;
    c->len = r->len;
    TAILQ_INSERT_TAIL(&n->waiting, c, link);
    n->waiting_now++;
    if (n->state == LINK_READY)
        link_pump(n);
    else
        n->waits++;
}

/* ---- the layer's own flushes, and what is sent again --------------------- */

void
cmd_flush(struct nbd *n)
{
    struct nbd_cmd *c = &n->own;

    memset(c, 0, sizeof *c);
    c->n = n;
    c->op = BLK_FLUSH;
    n->own_flying = true;
    n->own_flushes++;
    cmd_send(n, c);
}

void
cmd_make_room(struct nbd *n)
{
    if (!n->own_flying && n->writes.acked && n->state == LINK_READY)
        cmd_flush(n);
}

static struct nbd_cmd *
replay_cmd(struct nbd *n, const struct latest_part *part)
{
    struct kept_entry *e = part->e;
    unsigned i;

    /* It is whole: nothing that crosses it was sent after it. */
    if (e->owner) {
        assert(part->len == e->len);
        return e->owner;
    }
    for (i = 0; i < NBD_REPLAYS; i++) {
        struct nbd_cmd *c = &n->replays[i];

        if (c->used)
            continue;
        memset(c, 0, sizeof *c);
        c->used = true;
        c->n = n;
        c->kept = e;
        c->op = e->op;
        c->flags = e->flags;
        c->off = part->off;
        c->len = part->len;
        return c;
    }
    return NULL;
}

bool
cmd_replay(struct nbd *n, const struct latest_part *part)
{
    struct nbd_cmd *c = replay_cmd(n, part);

    if (!c)
        return false;
    n->replayed++;
    n->replayed_bytes += part->len;
    return cmd_send(n, c);
}

/* ---- the way up ---------------------------------------------------------- */

static void
replay_ended(struct nbd *n, struct nbd_cmd *c)
{
    c->used = false;
    if (c->error)
        fatal(n, "an acknowledged write can't be sent again", c->error);
}

static void
flush_ended(struct nbd *n, struct nbd_cmd *c)
{
    if (c->error)
        fatal(n, "flush failed", c->error);
    else
        kept_flushed(&n->writes, c->seq);
}

static void
write_ended(struct nbd *n, struct nbd_cmd *c)
{
    if (!c->kept)
        return;
    /* A durable one (FUA), too: one before it that is sent again would undo
     * it, were it not sent again after that. */
    if (!c->error && n->export.flush)
        kept_acked(&n->writes, c->kept);
    else
        kept_drop(&n->writes, c->kept);
    /* What it covered was not sent again on its account. */
    n->replay_over |= c->error && n->state == LINK_REPLAY;
    c->kept = NULL;
}

static void
read_ended(struct nbd *n, struct nbd_cmd *c)
{
    if (c->error == EPROTO)
        blk_log(n->layer, BLK_ERR,
                "%s: the server's answer to a read is not whole: it ends with "
                "an error",
                n->uri);
    if (!c->kept)
        return;
    if (!c->error)
        blk_sg_write(&c->req->sg, 0, c->kept->data, c->len);
    kept_drop(&n->reads, c->kept);
    c->kept = NULL;
}

static void
cmd_end(struct nbd *n, struct nbd_cmd *c)
{
    if (c->used) {
        replay_ended(n, c);
        return;
    }
    switch (c->op) {
    case BLK_READ:
        read_ended(n, c);
        break;
    case BLK_WRITE:
    case BLK_ZERO:
    case BLK_DISCARD:
        write_ended(n, c);
        break;
    case BLK_FLUSH:
        flush_ended(n, c);
        break;
    }
    if (c->req) {
        blk_end(n->layer, c->req, c->error ? -c->error : 0);
        return;
    }
    n->own_flying = false;
    nbd_flushed(n);
}

void
cmds_end(struct nbd *n)
{
    struct nbd_cmd *c;

    while ((c = TAILQ_FIRST(&n->ended))) {
        TAILQ_REMOVE(&n->ended, c, link);
        cmd_end(n, c);
    }
}

/* ---- connections lost ---------------------------------------------------- */

/* From the last to the first, so that they stand in front in their order. */
void
cmds_take_back(struct nbd *n)
{
    struct nbd_cmd *c;

    while ((c = TAILQ_LAST(&n->flying, nbd_cmds))) {
        TAILQ_REMOVE(&n->flying, c, link);
        cross_take(n, c);
        c->conn = NULL;
        if (c->used) {
            c->used = false;
            continue;
        }
        if (!c->req) {
            n->own_flying = false;
            continue;
        }
        n->again_sent++;
        if (is_write(c->op))
            continue;
        if (c->op == BLK_MAP) { /* what was told so far was true */
            TAILQ_INSERT_TAIL(&n->ended, c, link);
            continue;
        }
        if (c->kept) {
            kept_drop(&n->reads, c->kept);
            c->kept = NULL;
        }
        TAILQ_INSERT_HEAD(&n->waiting, c, link);
        n->waiting_now++;
    }
}

void
cmds_fail(struct nbd *n, int error)
{
    struct kept_entry *e, *next;
    struct nbd_cmd *c;

    for (e = kept_first(&n->writes); e; e = next) {
        next = kept_next(&n->writes, e);
        if (e->state != KEPT_FLYING)
            continue;
        c = e->owner;
        c->error = error;
        TAILQ_INSERT_TAIL(&n->ended, c, link);
    }
    while ((c = TAILQ_FIRST(&n->waiting))) {
        TAILQ_REMOVE(&n->waiting, c, link);
        n->waiting_now--;
        c->error = error;
        if (c->op == BLK_FLUSH) /* not the server's word: nothing failed */
            blk_end(n->layer, c->req, -error);
        else
            TAILQ_INSERT_TAIL(&n->ended, c, link);
    }
    cmds_end(n);
}
