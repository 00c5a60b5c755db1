/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault_alloc.h: every allocation of the program under test is counted, can
 * fail, and is known until it is freed.
 *
 * Linked with ALLOC_LDFLAGS (-Wl,--wrap=malloc ...).  What libraries allocate
 * inside themselves (json-c, libconfig, the C library's stdio and scandir) does
 * not come by here and never fails; nor does what the simulated world
 * allocates for itself (sim_memory and the like), which is known all the same.
 * Threads: one.
 */
#ifndef TESTS_SIM_FAULT_ALLOC_H
#define TESTS_SIM_FAULT_ALLOC_H

#include <stdbool.h>

enum fault_times { FAULT_ONCE, FAULT_FOR_EVER };

/* Counting begins with 1.  at 0: none fails. */
void alloc_begin(unsigned long at, enum fault_times);
/* How many there were; none fails any more. */
unsigned long alloc_end(void);
/* How many were made to fail. */
unsigned long alloc_failed(void);
/* Not the program under test for a while: nests. */
void alloc_off(void);
void alloc_on(void);
/* The world made it for the program, which has to free it. */
void alloc_give(void *);
/* Blocks that are not freed; each is a line on stdout when told to say so. */
unsigned alloc_left(bool say);
/* The program was killed: what it had is gone, but for the world's. */
void alloc_killed(void);

#endif
