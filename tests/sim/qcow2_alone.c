/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2-crash: crash states of an image alone, and over a file; also of one
 * whose data are in a file of their own.
 */
#include "host/sim.h"
#include "tests/sim/qcow2_crash.h"

extern const struct blk_plugin blk_plugin_file, blk_plugin_qcow2;
const struct blk_plugin *const blk_plugins_static[] = { &blk_plugin_file,
                                                        &blk_plugin_qcow2,
                                                        NULL };

static const struct blk_kv image[] = {
    { "path", "/image", "test", 1 },
    { "cache", "256k", "test", 1 },
};
static const struct blk_kv image_apart[] = {
    { "path", "/image", "test", 1 },
    { "data-file", "/data", "test", 1 },
    { "cache", "256k", "test", 1 },
};
static const struct blk_kv base[] = { { "path", "/base", "test", 1 } };
static const struct blk_conf layers[] = {
    { "qcow2", "qcow2", "test", 1, image, 2 },
    { "file", "file", "test", 1, base, 1 },
};
static const struct blk_conf layers_apart[] = {
    { "qcow2", "qcow2", "test", 1, image_apart, 3 },
    { "file", "file", "test", 1, base, 1 },
};
static const struct crash_stack alone = { "qcow2", layers, 1, .base = 0 };
static const struct crash_stack over_file = { "qcow2, file", layers, 2,
                                              .base = CRASH_RAW };
static const struct crash_stack apart = { "qcow2 with a data file",
                                          layers_apart, 1, .apart = true };
static const struct crash_stack apart_over_file = { "qcow2 with a data file, "
                                                    "file",
                                                    layers_apart, 2,
                                                    .base = CRASH_RAW,
                                                    .apart = true };

/* There are no data files with version 2, or with snapshots. */
static const struct crash_stack *
pick(struct sim *sim, const struct image_format *f)
{
    const bool over = f->version >= 3 && !sim_below(sim, 3);

    if (f->version >= 3 && !f->snapshot && !sim_below(sim, 2))
        return over ? &apart_over_file : &apart;
    return over ? &over_file : &alone;
}

int
main(int argc, char **argv)
{
    return crash_main(argc, argv, pick);
}
