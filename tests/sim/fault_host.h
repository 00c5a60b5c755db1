/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault_host.h: between the program under test and the simulated host: each
 * call that may fail is counted, and the n-th fails, once or from then on.
 *
 * Calls that may fail: open, stat and I/O of files; map, bind, copy of a tap,
 * and each piece of a copy; every call of a XenStore connection that is not
 * free(); shared memory and local shares (with -Wl,--wrap).  Threads: one.
 */
#ifndef TESTS_SIM_FAULT_HOST_H
#define TESTS_SIM_FAULT_HOST_H

#include "host/sim.h"
#include "tests/sim/alloc.h"

/* Everything made by these has its calls counted. */
void fault_loop(struct loop *);
void fault_tap(struct tap *);
void fault_store(struct store *);

/* As alloc_fail() and alloc_fail_end().  error: a positive errno; those calls
 * that can't fail with it fail with EIO. */
void fault_begin(unsigned long at, enum fault_times, int error);
unsigned long fault_end(void);
unsigned long fault_failed(void);
/* Of the last one that failed: "io", "copy", ... */
const char *fault_what(void);
/* The n-th READ or WRITE of the section moves at most len bytes. */
void fault_short(unsigned long n, uint64_t len);
/* How many I/O there were, and the longest of them. */
unsigned long fault_ios(uint64_t *longest);
/* Descriptors that some loop watches are looked at, and what is ready is
 * reported; true when something was. */
bool fault_poll(struct sim *);
/* Forgets watches and calls of loops that are dead. */
void fault_killed(void);

#endif
