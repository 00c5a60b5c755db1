/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control_local.c: local front-ends on the real control socket, with a disk
 * whose every step is answered by hand: what is asked for, and what happens
 * when the client, the disk or the daemon goes at a bad moment.
 */
#include "config.h"

#include "src/disk/local.c"

#include "tests/unit/control_loop.h"

/* ---- a disk -------------------------------------------------------------- */

struct disk {
    const struct disk_owner *owner;
    void *ctx;
    disk_fn *opened, *connected, *closed;
    struct chan_params params;
    unsigned connects, closes;
    uint32_t pages;
    bool readonly;
    char front[96];
};

static struct disk fake;
static struct blk_limits limits;
static struct conf_disk cd;
static struct conf conf;
static const char *refusal;

uint64_t
disks_random(const struct disks *ds)
{
    (void)ds;
    return 0xab;
}

int
disk_open(struct disk **d, struct disks *ds, struct conf *c,
          const struct conf_disk *conf_disk, bool readonly,
          const struct disk_front *front, const struct disk_owner *owner,
          void *ctx, disk_fn *opened, char *why, size_t n)
{
    (void)ds;
    CHECK(c == &conf && conf_disk == &cd);
    if (refusal) {
        snprintf(why, n, "%s", refusal);
        return -EBUSY;
    }
    fake.owner = owner;
    fake.ctx = ctx;
    fake.opened = opened;
    fake.readonly = readonly;
    snprintf(fake.front, sizeof(fake.front), "%s", front->vm);
    CHECK_STR(front->kind, "local");
    CHECK_STR(front->attachment, "local,00000000000000ab");
    CHECK(!front->used);
    *d = &fake;
    return 0;
}

void
disk_connect(struct disk *d, const struct chan_params *p,
             const struct local_share *share, disk_fn *connected)
{
    d->connects++;
    d->params = *p;
    d->pages = share->pages;
    d->connected = connected;
}

void
disk_close(struct disk *d, disk_fn *closed)
{
    d->closes++;
    d->closed = closed;
}

const struct blk_limits *
disk_limits(const struct disk *d)
{
    (void)d;
    return &limits;
}

const struct conf_disk *
disk_conf(const struct disk *d)
{
    (void)d;
    return &cd;
}

bool
disk_readonly(const struct disk *d)
{
    return d->readonly;
}

/* ---- the daemon ---------------------------------------------------------- */

static char dir[] = "/tmp/control_local.XXXXXX", path[64];
static struct control *control;
static struct test_client a;

static void
front(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    local_front(NULL, &conf, &cd, call, argc, argv);
}

static void
start(void)
{
    char why[256];

    memset(&fake, 0, sizeof(fake));
    refusal = NULL;
    limits = (struct blk_limits){ .size = 1 << 20,
                                  .block = 4096,
                                  .ops = BLK_ALL_OPS };
    cd = (struct conf_disk){ .name = "web",
                             .discard = true,
                             .queues = 4,
                             .ring_order = 2,
                             .indirect = 128,
                             .buffers = 16 << 20 };
    loop_init(&test_loop, &test_loop_ops, "test");
    REQUIRE(!control_open(&control, &test_loop, path, why, sizeof(why)));
    control_register(control, "front", "", 0, -1, "", front, NULL);
    REQUIRE(test_connect(&a, path));
}

static void
stop(void)
{
    close(a.fd);
    REQUIRE(test_turn());
    control_close(control);
    CHECK_EQ(test_watches(), 0);
}

static void
ask(const char *args)
{
    char line[400];

    snprintf(line, sizeof(line), "{\"command\":\"front\",\"args\":[%s]}\n",
             args);
    test_say(&a, line);
}

static void
connected(const char *args)
{
    ask(args);
    if (!fake.opened)
        printf("%s\n", test_line(&a));
    REQUIRE(fake.opened);
    fake.opened(fake.ctx, &fake, 0, NULL);
    CHECK_EQ(fake.connects, 1);
    fake.connected(fake.ctx, &fake, 0, NULL);
}

/* The disk has gone, and with it the last of the front-end. */
static void
gone(void)
{
    CHECK_EQ(fake.closes, 1);
    if (fake.closed)
        fake.closed(fake.ctx, &fake, 0, NULL);
}

static void
fds_close(void)
{
    while (a.n)
        close(a.fds[--a.n]);
}

/* ---- what is handed over ------------------------------------------------- */

static void
hands_over_rings(void)
{
    const char *line;

    start();
    connected("");
    line = test_line(&a);
    CHECK_STR(line, "{\"result\":{\"size\":1048576,\"physical_block\":4096,"
                    "\"discard_granularity\":4096,\"max_len\":524288,"
                    "\"queues\":1,\"ring_order\":0,\"indirect\":128,"
                    "\"pages\":1057,\"readonly\":false,\"flush\":true}}");
    CHECK_EQ(a.n, 3);
    CHECK_EQ(lseek(a.fds[0], 0, SEEK_END), 1057 * 4096);
    CHECK_EQ(fake.params.abi, CHAN_ABI_64);
    CHECK_EQ(fake.params.queues, 1);
    CHECK(strstr(fake.front, "process["));
    fds_close();
    stop();
    gone();
}

static void
gives_no_more_than_is_configured(void)
{
    start();
    connected("\"queues=16\",\"ring-order=4\",\"indirect=256\","
              "\"buffers=1G\",\"readonly=yes\",\"name=tool\"");
    CHECK(strstr(test_line(&a), "\"queues\":4,\"ring_order\":2,"
                                "\"indirect\":128,"));
    CHECK_EQ(a.n, 9);
    CHECK_EQ(fake.params.queues, 4);
    CHECK_EQ(fake.params.order, 2);
    CHECK_EQ(fake.params.queue[3].refs[0], 12);
    CHECK_EQ(fake.params.queue[3].refs[3], 15);
    CHECK_EQ(fake.params.queue[3].port, 3);
    /* rings, a list for each entry, and the data */
    CHECK_EQ(fake.pages, 16 + 4 * 128 + 4096);
    CHECK(fake.readonly);
    CHECK(strstr(fake.front, "tool["));
    fds_close();
    stop();
    gone();
}

static void
goes_without_lists(void)
{
    start();
    cd.indirect = 0;
    cd.discard = false;
    connected("\"buffers=64k\"");
    CHECK(strstr(test_line(&a), "\"discard_granularity\":0,\"max_len\":45056,"
                                "\"queues\":1,\"ring_order\":0,\"indirect\":0,"
                                "\"pages\":17,"));
    fds_close();
    stop();
    gone();
}

/* ---- what is refused ----------------------------------------------------- */

static void
refuses_options(void)
{
    static const struct {
        const char *args, *why;
    } cases[] = {
        { "\"queues\"", "expected KEY=VALUE, found \\\"queues\\\"" },
        { "\"queues=0\"", "queues: expected 1 to 16, found \\\"0\\\"" },
        { "\"queues=17\"", "expected 1 to 16" },
        { "\"ring-order=5\"", "ring-order: expected 0 to 4" },
        { "\"indirect=257\"", "indirect: expected 0 to 256" },
        { "\"buffers=1k\"", "buffers: expected 64k or more" },
        { "\"readonly=maybe\"", "readonly: expected yes or no" },
        { "\"speed=1\"", "speed: expected queues, ring-order" },
        { "\"=\"", "expected queues, ring-order" },
    };
    size_t i;

    start();
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *line;

        ask(cases[i].args);
        line = test_line(&a);
        if (!line || !strstr(line, cases[i].why))
            test_fail(__FILE__, __LINE__, "%s: said %s", cases[i].args, line);
    }
    CHECK(!fake.ctx);
    refusal = "in use";
    ask("");
    CHECK_STR(test_line(&a), "{\"error\":\"in use\"}");
    CHECK_EQ(fake.closes, 0);
    stop();
}

static void
says_why_it_can_not_be_opened(void)
{
    start();
    ask("");
    fake.opened(fake.ctx, &fake, -ENOENT, "no such medium");
    CHECK_STR(test_line(&a), "{\"error\":\"no such medium\"}");
    gone();
    stop();
    CHECK_EQ(fake.closes, 1);
}

static void
says_why_it_can_not_be_connected(void)
{
    start();
    ask("");
    fake.opened(fake.ctx, &fake, 0, NULL);
    fake.connected(fake.ctx, &fake, -ENOMEM, NULL);
    CHECK_STR(test_line(&a), "{\"error\":\"Cannot allocate memory\"}");
    gone();
    /* The connection may be used again. */
    memset(&fake, 0, sizeof(fake));
    connected("");
    CHECK(strstr(test_line(&a), "result"));
    fds_close();
    stop();
    gone();
}

static void
is_one_for_a_connection(void)
{
    start();
    connected("");
    CHECK(strstr(test_line(&a), "result"));
    ask("");
    CHECK_STR(test_line(&a),
              "{\"error\":\"this connection has a front-end already\"}");
    fds_close();
    stop();
    gone();
}

/* ---- bad moments --------------------------------------------------------- */

static void
client_goes_while_it_opens(void)
{
    start();
    ask("");
    close(a.fd);
    REQUIRE(test_turn());
    CHECK_EQ(fake.closes, 0); /* not before the answer */
    fake.opened(fake.ctx, &fake, 0, NULL);
    fake.connected(fake.ctx, &fake, 0, NULL);
    REQUIRE(test_turn());
    gone();
    REQUIRE(test_connect(&a, path));
    stop();
}

static void
disk_fails_while_it_connects(void)
{
    start();
    ask("");
    fake.opened(fake.ctx, &fake, 0, NULL);
    fake.owner->failed(fake.ctx, &fake, "broken");
    fake.connected(fake.ctx, &fake, 0, NULL);
    REQUIRE(test_turn());
    gone();
    CHECK(test_line(&a));
    CHECK(test_hung_up(&a));
    fds_close();
    stop();
}

static void
disk_fails_while_it_works(void)
{
    start();
    connected("");
    CHECK(test_line(&a));
    fake.owner->resized(fake.ctx, &fake);
    CHECK_EQ(fake.closes, 0);
    fake.owner->failed(fake.ctx, &fake, "broken");
    CHECK_EQ(fake.closes, 0); /* from a task, never from inside */
    CHECK(test_hung_up(&a));
    gone();
    fds_close();
    stop();
}

static void
disk_wants_another_connection(void)
{
    start();
    connected("");
    CHECK(test_line(&a));
    fake.owner->reconnect(fake.ctx, &fake);
    CHECK(test_hung_up(&a));
    gone();
    fds_close();
    stop();
}

static void
daemon_ends(void)
{
    start();
    connected("");
    CHECK(test_line(&a));
    control_close(control);
    gone();
    CHECK(test_hung_up(&a));
    fds_close();
    close(a.fd);
}

static void
daemon_ends_while_it_opens(void)
{
    start();
    ask("");
    control_close(control);
    CHECK_EQ(fake.closes, 0);
    fake.opened(fake.ctx, &fake, 0, NULL);
    fake.connected(fake.ctx, &fake, 0, NULL);
    gone();
    close(a.fd);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/control", dir);
    TEST(hands_over_rings);
    TEST(gives_no_more_than_is_configured);
    TEST(goes_without_lists);
    TEST(refuses_options);
    TEST(says_why_it_can_not_be_opened);
    TEST(says_why_it_can_not_be_connected);
    TEST(is_one_for_a_connection);
    TEST(client_goes_while_it_opens);
    TEST(disk_fails_while_it_connects);
    TEST(disk_fails_while_it_works);
    TEST(disk_wants_another_connection);
    TEST(daemon_ends);
    TEST(daemon_ends_while_it_opens);
    rmdir(dir);
    return test_end();
}
