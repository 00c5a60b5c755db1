/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control_socket.c: the control socket, seen from its clients: lines whole and
 * in parts, answers now and later, what is refused, who is dropped.
 */
#include "config.h"

#include "tests/unit/control_loop.h"

static char dir[] = "/tmp/control_socket.XXXXXX", path[64];
static struct control *control;
static struct control_call *held;
static unsigned calls, hangups;

static void
echo(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    struct json_object *all = json_object_new_array();
    int i;

    (void)ctx;
    calls++;
    CHECK(!argv[argc]);
    for (i = 0; i < argc; i++)
        json_object_array_add(all, json_object_new_string(argv[i]));
    control_answer(call, all);
}

static void
hold(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    (void)argc;
    (void)argv;
    held = call;
}

static void
refuse(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    (void)argc;
    control_fail(call, "no: %s", argv[0]);
}

static void
hung_up(void *data)
{
    hangups++;
    CHECK(data == &hangups);
}

static void
keep(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    (void)argc;
    (void)argv;
    if (control_on_hangup(call, hung_up, &hangups))
        control_answer(call, NULL);
    else
        control_fail(call, "kept already");
}

static void
big(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    static char text[300 * 1024];

    (void)ctx;
    (void)argc;
    (void)argv;
    calls++;
    memset(text, 'x', sizeof(text) - 1);
    control_answer(call, json_object_new_string(text));
}

static void
start(void)
{
    char why[256] = "";

    loop_init(&test_loop, &test_loop_ops, "test");
    if (control_open(&control, &test_loop, path, why, sizeof(why))) {
        printf("%s\n", why);
        exit(1);
    }
    control_register(control, "echo", "[TEXT...]", 0, -1, "says it", echo,
                     NULL);
    control_register(control, "two", "A B", 2, 2, "takes two", echo, NULL);
    control_register(control, "hold", "", 0, 0, "answers later", hold, NULL);
    control_register(control, "refuse", "WHY", 1, 1, "refuses", refuse, NULL);
    control_register(control, "keep", "", 0, 0, "keeps on", keep, NULL);
    control_register(control, "big", "", 0, 0, "says much", big, NULL);
    calls = hangups = 0;
    held = NULL;
}

static void
stop(void)
{
    control_close(control);
    control = NULL;
    CHECK_EQ(test_watches(), 0);
}

static struct test_client a, b;

static void
answers_a_line(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"echo\",\"args\":[\"x\",\"y/z\"]}\n");
    CHECK_STR(test_line(&a), "{\"result\":[\"x\",\"y/z\"]}");
    test_say(&a, "{\"command\":\"echo\"}\r\n");
    CHECK_STR(test_line(&a), "{\"result\":[]}");
    close(a.fd);
    stop();
}

static void
takes_a_line_in_pieces(void)
{
    const char *line = "{\"command\":\"echo\",\"args\":[\"piece\"]}\n";
    size_t i;

    start();
    REQUIRE(test_connect(&a, path));
    for (i = 0; i < strlen(line); i++) {
        CHECK_EQ(calls, 0);
        test_put(&a, line + i, 1);
    }
    CHECK_STR(test_line(&a), "{\"result\":[\"piece\"]}");
    close(a.fd);
    stop();
}

static void
takes_many_lines_at_once(void)
{
    char text[4096] = "";
    int i;

    start();
    REQUIRE(test_connect(&a, path));
    for (i = 0; i < 40; i++)
        sprintf(text + strlen(text),
                "{\"command\":\"echo\",\"args\":[\"%d\"]}\n", i);
    test_say(&a, text);
    for (i = 0; i < 40; i++) {
        char expected[64];

        sprintf(expected, "{\"result\":[\"%d\"]}", i);
        CHECK_STR(test_line(&a), expected);
    }
    CHECK_EQ(calls, 40);
    close(a.fd);
    stop();
}

static void
goes_on_after_a_bad_line(void)
{
    static const char *const bad[] = {
        "\n",
        "nonsense\n",
        "{\"command\":\"echo\"} {}\n",
        "[1]\n",
        "{}\n",
        "{\"command\":7}\n",
        "{\"command\":\"echo\",\"args\":\"x\"}\n",
        "{\"command\":\"echo\",\"args\":[1]}\n",
        "{\"command\":\"echo\",\"args\":[\"a\\u0000b\"]}\n",
        "{\"command\":\"echo\",\"more\":1}\n",
        "{\"command\":\"echo\",\"args\":[[[[[[[[[[]]]]]]]]]]}\n",
        "{\"command\":\"echo\",\"args\":[\"\xff\xfe\"]}\n",
        "{'command':'echo'}\n",
    };
    unsigned i;

    start();
    REQUIRE(test_connect(&a, path));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *line;

        test_say(&a, bad[i]);
        line = test_line(&a);
        CHECK(line && !strncmp(line, "{\"error\":\"", 10));
        if (!line)
            printf("no answer to %s", bad[i]);
    }
    CHECK_EQ(calls, 0);
    test_say(&a, "{\"command\":\"echo\"}\n");
    CHECK_STR(test_line(&a), "{\"result\":[]}");
    close(a.fd);
    stop();
}

static void
a_nul_byte_ends_no_line(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_put(&a, "{\"command\":\"echo\"}\0x\n", 21);
    CHECK(strstr(test_line(&a), "error"));
    CHECK_EQ(calls, 0);
    close(a.fd);
    stop();
}

/* The longest line, and one byte more. */
static void
bounds_the_length_of_a_line(void)
{
    static char text[64 * 1024 + 2];
    const char *head = "{\"command\":\"echo\",\"args\":[\"", *tail = "\"]}\n";
    size_t len = sizeof(text) - 1;

    memset(text, 'x', sizeof(text));
    memcpy(text, head, strlen(head));
    memcpy(text + len - strlen(tail), tail, strlen(tail));
    start();
    REQUIRE(test_connect(&a, path));
    test_put(&a, text, len);
    CHECK_EQ(strlen(test_line(&a)), len - 1 - strlen(head) - 3 + 15);
    CHECK_EQ(calls, 1);
    memset(text, 'x', len);
    test_put(&a, text, len);
    test_put(&a, text, len);
    test_put(&a, "\n", 1);
    CHECK_STR(test_line(&a), "{\"error\":\"a line is longer than 64 KiB\"}");
    test_say(&a, "{\"command\":\"echo\"}\n");
    CHECK_STR(test_line(&a), "{\"result\":[]}");
    CHECK_EQ(calls, 2);
    close(a.fd);
    stop();
}

static void
counts_arguments(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"two\",\"args\":[\"x\"]}\n");
    CHECK_STR(test_line(&a), "{\"error\":\"usage: two A B\"}");
    test_say(&a, "{\"command\":\"two\",\"args\":[\"x\",\"y\",\"z\"]}\n");
    CHECK_STR(test_line(&a), "{\"error\":\"usage: two A B\"}");
    test_say(&a, "{\"command\":\"hold\",\"args\":[\"x\"]}\n");
    CHECK_STR(test_line(&a), "{\"error\":\"usage: hold\"}");
    test_say(&a, "{\"command\":\"two\",\"args\":[\"x\",\"y\"]}\n");
    CHECK_STR(test_line(&a), "{\"result\":[\"x\",\"y\"]}");
    close(a.fd);
    stop();
}

static void
knows_what_was_meant(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"ehco\"}\n");
    CHECK_STR(test_line(&a), "{\"error\":\"there is no command \\\"ehco\\\"; "
                             "did you mean \\\"echo\\\"?\"}");
    test_say(&a, "{\"command\":\"fnord\"}\n");
    CHECK_STR(test_line(&a),
              "{\"error\":\"there is no command \\\"fnord\\\"\"}");
    test_say(&a, "{\"command\":\"refuse\",\"args\":[\"why \\\"not\\\"\"]}\n");
    CHECK_STR(test_line(&a), "{\"error\":\"no: why \\\"not\\\"\"}");
    close(a.fd);
    stop();
}

/* A call that waits holds up its own client's next lines, and nobody else. */
static void
answers_later(void)
{
    start();
    REQUIRE(test_connect(&a, path) && test_connect(&b, path));
    test_say(&a, "{\"command\":\"hold\"}\n{\"command\":\"echo\"}\n");
    CHECK(held);
    CHECK(!test_line(&a));
    CHECK_EQ(calls, 0);
    test_say(&b, "{\"command\":\"echo\"}\n");
    CHECK_STR(test_line(&b), "{\"result\":[]}");
    control_answer(held, json_object_new_int(7));
    CHECK_STR(test_line(&a), "{\"result\":7}");
    CHECK_STR(test_line(&a), "{\"result\":[]}");
    close(a.fd);
    close(b.fd);
    stop();
}

static void
answers_nobody(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n");
    close(a.fd);
    CHECK(test_turn());
    control_answer(held, json_object_new_int(7));
    CHECK(test_turn());
    CHECK_EQ(test_watches(), 1);
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n");
    stop();
    control_fail(held, "too late");
    close(a.fd);
}

/* "printf ... | nc -U" closes its own direction first. */
static void
answers_after_half_a_close(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n{\"command\":\"echo\"}\n");
    shutdown(a.fd, SHUT_WR);
    CHECK(test_turn());
    control_answer(held, NULL);
    CHECK_STR(test_line(&a), "{\"result\":null}");
    CHECK_STR(test_line(&a), "{\"result\":[]}");
    CHECK(test_hung_up(&a));
    close(a.fd);
    CHECK_EQ(test_watches(), 1);
    stop();
}

static void
sends_descriptors(void)
{
    int p[2];
    char c = 0;

    start();
    REQUIRE(!pipe(p));
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n");
    control_answer_fds(held, json_object_new_string("here"), p, 2);
    close(p[0]);
    CHECK_STR(test_line(&a), "{\"result\":\"here\"}");
    CHECK_EQ(a.n, 2);
    CHECK_EQ(write(p[1], "!", 1), 1);
    CHECK_EQ(read(a.fds[0], &c, 1), 1);
    CHECK_EQ(c, '!');
    close(a.fds[0]);
    close(a.fds[1]);
    close(p[1]);
    close(a.fd);
    stop();
}

static void
tells_of_a_hangup_once(void)
{
    start();
    REQUIRE(test_connect(&a, path) && test_connect(&b, path));
    test_say(&a, "{\"command\":\"keep\"}\n");
    CHECK_STR(test_line(&a), "{\"result\":null}");
    test_say(&a, "{\"command\":\"keep\"}\n");
    CHECK_STR(test_line(&a), "{\"error\":\"kept already\"}");
    CHECK_EQ(hangups, 0);
    close(a.fd);
    CHECK(test_turn());
    CHECK_EQ(hangups, 1);
    test_say(&b, "{\"command\":\"keep\"}\n");
    CHECK_STR(test_line(&b), "{\"result\":null}");
    stop();
    CHECK_EQ(hangups, 2);
    CHECK(test_hung_up(&b));
    close(b.fd);
}

static void
tells_of_a_hangup_after_the_answer(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n");
    CHECK(control_on_hangup(held, hung_up, &hangups));
    close(a.fd);
    CHECK(test_turn());
    CHECK_EQ(hangups, 0);
    control_answer(held, NULL);
    CHECK_EQ(hangups, 0);
    CHECK(test_turn());
    CHECK_EQ(hangups, 1);
    stop();
}

static void
forgets_a_hangup_of_a_failed_call(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n");
    CHECK(control_on_hangup(held, hung_up, &hangups));
    control_fail(held, "no");
    CHECK_STR(test_line(&a), "{\"error\":\"no\"}");
    close(a.fd);
    CHECK(test_turn());
    CHECK_EQ(hangups, 0);
    stop();
}

static void
hangs_up(void)
{
    struct control_client *c;

    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"hold\"}\n");
    c = control_client(held);
    CHECK_EQ(control_pid(held), getpid());
    CHECK(control_on_hangup(held, hung_up, &hangups));
    control_answer(held, NULL);
    CHECK_STR(test_line(&a), "{\"result\":null}");
    control_drop(c);
    CHECK_EQ(hangups, 0);
    CHECK(test_hung_up(&a));
    CHECK_EQ(hangups, 1);
    close(a.fd);
    stop();
}

static void
follows_events(void)
{
    const char *line;
    int i;

    start();
    test_now = 5;
    for (i = 0; i < 300; i++)
        control_event(control, "made", i % 2 ? "web" : NULL, "by hand");
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"events\"}\n");
    line = test_line(&a);
    CHECK(line && strstr(line, "{\"result\":[{\"seq\":44,\"at_ns\":5,"));
    CHECK(line && strstr(line, "{\"seq\":299,\"at_ns\":5,\"what\":\"made\","
                               "\"disk\":\"web\",\"detail\":\"by hand\"}]"));
    control_event(control, "unheard", NULL, NULL);
    CHECK(!test_line(&a));
    test_say(&a, "{\"command\":\"events\",\"args\":[\"-f\"]}\n");
    CHECK(test_line(&a));
    control_event(control, "heard", "db", "loud");
    CHECK_STR(test_line(&a),
              "{\"event\":{\"seq\":301,\"at_ns\":5,\"what\":\"heard\","
              "\"disk\":\"db\",\"detail\":\"loud\"}}");
    test_say(&a, "{\"command\":\"events\",\"args\":[\"-x\"]}\n");
    CHECK(strstr(test_line(&a), "expected -f"));
    close(a.fd);
    CHECK(test_turn());
    control_event(control, "gone", NULL, NULL);
    stop();
}

static void
drops_who_does_not_listen(void)
{
    static char detail[60 * 1024];
    int i;

    memset(detail, 'x', sizeof(detail) - 1);
    start();
    REQUIRE(test_connect(&a, path) && test_connect(&b, path));
    test_say(&a, "{\"command\":\"events\",\"args\":[\"-f\"]}\n");
    CHECK(test_line(&a));
    test_say(&b, "{\"command\":\"events\",\"args\":[\"-f\"]}\n");
    CHECK(test_line(&b));
    CHECK_EQ(test_watches(), 3);
    for (i = 0; i < 100; i++) {
        control_event(control, "long", NULL, detail);
        CHECK(test_line(&b));
    }
    CHECK(test_turn());
    CHECK_EQ(test_watches(), 2);
    control_event(control, "last", NULL, NULL);
    CHECK(test_line(&b));
    close(a.fd);
    close(b.fd);
    stop();
}

/* Who asks much and reads nothing is not asked on behalf of: it waits. */
static void
holds_who_does_not_read(void)
{
    char text[64 * 24] = "";
    int i;

    start();
    REQUIRE(test_connect(&a, path));
    for (i = 0; i < 50; i++)
        strcat(text, "{\"command\":\"big\"}\n");
    test_say(&a, text);
    CHECK(calls < 5);
    for (i = 0; i < 50; i++)
        CHECK(test_line(&a));
    CHECK_EQ(calls, 50);
    close(a.fd);
    stop();
}

static void
bounds_the_clients(void)
{
    static struct test_client c[65];
    const char *line;
    int i;

    start();
    for (i = 0; i < 65; i++) {
        REQUIRE(test_connect(&c[i], path));
        CHECK(test_turn());
    }
    line = test_line(&c[64]);
    CHECK(line && strstr(line, "64 clients"));
    CHECK(test_hung_up(&c[64]));
    test_say(&c[0], "{\"command\":\"keep\"}\n");
    CHECK(test_line(&c[0]));
    /* What holds a front-end is not counted. */
    REQUIRE(test_connect(&b, path));
    test_say(&b, "{\"command\":\"echo\"}\n");
    CHECK_STR(test_line(&b), "{\"result\":[]}");
    for (i = 0; i < 65; i++)
        close(c[i].fd);
    close(b.fd);
    CHECK(test_turn());
    CHECK_EQ(test_watches(), 1);
    stop();
}

static void
has_the_right_mode(void)
{
    struct stat st;
    mode_t old = umask(0);

    start();
    REQUIRE(!stat(path, &st));
    CHECK_EQ(st.st_mode & 07777, 0660);
    stop();
    umask(077);
    start();
    REQUIRE(!stat(path, &st));
    CHECK_EQ(st.st_mode & 07777, 0660);
    stop();
    umask(old);
    CHECK(stat(path, &st));
}

static void
replaces_only_what_is_stale(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct control *other;
    char why[256];
    int fd;

    start();
    CHECK_EQ(control_open(&other, &test_loop, path, why, sizeof(why)),
             -EADDRINUSE);
    CHECK(strstr(why, "another daemon answers on"));
    stop();
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(addr.sun_path, path);
    REQUIRE(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
    close(fd); /* killed: the name stays */
    start();
    stop();
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    REQUIRE(fd >= 0);
    CHECK_EQ(control_open(&other, &test_loop, path, why, sizeof(why)), -EEXIST);
    CHECK(strstr(why, "is not a socket"));
    close(fd);
    CHECK(!access(path, F_OK));
    unlink(path);
}

static void
says_what_is_wrong_with_a_path(void)
{
    struct control *other;
    char why[256], much[300];

    loop_init(&test_loop, &test_loop_ops, "test");
    memset(much, 'x', sizeof(much) - 1);
    much[sizeof(much) - 1] = '\0';
    CHECK_EQ(control_open(&other, &test_loop, much, why, sizeof(why)), -EINVAL);
    CHECK(strstr(why, "expected a path of 1 to 107 bytes, found 299"));
    CHECK_EQ(
        control_open(&other, &test_loop, "/nowhere/at/all", why, sizeof(why)),
        -ENOENT);
    CHECK(strstr(why, "can't listen on /nowhere/at/all"));
}

static void
helps(void)
{
    start();
    REQUIRE(test_connect(&a, path));
    test_say(&a, "{\"command\":\"help\"}\n");
    CHECK(strstr(test_line(&a), "{\"name\":\"two\",\"usage\":\"A B\",\"help\":"
                                "\"takes two\"}"));
    close(a.fd);
    stop();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/control", dir);
    TEST(answers_a_line);
    TEST(takes_a_line_in_pieces);
    TEST(takes_many_lines_at_once);
    TEST(goes_on_after_a_bad_line);
    TEST(a_nul_byte_ends_no_line);
    TEST(bounds_the_length_of_a_line);
    TEST(counts_arguments);
    TEST(knows_what_was_meant);
    TEST(answers_later);
    TEST(answers_nobody);
    TEST(answers_after_half_a_close);
    TEST(sends_descriptors);
    TEST(tells_of_a_hangup_once);
    TEST(tells_of_a_hangup_after_the_answer);
    TEST(forgets_a_hangup_of_a_failed_call);
    TEST(hangs_up);
    TEST(follows_events);
    TEST(drops_who_does_not_listen);
    TEST(holds_who_does_not_read);
    TEST(bounds_the_clients);
    TEST(has_the_right_mode);
    TEST(replaces_only_what_is_stale);
    TEST(says_what_is_wrong_with_a_path);
    TEST(helps);
    rmdir(dir);
    return test_end();
}
