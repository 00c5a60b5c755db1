/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vbd.h: what the files of this folder share.
 *
 * A vbd is one directory backend/KIND/DOMID/DEVID of this domain, from the
 * time it is seen until it is gone and its disk is closed.  It is looked at
 * when it is dirty; a look reads levels, asks states.h for an act, and does
 * it.  Control loop only.
 */
#ifndef XENBUS_VBD_H
#define XENBUS_VBD_H

#include "xenbus/node.h"
#include "xenbus/states.h"
#include "xenbus/xenbus.h"

/* Our hold on the disk's chain. */
enum medium {
    MEDIUM_NONE,
    MEDIUM_OPENING,
    MEDIUM_READY,
    MEDIUM_CLOSING /* disk_close() was called */
};

enum {
    VBD_PATH = 256,
    VBD_WHY = 400,
    LOOKS_PER_WINDOW = 12, /* for one front-end's writes */
    LOOKS_PER_ROUND = 16,  /* before other things get their turn */
};

#define SECOND_NS         1000000000ull
#define LOOKS_WINDOW_NS   (1 * SECOND_NS)
#define REOPEN_FIRST_NS   (2 * SECOND_NS)
#define REOPEN_MAX_NS     (60 * SECOND_NS)
#define HOLD_FIRST_NS     (1 * SECOND_NS)
#define HOLD_MAX_NS       (60 * SECOND_NS)
#define OFFER_AFTER_NS    (3 * SECOND_NS)
#define REMOVE_AFTER_NS   (5 * SECOND_NS)
#define STORE_RETRY_NS    (1 * SECOND_NS)
#define CONFLICT_RETRY_NS (SECOND_NS / 20)

struct vbd {
    struct xenbus *x;
    struct vbd *next, *next_dirty;
    bool dirty;

    /* Who it is; from the path. */
    char kind[32];
    uint32_t domid, devid;
    char back[VBD_PATH];

    /* What the toolstack wrote; read again while our state is 1. */
    char front[VBD_PATH];
    char vm[64], vdev[32];
    char *params;
    bool readonly, cdrom, removable, discard_enable;
    bool scripted; /* a hotplug script will look at hotplug-status */
    bool ours;     /* made by xenbus_attach(): ours to remove */
    bool handed;   /* taken from the kernel's back-end, see interpose.h */

    /* Whether we serve it, and as what. */
    bool claimed, known;
    bool stale; /* another config: identify it again when not connected */
    char disk_name[64];
    char why[VBD_WHY]; /* why it isn't claimed, open or connected; or "" */

    /* See attachment.c: the open disk's, or 0; and the one that stands there.
     */
    uint64_t attachment, attachment_found;

    /* Levels, as last seen. */
    enum bus_state front_state, own;
    bool online, gone;
    bool renewed; /* not seen yet since xenstored came back empty; it is
                     connected */

    /* The connection. */
    enum bus_link link;
    bool refused, inherited, restarted, connected_seen;
    bool stopped; /* its disk failed: it is served on, with errors */
    bool resized; /* geometry in XenStore may be old */
    uint64_t nonce;
    bool same;     /* the front-end is at 4 since nonce's connection was made */
    bool resuming; /* it was connected to an earlier process */
    uint64_t hold_after, hold_until; /* see resume.c; 0: not held */

    /* The disk. */
    struct disk *disk;
    enum medium medium;
    bool open_failed, told_script;
    bool busy; /* open_failed, as another vbd has the disk */
    uint64_t opening_at, reopen_at, reopen_after;

    /* Time: one timer makes the vbd dirty. */
    struct blk_timer timer;
    uint64_t timer_at; /* 0: not running */
    uint64_t remove_at;
    uint64_t window_at;
    unsigned looks;
    struct log_limit limit;

    char token[24]; /* of the watch on the front-end's state; "" : none */
    char watched[VBD_PATH];
};

struct xenbus {
    struct loop *loop;
    struct store *store;
    struct disks *disks;
    struct conf *conf;
    const struct xenbus_events *events;
    void *ctx;

    uint32_t domid; /* ours */
    struct vbd *first;
    struct vbd *dirty, **dirty_tail;
    struct loop_task task;
    struct blk_timer timer; /* to read all again */
    bool timer_runs;
    bool emptied; /* xenstored came back without what it had, once */

    char **kind; /* watched; grows only */
    unsigned kinds;
    unsigned tokens; /* given out */

    bool running; /* looks are under way */
    bool stopping;
    void (*stopped)(void *);
    void *stopped_ctx;
};

/* ---- xenbus.c ----------------------------------------------------------- */

void xenbus_dirty(struct vbd *);
void xenbus_event(struct vbd *, const char *what, const char *detail);
void xenbus_drop(struct vbd *); /* gone, and the disk is closed */
void xenbus_quiet(struct xenbus *);
uint64_t xenbus_now(struct xenbus *);
/* Dirty again, after_ns from now at the latest. */
void vbd_later(struct vbd *, uint64_t after_ns);
/* Looks at this vbd, known or not. */
void vbd_seen(struct xenbus *, const char *kind, uint32_t domid,
              uint32_t devid);

/* ---- discover.c ---------------------------------------------------------- */

/* Watches and scans; 0, or -errno with a sentence. */
int discover_start(struct xenbus *, char *why, size_t n);
/* The kinds of a tree, those that are new. */
int discover_kinds(struct xenbus *, const struct conf *, char *why, size_t n);
/* All is scanned once more, a little later. */
void xenbus_again(struct xenbus *);
void discover_stop(struct xenbus *);

/* ---- claim.c ------------------------------------------------------------- */

/* Reads what the toolstack wrote and says whether we serve it; 0 or -errno of
 * XenStore. */
int vbd_identify(struct vbd *);
bool vbd_kind_served(const struct vbd *);

/* ---- vbd.c --------------------------------------------------------------- */

void vbd_look(struct vbd *);
/* The front-end wrote: look, but not too often. */
void vbd_front_wrote(struct vbd *);
/* XenStore failed us: everything is read again a little later. */
void vbd_store_failed(struct vbd *, int rc, const char *what);
void vbd_log(struct vbd *, enum blk_level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- medium.c ------------------------------------------------------------ */

/* True when the medium is ready; else it is on its way, or it failed. */
bool vbd_medium(struct vbd *);
void vbd_medium_release(struct vbd *);

/* ---- attachment.c -------------------------------------------------------- */

/* What the disk that is about to be opened is to know of it; made when there is
 * none yet.  0 or -errno of XenStore. */
int vbd_attachment(struct vbd *, struct disk_front *);
int vbd_read_attachment(struct vbd *);
/* Whether the open disk is this attachment's, as last read. */
bool vbd_same_attachment(const struct vbd *);

/* ---- link.c -------------------------------------------------------------- */

/* Reads what the front-end wrote and connects; true when something was decided
 * (the front-end is refused), else wait: for the disk, or for XenStore. */
bool vbd_connect(struct vbd *, enum bus_act);
void vbd_disconnect(struct vbd *);

/* ---- publish.c ----------------------------------------------------------- */

int vbd_publish_limits(struct vbd *);
int vbd_publish_geometry(struct vbd *);
int vbd_publish_resize(struct vbd *); /* with state 4 written again */
/* -ENOENT: gone; -ESTALE: it is no longer in state `from`. */
int vbd_publish_state(struct vbd *, enum bus_state from, enum bus_state to);
/* The nonce of the connection that was served before a restart; or 0.
 * -errno of XenStore. */
int vbd_read_nonce(struct vbd *, uint64_t *nonce);

/* ---- resume.c ------------------------------------------------------------ */

struct front_ask;
/* The front-end can't be served as it was before the restart: it waits. */
void vbd_hold(struct vbd *, int error, const char *why);
bool vbd_held(struct vbd *);
/* What the front-end was told holds, also where the config says otherwise
 * now; false: it can't, and the vbd is held. */
bool vbd_promise(struct vbd *, struct front_ask *, struct chan_params *);

/* ---- error.c ------------------------------------------------------------- */

/* The sentence to error/... of this domain, where people look for it; also to
 * hotplug-error, for the script, when the medium can't be opened. */
void vbd_error_say(struct vbd *, int error, const char *why);
void vbd_error_hotplug(struct vbd *, const char *why);
void vbd_error_clear(struct vbd *);

/* ---- attach.c ------------------------------------------------------------ */

/* Takes away what xenbus_attach() made, or, in a driver domain, the back-end
 * directory that nobody else removed.  0 or -errno. */
int vbd_remove_nodes(struct vbd *);

#endif
