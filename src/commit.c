/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit.c: `blktapctl chain DISK commit [LAYER]'.
 *
 *   the layer copies ─► "ready" ─► it is told "end" ─► removed, as by
 *        │    ▲                         │      `chain remove' (live.c)
 *        └────┘ looked at, now and then └─► "again", when that is not to be
 *
 * The layer does the work, see its plugin; from "end" on a pause of the chain
 * succeeds only with all of it below and flushed.  So the chain is changed
 * after that and before any request, and written down in between as every
 * change is: killed before, the next process has both layers, and the upper one
 * hides what was copied; killed after, it has the lower one, which holds all.
 *
 * A commit is of this process: after a restart none is at work, and it can be
 * begun again.  The file of the layer is left where it is.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

#define LOOK_NS UINT64_C(100000000)

enum commit_phase { COMMIT_WORKS, COMMIT_OVER };

/* Of each disk that has or had one, the last; freed with the daemon. */
struct daemon_commit {
    struct daemon_commit *next;
    struct daemon *daemon;
    struct blk_timer look;
    char disk[64], layer[64], word[24];
    char *layers; /* it and those below, as they were when it began */
    enum commit_phase phase;
    int status; /* when it is over; 0: the layer is out of the chain */
    char why[300];
    uint64_t took_ns;
};

/* One call of a person. */
struct commit_ask {
    struct daemon_commit *commit; /* that it begins; else NULL */
    struct daemon *daemon;
    char disk[64], layer[64];
    bool looks; /* at how far one is */
    commit_done *done;
    void *arg;
};

static void commit_look(struct blk_timer *);

/* ---- layers -------------------------------------------------------------- */

static bool
plugin_commits(const char *name)
{
    char why[200];
    const struct blk_plugin *p = plugin_find(name, why, sizeof why);

    return p && (p->can & BLK_CAN_COMMIT);
}

/* name NULL: the uppermost that can be committed.  NULL: why says it. */
static const struct blk_conf *
layer_find(const struct chain_spec *chain, const char *name, char *why,
           size_t n)
{
    unsigned i;

    for (i = 0; i < chain->n; i++) {
        const struct blk_conf *l = &chain->layer[i];

        if (name && strcmp(l->name, name))
            continue;
        if (plugin_commits(l->plugin) && (name || i + 1 < chain->n))
            return l;
        if (!name)
            continue;
        snprintf(why, n, "layer \"%s\" (plugin %s) can't be committed", name,
                 l->plugin);
        return NULL;
    }
    if (name)
        snprintf(why, n, "there is no layer \"%.64s\" that runs", name);
    else
        snprintf(why, n,
                 "expected a layer that can be committed, as an overlay, found "
                 "none");
    return NULL;
}

/* malloc'd; NULL: it is not there, or no memory. */
static char *
layers_text(const struct disk *disk, const char *layer)
{
    struct chain_spec part = disk_conf(disk)->chain;
    char *text = NULL;
    size_t size;
    FILE *f;

    while (part.n && strcmp(part.layer->name, layer)) {
        part.layer++;
        part.n--;
    }
    f = part.n ? open_memstream(&text, &size) : NULL;
    if (!f)
        return NULL;
    conf_print_chain(f, &part, "");
    if (!fclose(f))
        return text;
    free(text);
    return NULL;
}

static bool
layers_are_as_before(const struct daemon_commit *c, const struct disk *disk)
{
    char *now = layers_text(disk, c->layer);
    bool same = now && !strcmp(now, c->layers);

    free(now);
    return same;
}

/* ---- the end ------------------------------------------------------------- */

static struct daemon_commit *
commit_of(const struct daemon *d, const char *disk)
{
    struct daemon_commit *c = d->commits;

    while (c && strcmp(c->disk, disk))
        c = c->next;
    return c;
}

static void
commit_over(struct daemon_commit *c, int status, const char *why)
{
    struct log_fields f = { .disk = c->disk };

    c->phase = COMMIT_OVER;
    c->status = status;
    snprintf(c->why, sizeof c->why, "%s", status ? why : "");
    if (status)
        log_line(BLK_WARN, &f, "%s: layer %s was not committed: %s", c->disk,
                 c->layer, c->why);
    else
        log_line(BLK_INFO, &f,
                 "%s: all that layer %s held is in what was below it; its file "
                 "is used no more, and stays",
                 c->disk, c->layer);
}

static void
commit_look_later(struct daemon_commit *c)
{
    struct loop *l = c->daemon->control;

    c->look.fire = commit_look;
    c->look.data = c;
    l->ops->timer_start(l, &c->look, LOOK_NS);
}

/* Words to the layer.  When the disk is closed it is over. */
static void
commit_say(struct daemon_commit *c, const char *verb, const char *word,
           void (*done)(void *, int, struct json_object *))
{
    const char *words[] = { "commit", verb, word };
    struct disk *disk = disks_find(c->daemon->disks, c->disk);

    if (disk)
        disk_command(disk, c->layer, word ? 3 : 2, words, done, c);
    else
        commit_over(c, -ESHUTDOWN, "the disk was closed");
}

static void
commit_dropped(void *ctx, int status, struct json_object *told)
{
    (void)ctx;
    (void)status;
    json_object_put(told);
}

/* Over, and it is to stop copying. */
static void
commit_give_up(struct daemon_commit *c, int status, const char *why)
{
    const char *words[] = { "commit", "cancel" };
    struct disk *disk = disks_find(c->daemon->disks, c->disk);

    commit_over(c, status, why);
    if (disk)
        disk_command(disk, c->layer, 2, words, commit_dropped, NULL);
}

/* ---- out of the chain ---------------------------------------------------- */

static void
commit_again(void *ctx, int status, struct json_object *told)
{
    struct daemon_commit *c = ctx;
    char why[sizeof c->why];

    (void)status;
    json_object_put(told);
    snprintf(why, sizeof why, "%s", c->why);
    if (c->status == -EBUSY)
        commit_look_later(c);
    else
        commit_give_up(c, c->status, why);
}

/* A change that could not be written down is made all the same. */
static void
commit_removed(void *arg, int status, const char *why, uint64_t took_ns)
{
    struct daemon_commit *c = arg;
    struct disk *disk = disks_find(c->daemon->disks, c->disk);
    char *layers = disk && status ? layers_text(disk, c->layer) : NULL;

    c->took_ns = took_ns;
    if (!layers) {
        commit_over(c, status, why);
        return;
    }
    free(layers);
    c->status = status;
    snprintf(c->why, sizeof c->why, "%s", why);
    commit_say(c, "again", c->word, commit_again);
}

static void
commit_ended(void *ctx, int status, struct json_object *told)
{
    struct daemon_commit *c = ctx;
    struct conf_edit edit = { .kind = CONF_REMOVE, .at = c->layer };

    json_object_put(told);
    if (status)
        commit_look_later(c); /* it says why, or is ready again */
    else
        daemon_chain(c->daemon, c->disk, &edit, CHAIN_FORCE, commit_removed, c);
}

/* ---- at work ------------------------------------------------------------- */

static const char *
told_str(struct json_object *told, const char *key)
{
    struct json_object *v;

    if (told && json_object_is_type(told, json_type_object) &&
        json_object_object_get_ex(told, key, &v))
        return json_object_get_string(v);
    return "";
}

static void
commit_ready(struct daemon_commit *c)
{
    struct daemon *d = c->daemon;
    struct disk *disk = disks_find(d->disks, c->disk);

    if (d->reload || d->change) {
        commit_look_later(c);
    } else if (disk && !layers_are_as_before(c, disk)) {
        commit_give_up(c, -EBUSY,
                       "the layers below were changed meanwhile: begin again");
    } else {
        snprintf(c->word, sizeof c->word, "%" PRIx64,
                 d->control->ops->random(d->control));
        commit_say(c, "end", c->word, commit_ended);
    }
}

static void
commit_told(void *ctx, int status, struct json_object *told)
{
    struct daemon_commit *c = ctx;
    const char *state = told_str(told, "commit");

    if (status)
        commit_over(c, status, "its layer does not answer");
    else if (!strcmp(state, "ready"))
        commit_ready(c);
    else if (!strcmp(state, "failed"))
        commit_over(c, -EIO, told_str(told, "commit_failed"));
    else if (!strcmp(state, "none"))
        commit_over(c, -ECANCELED,
                    "it was cancelled, or its layer was opened anew");
    else
        commit_look_later(c);
    json_object_put(told);
}

static void
commit_look(struct blk_timer *t)
{
    commit_say(t->data, "status", NULL, commit_told);
}

/* ---- asked for ----------------------------------------------------------- */

/* The sentence that a layer printed. */
static const char *
told_text(struct json_object *told, char *to, size_t n)
{
    struct json_object *lines = NULL;

    to[0] = '\0';
    if (told && json_object_is_type(told, json_type_object) &&
        json_object_object_get_ex(told, "text", &lines) &&
        json_object_array_length(lines))
        snprintf(to, n, "%s",
                 json_object_get_string(json_object_array_get_idx(lines, 0)));
    to[strcspn(to, "\n")] = '\0';
    return to;
}

static void
put(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

/* told: what the layer says, or NULL; taken over. */
static void
ask_answer(struct commit_ask *a, struct json_object *told)
{
    const struct daemon_commit *c = commit_of(a->daemon, a->disk);
    struct json_object *o = told ? told : json_object_new_object();

    put(o, "disk", a->disk);
    put(o, "layer", a->layer);
    if (c && !strcmp(c->layer, a->layer) && c->phase == COMMIT_OVER) {
        put(o, "over", c->status ? "failed" : "committed");
        if (c->status)
            put(o, "why", c->why);
        json_object_object_add(o, "waited_ns",
                               json_object_new_uint64(c->took_ns));
    }
    a->done(a->arg, 0, NULL, o);
    free(a);
}

static void
ask_told(void *ctx, int status, struct json_object *told)
{
    struct commit_ask *a = ctx;
    struct daemon_commit *c = a->commit;
    const struct daemon_commit *last = commit_of(a->daemon, a->disk);
    char why[300];

    /* Its layer has just gone: the end is not told yet. */
    if (status && a->looks && last && !strcmp(last->layer, a->layer)) {
        json_object_put(told);
        ask_answer(a, NULL);
        return;
    }

    if (c && !status) {
        c->phase = COMMIT_WORKS;
        commit_look_later(c);
    } else if (c) {
        commit_over(c, status, told_text(told, why, sizeof why));
    }
    if (!status) {
        ask_answer(a, told);
        return;
    }
    told_text(told, why, sizeof why);
    a->done(a->arg, status, why[0] ? why : strerror(-status), NULL);
    json_object_put(told);
    free(a);
}

/* 0; or -errno with a sentence: one is at work, or there is no memory. */
static int
ask_commit(struct commit_ask *a, const struct disk *disk, const char **why)
{
    struct daemon *d = a->daemon;
    struct daemon_commit *c = commit_of(d, a->disk);
    char *layers = layers_text(disk, a->layer);

    *why = "out of memory";
    if (c && c->phase != COMMIT_OVER) {
        free(layers);
        *why = "a commit is at work on this disk";
        return -EBUSY;
    }
    if (!c && layers) {
        c = calloc(1, sizeof *c);
        if (c) {
            c->next = d->commits;
            d->commits = c;
        }
    }
    if (!c || !layers) {
        free(layers);
        return -ENOMEM;
    }
    free(c->layers);
    c->layers = layers;
    c->daemon = d;
    c->took_ns = 0;
    snprintf(c->disk, sizeof c->disk, "%s", a->disk);
    snprintf(c->layer, sizeof c->layer, "%s", a->layer);
    c->phase = COMMIT_WORKS;
    a->commit = c;
    return 0;
}

/* Which layer is meant; 0, or -errno with a sentence. */
static int
ask_layer(struct commit_ask *a, const struct disk *disk, const char *verb,
          const char *name, char *why, size_t n)
{
    const struct daemon_commit *c = commit_of(a->daemon, a->disk);
    struct chain_spec running = conf_running(disk_conf(disk));
    const struct blk_conf *layer;

    if (c && verb && (!name || !strcmp(c->layer, name))) {
        snprintf(a->layer, sizeof a->layer, "%s", c->layer);
        return 0;
    }
    layer = layer_find(&running, name, why, n);
    if (layer)
        snprintf(a->layer, sizeof a->layer, "%s", layer->name);
    return layer ? 0 : -EINVAL;
}

void
daemon_commit(void *daemon, const char *disk, const char *verb,
              const char *layer, commit_done *done, void *arg)
{
    struct daemon *d = daemon;
    struct disk *running = disks_find(d->disks, disk);
    struct commit_ask *a = calloc(1, sizeof *a);
    const char *words[] = { "commit", verb };
    const struct daemon_commit *c;
    char sentence[400];
    const char *why = sentence;
    int rc = 0;

    if (!a || !running) {
        done(arg, a ? -ENOTCONN : -ENOMEM,
             a ? "the disk is not open" : "out of memory", NULL);
        free(a);
        return;
    }
    *a = (struct commit_ask){ .daemon = d, .done = done, .arg = arg };
    snprintf(a->disk, sizeof a->disk, "%s", disk);
    a->looks = verb && !strcmp(verb, "status");
    rc = ask_layer(a, running, verb, layer, sentence, sizeof sentence);
    if (!rc && !verb)
        rc = ask_commit(a, running, &why);
    c = commit_of(d, disk);
    if (rc) {
        done(arg, rc, why, NULL);
        free(a);
    } else if (a->looks && c && c->phase == COMMIT_OVER &&
               !strcmp(c->layer, a->layer)) {
        ask_answer(a, NULL);
    } else {
        disk_command(running, a->layer, verb ? 2 : 1, words, ask_told, a);
    }
}

void
commits_free(struct daemon *d)
{
    struct daemon_commit *c;

    while ((c = d->commits)) {
        d->commits = c->next;
        d->control->ops->timer_stop(d->control, &c->look);
        free(c->layers);
        free(c);
    }
}
