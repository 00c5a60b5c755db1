/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = MODEL_SECTOR / 8 };

void
model_init(struct model *m, uint64_t sectors, uint32_t salt)
{
    memset(m, 0, sizeof *m);
    m->s = calloc(sectors, sizeof *m->s);
    if (!m->s)
        abort();
    m->sectors = sectors;
    m->salt = salt;
    for (uint64_t i = 0; i < sectors; i++) {
        m->s[i].n = 1;
        m->s[i].v[0].fate = FATE_DONE;
    }
}

void
model_free(struct model *m)
{
    free(m->s);
}

bool
model_ready(const struct model *m, uint64_t from, uint64_t n, bool writes)
{
    for (uint64_t i = from; i < from + n; i++) {
        if (m->s[i].writing || (writes && m->s[i].readers) ||
            (writes && m->s[i].n == MODEL_VALUES))
            return false;
    }
    return true;
}

static struct model_value *
last(struct model *m, uint64_t sector)
{
    return &m->s[sector].v[m->s[sector].n - 1];
}

static void
add(struct model *m, uint64_t sector, uint64_t stamp)
{
    m->s[sector].n++;
    m->s[sector].writing = true;
    *last(m, sector) = (struct model_value){ .stamp = stamp };
}

void
model_write(struct model *m, uint64_t sector, void *bytes)
{
    uint64_t word[WORDS], stamp = (uint64_t)m->salt << 48 | ++m->stamps;

    for (unsigned i = 0; i < WORDS; i++)
        word[i] = stamp ^ ((uint64_t)i << 32);
    memcpy(bytes, word, sizeof word);
    add(m, sector, stamp);
}

void
model_written(struct model *m, uint64_t sector, bool ok)
{
    m->s[sector].writing = false;
    last(m, sector)->fate = ok ? FATE_DONE : FATE_OPEN;
    last(m, sector)->acked = ++m->clock;
}

void
model_discard(struct model *m, uint64_t sector)
{
    add(m, sector, 0);
}

void
model_discarded(struct model *m, uint64_t sector, bool ok)
{
    (void)ok;
    model_written(m, sector, false);
}

void
model_read(struct model *m, uint64_t sector)
{
    m->s[sector].readers++;
}

/* The stamp of a sector's bytes; -1 when they are torn or of no write. */
static int
stamp_of(const void *bytes, uint64_t *stamp)
{
    uint64_t word[WORDS];

    memcpy(word, bytes, sizeof word);
    *stamp = word[0];
    for (unsigned i = 1; i < WORDS; i++) {
        if (word[i] != (word[0] ? word[0] ^ ((uint64_t)i << 32) : 0))
            return -1;
    }
    return 0;
}

static int
among(const struct model_sector *s, unsigned from, uint64_t sector,
      const void *bytes, char *why, size_t n)
{
    uint64_t stamp;

    if (stamp_of(bytes, &stamp)) {
        snprintf(why, n, "sector %" PRIu64 ": its bytes are of no write",
                 sector);
        return -1;
    }
    for (unsigned i = from; i < s->n; i++) {
        if (s->v[i].stamp == stamp)
            return 0;
    }
    snprintf(why, n,
             "sector %" PRIu64 ": expected %" PRIx64 " (or one of %u later "
             "ones), found %" PRIx64,
             sector, s->v[from].stamp, s->n - from - 1, stamp);
    return -1;
}

int
model_got(struct model *m, uint64_t sector, const void *bytes, bool ok,
          char *why, size_t n)
{
    struct model_sector *s = &m->s[sector];
    unsigned from = s->n - 1u;

    s->readers--;
    if (!ok)
        return 0;
    while (from && s->v[from].fate != FATE_DONE)
        from--;
    return among(s, from, sector, bytes, why, n);
}

uint64_t
model_flush(struct model *m)
{
    return ++m->clock;
}

/* All that was acknowledged before it was sent is on the medium: what is older
 * than the last of it can't come back. */
void
model_flushed(struct model *m, uint64_t sent)
{
    for (uint64_t i = 0; i < m->sectors; i++) {
        struct model_sector *s = &m->s[i];
        unsigned keep = s->n - 1u;

        while (keep &&
               !(s->v[keep].fate == FATE_DONE && s->v[keep].acked < sent))
            keep--;
        if (!keep)
            continue;
        memmove(s->v, s->v + keep, (s->n - keep) * sizeof s->v[0]);
        s->n = (uint8_t)(s->n - keep);
    }
}

int
model_left(const struct model *m, uint64_t sector, const void *bytes, char *why,
           size_t n)
{
    return among(&m->s[sector], 0, sector, bytes, why, n);
}
