/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xenbus_kit.h: what the tests with fakes have in common. */
#ifndef TESTS_UNIT_XENBUS_KIT_H
#define TESTS_UNIT_XENBUS_KIT_H

#include "tests/unit/xenbus_fakes.h"

/* The end of a test: nothing is left open, watched, or called for. */
void world_end(void);
/* As Linux does, all the way to 4 on both sides. */
void front_connects(void);
/* What `list` says of the only vbd; valid until the next call. */
const char *listed(const char *name);

#endif
