/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * world.c: the daemon's objects, as src/daemon.c puts them together.
 *
 * Every operation of loop, tap and store goes through a wrapper here that is a
 * point before and after the real one: at the point that was chosen the
 * daemon is left by longjmp() and never returned to.  So are the stores to
 * rings and in-flight tables (points.c).
 */
#include "config.h"

#include "tests/sim/daemon/world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/chan.h"
#include "tests/sim/daemon/points.h"

/* What json-c has of a daemon that is killed is not taken back: the library's
 * allocations are not the daemon's objects' own. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
    return "leak:libjson-c\n";
}

/* ---- the daemon's life --------------------------------------------------- */

static void
on_event(void *ctx, const char *what, const char *disk, const char *detail)
{
    struct world *w = ctx;

    w->quarantined +=
        !strcmp(what, "quarantined") && !strstr(detail, "broke its ring");
    if (getenv("SIM_TRACE"))
        fprintf(stderr, "-- %s %s: %s\n", what, disk ? disk : "-",
                detail ? detail : "");
}

static struct world_table *
table_of(struct world *w, const char *key)
{
    struct world_table *spare = NULL;

    for (int i = 0; i < WORLD_TABLES; i++) {
        if (w->table[i].used && !strcmp(w->table[i].key, key))
            return &w->table[i];
        if (!w->table[i].used && !spare)
            spare = &w->table[i];
    }
    return spare;
}

static void
on_table(void *ctx, const char *key, int fd)
{
    struct world *w = ctx;
    struct world_table *t = table_of(w, key);

    points_pass();
    if (t && t->used) {
        close(t->fd);
        t->used = false;
    }
    if (t && fd >= 0) {
        snprintf(t->key, sizeof t->key, "%s", key);
        t->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        t->used = t->fd >= 0;
    }
    points_pass();
}

/* Every other life makes its tables in files, as without a service manager:
 * no seals, but ours alone. */
static int
on_room(void *ctx, const char *key)
{
    const struct world *w = ctx;
    int fd;

    points_pass();
    if (w->kills % 2 == 0)
        return -1;
    fd = memfd_create(key, MFD_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0600))
        abort();
    alloc_adopt_fd(fd);
    return fd;
}

static void
on_closed(void *ctx)
{
    ((struct world *)ctx)->sift = true;
}

static const struct disks_events disks_events = {
    .event = on_event, .table = on_table, .room = on_room, .closed = on_closed
};
static const struct xenbus_events xenbus_events = { .event = on_event };

static int
data_loops_new(struct world *w)
{
    char name[16];
    unsigned i;
    int rc;

    /* Of a daemon that was killed nothing is in it. */
    commons_init(&w->commons);
    w->commons.scratch = WORLD_SCRATCH;
    for (i = 0; i < w->loops; i++) {
        snprintf(name, sizeof name, "data%u", i);
        w->data[i] = points_loop(sim_loop_new(w->sim, name));
        w->data[i]->commons = &w->commons;
        w->tap[i] = points_tap(sim_tap_new(w->sim, w->data[i]));
        rc = sweep_new(&w->sweep[i], w->tap[i]);
        if (rc)
            return rc;
    }
    return 0;
}

static void
inherit(struct world *w)
{
    for (int i = 0; i < WORLD_TABLES; i++) {
        int fd;

        if (!w->table[i].used)
            continue;
        fd = fcntl(w->table[i].fd, F_DUPFD_CLOEXEC, 3);
        alloc_adopt_fd(fd);
        (void)disks_inherit(w->disks, w->table[i].key, fd);
    }
}

static int
assemble(struct world *w)
{
    int rc = data_loops_new(w);

    if (!rc)
        rc = disks_new(&w->disks, w->control, w->data, w->sweep, w->loops,
                       &disks_events, w);
    if (rc)
        return rc;
    inherit(w);
    w->commons.keeper = disks_keeper(w->disks);
    return xenbus_new(&w->xenbus, w->control, w->store, w->disks, w->conf,
                      &xenbus_events, w, w->why, sizeof w->why);
}

/* Loops, taps and stores are the world's: they go also after a kill. */
static void
hosts_free(struct world *w)
{
    for (unsigned i = 0; i < w->loops; i++) {
        if (w->tap[i])
            w->tap[i]->ops->free(w->tap[i]);
        w->tap[i] = NULL;
        w->sweep[i] = NULL;
    }
    if (w->store)
        w->store->ops->free(w->store);
    w->store = NULL;
    for (unsigned i = 0; i < w->loops; i++) {
        if (w->data[i])
            w->data[i]->ops->free(w->data[i]);
        w->data[i] = NULL;
    }
    if (w->control)
        w->control->ops->free(w->control);
    w->control = NULL;
}

static void
tree_keep(struct world *w, struct conf *c)
{
    w->tree = realloc(w->tree, (w->trees + 1) * sizeof(struct conf *));
    if (!w->tree)
        abort();
    w->tree[w->trees++] = c;
}

/* Nothing of the dead one may be touched but what the host had of it. */
static void
bury(struct world *w)
{
    w->inside = false;
    w->alive = false;
    hosts_free(w);
    w->disks = NULL;
    w->xenbus = NULL;
    w->inflights = 0;
    alloc_end();
    alloc_free_all();
    for (unsigned i = 0; i < w->trees; i++)
        w->tree[i]->refs = 1;
    if (w->reload_to) /* the files on disk are the new ones */
        w->conf = w->reload_to;
    w->reload_to = w->chain_to = NULL;
    w->kills++;
}

static void
dying(struct world *w)
{
    if (w->dying)
        w->dying();
}

void
world_kill(struct world *w)
{
    dying(w);
    sim_kill(w->sim);
    bury(w);
}

static void
killed_inside(struct world *w)
{
    w->kill_at = 0;
    dying(w);
    sim_kill_inside(w->sim);
    bury(w);
}

int
world_start(struct world *w)
{
    int rc;

    w->why[0] = '\0';
    w->control = points_loop(sim_loop_new(w->sim, "control"));
    w->store = points_store(sim_store_open(w->sim, w->control));
    w->alive = true;
    alloc_begin();
    if (setjmp(w->out)) {
        killed_inside(w);
        return 1;
    }
    w->inside = true;
    rc = assemble(w);
    w->inside = false;
    w->restarts++;
    w->sift = true;
    return rc;
}

/* ---- time ---------------------------------------------------------------- */

bool
world_step(struct world *w)
{
    bool more;

    if (!w->alive)
        return sim_step(w->sim);
    if (setjmp(w->out)) {
        killed_inside(w);
        return true;
    }
    w->inside = true;
    more = sim_step(w->sim);
    if (w->sift)
        world_sift(w);
    w->inside = false;
    return more;
}

void
world_kill_in(struct world *w, uint64_t n)
{
    w->kill_at = n ? w->points + n : 0;
}

/* ---- reload, stop -------------------------------------------------------- */

static void
reloaded(void *ctx, int status, const char *why)
{
    struct world *w = ctx;

    (void)status;
    (void)why;
    w->conf = w->reload_to;
    w->reload_to = NULL;
    xenbus_reload(w->xenbus, w->conf);
}

void
world_reload(struct world *w, struct conf *to)
{
    bool was = alloc_pause();

    if (!w->alive || w->reload_to || w->chain_to ||
        conf_keep_live(to, w->conf, CONF_FILES, NULL, NULL)) {
        conf_unref(to);
        alloc_resume(was);
        return;
    }
    alloc_resume(was);
    tree_keep(w, to);
    w->reload_to = to;
    if (setjmp(w->out)) {
        killed_inside(w);
        return;
    }
    w->inside = true;
    disks_reload(w->disks, to, reloaded, w);
    w->inside = false;
}

/* ---- a chain changes ----------------------------------------------------- */

/* Written down: the next daemon begins with it. */
static void
switched(void *ctx)
{
    struct world *w = ctx;

    points_pass();
    w->conf = w->chain_to;
    points_pass();
}

static void
rechained(void *ctx, int status, const char *why, uint64_t took_ns)
{
    struct world *w = ctx;

    (void)why;
    (void)took_ns;
    w->chain_to = NULL;
    w->rechained += !status;
    if (!status)
        xenbus_reload(w->xenbus, w->conf);
}

void
world_chain(struct world *w, const char *name, const struct conf_edit *edit)
{
    struct disk *d = disks_find(w->disks, name);
    struct conf *to;
    char errors[512];
    bool was;

    if (!d || w->reload_to || w->chain_to)
        return;
    was = alloc_pause();
    to = conf_edit(w->conf, name, disk_conf(d), edit, errors, sizeof errors);
    alloc_resume(was);
    if (!to)
        return;
    tree_keep(w, to);
    w->chain_to = to;
    if (setjmp(w->out)) {
        killed_inside(w);
        return;
    }
    w->inside = true;
    disks_rechain(w->disks, d, to, conf_disk(to, name), switched, rechained, w);
    w->inside = false;
}

/* ---- commands ------------------------------------------------------------ */

static void
recovered(void *ctx, struct disk *d, int status, const char *why)
{
    struct world *w = ctx;

    (void)d;
    (void)why;
    w->recovered += !status;
}

static void
commanded(void *ctx, int status, struct json_object *out)
{
    (void)ctx;
    (void)status;
    json_object_put(out);
}

bool
world_disk_is(const struct world *w, const char *name, const char *want)
{
    struct disk *d = disks_find(w->disks, name);
    struct json_object *o, *state;
    bool is;

    if (!d)
        return false;
    o = disk_brief(d);
    is = json_object_object_get_ex(o, "state", &state) &&
         !strcmp(json_object_get_string(state), want);
    json_object_put(o);
    return is;
}

void
world_recover(struct world *w, const char *name)
{
    struct disk *d = disks_find(w->disks, name);

    if (!d)
        return;
    if (setjmp(w->out)) {
        killed_inside(w);
        return;
    }
    w->inside = true;
    disk_recover(d, recovered, w);
    w->inside = false;
}

void
world_command(struct world *w, const char *name, const char *layer, int words,
              const char *const *word)
{
    struct disk *d = disks_find(w->disks, name);

    if (!d)
        return;
    if (setjmp(w->out)) {
        killed_inside(w);
        return;
    }
    w->inside = true;
    disk_command(d, layer, words, word, commanded, NULL);
    w->inside = false;
}

struct stopping {
    struct world *world;
    bool vbds, over;
};

static void
all_quiet(void *ctx)
{
    ((struct stopping *)ctx)->over = true;
}

static void
vbds_stopped(void *ctx)
{
    ((struct stopping *)ctx)->vbds = true;
}

static bool
ends_within(struct world *w, const bool *end, uint64_t within_ns)
{
    uint64_t until = sim_now(w->sim) + within_ns;

    while (w->alive && !*end) {
        if (sim_now(w->sim) > until || !world_step(w))
            return false;
    }
    return w->alive;
}

bool
world_stop(struct world *w, uint64_t within_ns)
{
    struct stopping s = { .world = w };

    xenbus_stop(w->xenbus, vbds_stopped, &s);
    if (!ends_within(w, &s.vbds, within_ns))
        return !w->alive;
    disks_quiet(w->disks, all_quiet, &s);
    if (!ends_within(w, &s.over, within_ns))
        return !w->alive;
    xenbus_free(w->xenbus);
    w->xenbus = NULL;
    for (unsigned i = 0; i < w->loops; i++) {
        sweep_free(w->sweep[i]);
        w->sweep[i] = NULL;
    }
    disks_free(w->disks);
    w->disks = NULL;
    hosts_free(w);
    w->alive = false;
    alloc_end();
    return true;
}

void
world_crash(struct world *w)
{
    dying(w);
    sim_crash(w->sim);
    bury(w);
    w->kills--;
    for (int i = 0; i < WORLD_TABLES; i++) {
        if (w->table[i].used)
            close(w->table[i].fd);
        w->table[i].used = false;
    }
}

/* ---- the world ----------------------------------------------------------- */

struct conf *
world_conf(const char *text, char *errors, size_t n)
{
    char path[] = "/tmp/blktapd-sim.XXXXXX";
    int fd = mkstemp(path);
    struct conf *c = NULL;
    bool was = alloc_pause();

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        snprintf(errors, n, "%s: %s", path, strerror(errno));
    else
        c = conf_load(path, NULL, errors, n);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    alloc_resume(was);
    return c;
}

void
world_conf_first(struct world *w, struct conf *conf)
{
    w->conf = conf;
    tree_keep(w, conf);
}

void
world_new(struct world *w, uint64_t seed, unsigned loops)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(seed);
    w->loops = loops;
    points_world = w;
    sim_store_write(w->sim, "/local/domain/0/domid", "0");
    sim_store_write(w->sim, "/local/domain/0/name", "Domain-0");
}

void
world_free(struct world *w)
{
    for (int i = 0; i < WORLD_TABLES; i++) {
        if (w->table[i].used)
            close(w->table[i].fd);
    }
    alloc_free_all();
    for (unsigned i = 0; i < w->trees; i++)
        conf_unref(w->tree[i]);
    free(w->tree);
    sim_free(w->sim);
    points_world = NULL;
}

/* ---- the toolstack's part ------------------------------------------------ */

#define BACK  "/local/domain/0/backend/vbd3/%" PRIu32 "/%" PRIu32
#define FRONT "/local/domain/%" PRIu32 "/device/vbd/%" PRIu32

static void
put(struct world *w, const char *dir, const char *leaf, const char *value)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", dir, leaf);
    sim_store_write(w->sim, path, "%s", value);
}

void
world_attach(struct world *w, uint32_t domid, uint32_t devid,
             const char *params, const char *mode)
{
    char back[100], front[100], number[16];

    snprintf(back, sizeof back, BACK, domid, devid);
    snprintf(front, sizeof front, FRONT, domid, devid);
    put(w, front, "backend", back);
    put(w, front, "backend-id", "0");
    put(w, front, "device-type", "disk");
    snprintf(number, sizeof number, "%" PRIu32, devid);
    put(w, front, "virtual-device", number);
    put(w, front, "state", "1");
    put(w, back, "frontend", front);
    snprintf(number, sizeof number, "%" PRIu32, domid);
    put(w, back, "frontend-id", number);
    put(w, back, "params", params);
    put(w, back, "online", "1");
    put(w, back, "mode", mode);
    put(w, back, "device-type", "disk");
    put(w, back, "type", "phy");
    put(w, back, "removable", "0");
    put(w, back, "discard-enable", "1");
    put(w, back, "state", "1");
}

void
world_detach(struct world *w, uint32_t domid, uint32_t devid)
{
    char back[100];

    snprintf(back, sizeof back, BACK, domid, devid);
    put(w, back, "online", "0");
    put(w, back, "state", "5");
}

void
world_vbd_remove(struct world *w, uint32_t domid, uint32_t devid)
{
    char path[100];

    snprintf(path, sizeof path, BACK, domid, devid);
    sim_store_rm(w->sim, path);
    snprintf(path, sizeof path, FRONT, domid, devid);
    sim_store_rm(w->sim, path);
}
