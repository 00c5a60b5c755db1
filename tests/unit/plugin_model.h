/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plugin_model.h: random requests against a chain, and a model of what its
 * disk must hold.  Requests in flight never overlap: their results are known.
 */
#ifndef TESTS_UNIT_PLUGIN_MODEL_H
#define TESTS_UNIT_PLUGIN_MODEL_H

#include "tests/unit/plugin_run.h"

enum { MODEL_WAYS = 8, MODEL_LEN = 160 << 10 };

struct model {
    struct run *run;
    uint64_t size;
    uint8_t *data;        /* what the disk holds */
    bool trim;            /* DISCARD leaves zeroes, in whole grains */
    bool reads_may_fail;  /* they are counted in errors, not more */
    bool no_zero;         /* ZERO is not offered */
    uint32_t grain, unit; /* of discards; of offsets and lengths */
    unsigned left, errors, flights;
    struct model_way {
        struct run_io io;
        struct model *model;
        uint8_t *buf;
    } way[MODEL_WAYS];
};

void model_init(struct model *, struct run *, uint64_t size);
void model_free(struct model *);
/* n requests, up to MODEL_WAYS at a time; each READ is compared. */
void model_play(struct model *, unsigned n);
/* Reads all of the disk and compares. */
void model_check(struct model *);

#endif
