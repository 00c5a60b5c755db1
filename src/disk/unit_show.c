/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* unit_show.c: what a disk's data half tells a person, as JSON. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/unit_private.h"

static const char *const op_names[BLK_OPS] = { "read", "write", "flush",
                                               "discard", "zero" };

static void
put_u64(struct json_object *o, const char *name, uint64_t v)
{
    json_object_object_add(o, name, json_object_new_uint64(v));
}

static void
put_str(struct json_object *o, const char *name, const char *v)
{
    json_object_object_add(o, name, json_object_new_string(v));
}

static struct json_object *
show_limits(const struct blk_limits *l)
{
    struct json_object *o = json_object_new_object(), *ops;
    unsigned i;

    put_u64(o, "size", l->size);
    put_u64(o, "align", l->align);
    put_u64(o, "block", l->block);
    put_u64(o, "max-len", l->max_len);
    put_u64(o, "max-segs", l->max_segs);
    put_u64(o, "discard-align", l->discard_align);
    json_object_object_add(o, "readonly", json_object_new_boolean(l->readonly));
    json_object_object_add(o, "volatile-cache",
                           json_object_new_boolean(l->volatile_cache));
    json_object_object_add(o, "fua", json_object_new_boolean(l->fua));
    ops = json_object_new_array();
    for (i = 0; i < BLK_OPS; i++) {
        if (l->ops & BLK_BIT(i))
            json_object_array_add(ops, json_object_new_string(op_names[i]));
    }
    json_object_object_add(o, "ops", ops);
    return o;
}

/* requests, bytes, errors: {"read": N, ...}; what is 0 is there too. */
static struct json_object *
show_per_op(const uint64_t *v)
{
    struct json_object *o = json_object_new_object();
    unsigned i;

    for (i = 0; i < BLK_OPS; i++)
        put_u64(o, op_names[i], v[i]);
    return o;
}

static struct json_object *
show_channel(const struct chan *c)
{
    const struct chan_stats *s = chan_stats(c);
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "requests", show_per_op(s->requests));
    json_object_object_add(o, "bytes", show_per_op(s->bytes));
    json_object_object_add(o, "errors", show_per_op(s->errors));
    put_u64(o, "in-flight", chan_inflight(c));
    put_u64(o, "depth", chan_depth(c));
    put_u64(o, "indirect", s->indirect);
    put_u64(o, "segments", s->segments);
    put_u64(o, "sweeps", s->sweeps);
    put_u64(o, "copies", s->copies);
    put_u64(o, "copy-calls", s->copy_calls);
    put_u64(o, "copy-errors", s->copy_errors);
    put_u64(o, "notifies", s->notifies);
    put_u64(o, "events", s->events);
    put_u64(o, "spurious-events", s->spurious);
    put_u64(o, "malformed", s->malformed);
    put_u64(o, "throttled", s->throttled);
    put_u64(o, "stalls", s->stalls);
    return o;
}

static struct json_object *
show_latency(const struct chain_stats *s)
{
    struct json_object *o = json_object_new_object();
    unsigned op, i, last;

    for (op = 0; op < BLK_OPS; op++) {
        struct json_object *l, *h;

        if (!s->requests[op])
            continue;
        l = json_object_new_object();
        put_u64(l, "mean-us", s->latency_sum_ns[op] / s->requests[op] / 1000);
        h = json_object_new_array();
        for (last = CHAIN_BUCKETS; last && !s->latency[op][last - 1];)
            last--;
        for (i = 0; i < last; i++)
            json_object_array_add(h, json_object_new_uint64(s->latency[op][i]));
        json_object_object_add(l, "under-2^i-us", h);
        json_object_object_add(o, op_names[op], l);
    }
    return o;
}

/* ---- a layer's counters and lines, as a blk_out ---------------------------
 */

struct show_out {
    struct blk_out out;
    struct json_object *o;
    struct json_object *lines;
};

static void
out_u64(struct blk_out *out, const char *name, uint64_t v, const char *unit)
{
    (void)unit;
    put_u64(((struct show_out *)out)->o, name, v);
}

static void
out_str(struct blk_out *out, const char *name, const char *v)
{
    put_str(((struct show_out *)out)->o, name, v);
}

static void
out_text(struct blk_out *out, const char *text)
{
    struct show_out *s = (struct show_out *)out;

    json_object_array_add(s->lines, json_object_new_string(text));
}

static struct show_out
show_out_new(void)
{
    struct show_out s = {
        .out = { .u64 = out_u64, .str = out_str, .text = out_text },
        .o = json_object_new_object(),
        .lines = json_object_new_array(),
    };

    return s;
}

static struct json_object *
show_out_end(struct show_out *s)
{
    if (json_object_array_length(s->lines))
        json_object_object_add(s->o, "text", s->lines);
    else
        json_object_put(s->lines);
    return s->o;
}

static struct json_object *
show_holds(const struct chain_holds *h)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "now", json_object_new_boolean(h->now));
    put_u64(o, "times", h->times);
    put_u64(o, "last-ns", h->last_ns);
    put_u64(o, "longest-ns", h->longest_ns);
    return o;
}

static struct json_object *
show_layer(struct unit *u, unsigned i)
{
    const struct chain_stats *s = chain_layer_stats(u->chain, i);
    struct json_object *o = json_object_new_object();
    struct show_out out = show_out_new();

    put_str(o, "name", chain_layer_name(u->chain, i));
    put_u64(o, "size", chain_layer_limits(u->chain, i)->size);
    json_object_object_add(o, "requests", show_per_op(s->requests));
    json_object_object_add(o, "bytes", show_per_op(s->bytes));
    json_object_object_add(o, "errors", show_per_op(s->errors));
    json_object_object_add(o, "latency", show_latency(s));
    chain_layer_out(u->chain, i, &out.out);
    json_object_object_add(o, "counters", show_out_end(&out));
    return o;
}

struct json_object *
unit_show(struct unit *u)
{
    struct json_object *o = json_object_new_object(), *layers;
    unsigned i;

    put_u64(o, "in-chain", u->in_chain);
    json_object_object_add(o, "paused", json_object_new_boolean(u->paused));
    if (u->failed)
        put_str(o, "reason", u->reason);
    if (u->chan)
        json_object_object_add(o, "channel", show_channel(u->chan));
    if (!u->chain || u->state == UNIT_NEW)
        return o;
    json_object_object_add(o, "limits", show_limits(chain_limits(u->chain)));
    json_object_object_add(o, "held", show_holds(chain_holds(u->chain)));
    layers = json_object_new_array();
    for (i = 0; i < chain_layers(u->chain); i++)
        json_object_array_add(layers, show_layer(u, i));
    json_object_object_add(o, "layers", layers);
    return o;
}

int
unit_command(struct unit *u, const char *layer, int argc, char **argv,
             struct json_object **result)
{
    struct show_out out = show_out_new();
    int rc;

    if (u->chain && u->state != UNIT_NEW)
        rc = chain_command(u->chain, layer, argc, argv, &out.out);
    else
        rc = -ENOTCONN;
    *result = show_out_end(&out);
    return rc;
}
