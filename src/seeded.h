/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * seeded.h: ten bugs that only a build with -DSEEDED_NAME=1 has.
 *
 * They are there to measure the tests: the simulator of the whole daemon must
 * find each of them (tests/sim/daemon-bugs).  Each is what somebody could
 * really write, in the place where it would be written.  In every other build
 * they are the constant 0, and nothing of them is in the program.
 */
#ifndef SEEDED_H
#define SEEDED_H

/* A write is answered when it is handed on, not when it is done. */
#ifndef SEEDED_ACK_BEFORE_WRITE
#define SEEDED_ACK_BEFORE_WRITE 0
#endif

/* A flush is answered and never sent to the chain. */
#ifndef SEEDED_SKIPPED_FLUSH
#define SEEDED_SKIPPED_FLUSH 0
#endif

/* After a restart, what is in the ring behind rsp_prod is taken again, as if
 * answers came in the order of requests. */
#ifndef SEEDED_RESUME_AT_RSP_PROD
#define SEEDED_RESUME_AT_RSP_PROD 0
#endif

/* A flush is answered twice. */
#ifndef SEEDED_DOUBLE_ANSWER
#define SEEDED_DOUBLE_ANSWER 0
#endif

/* The guest is told of an answer only when it waits for the very last one. */
#ifndef SEEDED_LOST_WAKE_UP
#define SEEDED_LOST_WAKE_UP 0
#endif

/* The id of the answer is what the slot of the ring has by then. */
#ifndef SEEDED_REFETCHED_FIELD
#define SEEDED_REFETCHED_FIELD 0
#endif

/* Whatever the disk says, the guest hears that all is well. */
#ifndef SEEDED_DROPPED_ERROR
#define SEEDED_DROPPED_ERROR 0
#endif

/* The last segment of a request is not copied. */
#ifndef SEEDED_OFF_BY_ONE_SEGMENT
#define SEEDED_OFF_BY_ONE_SEGMENT 0
#endif

/* The entry of a write stays in the in-flight table. */
#ifndef SEEDED_LEAKED_ENTRY
#define SEEDED_LEAKED_ENTRY 0
#endif

/* A queue goes to sleep without asking for an event and looking again. */
#ifndef SEEDED_MISSED_FINAL_CHECK
#define SEEDED_MISSED_FINAL_CHECK 0
#endif

#endif
