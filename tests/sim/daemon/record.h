/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.h: what a guest does to its disk, written down for history.h, and the
 * bytes of its sectors.
 *
 * A read may be on its way beside one write, and two writes of a sector may be,
 * but then nobody reads it until both have ended: a killed daemon's successor
 * does both of them again, in any order, and who had looked between them would
 * see the first come back.
 */
#ifndef TESTS_SIM_DAEMON_RECORD_H
#define TESTS_SIM_DAEMON_RECORD_H

#include "host/sim.h"
#include "tests/sim/history.h"

enum { RECORD_SECTOR = 512, RECORD_REQUEST_MAX = 256 };

struct record_sector {
    uint8_t readers, writers;
    bool open; /* of two writes, the last is not known */
    bool seen; /* perhaps, while the one write is on its way */
};

struct record {
    struct history *history;
    struct record_sector *s;
    uint64_t sectors, room; /* now, and at most */
    uint64_t stamps;
    bool doubtful; /* something that flushes has failed */
};

void record_init(struct record *, uint64_t sectors, uint64_t room,
                 uint32_t salt);
void record_free(struct record *);
/* Whether a request of this range may be sent now. */
bool record_ready(const struct record *, enum history_op, uint64_t from,
                  uint64_t n);
/* It is sent, or answered; n is at most RECORD_REQUEST_MAX.  stamp is set by a
 * write. */
uint32_t record_begin(struct record *, enum history_op, uint64_t from,
                      uint64_t n, uint64_t *stamp);
void record_end(struct record *, uint32_t id, enum history_op, uint64_t from,
                uint64_t n, bool ok, const uint64_t *seen);
/* All that was on the disk is gone; what is on its way begins anew.  0, or -1
 * with the verdict on what was. */
int record_lost(struct record *, char *why, size_t n);
uint32_t record_again(struct record *, enum history_op, uint64_t from,
                      uint64_t n, uint64_t stamp);
/* Whether a write is on its way there. */
bool record_beside(const struct record *, uint64_t from, uint64_t n);
/* The front-end is connected anew, which a disk out of service is forgiven
 * for. */
void record_connected(struct record *);
/* The power failed: what was on its way never ends. */
void record_power_failed(struct record *);
/* All of its disk, room sectors, as it is now; name: for the sentence.  0, or
 * -1 with a sentence. */
int record_look(struct record *, const uint8_t *disk, const char *name,
                char *why, size_t n);

/* What a new disk of the guest of this number has, where it is over another:
 * the first sectors, each with a stamp of its own, the same each time. */
uint64_t record_base(uint32_t number, uint64_t sector);
void record_begins(struct record *, uint64_t sectors, uint32_t number);

/* The bytes of a sector; back: -1 when they are torn or of no write. */
void record_bytes(uint64_t stamp, void *bytes);
int record_stamp(const void *bytes, uint64_t *stamp);

#endif
