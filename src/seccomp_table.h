/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* seccomp_table.h: the list of system calls that the daemon may make. */
#ifndef BLKTAPD_SECCOMP_TABLE_H
#define BLKTAPD_SECCOMP_TABLE_H

#include <stddef.h>

struct seccomp_call {
    int number;
    const char *name, *who; /* needs it, and why */
};

extern const struct seccomp_call seccomp_calls[];
extern const unsigned seccomp_calls_n;

/* What a call that is not in the list gets: EPERM, or SIGSYS (for tests). */
enum seccomp_refusal { SECCOMP_EPERM, SECCOMP_TRAP };

/* For every thread of the process, for ever.  no_new_privs must be set.  0, or
 * -errno with a sentence in why. */
int seccomp_filter(enum seccomp_refusal, char *why, size_t n);

#endif
