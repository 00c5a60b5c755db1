/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config_dump: reads a configuration and prints the tree, or the errors.
 *
 *     config_dump FILE [DIR]
 *
 * Exit status 0: it is right; 1: it is not; 2: wrong use.
 */
#include <stdio.h>

#include "config/config.h"

int
main(int argc, char **argv)
{
    char errors[8192];
    struct conf *conf;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: config_dump FILE [DIR]\n");
        return 2;
    }
    conf = conf_load(argv[1], argv[2], errors, sizeof(errors));
    if (!conf) {
        fputs(errors, stderr);
        return 1;
    }
    conf_print(conf, stdout);
    conf_unref(conf);
    return 0;
}
