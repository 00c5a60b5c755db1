/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main.c: runs cases and says, for each, what was expected and what was found.
 */
#include "hostile.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct hostile_case *const lists[] = { request_cases, ring_cases,
                                                    life_cases };

void
found(struct report *r, bool ok, const char *fmt, ...)
{
    va_list ap;

    if (ok && r->bad)
        return; /* what went wrong is what is told */
    if (!ok && r->bad)
        return;
    r->bad = !ok;
    va_start(ap, fmt);
    vsnprintf(r->found, sizeof(r->found), fmt, ap);
    va_end(ap);
}

void
skip(struct report *r, const char *why)
{
    r->skipped = true;
    snprintf(r->found, sizeof(r->found), "%s", why);
}

/* ---- is it whole? ----------------------------------------------------------
 */

static void
pattern(uint8_t *page, unsigned seed)
{
    for (unsigned i = 0; i < PAGE; i++)
        page[i] = (uint8_t)(seed * 37 + i + i / 256);
}

bool
canary_set(struct dev *d)
{
    struct req r = rw(d, WRITE, 0, 0, 1);

    if (d->readonly)
        return true;
    pattern(d->page[0], 1);
    return ask(d, &r) == OKAY;
}

static bool
holds(struct dev *d, uint64_t sector, unsigned seed)
{
    static uint8_t want[PAGE];
    struct req r = rw(d, READ, sector, 1, 1);

    pattern(want, seed);
    memset(d->page[1], 0, PAGE);
    return ask(d, &r) == OKAY && !memcmp(d->page[1], want, PAGE);
}

bool
serves(struct dev *d, struct report *r)
{
    struct req w;
    unsigned seed = below(d, 100);

    if (reopen(d, 1, 0, ABI_64)) {
        found(r, false, "afterwards no connection is had");
        return false;
    }
    w = rw(d, READ, 0, 1, 1);
    if (d->readonly) {
        if (ask(d, &w) == OKAY)
            return true;
        found(r, false, "afterwards a read fails");
        return false;
    }
    if (!holds(d, 0, 1)) {
        found(r, false, "afterwards what was written before is not there");
        return false;
    }
    pattern(d->page[2], seed);
    w = rw(d, WRITE, 8, 2, 1);
    if (ask(d, &w) != OKAY || !holds(d, 8, seed)) {
        found(r, false, "afterwards a write can't be read again");
        return false;
    }
    return true;
}

/* ---- cases
 * ------------------------------------------------------------------- */

static bool
case_run(struct dev *d, const struct hostile_case *c)
{
    struct report r = { .found = "nothing" };
    uint64_t began = ms_now(d);

    if ((c->needs & NEEDS_STORE && !d->t->store) ||
        (c->needs & NEEDS_THREADS && !d->t->threads)) {
        skip(&r, "not on this host");
    } else if (reopen(d, 1, 0, ABI_64)) {
        found(&r, false, "no connection is had before it");
    } else {
        c->run(d, &r);
        serves(d, &r);
    }
    printf("%-4s %s (%s): expected: %s; found: %s; "
           "%" PRIu64 " ms\n",
           r.bad       ? "FAIL"
           : r.skipped ? "skip"
                       : "ok",
           c->name, c->about, c->expected, r.found, ms_now(d) - began);
    fflush(stdout);
    return !r.bad;
}

int
cases_run(struct dev *d, const char *name)
{
    int failed = 0, n = 0;

    for (unsigned l = 0; l < 3; l++) {
        for (const struct hostile_case *c = lists[l]; c->name; c++) {
            if (name && strcmp(name, c->name))
                continue;
            n++;
            failed += !case_run(d, c);
        }
    }
    return n ? failed : -1;
}

void
cases_list(void)
{
    for (unsigned l = 0; l < 3; l++)
        for (const struct hostile_case *c = lists[l]; c->name; c++)
            printf("%-24s %s\n", c->name, c->about);
}

/* ---- the command line
 * ---------------------------------------------------------- */

static void
usage(void)
{
    puts("usage: blkif-hostile [--local] [--disk NAME] [--readonly] WHAT...\n"
         "  --disk NAME      xen: number of the vbd (51712 is xvda); local:\n"
         "                   the disk's name\n"
         "  --local          blktapd on this host ($BLKTAPD_SOCKET), no Xen\n"
         "  --list           the cases\n"
         "  --case NAME      one of them; --cases all\n"
         "  --requests N     so many wrong requests\n"
         "  --toggles N      so many changes of state\n"
         "  --remove         last, its directory goes with requests on their "
         "way\n"
         "  --seed N");
}

struct wish {
    bool cases, remove;
    const char *one;
    uint64_t requests, toggles;
};

/* 0: go on; else the status, and 100 stands for 0. */
static int
words(struct dev *d, struct wish *w, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

        if (!strcmp(word, "--list")) {
            cases_list();
            return 100;
        } else if (!strcmp(word, "--cases")) {
            w->cases = true;
        } else if (!strcmp(word, "--remove")) {
            w->remove = true;
        } else if (!strcmp(word, "--local")) {
            d->t = &transport_local;
        } else if (!strcmp(word, "--readonly")) {
            d->readonly = true;
        } else if (++i >= argc) {
            usage();
            return 2;
        } else if (!strcmp(word, "--disk")) {
            d->name = value;
        } else if (!strcmp(word, "--case")) {
            w->one = value;
        } else if (!strcmp(word, "--requests")) {
            w->requests = strtoull(value, NULL, 0);
        } else if (!strcmp(word, "--toggles")) {
            w->toggles = strtoull(value, NULL, 0);
        } else if (!strcmp(word, "--seed")) {
            d->seed = strtoull(value, NULL, 0);
        } else {
            usage();
            return 2;
        }
    }
    return 0;
}

static bool
soak_say(struct dev *d, uint64_t n)
{
    uint64_t began = ms_now(d);
    struct soaked t;
    bool ok = soak(d, n, &t);

    printf("%-4s %" PRIu64 " wrong requests in %" PRIu64 " ms: %" PRIu64
           " ERROR, %" PRIu64 " EOPNOTSUPP, %" PRIu64 " accepted, %" PRIu64
           " not answered\n",
           ok ? "ok" : "FAIL", t.sent, ms_now(d) - began, t.error,
           t.unsupported, t.accepted, t.lost);
    fflush(stdout);
    return ok;
}

static bool
toggles_say(struct dev *d, uint64_t n)
{
    uint64_t began = ms_now(d);
    int whole = toggles(d, n);

    printf("%-4s %" PRIu64 " toggles, %d whole connections in %" PRIu64 " ms\n",
           whole < 0 ? "FAIL" : "ok", n, whole, ms_now(d) - began);
    fflush(stdout);
    return whole >= 0;
}

int
hostile_main(struct dev *d, int argc, char **argv)
{
    struct wish w = { 0 };
    struct report r = { .found = "" };
    int bad = 0, rc = words(d, &w, argc, argv);

    if (rc)
        return rc % 100;
    printf("seed %" PRIu64 "\n", d->seed);
    if (reopen(d, 1, 0, ABI_64) || !canary_set(d)) {
        printf("FAIL the disk can't be used at all\n");
        return 1;
    }
    if (w.cases || w.one)
        bad = cases_run(d, w.one);
    if (bad < 0) {
        printf("no case %s\n", w.one);
        return 2;
    }
    if (w.requests)
        bad += !soak_say(d, w.requests);
    if (w.toggles)
        bad += !toggles_say(d, w.toggles);
    if (!serves(d, &r)) {
        printf("FAIL %s\n", r.found);
        bad++;
    }
    if (w.remove && d->t->store) {
        requests_away(d);
        d->t->rm(d, "");
    } else {
        d->t->close(d);
    }
    printf("%s\n", bad ? "HOSTILE-BAD" : "HOSTILE-GOOD");
    return bad ? 1 : 0;
}
