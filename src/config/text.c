/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * text.c: a file's bytes, and whether libconfig may see them.
 *
 * libconfig cuts numbers that are too large, follows @include, recurses as
 * deep as the brackets go, ends a string at \x00, and loses memory over a
 * string without an end or where none belongs.  What it would misread is
 * refused here, with the line where it stands.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/tree.h"
#include "host/host.h"

/* A walk over the text, token by token. */
struct scan {
    struct reader *r;
    const char *at, *end;
    int line;
    char last; /* the token before this one by its first character; or 0 */
    int last_line;
    unsigned depth;
    char open[CONF_DEPTH]; /* brackets that wait for their end */
    int open_line[CONF_DEPTH];
};

static int
file_read(struct reader *r, const char *path, int fd, char *to, size_t size)
{
    size_t done = 0;
    ssize_t n;

    while (done < size) {
        n = read(fd, to + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return reader_fail_at(r, path, 0, NULL, "can't be read: %s",
                                  strerror(errno));
        if (!n)
            return reader_fail_at(r, path, 0, NULL,
                                  "became shorter while it was read");
        done += (size_t)n;
    }
    to[size] = '\0';
    return 0;
}

static int
file_check(struct reader *r, const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return reader_fail_at(r, path, 0, NULL,
                              "expected a regular file, found something else");
    if (st->st_size > CONF_FILE_MAX)
        return reader_fail_at(r, path, 0, NULL,
                              "expected at most %d bytes, found %lld",
                              CONF_FILE_MAX, (long long)st->st_size);
    if (st->st_mode & S_IWOTH)
        log_line(BLK_WARN, NULL,
                 "%s: everybody may write this file (mode %04o): whoever "
                 "does chooses what guests see",
                 path, (unsigned)st->st_mode & 07777);
    return 0;
}

char *
text_read(struct reader *r, const char *path, size_t *len)
{
    char *text = NULL;
    struct stat st;
    int fd, rc = -1;

    /* O_NONBLOCK: a FIFO of that name must not stop us. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st)) {
        reader_fail_at(r, path, 0, NULL, "can't be opened: %s",
                       strerror(errno));
        goto out;
    }
    if (file_check(r, path, &st))
        goto out;
    *len = (size_t)st.st_size;
    text = malloc(*len + 1);
    if (!text) {
        reader_oom(r);
        goto out;
    }
    rc = file_read(r, path, fd, text, *len);
out:
    if (fd >= 0)
        close(fd);
    if (!rc)
        return text;
    free(text);
    return NULL;
}

/* Bytes of the UTF-8 sequence at p, or 0: there is none (overlong forms,
 * surrogates and beyond U+10FFFF included). */
static unsigned
utf8_length(const unsigned char *p, size_t left)
{
    unsigned i, n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (n == 1)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
        return 0;
    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static int
utf8_check(struct reader *r, const char *text, size_t len)
{
    size_t at = 0;
    int line = 1;
    unsigned n;

    while (at < len) {
        if (!text[at])
            return reader_fail(r, line, NULL,
                               "expected text, found a NUL byte");
        n = utf8_length((const unsigned char *)text + at, len - at);
        if (!n)
            return reader_fail(r, line, NULL,
                               "expected UTF-8, found the byte 0x%02x",
                               (unsigned char)text[at]);
        line += text[at] == '\n';
        at += n;
    }
    return 0;
}

static int
scan_comment(struct scan *s)
{
    int line = s->line;

    if (s->at[0] == '#' || s->at[1] == '/') {
        while (s->at < s->end && *s->at != '\n')
            s->at++;
        return 0;
    }
    for (s->at += 2; s->at < s->end; s->at++) {
        s->line += *s->at == '\n';
        if (s->at[0] == '*' && s->at[1] == '/') {
            s->at += 2;
            return 0;
        }
    }
    return reader_fail(s->r, line, NULL,
                       "expected the end of the comment that begins here, "
                       "found the end of the file");
}

/* What stands behind a backslash; at is left on its last character. */
static int
scan_escape(struct scan *s)
{
    char hex[3] = "";

    s->at++;
    if (s->at[0] != 'x' || s->end - s->at < 3)
        return 0;
    memcpy(hex, s->at + 1, 2);
    if (!isxdigit((unsigned char)hex[0]) || !isxdigit((unsigned char)hex[1]))
        return 0;
    s->at += 2;
    /* One byte of UTF-8 by number could not be checked on its own. */
    if (strtoul(hex, NULL, 16) - 1 >= 0x7f)
        return reader_fail(s->r, s->line, NULL,
                           "expected \\x01 to \\x7f in a string, found \\x%s",
                           hex);
    return 0;
}

/* After a '=', in a list or an array, or behind another string. */
static bool
scan_string_fits(const struct scan *s)
{
    if (s->last == ',')
        return s->depth && s->open[s->depth - 1] != '{';
    return s->last && strchr("=:([\"", s->last);
}

static int
scan_string(struct scan *s)
{
    int line = s->line, rc;

    if (!scan_string_fits(s))
        return reader_fail(s->r, line, NULL,
                           "expected no string here, found one: a key stands "
                           "bare, and a '=' before its value");
    for (s->at++; s->at < s->end; s->at++) {
        s->line += *s->at == '\n';
        if (*s->at == '"') {
            s->at++;
            return 0;
        }
        if (*s->at == '\\') {
            rc = scan_escape(s);
            if (rc)
                return rc;
            if (s->at < s->end)
                s->line += *s->at == '\n';
        }
    }
    return reader_fail(s->r, line, NULL,
                       "expected a '\"' at the end of the string that begins "
                       "here, found the end of the file");
}

/* A name or a number; of a number that is whole, whether it fits. */
static int
scan_word(struct scan *s)
{
    const char *from = s->at, *tail;
    char word[32];
    long long value;
    size_t n;
    char *end;

    while (s->at < s->end && (isalnum((unsigned char)*s->at) ||
                              (*s->at && strchr("-+._*", *s->at))))
        s->at++;
    n = (size_t)(s->at - from);
    if (!isdigit((unsigned char)from[strspn(from, "-+")]))
        return 0;
    if (n >= sizeof(word))
        goto wrong;
    memcpy(word, from, n);
    word[n] = '\0';
    errno = 0;
    value = strtoll(word, &end, strpbrk(word, "xX") ? 16 : 10);
    tail = end;
    if (*tail && *tail != 'L')
        return 0; /* a float, or nothing that libconfig would take */
    if (!errno && (*tail == 'L' || (value >= INT_MIN && value <= INT_MAX)))
        return 0;
wrong:
    return reader_fail(s->r, s->line, NULL,
                       "expected a number that fits in 32 bits, or in 64 with "
                       "an L behind it, found %.*s",
                       (int)(n > 40 ? 40 : n), from);
}

static int
scan_open(struct scan *s)
{
    if (s->depth == CONF_DEPTH)
        return reader_fail(s->r, s->line, NULL,
                           "expected at most %d brackets inside each other, "
                           "found one more",
                           CONF_DEPTH);
    s->open[s->depth] = *s->at++;
    s->open_line[s->depth++] = s->line;
    return 0;
}

static int
scan_close(struct scan *s)
{
    static const char pairs[] = "(){}[]";
    char open = s->depth ? s->open[s->depth - 1] : '\0';

    if (!open)
        return reader_fail(s->r, s->line, NULL,
                           "expected no '%c' here, found one: nothing is open",
                           *s->at);
    if (strchr(pairs, open)[1] != *s->at)
        return reader_fail(s->r, s->line, NULL,
                           "expected a '%c' for the '%c' of line %d, found "
                           "'%c'",
                           strchr(pairs, open)[1], open,
                           s->open_line[s->depth - 1], *s->at);
    if (s->last == ',' && *s->at != '}')
        return reader_fail(s->r, s->last_line, NULL,
                           "expected another item after the ',', found '%c'",
                           *s->at);
    s->depth--;
    s->at++;
    return 0;
}

/* Anything but space and comments. */
static int
scan_token(struct scan *s)
{
    char c = *s->at;

    if (c == '"')
        return scan_string(s);
    if (strchr("({[", c))
        return scan_open(s);
    if (strchr(")}]", c))
        return scan_close(s);
    if (c == '@')
        return reader_fail(s->r, s->line, "@include",
                           "expected none (put more files into the folder "
                           "blktapd.d), found one");
    if (isalnum((unsigned char)c) || strchr("-+*_", c))
        return scan_word(s);
    s->at++;
    return 0;
}

static int
scan_step(struct scan *s)
{
    char c = *s->at;
    int rc, line = s->line;

    if (c == '#' || (c == '/' && (s->at[1] == '/' || s->at[1] == '*')))
        return scan_comment(s);
    if (isspace((unsigned char)c)) {
        s->line += c == '\n';
        s->at++;
        return 0;
    }
    rc = scan_token(s);
    s->last = c;
    s->last_line = line;
    return rc;
}

int
text_check(struct reader *r, const char *text, size_t len)
{
    struct scan s = { .r = r, .at = text, .end = text + len, .line = 1 };
    int rc;

    rc = utf8_check(r, text, len);
    while (!rc && s.at < s.end)
        rc = scan_step(&s);
    if (!rc && s.depth)
        rc = reader_fail(r, s.open_line[s.depth - 1], NULL,
                         "expected the end of the '%c' that begins here, "
                         "found the end of the file",
                         s.open[s.depth - 1]);
    return rc;
}

void
text_line(const char *text, int line, char *to, size_t n)
{
    size_t len;

    while (--line > 0 && *text) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    text += strspn(text, " \t");
    len = strcspn(text, "\r\n");
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    if (len >= n) { /* cut between characters */
        for (len = n - 1; len && (text[len] & 0xc0) == 0x80; len--)
            ;
    }
    snprintf(to, n, "%.*s", (int)len, text);
}
