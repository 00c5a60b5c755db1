/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_tree.c: the nodes of the simulated XenStore.
 */
#include "config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_tree.h"
#include "host/sim_world.h"

enum { PATH_LEN_MAX = 3072 };

static struct sim_node *
new_node(struct sim_node *parent, const char *name, size_t len)
{
    struct sim_node *n = sim_memory(1, sizeof *n + len + 1);

    n->name = (char *)(n + 1);
    memcpy(n->name, name, len);
    n->parent = parent;
    return n;
}

struct sim_node *
sim_node_new(void)
{
    struct sim_node *n = new_node(NULL, "", 0);

    n->value = sim_text("");
    return n;
}

void
sim_node_free(struct sim_node *n)
{
    if (!n)
        return;
    for (unsigned i = 0; i < n->children; i++)
        sim_node_free(n->child[i]);
    free(n->child);
    free(n->value);
    free(n);
}

struct sim_node *
sim_node_copy(const struct sim_node *n)
{
    struct sim_node *c = new_node(NULL, n->name, strlen(n->name));

    c->value = sim_text(n->value);
    c->perms = n->perms;
    c->owner = n->owner;
    c->reader = n->reader;
    c->children = n->children;
    c->child = n->children ? sim_memory(n->children, sizeof(void *)) : NULL;
    for (unsigned i = 0; i < n->children; i++) {
        c->child[i] = sim_node_copy(n->child[i]);
        c->child[i]->parent = c;
    }
    return c;
}

void
sim_node_set(struct sim_node *n, const char *value)
{
    char *copy = sim_text(value);

    free(n->value);
    n->value = copy;
}

static struct sim_node *
child_named(const struct sim_node *n, const char *name, size_t len)
{
    for (unsigned i = 0; i < n->children; i++) {
        struct sim_node *c = n->child[i];

        if (!strncmp(c->name, name, len) && !c->name[len])
            return c;
    }
    return NULL;
}

static struct sim_node *
add_child(struct sim_node *n, const char *name, size_t len)
{
    struct sim_node *c = new_node(n, name, len);

    c->value = sim_text("");
    n->child = sim_memory_grow(n->child, n->children + 1, sizeof(void *));
    n->child[n->children++] = c;
    return c;
}

struct sim_node *
sim_node_find(struct sim_node *root, const char *path)
{
    struct sim_node *n = root;

    while (n && *path) {
        size_t len = strcspn(++path, "/");

        if (len)
            n = child_named(n, path, len);
        path += len;
    }
    return n;
}

struct sim_node *
sim_node_make(struct sim_node *root, const char *path, bool *made)
{
    struct sim_node *n = root, *c;

    *made = false;
    while (*path) {
        size_t len = strcspn(++path, "/");

        c = child_named(n, path, len);
        *made = !c;
        n = c ? c : add_child(n, path, len);
        path += len;
    }
    return n;
}

void
sim_node_remove(struct sim_node *n)
{
    struct sim_node *p = n->parent;
    unsigned i = 0;

    while (p->child[i] != n)
        i++;
    p->children--;
    memmove(&p->child[i], &p->child[i + 1],
            (p->children - i) * sizeof p->child[0]);
    sim_node_free(n);
}

bool
sim_path_valid(const char *path)
{
    size_t len = strlen(path);

    if (path[0] != '/' || len > PATH_LEN_MAX || strstr(path, "//"))
        return false;
    if (len > 1 && path[len - 1] == '/')
        return false;
    for (const char *p = path; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("-/_@", *p))
            return false;
    }
    return true;
}

bool
sim_path_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    if (!strcmp(top, "/"))
        return path[0] == '/';
    return !strncmp(path, top, len) && (!path[len] || path[len] == '/');
}
