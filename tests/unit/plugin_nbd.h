/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plugin_nbd.h: the dice of the tests of the nbd plugin's parts. */
#ifndef TESTS_UNIT_PLUGIN_NBD_H
#define TESTS_UNIT_PLUGIN_NBD_H

#include <stdint.h>

static uint64_t state; /* the seed, at first */

static inline uint64_t
dice(uint64_t n)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
}

#endif
