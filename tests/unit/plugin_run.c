/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"
#include "tests/unit/plugin_run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the log, and a folder ----------------------------------------------- */

static char log_text[65536], log_shown[65536];
static size_t log_len;
static char dir[64];

static void
log_take(void *data, enum blk_level level, const char *line)
{
    (void)data;
    (void)level;
    log_len += (size_t)snprintf(log_text + log_len, sizeof(log_text) - log_len,
                                "%s\n", line);
    if (log_len >= sizeof(log_text))
        log_len = sizeof(log_text) - 1;
}

const char *
run_log(void)
{
    memcpy(log_shown, log_text, log_len + 1);
    log_text[0] = '\0';
    log_len = 0;
    return log_shown;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void
remove_dir(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

const char *
run_dir(void)
{
    const char *tmp = getenv("TMPDIR");

    if (dir[0])
        return dir;
    snprintf(dir, sizeof(dir), "%.40s/plugin.XXXXXX", tmp ? tmp : "/var/tmp");
    REQUIRE(mkdtemp(dir));
    atexit(remove_dir);
    return dir;
}

const char *
run_path(const char *name)
{
    static char path[8][256];
    static unsigned next;
    char *p = path[next++ % 8];

    snprintf(p, sizeof(path[0]), "%s/%s", run_dir(), name);
    return p;
}

const char *
run_file(const char *name, uint64_t size)
{
    const char *path = run_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(!ftruncate(fd, (off_t)size));
    close(fd);
    return path;
}

/* ---- the door ------------------------------------------------------------ */

static struct run *runs; /* those that are open */

static struct run *
run_of(const struct loop *loop)
{
    struct run *r;

    for (r = runs; r && r->loop != loop; r = r->next)
        ;
    REQUIRE(r);
    return r;
}

uint64_t
run_random(struct run *r)
{
    uint64_t z = r->seed += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t
door_random(struct loop *loop)
{
    return run_random(run_of(loop));
}

static void
door_timer(struct loop *loop, struct blk_timer *t, uint64_t after_ns)
{
    struct run *r = run_of(loop);

    r->timers++;
    r->real->timer_start(loop, t, after_ns);
}

/* An I/O that the host never sees still ends from the loop. */
struct ended {
    struct blk_timer timer;
    struct blk_io *io;
    int status;
};

static void
ended_fire(struct blk_timer *t)
{
    struct ended *e = t->data;

    e->io->status = e->status;
    e->io->done(e->io);
    free(e);
}

static void
io_end(struct run *r, struct blk_io *io, int status)
{
    struct ended *e = calloc(1, sizeof(*e));

    REQUIRE(e);
    e->timer.fire = ended_fire;
    e->timer.data = e;
    e->io = io;
    e->status = status;
    r->real->timer_start(r->loop, &e->timer, 0);
}

static void
door_io(struct loop *loop, struct blk_io *io)
{
    struct run *r = run_of(loop);
    int status = r->fault ? r->fault(r, io) : 0;

    if (status == RUN_HOLD) {
        REQUIRE(r->helds < RUN_HELD);
        r->held[r->helds++] = io;
        return;
    }
    if (status == RUN_SHORT) {
        struct iovec *v = &r->shorter[r->shorts++ % RUN_HELD];

        *v = io->iov[0];
        if (v->iov_len >= 1024)
            v->iov_len = v->iov_len / 2 / 512 * 512;
        io->iov = v;
        io->n = 1;
    }
    if (status < 0)
        io_end(r, io, status);
    else
        r->real->io(loop, io);
}

void
run_release(struct run *r, int status)
{
    unsigned i, n = r->helds;

    r->helds = 0;
    for (i = 0; i < n; i++) {
        if (status)
            io_end(r, r->held[i], status);
        else
            r->real->io(r->loop, r->held[i]);
    }
}

static void
door_put(struct run *r)
{
    r->real = r->loop->ops;
    r->ops = *r->real;
    r->ops.random = door_random;
    r->ops.timer_start = door_timer;
    r->ops.io = door_io;
    r->loop->ops = &r->ops;
    r->next = runs;
    runs = r;
}

static void
door_take(struct run *r)
{
    struct run **at;

    for (at = &runs; *at != r; at = &(*at)->next)
        ;
    *at = r->next;
    r->loop->ops = r->real;
}

/* ---- waiting ------------------------------------------------------------- */

void
run_until(struct run *r, const bool *flag)
{
    while (!*flag)
        r->loop->ops->run(r->loop);
}

struct nap {
    struct blk_timer timer;
    struct run *run;
    bool over;
};

static void
nap_over(struct blk_timer *t)
{
    struct nap *n = t->data;

    n->over = true;
    n->run->loop->ops->stop(n->run->loop);
}

void
run_sleep(struct run *r, uint64_t ns)
{
    struct nap n = { .run = r };

    n.timer.fire = nap_over;
    n.timer.data = &n;
    r->real->timer_start(r->loop, &n.timer, ns);
    run_until(r, &n.over);
}

/* ---- specs --------------------------------------------------------------- */

static void
spec_word(struct run_spec *s, char *word, bool *first)
{
    struct blk_conf *conf = &s->layer[s->spec.n - 1];
    struct blk_kv *kv = &s->kv[s->spec.n - 1][conf->n];
    char *value = strchr(word, '=');

    if (*first) {
        conf->plugin = conf->name = word;
        conf->file = "test";
        conf->line = (int)s->spec.n;
        conf->kv = s->kv[s->spec.n - 1];
        *first = false;
        return;
    }
    REQUIRE(value && conf->n < RUN_WORDS);
    *value++ = '\0';
    if (!strcmp(word, "name")) {
        conf->name = value;
        return;
    }
    kv->key = word;
    kv->value = value;
    kv->file = "test";
    kv->line = (int)s->spec.n;
    conf->n++;
}

/* "plugin key=value key=value | plugin ..." */
static struct run_spec *
spec_parse(enum run_mode mode, const char *fmt, va_list ap)
{
    struct run_spec *s = calloc(1, sizeof(*s));
    char *word, *next;
    bool first = true;

    REQUIRE(s && vasprintf(&s->text, fmt, ap) > 0);
    s->spec.disk = "disk";
    s->spec.layer = s->layer;
    s->spec.readonly = mode == RUN_READONLY;
    s->spec.n = 1;
    for (word = strtok_r(s->text, " ", &next); word;
         word = strtok_r(NULL, " ", &next)) {
        if (strcmp(word, "|")) {
            spec_word(s, word, &first);
            continue;
        }
        s->spec.n++;
        first = true;
    }
    return s;
}

static void
spec_free(struct run_spec *s)
{
    free(s->text);
    free(s);
}

/* ---- the chain's life ---------------------------------------------------- */

static void
on_relimit(void *ctx, const struct blk_limits *limits)
{
    struct run *r = ctx;

    (void)limits;
    r->relimits++;
}

static void
on_fatal(void *ctx, int error, const char *why)
{
    struct run *r = ctx;

    (void)error;
    r->fatals++;
    snprintf(r->fatal, sizeof(r->fatal), "%s", why);
}

static const struct chain_events events = { .relimit = on_relimit,
                                            .fatal = on_fatal };

static void
step_over(struct chain_op *op, int error)
{
    struct run *r = op->data;

    r->status = error;
    r->over = true;
    if (error)
        snprintf(r->why, sizeof(r->why), "%s", op->why);
    r->loop->ops->stop(r->loop);
}

static struct chain_op *
step_begin(struct run *r)
{
    struct chain_op *op = calloc(1, sizeof(*op));

    REQUIRE(op);
    op->done = step_over;
    op->data = r;
    r->over = false;
    return op;
}

static int
step_end(struct run *r, struct chain_op *op)
{
    run_until(r, &r->over);
    free(op);
    return r->status;
}

static void
chain_gone(struct run *r)
{
    if (r->chain)
        chain_free(r->chain);
    r->chain = NULL;
    door_take(r);
    r->loop->ops->free(r->loop);
    r->loop = NULL;
}

/* All chains of a test are one daemon's. */
static struct commons *
run_commons(void)
{
    static struct commons commons;
    static bool made;

    if (!made)
        commons_init(&commons);
    made = true;
    return &commons;
}

int
run_open(struct run *r, enum run_mode mode, const char *fmt, ...)
{
    struct loop_posix_options options = { .workers = 2 };
    struct chain_op *op;
    struct run_spec *s;
    uint64_t seed = r->seed;
    bool no_uring = r->no_uring;
    struct sim *sim = r->sim;
    void (*looped)(struct run *) = r->looped;
    const char *attachment = r->attachment;
    bool resumed = r->resumed;
    va_list ap;

    setenv("BLKTAPD_PLUGINDIR", PLUGIN_BUILDDIR, 0);
    log_open(BLK_DEBUG, false);
    log_tap(log_take, NULL);
    memset(r, 0, sizeof(*r));
    r->seed = seed;
    r->no_uring = no_uring;
    r->sim = sim;
    r->mode = mode;
    options.io_entries = no_uring ? 0 : 64;
    if (sim)
        r->loop = sim_loop_new(sim, "test");
    else
        REQUIRE(!loop_posix_new(&r->loop, "test", &options, r->why,
                                sizeof(r->why)));
    r->loop->commons = run_commons();
    door_put(r);
    if (looped)
        looped(r);
    va_start(ap, fmt);
    s = spec_parse(mode, fmt, ap);
    va_end(ap);
    s->spec.attachment = attachment;
    s->spec.resumed = resumed;
    r->status = chain_new(&r->chain, r->loop, &s->spec, &events, r, r->why,
                          sizeof(r->why));
    spec_free(s);
    if (!r->status) {
        op = step_begin(r);
        chain_start(r->chain, op);
        step_end(r, op);
    }
    if (!r->status)
        REQUIRE(!chain_reserve(r->chain, RUN_DEPTH));
    if (r->status)
        chain_gone(r);
    return r->status;
}

int
run_replace(struct run *r, const char *fmt, ...)
{
    struct chain_op *op = step_begin(r);
    struct run_spec *s;
    va_list ap;
    int status;

    va_start(ap, fmt);
    s = spec_parse(r->mode, fmt, ap);
    va_end(ap);
    chain_replace(r->chain, &s->spec, op);
    status = step_end(r, op);
    spec_free(s);
    return status;
}

int
run_pause(struct run *r)
{
    struct chain_op *op = step_begin(r);

    chain_pause(r->chain, op);
    return step_end(r, op);
}

int
run_resume(struct run *r)
{
    struct chain_op *op = step_begin(r);

    chain_resume(r->chain, op);
    return step_end(r, op);
}

void
run_close(struct run *r)
{
    struct chain_op *op = step_begin(r);

    chain_stop(r->chain, op);
    CHECK_EQ(step_end(r, op), 0);
    chain_gone(r);
}

/* ---- requests ------------------------------------------------------------ */

static void
io_done(struct chain_req *q, int error)
{
    struct run_io *io = q->owner;
    struct run *r = io->run;

    io->error = error;
    io->end_ns = r->loop->ops->now(r->loop);
    io->done = true;
    chain_put(r->chain, q);
    if (io->after)
        io->after(io);
    r->loop->ops->stop(r->loop);
}

/* segs pieces of the one buffer: so that a scatter list has its corners. */
static void
io_scatter(struct run_io *io)
{
    uint32_t n = io->segs ? io->segs : 1, at = 0, i;
    uint32_t step = io->step ? io->step : io->len / n;

    for (i = 0; i < n; i++) {
        io->v[i].iov_base = io->buf + at;
        io->v[i].iov_len = i + 1 < n ? step : io->len - at;
        at += step;
    }
    io->req->req.sg = (struct blk_sg){ .v = io->v, .n = n };
}

void
run_start(struct run *r, struct run_io *io)
{
    io->run = r;
    io->done = false;
    io->req = chain_get(r->chain);
    REQUIRE(io->req);
    io->req->req.op = io->op;
    io->req->req.flags = io->flags;
    io->req->req.off = io->off;
    io->req->req.len = io->len;
    if (io->op == BLK_READ || io->op == BLK_WRITE)
        io_scatter(io);
    io->req->done = io_done;
    io->req->owner = io;
    io->start_ns = r->loop->ops->now(r->loop);
    chain_submit(r->chain, io->req);
}

void
run_wait(struct run *r, struct run_io *io)
{
    run_until(r, &io->done);
}

int
run_io(struct run *r, int op, int flags, uint64_t off, void *buf, uint32_t len)
{
    struct run_io io = { .op = (uint8_t)op,
                         .flags = (uint8_t)flags,
                         .off = off,
                         .len = len,
                         .buf = buf };

    run_start(r, &io);
    run_wait(r, &io);
    return io.error;
}

/* ---- commands and numbers ------------------------------------------------ */

struct out {
    struct blk_out out;
    char *text;
    size_t len, size;
    const char *want;
    uint64_t value;
    bool found;
};

static void
out_text(struct blk_out *o, const char *text)
{
    struct out *out = (struct out *)o;

    if (out->text && out->len < out->size)
        out->len += (size_t)snprintf(out->text + out->len, out->size - out->len,
                                     "%s", text);
}

static void
out_str(struct blk_out *o, const char *name, const char *value)
{
    out_text(o, name);
    out_text(o, "=");
    out_text(o, value);
    out_text(o, "\n");
}

static void
out_u64(struct blk_out *o, const char *name, uint64_t value, const char *unit)
{
    struct out *out = (struct out *)o;
    char text[32];

    (void)unit;
    if (out->want && !strcmp(out->want, name)) {
        out->value = value;
        out->found = true;
    }
    snprintf(text, sizeof(text), "%" PRIu64, value);
    out_str(o, name, text);
}

static const struct blk_out out_calls = { .u64 = out_u64,
                                          .str = out_str,
                                          .text = out_text };

int
run_command(struct run *r, const char *layer, const char *words, char *text,
            size_t n)
{
    struct out out = { .out = out_calls, .text = text, .size = n };
    char *copy = strdup(words), *argv[RUN_WORDS + 1] = { NULL }, *next;
    int status, argc = 0;

    text[0] = '\0';
    for (char *word = strtok_r(copy, " ", &next); word && argc < RUN_WORDS;
         word = strtok_r(NULL, " ", &next))
        argv[argc++] = word;
    status = chain_command(r->chain, layer, argc, argv, &out.out);
    free(copy);
    return status;
}

uint64_t
run_counter(struct run *r, unsigned i, const char *name)
{
    struct out out = { .out = out_calls, .want = name };

    chain_layer_out(r->chain, i, &out.out);
    if (!out.found)
        test_fail(__FILE__, __LINE__, "layer %u has no counter %s", i, name);
    return out.value;
}
