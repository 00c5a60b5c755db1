/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2-crash: power failures and kills at any moment of a disk's life in a
 * qcow2 image, also while it is being opened after one.  What was not synced
 * survives or not, sector by sector.
 *
 * After each:
 *   - the image as it lies there has no counter that is too low, and nothing
 *     in it points to nowhere;
 *   - it opens, without anybody's help;
 *   - each sector holds what the last completed flush covered, or a later
 *     write; after a kill, what was last completed, or a later write;
 *   - after a clean end all counters are exact, and the mark is gone.
 *
 * In every third world reads and writes of the file also fail, are torn or come
 * short, at any step: then what a request that failed wanted may be there or
 * not, and an end is clean or leaves the mark; the rest holds as ever.
 *
 *     qcow2-crash [--seed N] [--states N]
 */
#include "config.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain/chain.h"
#include "host/sim.h"
#include "tests/sim/qcow2_image.h"
#include "tests/test.h"

extern const struct blk_plugin blk_plugin_file, blk_plugin_qcow2;
const struct blk_plugin *const blk_plugins_static[] = { &blk_plugin_file,
                                                        &blk_plugin_qcow2,
                                                        NULL };

enum { WAYS = 6, LATER = 24, SECTORS_MAX = 1024, CRASHES = 25 };
enum { WAY_LEN = 24 << 10 };

static struct shared {
    uint64_t states, recovering, kills, leaked, flushes, clean, errors;
    int failed;
} * shared;

/* ---- what each sector may hold ------------------------------------------- */

struct write {
    uint64_t id, done; /* done: a time, 0: under way */
};

static struct world {
    uint64_t seed;
    struct sim *sim;
    struct image_format f;
    bool below, faulty;
    uint64_t snapshot; /* a hash of what it holds */
    struct loop *loop;
    struct chain *chain;
    uint64_t sectors, next_id, time;
    uint64_t stable[SECTORS_MAX];
    struct write later[SECTORS_MAX][LATER];
    unsigned laters[SECTORS_MAX];
    struct way {
        struct chain_req *req;
        unsigned op;
        uint64_t first, n, id, begun;
        bool busy;
        struct iovec v;
        _Alignas(4096) uint8_t buf[WAY_LEN];
    } way[WAYS];
    struct chain_op op;
    int status; /* 1: under way */
    bool working;
} w;

__attribute__((noreturn, format(printf, 1, 2))) static void
wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("FAILED seed %" PRIu64 ": ", w.seed);
    vprintf(fmt, ap);
    printf(" (version %u, clusters of %u, extended %d, snapshot %d, filled %u, "
           "below %d, faulty %d)\n",
           w.f.version, 1u << w.f.cluster_bits, w.f.extended, w.f.snapshot,
           w.f.filled, w.below, w.faulty);
    fflush(stdout);
    va_end(ap);
    shared->failed = 1;
    _exit(1);
}

static uint64_t
dice(uint64_t n)
{
    return sim_below(w.sim, n);
}

static void
stamp_id(uint8_t *sector, uint64_t id)
{
    for (unsigned i = 0; i < 512; i += 8)
        memcpy(sector + i, &id, 8);
}

static void
stamp_filled(uint8_t *sector, uint64_t number)
{
    stamp_id(sector, number + 1);
}

static uint64_t
read_id(const uint8_t *sector, uint64_t number)
{
    uint64_t id;

    memcpy(&id, sector, 8);
    for (unsigned i = 8; i < 512; i += 8) {
        if (memcmp(sector, sector + i, 8))
            wrong("sector %" PRIu64 " is torn", number);
    }
    return id;
}

static void
later_add(uint64_t sector, uint64_t id, uint64_t done)
{
    unsigned n = w.laters[sector]++;

    w.later[sector][n] = (struct write){ id, done };
}

static void
later_done(uint64_t sector, uint64_t id)
{
    for (unsigned i = 0; i < w.laters[sector]; i++) {
        if (w.later[sector][i].id == id && !w.later[sector][i].done)
            w.later[sector][i].done = ++w.time;
    }
}

/* A flush that began then is over: what was completed before it is durable. */
static void
flushed(uint64_t begun)
{
    for (uint64_t s = 0; s < w.sectors; s++) {
        unsigned n = 0, keep = 0;

        for (unsigned i = 0; i < w.laters[s]; i++) {
            if (w.later[s][i].done && w.later[s][i].done < begun) {
                w.stable[s] = w.later[s][i].id;
                n = i + 1;
            }
        }
        for (; n < w.laters[s]; n++)
            w.later[s][keep++] = w.later[s][n];
        w.laters[s] = keep;
    }
    shared->flushes++;
}

static bool
allowed_after_power(uint64_t s, uint64_t id)
{
    if (id == w.stable[s])
        return true;
    for (unsigned i = 0; i < w.laters[s]; i++) {
        if (w.later[s][i].id == id)
            return true;
    }
    return false;
}

static bool
allowed_after_kill(uint64_t s, uint64_t id)
{
    unsigned i = w.laters[s];

    while (i > 0 && !w.later[s][i - 1].done) {
        if (w.later[s][--i].id == id)
            return true;
    }
    return id == (i ? w.later[s][i - 1].id : w.stable[s]);
}

/* ---- steps of the chain -------------------------------------------------- */

static void
step_done(struct chain_op *op, int error)
{
    (void)op;
    w.status = error;
}

static void
chain_make(void)
{
    static const struct blk_kv image[] = {
        { "path", "/image", "test", 1 },
        { "cache", "256k", "test", 1 },
    };
    static const struct blk_kv base[] = { { "path", "/base", "test", 1 } };
    struct blk_conf layer[] = {
        { .plugin = "qcow2",
          .name = "qcow2",
          .file = "test",
          .kv = image,
          .n = 2 },
        { .plugin = "file",
          .name = "file",
          .file = "test",
          .kv = base,
          .n = 1 },
    };
    struct chain_spec spec = { .disk = "disk",
                               .layer = layer,
                               .n = w.below ? 2 : 1 };
    char why[300];

    w.loop = sim_loop_new(w.sim, "data0");
    if (chain_new(&w.chain, w.loop, &spec, NULL, NULL, why, sizeof(why)))
        wrong("%s", why);
    w.op = (struct chain_op){ .done = step_done };
    w.status = 1;
    chain_start(w.chain, &w.op);
}

/* False: it was left in the middle. */
static bool
chain_finish(void)
{
    w.op = (struct chain_op){ .done = step_done };
    w.status = 1;
    chain_stop(w.chain, &w.op);
    for (uint64_t i = dice(2) ? UINT64_MAX : dice(16);
         w.status > 0 && i && sim_step(w.sim); i--)
        ;
    if (w.status > 0)
        return false;
    if (w.status)
        wrong("stop: %d", w.status);
    chain_free(w.chain);
    w.loop->ops->free(w.loop);
    return true;
}

/* ---- the guest ----------------------------------------------------------- */

static void way_next(struct way *y);

static bool
range_busy(uint64_t first, uint64_t n)
{
    for (unsigned i = 0; i < WAYS; i++) {
        const struct way *y = &w.way[i];

        if (y->busy && first < y->first + y->n && y->first < first + n)
            return true;
    }
    for (uint64_t s = first; s < first + n; s++) {
        if (w.laters[s] + 1 >= LATER)
            return true;
    }
    return false;
}

/* A discard is of whole clusters; else it is left alone. */
static void
way_changes(struct way *y, bool begin)
{
    const uint64_t per = ((uint64_t)1 << w.f.cluster_bits) / 512;
    uint64_t a = y->first, b = y->first + y->n;

    if (y->op == BLK_DISCARD) {
        a = (a + per - 1) / per * per;
        b = b / per * per;
    }
    for (; a < b; a++) {
        uint64_t id = y->op == BLK_WRITE ? y->id + a : 0;

        if (begin)
            later_add(a, id, 0);
        else
            later_done(a, id);
    }
}

static void
way_done(struct chain_req *req, int error)
{
    struct way *y = req->owner;

    chain_put(w.chain, req);
    y->busy = false;
    shared->errors += error != 0;
    if (error && (!w.faulty || y->op == BLK_FLUSH))
        wrong("op %u at sector %" PRIu64 ": error %d", y->op, y->first, error);
    if (error)
        ; /* as one that never ended */
    else if (y->op == BLK_FLUSH)
        flushed(y->begun);
    else if (y->op != BLK_READ)
        way_changes(y, false);
    if (w.working)
        way_next(y);
}

static void
way_start(struct way *y)
{
    struct blk_req *r;

    y->busy = true;
    y->req = chain_get(w.chain);
    y->req->done = way_done;
    y->req->owner = y;
    r = &y->req->req;
    r->op = (uint8_t)y->op;
    r->flags = 0;
    r->off = y->op == BLK_FLUSH ? 0 : y->first * 512;
    r->len = y->op == BLK_FLUSH ? 0 : (uint32_t)y->n * 512;
    y->v = (struct iovec){ y->buf, r->len };
    r->sg = (struct blk_sg){ .v = &y->v, .n = 1, .skip = 0 };
    chain_submit(w.chain, y->req);
}

static void
way_next(struct way *y)
{
    uint64_t kind = dice(100), most = WAY_LEN / 512;

    y->op = kind < 60   ? BLK_WRITE
            : kind < 72 ? BLK_FLUSH
            : kind < 82 ? BLK_DISCARD
            : kind < 92 ? BLK_ZERO
                        : BLK_READ;
    for (unsigned try = 0;; try++) {
        y->n = dice(3) ? 1 + dice(8) : 1 + dice(most);
        if (y->op != BLK_WRITE && y->op != BLK_READ)
            y->n *= 1 + dice(4);
        if (y->n > w.sectors)
            y->n = w.sectors;
        if (y->op == BLK_READ && y->n > most)
            y->n = most;
        y->first = dice(w.sectors - y->n + 1);
        if (!range_busy(y->first, y->n))
            break;
        if (try == 20)
            y->op = BLK_FLUSH;
        if (y->op == BLK_FLUSH)
            break;
    }
    y->begun = ++w.time;
    if (y->op == BLK_FLUSH) {
        y->n = 0;
    } else if (y->op != BLK_READ) {
        y->id = w.next_id;
        w.next_id += SECTORS_MAX;
        way_changes(y, true);
    }
    for (uint64_t i = 0; y->op == BLK_WRITE && i < y->n; i++)
        stamp_id(y->buf + i * 512, y->id + y->first + i);
    way_start(y);
}

static bool
all_idle(void *data)
{
    (void)data;
    for (unsigned i = 0; i < WAYS; i++) {
        if (w.way[i].busy)
            return false;
    }
    return true;
}

/* ---- after it ------------------------------------------------------------ */

static void
judge(bool closed)
{
    int64_t size = sim_file_size(w.sim, "/image");
    size_t cluster = (size_t)1 << w.f.cluster_bits;
    size_t len = ((size_t)size + cluster - 1) / cluster * cluster;
    uint8_t *p = calloc(1, len);
    struct image_found found;

    sim_file_get(w.sim, "/image", 0, p, (size_t)size);
    image_judge(p, len, &found);
    free(p);
    if (found.wrong[0])
        wrong("%s", found.wrong);
    if (found.low)
        wrong("%" PRIu64 " counters are too low", found.low);
    if (found.wrong_copied)
        wrong("%" PRIu64 " flags are wrong", found.wrong_copied);
    if (w.snapshot && found.snapshot != w.snapshot)
        wrong("the snapshot is not what it was");
    w.snapshot = found.snapshot;
    if (closed && !w.faulty && (found.high || found.dirty))
        wrong("closed: %" PRIu64 " leaks, dirty %d", found.high, found.dirty);
    if (found.high && !found.dirty && w.f.version >= 3)
        wrong("%" PRIu64 " leaks without a mark", found.high);
    shared->leaked += found.high != 0;
}

/* Reads all of it; what it holds now is what it may hold from now on. */
static void
look(bool killed)
{
    struct way *y = &w.way[0];

    for (uint64_t s = 0; s < w.sectors; s += y->n) {
        y->op = BLK_READ;
        y->first = s;
        y->n = WAY_LEN / 512;
        if (y->n > w.sectors - s)
            y->n = w.sectors - s;
        way_start(y);
        if (!sim_run_until(w.sim, all_idle, NULL, 10000000000ull))
            wrong("a read hangs");
        for (uint64_t i = 0; i < y->n; i++) {
            uint64_t id = read_id(y->buf + i * 512, s + i);

            if (!(killed ? allowed_after_kill : allowed_after_power)(s + i, id))
                wrong("sector %" PRIu64 " holds %" PRIu64
                      ", after a %s; stable "
                      "%" PRIu64 ", %u later, the last %" PRIu64,
                      s + i, id, killed ? "kill" : "power failure",
                      w.stable[s + i], w.laters[s + i],
                      w.laters[s + i] ? w.later[s + i][w.laters[s + i] - 1].id
                                      : 0);
            if (!killed) {
                w.stable[s + i] = id;
                w.laters[s + i] = 0;
            } else if (w.laters[s + i] == LATER) {
                w.later[s + i][LATER - 1] = (struct write){ id, ++w.time };
            } else {
                later_add(s + i, id, ++w.time);
            }
        }
    }
}

/* The program is gone, with its memory. */
static bool
crash(void)
{
    bool kill = !dice(3);

    if (kill)
        sim_kill(w.sim);
    else
        sim_crash(w.sim);
    shared->states++;
    shared->kills += kill;
    for (unsigned i = 0; i < WAYS; i++)
        w.way[i].busy = false;
    w.loop->ops->free(w.loop);
    judge(false);
    return kill;
}

static void
faults_begin(void)
{
    const struct sim_faults faults = {
        .read = 5000,
        .write = 60000,
        .shorter = 20000,
        .error = dice(2) ? EIO : ENOSPC,
    };

    if (w.faulty)
        sim_file_faults(w.sim, "/image", &faults);
}

static void
faults_end(void)
{
    static const struct sim_faults none;

    sim_file_faults(w.sim, "/image", &none);
}

/* One life: opened, worked with, ended somehow.  Whether it was a kill. */
static bool
live(bool killed)
{
    uint64_t events = dice(6) ? dice(400) : dice(60);

    faults_end();
    chain_make();
    for (uint64_t i = dice(killed ? 4 : 8) ? UINT64_MAX : dice(40);
         w.status > 0 && i && sim_step(w.sim); i--)
        ;
    if (w.status > 0) { /* in the middle of opening */
        shared->recovering++;
        return crash() && killed;
    }
    if (w.status)
        wrong("it does not open: %s", w.op.why);
    if (chain_reserve(w.chain, WAYS))
        wrong("no memory");
    w.working = false;
    look(killed);
    faults_begin();
    w.working = true;
    for (unsigned i = 0; i < WAYS; i++)
        way_next(&w.way[i]);
    for (; events && sim_step(w.sim); events--)
        ;
    if (dice(5))
        return crash();
    w.working = false;
    if (!sim_run_until(w.sim, all_idle, NULL, 100000000000ull))
        wrong("a request hangs");
    if (!chain_finish())
        return crash();
    judge(true);
    shared->clean++;
    return true; /* nothing may be missing, as after a kill */
}

/* ---- seeds --------------------------------------------------------------- */

static void
world_make(uint64_t seed)
{
    static const struct image_format formats[] = {
        { 3, 12, 4, false, false, 192 << 10, 0 },
        { 3, 9, 4, false, false, 512 << 10, 0 },
        { 2, 9, 4, false, false, 64 << 10, 3 },
        { 3, 9, 4, false, true, 512 << 10, 130 },
        { 3, 12, 4, false, true, 256 << 10, 3 },
        { 3, 14, 4, true, false, 256 << 10, 4 },
        { 3, 12, 3, false, false, 256 << 10, 2 },
        { 2, 12, 4, false, true, 128 << 10, 2 },
    };
    uint8_t *p;
    size_t len;

    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.sim = sim_new(seed);
    w.f = formats[seed % (sizeof(formats) / sizeof(formats[0]))];
    w.below = w.f.version >= 3 && dice(3) == 0;
    w.faulty = dice(3) == 0;
    w.sectors = w.f.size / 512;
    w.next_id = 1 << 20;
    p = image_make(&w.f, &len, stamp_filled);
    sim_file_make(w.sim, "/image", 0);
    sim_file_put(w.sim, "/image", 0, p, len);
    free(p);
    sim_file_make(w.sim, "/base", w.f.size);
    for (uint64_t s = 0; s < w.sectors; s++) {
        uint64_t cluster = s * 512 >> w.f.cluster_bits;
        uint8_t sector[512];

        stamp_id(sector, s + 1000000);
        sim_file_put(w.sim, "/base", s * 512, sector, 512);
        w.stable[s] = w.below ? s + 1000000 : 0;
        if (w.f.filled && cluster % w.f.filled == 0)
            w.stable[s] = s + 1;
    }
}

static void
seed_run(uint64_t seed)
{
    bool killed = true;

    world_make(seed);
    for (unsigned i = 0; i < CRASHES; i++)
        killed = live(killed);
}

int
main(int argc, char **argv)
{
    uint64_t states = 50000, seed = 1;
    bool one = false;

    if (getenv("CHECK_LONG"))
        states = 1000000;
    else if (getenv("SANITIZED"))
        states = 2000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed")) {
            seed = strtoull(argv[i + 1], NULL, 0);
            one = true;
        } else if (!strcmp(argv[i], "--states")) {
            states = strtoull(argv[i + 1], NULL, 0);
        }
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    log_open(0, false);
    for (; !shared->failed && shared->states < states; seed++) {
        pid_t child = fork();
        int status = 0;

        REQUIRE(child >= 0);
        if (!child) {
            seed_run(seed);
            _exit(0);
        }
        REQUIRE(waitpid(child, &status, 0) == child);
        if (status && !shared->failed) {
            printf("FAILED seed %" PRIu64 ": status %#x\n", seed, status);
            shared->failed = 1;
        }
        if (one)
            break;
    }
    printf("%" PRIu64 " crash states: %" PRIu64 " kills, %" PRIu64
           " while opening, %" PRIu64 " with leaks; %" PRIu64
           " clean ends, %" PRIu64 " flushes, %" PRIu64 " errors\n",
           shared->states, shared->kills, shared->recovering, shared->leaked,
           shared->clean, shared->flushes, shared->errors);
    return shared->failed;
}
