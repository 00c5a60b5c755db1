/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine.h: what the files of the engine share.  Private to src/chain.
 *
 *      chain_submit()
 *            |                        one request object (struct node) goes
 *            v                        down and comes up; there is one slot per
 *   .--- head (layer 0) ---.          layer that works, with the fields to be
 *   |  checks, splits,     |          restored and the scratch:
 *   |  repairs, serialises |
 *   '----------------------'          node -> [head|a|b|tail]   of the guest
 *            |                        node ->      [b|tail]     made by a
 *        layer 1 .. n-1
 *            |                        Nothing here recurses: blk_ calls put a
 *          tail (layer n)             node into the queue, engine_run() takes
 *                                     it out and calls one plugin function.
 */
#ifndef CHAIN_ENGINE_H
#define CHAIN_ENGINE_H

#include "chain/chain.h"

/* Our own invariants; and what a layer promised.  Always on. */
#define INVARIANT(c, x)                                       \
    do {                                                      \
        if (!(x))                                             \
            engine_broken((c)->disk, #x, __FILE__, __LINE__); \
    } while (0)
#define CONTRACT(l, x)                                        \
    do {                                                      \
        if (!(x))                                             \
            engine_broken((l)->name, #x, __FILE__, __LINE__); \
    } while (0)

enum node_state {
    NODE_FREE,   /* in its pool */
    NODE_OWNED,  /* chain_get(): the caller fills it in */
    NODE_PARKED, /* waits at the closed head */
    NODE_SUBMIT, /* queued: submit() of `at` is next */
    NODE_DONE,   /* queued: done() of `at` is next */
    NODE_HELD,   /* `at` was handed it */
    NODE_WAIT,   /* blk_wait() of `at` */
    NODE_ENDED,  /* blk_end() of `at`, but children are out */
    NODE_OVER    /* queued: the caller's done() is next */
};

struct node {
    struct chain_req req;    /* first: a blk_req is cast to its node */
    struct node *next;       /* in the one list that it is in */
    struct blk_layer *owner; /* of the pool; NULL: a request of the guest */
    struct blk_layer *at;
    struct node *parent; /* of a child */
    char *slots;         /* of the layers from owner (or head) on */
    size_t slots_at;     /* what slots[0] is in the layout */
    uint32_t children;   /* not yet ended */
    int result;          /* while going up; the first error of the turn */
    enum node_state state;
};

struct node_list {
    struct node *head, **tail;
};

/* FUA that the layer below does not honour: a WRITE, then a FLUSH. */
enum slot_fua { SLOT_PLAIN, SLOT_FUA_WRITE, SLOT_FUA_FLUSH };

/* What a layer that works keeps per request; its scratch follows. */
struct slot {
    uint64_t off; /* as the layer sent it down */
    struct blk_sg sg;
    uint64_t in_ns; /* as it came in, for the statistics */
    uint32_t len, in_len;
    uint8_t op, flags, in_op, fua;
};

struct pool {
    struct node *node, *free;
    unsigned n, used;
};

enum layer_state {
    LAYER_NEW,
    LAYER_STARTED, /* but nothing comes to it save from a start() above */
    LAYER_RUNS,
    LAYER_PAUSED,
    LAYER_STOPPED
};
enum layer_step { STEP_NONE, STEP_START, STEP_PAUSE, STEP_RESUME, STEP_STOP };

struct blk_layer {
    const struct blk_plugin *plugin;
    struct chain *chain;
    struct blk_conf *conf; /* a copy in one block; NULL: the head */
    char *name;            /* "disk/layer" */
    void *self;
    unsigned index; /* in the stack; 0: the head */
    bool works;     /* has submit() or done(), so it has a slot */
    size_t slot_at, slot_size;
    struct blk_layer *up, *down; /* the next that work */
    struct blk_limits below, offers;
    struct blk_layer *old; /* while it starts: what it replaces */
    struct blk_lender *lender;
    struct pool own;
    struct node_list waiting;
    struct node *retried; /* whose submit() is called again just now */
    bool woken, kick;
    enum layer_state state;
    bool drained; /* it was told to hold nothing back */
    enum layer_step step;
    bool ready; /* the step is over, with: */
    int ready_error;
    char why[200];
    struct log_limit log_limit;
    struct chain_stats stats;
};

/* The layers of a chain, the head first, and the memory of their slots. */
struct stack {
    unsigned n;
    struct blk_layer **layer;
    size_t slots_size; /* of one guest request */
    char *slots;       /* of requests that layers make */
    char *guest_slots; /* of the guest's, and of the head's pieces */
};

enum chain_state { CHAIN_NEW, CHAIN_STARTED, CHAIN_STOPPED };

struct chain {
    struct loop *loop;
    struct loop_task task;
    const struct chain_events *events;
    void *ctx;
    char *disk;
    char *attachment; /* or NULL */
    bool resumed;     /* the chain_spec's */
    bool readonly;
    enum chain_state state;

    /* requests */
    struct stack *stack;
    struct stack *live;         /* the same; while next starts: that, closed */
    struct blk_layer *starting; /* the one whose start() is under way */
    struct pool guest;
    struct pool map; /* the node of chain_map() */
    struct node_list queue, parked;
    unsigned inflight; /* guest requests past the door */
    bool open;
    struct blk_lender *lender; /* the tail's, if it may be used; see open */
    unsigned woken, kicks;     /* layers that are marked so */
    bool timely;               /* now_ns is */
    uint64_t now_ns;           /* read once per batch */

    /* life cycle: the steps asked for, the first is under way */
    struct chain_op *op, **op_tail;
    const uint8_t *phase; /* NULL: not begun */
    unsigned cursor;
    struct stack *next, *old;
    bool held; /* chain_pause() was asked for */
    struct chain_holds holds;
    uint64_t closed_ns; /* since when the door is closed */
    bool back;          /* the operation failed and is being taken back */
    uint64_t drain_ns;  /* how long its PH_EMPTY may take; 0: without limit */
    struct blk_timer drain;
    bool draining, drain_over; /* the timer was started; it fired */
    bool was_readonly;
    int error; /* of the operation under way */
    bool relimit;
    struct chain_op relimit_op;
    bool relimit_queued;
    int fatal;
    char fatal_why[256];
};

/* engine.c */
void engine_queue(struct chain *, struct node *, struct blk_layer *,
                  enum node_state);
void engine_wake(struct blk_layer *);
void engine_poke(struct chain *);
uint64_t engine_now(struct chain *);
void engine_run(struct loop_task *);
void engine_fatal(struct chain *, int error, const char *why);
__attribute__((noreturn)) void engine_broken(const char *who, const char *what,
                                             const char *file, int line);
void list_init(struct node_list *);
void list_push(struct node_list *, struct node *);
struct node *list_pop(struct node_list *);

/* request.c */
struct slot *slot_of(const struct node *, const struct blk_layer *);
void *slot_scratch(const struct node *, const struct blk_layer *);
void request_hand(struct node *, struct blk_layer *);
void request_restore(struct node *, struct blk_layer *);
void request_enter(struct node *, struct blk_layer *);
int pool_init(struct pool *, struct blk_layer *owner, unsigned n);
void pool_free(struct pool *);
struct node *pool_get(struct pool *);
void pool_put(struct pool *, struct node *);

/* stack.c */
struct stack *stack_new(unsigned n);
void stack_free(struct stack *);
int stack_alloc_own(struct stack *);
int stack_alloc_guest(struct chain *, struct stack *);
void stack_place_guest(struct chain *, struct stack *);
void stack_place(struct chain *, struct stack *);
int layer_new(struct blk_layer **, struct chain *, const struct blk_conf *,
              char *why, size_t n);
void layer_free(struct blk_layer *);
bool layer_same(const struct blk_layer *, const struct blk_conf *);
int stack_plan(struct chain *, const struct chain_spec *, struct stack **,
               char *why, size_t n);
void stack_drop_new(struct stack *);

/* spec.c */
struct blk_conf *conf_copy(const struct blk_conf *);
const char *conf_name(const struct blk_conf *); /* of the layer */
struct chain_spec *spec_copy(const struct chain_spec *);
void spec_free(struct chain_spec *);

/* limits.c */
void limits_default(const struct chain *, struct blk_limits *);
int limits_layer(struct blk_layer *, const struct blk_limits *below, char *why,
                 size_t n);
int limits_allow(const struct blk_limits *, const struct blk_req *);
bool limits_equal(const struct blk_limits *, const struct blk_limits *);
bool op_modifies(unsigned op);

/* lifecycle.c */
/* Last thing in a task: a step's done() may free the chain. */
void lifecycle_run(struct chain *);

/* stats.c */
void stats_leave(struct blk_layer *, const struct slot *, int error);

/* map.c: a BLK_MAP goes past all layers but those that have map(). */
static inline bool
is_map(const struct chain *c, const struct node *nd)
{
    return nd == c->map.node;
}
void map_enter(struct chain *, struct node *); /* at the open head */
void map_down(struct blk_layer *, struct node *);
void map_up(struct blk_layer *, struct node *);

/* head.c */
extern const struct blk_plugin head_plugin;
int head_prepare(struct blk_layer *, const struct blk_limits *);
void head_free(struct blk_layer *);

#endif
