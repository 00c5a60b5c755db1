/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history.h: was what the guests saw of a disk legal?
 *
 * Each sector of 512 bytes is a register.  What happens to the disk is told in
 * the order in which it happens: a request begins when the guest has put it on
 * its ring, and ends when the guest sees the answer.  The verdict is asked for
 * at the end, and takes O(n log n).
 *
 *    h = history_new(sectors);
 *    id = history_begin(h, HISTORY_WRITE, sector, count, stamp);
 *    history_end(h, id, 0, NULL);
 *    ...
 *    history_final(h, sector, what the image holds);
 *    if (!history_verdict(h, why, sizeof(why)))
 *        the disk broke its word, and why is a sentence
 *
 * Stamps: sector i of a write holds stamp + i, so that one that lands in the
 * wrong place is seen; no stamp is used twice, and none is 0, which is what the
 * zeroes of an empty disk and of a discarded sector read as.
 *
 * What is legal:
 *  - A request takes effect at one moment between its begin and its end.  Of
 *    requests that overlap in time, any order will do.
 *  - One that failed did so, too, or, sector by sector, had no effect.  One
 * that never ends may take effect at any later time, or never.
 *  - A crash of the daemon is no event here: what was answered stays, what was
 *    not is done again before it is answered.  It must not be seen, be
 *    overwritten and come back.
 *  - A power failure ends all requests.  Each sector then holds a value that it
 *    had at some time since the last flush that ended well began; none older
 *    than a FUA write that ended well.
 *  - A discard may leave the sector alone, or make it zeroes.
 *  - A disk that failed a flush is out of service.  When it comes back all the
 *    same, what it showed and had not flushed may be lost at a power failure,
 *    however many flushes end well from then on; what is written and flushed
 *    from then on is not.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct history;

enum history_op {
    HISTORY_READ,
    HISTORY_WRITE,
    HISTORY_FUA, /* a write that is durable when it has ended */
    HISTORY_FLUSH,
    HISTORY_DISCARD
};

/* A disk of zeroes.  All memory is taken with malloc; without any, it aborts,
 * as a test may.  For one thread at a time. */
struct history *history_new(uint64_t sectors);
void history_free(struct history *);

/* Returns the number of the request, from 0 upwards, which is in the sentence
 * of the verdict.  The stamp is that of writes only; a flush has no sectors. */
uint32_t history_begin(struct history *, enum history_op, uint64_t sector,
                       uint32_t count, uint64_t stamp);

/* `error`: 0 or anything else.  `seen`: for a read that went well, what each of
 * its sectors held; it is copied.  What was in flight at a power failure can't
 * end any more, and is left as it is.  What is answered twice makes the verdict
 * bad. */
void history_end(struct history *, uint32_t id, int error,
                 const uint64_t *seen);

/* The power fails: now. */
void history_power_failed(struct history *);

/* The disk is in service again after a failed flush. */
void history_forgiven(struct history *);

/* What the image holds, looked at now: a read that takes no time. */
void history_final(struct history *, uint64_t sector, uint64_t stamp);

/* True: legal.  Otherwise one sentence says which sector, what was expected and
 * found, and by which requests.  May be asked more than once. */
bool history_verdict(struct history *, char *why, size_t n);

#endif
