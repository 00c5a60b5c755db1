/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_break.c: `blktapctl interpose` with a real xenstored whose connection
 * breaks: at each request in turn, before xenstored has it, and after each
 * commit, which was done but nobody was told.
 *
 *   blktapctl ──► relay, here ──► xenstored
 */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <xen/io/xs_wire.h>

#include "tests/functional/ctl_store.h"

#define LOWER_FRONT "/local/domain/3/data/blktapd-vbd/51712"
#define UPPER_BACK  "/local/domain/3/backend/blktapd/7/51712"
#define HOOK        "backend/vbd/7/51712"

/* A request; a commit. */
enum when { BEFORE, AFTER, WHENS };

/* ---- the relay ----------------------------------------------------------- */

static struct {
    char path[96];
    int fd;
    pthread_t thread;
    /* Requests, or commits, until it breaks, 0: never; and how. */
    atomic_int left;
    atomic_int when;
    atomic_int refuse; /* so many connections after that end at once */
} relay;

static bool
whole(ssize_t (*fn)(int, void *, size_t), int fd, void *buf, size_t n)
{
    char *at = buf;

    while (n) {
        ssize_t k = fn(fd, at, n);

        if (k <= 0)
            return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

static ssize_t
put_some(int fd, void *buf, size_t n)
{
    return send(fd, buf, n, MSG_NOSIGNAL);
}

/* One message; to -1: only read. */
static bool
pass(int from, int to)
{
    struct xsd_sockmsg h;
    char body[XENSTORE_PAYLOAD_MAX];

    if (!whole(read, from, &h, sizeof h) || h.len > sizeof body ||
        !whole(read, from, body, h.len))
        return false;
    return to < 0 || (whole(put_some, to, &h, sizeof h) &&
                      whole(put_some, to, body, h.len));
}

/* Until one side ends it, or we break it. */
static void
relayed(int client, int server)
{
    struct xsd_sockmsg h;

    while (recv(client, &h, sizeof h, MSG_PEEK | MSG_WAITALL) == sizeof h) {
        bool counts = relay.when == BEFORE || h.type == XS_TRANSACTION_END;
        bool breaks = counts && relay.left && !--relay.left;

        if (breaks && relay.when == BEFORE)
            return;
        if (!pass(client, server) || !pass(server, breaks ? -1 : client) ||
            breaks)
            return;
    }
}

static void *
relay_main(void *arg)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int client, server;

    (void)arg;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", xenstored.socket);
    while ((client = accept(relay.fd, NULL, NULL)) >= 0) {
        server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!relay.left && relay.refuse)
            relay.refuse--;
        else if (!connect(server, (struct sockaddr *)&a, sizeof a))
            relayed(client, server);
        close(server);
        close(client);
    }
    return NULL;
}

static void
relay_start(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    snprintf(relay.path, sizeof relay.path, "%s/relay", xenstored.dir);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", relay.path);
    relay.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(!bind(relay.fd, (struct sockaddr *)&a, sizeof a));
    REQUIRE(!listen(relay.fd, 8));
    REQUIRE(!pthread_create(&relay.thread, NULL, relay_main, NULL));
    setenv("XENSTORED_PATH", relay.path, 1); /* for blktapctl; we are in */
}

static void
relay_stop(void)
{
    shutdown(relay.fd, SHUT_RDWR);
    pthread_join(relay.thread, NULL);
    close(relay.fd);
}

/* ---- what is there ------------------------------------------------------- */

static void
tree_add(FILE *out, const char *path)
{
    char *value = store->ops->read(store, 0, path, NULL);
    unsigned n = 0;
    char **names = store->ops->list(store, 0, path, &n);
    char sub[512];

    if (value)
        fprintf(out, "%s = \"%s\"\n", path, value);
    for (unsigned i = 0; names && i < n; i++) {
        snprintf(sub, sizeof sub, "%s/%s", path, names[i]);
        tree_add(out, sub);
    }
    free(names);
    free(value);
}

/* malloc'd: all nodes. */
static char *
tree(void)
{
    size_t size;
    char *text;
    FILE *f = open_memstream(&text, &size);

    tree_add(f, "/local/domain");
    tree_add(f, "/libxl");
    fclose(f);
    return text;
}

static void
same_tree(const char *want, const char *what, int n, enum when when)
{
    char *found = tree();

    if (strcmp(want, found))
        test_fail(__FILE__, __LINE__, "%s, broken %s %d: expected\n%sfound\n%s",
                  what, when == BEFORE ? "before request" : "after commit", n,
                  want, found);
    free(found);
}

static void
fresh(void)
{
    static const char *const gone[] = { "/local/domain/0/backend",
                                        "/local/domain/0/data",
                                        "/local/domain/3", "/local/domain/7",
                                        "/libxl" };

    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        store->ops->rm(store, 0, gone[i]);
    hosts();
}

/* ---- at each request ----------------------------------------------------- */

/* fn makes what `words' is about; what it leaves is always the same. */
static void
breaks_everywhere(void (*fn)(void), const char *words)
{
    char *want;
    int n, broke = 0;

    fresh();
    fn();
    relay.left = 0;
    CHECK_EQ(ctl(words), 0);
    want = tree();
    for (enum when when = BEFORE; when < WHENS; when++) {
        for (n = 1; n < 500; n++) {
            fresh();
            fn();
            relay.when = when;
            relay.left = n;
            CHECK_EQ(ctl(words), 0);
            CHECK(!strstr(said, "blktapctl:"));
            same_tree(want, words, n, when);
            if (relay.left > 0)
                break;
            broke++;
        }
        relay.left = 0;
    }
    printf("  %d breaks\n", broke);
    CHECK(broke >= 8);
    free(want);
}

static void
nothing(void)
{
}

static char add_words[256];

static void
left_alone(void)
{
    CHECK_EQ(ctl(add_words), 0);
    put(UPPER_BACK "/state", "6");
    put(LOWER_FRONT "/state", "6");
}

static void
add_goes_on(void)
{
    breaks_everywhere(nothing, add_words);
    CHECK(is(FRONT "/backend", UPPER_BACK));
}

static void
remove_goes_on(void)
{
    breaks_everywhere(left_alone, "remove web xvda");
    CHECK(is(FRONT, NULL));
    CHECK(is("/local/domain/0/backend/vbd", ""));
}

static void
vbd_hooked(void)
{
    char params[256];

    snprintf(params, sizeof params, "web-root:4:%s", device);
    vbd_made(params);
}

static void
vbd_in_store(void)
{
    char params[256];

    snprintf(params, sizeof params, "store/web-root:4:%s", device);
    vbd_made(params);
}

static void
vbd_moved(void)
{
    vbd_in_store();
    CHECK_EQ(ctl("hook add " HOOK), 0);
    put(UPPER_BACK "/state", "6");
    put("/local/domain/3/data/blktapd-vbd/4/state", "6");
}

static void
vbd_handed(void)
{
    vbd_hooked();
    CHECK_EQ(ctl("hook add " HOOK), 0);
}

static void
hook_goes_on(void)
{
    breaks_everywhere(vbd_hooked, "hook add " HOOK);
    CHECK(is(HOOKED "/handed-over", "1"));
    breaks_everywhere(vbd_handed, "hook remove " HOOK);
    CHECK(is("/local/domain/0/data/blktapd-vbd", NULL));
}

static void
hook_moves_on(void)
{
    breaks_everywhere(vbd_in_store, "hook add " HOOK);
    CHECK(is(HOOKED "/moved-to", UPPER_BACK));
    breaks_everywhere(vbd_moved, "hook remove " HOOK);
    CHECK(is(UPPER_BACK, NULL));
}

/* ---- while the guest has it ---------------------------------------------- */

static void *
remove_main(void *arg)
{
    *(atomic_int *)arg = ctl("remove web xvda");
    return NULL;
}

/* A node that can't be read is no node that says 6. */
static void
waits_for_the_guest(void)
{
    pthread_t thread;
    atomic_int status = -1;

    fresh();
    CHECK_EQ(ctl(add_words), 0);
    put(UPPER_BACK "/state", "4");
    put(LOWER_FRONT "/state", "4");
    relay.when = BEFORE;
    relay.refuse = 5;
    relay.left = 30; /* it looks a few times by then */
    REQUIRE(!pthread_create(&thread, NULL, remove_main, &status));
    for (int i = 0; i < 3000 && (relay.left || relay.refuse); i++)
        usleep(10000);
    CHECK_EQ(relay.left, 0);
    CHECK_EQ(relay.refuse, 0);
    usleep(500000);
    CHECK(is(UPPER_BACK "/online", "0"));
    CHECK(is(FRONT "/backend", UPPER_BACK));
    CHECK_EQ(status, -1);
    put(UPPER_BACK "/state", "6");
    put(LOWER_FRONT "/state", "6");
    pthread_join(thread, NULL);
    CHECK_EQ(status, 0);
    CHECK_STR(said, "");
    CHECK(is(FRONT, NULL));
    CHECK(is(LOWER_FRONT, NULL));
}

/* What is wrong is said once, also when it was found in two tries. */
static void
says_what_is_wrong(void)
{
    fresh();
    relay.when = BEFORE;
    relay.left = 3;
    CHECK_EQ(ctl("remove mail xvda"), 1 << 8);
    CHECK_EQ(relay.left, 0);
    CHECK_STR(said, "blktapctl: vm: expected a running guest, found "
                    "\"mail\"\n");
}

int
main(int argc, char **argv)
{
    int status = ctl_store_start();

    test_args(argc, argv);
    if (status)
        return status;
    snprintf(add_words, sizeof add_words,
             "add web-root web xvda %s domain=store", device);
    relay_start();
    TEST(says_what_is_wrong);
    TEST(add_goes_on);
    TEST(remove_goes_on);
    TEST(hook_goes_on);
    TEST(hook_moves_on);
    TEST(waits_for_the_guest);
    relay_stop();
    return ctl_store_end();
}
