/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/common/match.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

const char *const match_ops[] = { "any",     "read", "write", "flush",
                                  "discard", "zero", NULL };

int
match_check(const struct match *m, char *why, size_t why_size)
{
    if (m->to && m->to <= m->from) {
        snprintf(why, why_size,
                 "to: expected more than from (%" PRIu64 "), found %" PRIu64,
                 m->from, m->to);
        return -EINVAL;
    }
    return 0;
}

bool
match_place(const struct match *m, const struct blk_req *r)
{
    if (m->op && m->op != (uint64_t)r->op + 1)
        return false;
    if (r->op == BLK_FLUSH)
        return m->op || (!m->from && !m->to);
    if (r->off + r->len <= m->from)
        return false;
    return !m->to || r->off < m->to;
}

bool
match_hit(struct match *m, struct blk_layer *l, const struct blk_req *r)
{
    if (!match_place(m, r))
        return false;
    m->seen++;
    if (m->count && m->hit >= m->count)
        return false;
    if (m->every > 1 && m->seen % m->every)
        return false;
    /* 53 bits are what a double holds exactly. */
    if (m->probability < 1 &&
        (double)(blk_random(l) >> 11) * 0x1p-53 >= m->probability)
        return false;
    m->hit++;
    return true;
}
