/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/unit/xenbus_fakes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TXS = 4, TIMERS = 64 };

struct node {
    char *path, *value;
    size_t len;
};

struct tree {
    struct node *node;
    unsigned n, room;
};

struct change {
    struct change *next;
    char *path;
    bool removed;
};

struct tx {
    bool used;
    struct tree tree;
    unsigned generation;
    struct change *first, **last;
};

struct watch {
    char *path, *token;
};

struct event {
    struct event *next;
    char *path, *token;
};

struct fake_world w;
static struct tree tree;
static unsigned generation, in_call;
static struct tx txs[TXS];
static struct watch *watch;
static unsigned watches;
static struct event *event_first, **event_last = &event_first;
static unsigned events_waiting;
static struct {
    struct blk_timer *t;
    uint64_t at;
} timer[TIMERS];

/* ---- a tree of nodes ----------------------------------------------------- */

static struct node *
tree_find(const struct tree *t, const char *path)
{
    unsigned i;

    for (i = 0; i < t->n; i++) {
        if (!strcmp(t->node[i].path, path))
            return &t->node[i];
    }
    return NULL;
}

static void
tree_put(struct tree *t, const char *path, const char *value, size_t len)
{
    struct node *n = tree_find(t, path);
    char above[600], *slash;

    if (n) {
        free(n->value);
    } else {
        snprintf(above, sizeof above, "%s", path);
        slash = strrchr(above, '/');
        if (slash && slash != above) {
            *slash = '\0';
            if (!tree_find(t, above))
                tree_put(t, above, "", 0);
        }
        if (t->n == t->room) {
            t->room = t->room ? t->room * 2 : 64;
            t->node = realloc(t->node, t->room * sizeof *t->node);
            if (!t->node)
                abort();
        }
        n = &t->node[t->n++];
        n->path = strdup(path);
    }
    n->value = malloc(len + 1);
    if (!n->value)
        abort();
    memcpy(n->value, value, len);
    n->value[len] = '\0';
    n->len = len;
}

/* Whether path is dir, or below it. */
static bool
below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

static bool
tree_cut(struct tree *t, const char *path)
{
    unsigned i, kept = 0, n = t->n;

    for (i = 0; i < n; i++) {
        if (below(t->node[i].path, path)) {
            free(t->node[i].path);
            free(t->node[i].value);
        } else {
            t->node[kept++] = t->node[i];
        }
    }
    t->n = kept;
    return kept != n;
}

static void
tree_free(struct tree *t)
{
    while (t->n) {
        t->n--;
        free(t->node[t->n].path);
        free(t->node[t->n].value);
    }
    free(t->node);
    memset(t, 0, sizeof *t);
}

static void
tree_copy(struct tree *to, const struct tree *from)
{
    unsigned i;

    memset(to, 0, sizeof *to);
    for (i = 0; i < from->n; i++)
        tree_put(to, from->node[i].path, from->node[i].value,
                 from->node[i].len);
}

/* ---- watches ------------------------------------------------------------- */

static void
event_add(const char *path, const char *token)
{
    struct event *e = calloc(1, sizeof *e);

    if (!e)
        abort();
    e->path = strdup(path);
    e->token = strdup(token);
    *event_last = e;
    event_last = &e->next;
    if (++events_waiting > w.events_max)
        w.events_max = events_waiting;
}

static bool
event_deliver(void)
{
    struct event *e = event_first;

    if (!e)
        return false;
    event_first = e->next;
    if (!event_first)
        event_last = &event_first;
    events_waiting--;
    if (w.store.changed)
        w.store.changed(w.store.ctx, e->path, e->token);
    free(e->path);
    free(e->token);
    free(e);
    return true;
}

static void
fire(const char *path, bool removed)
{
    unsigned i;

    for (i = 0; i < watches; i++) {
        if (below(path, watch[i].path))
            event_add(path, watch[i].token);
        else if (removed && below(watch[i].path, path))
            event_add(watch[i].path, watch[i].token);
    }
}

/* ---- the store's calls --------------------------------------------------- */

/* Each call of the code under test passes here. */
static int
enter(void)
{
    if (in_call)
        return 0;
    w.calls++;
    if (w.meanwhile) {
        in_call++;
        w.meanwhile();
        in_call--;
    }
    if (w.fail_in && !--w.fail_in)
        return -EIO;
    return -w.store_error;
}

static int
path_of(const char *in, char out[600])
{
    size_t n = strlen(in);

    if (!n || in[n - 1] == '/' || strstr(in, "//") || n > 500 ||
        strspn(in, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                   "0123456789-/_@") != n)
        return -EINVAL;
    snprintf(out, 600, "%s%s",
             in[0] == '/' || in[0] == '@' ? "" : "/local/domain/0/", in);
    return 0;
}

static int
tree_of(store_tx tx, struct tree **out)
{
    *out = &tree;
    if (!tx)
        return 0;
    if (tx > TXS || !txs[tx - 1].used)
        return -ENOENT;
    *out = &txs[tx - 1].tree;
    return 0;
}

static int
prepare(store_tx tx, const char *in, char path[600], struct tree **t)
{
    int rc = enter();

    if (!rc)
        rc = path_of(in, path);
    if (!rc && w.hidden && below(path, w.hidden))
        rc = -EACCES;
    return rc ? rc : tree_of(tx, t);
}

static char *
fake_read(struct store *s, store_tx tx, const char *in, size_t *len)
{
    char path[600], *copy;
    struct node *n = NULL;
    struct tree *t;
    int rc = prepare(tx, in, path, &t);

    (void)s;
    if (!rc) {
        n = tree_find(t, path);
        rc = n ? 0 : -ENOENT;
    }
    if (rc) {
        errno = -rc;
        return NULL;
    }
    copy = malloc(n->len + 1);
    if (!copy)
        abort();
    memcpy(copy, n->value, n->len + 1);
    if (len)
        *len = n->len;
    return copy;
}

static void
note(store_tx tx, const char *path, bool removed)
{
    struct change *c;

    if (!tx) {
        generation++;
        fire(path, removed);
        return;
    }
    c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->path = strdup(path);
    c->removed = removed;
    *txs[tx - 1].last = c;
    txs[tx - 1].last = &c->next;
}

/* A write into a back-end directory that has no state any more, by the code
 * under test: it made the directory again. */
static void
look_for_ghost(const struct tree *t, const char *path)
{
    char state[620];
    unsigned i, slashes = 0;

    if (strncmp(path, "/local/domain/", 14) || !strstr(path, "/backend/") ||
        strstr(path, "/error/"))
        return;
    for (i = 0; path[i] && slashes < 7; i++)
        slashes += path[i] == '/';
    /* /local/domain/D/backend/KIND/G/DEVID/... : the seventh ends KIND/G */
    while (path[i] && path[i] != '/')
        i++;
    snprintf(state, sizeof state, "%.*s/state", (int)i, path);
    w.ghosts += !tree_find(t, state);
}

static bool attaching; /* xenbus_attach() may make directories */

static int
fake_write(struct store *s, store_tx tx, const char *in, const char *value)
{
    char path[600];
    struct tree *t;
    int rc = prepare(tx, in, path, &t);

    (void)s;
    if (rc)
        return rc;
    if (!attaching)
        look_for_ghost(t, path);
    tree_put(t, path, value, strlen(value));
    note(tx, path, false);
    return 0;
}

static int
fake_mkdir(struct store *s, store_tx tx, const char *in)
{
    char path[600];
    struct tree *t;
    int rc = prepare(tx, in, path, &t);

    (void)s;
    if (rc || tree_find(t, path))
        return rc;
    tree_put(t, path, "", 0);
    note(tx, path, false);
    attaching = true; /* only attach makes directories */
    return 0;
}

static int
fake_rm(struct store *s, store_tx tx, const char *in)
{
    char path[600];
    struct tree *t;
    int rc = prepare(tx, in, path, &t);

    (void)s;
    if (rc)
        return rc;
    if (!tree_cut(t, path))
        return -ENOENT;
    note(tx, path, true);
    return 0;
}

static char **
fake_list(struct store *s, store_tx tx, const char *in, unsigned *n)
{
    char path[600], **names, *text;
    struct tree *t;
    unsigned i, count = 0;
    size_t len, size = 0;
    int rc = prepare(tx, in, path, &t);

    (void)s;
    if (!rc && !tree_find(t, path))
        rc = -ENOENT;
    if (rc) {
        errno = -rc;
        return NULL;
    }
    len = strlen(path);
    for (i = 0; i < t->n; i++)
        size += strlen(t->node[i].path) + 1;
    names = malloc(t->n * sizeof *names + size + 1);
    if (!names)
        abort();
    text = (char *)(names + t->n);
    for (i = 0; i < t->n; i++) {
        const char *p = t->node[i].path;

        if (!below(p, path) || !p[len] || strchr(p + len + 1, '/'))
            continue;
        strcpy(text, p + len + 1);
        names[count++] = text;
        text += strlen(text) + 1;
    }
    *n = count;
    return names;
}

static int
fake_perms(struct store *s, store_tx tx, const char *in, uint32_t owner,
           uint32_t reader)
{
    char path[600], value[32];
    struct tree *t;
    int rc = prepare(tx, in, path, &t);

    (void)s;
    if (rc)
        return rc;
    if (!tree_find(t, path))
        return -ENOENT;
    /* So that a test can see them. */
    snprintf(value, sizeof value, "n%u,r%u", owner, reader);
    tree_put(t, path, value, strlen(value));
    return 0;
}

static int
fake_begin(struct store *s, store_tx *out)
{
    unsigned i;
    int rc = enter();

    (void)s;
    if (w.in_begin)
        w.in_begin();
    for (i = 0; i < TXS && txs[i].used; i++)
        ;
    if (rc || i == TXS)
        return rc ? rc : -ENOSPC;
    txs[i].used = true;
    tree_copy(&txs[i].tree, &tree);
    txs[i].generation = generation;
    txs[i].first = NULL;
    txs[i].last = &txs[i].first;
    w.open_tx++;
    *out = i + 1;
    return 0;
}

static void
tx_drop(struct tx *t, bool tell)
{
    struct change *c;

    if (tell) {
        struct tree old = tree;

        tree = t->tree;
        t->tree = old;
        generation++;
    }
    while ((c = t->first)) {
        t->first = c->next;
        if (tell)
            fire(c->path, c->removed);
        free(c->path);
        free(c);
    }
    tree_free(&t->tree);
    t->used = false;
    w.open_tx--;
}

static int
fake_end(struct store *s, store_tx tx, bool commit)
{
    struct tx *t = &txs[tx - 1];
    int rc = enter();

    (void)s;
    attaching = false;
    if (!tx || tx > TXS || !t->used)
        return -ENOENT;
    if (!rc && commit && w.conflicts) {
        w.conflicts--;
        rc = -EAGAIN;
    }
    if (!rc && commit && t->generation != generation)
        rc = -EAGAIN;
    w.commits += !rc && commit && t->first;
    tx_drop(t, !rc && commit && t->first);
    return rc;
}

static int
fake_watch(struct store *s, const char *in, const char *token)
{
    char path[600];
    struct tree *t;
    unsigned i;
    int rc = prepare(0, in, path, &t);

    (void)s;
    if (rc)
        return rc;
    for (i = 0; i < watches; i++) {
        if (!strcmp(watch[i].path, path) && !strcmp(watch[i].token, token))
            return -EEXIST;
    }
    watch = realloc(watch, (watches + 1) * sizeof *watch);
    if (!watch)
        abort();
    watch[watches].path = strdup(path);
    watch[watches++].token = strdup(token);
    w.watches = watches;
    event_add(path, token);
    return 0;
}

static int
fake_unwatch(struct store *s, const char *in, const char *token)
{
    unsigned i;

    (void)s;
    for (i = 0; i < watches; i++) {
        if (strcmp(watch[i].path, in) || strcmp(watch[i].token, token))
            continue;
        free(watch[i].path);
        free(watch[i].token);
        watch[i] = watch[--watches];
        w.watches = watches;
        return 0;
    }
    return -ENOENT;
}

static const struct store_ops fake_store_ops = {
    .read = fake_read,
    .write = fake_write,
    .mkdir = fake_mkdir,
    .rm = fake_rm,
    .list = fake_list,
    .perms = fake_perms,
    .begin = fake_begin,
    .end = fake_end,
    .watch = fake_watch,
    .unwatch = fake_unwatch,
};

/* ---- the loop ------------------------------------------------------------ */

uint64_t
world_random(void)
{
    w.seed ^= w.seed << 13;
    w.seed ^= w.seed >> 7;
    w.seed ^= w.seed << 17;
    return w.seed;
}

static uint64_t
loop_now(struct loop *l)
{
    (void)l;
    return w.now;
}

static uint64_t
loop_random(struct loop *l)
{
    (void)l;
    return world_random();
}

static void
loop_timer_stop(struct loop *l, struct blk_timer *t)
{
    unsigned i;

    (void)l;
    for (i = 0; i < TIMERS; i++) {
        if (timer[i].t == t)
            timer[i].t = NULL;
    }
}

static void
loop_timer_start(struct loop *l, struct blk_timer *t, uint64_t after)
{
    unsigned i;

    loop_timer_stop(l, t);
    for (i = 0; i < TIMERS && timer[i].t; i++)
        ;
    if (i == TIMERS)
        abort();
    timer[i].t = t;
    timer[i].at = w.now + after;
    w.timers_started++;
}

static const struct loop_ops fake_loop_ops = {
    .now = loop_now,
    .random = loop_random,
    .timer_start = loop_timer_start,
    .timer_stop = loop_timer_stop,
};

void
world_run(void)
{
    bool more = true;

    while (more) {
        more = false;
        while (event_deliver())
            more = true;
        more |= loop_round(&w.loop);
        more |= fake_disk_run();
        more |= event_first || w.loop.head[STAGE_CHAIN];
    }
}

void
world_advance(uint64_t ns)
{
    uint64_t end = w.now + ns;

    for (;;) {
        struct blk_timer *t;
        unsigned i, best = TIMERS;

        world_run();
        for (i = 0; i < TIMERS; i++) {
            if (timer[i].t && timer[i].at <= end &&
                (best == TIMERS || timer[i].at < timer[best].at))
                best = i;
        }
        if (best == TIMERS)
            break;
        if (timer[best].at > w.now)
            w.now = timer[best].at;
        t = timer[best].t;
        timer[best].t = NULL;
        t->fire(t);
    }
    w.now = end;
    world_run();
}

/* ---- the config and the kernel ------------------------------------------- */

struct conf *
conf_ref(struct conf *c)
{
    c->refs++;
    return c;
}

void
conf_unref(struct conf *c)
{
    c->refs--;
}

const struct conf_disk *
conf_disk(const struct conf *c, const char *name)
{
    unsigned i;

    for (i = 0; i < c->disks; i++) {
        if (!strcmp(c->disk[i].name, name))
            return &c->disk[i];
    }
    return NULL;
}

bool
host_kernel_serves(const char *kind)
{
    return w.kernel_serves && !strcmp(kind, "vbd3");
}

struct conf_disk *
add_disk(const char *name, const char *vm, const char *vdev, uint32_t devid)
{
    struct conf_disk *d = &w.disk[w.conf.disks++];

    *d = (struct conf_disk){ .name = name,
                             .vm = vm,
                             .vdev = vdev,
                             .devid = devid,
                             .discard = true,
                             .queues = 4,
                             .ring_order = 4,
                             .indirect = 256 };
    return d;
}

/* ---- the world ----------------------------------------------------------- */

static void
world_event(void *ctx, const char *what, const char *disk, const char *detail)
{
    (void)ctx;
    w.events++;
    snprintf(w.event, sizeof w.event, "%s %s: %s", what, disk ? disk : "-",
             detail);
}

static const struct xenbus_events world_events = { .event = world_event };

void
world_reset(void)
{
    static const char *const kinds[] = { "vbd3", NULL };
    unsigned i;

    w.store.changed = NULL;
    while (event_deliver())
        ;
    while (watches)
        fake_unwatch(NULL, watch[0].path, watch[0].token);
    for (i = 0; i < TXS; i++) {
        if (txs[i].used)
            tx_drop(&txs[i], false);
    }
    tree_free(&tree);
    free(watch);
    watch = NULL;
    memset(timer, 0, sizeof timer);
    fake_disk_reset();
    memset(&w, 0, sizeof w);
    w.seed = 88172645463325252ull;
    w.now = 1000000000;
    w.store.ops = &fake_store_ops;
    w.conf.kinds = kinds;
    w.conf.disk = w.disk;
    loop_init(&w.loop, &fake_loop_ops, "control");
    add_disk("web-root", NULL, NULL, 0);
    set("/local/domain/0/name", "Domain-0");
    set("/local/domain/7/name", "web");
}

void
world_start(void)
{
    char why[400] = "";

    if (xenbus_new(&w.x, &w.loop, &w.store, NULL, &w.conf, &world_events, NULL,
                   why, sizeof why)) {
        fprintf(stderr, "xenbus_new: %s\n", why);
        abort();
    }
    world_run();
}

static void
world_stopped(void *ctx)
{
    (void)ctx;
    w.stopped = true;
}

void
world_stop(void)
{
    w.stopped = false;
    xenbus_stop(w.x, world_stopped, NULL);
    world_run();
}

void
world_free(void)
{
    bool hold = fd.hold;

    fd.hold = false;
    if (w.x && !w.stopped)
        world_stop();
    fd.hold = hold;
    xenbus_free(w.x);
    w.x = NULL;
    w.stopped = false;
}

void
world_renew(void)
{
    while (watches)
        fake_unwatch(NULL, watch[0].path, watch[0].token);
    while (event_first) {
        struct event *e = event_first;

        event_first = e->next;
        free(e->path);
        free(e->token);
        free(e);
    }
    event_last = &event_first;
    events_waiting = 0;
    w.store.renewed(w.store.ctx);
    world_run();
}

/* ---- the other parties --------------------------------------------------- */

void
set_bytes(const char *path, const char *value, size_t len)
{
    tree_put(&tree, path, value, len);
    note(0, path, false);
}

void
set(const char *path, const char *value)
{
    set_bytes(path, value, strlen(value));
}

void
setf(const char *path, const char *fmt, ...)
{
    char value[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    set(path, value);
}

void
del(const char *path)
{
    if (tree_cut(&tree, path))
        note(0, path, true);
}

const char *
get(const char *path)
{
    struct node *n = tree_find(&tree, path);

    return n ? n->value : NULL;
}

void
make_vbd(const char *params)
{
    /* One transaction of libxl: nothing is seen in between, as nothing runs. */
    set(FRONT "/backend", BACK);
    set(FRONT "/backend-id", "0");
    set(FRONT "/virtual-device", "51712");
    set(FRONT "/device-type", "disk");
    set(FRONT "/state", "1");
    set(BACK "/frontend", FRONT);
    set(BACK "/params", params);
    set(BACK "/frontend-id", "7");
    set(BACK "/online", "1");
    set(BACK "/removable", "0");
    set(BACK "/bootable", "1");
    set(BACK "/dev", "xvda");
    set(BACK "/type", "vbd3");
    set(BACK "/mode", "w");
    set(BACK "/device-type", "disk");
    set(BACK "/discard-enable", "1");
    set(BACK "/state", "1");
}

void
front_nodes(void)
{
    set(FRONT "/ring-ref", "8");
    set(FRONT "/event-channel", "15");
    set(FRONT "/protocol", "x86_64-abi");
    set(FRONT "/feature-persistent", "1");
}

void
front_state(const char *state)
{
    set(FRONT "/state", state);
}

const char *
back_state(void)
{
    return get(BACK "/state");
}

unsigned
world_nodes(void)
{
    return tree.n;
}
