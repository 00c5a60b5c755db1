/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fault.h: scenarios of the fault loops, and what must hold after each. */
#ifndef TESTS_SIM_FAULT_H
#define TESTS_SIM_FAULT_H

#include "tests/sim/fault_rig.h"

enum kind { ALLOC, HOST };

struct point {
    enum kind kind;
    enum fault_times times;
    unsigned long at;
    int error;
};

/* Faults are between these.  After the second: how many there were. */
void point_begin(const struct point *);
void point_end(const struct point *);
extern unsigned long point_failed, point_count;

/* The guest has all its answers, or its disk says why not. */
bool fault_settled(const struct guest *);
void fault_check_guest(struct rig *, const struct point *);
void fault_check_neighbour(struct rig *);
/* From whatever is there to nothing, to a disk that works, to nothing. */
void fault_check_works_again(struct rig *);
/* A guest that works. */
void fault_guest(struct rig *);

/* fault_person.c: what a person or a program asks of the daemon. */
void fault_load(const struct point *);
void fault_reload(const struct point *);
void fault_chain(const struct point *);
void fault_recover(const struct point *);
void fault_commands(const struct point *);
void fault_local(const struct point *);

#endif
