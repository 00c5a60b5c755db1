/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * program.c: blkif-hostile.  Links with libc alone, for a guest's initrd.
 */
#include "hostile.h"

int
main(int argc, char **argv)
{
    static struct dev d = { .t = &transport_xen, .name = "51712", .seed = 1 };

    return hostile_main(&d, argc, argv);
}
