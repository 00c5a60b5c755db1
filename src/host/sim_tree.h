/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_tree.h: the nodes of the simulated XenStore.
 */
#ifndef HOST_SIM_TREE_H
#define HOST_SIM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node has a permission of its own when it was set; else its parent's. */
struct sim_node {
    char *name, *value; /* name: in the piece of memory of the node */
    struct sim_node *parent, **child;
    unsigned children;
    bool perms;
    uint32_t owner, reader;
};

struct sim_node *sim_node_new(void); /* a root */
struct sim_node *sim_node_copy(const struct sim_node *);
void sim_node_free(struct sim_node *);
/* NULL: there is none. */
struct sim_node *sim_node_find(struct sim_node *root, const char *path);
/* Makes it, and what is missing above; *made tells whether it was new. */
struct sim_node *sim_node_make(struct sim_node *root, const char *path,
                               bool *made);
void sim_node_set(struct sim_node *, const char *value);
/* With all below. */
void sim_node_remove(struct sim_node *);
/* As xenstored has it: absolute, no empty part, no odd character. */
bool sim_path_valid(const char *path);
/* path is at or below top. */
bool sim_path_below(const char *path, const char *top);

#endif
