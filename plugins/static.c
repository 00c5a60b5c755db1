/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * static.c: the plugins as parts of a program, for simulation and fuzzing.
 * Whoever adds a plugin adds it here too; nbd is not one of them, whose sockets
 * are its library's and not the simulated host's.
 *
 * The loader's reference is weak: a program that links libplugins_static.a
 * names blk_plugins_static itself, or is linked with -u blk_plugins_static.
 */
#include <stddef.h>

#include "chain/chain.h"

extern const struct blk_plugin blk_plugin_delay, blk_plugin_error,
    blk_plugin_file, blk_plugin_limit, blk_plugin_memory, blk_plugin_null,
    blk_plugin_trace;

const struct blk_plugin *const blk_plugins_static[] = {
    &blk_plugin_delay,  &blk_plugin_error, &blk_plugin_file,  &blk_plugin_limit,
    &blk_plugin_memory, &blk_plugin_null,  &blk_plugin_trace, NULL,
};
