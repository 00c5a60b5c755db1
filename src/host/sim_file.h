/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim_file.h: what the parts of the simulated files know of each other: names,
 * handles and operations on their way (sim_file.c), what I/O does (sim_io.c).
 */
#ifndef HOST_SIM_FILE_H
#define HOST_SIM_FILE_H

#include "host/sim_image.h"
#include "host/sim_world.h"

struct sim_inode {
    struct sim_inode *next;
    char *name;
    struct sim_medium medium;
    struct blk_file_info info; /* but for size and direct */
    bool can_direct, removed;
    unsigned readers, writers; /* who hold the lock */
    uint64_t sync_failed;      /* when, the last time; 0: never */
    bool has_faults;
    struct sim_faults faults;
    unsigned users;
};

/* A struct blk_file. */
struct sim_handle {
    struct sim_handle *next;
    struct sim_inode *inode;
    uint32_t flags;
    bool direct;
    unsigned inflight;
};

/* Something on its way. */
struct sim_op {
    struct sim_op *next;
    struct sim *sim;
    struct loop *loop;
    struct sim_event *event;
    struct blk_io *io;
    struct blk_open *open;     /* or this */
    struct sim_handle *handle; /* of io, of stat; of close, without the two */
    uint64_t number;           /* the file's last change when it began */
};

struct sim_files {
    struct sim_inode *inodes;
    struct sim_handle *handles;
    struct sim_op *ops;
    struct sim_faults faults;
};

struct sim_files *sim_files_of(struct sim *);
const struct sim_faults *sim_faults_of(struct sim *, const struct sim_inode *);
/* There is one. */
struct sim_inode *sim_inode_of(struct sim *, const char *name);
/* An operation like this will be over after a while. */
void sim_op_start(struct loop *, struct sim_op *like, const char *what,
                  void (*run)(struct sim_event *));
void sim_op_finish(struct sim_op *);
/* The program or the machine dies: what was on its way has left something, or
 * all, or nothing. */
void sim_io_break_off(struct sim_op *, bool cached);
/* What it would change; false: nothing. */
bool sim_io_change(const struct sim_op *, struct sim_change *);

#endif
