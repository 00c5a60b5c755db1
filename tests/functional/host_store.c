/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_store.c: XenStore by libxenstore, with a real xenstored that is killed
 * and started again.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "host/host.h"
#include "tests/functional/xenstored.h"
#include "tests/test.h"

static struct xenstored xenstored;
static struct loop *loop;
static struct store *store;
static char seen[8192]; /* "path=token;" of each event */
static unsigned renewals;

#define SECOND_NS UINT64_C(1000000000)

/* The library's calls: a socket that fails as told, and an account of how
 * often it looked for the kernel's device, which waits for ever when there is
 * no xenstored.  (Here there is none.) */
static int socket_error;
static unsigned asked_device;

#define FOR_THE_LIBRARY __attribute__((visibility("default")))

FOR_THE_LIBRARY int
connect(int fd, const struct sockaddr *to, socklen_t n)
{
    if (!socket_error)
        return (int)syscall(SYS_connect, fd, to, n);
    errno = socket_error;
    return -1;
}

FOR_THE_LIBRARY int
stat(const char *restrict path, struct stat *restrict st)
{
    if (!strstr(path, "xenbus"))
        return fstatat(AT_FDCWD, path, st, 0);
    asked_device++;
    errno = ENOENT;
    return -1;
}

static void
changed(void *ctx, const char *path, const char *token)
{
    size_t n = strlen(seen);

    CHECK(ctx == &store);
    snprintf(seen + n, sizeof seen - n, "%s=%s;", path, token);
}

static void
renewed(void *ctx)
{
    CHECK(ctx == &store);
    renewals++;
    CHECK_EQ(store->ops->watch(store, "/t/again", "a"), 0);
}

static void
stop_now(struct blk_timer *t)
{
    (void)t;
    loop->ops->stop(loop);
}

static void
run_for(uint64_t ns)
{
    struct blk_timer t = { .fire = stop_now };

    loop->ops->timer_start(loop, &t, ns);
    loop->ops->run(loop);
}

/* Until the text was seen, for at most a minute. */
static bool
wait_for(const char *text)
{
    for (int i = 0; i < 3000 && !strstr(seen, text); i++)
        run_for(SECOND_NS / 50);
    return strstr(seen, text);
}

static void
nodes(void)
{
    char *v, **names;
    size_t len = 0;
    unsigned n = 0;

    CHECK_EQ(store->ops->write(store, 0, "/t/a/b", "value"), 0);
    v = store->ops->read(store, 0, "/t/a/b", &len);
    CHECK_STR(v, "value");
    CHECK_EQ(len, 5);
    free(v);
    CHECK_EQ(store->ops->mkdir(store, 0, "/t/a/c"), 0);
    CHECK_EQ(store->ops->mkdir(store, 0, "/t/a/c"), 0);
    names = store->ops->list(store, 0, "/t/a", &n);
    CHECK_EQ(n, 2);
    CHECK(names && ((!strcmp(names[0], "b") && !strcmp(names[1], "c")) ||
                    (!strcmp(names[0], "c") && !strcmp(names[1], "b"))));
    free(names);
    names = store->ops->list(store, 0, "/t/a/c", &n);
    CHECK(names && n == 0);
    free(names);
    v = store->ops->read(store, 0, "/t/a/c", NULL);
    CHECK_STR(v, "");
    free(v);
    CHECK_EQ(store->ops->rm(store, 0, "/t/a"), 0);
    CHECK(!store->ops->read(store, 0, "/t/a/b", NULL));
    CHECK_EQ(errno, ENOENT);
    CHECK(!store->ops->list(store, 0, "/t/a", &n));
    CHECK_EQ(errno, ENOENT);
    CHECK_EQ(store->ops->rm(store, 0, "/none/at/all"), -ENOENT);
    CHECK_EQ(store->ops->write(store, 0, "/bad//path", "x"), -EINVAL);
    CHECK_EQ(store->ops->perms(store, 0, "/none", 0, 1), -ENOENT);
}

static void
permissions(void)
{
    char cmd[200];

    CHECK_EQ(store->ops->mkdir(store, 0, "/t/p"), 0);
    CHECK_EQ(store->ops->perms(store, 0, "/t/p", 3, 5), 0);
    snprintf(cmd, sizeof cmd,
             "xenstore-ls -p /t 2>/dev/null | grep -q '^p = .*(n3,r5)'");
    if (!system("command -v xenstore-ls >/dev/null"))
        CHECK_EQ(system(cmd), 0);
    CHECK_EQ(store->ops->rm(store, 0, "/t/p"), 0);
}

static void
watches(void)
{
    seen[0] = '\0';
    CHECK_EQ(store->ops->mkdir(store, 0, "/t/w"), 0);
    CHECK_EQ(store->ops->watch(store, "/t/w", "one"), 0);
    CHECK_EQ(store->ops->watch(store, "/t/w", "one"), -EEXIST);
    CHECK(wait_for("/t/w=one;")); /* once at once */
    seen[0] = '\0';
    CHECK_EQ(store->ops->write(store, 0, "/t/w/x/y", "1"), 0);
    CHECK(wait_for("/t/w/x/y=one;"));
    seen[0] = '\0';
    CHECK_EQ(store->ops->rm(store, 0, "/t/w/x"), 0);
    CHECK(wait_for("/t/w/x=one;"));
    CHECK_EQ(store->ops->unwatch(store, "/t/w", "one"), 0);
    CHECK_EQ(store->ops->unwatch(store, "/t/w", "one"), -ENOENT);
    seen[0] = '\0';
    CHECK_EQ(store->ops->write(store, 0, "/t/w/z", "1"), 0);
    run_for(SECOND_NS / 5);
    CHECK_STR(seen, "");
}

/* More than have their turn at once: the others have theirs, with nothing new
 * that would wake anybody. */
static void
many_events_at_once(void)
{
    enum { MANY = 300 };
    char path[64];
    unsigned n = 0;

    seen[0] = '\0';
    CHECK_EQ(store->ops->watch(store, "/t/many", "m"), 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/t/many/%d", i);
        CHECK_EQ(store->ops->write(store, 0, path, "1"), 0);
    }
    CHECK(wait_for("/t/many/299=m;"));
    for (const char *p = seen; (p = strchr(p, ';')); p++)
        n++;
    CHECK(n >= MANY);
    CHECK_EQ(store->ops->unwatch(store, "/t/many", "m"), 0);
}

/* Each event makes two, as somebody does who writes faster than we look: a
 * timer has its turn nevertheless. */
enum { FLOOD = 3000 };
static unsigned flood, flood_at_timer;
static struct blk_timer turn;

static void
one_more(void *ctx, const char *path, const char *token)
{
    (void)ctx;
    (void)path;
    (void)token;
    if (!flood++)
        loop->ops->timer_start(loop, &turn, 1);
    for (int i = 0; i < 2 && flood < FLOOD; i++)
        (void)store->ops->write(store, 0, "/t/flood/x", "1");
}

static void
timer_had_its_turn(struct blk_timer *t)
{
    flood_at_timer = flood;
    stop_now(t);
}

static void
events_without_end(void)
{
    turn.fire = timer_had_its_turn;
    store->changed = one_more;
    CHECK_EQ(store->ops->watch(store, "/t/flood", "f"), 0);
    loop->ops->run(loop);
    CHECK(flood_at_timer < FLOOD);
    flood = FLOOD;
    run_for(SECOND_NS / 5);
    CHECK_EQ(store->ops->unwatch(store, "/t/flood", "f"), 0);
    store->changed = changed;
    run_for(SECOND_NS / 5);
}

static void
transactions(void)
{
    store_tx tx = 0, other = 0;
    char *v;

    CHECK_EQ(store->ops->write(store, 0, "/t/x", "0"), 0);
    CHECK_EQ(store->ops->begin(store, &tx), 0);
    CHECK(tx);
    CHECK_EQ(store->ops->write(store, tx, "/t/x", "1"), 0);
    v = store->ops->read(store, 0, "/t/x", NULL);
    CHECK_STR(v, "0");
    free(v);
    CHECK_EQ(store->ops->end(store, tx, true), 0);
    v = store->ops->read(store, 0, "/t/x", NULL);
    CHECK_STR(v, "1");
    free(v);
    CHECK_EQ(store->ops->begin(store, &tx), 0);
    CHECK_EQ(store->ops->write(store, tx, "/t/x", "2"), 0);
    CHECK_EQ(store->ops->end(store, tx, false), 0);
    v = store->ops->read(store, 0, "/t/x", NULL);
    CHECK_STR(v, "1");
    free(v);
    /* A node that both touched: the second to end has to repeat. */
    CHECK_EQ(store->ops->begin(store, &tx), 0);
    v = store->ops->read(store, tx, "/t/x", NULL);
    free(v);
    CHECK_EQ(store->ops->begin(store, &other), 0);
    CHECK_EQ(store->ops->write(store, other, "/t/x", "3"), 0);
    CHECK_EQ(store->ops->end(store, other, true), 0);
    CHECK_EQ(store->ops->write(store, tx, "/t/x", "4"), 0);
    CHECK_EQ(store->ops->end(store, tx, true), -EAGAIN);
}

/* Nobody tells that xenstored was killed: the probe finds it.  Calls fail,
 * the loop goes on, and when it is back all works again. */
static void
xenstored_is_killed(void)
{
    unsigned n;

    renewals = 0;
    xenstored_kill(&xenstored);
    for (int i = 0; i < 60 && store->ops->write(store, 0, "/t/x", "5") == 0;
         i++)
        run_for(SECOND_NS);
    CHECK_EQ(store->ops->write(store, 0, "/t/x", "5"), -ENOTCONN);
    CHECK(!store->ops->read(store, 0, "/t/x", NULL));
    CHECK_EQ(errno, ENOTCONN);
    CHECK(!store->ops->list(store, 0, "/t", &n));
    CHECK_EQ(store->ops->watch(store, "/t", "x"), -ENOTCONN);
    run_for(2 * SECOND_NS);
    CHECK_EQ(renewals, 0);
    REQUIRE(xenstored_start(&xenstored));
    /* Its socket is there, but not for us yet. */
    socket_error = EACCES;
    run_for(2 * SECOND_NS);
    CHECK_EQ(renewals, 0);
    socket_error = 0;
    for (int i = 0; i < 600 && !renewals; i++)
        run_for(SECOND_NS / 10);
    CHECK_EQ(renewals, 1);
    CHECK_EQ(asked_device, 0);
    seen[0] = '\0';
    CHECK_EQ(store->ops->write(store, 0, "/t/again/x", "6"), 0);
    CHECK(wait_for("/t/again/x=a;"));
    CHECK_EQ(renewals, 1);
}

/* It came back before anybody asked: only the probe can tell. */
static void
restarted_behind_our_back(void)
{
    renewals = 0;
    xenstored_kill(&xenstored);
    REQUIRE(xenstored_start(&xenstored));
    for (int i = 0; i < 600 && !renewals; i++)
        run_for(SECOND_NS / 10);
    CHECK_EQ(renewals, 1);
    seen[0] = '\0';
    CHECK_EQ(store->ops->write(store, 0, "/t/again/y", "7"), 0);
    CHECK(wait_for("/t/again/y=a;"));
}

static void
freed_by_its_own_event(void *ctx, const char *path, const char *token)
{
    (void)ctx;
    (void)path;
    (void)token;
    if (store)
        store->ops->free(store);
    store = NULL;
}

static void
may_be_freed_in_a_callback(void)
{
    CHECK_EQ(store->ops->watch(store, "/t/1", "1"), 0);
    CHECK_EQ(store->ops->watch(store, "/t/2", "2"), 0);
    store->changed = freed_by_its_own_event;
    for (int i = 0; i < 300 && store; i++)
        run_for(SECOND_NS / 5);
    CHECK(!store);
}

/* The kernel's device is for where there is no socket, or none for us. */
static void
the_other_way(void)
{
    static const int errors[] = { ENOENT, EACCES, ECONNREFUSED };
    struct store *s;
    char why[200];

    for (unsigned i = 0; i < 3; i++) {
        asked_device = 0;
        socket_error = errors[i];
        unsetenv("XENSTORED_PATH");
        CHECK(store_xen_open(&s, loop, why, sizeof why) < 0);
        CHECK_EQ(asked_device, errors[i] == ECONNREFUSED ? 0 : 1);
    }
    socket_error = 0;
}

static void
nobody_there(void)
{
    struct store *s;
    char why[200] = "";

    xenstored_kill(&xenstored);
    CHECK(store_xen_open(&s, loop, why, sizeof why) < 0);
    CHECK(strstr(why, "cannot connect to xenstored"));
}

int
main(int argc, char **argv)
{
    struct loop_posix_options opt = { .workers = 1 };
    char why[200] = "", binary[256];

    test_args(argc, argv);
    if (!xenstored_find(binary, sizeof binary)) {
        printf("no xenstored is installed: skipped\n");
        return 77;
    }
    REQUIRE(xenstored_start(&xenstored));
    /* By the folder, so that socket and device have names of their own. */
    setenv("XENSTORED_RUNDIR", xenstored.dir, 1);
    unsetenv("XENSTORED_PATH");
    REQUIRE(!loop_posix_new(&loop, "control", &opt, why, sizeof why));
    if (store_xen_open(&store, loop, why, sizeof why)) {
        printf("%s\n", why);
        return 1;
    }
    store->changed = changed;
    store->renewed = renewed;
    store->ctx = &store;
    CHECK_EQ(store->ops->mkdir(store, 0, "/t"), 0);
    TEST(nodes);
    TEST(permissions);
    TEST(watches);
    TEST(many_events_at_once);
    TEST(events_without_end);
    TEST(transactions);
    TEST(xenstored_is_killed);
    TEST(restarted_behind_our_back);
    TEST(may_be_freed_in_a_callback);
    TEST(the_other_way);
    TEST(nobody_there);
    if (store)
        store->ops->free(store);
    loop->ops->free(loop);
    xenstored_remove(&xenstored);
    return test_end();
}
