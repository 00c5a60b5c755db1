/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sealed.h: sectors as the crypt plugin has to write them, by libcrypto alone.
 * Which of the two sources is in a build says whether the plugin is; so that is
 * also where the plugins are named that need libraries of their own.
 */
#ifndef TESTS_SIM_DAEMON_SEALED_H
#define TESTS_SIM_DAEMON_SEALED_H

#include <stdbool.h>
#include <stdint.h>

extern const bool sealed_built;
/* Where the plugin reads the key. */
const char *sealed_key(void);
/* In place; sectors of 512 bytes, the first of which has this number. */
void sealed_close(void *bytes, uint64_t first, uint64_t sectors);
void sealed_open(void *bytes, uint64_t first, uint64_t sectors);

#endif
