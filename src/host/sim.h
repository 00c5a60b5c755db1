/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim.h: a world in memory, for tests: loops, files, XenStore, grants and
 * event channels, with one seed and a clock that the test moves.
 *
 * The same seed gives the same run, event by event; sim_trace() is a hash of
 * all that happened, to check that.  With SIM_TRACE in the environment each
 * event is a line on stderr.
 *
 * Threads: one.  Time: nanoseconds; the clock starts at one second.  Chances:
 * in a million.  All that is made in a world is freed with it, but for loops,
 * taps and stores, which have their free(), and go before it; a tap and a
 * store go before their loop.
 */
#ifndef HOST_SIM_H
#define HOST_SIM_H

#include "host/host.h"

struct sim;

/* Never fails: a test that has no memory ends. */
struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *);

uint64_t sim_now(const struct sim *);
uint64_t sim_random(struct sim *);
uint64_t sim_below(struct sim *, uint64_t n); /* 0 to n - 1; n > 0 */
bool sim_chance(struct sim *, uint32_t in_a_million);
uint64_t sim_trace(const struct sim *);

/* A round follows up to that many events of its loop, which come close to each
 * other, as of a kernel that reports several at a time.  1 from the start. */
void sim_rounds(struct sim *, unsigned events);
/* The next event, and the round of the loop that it causes.  False: nothing
 * is left that could happen. */
bool sim_step(struct sim *);
/* Events until the time has passed; the clock then is there. */
void sim_run_for(struct sim *, uint64_t ns);
/* Events until cond(data), which is looked at after each; false: it did not
 * come true within the time, or nothing is left that could happen. */
bool sim_run_until(struct sim *, bool (*cond)(void *), void *data,
                   uint64_t within_ns);
/* Events until there are none, at most that many; false: there still are. */
bool sim_run_all(struct sim *, uint64_t events_max);

/* run() runs the world until stop(). */
struct loop *sim_loop_new(struct sim *, const char *name);
/* Watches on this descriptor are ready; the number means what the test wants:
 * no system call is made with it. */
void sim_fd_ready(struct sim *, int fd, short events);
/* The test's own event, on no loop. */
void sim_after(struct sim *, uint64_t ns, void (*fn)(void *), void *data);

/* ---- files --------------------------------------------------------------- */

/* What a write, completed or not, has left on the medium is known only after a
 * SYNC: until then each of its 512-byte sectors may survive a crash or not. */

/* Replaces what was there.  zeroed. */
void sim_file_make(struct sim *, const char *name, uint64_t size);
/* What open and stat tell (size excepted; direct: whether O_DIRECT is had). */
void sim_file_describe(struct sim *, const char *name,
                       const struct blk_file_info *);
void sim_file_remove(struct sim *, const char *name);
/* Bytes, or -ENOENT. */
int64_t sim_file_size(struct sim *, const char *name);
/* At once, durable. */
void sim_file_put(struct sim *, const char *name, uint64_t off,
                  const void *data, size_t len);
/* At once, but a crash can undo it until the next sync. */
void sim_file_write(struct sim *, const char *name, uint64_t off,
                    const void *data, size_t len);
void sim_file_sync(struct sim *, const char *name);
/* As a reader would see it. */
void sim_file_get(struct sim *, const char *name, uint64_t off, void *data,
                  size_t len);
/* When a sync of it failed the last time; 0: never did. */
uint64_t sim_file_sync_failed(struct sim *, const char *name);
/* Bytes written that a crash could undo. */
uint64_t sim_file_unsynced(struct sim *, const char *name);

/* As it is on the medium: what a reader would see if no change of it that was
 * not synced had survived. */
void sim_file_get_durable(struct sim *, const char *name, uint64_t off,
                          void *data, size_t len);
int64_t sim_file_size_durable(struct sim *, const char *name);

/* The power fails for this file alone; nothing of it is under way. */
void sim_file_power(struct sim *, const char *name);

/* Told of what comes to the medium of a file, in the order of completion, each
 * write with those that a sync covers: as dm-log-writes logs it.  Ranges are of
 * whole sectors.  None of these may use the world. */
struct sim_watcher {
    void (*write)(struct sim_watcher *, uint64_t off, const void *, size_t len,
                  bool fua);
    void (*discard)(struct sim_watcher *, uint64_t off, uint64_t len);
    void (*flush)(struct sim_watcher *);
    void (*resize)(struct sim_watcher *, uint64_t size);
    /* What was told since the last flush is there, not there, or in part; the
     * medium now is as sim_file_get_durable() says.  Why: one word. */
    void (*lost)(struct sim_watcher *, const char *why);
};
/* NULL: no more.  The watcher is the caller's. */
void sim_file_watch(struct sim *, const char *name, struct sim_watcher *);

/* A change of a file that a power failure could undo, the oldest first; those
 * that were under way when they would be, last.  data: of a WRITE. */
enum sim_change_kind { SIM_WRITE, SIM_ZERO, SIM_PUNCH, SIM_RESIZE };
struct sim_unsynced {
    const char *name;
    enum sim_change_kind kind;
    uint64_t off, len; /* RESIZE: off is the size */
    const char *data;
    bool durable;   /* FUA: it can't be undone */
    bool under_way; /* it has not completed */
};
void sim_unsynced(struct sim *,
                  void (*see)(void *, const struct sim_unsynced *), void *data);

struct sim_faults {
    uint32_t read, write, sync, range;   /* chances of an error */
    uint32_t shorter;                    /* of a short READ or WRITE */
    int error;                           /* 0: EIO */
    uint64_t delay_min_ns, delay_max_ns; /* both 0: 20 us to 500 us */
};
/* name NULL: files that have none of their own. */
void sim_file_faults(struct sim *, const char *name, const struct sim_faults *);

/* The power fails: what was not synced is lost, kept or torn, and so is what
 * was on its way; every event is gone, no callback comes any more, all files
 * are closed, all grants and ports are gone; loops, taps and stores may only
 * be freed.  XenStore is kept, but for its watches.  Not to be called by the
 * program under test: between events, or from sim_after(). */
void sim_crash(struct sim *);
/* kill -9 of the program: as sim_crash(), but what was written stays (in the
 * page cache: a later sim_crash() can still undo it), what was on its way
 * completes or not, the grants that were given stay, and events that were sent
 * to other domains arrive. */
void sim_kill(struct sim *);

/* As sim_kill(), out of the middle of a step that will never be returned to:
 * the program under test was left by longjmp() in a call of its own, none of
 * the world's being under way. */
void sim_kill_inside(struct sim *);

/* ---- XenStore ------------------------------------------------------------ */

/* A connection to the one XenStore of the world; as many as are wanted.  It is
 * one of domain 0: relative paths begin at /local/domain/0. */
struct store *sim_store_open(struct sim *, struct loop *);
/* The rest of this is for a test that plays toolstack or front-end: at once,
 * and watches fire. */
void sim_store_write(struct sim *, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* NULL: not there.  Valid until the node changes. */
const char *sim_store_read(struct sim *, const char *path);
void sim_store_rm(struct sim *, const char *path);
/* "@introduceDomain", "@releaseDomain". */
void sim_store_special(struct sim *, const char *name);
/* Of a node, or of the nearest above that has some; false: not there. */
bool sim_store_perms(struct sim *, const char *path, uint32_t *owner,
                     uint32_t *reader);
/* xenstored dies: every call fails with -ENOTCONN, watches are gone. */
void sim_store_down(struct sim *);
/* It is back, with all its nodes: renewed() comes. */
void sim_store_up(struct sim *);
/* The next n commits of transactions are conflicts. */
void sim_store_conflicts(struct sim *, unsigned n);

/* ---- grants and event channels ------------------------------------------- */

struct tap *sim_tap_new(struct sim *, struct loop *);

/* Of a domain that is a front-end: what it grants and opens. */
struct gate *sim_gate_new(struct sim *, struct loop *, uint32_t domid);
/* That many pages can be granted at a time by all gates; 0: no limit. */
void sim_gate_limit(struct sim *, unsigned pages);

/* The front-end's side.  A page, zeroed, granted by the domain as ref; what
 * was granted as this ref before is forgotten.  NULL: no page is left. */
void *sim_grant(struct sim *, uint32_t domid, uint32_t ref, bool readonly);
/* The page of a grant, or NULL. */
void *sim_grant_page(struct sim *, uint32_t domid, uint32_t ref);
/* -EBUSY: it is still mapped; the page stays until it no longer is. */
int sim_ungrant(struct sim *, uint32_t domid, uint32_t ref);
/* How many pages of this domain are mapped. */
unsigned sim_mapped(struct sim *, uint32_t domid);

/* A port of the domain, for the other side to bind; notified() is called when
 * that side sends an event. */
uint32_t sim_port(struct sim *, uint32_t domid, void (*notified)(void *),
                  void *data);
void sim_port_close(struct sim *, uint32_t domid, uint32_t port);
/* The front-end sends an event. */
void sim_port_notify(struct sim *, uint32_t domid, uint32_t port);
/* Whether the other side is bound to it. */
bool sim_port_bound(struct sim *, uint32_t domid, uint32_t port);
/* Its grants and ports are gone; what is mapped stays readable. */
void sim_domain_die(struct sim *, uint32_t domid);

struct sim_tap_faults {
    uint32_t map, bind, copy; /* chances that the call fails with error */
    uint32_t segment;         /* that one piece of a copy fails with status */
    uint32_t spurious;        /* that an event is sent twice */
    int error;                /* 0: EIO */
    int16_t status;           /* 0: GNTST_bad_gntref */
};
void sim_tap_faults(struct sim *, const struct sim_tap_faults *);
/* The tap tells its user that it is broken. */
void sim_tap_break(struct tap *, int error);

#endif
