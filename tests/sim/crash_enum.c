/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crash_enum.c: all that a crash at one moment may leave.
 *
 * A moment is the media as they are for certain, and the changes that a crash
 * could undo: those that no sync has covered, and those under way.  Of these:
 *
 *   prefixes     the first so many, and nothing else
 *   subsets      all of them when they are of at most ten, else some; also some
 *                where each sector of 512 bytes goes its own way
 *   torn         one ends, or begins, at each of its sectors; what came before
 *                is there
 *   backwards    all of them, the last one first
 *   garbage      a sector of data whose write is under way holds anything, and
 *                the rest is there, or not, or some of it; an image's tables
 *                have no sums, and trust the medium not to do that
 *   interrupted  after one of these, a crash at each step of opening it, and
 *                again some of what that may leave
 *   deaths       the program alone dies: all is there but what was under way,
 *                each of which is, or is not
 *
 * Each is opened, read by the guest, which knows what it may find, and closed.
 * A process of its own does it, so that the life goes on as if it had not been.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "host/sim.h"
#include "tests/sim/crash_world.h"
#include "tests/test.h"

enum {
    CHANGES = 64, /* moments with more are left out */
    ALL_SUBSETS = 10,
    SOME = 24,    /* of subsets, of sectors of each */
    TEARS = 24,   /* of one change */
    OPENINGS = 2, /* that are interrupted, at a moment */
    STEPS = 60    /* of an opening */
};

struct moment {
    struct content {
        const char *name;
        uint8_t *bytes; /* NULL: there is no such file */
        uint64_t size;
    } file[CRASH_FILES];
    struct change {
        unsigned file;
        struct sim_unsynced u;
    } change[CHANGES];
    unsigned n;
    bool too_many;
};

/* What of a moment is there. */
struct choice {
    bool take[CHANGES];
    int torn;          /* the change of which but [from, to) is; -1: none */
    uint64_t from, to; /* bytes of it */
    bool backwards;
    uint64_t sectors; /* not 0: a seed of which sectors of writes are there */
    int garbage;      /* the change that has some; -1: none */
    uint64_t garbage_at, garbage_end; /* bytes of it */
};

static uint64_t enum_every, enum_dice;
static bool enum_garbage; /* none but those with garbage */

void
crash_enum_set(uint64_t every, bool garbage)
{
    enum_every = every;
    enum_garbage = garbage;
}

bool
crash_enumerates(void)
{
    return enum_every != 0;
}

/* The world's dice are not to be touched. */
static uint64_t
mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t
below(uint64_t n)
{
    return mix(enum_dice++) % n;
}

/* ---- a moment ------------------------------------------------------------ */

static void
see_change(void *data, const struct sim_unsynced *u)
{
    struct moment *m = data;
    struct change *c = &m->change[m->n];
    unsigned f = 0;

    while (f < CRASH_FILES && strcmp(m->file[f].name, u->name) != 0)
        f++;
    if (f == CRASH_FILES)
        return;
    if (m->n == CHANGES) {
        m->too_many = true;
        return;
    }
    *c = (struct change){ .file = f, .u = *u };
    if (u->data) {
        char *copy = malloc(u->len);

        REQUIRE(copy);
        memcpy(copy, u->data, u->len);
        c->u.data = copy;
    }
    m->n++;
}

static struct moment *
moment_take(void)
{
    static const char *const names[CRASH_FILES] = { "/image", "/base",
                                                    "/data" };
    struct moment *m = calloc(1, sizeof(*m));

    REQUIRE(m);
    for (unsigned i = 0; i < CRASH_FILES; i++) {
        struct content *f = &m->file[i];

        f->name = names[i];
        if (sim_file_size(w.sim, f->name) < 0)
            continue;
        f->size = (uint64_t)sim_file_size_durable(w.sim, f->name);
        f->bytes = malloc(f->size + 1);
        REQUIRE(f->bytes);
        sim_file_get_durable(w.sim, f->name, 0, f->bytes, f->size);
    }
    sim_unsynced(w.sim, see_change, m);
    return m;
}

static void
moment_free(struct moment *m)
{
    for (unsigned i = 0; i < m->n; i++)
        free((void *)(uintptr_t)m->change[i].u.data);
    for (unsigned i = 0; i < CRASH_FILES; i++)
        free(m->file[i].bytes);
    free(m);
}

/* ---- one of its states --------------------------------------------------- */

static void
reach(struct content *f, uint64_t end)
{
    if (end <= f->size)
        return;
    f->bytes = realloc(f->bytes, end);
    REQUIRE(f->bytes);
    memset(f->bytes + f->size, 0, end - f->size);
    f->size = end;
}

static void
write_sectors(struct content *f, const struct change *c, uint64_t seed)
{
    uint64_t n;

    for (uint64_t at = 0; at < c->u.len; at += n) {
        n = 512 - (c->u.off + at) % 512;
        if (n > c->u.len - at)
            n = c->u.len - at;
        if (mix(seed + c->u.off + at) & 1)
            continue;
        reach(f, c->u.off + at + n);
        memcpy(f->bytes + c->u.off + at, c->u.data + at, n);
    }
}

static void
change_part(struct content *f, const struct change *c, uint64_t from,
            uint64_t to)
{
    const uint64_t off = c->u.off + from;

    switch (c->u.kind) {
    case SIM_WRITE:
        reach(f, c->u.off + to);
        memcpy(f->bytes + off, c->u.data + from, to - from);
        break;
    case SIM_ZERO:
        reach(f, c->u.off + to);
        memset(f->bytes + off, 0, to - from);
        break;
    case SIM_PUNCH:
        if (off < f->size)
            memset(f->bytes + off, 0,
                   f->size - off < to - from ? f->size - off : to - from);
        break;
    case SIM_RESIZE:
        reach(f, c->u.off);
        f->size = c->u.off;
        break;
    }
}

static void
choice_apply(const struct moment *m, const struct choice *x, unsigned i,
             struct content file[CRASH_FILES])
{
    const struct change *c = &m->change[i];
    struct content *f = &file[c->file];

    if (!x->take[i] && !c->u.durable)
        return;
    if ((int)i == x->torn)
        change_part(f, c, x->from, x->to);
    else if (x->sectors && c->u.kind == SIM_WRITE && !c->u.durable)
        write_sectors(f, c, x->sectors + i);
    else
        change_part(f, c, 0, c->u.len);
    for (uint64_t at = x->garbage_at;
         (int)i == x->garbage && at < x->garbage_end; at += 8) {
        const uint64_t noise = mix(at + enum_dice);

        memcpy(f->bytes + c->u.off + at, &noise, 8);
    }
}

static void
media_put(const struct moment *m, const struct choice *x)
{
    struct content file[CRASH_FILES];

    for (unsigned i = 0; i < CRASH_FILES; i++) {
        file[i] = m->file[i];
        if (!file[i].bytes)
            continue;
        file[i].bytes = malloc(file[i].size + 1);
        REQUIRE(file[i].bytes);
        memcpy(file[i].bytes, m->file[i].bytes, file[i].size);
    }
    for (unsigned i = 0; i < m->n; i++)
        choice_apply(m, x, x->backwards ? m->n - 1 - i : i, file);
    for (unsigned i = 0; i < CRASH_FILES; i++) {
        if (!file[i].bytes)
            continue;
        sim_file_make(w.sim, file[i].name, file[i].size);
        sim_file_put(w.sim, file[i].name, 0, file[i].bytes, file[i].size);
        sim_file_sync(w.sim, file[i].name);
        free(file[i].bytes);
    }
}

static void
program_gone(void)
{
    sim_crash(w.sim);
    guest_lost(&w.guest);
    w.loop->ops->free(w.loop);
}

static void
state_close(void)
{
    w.op.done = crash_step_done;
    w.status = 1;
    chain_stop(w.chain, &w.op);
    while (w.status > 0 && sim_step(w.sim))
        ;
    if (w.status)
        wrong("it does not close: %d", w.status);
    chain_free(w.chain);
    w.loop->ops->free(w.loop);
    crash_judge(true);
}

static void
state_look(bool killed)
{
    guest_look(&w.guest, killed);
    state_close();
}

/* Where all states of a moment begin. */
static struct crash_world *before;

static void
world_restore(void)
{
    memcpy(&w, before, offsetof(struct crash_world, guest));
    guest_restore(&w.guest, &before->guest);
}

static void
state_make(const struct moment *m, const struct choice *x)
{
    world_restore();
    w.guest.garbage = x->garbage >= 0;
    media_put(m, x);
    crash_judge(false);
    shared->states++;
    shared->apart += w.stack->apart;
}

static void
state_try(const struct moment *m, const struct choice *x, bool killed,
          uint64_t *count)
{
    state_make(m, x);
    if (!crash_open(UINT64_MAX))
        wrong("opening it hangs");
    state_look(killed);
    ++*count;
    if (shared->states >= shared->wanted)
        _exit(0);
}

/* ---- choices ------------------------------------------------------------- */

static struct choice
choice_none(void)
{
    struct choice x;

    memset(&x, 0, sizeof(x));
    x.torn = x.garbage = -1;
    return x;
}

static struct choice
choice_first(unsigned n)
{
    struct choice x = choice_none();

    memset(x.take, 1, n * sizeof(x.take[0]));
    return x;
}

static struct choice
choice_some(const struct moment *m)
{
    struct choice x = choice_none();

    for (unsigned i = 0; i < m->n; i++)
        x.take[i] = below(2);
    x.sectors = below(2) ? mix(enum_dice) | 1 : 0;
    return x;
}

static void
try_prefixes(const struct moment *m)
{
    for (unsigned n = 0; n <= m->n; n++) {
        struct choice x = choice_first(n);

        state_try(m, &x, false, &shared->prefixes);
    }
}

static void
try_subsets(const struct moment *m)
{
    struct choice x = choice_none();

    for (uint64_t set = 0; m->n <= ALL_SUBSETS && !(set >> m->n); set++) {
        for (unsigned i = 0; i < m->n; i++)
            x.take[i] = set >> i & 1;
        state_try(m, &x, false, &shared->subsets);
    }
    shared->whole += m->n <= ALL_SUBSETS;
    for (unsigned i = 0; i < SOME && m->n; i++) {
        x = choice_some(m);
        state_try(m, &x, false, &shared->subsets);
    }
}

static void
try_tears(const struct moment *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        struct choice x = choice_first(i + 1);
        const struct sim_unsynced *u = &m->change[i].u;

        x.torn = (int)i;
        for (uint64_t at = 512; at < u->len && at < TEARS * 512 &&
                                u->kind == SIM_WRITE && !u->durable;
             at += 512) {
            x.from = 0;
            x.to = at;
            state_try(m, &x, false, &shared->torn);
            x.from = at;
            x.to = u->len;
            state_try(m, &x, false, &shared->torn);
        }
    }
}

static void
try_backwards(const struct moment *m)
{
    struct choice x = choice_first(m->n);

    x.backwards = true;
    state_try(m, &x, false, &shared->backwards);
}

/* A sector of an image that is a guest's: a number over and over, which no
 * table is. */
static bool
is_data(const struct change *c, uint64_t at)
{
    const char *p = c->u.data + at;
    uint64_t id;

    if (w.stack->coarse)
        return false;
    if (c->file == 0   ? w.stack->raw != 0
        : c->file == 1 ? w.stack->base == CRASH_RAW
                       : true)
        return true;
    memcpy(&id, p, 8);
    return !memcmp(p, p + 8, 504) && id >= CRASH_BASE && id < 1ull << 40;
}

/* The rest of the moment is there, or nothing of it, or some: what a sector
 * with garbage stands for may be named by nothing that is durable. */
static void
try_garbage_at(const struct moment *m, unsigned i, uint64_t at)
{
    for (unsigned rest = 0; rest < 3; rest++) {
        struct choice x = rest == 0   ? choice_first(m->n)
                          : rest == 1 ? choice_none()
                                      : choice_some(m);

        x.take[i] = true;
        x.sectors = 0;
        x.garbage = (int)i;
        x.garbage_at = at;
        x.garbage_end = at + 512;
        state_try(m, &x, false, &shared->garbage);
    }
}

static void
try_garbage(const struct moment *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        const struct sim_unsynced *u = &m->change[i].u;

        if (!u->under_way || u->kind != SIM_WRITE || (u->off | u->len) % 512)
            continue;
        for (uint64_t at = 0; at < u->len && at < TEARS * 512; at += 512) {
            if (is_data(&m->change[i], at))
                try_garbage_at(m, i, at);
        }
    }
}

static void
try_deaths(const struct moment *m)
{
    unsigned first = m->n;

    while (first && m->change[first - 1].u.under_way)
        first--;
    for (uint64_t set = 0;
         m->n - first <= ALL_SUBSETS && !(set >> (m->n - first)); set++) {
        struct choice x = choice_first(first);

        for (unsigned i = first; i < m->n; i++)
            x.take[i] = set >> (i - first) & 1;
        state_try(m, &x, before->killed, &shared->deaths);
    }
}

/* A crash after so many steps of opening; false: it is open before that. */
static bool
interrupt(const struct moment *m, const struct choice *x, uint64_t steps)
{
    struct moment *again;

    state_make(m, x);
    if (crash_open(steps)) {
        state_look(false);
        return false;
    }
    again = moment_take();
    program_gone();
    for (unsigned i = 0; i < 4 && !again->too_many; i++) {
        struct choice y = i == 0   ? choice_first(0)
                          : i == 1 ? choice_first(again->n)
                          : i == 2 ? choice_first((unsigned)below(again->n + 1))
                                   : choice_some(again);

        state_try(again, &y, false, &shared->interrupted);
        if (!again->n)
            break;
    }
    moment_free(again);
    return true;
}

static void
try_interrupts(const struct moment *m)
{
    for (unsigned i = 0; i < OPENINGS; i++) {
        struct choice x = i ? choice_some(m) : choice_first(m->n);

        for (uint64_t steps = 1; steps < STEPS && interrupt(m, &x, steps);
             steps += 1 + below(2))
            ;
    }
}

/* ---- moments ------------------------------------------------------------- */

static void
enumerate(void)
{
    struct moment *m = moment_take();
    const uint64_t seed = w.seed << 20 ^ w.moment;

    if (m->too_many)
        _exit(0);
    enum_every = 0; /* those that follow are of this one */
    enum_dice = mix(seed);
    program_gone();
    before = aligned_alloc(_Alignof(struct crash_world), sizeof(*before));
    REQUIRE(before);
    *before = w;
    shared->moments++;
    try_garbage(m);
    if (enum_garbage)
        _exit(0);
    try_prefixes(m);
    try_subsets(m);
    try_tears(m);
    try_backwards(m);
    try_deaths(m);
    try_interrupts(m);
    _exit(0);
}

static void
see_moment(void *data, const struct sim_unsynced *u)
{
    uint64_t *hash = data;

    *hash = mix(*hash + u->off + (u->len << 32) + u->under_way);
}

void
crash_enum_look(void)
{
    uint64_t is = 1, often;
    int status = 0;
    pid_t child;

    if (!enum_every)
        return;
    sim_unsynced(w.sim, see_moment, &is);
    if (is == w.moment_is)
        return;
    w.moment_is = is;
    w.moment++;
    /* Those in a commit are few. */
    often = w.begun && !w.folded ? 8 : 1;
    if (mix(w.seed << 20 ^ w.moment) % enum_every >= often)
        return;
    child = fork();
    REQUIRE(child >= 0);
    if (!child)
        enumerate();
    REQUIRE(waitpid(child, &status, 0) == child);
    if (status && !shared->failed)
        wrong("moment %" PRIu64 ": status %#x", w.moment, status);
    if (status || shared->states >= shared->wanted)
        _exit(status != 0);
}

void
crash_enum_print(void)
{
    printf("%" PRIu64 " moments, %" PRIu64 " with all their subsets; %" PRIu64
           " prefixes, %" PRIu64 " subsets, %" PRIu64 " torn, %" PRIu64
           " backwards, %" PRIu64 " with garbage, %" PRIu64
           " interrupted again, %" PRIu64 " deaths\n",
           shared->moments, shared->whole, shared->prefixes, shared->subsets,
           shared->torn, shared->backwards, shared->garbage,
           shared->interrupted, shared->deaths);
}
