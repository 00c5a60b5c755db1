/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt_open.c: from a header and a person's key to the key of the data.
 *
 *   loop    open the detached header, if there is one
 *   loop    read the header into memory: from it, or from the layer below
 *   loop    wait until nobody else in the process is at it
 *   worker  load it
 *   loop    read the key slots in use, too
 *   worker  get the person's key; derive what opens a slot (seconds, and up to
 *           kdf-memory); open one
 *   loop    done
 *
 * One at a time: a derivation takes as much memory as its header says, and
 * libcryptsetup promises nothing about threads.
 */
#include "plugins/crypt/crypt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_AGAIN_NS 10000000ull
enum { OPEN_PIECE = 1 << 20 }; /* bytes that are read at a time */

static atomic_bool taken; /* the turn */

bool
crypt_opens(void)
{
    return atomic_load_explicit(&taken, memory_order_relaxed);
}

static void
over(struct crypt_opening *o, int error)
{
    struct blk_layer *l = o->layer;
    struct crypt *d = blk_self(l);

    luks_close(&o->luks);
    if (o->turn)
        atomic_store(&taken, false);
    if (o->open.file)
        blk_file_close(l, o->open.file);
    if (o->copy)
        blk_memory_free(l, o->copy, o->size, o->fd);
    if (error && o->why[0])
        blk_why(l, "%s", o->why);
    d->opening = NULL;
    free(o);
    crypt_ready(l, error);
}

/* ---- reading ------------------------------------------------------------- */

static void read_more(struct crypt_opening *);

static void
read_failed(struct crypt_opening *o, int error)
{
    snprintf(o->why, sizeof(o->why), "can't read the header: %s",
             strerror(-error));
    over(o, error);
}

static void
file_read(struct blk_io *io)
{
    struct crypt_opening *o = io->data;

    if (io->status < 0) {
        read_failed(o, (int)io->status);
        return;
    }
    o->off += io->len;
    read_more(o);
}

void
crypt_opened(struct blk_layer *l, struct blk_req *r)
{
    struct crypt *d = blk_self(l);
    const uint32_t len = r->len;
    const int error = r->error;

    blk_end(l, r, 0);
    if (error) {
        read_failed(d->opening, error);
        return;
    }
    d->opening->off += len;
    read_more(d->opening);
}

/* The next piece of [off, end). */
static void
read_more(struct crypt_opening *o)
{
    const struct blk_limits *below = blk_below(o->layer);
    uint64_t n = o->end - o->off;
    struct blk_req *r;

    if (o->off >= o->end) {
        o->next(o);
        return;
    }
    if (n > OPEN_PIECE)
        n = OPEN_PIECE;
    if (!o->open.file && n > below->max_len)
        n = below->max_len;
    o->v.iov_base = o->copy + o->off;
    o->v.iov_len = n;
    if (o->open.file) {
        o->io = (struct blk_io){ .op = BLK_IO_READ,
                                 .file = o->open.file,
                                 .off = o->off,
                                 .len = n,
                                 .iov = &o->v,
                                 .n = 1,
                                 .done = file_read,
                                 .data = o };
        blk_io_start(o->layer, &o->io);
        return;
    }
    r = blk_new(o->layer, BLK_READ, o->off, (uint32_t)n,
                (struct blk_sg){ .v = &o->v, .n = 1 });
    if (r)
        blk_down(o->layer, r);
    else
        read_failed(o, -ENOMEM);
}

/* Whole pages, or blocks of the layer below, around [off, off + len). */
static void
read_range(struct crypt_opening *o, uint64_t off, uint64_t len,
           void (*next)(struct crypt_opening *))
{
    uint64_t unit = blk_below(o->layer)->align;

    if (unit < LUKS_HEAD)
        unit = LUKS_HEAD;
    o->off = off - off % unit;
    o->end = off + len + unit - 1;
    o->end -= o->end % unit;
    if (o->end > o->size)
        o->end = o->size;
    o->next = next;
    read_more(o);
}

/* ---- the steps ----------------------------------------------------------- */

static void
start_work(struct crypt_opening *o, void (*work)(struct blk_work *),
           void (*done)(struct blk_work *))
{
    o->work.work = work;
    o->work.done = done;
    o->work.data = o;
    blk_work_start(o->layer, &o->work);
}

static void
unlock(struct blk_work *w)
{
    struct crypt_opening *o = w->data;
    struct crypt *d = blk_self(o->layer);
    struct key k;

    o->error = key_get(&k, &d->from, o->why, sizeof(o->why));
    if (o->error)
        return;
    o->error = luks_unlock(&o->luks, &k, d->key, o->why, sizeof(o->why));
    key_drop(&k);
}

static void
unlocked(struct blk_work *w)
{
    struct crypt_opening *o = w->data;
    struct crypt *d = blk_self(o->layer);
    const struct luks *h = &o->luks;

    d->data = h->data;
    d->iv = h->iv;
    d->sector = h->sector;
    d->key_len = h->key_len;
    d->luks = (uint64_t)h->version;
    over(o, o->error);
}

/* Each key slot in use, and then on. */
static void
read_areas(struct crypt_opening *o)
{
    const struct luks_area *a = &o->luks.area[o->area];

    if (o->area == o->luks.areas) {
        start_work(o, unlock, unlocked);
        return;
    }
    o->area++;
    read_range(o, a->off, a->len, read_areas);
}

static void
load(struct blk_work *w)
{
    struct crypt_opening *o = w->data;

    o->error =
        luks_load(&o->luks, o->fd, o->copy, o->size, o->why, sizeof(o->why));
}

static void
loaded(struct blk_work *w)
{
    struct crypt_opening *o = w->data;

    if (o->error)
        over(o, o->error);
    else
        read_areas(o);
}

static void wait_for_turn(struct crypt_opening *);

static void
turn_again(struct blk_timer *t)
{
    wait_for_turn(t->data);
}

static void
wait_for_turn(struct crypt_opening *o)
{
    if (!atomic_exchange(&taken, true)) {
        o->turn = true;
        start_work(o, load, loaded);
        return;
    }
    o->again.fire = turn_again;
    o->again.data = o;
    blk_timer_start(o->layer, &o->again, OPEN_AGAIN_NS);
}

static void
read_header(struct crypt_opening *o)
{
    read_range(o, 0, luks_first(o->copy, o->size), wait_for_turn);
}

/* There is a place of size bytes that begins with the header. */
static void
begin_luks(struct crypt_opening *o, uint64_t size)
{
    uint64_t unit = blk_below(o->layer)->align;
    void *copy;
    int error;

    if (unit < LUKS_HEAD)
        unit = LUKS_HEAD;
    if (size < unit) {
        snprintf(o->why, sizeof(o->why),
                 "expected a LUKS header, found only %" PRIu64 " bytes: make "
                 "one with cryptsetup luksFormat, or name it by the option "
                 "header",
                 size);
        over(o, -EINVAL);
        return;
    }
    o->size =
        size < LUKS_SIZE_MAX ? (size_t)(size - size % unit) : LUKS_SIZE_MAX;
    error = blk_memory(o->layer, o->size, &copy, &o->fd);
    if (error) {
        snprintf(o->why, sizeof(o->why), "no memory for the header: %s",
                 strerror(-error));
        over(o, error);
        return;
    }
    o->copy = copy;
    read_range(o, 0, LUKS_HEAD, read_header);
}

static void
header_open(struct blk_open *open)
{
    struct crypt_opening *o = open->data;

    if (open->status) {
        snprintf(o->why, sizeof(o->why), "header: %s", open->why);
        open->file = NULL;
        over(o, open->status);
        return;
    }
    /* What is behind the last whole page is nothing but padding; what is
     * missing of it reads as zeroes. */
    begin_luks(o, (open->info.size + LUKS_HEAD - 1) / LUKS_HEAD * LUKS_HEAD);
}

/* ---- without a header ---------------------------------------------------- */

static void
take_plain(struct blk_work *w)
{
    struct crypt_opening *o = w->data;
    struct crypt *d = blk_self(o->layer);
    struct key k;

    o->error = key_get(&k, &d->from, o->why, sizeof(o->why));
    if (o->error)
        return;
    if (k.len == 32 || k.len == 64) {
        memcpy(d->key, k.bytes, k.len);
        d->key_len = k.len;
    } else {
        o->error = -EINVAL;
        snprintf(o->why, sizeof(o->why),
                 "%s: expected 32 or 64 bytes, the key itself, found %zu",
                 k.name, k.len);
    }
    key_drop(&k);
}

static void
plain_taken(struct blk_work *w)
{
    struct crypt_opening *o = w->data;
    struct crypt *d = blk_self(o->layer);

    d->data = d->plain_offset;
    d->sector = (uint32_t)d->plain_sector;
    over(o, o->error);
}

void
crypt_open(struct blk_layer *l)
{
    struct crypt *d = blk_self(l);
    struct crypt_opening *o = calloc(1, sizeof(*o));

    d->key = blk_secret_map(LUKS_KEY_BYTES);
    if (!o || !d->key) {
        blk_why(l, "%s",
                d->key ? "no memory"
                       : "can't lock memory for the key: raise the limit of "
                         "locked memory (LimitMEMLOCK= of the unit)");
        free(o);
        crypt_ready(l, -ENOMEM);
        return;
    }
    d->opening = o;
    o->layer = l;
    o->fd = -1;
    o->luks.memory_max = d->kdf_memory;
    o->luks.detached = d->header != NULL;
    if (d->mode == CRYPT_MODE_PLAIN) {
        start_work(o, take_plain, plain_taken);
    } else if (d->header) {
        o->open.path = d->header;
        o->open.flags = BLK_FILE_RDONLY;
        o->open.done = header_open;
        o->open.data = o;
        blk_file_open(l, &o->open);
    } else {
        begin_luks(o, blk_below(l)->size);
    }
}
