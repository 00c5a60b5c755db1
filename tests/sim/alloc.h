/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * alloc.h: what the daemon under test has of this process: memory, mappings
 * and descriptors.
 *
 * The daemon's objects are linked with their references to malloc() and the
 * like renamed to alloc_*() (alloc.syms, by objcopy), so only what the daemon
 * asks for is counted, not what the world or the test has.  A daemon that is
 * killed leaves all of it: alloc_free_all() takes it back, as a kernel would.
 *
 * Threads: one.
 */
#ifndef TESTS_SIM_ALLOC_H
#define TESTS_SIM_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From here on, what is asked for is remembered and counted. */
void alloc_begin(void);
/* No longer; what is remembered stays so until it is freed. */
void alloc_end(void);
/* Not what is asked for between these: the test's own use of the same code.
 * Pause gives what resume takes. */
bool alloc_pause(void);
void alloc_resume(bool);
/* Things that are remembered: blocks, mappings, descriptors. */
size_t alloc_live(void);
/* A line on stdout for each of them, with the address of who asked for it. */
void alloc_print(void);

enum fault_times { FAULT_ONCE, FAULT_FOR_EVER };
/* The n-th from here fails, or all from there on; 0: none. */
void alloc_fail(unsigned long nth, enum fault_times);
/* None fails any more; how many there were since alloc_fail(). */
unsigned long alloc_fail_end(void);
/* How many of them failed. */
unsigned long alloc_failed(void);

/* Memory that was malloc'd for the daemon by another, and is its own now. */
void alloc_adopt(void *);
/* A descriptor likewise. */
void alloc_adopt_fd(int fd);
/* The end of the process: all that is remembered is freed and forgotten. */
void alloc_free_all(void);

#endif
