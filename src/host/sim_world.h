/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_world.h: what the parts of the simulated world know of each other.
 */
#ifndef HOST_SIM_WORLD_H
#define HOST_SIM_WORLD_H

#include "host/sim.h"

struct sim_loop;
struct sim_files;
struct sim_grants;
struct sim_tree;

/* Something that will happen.  The world's until it has run. */
struct sim_event {
    uint64_t at, number; /* number: in the order of making */
    void (*run)(struct sim_event *);
    void *data;
    struct sim_loop *loop; /* its round follows; NULL: none */
    const char *what;      /* for the trace */
    size_t slot;           /* in the heap */
};

struct sim {
    uint64_t now, number, trace;
    uint64_t dice[4];
    struct sim_event **heap;
    size_t events, room;
    struct sim_event *running; /* while its callback runs */
    char *lent[2];             /* texts that a callback is looking at */
    unsigned together;         /* events before a round, at most */
    bool verbose;
    struct sim_loop *loops;
    struct sim_files *files;
    struct sim_grants *grants;
    struct sim_tree *tree;
};

/* Memory that a simulation can't go on without. */
void *sim_memory(size_t n, size_t size);
void *sim_memory_grow(void *, size_t n, size_t size);
char *sim_text(const char *);

struct sim_event *sim_event(struct sim *, struct sim_loop *, uint64_t after_ns,
                            const char *what, void (*run)(struct sim_event *),
                            void *data);
void sim_cancel(struct sim *, struct sim_event *);
/* All events: those that have a loop, or (NULL) all there are. */
void sim_cancel_all(struct sim *, struct sim_loop *);
/* A word of what happened, for the trace. */
void sim_note(struct sim *, const char *what, uint64_t a, uint64_t b);
/* From min to max, evenly. */
uint64_t sim_between(struct sim *, uint64_t min, uint64_t max);

struct sim *sim_of(struct loop *);
struct sim_loop *sim_loop_of(struct loop *);
/* An event of the loop begins; its round. */
void sim_loop_enter(struct sim_loop *);
void sim_loop_round(struct sim_loop *);
bool sim_loop_dead(const struct sim_loop *);
void sim_loops_crash(struct sim *);

/* sim_file.c: loop operations. */
void sim_file_open(struct loop *, struct blk_open *);
void sim_file_stat(struct loop *, struct blk_open *);
void sim_file_close(struct loop *, struct blk_file *);
void sim_file_io(struct loop *, struct blk_io *);
void sim_files_free(struct sim *);
/* What is open and on its way ends; cached: the page cache survives. */
void sim_files_crash(struct sim *, bool cached);
/* The I/O of a loop that is freed never completes. */
void sim_files_forget(struct sim *, struct sim_loop *);

void sim_grants_free(struct sim *);
void sim_grants_crash(struct sim *, bool keep);
/* After a kill, once all events are gone: what was sent still arrives. */
void sim_grants_deliver(struct sim *);
void sim_tree_free(struct sim *);
void sim_tree_crash(struct sim *);

#endif
