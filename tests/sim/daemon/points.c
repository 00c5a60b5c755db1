/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * points.c: the door between daemon and world, watched.
 *
 * The simulated host has one table of operations per kind of object, so one
 * wrapped table per kind is enough.  Stores to rings and in-flight tables are
 * wrapped by the linker (--wrap, see daemon.mk).
 */
#include "config.h"

#include "tests/sim/daemon/points.h"

#include "channel/inflight.h"
#include "channel/ring.h"
#include "tests/sim/daemon/world.h"

struct world *points_world;

static const struct loop_ops *loop_real;
static const struct tap_ops *tap_real;
static const struct store_ops *store_real;
static struct loop_ops loop_ops;
static struct tap_ops tap_ops;
static struct store_ops store_ops;

void
points_pass(void)
{
    struct world *w = points_world;

    if (!w || !w->inside)
        return;
    if (++w->points == w->kill_at) {
        w->inside = false;
        longjmp(w->out, 1);
    }
}

/* ---- loops --------------------------------------------------------------- */

static void
timer_start(struct loop *l, struct blk_timer *t, uint64_t after_ns)
{
    points_pass();
    loop_real->timer_start(l, t, after_ns);
}

static void
file_open(struct loop *l, struct blk_open *o)
{
    points_pass();
    world_opened(points_world, o->path);
    loop_real->file_open(l, o);
    points_pass();
}

static void
file_close(struct loop *l, struct blk_file *f)
{
    points_pass();
    loop_real->file_close(l, f);
    points_pass();
}

static void
io(struct loop *l, struct blk_io *i)
{
    points_pass();
    loop_real->io(l, i);
    points_pass();
}

static void
work(struct loop *l, struct blk_work *k)
{
    points_pass();
    loop_real->work(l, k);
}

static void
post(struct loop *l, struct loop_mail *m)
{
    points_pass();
    loop_real->post(l, m);
    points_pass();
}

struct loop *
points_loop(struct loop *l)
{
    if (!loop_real) {
        loop_real = l->ops;
        loop_ops = *l->ops;
        loop_ops.timer_start = timer_start;
        loop_ops.file_open = file_open;
        loop_ops.file_close = file_close;
        loop_ops.io = io;
        loop_ops.work = work;
        loop_ops.post = post;
    }
    l->ops = &loop_ops;
    return l;
}

/* ---- taps ---------------------------------------------------------------- */

static int
map(struct tap *t, uint32_t domid, const uint32_t *refs, unsigned n, void **at)
{
    int rc;

    points_pass();
    rc = tap_real->map(t, domid, refs, n, at);
    points_pass();
    return rc;
}

static void
unmap(struct tap *t, void *at, unsigned n)
{
    points_pass();
    tap_real->unmap(t, at, n);
    points_pass();
}

static int
copy(struct tap *t, struct tap_copy *c, unsigned n)
{
    int rc;

    points_pass();
    rc = tap_real->copy(t, c, n);
    points_pass();
    return rc;
}

static int
bind_port(struct tap *t, uint32_t domid, uint32_t port)
{
    int rc;

    points_pass();
    rc = tap_real->bind(t, domid, port);
    points_pass();
    return rc;
}

static void
unbind(struct tap *t, int port)
{
    points_pass();
    tap_real->unbind(t, port);
    points_pass();
}

static void
notify(struct tap *t, int port)
{
    points_pass();
    tap_real->notify(t, port);
    points_pass();
}

static void
unmask(struct tap *t, const uint32_t *ports, unsigned n)
{
    points_pass();
    tap_real->unmask(t, ports, n);
    points_pass();
}

struct tap *
points_tap(struct tap *t)
{
    if (!tap_real) {
        tap_real = t->ops;
        tap_ops = (struct tap_ops){
            .map = map,
            .unmap = unmap,
            .copy = copy,
            .bind = bind_port,
            .unbind = unbind,
            .notify = notify,
            .unmask = unmask,
            .free = tap_real->free,
        };
    }
    t->ops = &tap_ops;
    return t;
}

/* ---- XenStore ------------------------------------------------------------ */

/* Memory that the store gives is the daemon's from then on. */
static char *
store_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    char *v;

    points_pass();
    v = store_real->read(s, tx, path, len);
    alloc_adopt(v);
    return v;
}

static char **
store_list(struct store *s, store_tx tx, const char *path, unsigned *n)
{
    char **v;

    points_pass();
    v = store_real->list(s, tx, path, n);
    alloc_adopt(v);
    return v;
}

static int
store_write(struct store *s, store_tx tx, const char *path, const char *value)
{
    int rc;

    points_pass();
    rc = store_real->write(s, tx, path, value);
    points_pass();
    return rc;
}

static int
store_rm(struct store *s, store_tx tx, const char *path)
{
    int rc;

    points_pass();
    rc = store_real->rm(s, tx, path);
    points_pass();
    return rc;
}

static int
store_begin(struct store *s, store_tx *tx)
{
    points_pass();
    return store_real->begin(s, tx);
}

static int
store_end(struct store *s, store_tx tx, bool commit)
{
    int rc;

    points_pass();
    rc = store_real->end(s, tx, commit);
    points_pass();
    return rc;
}

static int
store_watch(struct store *s, const char *path, const char *token)
{
    int rc;

    points_pass();
    rc = store_real->watch(s, path, token);
    points_pass();
    return rc;
}

struct store *
points_store(struct store *s)
{
    if (!store_real) {
        store_real = s->ops;
        store_ops = *s->ops;
        store_ops.read = store_read;
        store_ops.list = store_list;
        store_ops.write = store_write;
        store_ops.rm = store_rm;
        store_ops.begin = store_begin;
        store_ops.end = store_end;
        store_ops.watch = store_watch;
    }
    s->ops = &store_ops;
    return s;
}

/* ---- stores to memory that outlives the daemon --------------------------- */

void __real_ring_take(struct ring *, uint8_t raw[BLKIF_RAW_MAX]);
void __wrap_ring_take(struct ring *, uint8_t raw[BLKIF_RAW_MAX]);
uint32_t __real_ring_respond(struct ring *, uint64_t, uint8_t, int16_t);
uint32_t __wrap_ring_respond(struct ring *, uint64_t, uint8_t, int16_t);
bool __real_ring_publish(struct ring *);
bool __wrap_ring_publish(struct ring *);
uint32_t __real_inflight_note(struct inflight *, unsigned,
                              const uint8_t raw[BLKIF_RAW_MAX]);
uint32_t __wrap_inflight_note(struct inflight *, unsigned,
                              const uint8_t raw[BLKIF_RAW_MAX]);
void __real_inflight_answer(struct inflight *, uint32_t, uint32_t);
void __wrap_inflight_answer(struct inflight *, uint32_t, uint32_t);
void __real_inflight_drop(struct inflight *, uint32_t);
void __real_inflight_mark(struct inflight *, bool);
void __wrap_inflight_mark(struct inflight *, bool);
void __real_inflight_free(struct inflight *);
void __wrap_inflight_free(struct inflight *);
void __wrap_inflight_drop(struct inflight *, uint32_t);

void
__wrap_ring_take(struct ring *r, uint8_t raw[BLKIF_RAW_MAX])
{
    points_pass();
    __real_ring_take(r, raw);
    points_pass();
}

uint32_t
__wrap_ring_respond(struct ring *r, uint64_t id, uint8_t op, int16_t status)
{
    uint32_t index;

    points_pass();
    index = __real_ring_respond(r, id, op, status);
    points_pass();
    return index;
}

bool
__wrap_ring_publish(struct ring *r)
{
    bool notifies;

    points_pass();
    notifies = __real_ring_publish(r);
    points_pass();
    return notifies;
}

static void
table_seen(struct inflight *f)
{
    struct world *w = points_world;
    unsigned i;

    for (i = 0; i < w->inflights && w->inflight[i] != f; i++)
        ;
    if (i == w->inflights && i < WORLD_TABLES)
        w->inflight[w->inflights++] = f;
}

void
__wrap_inflight_free(struct inflight *f)
{
    struct world *w = points_world;

    for (unsigned i = 0; w && i < w->inflights; i++) {
        if (w->inflight[i] == f)
            w->inflight[i] = w->inflight[--w->inflights];
    }
    __real_inflight_free(f);
}

unsigned
world_inflight(const struct world *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->inflights; i++)
        n += w->inflight[i]->n - w->inflight[i]->spares;
    return n;
}

uint32_t
__wrap_inflight_note(struct inflight *f, unsigned queue,
                     const uint8_t raw[BLKIF_RAW_MAX])
{
    uint32_t entry;

    table_seen(f);
    points_pass();
    entry = __real_inflight_note(f, queue, raw);
    points_pass();
    return entry;
}

void
__wrap_inflight_mark(struct inflight *f, bool lossy)
{
    points_pass();
    __real_inflight_mark(f, lossy);
    points_pass();
}

void
__wrap_inflight_answer(struct inflight *f, uint32_t entry, uint32_t rsp)
{
    points_pass();
    __real_inflight_answer(f, entry, rsp);
    points_pass();
}

void
__wrap_inflight_drop(struct inflight *f, uint32_t entry)
{
    points_pass();
    __real_inflight_drop(f, entry);
    points_pass();
}
