/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * human.h: numbers as people write them.
 */
#ifndef CTL_HUMAN_H
#define CTL_HUMAN_H

#include <stdbool.h>
#include <stdint.h>

enum { HUMAN_SIZE = 32 };

/* "512 B", "1.5 GiB"; to is HUMAN_SIZE long and returned. */
const char *human_bytes(char *to, uint64_t bytes);
/* "850 ns", "12.3 us", "4.56 ms", "1.20 s". */
const char *human_ns(char *to, uint64_t ns);
/* "0:07", "1:02:03". */
const char *human_clock(char *to, uint64_t seconds);
/* "4k", "1M", "512", "10GiB"; false: none of these. */
bool human_parse_bytes(const char *, uint64_t *);
/* A number of min to max. */
bool human_parse_number(const char *, uint64_t min, uint64_t max, uint64_t *);

/* Monotonic. */
uint64_t now_ns(void);
/* "2026-03-01 12:34:56.789" of a monotonic time in the past. */
const char *human_when(char *to, uint64_t at_ns);

#endif
