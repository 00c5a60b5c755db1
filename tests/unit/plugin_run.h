/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plugin_run.h: one chain on a real loop, driven by a test, without a daemon.
 *
 * The plugins are the modules as they are built; the engine and the host are
 * the real ones.  Between the engine and the host stands the test's own door:
 * it can let I/O fail, come short, or wait, and makes the random numbers from
 * a seed.
 *
 *     RUN(r, "error op=write every=3 | file path=%s direct=off", path);
 *     CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
 *     run_close(&r);
 */
#ifndef TESTS_UNIT_PLUGIN_RUN_H
#define TESTS_UNIT_PLUGIN_RUN_H

#include "chain/chain.h"
#include "host/host.h"
#include "host/sim.h"
#include "tests/test.h"

enum { RUN_DEPTH = 32, RUN_LAYERS = 8, RUN_WORDS = 16, RUN_HELD = 64 };
enum run_mode { RUN_READWRITE, RUN_READONLY };

/* A chain as text, taken apart. */
struct run_spec {
    char *text;
    struct chain_spec spec;
    struct blk_conf layer[RUN_LAYERS];
    struct blk_kv kv[RUN_LAYERS][RUN_WORDS];
};

struct run {
    struct run *next; /* of those that are open */
    struct loop *loop;
    const struct loop_ops *real; /* of the host */
    struct loop_ops ops;         /* ours, over it */
    struct chain *chain;
    enum run_mode mode;
    char why[512]; /* of the last step that failed */
    bool over;     /* the step under way is over */
    int status;    /* its result */
    unsigned relimits, fatals, timers;
    char fatal[256];
    /* Set before run_open(). */
    uint64_t seed;
    bool no_uring;          /* workers do the I/O */
    struct sim *sim;        /* not NULL: a loop of this world, in its time */
    const char *attachment; /* the chain_spec's */
    bool resumed;
    void (*looped)(struct run *); /* called when there is a loop */
    /* Asked for each I/O: 0: the host does it; else it ends with this status,
     * or, RUN_SHORT, the host does but the first part; RUN_HOLD: it waits for
     * run_release(). */
    int (*fault)(struct run *, struct blk_io *);
    struct blk_io *held[RUN_HELD];
    unsigned helds;
    struct iovec shorter[RUN_HELD]; /* in turn, more than are in flight */
    unsigned shorts;
};
enum { RUN_SHORT = 1, RUN_HOLD = 2 };

/* A request that goes on its own. */
struct run_io {
    uint8_t op, flags;
    uint64_t off;
    uint32_t len, segs; /* segs 0: one */
    uint32_t step;      /* length of all segments but the last; 0: equal */
    uint8_t *buf;
    void (*after)(struct run_io *); /* may start it again; may be NULL */
    void *data;

    bool done;
    int error;
    uint64_t start_ns, end_ns;
    struct run *run;
    struct chain_req *req;
    struct iovec v[256];
};

/* All return 0 or -errno, with r->why. */
int run_open(struct run *, enum run_mode, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int run_replace(struct run *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int run_pause(struct run *);
int run_resume(struct run *);
void run_close(struct run *);

void run_start(struct run *, struct run_io *);
void run_wait(struct run *, struct run_io *);
/* Start and wait. */
int run_io(struct run *, int op, int flags, uint64_t off, void *buf,
           uint32_t len);
/* Turn the loop for so long, or until *flag. */
void run_sleep(struct run *, uint64_t ns);
void run_until(struct run *, const bool *flag);
/* Let go what a fault held, each with its own status or by the host. */
void run_release(struct run *, int status);

/* A layer's command, of words with spaces between them; its text, as one
 * string, in out. */
int run_command(struct run *, const char *layer, const char *words, char *out,
                size_t n);
/* A counter or number of layer i; a missing one fails the test. */
uint64_t run_counter(struct run *, unsigned i, const char *name);

/* The lines that were logged since the last call; valid until the next. */
const char *run_log(void);
/* From the seed: splitmix64. */
uint64_t run_random(struct run *);

/* A folder of this program's own, gone when it ends; names in it. */
const char *run_dir(void);
const char *run_path(const char *name); /* valid for eight more calls */
/* Makes a file of size bytes in it; returns run_path(name). */
const char *run_file(const char *name, uint64_t size);

/* Turns the loop until cond, which is asked only as long as it does not hold,
 * does; a minute is as good as never. */
#define RUN_WAIT(r, cond)                                                  \
    do {                                                                   \
        unsigned left_ = 12000;                                            \
        while (!(cond) && --left_)                                         \
            run_sleep(&(r), 5000000);                                      \
        if (!left_)                                                        \
            test_fail(__FILE__, __LINE__, "waited in vain for %s", #cond); \
    } while (0)
#define RUN(r, ...)                                       \
    do {                                                  \
        if (run_open(&(r), RUN_READWRITE, __VA_ARGS__)) { \
            printf("%s\n", (r).why);                      \
            REQUIRE((r).chain);                           \
        }                                                 \
    } while (0)

#endif
