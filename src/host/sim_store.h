/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_store.h: what the parts of the simulated XenStore know of each other:
 * the calls (sim_store.c), changes and transactions (sim_tx.c), watches and
 * the news that they bring (sim_watch.c), nodes (sim_tree.c).
 */
#ifndef HOST_SIM_STORE_H
#define HOST_SIM_STORE_H

#include "host/sim_tree.h"
#include "host/sim_world.h"

enum { SIM_TRANSACTIONS = 10 };
enum op_kind {
    SIM_OP_TOUCH,
    SIM_OP_WRITE,
    SIM_OP_MKDIR,
    SIM_OP_RM,
    SIM_OP_PERMS
};

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
    struct transaction tx[SIM_TRANSACTIONS];
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

struct sim_tree *sim_tree_of(struct sim *);

/* Does it on root; *changed tells whether anything did, *made whether a node
 * came or went. */
int sim_op_apply(struct sim_node *root, const struct op *, bool *changed,
                 bool *made);
/* On the tree; watches fire. */
int sim_op_do(struct sim *, const struct op *);
struct transaction *sim_tx_of(struct sim_store *, store_tx id);
void sim_tx_add(struct transaction *, const struct op *);
void sim_tx_end(struct transaction *);
/* Somebody else changed what it touched. */
bool sim_tx_conflict(const struct sim_tree *, const struct transaction *);

struct watch **sim_watch_find(struct sim_store *, const char *path,
                              const char *token);
void sim_watch_drop(struct watch **);
/* In order, for one connection; path NULL: renewed. */
void sim_news_tell(struct sim_store *, const char *path, const char *token);
/* All whose watches see this path. */
void sim_news_fire(struct sim *, const char *path, bool removed);
void sim_news_drop(struct news *);
/* Watches, news and transactions; events: also of the world. */
void sim_news_forget(struct sim_store *, bool events);

#endif
