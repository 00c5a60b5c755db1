/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `blktapctl resize': it waits until a size is so, says what became of it, and
 * ends with 1 when it is not.  The daemon's answers are made up here.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static int test_nanosleep(const struct timespec *t, struct timespec *left);

#define nanosleep test_nanosleep
#include "src/ctl/act.c"
#undef nanosleep
#include "tests/test.h"

static const char *const *answers; /* one after the other; "" is an error */
static unsigned asked, slept;
static char said[300];

static int
test_nanosleep(const struct timespec *t, struct timespec *left)
{
    CHECK(t->tv_nsec > 0 && !left);
    slept++;
    return 0;
}

struct json_object *__wrap_ctl_ask(const struct ctl *, const char *, int,
                                   char **, bool *);
int __wrap_ctl_error(const char *, ...) __attribute__((format(printf, 1, 2)));
int __wrap_ctl_dump(struct json_object *);

struct json_object *
__wrap_ctl_ask(const struct ctl *ctl, const char *command, int argc,
               char **argv, bool *ok)
{
    const char *answer = answers[asked];

    CHECK(ctl && argc && !strcmp(argv[0], "web"));
    CHECK_STR(command, asked ? "show" : "resize");
    CHECK_EQ(argc, asked ? 1 : 2);
    REQUIRE(answer);
    asked++;
    *ok = answer[0];
    return answer[0] ? json_tokener_parse(answer) : NULL;
}

int
__wrap_ctl_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
    return 1;
}

int
__wrap_ctl_dump(struct json_object *o)
{
    snprintf(said, sizeof said, "%s",
             json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
    return 0;
}

/* The exit status; every answer must have been asked for. */
static int
resize(const char *const *list)
{
    static const struct ctl ctl = { .json = true };
    char web[] = "web", size[] = "2G";
    char *argv[] = { web, size, NULL };
    int rc;

    answers = list;
    asked = slept = 0;
    said[0] = '\0';
    rc = resize_run(&ctl, 2, argv);
    CHECK(!answers[asked]);
    return rc;
}

#define BEGUN "{\"resizing_to\":2147483648,\"layer\":\"q\"}"
#define SHOWN(counters, now)                                         \
    "{\"held\":{\"now\":" now ",\"last-ns\":1234},\"layers\":["      \
    "{\"name\":\"other\",\"counters\":{\"resize_failed\":\"old\"}}," \
    "{\"name\":\"q\",\"counters\":{" counters "}}]}"

static void
waits(void)
{
    static const char *const list[] = {
        BEGUN, SHOWN("\"resizing_to\":2147483648", "false"),
        SHOWN("\"resizing_to\":2147483648", "true"),
        /* It has the size, but requests wait still. */
        SHOWN("", "true"), SHOWN("\"size\":2147483648", "false"), NULL
    };

    CHECK_EQ(resize(list), 0);
    CHECK_EQ(slept, 3);
    CHECK_STR(said, "{\"resizing_to\":2147483648,\"layer\":\"q\","
                    "\"waited_ns\":1234}");
}

static void
fails(void)
{
    static const char *const late[] = {
        BEGUN, SHOWN("\"resizing_to\":2147483648", "true"),
        SHOWN("\"resize_failed\":\"2147483648 bytes: No space left\"", "false"),
        NULL
    };
    static const char *const closed[] = {
        BEGUN, SHOWN("\"resizing_to\":2147483648", "true"),
        "{\"state\":\"free\"}", NULL
    };
    static const char *const killed[] = {
        BEGUN, SHOWN("\"resizing_to\":2147483648", "true"), "", NULL
    };
    static const char *const refused[] = { "", NULL };

    CHECK_EQ(resize(late), 1);
    CHECK_STR(said, "disk web can't be resized to 2147483648 bytes: No space "
                    "left");
    CHECK_EQ(resize(closed), 1);
    CHECK_STR(said, "disk web was closed before it had another size");
    CHECK_EQ(resize(killed), 1);
    CHECK_STR(said, ""); /* ctl_ask() says it */
    CHECK_EQ(resize(refused), 1);
}

/* Nothing is to be done, or nobody knows when it is. */
static void
does_not_wait(void)
{
    static const char *const list[] = { "{\"text\":[\"it has it already\\n\"]}",
                                        NULL };

    CHECK_EQ(resize(list), 0);
    CHECK_EQ(slept, 0);
    CHECK_STR(said, "{\"text\":[\"it has it already\\n\"]}");
}

int
main(void)
{
    TEST(waits);
    TEST(fails);
    TEST(does_not_wait);
    return test_end();
}
