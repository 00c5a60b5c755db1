/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sim.c: the simulated world's clock, dice and events.
 *
 * Events are in a heap by (time, number): those of one moment happen in the
 * order in which they were made.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_world.h"

/* What a kernel would report at a time. */
#define TOGETHER_NS UINT64_C(50000)

/* ---- memory -------------------------------------------------------------- */

static void *
or_end(void *p)
{
    if (!p) {
        fprintf(stderr, "the simulation is out of memory\n");
        exit(1);
    }
    return p;
}

void *
sim_memory(size_t n, size_t size)
{
    return or_end(calloc(n ? n : 1, size));
}

void *
sim_memory_grow(void *p, size_t n, size_t size)
{
    return or_end(reallocarray(p, n ? n : 1, size));
}

char *
sim_text(const char *s)
{
    return or_end(strdup(s));
}

/* ---- dice: xoshiro256++, seeded by splitmix64 (Blackman, Vigna) ---------- */

static uint64_t
rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static uint64_t
splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t
sim_random(struct sim *sim)
{
    uint64_t *d = sim->dice;
    uint64_t result = rotate(d[0] + d[3], 23) + d[0], t = d[1] << 17;

    d[2] ^= d[0];
    d[3] ^= d[1];
    d[1] ^= d[2];
    d[0] ^= d[3];
    d[2] ^= t;
    d[3] = rotate(d[3], 45);
    return result;
}

/* The bias of the remainder is of no concern to a test. */
uint64_t
sim_below(struct sim *sim, uint64_t n)
{
    return sim_random(sim) % n;
}

uint64_t
sim_between(struct sim *sim, uint64_t min, uint64_t max)
{
    return min >= max ? min : min + sim_below(sim, max - min + 1);
}

bool
sim_chance(struct sim *sim, uint32_t in_a_million)
{
    return in_a_million && sim_below(sim, 1000000) < in_a_million;
}

/* ---- the trace ----------------------------------------------------------- */

static void
mix(struct sim *sim, uint64_t word)
{
    sim->trace = (sim->trace ^ word) * UINT64_C(0x100000001b3);
    sim->trace ^= sim->trace >> 29;
}

void
sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
    for (const char *p = what; *p; p++)
        mix(sim, (unsigned char)*p);
    mix(sim, a);
    mix(sim, b);
    if (sim->verbose)
        fprintf(stderr, "%12llu %s %llu %llu\n", (unsigned long long)sim->now,
                what, (unsigned long long)a, (unsigned long long)b);
}

uint64_t
sim_trace(const struct sim *sim)
{
    return sim->trace;
}

/* ---- the heap ------------------------------------------------------------ */

static bool
before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void
place(struct sim *sim, size_t slot, struct sim_event *e)
{
    sim->heap[slot] = e;
    e->slot = slot;
}

static void
sift_up(struct sim *sim, struct sim_event *e)
{
    size_t slot = e->slot;

    while (slot && before(e, sim->heap[(slot - 1) / 2])) {
        place(sim, slot, sim->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    place(sim, slot, e);
}

static void
sift_down(struct sim *sim, struct sim_event *e)
{
    size_t slot = e->slot, child;

    while ((child = 2 * slot + 1) < sim->events) {
        if (child + 1 < sim->events &&
            before(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!before(sim->heap[child], e))
            break;
        place(sim, slot, sim->heap[child]);
        slot = child;
    }
    place(sim, slot, e);
}

static void
take_out(struct sim *sim, struct sim_event *e)
{
    struct sim_event *last = sim->heap[--sim->events];

    if (last == e)
        return;
    place(sim, e->slot, last);
    sift_up(sim, last);
    sift_down(sim, last);
}

struct sim_event *
sim_event(struct sim *sim, struct sim_loop *loop, uint64_t after_ns,
          const char *what, void (*run)(struct sim_event *), void *data)
{
    struct sim_event *e = sim_memory(1, sizeof *e);

    if (sim->events == sim->room) {
        sim->room = 2 * sim->room + 64;
        sim->heap = sim_memory_grow(sim->heap, sim->room, sizeof(void *));
    }
    e->at = after_ns > UINT64_MAX - sim->now ? UINT64_MAX : sim->now + after_ns;
    e->number = sim->number++;
    e->run = run;
    e->data = data;
    e->loop = loop;
    e->what = what;
    place(sim, sim->events++, e);
    sift_up(sim, e);
    return e;
}

void
sim_cancel(struct sim *sim, struct sim_event *e)
{
    take_out(sim, e);
    free(e);
}

void
sim_cancel_all(struct sim *sim, struct sim_loop *loop)
{
    for (size_t i = sim->events; i-- > 0;) {
        if (loop && sim->heap[i]->loop != loop)
            continue;
        sim_cancel(sim, sim->heap[i]);
        /* Another event may have moved to a slot that was passed. */
        if (loop)
            i = sim->events;
    }
}

/* ---- running ------------------------------------------------------------- */

static void
happen(struct sim *sim, struct sim_event *e)
{
    take_out(sim, e);
    if (e->at > sim->now)
        sim->now = e->at;
    sim_note(sim, e->what, e->at, e->number);
    if (e->loop)
        sim_loop_enter(e->loop);
    sim->running = e;
    e->run(e);
    sim->running = NULL;
    free(e);
}

bool
sim_step(struct sim *sim)
{
    struct sim_loop *loop;
    uint64_t until;

    if (!sim->events)
        return false;
    loop = sim->heap[0]->loop;
    happen(sim, sim->heap[0]);
    if (!loop)
        return true;
    until = sim->now + TOGETHER_NS;
    for (unsigned n = 1;
         n < sim->together && sim->events && sim->heap[0]->loop == loop &&
         sim->heap[0]->at <= until;
         n++)
        happen(sim, sim->heap[0]);
    sim_loop_round(loop);
    return true;
}

void
sim_rounds(struct sim *sim, unsigned events)
{
    sim->together = events;
}

void
sim_run_for(struct sim *sim, uint64_t ns)
{
    uint64_t end = sim->now + ns;

    while (sim->events && sim->heap[0]->at <= end)
        sim_step(sim);
    if (sim->now < end)
        sim->now = end;
}

bool
sim_run_until(struct sim *sim, bool (*cond)(void *), void *data,
              uint64_t within_ns)
{
    uint64_t end = sim->now + within_ns;

    while (!cond(data)) {
        if (!sim->events || sim->heap[0]->at > end)
            return false;
        sim_step(sim);
    }
    return true;
}

bool
sim_run_all(struct sim *sim, uint64_t events_max)
{
    while (events_max-- > 0) {
        if (!sim_step(sim))
            return true;
    }
    return !sim->events;
}

/* ---- the test's own events ----------------------------------------------- */

struct own {
    void (*fn)(void *);
    void *data;
};

static void
run_own(struct sim_event *e)
{
    struct own own = *(struct own *)e->data;

    free(e->data);
    e->data = NULL;
    own.fn(own.data);
}

void
sim_after(struct sim *sim, uint64_t ns, void (*fn)(void *), void *data)
{
    struct own *own = sim_memory(1, sizeof *own);

    *own = (struct own){ fn, data };
    sim_event(sim, NULL, ns, "own", run_own, own);
}

/* ---- life ---------------------------------------------------------------- */

struct sim *
sim_new(uint64_t seed)
{
    struct sim *sim = sim_memory(1, sizeof *sim);

    for (int i = 0; i < 4; i++)
        sim->dice[i] = splitmix(&seed);
    sim->now = 1000000000;
    sim->trace = UINT64_C(0xcbf29ce484222325);
    sim->verbose = getenv("SIM_TRACE") != NULL;
    return sim;
}

static void
end_events(struct sim *sim)
{
    for (size_t i = 0; i < sim->events; i++) {
        if (sim->heap[i]->run == run_own)
            free(sim->heap[i]->data);
    }
    sim_cancel_all(sim, NULL);
}

static void
end_program(struct sim *sim, bool power)
{
    sim_note(sim, power ? "crash" : "kill", 0, 0);
    sim_files_crash(sim, !power);
    sim_grants_crash(sim, !power);
    sim_tree_crash(sim);
    sim_loops_crash(sim);
    end_events(sim);
    if (!power)
        sim_grants_deliver(sim);
}

void
sim_crash(struct sim *sim)
{
    end_program(sim, true);
}

void
sim_kill(struct sim *sim)
{
    end_program(sim, false);
}

void
sim_kill_inside(struct sim *sim)
{
    free(sim->running);
    sim->running = NULL;
    for (int i = 0; i < 2; i++) {
        free(sim->lent[i]);
        sim->lent[i] = NULL;
    }
    sim_kill(sim);
}

void
sim_free(struct sim *sim)
{
    sim_files_free(sim);
    sim_grants_free(sim);
    sim_tree_free(sim);
    end_events(sim);
    free(sim->heap);
    free(sim);
}
