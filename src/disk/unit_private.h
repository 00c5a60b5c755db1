/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* unit_private.h: what the files of the data half share. */
#ifndef DISK_UNIT_PRIVATE_H
#define DISK_UNIT_PRIVATE_H

#include "disk/unit.h"

enum unit_state { UNIT_NEW, UNIT_IDLE, UNIT_CONNECTED, UNIT_GONE };

/* Where data are, as far as a MAP has come. */
struct map_found {
    struct json_object *extents; /* those that are whole */
    unsigned count;
    uint64_t off, len; /* the last one, which may grow; len 0: none */
    enum blk_extent kind;
    uint64_t asked;   /* up to where questions were answered */
    uint64_t unknown; /* bytes that nobody could tell of */
    unsigned questions;
};

struct unit {
    struct unit_place place;
    struct disk *disk; /* never followed here: for news */
    const char *name;  /* the disk's; lives as long as the unit */
    bool readonly;
    const char *attachment; /* NULL: it has no name */
    bool used;              /* the front-end may have written to these layers */
    enum unit_state state;
    const struct conf_disk *conf; /* held by the control half */

    struct chain *chain;
    struct chain_op op; /* of the job at work */
    struct chan *chan;
    struct tap *local_tap;
    struct sweep *local_sweep;

    struct job *queue, **queue_tail, *now;
    struct blk_timer deadline;
    bool draining;

    struct job *maps, **maps_tail; /* MAPs; the first is at work, if mapping */
    bool mapping;
    struct chain_map map;
    struct map_found found; /* by it */

    unsigned in_chain;  /* requests of the head that the chain holds */
    bool paused;        /* by JOB_PAUSE */
    bool failed;        /* quarantined: everything is answered with -EIO */
    bool chain_failed;  /* and only a new chain mends it */
    bool ring_broken;   /* and only a new connection mends it */
    bool recovering;    /* the chain is being made anew */
    uint64_t change_ns; /* when the replacement at work began */
    char reason[256];
    struct log_limit throttled; /* news of it */
    unsigned untold;            /* kinds of news that are to be told later */
    struct blk_timer untold_timer;
};

/* head.c */
extern const struct chan_ops head_ops;

/* unit.c: for head.c and the chain's events. */
void unit_fail(struct unit *, const char *why);
/* That, and what it acknowledged on this channel (or NULL) may be lost: only a
 * new connection or a person mends it, no restart. */
void unit_fail_for_good(struct unit *, struct chan *, const char *why);
/* The front-end sends more rubbish than it may. */
void unit_throttled(struct unit *);
void unit_answer(struct unit *, struct job *);
/* The job at work is over; the next may begin. */
void unit_job_over(struct unit *, int status, const char *why);
int unit_chain_new(struct unit *, char *why, size_t n);
void unit_connect_go(struct unit *);
/* A request came back from the chain. */
void unit_request_over(struct unit *);

/* unit_step.c: the jobs of the same names. */
void unit_pause(struct unit *);
void unit_resume(struct unit *);
void unit_replace(struct unit *, struct job *);
/* Whether a chain that offers `then` may take the place of one that offers
 * `now`; as chain_events has it. */
int unit_accept(void *unit, const struct blk_limits *now,
                const struct blk_limits *then, char *why, size_t n);

/* unit_news.c */
/* limits: of NEWS_LIMITS. */
void unit_tell(struct unit *, enum news_kind, const struct blk_limits *);
/* Nothing is told any more. */
void unit_news_end(struct unit *);

/* unit_mend.c */
/* A chain with a layer that could not go on is made anew, for the job at work
 * (CONNECT, RECOVER); nothing is in it. */
void unit_rechain(struct unit *);
void unit_recover(struct unit *);

/* unit_map.c: jobs of kind MAP. */
void unit_map(struct unit *, struct job *);
/* No job is at work: those that waited for that may begin. */
void unit_map_next(struct unit *);
/* The unit is gone: those that wait are answered. */
void unit_maps_end(struct unit *);

/* unit_show.c */
struct json_object *unit_show(struct unit *);
int unit_command(struct unit *, const char *layer, int argc, char **argv,
                 struct json_object **);

#endif
