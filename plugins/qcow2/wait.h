/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* wait.h: those that wait for something of an image, in order; and who may
 * change which clusters (lock.c). */
#ifndef PLUGINS_QCOW2_WAIT_H
#define PLUGINS_QCOW2_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct qcow2;

/* One that waits; go() is called once, with 0 (look again) or an error. */
struct q2_wait {
    struct q2_wait *next;
    void (*go)(struct q2_wait *, int error);
    bool queued;
};

struct q2_queue {
    struct q2_wait *head, **tail;
};

void q2_queue_init(struct q2_queue *);
void q2_queue_add(struct q2_queue *, struct q2_wait *);
/* Wakes those that wait now; who waits again meanwhile stays. */
void q2_queue_wake(struct q2_queue *, int error);
/* Wakes the first. */
void q2_queue_wake_one(struct q2_queue *);

/* One holder at a time, in order of arrival. */
struct q2_gate {
    bool held;
    struct q2_queue queue;
};

/* True: it is ours; else go() comes, and then it is. */
bool q2_gate_take(struct q2_gate *, struct q2_wait *);
void q2_gate_leave(struct q2_gate *);

enum q2_share { Q2_SHARED, Q2_EXCLUSIVE };

/* Of guest clusters first to last; granted in order of arrival. */
struct q2_lock {
    struct q2_lock *next;
    uint64_t first, last;
    enum q2_share share;
    bool on, granted;
    struct q2_wait *wait;
};

/* True: granted; else go() comes when it is. */
bool q2_lock(struct qcow2 *, struct q2_lock *, uint64_t off, uint64_t len,
             enum q2_share, struct q2_wait *);
void q2_unlock(struct qcow2 *, struct q2_lock *);

#endif
