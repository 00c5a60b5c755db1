/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_sim_store.c: the simulated XenStore behaves as the real one. */
#include "config.h"

#include <errno.h>

#include "host/sim.h"
#include "tests/test.h"

static struct sim *sim;
static struct loop *loop;
static struct store *s, *other;
static char seen[1024];
static unsigned renewals;

static void
changed(void *ctx, const char *path, const char *token)
{
    size_t n = strlen(seen);

    (void)ctx;
    snprintf(seen + n, sizeof seen - n, "%s=%s;", path, token);
}

static void
renewed(void *ctx)
{
    (void)ctx;
    renewals++;
}

static void
setup(void)
{
    sim = sim_new(1);
    loop = sim_loop_new(sim, "control");
    s = sim_store_open(sim, loop);
    other = sim_store_open(sim, loop);
    s->changed = changed;
    s->renewed = renewed;
    seen[0] = '\0';
    renewals = 0;
}

static void
teardown(void)
{
    s->ops->free(s);
    other->ops->free(other);
    loop->ops->free(loop);
    sim_free(sim);
}

static const char *
events(void)
{
    static char last[sizeof seen];

    sim_run_all(sim, 1000);
    memcpy(last, seen, sizeof last);
    seen[0] = '\0';
    return last;
}

static void
nodes(void)
{
    char *v, **names;
    size_t len;
    unsigned n;

    setup();
    CHECK_EQ(s->ops->write(s, 0, "/a/b/c", "1"), 0);
    v = other->ops->read(other, 0, "/a/b/c", &len);
    CHECK_STR(v, "1");
    CHECK_EQ(len, 1);
    free(v);
    v = s->ops->read(s, 0, "/a/b", NULL);
    CHECK_STR(v, "");
    free(v);
    CHECK(!s->ops->read(s, 0, "/a/x", NULL));
    CHECK_EQ(errno, ENOENT);
    CHECK_EQ(s->ops->mkdir(s, 0, "/a/d"), 0);
    CHECK_EQ(s->ops->write(s, 0, "/a/d", "kept"), 0);
    CHECK_EQ(s->ops->mkdir(s, 0, "/a/d"), 0);
    CHECK_STR(sim_store_read(sim, "/a/d"), "kept");
    names = s->ops->list(s, 0, "/a", &n);
    CHECK_EQ(n, 2);
    CHECK_STR(names[0], "b");
    CHECK_STR(names[1], "d");
    free(names);
    names = s->ops->list(s, 0, "/a/d", &n);
    CHECK(names && n == 0);
    free(names);
    CHECK_EQ(s->ops->rm(s, 0, "/a/b"), 0);
    CHECK_EQ(s->ops->rm(s, 0, "/a/b"), 0);
    CHECK_EQ(s->ops->rm(s, 0, "/x/y"), -ENOENT);
    CHECK_EQ(s->ops->rm(s, 0, "/"), -EINVAL);
    CHECK(!sim_store_read(sim, "/a/b/c"));
    CHECK_EQ(s->ops->write(s, 0, "/a//b", "1"), -EINVAL);
    CHECK_EQ(s->ops->write(s, 0, "/a/", "1"), -EINVAL);
    CHECK_EQ(s->ops->write(s, 0, "/a b", "1"), -EINVAL);
    CHECK_EQ(s->ops->write(s, 0, "own", "me"), 0);
    CHECK_STR(sim_store_read(sim, "/local/domain/0/own"), "me");
    teardown();
}

static void
permissions(void)
{
    uint32_t owner = 99, reader = 99;

    setup();
    CHECK_EQ(s->ops->mkdir(s, 0, "/p/q"), 0);
    CHECK_EQ(s->ops->perms(s, 0, "/p", 3, 5), 0);
    CHECK_EQ(s->ops->perms(s, 0, "/none", 3, 5), -ENOENT);
    CHECK(sim_store_perms(sim, "/p/q", &owner, &reader));
    CHECK_EQ(owner, 3);
    CHECK_EQ(reader, 5);
    CHECK(!sim_store_perms(sim, "/none", &owner, &reader));
    teardown();
}

static void
watches(void)
{
    setup();
    CHECK_EQ(s->ops->watch(s, "/a/b", "t"), 0);
    CHECK_EQ(s->ops->watch(s, "/a/b", "t"), -EEXIST);
    CHECK_STR(events(), "/a/b=t;");
    CHECK_EQ(other->ops->write(other, 0, "/a/b/c", "1"), 0);
    CHECK_STR(events(), "/a/b/c=t;");
    sim_store_write(sim, "/a/b", "%d", 2);
    CHECK_STR(events(), "/a/b=t;");
    CHECK_EQ(s->ops->write(s, 0, "/a/bb", "1"), 0);
    CHECK_EQ(s->ops->mkdir(s, 0, "/a/b"), 0);
    CHECK_STR(events(), "");
    CHECK_EQ(s->ops->rm(s, 0, "/a/b/c"), 0);
    CHECK_STR(events(), "/a/b/c=t;");
    CHECK_EQ(s->ops->rm(s, 0, "/a"), 0);
    CHECK_STR(events(), "/a/b=t;");
    CHECK_EQ(s->ops->write(s, 0, "/a/b/d", "1"), 0);
    CHECK_EQ(s->ops->unwatch(s, "/a/b", "t"), 0);
    CHECK_EQ(s->ops->unwatch(s, "/a/b", "t"), -ENOENT);
    CHECK_STR(events(), ""); /* not even what was on its way */
    CHECK_EQ(s->ops->watch(s, "device/vbd", "r"), 0);
    CHECK_STR(events(), "device/vbd=r;");
    sim_store_write(sim, "/local/domain/0/device/vbd/1", "x");
    CHECK_STR(events(), "device/vbd/1=r;");
    CHECK_EQ(s->ops->watch(s, "@releaseDomain", "d"), 0);
    events();
    sim_store_special(sim, "@releaseDomain");
    CHECK_STR(events(), "@releaseDomain=d;");
    CHECK_EQ(s->ops->watch(s, "/", "all"), 0);
    events();
    sim_store_write(sim, "/z", "1");
    CHECK_STR(events(), "/z=all;");
    teardown();
}

static void
events_keep_their_order(void)
{
    setup();
    CHECK_EQ(s->ops->watch(s, "/o", "o"), 0);
    events();
    for (int i = 0; i < 5; i++) {
        char path[] = { '/', 'o', '/', (char)('0' + i), '\0' };

        CHECK_EQ(s->ops->write(s, 0, path, "1"), 0);
    }
    CHECK_STR(events(), "/o/0=o;/o/1=o;/o/2=o;/o/3=o;/o/4=o;");
    teardown();
}

static void
transactions(void)
{
    store_tx tx, tx2;
    char *v;

    setup();
    CHECK_EQ(s->ops->write(s, 0, "/t", "0"), 0);
    CHECK_EQ(s->ops->watch(s, "/t", "t"), 0);
    events();
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    CHECK_EQ(s->ops->write(s, tx, "/t", "1"), 0);
    CHECK_EQ(s->ops->write(s, tx, "/t/u", "2"), 0);
    CHECK_STR(sim_store_read(sim, "/t"), "0");
    v = s->ops->read(s, tx, "/t/u", NULL);
    CHECK_STR(v, "2");
    free(v);
    CHECK_STR(events(), "");
    CHECK_EQ(s->ops->end(s, tx, true), 0);
    CHECK_STR(events(), "/t=t;/t/u=t;");
    CHECK_STR(sim_store_read(sim, "/t/u"), "2");
    CHECK_EQ(s->ops->end(s, tx, true), -ENOENT);
    CHECK_EQ(s->ops->write(s, tx, "/t", "1"), -ENOENT);
    /* Left. */
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    CHECK_EQ(s->ops->rm(s, tx, "/t/u"), 0);
    CHECK_EQ(s->ops->end(s, tx, false), 0);
    CHECK_STR(sim_store_read(sim, "/t/u"), "2");
    /* What was only read, and changed by another, is a conflict. */
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    v = s->ops->read(s, tx, "/t/u", NULL);
    free(v);
    CHECK_EQ(s->ops->write(s, tx, "/t/v", "3"), 0);
    CHECK_EQ(other->ops->write(other, 0, "/t/u", "9"), 0);
    CHECK_EQ(s->ops->end(s, tx, true), -EAGAIN);
    CHECK(!sim_store_read(sim, "/t/v"));
    /* What others do elsewhere is not. */
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    CHECK_EQ(other->ops->begin(other, &tx2), 0);
    CHECK_EQ(s->ops->write(s, tx, "/t/u", "4"), 0);
    CHECK_EQ(other->ops->write(other, tx2, "/elsewhere/x", "5"), 0);
    CHECK_EQ(other->ops->end(other, tx2, true), 0);
    CHECK_EQ(s->ops->end(s, tx, true), 0);
    sim_store_conflicts(sim, 1);
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    CHECK_EQ(s->ops->end(s, tx, true), -EAGAIN);
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    CHECK_EQ(s->ops->end(s, tx, true), 0);
    teardown();
}

static void
xenstored_goes_and_comes(void)
{
    store_tx tx;

    setup();
    CHECK_EQ(s->ops->watch(s, "/w", "w"), 0);
    CHECK_EQ(s->ops->begin(s, &tx), 0);
    sim_store_down(sim);
    CHECK_EQ(s->ops->write(s, 0, "/w", "1"), -ENOTCONN);
    CHECK(!s->ops->read(s, 0, "/w", NULL));
    CHECK_EQ(errno, ENOTCONN);
    CHECK_STR(events(), "");
    CHECK_EQ(renewals, 0);
    sim_store_up(sim);
    CHECK_EQ(s->ops->end(s, tx, true), -ENOENT);
    CHECK_EQ(s->ops->write(s, 0, "/w", "1"), 0);
    CHECK_STR(events(), "");
    CHECK_EQ(renewals, 1);
    CHECK_EQ(s->ops->watch(s, "/w", "w"), 0);
    CHECK_STR(events(), "/w=w;");
    teardown();
}

static void
nodes_outlive_the_program(void)
{
    setup();
    CHECK_EQ(s->ops->write(s, 0, "/w", "1"), 0);
    CHECK_EQ(s->ops->watch(s, "/w", "w"), 0);
    sim_kill(sim);
    CHECK_STR(events(), "");
    CHECK_EQ(s->ops->write(s, 0, "/w", "2"), -ENOTCONN);
    teardown();
    setup();
    CHECK(!sim_store_read(sim, "/w"));
    teardown();
}

static void
free_it(void *ctx, const char *path, const char *token)
{
    (void)ctx;
    (void)path;
    (void)token;
    s->ops->free(s);
    s = sim_store_open(sim, loop);
}

static void
may_be_freed_in_a_callback(void)
{
    setup();
    s->changed = free_it;
    CHECK_EQ(s->ops->watch(s, "/w", "1"), 0);
    CHECK_EQ(s->ops->watch(s, "/w", "2"), 0);
    sim_run_all(sim, 100);
    teardown();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(nodes);
    TEST(permissions);
    TEST(watches);
    TEST(events_keep_their_order);
    TEST(transactions);
    TEST(xenstored_goes_and_comes);
    TEST(nodes_outlive_the_program);
    TEST(may_be_freed_in_a_callback);
    return test_end();
}
