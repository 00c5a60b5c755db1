/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blktapd-sim: the whole daemon in a simulated world, seed by seed.
 *
 *     blktapd-sim --seed N [-v]
 *     blktapd-sim --seeds N [--from M] [--jobs J]
 *     blktapd-sim --steps [--seed N] [--jobs J]
 *
 * Exit status 1: a violation, with the seed and one sentence.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/host.h"
#include "tests/sim/daemon/plan.h"

struct total {
    uint64_t runs, requests, kills, crashes, reloads, points, sim_ns;
    uint64_t died; /* runs in which the daemon did, once or more */
    uint64_t tally[TALLY_COUNT];
    bool failed;
    uint64_t seed, kill_at, kill_again;
    char why[400];
};

struct work {
    uint64_t from, to, jobs;
    bool steps;
    uint64_t seed;
};

static void
add(struct total *t, const struct plan *p, const struct result *r)
{
    t->runs++;
    t->requests += r->requests;
    t->kills += r->kills;
    t->crashes += r->crashes;
    t->died += r->kills || r->crashes;
    t->reloads += r->reloads;
    t->points += r->points;
    t->sim_ns += r->sim_ns - 1000000000;
    for (int i = 0; i < TALLY_COUNT; i++)
        t->tally[i] += r->tally[i];
    if (!r->failed || t->failed)
        return;
    t->failed = true;
    t->seed = p->seed;
    t->kill_at = p->kill_at;
    t->kill_again = p->kill_again;
    memcpy(t->why, r->why, sizeof t->why);
}

/* Every job-th of the work. */
static void
part(const struct work *w, uint64_t job, struct total *t)
{
    struct result r;

    for (uint64_t i = w->from + job; i < w->to && !t->failed; i += w->jobs) {
        struct plan p = { .seed = i };

        if (w->steps) {
            /* A second kill at a point that wanders with the first. */
            p = (struct plan){ .seed = w->seed,
                               .quiet = true,
                               .chosen = true,
                               .kill_at = i,
                               .kill_again = i % 4 ? 0 : 1 + i * 7 % 120 };
        }
        t->seed = p.seed;
        t->kill_at = p.kill_at;
        t->kill_again = p.kill_again;
        plan_run(&p, &r);
        add(t, &p, &r);
    }
}

static void
sum(struct total *all, const struct total *t)
{
    all->runs += t->runs;
    all->requests += t->requests;
    all->kills += t->kills;
    all->crashes += t->crashes;
    all->died += t->died;
    all->reloads += t->reloads;
    all->sim_ns += t->sim_ns;
    for (int i = 0; i < TALLY_COUNT; i++)
        all->tally[i] += t->tally[i];
    if (t->failed && !all->failed) {
        all->failed = true;
        all->seed = t->seed;
        all->kill_at = t->kill_at;
        all->kill_again = t->kill_again;
        memcpy(all->why, t->why, sizeof all->why);
    }
}

static double
seconds(void)
{
    struct timespec t;

    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
say_tally(const struct total *t)
{
    static const char *const what[] = {
#define X(name, text) text,
        TALLY(X)
#undef X
    };

    for (int i = 0; i < TALLY_COUNT; i++)
        printf("%s%" PRIu64 " %s", i ? ", " : "", t->tally[i], what[i]);
    putchar('\n');
}

static int
say(const struct total *t, double took)
{
    say_tally(t);
    printf("%" PRIu64 " runs, %" PRIu64
           " of them with a kill or a power failure, %.2f simulated hours, "
           "%" PRIu64 " requests, %" PRIu64 " kills, %" PRIu64
           " power failures, %" PRIu64 " reloads, %.0f runs/s\n",
           t->runs, t->died, (double)t->sim_ns / 3.6e12, t->requests, t->kills,
           t->crashes, t->reloads, (double)t->runs / took);
    if (!t->failed)
        return 0;
    if (t->kill_at)
        printf("seed %" PRIu64 ", killed at point %" PRIu64 " and %" PRIu64
               " later: %s\n",
               t->seed, t->kill_at, t->kill_again, t->why);
    else
        printf("seed %" PRIu64 ": %s\n", t->seed, t->why);
    return 1;
}

static int
run_jobs(const struct work *w)
{
    double began = seconds();
    struct total all = { 0 }, *t;
    uint64_t job;
    int status, rc;

    t = mmap(NULL, w->jobs * sizeof *t, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED)
        return 2;
    fflush(stdout);
    for (job = 0; job < w->jobs; job++) {
        pid_t pid = fork();

        if (pid < 0)
            return 2;
        if (!pid) {
            part(w, job, &t[job]);
            exit(0);
        }
    }
    while (wait(&status) > 0) {
        if (status)
            all.failed = true;
    }
    for (job = 0; job < w->jobs; job++) {
        if (all.failed && !t[job].failed && !all.why[0]) {
            all.seed = t[job].seed;
            snprintf(all.why, sizeof all.why,
                     "a job died; it was at seed %" PRIu64 ", point %" PRIu64,
                     t[job].seed, t[job].kill_at);
        }
        sum(&all, &t[job]);
    }
    if (w->steps)
        printf("seed %" PRIu64 ", each of its %" PRIu64 " points\n", w->seed,
               w->to - w->from);
    else
        printf("seeds %" PRIu64 " to %" PRIu64 "\n", w->from, w->to - 1);
    rc = say(&all, seconds() - began);
    munmap(t, w->jobs * sizeof *t);
    return rc;
}

static int
run_one(uint64_t seed, uint64_t kill_at, uint64_t kill_again)
{
    double began = seconds();
    struct plan p = { .seed = seed,
                      .quiet = kill_at > 0,
                      .chosen = kill_at > 0,
                      .kill_at = kill_at,
                      .kill_again = kill_again };
    struct total t = { 0 };
    struct result r;

    plan_run(&p, &r);
    add(&t, &p, &r);
    printf("trace %016" PRIx64 "\nseed %" PRIu64 "\n", r.trace, seed);
    return say(&t, seconds() - began);
}

/* How many points the scenario has without a kill. */
static uint64_t
points(uint64_t seed)
{
    struct plan p = { .seed = seed, .quiet = true, .chosen = true };
    struct result r;

    plan_run(&p, &r);
    if (r.failed)
        printf("without a kill: %s\n", r.why);
    return r.failed ? 0 : r.points;
}

static int
usage(void)
{
    fprintf(stderr, "usage: blktapd-sim --seed N [--kill POINT [--again N]] "
                    "[-v] | --seeds N [--from M] [--jobs J] | --steps "
                    "[--seed N] [--jobs J]\n");
    return 2;
}

int
main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 0, from = 1, jobs = 1, kill_at = 0, again = 0;
    bool steps = false, one = false;

    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        uint64_t *to = NULL;

        if (!strcmp(arg, "--steps")) {
            steps = true;
            continue;
        }
        if (!strcmp(arg, "-v")) {
            setenv("SIM_TRACE", "1", 1);
            continue;
        }
        if (!strcmp(arg, "--seed")) {
            to = &seed;
            one = true;
        } else if (!strcmp(arg, "--seeds")) {
            to = &seeds;
        } else if (!strcmp(arg, "--from")) {
            to = &from;
        } else if (!strcmp(arg, "--jobs")) {
            to = &jobs;
        } else if (!strcmp(arg, "--kill")) {
            to = &kill_at;
        } else if (!strcmp(arg, "--again")) {
            to = &again;
        }
        if (!to || ++i == argc)
            return usage();
        *to = strtoull(argv[i], NULL, 10);
    }
    if (!jobs || (!steps && !one && !seeds))
        return usage();
    /* No thread: a fork would take the locks that it holds. */
    log_level(getenv("SIM_TRACE") ? BLK_DEBUG : -1);
    if (steps) {
        struct work w = {
            .from = 1, .jobs = jobs, .steps = true, .seed = seed
        };

        w.to = points(seed) + 1;
        return w.to > 1 ? run_jobs(&w) : 1;
    }
    if (seeds) {
        struct work w = { .from = from, .to = from + seeds, .jobs = jobs };

        return run_jobs(&w);
    }
    return run_one(seed, kill_at, again);
}
