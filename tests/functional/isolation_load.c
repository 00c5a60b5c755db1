/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation_load SOCKET COMMAND: loads the disks one, two and three: alone,
 * beside two others, alone, and so on in short turns, so that what else the
 * machine does befalls both alike.  The two others are `hung', which never
 * answers, and `slow', which takes 100 ms for each request; all rings full.
 * COMMAND has the hung disk let go of its requests after a turn, so that the
 * next begins without them.  Fails unless every request of the three is
 * answered, none of the hung disk's is, and the slow one goes on.
 *
 * What it measures is printed and not judged: machines differ.  So is what the
 * turns alone are to one another, as a measure of the machine's noise.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blktap/app.h"

enum {
    LOADED = 3,
    DISKS = 5,
    HUNG = 3,
    SLOW = 4,
    DEPTH = 8,
    LENGTH = 4096,
    PLACES = 1024, /* of a disk of 4 MiB */
    ROUNDS = 20,
    TURN_MS = 120,
    ANSWERS = 1 << 20, /* of a turn, at most */
    LEAST = 1000,
    LIMIT_S = 240
};

/* The turns of a round; every other round has them in the other order. */
enum turn { BEFORE, BESIDE, AFTER, TURNS };

struct load {
    struct blktap_req req;
    struct side *side;
    uint64_t began_ns;
    bool away;
    char page[LENGTH];
};

struct side {
    struct blktap_disk *disk;
    unsigned asked, answered, errors;
    bool ended; /* nothing more is asked of it */
    struct load load[DEPTH];
};

static const char *const name[DISKS] = { "one", "two", "three", "hung",
                                         "slow" };
static struct side side[DISKS];
static uint64_t took[ANSWERS], seed = 88172645463325252u;
static size_t tooks;
static uint64_t answers;
static double p99_us[TURNS][ROUNDS];
static unsigned slow_answered;

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t
any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed >> 16;
}

static void
answer(struct blktap_req *r)
{
    struct load *l = r->data;
    struct side *s = l->side;

    l->away = false;
    s->answered++;
    s->errors += r->error != 0;
    if (s < side + LOADED && tooks < ANSWERS)
        took[tooks++] = now_ns() - l->began_ns;
}

/* As many as are free. */
static int
ask(struct side *s)
{
    unsigned i;
    int rc = 0;

    for (i = 0; i < DEPTH && !rc && !s->ended; i++) {
        struct load *l = &s->load[i];

        if (l->away)
            continue;
        l->side = s;
        l->away = true;
        l->began_ns = now_ns();
        l->req = (struct blktap_req){
            .op = any() % 2 ? BLKTAP_READ : BLKTAP_WRITE,
            .off = any() % PLACES * LENGTH,
            .len = LENGTH,
            .buf = l->page,
            .done = answer,
            .data = l,
        };
        rc = blktap_submit(s->disk, &l->req);
        s->asked += !rc;
    }
    blktap_kick(s->disk);
    return rc;
}

static int
fail(const char *what, const char *which)
{
    fprintf(stderr, "%s: %s\n", which, what);
    return 1;
}

static int
open_side(struct side *s, const char *socket, const char *which)
{
    struct blktap_options o = { .socket = socket };
    char *why = NULL;

    memset(s, 0, sizeof *s);
    s->disk = blktap_open(which, &o, &why);
    if (s->disk)
        return 0;
    fail(why ? why : "can't be opened", which);
    free(why);
    return 1;
}

/* What is in flight is given back with -ECANCELED. */
static void
close_sides(unsigned from)
{
    unsigned i;

    for (i = from; i < DISKS; i++) {
        if (side[i].disk)
            blktap_close(side[i].disk);
        side[i].disk = NULL;
    }
}

/* Long enough, and with answers of the slow disk, where that is there. */
static bool
turn_over(uint64_t began_ns, unsigned disks)
{
    return now_ns() - began_ns >= TURN_MS * UINT64_C(1000000) &&
           tooks >= LEAST && (disks == LOADED || side[SLOW].answered);
}

static unsigned
unanswered(void)
{
    unsigned i, n = 0;

    for (i = 0; i < LOADED; i++)
        n += side[i].asked - side[i].answered;
    return n;
}

/* One turn; what the three have in flight at its end is waited for. */
static int
run(unsigned disks)
{
    uint64_t began_ns = now_ns();
    struct pollfd ready[DISKS];
    unsigned i;

    for (i = 0; i < disks; i++) {
        side[i].ended = false;
        ready[i] =
            (struct pollfd){ .fd = blktap_fd(side[i].disk), .events = POLLIN };
        if (ask(&side[i]))
            return fail("a request was not taken", name[i]);
    }
    while (!side[0].ended || unanswered()) {
        if (now_ns() - began_ns > LIMIT_S * UINT64_C(1000000000) ||
            poll(ready, disks, 100000) <= 0)
            return fail("no answers any more", "one, two, three");
        for (i = 0; i < disks; i++) {
            if (!side[0].ended && turn_over(began_ns, disks))
                side[0].ended = side[1].ended = side[2].ended = true;
            if (ready[i].revents && (blktap_reap(side[i].disk) < 0 ||
                                     side[i].errors || ask(&side[i])))
                return fail("a request failed", name[i]);
        }
    }
    return tooks < ANSWERS ? 0 : fail("too many answers to count", "turn");
}

/* The same with the two others, which come and go. */
static int
run_beside(const char *socket, const char *let_go)
{
    unsigned i;
    int bad = 0;

    for (i = HUNG; i < DISKS && !bad; i++)
        bad = open_side(&side[i], socket, name[i]);
    if (!bad)
        bad = run(DISKS);
    if (!bad && side[HUNG].answered)
        bad = fail("it answered", name[HUNG]);
    if (!bad && side[HUNG].asked != DEPTH)
        bad = fail("its ring took no requests", name[HUNG]);
    if (!bad && system(let_go))
        bad = fail("it does not let go of its requests", name[HUNG]);
    slow_answered += side[SLOW].answered;
    close_sides(HUNG);
    return bad;
}

/* ---- figures ------------------------------------------------------------- */

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void
note_turn(enum turn t, unsigned round)
{
    qsort(took, tooks, sizeof took[0], by_size);
    p99_us[t][round] = (double)took[tooks - 1 - tooks / 100] / 1e3;
    answers += tooks;
}

static double
quartile(const double *us, size_t n, unsigned q)
{
    return us[(n - 1) * q / 4];
}

static void
print_turns(const char *what, double *us, size_t n)
{
    qsort(us, n, sizeof us[0], by_value);
    printf("%-12s p99 of %zu turns: quartiles %.1f, %.1f, %.1f us\n", what, n,
           quartile(us, n, 1), quartile(us, n, 2), quartile(us, n, 3));
}

/* Other programs only make turns longer, and not all of them: so the first
 * quartile has the least of theirs in it, and all that the two disks do. */
static void
print_ratio(const char *what, const double *us, size_t n, const double *to,
            size_t to_n)
{
    printf("ratio of p99, %s: %.2f\n", what,
           quartile(us, n, 1) / quartile(to, to_n, 1));
}

static void
print(void)
{
    double alone[2 * ROUNDS];

    memcpy(alone, p99_us[BEFORE], sizeof p99_us[BEFORE]);
    memcpy(alone + ROUNDS, p99_us[AFTER], sizeof p99_us[AFTER]);
    printf("%d disks of memory, depth %d, %d bytes, reads and writes at "
           "random, 1 data loop, 1 client; %d rounds of three turns of %d ms: "
           "alone, beside a hung disk and one at 100 ms, alone; %" PRIu64
           " answers\n",
           LOADED, DEPTH, LENGTH, ROUNDS, TURN_MS, answers);
    print_turns("before:", p99_us[BEFORE], ROUNDS);
    print_turns("after:", p99_us[AFTER], ROUNDS);
    print_turns("alone, both:", alone, 2 * ROUNDS);
    print_turns("beside them:", p99_us[BESIDE], ROUNDS);
    print_ratio("after to before, which is noise", p99_us[AFTER], ROUNDS,
                p99_us[BEFORE], ROUNDS);
    print_ratio("beside them to alone", p99_us[BESIDE], ROUNDS, alone,
                2 * ROUNDS);
}

int
main(int argc, char **argv)
{
    enum turn t;
    unsigned i, round;
    int bad = argc != 3;

    for (i = 0; i < LOADED && !bad; i++)
        bad = open_side(&side[i], argv[1], name[i]);
    for (round = 0; round < ROUNDS && !bad; round++) {
        for (i = 0; i < TURNS && !bad; i++) {
            t = (enum turn)(round % 2 ? TURNS - 1 - i : i);
            tooks = 0;
            bad = t == BESIDE ? run_beside(argv[1], argv[2]) : run(LOADED);
            if (!bad)
                note_turn(t, round);
        }
    }
    close_sides(0);
    if (bad)
        return 1;
    print();
    printf("slow: %u requests answered\n", slow_answered);
    return 0;
}
