/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_store.c: XenStore in memory, with any number of connections.
 *
 * Semantics are those of xenstored 4.17: a write makes what is missing above;
 * a watch fires once at once, for each change at or below its path, and with
 * its own path when something above it is removed; changes of a transaction
 * are seen, and fire, when it is committed; a commit is a conflict when
 * somebody else changed a node that the transaction touched.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_store.h"

#define HOME "/local/domain/0/"

static struct sim_store *
ours(struct store *s)
{
    return (struct sim_store *)s;
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
    *tx = sim_tx_of(s, id);
    if (s->lost || sim_tree_of(s->sim)->down ||
        sim_loop_dead(sim_loop_of(s->loop)))
        return -ENOTCONN;
    if (path && !sim_path_valid(path))
        return -EINVAL;
    return id && !*tx ? -ENOENT : 0;
}

/* The node to read from; NULL and errno. */
static struct sim_node *
look(struct sim_store *s, store_tx id, const char *path)
{
    struct op touch = { .kind = SIM_OP_TOUCH, .path = absolute(path) };
    struct sim_node *n = NULL;
    struct transaction *tx;
    int err = check(s, id, touch.path, &tx);

    if (!err && tx)
        sim_tx_add(tx, &touch);
    if (!err)
        n = sim_node_find(tx ? tx->root : sim_tree_of(s->sim)->root,
                          touch.path);
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
    if (!err && op->kind == SIM_OP_RM)
        err = check_rm(tx ? tx->root : sim_tree_of(s->sim)->root, op->path);
    if (!err && tx) {
        err = sim_op_apply(tx->root, op, &changed, &made);
        if (!err)
            sim_tx_add(tx, op);
    } else if (!err) {
        err = sim_op_do(s->sim, op);
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
    struct op op = { .kind = SIM_OP_WRITE, .value = sim_text(value) };
    int err = change(ours(s), id, &op, path);

    free(op.value);
    return err;
}

static int
store_mkdir(struct store *s, store_tx id, const char *path)
{
    struct op op = { .kind = SIM_OP_MKDIR };

    return change(ours(s), id, &op, path);
}

static int
store_rm(struct store *s, store_tx id, const char *path)
{
    struct op op = { .kind = SIM_OP_RM };

    return change(ours(s), id, &op, path);
}

static int
store_perms(struct store *s, store_tx id, const char *path, uint32_t owner,
            uint32_t reader)
{
    struct op op = { .kind = SIM_OP_PERMS, .owner = owner, .reader = reader };

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
    struct sim_tree *t = sim_tree_of(st->sim);
    struct transaction *tx;
    int err = check(st, 0, NULL, &tx);

    *id = 0;
    for (int i = 0; !err && i < SIM_TRANSACTIONS; i++) {
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
    struct sim_tree *t = sim_tree_of(st->sim);
    struct transaction *tx;
    int err = check(st, id, NULL, &tx);

    if (err || !tx)
        return err ? err : -ENOENT;
    if (commit && t->conflicts) {
        t->conflicts--;
        err = -EAGAIN;
    } else if (commit && sim_tx_conflict(t, tx)) {
        err = -EAGAIN;
    }
    for (struct op *op = tx->ops; commit && !err && op; op = op->next)
        (void)sim_op_do(st->sim, op);
    sim_tx_end(tx);
    return err;
}

static int
store_watch(struct store *s, const char *path, const char *token)
{
    struct sim_store *st = ours(s);
    char *full = absolute(path);
    struct transaction *tx;
    struct watch *w;
    int err = check(st, 0, path[0] == '@' ? NULL : full, &tx);

    if (!err && *sim_watch_find(st, path, token))
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
    sim_news_tell(st, path, token);
    return 0;
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
    p = sim_watch_find(st, path, token);
    if (!*p)
        return -ENOENT;
    for (n = st->news; n; n = next) {
        next = n->next;
        if (!n->token || strcmp(n->token, token) ||
            !sim_path_below(n->path, path))
            continue;
        sim_cancel(st->sim, n->event);
        sim_news_drop(n);
    }
    sim_watch_drop(p);
    return 0;
}

static void
store_free(struct store *s)
{
    struct sim_store *st = ours(s), **p = &sim_tree_of(st->sim)->stores;

    sim_news_forget(st, true);
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
    struct sim_tree *t = sim_tree_of(sim);

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
    struct op op = { .kind = SIM_OP_WRITE, .path = sim_text(path) };
    char value[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    op.value = sim_text(value);
    (void)sim_op_do(sim, &op);
    free(op.path);
    free(op.value);
}

const char *
sim_store_read(struct sim *sim, const char *path)
{
    struct sim_node *n = sim_node_find(sim_tree_of(sim)->root, path);

    return n ? n->value : NULL;
}

void
sim_store_rm(struct sim *sim, const char *path)
{
    struct op op = { .kind = SIM_OP_RM, .path = sim_text(path) };

    (void)sim_op_do(sim, &op);
    free(op.path);
}

void
sim_store_special(struct sim *sim, const char *name)
{
    sim_news_fire(sim, name, false);
}

bool
sim_store_perms(struct sim *sim, const char *path, uint32_t *owner,
                uint32_t *reader)
{
    struct sim_node *n = sim_node_find(sim_tree_of(sim)->root, path);

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
    struct sim_tree *t = sim_tree_of(sim);

    t->down = true;
    for (struct sim_store *s = t->stores; s; s = s->next) {
        sim_news_forget(s, true);
        s->lost = true;
    }
}

void
sim_store_up(struct sim *sim)
{
    struct sim_tree *t = sim_tree_of(sim);

    t->down = false;
    for (struct sim_store *s = t->stores; s; s = s->next) {
        if (!s->lost)
            continue;
        s->lost = false;
        sim_news_tell(s, NULL, NULL);
    }
}

void
sim_store_conflicts(struct sim *sim, unsigned n)
{
    sim_tree_of(sim)->conflicts = n;
}

/* The events themselves go with all others. */
void
sim_tree_crash(struct sim *sim)
{
    if (!sim->tree)
        return;
    for (struct sim_store *s = sim->tree->stores; s; s = s->next) {
        sim_news_forget(s, false);
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
