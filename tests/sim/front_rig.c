/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>

#include "tests/sim/front_rig.h"

/* ---- the back-end: requests ---------------------------------------------- */

struct job {
    struct rig *rig;
    struct chan_io *io;
};

/* Its disk has a cache: what was written is on the medium when a flush comes
 * after it, and not before. */
static void
make_durable(struct rig *r)
{
    for (size_t i = 0; i < sizeof r->dirty; i++) {
        if (r->dirty[i])
            memcpy(r->medium + i * 512, r->disk + i * 512, 512);
    }
    memset(r->dirty, 0, sizeof r->dirty);
}

static void
job_over(void *data)
{
    struct job *j = data;
    struct rig *r = j->rig;
    const struct chan_io *io = j->io;

    if (io->op == BLK_WRITE)
        memcpy(r->disk + io->off, io->iov.iov_base, io->len);
    else if (io->op == BLK_READ)
        memcpy(io->iov.iov_base, r->disk + io->off, io->len);
    else if (io->op == BLK_DISCARD)
        memset(r->disk + io->off, 0, io->len);
    else
        r->flushes++;
    if (io->op == BLK_WRITE || io->op == BLK_DISCARD)
        memset(r->dirty + io->off / 512, 1, io->len / 512);
    r->pending--;
    r->served++;
    chan_complete(j->io, 0);
    free(j);
}

static void
request(void *ctx, struct chan_io *io)
{
    struct rig *r = ctx;
    struct job *j = malloc(sizeof *j);

    REQUIRE(j);
    j->rig = r;
    j->io = io;
    r->pending++;
    if (io->op == BLK_FLUSH)
        make_durable(r);
    if (r->mute) /* longer than any test */
        sim_after(r->sim, 3600 * 1000 * MS, job_over, j);
    else
        sim_after(r->sim, sim_below(r->sim, r->delay_ns), job_over, j);
}

static void
broken(void *ctx, const char *why)
{
    (void)ctx;
    printf("the front-end broke the ring: %s\n", why);
    test_failures++;
}

static const struct chan_ops chan_ops = { .request = request,
                                          .broken = broken };

/* ---- the back-end: states ------------------------------------------------ */

void
back_state(struct rig *r, int state)
{
    r->state = state;
    sim_store_write(r->sim, BACK "/state", "%d", state);
}

uint32_t
front_node(struct rig *r, const char *leaf)
{
    char path[128];
    const char *v;

    snprintf(path, sizeof path, FRONT "/%s", leaf);
    v = sim_store_read(r->sim, path);
    return v ? (uint32_t)strtoul(v, NULL, 10) : UINT32_MAX;
}

int
front_state(struct rig *r)
{
    return (int)front_node(r, "state");
}

void
back_nodes(struct rig *r)
{
    struct sim *s = r->sim;

    sim_store_write(s, BACK "/max-ring-page-order", "%u", r->order);
    sim_store_write(s, BACK "/multi-queue-max-queues", "%u", r->queues);
    sim_store_write(s, BACK "/feature-max-indirect-segments", "%u",
                    r->segments);
    sim_store_write(s, BACK "/feature-flush-cache", "%d", !r->no_flush);
    sim_store_write(s, BACK "/feature-discard", "1");
    sim_store_write(s, BACK "/discard-granularity", "4096");
    sim_store_write(s, BACK "/sectors", "%u", (unsigned)(r->size / 512));
    sim_store_write(s, BACK "/sector-size", "%u", r->sector ? r->sector : 512);
    sim_store_write(s, BACK "/info", "%d", r->readonly ? 4 : 0);
}

static void
read_ring(struct rig *r, struct chan_params *p, unsigned queue, bool order)
{
    const char *dir = "";
    char leaf[64], name[24];

    if (p->queues > 1) {
        snprintf(name, sizeof name, "queue-%u/", queue);
        dir = name;
    }
    snprintf(leaf, sizeof leaf, "%sevent-channel", dir);
    p->queue[queue].port = front_node(r, leaf);
    for (unsigned i = 0; i < 1u << p->order; i++) {
        snprintf(leaf, sizeof leaf, "%sring-ref%u", dir, i);
        if (!order)
            snprintf(leaf, sizeof leaf, "%sring-ref", dir);
        p->queue[queue].refs[i] = front_node(r, leaf);
    }
}

static void
read_nodes(struct rig *r, struct chan_params *p)
{
    uint32_t order = front_node(r, "ring-page-order");
    uint32_t queues = front_node(r, "multi-queue-num-queues");

    *p = (struct chan_params){ .domid = OURS,
                               .queues = 1,
                               .size = r->size,
                               .align = 512,
                               .max_indirect = r->segments,
                               .discard = true,
                               .buffer_max = 4 << 20,
                               .nonce = 1 };
    p->order = order == UINT32_MAX ? 0 : order;
    p->queues = queues == UINT32_MAX ? 1 : queues;
    for (unsigned i = 0; i < p->queues && i < CHAN_QUEUES_MAX; i++)
        read_ring(r, p, i, order != UINT32_MAX);
}

static void
connect_ring(struct rig *r, const struct chan_params *p)
{
    char why[200];

    if (r->pending) {
        r->refused++;
        back_state(r, 5);
        return;
    }
    r->connected = p->queues;
    if (!p->queues || p->queues > r->queues || p->order > r->order ||
        chan_open(&r->chan, r->sweep, p, &chan_ops, r, -1, why, sizeof why)) {
        r->chan = NULL;
        r->unable++;
        back_state(r, 5);
        return;
    }
    back_nodes(r);
    back_state(r, 4);
}

static void
connect_now(struct rig *r)
{
    struct chan_params p;

    read_nodes(r, &p);
    connect_ring(r, &p);
}

void
back_drop(struct rig *r)
{
    if (r->chan)
        chan_close(r->chan);
    r->chan = NULL;
}

static void
note_state(struct rig *r, int fe)
{
    size_t n = strlen(r->shown);

    if (n + 1 < sizeof r->shown && (!n || r->shown[n - 1] != '0' + fe))
        r->shown[n] = (char)('0' + fe);
}

static void
front_changed(void *ctx, const char *path, const char *token)
{
    struct rig *r = ctx;
    int fe = front_state(r);

    (void)path;
    (void)token;
    note_state(r, fe);
    if (r->late)
        return;
    if (fe == 1 && r->state == 6)
        back_state(r, 2);
    if ((fe == 3 || fe == 4) && r->state == 2) {
        if (r->instead)
            r->instead(r);
        else
            connect_now(r);
    }
    if (fe == 5 && (r->state == 4 || r->state == 2))
        back_state(r, 5);
    if (fe == 6 && r->state != 6 && r->state) {
        back_drop(r);
        back_state(r, 6);
    }
}

static void
probe(void *data)
{
    front_changed(data, "", "");
}

void
back_reload(struct rig *r)
{
    back_drop(r);
    back_state(r, 2);
    sim_after(r->sim, sim_below(r->sim, MS / 4), probe, r);
}

static void
connect_late(void *data)
{
    struct rig *r = data;

    r->late = false;
    connect_ring(r, &r->late_nodes);
    front_changed(r, "", "");
}

void
back_reload_late(struct rig *r, uint64_t ns)
{
    back_drop(r);
    r->late = true;
    read_nodes(r, &r->late_nodes);
    back_state(r, 2);
    sim_after(r->sim, ns, connect_late, r);
}

static void
back_make(struct rig *r, uint64_t seed)
{
    r->back_loop = sim_loop_new(r->sim, "back");
    r->tap = sim_tap_new(r->sim, r->back_loop);
    REQUIRE(!sweep_new(&r->sweep, r->tap));
    r->disk = calloc(1, DISK_SIZE);
    r->medium = calloc(1, DISK_SIZE);
    REQUIRE(r->disk && r->medium);
    r->size = DISK_SIZE;
    r->segments = 32;
    r->order = 2;
    r->queues = 1 + (unsigned)(seed % 4);
    r->delay_ns = 2 * MS;
    r->back_store = sim_store_open(r->sim, r->back_loop);
    r->back_store->changed = front_changed;
    r->back_store->ctx = r;
    sim_store_write(r->sim, FRONT "/backend", BACK);
    sim_store_write(r->sim, FRONT "/backend-id", "0");
    sim_store_write(r->sim, FRONT "/state", "1");
    REQUIRE(!r->back_store->ops->watch(r->back_store, FRONT "/state", "f"));
    back_nodes(r);
    back_state(r, 2);
}

/* ---- our side ------------------------------------------------------------ */

static void
opened(void *ctx, int error, const char *why)
{
    struct rig *r = ctx;

    CHECK(!r->opened);
    r->opened = true;
    r->error = error;
    snprintf(r->why, sizeof r->why, "%s", why ? why : "");
}

static void
changed(void *ctx)
{
    ((struct rig *)ctx)->changes++;
}

static void
fatal(void *ctx, int error, const char *why)
{
    struct rig *r = ctx;

    r->fatals++;
    r->error = error;
    snprintf(r->why, sizeof r->why, "%s", why);
}

static void
logged(void *ctx, enum blk_level level, const char *line)
{
    struct rig *r = ctx;

    (void)level;
    r->logs++;
    snprintf(r->last_log, sizeof r->last_log, "%s", line);
}

static const struct front_user user = {
    .opened = opened, .changed = changed, .fatal = fatal, .log = logged
};

const struct front_conf rig_conf = {
    .path = FRONT,
    .connect_ns = 5000 * MS,
    .pages = 64,
    .order = 4,
    .queues = 4,
};

void
rig_new(struct rig *r, uint64_t seed)
{
    memset(r, 0, sizeof *r);
    r->sim = sim_new(seed);
    back_make(r, seed);
    r->control = sim_loop_new(r->sim, "control");
    r->data = sim_loop_new(r->sim, "data");
    r->store = sim_store_open(r->sim, r->control);
    r->gate = sim_gate_new(r->sim, r->data, OURS);
    REQUIRE(!front_links_new(&r->links, r->control, r->store));
    fronts_init(&r->fronts, r->data, r->gate, r->links, "");
}

void
rig_end(struct rig *r)
{
    back_drop(r);
    if (r->pending) /* what it had to do is still on its way */
        sim_run_for(r->sim, 2 * 3600 * 1000 * MS);
    CHECK_EQ(r->pending, 0);
    sim_run_for(r->sim, 100 * MS);
    sweep_free(r->sweep);
    r->tap->ops->free(r->tap);
    r->gate->ops->free(r->gate);
    front_links_free(r->links);
    r->store->ops->free(r->store);
    r->back_store->ops->free(r->back_store);
    r->data->ops->free(r->data);
    r->control->ops->free(r->control);
    r->back_loop->ops->free(r->back_loop);
    sim_free(r->sim);
    free(r->disk);
    free(r->medium);
}

void
rig_run(struct rig *r, uint64_t ns)
{
    sim_run_for(r->sim, ns);
}

static bool
is_set(void *flag)
{
    return *(const bool *)flag;
}

void
rig_until(struct rig *r, const bool *flag)
{
    bool *asked = (bool *)(uintptr_t)flag;

    CHECK(sim_run_until(r->sim, is_set, asked, 60000 * MS));
}

int
rig_open(struct rig *r, const struct front_conf *conf)
{
    int rc = r->fronts.ops->open(&r->fronts, conf, &user, r, &r->front, r->why,
                                 sizeof r->why);

    if (rc)
        return rc;
    rig_until(r, &r->opened);
    return r->error;
}

static void
closed(void *ctx)
{
    struct rig *r = ctx;

    r->closed = true;
    r->front = NULL;
}

void
rig_close(struct rig *r)
{
    r->fronts.ops->close(r->front, closed, r);
    rig_until(r, &r->closed);
    rig_run(r, 100 * MS);
}

bool
rig_connected(struct rig *r)
{
    return !strcmp(r->fronts.ops->state(r->front), "connected");
}

/* ---- requests ------------------------------------------------------------ */

static void
io_done(struct front_io *io, int error)
{
    struct rig_io *ri = (struct rig_io *)(void *)io;

    REQUIRE(ri->busy); /* else a list has it twice, and never ends */
    ri->busy = false;
    ri->done = true;
    ri->error = error;
}

void
rig_submit(struct rig *r, struct rig_io *ri, int op, uint64_t off, uint32_t len)
{
    ri->sg.v = ri->v;
    rig_submit_at(r, ri, op, off, len);
}

void
rig_submit_at(struct rig *r, struct rig_io *ri, int op, uint64_t off,
              uint32_t len)
{
    REQUIRE(!ri->busy);
    ri->busy = true;
    ri->done = false;
    ri->io = (struct front_io){ .op = (uint8_t)op,
                                .off = off,
                                .len = len,
                                .sg = &ri->sg,
                                .done = io_done };
    r->fronts.ops->submit(r->front, &ri->io);
    if (!r->lazy)
        r->fronts.ops->kick(r->front);
}

/* In three pieces of odd lengths. */
void
rig_start(struct rig *r, struct rig_io *ri, int op, uint64_t off, uint32_t len)
{
    uint32_t a = len / 3, b = len / 5;

    ri->v[0] = (struct iovec){ ri->buf, a };
    ri->v[1] = (struct iovec){ ri->buf + a, b };
    ri->v[2] = (struct iovec){ ri->buf + a + b, len - a - b };
    ri->sg.n = 3;
    ri->sg.skip = 0;
    rig_submit(r, ri, op, off, len);
}

int
rig_do(struct rig *r, struct rig_io *ri, int op, uint64_t off, uint32_t len)
{
    rig_start(r, ri, op, off, len);
    rig_until(r, &ri->done);
    return ri->error;
}

bool
rig_start_lent(struct rig *r, struct rig_io *ri, int op, uint64_t off,
               uint32_t len)
{
    ri->lender = r->fronts.ops->lender(r->front);
    ri->lent = ri->lender->get(ri->lender, len);
    if (!ri->lent)
        return false;
    memcpy(ri->lent, ri->buf, len);
    ri->v[0] = (struct iovec){ ri->lent, len };
    ri->sg.n = 1;
    ri->sg.skip = 0;
    rig_submit(r, ri, op, off, len);
    return true;
}

void
rig_give_back(struct rig_io *ri)
{
    if (!ri->lent)
        return;
    memcpy(ri->buf, ri->lent, ri->io.len);
    ri->lender->put(ri->lender, ri->lent, ri->io.len);
    ri->lent = NULL;
}

int
rig_do_lent(struct rig *r, struct rig_io *ri, int op, uint64_t off,
            uint32_t len)
{
    REQUIRE(rig_start_lent(r, ri, op, off, len));
    rig_until(r, &ri->done);
    rig_give_back(ri);
    return ri->error;
}
