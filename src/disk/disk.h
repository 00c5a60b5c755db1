/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk.h: a disk: a chain, and at most one front-end connected to it.
 *
 * A disk has two halves.  This header is the half on the control loop; the
 * other half (channel, head, chain) lives on a data loop and is reached by
 * mail.  Steps that take time end in one callback on the control loop.  Steps
 * are asked for in any order and at any time: each callback comes once, in the
 * order of the calls.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include <json-c/json.h>

#include "chain/chain.h"
#include "channel/chan.h"
#include "config/config.h"
#include "host/host.h"

struct disks; /* all disks, and the data loops they live on */
struct disk;

/* status: 0 or -errno; why: one sentence when not 0. */
/* The disk is NULL when it was closing already (-ESHUTDOWN). */
typedef void disk_fn(void *ctx, struct disk *, int status, const char *why);

/* What the owner (a vbd, a local connection) is told unasked. */
struct disk_owner {
    /* The medium's size changed. */
    void (*resized)(void *ctx, struct disk *);
    /* The front-end broke the ring: the disk is quarantined, with the reason,
     * and its ring will not be looked at any more. */
    void (*failed)(void *ctx, struct disk *, const char *why);
    /* The config's part for this disk changed in a way that needs the
     * front-end to connect again. */
    void (*reconnect)(void *ctx, struct disk *);
    /* The disk failed: it is quarantined, with the reason.  Its ring is served
     * on, each request with an error.  NULL: as failed. */
    void (*stopped)(void *ctx, struct disk *, const char *why);
    /* It was stopped, and goes on.  May be NULL. */
    void (*recovered)(void *ctx, struct disk *);
};

/* Who is at the other end, for `list` and messages. */
struct disk_front {
    const char *kind; /* "xen", "local" */
    const char *vm;   /* name of the guest, or of the local process */
    const char *vdev;
    uint32_t domid;
    char path[128]; /* back-end directory, or "" */
    /* A name that this attachment alone has, and keeps over restarts of the
     * daemon; "": it has none; see blk_scratch(). */
    char attachment[128];
    bool used; /* the front-end may have written to it before */
};

/* Opens the chain.  conf is ref'd.  readonly: the vbd's mode.  opened is
 * called once; on failure the disk must still be closed.  -EBUSY (at once) when
 * another front-end has the disk of that name, with why. */
int disk_open(struct disk **, struct disks *, struct conf *,
              const struct conf_disk *, bool readonly,
              const struct disk_front *, const struct disk_owner *, void *ctx,
              disk_fn *opened, char *why, size_t n);
/* What to publish; valid after opened(0). */
const struct blk_limits *disk_limits(const struct disk *);
const struct conf_disk *disk_conf(const struct disk *);
bool disk_readonly(const struct disk *);
const struct disk_front *disk_front(const struct disk *);
/* A front-end is there: map, bind, serve.  share: of a local one, else NULL;
 * size, align, readonly, discard and the like are filled in by the disk. */
void disk_connect(struct disk *, const struct chan_params *,
                  const struct local_share *, disk_fn *connected);
/* Stop taking requests, end those in flight, give the ring back. */
void disk_disconnect(struct disk *, disk_fn *disconnected);
/* Disconnect, stop the chain, forget.  The disk is gone when closed() is
 * called (may be NULL). */
void disk_close(struct disk *, disk_fn *closed);
/* The same, but the front-end stays, for the next process to go on with: so
 * does the in-flight table, which says where. */
void disk_leave(struct disk *, disk_fn *closed);

/* ---- all disks ----------------------------------------------------------- */

/* Under this key the table has no requests, but keys of layers: it must not be
 * in a file that any medium has. */
#define DISKS_KEYS "keys"

struct disks_events {
    void (*event)(void *ctx, const char *what, const char *disk,
                  const char *detail);
    /* An in-flight table to keep beyond this process's death, under key, in
     * place of any other of that key; fd is only lent; -1: none any longer.
     * May be NULL. */
    void (*table)(void *ctx, const char *key, int fd);
    /* An empty file to make the table of key in, where the fd alone would not
     * be kept; the caller's; or -1: a memfd will do.  May be NULL. */
    int (*room)(void *ctx, const char *key);
    /* A disk was closed: its attachment is over, perhaps.  May be NULL. */
    void (*closed)(void *ctx);
};

int disks_new(struct disks **, struct loop *control, struct loop *const *data,
              struct sweep *const *sweeps, unsigned loops,
              const struct disks_events *, void *ctx);
/* All closed. */
void disks_free(struct disks *);
/* How long requests may take to end before a change of a chain, or a pause, is
 * given up with -ETIMEDOUT, and the disk goes on as it was; for those that are
 * asked for from now on.  0, as at the beginning: without limit. */
void disks_drain(struct disks *, uint64_t ns);
/* A table that an earlier process kept; takes over fd.  Before any disk is
 * opened.  0 or -ENOMEM: then that disk's guest would wait for ever. */
int disks_inherit(struct disks *, const char *key, int fd);
/* Those of them that no disk has come for are forgotten when gone() says that
 * what they are of is no longer there. */
void disks_sift_tables(struct disks *, bool (*gone)(void *ctx, const char *key),
                       void *ctx);
/* For the data loops' commons, as long as disks is there. */
struct keeper *disks_keeper(struct disks *);
/* What layers had for attachments that are over() is wiped. */
void disks_sift_keys(struct disks *,
                     bool (*over)(void *ctx, const char *attachment),
                     void *ctx);
/* Another tree: disks whose chain changed get it live (chain_replace), others
 * are not touched; done when all is as the new tree says, or the sentence of
 * the first that could not be changed (it keeps its old chain). */
void disks_reload(struct disks *, struct conf *,
                  void (*done)(void *ctx, int status, const char *why),
                  void *ctx);
/* One disk gets the chain that cd has, of another tree, live.  switched is
 * called between: the new chain has not taken a request yet and the old one
 * will not any more; what must be known after a kill is written down there.
 * took_ns: how long the front-end's requests waited.  -EBUSY while another
 * change or a reload is at work. */
typedef void rechain_fn(void *ctx, int status, const char *why,
                        uint64_t took_ns);
void disks_rechain(struct disks *, struct disk *, struct conf *,
                   const struct conf_disk *cd, void (*switched)(void *ctx),
                   rechain_fn *done, void *ctx);
/* An open disk by name; NULL: not open. */
struct disk *disks_find(struct disks *, const char *name);
void disks_each(struct disks *, void (*cb)(void *, struct disk *), void *ctx);
unsigned disks_count(const struct disks *);
/* A number that no other attachment has. */
uint64_t disks_random(const struct disks *);
/* cb once, from the loop or at once, when no disk is left. */
void disks_quiet(struct disks *, void (*cb)(void *), void *ctx);

/* What a person sees, made at once from what the control half knows. */
struct json_object *disk_brief(const struct disk *);
/* Everything, with statistics of channel and layers: asks the data loop. */
void disk_show(struct disk *, void (*done)(void *ctx, struct json_object *),
               void *ctx);
void disk_pause(struct disk *, disk_fn *done, void *ctx);
void disk_resume(struct disk *, disk_fn *done, void *ctx);
/* Has a quarantined disk go on with its ring and a new chain.  -EINVAL: it is
 * not quarantined; -EPROTO: its ring is broken, which only the front-end mends,
 * by connecting again.  When the new chain can't be made it stays quarantined,
 * with that reason, and may be asked again. */
void disk_recover(struct disk *, disk_fn *done, void *ctx);
/* A layer's command; out: its text. */
void disk_command(struct disk *, const char *layer, int argc,
                  const char *const *argv,
                  void (*done)(void *ctx, int status, struct json_object *out),
                  void *ctx);

/* Which bytes of a disk, and in how many extents at most they are told. */
struct disk_range {
    uint64_t off, len;
    unsigned extents; /* 1 to DISK_EXTENTS */
};
enum { DISK_EXTENTS = 1024 };
/* Where it has data, from off on:
 *   size     of the disk, bytes
 *   extents  [{offset, length, zero}, ...], without a gap
 *   next     where they end: maybe before the range does
 *   unknown  bytes of which no layer could tell, so that they are data
 * It takes as long as a read does.  why is NULL when status is 0; map is the
 * receiver's. */
typedef void disk_map_fn(void *ctx, int status, const char *why,
                         struct json_object *map);
void disk_map(struct disk *, const struct disk_range *, disk_map_fn *done,
              void *ctx);

#endif
