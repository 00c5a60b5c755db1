/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_CHANNEL_ORACLE_H
#define TESTS_CHANNEL_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

struct oracle_disk {
    uint64_t size;
    unsigned max_indirect;
    bool readonly, discard, barrier;
};

struct oracle_says {
    int status; /* 0, -1, -2 */
    uint64_t off, len;
};

/* raw: a slot; page: what is in the pages of an INDIRECT. */
struct oracle_says oracle(bool x86_32, const uint8_t *raw, const uint8_t *page,
                          const struct oracle_disk *);

#endif
