/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation_load SOCKET: loads the disks one, two and three, again and again
 * alone and beside two others: a hung one, which never answers, and `slow',
 * which takes 100 ms for each request; all rings full.  The hung disk is
 * another in each round (hung1, hung3 ...), as one keeps its name until its
 * requests have ended.  Fails unless every request of the three is answered,
 * none of the hung disk's is, and the slow one goes on. What it measures is
 * printed and not judged: machines differ.
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
    REQUESTS = 4000,
    ROUNDS = 6, /* every other one beside hung and slow */
    ANSWERS = REQUESTS * LOADED * ROUNDS / 2,
    LIMIT_S = 240
};

struct load {
    struct blktap_req req;
    struct side *side;
    uint64_t began_ns;
    bool away;
    char page[LENGTH];
};

struct side {
    struct blktap_disk *disk;
    unsigned asked, answered, errors, most;
    struct load load[DEPTH];
};

static char hung[16];
static const char *const name[DISKS] = { "one", "two", "three", hung, "slow" };
static struct side side[DISKS];
static uint64_t took[2][ANSWERS], seed = 88172645463325252u;
static size_t tooks[2];
static unsigned with; /* 1: beside hung and slow */

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
    if (s < side + LOADED && tooks[with] < ANSWERS)
        took[with][tooks[with]++] = now_ns() - l->began_ns;
}

/* As many as are free, up to `most' of the round. */
static int
ask(struct side *s)
{
    unsigned i;
    int rc = 0;

    for (i = 0; i < DEPTH && !rc && s->asked < s->most; i++) {
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
open_side(struct side *s, const char *socket, const char *which, unsigned most)
{
    struct blktap_options o = { .socket = socket };
    char *why = NULL;

    memset(s, 0, sizeof *s);
    s->most = most;
    s->disk = blktap_open(which, &o, &why);
    if (s->disk)
        return 0;
    fail(why ? why : "can't be opened", which);
    free(why);
    return 1;
}

/* Until the three have all their answers. */
static int
run(unsigned disks)
{
    uint64_t end = now_ns() + LIMIT_S * UINT64_C(1000000000);
    struct pollfd ready[DISKS];
    unsigned i, left = LOADED;

    for (i = 0; i < disks; i++) {
        ready[i] =
            (struct pollfd){ .fd = blktap_fd(side[i].disk), .events = POLLIN };
        if (ask(&side[i]))
            return fail("a request was not taken", name[i]);
    }
    while (left) {
        if (now_ns() > end || poll(ready, disks, 100000) <= 0)
            return fail("no answers any more", "one, two, three");
        for (i = left = 0; i < disks; i++) {
            if (ready[i].revents && (blktap_reap(side[i].disk) < 0 ||
                                     side[i].errors || ask(&side[i])))
                return fail("a request failed", name[i]);
            left += i < LOADED && side[i].answered < side[i].most;
        }
    }
    return 0;
}

static int
round_of(const char *socket, unsigned disks)
{
    unsigned i;
    int bad = 0;

    for (i = 0; i < disks && !bad; i++)
        bad = open_side(&side[i], socket, name[i],
                        i < LOADED ? REQUESTS : 1u << 30);
    if (!bad)
        bad = run(disks);
    if (!bad && with && side[HUNG].answered)
        bad = fail("it answered", hung);
    if (!bad && with && side[HUNG].asked != DEPTH)
        bad = fail("its ring took no requests", hung);
    /* What is in flight is given back with -ECANCELED. */
    for (i = 0; i < disks; i++) {
        if (side[i].disk)
            blktap_close(side[i].disk);
    }
    return bad;
}

/* ---- figures ------------------------------------------------------------- */

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static double
at(unsigned which, double p)
{
    return (double)took[which][(size_t)(p * (double)(tooks[which] - 1))] / 1e3;
}

static void
print(void)
{
    unsigned i;

    for (i = 0; i < 2; i++)
        qsort(took[i], tooks[i], sizeof took[i][0], by_size);
    printf("%d disks of memory, depth %d, %d bytes, reads and writes at "
           "random, 1 data loop, 1 client; %d rounds of %d requests a disk, "
           "every other one beside a hung disk and one at 100 ms\n",
           LOADED, DEPTH, LENGTH, ROUNDS, REQUESTS);
    for (i = 0; i < 2; i++)
        printf("%-12s %zu answers, median %.1f us, p99 %.1f us\n",
               i ? "beside them:" : "alone:", tooks[i], at(i, 0.5), at(i, .99));
    printf("ratio of p99: %.2f\n", at(1, 0.99) / at(0, 0.99));
}

int
main(int argc, char **argv)
{
    unsigned i, slow = 0;
    int bad = argc != 2;

    for (i = 0; i < ROUNDS && !bad; i++) {
        with = i % 2;
        snprintf(hung, sizeof hung, "hung%u", i);
        bad = round_of(argv[1], with ? DISKS : LOADED);
        slow += with ? side[SLOW].asked : 0;
    }
    if (!bad && (tooks[0] != ANSWERS || tooks[1] != ANSWERS))
        bad = fail("not every request was answered", "one, two, three");
    if (bad)
        return 1;
    print();
    printf("slow: %u requests taken\n", slow);
    return 0;
}
