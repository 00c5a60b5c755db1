/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sealed_not.c: a build without the crypt plugin. */
#include "config.h"

#include "tests/sim/daemon/sealed.h"

#include <stdlib.h>

#include "tests/sim/daemon/peer.h"

extern const struct blk_plugin blk_plugin_nbd, blk_plugin_qcow2;
const struct blk_plugin *const peer_others[] = { &blk_plugin_nbd,
                                                 &blk_plugin_qcow2, NULL };
const bool sealed_built = false;

const char *
sealed_key(void)
{
    abort();
}

void
sealed_close(void *bytes, uint64_t first, uint64_t sectors)
{
    (void)bytes;
    (void)first;
    (void)sectors;
    abort();
}

void
sealed_open(void *bytes, uint64_t first, uint64_t sectors)
{
    sealed_close(bytes, first, sectors);
}
