/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fault loops: the n-th allocation fails, the n-th call of the host fails,
 * once and from then on, with n = 1, 2, ... until a run has met no fault.
 *
 * After each run: everything asked for was answered or its disk says why not,
 * the neighbour's disk goes on, the same disk attached once more works, and
 * when all has stopped nothing is left: memory, mappings, ports, descriptors.
 *
 * FAULT=SCENARIO:KIND:TIMES:N runs only that; with FAULT_LOG=1 also the log.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fault.h"
#include "tests/test.h"

unsigned long point_failed, point_count;

void
point_begin(const struct point *p)
{
    if (p->kind == ALLOC)
        alloc_fail(p->at, p->times);
    else
        fault_begin(p->at, p->times, p->error);
}

void
point_end(const struct point *p)
{
    point_count = p->kind == ALLOC ? alloc_fail_end() : fault_end();
    point_failed = p->kind == ALLOC ? alloc_failed() : fault_failed();
}

/* ---- what must hold after the faults ------------------------------------- */

bool
fault_settled(const struct guest *g)
{
    return guest_refused(g) || (guest_connected(g) && guest_answered(g));
}

void
fault_check_neighbour(struct rig *r)
{
    unsigned errors = r->neighbour.errors;

    CHECK(guest_connected(&r->neighbour));
    guest_read(&r->neighbour, 1);
    CHECK(rig_until(r, guest_answered, &r->neighbour, 60 * SECOND));
    CHECK_EQ(r->neighbour.errors, errors);
}

void
fault_check_works_again(struct rig *r)
{
    struct guest *g = &r->guest;

    guest_detach(g);
    CHECK(rig_until(r, guest_closed, g, 60 * SECOND));
    if (getenv("FAULT_LOG"))
        guest_print(g);
    guest_forget(g);
    rig_run(r, 5 * SECOND);
    CHECK_EQ(disks_count(r->disks), 1);
    guest_attach(g);
    CHECK(rig_until(r, guest_connected, g, 60 * SECOND));
    if (guest_connected(g)) {
        guest_work(g);
        CHECK(rig_until(r, guest_answered, g, 60 * SECOND));
        CHECK_EQ(g->errors, 0);
    }
    guest_detach(g);
    CHECK(rig_until(r, guest_closed, g, 60 * SECOND));
    guest_forget(g);
    rig_run(r, 5 * SECOND);
    CHECK_EQ(disks_count(r->disks), 1);
}

void
fault_check_guest(struct rig *r, const struct point *p)
{
    struct guest *g = &r->guest;

    CHECK(rig_until(r, fault_settled, g, 60 * SECOND));
    CHECK_EQ(g->twice, 0);
    if (guest_refused(g) && point_failed)
        CHECK(rig_sentences > 0);
    if (p->kind == HOST && p->times == FAULT_ONCE && point_failed &&
        (!strcmp(fault_what(), "io") ||
         !strcmp(fault_what(), "piece of a copy")))
        CHECK(g->errors + r->neighbour.errors <= 1);
    if (!point_failed)
        CHECK_EQ(g->errors, 0);
}

void
fault_guest(struct rig *r)
{
    guest_attach(&r->guest);
    REQUIRE(rig_until(r, guest_connected, &r->guest, 10 * SECOND));
    guest_work(&r->guest);
    REQUIRE(rig_until(r, guest_answered, &r->guest, 10 * SECOND));
}

/* ---- attach, connect, work, detach --------------------------------------- */

static void
attach(const struct point *p)
{
    struct rig r;
    struct guest *g = &r.guest;

    rig_new(&r, rig_plain);
    point_begin(p);
    guest_attach(g);
    if (rig_until(&r, guest_connected, g, 10 * SECOND))
        guest_work(g);
    guest_read(&r.neighbour, 0);
    (void)rig_until(&r, fault_settled, g, 10 * SECOND);
    CHECK(rig_until(&r, guest_answered, &r.neighbour, 10 * SECOND));
    if (guest_connected(g)) {
        guest_detach(g);
        (void)rig_until(&r, guest_closed, g, 10 * SECOND);
    }
    point_end(p);
    if (!g->leaves)
        fault_check_guest(&r, p);
    fault_check_neighbour(&r);
    fault_check_works_again(&r);
    rig_end(&r);
}

/* ---- killed, and again --------------------------------------------------- */

static void
restart(const struct point *p)
{
    struct rig r;
    struct guest *g = &r.guest;
    int rc;

    rig_new(&r, rig_plain);
    guest_attach(g);
    REQUIRE(rig_until(&r, guest_connected, g, 10 * SECOND));
    guest_work(g);
    rig_run(&r, 60000);
    rig_kill(&r);
    rig_conf(&r, rig_plain);
    point_begin(p);
    rc = rig_start(&r);
    if (!rc) {
        (void)rig_until(&r, fault_settled, g, 10 * SECOND);
        guest_read(&r.neighbour, 0);
        rig_run(&r, 2 * SECOND);
    }
    point_end(p);
    if (rc) {
        CHECK(point_failed > 0);
        CHECK(rig_sentences > 0);
        rig_kill(&r); /* main() ends with 1, and is started again */
        rig_conf(&r, rig_plain);
        REQUIRE(!rig_start(&r));
    }
    fault_check_guest(&r, p);
    CHECK(rig_until(&r, guest_answered, &r.neighbour, 60 * SECOND));
    fault_check_works_again(&r);
    rig_end(&r);
}

/* ---- less than was asked for --------------------------------------------- */

/* The n-th READ or WRITE of a file moves at most len bytes; 0: none does.
 * Returns how many there are. */
static unsigned long
short_io(unsigned long n, uint64_t len)
{
    struct point none = { .kind = HOST };
    struct rig r;
    struct guest *g = &r.guest;
    unsigned long ios;
    uint64_t longest;

    rig_new(&r, rig_plain);
    guest_attach(g);
    REQUIRE(rig_until(&r, guest_connected, g, 10 * SECOND));
    guest_fill(g, "/a.img");
    point_begin(&none);
    fault_short(n, len);
    guest_work(g);
    CHECK(rig_until(&r, guest_answered, g, 10 * SECOND));
    ios = fault_ios(&longest);
    point_end(&none);
    CHECK_EQ(g->errors, 0);
    CHECK(guest_right(g, "/a.img"));
    CHECK(longest > len);
    guest_detach(g);
    CHECK(rig_until(&r, guest_closed, g, 60 * SECOND));
    guest_forget(g);
    rig_run(&r, 5 * SECOND);
    rig_end(&r);
    return ios;
}

static void
short_ios(void)
{
    static const uint64_t most[] = { 512, 1536, 4096, 12800 };
    unsigned long n, all = short_io(0, 0), more = 0;

    for (unsigned i = 0; i < sizeof most / sizeof most[0]; i++) {
        for (n = 1; n <= all; n++)
            more += short_io(n, most[i]) > all;
    }
    /* Most of them were short indeed: the rest was asked for then. */
    CHECK(all > 4 && more > all);
    test_count++;
    printf("short: %lu reads and writes, %lu of them cut\n", all, more);
}

/* ---- the loops ----------------------------------------------------------- */

static const struct scenario {
    const char *name;
    void (*run)(const struct point *);
    unsigned errnos; /* of those below */
} scenario[] = {
    { "attach", attach, 5 },           { "restart", restart, 5 },
    { "load", fault_load, 0 },         { "reload", fault_reload, 2 },
    { "chain", fault_chain, 2 },       { "recover", fault_recover, 2 },
    { "commands", fault_commands, 1 }, { "local", fault_local, 2 },
};

static const char *const times_name[] = { "once", "for ever" };

/* n = 1 until nothing failed; how many points there were. */
static unsigned long
loop(const struct scenario *s, enum kind kind, enum fault_times times,
     int error)
{
    struct point p = { .kind = kind, .times = times, .error = error };
    /* Sanitizers take ten times as long: each seventh point then. */
    unsigned long max = 20000, step = getenv("SANITIZED") ? 7 : 1;

    for (p.at = 1; p.at < max; p.at += step) {
        int before = test_failures;

        s->run(&p);
        if (test_failures != before)
            printf("  ^ %s, %s %lu %s (%s, errno %d)\n", s->name,
                   kind == ALLOC ? "allocation" : "call", p.at,
                   times_name[times], kind == HOST ? fault_what() : "memory",
                   error);
        if (!point_failed)
            return p.at - 1;
    }
    CHECK(p.at < max);
    return 0;
}

static void
one(const char *what)
{
    char name[32];
    unsigned kind, times;
    struct point p = { .error = EIO };

    REQUIRE(sscanf(what, "%31[^:]:%u:%u:%lu:%d", name, &kind, &times, &p.at,
                   &p.error) >= 4);
    p.kind = kind;
    p.times = times;
    for (unsigned i = 0; i < sizeof scenario / sizeof scenario[0]; i++) {
        if (!strcmp(scenario[i].name, name))
            scenario[i].run(&p);
    }
    printf("%lu points, %lu failed: %s\n", point_count, point_failed,
           rig_sentence);
    alloc_print();
}

int
main(int argc, char **argv)
{
    static const int errors[] = { EIO, ENOMEM, ENOSPC, EAGAIN, E2BIG };
    enum kind kind = strstr(argv[0], "host") ? HOST : ALLOC;

    (void)argc;
    test_name = "fault";
    log_open(BLK_INFO, false);
    if (getenv("FAULT")) {
        one(getenv("FAULT"));
        return test_failures != 0;
    }
    for (unsigned i = 0; i < sizeof scenario / sizeof scenario[0]; i++) {
        unsigned errnos = kind == ALLOC ? 1 : scenario[i].errnos;
        unsigned long n = 0, ever = 0;

        if (!errnos)
            continue;
        for (unsigned e = 0; e < errnos; e++) {
            n = loop(&scenario[i], kind, FAULT_ONCE, errors[e]);
            ever = loop(&scenario[i], kind, FAULT_FOR_EVER, errors[e]);
        }
        test_count++;
        printf("%s: %lu %s, once and for ever (%lu)\n", scenario[i].name, n,
               kind == ALLOC ? "allocation points" : "host calls", ever);
        fflush(stdout);
    }
    if (kind == HOST)
        short_ios();
    return test_end();
}
