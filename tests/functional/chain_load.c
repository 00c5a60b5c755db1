/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chain_load SOCKET DISK FILE: writes stamps to a disk and checks what it
 * reads, many at a time on two queues, while others do things to the disk.
 *
 * FILE is what is known of the disk, for the next one: when it is there the
 * whole disk must hold it.  Ends with the end of stdin (all is read once more,
 * "ok N requests") or with the daemon ("gone N requests"); what was on its way
 * then may be on the disk or not.  Any error or wrong byte: status 1.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blktap/app.h"

enum { LENGTH = 4096, PLACES = 1024, DEPTH = 24, QUEUES = 2 };

/* What a place holds: the stamp that was acknowledged last, or else, when it is
 * not 0, the one that is on its way. */
struct place {
    uint64_t was, next;
    bool busy;
};

struct slot {
    struct blktap_req req;
    unsigned place;
    bool used;
    uint64_t page[LENGTH / sizeof(uint64_t)];
};

static struct place place[PLACES];
static struct slot slot[DEPTH];
static struct blktap_disk *disk;
static uint64_t stamps, answered, wrong, seed = 0x9e3779b97f4a7c15;
static unsigned away, next_place; /* next_place: of a walk over all of them */
static char why[200];

static uint64_t
any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 16) % below;
}

static uint64_t
word_of(uint64_t stamp, unsigned at, unsigned i)
{
    return stamp ? stamp << 24 ^ (uint64_t)at << 10 ^ i : 0;
}

static bool
holds(const struct slot *s, uint64_t stamp)
{
    for (unsigned i = 0; i < LENGTH / sizeof(uint64_t); i++) {
        if (s->page[i] != word_of(stamp, s->place, i))
            return false;
    }
    return true;
}

static void
answer(struct blktap_req *r)
{
    struct slot *s = r->data;
    struct place *p = &place[s->place];

    s->used = p->busy = false;
    away--;
    if (r->error == -ECANCELED)
        return; /* the daemon is gone */
    answered++;
    if (r->error && !wrong++)
        snprintf(why, sizeof why, "request of place %u: %s", s->place,
                 strerror(-r->error));
    if (r->op == BLKTAP_WRITE && !r->error) {
        p->was = p->next;
        p->next = 0;
    } else if (r->op == BLKTAP_READ && !r->error && !holds(s, p->was)) {
        if (p->next && holds(s, p->next))
            p->was = p->next; /* it was carried out before its daemon died */
        else if (!wrong++)
            snprintf(why, sizeof why,
                     "place %u: expected stamp %" PRIu64 " (or %" PRIu64
                     "), found word %" PRIx64,
                     s->place, p->was, p->next, s->page[0]);
    }
    if (r->op == BLKTAP_READ)
        p->next = 0;
}

static int
send(struct slot *s, enum blktap_op op, unsigned at)
{
    int rc;

    s->place = at;
    s->req = (struct blktap_req){ .op = op,
                                  .queue = (unsigned)any(QUEUES),
                                  .off = (uint64_t)at * LENGTH,
                                  .len = LENGTH,
                                  .buf = s->page,
                                  .done = answer,
                                  .data = s };
    if (op == BLKTAP_WRITE) {
        place[at].next = ++stamps;
        for (unsigned i = 0; i < LENGTH / sizeof(uint64_t); i++)
            s->page[i] = word_of(stamps, at, i);
    }
    rc = blktap_submit(disk, &s->req);
    if (rc)
        return rc;
    s->used = place[at].busy = true;
    away++;
    return 0;
}

/* Fills the ring: at random, or (walk) with reads of one place after another.
 */
static int
fill(bool walk)
{
    int rc = 0;

    for (unsigned i = 0; i < DEPTH && !rc; i++) {
        unsigned at = walk ? next_place : (unsigned)any(PLACES);

        if (slot[i].used || at == PLACES || place[at].busy)
            continue;
        next_place += walk;
        rc = send(&slot[i], walk || any(3) == 0 ? BLKTAP_READ : BLKTAP_WRITE,
                  at);
    }
    blktap_kick(disk);
    return rc == -EAGAIN ? 0 : rc;
}

/* 0: stdin ended, or the walk; -EPIPE: the daemon. */
static int
work(bool walk)
{
    struct pollfd ready[2] = {
        { .fd = blktap_fd(disk), .events = POLLIN },
        { .fd = walk ? -1 : 0, .events = POLLIN },
    };
    int rc = 0;

    next_place = 0;
    while (!wrong) {
        if (ready[1].fd < 0 && !walk) /* no more; what is on its way ends */
            rc = away ? 0 : 1;
        else
            rc = fill(walk);
        if (rc || (walk && next_place == PLACES && !away))
            break;
        if (poll(ready, 2, -1) < 0) {
            snprintf(why, sizeof why, "it can't wait");
            return -EIO;
        }
        if (ready[1].revents)
            ready[1].fd = -1;
        rc = blktap_reap(disk);
        if (rc < 0)
            break;
    }
    return rc < 0 ? rc : 0;
}

/* ---- what is known ------------------------------------------------------- */

static bool
load(const char *path)
{
    FILE *f = fopen(path, "r");
    bool there = f != NULL;

    for (unsigned i = 0; f && i < PLACES; i++) {
        if (fscanf(f, "%" SCNu64 " %" SCNu64, &place[i].was, &place[i].next) !=
            2)
            there = false;
        if (place[i].was > stamps)
            stamps = place[i].was;
        if (place[i].next > stamps)
            stamps = place[i].next;
    }
    if (f)
        fclose(f);
    return there;
}

static int
save(const char *path)
{
    FILE *f = fopen(path, "w");

    if (!f)
        return 1;
    for (unsigned i = 0; i < PLACES; i++)
        fprintf(f, "%" PRIu64 " %" PRIu64 "\n", place[i].was, place[i].next);
    return fclose(f) != 0;
}

int
main(int argc, char **argv)
{
    struct blktap_options o = { .queues = QUEUES };
    char *text = NULL;
    int rc = 0;

    if (argc != 4)
        return 2;
    o.socket = argv[1];
    disk = blktap_open(argv[2], &o, &text);
    if (!disk) {
        fprintf(stderr, "%s: %s\n", argv[2], text ? text : "can't be opened");
        return 1;
    }
    if (load(argv[3]))
        rc = work(true);
    if (!rc)
        rc = work(false);
    if (!rc && !wrong)
        rc = work(true);
    blktap_close(disk);
    if (wrong || (rc && rc != -EPIPE)) {
        fprintf(stderr, "%s: %s after %" PRIu64 " requests\n", argv[2],
                why[0] ? why : strerror(-rc), answered);
        return 1;
    }
    printf("%s %" PRIu64 " requests\n", rc ? "gone" : "ok", answered);
    return save(argv[3]);
}
