/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connect.c: a worker opens the connections to the server: looking up names,
 * TLS and the handshake may take their time.  What it opened is handed to the
 * loop as a whole, or not at all.
 */
#include "plugins/nbd/nbd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A server that accepts and then says nothing, or talks and never ends. */
enum { POLL_MS = 100, POLLS_SILENT = 100, POLLS_MOST = 10000 };

static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://",
                                       "nbds+unix://" };

const char *
nbd_uri_fault(const struct nbd *n)
{
    bool tls = !strncmp(n->uri, "nbds", 4);
    unsigned i;

    for (i = 0; i < 4; i++)
        if (!strncmp(n->uri, schemes[i], strlen(schemes[i])))
            break;
    if (i == 4)
        return "expected nbd://, nbds://, nbd+unix:// or nbds+unix://";
    if (i >= 2 && !strstr(n->uri, "?socket=") && !strstr(n->uri, "&socket="))
        return "expected ?socket=PATH, as it is nbd+unix";
    if (!tls && (n->tls_certificates || n->tls_psk || n->tls_user))
        return "expected nbds:// or nbds+unix://, as there are tls- options";
    if (n->tls_certificates && n->tls_psk)
        return "expected tls-certificates or tls-psk, found both";
    return NULL;
}

const char *
export_changed(const struct nbd_export *was, const struct nbd_export *is)
{
    if (was->size != is->size)
        return "its size";
    if (was->readonly != is->readonly)
        return "whether it may be written";
    if (is->block_min > was->block_min)
        return "its smallest block";
    if (was->most && is->most && is->most < was->most)
        return "its longest request";
    if (was->flush && !is->flush)
        return "that it can flush";
    if ((was->fua && !is->fua) || (was->trim && !is->trim) ||
        (was->zero && !is->zero))
        return "what it can do";
    if (was->multi && !is->multi)
        return "that it may have several connections";
    return NULL;
}

static void
fail(struct nbd_opening *o, int error, const char *what)
{
    o->error = error;
    snprintf(o->why, sizeof o->why, "%s: %s", o->n->uri, what);
}

/* libnbd's own words for what went wrong last in this thread. */
static void
fail_nbd(struct nbd_opening *o)
{
    int error = nbd_get_errno();
    const char *said = nbd_get_error();

    fail(o, error ? -error : -EIO, said ? said : "no reason was given");
}

static int
set_up(struct nbd_opening *o, struct nbd_handle *h)
{
    const struct nbd *n = o->n;
    int rc = nbd_set_uri_allow_transports(h, LIBNBD_ALLOW_TRANSPORT_TCP |
                                                 LIBNBD_ALLOW_TRANSPORT_UNIX);

    if (!rc)
        rc = nbd_set_uri_allow_local_file(h, true);
    if (!rc && n->tls_certificates)
        rc = nbd_set_tls_certificates(h, n->tls_certificates);
    if (!rc && n->tls_psk)
        rc = nbd_set_tls_psk_file(h, n->tls_psk);
    if (!rc && n->tls_user)
        rc = nbd_set_tls_username(h, n->tls_user);
    if (!rc)
        rc = nbd_add_meta_context(h, NBD_STATUS);
    if (!rc)
        rc = nbd_aio_connect_uri(h, n->uri);
    if (rc)
        fail_nbd(o);
    return rc;
}

/* Turns until the handshake is over, one way or the other. */
static int
shake_hands(struct nbd_opening *o, struct nbd_handle *h)
{
    unsigned silent = 0, polls = 0;

    while (!nbd_aio_is_ready(h)) {
        if (atomic_load(&o->cancel)) {
            fail(o, -ECANCELED, "the disk is being closed");
            return -1;
        }
        if (nbd_aio_is_dead(h) || nbd_aio_is_closed(h)) {
            fail(o, -ECONNRESET, "the server closed the connection");
            return -1;
        }
        switch (nbd_poll(h, POLL_MS)) {
        case -1:
            fail_nbd(o);
            return -1;
        case 0:
            silent++;
        }
        if (silent == POLLS_SILENT || ++polls == POLLS_MOST) {
            fail(o, -ETIMEDOUT, "the server accepts, but does not answer");
            return -1;
        }
    }
    return 0;
}

static uint32_t
block_size(struct nbd_handle *h, int kind)
{
    int64_t n = nbd_get_block_size(h, kind);

    return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static int
learn(struct nbd_opening *o, struct nbd_handle *h)
{
    struct nbd_export *x = &o->export;
    int64_t size = nbd_get_size(h);

    if (size < 0) {
        fail_nbd(o);
        return -1;
    }
    x->size = (uint64_t)size;
    x->block_min = block_size(h, LIBNBD_SIZE_MINIMUM);
    x->block_best = block_size(h, LIBNBD_SIZE_PREFERRED);
    x->most = block_size(h, LIBNBD_SIZE_MAXIMUM);
    x->readonly = nbd_is_read_only(h) > 0;
    x->flush = nbd_can_flush(h) > 0;
    x->fua = nbd_can_fua(h) > 0;
    x->trim = nbd_can_trim(h) > 0;
    x->zero = nbd_can_zero(h) > 0;
    x->multi = nbd_can_multi_conn(h) > 0;
    x->status =
        (!o->count || x->status) && nbd_can_meta_context(h, NBD_STATUS) > 0;
    return 0;
}

static int
connect_one(struct nbd_opening *o, struct nbd_handle **to)
{
    struct nbd_export first = o->export;
    struct nbd_handle *h = nbd_create();
    const char *changed;

    if (!h) {
        fail_nbd(o);
        return -1;
    }
    if (set_up(o, h) || shake_hands(o, h) || learn(o, h))
        goto out;
    changed = o->count ? export_changed(&first, &o->export) : NULL;
    if (changed) {
        fail(o, -ESTALE, "two connections at once do not find the same export");
        goto out;
    }
    *to = h;
    return 0;
out:
    nbd_close(h);
    return -1;
}

/* A flush on one connection covers the writes of the others only where the
 * server says so; elsewhere one connection has to do. */
void
connect_work(struct blk_work *w)
{
    struct nbd_opening *o = w->data;

    o->error = 0;
    o->count = 0;
    memset(&o->export, 0, sizeof o->export);
    while (o->count < o->want && !connect_one(o, &o->h[o->count])) {
        o->count++;
        if (!o->export.multi && !o->export.readonly)
            break;
    }
    if (!o->error)
        return;
    while (o->count)
        nbd_close(o->h[--o->count]);
}
