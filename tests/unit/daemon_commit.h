/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * daemon_commit.h: src/commit.c with everything around it made up: layers that
 * answer, chains that change and time that passes when the test says so.
 */
#ifndef TESTS_UNIT_DAEMON_COMMIT_H
#define TESTS_UNIT_DAEMON_COMMIT_H

#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int fails_at; /* the n-th call of those below from now on; 0: none */

static int
fail_here(void)
{
    return fails_at && !--fails_at;
}

static void *
test_calloc(size_t n, size_t size)
{
    return fail_here() ? NULL : calloc(n, size);
}

static FILE *
test_memstream(char **text, size_t *size)
{
    return fail_here() ? NULL : open_memstream(text, size);
}

#define calloc         test_calloc
#define open_memstream test_memstream
#include "src/commit.c"
#undef calloc
#undef open_memstream
#include "tests/test.h"

/* ---- what is around it --------------------------------------------------- */

enum { ASKED = 4 };

static struct conf_disk web, db;
static bool is_open;
static struct daemon d;
static struct blk_timer *timers[ASKED]; /* that run */
static struct {
    char words[64], layer[64];
    const struct disk *disk;
    void (*done)(void *, int, struct json_object *);
    void *ctx;
} asked[ASKED]; /* of layers, and not yet answered */
static struct {
    unsigned n;
    char at[64];
    chain_done *done;
    void *arg;
} chained;
static struct {
    unsigned n;
    int status;
    char why[400];
    struct json_object *o;
} told;
static unsigned warned, informed;

const struct blk_plugin *
plugin_find(const char *name, char *why, size_t n)
{
    static const struct blk_plugin over = { .can = BLK_CAN_COMMIT },
                                   other = { .can = BLK_CAN_RESIZE };

    snprintf(why, n, "no such plugin");
    if (!strcmp(name, "over"))
        return &over;
    return strcmp(name, "base") ? NULL : &other;
}

struct disk *
disks_find(struct disks *ds, const char *name)
{
    (void)ds;
    if (!is_open)
        return NULL;
    return (struct disk *)(strcmp(name, "web") ? &db : &web);
}

const struct conf_disk *
disk_conf(const struct disk *disk)
{
    return (const struct conf_disk *)disk;
}

struct chain_spec
conf_running(const struct conf_disk *cd)
{
    return cd->chain;
}

void
conf_print_chain(FILE *f, const struct chain_spec *chain, const char *indent)
{
    for (unsigned i = 0; i < chain->n; i++)
        fprintf(f, "%s%s %s;", indent, chain->layer[i].plugin,
                chain->layer[i].name);
}

void
disk_command(struct disk *disk, const char *layer, int argc,
             const char *const *argv,
             void (*done)(void *, int, struct json_object *), void *ctx)
{
    unsigned i = 0;
    char *to;

    while (i < ASKED && asked[i].done)
        i++;
    REQUIRE(i < ASKED);
    to = asked[i].words;
    to[0] = '\0';
    for (int a = 0; a < argc; a++)
        snprintf(to + strlen(to), sizeof asked[i].words - strlen(to), "%s%s",
                 a ? " " : "", argv[a]);
    snprintf(asked[i].layer, sizeof asked[i].layer, "%s", layer);
    asked[i].disk = disk;
    asked[i].done = done;
    asked[i].ctx = ctx;
}

void
daemon_chain(void *daemon, const char *disk, const struct conf_edit *edit,
             enum chain_force force, chain_done *done, void *arg)
{
    CHECK(daemon == &d && !strcmp(disk, "web") && force == CHAIN_FORCE);
    CHECK_EQ(edit->kind, CONF_REMOVE);
    CHECK(!chained.done);
    snprintf(chained.at, sizeof chained.at, "%s", edit->at);
    chained.n++;
    chained.done = done;
    chained.arg = arg;
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    CHECK(f && fmt);
    warned += level == BLK_WARN;
    informed += level == BLK_INFO;
}

static void
timer_start(struct loop *l, struct blk_timer *t, uint64_t after_ns)
{
    unsigned i = 0;

    CHECK(l == d.control && after_ns);
    while (i < ASKED && timers[i] && timers[i] != t)
        i++;
    REQUIRE(i < ASKED);
    CHECK(!timers[i]);
    timers[i] = t;
}

static void
timer_stop(struct loop *l, struct blk_timer *t)
{
    CHECK(l == d.control);
    for (unsigned i = 0; i < ASKED; i++) {
        if (timers[i] == t)
            timers[i] = NULL;
    }
}

static uint64_t
loop_random(struct loop *l)
{
    CHECK(l == d.control);
    return 0xabcdef;
}

/* ---- the other side ------------------------------------------------------ */

/* Time passes; how many timers there were. */
static unsigned
tick(void)
{
    unsigned fired = 0;

    for (unsigned i = 0; i < ASKED; i++) {
        struct blk_timer *t = timers[i];

        timers[i] = NULL;
        if (t) {
            t->fire(t);
            fired++;
        }
    }
    return fired;
}

static bool
is_asked(const char *words)
{
    for (unsigned i = 0; i < ASKED; i++) {
        if (asked[i].done && !strcmp(asked[i].words, words))
            return true;
    }
    return false;
}

/* The layer's answer to these words, which it must have been told. */
static void
answers(const char *words, int status, const char *json)
{
    for (unsigned i = 0; i < ASKED; i++) {
        void (*done)(void *, int, struct json_object *) = asked[i].done;

        if (!done || strcmp(asked[i].words, words))
            continue;
        CHECK_STR(asked[i].layer, "snap2");
        asked[i].done = NULL;
        done(asked[i].ctx, status, json_tokener_parse(json));
        return;
    }
    test_fail(__FILE__, __LINE__, "nobody asked: %s", words);
}

static void
changed(int status, const char *why)
{
    chain_done *done = chained.done;

    REQUIRE(done);
    chained.done = NULL;
    done(chained.arg, status, why, 77);
}

static void
person_told(void *arg, int status, const char *why, struct json_object *o)
{
    CHECK(arg == &told);
    json_object_put(told.o);
    told.n++;
    told.status = status;
    told.o = o;
    snprintf(told.why, sizeof told.why, "%s", why ? why : "");
    CHECK_EQ(!status, o != NULL);
}

/* A person's word, or NULL: begin. */
static void
says(const char *verb, const char *layer)
{
    daemon_commit(&d, "web", verb, layer, person_told, &told);
}

static const char *
told_word(const char *key)
{
    return told_str(told.o, key);
}

static void
refused(int status, const char *words)
{
    CHECK_EQ(told.status, status);
    if (!strstr(told.why, words))
        CHECK_STR(told.why, words);
}

static const struct blk_conf layers[] = {
    { .plugin = "none", .name = "t" },
    { .plugin = "over", .name = "snap2" },
    { .plugin = "over", .name = "snap1" },
    { .plugin = "base", .name = "b" },
    { .plugin = "over", .name = "alone" },
};

#define COPYING                                                  \
    "{\"commit\":\"copying\",\"commit_done\":3,\"commit_of\":8," \
    "\"commit_copied\":2}"
#define STATE(word) "{\"commit\":\"" word "\"}"

static void
end(void)
{
    commits_free(&d);
    json_object_put(told.o);
    memset(&told, 0, sizeof told);
    for (unsigned i = 0; i < ASKED; i++)
        CHECK(!timers[i] && !asked[i].done);
    CHECK(!chained.done && !d.commits);
}

static void
fresh(void)
{
    static const struct loop_ops ops = { .timer_start = timer_start,
                                         .timer_stop = timer_stop,
                                         .random = loop_random };
    static struct loop loop = { .ops = &ops };

    memset(&d, 0, sizeof d);
    memset(&chained, 0, sizeof chained);
    d.control = &loop;
    web.chain = (struct chain_spec){ .layer = layers, .n = 4 };
    db.chain = web.chain;
    is_open = true;
    warned = informed = 0;
}

/* Up to where the layer works. */
static void
begin(void)
{
    fresh();
    says(NULL, NULL);
    CHECK_EQ(told.n, 0);
    answers("commit", 0, "{\"text\":[\"committing\\n\"]}");
    CHECK_EQ(told.n, 1);
    CHECK_EQ(told.status, 0);
    CHECK_STR(told_word("layer"), "snap2");
}

static void
look(const char *state)
{
    CHECK_EQ(tick(), 1);
    answers("commit status", 0, state);
}

/* Up to where the chain is to be changed. */
static void
to_the_change(void)
{
    begin();
    look(COPYING);
    look(STATE("ready"));
    answers("commit end abcdef", 0, "{}");
    CHECK_EQ(chained.n, 1);
    CHECK_STR(chained.at, "snap2");
}

static void
is_over(int status, const char *why)
{
    unsigned n = told.n;

    CHECK_EQ(tick(), 0);
    says("status", NULL);
    CHECK_EQ(told.n, n + 1); /* nobody has to be asked */
    CHECK_EQ(told.status, 0);
    CHECK_STR(told_word("over"), status ? "failed" : "committed");
    if (status && !strstr(told_word("why"), why))
        CHECK_STR(told_word("why"), why);
    CHECK_EQ(d.commits->status, status);
    CHECK_EQ(warned, status ? 1 : 0);
    CHECK_EQ(informed, status ? 0 : 1);
    end();
}

#endif
