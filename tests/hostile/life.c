/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * life.c: what a front-end can write to its own directory of XenStore.
 */
#include "hostile.h"

#include <stdio.h>
#include <string.h>

/* A connection, all of it good but for what `spoil` does; the state that the
 * back-end has a while later. */
static int
spoiled(struct dev *d, const struct shape *shape, const char *leaf,
        const char *value, size_t len)
{
    uint64_t end = ms_now(d) + 2000;
    int state;

    if (!bus_reset(d) || bus_nodes(d, shape))
        return -1;
    if (value)
        state = d->t->write(d, leaf, value, len);
    else
        state = d->t->rm(d, leaf);
    if (state)
        return 0; /* XenStore did not take it: nobody has to refuse it */
    bus_say(d, "state", "3");
    do {
        pause_ms(d, 20);
        state = bus_state(d);
    } while (state == 2 && ms_now(d) < end);
    return state;
}

/* Boot loaders leave empty nodes behind: where one may be missing it may be
 * empty as well, and means the same. */
static bool
refused(int state, bool optional, size_t len)
{
    return state >= 0 && (state != 4 || (optional && !len));
}

static void
strings(struct dev *d, struct report *rp)
{
    enum { OPTIONAL = 2 }; /* from there on they may be missing */
    static const char *const leaves[] = { "ring-ref", "event-channel",
                                          "ring-page-order",
                                          "multi-queue-num-queues",
                                          "protocol" };
    static const char *const values[] = {
        "",   "-1", "18446744073709551616", "x", "\377\376\001\n\"", " 1",
        "1x", "0x1"
    };
    static const struct shape one = { 1, 0, ABI_64, false };
    static char far[1900]; /* XenStore takes no more than 2 KiB */
    unsigned tried = 0;

    memset(far, '7', sizeof(far));
    for (unsigned l = 0; l < 5; l++) {
        for (unsigned v = 0; v < 9; v++) {
            const char *value = v < 8 ? values[v] : far;
            size_t len = v < 8 ? strlen(value) : sizeof(far);
            int state = spoiled(d, &one, leaves[l], value, len);

            tried++;
            if (!refused(state, l >= OPTIONAL, len))
                found(rp, false, "%s \"%.20s\": state %d", leaves[l], value,
                      state);
        }
        d->t->rm(d, leaves[l]);
    }
    found(rp, true, "%u values of 5 nodes refused, or empty ones as missing",
          tried);
}

static void
shapes(struct dev *d, struct report *rp)
{
    static const struct shape one = { 1, 0, ABI_64, false },
                              pages = { 1, 2, ABI_64, false },
                              two = { 2, 0, ABI_64, false };
    static const struct {
        const struct shape *shape;
        const char *leaf, *value;
    } bad[] = {
        { &one, "multi-queue-num-queues", "0" },
        { &one, "multi-queue-num-queues", "17" },
        { &one, "multi-queue-num-queues", "4294967297" },
        { &one, "ring-page-order", "5" },
        { &one, "ring-page-order", "32" },
        { &one, "ring-ref", NULL },
        { &one, "event-channel", NULL },
        { &one, "ring-ref", "4294967295" },
        { &one, "event-channel", "4000" },
        { &one, "event-channel", "0" },
        { &pages, "ring-ref3", NULL },
        { &two, "queue-1/ring-ref", NULL },
        { &two, "queue-1/event-channel", NULL },
    };
    enum { BAD = sizeof(bad) / sizeof(bad[0]) };

    for (unsigned i = 0; i < BAD; i++) {
        const char *value = bad[i].value;
        int state = spoiled(d, bad[i].shape, bad[i].leaf, value,
                            value ? strlen(value) : 0);

        if (state == 4 || state < 0)
            found(rp, false, "%s %s: state %d", bad[i].leaf,
                  value ? value : "missing", state);
        d->t->rm(d, "multi-queue-num-queues");
    }
    found(rp, true, "%d shapes that can't be refused", BAD);
}

static void
every_pair(struct dev *d, struct report *rp)
{
    static const char *const states[] = { "1", "2", "3", "4",  "5", "6",  "7",
                                          "8", "9", "0", "-1", "",  "abc" };

    for (unsigned i = 0; i < 13; i++) {
        for (unsigned k = 0; k < 13; k++) {
            bus_say(d, "state", states[i]);
            if (k % 4 == 0)
                pause_ms(d, 25);
            bus_say(d, "state", states[k]);
        }
        d->t->rm(d, "state");
    }
    found(rp, true, "169 pairs, served after them");
}

static void
close_in_flight(struct dev *d, struct report *rp)
{
    static const char *const ends[] = { "5", "6", "1", "" };

    for (unsigned i = 0; i < 4; i++) {
        if (reopen(d, 1, 0, ABI_64)) {
            found(rp, false, "no connection after state %s", ends[i]);
            return;
        }
        requests_away(d);
        bus_say(d, "state", ends[i]);
        pause_ms(d, 30);
    }
    if (!reopen(d, 1, 0, ABI_64)) {
        requests_away(d);
        d->t->rm(d, "state");
        pause_ms(d, 30);
    }
    found(rp, true, "5, 6, 1, nothing and no node, with requests in flight");
}

static void
flood(struct dev *d, struct report *rp)
{
    struct req r = rw(d, READ, 64, 16, 1);

    for (unsigned i = 0; i < 3000; i++)
        bus_say(d, "state", "4");
    found(rp, ask(d, &r) == OKAY, "3000 writes of state 4, then a read");
}

static void
toggled(struct dev *d, struct report *rp)
{
    int whole = toggles(d, 300);

    found(rp, whole >= 0, "300 changes, %d whole connections", whole);
}

/* What only the toolstack may decide is not believed from here. */
static void
privileged(struct dev *d, struct report *rp)
{
    static const char *const nodes[][2] = {
        { "mode", "w" },
        { "params", "/etc/shadow" },
        { "type", "phy" },
        { "online", "0" },
        { "physical-device", "1:1" },
        { "sectors", "99999999" },
        { "frontend-id", "0" },
        { "discard-secure", "1" },
    };
    uint64_t sectors = d->sectors;

    for (unsigned i = 0; i < 8; i++)
        bus_say(d, nodes[i][0], nodes[i][1]);
    if (reopen(d, 1, 0, ABI_64))
        found(rp, false, "no connection is had");
    else
        found(rp, d->sectors == sectors, "%s",
              d->sectors == sectors
                  ? "nodes beside the protocol's not looked at"
                  : "another size");
    for (unsigned i = 0; i < 8; i++)
        d->t->rm(d, nodes[i][0]);
}

/* Both rings in one page; and one where nothing of a ring is. */
static void
one_page_twice(struct dev *d, struct report *rp)
{
    static const struct shape two = { 2, 0, ABI_64, false };
    int state[2];

    for (unsigned i = 0; i < 2; i++) {
        char ref[16];

        if (!bus_reset(d) || bus_nodes(d, &two)) {
            found(rp, false, "no start");
            return;
        }
        snprintf(ref, sizeof(ref), "%u", i ? 8 : (unsigned)d->ring_ref[0]);
        bus_say(d, "queue-1/ring-ref", ref);
        bus_say(d, "state", "3");
        pause_ms(d, 300);
        for (unsigned q = 0; q < 2; q++)
            d->t->notify(d, q);
        pause_ms(d, 20);
        state[i] = bus_state(d);
    }
    found(rp, true, "two rings of one page: state %d; of another's: state %d",
          state[0], state[1]);
}

const struct hostile_case life_cases[] = {
    { "xsa_175_strings", "XSA-175, 178; 7.1: 9, 10", "refused with a reason",
      strings, NEEDS_STORE },
    { "xsa_175_privileged", "XSA-175, 178", "not believed", privileged,
      NEEDS_STORE },
    { "shapes", "7.1: 10", "refused with a reason", shapes, NEEDS_STORE },
    { "ring_page_foreign", "7.1: 10", "served after it", one_page_twice,
      NEEDS_STORE },
    { "state_pairs", "7.1: 11", "served after it", every_pair, NEEDS_STORE },
    { "close_in_flight", "7.1: 11", "served after it", close_in_flight,
      NEEDS_STORE },
    { "xsa_349_watch_flood", "XSA-349; 7.1: 12", "served after it", flood,
      NEEDS_STORE },
    { "xsa_350_toggle", "XSA-350; 7.1: 12", "served after it", toggled,
      NEEDS_STORE },
    { NULL, NULL, NULL, NULL, 0 }
};
