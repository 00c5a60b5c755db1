/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A reload of the daemon, step by step: what is told to whom, and that the
 * configuration in force is left when the new one is bad.  Everything around
 * src/reload.c is made up here.  Linked with --wrap=calloc.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "src/daemon.h"
#include "tests/test.h"

/* ---- what is around it --------------------------------------------------- */

static struct conf old_conf, new_conf, newer_conf;
static struct conf *loads;  /* what conf_load() finds; NULL: errors */
static const char *restart; /* what conf_needs_restart() says */
static char log_text[1024], trail[256], event_text[256], saved[64];
static unsigned loaded;
static bool no_memory;
static int keep_error; /* of live_keep() */

static void (*disks_done)(void *, int, const char *);
static void *disks_ctx;
static struct conf *disks_to;
static uint64_t drain_ns;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
    return no_memory ? NULL : __real_calloc(n, size);
}

static void
trace(const char *what)
{
    strncat(trail, what, sizeof trail - strlen(trail) - 1);
}

struct conf *
conf_load(const char *path, const char *dir, char *errors, size_t n)
{
    CHECK_STR(path, "main.conf");
    CHECK_STR(dir, "main.d");
    loaded++;
    if (!loads)
        snprintf(errors, n, "main.conf:1: a: bad\nmain.conf:2: b: bad\n");
    return loads;
}

void
conf_unref(struct conf *c)
{
    trace(c == &old_conf ? "unref-old " : "unref-new ");
}

const char *
conf_needs_restart(const struct conf *from, const struct conf *to)
{
    CHECK(from && to);
    return restart;
}

void
disks_drain(struct disks *ds, uint64_t ns)
{
    (void)ds;
    drain_ns = ns;
}

void
disks_reload(struct disks *ds, struct conf *to,
             void (*done)(void *ctx, int status, const char *why), void *ctx)
{
    (void)ds;
    trace("disks ");
    CHECK_EQ(drain_ns, to->drain_ns); /* it holds for this reload already */
    disks_to = to;
    disks_done = done;
    disks_ctx = ctx;
}

int
live_keep(struct daemon *dm, struct conf *to)
{
    CHECK(to == loads && dm->conf != to);
    return keep_error;
}

void
live_save(struct daemon *dm)
{
    CHECK(dm->conf == disks_to);
    trace("live ");
}

void
xenbus_reload(struct xenbus *x, struct conf *conf)
{
    CHECK(x && conf == disks_to);
    trace("xenbus ");
}

void
control_event(struct control *c, const char *what, const char *disk,
              const char *detail)
{
    (void)c;
    CHECK(!disk);
    snprintf(event_text, sizeof event_text, "%s: %s", what, detail);
}

void
notify_ready(const struct daemon *d)
{
    (void)d;
    trace("ready ");
}

void
notify_reloading(void)
{
    trace("reloading ");
}

void
lastconf_save(const char *path, const struct conf *conf)
{
    snprintf(saved, sizeof saved, "%s %u", path, conf->disks);
    trace("saved ");
}

void
log_level(int level)
{
    CHECK_EQ(level, disks_to->log_level);
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    size_t n = strlen(log_text);
    va_list ap;

    (void)f;
    n += (size_t)snprintf(log_text + n, sizeof log_text - n, "%d ", level);
    va_start(ap, fmt);
    vsnprintf(log_text + n, sizeof log_text - n, fmt, ap);
    va_end(ap);
    n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "|");
}

/* ---- the daemon and who asks --------------------------------------------- */

static struct daemon d;
static unsigned answers;
static int answer_status;
static char answer_why[256];

static void
answered(void *arg, int status, const char *why)
{
    CHECK(arg == &answers);
    answers++;
    answer_status = status;
    snprintf(answer_why, sizeof answer_why, "%s", why ? why : "");
}

static void
begin(void)
{
    memset(&d, 0, sizeof d);
    d.conf_path = "main.conf";
    d.conf_dir = "main.d";
    d.conf = &old_conf;
    strcpy(d.lastconf, "/run/x/last.conf");
    old_conf.disks = 1;
    new_conf.disks = 2;
    newer_conf.disks = 3;
    new_conf.log_level = BLK_DEBUG;
    loads = &new_conf;
    restart = NULL;
    disks_done = NULL;
    no_memory = false;
    keep_error = 0;
    answers = loaded = 0;
    answer_status = 1;
    log_text[0] = trail[0] = event_text[0] = saved[0] = answer_why[0] = '\0';
}

static void
disks_end(int status, const char *why)
{
    void (*done)(void *, int, const char *) = disks_done;

    REQUIRE(done != NULL);
    disks_done = NULL;
    done(disks_ctx, status, why);
}

/* ---- tests --------------------------------------------------------------- */

static void
comes_into_force(void)
{
    begin();
    d.xenbus = (struct xenbus *)&d; /* there is one; nobody looks inside */
    strcpy(d.conf_is_old, "an earlier one");
    daemon_reload(&d, answered, &answers);
    CHECK(d.conf == &old_conf);
    CHECK_EQ(answers, 0);
    CHECK_STR(trail, "reloading disks ");
    disks_end(0, NULL);
    CHECK(d.conf == &new_conf);
    CHECK_STR(d.conf_is_old, "");
    CHECK_STR(trail, "reloading disks unref-old live saved xenbus ready ");
    CHECK_STR(saved, "/run/x/last.conf 2");
    CHECK_STR(event_text, "reload: done");
    CHECK_STR(log_text, "6 reload: main.conf is in force, 2 disks|");
    CHECK_EQ(answers, 1);
    CHECK_EQ(answer_status, 0);
    CHECK(!d.reload);
}

static void
without_xenstore(void)
{
    begin();
    daemon_reload(&d, answered, &answers);
    disks_end(0, NULL);
    CHECK_STR(trail, "reloading disks unref-old live saved ready ");
}

/* Nothing of a bad one is used, and what was said at the start still is. */
static void
bad_one(void)
{
    begin();
    loads = NULL;
    strcpy(d.conf_is_old, "an earlier one");
    daemon_reload(&d, answered, &answers);
    CHECK_STR(trail, "reloading ready ");
    CHECK(d.conf == &old_conf);
    CHECK_STR(d.conf_is_old, "an earlier one");
    CHECK_STR(log_text, "3 main.conf:1: a: bad|3 main.conf:2: b: bad|");
    CHECK_EQ(answers, 1);
    CHECK_EQ(answer_status, -EINVAL);
    CHECK_STR(answer_why, "main.conf:1: a: bad\nmain.conf:2: b: bad\n");
    CHECK(!d.reload);
}

/* A signal waits for no answer. */
static void
bad_one_by_signal(void)
{
    begin();
    loads = NULL;
    daemon_reload(&d, NULL, NULL);
    CHECK_STR(trail, "reloading ready ");
    CHECK_EQ(answers, 0);
}

/* In force, though a disk could not follow. */
static void
one_disk_stays_behind(void)
{
    begin();
    daemon_reload(&d, answered, &answers);
    disks_end(-ENOENT, "web: keeps its old chain: no such file");
    CHECK(d.conf == &new_conf);
    CHECK_STR(saved, "/run/x/last.conf 2");
    CHECK_STR(event_text, "reload: web: keeps its old chain: no such file");
    CHECK_STR(log_text, "3 reload: web: keeps its old chain: no such file|");
    CHECK_EQ(answer_status, -ENOENT);
    CHECK_STR(answer_why, "web: keeps its old chain: no such file");
}

static void
what_needs_a_restart_is_said(void)
{
    begin();
    restart = "daemon.loops has changed";
    daemon_reload(&d, NULL, NULL);
    CHECK_STR(log_text, "4 reload: daemon.loops has changed|");
    disks_end(0, NULL);
}

/* Who waits for an answer gets it at once. */
static void
asked_while_at_work(void)
{
    begin();
    daemon_reload(&d, NULL, NULL);
    daemon_reload(&d, answered, &answers);
    CHECK_EQ(answers, 1);
    CHECK_EQ(answer_status, -EBUSY);
    CHECK_STR(answer_why, "an earlier change or reload is still at work");
    CHECK_EQ(loaded, 1);
    disks_end(0, NULL);
    CHECK(!d.reload);
    CHECK_EQ(loaded, 1);
}

/* Signals are done afterwards, once, however many came: the files may have
 * changed since they were read. */
static void
signals_while_at_work(void)
{
    begin();
    daemon_reload(&d, answered, &answers);
    daemon_reload(&d, NULL, NULL);
    daemon_reload(&d, NULL, NULL);
    CHECK_EQ(loaded, 1);
    loads = &newer_conf;
    disks_end(0, NULL);
    CHECK_EQ(answers, 1);
    CHECK_EQ(loaded, 2);
    CHECK(disks_to == &newer_conf);
    disks_end(0, NULL);
    CHECK(d.conf == &newer_conf);
    CHECK_STR(saved, "/run/x/last.conf 3");
    CHECK_EQ(loaded, 2);
    CHECK(!d.reload);
}

static void
no_memory_for_one(void)
{
    begin();
    no_memory = true;
    daemon_reload(&d, answered, &answers);
    CHECK_EQ(answers, 1);
    CHECK_EQ(answer_status, -ENOMEM);
    CHECK_STR(answer_why, "out of memory");
    daemon_reload(&d, NULL, NULL);
    CHECK_EQ(answers, 1);
    CHECK_EQ(loaded, 0);
    CHECK_STR(trail, "");
    CHECK(d.conf == &old_conf);
    CHECK(!d.reload);
}

/* A change of a chain is at work: whoever waits for an answer gets it; what a
 * signal asked for is done by whoever ends the change. */
static void
asked_while_a_chain_changes(void)
{
    begin();
    d.change = (struct daemon_change *)&d;
    daemon_reload(&d, answered, &answers);
    CHECK_EQ(answer_status, -EBUSY);
    CHECK(!d.reload_again);
    daemon_reload(&d, NULL, NULL);
    CHECK(d.reload_again);
    CHECK_EQ(answers, 1);
    CHECK_EQ(loaded, 0);
    CHECK_STR(trail, "");
}

static void
no_memory_for_the_live_chains(void)
{
    begin();
    keep_error = -ENOMEM;
    daemon_reload(&d, answered, &answers);
    CHECK_EQ(answer_status, -ENOMEM);
    CHECK_STR(trail, "reloading unref-new ready ");
    CHECK(d.conf == &old_conf);
    CHECK(!d.reload);
}

static void
lines_without_an_end(void)
{
    begin();
    reload_log_lines("");
    CHECK_STR(log_text, "");
    reload_log_lines("one");
    CHECK_STR(log_text, "3 one|");
    reload_log_lines("\n\ntwo\n\nthree\n");
    CHECK_STR(log_text, "3 one|3 |3 two|3 three|");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(comes_into_force);
    TEST(without_xenstore);
    TEST(bad_one);
    TEST(bad_one_by_signal);
    TEST(one_disk_stays_behind);
    TEST(what_needs_a_restart_is_said);
    TEST(asked_while_at_work);
    TEST(signals_while_at_work);
    TEST(no_memory_for_one);
    TEST(asked_while_a_chain_changes);
    TEST(no_memory_for_the_live_chains);
    TEST(lines_without_an_end);
    return test_end();
}
