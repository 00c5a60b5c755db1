/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stack.c: layers, the stack that they form, and the memory of its slots.
 *
 * A stack owns its array and its slots; a layer is owned by the chain's stack,
 * and while a replacement is under way, a layer that is kept is in two stacks.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
conf_has(const struct blk_conf *conf, const struct blk_kv *kv)
{
    for (unsigned i = 0; i < conf->n; i++) {
        if (!strcmp(conf->kv[i].key, kv->key))
            return !strcmp(conf->kv[i].value, kv->value);
    }
    return false;
}

/* Keys are unique (chain_check()), so one direction is enough. */
bool
layer_same(const struct blk_layer *l, const struct blk_conf *conf)
{
    if (strcmp(l->conf->plugin, conf->plugin) ||
        strcmp(conf_name(l->conf), conf_name(conf)) || l->conf->n != conf->n)
        return false;
    for (unsigned i = 0; i < conf->n; i++) {
        if (!conf_has(l->conf, &conf->kv[i]))
            return false;
    }
    return true;
}

/* ---- layers -------------------------------------------------------------- */

static size_t
slot_round(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

static struct blk_layer *
layer_alloc(struct chain *c, const struct blk_plugin *p, const char *name)
{
    struct blk_layer *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->chain = c;
    l->plugin = p;
    l->works = p->submit || p->done;
    if (l->works)
        l->slot_size =
            slot_round(sizeof(struct slot)) + slot_round(p->req_size);
    list_init(&l->waiting);
    l->self = calloc(1, p->self_size ? p->self_size : 1);
    if (asprintf(&l->name, "%s/%s", c->disk, name) < 0)
        l->name = NULL;
    if (!l->self || !l->name || pool_init(&l->own, l, p->own)) {
        layer_free(l);
        return NULL;
    }
    return l;
}

/* conf NULL: the head. */
int
layer_new(struct blk_layer **out, struct chain *c, const struct blk_conf *conf,
          char *why, size_t n)
{
    const struct blk_plugin *p = &head_plugin;
    struct blk_layer *l;
    int error = -ENOMEM;

    *out = NULL;
    if (conf) {
        p = plugin_find(conf->plugin, why, n);
        if (!p)
            return -ENOENT;
    }
    l = layer_alloc(c, p, conf ? conf_name(conf) : "head");
    if (!l)
        goto out;
    if (conf) {
        l->conf = conf_copy(conf);
        if (!l->conf)
            goto out;
        error = options_parse(p, conf, l->self, why, n);
        if (error) {
            layer_free(l);
            return error;
        }
    }
    *out = l;
    return 0;
out:
    snprintf(why, n, "out of memory");
    layer_free(l);
    return error;
}

void
layer_free(struct blk_layer *l)
{
    if (!l)
        return;
    if (l->plugin == &head_plugin)
        head_free(l);
    else if (l->self)
        options_free(l->plugin, l->self);
    pool_free(&l->own);
    free(l->self);
    free(l->name);
    free(l->conf);
    free(l);
}

/* ---- stacks -------------------------------------------------------------- */

struct stack *
stack_new(unsigned n)
{
    struct stack *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->layer = calloc(n, sizeof(*s->layer));
    s->n = n;
    if (!s->layer) {
        free(s);
        return NULL;
    }
    return s;
}

/* Not the layers. */
void
stack_free(struct stack *s)
{
    if (!s)
        return;
    free(s->layer);
    free(s->slots);
    free(s->guest_slots);
    free(s);
}

/* Frees the layers of a plan that never began to run. */
void
stack_drop_new(struct stack *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->n; i++) {
        if (s->layer[i] && s->layer[i]->state == LAYER_NEW &&
            s->layer[i]->plugin != &head_plugin)
            layer_free(s->layer[i]);
    }
    stack_free(s);
}

static struct blk_layer *
stack_find(const struct stack *s, const struct blk_conf *conf)
{
    for (unsigned i = 1; s && i < s->n; i++) {
        if (!strcmp(conf_name(s->layer[i]->conf), conf_name(conf)))
            return s->layer[i];
    }
    return NULL;
}

/* Whether l may go on as layer i of the n that spec asks for.  What a layer
 * that may stand last or not does depends on which it is. */
static bool
layer_kept(const struct chain *c, const struct blk_layer *l,
           const struct chain_spec *spec, unsigned i)
{
    bool was_last = l->index + 1 == c->stack->n;

    return layer_same(l, &spec->layer[i]) && c->readonly == spec->readonly &&
           (l->plugin->tail != BLK_EITHER || was_last == (i + 1 == spec->n));
}

/* The stack that spec asks for: the head, layers that are kept, new ones. */
int
stack_plan(struct chain *c, const struct chain_spec *spec, struct stack **out,
           char *why, size_t n)
{
    struct stack *s = stack_new(spec->n + 1);
    int error = -ENOMEM;

    *out = NULL;
    if (!s) {
        snprintf(why, n, "out of memory");
        return error;
    }
    if (c->stack)
        s->layer[0] = c->stack->layer[0];
    else if ((error = layer_new(&s->layer[0], c, NULL, why, n)))
        goto out;
    for (unsigned i = 0; i < spec->n; i++) {
        const struct blk_conf *conf = &spec->layer[i];
        struct blk_layer *l = stack_find(c->stack, conf);

        if (l && layer_kept(c, l, spec, i)) {
            s->layer[i + 1] = l;
            continue;
        }
        error = layer_new(&s->layer[i + 1], c, conf, why, n);
        if (error)
            goto out;
        if (l && l->plugin == s->layer[i + 1]->plugin)
            s->layer[i + 1]->old = l;
    }
    *out = s;
    return 0;
out:
    if (!c->stack) {
        layer_free(s->layer[0]);
        s->layer[0] = NULL;
    }
    stack_drop_new(s);
    return error;
}

/* ---- slots --------------------------------------------------------------- */

static size_t
slots_below(const struct stack *s, unsigned index)
{
    size_t size = 0;

    for (unsigned i = index; i < s->n; i++)
        size += s->layer[i]->slot_size;
    return size;
}

/* Memory for the slots of every request that the layers may make. */
int
stack_alloc_own(struct stack *s)
{
    size_t size = 0;

    for (unsigned i = 1; i < s->n; i++)
        size += slots_below(s, i) * s->layer[i]->own.n;
    free(s->slots);
    s->slots = calloc(1, size ? size : 1);
    return s->slots ? 0 : -ENOMEM;
}

/* And for those of the guest, with the pieces that the head makes of them, and
 * for a map. */
int
stack_alloc_guest(struct chain *c, struct stack *s)
{
    size_t n = (size_t)c->guest.n + s->layer[0]->own.n + c->map.n;
    char *slots;

    s->slots_size = slots_below(s, 0);
    slots = calloc(n, s->slots_size);
    if (!slots)
        return -ENOMEM;
    free(s->guest_slots);
    s->guest_slots = slots;
    return 0;
}

static char *
pool_place(struct pool *p, char *slots, size_t each, size_t slots_at)
{
    for (unsigned i = 0; i < p->n; i++, slots += each) {
        p->node[i].slots = slots;
        p->node[i].slots_at = slots_at;
    }
    return slots;
}

void
stack_place_guest(struct chain *c, struct stack *s)
{
    char *slots = s->guest_slots;

    INVARIANT(c, !c->inflight && !s->layer[0]->own.used);
    slots = pool_place(&c->guest, slots, s->slots_size, 0);
    slots = pool_place(&s->layer[0]->own, slots, s->slots_size, 0);
    pool_place(&c->map, slots, s->slots_size, 0);
}

static void
stack_link(struct stack *s)
{
    struct blk_layer *down = NULL, *up = NULL;

    for (unsigned i = s->n; i-- > 0;) {
        s->layer[i]->index = i;
        s->layer[i]->down = down;
        if (s->layer[i]->works)
            down = s->layer[i];
    }
    for (unsigned i = 0; i < s->n; i++) {
        s->layer[i]->up = up;
        if (s->layer[i]->works)
            up = s->layer[i];
    }
}

/* From now on the requests of layers go through s; none may be under way.
 * Those of the guest have no place yet. */
void
stack_place(struct chain *c, struct stack *s)
{
    size_t at = 0;
    char *slots = s->slots;

    INVARIANT(c, !c->queue.head && !c->woken);
    for (unsigned i = 0; i < s->n; i++) {
        struct blk_layer *l = s->layer[i];

        CONTRACT(l, !l->own.used && !l->waiting.head);
        l->slot_at = at;
        if (i > 0)
            slots = pool_place(&l->own, slots, slots_below(s, i), at);
        at += l->slot_size;
    }
    stack_link(s);
    c->live = s;
}
