/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state table: literal rows of the protocol, rules that hold for every
 * view there is (10 x 10 x 3 x 16 of them), and where each view leads to when
 * nothing else moves.
 */
#include "config.h"

#include "tests/test.h"
#include "xenbus/states.h"

static unsigned
view_make(unsigned i, struct bus_view *v)
{
    v->front = (enum bus_state)(i % BUS_STATES);
    i /= BUS_STATES;
    v->own = (enum bus_state)(i % BUS_STATES);
    i /= BUS_STATES;
    v->link = (enum bus_link)(i % 3);
    i /= 3;
    v->online = i & 1;
    v->refused = i & 2;
    v->inherited = i & 4;
    v->restarted = i & 8;
    return BUS_STATES * BUS_STATES * 3 * 16;
}

static bool
wants(const struct bus_view *v)
{
    return v->front == BUS_INITIALISED || v->front == BUS_CONNECTED;
}

static void
view_fail(const struct bus_view *v, enum bus_act act, const char *rule)
{
    test_fail(__FILE__, __LINE__,
              "%s: front %s, own %s, link %d, online %d, refused %d, "
              "inherited %d, restarted %d: %s",
              rule, bus_name(v->front), bus_name(v->own), (int)v->link,
              v->online, v->refused, v->inherited, v->restarted,
              bus_act_name(act));
}

#define RULE(x)                        \
    do {                               \
        if (!(x))                      \
            view_fail(&v, act, "" #x); \
    } while (0)

/* ---- what may never be, whatever the view -------------------------------- */

static void
rules(void)
{
    struct bus_view v;
    unsigned i = 0;

    while (i < view_make(i, &v)) {
        enum bus_act act = bus_decide(&v);
        bool up = v.link == LINK_UP, down = v.link == LINK_DOWN;

        RULE(v.link != LINK_BUSY || act == ACT_NONE);
        /* What is mapped is given back when the front-end is away. */
        RULE(!up ||
             (v.front != BUS_GONE && v.front != BUS_CLOSED &&
              v.front != BUS_UNKNOWN && v.front != BUS_INITIALISING) ||
             act == ACT_END || act == ACT_CUT);
        /* A used disk is served, also while the toolstack asks to leave. */
        RULE(!(up && v.front == BUS_CONNECTED && !v.refused &&
               (v.own == BUS_CONNECTED || v.own == BUS_CLOSING)) ||
             act == ACT_NONE);
        /* So it is while the front-end shows 5 but has not let go. */
        RULE(!(up && v.front == BUS_CLOSING) || act != ACT_END);
        RULE(act != ACT_OFFER || (down && !up && v.front != BUS_GONE));
        RULE(act != ACT_OFFER || v.own != BUS_CLOSED || v.online);
        RULE(act != ACT_JOIN || (wants(&v) && !v.refused));
        RULE(act != ACT_RESUME || (down && v.inherited));
        RULE(act != ACT_CUT || up);
        RULE(act != ACT_REFUSE || (down && v.refused && wants(&v)));
        /* No state is written that is there already. */
        RULE(act != ACT_END || up || v.own != BUS_CLOSED);
        RULE((act != ACT_SHOW && act != ACT_REFUSE) || v.own != BUS_CLOSING);
        /* Closed and offline is the end. */
        RULE(!(down && v.own == BUS_CLOSED && !v.online) || act == ACT_NONE);
        /* 7 and 8 say nothing about a ring in use. */
        RULE(!(up && v.own == BUS_CONNECTED &&
               (v.front == BUS_RECONFIGURING || v.front == BUS_RECONFIGURED)) ||
             act == ACT_NONE);
        i++;
    }
}

/* ---- where it leads ------------------------------------------------------ */

/* The act done, as if the disk and XenStore did at once what was asked. */
static void
apply(struct bus_view *v, enum bus_act act)
{
    switch (act) {
    case ACT_OFFER:
        v->own = BUS_INIT_WAIT;
        break;
    case ACT_JOIN:
        if (v->link == LINK_UP)
            v->own = BUS_CONNECTED;
        v->link = LINK_UP;
        v->restarted = false;
        break;
    case ACT_RESUME:
        v->link = LINK_UP;
        v->inherited = v->restarted = false;
        break;
    case ACT_SHOW:
    case ACT_REFUSE:
        v->own = BUS_CLOSING;
        break;
    case ACT_END:
        if (v->link == LINK_DOWN)
            v->own = BUS_CLOSED;
        v->link = LINK_DOWN;
        break;
    case ACT_CUT:
        v->link = LINK_DOWN;
        v->restarted = false;
        break;
    case ACT_NONE:
    case ACT_COUNT:
        break;
    }
}

/* The invariant of a vbd at rest. */
static void
at_rest(const struct bus_view *from, const struct bus_view *v)
{
    enum bus_act act = ACT_NONE;

    if (v->front == BUS_GONE || v->front == BUS_CLOSED ||
        v->front == BUS_INITIALISING || v->front == BUS_UNKNOWN) {
        if (v->link != LINK_DOWN)
            view_fail(from, act, "rings stay mapped");
    }
    if (v->link == LINK_UP && v->own != BUS_CONNECTED && v->own != BUS_CLOSING)
        view_fail(from, act, "connected, but it does not say so");
    if (v->link == LINK_DOWN && v->own == BUS_CONNECTED)
        view_fail(from, act, "says connected, but is not");
    if (v->front == BUS_CLOSED && v->own != BUS_CLOSED)
        view_fail(from, act, "the front-end waits for 6");
    if (v->front == BUS_CLOSING && v->own != BUS_CLOSING &&
        (v->own != BUS_CLOSED || v->online))
        view_fail(from, act, "the front-end waits for 5");
    if (v->front == BUS_INITIALISING && v->online && v->own != BUS_INIT_WAIT)
        view_fail(from, act, "the front-end waits for 2");
    if (wants(v) && v->online && !v->refused && v->link != LINK_UP)
        view_fail(from, act, "the front-end waits for 4");
    /* One that was perhaps shown 4 has to move first. */
    if (!v->online && v->own == BUS_CLOSING && v->link == LINK_DOWN &&
        v->front != BUS_CLOSING &&
        !(v->inherited && v->front == BUS_INITIALISED && !v->refused))
        view_fail(from, act, "the toolstack waits for 6");
}

static void
comes_to_rest(void)
{
    struct bus_view from, v;
    unsigned i = 0, most = 0;

    while (i < view_make(i, &from)) {
        unsigned n;

        v = from;
        v.link = v.link == LINK_BUSY ? LINK_DOWN : v.link;
        for (n = 0; n < 16; n++) {
            enum bus_act act = bus_decide(&v);

            if (act == ACT_NONE)
                break;
            apply(&v, act);
        }
        if (n == 16)
            view_fail(&from, ACT_NONE, "goes round and round");
        else
            at_rest(&from, &v);
        most = n > most ? n : most;
        i++;
    }
    CHECK(most >= 4);
    CHECK(most <= 6); /* MOVES_MAX of a look */
}

/* ---- the rows of the protocol -------------------------------------------- */

static enum bus_act
down(enum bus_state front, enum bus_state own)
{
    struct bus_view v = { .front = front, .own = own, .online = true };

    return bus_decide(&v);
}

static enum bus_act
up(enum bus_state front, enum bus_state own)
{
    struct bus_view v = {
        .front = front, .own = own, .link = LINK_UP, .online = true
    };

    return bus_decide(&v);
}

static void
rows(void)
{
    /* A new vbd, a connection, a second one after it. */
    CHECK_EQ(down(BUS_INITIALISING, BUS_INITIALISING), ACT_OFFER);
    CHECK_EQ(down(BUS_INITIALISING, BUS_INIT_WAIT), ACT_NONE);
    CHECK_EQ(down(BUS_INITIALISED, BUS_INIT_WAIT), ACT_JOIN);
    CHECK_EQ(down(BUS_CONNECTED, BUS_INIT_WAIT), ACT_JOIN);
    CHECK_EQ(up(BUS_INITIALISED, BUS_INIT_WAIT), ACT_JOIN);
    CHECK_EQ(up(BUS_INITIALISED, BUS_CONNECTED), ACT_NONE);
    CHECK_EQ(up(BUS_CONNECTED, BUS_CONNECTED), ACT_NONE);
    CHECK_EQ(up(BUS_CLOSING, BUS_CONNECTED), ACT_SHOW);
    CHECK_EQ(up(BUS_CLOSED, BUS_CLOSING), ACT_END);
    CHECK_EQ(down(BUS_CLOSED, BUS_CLOSING), ACT_END);
    CHECK_EQ(down(BUS_INITIALISING, BUS_CLOSED), ACT_OFFER);
    /* Jumps: restore, unplug, a reset without closing, death. */
    CHECK_EQ(down(BUS_INITIALISED, BUS_INITIALISING), ACT_OFFER);
    CHECK_EQ(up(BUS_CLOSED, BUS_CONNECTED), ACT_END);
    CHECK_EQ(up(BUS_INITIALISING, BUS_CONNECTED), ACT_END);
    CHECK_EQ(up(BUS_GONE, BUS_CONNECTED), ACT_END);
    CHECK_EQ(down(BUS_GONE, BUS_CONNECTED), ACT_END);
    CHECK_EQ(down(BUS_GONE, BUS_CLOSING), ACT_END);
    CHECK_EQ(down(BUS_GONE, BUS_INITIALISING), ACT_NONE);
    /* Windows closes before it connects for the first time. */
    CHECK_EQ(down(BUS_CLOSING, BUS_INIT_WAIT), ACT_SHOW);
    CHECK_EQ(down(BUS_CLOSED, BUS_CLOSING), ACT_END);
    /* A freshly booted kernel resets what it finds closed. */
    CHECK_EQ(down(BUS_CLOSING, BUS_CLOSED), ACT_SHOW);
    /* Unused and odd states. */
    CHECK_EQ(up(BUS_INIT_WAIT, BUS_CONNECTED), ACT_NONE);
    CHECK_EQ(up(BUS_RECONFIGURING, BUS_CONNECTED), ACT_NONE);
    CHECK_EQ(down(BUS_UNKNOWN, BUS_INIT_WAIT), ACT_NONE);
    CHECK_EQ(up(BUS_UNKNOWN, BUS_CONNECTED), ACT_END);
    /* The directory was made again under us. */
    CHECK_EQ(up(BUS_CONNECTED, BUS_INITIALISING), ACT_CUT);
    CHECK_EQ(up(BUS_INITIALISING, BUS_INITIALISING), ACT_CUT);
}

static void
rows_offline(void)
{
    struct bus_view v = { .front = BUS_CONNECTED, .own = BUS_CLOSING };

    v.link = LINK_UP; /* the toolstack asks, the guest still uses it */
    CHECK_EQ(bus_decide(&v), ACT_NONE);
    v.link = LINK_DOWN;
    CHECK_EQ(bus_decide(&v), ACT_END);
    v.inherited = true;
    CHECK_EQ(bus_decide(&v), ACT_RESUME);
    v.front = BUS_INITIALISED;
    CHECK_EQ(bus_decide(&v), ACT_NONE);
    v.inherited = false;
    CHECK_EQ(bus_decide(&v), ACT_END);
    v.inherited = true;
    v.front = BUS_CONNECTED;
    v.refused = true;
    CHECK_EQ(bus_decide(&v), ACT_END);
    v = (struct bus_view){ .front = BUS_INITIALISING, .own = BUS_CLOSED };
    CHECK_EQ(bus_decide(&v), ACT_NONE);
}

static void
rows_refused(void)
{
    struct bus_view v = { .front = BUS_INITIALISED,
                          .own = BUS_INIT_WAIT,
                          .online = true,
                          .refused = true };

    CHECK_EQ(bus_decide(&v), ACT_REFUSE);
    v.own = BUS_CLOSING;
    CHECK_EQ(bus_decide(&v), ACT_NONE);
    v.own = BUS_CONNECTED;
    v.link = LINK_UP;
    CHECK_EQ(bus_decide(&v), ACT_CUT);
    v.link = LINK_DOWN;
    v.front = BUS_CLOSED;
    CHECK_EQ(bus_decide(&v), ACT_END);
}

static void
rows_restart(void)
{
    struct bus_view v = { .front = BUS_CONNECTED,
                          .own = BUS_CONNECTED,
                          .online = true,
                          .inherited = true };

    CHECK_EQ(bus_decide(&v), ACT_RESUME);
    v.front = BUS_CLOSING;
    CHECK_EQ(bus_decide(&v), ACT_RESUME);
    v.front = BUS_INITIALISED; /* we died between its 3 and our 4 */
    CHECK_EQ(bus_decide(&v), ACT_JOIN);
    v.front = BUS_INITIALISING;
    CHECK_EQ(bus_decide(&v), ACT_END);
    v = (struct bus_view){ .front = BUS_INITIALISED,
                           .own = BUS_CONNECTED,
                           .link = LINK_UP,
                           .online = true,
                           .restarted = true };
    CHECK_EQ(bus_decide(&v), ACT_CUT); /* a slow resume: new rings */
}

static void
parses(void)
{
    static const struct {
        const char *text;
        enum bus_state state;
    } cases[] = {
        { NULL, BUS_GONE },        { "", BUS_UNKNOWN },
        { "0", BUS_UNKNOWN },      { "1", BUS_INITIALISING },
        { "2", BUS_INIT_WAIT },    { "3", BUS_INITIALISED },
        { "4", BUS_CONNECTED },    { "5", BUS_CLOSING },
        { "6", BUS_CLOSED },       { "7", BUS_RECONFIGURING },
        { "8", BUS_RECONFIGURED }, { "9", BUS_UNKNOWN },
        { "-1", BUS_UNKNOWN },     { "abc", BUS_UNKNOWN },
        { "4 ", BUS_UNKNOWN },     { " 4", BUS_UNKNOWN },
        { "04", BUS_UNKNOWN },     { "44", BUS_UNKNOWN },
        { "\xff", BUS_UNKNOWN },   { "4294967300", BUS_UNKNOWN },
    };
    unsigned i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_EQ(bus_parse(cases[i].text), cases[i].state);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(rules);
    TEST(comes_to_rest);
    TEST(rows);
    TEST(rows_offline);
    TEST(rows_refused);
    TEST(rows_restart);
    TEST(parses);
    return test_end();
}
