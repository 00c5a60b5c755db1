/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* disk_private.h: what disk.c and disks.c share.  Control loop only. */
#ifndef DISK_DISK_PRIVATE_H
#define DISK_DISK_PRIVATE_H

#include "disk/disk.h"
#include "disk/unit.h"

/*
 * What the control half knows, from the jobs it sent and their answers:
 *
 *   opening ──► waiting ◄──► connected          failed: as connected, with a
 *      │           │             │ news         reason; a new connection mends
 *      ▼           ▼             ▼              it
 *    closing ◄── closing ◄──── failed
 */
enum disk_state {
    DISK_OPENING,
    DISK_WAITING,
    DISK_CONNECTED,
    DISK_FAILED,
    DISK_CLOSING
};

enum { TABLE_KEY = 96 };

struct table; /* tables.c */
struct keys;  /* keys.c */

struct disk {
    struct disks *disks;
    struct disk *next; /* in disks */
    char name[64];
    struct conf *conf;     /* a reference, for conf_disk */
    struct conf *conf_old; /* one more, while a replacement is under way */
    const struct conf_disk *conf_disk;
    struct disk_front front;
    char vm[64], vdev[32]; /* front's strings */
    const struct disk_owner *owner;
    void *ctx;
    bool readonly, paused;
    bool leaving; /* closes for the next process's sake: see disk_leave() */
    enum disk_state state;
    struct blk_limits limits;
    char reason[256];
    char notice[256]; /* what was wrong when it was gone on with; or "" */
    struct unit *unit;
    unsigned loop;
    char key[TABLE_KEY]; /* of its in-flight table; "": none is kept */
    struct table *node;  /* for that table, when it is given back */
    disk_fn *opened;
    struct job *held; /* OPEN, until an older disk of this name is gone */
    /* One of each kind that must be possible when there is no memory. */
    struct job spare[JOB_MUST];
    bool spared[JOB_MUST]; /* in use */
};

struct disks {
    struct loop *control;
    struct loop *const *data;
    struct sweep *const *sweeps;
    unsigned loops;
    unsigned *load; /* disks per loop */
    const struct disks_events *events;
    void *ctx;
    struct disk *first;
    unsigned count;
    struct reload *reload;
    uint64_t drain_ns;    /* for the steps of from now on */
    struct table *tables; /* of an earlier process, not taken yet */
    struct keys *keys;
    void (*quiet)(void *); /* of disks_quiet() */
    void *quiet_ctx;
};

/* NULL when there is no memory for one: only of kinds that may fail (those from
 * JOB_MUST on). */
struct job *disk_job(struct disk *, enum job_kind, void (*answer)(struct job *),
                     disk_fn *, void *ctx);
void job_free(struct job *);
/* A disk of this name is gone: one that waits for the name may open; and all
 * may be quiet now. */
void disks_name_free(struct disks *, const char *name);
void disks_gone(struct disks *);

/* ---- tables.c ------------------------------------------------------------ */

void table_key(char key[TABLE_KEY], const char *back);
/* What table_give() needs; NULL: no memory. */
struct table *table_node(void);
/* The caller's descriptor, or -1.  The node is there for table_give(), then:
 * giving it back can't fail. */
int table_take(struct disks *, const char *key, struct table **node);
/* Takes over fd, for the next that asks for it. */
void table_give(struct disks *, struct table **node, const char *key, int fd);
/* Whether one is there that was not taken. */
bool table_waits(const struct disks *, const char *key);
/* A file to make the table in, the caller's; or -1. */
int table_room(struct disks *, const char *key);
/* fd stays the caller's. */
void table_keep(struct disks *, const char *key, int fd);
void table_forget(struct disks *, const char *key);
void tables_free(struct disks *);

/* ---- keys.c -------------------------------------------------------------- */

int keys_new(struct disks *); /* 0 or -ENOMEM */
void keys_free(struct disks *);
/* disks_inherit() of DISKS_KEYS. */
int keys_inherit(struct disks *, int fd);

void disks_event(struct disks *, const char *what, const char *disk,
                 const char *detail);

#endif
