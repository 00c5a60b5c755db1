/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.c: any bytes, in any pieces, on the control socket.  The first byte
 * says how long the pieces are.  Whatever comes: each line gets one line of
 * JSON back, in order, and the daemon is left as it was.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "control/private.h"
#include "tests/unit/control_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct control *control;
static struct control_call *held;
static unsigned hangups;
static size_t got; /* of a line that is not whole yet */

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    (void)level;
    (void)f;
    (void)fmt;
}

static void
echo(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    struct json_object *all = json_object_new_array();
    int i;

    (void)ctx;
    for (i = 0; i < argc; i++)
        json_object_array_add(all, json_object_new_string(argv[i]));
    assert(!argv[argc]);
    control_answer(call, all);
}

static void
fail(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    control_fail(call, "%s", argc ? argv[0] : "no");
}

static void
hung_up(void *data)
{
    (void)data;
    hangups++;
}

static void
keep(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    (void)argc;
    (void)argv;
    control_on_hangup(call, hung_up, NULL);
    control_answer(call, NULL);
}

/* Answered when the next turn is over. */
static void
later(void *ctx, struct control_call *call, int argc, const char *const *argv)
{
    (void)ctx;
    (void)argc;
    (void)argv;
    assert(!held);
    held = call;
}

static void
setup(void)
{
    char dir[] = "/tmp/fuzz_control.XXXXXX", path[64], why[256];

    loop_init(&test_loop, &test_loop_ops, "fuzz");
    if (!mkdtemp(dir))
        abort();
    snprintf(path, sizeof(path), "%s/control", dir);
    if (control_open(&control, &test_loop, path, why, sizeof(why)))
        abort();
    unlink(path);
    rmdir(dir);
    control_register(control, "e", "[TEXT...]", 0, -1, "", echo, NULL);
    control_register(control, "two", "A B", 2, 2, "", echo, NULL);
    control_register(control, "f", "[WHY]", 0, 1, "", fail, NULL);
    control_register(control, "k", "", 0, 0, "", keep, NULL);
    control_register(control, "l", "", 0, 0, "", later, NULL);
}

/* What comes back is lines of JSON objects. */
static void
drain(int fd)
{
    static char text[1 << 20];
    ssize_t n;
    char *end;

    while ((n = read(fd, text + got, sizeof(text) - got)) > 0) {
        got += (size_t)n;
        while ((end = memchr(text, '\n', got))) {
            assert(text[0] == '{' && end[-1] == '}');
            got -= (size_t)(end - text) + 1;
            memmove(text, end + 1, got);
        }
        assert(test_turn());
    }
}

static void
answer_held(void)
{
    struct control_call *call = held;

    held = NULL;
    if (call)
        control_answer(call, json_object_new_int(1));
    assert(test_turn());
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t piece, at = 1;
    int fd[2];

    got = 0;
    if (!control)
        setup();
    if (len < 2)
        return 0;
    piece = data[0] < 128 ? (size_t)data[0] + 1 : (size_t)data[0] << 6;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
        abort();
    assert(client_new(control, fd[0]));
    while (at < len) {
        size_t n = len - at < piece ? len - at : piece;
        ssize_t sent = send(fd[1], data + at, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EPIPE)
            break;
        at += sent > 0 ? (size_t)sent : 0;
        assert(test_turn());
        drain(fd[1]);
        answer_held();
    }
    drain(fd[1]);
    close(fd[1]);
    assert(test_turn());
    answer_held();
    assert(test_watches() == 1 && !control->client && !control->fronts);
    return 0;
}
