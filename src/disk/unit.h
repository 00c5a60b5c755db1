/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unit.h: the half of a disk that lives on a data loop: channel, head, chain.
 *
 * The control half sends jobs by mail; each comes back as mail, answered.
 * Jobs that take time are done one after another, in the order in which they
 * came; those that only look (SHOW, COMMAND) at once.  MAP, a look that takes
 * time, gives way to all others.
 *
 *            OPEN           CONNECT
 *   NEW ─────────────► IDLE ────────► CONNECTED
 *    │ fails            ▲ │ CLOSE         │ DISCONNECT
 *    ▼                  │ │           drain, at most UNIT_DRAIN_NS
 *   GONE ◄──────────────┼─┘               │
 *    ▲     chain stopped└─────────────────┘
 */
#ifndef DISK_UNIT_H
#define DISK_UNIT_H

#include <json-c/json.h>

#include "disk/disk.h"

/* A front-end that closes waits at most 5 s (kexec); what is in flight by then
 * ends unanswered, and a new connection waits for its end. */
#define UNIT_DRAIN_NS (4000000000ull)

enum job_kind {
    JOB_OPEN,
    JOB_CONNECT,
    JOB_DISCONNECT,
    JOB_CLOSE,
    JOB_REPLACE,
    JOB_MUST, /* those above can't be refused for want of memory */
    JOB_PAUSE = JOB_MUST,
    JOB_RESUME,
    JOB_RECOVER,
    JOB_SHOW,
    JOB_COMMAND,
    JOB_MAP
};

struct unit;

/* Made by the control half, lent to the data half, freed by the control half
 * in answer(). */
struct job {
    struct loop_mail mail;
    struct job *next; /* in the unit's queue */
    struct disk *disk;
    struct unit *unit;
    enum job_kind kind;
    /* what is asked */
    struct chan_params params; /* CONNECT */
    struct local_share share;  /* CONNECT, when local */
    bool is_local;
    int inherit; /* CONNECT: a table of an earlier process, or -1 */
    int room;    /* CONNECT: a file for a new table, or -1 */
    const struct conf_disk *conf; /* OPEN, REPLACE */
    uint64_t drain_ns;            /* PAUSE, REPLACE: see disks_drain() */
    char *layer;                  /* COMMAND */
    char **argv;
    int argc;
    struct disk_range range; /* MAP */
    /* the answer */
    int status;
    bool tried; /* RECOVER: a chain was made, or tried to */
    char why[256];
    int table_fd; /* CONNECT, or late: a descriptor of its table, or -1 */
    bool failed;  /* CONNECT: it goes on as a disk that failed */
    bool late;    /* DISCONNECT: not everything had ended */
    struct blk_limits limits; /* OPEN, REPLACE */
    uint64_t took_ns;         /* REPLACE: the guest's requests waited so long */
    struct json_object *json; /* SHOW, COMMAND, MAP */
    /* on the control loop */
    void (*answer)(struct job *);
    /* REPLACE: the new chain is there and has not taken a request, nor will
     * the old one: see disks_rechain().  NULL: it goes on at once. */
    void (*switched)(struct job *);
    disk_fn *fn;
    void (*json_fn)(void *ctx, struct json_object *);
    void (*out_fn)(void *ctx, int status, struct json_object *);
    disk_map_fn *map_fn;
    void *ctx;
};

/* Unasked, from the data half: a mail of its own. */
enum news_kind { NEWS_LIMITS, NEWS_FAILED, NEWS_THROTTLED };

struct unit_news {
    struct loop_mail mail;
    struct disk *disk;
    enum news_kind kind;
    bool ring_broken; /* FAILED */
    struct blk_limits limits;
    char why[256];
};

struct unit_place {
    struct loop *control, *data;
    struct sweep *sweep; /* of the loop's Xen tap; NULL without Xen */
};

/* Why a disk goes on as one that failed: see struct job. */
extern const char unit_lossy[];

/* Control loop; the unit then belongs to the data loop. */
struct unit *unit_new(struct disk *, const char *name,
                      const struct unit_place *);
/* Before the first job. */
void unit_set_readonly(struct unit *, bool readonly);
/* The name lives as long as the unit; used: see struct disk_front. */
void unit_set_attachment(struct unit *, const char *name, bool used);
/* Control loop; after the answer to JOB_CLOSE. */
void unit_free(struct unit *);
/* Control loop: hand a job over. */
void unit_send(struct unit *, struct job *);
/* disk.c: news arrives on the control loop. */
void disk_news(struct unit_news *);

#endif
