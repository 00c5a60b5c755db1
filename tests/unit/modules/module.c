/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Modules for the test of the loader: a good one, that needs every function
 * that a plugin may call, and some that must be refused.
 */
#include "blktap/plugin.h"

#ifndef MODULE_NOTHING

#ifndef MODULE_ABI
#define MODULE_ABI BLK_ABI
#endif
#ifndef MODULE_NAME
#define MODULE_NAME "good"
#endif
#ifndef MODULE_TAIL
#define MODULE_TAIL false
#endif
#ifndef MODULE_OPS
#define MODULE_OPS BLK_ALL_OPS
#endif

typedef void any_fn(void);
#define ANY(name) (any_fn *)(name)
static any_fn *const volatile all[] = {
    ANY(blk_down),       ANY(blk_end),         ANY(blk_wait),
    ANY(blk_split),      ANY(blk_new),         ANY(blk_sg_read),
    ANY(blk_sg_write),   ANY(blk_sg_zero),     ANY(blk_self),
    ANY(blk_name),       ANY(blk_disk_name),   ANY(blk_below),
    ANY(blk_last),       ANY(blk_readonly),    ANY(blk_ready),
    ANY(blk_relimit),    ANY(blk_why),         ANY(blk_fatal),
    ANY(blk_log),        ANY(blk_trace),       ANY(blk_put_u64),
    ANY(blk_put_str),    ANY(blk_printf),      ANY(blk_now),
    ANY(blk_random),     ANY(blk_timer_start), ANY(blk_timer_stop),
    ANY(blk_file_open),  ANY(blk_file_stat),   ANY(blk_file_close),
    ANY(blk_io_start),   ANY(blk_work_start),  ANY(blk_watch_start),
    ANY(blk_watch_stop),
};

static int
check_all(const void *self, char *why, size_t n)
{
    (void)self;
    (void)why;
    (void)n;
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!all[i])
            return -1;
    }
    return 0;
}

BLK_PLUGIN(module) = {
    .abi = MODULE_ABI,
    .ops = MODULE_OPS,
    .tail = MODULE_TAIL,
    .name = MODULE_NAME,
    .help = "a module",
    .check = check_all,
};

#else
extern const int module_has_no_plugin;
const int module_has_no_plugin = 1;
#endif
