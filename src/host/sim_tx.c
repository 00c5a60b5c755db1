/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_tx.c: changes of the simulated XenStore, and its transactions.
 *
 * A transaction has a copy of the tree to read from, and a list of what it
 * did, which the commit repeats on the tree.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_store.h"

struct sim_tree *
sim_tree_of(struct sim *sim)
{
    if (!sim->tree) {
        sim->tree = sim_memory(1, sizeof *sim->tree);
        sim->tree->root = sim_node_new();
    }
    return sim->tree;
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

int
sim_op_apply(struct sim_node *root, const struct op *op, bool *changed,
             bool *made)
{
    struct sim_node *n = sim_node_find(root, op->path);

    *changed = *made = false;
    switch (op->kind) {
    case SIM_OP_TOUCH:
        return 0;
    case SIM_OP_WRITE:
    case SIM_OP_MKDIR:
        n = sim_node_make(root, op->path, made);
        *changed = *made || op->kind == SIM_OP_WRITE;
        if (op->kind == SIM_OP_WRITE)
            sim_node_set(n, op->value);
        return 0;
    case SIM_OP_RM:
        if (n == root)
            return -EINVAL;
        if (n) {
            sim_node_remove(n);
            *changed = *made = true;
            return 0;
        }
        return 0;
    case SIM_OP_PERMS:
        if (!n)
            return -ENOENT;
        n->perms = *changed = true;
        n->owner = op->owner;
        n->reader = op->reader;
        return 0;
    }
    return -EINVAL;
}

int
sim_op_do(struct sim *sim, const struct op *op)
{
    struct sim_tree *t = sim_tree_of(sim);
    bool changed, made;
    int err = sim_op_apply(t->root, op, &changed, &made);

    if (err || !changed)
        return err;
    remember(t, op->path);
    if (made)
        remember_parent(t, op->path);
    sim_news_fire(sim, op->path, op->kind == SIM_OP_RM);
    return 0;
}

/* ---- transactions -------------------------------------------------------- */

struct transaction *
sim_tx_of(struct sim_store *s, store_tx id)
{
    for (int i = 0; i < SIM_TRANSACTIONS; i++) {
        if (id && s->tx[i].id == id)
            return &s->tx[i];
    }
    return NULL;
}

void
sim_tx_add(struct transaction *tx, const struct op *op)
{
    struct op *copy = sim_memory(1, sizeof *copy);

    *copy = *op;
    copy->next = NULL;
    copy->path = sim_text(op->path);
    copy->value = op->value ? sim_text(op->value) : NULL;
    *tx->tail = copy;
    tx->tail = &copy->next;
}

void
sim_tx_end(struct transaction *tx)
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

bool
sim_tx_conflict(const struct sim_tree *t, const struct transaction *tx)
{
    for (size_t i = t->changes; i-- > 0 && t->change[i].number > tx->since;) {
        for (const struct op *op = tx->ops; op; op = op->next) {
            if (!strcmp(op->path, t->change[i].path))
                return true;
        }
    }
    return false;
}
