/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * model.h: what a disk's sectors may hold, as its one guest knows it.
 *
 * Each sector has a list of values: the oldest is durable, a write adds its
 * stamp when it is sent.  A read may find the last one that was acknowledged,
 * or any whose fate is open after it; a power failure may leave any of the
 * list.  A guest sends no request for a sector while a write of it is on its
 * way, as no page cache does.
 */
#ifndef TESTS_SIM_DAEMON_MODEL_H
#define TESTS_SIM_DAEMON_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_VALUES = 12, MODEL_SECTOR = 512 };

enum model_fate { FATE_SENT, FATE_DONE, FATE_OPEN };

struct model_value {
    uint64_t stamp; /* 0: zeroes */
    uint64_t acked; /* when, in the model's own count */
    enum model_fate fate;
};

struct model_sector {
    struct model_value v[MODEL_VALUES];
    uint8_t n, readers;
    bool writing;
};

struct model {
    struct model_sector *s;
    uint64_t sectors, clock, stamps;
    uint32_t salt;
};

void model_init(struct model *, uint64_t sectors, uint32_t salt);
void model_free(struct model *);
/* Whether a request of this range may be sent now. */
bool model_ready(const struct model *, uint64_t from, uint64_t n, bool writes);
/* A write of one sector is sent, its bytes are made. */
void model_write(struct model *, uint64_t sector, void *bytes);
void model_written(struct model *, uint64_t sector, bool ok);
/* Discarded: zeroes or what was there. */
void model_discard(struct model *, uint64_t sector);
void model_discarded(struct model *, uint64_t sector, bool ok);
void model_read(struct model *, uint64_t sector);
/* 0, or -1 with a sentence. */
int model_got(struct model *, uint64_t sector, const void *bytes, bool ok,
              char *why, size_t n);
/* When a flush is sent, and that it was acknowledged. */
uint64_t model_flush(struct model *);
void model_flushed(struct model *, uint64_t sent);
/* After the power failed. */
int model_left(const struct model *, uint64_t sector, const void *bytes,
               char *why, size_t n);

#endif
