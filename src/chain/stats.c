/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats.c: what the engine counts per layer, and how layers are asked for what
 * they count themselves.  Times are of the batch in which a request came in
 * and left: the clock is read once per batch.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const op_name[BLK_OPS] = { "read", "write", "flush",
                                              "discard", "zero" };

/* bucket i: less than 2^i microseconds; the last: all that is longer. */
static unsigned
bucket_of(uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned i = 0;

    while (us && i < CHAIN_BUCKETS - 1) {
        us >>= 1;
        i++;
    }
    return i;
}

/* A request that came into l from above leaves it upwards. */
void
stats_leave(struct blk_layer *l, const struct slot *s, int error)
{
    struct chain_stats *st = &l->stats;
    uint64_t ns = engine_now(l->chain) - s->in_ns;

    st->requests[s->in_op]++;
    st->bytes[s->in_op] += s->in_len;
    st->errors[s->in_op] += error != 0;
    st->latency[s->in_op][bucket_of(ns)]++;
    st->latency_sum_ns[s->in_op] += ns;
}

/* What goes through a layer without submit() and done() is not looked at: it
 * is what comes into the next one that has them. */
static const struct blk_layer *
counted(const struct chain *c, unsigned i)
{
    const struct blk_layer *l = c->stack->layer[i + 1];

    return l->works || !l->down ? l : l->down;
}

const struct blk_limits *
chain_layer_limits(const struct chain *c, unsigned i)
{
    return i + 1 < c->stack->n ? &c->stack->layer[i + 1]->offers : NULL;
}

const struct chain_stats *
chain_layer_stats(const struct chain *c, unsigned i)
{
    return i + 1 < c->stack->n ? &counted(c, i)->stats : NULL;
}

static void
out_engine(const struct chain_stats *st, struct blk_out *out)
{
    static const char *const what[] = { "requests", "bytes", "errors" };
    const uint64_t *const value[] = { st->requests, st->bytes, st->errors };
    char name[40];

    for (unsigned op = 0; op < BLK_OPS; op++) {
        for (unsigned k = 0; k < 3; k++) {
            if (!value[k][op])
                continue;
            snprintf(name, sizeof(name), "%s-%s", op_name[op], what[k]);
            out->u64(out, name, value[k][op], k == 1 ? "bytes" : "requests");
        }
        if (!st->requests[op])
            continue;
        snprintf(name, sizeof(name), "%s-latency-avg", op_name[op]);
        out->u64(out, name, st->latency_sum_ns[op] / st->requests[op], "ns");
    }
}

void
chain_layer_out(struct chain *c, unsigned i, struct blk_out *out)
{
    struct blk_layer *l;
    const struct blk_counter *k;

    if (i + 1 >= c->stack->n)
        return;
    l = c->stack->layer[i + 1];
    out_engine(chain_layer_stats(c, i), out);
    for (k = l->plugin->counters; k && k->name; k++) {
        uint64_t value;

        memcpy(&value, (const char *)l->self + k->at, sizeof(value));
        out->u64(out, k->name, value, k->unit);
    }
    if (l->plugin->stats && l->state != LAYER_NEW && l->state != LAYER_STOPPED)
        l->plugin->stats(l, out);
}

/* ---- commands ------------------------------------------------------------ */

static struct blk_layer *
layer_named(struct chain *c, const char *name)
{
    for (unsigned i = 1; i < c->stack->n; i++) {
        if (!strcmp(conf_name(c->stack->layer[i]->conf), name))
            return c->stack->layer[i];
    }
    return NULL;
}

int
chain_command(struct chain *c, const char *layer, int argc, char **argv,
              struct blk_out *out)
{
    struct blk_layer *l = layer_named(c, layer);

    if (!l) {
        blk_printf(out, "disk %s has no layer %s\n", c->disk, layer);
        return -ENOENT;
    }
    if (l->state == LAYER_NEW || l->state == LAYER_STOPPED) {
        blk_printf(out, "layer %s is not started\n", layer);
        return -EAGAIN;
    }
    if (argc == 1 && !strcmp(argv[0], "help") && l->plugin->commands) {
        blk_printf(out, "%s\n", l->plugin->commands);
        return 0;
    }
    if (!l->plugin->command || argc < 1) {
        blk_printf(out, "layer %s has %s\n", layer,
                   argc < 1 ? "to be given a command" : "no commands");
        return -EOPNOTSUPP;
    }
    return l->plugin->command(l, argc, argv, out);
}

void
blk_put_u64(struct blk_out *out, const char *name, uint64_t value)
{
    out->u64(out, name, value, "");
}

void
blk_put_str(struct blk_out *out, const char *name, const char *value)
{
    out->str(out, name, value ? value : "");
}

/* Cut at the end of the buffer: what a layer says is a few lines at a time. */
void
blk_printf(struct blk_out *out, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    out->text(out, text);
}
