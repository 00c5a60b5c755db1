/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * status.c: where the server has data, as its block status tells it.
 *
 * Without a server nothing is told, and nothing waits for one: a server that
 * comes back is told first what it may have lost, and only then knows.
 *
 * An answer may be short, and its last extent may reach beyond what was asked.
 * Anything else that is odd is an error of this one request.
 */
#include "plugins/nbd/nbd.h"

#include <errno.h>
#include <string.h>

/* In an answer: pairs of a length and of what it is. */
enum { STATUS_WORDS = 2 };

static int
status_wrong(struct nbd_cmd *c, int *error, const char *what)
{
    blk_log(c->n->layer, BLK_ERR,
            "%s: the server's block status has %s: it ends with an error",
            c->n->uri, what);
    *error = EPROTO;
    return -1;
}

/* NULL, or what is wrong with it. */
static const char *
status_fault(const struct nbd_cmd *c, const uint32_t *v, size_t n)
{
    uint64_t at = 0;
    size_t i;

    if (c->told)
        return "a second answer";
    for (i = 0; i + 1 < n; i += STATUS_WORDS) {
        if (!v[i])
            return "an extent of no length";
        if (at >= c->len)
            return "an extent behind what was asked for";
        at += v[i];
    }
    return NULL;
}

/* Inside libnbd.  All of it is judged before anything is told. */
static int
status_said(void *data, const char *context, uint64_t off, uint32_t *v,
            size_t n, int *error)
{
    struct nbd_cmd *c = data;
    const char *fault;
    size_t i;

    (void)off;
    if (strcmp(context, NBD_STATUS))
        return 0;
    fault = status_fault(c, v, n);
    if (fault)
        return status_wrong(c, error, fault);
    c->told = true;
    for (i = 0; i + 1 < n; i += STATUS_WORDS) {
        bool zero = v[i + 1] & LIBNBD_STATE_ZERO;

        if (!blk_map(c->n->layer, c->req, v[i], zero ? BLK_ZEROES : BLK_DATA))
            break;
    }
    return 0;
}

int64_t
status_call(struct nbd_cmd *c, struct nbd_handle *h, nbd_completion_callback cb)
{
    const nbd_extent_callback each = { .callback = status_said,
                                       .user_data = c };

    return nbd_aio_block_status(h, c->len, c->off, each, cb, 0);
}

void
status_map(struct blk_layer *l, struct blk_req *r)
{
    const struct nbd *n = blk_self(l);

    if (n->state != LINK_READY || !n->export.status)
        blk_end(l, r, 0);
    else
        cmd_submit(l, r);
}
