/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is refused before libconfig sees it. */
#include "config/text.c"

#include "config_fake.h"

/* The first line of errors for a text, or "" when it is taken. */
static const char *
check(const char *text, size_t len)
{
    static char first[512];
    struct reader r = { .conf = conf_new(),
                        .file = "T",
                        .errors = fake_errors,
                        .size = sizeof(fake_errors) };
    int rc;

    REQUIRE(r.conf);
    fake_errors[0] = '\0';
    rc = text_check(&r, text, len);
    CHECK_EQ(rc != 0, r.count != 0);
    snprintf(first, sizeof(first), "%.*s", (int)strcspn(fake_errors, "\n"),
             fake_errors);
    conf_unref(r.conf);
    return first;
}

#define TAKEN(text)        CHECK_STR(check(text, sizeof(text) - 1), "")
#define REFUSED(text, why) CHECK_STR(check(text, sizeof(text) - 1), why)

/* Whether a code point's bytes are good, told another way: decode, then ask
 * whether the shortest form of that number is as long. */
static bool
oracle(const unsigned char *p, unsigned n)
{
    static const uint32_t from[] = { 0, 0, 0x80, 0x800, 0x10000, 0x110000 };
    uint32_t c;
    unsigned i;

    if (n == 1)
        return p[0] && p[0] < 0x80;
    c = p[0] & (0x7fu >> n);
    if ((uint32_t)p[0] >> (7 - n) != (2u << n) - 2)
        return false;
    for (i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return false;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c >= from[n] && c < from[n + 1] && (c < 0xd800 || c > 0xdfff);
}

/* Every two and three bytes, and four in steps, as one sequence. */
static void
utf8_every_sequence(void)
{
    unsigned char p[5] = "";
    uint32_t i;

    for (i = 0x80; i <= 0xff; i++) {
        p[0] = (unsigned char)i;
        CHECK_EQ(utf8_length(p, 1), 0);
    }
    for (i = 0x8000; i <= 0xffff; i++) {
        p[0] = (unsigned char)(i >> 8), p[1] = (unsigned char)i, p[2] = 0;
        CHECK_EQ(utf8_length(p, 2) == 2, oracle(p, 2));
    }
    for (i = 0xe00000; i <= 0xefffff; i++) {
        p[0] = (unsigned char)(i >> 16), p[1] = (unsigned char)(i >> 8);
        p[2] = (unsigned char)i;
        if ((utf8_length(p, 3) == 3) != oracle(p, 3))
            test_fail(__FILE__, __LINE__, "%06x", i);
    }
    for (i = 0xf0000000; i >= 0xf0000000; i += 977) {
        p[0] = (unsigned char)(i >> 24), p[1] = (unsigned char)(i >> 16);
        p[2] = (unsigned char)(i >> 8), p[3] = (unsigned char)i;
        if ((utf8_length(p, 4) == 4) != oracle(p, 4))
            test_fail(__FILE__, __LINE__, "%08x", i);
    }
}

static void
bytes(void)
{
    TAKEN("");
    TAKEN("a = \"Grüße €𝄞\";");
    REFUSED("a = 1;\nb = \"\xff\";",
            "T:2: expected UTF-8, found the byte 0xff");
    REFUSED("# caf\xe9\n", "T:1: expected UTF-8, found the byte 0xe9");
    REFUSED("\xe2\x82", "T:1: expected UTF-8, found the byte 0xe2");
    REFUSED("a = 1;\n\0b", "T:2: expected text, found a NUL byte");
}

static void
comments(void)
{
    TAKEN("# @include ( \"\n// { \n/* [ \" @include\n */ a = 1; /**/");
    TAKEN("/***/ a = 1;");
    REFUSED("a = 1;\n/* b\nc",
            "T:2: expected the end of the comment that begins here, found the "
            "end of the file");
    REFUSED("/*/", "T:1: expected the end of the comment that begins here, "
                   "found the end of the file");
}

static void
strings(void)
{
    TAKEN("a = \"( @include # /* \\\" \\\\\"; b = \"\\x41\\q\\xzz\";");
    TAKEN("a = \"x\ny\";");
    REFUSED("a = 1;\nb = \"x;\nc = 2;",
            "T:2: expected a '\"' at the end of the string that begins here, "
            "found the end of the file");
    REFUSED("a = \"x\\", "T:1: expected a '\"' at the end of the string that "
                         "begins here, found the end of the file");
    TAKEN("a = \"x\" # more\n \"y\"; b : \"z\"; c = [ \"1\", \"2\" ];");
    REFUSED("a = ( { b \"x\"; } );",
            "T:1: expected no string here, found one: a key stands bare, and "
            "a '=' before its value");
    REFUSED("a = { b = 1, \"x\" };",
            "T:1: expected no string here, found one: a key stands bare, and "
            "a '=' before its value");
    REFUSED("\"a\" = 1;",
            "T:1: expected no string here, found one: a key stands bare, and "
            "a '=' before its value");
    REFUSED("a = \"\n\\x00\";",
            "T:2: expected \\x01 to \\x7f in a string, found \\x00");
    REFUSED("a = \"\\xC3\";",
            "T:1: expected \\x01 to \\x7f in a string, found \\xC3");
}

static void
brackets(void)
{
    TAKEN("((((((((((((((({})))))))))))))))");
    REFUSED("((((((((((((((((()))))))))))))))))",
            "T:1: expected at most 16 brackets inside each other, found one "
            "more");
    REFUSED("a = (\n{ b = 1;\n);",
            "T:3: expected a '}' for the '{' of line 2, found ')'");
    REFUSED("a = 1; }",
            "T:1: expected no '}' here, found one: nothing is open");
    REFUSED("a = (\n(1)\n", "T:1: expected the end of the '(' that begins "
                            "here, found the end of the file");
    TAKEN("a = { b = 1, c = 2, };");
    REFUSED("a = ( 1,\n2,\n# more\n);",
            "T:2: expected another item after the ',', found ')'");
    REFUSED("a = [ 1, ];",
            "T:1: expected another item after the ',', found ']'");
}

static void
numbers(void)
{
    static const char fits[] = "T:1: expected a number that fits in 32 bits, "
                               "or in 64 with an L behind it, found ";
    char line[256];

    TAKEN("a = 2147483647; b = -2147483648; c = 0x7fffffff; d = 007;");
    TAKEN("a = 9223372036854775807L; b = -9223372036854775808L; c = 5LL;");
    TAKEN("a = 1.5; b = 1e300; c = -.5; d = 99999999999.0; name-9999999999=1;");
    snprintf(line, sizeof(line), "%s2147483648", fits);
    REFUSED("a = 2147483648;", line);
    snprintf(line, sizeof(line), "%s-2147483649", fits);
    REFUSED("a = -2147483649;", line);
    snprintf(line, sizeof(line), "%s0x80000000", fits);
    REFUSED("a = 0x80000000;", line);
    snprintf(line, sizeof(line), "%s9223372036854775808L", fits);
    REFUSED("a = 9223372036854775808L;", line);
    snprintf(line, sizeof(line), "%s%.40s", fits,
             "11111111111111111111111111111111111111111111111111111111");
    REFUSED("a = 11111111111111111111111111111111111111111111111111111111;",
            line);
}

static void
includes(void)
{
    static const char why[] = ": @include: expected none (put more files into "
                              "the folder blktapd.d), found one";
    char line[256];

    snprintf(line, sizeof(line), "T:2%s", why);
    REFUSED("a = 1;\n  @include \"/etc/passwd\"\n", line);
    snprintf(line, sizeof(line), "T:1%s", why);
    REFUSED("@include \"x\"", line);
}

static void
lines(void)
{
    char line[8];

    text_line("one\n  two \t\r\nthree", 2, line, sizeof(line));
    CHECK_STR(line, "two");
    text_line("one\n", 1, line, sizeof(line));
    CHECK_STR(line, "one");
    text_line("one\n", 5, line, sizeof(line));
    CHECK_STR(line, "");
    /* cut before the character that does not fit */
    text_line("123456€", 1, line, sizeof(line));
    CHECK_STR(line, "123456");
    text_line("€€€€", 1, line, sizeof(line));
    CHECK_STR(line, "€€");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(utf8_every_sequence);
    TEST(bytes);
    TEST(comments);
    TEST(strings);
    TEST(brackets);
    TEST(numbers);
    TEST(includes);
    TEST(lines);
    return test_end();
}
