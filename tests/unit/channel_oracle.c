/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a back-end must say to a request: a second opinion, made from the
 * protocol's description alone, with numbers too wide to overflow. */
#include <string.h>

#include "tests/unit/channel_oracle.h"

enum { OK = 0, BAD = -1, NO = -2 };

static struct oracle_says
range(__int128 sector, __int128 count, const struct oracle_disk *d)
{
    if ((sector + count) * 512 > (__int128)(d->size / 512 * 512))
        return (struct oracle_says){ .status = BAD };
    return (struct oracle_says){ OK, (uint64_t)(sector * 512),
                                 (uint64_t)(count * 512) };
}

static struct oracle_says
data(uint64_t sector, const uint8_t *seg, unsigned n,
     const struct oracle_disk *d)
{
    __int128 count = 0;

    for (unsigned i = 0; i < n; i++) {
        int first = seg[i * 8 + 4], last = seg[i * 8 + 5];

        if (first > 7 || last > 7 || last < first)
            return (struct oracle_says){ .status = BAD };
        count += last - first + 1;
    }
    return range(sector, count, d);
}

struct oracle_says
oracle(bool x86_32, const uint8_t *raw, const uint8_t *page,
       const struct oracle_disk *d)
{
    const uint8_t *body = raw + (x86_32 ? 12 : 16); /* sector_number */
    struct oracle_says bad = { .status = BAD }, no = { .status = NO };
    struct oracle_says nothing = { .status = OK };
    unsigned op = raw[0], small = raw[1], wide = raw[2] + raw[3] * 256u;
    uint64_t sector, count;

    memcpy(&sector, body, 8);
    memcpy(&count, body + 8, 8);
    if (op == 0 || op == 1)
        return !small || small > 11 || (op == 1 && d->readonly)
                   ? bad
                   : data(sector, body + 8, small, d);
    if (op == 2 && !d->barrier)
        return no;
    if (op == 2 || op == 3)
        return !small                      ? nothing
               : small > 11 || d->readonly ? bad
                                           : data(sector, body + 8, small, d);
    if (op == 5)
        return !d->discard || small % 2 ? no
               : d->readonly            ? bad
                                        : range(sector, count, d);
    if (op == 6 && d->max_indirect)
        return small > 1 || (small == 1 && d->readonly) || !wide ||
                       wide > d->max_indirect
                   ? bad
                   : data(sector, page, wide, d);
    return no;
}
