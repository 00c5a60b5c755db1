/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unpack.c: compressed clusters.  They are read whole, and unpacked on a
 * worker thread: the data loop must not wait for it.
 */
#include "plugins/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    UNPACKS_MEMORY = 4 << 20, /* bytes, for so many as fit */
    UNPACKS_MAX = 16,
    UNPACKS_MIN = 2
};

/* ---- pure ---------------------------------------------------------------- */

static int
unpack_zlib(const uint8_t *in, uint32_t n, uint8_t *out, uint32_t cluster)
{
    z_stream z;
    int status;

    memset(&z, 0, sizeof(z));
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = n;
    z.next_out = out;
    z.avail_out = cluster;
    if (inflateInit2(&z, -12) != Z_OK)
        return -ENOMEM;
    status = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* What follows the stream is the next cluster's, or nothing. */
    if (status != Z_STREAM_END && status != Z_BUF_ERROR)
        return -EIO;
    return z.avail_out ? -EIO : 0;
}

static int
unpack_zstd(const uint8_t *in, uint32_t n, uint8_t *out, uint32_t cluster)
{
    ZSTD_inBuffer from = { in, n, 0 };
    ZSTD_outBuffer to = { out, cluster, 0 };
    ZSTD_DStream *z = ZSTD_createDStream();
    size_t left = 1;
    int error = 0;

    if (!z)
        return -ENOMEM;
    while (to.pos < to.size && !error) {
        size_t in_was = from.pos, out_was = to.pos;

        left = ZSTD_decompressStream(z, &to, &from);
        if (ZSTD_isError(left) || (from.pos == in_was && to.pos == out_was))
            error = -EIO;
    }
    ZSTD_freeDStream(z);
    return error;
}

int
q2_unpack_bytes(unsigned compression, const uint8_t *in, uint32_t n,
                uint8_t *out, uint32_t cluster)
{
    return compression == Q2_ZSTD ? unpack_zstd(in, n, out, cluster)
                                  : unpack_zlib(in, n, out, cluster);
}

/* ---- one cluster --------------------------------------------------------- */

static void
unpack_work(struct blk_work *w)
{
    struct q2_unpack *u = w->data;

    u->error = q2_unpack_bytes(u->compression, u->in + u->in_skip, u->in_len,
                               u->out, u->cluster);
}

static void
unpack_done(struct blk_work *w)
{
    struct q2_unpack *u = w->data;
    struct q2_wait *wait = &u->fetch->wait;

    if (u->error == -EIO)
        q2_corrupt(u->s, "a compressed cluster, entry %#" PRIx64, u->entry);
    wait->go(wait, u->error);
}

static void
unpack_read(struct q2_io *io, int error)
{
    struct q2_unpack *u = io->data;

    if (error) {
        u->fetch->wait.go(&u->fetch->wait, error);
        return;
    }
    memset(&u->work, 0, sizeof(u->work));
    u->work.work = unpack_work;
    u->work.done = unpack_done;
    u->work.data = u;
    blk_work_start(u->s->layer, &u->work);
}

void
q2_unpack_start(struct q2_unpack *u, struct q2_fetch *f, uint64_t entry)
{
    struct qcow2 *s = u->s;
    const uint64_t unit = s->image->info.direct ? s->image->info.block : 512;
    uint64_t at, len, from, to;

    u->fetch = f;
    u->entry = entry;
    q2_map_packed(s, entry, &at, &len);
    from = at & ~(unit - 1);
    to = (at + len + unit - 1) & ~(unit - 1);
    u->in_skip = (uint32_t)(at - from);
    u->in_len = (uint32_t)len;
    u->cluster = s->cluster;
    u->compression = s->h.compression;
    u->io.done = unpack_read;
    u->io.data = u;
    q2_read(s, &u->io, from, u->in, to - from);
}

/* ---- how many ------------------------------------------------------------ */

struct q2_unpack *
q2_unpack_get(struct qcow2 *s, struct q2_wait *w)
{
    struct q2_unpack *u = s->unpack_free;

    if (!u) {
        q2_queue_add(&s->unpack_wait, w);
        return NULL;
    }
    s->unpack_free = u->next;
    return u;
}

void
q2_unpack_put(struct qcow2 *s, struct q2_unpack *u)
{
    u->next = s->unpack_free;
    s->unpack_free = u;
    q2_queue_wake_one(&s->unpack_wait);
}

/* A packed cluster is at most twice as long as it was, by the bits of its
 * entry; and what is read is rounded to blocks. */
int
q2_unpack_init(struct qcow2 *s)
{
    const size_t in = 2 * (size_t)s->cluster + 3 * BLK_MEM_ALIGN;
    const size_t each =
        (in + s->cluster + BLK_MEM_ALIGN - 1) & ~(size_t)(BLK_MEM_ALIGN - 1);
    size_t n = UNPACKS_MEMORY / each;

    n = n < UNPACKS_MIN ? UNPACKS_MIN : n > UNPACKS_MAX ? UNPACKS_MAX : n;
    s->unpacks = calloc(n, sizeof(*s->unpacks));
    s->unpack_memory = q2_alloc_memory(n * each);
    if (!s->unpacks || !s->unpack_memory)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct q2_unpack *u = &s->unpacks[i];

        u->s = s;
        u->in = s->unpack_memory + i * each;
        u->out = u->in + in;
        u->next = s->unpack_free;
        s->unpack_free = u;
    }
    return 0;
}

void
q2_unpack_free(struct qcow2 *s)
{
    free(s->unpacks);
    free(s->unpack_memory);
    s->unpacks = s->unpack_free = NULL;
    s->unpack_memory = NULL;
}
