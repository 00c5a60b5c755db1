/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain.h: the engine.  A chain is the layers of one disk; requests enter at
 * its head and come back completed.  Pure: it knows loops (host.h), plugins
 * and nothing of rings, Xen or libev.
 *
 * Threads: a chain belongs to one data loop; all calls are made there.
 * chain_spec and plugins are immutable and shared.
 */
#ifndef CHAIN_CHAIN_H
#define CHAIN_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "blktap/plugin.h"
#include "host/host.h"

/* ---- loader (loader.c): modules, or a static list ------------------------ */

/* NULL with a sentence in why.  Any thread; a plugin is never unloaded.  Looks
 * in $BLKTAPD_PLUGINDIR, else in the compiled-in folder; with BLK_STATIC, in
 * blk_plugins_static[]. */
const struct blk_plugin *plugin_find(const char *name, char *why, size_t n);
/* Every plugin there is, for help and tests: cb per plugin. */
int plugin_each(void (*cb)(void *, const struct blk_plugin *), void *ctx);
extern const struct blk_plugin *const blk_plugins_static[]; /* NULL-ended */

/* ---- options (options.c) ------------------------------------------------- */

/* One key of a layer in the config; where it stands, for messages. */
struct blk_kv {
    const char *key, *value;
    const char *file;
    int line;
};

/* One layer as configured. */
struct blk_conf {
    const char *plugin;
    const char *name; /* of the layer; "name" key, or the plugin's */
    const char *file;
    int line;
    const struct blk_kv *kv;
    unsigned n;
};

struct chain_spec {
    const char *disk;             /* name of the disk */
    const struct blk_conf *layer; /* [0] is next to the head */
    unsigned n;
    bool readonly;
    /* Of a new chain; see blk_scratch(). */
    const char *attachment; /* what the disk is attached to, by a name that it
                             * alone has and keeps; NULL: it has none */
    bool resumed;           /* a front-end wrote through these layers before */
};

/* Fills self (self_size bytes, zeroed) from conf; strings are malloc'd, and
 * options_free() frees them.  0, or -errno and why = "FILE:LINE: key: ...". */
int options_parse(const struct blk_plugin *, const struct blk_conf *,
                  void *self, char *why, size_t n);
void options_free(const struct blk_plugin *, void *self);
/* Numbers as people write them: "4k", "10G", "5ms".  0 or -EINVAL. */
int parse_size(const char *, uint64_t *);
int parse_time(const char *, uint64_t *);
int parse_uint(const char *, uint64_t *);
int parse_bool(const char *, bool *);

/* Every rule that can be told without opening anything: plugins exist,
 * options are right, the last layer is a tail and no other is. */
int chain_check(const struct chain_spec *, char *why, size_t n);

/* ---- the chain ----------------------------------------------------------- */

struct chain;

/* A request of the head.  Memory is the chain's (chain_get); the caller sets
 * req.op, flags, off, len, sg and done; in done(), error is the result. */
struct chain_req {
    struct blk_req req;
    void (*done)(struct chain_req *, int error);
    void *owner;
};

/* A step that takes time; the caller's until done().  Steps may be asked for
 * while others are under way: they are done one after the other, in order, and
 * done() never comes from inside the call that asked.  done() of chain_stop()
 * and of a failed chain_start() may free the chain. */
struct chain_op {
    void (*done)(struct chain_op *, int error);
    void *data;
    char why[256]; /* the sentence, when error != 0 */
    /* chain_pause(): how long requests in the chain may take to end; then it
     * fails with -ETIMEDOUT and the chain goes on.  0: without limit. */
    uint64_t drain_ns;
    /* The engine's. */
    struct chain_op *next_;
    struct chain_spec *spec_;
    int kind_;
};

struct chain_events {
    /* Limits changed (the chain is paused while this is called). */
    void (*relimit)(void *ctx, const struct blk_limits *);
    /* A layer can't go on. */
    void (*fatal)(void *ctx, int error, const char *why);
    /* chain_replace() would have it offer `then`: 0, or -errno with a sentence
     * in why, and the old chain goes on.  NULL: whatever it offers is good. */
    int (*accept)(void *ctx, const struct blk_limits *now,
                  const struct blk_limits *then, char *why, size_t n);
};

/* 0, or -errno with why.  Nothing is started yet; spec is copied. */
int chain_new(struct chain **, struct loop *, const struct chain_spec *,
              const struct chain_events *, void *ctx, char *why, size_t n);
void chain_start(struct chain *, struct chain_op *);
/* What the head may offer to a guest; valid after start. */
const struct blk_limits *chain_limits(const struct chain *);
/* Memory for depth requests at a time; only when none is in use.  0/-ENOMEM */
int chain_reserve(struct chain *, unsigned depth);
struct chain_req *chain_get(struct chain *); /* NULL: all are in use */
void chain_put(struct chain *, struct chain_req *);
/* Checks limits: splits what is too long, repairs what is not aligned to
 * limits.align (reads around, serialised against overlapping writes), refuses
 * the rest.  Runs at STAGE_CHAIN.  While paused, requests wait at the head. */
void chain_submit(struct chain *, struct chain_req *);
/* Drain and pause; nests not.  resume runs what waited. */
void chain_pause(struct chain *, struct chain_op *);
void chain_resume(struct chain *, struct chain_op *);
/* Live change to another spec: layers with equal conf are kept, others
 * replaced (start(l, old)), inserted, removed, under one pause.  On error the
 * old chain goes on as it was.  A chain that is paused stays so. */
void chain_replace(struct chain *, const struct chain_spec *,
                   struct chain_op *);
void chain_stop(struct chain *, struct chain_op *);

/* Where in [off, off + len) the layers have data; the caller's until done().
 * It waits at the head as a request of a guest does.  One at a time. */
struct chain_map {
    uint64_t off, len; /* in done(): of what was not told */
    /* From off on, without a gap, and never beyond len; it may end before, but
     * tells of something unless it fails.  Two in a row may be alike.  False:
     * enough. */
    bool (*extent)(struct chain_map *, uint64_t len, enum blk_extent);
    void (*done)(struct chain_map *, int error);
    void *data;
    bool known; /* in done(): false: no layer could tell, and it is data */
    /* The engine's. */
    struct chain *chain_;
    uint64_t skip_; /* not asked for, as off is not aligned */
    uint32_t left_; /* of what the layer that holds it may tell */
    bool enough_;
};
void chain_map(struct chain *, struct chain_map *);
void chain_free(struct chain *); /* stopped, or never started */

unsigned chain_layers(const struct chain *);
const char *chain_layer_name(const struct chain *, unsigned i);
/* What that layer offers to the one above; valid after start. */
const struct blk_limits *chain_layer_limits(const struct chain *, unsigned i);
bool chain_transparent(const struct chain *);
/* Who lends memory for the data of requests that are submitted before control
 * goes back to the loop; NULL: nobody just now.  Only while the door is open:
 * so none of it waits at the head while the layers become others. */
struct blk_lender *chain_lender(const struct chain *);

enum { CHAIN_BUCKETS = 32 }; /* latency: bucket i counts < 2^i us */
struct chain_stats {
    uint64_t requests[BLK_OPS], bytes[BLK_OPS], errors[BLK_OPS];
    uint64_t latency[BLK_OPS][CHAIN_BUCKETS];
    uint64_t latency_sum_ns[BLK_OPS];
};
const struct chain_stats *chain_layer_stats(const struct chain *, unsigned i);

/* Where counters, stats() and command() write: one call per item. */
struct blk_out {
    void (*u64)(struct blk_out *, const char *name, uint64_t, const char *unit);
    void (*str)(struct blk_out *, const char *name, const char *);
    void (*text)(struct blk_out *, const char *);
};
void chain_layer_out(struct chain *, unsigned i, struct blk_out *);

/* Requests were held at the head, for a pause, a change or new limits: what a
 * guest sees of these. */
struct chain_holds {
    bool now;       /* they are */
    uint64_t times; /* it is over */
    uint64_t last_ns, longest_ns;
};
const struct chain_holds *chain_holds(const struct chain *);
int chain_command(struct chain *, const char *layer, int argc, char **argv,
                  struct blk_out *);

#endif
