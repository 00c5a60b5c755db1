/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * parse.c: libconfig's settings to typed fields, by tables of keys.
 *
 * A message names the key, what was expected and what stands there instead;
 * reading goes on after it, so that one run tells all that is wrong.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

static int
setting_line(const config_setting_t *s)
{
    return (int)config_setting_source_line(s);
}

const char *
setting_tell(const config_setting_t *s, char *to, size_t n)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_GROUP:
        snprintf(to, n, "a group");
        break;
    case CONFIG_TYPE_LIST:
        snprintf(to, n, config_setting_length(s) ? "a list" : "an empty list");
        break;
    case CONFIG_TYPE_ARRAY:
        snprintf(to, n,
                 config_setting_length(s) ? "an array" : "an empty array");
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(to, n, "the number %lld", config_setting_get_int64(s));
        break;
    case CONFIG_TYPE_FLOAT:
        snprintf(to, n, "the number %g", config_setting_get_float(s));
        break;
    case CONFIG_TYPE_BOOL:
        snprintf(to, n, config_setting_get_bool(s) ? "true" : "false");
        break;
    case CONFIG_TYPE_STRING:
        snprintf(to, n, "\"%s\"", config_setting_get_string(s));
        break;
    default:
        snprintf(to, n, "nothing");
    }
    return to;
}

/* The one form of every refusal of a value. */
static int
key_refuse(struct reader *r, const config_setting_t *s, const char *expected)
{
    char found[128];

    return reader_fail(r, setting_line(s), config_setting_name(s),
                       "expected %s, found %s", expected,
                       setting_tell(s, found, sizeof(found)));
}

bool
name_valid(const char *name)
{
    size_t n = strlen(name);
    const char *p;

    if (!n || n > CONF_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (p = name; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    }
    return true;
}

int
key_string(struct reader *r, const config_setting_t *s,
           const struct conf_key *key, void *to)
{
    const char *text = config_setting_get_string(s);
    char *copy;

    (void)key;
    if (config_setting_type(s) != CONFIG_TYPE_STRING || !*text)
        return key_refuse(r, s, "a string that is not empty");
    copy = conf_strdup(r->conf, text);
    if (!copy)
        return reader_oom(r);
    *(const char **)to = copy;
    return 0;
}

int
key_name(struct reader *r, const config_setting_t *s,
         const struct conf_key *key, void *to)
{
    if (config_setting_type(s) != CONFIG_TYPE_STRING ||
        !name_valid(config_setting_get_string(s)))
        return key_refuse(r, s,
                          "a name of 1 to 63 letters, digits, '.', '_' or "
                          "'-', beginning with a letter or digit");
    return key_string(r, s, key, to);
}

int
key_bool(struct reader *r, const config_setting_t *s,
         const struct conf_key *key, void *to)
{
    (void)key;
    if (config_setting_type(s) != CONFIG_TYPE_BOOL)
        return key_refuse(r, s, "true or false");
    *(bool *)to = config_setting_get_bool(s) == CONFIG_TRUE;
    return 0;
}

static bool
setting_is_whole(const config_setting_t *s)
{
    int type = config_setting_type(s);

    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

int
key_unsigned(struct reader *r, const config_setting_t *s,
             const struct conf_key *key, void *to)
{
    char expected[64];
    long long value = setting_is_whole(s) ? config_setting_get_int64(s) : -1;

    if (value < 0 || (uint64_t)value < key->min || (uint64_t)value > key->max) {
        snprintf(expected, sizeof(expected), "a number from %llu to %llu",
                 (unsigned long long)key->min, (unsigned long long)key->max);
        return key_refuse(r, s, expected);
    }
    *(unsigned *)to = (unsigned)value;
    return 0;
}

int
key_size(struct reader *r, const config_setting_t *s,
         const struct conf_key *key, void *to)
{
    char expected[96];
    uint64_t value = 0;
    int rc = -EINVAL;

    if (config_setting_type(s) == CONFIG_TYPE_STRING) {
        rc = parse_size(config_setting_get_string(s), &value);
    } else if (setting_is_whole(s) && config_setting_get_int64(s) >= 0) {
        value = (uint64_t)config_setting_get_int64(s);
        rc = 0;
    }
    if (rc || value < key->min || value > key->max) {
        snprintf(expected, sizeof(expected),
                 "a size from %lluM to %lluM, such as \"16M\"",
                 (unsigned long long)key->min >> 20,
                 (unsigned long long)key->max >> 20);
        return key_refuse(r, s, expected);
    }
    *(uint64_t *)to = value;
    return 0;
}

int
key_time(struct reader *r, const config_setting_t *s,
         const struct conf_key *key, void *to)
{
    char expected[96];
    uint64_t value = 0;
    int rc = -EINVAL;

    if (config_setting_type(s) == CONFIG_TYPE_STRING)
        rc = parse_time(config_setting_get_string(s), &value);
    else if (setting_is_whole(s) && !config_setting_get_int64(s))
        rc = 0;
    if (rc || (value && (value < key->min || value > key->max))) {
        snprintf(expected, sizeof(expected),
                 "a time from %llus to %llus, such as \"30s\", or 0",
                 (unsigned long long)key->min / 1000000000,
                 (unsigned long long)key->max / 1000000000);
        return key_refuse(r, s, expected);
    }
    *(uint64_t *)to = value;
    return 0;
}

int
key_choice(struct reader *r, const config_setting_t *s,
           const struct conf_key *key, void *to)
{
    const char *text = config_setting_get_string(s);
    char expected[160] = "";
    size_t used;
    int i;

    for (i = 0; key->choices[i]; i++) {
        if (config_setting_type(s) == CONFIG_TYPE_STRING &&
            !strcmp(key->choices[i], text)) {
            *(int *)to = key->values ? key->values[i] : i;
            return 0;
        }
        used = strlen(expected);
        snprintf(expected + used, sizeof(expected) - used, "%s\"%s\"",
                 !i                    ? ""
                 : key->choices[i + 1] ? ", "
                                       : " or ",
                 key->choices[i]);
    }
    return key_refuse(r, s, expected);
}

/* Edits that make a into b; more than 3 are not counted. */
static unsigned
word_distance(const char *a, const char *b)
{
    unsigned skip, insert, change;

    while (*a && *a == *b)
        a++, b++;
    if (!*a || !*b)
        return (unsigned)(strlen(a) + strlen(b));
    if (strlen(a) > CONF_NAME_MAX || strlen(b) > CONF_NAME_MAX)
        return CONF_NAME_MAX;
    /* Only the first difference may be bridged: enough for a slip. */
    skip = strcmp(a + 1, b) ? 3 : 1;
    insert = strcmp(a, b + 1) ? 3 : 1;
    change = strcmp(a + 1, b + 1) ? 3 : 1;
    if (a[0] == b[1] && a[1] == b[0] && !strcmp(a + 2, b + 2))
        change = 1;
    return skip < insert ? (skip < change ? skip : change)
                         : (insert < change ? insert : change);
}

/* "ring_order" and "ringorder" are "ring-order" to a person. */
static bool
word_same_letters(const char *a, const char *b)
{
    for (;;) {
        while (*a == '-' || *a == '_')
            a++;
        while (*b == '-' || *b == '_')
            b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a)
            return true;
        a++, b++;
    }
}

const char *
key_hint(const struct conf_key *keys, const char *word, char *to, size_t n)
{
    const struct conf_key *key;

    *to = '\0';
    for (key = keys; key->name; key++) {
        if (word_same_letters(word, key->name) ||
            word_distance(word, key->name) <= 1) {
            snprintf(to, n, "; did you mean \"%s\"?", key->name);
            break;
        }
    }
    return to;
}

static int
key_unknown(struct reader *r, const config_setting_t *s,
            const struct conf_key *keys)
{
    char known[256] = "", hint[96];
    const struct conf_key *key;
    size_t used;

    for (key = keys; key->name; key++) {
        used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s",
                 key == keys ? "" : ", ", key->name);
    }
    return reader_fail(
        r, setting_line(s), config_setting_name(s),
        "expected one of %s, found an unknown key%s", known,
        key_hint(keys, config_setting_name(s), hint, sizeof(hint)));
}

int
group_read(struct reader *r, const config_setting_t *group,
           const struct conf_key *keys, void *base)
{
    int i, rc = 0, n = config_setting_length(group);
    const struct conf_key *key;
    config_setting_t *s;

    for (i = 0; i < n; i++) {
        s = config_setting_get_elem(group, (unsigned)i);
        for (key = keys; key->name; key++) {
            if (!strcmp(key->name, config_setting_name(s)))
                break;
        }
        if (!key->name)
            rc = key_unknown(r, s, keys);
        else if (key->read(r, s, key, (char *)base + key->at))
            rc = -EINVAL;
    }
    return rc;
}

/* The shortest digits that read back as the same number. */
static void
float_text(double value, char *to, size_t n)
{
    int digits;

    for (digits = 1; digits <= 17; digits++) {
        snprintf(to, n, "%.*g", digits, value);
        if (strtod(to, NULL) >= value && strtod(to, NULL) <= value)
            return;
    }
}

const char *
setting_text(struct reader *r, const config_setting_t *s)
{
    int type = config_setting_type(s);
    const char *text;
    char digits[64];

    if (type == CONFIG_TYPE_STRING) {
        text = config_setting_get_string(s);
    } else if (type == CONFIG_TYPE_BOOL) {
        text = config_setting_get_bool(s) ? "true" : "false";
    } else if (setting_is_whole(s)) {
        text = digits;
        snprintf(digits, sizeof(digits), "%lld", config_setting_get_int64(s));
    } else if (type == CONFIG_TYPE_FLOAT &&
               isfinite(config_setting_get_float(s))) {
        text = digits;
        float_text(config_setting_get_float(s), digits, sizeof(digits));
    } else {
        key_refuse(r, s, "a string, a number, true or false");
        return NULL;
    }
    text = conf_strdup(r->conf, text);
    if (!text)
        reader_oom(r);
    return text;
}
