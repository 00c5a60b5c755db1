/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2.h: what the files of the plugin share.
 *
 *   qcow2.c    options, limits, numbers        open.c    start: file to tables
 *   header.c   judges the header               tables.c  what is kept in memory
 *   image.c    I/O on the file, syncs          mend.c    counts references anew
 *   cache.c    pieces of tables in memory      pause.c   a clean end
 *   map.c      guest offset to host offset     rw.c      requests
 *   lock.c     who may change which clusters   fetch.c   reading
 *   alloc.c    takes free clusters             write.c   writing new clusters
 *   free.c     gives them back                 range.c   discard and zero
 *   grow.c     more room for refcounts         unpack.c  compressed clusters
 *   commit.c   L2 entries change, in batches   status.c  where data are
 *   resize.c   the disk becomes larger         ephemeral.c  a disposable image
 *   fold.c     all of it goes to the layer below; fold_ask.c: asked for
 *   data.c     guest clusters in a file of their own
 *   corrupt.c  writes the header, also that it is corrupt
 *   sealed.c   guest clusters, encrypted
 *
 * What makes it safe at any moment (see commit.c):
 *
 *   1. data, refcounts and new tables are written;
 *   2. the file is synced;
 *   3. L2 and L1 entries that point to them are written; the guest's request
 *      ends: nothing that it was told is only in our memory;
 *   4. after another sync, what the old entries pointed to is free.
 *
 * So a crash can leave a cluster that nobody uses, but never one that is used
 * and counts as free.  A bit in the header (dirty) says so to the next open,
 * which counts anew.
 */
#ifndef PLUGINS_QCOW2_QCOW2_H
#define PLUGINS_QCOW2_QCOW2_H

#include "blktap/plugin.h"
#include "plugins/qcow2/format.h"
#include "plugins/qcow2/image.h"
#include "plugins/qcow2/sealed.h"
#include "plugins/qcow2/wait.h"

/* ---- tables in memory (cache.c) ------------------------------------------ */

enum q2_table_state { Q2_TABLE_FREE, Q2_TABLE_LOADING, Q2_TABLE_READY };

/* A piece of a table, of cache.size bytes. */
struct q2_table {
    struct q2_io io; /* first: found from it */
    struct q2_cache *cache;
    struct q2_table *hash, *newer, *older;
    uint64_t at; /* in the file */
    uint8_t *data;
    unsigned pins;
    enum q2_table_state state;
    bool dirty, writing;
    bool stale;              /* what is being loaded is no longer true */
    struct q2_queue waiters; /* for loading */
};

struct q2_cache {
    struct qcow2 *s;
    struct q2_table *table, **bucket;
    struct q2_table *newest, *oldest;
    uint8_t *memory;
    unsigned n, buckets;
    uint32_t size;
    unsigned dirty;
    struct q2_queue starved; /* all are in use */
    uint64_t hits, misses;
};

int q2_cache_init(struct q2_cache *, struct qcow2 *, uint64_t bytes,
                  uint32_t size);
void q2_cache_free(struct q2_cache *);
/* The table that begins at this offset, pinned; NULL: the wait is queued. */
struct q2_table *q2_cache_get(struct q2_cache *, uint64_t at, struct q2_wait *);
/* Whether get could find or make room for it now. */
bool q2_cache_room(struct q2_cache *, uint64_t at);
void q2_cache_put(struct q2_table *);
void q2_cache_dirty(struct q2_table *);
/* What was read of this part of the file is no longer true. */
void q2_cache_drop(struct q2_cache *, uint64_t at, uint64_t len);
/* Writes all that is dirty; one at a time may ask. */
struct q2_store {
    struct q2_cache *cache;
    unsigned out;
    int error;
    void (*done)(struct q2_store *, int error);
    void *data;
};
void q2_cache_store(struct q2_cache *, struct q2_store *);

/* ---- guest offset to host offset (map.c) --------------------------------- */

/* From a guest offset on, len bytes are alike. */
struct q2_run {
    enum q2_kind kind;
    bool owned;    /* of DATA: may be written in place */
    uint64_t host; /* of DATA: where; of PACKED: the entry */
    uint64_t len;
};

/* The piece of the L2 table for a guest offset, pinned, in *t.  *t NULL: there
 * is no table (return 0), or the wait was queued (-EAGAIN); else an error. */
int q2_map_get(struct qcow2 *, uint64_t off, struct q2_table **t,
               struct q2_wait *);
/* t as q2_map_get() left it; at most len bytes. */
int q2_map_run(struct qcow2 *, const struct q2_table *t, uint64_t off,
               uint64_t len, struct q2_run *);
uint64_t q2_map_entry(const struct qcow2 *, const struct q2_table *,
                      uint64_t off);
/* Where the piece of an L2 table that has off ends, as a guest offset. */
uint64_t q2_map_end(const struct qcow2 *, uint64_t off);
/* The host clusters of a packed entry. */
void q2_map_packed(const struct qcow2 *, uint64_t entry, uint64_t *at,
                   uint64_t *len);

/* Makes sure that there is an L2 table for off that nobody else uses. */
struct q2_own {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    uint64_t off;
    struct q2_wait *then;
};

/* 0: there is; -EAGAIN: then->go() comes, maybe at once. */
int q2_own(struct qcow2 *, struct q2_own *, uint64_t off, struct q2_wait *then);

enum { Q2_L1_DIRTY = 1024 }; /* more than there are requests at a time */

/* An entry of L1 that differs from the medium's. */
struct q2_l1_dirty {
    uint32_t index;
    uint64_t old; /* the table that it no longer points to; 0: none */
};

/* ---- free clusters (alloc.c, free.c, grow.c) ----------------------------- */

struct q2_alloc {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    uint64_t want;
    uint64_t first, got; /* clusters */
    bool fresh;          /* never written: reads as zeroes */
    void (*done)(struct q2_alloc *, int error);
    void *data;
    struct q2_store store;
};

/* The one that makes a table just now: allocates, fills it (with zeroes, or as
 * the one that a snapshot shares), and notes the entry of L1 for the next
 * commit. */
struct q2_owning {
    struct q2_alloc alloc;
    struct q2_io io;
    struct q2_own *own;
    uint32_t index;
    uint64_t old;
    uint8_t *memory; /* a cluster */
};

/* got becomes 1 to want; their refcounts are 1, in memory. */
void q2_alloc(struct q2_alloc *);
/* The counters for cluster `first` have no block: makes one.  The caller
 * holds the gate. */
void q2_grow(struct qcow2 *, uint64_t first, struct q2_wait *then);
int q2_grow_init(struct qcow2 *);
void q2_grow_free(struct qcow2 *);
/* What must never be given away, whatever the counters say. */
bool q2_is_fixed(const struct qcow2 *, uint64_t first, uint64_t n);

/* Where the block is that has the counters number block * ref_per_block on; 0:
 * there is none. */
uint64_t q2_block_at(const struct qcow2 *, uint64_t block);
/* The piece with the counter of this cluster, of the block at that place,
 * pinned; *i: its index there.  NULL: w->go() comes, or the store is over. */
struct q2_table *q2_counter_get(struct qcow2 *, uint64_t block,
                                uint64_t cluster, uint64_t *i, struct q2_wait *,
                                struct q2_store *);

/* Whether a cluster that nobody uses any more stays the file's. */
enum q2_space { Q2_KEEP, Q2_GIVE_BACK };

/* Clusters to be counted down once sync number `after` is over. */
struct q2_free {
    uint64_t first, n, after;
    enum q2_space space;
};
enum { Q2_FREES = 4096 };

struct q2_frees {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    struct q2_free *ring;
    unsigned head, n;
    bool working;
    struct q2_queue idle; /* wait for what is ready to be worked off */
    struct q2_store store;
    struct blk_io io;
    uint64_t hole, hole_n; /* clusters, to be given back */
    uint64_t lost; /* clusters that could not be noted: leaks until a mend */
};

/* Notes them. */
void q2_free(struct qcow2 *, uint64_t first, uint64_t n, uint64_t after,
             enum q2_space);
void q2_frees_run(struct qcow2 *);

/* ---- L2 entries change (commit.c) ---------------------------------------- */

enum q2_link_kind { Q2_LINK_DATA, Q2_LINK_ZERO, Q2_LINK_NONE };

struct q2_link {
    struct q2_link *next;
    struct q2_table *table; /* pinned by the caller */
    uint64_t off;           /* of the first guest cluster */
    uint32_t n;             /* clusters, all in table */
    enum q2_link_kind kind;
    enum q2_space space; /* of what it sets free */
    uint64_t first;      /* host cluster, of DATA */
    bool linked;         /* entries were changed, maybe not on the medium */
    void (*done)(struct q2_link *, int error);
    void *data;
};

struct q2_commit {
    struct q2_link *queue, **tail; /* wait for the next batch */
    struct q2_link *batch;
    bool running;
    bool full;    /* waits for room to note what becomes free */
    bool syncing; /* and for the sync that makes it */
    bool changed; /* this batch changed entries in memory */
    bool ahead;   /* entries in memory could not be written */
    bool settling;
    struct q2_link settle;   /* an empty one, that writes them */
    struct q2_queue settled; /* wait for it */
    struct q2_queue idle;    /* wait until nothing runs */
    struct q2_wait wait;
    struct q2_io io;
    struct q2_store store;
    struct q2_free *old; /* what the batch sets free */
    unsigned old_n;
    uint32_t l1_n; /* entries of s->l1_dirty that go with this batch */
    uint32_t l1_cursor;
};

int q2_commit_init(struct qcow2 *);
void q2_commit_free(struct qcow2 *);
void q2_commit(struct qcow2 *, struct q2_link *);
void q2_commit_kick(struct qcow2 *);
/* No request may end on the word of an entry that is in memory alone: not a
 * write in place, nor one that finds nothing to do.  0: the medium has them
 * all; -EAGAIN: then->go() comes, once they are written or could not be. */
int q2_settle(struct qcow2 *, struct q2_wait *then);
/* The same, and nobody waits. */
void q2_settle_begin(struct qcow2 *);

/* ---- requests ------------------------------------------------------------ */

enum { Q2_IOV = 128 };

/* Reads guest bytes into memory; also the old bytes of a changed cluster. */
struct q2_fetch {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    uint64_t off;
    uint32_t len, at, piece;
    struct blk_sg sg;
    void (*done)(struct q2_fetch *, int error);
    void *data;
    struct q2_run run;
    struct q2_io io;
    struct q2_unpack *unpack;
    struct iovec v[Q2_IOV];
};

void q2_fetch(struct q2_fetch *);
/* One of our requests below ended. */
void q2_fetch_below(struct q2_fetch *, int error);

/* Memory for the parts of clusters that a write leaves as they were. */
struct q2_bounce {
    struct q2_bounce *next;
    uint8_t *head, *tail; /* a cluster each */
    struct iovec head_v, tail_v;
};

struct q2_write {
    struct q2_table *table;
    struct q2_bounce *bounce;
    struct q2_alloc alloc;
    struct q2_link link;
    struct q2_own own;
    uint32_t skip, tail; /* old bytes before and behind the piece */
    bool sparse;         /* of the old bytes nothing has to be written */
    bool head_there, tail_there;
    bool whole;      /* one fetch for both, with what is between them */
    uint8_t *behind; /* the old bytes behind the piece, in bounce */
    uint32_t erased; /* of the piece, in a data file */
};

enum { Q2_WRITE_MAX = 4 << 20 }; /* bytes of a piece */

/* The scratch of a request; of one of ours it only says whose it is. */
struct q2_req {
    struct q2_wait wait; /* first */
    struct qcow2 *s;
    struct blk_req *req;
    struct q2_fetch *owner; /* of one of ours */
    uint32_t at, piece;
    uint32_t until; /* what is written in one way ends here */
    struct q2_lock lock;
    struct q2_io io;
    struct q2_fetch fetch; /* and its v, when nothing is fetched */
    struct q2_write w;
};

void q2_submit(struct blk_layer *, struct blk_req *);
void q2_done(struct blk_layer *, struct blk_req *);
void q2_status(struct blk_layer *, struct blk_req *); /* status.c */
void q2_req_end(struct q2_req *, int error);
/* The piece is over, or, with an error, the request: table and lock go. */
void q2_piece_over(struct q2_req *, int error);
/* len bytes of the request's list from its byte `at` on, into v. */
uint32_t q2_iov_slice(const struct blk_sg *, uint32_t at, uint32_t len,
                      struct iovec *v, uint32_t max);
/* A piece of zeroes instead of a list. */
uint32_t q2_iov_zeroes(struct qcow2 *, uint32_t len, struct iovec *v,
                       uint32_t max);

/* Writes to clusters that must be new; the lock is held, exclusively. */
void q2_write_new(struct q2_req *);
/* The next piece of a DISCARD, or of a ZERO that is whole clusters.  0: it is
 * over, without a change: a long range must not be as many calls deep;
 * -EAGAIN: q2_piece_over() comes; else an error. */
int q2_range(struct q2_req *);

/* A compressed cluster being read. */
struct q2_unpack {
    struct q2_unpack *next;
    struct blk_work work;
    struct q2_io io;
    struct qcow2 *s;
    uint8_t *in, *out;
    uint32_t in_skip, in_len; /* where the packed bytes begin */
    uint32_t cluster, compression;
    int error;
    struct q2_fetch *fetch;
    uint64_t entry;
};

int q2_unpack_init(struct qcow2 *);
void q2_unpack_free(struct qcow2 *);
/* NULL: none is free now, the wait is queued. */
struct q2_unpack *q2_unpack_get(struct qcow2 *, struct q2_wait *);
void q2_unpack_put(struct qcow2 *, struct q2_unpack *);
/* Reads and unpacks; then f's wait goes on with the result in u->out. */
void q2_unpack_start(struct q2_unpack *, struct q2_fetch *, uint64_t entry);
/* Pure: 0 or -EIO. */
int q2_unpack_bytes(unsigned compression, const uint8_t *in, uint32_t n,
                    uint8_t *out, uint32_t cluster);

/* ---- the layer ----------------------------------------------------------- */

enum q2_direct { Q2_DIRECT_AUTO, Q2_DIRECT_ON, Q2_DIRECT_OFF };

struct qcow2 {
    char *path, *backing, *data_file; /* the options */
    uint64_t direct, cache_size;
    bool lock, ephemeral, encrypt;

    struct blk_layer *layer;
    struct q2_image *image;
    struct q2_header h;
    uint32_t cluster, cluster_bits, entry_size, sub;
    uint64_t size;       /* of the disk */
    uint64_t below_size; /* 0: nothing is below */
    uint32_t align;      /* that is offered */
    uint8_t *head;       /* the first cluster, as on the medium */
    uint32_t head_len;   /* of it that is written as one */

    uint64_t *l1;       /* entries, as we use them */
    uint8_t *l1_medium; /* the table as on the medium */
    struct q2_l1_dirty *l1_dirty;
    uint32_t l1_dirty_n;
    uint8_t *reftable; /* as on the medium */
    uint64_t reftable_n;
    uint64_t ref_per_block; /* counters in a block */

    struct q2_cache l2, refs;
    struct q2_gate alloc_gate, own_gate;
    uint64_t cursor; /* no cluster before it is free */
    uint64_t fresh;  /* no cluster from it on was ever written */
    struct q2_frees frees;
    struct q2_commit commit;
    struct q2_lock *locks, **locks_tail;

    uint64_t sync_started, sync_done; /* numbers of syncs */
    bool marked;                      /* the header says dirty */
    bool corrupt;

    struct q2_bounce *bounces, *bounce_free;
    uint8_t *bounce_memory;
    struct q2_queue bounce_wait, own_wait;
    struct q2_unpack *unpacks, *unpack_free;
    uint8_t *unpack_memory;
    struct q2_queue unpack_wait;
    uint8_t *zeroes; /* Q2_ZEROES bytes */

    struct q2_open *opening;
    struct q2_mend *mending;
    struct q2_pause *pausing;
    struct q2_growing *growing;
    struct q2_owning *owning;
    struct q2_resize *resizing;
    struct q2_fold *folding;
    struct q2_ruin *ruin;

    /* counters */
    uint64_t allocated, copied, unpacked, freed, commits, batched, tables;
    uint64_t syncs, mended, leaked, full, punched;
    uint64_t full_ns; /* when that was last logged; 0: never */
};
enum { Q2_ZEROES = 64 << 10 };

/* ---- a data file (data.c) ------------------------------------------------ */

/* Guest clusters are in a file of their own, at the offset that the guest has
 * them at; nothing counts them, and an entry says only whether they are
 * there. */
static inline bool
q2_is_apart(const struct qcow2 *s)
{
    return s->h.incompatible & Q2_DATA_FILE;
}

/* And that file is the disk, for whoever does not read the image: what is not
 * there is zeroes in it. */
static inline bool
q2_is_raw(const struct qcow2 *s)
{
    return q2_is_apart(s) && (s->h.autoclear & Q2_RAW_DATA);
}

/* What the configuration and the header say; 0, or -errno and a sentence. */
int q2_data_judge(const struct qcow2 *, char *why, size_t n);
/* It is opened, or measured anew when it is open; then the tables are read. */
void q2_data_open(struct qcow2 *);
/* What of a request's piece is in the data file becomes zeroes there.  0: it
 * is; -EAGAIN: q->wait.go() comes; else an error. */
int q2_data_erase(struct q2_req *);

/* ---- life (open.c, mend.c, pause.c) ---------------------------------------
 */

void q2_start(struct blk_layer *, struct blk_layer *old);

/* While it is being opened. */
struct q2_open {
    struct qcow2 *s;
    struct blk_open open;
    struct blk_timer again;
    struct q2_io io;
    uint8_t *first; /* the first bytes */
    unsigned tries;
    bool buffered; /* direct I/O is not for this image */
    bool data_buffered;
    /* ephemeral: */
    enum blk_scratch scratch; /* what stands at the path */
    uint8_t *blank;           /* Q2_BLANK_BYTES, while one is made */
    uint64_t length;          /* of it */
    struct blk_keep keep;     /* its key */
};
/* start() is over; on an error all is freed.  refuse: with a sentence. */
void q2_open_over(struct qcow2 *, int error);
void q2_open_refuse(struct qcow2 *, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* True: somebody has its lock, and again() comes in a while. */
bool q2_open_again(struct qcow2 *, void (*again)(struct blk_timer *));
/* With the file open: from its first bytes on. */
void q2_open_read(struct qcow2 *);
/* ephemeral.c: the path, and what is at it; 0, or it was refused. */
int q2_ephemeral_find(struct qcow2 *, struct blk_layer *old);
/* It was to be there, and is not: refuses. */
void q2_ephemeral_lost(struct qcow2 *);
/* Whether the file that is open is to become one first; if so it does, and then
 * q2_open_read(). */
bool q2_ephemeral_make(struct qcow2 *);
/* There is one that nobody can have written to: another is made. */
void q2_ephemeral_again(struct qcow2 *);
/* It goes on, with the key. */
void q2_ephemeral_sealed(struct qcow2 *);
/* The header is judged: what else it takes. */
void q2_open_tables(struct qcow2 *);
/* 0 or -ENOMEM. */
int q2_tables_memory(struct qcow2 *);
/* Reads and judges them, and has them mended; then q2_open_over(). */
void q2_tables_read(struct qcow2 *);
void q2_release(struct qcow2 *); /* all that start() made */
void q2_pause(struct blk_layer *);
void q2_pause_on(struct qcow2 *);
int q2_pause_init(struct qcow2 *);
/* Counts all references anew and puts every counter right; then done(). */
void q2_mend(struct qcow2 *, void (*done)(struct qcow2 *, int error));

/* ---- corrupt (corrupt.c) ------------------------------------------------- */

/* Writes the header as it is in memory; one at a time. */
void q2_header_write(struct qcow2 *, struct q2_io *);
/* Metadata that can't be true were found: the disk ends, and the header will
 * say so.  -EUCLEAN. */
int q2_corrupt(struct qcow2 *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Which of two things the header says is not known: the disk ends. */
void q2_undecided(struct qcow2 *);
/* True: the header is being marked, and w->go() comes when that is over. */
bool q2_ruin_waits(struct qcow2 *, struct q2_wait *);
void q2_stop(struct blk_layer *);
int q2_ruin_init(struct qcow2 *);
void q2_ruin_free(struct qcow2 *);

/* ---- a larger disk (resize.c) -------------------------------------------- */

int q2_resize_init(struct qcow2 *);
void q2_resize_free(struct qcow2 *);
/* A pause will do it, soon.  0, or -errno; out has a sentence. */
int q2_resize_ask(struct qcow2 *, uint64_t size, struct blk_out *);
bool q2_resize_wanted(const struct qcow2 *);
/* The image is marked; every entry of L1 is on the medium; nothing runs.  It
 * is done, or could not be, and that was told. */
void q2_resize(struct qcow2 *, void (*done)(struct qcow2 *));
void q2_resize_fails(struct qcow2 *, int error, void (*done)(struct qcow2 *));
void q2_resize_show(const struct qcow2 *, struct blk_out *);

/* ---- folded into the layer below (fold.c, fold_ask.c) -------------------- */

struct q2_fold;

int q2_fold_init(struct qcow2 *);
void q2_fold_free(struct qcow2 *);
/* The words after "commit"; 0, or -errno; out has a sentence. */
int q2_fold_command(struct qcow2 *, int argc, char **argv, struct blk_out *);
void q2_fold_show(const struct qcow2 *, struct blk_out *);
bool q2_fold_told(const struct qcow2 *); /* there is or was one */
bool q2_fold_running(const struct qcow2 *);
/* A write, a zero or a discard of a guest ended, and its lock is gone.  True:
 * it is ended later, once that is below, too. */
bool q2_fold_waits(struct q2_req *, int error);
/* A request of our own that no fetch made ended. */
void q2_fold_below(struct q2_fold *, int error);
/* True: q2_pause_on() comes later, or blk_ready() with an error. */
bool q2_fold_pause(struct qcow2 *);
void q2_fold_resume(struct qcow2 *);

/* The header says dirty from now on.  0; -EAGAIN: then->go() comes;
 * else an error. */
int q2_mark(struct qcow2 *, struct q2_wait *then);

#endif
