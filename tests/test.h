/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test.h: a test is a function; a program is a list of them.
 *
 *     static void adds(void) { CHECK_EQ(1 + 1, 2); }
 *     int main(int argc, char **argv)
 *     {
 *         TEST(adds);
 *         return test_end();
 *     }
 *
 * `PROGRAM NAME...` runs only those named.  A failed check says where and what
 * and goes on; the program then exits with 1.  77 is "skipped".
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weak: one of each in a program, also when it has more than one file. */
__attribute__((weak)) int test_failures, test_count, test_only_n;
__attribute__((weak)) char **test_only;
__attribute__((weak)) const char *test_name = "";

/* Call first when the program takes names of tests. */
__attribute__((unused)) static void
test_args(int argc, char **argv)
{
    test_only = argv + 1;
    test_only_n = argc - 1;
}

__attribute__((unused)) static void
test_run(const char *name, void (*fn)(void))
{
    int i, before = test_failures;

    for (i = 0; i < test_only_n && strcmp(test_only[i], name); i++)
        ;
    if (test_only_n && i == test_only_n)
        return;
    test_name = name;
    test_count++;
    fn();
    printf("%s %s\n", test_failures == before ? "ok" : "FAILED", name);
    fflush(stdout);
}

__attribute__((unused)) static int
test_end(void)
{
    printf("%d tests, %d failures\n", test_count, test_failures);
    if (!test_count) {
        printf("no test was run\n");
        return 1;
    }
    return test_failures ? 1 : 0;
}

__attribute__((unused, format(printf, 3, 4))) static void
test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    test_failures++;
    printf("%s:%d: %s: ", file, line, test_name);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

#define TEST(fn) test_run(#fn, fn)
#define CHECK(x)                                             \
    do {                                                     \
        if (!(x))                                            \
            test_fail(__FILE__, __LINE__, "not so: %s", #x); \
    } while (0)
#define CHECK_EQ(a, b)                                                       \
    do {                                                                     \
        intmax_t a_ = (intmax_t)(a), b_ = (intmax_t)(b);                     \
        if (a_ != b_)                                                        \
            test_fail(__FILE__, __LINE__, "%s is %jd, expected %s, %jd", #a, \
                      a_, #b, b_);                                           \
    } while (0)
#define CHECK_STR(a, b)                                                        \
    do {                                                                       \
        const char *a_ = (a), *b_ = (b);                                       \
        if (!a_ || !b_ || strcmp(a_, b_))                                      \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #a, \
                      a_ ? a_ : "(null)", b_ ? b_ : "(null)");                 \
    } while (0)
/* For what the rest of a test can't do without. */
#define REQUIRE(x)                                                      \
    do {                                                                \
        if (!(x)) {                                                     \
            test_fail(__FILE__, __LINE__, "not so: %s; giving up", #x); \
            exit(1);                                                    \
        }                                                               \
    } while (0)

#endif
