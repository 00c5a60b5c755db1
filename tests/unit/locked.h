/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* locked.h: memory that is neither swapped nor in core dumps, as the kernel
 * tells. */
#ifndef TESTS_UNIT_LOCKED_H
#define TESTS_UNIT_LOCKED_H

#include "tests/test.h"

/* Whether the page of p is locked and out of core dumps. */
__attribute__((unused)) static bool
is_locked(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    bool inside = false, locked = false;
    unsigned long a, b;
    char line[512];

    REQUIRE(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx ", &a, &b) == 2)
            inside = (unsigned long)p >= a && (unsigned long)p < b;
        if (inside && !strncmp(line, "VmFlags:", 8))
            locked = strstr(line, " lo") && strstr(line, " dd");
    }
    fclose(f);
    return locked;
}

#endif
