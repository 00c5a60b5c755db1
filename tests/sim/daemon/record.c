/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/daemon/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = RECORD_SECTOR / 8 };

void
record_init(struct record *r, uint64_t sectors, uint64_t room, uint32_t salt)
{
    r->history = history_new(room);
    r->s = calloc(room, sizeof *r->s);
    if (!r->s)
        abort();
    r->sectors = sectors;
    r->room = room;
    r->stamps = (uint64_t)salt << 40 | 1;
}

void
record_free(struct record *r)
{
    history_free(r->history);
    free(r->s);
}

static bool
changes(enum history_op op)
{
    return op == HISTORY_WRITE || op == HISTORY_FUA || op == HISTORY_DISCARD;
}

bool
record_ready(const struct record *r, enum history_op op, uint64_t from,
             uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++) {
        const struct record_sector *s = &r->s[i];

        if (changes(op) ? s->readers || s->seen || s->writers > 1 : s->open)
            return false;
    }
    return true;
}

uint32_t
record_begin(struct record *r, enum history_op op, uint64_t from, uint64_t n,
             uint64_t *stamp)
{
    uint64_t first = 0;

    if (op == HISTORY_WRITE || op == HISTORY_FUA) {
        first = *stamp = r->stamps;
        r->stamps += n;
    }
    for (uint64_t i = from; i < from + n; i++) {
        struct record_sector *s = &r->s[i];

        if (changes(op)) {
            s->open = ++s->writers > 1 || s->open;
        } else {
            s->readers++;
            s->seen = s->writers > 0;
        }
    }
    return history_begin(r->history, op, from, (uint32_t)n, first);
}

uint32_t
record_again(struct record *r, enum history_op op, uint64_t from, uint64_t n,
             uint64_t stamp)
{
    return history_begin(r->history, op, from, (uint32_t)n, stamp);
}

int
record_lost(struct record *r, char *why, size_t n)
{
    bool legal = history_verdict(r->history, why, n);

    history_free(r->history);
    r->history = history_new(r->room);
    r->doubtful = false;
    return legal ? 0 : -1;
}

bool
record_beside(const struct record *r, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++) {
        if (r->s[i].writers)
            return true;
    }
    return false;
}

void
record_end(struct record *r, uint32_t id, enum history_op op, uint64_t from,
           uint64_t n, bool ok, const uint64_t *seen)
{
    for (uint64_t i = from; i < from + n; i++) {
        struct record_sector *s = &r->s[i];

        if (!changes(op))
            s->readers--;
        else if (!--s->writers)
            s->open = s->seen = false;
    }
    if (!ok && op != HISTORY_READ && op != HISTORY_WRITE)
        r->doubtful = true;
    history_end(r->history, id, ok ? 0 : -1, seen);
}

void
record_connected(struct record *r)
{
    if (r->doubtful)
        history_forgiven(r->history);
    r->doubtful = false;
}

void
record_power_failed(struct record *r)
{
    memset(r->s, 0, r->room * sizeof *r->s);
    r->doubtful = false;
    history_power_failed(r->history);
}

int
record_look(struct record *r, const uint8_t *disk, const char *name, char *why,
            size_t n)
{
    uint64_t *seen = malloc(r->room * sizeof *seen);
    uint32_t id;
    int rc = 0;

    if (!seen)
        abort();
    for (uint64_t i = 0; i < r->room && !rc; i++) {
        rc = record_stamp(disk + i * RECORD_SECTOR, &seen[i]);
        if (rc)
            snprintf(why, n,
                     "sector %" PRIu64 " of %s: its bytes are of no "
                     "write",
                     i, name);
    }
    if (!rc) {
        id = history_begin(r->history, HISTORY_READ, 0, (uint32_t)r->room, 0);
        history_end(r->history, id, 0, seen);
    }
    free(seen);
    return rc;
}

uint64_t
record_base(uint32_t number, uint64_t sector)
{
    return (uint64_t)number << 40 | UINT64_C(1) << 39 | sector;
}

void
record_begins(struct record *r, uint64_t sectors, uint32_t number)
{
    uint32_t id;

    if (!sectors)
        return;
    id = history_begin(r->history, HISTORY_WRITE, 0, (uint32_t)sectors,
                       record_base(number, 0));
    history_end(r->history, id, 0, NULL);
    id = history_begin(r->history, HISTORY_FLUSH, 0, 0, 0);
    history_end(r->history, id, 0, NULL);
}

/* ---- bytes --------------------------------------------------------------- */

void
record_bytes(uint64_t stamp, void *bytes)
{
    uint64_t word[WORDS];

    for (uint64_t i = 0; i < WORDS; i++)
        word[i] = stamp ^ i << 32;
    memcpy(bytes, word, sizeof word);
}

int
record_stamp(const void *bytes, uint64_t *stamp)
{
    uint64_t word[WORDS];

    memcpy(word, bytes, sizeof word);
    *stamp = word[0];
    for (uint64_t i = 1; i < WORDS; i++) {
        if (word[i] != (word[0] ? word[0] ^ i << 32 : 0))
            return -1;
    }
    return 0;
}
