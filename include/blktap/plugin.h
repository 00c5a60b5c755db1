/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blktap/plugin.h: the whole contract between the engine and a plugin.
 *
 * A plugin is a module that exports one symbol, a const struct blk_plugin made
 * with BLK_PLUGIN(name).  A layer is one instance of it in the chain of one
 * disk.  Requests enter at the head of the chain, go down layer by layer, end
 * in the tail, and come up again.
 *
 * Threads: every function of a plugin and every blk_ function runs on the data
 * loop of its disk; only blk_work.work runs elsewhere.  Nothing here blocks.
 * No function of a plugin is ever called from inside a blk_ call, and done()
 * never before submit() has returned.
 *
 * Units: sizes, lengths and offsets are bytes; times are nanoseconds; errors
 * are 0 or -errno.
 *
 * The binary interface belongs to one version of blktapd: BLK_ABI must match
 * exactly.
 */
#ifndef BLKTAP_PLUGIN_H
#define BLKTAP_PLUGIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BLK_ABI 5

/* What a request asks for.  BLK_ZERO: the range reads back as zeroes.  BLK_MAP
 * comes to map() alone. */
enum blk_op {
    BLK_READ,
    BLK_WRITE,
    BLK_FLUSH,
    BLK_DISCARD,
    BLK_ZERO,
    BLK_OPS, /* how many a guest has */
    BLK_MAP = BLK_OPS
};
#define BLK_BIT(op) (1u << (op))
#define BLK_ALL_OPS (BLK_BIT(BLK_OPS) - 1)

/* BLK_FUA: durable when it ends.  BLK_UNMAP: a ZERO may free the space. */
enum blk_flag { BLK_FUA = 1, BLK_UNMAP = 2 };

struct blk_layer; /* one plugin in the chain of one disk; the engine's */
struct blk_out;   /* where command() and stats() write; the engine's */
struct blk_file;  /* an open file or block device; the host's */

/* A borrowed slice of a scatter list: skip bytes of v[0] are not ours.  It is
 * never copied and is valid until the request ends. */
struct blk_sg {
    struct iovec *v;
    uint32_t n, skip;
};

/* In done(), every field but error is as this layer sent the request down. */
struct blk_req {
    uint8_t op, flags;
    bool mine; /* came from this layer's blk_split() or blk_new() */
    int error; /* in done(): what the layers below say */
    uint32_t len;
    uint64_t off;
    struct blk_sg sg; /* READ and WRITE only; in a child maybe more than len */
    /* req_size bytes, zeroed as the request comes in, this layer's alone; the
     * pointer is here only while this layer holds the request. */
    void *scratch;
    struct blk_req *parent; /* of a blk_split() */
};

#define BLK_MEM_ALIGN 4096

/* Offered by the layer below; a layer edits them into what it offers. */
struct blk_limits {
    uint64_t size;          /* bytes, a multiple of align */
    uint32_t ops;           /* BLK_BITs that will be accepted */
    uint32_t align;         /* of offset and length; power of two, >= 512 */
    uint32_t block;         /* physical block of the medium; >= align */
    uint32_t max_len;       /* longest READ or WRITE; a multiple of align */
    uint32_t max_segs;      /* most entries of a scatter list */
    uint32_t mem_align;     /* of each iovec's base; power of two, at most
                             * BLK_MEM_ALIGN */
    uint32_t discard_align; /* granularity of DISCARD; 0: as block */
    uint64_t max_discard;   /* longest DISCARD or ZERO */
    bool readonly;          /* WRITE, DISCARD and ZERO are refused */
    bool volatile_cache;    /* a completed WRITE may be lost until FLUSH */
    bool fua;               /* BLK_FUA is honoured; else the engine emulates */
    bool fleeting;          /* what was written is gone with the attachment
                             * (blk_scratch()); a layer whose own data stay
                             * says false, and can't stand above one of these */
};

/* ---- options and counters: declared once, used by check, start, show, man */

enum blk_type {
    BLK_STRING, /* char *: never NULL once set; owned by the engine */
    BLK_PATH,   /* char *: an absolute path */
    BLK_BOOL,   /* bool */
    BLK_UINT,   /* uint64_t */
    BLK_SIZE,   /* uint64_t bytes; "4k", "10G" */
    BLK_TIME,   /* uint64_t ns; "5ms", "2s" */
    BLK_RATIO,  /* double, 0 to 1 */
    BLK_CHOICE  /* uint64_t: the index in choices[] */
};

/* One option of a plugin.  An array ends with an entry without a name. */
struct blk_option {
    const char *name; /* as in blktapd.conf, "like-this" */
    enum blk_type type;
    size_t at;            /* offsetof() in the plugin's self */
    const char *fallback; /* as text; NULL: zero, or none */
    bool required;
    uint64_t min, max;          /* of UINT, SIZE, TIME; both 0: any */
    const char *const *choices; /* of CHOICE; NULL-terminated */
    const char *help;           /* one line, without a full stop */
};

/* One counter: a uint64_t in self.  An array ends without a name. */
struct blk_counter {
    const char *name;
    size_t at;
    const char *unit; /* "requests", "bytes", "ns" */
    const char *help;
};

/* ---- what the daemon asks of a plugin by itself ---------------------------
 */

/* Commands that a plugin understands in these very words, and that more than a
 * person gives.  They begin something, and stats() tells the rest. */
enum blk_can {
    /* "resize BYTES": the layer has a size of its own, and it becomes this.
     * What is not done at once tells resizing_to, bytes, and so does stats()
     * until it is over; after one that failed resize_failed, a sentence. */
    BLK_CAN_RESIZE = 1,
    /* "commit": what the layer holds goes to what is below.  "commit status"
     * tells commit, a word: copying, paused, ready; failed (commit_failed says
     * why), none; and commit_done, commit_of and commit_copied, bytes.  "commit
     * pause", "resume" and "cancel".  "commit end WORD", when it is ready: from
     * then on a pause() succeeds only with all of it below and flushed, so that
     * the layer can be taken out, until "commit again WORD". */
    BLK_CAN_COMMIT = 2
};

/* An empty file that is to be an image with nothing in it. */
struct blk_overlay {
    int fd;        /* lent */
    uint64_t size; /* of the disk, bytes */
    /* The file with what it is over, as other programs are to find it, and the
     * name of its format; or NULL, both: it is to name none. */
    const char *backing, *format;
};

/* Of a plugin whose layers have files that other programs can read. */
struct blk_image {
    const char *format; /* its name, as in what is over such a file: "raw" */
    const char *path;   /* the option that names the file */
    /* The option that is set when the file itself tells, to others, what the
     * layer below holds; NULL: there is none.  A layer that is not the last
     * and has it not set is no disk for anybody else. */
    const char *backing;
    /* Makes that file; NULL: can't.  On a worker thread: may block.  The daemon
     * makes it durable, or removes it.  0 or -errno. */
    int (*overlay)(const struct blk_overlay *);
};

/* Where in a chain a plugin may stand.  BLK_EITHER: blk_last() tells. */
enum blk_place {
    BLK_MIDDLE, /* passes requests on: another layer must be below */
    BLK_TAIL,   /* ends every request: must be last in a chain */
    BLK_EITHER  /* ends them when it is last, else may pass them on */
};

/* ---- the plugin: its life cycle ------------------------------------------
 *
 *  1. The engine fills self from the options; check() may refuse (with no
 *     side effect: it is also what `blktapd -t` runs).
 *  2. start(): bottom up.  Asynchronous: ends in exactly one blk_ready().
 *     If it fails nothing else but free of self follows: undo what was done.
 *     old is the instance that this one replaces (paused), or NULL: take over
 *     from blk_self(old) what you like; if start succeeds, old is stopped.
 *     The layers below are there: requests of your own (blk_new) reach them,
 *     as blk_below() says; end them all before blk_ready().
 *  3. limits(): bottom up, after start and whenever limits changed.
 *  4. submit()/done()/kick()/map(): while the disk works.  A pause waits for
 *     maps, too; never is there more than one in a chain.
 *  5. drain(): top down, hold nothing back from now on.
 *  6. pause(): top down, once no guest request is left in the chain; write
 *     what you still hold in memory, end your own requests, then blk_ready().
 *     A layer that started but does not run yet, or that is paused, serves
 *     what a layer above it asks for in its start(): submit(), done() and
 *     kick() come, and blk_split() and blk_new() work while such a request is
 *     in the chain.  Hold none of them back, and leave none of your own.
 *     A pause that takes too long is given up: then resume() comes after
 *     drain() without pause(), and with requests in the chain.
 *  7. resume() (bottom up; blk_ready()), or stop() (top down; blk_ready()):
 *     free what start made.  Also right after start(), without a pause, when
 *     another layer of the same change could not start.  No requests of your
 *     own in stop(): what is below may already be another chain's.
 *
 * Every member may be left out (NULL) unless it says "required".
 */
struct blk_plugin {
    uint32_t abi;       /* required: BLK_ABI */
    uint32_t self_size; /* bytes of a layer's own state, zeroed */
    uint32_t req_size;  /* bytes of scratch per request */
    uint32_t own;       /* most requests of its own (split, new) at a time */
    uint32_t ops;       /* required: any op not named here is refused */
    uint8_t tail;       /* enum blk_place */
    bool transparent;   /* changes neither data nor addresses, and ends no write
                         * before the layer below has */
    bool back_end;      /* a tail whose data are another back-end's disk */
    const char *name;   /* required; as the module is called */
    const char *help;   /* required: one line, without a full stop */
    const struct blk_option *options;
    const struct blk_counter *counters;

    /* 0, or -errno and a sentence in why. */
    int (*check)(const void *self, char *why, size_t why_size);
    /* Of BLK_EITHER: whether this one may be last.  As check(). */
    int (*check_last)(const void *self, char *why, size_t why_size);

    void (*start)(struct blk_layer *, struct blk_layer *old);
    void (*pause)(struct blk_layer *);
    void (*resume)(struct blk_layer *);
    void (*stop)(struct blk_layer *);

    /* A layer that is handed a request ends its turn, now or later, in exactly
     * one blk_down(), blk_end() or blk_wait().  submit NULL: straight down;
     * done NULL: straight up. */
    void (*submit)(struct blk_layer *, struct blk_req *);
    void (*done)(struct blk_layer *, struct blk_req *);
    /* Where in [off, off + len) of a BLK_MAP are data: any number of
     * blk_map(), then, now or later, one blk_end(), blk_wait() or blk_down().
     * After blk_down(), off and len edited, the layers below go on with what
     * was not told yet, and it does not come back.  NULL: everything is data,
     * but for a transparent layer: what is below it tells.  It needs
     * submit(). */
    void (*map)(struct blk_layer *, struct blk_req *);

    void (*drain)(struct blk_layer *);
    void (*kick)(struct blk_layer *); /* a batch is over */
    void (*limits)(struct blk_layer *, struct blk_limits *);
    void (*stats)(struct blk_layer *, struct blk_out *);
    /* 0 or -errno; what it has to say, also why not, goes to out. */
    int (*command)(struct blk_layer *, int argc, char **argv, struct blk_out *);
    const char *commands; /* one line of usage per command, for help */
    uint32_t can;         /* enum blk_can; it needs command() and stats() */
    const struct blk_image *image;
};

/* What modules find in the daemon stays visible under -fvisibility=hidden. */
#pragma GCC visibility push(default)

/* ---- requests ------------------------------------------------------------ */

void blk_down(struct blk_layer *, struct blk_req *); /* edited: remapped */
void blk_end(struct blk_layer *, struct blk_req *, int error);
/* submit() is called again when this layer ended another request; those that
 * come meanwhile line up behind it. */
void blk_wait(struct blk_layer *, struct blk_req *);
/* A child over [at, at+len) of r; NULL when the pool is empty.  r goes up when
 * blk_end(r) was called and every child ended; the first error counts. */
struct blk_req *blk_split(struct blk_layer *, struct blk_req *r, uint32_t at,
                          uint32_t len);
/* A request of the layer's own; comes back in done() with mine set; ends with
 * blk_end().  NULL when the pool is empty, or it is not the time for it: see
 * the life cycle.  It must be as blk_below() says, and so must its memory,
 * which is the layer's own: bases aligned to mem_align (aligned_alloc() in
 * start(); BLK_MEM_ALIGN serves for whatever will ever be below), lengths too,
 * as far as there are more than one. */
struct blk_req *blk_new(struct blk_layer *, int op, uint64_t off, uint32_t len,
                        struct blk_sg);

/* BLK_ZEROES: for certain; else BLK_DATA is always right. */
enum blk_extent { BLK_DATA, BLK_ZEROES };
/* The next len bytes of a BLK_MAP that this layer holds, from off on; what is
 * beyond its end is left out.  What no layer tells is data.  A write of the
 * guest that is under way meanwhile may be in it or not.  False: no more is
 * wanted. */
bool blk_map(struct blk_layer *, struct blk_req *, uint64_t len,
             enum blk_extent);

/* Bytes between a scatter list and memory; return what was copied. */
size_t blk_sg_read(const struct blk_sg *, uint32_t at, void *to, size_t n);
size_t blk_sg_write(const struct blk_sg *, uint32_t at, const void *from,
                    size_t n);
size_t blk_sg_zero(const struct blk_sg *, uint32_t at, size_t n);

/* ---- the layer ----------------------------------------------------------- */

void *blk_self(struct blk_layer *);
const char *blk_name(struct blk_layer *); /* "disk/layer" */
const char *blk_disk_name(struct blk_layer *);
/* What the layer below offers (for a tail: all operations, nothing special,
 * and, to be on the safe side, a volatile cache). */
const struct blk_limits *blk_below(struct blk_layer *);
bool blk_last(struct blk_layer *);             /* there is no layer below */
bool blk_readonly(struct blk_layer *);         /* the vbd is read-only */
void blk_ready(struct blk_layer *, int error); /* start, pause, ... is over */
void blk_relimit(struct blk_layer *);          /* limits() has changed */
/* The sentence for a person that goes with the next blk_ready(error). */
void blk_why(struct blk_layer *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The disk can't go on: it is quarantined, with this sentence. */
void blk_fatal(struct blk_layer *, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* syslog(3) levels; a line is prefixed with "disk/layer: " and rate-limited. */
enum blk_level { BLK_ERR = 3, BLK_WARN = 4, BLK_INFO = 6, BLK_DEBUG = 7 };
void blk_log(struct blk_layer *, enum blk_level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A line of trace: like BLK_INFO, but not rate-limited. */
void blk_trace(struct blk_layer *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void blk_put_u64(struct blk_out *, const char *name, uint64_t);
void blk_put_str(struct blk_out *, const char *name, const char *);
void blk_printf(struct blk_out *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- services of the host: all through the door, so that the simulator sees
 * them.  Each struct is the caller's until its callback was called; data is
 * the caller's word.  Callbacks come from the loop, never from inside the
 * call that started them.  Fields named private_ are the host's. ------------
 */

uint64_t blk_now(struct blk_layer *);    /* monotonic, ns */
uint64_t blk_random(struct blk_layer *); /* from the seed, in simulation */

struct blk_timer {
    void (*fire)(struct blk_timer *);
    void *data;
    uint64_t private_[8];
};
void blk_timer_start(struct blk_layer *, struct blk_timer *, uint64_t after_ns);
void blk_timer_stop(struct blk_layer *, struct blk_timer *);

enum blk_file_flag {
    BLK_FILE_RDONLY = 1, /* opened O_RDONLY */
    BLK_FILE_DIRECT = 2, /* O_DIRECT where possible; info.direct tells */
    BLK_FILE_CREATE = 4, /* may create it */
    BLK_FILE_LOCK = 8,   /* OFD lock: exclusive, shared with RDONLY */
    BLK_FILE_TRUNC = 16,
    BLK_FILE_APPEND = 32,
    BLK_FILE_EXCL = 64 /* with CREATE: must not exist */
};

struct blk_file_info {
    uint64_t size;          /* bytes */
    uint32_t block;         /* logical block: alignment for O_DIRECT */
    uint32_t physical;      /* physical block */
    uint32_t mem_align;     /* of buffers, for O_DIRECT */
    uint32_t discard_align; /* granularity of PUNCH; 0: can't */
    bool device;            /* a block device */
    bool direct;            /* O_DIRECT is in force */
};

struct blk_open { /* open, stat */
    const char *path;
    uint32_t flags; /* enum blk_file_flag */
    mode_t mode;    /* with CREATE */
    void (*done)(struct blk_open *);
    void *data;
    int status; /* 0 or -errno; then why says it in a sentence */
    char why[240];
    struct blk_file *file;
    struct blk_file_info info;
    uint64_t private_[8];
};
void blk_file_open(struct blk_layer *, struct blk_open *);
void blk_file_stat(struct blk_layer *, struct blk_open *); /* file is set */
void blk_file_close(struct blk_layer *, struct blk_file *);

enum blk_io_op {
    BLK_IO_READ,
    BLK_IO_WRITE,
    BLK_IO_SYNC,    /* fdatasync: what was written is durable */
    BLK_IO_PUNCH,   /* deallocate; reads back as zeroes on a file */
    BLK_IO_ZERO,    /* write zeroes; keeps the space */
    BLK_IO_TRUNCATE /* set the size to off */
};

/* I/O on a file.  A short read past the end, or a short write, is an error of
 * the caller's to handle: status is the count of bytes, or -errno; of the
 * other operations it is 0, or -errno.  Writes are durable after a later
 * BLK_IO_SYNC.  All that was started in one round of the loop goes to the
 * kernel in one call. */
struct blk_io {
    enum blk_io_op op;
    bool fua; /* of a WRITE: durable when done (RWF_DSYNC) */
    struct blk_file *file;
    uint64_t off, len; /* len: sum of iov for READ and WRITE */
    const struct iovec *iov;
    uint32_t n;
    void (*done)(struct blk_io *);
    void *data;
    int64_t status;
    uint64_t private_[8];
};
void blk_io_start(struct blk_layer *, struct blk_io *);

struct blk_work {
    void (*work)(struct blk_work *); /* on a worker thread: may block */
    void (*done)(struct blk_work *);
    void *data;
    uint64_t private_[4];
};
void blk_work_start(struct blk_layer *, struct blk_work *);

/* Zeroed memory that has a descriptor, for a library that wants a file; none of
 * it is taken until it is touched.  0 or -errno. */
int blk_memory(struct blk_layer *, size_t len, void **addr, int *fd);
void blk_memory_free(struct blk_layer *, void *addr, size_t len, int fd);

/* What layers of this plugin have in common, on whichever loop of the daemon
 * they are: the object of this name, size bytes, the same for all.  The first
 * who asks makes it: zeroed, then begin() is called on it; the last who gives
 * it back ends it: end(), then it is freed.  begin and end may be NULL.  It is
 * used by several threads at once, so what changes in it needs a lock; begin
 * and end run alone, with a lock held: no blk_ call from them.  NULL: no
 * memory.  Each blk_share() wants one blk_unshare(), before stop() is over. */
void *blk_share(struct blk_layer *, const char *name, size_t size,
                void (*begin)(void *), void (*end)(void *));
void blk_unshare(struct blk_layer *, void *);
unsigned blk_sharers(struct blk_layer *, const void *); /* how many have it */

/* What stands at blk_scratch()'s path. */
enum blk_scratch {
    BLK_SCRATCH_NEW, /* nothing, or something that is not this layer's any
                      * more: make it anew */
    BLK_SCRATCH_ANY, /* this layer's file, or a part of it, or nothing */
    BLK_SCRATCH_OLD  /* this layer's file, which the guest wrote to: when it is
                      * not there, something is wrong */
};
/* The path of a file that is this layer's for as long as the disk is attached
 * to the guest that it is attached to now: it outlives this process, and is
 * removed when the guest has ended, or the disk was taken away from it.  In
 * start() alone; the layer makes, opens (with BLK_FILE_LOCK) and closes it.  A
 * layer that starts in place of `old' finds that one's file, if the names of
 * the two are equal, whatever *what says.  0, or -errno, with the sentence for
 * blk_ready() set. */
int blk_scratch(struct blk_layer *, char *path, size_t n,
                enum blk_scratch *what);

/* Random bytes, for a key, that are this layer's as long as blk_scratch()'s
 * path is: they outlive this process, are on no medium, and are wiped when the
 * attachment is over.  Their memory is locked and in no core dump, and stays
 * until stop() is over. */
enum { BLK_KEEP = 64 };
struct blk_keep {
    enum blk_scratch what; /* NEW: others than before; OLD: those of before */
    void (*done)(struct blk_keep *);
    void *data;
    int status; /* 0 or -errno; then why says it in a sentence */
    char why[240];
    const uint8_t *bytes; /* BLK_KEEP of them */
    bool made;            /* they are new */
    uint64_t private_[4];
};
/* In start() alone, while the layer has the lock of that file.  0, or -errno,
 * and why is set: then done() does not come. */
int blk_keep(struct blk_layer *, struct blk_keep *);

/* Memory for keys: never swapped out, in no core dump, wiped before it goes;
 * zeroed; whole pages.  NULL and errno: ENOMEM also when there is more of it
 * than may be locked (RLIMIT_MEMLOCK).  Any thread. */
void *blk_secret_map(size_t n);
void blk_secret_unmap(void *, size_t n); /* NULL: nothing */
/* An allocator for a library that keeps keys: such memory between begin and end
 * on the same thread, in pieces of up to 2 KiB (else NULL); other memory at
 * other times.  A library has one, and any module may set it: so it is the
 * daemon's. */
void blk_secret_begin(void);
void blk_secret_end(void);
void *blk_secret_malloc(size_t n, const char *file, int line);
void *blk_secret_realloc(void *, size_t n, const char *file, int line);
void blk_secret_free(void *, const char *file, int line);

/* events: POLLIN, POLLOUT of poll(2). */
struct blk_watch {
    int fd;
    short events;
    void (*ready)(struct blk_watch *, short events);
    void *data;
    uint64_t private_[8];
};
void blk_watch_start(struct blk_layer *, struct blk_watch *);
void blk_watch_stop(struct blk_layer *, struct blk_watch *);

/* Memory of a tail's for the data of guests' requests: what lies there it does
 * without a copy.  From get() to put() the range is whoever's asked for it; it
 * stays mapped until then, also when the layer that lent it is gone. */
struct blk_lender {
    /* len bytes in a row, aligned to BLK_MEM_ALIGN; NULL: not just now. */
    void *(*get)(struct blk_lender *, size_t len);
    void (*put)(struct blk_lender *, void *addr, size_t len);
};
/* In start() of a tail.  It is used while every layer above is transparent: of
 * what another one makes of the data, those who see this memory too must see
 * nothing, and nothing of what it has checked may change under it. */
void blk_lend(struct blk_layer *, struct blk_lender *);

/* For the tail vbd: the fronts of this loop, see src/front/front.h; NULL where
 * there is no Xen. */
struct fronts;
struct fronts *blk_fronts(struct blk_layer *);

#pragma GCC visibility pop

/* The one symbol of a module; with BLK_STATIC, one of many in a program. */
#ifdef BLK_STATIC
#define BLK_PLUGIN(name)                              \
    extern const struct blk_plugin blk_plugin_##name; \
    const struct blk_plugin blk_plugin_##name
#else
#define BLK_PLUGIN(name)                       \
    extern const struct blk_plugin blk_plugin; \
    __attribute__((visibility("default"))) const struct blk_plugin blk_plugin
#endif

#ifdef __cplusplus
}
#endif
#endif
