/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_store.c: XenStore in memory, with any number of connections.
 *
 * Semantics are those of xenstored 4.17: a write makes what is missing above;
 * a watch fires once at once, for each change at or below its path, and with
 * its own path when something above it is removed; changes of a transaction
 * are seen, and fire, when it is committed; a commit is a conflict when
 * somebody else changed a node that the transaction touched.
 *
 * A transaction has a copy of the tree to read from, and a list of what it
 * did, which the commit repeats on the tree.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_tree.h"
#include "host/sim_world.h"

enum { DELAY_NS = 30000, TRANSACTIONS = 10 };

#define HOME "/local/domain/0/"

enum op_kind { OP_TOUCH, OP_WRITE, OP_MKDIR, OP_RM, OP_PERMS };

struct op {
    struct op *next;
    enum op_kind kind;
    char *path, *value;
    uint32_t owner, reader;
};

struct transaction {
    store_tx id; /* 0: unused */
    uint64_t since;
    struct sim_node *root;
    struct op *ops, **tail;
};

/* skip: of what is reported, as the watch is on a relative path. */
struct watch {
    struct watch *next;
    char *path, *token;
    size_t skip;
};

/* An event on its way to a connection. */
struct news {
    struct news *next;
    struct sim_event *event;
    struct sim_store *to;
    char *path, *token; /* NULL: renewed */
};

struct sim_store {
    struct store store;
    struct sim *sim;
    struct loop *loop;
    struct sim_store *next;
    struct watch *watches;
    struct news *news;
    uint64_t news_at;
    bool lost;
    struct transaction tx[TRANSACTIONS];
};

/* A change, for the conflicts of transactions. */
struct change {
    uint64_t number;
    char *path;
};

struct sim_tree {
    struct sim_node *root;
    struct sim_store *stores;
    struct change *change;
    size_t changes;
    uint64_t number;
    store_tx last_tx;
    unsigned conflicts;
    bool down;
};

static struct sim_tree *
tree_of(struct sim *sim)
{
    if (!sim->tree) {
        sim->tree = sim_memory(1, sizeof *sim->tree);
        sim->tree->root = sim_node_new();
    }
    return sim->tree;
}

static struct sim_store *
ours(struct store *s)
{
    return (struct sim_store *)s;
}

/* ---- watches ------------------------------------------------------------- */

static void
drop_news(struct news *n)
{
    struct news **p = &n->to->news;

    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    free(n->path);
    free(n->token);
    free(n);
}

static void
deliver(struct sim_event *e)
{
    struct news n = *(struct news *)e->data;
    struct store *s = &n.to->store;
    struct news *copy = e->data;

    copy->path = copy->token = NULL;
    drop_news(copy);
    if (!n.path && s->renewed)
        s->renewed(s->ctx);
    else if (n.path && s->changed)
        s->changed(s->ctx, n.path, n.token);
    free(n.path);
    free(n.token);
}

/* In order, for one connection. */
static void
tell(struct sim_store *to, const char *path, const char *token)
{
    struct news *n = sim_memory(1, sizeof *n);
    uint64_t at = to->sim->now + sim_below(to->sim, DELAY_NS);

    if (at < to->news_at)
        at = to->news_at;
    to->news_at = at;
    n->to = to;
    n->path = path ? sim_text(path) : NULL;
    n->token = token ? sim_text(token) : NULL;
    n->next = to->news;
    to->news = n;
    n->event = sim_event(to->sim, sim_loop_of(to->loop), at - to->sim->now,
                         "store", deliver, n);
}

static void
fire(struct sim *sim, const char *path, bool removed)
{
    struct sim_store *s;
    struct watch *w;

    for (s = tree_of(sim)->stores; s; s = s->next) {
        for (w = s->watches; w; w = w->next) {
            if (sim_path_below(path, w->path))
                tell(s, path + w->skip, w->token);
            else if (removed && sim_path_below(w->path, path))
                tell(s, w->path + w->skip, w->token);
        }
    }
}

/* ---- changes of the tree ------------------------------------------------- */

static void
remember(struct sim_tree *t, const char *path)
{
    if (!(t->changes & (t->changes + 1)))
        t->change =
            sim_memory_grow(t->change, 2 * t->changes + 2, sizeof *t->change);
    t->change[t->changes++] = (struct change){ ++t->number, sim_text(path) };
}

/* Making or removing a node changes its parent, too. */
static void
remember_parent(struct sim_tree *t, const char *path)
{
    char *up = sim_text(path), *slash = strrchr(up, '/');

    if (slash) {
        slash[slash == up] = '\0';
        remember(t, up);
    }
    free(up);
}

/* Does it on root; *changed tells whether anything did. */
static int
apply(struct sim_node *root, const struct op *op, bool *changed, bool *made)
{
    struct sim_node *n = sim_node_find(root, op->path);

    *changed = *made = false;
    switch (op->kind) {
    case OP_TOUCH:
        return 0;
    case OP_WRITE:
    case OP_MKDIR:
        n = sim_node_make(root, op->path, made);
        *changed = *made || op->kind == OP_WRITE;
        if (op->kind == OP_WRITE)
            sim_node_set(n, op->value);
        return 0;
    case OP_RM:
        if (n == root)
            return -EINVAL;
        if (n) {
            sim_node_remove(n);
            *changed = *made = true;
            return 0;
        }
        return 0;
    case OP_PERMS:
        if (!n)
            return -ENOENT;
        n->perms = *changed = true;
        n->owner = op->owner;
        n->reader = op->reader;
        return 0;
    }
    return -EINVAL;
}

static int
do_op(struct sim *sim, const struct op *op)
{
    struct sim_tree *t = tree_of(sim);
    bool changed, made;
    int err = apply(t->root, op, &changed, &made);

    if (err || !changed)
        return err;
    remember(t, op->path);
    if (made)
        remember_parent(t, op->path);
    fire(sim, op->path, op->kind == OP_RM);
    return 0;
}

/* ---- transactions -------------------------------------------------------- */

static struct transaction *
tx_of(struct sim_store *s, store_tx id)
{
    for (int i = 0; i < TRANSACTIONS; i++) {
        if (id && s->tx[i].id == id)
            return &s->tx[i];
    }
    return NULL;
}

static void
tx_add(struct transaction *tx, const struct op *op)
{
    struct op *copy = sim_memory(1, sizeof *copy);

    *copy = *op;
    copy->next = NULL;
    copy->path = sim_text(op->path);
    copy->value = op->value ? sim_text(op->value) : NULL;
    *tx->tail = copy;
    tx->tail = &copy->next;
}

static void
tx_end(struct transaction *tx)
{
    struct op *op;

    while ((op = tx->ops)) {
        tx->ops = op->next;
        free(op->path);
        free(op->value);
        free(op);
    }
    sim_node_free(tx->root);
    tx->root = NULL;
    tx->id = 0;
}

static bool
conflict(const struct sim_tree *t, const struct transaction *tx)
{
    for (size_t i = t->changes; i-- > 0 && t->change[i].number > tx->since;) {
        for (const struct op *op = tx->ops; op; op = op->next) {
            if (!strcmp(op->path, t->change[i].path))
                return true;
        }
    }
    return false;
}

static char *
absolute(const char *path)
{
    size_t n = strlen(path) + sizeof HOME;
    char *s = sim_memory(n, 1);

    snprintf(s, n, "%s%s", path[0] == '/' || path[0] == '@' ? "" : HOME, path);
    return s;
}

/* What every call begins with: 0, or why it can't be made.  path: absolute. */
static int
check(struct sim_store *s, store_tx id, const char *path,
      struct transaction **tx)
{
    *tx = tx_of(s, id);
    if (s->lost || tree_of(s->sim)->down || sim_loop_dead(sim_loop_of(s->loop)))
        return -ENOTCONN;
    if (path && !sim_path_valid(path))
        return -EINVAL;
    return id && !*tx ? -ENOENT : 0;
}

/* The node to read from; NULL and errno. */
static struct sim_node *
look(struct sim_store *s, store_tx id, const char *path)
{
    struct op touch = { .kind = OP_TOUCH, .path = absolute(path) };
    struct sim_node *n = NULL;
    struct transaction *tx;
    int err = check(s, id, touch.path, &tx);

    if (!err && tx)
        tx_add(tx, &touch);
    if (!err)
        n = sim_node_find(tx ? tx->root : tree_of(s->sim)->root, touch.path);
    free(touch.path);
    errno = err ? -err : ENOENT;
    return n;
}

/* rm of what is not there is well, if the parent is. */
static int
check_rm(struct sim_node *root, const char *path)
{
    char *up = sim_text(path), *slash = strrchr(up, '/');
    bool there;

    *slash = '\0';
    there = sim_node_find(root, up) != NULL;
    free(up);
    return there ? 0 : -ENOENT;
}

static int
change(struct sim_store *s, store_tx id, struct op *op, const char *path)
{
    struct transaction *tx;
    bool changed, made;
    int err;

    op->path = absolute(path);
    err = check(s, id, op->path, &tx);
    if (!err && op->kind == OP_RM)
        err = check_rm(tx ? tx->root : tree_of(s->sim)->root, op->path);
    if (!err && tx) {
        err = apply(tx->root, op, &changed, &made);
        if (!err)
            tx_add(tx, op);
    } else if (!err) {
        err = do_op(s->sim, op);
    }
    free(op->path);
    return err;
}

/* ---- the calls ----------------------------------------------------------- */

static char *
store_read(struct store *s, store_tx id, const char *path, size_t *len)
{
    struct sim_node *n = look(ours(s), id, path);

    if (!n)
        return NULL;
    if (len)
        *len = strlen(n->value);
    return sim_text(n->value);
}

static int
store_write(struct store *s, store_tx id, const char *path, const char *value)
{
    struct op op = { .kind = OP_WRITE, .value = sim_text(value) };
    int err = change(ours(s), id, &op, path);

    free(op.value);
    return err;
}

static int
store_mkdir(struct store *s, store_tx id, const char *path)
{
    struct op op = { .kind = OP_MKDIR };

    return change(ours(s), id, &op, path);
}

static int
store_rm(struct store *s, store_tx id, const char *path)
{
    struct op op = { .kind = OP_RM };

    return change(ours(s), id, &op, path);
}

static int
store_perms(struct store *s, store_tx id, const char *path, uint32_t owner,
            uint32_t reader)
{
    struct op op = { .kind = OP_PERMS, .owner = owner, .reader = reader };

    return change(ours(s), id, &op, path);
}

/* One piece of memory: the array, then the names. */
static char **
store_list(struct store *s, store_tx id, const char *path, unsigned *count)
{
    struct sim_node *n = look(ours(s), id, path);
    size_t size = 1;
    char **v, *to;

    if (!n)
        return NULL;
    for (unsigned i = 0; i < n->children; i++)
        size += sizeof(char *) + strlen(n->child[i]->name) + 1;
    v = sim_memory(size, 1);
    to = (char *)&v[n->children];
    for (unsigned i = 0; i < n->children; i++) {
        v[i] = to;
        to = stpcpy(to, n->child[i]->name) + 1;
    }
    *count = n->children;
    return v;
}

static int
store_begin(struct store *s, store_tx *id)
{
    struct sim_store *st = ours(s);
    struct sim_tree *t = tree_of(st->sim);
    struct transaction *tx;
    int err = check(st, 0, NULL, &tx);

    *id = 0;
    for (int i = 0; !err && i < TRANSACTIONS; i++) {
        tx = &st->tx[i];
        if (tx->id)
            continue;
        *id = tx->id = ++t->last_tx;
        tx->since = t->number;
        tx->root = sim_node_copy(t->root);
        tx->ops = NULL;
        tx->tail = &tx->ops;
        return 0;
    }
    return err ? err : -ENOSPC;
}

static int
store_end(struct store *s, store_tx id, bool commit)
{
    struct sim_store *st = ours(s);
    struct sim_tree *t = tree_of(st->sim);
    struct transaction *tx;
    int err = check(st, id, NULL, &tx);

    if (err || !tx)
        return err ? err : -ENOENT;
    if (commit && t->conflicts) {
        t->conflicts--;
        err = -EAGAIN;
    } else if (commit && conflict(t, tx)) {
        err = -EAGAIN;
    }
    for (struct op *op = tx->ops; commit && !err && op; op = op->next)
        (void)do_op(st->sim, op);
    tx_end(tx);
    return err;
}

static struct watch **
find_watch(struct sim_store *s, const char *path, const char *token)
{
    struct watch **p = &s->watches;

    while (*p && (strcmp((*p)->path + (*p)->skip, path) ||
                  strcmp((*p)->token, token)))
        p = &(*p)->next;
    return p;
}

static int
store_watch(struct store *s, const char *path, const char *token)
{
    struct sim_store *st = ours(s);
    char *full = absolute(path);
    struct transaction *tx;
    struct watch *w;
    int err = check(st, 0, path[0] == '@' ? NULL : full, &tx);

    if (!err && *find_watch(st, path, token))
        err = -EEXIST;
    if (err) {
        free(full);
        return err;
    }
    w = sim_memory(1, sizeof *w);
    w->path = full;
    w->skip = strlen(full) - strlen(path);
    w->token = sim_text(token);
    w->next = st->watches;
    st->watches = w;
    tell(st, path, token);
    return 0;
}

static void
drop_watch(struct watch **p)
{
    struct watch *w = *p;

    *p = w->next;
    free(w->path);
    free(w->token);
    free(w);
}

/* What is on its way from it never arrives. */
static int
store_unwatch(struct store *s, const char *path, const char *token)
{
    struct sim_store *st = ours(s);
    struct transaction *tx;
    struct news *n, *next;
    struct watch **p;
    int err = check(st, 0, NULL, &tx);

    if (err)
        return err;
    p = find_watch(st, path, token);
    if (!*p)
        return -ENOENT;
    for (n = st->news; n; n = next) {
        next = n->next;
        if (!n->token || strcmp(n->token, token) ||
            !sim_path_below(n->path, path))
            continue;
        sim_cancel(st->sim, n->event);
        drop_news(n);
    }
    drop_watch(p);
    return 0;
}

static void
forget(struct sim_store *s, bool events)
{
    while (s->watches)
        drop_watch(&s->watches);
    while (s->news) {
        if (events)
            sim_cancel(s->sim, s->news->event);
        drop_news(s->news);
    }
    for (int i = 0; i < TRANSACTIONS; i++) {
        if (s->tx[i].id)
            tx_end(&s->tx[i]);
    }
}

static void
store_free(struct store *s)
{
    struct sim_store *st = ours(s), **p = &tree_of(st->sim)->stores;

    forget(st, true);
    while (*p != st)
        p = &(*p)->next;
    *p = st->next;
    free(st);
}

static const struct store_ops ops = {
    .read = store_read,
    .write = store_write,
    .mkdir = store_mkdir,
    .rm = store_rm,
    .list = store_list,
    .perms = store_perms,
    .begin = store_begin,
    .end = store_end,
    .watch = store_watch,
    .unwatch = store_unwatch,
    .free = store_free,
};

struct store *
sim_store_open(struct sim *sim, struct loop *loop)
{
    struct sim_store *s = sim_memory(1, sizeof *s);
    struct sim_tree *t = tree_of(sim);

    s->store.ops = &ops;
    s->sim = sim;
    s->loop = loop;
    s->next = t->stores;
    t->stores = s;
    return &s->store;
}

/* ---- the test's side ----------------------------------------------------- */

void
sim_store_write(struct sim *sim, const char *path, const char *fmt, ...)
{
    struct op op = { .kind = OP_WRITE, .path = sim_text(path) };
    char value[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    op.value = sim_text(value);
    (void)do_op(sim, &op);
    free(op.path);
    free(op.value);
}

const char *
sim_store_read(struct sim *sim, const char *path)
{
    struct sim_node *n = sim_node_find(tree_of(sim)->root, path);

    return n ? n->value : NULL;
}

void
sim_store_rm(struct sim *sim, const char *path)
{
    struct op op = { .kind = OP_RM, .path = sim_text(path) };

    (void)do_op(sim, &op);
    free(op.path);
}

void
sim_store_special(struct sim *sim, const char *name)
{
    fire(sim, name, false);
}

bool
sim_store_perms(struct sim *sim, const char *path, uint32_t *owner,
                uint32_t *reader)
{
    struct sim_node *n = sim_node_find(tree_of(sim)->root, path);

    while (n && !n->perms && n->parent)
        n = n->parent;
    if (!n)
        return false;
    *owner = n->owner;
    *reader = n->reader;
    return true;
}

void
sim_store_down(struct sim *sim)
{
    struct sim_tree *t = tree_of(sim);

    t->down = true;
    for (struct sim_store *s = t->stores; s; s = s->next) {
        forget(s, true);
        s->lost = true;
    }
}

void
sim_store_up(struct sim *sim)
{
    struct sim_tree *t = tree_of(sim);

    t->down = false;
    for (struct sim_store *s = t->stores; s; s = s->next) {
        if (!s->lost)
            continue;
        s->lost = false;
        tell(s, NULL, NULL);
    }
}

void
sim_store_conflicts(struct sim *sim, unsigned n)
{
    tree_of(sim)->conflicts = n;
}

/* The events themselves go with all others. */
void
sim_tree_crash(struct sim *sim)
{
    if (!sim->tree)
        return;
    for (struct sim_store *s = sim->tree->stores; s; s = s->next) {
        forget(s, false);
        s->lost = true;
    }
}

void
sim_tree_free(struct sim *sim)
{
    struct sim_tree *t = sim->tree;

    if (!t)
        return;
    for (size_t i = 0; i < t->changes; i++)
        free(t->change[i].path);
    free(t->change);
    sim_node_free(t->root);
    free(t);
}
