/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * parse.c: numbers as people write them.
 */
#include "config.h"
#include "chain/chain.h"

#include <errno.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Decimal digits, then one of the units (or the rest of the string). */
static int
parse_units(const char *s, const struct unit *units, uint64_t *out)
{
    uint64_t value = 0;

    if (!s || *s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return -EINVAL;
    }
    if (!value && !*s) {
        *out = 0;
        return 0;
    }
    for (; units->name; units++) {
        if (strcmp(s, units->name))
            continue;
        if (__builtin_mul_overflow(value, units->factor, &value))
            return -EINVAL;
        *out = value;
        return 0;
    }
    return -EINVAL;
}

int
parse_size(const char *s, uint64_t *out)
{
    static const struct unit units[] = {
        { "", 1 },           { "k", 1ull << 10 }, { "K", 1ull << 10 },
        { "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 },
        { "P", 1ull << 50 }, { NULL, 0 },
    };

    return parse_units(s, units, out);
}

/* A time has a unit, unless it is 0. */
int
parse_time(const char *s, uint64_t *out)
{
    static const struct unit units[] = {
        { "ns", 1 },
        { "us", 1000 },
        { "ms", 1000 * 1000 },
        { "s", 1000ull * 1000 * 1000 },
        { "m", 60ull * 1000 * 1000 * 1000 },
        { "h", 3600ull * 1000 * 1000 * 1000 },
        { NULL, 0 },
    };

    return parse_units(s, units, out);
}

int
parse_uint(const char *s, uint64_t *out)
{
    static const struct unit units[] = { { "", 1 }, { NULL, 0 } };

    return parse_units(s, units, out);
}

int
parse_bool(const char *s, bool *out)
{
    static const char *const words[] = { "false", "true", "no", "yes",
                                         "off",   "on",   "0",  "1" };

    for (unsigned i = 0; s && i < sizeof(words) / sizeof(words[0]); i++) {
        if (!strcmp(s, words[i])) {
            *out = (i & 1) != 0;
            return 0;
        }
    }
    return -EINVAL;
}
